/* test_train.c - the optimizer's way on the fixtures (made with PyTorch in float64), balance losses against theirs,
 * learning rate, batch ramp and clipping against numbers worked out by hand. */
#include "tests/test_train.h"

#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/adamw.h"
#include "optim/schedule.h"
#include "tests/trial.h"
#include "train/load_hf.h"

/* -- a fixture, opened for training ------------------------------------------------------------------ */

static const char *const fixtures[] = {"tiny-lite", "tiny-v2", "tiny-lite-yarn"};

typedef struct {
    Config config;
    Device *device;
    Comm *world;
    Engine engine;
    Safetensors *reference;
    const StTensor *ids, *labels;
    json_t *trajectory;
} Fixture;

static Safetensors *open_safetensors(const char *fixture, const char *name) {
    char path[256];
    Error error = {0};
    snprintf(path, sizeof path, "tests/fixtures/%s/%s.safetensors", fixture, name);
    Safetensors *s = safetensors_open(path, &error);
    check(s, "%s", error.text);
    return s;
}

static bool fill_fixture(void *own, int64_t number, StepRow row, Error *error) {
    const Fixture *f = own;
    int64_t t = f->ids->dim[1];
    for (int64_t i = 0; i < t; i++) row.position[i] = (int32_t)i, row.first[i] = 0;
    row.label[t - 1] = -100; /* unshifted in the file: the label of a place is the next one's */
    return safetensors_read(f->ids, I32, number * t, t, row.ids, error) &&
           safetensors_read(f->labels, I32, number * t + 1, t - 1, row.label, error);
}

static void configure(Fixture *f, const char *name, const char *backend, bool balanced) {
    char path[256], word[6][64], *warnings = NULL;
    const char *override[6];
    Error error = {0};
    snprintf(path, sizeof path, "tests/fixtures/%s", name);
    snprintf(word[0], 64, "backend=%s", backend);
    snprintf(word[1], 64, "sequence_length=%d", (int)f->ids->dim[1]);
    snprintf(word[2], 64, "global_batch_size=%d", (int)f->ids->dim[0]);
    snprintf(word[3], 64, "micro_batch_size=%d", (int)f->ids->dim[0]);
    snprintf(word[4], 64, "threads=1");
    snprintf(word[5], 64, "model.aux_loss_alpha=%s", balanced ? "0.01" : "0");
    for (int i = 0; i < 6; i++) override[i] = word[i];
    check(config_from_hf(&f->config, path, override, 6, 1, &warnings, &error), "%s", error.text);
    free(warnings);
}

/* pool: of the balance losses, "seq" or "batch"; NULL = training without them */
static void fixture_open(Fixture *f, const char *name, const char *backend, bool precise, const char *pool) {
    Error error = {0};
    Plan plan;
    char path[256];
    *f = (Fixture){.reference = open_safetensors(name, "reference")};
    f->ids = safetensors_find(f->reference, "input_ids");
    f->labels = safetensors_find(f->reference, "labels");
    snprintf(path, sizeof path, "tests/fixtures/%s/trajectory.json", name);
    f->trajectory = json_load_file(path, 0, NULL);
    check(f->trajectory, "%s: cannot read", path);
    configure(f, name, backend, pool != NULL);
    f->config.seq_aux = pool && !strcmp(pool, "seq");
    f->config.balance_groups = f->config.n_group > 1 ? f->config.n_group : 4;
    EngineUse use = {.training = true, .optimizer = true, .sequence_length = f->ids->dim[1]};
    use.micro = use.sequences = f->ids->dim[0];
    use.double_precision = precise;
    omp_set_num_threads(1);
    f->device = device_open(backend, NULL);
    f->world = comm_open_single();
    check(engine_plan(&plan, &f->config, 1, use, &error), "%s", error.text);
    check(engine_open(&f->engine, &f->config, f->device, f->world, plan.arenas, use, &error), "%s", error.text);
    Safetensors *weights = open_safetensors(name, "model");
    check(load_hf(&f->engine.model.params, weights, &f->engine.run, &error), "%s", error.text);
    safetensors_close(weights);
    params_zero_moments(&f->engine.model.params, &f->engine.run);
    check(stepdata_fill(&f->engine.data, &f->engine.run, 0, use.sequences, fill_fixture, f, &error), "%s",
          error.text);
    stepdata_count(&f->engine.data, &f->engine.run);
}

static void fixture_close(Fixture *f) {
    engine_close(&f->engine);
    f->world->ops->close(f->world);
    device_close(f->device);
    safetensors_close(f->reference);
    json_decref(f->trajectory);
    config_free(&f->config);
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    check(json_is_number(value), "no number %s", key);
    return json_number_value(value);
}

/* -- the optimizer's way ------------------------------------------------------------------------------- */

/* F64 shows that the rules are right, F32 that it is used well. The way of tiny-v2 magnifies what F32 rounds: in exact
 * arithmetic, rounding its first weights to F32 in another direction moves the loss of step 8 by up to 1.2e-3, because
 * Adam divides by the root of tiny second moments and an expert choice flips. So F32 goes every step from where F64 is
 * at that step, with tight limits; on its own way the first three losses are held for all, the rest for the others. */
typedef struct {
    const char *backend;
    bool precise;
    double early, late; /* relative, of the losses of 3 steps and of 8; of gradient norms 10 times that */
    double weights;
    int steps; /* of tiny-v2 */
} Precision;
static const Precision precisions[] = {
    {"ref", true, 1e-9, 1e-7, 1e-6, 8}, {"ref", false, 1e-5, 1e-3, 2e-3, 3}, {"cpu", false, 1e-5, 1e-3, 2e-3, 3}};

static void compare_weights(const Fixture *f, const char *name, const Precision *how) {
    Engine *e = (Engine *)&f->engine;
    Safetensors *after = open_safetensors(name, "adamw");
    int64_t compared = 0;
    Error error;
    for (int i = 0; i < e->model.params.count; i++) {
        const Param *p = &e->model.params.list[i];
        int64_t n = p->rows * p->cols;
        double *ours = must_alloc(2 * n, sizeof *ours), *theirs = ours + n;
        for (int64_t u = 0; u < p->units; u++) {
            char unit[192];
            param_unit_name(p, u, unit);
            const StTensor *t = safetensors_find(after, unit);
            if (!t) continue;
            check(t->count == n && safetensors_read(t, F64, 0, n, theirs, &error), "%s", unit);
            tensor_to_doubles(ours, param_unit(p, p->w, u), &e->run);
            Difference d = difference(ours, theirs, n);
            expect(d.relative < how->weights && !d.nans, "%s on %s: %s differs by %g", name, how->backend, unit,
                   d.relative);
            compared++;
        }
        free(ours);
    }
    expect(compared == safetensors_count(after), "%s: %lld of %lld tensors compared", name, (long long)compared,
           (long long)safetensors_count(after));
    safetensors_close(after);
}

static void trajectory_open(Fixture *f, const char *name, const char *backend, bool precise) {
    fixture_open(f, name, backend, precise, NULL);
    json_t *hyper = json_object_get(f->trajectory, "hyperparameters");
    f->config.learning_rate = number(hyper, "learning_rate");
    f->config.weight_decay = number(hyper, "weight_decay");
    f->config.adam_beta1 = number(hyper, "adam_beta1");
    f->config.adam_beta2 = number(hyper, "adam_beta2");
    f->config.adam_epsilon = number(hyper, "adam_epsilon");
    f->config.max_grad_norm = number(hyper, "max_grad_norm");
}

static double trajectory_number(const Fixture *f, const char *key, int step) {
    return json_number_value(json_array_get(json_object_get(f->trajectory, key), (size_t)step));
}

static int trajectory_steps(const Fixture *f) { return (int)json_array_size(json_object_get(f->trajectory, "loss")); }

static void update(Fixture *f, StepResult r, int step) {
    EngineUpdate u = {.learning_rate = f->config.learning_rate, .adam_step = step + 1};
    engine_update(&f->engine, r.grad_norm, u);
}

static void expect_step(StepResult r, const Fixture *f, int step, double limit, double norm_limit,
                        const char *where) {
    double loss = trajectory_number(f, "loss", step), norm = trajectory_number(f, "grad_norm", step);
    expect(fabs(r.loss - loss) <= limit * loss, "%s, step %d: loss %.12g, %.12g", where, step + 1, r.loss, loss);
    expect(fabs(r.grad_norm - norm) <= norm_limit * norm, "%s, step %d: gradient norm %.9g, %.9g", where, step + 1,
           r.grad_norm, norm);
}

static void walk_trajectory(const char *name, const Precision *how) {
    Fixture f;
    char where[64];
    trajectory_open(&f, name, how->backend, how->precise);
    snprintf(where, sizeof where, "%s on %s", name, how->backend);
    bool magnifies = !strcmp(name, "tiny-v2");
    int steps = magnifies ? how->steps : trajectory_steps(&f);
    for (int step = 0; step < steps; step++) {
        double limit = step < 3 ? how->early : how->late;
        StepResult r = engine_gradients(&f.engine);
        update(&f, r, step);
        expect_step(r, &f, step, limit, magnifies && !how->precise ? 1 : 10 * limit, where);
    }
    if (steps == trajectory_steps(&f)) compare_weights(&f, name, how);
    fixture_close(&f);
}

static void copy_state(Tensor to, Tensor from, const Fixture *exact) {
    double *values = must_alloc(tensor_count(from), sizeof *values);
    tensor_to_doubles(values, from, (Run *)&exact->engine.run);
    for (int64_t i = 0; i < tensor_count(to); i++) ((float *)to.data)[i] = (float)values[i];
    free(values);
}

/* Largest distance of two weights after an update, in learning rates. */
static double weights_apart(const Param *ours, const Param *exact, double learning_rate) {
    double most = 0;
    for (int64_t i = 0; i < tensor_count(ours->w); i++) {
        double apart = fabs((double)((float *)ours->w.data)[i] - ((double *)exact->w.data)[i]);
        most = apart > most ? apart : most;
    }
    return most / learning_rate;
}

/* An F32 engine beside an F64 one that follows the file: each step begins with the weights and moments of F64. */
static void walk_beside(const char *name, const char *backend) {
    Fixture exact, f;
    char where[64];
    trajectory_open(&exact, name, "ref", true);
    trajectory_open(&f, name, backend, false);
    snprintf(where, sizeof where, "%s on %s beside F64", name, backend);
    const Params *from = &exact.engine.model.params, *to = &f.engine.model.params;
    for (int step = 0; step < trajectory_steps(&f); step++) {
        for (int i = 0; i < to->count; i++) {
            copy_state(to->list[i].w, from->list[i].w, &exact);
            copy_state(to->list[i].m, from->list[i].m, &exact);
            copy_state(to->list[i].v, from->list[i].v, &exact);
        }
        StepResult r = engine_gradients(&f.engine);
        update(&exact, engine_gradients(&exact.engine), step);
        update(&f, r, step);
        expect_step(r, &f, step, 1e-6, 1e-5, where);
        double apart = 0;
        for (int i = 0; i < to->count; i++)
            apart = fmax(apart, weights_apart(&to->list[i], &from->list[i], f.config.learning_rate));
        /* the first step goes by the sign of gradients, and some are all but 0 */
        expect(apart <= (step == 0 ? 0.5 : 3e-3), "%s, step %d: a weight is %g learning rates off", where, step + 1,
               apart);
    }
    fixture_close(&f);
    fixture_close(&exact);
}

static void test_trajectory(void) {
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++)
            walk_trajectory(fixtures[i], &precisions[p]);
        walk_beside(fixtures[i], "ref");
        walk_beside(fixtures[i], "cpu");
    }
}

/* -- balance losses ------------------------------------------------------------------------------------ */

static void compare_layer(const Fixture *f, int layer, const double *sums, const char *pool, const char *where) {
    static const char *const kinds[] = {"expert", "device", "comm"};
    char key[32];
    snprintf(key, sizeof key, "%d", layer);
    json_t *row = json_object_get(json_object_get(f->trajectory, "balance_losses"), key);
    expect(row && number(row, "groups") == (double)f->config.balance_groups, "%s: layer %d, %lld groups", where,
           layer, (long long)f->config.balance_groups);
    for (int k = 0; k < 3; k++) {
        snprintf(key, sizeof key, "%s_%s", kinds[k], pool);
        if (!json_object_get(row, key)) continue; /* the communication loss needs groups of the router */
        double ours = sums[k] / (double)f->engine.data.global_sequences, theirs = number(row, key);
        expect(fabs(ours - theirs) <= 1e-6 * theirs, "%s: layer %d %s: %.9g, %.9g", where, layer, key, ours, theirs);
    }
}

static void compare_balance(const char *name, const char *backend, const char *pool) {
    Fixture f;
    double sums[3 * 16];
    char where[64];
    fixture_open(&f, name, backend, false, pool);
    Engine *e = &f.engine;
    snprintf(where, sizeof where, "%s on %s", name, backend);
    e->run.training = true;
    Batch b = stepdata_batch(&e->data, &e->run, 0);
    model_forward(&e->model, &e->acts, &b, &e->run);
    model_forget(&e->acts, &e->run);
    e->run.training = false;
    model_read_balance(&e->model, &e->run, sums);
    for (int l = 0, m = 0; l < e->model.layers; l++)
        if (e->model.blocks[l].has_experts) compare_layer(&f, l, sums + 3 * m++, pool, where);
    fixture_close(&f);
}

static void test_balance(void) {
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++)
        for (int pool = 0; pool < 2; pool++) {
            compare_balance(fixtures[i], "cpu", pool ? "seq" : "batch");
            compare_balance(fixtures[i], "ref", pool ? "seq" : "batch");
        }
}

/* -- schedules ----------------------------------------------------------------------------------------- */

static void test_schedule(void) {
    static const struct {
        const char *type;
        int64_t warmup, warm, step, done, total;
        double min_lr, rate;
    } rows[] = {
        {"constant", 0, 0, 1, 0, 1000, 0, 8e-4},
        {"constant", 4, 400, 1, 0, 1000, 0, 2e-4},
        {"constant", 4, 400, 3, 200, 1000, 0, 6e-4},
        {"constant", 4, 400, 4, 300, 1000, 0, 8e-4},
        {"constant", 4, 400, 5, 400, 1000, 0, 8e-4},
        {"linear", 0, 0, 1, 0, 1000, 0, 8e-4},
        {"linear", 0, 0, 6, 500, 1000, 0, 4e-4},
        {"linear", 0, 0, 6, 500, 1000, 2e-4, 5e-4},
        {"linear", 0, 0, 9, 1000, 1000, 1e-4, 1e-4},
        {"linear", 5, 500, 6, 500, 1000, 0, 8e-4}, /* it goes on from where the warm-up ends */
        {"linear", 5, 500, 7, 600, 1000, 0, 6.4e-4},
        {"linear", 2, 200, 9, 800, 1000, 4e-4, 5e-4},
        {"linear", 9, 1000, 10, 1000, 1000, 0, 8e-4},
        {"cosine", 0, 0, 1, 0, 1000, 0, 8e-4},
        {"cosine", 0, 0, 6, 500, 1000, 0, 4e-4},
        {"cosine", 0, 0, 6, 250, 1000, 2e-4, 7.121320343559643e-4}, /* 2e-4 + 6e-4 (1 + sqrt(1/2)) / 2 */
        {"cosine", 2, 300, 2, 250, 1000, 2e-4, 8e-4},
        {"cosine", 2, 200, 3, 200, 1000, 2e-4, 8e-4},
        {"cosine", 2, 200, 6, 600, 1000, 2e-4, 5e-4},
        {"cosine", 0, 0, 9, 1000, 1000, 1e-4, 1e-4},
        {"step", 0, 0, 6, 599, 1000, 0, 8e-4},
        {"step", 0, 0, 7, 600, 1000, 0, 2.528e-4},
        {"step", 5, 500, 6, 599, 1000, 0, 8e-4}, /* shares of all tokens (DeepSeek-V2, section 3.1.2) */
        {"step", 5, 500, 7, 600, 1000, 0, 2.528e-4},
        {"step", 0, 0, 9, 899, 1000, 0, 2.528e-4},
        {"step", 0, 0, 9, 900, 1000, 0, 7.98848e-5},
        {"step", 8, 960, 6, 950, 1000, 0, 6e-4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Config c = {.learning_rate = 8e-4, .min_lr = rows[i].min_lr, .warmup_steps = rows[i].warmup};
        c.lr_scheduler_type = rows[i].type;
        c.lr_step_factor = 0.316;
        c.lr_step_at = (RealList){.count = 2, .value = {0.6, 0.9}};
        double rate = schedule_rate(&c, rows[i].step, (StageTokens){rows[i].warm, rows[i].done, rows[i].total});
        expect(fabs(rate - rows[i].rate) <= 1e-15, "row %d: rate %.12g, %.12g", (int)i, rate, rows[i].rate);
    }
}

static void test_ramp(void) {
    Config c = {.sequence_length = 10, .global_batch_size = 12, .batch_ramp_start = 4, .batch_ramp_tokens = 400};
    static const int64_t rows[][2] = {{0, 4}, {49, 4}, {50, 5}, {199, 7}, {200, 8}, {399, 11}, {400, 12}, {4000, 12}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect(config_batch_at(&c, rows[i][0]) == rows[i][1], "after %lld tokens: %lld sequences",
               (long long)rows[i][0], (long long)config_batch_at(&c, rows[i][0]));
    c.batch_ramp_start = 0;
    expect(config_batch_at(&c, 0) == 12, "no ramp: %lld sequences", (long long)config_batch_at(&c, 0));
    c.steps = 0;
    c.tokens = 250; /* 25 sequences in batches of 12 */
    expect(config_steps(&c, 0) == 3, "%lld steps", (long long)config_steps(&c, 0));
    c.batch_ramp_start = 4, c.batch_ramp_tokens = 400; /* 4 4 5 6 6: 25 sequences */
    expect(config_steps(&c, 0) == 5, "%lld steps of a growing batch", (long long)config_steps(&c, 0));
}

static void test_clip(void) {
    static const double rows[][3] = {/* norm, max_grad_norm, factor */
                                     {0.5, 1, 1},          {0, 1, 1},   {4, 1, 1 / 4.000001}, {4, 2, 2 / 4.000001},
                                     {1, 1, 1 / 1.000001}, {1e30, 0, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect(clip_factor(rows[i][0], rows[i][1]) == rows[i][2], "norm %g of %g: %.12g", rows[i][0], rows[i][1],
               clip_factor(rows[i][0], rows[i][1]));
}

const TestCase train_tests[] = {{"optimizer on the fixtures", test_trajectory},
                                {"balance losses of the fixtures", test_balance},
                                {"learning rate", test_schedule},
                                {"growing batch", test_ramp},
                                {"clipping", test_clip},
                                {"any layout, every gradient", test_layouts},
                                {"NaN on any layout", test_nan},
                                {"plans of many shapes", test_plan_walks},
                                {"a run takes what was planned", test_plan_equals_run},
                                {"memory nobody holds", test_poison},
                                {0}};
