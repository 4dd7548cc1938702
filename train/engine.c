#include "train/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/adamw.h"
#include "optim/sync.h"

/* Rotary positions that can be asked for: a sequence has no more. */
static int64_t positions(const EngineUse *u) { return max_i64(u->sequence_length, u->cache.length); }
/* Rows of a forward, at most. */
static int64_t tokens(const EngineUse *u) {
    return max_i64(u->micro * u->sequence_length, max_i64(u->cache.block, u->cache.sequences));
}

bool engine_open(Engine *e, const Config *c, Device *device, Comm *world, ArenaBytes bytes, EngineUse use,
                 Error *error) {
    *e = (Engine){.use = use};
    if (!run_open(&e->run, c, device, world, bytes, error)) return false;
    if (use.double_precision) e->run.dtype = F64;
    model_init(&e->model, &e->run, tokens(&use), positions(&use), use.training, use.optimizer);
    model_acts_open(&e->acts, &e->model);
    if (use.sequences) stepdata_open(&e->data, &e->run, use.sequence_length, use.micro, use.sequences);
    if (use.cache.sequences) decoder_open(&e->decoder, &e->run, &use.cache);
    e->norm_sum = arena_1d(&e->run.state, F64, 1);
    e->logits = arena_2d(&e->run.state, run_stat_dtype(&e->run), use.logits_rows, c->vocab_size);
    if (use.scores) e->scores = arena_1d(&e->run.state, run_stat_dtype(&e->run), use.micro * use.sequence_length);
    e->run.stats.moe_layers = e->model.moe_layers;
    e->run.stats.experts = (int)c->n_routed_experts;
    e->run.stats.load = must_alloc((int64_t)e->model.moe_layers * c->n_routed_experts, sizeof *e->run.stats.load);
    return true;
}

void engine_close(Engine *e) {
    free(e->run.stats.load);
    model_acts_close(&e->acts);
    model_close(&e->model);
    run_close(&e->run);
}

static void clear_stats(Stats *s) {
    int64_t *load = s->load;
    int layers = s->moe_layers, experts = s->experts;
    memset(load, 0, sizeof *load * (size_t)layers * (size_t)experts);
    *s = (Stats){.load = load, .moe_layers = layers, .experts = experts};
}

/* Sums over layers and ranks become means; the order of the sum is fixed. */
static void read_balance(Engine *e, StepResult *result) {
    int layers = e->model.moe_layers;
    double *sums = must_alloc(3 * layers, sizeof *sums);
    model_read_balance(&e->model, &e->run, sums);
    for (int l = 0; l < layers; l++)
        for (int i = 0; i < 3; i++) result->balance[i] += sums[3 * l + i];
    comm_reduce_f64(e->run.mesh.axis[AXIS_DP], result->balance, 3, REDUCE_SUM);
    for (int i = 0; i < 3; i++) result->balance[i] /= (double)layers * (double)e->data.global_sequences;
    free(sums);
}

/* A NaN without the sign that some carry: people read it. */
static double plain_nan(double value) { return isnan(value) ? NAN : value; }

static double read_loss(Engine *e) {
    double loss = model_read_loss(&e->model, &e->run);
    comm_reduce_f64(e->run.mesh.axis[AXIS_DP], &loss, 1, REDUCE_SUM);
    return plain_nan(loss);
}

StepResult engine_gradients(Engine *e) {
    StepResult result = {0};
    e->run.training = true;
    clear_stats(&e->run.stats);
    params_forget_gradients(&e->model.params);
    for (int64_t i = 0; i < e->data.micros; i++) {
        Batch b = stepdata_batch(&e->data, &e->run, i);
        model_step(&e->model, &e->acts, &b, &e->run);
    }
    e->run.training = false;
    params_complete_gradients(&e->model.params, &e->run);
    grads_sync(&e->model.params, &e->run);
    result.loss = read_loss(e);
    if (e->model.moe_layers) read_balance(e, &result);
    result.grad_norm = NAN;
    result.finite = isfinite(result.loss);
    if (!e->use.optimizer) return result;
    result.grad_norm = plain_nan(grads_norm(&e->model.params, e->norm_sum, &e->run));
    result.finite = result.finite && isfinite(result.grad_norm);
    return result;
}

void engine_update(Engine *e, double grad_norm, EngineUpdate u) {
    AdamwStep step = {.learning_rate = u.learning_rate,
                      .clip = clip_factor(grad_norm, e->run.config->max_grad_norm),
                      .step = u.adam_step};
    adamw_step(&e->model.params, step, u.before, u.own, &e->run);
}

double engine_evaluate(Engine *e) {
    Tensor none = {0};
    for (int64_t i = 0; i < e->data.micros; i++) {
        Batch b = stepdata_batch(&e->data, &e->run, i);
        model_forward(&e->model, &e->acts, &b, &e->run);
        model_loss(&e->model, &e->acts, none, none, &b, &e->run);
        model_forget(&e->acts, &e->run);
    }
    return read_loss(e) * (double)e->data.global_tokens;
}

void engine_score(Engine *e, double *to) {
    Tensor none = {0};
    check(!tensor_none(e->scores), "scores were not planned for");
    for (int64_t i = 0; i < e->data.micros; i++) {
        Batch b = stepdata_batch(&e->data, &e->run, i);
        Tensor part = tensor_1d(e->scores.data, e->scores.dtype, tensor_count(b.ids));
        model_forward(&e->model, &e->acts, &b, &e->run);
        model_loss(&e->model, &e->acts, none, part, &b, &e->run);
        model_forget(&e->acts, &e->run);
        if (!to) continue;
        tensor_to_doubles(to, part, &e->run);
        to += tensor_count(part);
    }
    model_read_loss(&e->model, &e->run); /* the sum starts again from 0 */
}

void engine_logits(Engine *e, int64_t first, int64_t n, double *to) {
    Run *run = &e->run;
    Batch b = stepdata_batch(&e->data, run, 0);
    check(n <= tensor_rows(e->logits), "%lld rows of logits, %lld planned", (long long)n,
          (long long)tensor_rows(e->logits));
    model_forward(&e->model, &e->acts, &b, run);
    n = min_i64(n, tensor_count(b.ids)); /* a rank without the sequence only takes part */
    Tensor logits = tensor_rows_view(e->logits, 0, n), x = e->acts.x[e->model.layers];
    head_logits(logits, &e->model.head, tensor_rows_view(x, n ? first : 0, n), run);
    model_forget(&e->acts, run);
    if (n && to) tensor_to_doubles(to, logits, run);
}

void tensor_to_doubles(double *to, Tensor t, Run *run) {
    int64_t n = tensor_count(t);
    check(tensor_contiguous(t) && (t.dtype == F32 || t.dtype == F64 || t.dtype == BF16), "cannot read this tensor");
    void *raw = must_alloc(n, dtype_bytes(t.dtype));
    run->device->ops->to_host(run->device, raw, t.data, tensor_bytes(t));
    for (int64_t i = 0; i < n; i++) {
        if (t.dtype == F64)
            to[i] = ((double *)raw)[i];
        else if (t.dtype == F32)
            to[i] = (double)((float *)raw)[i];
        else
            to[i] = (double)bf16_to_float(((uint16_t *)raw)[i]);
    }
    free(raw);
}
