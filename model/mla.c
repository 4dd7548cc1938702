#include "model/mla.h"

#include <stdio.h>

/* The latent norms are built without an eps in the reference code. */
static const double LATENT_EPS = 1e-6;

static Param *add(Params *params, Run *run, ParamKind kind, int layer, const char *name, int64_t rows, int64_t cols) {
    char pattern[128];
    snprintf(pattern, sizeof pattern, "model.layers.%d.self_attn.%s.weight", layer, name);
    return param_add(params, run, kind, AXIS_DP, layer, pattern, 0, 1, rows, cols);
}

void mla_init(Mla *m, Params *params, Run *run, const Rope *rope, int layer) {
    const Config *c = run->config;
    int64_t h = c->num_attention_heads, d = c->hidden_size, latent = c->kv_lora_rank, q_in = d;
    *m = (Mla){.heads = (int)h,
               .nope = c->qk_nope_head_dim,
               .rope_dim = c->qk_rope_head_dim,
               .v = c->v_head_dim,
               .scale = rope_softmax_scale(c),
               .rope = rope};
    if (c->q_lora_rank) {
        q_in = c->q_lora_rank;
        m->q_a.p = add(params, run, PARAM_MATRIX, layer, "q_a_proj", q_in, d);
        m->q_norm = (Norm){add(params, run, PARAM_VECTOR, layer, "q_a_layernorm", 1, q_in), LATENT_EPS};
    }
    const char *q_name = c->q_lora_rank ? "q_b_proj" : "q_proj";
    m->q_b.p = add(params, run, PARAM_MATRIX, layer, q_name, h * (m->nope + m->rope_dim), q_in);
    m->kv_a.p = add(params, run, PARAM_MATRIX, layer, "kv_a_proj_with_mqa", latent + m->rope_dim, d);
    m->kv_norm = (Norm){add(params, run, PARAM_VECTOR, layer, "kv_a_layernorm", 1, latent), LATENT_EPS};
    m->kv_b.p = add(params, run, PARAM_MATRIX, layer, "kv_b_proj", h * (m->nope + m->v), latent);
    m->out.p = add(params, run, PARAM_MATRIX, layer, "o_proj", d, h * m->v);
}

/* The rotary part of every head of q, and of the shared key, as rows that rope can turn. */
static Tensor q_rotary(const Mla *m, Tensor q) {
    Tensor heads = tensor_reshape(q, tensor_rows(q) * m->heads, m->nope + m->rope_dim);
    return tensor_cols_view(heads, m->nope, m->rope_dim);
}
static Tensor shared_key(const Mla *m, Tensor latent) {
    return tensor_cols_view(latent, tensor_cols(latent) - m->rope_dim, m->rope_dim);
}
static Tensor latent_part(const Mla *m, Tensor latent) {
    return tensor_cols_view(latent, 0, tensor_cols(latent) - m->rope_dim);
}

static void queries_forward(const Mla *m, MlaActs *a, Tensor x, Run *run) {
    int64_t n = tensor_rows(x);
    Tensor in = x;
    if (m->q_a.p) {
        a->q_latent = acts_2d(run, n, m->q_a.p->rows);
        a->q_normed = acts_2d(run, n, m->q_a.p->rows);
        a->q_rstd = acts_stat(run, n);
        linear_forward(a->q_latent, &m->q_a, x, run);
        norm_forward(a->q_normed, a->q_rstd, &m->q_norm, a->q_latent, run);
        in = a->q_normed;
    }
    a->q = acts_2d(run, n, m->q_b.p->rows);
    linear_forward(a->q, &m->q_b, in, run);
}

static void keys_values_forward(const Mla *m, MlaActs *a, Tensor x, Run *run) {
    int64_t n = tensor_rows(x);
    a->latent = acts_2d(run, n, m->kv_a.p->rows);
    a->normed = acts_2d(run, n, m->kv_b.p->cols);
    a->rstd = acts_stat(run, n);
    a->kv = acts_2d(run, n, m->kv_b.p->rows);
    linear_forward(a->latent, &m->kv_a, x, run);
    norm_forward(a->normed, a->rstd, &m->kv_norm, latent_part(m, a->latent), run);
    linear_forward(a->kv, &m->kv_b, a->normed, run);
}

void mla_forward(Tensor y, const Mla *m, MlaActs *a, Tensor x, const Batch *b, Run *run) {
    int64_t n = tensor_rows(x);
    *a = (MlaActs){.x = x};
    queries_forward(m, a, x, run);
    keys_values_forward(m, a, x, run);
    run->k->rope(run->device, q_rotary(m, a->q), m->rope->table, b->position, m->heads, false);
    run->k->rope(run->device, shared_key(m, a->latent), m->rope->table, b->position, 1, false);
    a->heads_out = acts_2d(run, n, m->heads * m->v);
    a->lse = arena_2d(&run->acts, run_stat_dtype(run), n, m->heads);
    run->k->attention_forward(run->device, a->heads_out, a->lse, a->q, a->kv, shared_key(m, a->latent), b->range,
                              m->heads, m->scale);
    linear_forward(y, &m->out, a->heads_out, run);
}

static void keys_values_backward(Tensor dx, const Mla *m, MlaActs *a, Run *run) {
    a->dnormed = acts_2d(run, tensor_rows(dx), m->kv_b.p->cols);
    linear_backward_input(a->dnormed, &m->kv_b, a->dkv, false, run);
    norm_backward_input(latent_part(m, a->dlatent), &m->kv_norm, a->dnormed, latent_part(m, a->latent), a->rstd,
                        false, run);
    linear_backward_input(dx, &m->kv_a, a->dlatent, false, run);
}

static void queries_backward(Tensor dx, const Mla *m, MlaActs *a, Run *run) { /* dx += */
    if (!m->q_a.p) {
        linear_backward_input(dx, &m->q_b, a->dq, true, run);
        return;
    }
    a->dq_normed = acts_2d(run, tensor_rows(dx), m->q_a.p->rows);
    a->dq_latent = acts_2d(run, tensor_rows(dx), m->q_a.p->rows);
    linear_backward_input(a->dq_normed, &m->q_b, a->dq, false, run);
    norm_backward_input(a->dq_latent, &m->q_norm, a->dq_normed, a->q_latent, a->q_rstd, false, run);
    linear_backward_input(dx, &m->q_a, a->dq_latent, true, run);
}

void mla_backward_input(Tensor dx, const Mla *m, MlaActs *a, Tensor dy, const Batch *b, Run *run) {
    int64_t n = tensor_rows(dx), mark = arena_mark(&run->scratch);
    a->dy = dy;
    a->dq = acts_2d(run, n, tensor_cols(a->q));
    a->dkv = acts_2d(run, n, tensor_cols(a->kv));
    a->dlatent = acts_2d(run, n, tensor_cols(a->latent));
    Tensor dheads = scratch_2d(run, n, tensor_cols(a->heads_out));
    linear_backward_input(dheads, &m->out, dy, false, run);
    run->k->attention_backward(run->device, a->dq, a->dkv, shared_key(m, a->dlatent), dheads, a->heads_out, a->lse,
                               a->q, a->kv, shared_key(m, a->latent), b->range, m->heads, m->scale);
    run->k->rope(run->device, q_rotary(m, a->dq), m->rope->table, b->position, m->heads, true);
    run->k->rope(run->device, shared_key(m, a->dlatent), m->rope->table, b->position, 1, true);
    keys_values_backward(dx, m, a, run);
    queries_backward(dx, m, a, run);
    arena_rewind(&run->scratch, mark);
}

void mla_backward_weight(const Mla *m, MlaActs *a, Run *run) {
    linear_backward_weight(&m->out, a->dy, a->heads_out, run);
    linear_backward_weight(&m->kv_b, a->dkv, a->normed, run);
    norm_backward_weight(&m->kv_norm, a->dnormed, latent_part(m, a->latent), a->rstd, run);
    linear_backward_weight(&m->kv_a, a->dlatent, a->x, run);
    linear_backward_weight(&m->q_b, a->dq, m->q_a.p ? a->q_normed : a->x, run);
    if (!m->q_a.p) return;
    norm_backward_weight(&m->q_norm, a->dq_normed, a->q_latent, a->q_rstd, run);
    linear_backward_weight(&m->q_a, a->dq_latent, a->x, run);
}
