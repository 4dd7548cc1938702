/* plan.c - kernels that compute nothing: each checks its shapes and counts work.
 *
 * bytes = every argument once (an output that is added to as well). flops = products only: 2 M N K of
 * a matrix product, and of attention its causal half. Which keys a query sees is not known here, so
 * a query counts half of the rows of kv, as one sequence would. */
#include "kernels/shapes.h"

#define COUNT(flops, ...)                                                                                            \
    count(device, flops, (const Tensor[]){__VA_ARGS__}, sizeof((const Tensor[]){__VA_ARGS__}) / sizeof(Tensor))

static void count(Device *device, double flops, const Tensor *arguments, size_t n) {
    device->work.flops += flops;
    for (size_t i = 0; i < n; i++) device->work.bytes += (double)tensor_bytes(arguments[i]);
}

static double product(int64_t m, int64_t n, int64_t k) { return 2.0 * (double)m * (double)n * (double)k; }

void plan_fill(Device *device, Tensor y, double value) {
    (void)value;
    shape_fill(device, y);
    COUNT(0, y);
}

void plan_convert(Device *device, Tensor y, Tensor x) {
    shape_convert(device, y, x);
    COUNT(0, y, x);
}

void plan_add(Device *device, Tensor y, Tensor x) {
    shape_add(device, y, x);
    COUNT(0, y, x);
}

void plan_scale(Device *device, Tensor y, double factor) {
    (void)factor;
    shape_scale(device, y);
    COUNT(0, y);
}

void plan_random_normal(Device *device, Tensor y, double std, uint64_t seed, uint64_t stream, int64_t first) {
    (void)std, (void)seed, (void)stream, (void)first;
    shape_random_normal(device, y);
    COUNT(0, y);
}

void plan_linear_forward(Device *device, Tensor y, Tensor x, Tensor w) {
    shape_linear_forward(device, y, x, w);
    COUNT(product(tensor_rows(x), tensor_cols(y), tensor_cols(x)), y, x, w);
}

void plan_linear_backward_input(Device *device, Tensor dx, Tensor dy, Tensor w, bool accumulate) {
    (void)accumulate;
    shape_linear_backward_input(device, dx, dy, w);
    COUNT(product(tensor_rows(dy), tensor_cols(dy), tensor_cols(dx)), dx, dy, w);
}

void plan_linear_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, bool accumulate) {
    (void)accumulate;
    shape_linear_backward_weight(device, dw, dy, x);
    COUNT(product(tensor_rows(x), tensor_cols(dy), tensor_cols(x)), dw, dy, x);
}

static int64_t grouped_rows(Groups groups) { return groups.first[groups.count]; }
static Tensor used_rows(Tensor t, Groups groups) { return tensor_rows_view(t, 0, grouped_rows(groups)); }

void plan_grouped_linear_forward(Device *device, Tensor y, Tensor x, Tensor w, Groups groups) {
    shape_grouped_linear_forward(device, y, x, w, groups);
    COUNT(product(grouped_rows(groups), tensor_cols(y), tensor_cols(x)), used_rows(y, groups), used_rows(x, groups),
          w);
}

void plan_grouped_linear_backward_input(Device *device, Tensor dx, Tensor dy, Tensor w, Groups groups) {
    shape_grouped_linear_backward_input(device, dx, dy, w, groups);
    COUNT(product(grouped_rows(groups), tensor_cols(dy), tensor_cols(dx)), used_rows(dx, groups),
          used_rows(dy, groups), w);
}

void plan_grouped_linear_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, Groups groups,
                                         bool accumulate) {
    (void)accumulate;
    shape_grouped_linear_backward_weight(device, dw, dy, x, groups);
    COUNT(product(grouped_rows(groups), tensor_cols(dy), tensor_cols(x)), dw, used_rows(dy, groups),
          used_rows(x, groups));
}

void plan_rmsnorm_forward(Device *device, Tensor y, Tensor rstd, Tensor x, Tensor w, double eps) {
    (void)eps;
    shape_rmsnorm_forward(device, y, rstd, x, w);
    COUNT(0, y, rstd, x, w);
}

void plan_rmsnorm_backward_input(Device *device, Tensor dx, Tensor dy, Tensor x, Tensor w, Tensor rstd,
                                 bool accumulate) {
    (void)accumulate;
    shape_rmsnorm_backward_input(device, dx, dy, x, w, rstd);
    COUNT(0, dx, dy, x, w, rstd);
}

void plan_rmsnorm_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
    shape_rmsnorm_backward_weight(device, dw, dy, x, rstd);
    COUNT(0, dw, dy, x, rstd);
}

void plan_add_rmsnorm_forward(Device *device, Tensor sum, Tensor y, Tensor rstd, Tensor x, Tensor delta, Tensor w,
                              double eps) {
    (void)eps;
    shape_add_rmsnorm_forward(device, sum, y, rstd, x, delta, w);
    COUNT(0, sum, y, rstd, x, delta, w);
}

void plan_rope_table(Device *device, Tensor table, const double *frequency, double amplitude) {
    (void)frequency, (void)amplitude;
    shape_rope_table(device, table);
    COUNT(0, table);
}

void plan_rope(Device *device, Tensor x, Tensor table, Tensor position, int heads, bool inverse) {
    (void)inverse;
    shape_rope(device, x, table, position, heads);
    COUNT(0, x, table, position);
}

/* `wide` products of q and k, `narrow` ones with values, over half of all pairs. */
static double attention_flops(Tensor q, Tensor kv, Tensor k_pe, int heads, int wide, int narrow) {
    HeadDims dims = attention_dims(q, kv, k_pe, heads);
    return product(tensor_rows(q), tensor_rows(kv), heads * (wide * (dims.nope + dims.rope) + narrow * dims.value)) /
           2;
}

void plan_attention_forward(Device *device, Tensor out, Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range,
                            int heads, double scale) {
    (void)scale;
    shape_attention_forward(device, out, lse, q, kv, k_pe, range, heads);
    COUNT(attention_flops(q, kv, k_pe, heads, 1, 1), out, lse, q, kv, k_pe, range);
}

void plan_attention_backward(Device *device, Tensor dq, Tensor dkv, Tensor dk_pe, Tensor dout, Tensor out, Tensor lse,
                             Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads, double scale) {
    (void)scale;
    shape_attention_backward(device, dq, dkv, dk_pe, dout, out, lse, q, kv, k_pe, range, heads);
    /* scores again, dq, dk; dout.v, dv */
    COUNT(attention_flops(q, kv, k_pe, heads, 3, 2), dq, dkv, dk_pe, dout, out, lse, q, kv, k_pe, range);
}

void plan_absorb_queries(Device *device, Tensor y, Tensor q, Tensor w, int heads) {
    shape_absorb_queries(device, y, q, w, heads);
    LatentDims dims = absorb_queries_dims(y, q, w, heads);
    COUNT(heads * product(tensor_rows(q), dims.nope, dims.latent), y, q, w);
}

void plan_absorb_values(Device *device, Tensor y, Tensor x, Tensor w, int heads) {
    shape_absorb_values(device, y, x, w, heads);
    LatentDims dims = absorb_values_dims(y, w, heads);
    COUNT(heads * product(tensor_rows(y), dims.value, dims.latent), y, x, w);
}

/* As if all queries saw the whole cache once. */
void plan_attention_latent(Device *device, Tensor out, Tensor parts, Tensor q, Tensor cache, Tensor range, int heads,
                           double scale) {
    (void)scale;
    shape_attention_latent(device, out, parts, q, cache, range, heads);
    int64_t latent = tensor_cols(out) / heads;
    COUNT(product(tensor_rows(q), tensor_rows(cache), heads * (tensor_cols(cache) + latent)), out, q, cache, range);
}

void plan_merge_attention(Device *device, Tensor sum, Tensor lse, Tensor part, Tensor part_lse) {
    shape_merge_attention(device, sum, lse, part, part_lse);
    COUNT(0, sum, lse, part, part_lse);
}

void plan_swiglu_forward(Device *device, Tensor h, Tensor gu) {
    shape_swiglu_forward(device, h, gu);
    COUNT(0, h, gu);
}

void plan_swiglu_backward(Device *device, Tensor dgu, Tensor h, Tensor dh, Tensor gu) {
    shape_swiglu_backward(device, dgu, h, dh, gu);
    COUNT(0, dgu, h, dh, gu);
}

void plan_swiglu_weighted_forward(Device *device, Tensor h, Tensor gu, Tensor weight) {
    shape_swiglu_weighted_forward(device, h, gu, weight);
    COUNT(0, h, gu, weight);
}

void plan_swiglu_weighted_backward(Device *device, Tensor dgu, Tensor dweight, Tensor h, Tensor dh, Tensor gu,
                                   Tensor weight) {
    shape_swiglu_weighted_backward(device, dgu, dweight, h, dh, gu, weight);
    COUNT(0, dgu, dweight, h, dh, gu, weight);
}

void plan_gather_rows(Device *device, Tensor y, Tensor x, Tensor index) {
    shape_gather_rows(device, y, x, index);
    COUNT(0, y, x, index);
}

void plan_put_rows(Device *device, Tensor y, Tensor x, Tensor index) {
    shape_put_rows(device, y, x, index);
    COUNT(0, x, x, index);
}

void plan_gather_sum_rows(Device *device, Tensor y, Tensor x, Tensor index, bool accumulate) {
    (void)accumulate;
    shape_gather_sum_rows(device, y, x, index);
    COUNT(0, y, x, index);
}

void plan_router_forward(Device *device, Tensor score, Tensor expert, Tensor weight, Tensor logits, RouterRule rule) {
    shape_router_forward(device, score, expert, weight, logits, rule);
    COUNT(0, score, expert, weight, logits);
}

void plan_router_backward(Device *device, Tensor dlogits, Tensor dweight, Tensor score, Tensor expert, Tensor weight,
                          Tensor slope, RouterRule rule) {
    shape_router_backward(device, dlogits, dweight, score, expert, weight, slope, rule);
    COUNT(0, dlogits, dweight, score, expert, weight, slope);
}

void plan_balance_forward(Device *device, Tensor loss, Tensor slope, Tensor score, Tensor expert, BalanceRule rule) {
    shape_balance_forward(device, loss, slope, score, expert, rule);
    COUNT(0, loss, slope, score, expert);
}

void plan_drop_tokens(Device *device, Tensor kept, Tensor expert, Tensor score, Tensor protect, int groups,
                      int64_t budget) {
    shape_drop_tokens(device, kept, expert, score, protect, groups, budget);
    COUNT(0, kept, expert, score, protect);
}

/* The one answer a plan makes up: routing as even as it can be. Tokens begin at the groups in turn, and each takes the
 * next experts of the topk_group groups that follow. */
void plan_read_experts(Device *device, int32_t *ids, Tensor expert, int64_t n_experts, RouterRule rule) {
    shape_read_experts(device, expert, n_experts, rule);
    int64_t top_k = tensor_cols(expert), width = n_experts / rule.n_group, reach = rule.topk_group * width;
    for (int64_t t = 0; t < tensor_rows(expert); t++) {
        int64_t first = t % rule.n_group * width, next = t / rule.n_group * top_k;
        for (int64_t k = 0; k < top_k; k++) *ids++ = (int32_t)((first + (next + k) % reach) % n_experts);
    }
    COUNT(0, expert);
}

void plan_embedding_forward(Device *device, Tensor y, Tensor w, Tensor ids) {
    shape_embedding_forward(device, y, w, ids);
    COUNT(0, y, ids);
}

void plan_embedding_backward(Device *device, Tensor dw, Tensor dy, Tensor ids) {
    shape_embedding_backward(device, dw, dy, ids);
    COUNT(0, dy, ids);
}

void plan_cross_entropy(Device *device, Tensor loss, Tensor dlogits, Tensor logits, Tensor label, Tensor weight) {
    shape_cross_entropy(device, loss, dlogits, logits, label, weight);
    COUNT(0, loss, dlogits, logits, label, weight);
}

void plan_choose_tokens(Device *device, Tensor id, Tensor logits, Tensor draw, ChoiceRule rule) {
    shape_choose_tokens(device, id, logits, draw, rule);
    COUNT(0, id, logits, draw);
}

void plan_dot(Device *device, Tensor out, Tensor a, Tensor b) {
    shape_dot(device, out, a, b);
    COUNT(0, out, a, b);
}

void plan_sum_squares(Device *device, Tensor out, Tensor x) {
    shape_sum_squares(device, out, x);
    COUNT(0, out, x);
}

void plan_adamw(Device *device, Tensor w, Tensor master, Tensor m, Tensor v, Tensor dw, AdamwRule rule) {
    shape_adamw(device, w, master, m, v, dw, rule);
    COUNT(0, w, master, m, v, dw);
}
