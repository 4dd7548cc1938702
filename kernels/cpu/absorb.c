/* absorb.c - queries into latents and latents into values: a product a head. Tasks are heads, so each weight is read by
 * one thread; few rows go by dots.h, and then do not depend on how many they are. */
#include "kernels/cpu/dots.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <string.h>

/* y's columns from `to` on = (x's columns from `from` on) times w's rows from `row` on: (terms, cols) of them, or
 * (cols, terms) when transposed. */
typedef struct {
    Tensor y, x, w;
    int64_t to, from, row, terms, cols;
    bool transposed;
} HeadProduct;

static int64_t few_floats(const HeadProduct *p) { return FEW_ROWS * (p->terms + p->cols) + p->terms * p->cols; }

static void few_product(CpuThread *thread, const HeadProduct *p) {
    Dots d = {.m = tensor_rows(p->x), .n = p->cols, .k = p->terms, .ldc = p->cols};
    float *c = (float *)thread->tiles, *wide_a = c + FEW_ROWS * p->cols, *wide_b = wide_a + FEW_ROWS * p->terms;
    int64_t rows = p->transposed ? p->cols : p->terms, width = p->transposed ? p->terms : p->cols;
    const float *a = block_widened(wide_a, p->x, 0, d.m, p->from, p->terms, &d.lda);
    const float *b = block_widened(wide_b, p->w, p->row, rows, 0, width, &d.ldb);
    memset(c, 0, (size_t)(d.m * d.n) * sizeof *c);
    if (p->transposed)
        dots(d, c, a, b, F32);
    else
        combine(d, c, a, b);
    for (int64_t i = 0; i < d.m; i++) floats_store(element(p->y, i, p->to), p->y.dtype, c + i * d.n, d.n);
}

static void head_product(CpuThread *thread, const HeadProduct *p) {
    int64_t rows = tensor_rows(p->x);
    if (rows <= FEW_ROWS && few_floats(p) * 4 <= CPU_TILE_BYTES) {
        if (rows) few_product(thread, p);
        return;
    }
    Gemm g = {rows,
              p->cols,
              p->terms,
              p->x.row_stride,
              p->w.row_stride,
              p->y.row_stride,
              gemm_flags(p->x, p->y) | (p->transposed ? B_TRANSPOSED : 0)};
    gemm(thread, g, element(p->y, 0, p->to), element(p->x, 0, p->from), element(p->w, p->row, 0));
}

void cpu_absorb_queries(Device *device, Tensor y, Tensor q, Tensor w, int heads) {
    shape_absorb_queries(device, y, q, w, heads);
    if (cpu_leaves(q)) {
        ref_absorb_queries(device, y, q, w, heads);
        return;
    }
    LatentDims d = absorb_queries_dims(y, q, w, heads);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
#pragma omp for schedule(static)
        for (int h = 0; h < heads; h++) {
            int64_t from = h * (d.nope + d.rope), to = h * (d.latent + d.rope);
            HeadProduct p = {y, q, w, to, from, h * (d.nope + d.value), d.nope, d.latent, false};
            head_product(thread, &p);
            for (int64_t i = 0; i < tensor_rows(q); i++)
                memcpy(element(y, i, to + d.latent), element(q, i, from + d.nope),
                       (size_t)(d.rope * dtype_bytes(q.dtype)));
        }
    }
}

void cpu_absorb_values(Device *device, Tensor y, Tensor x, Tensor w, int heads) {
    shape_absorb_values(device, y, x, w, heads);
    if (cpu_leaves(x)) {
        ref_absorb_values(device, y, x, w, heads);
        return;
    }
    LatentDims d = absorb_values_dims(y, w, heads);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
#pragma omp for schedule(static)
        for (int h = 0; h < heads; h++) {
            int64_t row = h * (d.nope + d.value) + d.nope;
            HeadProduct p = {y, x, w, h * d.value, h * d.latent, row, d.latent, d.value, true};
            head_product(thread, &p);
        }
    }
}
