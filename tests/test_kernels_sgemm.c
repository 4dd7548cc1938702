/* test_kernels_sgemm.c - the product of CPUs without AVX-512, on every CPU: all layouts and dtypes, sizes at the ends of
 * its tiles and blocks. */
#include "tests/test_kernels.h"

#include "kernels/cpu/sgemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum { GUARD = 3 };
static const float poison = -77.5f; /* a number of bf16 */

/* A stored matrix: rows of cols elements, behind each GUARD more. */
typedef struct {
    int64_t rows, cols, stride;
    bool bf16;
    char *data;
} Stored;

static Stored stored(int64_t rows, int64_t cols, bool bf16) {
    Stored s = {rows, cols, cols + GUARD, bf16, NULL};
    s.data = must_alloc(max_i64(1, rows * s.stride), bf16 ? 2 : 4);
    return s;
}

static float get(Stored s, int64_t row, int64_t col) {
    int64_t i = row * s.stride + col;
    return s.bf16 ? bf16_to_float(((uint16_t *)(void *)s.data)[i]) : ((float *)(void *)s.data)[i];
}
static void put(Stored s, int64_t row, int64_t col, float value) {
    int64_t i = row * s.stride + col;
    if (s.bf16)
        ((uint16_t *)(void *)s.data)[i] = float_to_bf16(value);
    else
        ((float *)(void *)s.data)[i] = value;
}

/* Numbers that bf16 holds too. */
static void randomise(Stored s, uint64_t stream) {
    for (int64_t i = 0; i < s.rows; i++)
        for (int64_t j = 0; j < s.stride; j++) {
            double u = random_uniform(1, stream, (uint64_t)(i * s.stride + j)) - 0.5;
            put(s, i, j, j < s.cols ? bf16_to_float(float_to_bf16((float)u)) : poison);
        }
}

typedef struct {
    Gemm g;
    Stored a, b, c;
    bool a_transposed, b_transposed;
} Product;

static Product product_make(int64_t m, int64_t n, int64_t k, int64_t flags) {
    bool at = flags & A_TRANSPOSED, bt = flags & B_TRANSPOSED, in = flags & IN_BF16;
    Product p = {.a = stored(at ? k : m, at ? m : k, in), .b = stored(bt ? n : k, bt ? k : n, in)};
    p.c = stored(m, n, flags & OUT_BF16);
    p.a_transposed = at, p.b_transposed = bt;
    p.g = (Gemm){m, n, k, p.a.stride, p.b.stride, p.c.stride, flags};
    randomise(p.a, 1), randomise(p.b, 2), randomise(p.c, 3);
    return p;
}

static void product_free(Product *p) {
    free(p->a.data);
    free(p->b.data);
    free(p->c.data);
}

/* Element (i, j) of a b, and the sum of its terms' sizes. */
static double exact(const Product *p, int64_t i, int64_t j, double *size) {
    double sum = 0;
    *size = 0;
    for (int64_t k = 0; k < p->g.k; k++) {
        double term = (double)(p->a_transposed ? get(p->a, k, i) : get(p->a, i, k)) *
                      (double)(p->b_transposed ? get(p->b, j, k) : get(p->b, k, j));
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

static void check_product(char *scratch, int64_t m, int64_t n, int64_t k, int64_t flags) {
    Product p = product_make(m, n, k, flags);
    Stored before = stored(m, n, p.c.bf16);
    memcpy(before.data, p.c.data, (size_t)(m * p.c.stride * (p.c.bf16 ? 2 : 4)));
    sgemm(scratch, p.g, p.c.data, p.a.data, p.b.data);
    double worst = 0, size;
    bool guards = true;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double want = exact(&p, i, j, &size) + (flags & ACCUMULATE ? (double)get(before, i, j) : 0);
            double allowed = 4e-7 * (size + 1) + (p.c.bf16 ? fabs(want) / 256 : 0);
            worst = fmax(worst, fabs((double)get(p.c, i, j) - want) / allowed);
        }
        for (int64_t j = n; j < p.c.stride; j++) guards = guards && get(p.c, i, j) == poison;
    }
    expect(worst <= 1 && guards, "%lld x %lld x %lld, flags %lld: %.3g of what is allowed, guards %s", (long long)m,
           (long long)n, (long long)k, (long long)flags, worst, guards ? "hold" : "do not hold");
    free(before.data);
    product_free(&p);
}

void test_sgemm_sizes(void) {
    static const int64_t sizes[][3] = {{1, 1, 1},     {5, 15, 7},    {6, 16, 8},   {7, 17, 9},     {12, 32, 0},
                                       {144, 96, 16}, {145, 97, 17}, {13, 3, 256}, {8, 33, 257},   {2, 40, 600},
                                       {3, 1539, 20}, {300, 5, 30},  {1, 1, 1000}, {500, 700, 10}, {11, 1552, 261}};
    char *scratch = aligned_alloc(64, CPU_SCRATCH_BYTES);
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int64_t flags = 0; flags < 32; flags++)
            check_product(scratch, sizes[i][0], sizes[i][1], sizes[i][2], flags);
    free(scratch);
}

/* A part of the product has the bits that it has in the whole. */
void test_sgemm_parts(void) {
    enum { M = 200, N = 90, K = 300, ROW = 131, COL = 37 };
    char *scratch = aligned_alloc(64, CPU_SCRATCH_BYTES);
    Product p = product_make(M, N, K, B_TRANSPOSED);
    Stored part = stored(M - ROW, N - COL, false);
    Gemm g = p.g;
    g.m = part.rows, g.n = part.cols, g.ldc = part.stride;
    sgemm(scratch, p.g, p.c.data, p.a.data, p.b.data);
    sgemm(scratch, g, part.data, p.a.data + ROW * p.a.stride * 4, p.b.data + COL * p.b.stride * 4);
    int64_t differ = 0;
    for (int64_t i = 0; i < part.rows; i++)
        for (int64_t j = 0; j < part.cols; j++) differ += get(part, i, j) != get(p.c, ROW + i, COL + j);
    expect(!differ, "%lld elements have other bits", (long long)differ);
    free(part.data);
    product_free(&p);
    free(scratch);
}
