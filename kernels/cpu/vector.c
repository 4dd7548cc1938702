/* vector.c - the loops that several kernels share. */
#include "kernels/cpu/vector.h"

#include <math.h>
#include <string.h>

static LOOP void widen(float *restrict y, const uint16_t *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = float_of_bits((uint32_t)x[i] << 16);
}

/* Rounds to nearest even; NaN stays NaN. */
static LOOP void narrow(uint16_t *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = bits_of_float(x[i]), rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
        y[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 | 0x40u) : rounded);
    }
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
