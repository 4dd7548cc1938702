/* test_train_ranks.c - any layout gives the same training: the reference backend in F64, ranks as threads, every
 * gradient against one rank's to 1e-11; and a run takes just the memory that its plan says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/sync.h"
#include "tests/ranks.h"
#include "tests/test_train.h"

static const char *const yaml =
    "model: {vocab_size: 41, hidden_size: 16, intermediate_size: 20, num_hidden_layers: 3, num_attention_heads: 2,\n"
    "        q_lora_rank: 8, kv_lora_rank: 8, qk_nope_head_dim: 6, qk_rope_head_dim: 4, v_head_dim: 6,\n"
    "        n_routed_experts: 8, n_shared_experts: 1, num_experts_per_tok: 3, moe_intermediate_size: 8,\n"
    "        n_group: 4, topk_group: 2, topk_method: group_limited_greedy, routed_scaling_factor: 2.5,\n"
    "        initializer_range: 0.3, aux_loss_alpha: 0.3}\n"
    "balance: {device_loss_alpha: 0.5, communication_loss_alpha: 0.2}\n"
    "init: random\n"
    "synthetic_data: true\n"
    "output_dir: unused\n"
    "steps: 1\n"
    "sequence_length: 12\n"
    "threads: 1\n";

enum { MICRO = 2, SEQUENCES = 7 };

typedef enum {
    EVEN, /* routing as random weights give it */
    ONE,  /* every token wants the same three experts, in the same order: most experts have none */
    POISON
} Skew;

typedef struct {
    const char *name;
    int ranks, ep;
    const char *key[5]; /* overrides */
    Skew skew;
    int sequences;
} Layout;

void small_config(Config *c, const char *const *key, int keys, int ranks, int ep) {
    const char *all[16] = {0}, *file;
    char path[256], layout[64], *warnings = NULL;
    Error error = {0};
    snprintf(path, sizeof path, "%s/small.yaml", test_folder());
    file = path;
    FILE *f = fopen(path, "w");
    check(f && fputs(yaml, f) >= 0 && !fclose(f), "cannot write %s", path);
    snprintf(layout, sizeof layout, "layout.ep=%d", ep);
    int n = 0;
    all[n++] = layout;
    for (int i = 0; i < keys && key[i]; i++) all[n++] = key[i];
    check(config_load(c, file, all, n, ranks, &warnings, &error), "%s", error.text);
    free(warnings);
}

bool small_fill(void *own, int64_t number, StepRow row, Error *error) {
    const Config *c = own;
    (void)error;
    for (int64_t i = 0; i < c->sequence_length; i++) {
        uint64_t at = (uint64_t)(number * 1000 + i);
        row.ids[i] = (int32_t)(random_bits(5, 1, at) % (uint64_t)c->vocab_size);
        row.label[i] = i % 5 == 2 ? -100 : (int32_t)(random_bits(5, 2, at) % (uint64_t)c->vocab_size);
        row.position[i] = (int32_t)i;
        row.first[i] = (int32_t)(i >= 4 && number % 3 == 1 ? 4 : 0); /* two documents in some sequences */
    }
    return true;
}

/* -- one layout ------------------------------------------------------------------------------------- */

typedef struct { /* a gradient by its published name */
    char name[192];
    int64_t count;
    double *value;
} Named;

typedef struct {
    const Layout *layout;
    Config config;
    EngineUse use;
    Plan plan;
    int names;
    Named *named;
    StepResult result[RANKS_MOST];
    int64_t rounds[RANKS_MOST], dropped[RANKS_MOST], vectors[RANKS_MOST], tokens[RANKS_MOST];
    ArenaBytes peak[RANKS_MOST];
} Outcome;

/* A large constant in the first place of every embedding, and routers that read that place alone. */
static void skew_routing(Engine *e) {
    for (int i = 0; i < e->model.params.count; i++) {
        Param *p = &e->model.params.list[i];
        double *w = p->w.data;
        bool router = strstr(p->pattern, "mlp.gate.weight"), embedding = strstr(p->pattern, "embed_tokens");
        for (int64_t r = 0; r < p->rows && (router || embedding); r++)
            w[r * p->cols] = embedding ? 20 : 2 * (double)(r - 2); /* the last experts win */
    }
}

/* One token's embedding is NaN. */
static void poison_weights(Engine *e) {
    Param *p = &e->model.params.list[0];
    for (int64_t i = 0; i < p->cols; i++) {
        if (p->w.dtype == F64)
            ((double *)p->w.data)[3 * p->cols + i] = NAN;
        else
            ((float *)p->w.data)[3 * p->cols + i] = NAN;
    }
}

static void keep_gradients(Outcome *o, Engine *e) {
    for (int i = 0; i < e->model.params.count; i++) {
        Param *p = &e->model.params.list[i];
        if (mesh_rank(&e->run.mesh, p->sum_axis) != 0) continue;
        for (int64_t u = 0; u < p->units; u++) {
            Named *n = &o->named[__atomic_fetch_add(&o->names, 1, __ATOMIC_SEQ_CST)];
            param_unit_name(p, u, n->name);
            n->count = p->rows * p->cols;
            n->value = must_alloc(n->count, sizeof *n->value);
            tensor_to_doubles(n->value, param_unit(p, p->dw, u), &e->run);
        }
    }
}

static void compute(Comm *world, void *own) {
    Outcome *o = own;
    Engine e;
    Error error = {0};
    Device *device = device_open(o->config.backend, NULL);
    int r = world->rank;
    check(engine_open(&e, &o->config, device, world, o->plan.arenas, o->use, &error), "%s", error.text);
    params_init_random(&e.model.params, &e.run);
    if (o->layout->skew == ONE) skew_routing(&e);
    if (o->layout->skew == POISON) poison_weights(&e);
    stepdata_fill(&e.data, &e.run, 0, o->layout->sequences, small_fill, &o->config, &error);
    stepdata_count(&e.data, &e.run);
    o->result[r] = engine_gradients(&e);
    o->rounds[r] = e.run.stats.extra_rounds;
    o->dropped[r] = e.run.stats.pairs_dropped;
    o->vectors[r] = e.run.stats.vectors_sent;
    o->tokens[r] = e.run.stats.routed_tokens;
    o->peak[r] = run_peaks(&e.run);
    if (o->layout->skew != POISON) keep_gradients(o, &e);
    engine_close(&e);
    device_close(device);
}

static void outcome_open(Outcome *o, const Layout *l) {
    Error error = {0};
    *o = (Outcome){.layout = l, .named = must_alloc(512, sizeof(Named))};
    small_config(&o->config, l->key, 5, l->ranks, l->ep);
    o->use = (EngineUse){.training = true, .optimizer = true, .sequence_length = 12, .sequences = SEQUENCES};
    o->use.micro = o->config.micro_batch_size;
    o->use.double_precision = l->skew != POISON;
    check(engine_plan(&o->plan, &o->config, l->ranks, o->use, &error), "%s: %s", l->name, error.text);
    ranks_run(l->ranks, compute, o);
}

static void outcome_close(Outcome *o) {
    for (int i = 0; i < o->names; i++) free(o->named[i].value);
    free(o->named);
    config_free(&o->config);
}

static const Named *find(const Outcome *o, const char *name) {
    for (int i = 0; i < o->names; i++)
        if (!strcmp(o->named[i].name, name)) return &o->named[i];
    return NULL;
}

/* Largest difference of a gradient against the largest element of it. */
static double difference_of(const Named *a, const Named *b) {
    double gap = 0, largest = 0;
    for (int64_t i = 0; i < a->count; i++) {
        gap = fmax(gap, fabs(a->value[i] - b->value[i]));
        largest = fmax(largest, fabs(b->value[i]));
        if (isnan(a->value[i])) return INFINITY;
    }
    return largest > 0 ? gap / largest : gap;
}

static int64_t total(const int64_t *values, int ranks) {
    int64_t sum = 0;
    for (int r = 0; r < ranks; r++) sum += values[r];
    return sum;
}

static void compare_outcomes(const Outcome *o, const Outcome *base) {
    const char *name = o->layout->name;
    const StepResult *b = &base->result[0];
    expect(o->names == base->names, "%s: %d gradients, %d on one rank", name, o->names, base->names);
    for (int r = 0; r < o->layout->ranks; r++) {
        const StepResult *a = &o->result[r];
        expect(!memcmp(a, &o->result[0], sizeof *a), "%s: rank %d has another result than rank 0", name, r);
        expect(fabs(a->loss - b->loss) <= 1e-12 * b->loss, "%s: loss %.15g, %.15g", name, a->loss, b->loss);
        expect(fabs(a->grad_norm - b->grad_norm) <= 1e-11 * b->grad_norm, "%s: norm %.15g, %.15g", name, a->grad_norm,
               b->grad_norm);
        for (int i = 0; i < 3; i++)
            expect(fabs(a->balance[i] - b->balance[i]) <= 1e-12 * b->balance[i], "%s: balance %d: %.15g, %.15g", name,
                   i, a->balance[i], b->balance[i]);
    }
    for (int i = 0; i < base->names; i++) {
        const Named *n = find(o, base->named[i].name);
        double gap = n ? difference_of(n, &base->named[i]) : INFINITY;
        expect(gap <= 1e-11, "%s: gradient of %s differs by %g", name, base->named[i].name, gap);
    }
    int64_t dropped = total(o->dropped, o->layout->ranks), base_dropped = total(base->dropped, 1);
    expect(dropped == base_dropped, "%s: %lld pairs dropped, %lld on one rank", name, (long long)dropped,
           (long long)base_dropped);
}

/* -- the table --------------------------------------------------------------------------------------- */

#define DROP "balance.token_dropping=true", "balance.capacity_factor=0.9", "balance.protected_sequences=0.3"
static const struct {
    Layout base, layouts[10];
} groups[] = {
    {{"one rank", 1, 1, {"micro_batch_size=2", DROP}, EVEN, SEQUENCES},
     {{"1, rounds", 1, 1, {"micro_batch_size=2", DROP, "layout.expert_capacity_factor=0.2"}, EVEN, SEQUENCES},
      {"2, ep 1", 2, 1, {"micro_batch_size=2", DROP}, EVEN, SEQUENCES},
      {"2, ep 2", 2, 2, {"micro_batch_size=2", DROP}, EVEN, SEQUENCES},
      {"2, ep 2, rounds", 2, 2, {"micro_batch_size=2", DROP, "layout.expert_capacity_factor=0.1"}, EVEN, SEQUENCES},
      {"4, ep 2, recompute", 4, 2, {"micro_batch_size=2", DROP, "recompute=block"}, EVEN, SEQUENCES},
      {"4, ep 4, rounds", 4, 4, {"micro_batch_size=2", DROP, "layout.expert_capacity_factor=0.3"}, EVEN, SEQUENCES},
      {"8, ep 4", 8, 4, {"micro_batch_size=2", DROP}, EVEN, SEQUENCES},
      {"8, ep 8, a vector a round",
       8,
       8,
       {"micro_batch_size=2", DROP, "layout.expert_capacity_factor=0.01"},
       EVEN,
       SEQUENCES}}},
    {{"batch losses", 1, 1, {"micro_batch_size=3", "model.seq_aux=false"}, EVEN, SEQUENCES},
     {{"batch losses, 3 ranks", 3, 1, {"micro_batch_size=3", "model.seq_aux=false"}, EVEN, SEQUENCES},
      {"batch losses, ep 4",
       4,
       4,
       {"micro_batch_size=3", "model.seq_aux=false", "recompute=block"},
       EVEN,
       SEQUENCES}}},
    {{"any micro-batch", 1, 1, {"micro_batch_size=7"}, EVEN, SEQUENCES},
     {{"micro 1", 1, 1, {"micro_batch_size=1"}, EVEN, SEQUENCES},
      {"micro 3 on 2, ep 2", 2, 2, {"micro_batch_size=3"}, EVEN, SEQUENCES},
      {"micro 1 on 4, ep 2", 4, 2, {"micro_batch_size=1"}, EVEN, SEQUENCES},
      {"micro 2 on 8, ep 2", 8, 2, {"micro_batch_size=2"}, EVEN, SEQUENCES}}},
    {{"skew", 1, 1, {"micro_batch_size=2"}, ONE, SEQUENCES},
     {{"skew, ep 2", 2, 2, {"micro_batch_size=2"}, ONE, SEQUENCES},
      {"skew, ep 4, rounds", 4, 4, {"micro_batch_size=2", "layout.expert_capacity_factor=0.5"}, ONE, SEQUENCES},
      {"skew, ep 8", 8, 8, {"micro_batch_size=1"}, ONE, SEQUENCES},
      {"skew, ep 4 of 8, rounds", 8, 4, {"micro_batch_size=2", "layout.expert_capacity_factor=1"}, ONE, SEQUENCES}}},
    {{"one sequence", 1, 1, {"micro_batch_size=1"}, EVEN, 1},
     {{"one sequence, 4 ranks", 4, 1, {"micro_batch_size=1"}, EVEN, 1},
      {"one sequence, ep 4", 4, 4, {"micro_batch_size=1", "layout.expert_capacity_factor=0.2"}, EVEN, 1},
      {"one sequence, 8, ep 2", 8, 2, {"micro_batch_size=1", "recompute=block"}, EVEN, 1}}},
};

/* A small buffer must have made rounds, or the row proves nothing. */
static void check_counts(const Outcome *o) {
    int ranks = o->layout->ranks;
    int64_t bound = exchange_bound(&o->config, o->layout->ep), sent = total(o->vectors, ranks);
    bool small = o->layout->skew == ONE && o->layout->ep > 4; /* twice the balanced share, where nothing is said */
    for (int i = 0; i < 5 && o->layout->key[i]; i++) small |= !!strstr(o->layout->key[i], "expert_capacity_factor");
    expect((total(o->rounds, ranks) > 0) == small, "%s: %lld rounds beyond the first", o->layout->name,
           (long long)total(o->rounds, ranks));
    expect(sent <= bound * total(o->tokens, ranks), "%s: %lld vectors for %lld tokens", o->layout->name,
           (long long)sent, (long long)total(o->tokens, ranks));
}

void test_layouts(void) {
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        Outcome base, other;
        outcome_open(&base, &groups[g].base);
        for (const Layout *l = groups[g].layouts; l->name; l++) {
            outcome_open(&other, l);
            compare_outcomes(&other, &base);
            check_counts(&other);
            outcome_close(&other);
        }
        outcome_close(&base);
    }
}

/* NaN in one token: every rank of every layout sees it, and the exchange survives what NaN routes to. */
void test_nan(void) {
    static const Layout layouts[] = {
        {"NaN", 1, 1, {"micro_batch_size=2"}, POISON, SEQUENCES},
        {"NaN, ep 4", 4, 4, {"micro_batch_size=2"}, POISON, SEQUENCES},
        {"NaN, ep 8", 8, 8, {"micro_batch_size=1"}, POISON, SEQUENCES},
        {"NaN, ep 8, rounds", 8, 8, {"micro_batch_size=1", "layout.expert_capacity_factor=0.01"}, POISON, SEQUENCES},
        {"NaN, dropping", 4, 2, {"micro_batch_size=2", DROP}, POISON, SEQUENCES},
        {"NaN, ref", 8, 8, {"micro_batch_size=1", "backend=ref"}, POISON, SEQUENCES}};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        Outcome o;
        outcome_open(&o, &layouts[i]);
        for (int r = 0; r < layouts[i].ranks; r++)
            expect(!o.result[r].finite, "%s: rank %d saw loss %g", layouts[i].name, r, o.result[r].loss);
        outcome_close(&o);
    }
}
