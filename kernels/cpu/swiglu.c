/* swiglu.c - h = weight * silu(gate) * up and its gradient; formulas in ref/swiglu.c. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

static LOOP void forward_piece(float *restrict h, const float *restrict gate, const float *restrict up, float weight,
                               int64_t n) {
    for (int64_t i = 0; i < n; i++) h[i] = weight * (gate[i] * fast_sigmoid(gate[i]) * up[i]);
}

/* Returns the part of dweight: sum of dh silu(gate) up. */
static LOOP float backward_piece(float *restrict dgate, float *restrict dup, float *restrict h,
                                 const float *restrict dh, const float *restrict gate, const float *restrict up,
                                 float weight, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        float s = fast_sigmoid(gate[i]), silu = gate[i] * s, d = dh[i], plain = silu * up[i];
        dgate[i] = weight * d * up[i] * s * (1.0f + gate[i] * (1.0f - s));
        dup[i] = weight * d * silu;
        h[i] = weight * plain;
        sum += d * plain;
    }
    return sum;
}

static float weight_of(Tensor weight, int64_t row) {
    return tensor_none(weight) ? 1.0f : *(const float *)element(weight, 0, row);
}

static void row_forward(Tensor h, Tensor gu, int64_t row, float weight) {
    float gate[PIECE], up[PIECE], out[PIECE];
    int64_t f = tensor_cols(h);
    for (int64_t col = 0; col < f; col += PIECE) {
        int64_t n = min_i64(PIECE, f - col);
        float *piece = piece_out(h, row, col, out);
        forward_piece(piece, piece_in(gu, row, col, n, gate), piece_in(gu, row, f + col, n, up), weight, n);
        piece_done(h, row, col, n, piece);
    }
}

static double row_backward(Tensor dgu, Tensor h, Tensor dh, Tensor gu, int64_t row, float weight) {
    float gate[PIECE], up[PIECE], in_dh[PIECE], out_dgate[PIECE], out_dup[PIECE], out_h[PIECE];
    int64_t f = tensor_cols(h);
    double sum = 0;
    for (int64_t col = 0; col < f; col += PIECE) {
        int64_t n = min_i64(PIECE, f - col);
        float *dgate = piece_out(dgu, row, col, out_dgate), *dup = piece_out(dgu, row, f + col, out_dup);
        float *out = piece_out(h, row, col, out_h);
        sum += backward_piece(dgate, dup, out, piece_in(dh, row, col, n, in_dh), piece_in(gu, row, col, n, gate),
                              piece_in(gu, row, f + col, n, up), weight, n);
        piece_done(dgu, row, col, n, dgate);
        piece_done(dgu, row, f + col, n, dup);
        piece_done(h, row, col, n, out);
    }
    return sum;
}

static void forward(Device *device, Tensor h, Tensor gu, Tensor weight) {
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(h); row++) row_forward(h, gu, row, weight_of(weight, row));
}

static void backward(Device *device, Tensor dgu, Tensor dweight, Tensor h, Tensor dh, Tensor gu, Tensor weight) {
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(h); row++) {
        double sum = row_backward(dgu, h, dh, gu, row, weight_of(weight, row));
        if (!tensor_none(dweight)) *(float *)element(dweight, 0, row) = (float)sum;
    }
}

void cpu_swiglu_forward(Device *device, Tensor h, Tensor gu) {
    shape_swiglu_forward(device, h, gu);
    if (cpu_leaves(gu))
        ref_swiglu_forward(device, h, gu);
    else
        forward(device, h, gu, (Tensor){0});
}

void cpu_swiglu_backward(Device *device, Tensor dgu, Tensor h, Tensor dh, Tensor gu) {
    shape_swiglu_backward(device, dgu, h, dh, gu);
    if (cpu_leaves(gu))
        ref_swiglu_backward(device, dgu, h, dh, gu);
    else
        backward(device, dgu, (Tensor){0}, h, dh, gu, (Tensor){0});
}

void cpu_swiglu_weighted_forward(Device *device, Tensor h, Tensor gu, Tensor weight) {
    shape_swiglu_weighted_forward(device, h, gu, weight);
    if (cpu_leaves(gu))
        ref_swiglu_weighted_forward(device, h, gu, weight);
    else
        forward(device, h, gu, tensor_flat(weight));
}

void cpu_swiglu_weighted_backward(Device *device, Tensor dgu, Tensor dweight, Tensor h, Tensor dh, Tensor gu,
                                  Tensor weight) {
    shape_swiglu_weighted_backward(device, dgu, dweight, h, dh, gu, weight);
    if (cpu_leaves(gu))
        ref_swiglu_weighted_backward(device, dgu, dweight, h, dh, gu, weight);
    else
        backward(device, dgu, tensor_flat(dweight), h, dh, gu, tensor_flat(weight));
}
