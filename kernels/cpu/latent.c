/* latent.c - attention over a cache of latents: a block of rows serves all heads of a token before the next is read.
 *
 * A tile is a few consecutive queries of one sequence, all their heads; a sequence's rows are cut into splits by its
 * length alone, and splits are merged in order, so that neither the threads nor other sequences change a result. With
 * fewer tiles than threads, splits are computed side by side and meet in `parts`. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dots.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <math.h>
#include <string.h>

enum { LEAST_SPLIT = 512 };
_Static_assert(LATENT_FLOATS_MOST * 4 <= CPU_TILE_BYTES, "configs allow what a thread has no room for");

typedef struct {
    Tensor out, parts, q, cache, range;
    int64_t heads, width, latent;
    float scale;
    int64_t *bytes_read;
} Latent;

typedef struct {
    int64_t first, end;
} Rows;

typedef struct {
    int64_t token, tokens; /* queries */
    Rows seen;             /* by any of them */
    int64_t split, splits; /* rows a split; how many */
} LatentTile;

static Rows row_range(const Latent *a, int64_t token) {
    Rows r = {id_of(a->range, token, 0), id_of(a->range, token, 1)};
    check(r.first >= 0 && r.first <= r.end && r.end <= tensor_rows(a->cache),
          "query %lld sees rows %lld to %lld of %lld", (long long)token, (long long)r.first, (long long)r.end,
          (long long)tensor_rows(a->cache));
    return r;
}

/* The tile that begins at a token. */
static LatentTile tile_at(const Latent *a, int64_t token) {
    LatentTile t = {.token = token, .tokens = 1, .seen = row_range(a, token)};
    int64_t most = min_i64(attention_latent_tile((int)a->heads), tensor_rows(a->q) - token);
    for (; t.tokens < most; t.tokens++) {
        Rows next = row_range(a, token + t.tokens);
        if (next.first != t.seen.first) break;
        t.seen.end = max_i64(t.seen.end, next.end);
    }
    int64_t rows = t.seen.end - t.seen.first;
    t.splits = max_i64(1, min_i64(LATENT_SPLITS, ceil_div(rows, LEAST_SPLIT)));
    t.split = round_up(ceil_div(rows, t.splits), LATENT_KEYS);
    return t;
}

/* What a thread computes with: rows are (token, head) of a tile. */
typedef struct {
    float *query, *keys, *score; /* (m, width) (LATENT_KEYS, width) (m, LATENT_KEYS) */
    float *part, *sum;           /* (m, latent + 2): weighted latents, their largest score, their mass */
} LatentSpace;

static float *take_floats(char **at, int64_t count) {
    float *floats = (float *)*at;
    *at += round_up(count * 4, 64);
    return floats;
}

static LatentSpace space_carve(const Latent *a, char *at, char *end) {
    int64_t m = attention_latent_tile((int)a->heads) * a->heads;
    LatentSpace s;
    s.query = take_floats(&at, m * a->width);
    s.keys = take_floats(&at, LATENT_KEYS * a->width);
    s.score = take_floats(&at, m * LATENT_KEYS);
    s.part = take_floats(&at, m * (a->latent + 2));
    s.sum = take_floats(&at, m * (a->latent + 2));
    check(at <= end, "%lld heads over latents of %lld are more than a thread has room for", (long long)a->heads,
          (long long)a->latent);
    return s;
}

static void part_clear(const Latent *a, float *part, int64_t rows) {
    for (int64_t i = 0; i < rows; i++, part += a->latent + 2) {
        memset(part, 0, (size_t)(a->latent + 2) * sizeof *part);
        part[a->latent] = -INFINITY;
    }
}

static void load_queries(const Latent *a, const LatentTile *t, float *query) {
    for (int64_t i = 0; i < t->tokens; i++, query += a->heads * a->width)
        floats_load(query, element(a->q, t->token + i, 0), a->q.dtype, a->heads * a->width);
}

/* n scores become exponentials of scale x - top, 0 behind the first `seen`; returns their sum. */
static LOOP float exponentials(float *x, float scale, float *top, int64_t seen, int64_t n) {
    float largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < seen; i++) largest = x[i] > largest ? x[i] : largest;
    float shift = scale * largest > *top ? scale * largest : *top;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < seen; i++) {
        float e = fast_exp(scale * x[i] - shift);
        x[i] = e;
        sum += e;
    }
    for (int64_t i = seen; i < n; i++) x[i] = 0;
    *top = shift;
    return sum;
}

static void softmax_row(const Latent *a, float *part, float *score, int64_t seen, int64_t n) {
    float *top = part + a->latent, *mass = top + 1, before = *top;
    if (seen <= 0) {
        memset(score, 0, (size_t)n * sizeof *score);
        return;
    }
    float sum = exponentials(score, a->scale, top, min_i64(seen, n), n);
    float factor = before == -INFINITY ? 0 : fast_exp(before - *top);
    *mass = *mass * factor + sum;
    if (factor != 1 && factor != 0) floats_scale(part, factor, a->latent);
}

/* All rows of a tile against n rows of the cache. */
static void attend_block(const Latent *a, const LatentTile *t, LatentSpace *s, float *part, int64_t first,
                         int64_t n) {
    int64_t m = t->tokens * a->heads, stride, unit = a->latent + 2;
    const float *keys = block_widened(s->keys, a->cache, first, n, 0, a->width, &stride);
    dots((Dots){m, n, a->width, a->width, stride, LATENT_KEYS}, s->score, s->query, keys, F32);
    for (int64_t i = 0; i < m; i++) {
        int64_t seen = row_range(a, t->token + i / a->heads).end - first;
        softmax_row(a, part + i * unit, s->score + i * LATENT_KEYS, seen, n);
    }
    combine((Dots){m, a->latent, n, LATENT_KEYS, stride, unit}, part, s->score, keys);
}

static void attend_split(const Latent *a, const LatentTile *t, LatentSpace *s, float *part, int64_t split) {
    int64_t first = t->seen.first + split * t->split, end = min_i64(first + t->split, t->seen.end);
    part_clear(a, part, t->tokens * a->heads);
    __atomic_fetch_add(a->bytes_read, max_i64(end - first, 0) * a->width * dtype_bytes(a->cache.dtype),
                       __ATOMIC_RELAXED);
    for (; first < end; first += LATENT_KEYS) attend_block(a, t, s, part, first, min_i64(LATENT_KEYS, end - first));
}

/* Whoever sees a row sees the first, so that a sum of nothing is only met by parts of nothing. */
static LOOP void merge_row(float *restrict sum, const float *restrict part, int64_t latent) {
    if (part[latent] == -INFINITY) return;
    float top = sum[latent] > part[latent] ? sum[latent] : part[latent];
    float old = fast_exp(sum[latent] - top), new = fast_exp(part[latent] - top);
    for (int64_t c = 0; c < latent; c++) sum[c] = sum[c] * old + part[c] * new;
    sum[latent] = top;
    sum[latent + 1] = sum[latent + 1] * old + part[latent + 1] * new;
}

static void finish_row(const Latent *a, const LatentTile *t, float *sum, int64_t i) {
    if (sum[a->latent + 1] > 0) floats_scale(sum, 1 / sum[a->latent + 1], a->latent);
    floats_store(element(a->out, t->token + i / a->heads, i % a->heads * a->latent), a->out.dtype, sum, a->latent);
}

/* One tile, split after split. */
static void attend_tile(const Latent *a, LatentSpace *s, int64_t token) {
    LatentTile t = tile_at(a, token);
    int64_t m = t.tokens * a->heads, unit = a->latent + 2;
    load_queries(a, &t, s->query);
    attend_split(a, &t, s, s->sum, 0);
    for (int64_t split = 1; split < t.splits; split++) {
        attend_split(a, &t, s, s->part, split);
        for (int64_t i = 0; i < m; i++) merge_row(s->sum + i * unit, s->part + i * unit, a->latent);
    }
    for (int64_t i = 0; i < m; i++) finish_row(a, &t, s->sum + i * unit, i);
}

/* Where a split of a tile lies in parts: a token has LATENT_SPLITS places, a tile those of its tokens. */
static float *part_of(const Latent *a, const LatentTile *t, int64_t split) {
    return element(a->parts, (t->token * LATENT_SPLITS + split * t->tokens) * a->heads, 0);
}

static void merge_tile(const Latent *a, int64_t token) {
    LatentTile t = tile_at(a, token);
    int64_t unit = a->parts.row_stride;
    for (int64_t i = 0; i < t.tokens * a->heads; i++) {
        float *sum = part_of(a, &t, 0) + i * unit;
        for (int64_t split = 1; split < t.splits; split++)
            merge_row(sum, part_of(a, &t, split) + i * unit, a->latent);
        finish_row(a, &t, sum, i);
    }
}

static void attend_part(const Latent *a, LatentSpace *s, int64_t token, int64_t split) {
    int64_t stride = a->parts.row_stride;
    LatentTile t = tile_at(a, token);
    if (split >= t.splits) return;
    load_queries(a, &t, s->query);
    attend_split(a, &t, s, s->part, split);
    for (int64_t i = 0; i < t.tokens * a->heads; i++)
        memcpy(part_of(a, &t, split) + i * stride, s->part + i * (a->latent + 2),
               (size_t)(a->latent + 2) * sizeof(float));
}

static void attend_all(Device *device, const Latent *a, const int64_t *token, int64_t tiles) {
    bool together = tiles >= device->threads;
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
        LatentSpace s = space_carve(a, thread->tiles, thread->tiles + CPU_TILE_BYTES);
        if (together) {
#pragma omp for schedule(dynamic)
            for (int64_t tile = 0; tile < tiles; tile++) attend_tile(a, &s, token[tile]);
        } else {
#pragma omp for schedule(dynamic)
            for (int64_t unit = 0; unit < tiles * LATENT_SPLITS; unit++)
                attend_part(a, &s, token[unit / LATENT_SPLITS], unit % LATENT_SPLITS);
#pragma omp for schedule(static)
            for (int64_t tile = 0; tile < tiles; tile++) merge_tile(a, token[tile]);
        }
    }
}

void cpu_attention_latent(Device *device, Tensor out, Tensor parts, Tensor q, Tensor cache, Tensor range, int heads,
                          double scale) {
    shape_attention_latent(device, out, parts, q, cache, range, heads);
    if (cpu_leaves(q)) {
        ref_attention_latent(device, out, parts, q, cache, range, heads, scale);
        return;
    }
    check(scale > 0, "the scale of scores is %g", scale);
    Latent a = {out,
                parts,
                q,
                cache,
                range,
                heads,
                tensor_cols(cache),
                tensor_cols(out) / heads,
                (float)scale,
                &device->latent_bytes};
    int64_t n = tensor_rows(q), token[n + 1], tiles = 0;
    for (int64_t at = 0; at < n; at += tile_at(&a, at).tokens) token[tiles++] = at;
    if (tiles) attend_all(device, &a, token, tiles);
}

/* -- more keys -- */

static LOOP void weigh(float *restrict sum, const float *restrict part, float old, float more, int64_t n) {
    for (int64_t i = 0; i < n; i++) sum[i] = sum[i] * old + part[i] * more;
}

static void merge_head(Tensor sum, float *lse, Tensor part, float more, int64_t row, int64_t col, int64_t d) {
    float buffer[PIECE];
    if (more == -INFINITY) return;
    float top = *lse > more ? *lse : more, both = top + logf(expf(*lse - top) + expf(more - top));
    for (int64_t c = 0; c < d; c += PIECE) {
        int64_t n = min_i64(PIECE, d - c);
        const float *piece = piece_in(part, row, col + c, n, buffer);
        weigh(element(sum, row, col + c), piece, expf(*lse - both), expf(more - both), n);
    }
    *lse = both;
}

void cpu_merge_attention(Device *device, Tensor sum, Tensor lse, Tensor part, Tensor part_lse) {
    shape_merge_attention(device, sum, lse, part, part_lse);
    if (cpu_leaves(part)) {
        ref_merge_attention(device, sum, lse, part, part_lse);
        return;
    }
    int64_t heads = tensor_cols(lse), d = tensor_cols(sum) / heads;
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < tensor_rows(sum); i++)
        for (int64_t h = 0; h < heads; h++)
            merge_head(sum, element(lse, i, h), part, *(float *)element(part_lse, i, h), i, h * d, d);
}
