/* validate.c - rules across keys, each a sentence that says what to change; and the values that
 * follow from others where a key says 0.
 *
 * Model: shapes and maths, for any model that is read. Layout: against the number of ranks. Run:
 * what training needs besides. */
#include "configs/keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENIZER_BYTES_SIZE = 258, MAX_MICRO_BATCH = 8, MAX_RAMP_STEPS = 10000000 };

static const Node *origin(const Config *c, const char *path) {
    const Key *key = key_find(path);
    check(key, "no key is called %s", path);
    return c->origins->key[key - config_keys];
}

static const char *place(const Config *c, const char *path, char to[256]) {
    const Node *node = origin(c, path);
    if (node) return node_place(node, to);
    snprintf(to, 256, "%.255s", *c->file ? c->file : "config");
    return to;
}

/* Names where the key was set; always false. */
static bool bad(Error *error, const Config *c, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static bool bad(Error *error, const Config *c, const char *path, const char *format, ...) {
    char at[256], text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(error, "%s: %s", place(c, path, at), text);
}

#define N(value) ((long long)(value))

/* -- model ----------------------------------------------------------------------------------- */

static void derive_model(Config *c) {
    if (!c->num_key_value_heads) c->num_key_value_heads = c->num_attention_heads;
    if (!c->n_group) c->n_group = 1;
    if (!c->topk_group) c->topk_group = 1;
    if (!c->balance_groups) c->balance_groups = c->n_group;
    if (!c->intermediate_size) c->intermediate_size = round_up(ceil_div(8 * c->hidden_size, 3), 32);
    if (!c->max_position_embeddings) c->max_position_embeddings = c->sequence_length;
    if (!c->vocab_size && !strcmp(c->tokenizer, "bytes")) c->vocab_size = TOKENIZER_BYTES_SIZE;
}

static bool check_attention(const Config *c, Error *error) {
    if (c->num_key_value_heads != c->num_attention_heads)
        return bad(
            error, c, "model.num_key_value_heads",
            "num_key_value_heads %lld is not num_attention_heads %lld: latent attention has no shared heads; set "
            "them equal, or num_key_value_heads to 0",
            N(c->num_key_value_heads), N(c->num_attention_heads));
    if (c->qk_rope_head_dim % 2)
        return bad(error, c, "model.qk_rope_head_dim",
                   "qk_rope_head_dim %lld is odd, but rotary positions turn pairs; make it even",
                   N(c->qk_rope_head_dim));
    if (c->tie_word_embeddings)
        return bad(error, c, "model.tie_word_embeddings",
                   "tie_word_embeddings must be false: the family has its own head");
    if (c->attention_bias)
        return bad(error, c, "model.attention_bias", "attention_bias must be false: the family has no biases");
    return true;
}

static bool check_rope(const Config *c, Error *error) {
    if (strcmp(c->rope_type, "yarn")) return true;
    if (!origin(c, "model.rope_scaling.factor"))
        return bad(error, c, "model.rope_scaling.type", "rope_scaling of type yarn needs a factor; write factor: 40");
    if (c->rope_theta <= 1)
        return bad(error, c, "model.rope_theta", "rope_theta %g leaves yarn nothing to scale; it must be above 1",
                   c->rope_theta);
    if (c->rope_beta_slow <= 0 || c->rope_beta_fast <= c->rope_beta_slow)
        return bad(error, c, "model.rope_scaling.beta_fast",
                   "beta_fast %g must be above beta_slow %g, and both above 0", c->rope_beta_fast, c->rope_beta_slow);
    return true;
}

static bool check_experts(const Config *c, Error *error) {
    if (c->num_experts_per_tok < 1)
        return bad(error, c, "model.n_routed_experts",
                   "n_routed_experts is %lld and num_experts_per_tok is not set; say how many experts a token uses",
                   N(c->n_routed_experts));
    if (c->num_experts_per_tok > c->n_routed_experts)
        return bad(error, c, "model.num_experts_per_tok",
                   "num_experts_per_tok %lld is more than n_routed_experts %lld; lower it", N(c->num_experts_per_tok),
                   N(c->n_routed_experts));
    if (!c->moe_intermediate_size)
        return bad(error, c, "model.n_routed_experts",
                   "n_routed_experts is %lld and moe_intermediate_size is not set; say how wide an expert is",
                   N(c->n_routed_experts));
    return true;
}

static bool check_groups(const Config *c, Error *error) {
    bool limited = !strcmp(c->topk_method, "group_limited_greedy");
    if (c->n_routed_experts % c->n_group)
        return bad(error, c, "model.n_group",
                   "n_group %lld does not divide n_routed_experts %lld; groups are equal blocks of experts",
                   N(c->n_group), N(c->n_routed_experts));
    if (c->topk_group > c->n_group)
        return bad(error, c, "model.topk_group", "topk_group %lld is more than n_group %lld; lower it",
                   N(c->topk_group), N(c->n_group));
    int64_t allowed = c->topk_group * (c->n_routed_experts / c->n_group);
    if (limited && c->num_experts_per_tok > allowed)
        return bad(
            error, c, "model.num_experts_per_tok",
            "num_experts_per_tok %lld is more than the %lld experts of topk_group %lld groups; raise topk_group "
            "or lower num_experts_per_tok",
            N(c->num_experts_per_tok), N(allowed), N(c->topk_group));
    return true;
}

/* What balance losses and dropping need; a coefficient that can have no effect is a mistake. */
static bool check_balance(const Config *c, Error *error) {
    if (c->n_routed_experts % c->balance_groups)
        return bad(
            error, c, "balance.balance_groups",
            "balance_groups %lld does not divide n_routed_experts %lld; device groups are equal blocks of experts",
            N(c->balance_groups), N(c->n_routed_experts));
    bool alone = c->balance_groups == 1;
    const char *more = "set balance_groups (or n_group) above 1, or the alpha to 0";
    if (alone && c->communication_loss_alpha > 0)
        return bad(error, c, "balance.communication_loss_alpha",
                   "communication_loss_alpha %g can have no effect: with one group every token is sent to it; %s",
                   c->communication_loss_alpha, more);
    if (alone && c->device_loss_alpha > 0)
        return bad(error, c, "balance.device_loss_alpha",
                   "device_loss_alpha %g can have no effect: with one group the device loss is constant and has no "
                   "gradient; %s",
                   c->device_loss_alpha, more);
    if (alone && c->token_dropping && c->capacity_factor >= 1)
        return bad(
            error, c, "balance.token_dropping",
            "token_dropping can have no effect: one group with capacity_factor %g has room for every token; set "
            "balance_groups above 1 or token_dropping to false",
            c->capacity_factor);
    return true;
}

static bool check_dense(const Config *c, Error *error) {
    static const char *const idle[] = {"balance.communication_loss_alpha", "balance.device_loss_alpha"};
    const double alpha[] = {c->communication_loss_alpha, c->device_loss_alpha};
    for (int i = 0; i < 2; i++)
        if (alpha[i] > 0)
            return bad(error, c, idle[i],
                       "%s %g can have no effect: n_routed_experts is 0, a dense model; set it to 0", idle[i],
                       alpha[i]);
    if (c->token_dropping)
        return bad(error, c, "balance.token_dropping",
                   "token_dropping can have no effect: n_routed_experts is 0, a dense model; set it to false");
    return true;
}

static bool check_vocabulary(const Config *c, Error *error) {
    if (!c->vocab_size)
        return bad(error, c, "model.vocab_size",
                   "vocab_size is not set and only tokenizer bytes has a known one; set it");
    const int64_t ids[] = {c->bos_token_id, c->eos_token_id};
    static const char *const paths[] = {"model.bos_token_id", "model.eos_token_id"};
    for (int i = 0; i < 2; i++)
        if (ids[i] >= c->vocab_size)
            return bad(error, c, paths[i], "%s %lld is not below vocab_size %lld", paths[i] + strlen("model."),
                       N(ids[i]), N(c->vocab_size));
    return true;
}

/* In floating point, before anyone multiplies the sizes as integers. */
static bool check_size(const Config *c, Error *error) {
    double hidden = (double)c->hidden_size, heads = (double)c->num_attention_heads,
           layers = (double)c->num_hidden_layers;
    double head = (double)(c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim);
    double attention = (hidden + (double)(c->q_lora_rank + c->kv_lora_rank)) * heads * head +
                       hidden * (double)(c->q_lora_rank + c->kv_lora_rank + c->qk_rope_head_dim);
    double experts = (double)(c->n_routed_experts + c->n_shared_experts) * (double)c->moe_intermediate_size;
    double layer =
        attention + 3 * hidden * (experts + (double)c->intermediate_size) + hidden * (double)c->n_routed_experts;
    double total = 2 * (double)c->vocab_size * hidden + layers * layer;
    if (total < 1e13) return true;
    return bad(error, c, "model.hidden_size",
               "these sizes make a model of about %.2g parameters; this program stops at 1e13: check hidden_size, "
               "num_hidden_layers, n_routed_experts and moe_intermediate_size",
               total);
}

static void warn_model(const Config *c, char **warnings) {
    char at[256];
    bool limited = !strcmp(c->topk_method, "group_limited_greedy");
    if (c->n_routed_experts && !config_moe_layers(c))
        text_add(warnings,
                 "%s: n_routed_experts is %lld, but first_k_dense_replace %lld and moe_layer_freq %lld leave no "
                 "layer with experts\n",
                 place(c, "model.n_routed_experts", at), N(c->n_routed_experts), N(c->first_k_dense_replace),
                 N(c->moe_layer_freq));
    if (c->n_routed_experts && c->n_group > 1 && !limited)
        text_add(warnings,
                 "%s: n_group %lld with topk_method greedy: topk_group limits nothing; write "
                 "group_limited_greedy to limit it\n",
                 place(c, "model.n_group", at), N(c->n_group));
}

bool validate_model(Config *c, char **warnings, Error *error) {
    derive_model(c);
    bool ok = check_attention(c, error) && check_rope(c, error) && check_vocabulary(c, error) && check_size(c, error);
    if (ok && c->n_routed_experts)
        ok = check_experts(c, error) && check_groups(c, error) && check_balance(c, error);
    else if (ok)
        ok = check_dense(c, error);
    if (ok) warn_model(c, warnings);
    return ok;
}

/* -- layout ---------------------------------------------------------------------------------- */

bool validate_layout(Config *c, int ranks, Error *error) {
    int64_t n = ranks ? ranks : c->ep, divisor;
    if (n % c->ep)
        return bad(
            error, c, "layout.ep",
            "layout.ep %lld does not divide %lld rank%s; start with -n %lld (or a multiple), or set layout.ep=1",
            N(c->ep), N(n), n == 1 ? "" : "s", N(c->ep));
    if (!c->n_routed_experts && c->ep > 1)
        return bad(error, c, "layout.ep", "layout.ep %lld: a dense model has no experts to share; set layout.ep=1",
                   N(c->ep));
    for (divisor = c->ep; c->n_routed_experts % divisor;) divisor--;
    if (divisor != c->ep)
        return bad(
            error, c, "layout.ep",
            "layout.ep %lld does not divide n_routed_experts %lld: ranks hold equal numbers of experts; %lld would",
            N(c->ep), N(c->n_routed_experts), N(divisor));
    if (c->micro_batch_size > c->global_batch_size)
        return bad(error, c, "micro_batch_size",
                   "micro_batch_size %lld is more than global_batch_size %lld; lower it", N(c->micro_batch_size),
                   N(c->global_batch_size));
    if (!c->micro_batch_size) c->micro_batch_size = min_i64(MAX_MICRO_BATCH, max_i64(1, c->global_batch_size / n));
    return true;
}

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
    const bool said_now = origin(c, one)->override > 0;
    const char *keep = said_now ? one : two, *remove = said_now ? two : one;
    char at[256];
    return bad(error, c, keep,
               "%s and %s (%s) are both set, and only one can say how long to train; take the other back "
               "with %s=null",
               keep, remove, place(c, remove, at), remove);
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
                   N(c->sequence_length), N(c->max_position_embeddings));
    return true;
}

static bool check_ramp(const Config *c, Error *error) {
    if (!c->batch_ramp_start != !c->batch_ramp_tokens)
        return bad(error, c, c->batch_ramp_start ? "batch_ramp.start" : "batch_ramp.tokens",
                   "batch_ramp needs both start and tokens; set the other, or remove this one");
    if (c->batch_ramp_start > c->global_batch_size)
        return bad(error, c, "batch_ramp.start",
                   "batch_ramp.start %lld is more than global_batch_size %lld, to which the batch grows",
                   N(c->batch_ramp_start), N(c->global_batch_size));
    double steps =
        (double)c->batch_ramp_tokens / ((double)max_i64(c->batch_ramp_start, 1) * (double)c->sequence_length);
    if (steps > MAX_RAMP_STEPS)
        return bad(error, c, "batch_ramp.tokens", "batch_ramp.tokens %lld takes over %d steps; lower it",
                   N(c->batch_ramp_tokens), MAX_RAMP_STEPS);
    if (c->tokens && c->batch_ramp_tokens > c->tokens)
        return bad(error, c, "batch_ramp.tokens", "batch_ramp.tokens %lld is more than the %lld tokens of the run",
                   N(c->batch_ramp_tokens), N(c->tokens));
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

static bool check_schedule(const Config *c, Error *error) {
    int64_t steps = c->epochs > 0 ? INT64_MAX : config_steps(c, 0);
    if (c->warmup_steps >= steps)
        return bad(error, c, "warmup_steps", "warmup_steps %lld is not below the %lld steps of the run; lower it",
                   N(c->warmup_steps), N(steps));
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

/* Where a key of a data set was said, or else any of its keys. */
static const char *set_place(const Config *c, int set, const char *key, char to[256]) {
    const Node *const *origins = c->origins->data[set], *node = origins[data_key_find(key) - data_keys];
    for (int k = 0; k < DATA_KEY_COUNT && !node; k++) node = origins[k];
    if (node) return node_place(node, to);
    snprintf(to, 256, "%.255s", *c->file ? c->file : "config");
    return to;
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
    for (int i = 0; i < mix->count && shares; i++)
        if (mix->value[i] <= 0)
            return bad(error, c, "mix", "mix: the share of '%.60s' is %g; shares are above 0", mix->name[i],
                       mix->value[i]);
    if (shares && fabs(sum - 1) > 1e-6)
        return bad(error, c, "mix", "mix: the shares sum to %g; make them sum to 1", sum);
    return true;
}

static bool check_sets(const Config *c, char **warnings, Error *error) {
    char at[256];
    for (int i = 0; i < c->n_data; i++) {
        const DataSet *set = &c->data[i];
        bool used = false;
        if (!*set->path)
            return fail(error, "%s: data.%s has no path; say where its files are", set_place(c, i, "path", at),
                        set->name);
        if (set->validation >= 1 && set->validation != floor(set->validation))
            return fail(error, "%s: data.%s.validation %g is neither a share below 1 nor a whole number of tokens",
                        set_place(c, i, "validation", at), set->name, set->validation);
        for (int m = 0; m < c->mix.count; m++) used |= !strcmp(c->mix.name[m], set->name);
        if (!used && !c->synthetic_data)
            text_add(warnings, "%s: data.%s is not in mix; nothing uses it\n", set_place(c, i, "path", at),
                     set->name);
    }
    return true;
}

static bool check_data(const Config *c, char **warnings, Error *error) {
    if (!c->synthetic_data && !c->mix.count)
        return bad(error, c, "mix", "mix is not set; name the data sets to train on, such as `mix: [%s]`",
                   c->n_data ? c->data[0].name : "NAME");
    if (!c->synthetic_data && !strcmp(c->tokenizer, "bytes") && c->vocab_size < TOKENIZER_BYTES_SIZE)
        return bad(error, c, "model.vocab_size",
                   "vocab_size %lld is less than the %d tokens of tokenizer bytes; raise it", N(c->vocab_size),
                   TOKENIZER_BYTES_SIZE);
    return check_mix(c, error) && check_sets(c, warnings, error);
}

/* -- keys that another key switches off ------------------------------------------------------ */

static bool has_validation(const Config *c) {
    for (int i = 0; i < c->n_data; i++)
        if (c->data[i].validation > 0 && !c->synthetic_data) return true;
    return false;
}

static bool is_said(const Config *c, const char *path) {
    const Key *key = key_find(path);
    const Node *node = origin(c, path);
    Value value;
    if (!node || (node->file && !node->line)) return false; /* published files hold idle fields */
    value_default(key, &value, &c->origins->pool);
    char *now = value_format(key, key_value(key, c)), *usual = value_format(key, &value);
    bool said = strcmp(now, usual) != 0;
    free(now);
    free(usual);
    return said;
}

/* On the command line somebody just asked for it: an error. In a file it may serve a variant: a warning. */
static bool report_idle(const Config *c, const char *path, const char *needs, char **warnings, Error *error) {
    char at[256];
    if (!is_said(c, path)) return true;
    if (origin(c, path)->override) return bad(error, c, path, "%s has no effect without %s", path, needs);
    text_add(warnings, "%s: %s has no effect without %s\n", place(c, path, at), path, needs);
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
        {"eval_steps", has_validation(c), "validation in a data set"},
        {"eval_tokens", has_validation(c), "validation in a data set"},
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
                 "%s: global_batch_size %lld makes %lld micro-batches of %lld for %lld ranks; %lld ranks have "
                 "no sequences\n",
                 place(c, "global_batch_size", at), N(c->global_batch_size), N(micro_batches), N(c->micro_batch_size),
                 N(n), N(n - micro_batches));
}

static bool validate_run(Config *c, char **warnings, Error *error) {
    return check_start(c, error) && check_length(c, error) && check_ramp(c, error) && check_schedule(c, error) &&
           check_data(c, warnings, error) && check_idle(c, warnings, error);
}

bool config_validate(Config *c, int ranks, char **warnings, Error *error) {
    if (!validate_model(c, warnings, error) || !validate_layout(c, ranks, error) || !validate_run(c, warnings, error))
        return false;
    warn_idle_ranks(c, ranks ? ranks : c->ep, warnings);
    return true;
}
