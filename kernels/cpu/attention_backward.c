/* attention_backward.c - attention of MLA, backward: a task is a block of keys and a head, one walk over the tiles of
 * queries that see the block.
 *
 * dk and dv of a block are complete when its walk ends. dq grows from block to block: the first
 * block that a tile sees writes it, each of the others waits there for the one before it. dk_pe sums over heads, in
 * their order. */
#include "kernels/cpu/attention.h"
#include "kernels/cpu/turns.h"

#include <string.h>

typedef struct {
    Attention a;
    Tensor dq, dkv, dk_pe, dout, out, lse;
    int heads;
    float *total; /* of dk_pe of the block whose turn it is */
    Turns turns;
} Backward;

/* The queries that see the block lie between the first and the last tile that do. */
typedef struct {
    int64_t first, end;
} TileSpan;

/* A thread's. p and ds are score and dp themselves in fp32. */
typedef struct {
    char *keys, *values; /* of a block, as they are read from kv */
    char *query, *dout;  /* of a tile */
    Right by_keys, by_values, by_key_rows, by_query, by_dout;
    char *keys_room, *values_room, *key_rows_room, *query_room, *dout_room;
    char *p, *ds;
    float *score, *dp, *dkeys, *dvalues, *dquery;
    float *total, *dk_pe[SPARE];
    Taker taker;
    int64_t block; /* whose tiles of queries these are, or -1 */
    TileSpan rows;
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
           a->block * ((a->width + a->d) * 4 + 2 * QUERIES * 4 + narrow + (SPARE + 1) * a->r * 4) +
           QUERIES * (a->width + a->d) * bytes + (15 + SPARE) * 64;
}

static Tiles tiles_carve(const Attention *a, const CpuThread *thread) {
    char *at = thread->tiles;
    int64_t bytes = attention_bytes(a);
    bool narrow = attention_narrows(a);
    Tiles t = {.block = -1};
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
    t.total = tile_take(&at, a->block * a->r * 4);
    for (int i = 0; i < SPARE; i++) t.dk_pe[i] = tile_take(&at, a->block * a->r * 4);
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
static void put_dquery(Backward *b, const Tiles *t, int64_t row, int64_t task, bool begins) {
    int64_t width = b->a.width, rows = min_i64(QUERIES, tensor_rows(b->dq) - row), left = task % b->heads * width;
    if (!begins) turns_await(&b->turns, task - b->heads, row / QUERIES + 1);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t col = 0; col < width; col += PIECE) {
            float sum[PIECE], *to = element(b->dq, row + i, left + col);
            int64_t n = min_i64(PIECE, width - col);
            memcpy(sum, t->dquery + i * width + col, (size_t)n * sizeof *sum);
            if (!begins) {
                float before[PIECE];
                floats_add(sum, piece_in(b->dq, row + i, left + col, n, before), n);
            }
            floats_store(to, b->dq.dtype, sum, n);
        }
    turns_reach(&b->turns, task, row / QUERIES + 1);
}

static void take_tile(const Backward *b, Tiles *t, int64_t row, int head) {
    const Attention *a = &b->a;
    int64_t in = attention_flags(a);
    attention_tile(t->query, a->q, row, head * a->width, a->width);
    attention_tile(t->dout, b->dout, row, head * a->d, a->d);
    t->by_query = right_make(t->query_room, QUERIES, a->width, t->query, a->width, in);
    t->by_dout = right_make(t->dout_room, QUERIES, a->d, t->dout, a->d, in);
}

static void backward_tile(CpuThread *thread, Backward *b, Tiles *t, int64_t row, int64_t task) {
    const Attention *a = &b->a;
    int64_t index = task / b->heads;
    int head = (int)(task % b->heads);
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
    put_dquery(b, t, row, task, index == seen.first / a->block);
}

/* Writes the block's dk_nope and dv of one head, and its part of dk_pe to where it waits for its turn. */
static void put_dkeys(const Backward *b, const Tiles *t, float *dk_pe, int64_t task) {
    const Attention *a = &b->a;
    int64_t start = task / b->heads * a->block, col = task % b->heads * (a->n + a->d);
    int64_t rows = min_i64(a->block, tensor_rows(a->kv) - start);
    for (int64_t i = 0; i < rows; i++) {
        const float *dkey = t->dkeys + i * a->width;
        floats_store(element(b->dkv, start + i, col), b->dkv.dtype, dkey, a->n);
        floats_store(element(b->dkv, start + i, col + a->n), b->dkv.dtype, t->dvalues + i * a->d, a->d);
        memcpy(dk_pe + i * a->r, dkey + a->n, (size_t)a->r * sizeof *dk_pe);
    }
}

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

static void backward_task(CpuThread *thread, Backward *b, Tiles *t, float *dk_pe, int64_t task) {
    const Attention *a = &b->a;
    int64_t in = attention_flags(a), index = task / b->heads;
    attention_pack(a, t->keys, t->values, (int)(task % b->heads), index);
    t->by_keys = right_make(t->keys_room, a->width, a->block, t->keys, a->width, in | B_TRANSPOSED);
    t->by_values = right_make(t->values_room, a->d, a->block, t->values, a->d, in | B_TRANSPOSED);
    t->by_key_rows = right_make(t->key_rows_room, a->block, a->width, t->keys, a->width, in);
    memset(t->dkeys, 0, (size_t)(a->block * a->width) * sizeof *t->dkeys);
    memset(t->dvalues, 0, (size_t)(a->block * a->d) * sizeof *t->dvalues);
    if (t->block != index) t->rows = tiles_of_block(a, index), t->block = index;
    for (int64_t row = t->rows.first; row < t->rows.end; row += QUERIES) backward_tile(thread, b, t, row, task);
    put_dkeys(b, t, dk_pe, task);
}

/* Adds one head's dk_pe of a block; the last head's completes it. */
static void add_dk_pe(void *context, int64_t task, const void *dk_pe) {
    Backward *b = context;
    int64_t start = task / b->heads * b->a.block, head = task % b->heads;
    int64_t rows = min_i64(b->a.block, tensor_rows(b->a.kv) - start), cols = b->a.r;
    if (!head)
        memcpy(b->total, dk_pe, (size_t)(rows * cols) * sizeof *b->total);
    else
        floats_add(b->total, dk_pe, rows * cols);
    for (int64_t i = 0; head == b->heads - 1 && i < rows; i++)
        floats_store(element(b->dk_pe, start + i, 0), b->dk_pe.dtype, b->total + i * cols, cols);
}

static void backward_tasks(Device *device, Backward *b) {
    turns_open(&b->turns, ceil_div(tensor_rows(b->a.kv), b->a.block) * b->heads,
               ceil_div(tensor_rows(b->a.q), QUERIES), add_dk_pe, b);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
        Tiles t = tiles_carve(&b->a, thread);
        int place;
#pragma omp master
        b->total = t.total;
#pragma omp barrier
        for (int64_t task; (task = turns_take(&b->turns, &t.taker, &place)) >= 0;) {
            backward_task(thread, b, &t, t.dk_pe[place], task);
            turns_give(&b->turns, task, t.dk_pe[place]);
        }
    }
    turns_close(&b->turns);
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
    Backward b = {attention_make(q, kv, k_pe, range, heads, scale), dq, dkv, dk_pe, dout, out, lse, .heads = heads};
    b.a.block = attention_longest_block(&b.a);
    while (b.a.block > KEY_STEP && tiles_bytes(&b.a) > CPU_TILE_BYTES) b.a.block -= KEY_STEP;
    check(tiles_bytes(&b.a) <= CPU_TILE_BYTES, "heads of width %lld are too wide", (long long)b.a.width);
    check(device->threads <= MAX_THREADS, "more than %d threads", MAX_THREADS);
    zero_blind_tiles(device, &b);
    backward_tasks(device, &b);
}
