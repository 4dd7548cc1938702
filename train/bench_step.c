#include "train/bench_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/bench_decode.h"
#include "train/log.h"
#include "train/peak.h"
#include "train/session.h"
#include "train/setup.h"
#include "train/trainer.h"

enum { WARM = 2, STEPS = 9 };

typedef struct {
    Config config;
    Session session;
    Data data;
    double seconds[STEPS], share[STEPS]; /* of a step; of the matrix products timed right after it */
    double peak[STEPS];
} StepBench;

static bool fill(void *own, int64_t number, StepRow row, Error *error) {
    return loader_sequence(own, number, (Sequence){row.ids, row.label, row.position, row.first}, error);
}

static bool one_step(StepBench *b, int64_t step, double *seconds, Error *error) {
    Engine *e = &b->session.engine;
    int64_t n = b->config.global_batch_size;
    double begin = clock_seconds();
    if (!stepdata_fill(&e->data, &e->run, step * n, n, fill, b->data.loader, error)) return false;
    stepdata_count(&e->data, &e->run);
    StepResult r = engine_gradients(e);
    if (e->use.optimizer)
        engine_update(e, r.grad_norm,
                      (EngineUpdate){.learning_rate = b->config.learning_rate, .adam_step = step + 1});
    *seconds = clock_seconds() - begin;
    return true;
}

/* The machine may be shared: each step is held against products timed next to it, and medians are told. */
static bool measure(StepBench *b, Error *error) {
    double tokens = (double)(b->config.global_batch_size * b->config.sequence_length), ignored;
    double flops = model_flops_per_token(&b->config) * tokens;
    Dtype dtype = b->session.engine.run.dtype;
    for (int i = 0; i < WARM; i++)
        if (!one_step(b, i, &ignored, error)) return false;
    for (int i = 0; i < STEPS; i++) {
        double before = peak_flops(b->session.device, dtype);
        if (!one_step(b, WARM + i, &b->seconds[i], error)) return false;
        double after = peak_flops(b->session.device, dtype);
        b->peak[i] = (before + after) / 2;
        b->share[i] = flops / b->seconds[i] / b->peak[i];
    }
    return true;
}

static void report(StepBench *b, const char *name) {
    const Config *c = &b->config;
    double tokens = (double)(c->global_batch_size * c->sequence_length), seconds = median(b->seconds, STEPS);
    char memory[32];
    printf("%-34s %s x%d  %6.0f tokens  %9.1f ms  %8.0f tok/s  %8.1f GFLOP/s  %5.1f%% of %.0f GFLOP/s  %s\n", name,
           c->dtype, b->session.device->threads, tokens, seconds * 1e3, tokens / seconds,
           model_flops_per_token(c) * tokens / seconds * 1e-9, 100 * median(b->share, STEPS),
           median(b->peak, STEPS) * 1e-9, format_bytes(memory, (double)plan_total(&b->session.plan)));
}

/* A config as it would be trained, but on random tokens and without evaluations: its texts need not be there. */
static bool read_config(StepBench *b, const CommandLine *line, Error *error) {
    char *warnings = NULL;
    bool ok = config_load(&b->config, line->input[0], line->override, line->n_override, 1, &warnings, error) &&
              setup_tokenizer(&b->config, &b->data.tokenizer, error);
    free(warnings);
    b->config.synthetic_data = true;
    b->config.n_eval = 0;
    return ok;
}

static bool open_bench(StepBench *b, const CommandLine *line, Error *error) {
    if (!read_config(b, line, error)) return false;
    EngineUse use = engine_use_training(&b->config);
    use.saves = false;
    if (!session_open(&b->session, &b->config, use, error)) return false;
    params_init_random(&b->session.engine.model.params, &b->session.engine.run);
    b->data.loader = loader_open(&b->config, NULL, 0, b->config.vocab_size, error);
    return b->data.loader != NULL;
}

int bench_step(const CommandLine *line) {
    StepBench b = {0};
    Error error = {0};
    bool ok = open_bench(&b, line, &error) && measure(&b, &error);
    if (ok) report(&b, line->input[0]);
    setup_data_close(&b.data);
    session_close(&b.session);
    ok = ok && bench_decode(&b.config, &error);
    if (!ok) fprintf(stderr, "dsv2: %s\n", error.text);
    config_free(&b.config);
    return ok ? EXIT_DONE : EXIT_USAGE;
}
