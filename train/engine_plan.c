/* engine_plan.c - the same engine on a device that computes nothing: what a step takes. */
#include <string.h>

#include "optim/sync.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/generator.h"
#include "train/load_hf.h"
#include "train/task.h"

/* The one prompt of the samples that a training run prints. */
static void sample_use(const Config *c, EngineUse *use) {
    int64_t room = SAMPLE_ROOM(strlen(c->sample_prompt)) + c->sample_tokens;
    int64_t length = min_i64(room, c->max_position_embeddings);
    if (!c->sample_steps || c->synthetic_data) return;
    cache_use_more(
        &use->cache,
        (CacheUse){.sequences = 1, .length = length, .tokens = length, .block = min_i64(GENERATE_BLOCK, length)});
}

EngineUse engine_use_training(const Config *c) {
    bool optimizer = strcmp(c->optimizer, "none") != 0;
    int64_t micro = min_i64(c->micro_batch_size, c->global_batch_size);
    EngineUse use = {.training = true,
                     .optimizer = optimizer,
                     .sequence_length = c->sequence_length,
                     .micro = micro,
                     .sequences = c->global_batch_size,
                     .saves = optimizer};
    sample_use(c, &use);
    for (int i = 0; i < c->n_eval; i++) task_use(task_kind(c->eval[i].format), c, &use);
    return use;
}

static bool no_data(void *own, int64_t number, StepRow row, Error *error) {
    (void)own, (void)number, (void)row, (void)error;
    return true;
}

static void count_state(Plan *plan, const Engine *e) {
    const Params *params = &e->model.params;
    for (int i = 0; i < params->count; i++) {
        const Param *p = &params->list[i];
        plan->weights += tensor_bytes(p->w);
        plan->gradients += tensor_bytes(p->dw);
        plan->optimizer += tensor_bytes(p->m) + tensor_bytes(p->v);
        if (p->master.data != p->w.data) plan->optimizer += tensor_bytes(p->master);
        int64_t size = mesh_size(&e->run.mesh, p->sum_axis);
        plan->sync_bytes += 2.0 * (double)(size - 1) / (double)size * (double)tensor_bytes(p->dw);
    }
}

/* One micro-batch and one update stand for a step: each micro-batch uses the same memory. */
static void walk_step(Plan *plan, Engine *e) {
    Device *device = e->run.device;
    Error error;
    double before = device->work.flops;
    stepdata_fill(&e->data, &e->run, 0, e->use.sequences, no_data, NULL, &error);
    int64_t micros = e->data.micros;
    e->data.micros = 1;
    stepdata_count(&e->data, &e->run);
    if (e->use.training) engine_gradients(e);
    plan->flops = (device->work.flops - before) * (double)micros;
    plan->exchange_bytes = (double)e->run.stats.bytes_sent * (double)micros;
    if (e->use.optimizer) engine_update(e, 1, (EngineUpdate){.adam_step = 1});
    engine_evaluate(e);
    if (e->use.scores) engine_score(e, NULL);
    if (e->use.logits_rows) engine_logits(e, 0, min_i64(e->use.logits_rows, e->use.sequence_length), NULL);
}

/* What reading weights takes for a moment, and saving them from the first step on. */
static void walk_storage(Engine *e) {
    int64_t mark = arena_mark(&e->run.scratch);
    arena_1d(&e->run.scratch, F32, LOAD_BLOCK);
    arena_rewind(&e->run.scratch, mark);
    if (e->use.saves) arena_alloc(&e->run.host, CHECKPOINT_STAGING);
}

bool engine_plan(Plan *plan, const Config *c, int ranks, EngineUse use, Error *error) {
    Engine e;
    *plan = (Plan){.parameters = config_parameters(c), .activated = config_parameters_activated(c)};
    Device *device = device_open("plan", c->backend);
    check(device, "there is no plan for backend %s", c->backend);
    Comm *world = comm_open_plan(0, ranks);
    bool done = engine_open(&e, c, device, world, (ArenaBytes){0}, use, error);
    if (done) {
        plan->workspace = device->workspace_bytes;
        count_state(plan, &e);
        walk_storage(&e);
        if (use.sequences) walk_step(plan, &e);
        if (use.cache.sequences) decoder_walk(&e.decoder, &e.model, &e.run);
        plan->arenas = run_peaks(&e.run);
        engine_close(&e);
    }
    world->ops->close(world);
    device_close(device);
    return done;
}

int64_t plan_total(const Plan *p) {
    const ArenaBytes *a = &p->arenas;
    return a->state + a->acts + a->scratch + a->cache + a->comm + a->host + p->workspace;
}
