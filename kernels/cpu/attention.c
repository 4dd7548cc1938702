/* attention.c - attention of MLA, forward: per head and tile of queries one walk over the blocks of
 * keys with a running maximum and sum of each row (arXiv:1805.02867, 2205.14135). */
#include "kernels/cpu/attention.h"

#include <math.h>
#include <string.h>

Attention attention_make(Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads, double scale) {
    HeadDims dims = attention_dims(q, kv, k_pe, heads);
    check(scale > 0, "the scale of scores is %g", scale);
    for (int64_t i = 0; i < tensor_rows(q); i++) {
        int32_t first = id_of(range, i, 0), end = id_of(range, i, 1);
        check(first >= 0 && first <= end && end <= tensor_rows(kv), "query %lld sees keys %d to %d of %lld",
              (long long)i, first, end, (long long)tensor_rows(kv));
    }
    return (Attention){q, kv, k_pe, range, dims.nope, dims.rope, dims.value, dims.nope + dims.rope, 0, (float)scale};
}

KeySpan attention_row(const Attention *a, int64_t row) {
    return (KeySpan){id_of(a->range, row, 0), id_of(a->range, row, 1)};
}

KeySpan attention_span(const Attention *a, int64_t row, int64_t rows) {
    KeySpan all = {INT64_MAX, 0};
    for (int64_t i = row; i < row + rows; i++) {
        KeySpan own = attention_row(a, i);
        if (own.first >= own.end) continue;
        all.first = min_i64(all.first, own.first);
        all.end = max_i64(all.end, own.end);
    }
    return all.end ? all : (KeySpan){0, 0};
}

KeySpan attention_cut(const Attention *a, KeySpan seen, int64_t index) {
    int64_t start = index * a->block;
    int64_t first = max_i64(seen.first - start, 0), end = min_i64(seen.end - start, a->block);
    if (first >= end) return (KeySpan){0, 0};
    return (KeySpan){first / KEY_STEP * KEY_STEP, round_up(end, KEY_STEP)};
}

/* Rows of one head lie far apart, where no hardware prefetcher follows: ask for them early. */
enum { AHEAD = 16 };
static void prefetch(const void *row, int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)row + at);
}

void attention_pack(const Attention *a, char *keys, char *values, int head, int64_t index) {
    int64_t bytes = attention_bytes(a), start = index * a->block;
    int64_t present = min_i64(a->block, tensor_rows(a->kv) - start);
    size_t nope = (size_t)(a->n * bytes), rope = (size_t)(a->r * bytes), value = (size_t)(a->d * bytes);
    for (int64_t i = 0; i < present; i++) {
        const char *kv = element(a->kv, start + i, head * (a->n + a->d));
        prefetch(element(a->kv, start + min_i64(i + AHEAD, present - 1), head * (a->n + a->d)),
                 (a->n + a->d) * bytes);
        memcpy(keys + (size_t)i * (nope + rope), kv, nope);
        memcpy(keys + (size_t)i * (nope + rope) + nope, element(a->k_pe, start + i, 0), rope);
        memcpy(values + (size_t)i * value, kv + nope, value);
    }
    memset(keys + (size_t)present * (nope + rope), 0, (size_t)(a->block - present) * (nope + rope));
    memset(values + (size_t)present * value, 0, (size_t)(a->block - present) * value);
}

void attention_tile(char *tile, Tensor x, int64_t row, int64_t col, int64_t cols) {
    size_t bytes = (size_t)(cols * dtype_bytes(x.dtype));
    for (int64_t i = 0; i < QUERIES; i++, tile += bytes) {
        int64_t next = min_i64(row + i + QUERIES, tensor_rows(x) - 1); /* for the next tile */
        prefetch(element(x, next, col), (int64_t)bytes);
        if (row + i < tensor_rows(x))
            memcpy(tile, element(x, row + i, col), bytes);
        else
            memset(tile, 0, bytes);
    }
}

/* A thread's tiles. probability is score itself in fp32. */
typedef struct {
    char *keys, *values, *query, *probability;
    float *score, *sum;
    float top[QUERIES], mass[QUERIES];
    int64_t packed_head, packed_block;
} Tiles;

static int64_t tiles_bytes(const Attention *a) {
    int64_t bytes = attention_bytes(a), narrow = a->q.dtype == BF16 ? QUERIES * bytes : 0;
    return a->block * ((a->width + a->d) * bytes + QUERIES * 4 + narrow) + QUERIES * (a->width * bytes + a->d * 4) +
           6 * 64;
}

static Tiles tiles_carve(const Attention *a, char *at) {
    int64_t bytes = attention_bytes(a);
    Tiles t = {.packed_head = -1};
    t.keys = tile_take(&at, a->block * a->width * bytes);
    t.values = tile_take(&at, a->block * a->d * bytes);
    t.query = tile_take(&at, QUERIES * a->width * bytes);
    t.score = tile_take(&at, QUERIES * a->block * 4);
    t.probability = a->q.dtype == BF16 ? tile_take(&at, QUERIES * a->block * bytes) : (char *)t.score;
    t.sum = tile_take(&at, QUERIES * a->d * 4);
    return t;
}

/* Turns n scores into exponentials of scale x - top, 0 outside first .. end - 1; top grows to the
 * largest scaled score. Returns their sum. */
static LOOP float exponentials(float *x, float scale, float *top, KeySpan own, int64_t n) {
    float largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = own.first; i < own.end; i++) largest = x[i] > largest ? x[i] : largest;
    float shift = scale * largest > *top ? scale * largest : *top;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = own.first; i < own.end; i++) {
        float e = fast_exp(scale * x[i] - shift);
        x[i] = e;
        sum += e;
    }
    for (int64_t i = 0; i < own.first; i++) x[i] = 0;
    for (int64_t i = own.end; i < n; i++) x[i] = 0;
    *top = shift;
    return sum;
}

/* The scores of query i against the block become exponentials below its running maximum. */
static void softmax_row(Tiles *t, const Attention *a, int64_t i, float *x, int64_t n, KeySpan own) {
    if (own.first >= own.end) {
        memset(x, 0, (size_t)n * sizeof *x);
        return;
    }
    float before = t->top[i], sum = exponentials(x, a->scale, &t->top[i], own, n);
    float factor = before == -INFINITY ? 0 : fast_exp(before - t->top[i]);
    t->mass[i] = t->mass[i] * factor + sum;
    if (factor != 1 && factor != 0) floats_scale(t->sum + i * a->d, factor, a->d);
}

/* One block of keys for the tile of queries from `row` on. */
static void attend_block(CpuThread *thread, const Attention *a, Tiles *t, int64_t row, int64_t index, KeySpan cut) {
    int64_t n = cut.end - cut.first, bytes = attention_bytes(a), in = a->q.dtype == BF16 ? IN_BF16 : 0;
    Gemm scores = {QUERIES, n, a->width, a->width, a->width, n, in | B_TRANSPOSED};
    gemm(thread, scores, t->score, t->query, t->keys + cut.first * a->width * bytes);
    for (int64_t i = 0; i < QUERIES; i++) {
        KeySpan own = {0, 0};
        if (row + i < tensor_rows(a->q))
            own = attention_clip(attention_row(a, row + i), index * a->block + cut.first, n);
        softmax_row(t, a, i, t->score + i * n, n, own);
    }
    if (in) floats_store(t->probability, BF16, t->score, QUERIES * n);
    Gemm sums = {QUERIES, a->d, n, n, a->d, a->d, in | ACCUMULATE};
    gemm(thread, sums, t->sum, t->probability, t->values + cut.first * a->d * bytes);
}

static void finish_row(const Tiles *t, const Attention *a, Tensor out, Tensor lse, int64_t row, int64_t i, int head) {
    float *sum = t->sum + i * a->d;
    bool none = t->top[i] == -INFINITY && t->mass[i] == 0;
    if (!none) floats_scale(sum, 1 / t->mass[i], a->d);
    floats_store(element(out, row + i, head * a->d), out.dtype, sum, a->d);
    *(float *)element(lse, row + i, head) = none ? -INFINITY : t->top[i] + logf(t->mass[i]);
}

static void attend_tile(CpuThread *thread, const Attention *a, Tiles *t, Tensor out, Tensor lse, int64_t row,
                        int head) {
    int64_t rows = min_i64(QUERIES, tensor_rows(a->q) - row);
    KeySpan seen = attention_span(a, row, rows);
    attention_tile(t->query, a->q, row, head * a->width, a->width);
    memset(t->sum, 0, (size_t)(QUERIES * a->d) * sizeof *t->sum);
    for (int64_t i = 0; i < QUERIES; i++) t->top[i] = -INFINITY, t->mass[i] = 0;
    for (int64_t index = seen.first / a->block; index * a->block < seen.end; index++) {
        if (t->packed_head != head || t->packed_block != index) attention_pack(a, t->keys, t->values, head, index);
        t->packed_head = head, t->packed_block = index;
        attend_block(thread, a, t, row, index, attention_cut(a, seen, index));
    }
    for (int64_t i = 0; i < rows; i++) finish_row(t, a, out, lse, row, i, head);
}

void cpu_attention_forward(Device *device, Tensor out, Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range,
                           int heads, double scale) {
    enum { MOST_KEYS = 512 };
    shape_attention_forward(device, out, lse, q, kv, k_pe, range, heads);
    if (cpu_leaves(q)) {
        ref_attention_forward(device, out, lse, q, kv, k_pe, range, heads, scale);
        return;
    }
    Attention a = attention_make(q, kv, k_pe, range, heads, scale);
    for (a.block = MOST_KEYS; a.block > KEY_STEP && tiles_bytes(&a) > CPU_TILE_BYTES;) a.block -= KEY_STEP;
    check(tiles_bytes(&a) <= CPU_TILE_BYTES, "heads of width %lld are too wide", (long long)a.width);
    int64_t tiles = ceil_div(tensor_rows(q), QUERIES);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
        Tiles t = tiles_carve(&a, thread->tiles);
#pragma omp for schedule(dynamic, 8)
        for (int64_t task = 0; task < heads * tiles; task++)
            attend_tile(thread, &a, &t, out, lse, task % tiles * QUERIES, (int)(task / tiles));
    }
}
