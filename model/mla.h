/* mla.h - Multi-head Latent Attention (DeepSeek-V2, section 2.1 and appendix C).
 *
 * Keys and values of all heads come from one normalised latent c; a rotary key of r dims is shared
 * by the heads. Queries may be compressed the same way (q_lora_rank).
 * Shapes: N tokens, D hidden, h heads, n / r / d = qk_nope, qk_rope, v head dims, C kv_lora_rank,
 * Q q_lora_rank. MlaActs lie in run->acts, from forward to weight gradient. */
#pragma once
#include "model/cache.h"
#include "model/linear.h"
#include "model/rope.h"

typedef struct {
    int heads;
    int64_t nope, rope_dim, v;
    double scale;
    const Rope *rope;
    Linear q_a, q_b;        /* q_a only with q_lora_rank; q_b (h (n + r), Q or D) */
    Linear kv_a, kv_b, out; /* (C + r, D) (h (n + d), C) (D, h d)                 */
    Norm q_norm, kv_norm;   /* (Q) (C), eps 1e-6 whatever rms_norm_eps is         */
} Mla;

typedef struct {
    Tensor x;                          /* (N, D), the caller's                               */
    Tensor q_latent, q_normed, q_rstd; /* (N, Q) (N, Q) (N), with q_lora_rank           */
    Tensor q;                          /* (N, h (n + r)), rotated                            */
    Tensor latent;                     /* (N, C + r): raw latent | rotated shared key        */
    Tensor normed, rstd;               /* (N, C) (N)                                         */
    Tensor kv;                         /* (N, h (n + d))                                     */
    Tensor heads_out, lse;             /* (N, h d) (N, h)                                    */
    /* for the weight gradients, written by backward_input */
    Tensor dy, dkv, dnormed, dlatent, dq, dq_normed, dq_latent;
} MlaActs;

void mla_init(Mla *, Params *, Run *, const Rope *, int layer);
void mla_forward(Tensor y, const Mla *, MlaActs *, Tensor x, const Batch *, Run *);
void mla_backward_input(Tensor dx, const Mla *, MlaActs *, Tensor dy, const Batch *, Run *);
void mla_backward_weight(const Mla *, MlaActs *, Run *);

/* Whether so many new tokens of one sequence are computed on keys and values expanded from the latents, or with the
 * weights absorbed into queries and outputs: whichever takes fewer products for a cached token. */
bool mla_expands(const Mla *, int64_t rows);
/* Forward of new tokens (N, D): they join the layer's cache and attend to it. Keeps nothing in run->acts. */
void mla_decode(Tensor y, const Mla *, Tensor cache, Tensor x, const NewTokens *, Run *);
