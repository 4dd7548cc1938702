/* validate.c - rules across keys, each a sentence that says what to change; and the values that
 * follow from others where a key says 0.
 *
 * Here: shapes and maths, for any model that is read, and the layout against the number of ranks.
 * What training needs besides is in validate_run.c. */
#include "configs/validate.h"

#include <stdio.h>
#include <string.h>

#include "kernels/shapes.h"

const Node *key_origin(const Config *c, const char *path) {
    const Key *key = key_find(path);
    check(key, "no key is called %s", path);
    return c->origins->key[key - config_keys];
}

const char *key_place(const Config *c, const char *path, char to[256]) {
    const Node *node = key_origin(c, path);
    if (node) return node_place(node, to);
    snprintf(to, 256, "%.255s", *c->file ? c->file : "config");
    return to;
}

bool bad(Error *error, const Config *c, const char *path, const char *format, ...) {
    char at[256], text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(error, "%s: %s", key_place(c, path, at), text);
}

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
            LL(c->num_key_value_heads), LL(c->num_attention_heads));
    if (c->qk_rope_head_dim % 2)
        return bad(error, c, "model.qk_rope_head_dim",
                   "qk_rope_head_dim %lld is odd, but rotary positions turn pairs; make it even",
                   LL(c->qk_rope_head_dim));
    if (c->tie_word_embeddings)
        return bad(error, c, "model.tie_word_embeddings",
                   "tie_word_embeddings must be false: the family has its own head");
    if (c->attention_bias)
        return bad(error, c, "model.attention_bias", "attention_bias must be false: the family has no biases");
    if (attention_latent_floats(c->num_attention_heads, c->kv_lora_rank, c->qk_rope_head_dim) > LATENT_FLOATS_MOST)
        return bad(
            error, c, "model.kv_lora_rank",
            "kv_lora_rank %lld with %lld heads is more than attention over the cache has room for (512 with 512 "
            "heads fits)",
            LL(c->kv_lora_rank), LL(c->num_attention_heads));
    return true;
}

static bool check_rope(const Config *c, Error *error) {
    if (strcmp(c->rope_type, "yarn")) return true;
    if (!key_origin(c, "model.rope_scaling.factor"))
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
                   LL(c->n_routed_experts));
    if (c->num_experts_per_tok > c->n_routed_experts)
        return bad(error, c, "model.num_experts_per_tok",
                   "num_experts_per_tok %lld is more than n_routed_experts %lld; lower it",
                   LL(c->num_experts_per_tok), LL(c->n_routed_experts));
    if (!c->moe_intermediate_size)
        return bad(error, c, "model.n_routed_experts",
                   "n_routed_experts is %lld and moe_intermediate_size is not set; say how wide an expert is",
                   LL(c->n_routed_experts));
    return true;
}

static bool check_groups(const Config *c, Error *error) {
    bool limited = !strcmp(c->topk_method, "group_limited_greedy");
    if (c->n_routed_experts % c->n_group)
        return bad(error, c, "model.n_group",
                   "n_group %lld does not divide n_routed_experts %lld; groups are equal blocks of experts",
                   LL(c->n_group), LL(c->n_routed_experts));
    if (c->topk_group > c->n_group)
        return bad(error, c, "model.topk_group", "topk_group %lld is more than n_group %lld; lower it",
                   LL(c->topk_group), LL(c->n_group));
    int64_t allowed = c->topk_group * (c->n_routed_experts / c->n_group);
    if (limited && c->num_experts_per_tok > allowed)
        return bad(
            error, c, "model.num_experts_per_tok",
            "num_experts_per_tok %lld is more than the %lld experts of topk_group %lld groups; raise topk_group "
            "or lower num_experts_per_tok",
            LL(c->num_experts_per_tok), LL(allowed), LL(c->topk_group));
    return true;
}

/* What balance losses and dropping need; a coefficient that can have no effect is a mistake. */
static bool check_balance(const Config *c, Error *error) {
    if (c->n_routed_experts % c->balance_groups)
        return bad(
            error, c, "balance.balance_groups",
            "balance_groups %lld does not divide n_routed_experts %lld; device groups are equal blocks of experts",
            LL(c->balance_groups), LL(c->n_routed_experts));
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
    if (!c->vocab_size && c->synthetic_data)
        return bad(error, c, "model.vocab_size",
                   "vocab_size is not set, and with synthetic_data there is no tokenizer; set it");
    if (!c->vocab_size) return true; /* the tokenizer's size, known when it is opened */
    const int64_t ids[] = {c->bos_token_id, c->eos_token_id};
    static const char *const paths[] = {"model.bos_token_id", "model.eos_token_id"};
    for (int i = 0; i < 2; i++)
        if (ids[i] >= c->vocab_size)
            return bad(error, c, paths[i], "%s %lld is not below vocab_size %lld", paths[i] + strlen("model."),
                       LL(ids[i]), LL(c->vocab_size));
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
                 key_place(c, "model.n_routed_experts", at), LL(c->n_routed_experts), LL(c->first_k_dense_replace),
                 LL(c->moe_layer_freq));
    if (c->n_routed_experts && c->n_group > 1 && !limited)
        text_add(warnings,
                 "%s: n_group %lld with topk_method greedy: topk_group limits nothing; write "
                 "group_limited_greedy to limit it\n",
                 key_place(c, "model.n_group", at), LL(c->n_group));
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

/* Positions are 32-bit numbers within a micro-batch, and the plan writes a micro-batch of them. */
static bool check_tokens(const Config *c, Error *error) {
    int64_t micro = c->micro_batch_size * c->sequence_length, step = c->global_batch_size * c->sequence_length;
    if (micro > MAX_MICRO_TOKENS)
        return bad(error, c, "sequence_length",
                   "micro_batch_size %lld of sequence_length %lld is %lld tokens at once; at most %lld can be: lower "
                   "one of them",
                   LL(c->micro_batch_size), LL(c->sequence_length), LL(micro), LL(MAX_MICRO_TOKENS));
    if (step > MAX_STEP_TOKENS)
        return bad(error, c, "global_batch_size",
                   "global_batch_size %lld of sequence_length %lld is %lld tokens a step; at most %lld can be: lower "
                   "one of them",
                   LL(c->global_batch_size), LL(c->sequence_length), LL(step), LL(MAX_STEP_TOKENS));
    return true;
}

bool validate_layout(Config *c, int ranks, Error *error) {
    int64_t n = ranks ? ranks : c->ep, divisor;
    if (n % c->ep)
        return bad(
            error, c, "layout.ep",
            "layout.ep %lld does not divide %lld rank%s; start with -n %lld (or a multiple), or set layout.ep=1",
            LL(c->ep), LL(n), n == 1 ? "" : "s", LL(c->ep));
    if (!c->n_routed_experts && c->ep > 1)
        return bad(error, c, "layout.ep", "layout.ep %lld: a dense model has no experts to share; set layout.ep=1",
                   LL(c->ep));
    for (divisor = c->ep; c->n_routed_experts % divisor;) divisor--;
    if (divisor != c->ep)
        return bad(
            error, c, "layout.ep",
            "layout.ep %lld does not divide n_routed_experts %lld: ranks hold equal numbers of experts; %lld would",
            LL(c->ep), LL(c->n_routed_experts), LL(divisor));
    if (c->micro_batch_size > c->global_batch_size)
        return bad(error, c, "micro_batch_size",
                   "micro_batch_size %lld is more than global_batch_size %lld; lower it", LL(c->micro_batch_size),
                   LL(c->global_batch_size));
    if (!c->micro_batch_size) c->micro_batch_size = min_i64(MAX_MICRO_BATCH, max_i64(1, c->global_batch_size / n));
    return check_tokens(c, error);
}

bool config_validate(Config *c, int ranks, char **warnings, Error *error) {
    bool micro_derived = !c->micro_batch_size;
    return validate_model(c, warnings, error) && validate_layout(c, ranks, error) &&
           validate_run(c, ranks ? ranks : c->ep, micro_derived, warnings, error);
}
