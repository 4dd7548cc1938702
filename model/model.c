#include "model/model.h"

#include <stdlib.h>
#include <string.h>

void model_init(Model *m, Run *run, int64_t tokens, int64_t positions, bool training, bool optimizer) {
    const Config *c = run->config;
    *m = (Model){.layers = (int)c->num_hidden_layers, .recompute = !strcmp(c->recompute, "block")};
    params_open(&m->params, training, optimizer);
    m->embedding = param_add(&m->params, run, PARAM_MATRIX, AXIS_DP, -1, "model.embed_tokens.weight", 0, 1,
                             c->vocab_size, c->hidden_size);
    rope_init(&m->rope, positions, run);
    m->blocks = must_alloc(m->layers, sizeof *m->blocks);
    for (int l = 0; l < m->layers; l++) {
        block_init(&m->blocks[l], &m->params, run, &m->rope, l, m->moe_layers, tokens);
        m->moe_layers += m->blocks[l].has_experts;
    }
    head_init(&m->head, &m->params, run);
    m->loss_sum = arena_1d(&run->state, F64, 1);
    run->k->fill(run->device, m->loss_sum, 0);
}

void model_close(Model *m) {
    params_close(&m->params);
    free(m->blocks);
    *m = (Model){0};
}

void model_acts_open(ModelActs *a, const Model *m) {
    *a =
        (ModelActs){.x = must_alloc(m->layers + 1, sizeof *a->x), .blocks = must_alloc(m->layers, sizeof *a->blocks)};
}
void model_acts_close(ModelActs *a) {
    free(a->x);
    free(a->blocks);
    *a = (ModelActs){0};
}

/* With recompute the block's own activations are given back; its input and output stay. */
static void forward_layer(Model *m, ModelActs *a, int l, const Batch *b, Run *run) {
    int64_t n = tensor_rows(a->x[l]), d = tensor_cols(a->x[l]);
    a->x[l + 1] = acts_2d(run, n, d);
    int64_t acts = arena_mark(&run->acts), host = arena_mark(&run->host);
    block_forward(a->x[l + 1], &m->blocks[l], &a->blocks[l], a->x[l], b, run);
    if (!m->recompute) return;
    arena_rewind(&run->acts, acts);
    arena_rewind(&run->host, host);
}

void model_forward(Model *m, ModelActs *a, const Batch *b, Run *run) {
    a->acts_mark = arena_mark(&run->acts);
    a->host_mark = arena_mark(&run->host);
    a->x[0] = acts_2d(run, tensor_count(b->ids), m->embedding->cols);
    run->k->embedding_forward(run->device, a->x[0], m->embedding->w, b->ids);
    for (int l = 0; l < m->layers; l++) forward_layer(m, a, l, b, run);
}

void model_loss(Model *m, const ModelActs *a, Tensor dx, Tensor token_loss, const Batch *b, Run *run) {
    HeadOut out = {.loss_sum = m->loss_sum, .dx = dx, .token_loss = token_loss};
    head_loss(out, &m->head, a->x[m->layers], b, run);
}

static void forward_again(Model *m, ModelActs *a, int l, const Batch *b, Run *run) {
    int64_t mark = arena_mark(&run->scratch);
    Tensor y = scratch_2d(run, tensor_rows(a->x[l]), tensor_cols(a->x[l])); /* known already */
    run->recomputing = true;
    block_forward(y, &m->blocks[l], &a->blocks[l], a->x[l], b, run);
    run->recomputing = false;
    arena_rewind(&run->scratch, mark);
}

void model_backward(Model *m, ModelActs *a, Tensor dx, const Batch *b, Run *run) {
    int64_t n = tensor_rows(dx), d = tensor_cols(dx), scratch = arena_mark(&run->scratch);
    Tensor dy = dx, other = scratch_2d(run, n, d);
    for (int l = m->layers - 1; l >= 0; l--) {
        int64_t acts = arena_mark(&run->acts), host = arena_mark(&run->host);
        if (m->recompute) forward_again(m, a, l, b, run);
        block_backward_input(other, &m->blocks[l], &a->blocks[l], dy, b, run);
        block_backward_weight(&m->blocks[l], &a->blocks[l], run);
        arena_rewind(&run->acts, acts);
        arena_rewind(&run->host, host);
        Tensor swap = dy;
        dy = other;
        other = swap;
    }
    run->k->embedding_backward(run->device, param_gradient(m->embedding, run), dy, b->ids);
    arena_rewind(&run->scratch, scratch);
    model_forget(a, run);
}

void model_forget(const ModelActs *a, Run *run) {
    arena_rewind(&run->acts, a->acts_mark);
    arena_rewind(&run->host, a->host_mark);
}

void model_step(Model *m, ModelActs *a, const Batch *b, Run *run) {
    model_forward(m, a, b, run);
    int64_t mark = arena_mark(&run->scratch);
    Tensor none = {0}, dx = scratch_2d(run, tensor_count(b->ids), m->embedding->cols);
    model_loss(m, a, dx, none, b, run);
    model_backward(m, a, dx, b, run);
    arena_rewind(&run->scratch, mark);
}

void model_decode(Tensor x, Model *m, const Cache *cache, const NewTokens *t, Run *run) {
    run->k->embedding_forward(run->device, x, m->embedding->w, t->ids);
    for (int l = 0; l < m->layers; l++) block_decode(x, &m->blocks[l], cache_layer(cache, l), t, run);
}

double model_read_loss(Model *m, Run *run) {
    double sum = 0;
    run->device->ops->to_host(run->device, &sum, m->loss_sum.data, sizeof sum);
    run->k->fill(run->device, m->loss_sum, 0);
    return sum;
}

void model_read_balance(Model *m, Run *run, double *sums) {
    for (int l = 0; l < m->layers; l++) {
        if (!m->blocks[l].has_experts) continue;
        Tensor t = m->blocks[l].moe.router.balance;
        run->device->ops->to_host(run->device, sums, t.data, 3 * (int64_t)sizeof *sums);
        run->k->fill(run->device, t, 0);
        sums += 3;
    }
}
