/* attention_backward.c - attention of MLA, backward: blocks of keys one after the other, heads in
 * parallel, for each head one walk over the tiles of queries that see the block.
 *
 * dk and dv of a block are complete when its walk ends. dq grows from block to block: the first
 * block that a tile sees writes it. dk_pe sums over heads: a thread adds up its own heads in order,
 * then the threads' sums are added in order. */
#include "kernels/cpu/attention.h"

#include <omp.h>
#include <string.h>

typedef struct {
    Attention a;
    Tensor dq, dkv, dk_pe, dout, out, lse;
} Backward;

/* A thread's. p and ds are score and dp themselves in fp32. */
typedef struct {
    char *keys, *values; /* of a block, as they are read from kv */
    char *query, *dout;  /* of a tile */
    Right by_keys, by_values, by_key_rows, by_query, by_dout;
    char *keys_room, *values_room, *key_rows_room, *query_room, *dout_room;
    char *p, *ds;
    float *score, *dp, *dkeys, *dvalues, *dquery, *dk_pe;
} Tiles;

/* dquery lies where query was packed: that is read for the last time before. */
static int64_t dquery_bytes(const Attention *a) {
    return max_i64(right_bytes(QUERIES, a->width), QUERIES * a->width * 4);
}

static int64_t tiles_bytes(const Attention *a) {
    int64_t bytes = attention_bytes(a), narrow = attention_narrows(a) ? 2 * QUERIES * bytes : 0;
    int64_t packed = right_bytes(a->width, a->block) + right_bytes(a->d, a->block) + right_bytes(a->block, a->width) +
                     right_bytes(QUERIES, a->d);
    return attention_dense_bytes(a) + packed + dquery_bytes(a) +
           a->block * ((a->width + a->d) * 4 + 2 * QUERIES * 4 + narrow + a->r * 4) +
           QUERIES * (a->width + a->d) * bytes + 15 * 64;
}

static Tiles tiles_carve(const Attention *a, const CpuThread *thread) {
    char *at = thread->tiles;
    int64_t bytes = attention_bytes(a);
    bool narrow = attention_narrows(a);
    Tiles t;
    t.dk_pe = tile_take(&at, a->block * a->r * 4); /* first: other threads look for it there */
    attention_dense(a, thread, &at, &t.keys, &t.values);
    t.keys_room = tile_take(&at, right_bytes(a->width, a->block));
    t.values_room = tile_take(&at, right_bytes(a->d, a->block));
    t.key_rows_room = tile_take(&at, right_bytes(a->block, a->width));
    t.dout_room = tile_take(&at, right_bytes(QUERIES, a->d));
    t.query = tile_take(&at, QUERIES * a->width * bytes);
    t.dout = tile_take(&at, QUERIES * a->d * bytes);
    t.score = tile_take(&at, QUERIES * a->block * 4);
    t.dp = tile_take(&at, QUERIES * a->block * 4);
    t.p = narrow ? tile_take(&at, QUERIES * a->block * bytes) : (char *)t.score;
    t.ds = narrow ? tile_take(&at, QUERIES * a->block * bytes) : (char *)t.dp;
    t.dkeys = tile_take(&at, a->block * a->width * 4);
    t.dvalues = tile_take(&at, a->block * a->d * 4);
    t.query_room = tile_take(&at, dquery_bytes(a));
    t.dquery = (float *)t.query_room;
    return t;
}

/* What turns the scores of one query into gradients; 0 outside `own`. */
typedef struct {
    float scale, lse, delta;
    KeySpan own;
} RowRule;

/* score -> p = exp(scale score - lse), dp -> ds = scale p (dp - delta) */
static LOOP void gradients(float *restrict score, float *restrict dp, RowRule rule, int64_t n) {
    for (int64_t i = 0; i < rule.own.first; i++) score[i] = dp[i] = 0;
    for (int64_t i = rule.own.end; i < n; i++) score[i] = dp[i] = 0;
    for (int64_t i = rule.own.first; i < rule.own.end; i++) {
        float p = fast_exp(rule.scale * score[i] - rule.lse);
        score[i] = p;
        dp[i] = rule.scale * p * (dp[i] - rule.delta);
    }
}

/* The same, narrowed to bf16. */
static LOOP void gradients_bf16(uint16_t *restrict p, uint16_t *restrict ds, const float *restrict score,
                                const float *restrict dp, RowRule rule, int64_t n) {
    for (int64_t i = 0; i < rule.own.first; i++) p[i] = ds[i] = 0;
    for (int64_t i = rule.own.end; i < n; i++) p[i] = ds[i] = 0;
    for (int64_t i = rule.own.first; i < rule.own.end; i++) {
        float e = fast_exp(rule.scale * score[i] - rule.lse);
        p[i] = narrow_float(e);
        ds[i] = narrow_float(rule.scale * e * (dp[i] - rule.delta));
    }
}

static LOOP float dot(const float *x, const float *y, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static LOOP float dot_bf16(const uint16_t *x, const uint16_t *y, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += widen_bits(x[i]) * widen_bits(y[i]);
    return sum;
}

/* sum of dout out over a head's columns */
static float row_delta(const Backward *b, int64_t row, int head) {
    const void *dout = element(b->dout, row, head * b->a.d), *out = element(b->out, row, head * b->a.d);
    return b->out.dtype == F32 ? dot(dout, out, b->a.d) : dot_bf16(dout, out, b->a.d);
}

/* p and ds of the tile from `row` on, for n keys from `start` on. */
static void tile_gradients(const Backward *b, Tiles *t, int64_t row, int head, int64_t start, int64_t n) {
    for (int64_t i = 0; i < QUERIES; i++) {
        RowRule rule = {.scale = b->a.scale};
        KeySpan all = {0};
        if (row + i < tensor_rows(b->a.q)) all = attention_row(&b->a, row + i);
        rule.own = attention_clip(all, start, n);
        if (rule.own.first < rule.own.end) {
            rule.lse = *(const float *)element(b->lse, row + i, head);
            rule.delta = row_delta(b, row + i, head);
        }
        float *score = t->score + i * n, *dp = t->dp + i * n;
        /* A softmax over one key is constant: 0, where the difference of two sums would leave noise. */
        if (all.end - all.first == 1 && rule.own.first < rule.own.end) rule.delta = dp[rule.own.first];
        if (!attention_narrows(&b->a))
            gradients(score, dp, rule, n);
        else
            gradients_bf16((uint16_t *)t->p + i * n, (uint16_t *)t->ds + i * n, score, dp, rule, n);
    }
}

/* Adds the tile's dq for this block of keys to dq, or begins it. */
static void put_dquery(const Backward *b, const Tiles *t, int64_t row, int head, bool begins) {
    int64_t width = b->a.width, rows = min_i64(QUERIES, tensor_rows(b->dq) - row);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t col = 0; col < width; col += PIECE) {
            float sum[PIECE], *to = element(b->dq, row + i, head * width + col);
            int64_t n = min_i64(PIECE, width - col);
            memcpy(sum, t->dquery + i * width + col, (size_t)n * sizeof *sum);
            if (!begins) {
                float before[PIECE];
                floats_add(sum, piece_in(b->dq, row + i, head * width + col, n, before), n);
            }
            floats_store(to, b->dq.dtype, sum, n);
        }
}

static void take_tile(const Backward *b, Tiles *t, int64_t row, int head) {
    const Attention *a = &b->a;
    int64_t in = attention_flags(a);
    attention_tile(t->query, a->q, row, head * a->width, a->width);
    attention_tile(t->dout, b->dout, row, head * a->d, a->d);
    t->by_query = right_make(t->query_room, QUERIES, a->width, t->query, a->width, in);
    t->by_dout = right_make(t->dout_room, QUERIES, a->d, t->dout, a->d, in);
}

static void backward_tile(CpuThread *thread, const Backward *b, Tiles *t, int64_t row, int head, int64_t index) {
    const Attention *a = &b->a;
    KeySpan seen = attention_span(a, row, min_i64(QUERIES, tensor_rows(a->q) - row)),
            cut = attention_cut(a, seen, index);
    int64_t n = cut.end - cut.first, in = attention_flags(a), narrow = attention_narrows(a) ? in : 0;
    if (!n) return;
    take_tile(b, t, row, head);
    Gemm g = {.m = QUERIES, .n = n, .k = a->width, .lda = a->width, .ldc = n, .flags = in};
    gemm_right(thread, g, t->score, t->query, &t->by_keys, 0, cut.first);
    g.k = g.lda = a->d;
    gemm_right(thread, g, t->dp, t->dout, &t->by_values, 0, cut.first);
    tile_gradients(b, t, row, head, index * a->block + cut.first, n);
    g = (Gemm){.m = n, .n = a->d, .k = QUERIES, .lda = n, .ldc = a->d, .flags = narrow | A_TRANSPOSED | ACCUMULATE};
    gemm_right(thread, g, t->dvalues + cut.first * a->d, t->p, &t->by_dout, 0, 0);
    g.n = g.ldc = a->width;
    gemm_right(thread, g, t->dkeys + cut.first * a->width, t->ds, &t->by_query, 0, 0);
    g = (Gemm){.m = QUERIES, .n = a->width, .k = n, .lda = n, .ldc = a->width, .flags = narrow};
    gemm_right(thread, g, t->dquery, t->ds, &t->by_key_rows, cut.first, 0);
    put_dquery(b, t, row, head, index == seen.first / a->block);
}

/* Writes the block's dk_nope and dv of one head and adds its dk_pe to the thread's. */
static void put_dkeys(const Backward *b, Tiles *t, int head, int64_t index) {
    const Attention *a = &b->a;
    int64_t start = index * a->block, rows = min_i64(a->block, tensor_rows(a->kv) - start);
    for (int64_t i = 0; i < rows; i++) {
        const float *dkey = t->dkeys + i * a->width;
        int64_t col = head * (a->n + a->d);
        floats_store(element(b->dkv, start + i, col), b->dkv.dtype, dkey, a->n);
        floats_store(element(b->dkv, start + i, col + a->n), b->dkv.dtype, t->dvalues + i * a->d, a->d);
        floats_add(t->dk_pe + i * a->r, dkey + a->n, a->r);
    }
}

/* The queries that see the block lie between the first and the last tile that do. */
typedef struct {
    int64_t first, end;
} TileSpan;
static TileSpan tiles_of_block(const Attention *a, int64_t index) {
    TileSpan found = {0, 0};
    for (int64_t row = 0; row < tensor_rows(a->q); row += QUERIES) {
        KeySpan seen = attention_span(a, row, min_i64(QUERIES, tensor_rows(a->q) - row));
        if (seen.end <= index * a->block || seen.first >= (index + 1) * a->block) continue;
        if (!found.end) found.first = row;
        found.end = row + QUERIES;
    }
    return found;
}

static void backward_head(CpuThread *thread, const Backward *b, Tiles *t, int head, int64_t index, TileSpan rows) {
    const Attention *a = &b->a;
    int64_t in = attention_flags(a);
    attention_pack(a, t->keys, t->values, head, index);
    t->by_keys = right_make(t->keys_room, a->width, a->block, t->keys, a->width, in | B_TRANSPOSED);
    t->by_values = right_make(t->values_room, a->d, a->block, t->values, a->d, in | B_TRANSPOSED);
    t->by_key_rows = right_make(t->key_rows_room, a->block, a->width, t->keys, a->width, in);
    memset(t->dkeys, 0, (size_t)(a->block * a->width) * sizeof *t->dkeys);
    memset(t->dvalues, 0, (size_t)(a->block * a->d) * sizeof *t->dvalues);
    for (int64_t row = rows.first; row < rows.end; row += QUERIES) backward_tile(thread, b, t, row, head, index);
    put_dkeys(b, t, head, index);
}

/* dk_pe of the block = the threads' sums in order. */
static void put_dk_pe(const Backward *b, const float *const *sums, int threads, int64_t index) {
    const Attention *a = &b->a;
    int64_t start = index * a->block, rows = min_i64(a->block, tensor_rows(a->kv) - start);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t col = 0; col < a->r; col += PIECE) {
            float total[PIECE] = {0};
            int64_t n = min_i64(PIECE, a->r - col);
            for (int j = 0; j < threads; j++) floats_add(total, sums[j] + i * a->r + col, n);
            floats_store(element(b->dk_pe, start + i, col), b->dk_pe.dtype, total, n);
        }
}

enum { MAX_THREADS = 1024 };

static void backward_block(Device *device, const Backward *b, int heads, int64_t index) {
    const float *sums[MAX_THREADS];
    TileSpan rows = tiles_of_block(&b->a, index);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
        Tiles t = tiles_carve(&b->a, thread);
        memset(t.dk_pe, 0, (size_t)(b->a.block * b->a.r) * sizeof *t.dk_pe);
        sums[omp_get_thread_num()] = t.dk_pe;
#pragma omp for schedule(static)
        for (int head = 0; head < heads; head++) backward_head(thread, b, &t, head, index, rows);
    }
    put_dk_pe(b, sums, device->threads, index);
}

/* Tiles of queries that see no key get no dq from any block. */
static void zero_blind_tiles(Device *device, const Backward *b) {
    for (int64_t row = 0; row < tensor_rows(b->dq); row += QUERIES) {
        int64_t rows = min_i64(QUERIES, tensor_rows(b->dq) - row);
        if (!attention_span(&b->a, row, rows).end) cpu_fill(device, tensor_rows_view(b->dq, row, rows), 0);
    }
}

void cpu_attention_backward(Device *device, Tensor dq, Tensor dkv, Tensor dk_pe, Tensor dout, Tensor out, Tensor lse,
                            Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads, double scale) {
    shape_attention_backward(device, dq, dkv, dk_pe, dout, out, lse, q, kv, k_pe, range, heads);
    if (cpu_leaves(q)) {
        ref_attention_backward(device, dq, dkv, dk_pe, dout, out, lse, q, kv, k_pe, range, heads, scale);
        return;
    }
    Backward b = {attention_make(q, kv, k_pe, range, heads, scale), dq, dkv, dk_pe, dout, out, lse};
    b.a.block = attention_longest_block(&b.a);
    while (b.a.block > KEY_STEP && tiles_bytes(&b.a) > CPU_TILE_BYTES) b.a.block -= KEY_STEP;
    check(tiles_bytes(&b.a) <= CPU_TILE_BYTES, "heads of width %lld are too wide", (long long)b.a.width);
    check(device->threads <= MAX_THREADS, "more than %d threads", MAX_THREADS);
    zero_blind_tiles(device, &b);
    for (int64_t index = 0; index * b.a.block < tensor_rows(kv); index++) backward_block(device, &b, heads, index);
}
