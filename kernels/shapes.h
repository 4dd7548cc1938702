/* shapes.h - what each kernel demands of the shapes and dtypes of its tensors, said once for every
 * backend: the first line of ref_NAME, cpu_NAME and plan_NAME calls shape_NAME. The device only
 * names the backend in the message. Values in memory (ids, ranges) are not looked at. */
#pragma once
#include "kernels/kernels.h"

void shape_fill(const Device *, Tensor y);
void shape_convert(const Device *, Tensor y, Tensor x);
void shape_add(const Device *, Tensor y, Tensor x);
void shape_scale(const Device *, Tensor y);
void shape_random_normal(const Device *, Tensor y);

void shape_linear_forward(const Device *, Tensor y, Tensor x, Tensor w);
void shape_linear_backward_input(const Device *, Tensor dx, Tensor dy, Tensor w);
void shape_linear_backward_weight(const Device *, Tensor dw, Tensor dy, Tensor x);
void shape_grouped_linear_forward(const Device *, Tensor y, Tensor x, Tensor w, Groups groups);
void shape_grouped_linear_backward_input(const Device *, Tensor dx, Tensor dy, Tensor w, Groups groups);
void shape_grouped_linear_backward_weight(const Device *, Tensor dw, Tensor dy, Tensor x, Groups groups);

void shape_rmsnorm_forward(const Device *, Tensor y, Tensor rstd, Tensor x, Tensor w);
void shape_rmsnorm_backward_input(const Device *, Tensor dx, Tensor dy, Tensor x, Tensor w, Tensor rstd);
void shape_rmsnorm_backward_weight(const Device *, Tensor dw, Tensor dy, Tensor x, Tensor rstd);
void shape_add_rmsnorm_forward(const Device *, Tensor sum, Tensor y, Tensor rstd, Tensor x, Tensor delta, Tensor w);

void shape_rope_table(const Device *, Tensor table);
void shape_rope(const Device *, Tensor x, Tensor table, Tensor position, int heads);

/* The three widths of a head, read off the operands' columns. */
typedef struct {
    int64_t nope, rope, value;
} HeadDims;
HeadDims attention_dims(Tensor q, Tensor kv, Tensor k_pe, int heads);
void shape_attention_forward(const Device *, Tensor out, Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range,
                             int heads);
void shape_attention_backward(const Device *, Tensor dq, Tensor dkv, Tensor dk_pe, Tensor dout, Tensor out,
                              Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads);

/* Widths of heads that look at latents: of w (heads * (nope + value), latent). */
typedef struct {
    int64_t nope, rope, value, latent;
} LatentDims;
LatentDims absorb_queries_dims(Tensor y, Tensor q, Tensor w, int heads);
LatentDims absorb_values_dims(Tensor y, Tensor w, int heads);
void shape_absorb_queries(const Device *, Tensor y, Tensor q, Tensor w, int heads);
void shape_absorb_values(const Device *, Tensor y, Tensor x, Tensor w, int heads);
/* Queries that are computed together, at most, when they are of one sequence; pieces that its keys are cut into; keys
 * that are looked at together. */
enum { LATENT_ROWS = 64, LATENT_SPLITS = 16, LATENT_KEYS = 64 };
static inline int64_t attention_latent_tile(int heads) { return max_i64(LATENT_ROWS / heads, 1); }
/* Floats that a thread computes with, and the most it may have; configs refuse a model that takes more. */
enum { LATENT_FLOATS_MOST = (1 << 20) - 128 }; /* 4 MiB less what aligning five arrays takes */
static inline int64_t attention_latent_floats(int64_t heads, int64_t latent, int64_t rope) {
    int64_t rows = attention_latent_tile((int)heads) * heads, width = latent + rope;
    return rows * (width + LATENT_KEYS + 2 * (latent + 2)) + LATENT_KEYS * width;
}
int64_t attention_latent_parts(const Device *, int64_t n, int heads);
void shape_attention_latent(const Device *, Tensor out, Tensor parts, Tensor q, Tensor cache, Tensor range,
                            int heads);
void shape_merge_attention(const Device *, Tensor sum, Tensor lse, Tensor part, Tensor part_lse);

void shape_swiglu_forward(const Device *, Tensor h, Tensor gu);
void shape_swiglu_backward(const Device *, Tensor dgu, Tensor h, Tensor dh, Tensor gu);
void shape_swiglu_weighted_forward(const Device *, Tensor h, Tensor gu, Tensor weight);
void shape_swiglu_weighted_backward(const Device *, Tensor dgu, Tensor dweight, Tensor h, Tensor dh, Tensor gu,
                                    Tensor weight);

void shape_gather_rows(const Device *, Tensor y, Tensor x, Tensor index);
void shape_put_rows(const Device *, Tensor y, Tensor x, Tensor index);
void shape_gather_sum_rows(const Device *, Tensor y, Tensor x, Tensor index);

void shape_router_forward(const Device *, Tensor score, Tensor expert, Tensor weight, Tensor logits, RouterRule rule);
void shape_router_backward(const Device *, Tensor dlogits, Tensor dweight, Tensor score, Tensor expert, Tensor weight,
                           Tensor slope, RouterRule rule);
void shape_balance_forward(const Device *, Tensor loss, Tensor slope, Tensor score, Tensor expert, BalanceRule rule);
void shape_drop_tokens(const Device *, Tensor kept, Tensor expert, Tensor score, Tensor protect, int groups,
                       int64_t budget);
void shape_read_experts(const Device *, Tensor expert, int64_t n_experts, RouterRule rule);

void shape_embedding_forward(const Device *, Tensor y, Tensor w, Tensor ids);
void shape_embedding_backward(const Device *, Tensor dw, Tensor dy, Tensor ids);
void shape_cross_entropy(const Device *, Tensor loss, Tensor dlogits, Tensor logits, Tensor label, Tensor weight);
void shape_choose_tokens(const Device *, Tensor id, Tensor logits, Tensor draw, ChoiceRule rule);
void shape_dot(const Device *, Tensor out, Tensor a, Tensor b);

void shape_sum_squares(const Device *, Tensor out, Tensor x);
void shape_adamw(const Device *, Tensor w, Tensor master, Tensor m, Tensor v, Tensor dw, AdamwRule rule);
