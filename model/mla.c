#include "model/mla.h"

#include <math.h>
#include <stdio.h>

#include "kernels/shapes.h"

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

/* -- decoding ------------------------------------------------------------------------------------------ */

enum { EXPANDED_KEYS = 1024 }; /* cached tokens whose keys and values exist at once */

bool mla_expands(const Mla *m, int64_t rows) {
    int64_t latent = m->kv_b.p->cols, absorbed = 2 * latent + m->rope_dim, expanded = m->nope + m->rope_dim + m->v;
    return rows * absorbed > rows * expanded + latent * (m->nope + m->v);
}

/* The latents and shared keys of new tokens take their rows of the cache. */
static void remember(const Mla *m, Tensor cache, Tensor x, const NewTokens *t, Run *run) {
    int64_t n = tensor_rows(x), mark = arena_mark(&run->scratch);
    Tensor latent = scratch_2d(run, n, m->kv_a.p->rows), fresh = scratch_2d(run, n, m->kv_a.p->rows);
    Tensor rstd = arena_1d(&run->scratch, run_stat_dtype(run), n);
    linear_forward(latent, &m->kv_a, x, run);
    norm_forward(latent_part(m, fresh), rstd, &m->kv_norm, latent_part(m, latent), run);
    run->k->convert(run->device, shared_key(m, fresh), shared_key(m, latent));
    run->k->rope(run->device, shared_key(m, fresh), m->rope->table, t->position, 1, false);
    run->k->put_rows(run->device, cache, fresh, t->row);
    arena_rewind(&run->scratch, mark);
}

static void attend_absorbed(Tensor y, const Mla *m, Tensor cache, Tensor q, Tensor range, Run *run) {
    int64_t n = tensor_rows(q), latent = m->kv_b.p->cols, mark = arena_mark(&run->scratch);
    Tensor absorbed = scratch_2d(run, n, m->heads * tensor_cols(cache)), seen = scratch_2d(run, n, m->heads * latent);
    Tensor parts =
        arena_2d(&run->scratch, run_stat_dtype(run), attention_latent_parts(run->device, n, m->heads), latent + 2);
    run->k->absorb_queries(run->device, absorbed, q, m->kv_b.p->w, m->heads);
    run->k->attention_latent(run->device, seen, parts, absorbed, cache, range, m->heads, m->scale);
    run->k->absorb_values(run->device, y, seen, m->kv_b.p->w, m->heads);
    arena_rewind(&run->scratch, mark);
}

/* Which of a sequence's tokens from `first` on, `keys` of them, the rows of a piece see. */
static Tensor range_within(const TokenSpan *p, int64_t first, int64_t keys, Run *run) {
    int64_t mark = arena_mark(&run->host);
    int32_t *range = arena_alloc(&run->host, 2 * p->rows * (int64_t)sizeof *range);
    for (int64_t i = 0; i < p->rows; i++) {
        range[2 * i] = 0;
        range[2 * i + 1] = (int32_t)max_i64(min_i64(p->before + i + 1 - first, keys), 0);
    }
    Tensor t = arena_2d(&run->scratch, I32, p->rows, 2);
    run->device->ops->to_device(run->device, t.data, range, tensor_bytes(t));
    arena_rewind(&run->host, mark);
    return t;
}

/* sum and lse take in the sequence's tokens from `first` on; rows: where they lie in the cache. */
static void attend_keys(Tensor sum, Tensor lse, const Mla *m, Tensor rows, Tensor q, const TokenSpan *p,
                        int64_t first, Run *run) {
    int64_t keys = tensor_rows(rows), mark = arena_mark(&run->scratch);
    Tensor kv = scratch_2d(run, keys, m->kv_b.p->rows), part = scratch_2d(run, p->rows, m->heads * m->v);
    Tensor part_lse = arena_2d(&run->scratch, lse.dtype, p->rows, m->heads);
    linear_forward(kv, &m->kv_b, latent_part(m, rows), run);
    run->k->attention_forward(run->device, part, part_lse, q, kv, shared_key(m, rows),
                              range_within(p, first, keys, run), m->heads, m->scale);
    run->k->merge_attention(run->device, sum, lse, part, part_lse);
    arena_rewind(&run->scratch, mark);
}

static void attend_expanded(Tensor y, const Mla *m, Tensor cache, Tensor q, const TokenSpan *p, Run *run) {
    int64_t all = p->before + p->rows, mark = arena_mark(&run->scratch);
    Tensor sum = arena_2d(&run->scratch, run_stat_dtype(run), p->rows, m->heads * m->v);
    Tensor lse = arena_2d(&run->scratch, run_stat_dtype(run), p->rows, m->heads);
    run->k->fill(run->device, sum, 0);
    run->k->fill(run->device, lse, -INFINITY);
    for (int64_t first = 0; first < all; first += EXPANDED_KEYS) {
        Tensor rows = tensor_rows_view(cache, p->first + first, min_i64(EXPANDED_KEYS, all - first));
        attend_keys(sum, lse, m, rows, q, p, first, run);
    }
    run->k->convert(run->device, y, sum);
    arena_rewind(&run->scratch, mark);
}

void mla_decode(Tensor y, const Mla *m, Tensor cache, Tensor x, const NewTokens *t, Run *run) {
    int64_t n = tensor_rows(x), at = 0, i = 0;
    int64_t acts = arena_mark(&run->acts), scratch = arena_mark(&run->scratch);
    MlaActs a = {0};
    Tensor heads_out = scratch_2d(run, n, m->heads * m->v);
    queries_forward(m, &a, x, run);
    run->k->rope(run->device, q_rotary(m, a.q), m->rope->table, t->position, m->heads, false);
    remember(m, cache, x, t, run);
    for (; i < t->pieces && mla_expands(m, t->piece[i].rows); at += t->piece[i++].rows)
        attend_expanded(tensor_rows_view(heads_out, at, t->piece[i].rows), m, cache,
                        tensor_rows_view(a.q, at, t->piece[i].rows), &t->piece[i], run);
    if (at < n)
        attend_absorbed(tensor_rows_view(heads_out, at, n - at), m, cache, tensor_rows_view(a.q, at, n - at),
                        tensor_rows_view(t->range, at, n - at), run);
    linear_forward(y, &m->out, heads_out, run);
    arena_rewind(&run->acts, acts);
    arena_rewind(&run->scratch, scratch);
}

/* -- backward ------------------------------------------------------------------------------------------ */

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
