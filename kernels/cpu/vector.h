/* vector.h - loops over rows of floats.
 *
 * The build has no -march: a function marked LOOP is compiled for AVX-512, AVX2 and plain x86-64,
 * and the loader picks. It must hold its loop itself (an OpenMP parallel region inside would leave
 * it), and sums carry `omp simd reduction` so that they vectorise; their order is fixed per
 * instruction set.
 *
 * bf16 rows are widened piece by piece into a buffer on the stack, computed in fp32 and narrowed:
 * the extra passes stay in the L1 cache, and each kernel is written once. */
#pragma once
#include "kernels/tensor.h"

#include <math.h>

#if defined(__x86_64__)
#define LOOP __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOOP
#endif

enum { PIECE = 1024 }; /* columns at a time */

static inline float float_of_bits(uint32_t bits) {
    union {
        uint32_t u;
        float f;
    } v = {bits};
    return v.f;
}
static inline uint32_t bits_of_float(float f) {
    union {
        float f;
        uint32_t u;
    } v = {f};
    return v.u;
}

/* e^x within 2e-7 relative for x up to 88: x = n ln 2 + r, a polynomial of r, times 2^n. Stays at
 * e^-87 below -87. NaN stays NaN. */
static inline float fast_exp(float x) {
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * 1.44269504f + shift, n = shifted - shift;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.392621414e-3f;
    p = p * r + 8.363203511e-3f;
    p = p * r + 4.166655443e-2f;
    p = p * r + 1.666657684e-1f;
    p = p * r + 5.0e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * float_of_bits((bits_of_float(shifted) << 23) + 0x3f800000u);
}

static inline float fast_sigmoid(float x) {
    float small = fast_exp(-fabsf(x));
    return (x < 0 ? small : 1.0f) / (1.0f + small);
}

/* Rounds to nearest even; NaN stays NaN. As float_to_bf16, without a branch. */
static inline uint16_t narrow_float(float f) {
    uint32_t u = bits_of_float(f), rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 | 0x40u) : rounded);
}
static inline float widen_bits(uint16_t h) { return float_of_bits((uint32_t)h << 16); }

void floats_load(float *y, const void *x, Dtype dtype, int64_t n); /* F32 or BF16 */
void floats_store(void *y, Dtype dtype, const float *x, int64_t n);
void floats_add(float *y, const float *x, int64_t n);
void floats_scale(float *y, float factor, int64_t n);
float floats_max(const float *x, int64_t n); /* -INFINITY when n is 0 */

static inline void *element(Tensor t, int64_t row, int64_t col) {
    return (char *)t.data + (row * t.row_stride + col) * dtype_bytes(t.dtype);
}
static inline int32_t id_of(Tensor t, int64_t row, int64_t col) { return *(const int32_t *)element(t, row, col); }

/* Columns col .. col + n - 1 of a row as floats: in place for F32, in the buffer for BF16. */
static inline const float *piece_in(Tensor t, int64_t row, int64_t col, int64_t n, float *buffer) {
    if (t.dtype == F32) return element(t, row, col);
    floats_load(buffer, element(t, row, col), t.dtype, n);
    return buffer;
}
/* Where to write such a piece, and the call that completes it. */
static inline float *piece_out(Tensor t, int64_t row, int64_t col, float *buffer) {
    return t.dtype == F32 ? element(t, row, col) : buffer;
}
static inline void piece_done(Tensor t, int64_t row, int64_t col, int64_t n, const float *piece) {
    if (t.dtype != F32) floats_store(element(t, row, col), t.dtype, piece, n);
}

/* Columns col .. col + cols - 1 of some rows as floats: where they lie, or densely in `to`. */
const float *block_widened(float *to, Tensor t, int64_t row, int64_t rows, int64_t col, int64_t cols,
                           int64_t *stride);

/* A contiguous tensor as one row, so that element-wise work has long pieces. */
static inline Tensor tensor_flat(Tensor t) { return tensor_reshape(t, 1, tensor_count(t)); }

/* The pieces of a matrix, numbered row by row. */
typedef struct {
    int64_t row, col, n;
} Piece;
static inline int64_t piece_count(Tensor t) { return tensor_rows(t) * ceil_div(tensor_cols(t), PIECE); }
static inline Piece piece_at(Tensor t, int64_t index) {
    int64_t per_row = ceil_div(tensor_cols(t), PIECE), col = index % per_row * PIECE;
    return (Piece){index / per_row, col, min_i64(PIECE, tensor_cols(t) - col)};
}
