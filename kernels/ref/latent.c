/* latent.c - attention over a cache of latents, per query and head, and what it takes in and gives out. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

enum { MAX_LATENT = 4096 };

void ref_absorb_queries(Device *device, Tensor y, Tensor q, Tensor w, int heads) {
    shape_absorb_queries(device, y, q, w, heads);
    LatentDims d = absorb_queries_dims(y, q, w, heads);
    for (int64_t i = 0; i < tensor_rows(q); i++)
        for (int h = 0; h < heads; h++) {
            int64_t from = h * (d.nope + d.rope), to = h * (d.latent + d.rope), row = h * (d.nope + d.value);
            for (int64_t c = 0; c < d.latent; c++) {
                double sum = 0;
                for (int64_t j = 0; j < d.nope; j++) sum += get(q, i, from + j) * get(w, row + j, c);
                put(y, i, to + c, sum);
            }
            for (int64_t c = 0; c < d.rope; c++) put(y, i, to + d.latent + c, get(q, i, from + d.nope + c));
        }
}

void ref_absorb_values(Device *device, Tensor y, Tensor x, Tensor w, int heads) {
    shape_absorb_values(device, y, x, w, heads);
    LatentDims d = absorb_values_dims(y, w, heads);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int h = 0; h < heads; h++)
            for (int64_t j = 0; j < d.value; j++) {
                int64_t row = h * (d.nope + d.value) + d.nope + j;
                double sum = 0;
                for (int64_t c = 0; c < d.latent; c++) sum += get(x, i, h * d.latent + c) * get(w, row, c);
                put(y, i, h * d.value + j, sum);
            }
}

typedef struct {
    Tensor q, cache;
    double scale;
} Latent;

static double score_of(const Latent *a, int64_t i, int64_t row, int h) {
    int64_t width = tensor_cols(a->cache);
    double sum = 0;
    for (int64_t c = 0; c < width; c++) sum += get(a->q, i, h * width + c) * get(a->cache, row, c);
    return a->scale * sum;
}

static void attend(const Latent *a, Tensor out, int64_t i, int h, int64_t first, int64_t end, int64_t latent) {
    double top = -INFINITY, mass = 0, sum[MAX_LATENT];
    memset(sum, 0, (size_t)latent * sizeof *sum);
    for (int64_t j = first; j < end; j++) top = fmax(top, score_of(a, i, j, h));
    for (int64_t j = first; j < end; j++) {
        double p = exp(score_of(a, i, j, h) - top);
        mass += p;
        for (int64_t c = 0; c < latent; c++) sum[c] += p * get(a->cache, j, c);
    }
    for (int64_t c = 0; c < latent; c++) put(out, i, h * latent + c, first < end ? sum[c] / mass : 0);
}

void ref_attention_latent(Device *device, Tensor out, Tensor parts, Tensor q, Tensor cache, Tensor range, int heads,
                          double scale) {
    shape_attention_latent(device, out, parts, q, cache, range, heads);
    Latent a = {q, cache, scale};
    int64_t latent = tensor_cols(out) / heads;
    check(latent <= MAX_LATENT, "latents wider than %d", MAX_LATENT);
    for (int64_t i = 0; i < tensor_rows(q); i++) {
        int64_t first = id_at(range, i, 0), end = id_at(range, i, 1);
        check(first >= 0 && first <= end && end <= tensor_rows(cache), "query %lld sees rows %lld to %lld of %lld",
              (long long)i, (long long)first, (long long)end, (long long)tensor_rows(cache));
        for (int h = 0; h < heads; h++) attend(&a, out, i, h, first, end, latent);
        device->latent_bytes += heads * (end - first) * tensor_cols(cache) * dtype_bytes(cache.dtype);
    }
}

void ref_merge_attention(Device *device, Tensor sum, Tensor lse, Tensor part, Tensor part_lse) {
    shape_merge_attention(device, sum, lse, part, part_lse);
    int64_t heads = tensor_cols(lse), d = tensor_cols(sum) / heads;
    for (int64_t i = 0; i < tensor_rows(sum); i++)
        for (int64_t h = 0; h < heads; h++) {
            double old = get(lse, i, h), more = get(part_lse, i, h), top = fmax(old, more);
            if (more == -INFINITY) continue;
            double both = top + log(exp(old - top) + exp(more - top));
            for (int64_t c = h * d; c < (h + 1) * d; c++)
                put(sum, i, c, get(sum, i, c) * exp(old - both) + get(part, i, c) * exp(more - both));
            put(lse, i, h, both);
        }
}
