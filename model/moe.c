#include "model/moe.h"

#include <stdio.h>

void moe_init(Moe *m, Params *params, Run *run, int layer, int index, int64_t tokens) {
    const Config *c = run->config;
    int ep = mesh_size(&run->mesh, AXIS_EP);
    int64_t e = c->n_routed_experts / ep, first = e * mesh_rank(&run->mesh, AXIS_EP);
    char pattern[128];
    *m = (Moe){.width = c->moe_intermediate_size, .index = index, .shape = exchange_shape(c, tokens, ep)};
    router_init(&m->router, params, run, layer);
    snprintf(pattern, sizeof pattern, "model.layers.%d.mlp.experts.#.{gate_proj,up_proj}.weight", layer);
    m->gate_up =
        param_add(params, run, PARAM_MATRIX, AXIS_EDP, layer, pattern, first, 2 * e, m->width, c->hidden_size);
    snprintf(pattern, sizeof pattern, "model.layers.%d.mlp.experts.#.down_proj.weight", layer);
    m->down = param_add(params, run, PARAM_MATRIX, AXIS_EDP, layer, pattern, first, e, c->hidden_size, m->width);
    if (c->n_shared_experts)
        ffn_init(&m->shared, params, run, layer, "mlp.shared_experts", c->n_shared_experts * m->width);
}

static void count_routing(const Moe *m, const Route *r, Run *run) {
    Stats *s = &run->stats;
    if (run->recomputing) return;
    int64_t *load = s->load ? s->load + m->index * m->shape.experts : NULL;
    for (int64_t i = 0; i < r->tokens * m->shape.top_k; i++) {
        if (r->ids[i] < 0)
            s->pairs_dropped++;
        else if (load)
            load[r->ids[i]]++;
    }
    s->routed_tokens += r->tokens;
    s->vectors_sent += r->send_first[mesh_size(&run->mesh, AXIS_EP)];
    s->extra_rounds += r->rounds - 1;
}

/* -- one round: forward ---------------------------------------------------------------------------- */

static Tensor keep_2d(Arena *keep, Dtype dtype, int64_t most, int64_t rows, int64_t cols) {
    return tensor_rows_view(arena_2d(keep, dtype, most, cols), 0, rows);
}

/* A vector of one number a pair, from run->scratch or the like. */
static Tensor keep_1d(Arena *keep, Dtype dtype, int64_t most, int64_t n) {
    return tensor_1d(arena_1d(keep, dtype, most).data, dtype, n);
}

/* Starts the way of the tokens to their experts; their weights travel first, being small. */
static void receive_start(ExpertActs *a, const Moe *m, Tensor x, Tensor weight, Arena *keep, Run *run) {
    if (!exchange_local(run)) {
        a->slot_weight = arena_2d(keep, weight.dtype, m->shape.vectors, m->shape.top_k);
        a->vectors = arena_2d(keep, x.dtype, m->shape.vectors, tensor_cols(x));
    }
    dispatch_start(&a->round, a->slot_weight, weight, run);
    a->slot_weight = dispatch_finish(&a->round, a->slot_weight, weight, run);
    dispatch_start(&a->round, a->vectors, x, run);
}

static void receive_finish(ExpertActs *a, const Moe *m, Tensor x, Arena *keep, Run *run) {
    a->vectors = dispatch_finish(&a->round, a->vectors, x, run);
    a->weight = keep_1d(keep, a->slot_weight.dtype, m->shape.pairs, a->round.pairs);
    Tensor slots = tensor_reshape(a->slot_weight, tensor_count(a->slot_weight), 1);
    run->k->gather_rows(run->device, tensor_reshape(a->weight, a->round.pairs, 1), slots, a->round.pair_slot);
}

/* The rows that each pair computes on, by expert. */
static Tensor pair_rows(const ExpertActs *a, const Moe *m, Tensor vectors, Arena *from, Run *run) {
    Tensor rows = keep_2d(from, vectors.dtype, m->shape.pairs, a->round.pairs, tensor_cols(vectors));
    run->k->gather_rows(run->device, rows, vectors, a->round.pair_vector);
    return rows;
}

static void gate_up_forward(ExpertActs *a, const Moe *m, Arena *keep, Run *run) {
    a->gate_up = keep_2d(keep, run->dtype, m->shape.pairs, a->round.pairs, 2 * m->width);
    int64_t mark = arena_mark(&run->scratch);
    Tensor rows = pair_rows(a, m, a->vectors, &run->scratch, run);
    run->k->grouped_linear_forward(run->device, a->gate_up, rows, m->gate_up->w, a->round.groups);
    arena_rewind(&run->scratch, mark);
}

/* Sums pairs to their vectors and brings them home: y (N, D) += */
static void send_home(Tensor y, ExpertActs *a, const Moe *m, Tensor pairs, Run *run) {
    if (exchange_local(run)) {
        run->k->gather_sum_rows(run->device, round_rows(&a->round, y), pairs, a->round.vector_pairs, true);
        return;
    }
    Tensor sums = keep_2d(&run->scratch, y.dtype, m->shape.vectors, a->round.received, tensor_cols(y));
    run->k->gather_sum_rows(run->device, sums, pairs, a->round.vector_pairs, false);
    combine_start(&a->round, sums, run);
    combine_finish(&a->round, y, run);
}

static void experts_forward(Tensor y, ExpertActs *a, const Moe *m, Arena *keep, Run *run) {
    gate_up_forward(a, m, keep, run);
    int64_t mark = arena_mark(&run->scratch), p = a->round.pairs;
    Tensor hidden = keep_2d(&run->scratch, run->dtype, m->shape.pairs, p, m->width);
    Tensor out = keep_2d(&run->scratch, run->dtype, m->shape.pairs, p, tensor_cols(y));
    run->k->swiglu_weighted_forward(run->device, hidden, a->gate_up, a->weight);
    run->k->grouped_linear_forward(run->device, out, hidden, m->down->w, a->round.groups);
    send_home(y, a, m, out, run);
    arena_rewind(&run->scratch, mark);
}

static void shared_forward(Tensor y, const Moe *m, MoeActs *a, Run *run) {
    if (m->shared.width)
        ffn_forward(y, &m->shared, &a->shared, a->x, run);
    else
        run->k->fill(run->device, y, 0);
}

/* Rounds that are not kept, forward: all their memory is scratch. */
static void later_rounds_forward(Tensor y, const Moe *m, MoeActs *a, const Route *route, Run *run) {
    for (int r = 1; r < route->rounds; r++) {
        int64_t mark = arena_mark(&run->scratch), host_mark = arena_mark(&run->host);
        ExpertActs later = {0};
        round_open(&later.round, &m->shape, run);
        round_build(&later.round, route, r, &run->scratch, run);
        receive_start(&later, m, a->x, a->router.weight, &run->scratch, run);
        receive_finish(&later, m, a->x, &run->scratch, run);
        experts_forward(y, &later, m, &run->scratch, run);
        arena_rewind(&run->scratch, mark);
        arena_rewind(&run->host, host_mark);
    }
}

void moe_forward(Tensor y, const Moe *m, MoeActs *a, Tensor x, const Batch *b, Run *run) {
    Route route;
    a->x = x;
    a->experts = (ExpertActs){0};
    router_forward(&m->router, &a->router, x, b, run);
    round_open(&a->experts.round, &m->shape, run); /* outlives the lists of the plan */
    int64_t mark = arena_mark(&run->host);
    exchange_plan(&route, &m->shape, a->router.kept, m->router.rule, run);
    a->rounds = route.rounds;
    count_routing(m, &route, run);
    round_build(&a->experts.round, &route, 0, &run->acts, run);
    receive_start(&a->experts, m, x, a->router.weight, &run->acts, run);
    shared_forward(y, m, a, run);
    receive_finish(&a->experts, m, x, &run->acts, run);
    experts_forward(y, &a->experts, m, &run->acts, run);
    later_rounds_forward(y, m, a, &route, run);
    arena_rewind(&run->host, mark);
}

/* -- backward ------------------------------------------------------------------------------------------ */

static Tensor receive_gradient(ExpertActs *a, const Moe *m, Tensor dy, Run *run) {
    Tensor to = {0};
    if (!exchange_local(run)) to = arena_2d(&run->scratch, dy.dtype, m->shape.vectors, tensor_cols(dy));
    dispatch_start(&a->round, to, dy, run);
    return dispatch_finish(&a->round, to, dy, run);
}

/* The gradients of the weights, from pairs to slots to the tokens' (N, K): += */
static void weights_home(Tensor dweight, ExpertActs *a, const Moe *m, Tensor dpair, Run *run) {
    int64_t slots = a->round.received * m->shape.top_k;
    Tensor dslot = keep_1d(&run->scratch, dpair.dtype, m->shape.vectors * m->shape.top_k, slots);
    run->k->gather_rows(run->device, tensor_reshape(dslot, slots, 1), tensor_reshape(dpair, tensor_count(dpair), 1),
                        a->round.slot_pair);
    Tensor vectors = tensor_reshape(dslot, a->round.received, m->shape.top_k);
    if (exchange_local(run)) {
        run->k->add(run->device, round_rows(&a->round, dweight), vectors);
        return;
    }
    combine_start(&a->round, vectors, run);
    combine_finish(&a->round, dweight, run);
}

static void experts_backward(Tensor dx, Tensor dweight, ExpertActs *a, const Moe *m, Tensor dy, Arena *keep,
                             Run *run) {
    int64_t p = a->round.pairs, most = m->shape.pairs;
    a->dy = keep_2d(keep, run->dtype, most, p, tensor_cols(dy));
    a->dgate_up = keep_2d(keep, run->dtype, most, p, 2 * m->width);
    a->hidden = keep_2d(keep, run->dtype, most, p, m->width);
    int64_t mark = arena_mark(&run->scratch);
    run->k->gather_rows(run->device, a->dy, receive_gradient(a, m, dy, run), a->round.pair_vector);
    Tensor dhidden = keep_2d(&run->scratch, run->dtype, most, p, m->width);
    Tensor dpair = keep_1d(&run->scratch, dweight.dtype, most, p);
    Tensor drows = keep_2d(&run->scratch, run->dtype, most, p, tensor_cols(dy));
    run->k->grouped_linear_backward_input(run->device, dhidden, a->dy, m->down->w, a->round.groups);
    run->k->swiglu_weighted_backward(run->device, a->dgate_up, dpair, a->hidden, dhidden, a->gate_up, a->weight);
    run->k->grouped_linear_backward_input(run->device, drows, a->dgate_up, m->gate_up->w, a->round.groups);
    send_home(dx, a, m, drows, run);
    weights_home(dweight, a, m, dpair, run);
    arena_rewind(&run->scratch, mark);
}

static void grouped_backward_weight(Param *p, Tensor dy, Tensor x, Groups groups, Run *run) {
    run->k->grouped_linear_backward_weight(run->device, p->dw, dy, x, groups, p->has_gradient);
    p->has_gradient = true;
}

static void experts_backward_weight(ExpertActs *a, const Moe *m, Run *run) {
    int64_t mark = arena_mark(&run->scratch);
    Tensor rows = pair_rows(a, m, a->vectors, &run->scratch, run);
    grouped_backward_weight(m->gate_up, a->dgate_up, rows, a->round.groups, run);
    grouped_backward_weight(m->down, a->dy, a->hidden, a->round.groups, run);
    arena_rewind(&run->scratch, mark);
}

static void later_rounds_backward(Tensor dx, Tensor dweight, const Moe *m, MoeActs *a, Tensor dy, Run *run) {
    if (a->rounds == 1) return;
    Route route;
    int64_t host_mark = arena_mark(&run->host);
    exchange_plan(&route, &m->shape, a->router.kept, m->router.rule, run);
    for (int r = 1; r < route.rounds; r++) {
        int64_t mark = arena_mark(&run->scratch), round_mark = arena_mark(&run->host);
        ExpertActs later = {0};
        round_open(&later.round, &m->shape, run);
        round_build(&later.round, &route, r, &run->scratch, run);
        receive_start(&later, m, a->x, a->router.weight, &run->scratch, run);
        receive_finish(&later, m, a->x, &run->scratch, run);
        gate_up_forward(&later, m, &run->scratch, run);
        experts_backward(dx, dweight, &later, m, dy, &run->scratch, run);
        experts_backward_weight(&later, m, run);
        arena_rewind(&run->scratch, mark);
        arena_rewind(&run->host, round_mark);
    }
    arena_rewind(&run->host, host_mark);
}

void moe_backward_input(Tensor dx, const Moe *m, MoeActs *a, Tensor dy, Run *run) {
    if (m->shared.width)
        ffn_backward_input(dx, &m->shared, &a->shared, dy, run);
    else
        run->k->fill(run->device, dx, 0);
    int64_t mark = arena_mark(&run->scratch);
    Tensor dweight = arena_2d(&run->scratch, run_stat_dtype(run), tensor_rows(dx), m->shape.top_k);
    run->k->fill(run->device, dweight, 0);
    experts_backward(dx, dweight, &a->experts, m, dy, &run->acts, run);
    later_rounds_backward(dx, dweight, m, a, dy, run);
    router_backward_input(dx, &m->router, &a->router, dweight, run);
    arena_rewind(&run->scratch, mark);
}

void moe_backward_weight(const Moe *m, MoeActs *a, Run *run) {
    if (m->shared.width) ffn_backward_weight(&m->shared, &a->shared, run);
    experts_backward_weight(&a->experts, m, run);
    router_backward_weight(&m->router, &a->router, a->x, run);
}
