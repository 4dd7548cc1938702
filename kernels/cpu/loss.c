/* loss.c - cross-entropy, and sums of products in blocks of fixed size and order. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <math.h>

static LOOP float sum_exp(const float *x, float top, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += fast_exp(x[i] - top);
    return sum;
}

static LOOP void softmax_gradient(float *y, const float *x, float lse, float weight, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = weight * fast_exp(x[i] - lse);
}

static double row_lse(Tensor logits, int64_t row) {
    float buffer[PIECE], top = -INFINITY;
    double mass = 0;
    int64_t cols = tensor_cols(logits);
    for (int64_t col = 0; col < cols; col += PIECE) {
        int64_t n = min_i64(PIECE, cols - col);
        float here = floats_max(piece_in(logits, row, col, n, buffer), n);
        top = here > top ? here : top;
    }
    for (int64_t col = 0; col < cols; col += PIECE) {
        int64_t n = min_i64(PIECE, cols - col);
        mass += sum_exp(piece_in(logits, row, col, n, buffer), top, n);
    }
    return top + log(mass);
}

static void row_gradient(Tensor dlogits, Tensor logits, int64_t row, int64_t target, float lse, float weight) {
    float in[PIECE], out[PIECE];
    for (int64_t col = 0; col < tensor_cols(logits); col += PIECE) {
        int64_t n = min_i64(PIECE, tensor_cols(logits) - col);
        float *piece = piece_out(dlogits, row, col, out);
        softmax_gradient(piece, piece_in(logits, row, col, n, in), lse, weight, n);
        if (target >= col && target < col + n) piece[target - col] -= weight;
        piece_done(dlogits, row, col, n, piece);
    }
}

static void row_zero(Tensor dlogits, int64_t row) {
    float zeros[PIECE] = {0};
    for (int64_t col = 0; col < tensor_cols(dlogits); col += PIECE)
        floats_store(element(dlogits, row, col), dlogits.dtype, zeros, min_i64(PIECE, tensor_cols(dlogits) - col));
}

static void row_loss(Tensor loss, Tensor dlogits, Tensor logits, Tensor label, Tensor weight, int64_t row) {
    float buffer[1], *out = element(loss, 0, row);
    int64_t target = id_of(label, 0, row), vocabulary = tensor_cols(logits);
    check(target < vocabulary, "label %lld of %lld", (long long)target, (long long)vocabulary);
    if (target < 0) {
        *out = 0;
        if (!tensor_none(dlogits)) row_zero(dlogits, row);
        return;
    }
    double lse = row_lse(logits, row);
    *out = (float)(lse - *piece_in(logits, row, target, 1, buffer));
    if (tensor_none(dlogits)) return;
    row_gradient(dlogits, logits, row, target, (float)lse, *(const float *)element(weight, 0, row));
}

void cpu_cross_entropy(Device *device, Tensor loss, Tensor dlogits, Tensor logits, Tensor label, Tensor weight) {
    shape_cross_entropy(device, loss, dlogits, logits, label, weight);
    if (cpu_leaves(logits) || (!tensor_none(dlogits) && cpu_leaves(dlogits))) {
        ref_cross_entropy(device, loss, dlogits, logits, label, weight);
        return;
    }
    loss = tensor_flat(loss), label = tensor_flat(label);
    if (!tensor_none(dlogits)) weight = tensor_flat(weight);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(logits); row++) row_loss(loss, dlogits, logits, label, weight, row);
}

static LOOP double dot_piece(const float *a, const float *b, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* Pieces are summed by any thread, their sums one after the other: the bits do not depend on threads. */
void cpu_dot(Device *device, Tensor out, Tensor a, Tensor b) {
    enum { BATCH = 2048 };
    shape_dot(device, out, a, b);
    if (cpu_leaves(a) || cpu_leaves(b)) {
        ref_dot(device, out, a, b);
        return;
    }
    if (tensor_contiguous(a) && tensor_contiguous(b)) a = tensor_flat(a), b = tensor_flat(b);
    double *total = out.data, part[BATCH];
    for (int64_t first = 0; first < piece_count(a); first += BATCH) {
        int64_t count = min_i64(BATCH, piece_count(a) - first);
#pragma omp parallel for num_threads(device->threads) schedule(static)
        for (int64_t i = 0; i < count; i++) {
            float in_a[PIECE], in_b[PIECE];
            Piece at = piece_at(a, first + i);
            part[i] =
                dot_piece(piece_in(a, at.row, at.col, at.n, in_a), piece_in(b, at.row, at.col, at.n, in_b), at.n);
        }
        for (int64_t i = 0; i < count; i++) *total += part[i];
    }
}

void cpu_sum_squares(Device *device, Tensor out, Tensor x) {
    shape_sum_squares(device, out, x);
    cpu_dot(device, out, x, x);
}
