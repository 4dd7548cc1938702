/* test_train_plan.c - a plan walks the code of a run: over many shapes and numbers of ranks it touches nothing, and
 * a run fills exactly the memory that was planned. */
#include <stdio.h>
#include <string.h>

#include "optim/adamw.h"
#include "tests/ranks.h"
#include "tests/test_train.h"
#include "train/load_hf.h"

typedef struct {
    int ranks, ep, sequences;
    const char *key[4];
    bool full; /* every rank has full micro-batches and one round: a run takes what was planned, to the byte */
} Case;

static const Case cases[] = {
    {1, 1, 4, {"micro_batch_size=2"}, true},
    {1, 1, 4, {"micro_batch_size=4", "recompute=block"}, true},
    {1, 1, 5, {"micro_batch_size=4", "layout.expert_capacity_factor=0.3"}, false},
    {1,
     1,
     4,
     {"micro_batch_size=4", "model.n_routed_experts=0", "balance.device_loss_alpha=0",
      "balance.communication_loss_alpha=0"},
     true},
    {2, 1, 4, {"micro_batch_size=1", "balance.token_dropping=true"}, true},
    {2, 2, 4, {"micro_batch_size=2"}, true},
    {2, 2, 4, {"micro_batch_size=2", "model.n_group=2", "model.topk_group=1"}, true}, /* a token goes to one rank */
    {2, 2, 8, {"micro_batch_size=2", "dtype=bf16"}, true},
    {2, 2, 3, {"micro_batch_size=1", "layout.expert_capacity_factor=0.05", "recompute=block"}, false},
    {4, 4, 8, {"micro_batch_size=2", "recompute=block", "balance.token_dropping=true"}, true},
    {4, 2, 8, {"micro_batch_size=1", "dtype=bf16", "model.seq_aux=false"}, true},
    {4, 4, 2, {"micro_batch_size=1"}, false},
    {8, 8, 8, {"micro_batch_size=1", "layout.expert_capacity_factor=0.5"}, false},
    {8, 4, 16, {"micro_batch_size=2", "layout.expert_capacity_factor=1.5"}, false},
};

static EngineUse use_of(const Case *c, const Config *config) {
    return (EngineUse){.training = true,
                       .optimizer = true,
                       .sequence_length = config->sequence_length,
                       .micro = config->micro_batch_size,
                       .sequences = c->sequences,
                       .logits_rows = 1};
}

/* Device memory of a plan faults when touched, so to have come back is the proof. */
void test_plan_walks(void) {
    static const int more[][2] = {{16, 8}, {32, 4}, {128, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t m = 0; m < sizeof more / sizeof *more; m++) {
            const Case *c = &cases[i];
            Config config;
            Plan plan;
            Error error = {0};
            bool dense = strstr(c->key[1] ? c->key[1] : "", "n_routed_experts=0");
            int ranks = more[m][0], ep = dense ? 1 : more[m][1];
            small_config(&config, c->key, 4, ranks, ep);
            expect(engine_plan(&plan, &config, ranks, use_of(c, &config), &error), "case %d: %s", (int)i, error.text);
            expect(plan.flops > 0 && plan.arenas.acts > 0, "case %d, %d ranks: nothing counted", (int)i, ranks);
            expect((plan.exchange_bytes > 0) == (ep > 1), "case %d, ep %d: %g bytes exchanged", (int)i, ep,
                   plan.exchange_bytes);
            config_free(&config);
        }
}

/* -- plan and run ------------------------------------------------------------------------------------ */

typedef struct {
    const Case *c;
    Config config;
    Plan plan;
    ArenaBytes peak[RANKS_MOST];
    bool poison;
    double loss[3]; /* of the steps */
} Ran;

static void fill_arenas(Run *run) {
    arena_poison(&run->acts);
    arena_poison(&run->scratch);
    arena_poison(&run->comm);
    arena_poison(&run->host);
}

/* Three steps, an evaluation and one row of logits, as a plan walks them. */
static void ride(Comm *world, void *own) {
    Ran *ran = own;
    Engine e;
    Error error = {0};
    Device *device = device_open(ran->config.backend, NULL);
    EngineUse use = use_of(ran->c, &ran->config);
    check(engine_open(&e, &ran->config, device, world, ran->plan.arenas, use, &error), "%s", error.text);
    params_init_random(&e.model.params, &e.run);
    params_zero_moments(&e.model.params, &e.run);
    for (int step = 0; step < 3; step++) {
        if (ran->poison) fill_arenas(&e.run);
        stepdata_fill(&e.data, &e.run, 0, use.sequences, small_fill, &ran->config, &error);
        stepdata_count(&e.data, &e.run);
        StepResult result = engine_gradients(&e);
        engine_update(&e, result.grad_norm, (EngineUpdate){.learning_rate = 1e-2, .adam_step = step + 1});
        if (world->rank == 0) ran->loss[step] = result.loss;
    }
    engine_evaluate(&e);
    engine_logits(&e, 0, 1, NULL);
    ran->peak[world->rank] = run_peaks(&e.run);
    engine_close(&e);
    device_close(device);
}

static void ran_open(Ran *ran, const Case *c, bool poison) {
    Error error = {0};
    *ran = (Ran){.c = c, .poison = poison};
    small_config(&ran->config, c->key, 4, c->ranks, c->ep);
    check(engine_plan(&ran->plan, &ran->config, c->ranks, use_of(c, &ran->config), &error), "%s", error.text);
    ranks_run(c->ranks, ride, ran);
}

static void compare_peak(int64_t run, int64_t plan, const Ran *ran, int rank, const char *arena) {
    int i = (int)(ran->c - cases);
    expect(run <= plan, "case %d, rank %d: %s took %lld bytes, planned %lld", i, rank, arena, (long long)run,
           (long long)plan);
    if (ran->c->full)
        expect(run == plan, "case %d, rank %d: %s took %lld bytes, planned %lld", i, rank, arena, (long long)run,
               (long long)plan);
}

void test_plan_equals_run(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Ran ran;
        ran_open(&ran, &cases[i], false);
        for (int r = 0; r < cases[i].ranks; r++) {
            const ArenaBytes *a = &ran.peak[r], *b = &ran.plan.arenas;
            expect(a->state == b->state, "case %d, rank %d: state took %lld bytes, planned %lld", (int)i, r,
                   (long long)a->state, (long long)b->state);
            compare_peak(a->acts, b->acts, &ran, r, "acts");
            int64_t load = LOAD_BLOCK * (int64_t)sizeof(float); /* a moment that this ride leaves out */
            compare_peak(max_i64(a->scratch, load), b->scratch, &ran, r, "scratch");
            compare_peak(a->comm, b->comm, &ran, r, "comm");
            compare_peak(a->host, b->host, &ran, r, "host");
        }
        config_free(&ran.config);
    }
}

/* What lies in memory that nobody holds changes nothing. */
void test_poison(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Ran clean, poisoned;
        ran_open(&clean, &cases[i], false);
        ran_open(&poisoned, &cases[i], true);
        expect(!memcmp(clean.loss, poisoned.loss, sizeof clean.loss),
               "case %d: losses %.9g %.9g %.9g, %.9g %.9g %.9g", (int)i, clean.loss[0], clean.loss[1], clean.loss[2],
               poisoned.loss[0], poisoned.loss[1], poisoned.loss[2]);
        expect(clean.loss[2] < clean.loss[0], "case %d: the loss went from %g to %g", (int)i, clean.loss[0],
               clean.loss[2]);
        config_free(&clean.config);
        config_free(&poisoned.config);
    }
}
