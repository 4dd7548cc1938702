/* test_model.c - whole tiny models in F64 on the reference backend: signed derivatives along random directions
 * against the gradient, with everything switched on; recompute and rounds give the same; no host code peeks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "train/engine.h"

typedef struct {
    const char *name;
    int64_t q_lora, experts, top_k, groups, topk_group, shared, freq, first_dense;
    bool norm, seq_aux, yarn, drop, recompute;
    double capacity;
} Shape;

static const Shape shapes[] = {
    {"lite", 0, 8, 2, 1, 1, 2, 1, 1, false, true, false, false, false, 0},
    {"v2", 10, 8, 3, 4, 2, 1, 1, 1, false, true, true, false, false, 0},
    {"v2 recomputed", 10, 8, 3, 4, 2, 1, 1, 1, false, true, true, false, true, 0},
    {"normalised, batch losses", 0, 6, 2, 3, 2, 0, 2, 0, true, false, false, false, false, 0},
    {"dropping", 6, 8, 3, 4, 2, 1, 1, 0, false, true, true, true, false, 0},
    {"dense", 8, 0, 0, 1, 1, 0, 1, 0, false, true, true, false, false, 0},
};

static Config config_of(const Shape *s) {
    Config c = {.vocab_size = 37,
                .hidden_size = 12,
                .intermediate_size = 14,
                .num_hidden_layers = 3,
                .num_attention_heads = 3,
                .num_key_value_heads = 3,
                .q_lora_rank = s->q_lora,
                .kv_lora_rank = 7,
                .qk_nope_head_dim = 5,
                .qk_rope_head_dim = 4,
                .v_head_dim = 6,
                .n_routed_experts = s->experts,
                .n_shared_experts = s->shared,
                .num_experts_per_tok = s->top_k,
                .moe_intermediate_size = 5,
                .first_k_dense_replace = s->first_dense,
                .moe_layer_freq = s->freq,
                .n_group = s->groups,
                .topk_group = s->topk_group,
                .scoring_func = "softmax",
                .norm_topk_prob = s->norm,
                .routed_scaling_factor = 2.5,
                .rope_theta = 10000,
                .rope_type = s->yarn ? "yarn" : "none",
                .rope_factor = 40,
                .rope_original_max = 16,
                .rope_beta_fast = 32,
                .rope_beta_slow = 1,
                .rope_mscale = 1,
                .rope_mscale_all_dim = 0.707,
                .rms_norm_eps = 1e-5,
                .initializer_range = 0.3,
                .aux_loss_alpha = 0.3,
                .seq_aux = s->seq_aux,
                .device_loss_alpha = 0.5,
                .communication_loss_alpha = s->groups > 1 ? 0.2 : 0,
                .balance_groups = s->groups,
                .token_dropping = s->drop,
                .capacity_factor = 0.9,
                .protected_sequences = 0.3,
                .ep = 1,
                .expert_capacity_factor = s->capacity,
                .seed = 3,
                .dtype = "fp32",
                .backend = "ref",
                .adam_beta1 = 0.9,
                .adam_beta2 = 0.95,
                .adam_epsilon = 1e-8,
                .max_grad_norm = 1};
    c.topk_method = s->groups > 1 ? "group_limited_greedy" : "greedy";
    c.recompute = s->recompute ? "block" : "none";
    return c;
}

static bool fill(void *own, int64_t number, StepRow row, Error *error) {
    const EngineUse *u = own;
    (void)error;
    for (int64_t i = 0; i < u->sequence_length; i++) {
        row.ids[i] = (int32_t)(random_bits(5, 1, (uint64_t)(number * 1000 + i)) % 37);
        row.label[i] = i % 5 == 2 ? -100 : (int32_t)(random_bits(5, 2, (uint64_t)(number * 1000 + i)) % 37);
        row.position[i] = (int32_t)i;
        row.first[i] = (int32_t)(i >= 4 && number == 1 ? 4 : 0); /* two documents in one sequence */
    }
    return true;
}

typedef struct {
    Engine engine;
    Device *device;
    Comm *world;
    Config config;
} Rig;

static EngineUse rig_use(void) {
    return (EngineUse){.training = true, .sequence_length = 9, .micro = 2, .sequences = 3, .double_precision = true};
}

static void rig_open(Rig *r, const Shape *s) {
    Error error = {0};
    EngineUse use = rig_use();
    Plan plan;
    r->config = config_of(s);
    r->device = device_open("ref", NULL);
    r->world = comm_open_single();
    check(engine_plan(&plan, &r->config, 1, use, &error), "%s", error.text);
    check(engine_open(&r->engine, &r->config, r->device, r->world, plan.arenas, use, &error), "%s", error.text);
    params_init_random(&r->engine.model.params, &r->engine.run);
    check(stepdata_fill(&r->engine.data, &r->engine.run, 0, use.sequences, fill, &use, &error), "%s", error.text);
    stepdata_count(&r->engine.data, &r->engine.run);
}

static void rig_close(Rig *r) {
    engine_close(&r->engine);
    r->world->ops->close(r->world);
    device_close(r->device);
}

/* The objective that the gradients are of: cross-entropy and the balance losses of all layers. Counts of chosen
 * experts are constants, so it is smooth as long as no choice changes. */
static double objective(Rig *r) {
    Engine *e = &r->engine;
    const Config *c = &r->config;
    double sums[3 * 8] = {0};
    Tensor none = {0};
    e->run.training = true;
    for (int64_t i = 0; i < e->data.micros; i++) {
        Batch b = stepdata_batch(&e->data, &e->run, i);
        model_forward(&e->model, &e->acts, &b, &e->run);
        model_loss(&e->model, &e->acts, none, none, &b, &e->run);
        model_forget(&e->acts, &e->run);
    }
    e->run.training = false;
    double total = model_read_loss(&e->model, &e->run);
    model_read_balance(&e->model, &e->run, sums);
    for (int l = 0; l < e->model.moe_layers; l++)
        total += (c->aux_loss_alpha * sums[3 * l] + c->device_loss_alpha * sums[3 * l + 1] +
                  c->communication_loss_alpha * sums[3 * l + 2]) /
                 (double)e->data.global_sequences;
    return total;
}

/* Adds h times a random direction to one parameter; returns <gradient, direction>. */
static double nudge(Param *p, int index, double h) {
    double *w = p->w.data, *dw = p->dw.data, product = 0;
    for (int64_t i = 0; i < tensor_count(p->w); i++) {
        double v = random_gauss(11, (uint64_t)index, (uint64_t)i);
        w[i] += h * v;
        product += v * dw[i];
    }
    return product;
}

/* Central difference of fourth order: the weights are random directions of many elements, so the second order's
 * own error would hide a wrong digit. */
static double measure(Rig *r, Param *p, int index) {
    static const double weight[] = {1, -8, 0, 8, -1};
    const double h = 1e-5;
    double slope = 0;
    nudge(p, index, -3 * h);
    for (int step = -2; step <= 2; step++) {
        nudge(p, index, h);
        if (step) slope += weight[step + 2] * objective(r);
    }
    nudge(p, index, -2 * h);
    return slope / (12 * h);
}

static void test_gradients(void) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        Rig r;
        rig_open(&r, &shapes[s]);
        StepResult result = engine_gradients(&r.engine);
        Params *params = &r.engine.model.params;
        expect(result.finite && isnan(result.grad_norm), "%s: norm %g without an optimizer", shapes[s].name,
               result.grad_norm);
        for (int i = 0; i < params->count; i++) {
            double slope = nudge(&params->list[i], i, 0), measured = measure(&r, &params->list[i], i);
            expect(fabs(slope - measured) <= 1e-7 * fmax(fabs(measured), 0.01),
                   "%s %s: gradient %.12g, measured %.12g", shapes[s].name, params->list[i].pattern, slope, measured);
        }
        rig_close(&r);
    }
}

/* Every gradient and the loss of one step, in the order of the list. malloc'd. */
static double *step_numbers(const Shape *s, int64_t *n) {
    Rig r;
    rig_open(&r, s);
    StepResult result = engine_gradients(&r.engine);
    Params *params = &r.engine.model.params;
    *n = 0;
    for (int i = 0; i < params->count; i++) *n += tensor_count(params->list[i].dw);
    double *all = must_alloc(*n + 1, sizeof *all), *to = all;
    for (int i = 0; i < params->count; i++) {
        memcpy(to, params->list[i].dw.data, (size_t)tensor_bytes(params->list[i].dw));
        to += tensor_count(params->list[i].dw);
    }
    *to = result.loss;
    ++*n;
    rig_close(&r);
    return all;
}

static void test_recompute(void) {
    int64_t n, m;
    double *plain = step_numbers(&shapes[1], &n), *again = step_numbers(&shapes[2], &m);
    expect(n == m && !memcmp(plain, again, (size_t)n * sizeof *plain), "recompute changes bits");
    free(plain);
    free(again);
}

const TestCase model_tests[] = {{"gradients of whole models", test_gradients}, {"recompute", test_recompute}, {0}};
