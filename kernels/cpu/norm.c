/* norm.c - RMSNorm and its gradients; formulas in ref/norm.c. A row is walked in pieces twice. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <math.h>
#include <string.h>

static LOOP float sum_squares(const float *x, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

static LOOP void normalise(float *restrict y, const float *restrict x, const float *restrict w, float r, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = w[i] * (x[i] * r);
}

static LOOP float dot3(const float *x, const float *w, const float *dy, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * (w[i] * dy[i]);
    return sum;
}

/* dx = r (w dy - x r mean), added to what is there when keep is 1. */
static LOOP void input_gradient(float *restrict dx, const float *restrict dy, const float *restrict x,
                                const float *restrict w, float r, float mean, float keep, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = r * (w[i] * dy[i] - x[i] * r * mean) + (keep != 0 ? dx[i] : 0.0f);
}

/* dw += r dy x */
static LOOP void weight_gradient(float *restrict dw, const float *restrict dy, const float *restrict x, float r,
                                 int64_t n) {
    for (int64_t i = 0; i < n; i++) dw[i] += r * dy[i] * x[i];
}

static float row_rstd(Tensor x, int64_t row, double eps) {
    float buffer[PIECE];
    double squares = 0;
    int64_t cols = tensor_cols(x);
    for (int64_t col = 0; col < cols; col += PIECE) {
        int64_t n = min_i64(PIECE, cols - col);
        squares += sum_squares(piece_in(x, row, col, n, buffer), n);
    }
    return (float)(1.0 / sqrt(squares / (double)cols + eps));
}

static void row_normalise(Tensor y, Tensor x, Tensor w, int64_t row, float r) {
    float in_x[PIECE], in_w[PIECE], out[PIECE];
    for (int64_t col = 0; col < tensor_cols(x); col += PIECE) {
        int64_t n = min_i64(PIECE, tensor_cols(x) - col);
        float *piece = piece_out(y, row, col, out);
        normalise(piece, piece_in(x, row, col, n, in_x), piece_in(w, 0, col, n, in_w), r, n);
        piece_done(y, row, col, n, piece);
    }
}

static void row_forward(Tensor y, Tensor rstd, Tensor x, Tensor w, int64_t row, double eps) {
    float r = row_rstd(x, row, eps);
    *(float *)element(rstd, 0, row) = r;
    row_normalise(y, x, w, row, r);
}

void cpu_rmsnorm_forward(Device *device, Tensor y, Tensor rstd, Tensor x, Tensor w, double eps) {
    shape_rmsnorm_forward(device, y, rstd, x, w);
    if (cpu_leaves(x)) {
        ref_rmsnorm_forward(device, y, rstd, x, w, eps);
        return;
    }
    rstd = tensor_flat(rstd), w = tensor_flat(w);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(x); row++) row_forward(y, rstd, x, w, row, eps);
}

static void row_add(Tensor sum, Tensor x, Tensor delta, int64_t row) {
    float in[PIECE], total[PIECE];
    for (int64_t col = 0; col < tensor_cols(x); col += PIECE) {
        int64_t n = min_i64(PIECE, tensor_cols(x) - col);
        floats_load(total, element(x, row, col), x.dtype, n);
        floats_add(total, piece_in(delta, row, col, n, in), n);
        floats_store(element(sum, row, col), sum.dtype, total, n);
    }
}

void cpu_add_rmsnorm_forward(Device *device, Tensor sum, Tensor y, Tensor rstd, Tensor x, Tensor delta, Tensor w,
                             double eps) {
    shape_add_rmsnorm_forward(device, sum, y, rstd, x, delta, w);
    if (cpu_leaves(x)) {
        ref_add_rmsnorm_forward(device, sum, y, rstd, x, delta, w, eps);
        return;
    }
    rstd = tensor_flat(rstd), w = tensor_flat(w);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(x); row++) {
        row_add(sum, x, delta, row);
        row_forward(y, rstd, sum, w, row, eps);
    }
}

static void row_backward(Tensor dx, Tensor dy, Tensor x, Tensor w, int64_t row, float r, bool accumulate) {
    float in_x[PIECE], in_dy[PIECE], in_w[PIECE], out[PIECE];
    double sum = 0;
    int64_t cols = tensor_cols(x);
    for (int64_t col = 0; col < cols; col += PIECE) {
        int64_t n = min_i64(PIECE, cols - col);
        sum +=
            dot3(piece_in(x, row, col, n, in_x), piece_in(w, 0, col, n, in_w), piece_in(dy, row, col, n, in_dy), n);
    }
    float mean = (float)(sum * r / (double)cols);
    for (int64_t col = 0; col < cols; col += PIECE) {
        int64_t n = min_i64(PIECE, cols - col);
        float *piece = piece_out(dx, row, col, out);
        if (accumulate && piece == out) floats_load(out, element(dx, row, col), dx.dtype, n);
        input_gradient(piece, piece_in(dy, row, col, n, in_dy), piece_in(x, row, col, n, in_x),
                       piece_in(w, 0, col, n, in_w), r, mean, accumulate, n);
        piece_done(dx, row, col, n, piece);
    }
}

void cpu_rmsnorm_backward_input(Device *device, Tensor dx, Tensor dy, Tensor x, Tensor w, Tensor rstd,
                                bool accumulate) {
    shape_rmsnorm_backward_input(device, dx, dy, x, w, rstd);
    if (cpu_leaves(x)) {
        ref_rmsnorm_backward_input(device, dx, dy, x, w, rstd, accumulate);
        return;
    }
    rstd = tensor_flat(rstd), w = tensor_flat(w);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(x); row++)
        row_backward(dx, dy, x, w, row, *(const float *)element(rstd, 0, row), accumulate);
}

/* dw's columns col .. col + n - 1. Rows are summed in groups, which keeps fp32 sums of many rows accurate. */
static void column_backward(Tensor dw, Tensor dy, Tensor x, Tensor rstd, int64_t col, int64_t n) {
    enum { GROUP = 64 };
    float in_x[PIECE], in_dy[PIECE], sum[PIECE];
    for (int64_t row = 0; row < tensor_rows(x);) {
        memset(sum, 0, (size_t)n * sizeof *sum);
        for (int64_t end = min_i64(row + GROUP, tensor_rows(x)); row < end; row++)
            weight_gradient(sum, piece_in(dy, row, col, n, in_dy), piece_in(x, row, col, n, in_x),
                            *(const float *)element(rstd, 0, row), n);
        floats_add(element(dw, 0, col), sum, n);
    }
}

void cpu_rmsnorm_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
    shape_rmsnorm_backward_weight(device, dw, dy, x, rstd);
    if (cpu_leaves(x)) {
        ref_rmsnorm_backward_weight(device, dw, dy, x, rstd);
        return;
    }
    int64_t cols = tensor_cols(x), step = min_i64(PIECE, round_up(ceil_div(cols, device->threads), 64));
    rstd = tensor_flat(rstd), dw = tensor_flat(dw);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t col = 0; col < cols; col += step) column_backward(dw, dy, x, rstd, col, min_i64(step, cols - col));
}
