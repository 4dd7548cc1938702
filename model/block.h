/* block.h - one decoder layer: x1 = x + attention(norm(x)); y = x1 + feed_forward(norm(x1)).
 * Shapes: N tokens, D hidden. BlockActs lie in run->acts. */
#pragma once
#include "model/mla.h"
#include "model/moe.h"

typedef struct {
    int layer;
    bool has_experts;
    Norm attention_norm, ffn_norm;
    Mla mla;
    Ffn ffn; /* one of the two */
    Moe moe;
} Block;

typedef struct {
    Tensor x, x1;     /* (N, D) the caller's input; after attention */
    Tensor h1, rstd1; /* (N, D) (N) into attention                  */
    Tensor h2, rstd2; /* (N, D) (N) into the feed-forward layer     */
    MlaActs mla;
    FfnActs ffn;
    MoeActs moe;
    Tensor dx1, dh1, dh2; /* for the weight gradients                   */
} BlockActs;

/* tokens: of a micro-batch, at most */
void block_init(Block *, Params *, Run *, const Rope *, int layer, int moe_index, int64_t tokens);
void block_forward(Tensor y, const Block *, BlockActs *, Tensor x, const Batch *, Run *);
/* x (N, D) becomes the block's output; the new tokens join the layer's cache. Keeps nothing in run->acts. */
void block_decode(Tensor x, const Block *, Tensor cache, const NewTokens *, Run *);
void block_backward_input(Tensor dx, const Block *, BlockActs *, Tensor dy, const Batch *, Run *);
void block_backward_weight(const Block *, BlockActs *, Run *);
