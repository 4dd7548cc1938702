/* validate_run.c - rules of a training run: start, length, schedule, data, and keys that another key
 * switches off. */
#include "configs/validate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- run ------------------------------------------------------------------------------------- */

static bool check_start(const Config *c, Error *error) {
    if (*c->init && *c->init_from)
        return bad(error, c, "init_from", "init and init_from are both set; keep one of them");
    if (!*c->init && !*c->init_from)
        return bad(error, c, "init", "neither init nor init_from is set; write `init: random` or `init_from: MODEL`");
    if (!*c->output_dir) return bad(error, c, "output_dir", "output_dir is not set; write `output_dir: runs/NAME`");
    if (*c->init && c->initializer_range == 0)
        return bad(error, c, "model.initializer_range",
                   "initializer_range 0 makes all new weights 0, which cannot learn");
    return true;
}

/* Two ways to say how long: the weaker word is the one to take back. */
static bool both_lengths(const Config *c, const char *one, const char *two, Error *error) {
    const bool said_now = key_origin(c, one)->override > 0;
    const char *keep = said_now ? one : two, *remove = said_now ? two : one;
    char at[256];
    return bad(error, c, keep,
               "%s and %s (%s) are both set, and only one can say how long to train; take the other back "
               "with %s=null",
               keep, remove, key_place(c, remove, at), remove);
}

static bool check_length(const Config *c, Error *error) {
    static const char *const paths[] = {"steps", "tokens", "epochs"};
    const bool set[] = {c->steps > 0, c->tokens > 0, c->epochs > 0};
    const char *first = NULL;
    for (int i = 0; i < 3; i++) {
        if (set[i] && first) return both_lengths(c, first, paths[i], error);
        if (set[i]) first = paths[i];
    }
    if (!first) return bad(error, c, "steps", "none of steps, tokens, epochs is set; say how long to train");
    if (c->synthetic_data && c->epochs > 0)
        return bad(error, c, "epochs", "epochs with synthetic_data: random tokens have no end; set steps instead");
    if (c->sequence_length > c->max_position_embeddings)
        return bad(error, c, "sequence_length",
                   "sequence_length %lld is more than max_position_embeddings %lld; lower it, or raise "
                   "model.max_position_embeddings (with rope_scaling, when the model was trained shorter)",
                   LL(c->sequence_length), LL(c->max_position_embeddings));
    return true;
}

/* -- batch and learning rate ----------------------------------------------------------------- */

static bool check_ramp(const Config *c, Error *error) {
    if (!c->batch_ramp_start != !c->batch_ramp_tokens)
        return bad(error, c, c->batch_ramp_start ? "batch_ramp.start" : "batch_ramp.tokens",
                   "batch_ramp needs both start and tokens; set the other, or remove this one");
    if (c->batch_ramp_start > c->global_batch_size)
        return bad(error, c, "batch_ramp.start",
                   "batch_ramp.start %lld is more than global_batch_size %lld, to which the batch grows",
                   LL(c->batch_ramp_start), LL(c->global_batch_size));
    double steps =
        (double)c->batch_ramp_tokens / ((double)max_i64(c->batch_ramp_start, 1) * (double)c->sequence_length);
    if (steps > MAX_RAMP_STEPS)
        return bad(error, c, "batch_ramp.tokens", "batch_ramp.tokens %lld takes over %d steps; lower it",
                   LL(c->batch_ramp_tokens), MAX_RAMP_STEPS);
    if (c->tokens && c->batch_ramp_tokens > c->tokens)
        return bad(error, c, "batch_ramp.tokens", "batch_ramp.tokens %lld is more than the %lld tokens of the run",
                   LL(c->batch_ramp_tokens), LL(c->tokens));
    return true;
}

static bool check_step_decay(const Config *c, Error *error) {
    const RealList *at = &c->lr_step_at;
    if (strcmp(c->lr_scheduler_type, "step")) return true;
    if (!at->count) return bad(error, c, "lr_step_at", "lr_step_at is empty; give fractions such as [0.6, 0.9]");
    for (int i = 0; i < at->count; i++)
        if (at->value[i] <= (i ? at->value[i - 1] : 0) || at->value[i] >= 1)
            return bad(error, c, "lr_step_at",
                       "lr_step_at must rise between 0 and 1, such as [0.6, 0.9]; entry %d is %g", i + 1,
                       at->value[i]);
    return true;
}

/* Counters of steps and tokens are 64 bits wide. */
static bool check_countable(const Config *c, Error *error) {
    const double most_tokens = 1e18;
    const char *key = c->steps ? "steps" : "tokens";
    double batch = (double)c->global_batch_size * (double)c->sequence_length;
    double tokens = c->tokens > 0 ? (double)c->tokens : (double)c->steps * batch;
    if (tokens + batch <= most_tokens && (double)c->batch_ramp_tokens <= most_tokens) return true;
    return bad(error, c, key, "%s: a run of %.3g tokens is longer than the %.0g that can be counted", key,
               fmax(tokens + batch, (double)c->batch_ramp_tokens), most_tokens);
}

static bool check_schedule(const Config *c, Error *error) {
    if (!check_countable(c, error)) return false;
    int64_t steps = c->epochs > 0 ? INT64_MAX : config_steps(c, 0);
    if (c->warmup_steps >= steps)
        return bad(error, c, "warmup_steps", "warmup_steps %lld is not below the %lld steps of the run; lower it",
                   LL(c->warmup_steps), LL(steps));
    if (c->min_lr > c->learning_rate)
        return bad(error, c, "min_lr", "min_lr %g is more than learning_rate %g; lower it", c->min_lr,
                   c->learning_rate);
    if (c->adam_beta1 >= 1 || c->adam_beta2 >= 1)
        return bad(error, c, c->adam_beta1 >= 1 ? "adam_beta1" : "adam_beta2",
                   "adam_beta1 %g and adam_beta2 %g must be "
                   "below 1",
                   c->adam_beta1, c->adam_beta2);
    if (c->adam_epsilon <= 0)
        return bad(error, c, "adam_epsilon", "adam_epsilon must be above 0, or weights without gradient become NaN");
    return check_step_decay(c, error);
}

/* -- data ------------------------------------------------------------------------------------ */

/* Where a key of a data set or an evaluation was said, or else any of its keys. */
static const char *entry_place(const Config *c, const Named *n, int entry, const char *key, char to[256]) {
    const Node *const *origins = c->origins->named[n - named][entry], *node = origins[named_key(n, key) - n->key];
    for (int k = 0; k < n->keys && !node; k++) node = origins[k];
    if (node) return node_place(node, to);
    snprintf(to, 256, "%.255s", *c->file ? c->file : "config");
    return to;
}

static const char *set_place(const Config *c, int set, const char *key, char to[256]) {
    return entry_place(c, &named[NAMED_DATA], set, key, to);
}

static int find_set(const Config *c, const char *name) {
    for (int i = 0; i < c->n_data; i++)
        if (!strcmp(c->data[i].name, name)) return i;
    return -1;
}

static bool check_mix_name(const Config *c, int entry, Error *error) {
    const char *name = c->mix.name[entry];
    Nearest near = {.word = name};
    for (int i = 0; i < entry; i++)
        if (!strcmp(c->mix.name[i], name)) return bad(error, c, "mix", "mix names '%.60s' twice; name it once", name);
    if (find_set(c, name) >= 0) return true;
    for (int i = 0; i < c->n_data; i++) nearest_offer(&near, c->data[i].name);
    if (near.best) return bad(error, c, "mix", "mix: '%.60s' is not in data; did you mean %s?", name, near.best);
    return bad(error, c, "mix", "mix: '%.60s' is not in data; add it there, or remove it here", name);
}

static bool check_mix(const Config *c, Error *error) {
    const RealList *mix = &c->mix;
    bool shares = false;
    double sum = 0;
    for (int i = 0; i < mix->count; i++) {
        if (!check_mix_name(c, i, error)) return false;
        shares |= mix->value[i] != 0;
        sum += mix->value[i];
    }
    if (shares && fabs(sum - 1) > 1e-6)
        return bad(error, c, "mix", "mix: the shares sum to %g; make them sum to 1", sum);
    return true;
}

static bool is_usual(const Config *c, const Key *key, const void *owner) {
    Value value;
    value_default(key, &value, &c->origins->pool);
    char *now = value_format(key, key_value(key, owner)), *usual = value_format(key, &value);
    bool same = !strcmp(now, usual);
    free(now);
    free(usual);
    return same;
}

/* Keys that say how documents become shards mean nothing for a set that is not made that way. */
static bool check_set_keys(const Config *c, int set, Error *error) {
    static const struct {
        const char *key, *formats;
    } rules[] = {{"field", "text"},
                 {"bad_lines", "text"},
                 {"validation", "text megatron"},
                 {"min_tokens", "text megatron"},
                 {"deduplicate", "text megatron"},
                 {"shard_tokens", "text megatron"}};
    const Named *n = &named[NAMED_DATA];
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char at[256];
        const Key *key = named_key(n, rules[i].key);
        const Node *said = c->origins->named[NAMED_DATA][set][key - n->key];
        if (said && !word_in_list(c->data[set].format, rules[i].formats) && !is_usual(c, key, &c->data[set]))
            return fail(error, "%s: data.%s.%s has no effect on format %s; remove it", node_place(said, at),
                        c->data[set].name, rules[i].key, c->data[set].format);
    }
    return true;
}

static bool check_sets(const Config *c, char **warnings, Error *error) {
    char at[256];
    for (int i = 0; i < c->n_data; i++) {
        const DataSet *set = &c->data[i];
        if (!*set->path)
            return fail(error, "%s: data.%s has no path; say where its files are", set_place(c, i, "path", at),
                        set->name);
        if (set->validation >= 1 && set->validation != floor(set->validation))
            return fail(error, "%s: data.%s.validation %g is neither a share below 1 nor a whole number of documents",
                        set_place(c, i, "validation", at), set->name, set->validation);
        if (!check_set_keys(c, i, error)) return false;
        if (!config_set_in_mix(c, i) && !c->synthetic_data)
            text_add(warnings, "%s: data.%s is not in mix; %s\n", set_place(c, i, "path", at), set->name,
                     config_set_is_used(c, i) ? "only what it holds out is used, to evaluate"
                                              : "training does not use it");
    }
    return true;
}

/* Questions stand in one file, and what a set is called in the log must say which it is. */
static bool check_evals(const Config *c, Error *error) {
    char at[256];
    if (c->n_eval && c->synthetic_data)
        return bad(error, c, "synthetic_data", "synthetic_data trains on random tokens; eval has nothing to measure");
    for (int i = 0; i < c->n_eval; i++) {
        const EvalSet *e = &c->eval[i];
        bool needle = !strcmp(e->format, "needle"), questions = !needle && strcmp(e->format, "text");
        entry_place(c, &named[NAMED_EVAL], i, "path", at);
        if (!*e->path && !needle) return fail(error, "%s: eval.%s has no path; say where its file is", at, e->name);
        if (e->shots >= 0 && !questions)
            return fail(error, "%s: eval.%s.shots: format %s has no questions to show", at, e->name, e->format);
        if (find_set(c, e->name) >= 0)
            return fail(error, "%s: eval.%s and data.%s have the same name; the log would not tell them apart", at,
                        e->name, e->name);
    }
    return true;
}

static bool check_data(const Config *c, char **warnings, Error *error) {
    if (!c->synthetic_data && !c->mix.count)
        return bad(error, c, "mix", "mix is not set; name the data sets to train on, such as `mix: [%s]`",
                   c->n_data ? c->data[0].name : "NAME");
    if (!c->synthetic_data && !strcmp(c->tokenizer, "bytes") && c->vocab_size < TOKENIZER_BYTES_SIZE)
        return bad(error, c, "model.vocab_size",
                   "vocab_size %lld is less than the %d tokens of tokenizer bytes; raise it", LL(c->vocab_size),
                   TOKENIZER_BYTES_SIZE);
    return check_mix(c, error) && check_sets(c, warnings, error) && check_evals(c, error);
}

/* -- keys that another key switches off ------------------------------------------------------ */

static bool has_validation(const Config *c) {
    for (int i = 0; i < c->n_data; i++)
        if (c->data[i].validation > 0 && !c->synthetic_data) return true;
    return false;
}

static bool is_said(const Config *c, const char *path) {
    const Key *key = key_find(path);
    const Node *node = key_origin(c, path);
    if (!node || (node->file && !node->line)) return false; /* published files hold idle fields */
    return !is_usual(c, key, c);
}

/* On the command line somebody just asked for it: an error. In a file it may serve a variant: a warning. */
static bool report_idle(const Config *c, const char *path, const char *needs, char **warnings, Error *error) {
    char at[256];
    if (!is_said(c, path)) return true;
    if (key_origin(c, path)->override) return bad(error, c, path, "%s has no effect without %s", path, needs);
    text_add(warnings, "%s: %s has no effect without %s\n", key_place(c, path, at), path, needs);
    return true;
}

static bool check_idle(const Config *c, char **warnings, Error *error) {
    const bool yarn = !strcmp(c->rope_type, "yarn"), moe = c->n_routed_experts > 0, dropping = c->token_dropping;
    const bool adamw = !strcmp(c->optimizer, "adamw"), stepwise = !strcmp(c->lr_scheduler_type, "step");
    const bool falls = !strcmp(c->lr_scheduler_type, "linear") || !strcmp(c->lr_scheduler_type, "cosine");
    const struct {
        const char *path;
        bool active;
        const char *needs;
    } rules[] = {
        {"model.rope_scaling.factor", yarn, "model.rope_scaling.type yarn"},
        {"model.rope_scaling.original_max_position_embeddings", yarn, "model.rope_scaling.type yarn"},
        {"model.rope_scaling.beta_fast", yarn, "model.rope_scaling.type yarn"},
        {"model.rope_scaling.beta_slow", yarn, "model.rope_scaling.type yarn"},
        {"model.rope_scaling.mscale", yarn, "model.rope_scaling.type yarn"},
        {"model.rope_scaling.mscale_all_dim", yarn, "model.rope_scaling.type yarn"},
        {"model.num_experts_per_tok", moe, "n_routed_experts"},
        {"model.moe_intermediate_size", moe, "n_routed_experts"},
        {"model.aux_loss_alpha", moe, "n_routed_experts"},
        {"model.routed_scaling_factor", moe && !(c->norm_topk_prob && c->num_experts_per_tok > 1),
         moe ? "norm_topk_prob false (normalised weights are not scaled)" : "n_routed_experts"},
        {"layout.expert_capacity_factor", moe, "n_routed_experts"},
        {"balance.capacity_factor", dropping, "token_dropping"},
        {"balance.protected_sequences", dropping, "token_dropping"},
        {"min_lr", falls, "lr_scheduler_type linear or cosine"},
        {"lr_step_at", stepwise, "lr_scheduler_type step"},
        {"lr_step_factor", stepwise, "lr_scheduler_type step"},
        {"learning_rate", adamw, "optimizer adamw"},
        {"weight_decay", adamw, "optimizer adamw"},
        {"max_grad_norm", adamw, "optimizer adamw"},
        {"warmup_steps", adamw, "optimizer adamw"},
        {"eval_steps", has_validation(c) || c->n_eval, "validation in a data set, or eval"},
        {"eval_tokens", has_validation(c) || c->n_eval, "validation in a data set, or eval"},
        {"eval_shots", c->n_eval > 0, "eval"},
        {"sample_prompt", c->sample_steps > 0, "sample_steps"},
        {"sample_tokens", c->sample_steps > 0, "sample_steps"},
        {"mix", !c->synthetic_data, "synthetic_data false"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!rules[i].active && !report_idle(c, rules[i].path, rules[i].needs, warnings, error)) return false;
    return true;
}

static void warn_idle_ranks(const Config *c, int64_t n, char **warnings) {
    char at[256];
    int64_t micro_batches = ceil_div(c->global_batch_size, c->micro_batch_size);
    if (micro_batches < n)
        text_add(warnings,
                 "%s: global_batch_size %lld makes %lld micro-batch%s of %lld for %lld ranks; %lld of them ha%s "
                 "no sequences\n",
                 key_place(c, "global_batch_size", at), LL(c->global_batch_size), LL(micro_batches),
                 micro_batches == 1 ? "" : "es", LL(c->micro_batch_size), LL(n), LL(n - micro_batches),
                 n - micro_batches == 1 ? "s" : "ve");
}

/* The pool of dropping, and of balance losses that are not of a sequence, is a micro-batch; a size that follows from
 * the number of ranks makes it follow from them too. */
static void warn_pool(const Config *c, bool micro_derived, char **warnings) {
    char at[256];
    bool loss = c->aux_loss_alpha > 0 || c->device_loss_alpha > 0 || c->communication_loss_alpha > 0;
    const char *key = c->token_dropping ? "balance.token_dropping" : "model.seq_aux";
    if (!micro_derived || !c->n_routed_experts || !(c->token_dropping || (!c->seq_aux && loss))) return;
    text_add(warnings,
             "%s: %s looks at a micro-batch, and micro_batch_size follows from the number of ranks; set "
             "micro_batch_size=%lld to train alike on any number\n",
             key_place(c, key, at), key, LL(c->micro_batch_size));
}

bool validate_run(Config *c, int64_t ranks, bool micro_derived, char **warnings, Error *error) {
    if (!check_start(c, error) || !check_length(c, error) || !check_ramp(c, error) || !check_schedule(c, error) ||
        !check_data(c, warnings, error) || !check_idle(c, warnings, error))
        return false;
    warn_idle_ranks(c, ranks, warnings);
    warn_pool(c, micro_derived, warnings);
    return true;
}
