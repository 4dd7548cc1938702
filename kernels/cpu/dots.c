/* dots.c - see dots.h. Tiles of results in registers, as many rows as the machine has registers for; what is left over
 * goes row by row or column by column. */
#include "kernels/cpu/dots.h"
#include "kernels/cpu/lanes.h"

enum { COLS = 4, MOST_ROWS = 4 };
typedef float Half __attribute__((vector_size(16)));

/* Rows of a tile of COLS vectors: the 16 registers of AVX2 hold two, the 32 of AVX-512 four. */
static int tile_rows(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512vl") ? 4 : 2;
#else
    return 4;
#endif
}

INLINE float total(const Lanes *v) {
    Half half[2];
    memcpy(half, v, sizeof half);
    half[0] += half[1];
    return (half[0][0] + half[0][2]) + (half[0][1] + half[0][3]);
}

/* rows x cols results; both are constants where it is called. */
INLINE void dots_tile(Dots d, float *c, const float *a, const char *b, bool bf16, int rows, int cols) {
    Lanes sum[MOST_ROWS][COLS], x, y[COLS];
    int64_t size = bf16 ? 2 : 4, k = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) sum[i][j] = (Lanes){0};
    for (; k + LANES <= d.k; k += LANES) {
        for (int j = 0; j < cols; j++) take(&y[j], b + (j * d.ldb + k) * size, bf16);
        for (int i = 0; i < rows; i++) {
            take(&x, a + i * d.lda + k, false);
            for (int j = 0; j < cols; j++) sum[i][j] += x * y[j];
        }
    }
    if (k < d.k) {
        for (int j = 0; j < cols; j++) take_some(&y[j], b + (j * d.ldb + k) * size, bf16, d.k - k);
        for (int i = 0; i < rows; i++) {
            take_some(&x, a + i * d.lda + k, false, d.k - k);
            for (int j = 0; j < cols; j++) sum[i][j] += x * y[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) c[i * d.ldc + j] = total(&sum[i][j]);
}

/* All rows against `cols` rows of b. */
INLINE void dots_columns(Dots d, float *c, const float *a, const char *b, bool bf16, int rows, int cols) {
    int64_t i = 0;
    for (; i + rows <= d.m; i += rows) dots_tile(d, c + i * d.ldc, a + i * d.lda, b, bf16, rows, cols);
    for (; i < d.m; i++) dots_tile(d, c + i * d.ldc, a + i * d.lda, b, bf16, 1, cols);
}

INLINE void dots_all(Dots d, float *c, const float *a, const char *b, bool bf16, int rows) {
    int64_t j = 0, size = bf16 ? 2 : 4;
    for (; j + COLS <= d.n; j += COLS) dots_columns(d, c + j, a, b + j * d.ldb * size, bf16, rows, COLS);
    for (; j < d.n; j++) dots_columns(d, c + j, a, b + j * d.ldb * size, bf16, rows, 1);
}

static LOOP void dots_f32(Dots d, float *c, const float *a, const char *b, int rows) {
    if (rows == 4)
        dots_all(d, c, a, b, false, 4);
    else
        dots_all(d, c, a, b, false, 2);
}

static LOOP void dots_bf16(Dots d, float *c, const float *a, const char *b, int rows) {
    if (rows == 4)
        dots_all(d, c, a, b, true, 4);
    else
        dots_all(d, c, a, b, true, 2);
}

void dots(Dots d, float *c, const float *a, const void *b, Dtype b_dtype) {
    if (b_dtype == BF16)
        dots_bf16(d, c, a, b, tile_rows());
    else
        dots_f32(d, c, a, b, tile_rows());
}

/* rows results by COLS vectors of columns. */
INLINE void combine_tile(Dots d, float *c, const float *a, const float *b, int rows) {
    Lanes sum[MOST_ROWS][COLS], y[COLS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < COLS; j++) take(&sum[i][j], c + i * d.ldc + j * LANES, false);
    for (int64_t k = 0; k < d.k; k++) {
        for (int j = 0; j < COLS; j++) take(&y[j], b + k * d.ldb + j * LANES, false);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < COLS; j++) sum[i][j] += a[i * d.lda + k] * y[j];
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < COLS; j++) *(Loose *)(c + i * d.ldc + j * LANES) = sum[i][j];
}

/* The last columns, fewer than a vector or just one, of one row. */
INLINE void combine_rest(Dots d, float *c, const float *a, const float *b, int64_t cols) {
    Lanes sum, y;
    take_some(&sum, c, false, cols);
    for (int64_t k = 0; k < d.k; k++) {
        take_some(&y, b + k * d.ldb, false, cols);
        sum += a[k] * y;
    }
    memcpy(c, &sum, (size_t)cols * 4);
}

INLINE void combine_all(Dots d, float *c, const float *a, const float *b, int rows) {
    int64_t j = 0;
    for (; j + COLS * LANES <= d.n; j += COLS * LANES) {
        int64_t i = 0;
        for (; i + rows <= d.m; i += rows) combine_tile(d, c + i * d.ldc + j, a + i * d.lda, b + j, rows);
        for (; i < d.m; i++) combine_tile(d, c + i * d.ldc + j, a + i * d.lda, b + j, 1);
    }
    for (; j < d.n; j += LANES)
        for (int64_t i = 0; i < d.m; i++)
            combine_rest(d, c + i * d.ldc + j, a + i * d.lda, b + j, min_i64(d.n - j, LANES));
}

static LOOP void combine_any(Dots d, float *c, const float *a, const float *b, int rows) {
    if (rows == 4)
        combine_all(d, c, a, b, 4);
    else
        combine_all(d, c, a, b, 2);
}

void combine(Dots d, float *c, const float *a, const float *b) { combine_any(d, c, a, b, tile_rows()); }
