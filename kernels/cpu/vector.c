/* vector.c - the loops that several kernels share. */
#include "kernels/cpu/vector.h"

#include <math.h>
#include <string.h>

static LOOP void widen(float *restrict y, const uint16_t *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = widen_bits(x[i]);
}

static LOOP void narrow(uint16_t *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = narrow_float(x[i]);
}

void floats_load(float *y, const void *x, Dtype dtype, int64_t n) {
    if (dtype == BF16)
        widen(y, x, n);
    else
        memcpy(y, x, (size_t)n * sizeof *y);
}

void floats_store(void *y, Dtype dtype, const float *x, int64_t n) {
    if (dtype == BF16)
        narrow(y, x, n);
    else
        memcpy(y, x, (size_t)n * sizeof *x);
}

const float *block_widened(float *to, Tensor t, int64_t row, int64_t rows, int64_t col, int64_t cols,
                           int64_t *stride) {
    *stride = t.dtype == F32 ? t.row_stride : cols;
    if (t.dtype == F32) return element(t, row, col);
    for (int64_t i = 0; i < rows; i++) floats_load(to + i * cols, element(t, row + i, col), t.dtype, cols);
    return to;
}

LOOP void floats_add(float *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

LOOP void floats_scale(float *y, float factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] *= factor;
}

LOOP float floats_max(const float *x, int64_t n) {
    float top = -INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}
