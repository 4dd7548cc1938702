#include "model/router.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/exchange.h"

void router_init(Router *r, Params *params, Run *run, int layer) {
    const Config *c = run->config;
    char pattern[128];
    snprintf(pattern, sizeof pattern, "model.layers.%d.mlp.gate.weight", layer);
    bool limited = !strcmp(c->topk_method, "group_limited_greedy");
    *r = (Router){.rule = {.n_group = limited ? (int)c->n_group : 1,
                           .topk_group = limited ? (int)c->topk_group : 1,
                           .norm_topk_prob = c->norm_topk_prob,
                           .routed_scaling_factor = c->routed_scaling_factor},
                  .experts = c->n_routed_experts,
                  .top_k = c->num_experts_per_tok};
    r->gate.p = param_add(params, run, PARAM_ROUTER, AXIS_DP, layer, pattern, 0, 1, r->experts, c->hidden_size);
    r->balance = arena_1d(&run->state, F64, 3);
    run->k->fill(run->device, r->balance, 0);
}

/* x in the stat dtype: itself, or a copy in scratch. */
static Tensor in_stat(Tensor x, Run *run) {
    if (x.dtype == run_stat_dtype(run)) return x;
    Tensor copy = arena_2d(&run->scratch, run_stat_dtype(run), tensor_rows(x), tensor_cols(x));
    run->k->convert(run->device, copy, x);
    return copy;
}

/* Devices that a token may be sent to, M of the communication loss, for D device groups. */
static int64_t device_limit(const Config *c) {
    bool limited = !strcmp(c->topk_method, "group_limited_greedy") && c->balance_groups == c->n_group;
    return limited ? c->topk_group : exchange_bound(c, (int)c->balance_groups);
}

static void balance(const Router *r, RouterActs *a, const Batch *b, Run *run) {
    const Config *c = run->config;
    int64_t pools = c->seq_aux ? b->sequences : min_i64(b->sequences, 1);
    double sequences = c->seq_aux ? 1 : (double)b->sequences; /* that one pool stands for */
    a->slope = arena_2d(&run->acts, run_stat_dtype(run), pools, r->experts);
    BalanceRule rule = {.groups = (int)c->balance_groups,
                        .topk_group = (int)device_limit(c),
                        .alpha_expert = c->aux_loss_alpha,
                        .alpha_device = c->device_loss_alpha,
                        .alpha_communication = c->communication_loss_alpha,
                        .gradient_scale = sequences / (double)b->global_sequences,
                        .pool_weight = run->recomputing ? 0 : sequences}; /* counted by the first forward */
    run->k->balance_forward(run->device, r->balance, a->slope, a->score, a->expert, rule);
}

static void drop(const Router *r, RouterActs *a, const Batch *b, Run *run) {
    const Config *c = run->config;
    int64_t n = tensor_rows(a->expert), groups = c->balance_groups;
    int64_t budget = (int64_t)ceil((double)(n * r->top_k) / (double)groups * c->capacity_factor);
    a->kept = arena_2d(&run->acts, I32, n, r->top_k);
    run->k->drop_tokens(run->device, a->kept, a->expert, a->score, b->protect, (int)groups, budget);
}

void router_forward(const Router *r, RouterActs *a, Tensor x, const Batch *b, Run *run) {
    int64_t n = tensor_rows(x), mark = arena_mark(&run->scratch);
    Dtype stat = run_stat_dtype(run);
    *a = (RouterActs){.score = arena_2d(&run->acts, stat, n, r->experts),
                      .expert = arena_2d(&run->acts, I32, n, r->top_k),
                      .weight = arena_2d(&run->acts, stat, n, r->top_k)};
    Tensor logits = arena_2d(&run->scratch, stat, n, r->experts);
    linear_forward(logits, &r->gate, in_stat(x, run), run);
    run->k->router_forward(run->device, a->score, a->expert, a->weight, logits, r->rule);
    if (run->training) balance(r, a, b, run);
    if (run->training && run->config->token_dropping)
        drop(r, a, b, run);
    else
        a->kept = a->expert;
    arena_rewind(&run->scratch, mark);
}

void router_backward_input(Tensor dx, const Router *r, RouterActs *a, Tensor dweight, Run *run) {
    int64_t mark = arena_mark(&run->scratch);
    a->dlogits = arena_2d(&run->acts, run_stat_dtype(run), tensor_rows(dx), r->experts);
    run->k->router_backward(run->device, a->dlogits, dweight, a->score, a->expert, a->weight, a->slope, r->rule);
    if (dx.dtype == run_stat_dtype(run)) {
        linear_backward_input(dx, &r->gate, a->dlogits, true, run);
    } else {
        Tensor part = arena_2d(&run->scratch, run_stat_dtype(run), tensor_rows(dx), tensor_cols(dx));
        linear_backward_input(part, &r->gate, a->dlogits, false, run);
        run->k->add(run->device, dx, part);
    }
    arena_rewind(&run->scratch, mark);
}

void router_backward_weight(const Router *r, RouterActs *a, Tensor x, Run *run) {
    int64_t mark = arena_mark(&run->scratch);
    linear_backward_weight(&r->gate, a->dlogits, in_stat(x, run), run);
    arena_rewind(&run->scratch, mark);
}
