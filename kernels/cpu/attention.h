/* attention.h - what the blocked forward and backward share: a block of keys and values packed
 * for one head, and tiles of queries. T x T scores never exist.
 *
 * A tile is QUERIES rows; it sees keys in [lo, hi) of `range`, cut into blocks of keys that start
 * at multiples of a.block. Within a block only KEY_STEP multiples around what the tile sees are
 * computed, so few sizes of products occur. Inside a tile all rows are dense. */
#pragma once
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

enum { QUERIES = 64, KEY_STEP = 64 };

typedef struct {
    Tensor q, kv, k_pe, range;
    int64_t n, r, d, width; /* widths of nope, rope, value, and of a query: n + r */
    int64_t block;          /* keys a block, a multiple of KEY_STEP */
    float scale;
} Attention;

/* Fills in all but block, which the caller sizes so that its tiles fit: attention_longest_block or less. Checks the
 * ranges. */
Attention attention_make(Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads, double scale);

/* Few keys take a short block: a whole one is packed, zeros behind the last key too. */
static inline int64_t attention_longest_block(const Attention *a) {
    enum { MOST_KEYS = 512 };
    return max_i64(KEY_STEP, min_i64(MOST_KEYS, round_up(tensor_rows(a->kv), KEY_STEP)));
}

typedef struct {
    int64_t first, end;
} KeySpan;
KeySpan attention_span(const Attention *, int64_t row, int64_t rows); /* seen by any of these queries */
KeySpan attention_row(const Attention *, int64_t row);

/* The keys of block `index` that a span needs, relative to the block's start, in whole KEY_STEPs. */
KeySpan attention_cut(const Attention *, KeySpan seen, int64_t index);

/* The part of a span within n keys from `start` on, relative to it; {0, 0} when there is none. */
static inline KeySpan attention_clip(KeySpan own, int64_t start, int64_t n) {
    KeySpan clipped = {max_i64(own.first - start, 0), min_i64(own.end - start, n)};
    return clipped.first < clipped.end ? clipped : (KeySpan){0, 0};
}

/* One head's keys (block, width) and values (block, d) of a block, zeros behind the last key. */
void attention_pack(const Attention *, char *keys, char *values, int head, int64_t index);

/* cols columns of QUERIES rows of x into a dense tile, zeros behind its last row. */
void attention_tile(char *tile, Tensor x, int64_t row, int64_t col, int64_t cols);

static inline int64_t attention_bytes(const Attention *a) { return dtype_bytes(a->q.dtype); }
static inline int64_t attention_flags(const Attention *a) { return a->q.dtype == BF16 ? IN_BF16 : 0; }

/* Whether probabilities are rounded to bf16: products with packed keys and values take them as they are. */
static inline bool attention_narrows(const Attention *a) { return a->q.dtype == BF16 && !gemm_is_own(); }

/* Where the next tile lies in a thread's memory. */
static inline void *tile_take(char **at, int64_t bytes) {
    char *tile = *at;
    *at += round_up(bytes, 64);
    return tile;
}

/* Where attention_pack writes: the thread's tiles from `at` on, or, where products pack keys and values once more, its
 * scratch memory, which the first product overwrites. */
int64_t attention_dense_bytes(const Attention *); /* of tiles */
void attention_dense(const Attention *, const CpuThread *, char **at, char **keys, char **values);
