/* train.c - `dsv2 train`: opens a run, goes from step to step, leaves it whole. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/launcher.h"
#include "launch/signals.h"
#include "launch/watchdog.h"
#include "optim/schedule.h"
#include "launch/agree.h"
#include "train/generator.h"
#include "train/trainer.h"

enum { FAILED_SAVES_MOST = 3 };

/* -- one step ------------------------------------------------------------------------------------ */

static bool fill_from_loader(void *own, int64_t number, StepRow row, Error *error) {
    return loader_sequence(own, number, (Sequence){row.ids, row.label, row.position, row.first}, error);
}

static void wait_param(void *own, int index) { checkpoint_wait_param(own, index); }

/* The way of a batch. False + message when the data cannot be read. */
static bool train_step(Trainer *t, StepResult *result, double *rate, Error *error) {
    Engine *e = &t->session.engine;
    Progress *p = &t->progress;
    int64_t sequences = config_batch_at(&t->config, p->tokens), first = p->sequences;
    bool ok = stepdata_fill(&e->data, &e->run, first, sequences, fill_from_loader, t->data.loader, error);
    if (!agree(t->session.world, ok, error)) return false;
    stepdata_count(&e->data, &e->run);
    *result = engine_gradients(e);
    *rate = schedule_rate(&t->config, p->step + 1, (StageTokens){t->warm, p->tokens, t->tokens});
    if (result->finite && e->use.optimizer) {
        EngineUpdate update = {*rate, ++p->adam_step, wait_param, t->checkpoints};
        engine_update(e, result->grad_norm, update);
    }
    p->step++;
    p->skipped += !result->finite;
    p->sequences += sequences;
    p->tokens += sequences * t->config.sequence_length;
    return true;
}

/* A NaN or infinite loss or gradient: the update was left out; goes on only as often as the config allows. */
static bool accept(Trainer *t, const StepResult *r, Error *error) {
    Progress *p = &t->progress;
    p->skipped_in_a_row = r->finite ? 0 : p->skipped_in_a_row + 1;
    if (r->finite) return true;
    log_note(t->log, "skipped", "step %lld: loss %g, gradient norm %g (data position %lld)", (long long)p->step,
             r->loss, r->grad_norm, (long long)p->sequences);
    if (p->skipped_in_a_row <= t->config.skip_nonfinite) return true;
    return fail(
        error,
        "step %lld: loss %g, gradient norm %g; the weights are as before this step (its data ends at sequence "
        "%lld). Lower learning_rate, or set skip_nonfinite to pass over such steps",
        (long long)p->step, r->loss, r->grad_norm, (long long)p->sequences);
}

/* -- what the log says ----------------------------------------------------------------------------- */

static int layer_with_experts(const Model *m, int index) {
    int layer = 0;
    while (!m->blocks[layer].has_experts || m->blocks[layer].moe.index != index) layer++;
    return layer;
}

/* Load of the experts over all ranks; the worst layer's busiest expert and the experts without a token. */
static void read_load(Trainer *t, StepLine *line) {
    Stats *s = &t->session.engine.run.stats;
    int64_t sums[4] = {s->routed_tokens, s->vectors_sent, s->pairs_dropped, s->extra_rounds};
    comm_reduce_i64(t->session.world, sums, 4, REDUCE_SUM);
    comm_reduce_i64(t->session.world, s->load, s->moe_layers * s->experts, REDUCE_SUM);
    for (int l = 0; l < s->moe_layers; l++) {
        int64_t most = 0, all = 0;
        for (int i = 0; i < s->experts; i++) {
            int64_t n = s->load[l * s->experts + i];
            most = max_i64(most, n);
            all += n;
            line->dead_experts += n == 0;
        }
        double ratio = all ? (double)most * s->experts / (double)all : 0;
        if (ratio > line->max_load) {
            line->max_load = ratio;
            line->max_load_layer = layer_with_experts(&t->session.engine.model, l);
        }
    }
    line->vectors_sent = sums[0] ? (double)sums[1] / (double)sums[0] : 0;
    line->dropped = sums[2];
    line->extra_rounds = sums[3];
}

static StepLine step_line(Trainer *t, const StepResult *r, double rate, double seconds) {
    const Config *c = &t->config;
    const Progress *p = &t->progress;
    double tokens = (double)(t->session.engine.data.global_sequences * c->sequence_length);
    double elapsed = clock_seconds() - t->begin, done = (double)(p->step - t->first_step);
    StepLine line = {.step = p->step,
                     .stage = c->stage,
                     .tokens = p->tokens,
                     .loss = r->loss,
                     .balance_expert = NAN,
                     .balance_device = NAN,
                     .balance_communication = NAN,
                     .grad_norm = r->grad_norm,
                     .learning_rate = t->session.engine.use.optimizer ? rate : NAN,
                     .tokens_per_second = tokens / seconds,
                     .step_ms = seconds * 1e3,
                     .percent_of_peak = NAN,
                     .max_load = NAN,
                     .vectors_sent = NAN,
                     .memory_bytes = plan_total(&t->session.plan),
                     .skipped = p->skipped,
                     .eta_seconds = done > 0 ? elapsed / done * (double)(t->steps - p->step) : NAN,
                     .show = p->step == t->steps};
    if (t->peak > 0)
        line.percent_of_peak = 100 * model_flops_per_token(c) * tokens / seconds / t->peak / t->session.world->size;
    if (!t->session.engine.model.moe_layers) return line;
    line.balance_expert = r->balance[0];
    if (c->balance_groups > 1) line.balance_device = r->balance[1];
    if (c->balance_groups > 1) line.balance_communication = r->balance[2];
    line.max_load = 0;
    read_load(t, &line);
    return line;
}

/* -- now and then -------------------------------------------------------------------------------- */

static bool every(int64_t steps, int64_t step) { return steps > 0 && step % steps == 0; }

static bool is_last(const Trainer *t) { return t->progress.step == t->steps; }

bool evaluation_due(const Trainer *t) {
    return t->tasks.count && (every(t->config.eval_steps, t->progress.step) || is_last(t));
}

static bool evaluate_tasks(Trainer *t, bool *stopped, Error *error) {
    EvalFigure figure[2 * CONFIG_MAX_SETS];
    Exam exam = {.engine = &t->session.engine, .tokenizer = t->data.tokenizer};
    if (!tasks_run(&t->tasks, &exam, figure, stopped, error)) return false;
    if (!*stopped) log_eval(t->log, t->progress.step, figure, t->tasks.count);
    return true;
}

typedef struct {
    const Tokenizer *tokenizer;
    char *text;
    size_t used;
} Text;

static bool collect(void *own, int64_t prompt, int32_t id) {
    Text *t = own;
    (void)prompt;
    t->used += (size_t)tokenizer_decode(t->tokenizer, t->text + t->used, &id, 1);
    return true;
}

/* Ends where the model's positions do. */
static bool print_sample(Trainer *t, Error *error) {
    const Config *c = &t->config;
    const Tokenizer *tokenizer = t->data.tokenizer;
    size_t used = strlen(c->sample_prompt);
    Prompt prompt = {0};
    int32_t *ids;
    if (!sample_prompt(c, tokenizer, c->sample_prompt, &ids, &prompt.n, error)) return false;
    SampleRule rule = sample_rule(c);
    rule.new_tokens = min_i64(c->sample_tokens, c->max_position_embeddings - prompt.n);
    prompt.ids = ids;
    Text text = {tokenizer, must_alloc((int64_t)used + rule.new_tokens * tokenizer_max_bytes(tokenizer) + 1, 1),
                 used};
    memcpy(text.text, c->sample_prompt, used);
    GenerateSink sink = {.own = &text, .token = collect};
    GenerateReport report;
    bool ok = generate(&t->session.engine, &prompt, 1, &rule, tokenizer_size(tokenizer), &sink, &report, error);
    if (ok) log_sample(t->log, t->progress.step, text.text);
    free(text.text);
    free(ids);
    return ok;
}

/* Looks whether the save behind training has ended. A failed one is told and tried again at the next occasion;
 * several in a row end the run. */
static bool poll_save(Trainer *t, bool wait, Error *error) {
    int64_t saved = -1;
    double seconds = 0;
    Error why = {0};
    if (!t->checkpoints) return true;
    if (!checkpoint_save_poll(t->checkpoints, wait, &saved, &seconds, &why)) {
        log_note(t->log, "not saved", "%s; training goes on", why.text);
        if (++t->failed_saves >= FAILED_SAVES_MOST)
            return fail(error, "%d saves in a row failed, the last because: %s", t->failed_saves, why.text);
        return true;
    }
    if (saved < 0) return true;
    t->failed_saves = 0;
    if (why.text[0]) log_note(t->log, "saved", "%s", why.text);
    int64_t bytes = checkpoint_bytes(&t->session.engine.model.params, &t->session.engine.run, NULL);
    log_saved(t->log, saved, bytes, seconds, 100 * seconds / fmax(clock_seconds() - t->begin, seconds));
    return true;
}

static bool save(Trainer *t, Error *error) {
    Error why = {0};
    if (!t->checkpoints || !poll_save(t, true, error)) return !t->checkpoints;
    watchdog_section(SECTION_SAVE);
    if (checkpoint_save_start(t->checkpoints, &t->progress, t->config_text, &why)) return true;
    log_note(t->log, "not saved", "%s; training goes on", why.text);
    if (++t->failed_saves < FAILED_SAVES_MOST) return true;
    return fail(error, "%d saves in a row failed, the last because: %s", t->failed_saves, why.text);
}

/* The command that goes on from the newest checkpoint. */
static const char *next_command(const Trainer *t) {
    bool elsewhere = strcmp(t->config.resume, "auto") != 0;
    if (t->fresh && elsewhere) return "the same command without --fresh and with resume=auto";
    if (t->fresh) return "the same command without --fresh";
    return elsewhere ? "the same command with resume=auto" : "the same command";
}

/* A run that ends without its last checkpoint has not done its work. */
static bool last_save_held(const Trainer *t, Error *error) {
    if (!t->failed_saves) return true;
    return fail(error,
                "the last checkpoint could not be saved; make room: %s then goes on from the newest checkpoint in %s",
                next_command(t), t->folder.checkpoints);
}

/* After step t->progress.step. *stopped by a signal: both are left to the next start. */
static bool evaluate_and_sample(Trainer *t, bool *stopped, Error *error) {
    const Config *c = &t->config;
    *stopped = false;
    if (evaluation_due(t) && !evaluate_tasks(t, stopped, error)) return false;
    bool sample = c->sample_steps && (every(c->sample_steps, t->progress.step) || is_last(t)) && !c->synthetic_data;
    return *stopped || !sample || print_sample(t, error);
}

static bool save_when_due(Trainer *t, Error *error) {
    bool last = is_last(t);
    if (!every(t->config.save_steps, t->progress.step) && !last) return true;
    if (!save(t, error) || (last && !poll_save(t, true, error))) return false;
    return !last || last_save_held(t, error);
}

bool print_first_loss(Trainer *t, Error *error) {
    Engine *e = &t->session.engine;
    int64_t n = min_i64(config_batch_at(&t->config, 0), e->use.micro * t->session.world->size);
    bool ok = stepdata_fill(&e->data, &e->run, t->progress.sequences, n, fill_from_loader, t->data.loader, error);
    if (!agree(t->session.world, ok, error)) return false;
    stepdata_count(&e->data, &e->run);
    double loss = engine_evaluate(e) / (double)max_i64(e->data.global_tokens, 1);
    if (*t->config.init_from)
        log_line("check", "loss before training %.3f (usual for published weights 1.5-3)", loss);
    else
        log_line("check", "loss before training %.3f (random weights: ln %lld = %.3f)", loss,
                 (long long)t->config.vocab_size, log((double)t->config.vocab_size));
    return true;
}

/* -- the loop --------------------------------------------------------------------------------------- */

/* Whether any rank got a signal, so that all stop after the same step. Which one it was before mpirun or a launcher
 * passed it on is not known here. */
static bool signal_anywhere(Trainer *t) {
    int64_t number = signals_pending();
    comm_reduce_i64(t->session.world, &number, 1, REDUCE_MAX);
    return number != 0;
}

/* The newest checkpoint of the run's folder is where this process began. */
static bool nothing_new(const Trainer *t) { return t->progress.step == t->first_step && t->folder.verified; }

static int stop_early(Trainer *t, Error *error) {
    bool ok = nothing_new(t) || (save(t, error) && poll_save(t, true, error) && last_save_held(t, error));
    if (!ok) return EXIT_IO;
    if (t->checkpoints)
        log_note(t->log, "stopped", "by a signal after step %lld; %s goes on from there", (long long)t->progress.step,
                 next_command(t));
    else
        log_note(t->log, "stopped", "by a signal after step %lld; nothing is saved without an optimizer",
                 (long long)t->progress.step);
    return EXIT_RETRY;
}

static int take_steps(Trainer *t, Error *error) {
    bool stopped = false;
    if (t->owes_evaluation && !evaluate_and_sample(t, &stopped, error)) return EXIT_IO;
    if (stopped) return stop_early(t, error);
    while (t->progress.step < t->steps) {
        StepResult result;
        double begin = clock_seconds(), rate;
        watchdog_step(t->progress.step + 1);
        if (!train_step(t, &result, &rate, error)) return EXIT_INPUT;
        double seconds = clock_seconds() - begin;
        if (t->progress.step % t->config.logging_steps == 0 || t->progress.step == t->steps) {
            StepLine line = step_line(t, &result, rate, seconds);
            log_step(t->log, &line);
        }
        if (!accept(t, &result, error)) return EXIT_NUMERIC;
        if (signal_anywhere(t)) return stop_early(t, error);
        if (!poll_save(t, false, error) || !evaluate_and_sample(t, &stopped, error)) return EXIT_IO;
        if (stopped) return stop_early(t, error);
        if (!save_when_due(t, error)) return EXIT_IO;
    }
    return EXIT_DONE;
}

/* However the run ends, and all ranks end it alike, the save that is on its way is finished. */
int train_loop(Trainer *t, Error *error) {
    Error of_save = {0};
    t->begin = clock_seconds();
    t->first_step = t->progress.step;
    int code = take_steps(t, error);
    if (code == EXIT_DONE) return code;
    watchdog_section(SECTION_SAVE);
    if (!poll_save(t, true, &of_save)) log_note(t->log, "not saved", "%s", of_save.text);
    return code;
}
