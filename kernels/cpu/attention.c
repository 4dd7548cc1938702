/* attention.c - attention of MLA, forward: per head and band of queries one walk over the blocks of keys, tile by tile,
 * with a running maximum and sum of each row (arXiv:1805.02867, 2205.14135). */
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

int64_t attention_dense_bytes(const Attention *a) {
    return gemm_is_own() ? 0 : a->block * (a->width + a->d) * attention_bytes(a) + 2 * 64;
}

void attention_dense(const Attention *a, const CpuThread *thread, char **at, char **keys, char **values) {
    char *scratch = thread->scratch, **from = gemm_is_own() ? &scratch : at;
    *keys = tile_take(from, a->block * a->width * attention_bytes(a));
    *values = tile_take(from, a->block * a->d * attention_bytes(a));
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

enum { BAND = 8 }; /* tiles, at most */

/* A thread's. probability is score itself in fp32. */
typedef struct {
    char *keys, *values; /* of a block, as they are read from kv; the products read the next two */
    Right by_keys, by_values;
    char *keys_room, *values_room;
    char *query, *probability;
    float *score;
    float *sum, *top, *mass; /* of the band's rows */
    int64_t packed_head, packed_block;
} Tiles;

static int64_t tiles_bytes(const Attention *a) {
    int64_t bytes = attention_bytes(a), narrow = attention_narrows(a) ? QUERIES * bytes : 0;
    return attention_dense_bytes(a) + right_bytes(a->width, a->block) + right_bytes(a->block, a->d) +
           a->block * (QUERIES * 4 + narrow) + QUERIES * (a->width * bytes + BAND * (a->d + 2) * 4) + 10 * 64;
}

static Tiles tiles_carve(const Attention *a, const CpuThread *thread) {
    char *at = thread->tiles;
    int64_t bytes = attention_bytes(a);
    Tiles t = {.packed_head = -1};
    attention_dense(a, thread, &at, &t.keys, &t.values);
    t.keys_room = tile_take(&at, right_bytes(a->width, a->block));
    t.values_room = tile_take(&at, right_bytes(a->block, a->d));
    t.query = tile_take(&at, QUERIES * a->width * bytes);
    t.score = tile_take(&at, QUERIES * a->block * 4);
    t.probability = attention_narrows(a) ? tile_take(&at, QUERIES * a->block * bytes) : (char *)t.score;
    t.sum = tile_take(&at, BAND * QUERIES * a->d * 4);
    t.top = tile_take(&at, BAND * QUERIES * 4);
    t.mass = tile_take(&at, BAND * QUERIES * 4);
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

/* A query's running softmax: its weighted values, its largest scaled score, its sum of exponentials. */
typedef struct {
    float *sum, *top, *mass;
} Running;
static Running running(const Tiles *t, const Attention *a, int64_t i) {
    return (Running){t->sum + i * a->d, t->top + i, t->mass + i};
}

/* The scores of a query against the block become exponentials below its running maximum. */
static void softmax_row(Running r, const Attention *a, float *x, int64_t n, KeySpan own) {
    if (own.first >= own.end) {
        memset(x, 0, (size_t)n * sizeof *x);
        return;
    }
    float before = *r.top, sum = exponentials(x, a->scale, r.top, own, n);
    float factor = before == -INFINITY ? 0 : fast_exp(before - *r.top);
    *r.mass = *r.mass * factor + sum;
    if (factor != 1 && factor != 0) floats_scale(r.sum, factor, a->d);
}

/* A tile of queries from `row` on, the band's from `place` on, against a part of a block of keys. */
static void attend_block(CpuThread *thread, const Attention *a, Tiles *t, int64_t row, int64_t place, int head,
                         int64_t index, KeySpan cut) {
    int64_t n = cut.end - cut.first, in = attention_flags(a);
    attention_tile(t->query, a->q, row, head * a->width, a->width);
    Gemm scores = {.m = QUERIES, .n = n, .k = a->width, .lda = a->width, .ldc = n, .flags = in};
    gemm_right(thread, scores, t->score, t->query, &t->by_keys, 0, cut.first);
    for (int64_t i = 0; i < QUERIES; i++) {
        KeySpan own = {0, 0};
        if (row + i < tensor_rows(a->q))
            own = attention_clip(attention_row(a, row + i), index * a->block + cut.first, n);
        softmax_row(running(t, a, place + i), a, t->score + i * n, n, own);
    }
    if (attention_narrows(a)) floats_store(t->probability, BF16, t->score, QUERIES * n);
    Gemm sums = {.m = QUERIES,
                 .n = a->d,
                 .k = n,
                 .lda = n,
                 .ldc = a->d,
                 .flags = (attention_narrows(a) ? in : 0) | ACCUMULATE};
    gemm_right(thread, sums, t->sum + place * a->d, t->probability, &t->by_values, cut.first, 0);
}

static void finish_row(Running r, const Attention *a, Tensor out, Tensor lse, int64_t row, int head) {
    bool none = *r.top == -INFINITY && *r.mass == 0;
    if (!none) floats_scale(r.sum, 1 / *r.mass, a->d);
    floats_store(element(out, row, head * a->d), out.dtype, r.sum, a->d);
    *(float *)element(lse, row, head) = none ? -INFINITY : *r.top + logf(*r.mass);
}

static void take_block(const Attention *a, Tiles *t, int head, int64_t index) {
    int64_t in = attention_flags(a);
    if (t->packed_head == head && t->packed_block == index) return;
    attention_pack(a, t->keys, t->values, head, index);
    t->by_keys = right_make(t->keys_room, a->width, a->block, t->keys, a->width, in | B_TRANSPOSED);
    t->by_values = right_make(t->values_room, a->block, a->d, t->values, a->d, in);
    t->packed_head = head, t->packed_block = index;
}

/* The queries of one head from first to end - 1: at most BAND tiles. */
static void attend_band(CpuThread *thread, const Attention *a, Tiles *t, Tensor out, Tensor lse, int64_t first,
                        int64_t end, int head) {
    KeySpan all = attention_span(a, first, end - first);
    int64_t rows = round_up(end - first, QUERIES);
    memset(t->sum, 0, (size_t)(rows * a->d) * sizeof *t->sum);
    for (int64_t i = 0; i < rows; i++) t->top[i] = -INFINITY, t->mass[i] = 0;
    for (int64_t index = all.first / a->block; index * a->block < all.end; index++)
        for (int64_t row = first; row < end; row += QUERIES) {
            KeySpan cut = attention_cut(a, attention_span(a, row, min_i64(QUERIES, end - row)), index);
            if (cut.first == cut.end) continue;
            take_block(a, t, head, index);
            attend_block(thread, a, t, row, row - first, head, index, cut);
        }
    for (int64_t row = first; row < end; row++) finish_row(running(t, a, row - first), a, out, lse, row, head);
}

void cpu_attention_forward(Device *device, Tensor out, Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range,
                           int heads, double scale) {
    enum { SHARES = 4 }; /* bands a thread, at least, where there are so many: one may be slower than another */
    shape_attention_forward(device, out, lse, q, kv, k_pe, range, heads);
    if (cpu_leaves(q)) {
        ref_attention_forward(device, out, lse, q, kv, k_pe, range, heads, scale);
        return;
    }
    Attention a = attention_make(q, kv, k_pe, range, heads, scale);
    a.block = attention_longest_block(&a);
    while (a.block > KEY_STEP && tiles_bytes(&a) > CPU_TILE_BYTES) a.block -= KEY_STEP;
    check(tiles_bytes(&a) <= CPU_TILE_BYTES, "heads of width %lld are too wide", (long long)a.width);
    int64_t rows = tensor_rows(q), tiles = ceil_div(rows, QUERIES);
    int64_t band = max_i64(1, min_i64(BAND, heads * tiles / (SHARES * device->threads))) * QUERIES;
    int64_t bands = ceil_div(rows, band);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
        Tiles t = tiles_carve(&a, thread);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < heads * bands; task++) {
            int64_t first = task % bands * band;
            attend_band(thread, &a, &t, out, lse, first, min_i64(first + band, rows), (int)(task / bands));
        }
    }
}
