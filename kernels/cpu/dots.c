/* dots.c - see dots.h. Tiles of 4 x 4 results in registers; what is left over goes row by row or column by column. */
#include "kernels/cpu/dots.h"
#include "kernels/cpu/vector.h"

#include <string.h>

enum { LANES = 16, TILE = 4 };
typedef float Lanes __attribute__((vector_size(64)));
typedef float Half __attribute__((vector_size(32)));
typedef float Quarter __attribute__((vector_size(16)));
typedef uint32_t Bits __attribute__((vector_size(64)));
typedef uint16_t Narrow __attribute__((vector_size(32)));
#define INLINE static inline __attribute__((always_inline))

/* The first n of 16 elements, zeros behind them. Vectors go by address: the build's plain ABI has none so wide. */
INLINE void take(Lanes *v, const void *from, bool bf16, int64_t n) {
    if (bf16) {
        Narrow narrow = {0};
        if (n >= LANES)
            memcpy(&narrow, from, sizeof narrow);
        else
            memcpy(&narrow, from, (size_t)n * 2);
        Bits bits = __builtin_convertvector(narrow, Bits) << 16;
        memcpy(v, &bits, sizeof bits);
    } else if (n >= LANES) {
        memcpy(v, from, sizeof *v);
    } else {
        *v = (Lanes){0};
        memcpy(v, from, (size_t)n * 4);
    }
}

INLINE float total(const Lanes *v) {
    Half half[2];
    memcpy(half, v, sizeof half);
    half[0] += half[1];
    Quarter quarter[2];
    memcpy(quarter, half, sizeof quarter);
    quarter[0] += quarter[1];
    return (quarter[0][0] + quarter[0][2]) + (quarter[0][1] + quarter[0][3]);
}

/* rows x cols results; both are constants where it is called. */
INLINE void dots_tile(Dots d, float *c, const float *a, const char *b, bool bf16, int rows, int cols) {
    Lanes sum[TILE][TILE], x, y[TILE];
    int64_t size = bf16 ? 2 : 4;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) sum[i][j] = (Lanes){0};
    int64_t k = 0;
    for (; k + LANES <= d.k; k += LANES) {
        for (int j = 0; j < cols; j++) take(&y[j], b + (j * d.ldb + k) * size, bf16, LANES);
        for (int i = 0; i < rows; i++) {
            take(&x, a + i * d.lda + k, false, LANES);
            for (int j = 0; j < cols; j++) sum[i][j] += x * y[j];
        }
    }
    if (k < d.k) {
        for (int j = 0; j < cols; j++) take(&y[j], b + (j * d.ldb + k) * size, bf16, d.k - k);
        for (int i = 0; i < rows; i++) {
            take(&x, a + i * d.lda + k, false, d.k - k);
            for (int j = 0; j < cols; j++) sum[i][j] += x * y[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) c[i * d.ldc + j] = total(&sum[i][j]);
}

/* All rows against `cols` rows of b. */
INLINE void dots_columns(Dots d, float *c, const float *a, const char *b, bool bf16, int cols) {
    int64_t i = 0;
    for (; i + TILE <= d.m; i += TILE) dots_tile(d, c + i * d.ldc, a + i * d.lda, b, bf16, TILE, cols);
    for (; i < d.m; i++) dots_tile(d, c + i * d.ldc, a + i * d.lda, b, bf16, 1, cols);
}

INLINE void dots_all(Dots d, float *c, const float *a, const char *b, bool bf16) {
    int64_t j = 0, size = bf16 ? 2 : 4;
    for (; j + TILE <= d.n; j += TILE) dots_columns(d, c + j, a, b + j * d.ldb * size, bf16, TILE);
    for (; j < d.n; j++) dots_columns(d, c + j, a, b + j * d.ldb * size, bf16, 1);
}

static LOOP void dots_f32(Dots d, float *c, const float *a, const char *b) { dots_all(d, c, a, b, false); }
static LOOP void dots_bf16(Dots d, float *c, const float *a, const char *b) { dots_all(d, c, a, b, true); }

void dots(Dots d, float *c, const float *a, const void *b, Dtype b_dtype) {
    if (b_dtype == BF16)
        dots_bf16(d, c, a, b);
    else
        dots_f32(d, c, a, b);
}

/* rows results by 4 vectors of columns. */
INLINE void combine_tile(Dots d, float *c, const float *a, const float *b, int rows) {
    Lanes sum[TILE][TILE], y[TILE];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < TILE; j++) take(&sum[i][j], c + i * d.ldc + j * LANES, false, LANES);
    for (int64_t k = 0; k < d.k; k++) {
        for (int j = 0; j < TILE; j++) take(&y[j], b + k * d.ldb + j * LANES, false, LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < TILE; j++) sum[i][j] += a[i * d.lda + k] * y[j];
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < TILE; j++) memcpy(c + i * d.ldc + j * LANES, &sum[i][j], sizeof(Lanes));
}

/* Up to 16 columns of one row. */
INLINE void combine_rest(Dots d, float *c, const float *a, const float *b, int64_t cols) {
    Lanes sum, y;
    take(&sum, c, false, cols);
    for (int64_t k = 0; k < d.k; k++) {
        take(&y, b + k * d.ldb, false, cols);
        sum += a[k] * y;
    }
    memcpy(c, &sum, (size_t)min_i64(cols, LANES) * 4);
}

static LOOP void combine_all(Dots d, float *c, const float *a, const float *b) {
    int64_t j = 0;
    for (; j + TILE * LANES <= d.n; j += TILE * LANES) {
        int64_t i = 0;
        for (; i + TILE <= d.m; i += TILE) combine_tile(d, c + i * d.ldc + j, a + i * d.lda, b + j, TILE);
        for (; i < d.m; i++) combine_tile(d, c + i * d.ldc + j, a + i * d.lda, b + j, 1);
    }
    for (; j < d.n; j += LANES)
        for (int64_t i = 0; i < d.m; i++)
            combine_rest(d, c + i * d.ldc + j, a + i * d.lda, b + j, min_i64(d.n - j, LANES));
}

void combine(Dots d, float *c, const float *a, const float *b) { combine_all(d, c, a, b); }
