/* test_kernels_sgemm.c - the product of CPUs without AVX-512, on every CPU: all layouts and dtypes, sizes at the ends of
 * its tiles and blocks; and oneDNN's where its scratch does not suffice. */
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

/* Of a thread that has plans by oneDNN, else by sgemm. */
static void check_product(CpuThread *thread, int64_t m, int64_t n, int64_t k, int64_t flags) {
    Product p = product_make(m, n, k, flags);
    Stored before = stored(m, n, p.c.bf16);
    memcpy(before.data, p.c.data, (size_t)(m * p.c.stride * (p.c.bf16 ? 2 : 4)));
    if (thread->plans)
        gemm(thread, p.g, p.c.data, p.a.data, p.b.data);
    else
        sgemm(thread->scratch, p.g, p.c.data, p.a.data, p.b.data);
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
                                       {3, 1539, 20}, {300, 5, 30},  {1, 1, 1000}, {500, 700, 10}, {11, 1552, 261},
                                       {5, 0, 7},     {0, 5, 7}};
    CpuThread thread = {.scratch = aligned_alloc(64, CPU_SCRATCH_BYTES)};
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int64_t flags = 0; flags < 32; flags++)
            check_product(&thread, sizes[i][0], sizes[i][1], sizes[i][2], flags);
    free(thread.scratch);
}

/* Halves of rows and of columns, of even sizes and odd, within GEMM_STEP and above. */
void test_gemm_halves(void) {
    static const int64_t sizes[][3] = {{64, 1, 5},  {1, 64, 5},    {40, 7, 9},   {7, 40, 9},
                                       {33, 33, 4}, {100, 61, 17}, {61, 100, 17}};
    CpuThread thread = {.scratch = aligned_alloc(64, CPU_SCRATCH_BYTES), .plans = gemm_plans_open()};
    int64_t all = gemm_is_own() ? IN_BF16 : 2 * OUT_BF16; /* oneDNN has no bf16 without AVX-512 */
    gemm_choose(PRODUCTS_ONEDNN);
    gemm_halve(24);
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int64_t flags = 0; flags < all; flags++)
            if (flags & IN_BF16 || !(flags & OUT_BF16))
                check_product(&thread, sizes[i][0], sizes[i][1], sizes[i][2], flags);
    gemm_halve(INT64_MAX);
    gemm_choose(PRODUCTS_BY_CPU);
    gemm_plans_close(thread.plans);
    free(thread.scratch);
}

static void check_bits(Stored part, Stored whole, int64_t row, int64_t col, const char *what) {
    int64_t differ = 0;
    for (int64_t i = 0; i < part.rows; i++)
        for (int64_t j = 0; j < part.cols; j++) differ += get(part, i, j) != get(whole, row + i, col + j);
    expect(!differ, "%s of %lld columns: %lld elements have other bits", what, (long long)whole.cols,
           (long long)differ);
}

/* The part from a row and a column on; with `panels`, from all of b packed behind some terms of another. */
static Stored part_of(char *scratch, const Product *p, int64_t row, int64_t col, bool panels) {
    enum { BEFORE = 7 };
    Stored part = stored(p->c.rows - row, p->c.cols - col, false);
    Gemm g = p->g;
    g.m = part.rows, g.n = part.cols, g.ldc = part.stride;
    const char *a = p->a.data + row * p->a.stride * 4, *b = p->b.data + col * p->b.stride * 4;
    if (!panels) {
        sgemm(scratch, g, part.data, a, b);
        return part;
    }
    Stored longer = stored(p->b.rows, BEFORE + p->b.cols, false);
    for (int64_t j = 0; j < longer.rows; j++)
        for (int64_t k = 0; k < longer.cols; k++) put(longer, j, k, k < BEFORE ? poison : get(p->b, j, k - BEFORE));
    Panels all = {must_alloc(panels_floats(longer.cols, longer.rows), sizeof(float)), longer.cols};
    panels_pack(all, longer.cols, longer.rows, longer.data, longer.stride, B_TRANSPOSED);
    sgemm_panels(scratch, g, (float *)(void *)part.data, a, panels_at(all, BEFORE, col));
    free(all.data);
    free(longer.data);
    return part;
}

/* A part of the product has the bits that it has in the whole, whether a and b are packed whole, in pieces or not. */
void test_sgemm_parts(void) {
    enum { M = 200, K = 300, ROW = 131 };
    static const int64_t cols[] = {90, 150, 1400, 3100};
    char *scratch = aligned_alloc(64, CPU_SCRATCH_BYTES);
    for (size_t i = 0; i < COUNT(cols); i++) {
        Product p = product_make(M, cols[i], K, B_TRANSPOSED);
        sgemm(scratch, p.g, p.c.data, p.a.data, p.b.data);
        for (int64_t col = 37; col < cols[i]; col = 2 * col + 13) {
            Stored part = part_of(scratch, &p, ROW, col, false);
            check_bits(part, p.c, ROW, col, "a part");
            free(part.data);
            int64_t panel = col / PANEL * PANEL;
            part = part_of(scratch, &p, ROW, panel, true);
            check_bits(part, p.c, ROW, panel, "a part of packed columns");
            free(part.data);
        }
        product_free(&p);
    }
    free(scratch);
}
