#include "model/block.h"

#include <stdio.h>

static Norm add_norm(Params *params, Run *run, int layer, const char *name) {
    char pattern[128];
    snprintf(pattern, sizeof pattern, "model.layers.%d.%s.weight", layer, name);
    const Config *c = run->config;
    return (Norm){param_add(params, run, PARAM_VECTOR, AXIS_DP, layer, pattern, 0, 1, 1, c->hidden_size),
                  c->rms_norm_eps};
}

void block_init(Block *b, Params *params, Run *run, const Rope *rope, int layer, int moe_index, int64_t tokens) {
    *b = (Block){.layer = layer, .has_experts = config_layer_is_moe(run->config, layer)};
    b->attention_norm = add_norm(params, run, layer, "input_layernorm");
    mla_init(&b->mla, params, run, rope, layer);
    b->ffn_norm = add_norm(params, run, layer, "post_attention_layernorm");
    if (b->has_experts)
        moe_init(&b->moe, params, run, layer, moe_index, tokens);
    else
        ffn_init(&b->ffn, params, run, layer, "mlp", run->config->intermediate_size);
}

void block_forward(Tensor y, const Block *b, BlockActs *a, Tensor x, const Batch *batch, Run *run) {
    int64_t n = tensor_rows(x), d = tensor_cols(x), mark = arena_mark(&run->scratch);
    a->x = x;
    a->h1 = acts_2d(run, n, d);
    a->rstd1 = acts_stat(run, n);
    a->x1 = acts_2d(run, n, d);
    a->h2 = acts_2d(run, n, d);
    a->rstd2 = acts_stat(run, n);
    Tensor attention = scratch_2d(run, n, d);
    norm_forward(a->h1, a->rstd1, &b->attention_norm, x, run);
    mla_forward(attention, &b->mla, &a->mla, a->h1, batch, run);
    run->k->add_rmsnorm_forward(run->device, a->x1, a->h2, a->rstd2, x, attention, b->ffn_norm.p->w, b->ffn_norm.eps);
    if (b->has_experts)
        moe_forward(y, &b->moe, &a->moe, a->h2, batch, run);
    else
        ffn_forward(y, &b->ffn, &a->ffn, a->h2, run);
    run->k->add(run->device, y, a->x1);
    arena_rewind(&run->scratch, mark);
}

void block_decode(Tensor x, const Block *b, Tensor cache, const NewTokens *t, Run *run) {
    int64_t n = tensor_rows(x), d = tensor_cols(x);
    int64_t scratch = arena_mark(&run->scratch), acts = arena_mark(&run->acts), host = arena_mark(&run->host);
    Tensor h = scratch_2d(run, n, d), delta = scratch_2d(run, n, d);
    Tensor rstd = arena_1d(&run->scratch, run_stat_dtype(run), n);
    BlockActs a = {0};
    norm_forward(h, rstd, &b->attention_norm, x, run);
    mla_decode(delta, &b->mla, cache, h, t, run);
    run->k->add_rmsnorm_forward(run->device, x, h, rstd, x, delta, b->ffn_norm.p->w, b->ffn_norm.eps);
    if (b->has_experts)
        moe_forward(delta, &b->moe, &a.moe, h, NULL, run);
    else
        ffn_forward(delta, &b->ffn, &a.ffn, h, run);
    run->k->add(run->device, x, delta);
    arena_rewind(&run->scratch, scratch);
    arena_rewind(&run->acts, acts);
    arena_rewind(&run->host, host);
}

void block_backward_input(Tensor dx, const Block *b, BlockActs *a, Tensor dy, const Batch *batch, Run *run) {
    int64_t n = tensor_rows(dx), d = tensor_cols(dx);
    a->dh2 = acts_2d(run, n, d);
    a->dx1 = acts_2d(run, n, d);
    a->dh1 = acts_2d(run, n, d);
    if (b->has_experts)
        moe_backward_input(a->dh2, &b->moe, &a->moe, dy, run);
    else
        ffn_backward_input(a->dh2, &b->ffn, &a->ffn, dy, run);
    run->k->convert(run->device, a->dx1, dy);
    norm_backward_input(a->dx1, &b->ffn_norm, a->dh2, a->x1, a->rstd2, true, run);
    mla_backward_input(a->dh1, &b->mla, &a->mla, a->dx1, batch, run);
    run->k->convert(run->device, dx, a->dx1);
    norm_backward_input(dx, &b->attention_norm, a->dh1, a->x, a->rstd1, true, run);
}

void block_backward_weight(const Block *b, BlockActs *a, Run *run) {
    if (b->has_experts)
        moe_backward_weight(&b->moe, &a->moe, run);
    else
        ffn_backward_weight(&b->ffn, &a->ffn, run);
    norm_backward_weight(&b->ffn_norm, a->dh2, a->x1, a->rstd2, run);
    mla_backward_weight(&b->mla, &a->mla, run);
    norm_backward_weight(&b->attention_norm, a->dh1, a->x, a->rstd1, run);
}
