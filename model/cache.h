/* cache.h - what decoding keeps of a token: in each layer the normalised latent and the rotated shared key,
 * kv_lora_rank + qk_rope_head_dim values in the activations' dtype (DeepSeek-V2, section 2.1.2).
 *
 * A sequence lies in consecutive rows, the same ones in every layer; who owns which rows is the caller's. Memory is
 * run->cache. Shapes: M rows in all, N new tokens of a forward, C kv_lora_rank, r qk_rope_head_dim. */
#pragma once
#include "launch/run.h"

typedef struct {
    Tensor rows; /* (layers * M, C + r) */
    int64_t tokens, layers;
} Cache;

void cache_open(Cache *, Run *, int64_t tokens);
static inline Tensor cache_layer(const Cache *c, int layer) {
    return tensor_rows_view(c->rows, layer * c->tokens, c->tokens);
}
int64_t cache_bytes_per_token(const Config *); /* all layers */

/* The next tokens of one sequence, consecutive in a forward. */
typedef struct {
    int64_t rows;   /* how many */
    int64_t first;  /* row of the cache where the sequence begins */
    int64_t before; /* its tokens in front of them, which are in the cache */
} TokenSpan;

/* What one forward computes. Pieces lie behind each other; those for which mla_expands holds come first. */
typedef struct {
    Tensor ids, position, row; /* (N) I32 device: tokens, rotary positions, rows of the cache that they take */
    Tensor range;              /* (N, 2) I32 device: rows of the cache that they see, their own included */
    const TokenSpan *piece;    /* host */
    int64_t pieces;
} NewTokens;
