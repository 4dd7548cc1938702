/* hf.c - a Hugging Face config.json as the `model:` section of a configuration.
 *
 * Taken as published: fields that mean nothing here are ignored, unknown ones are named in a
 * warning, absent ones get the defaults of the published configuration class (not ours), and what
 * would need another graph is refused. Both spellings of rotary positions are read: rope_scaling
 * with `type` or `rope_type`, and rope_parameters. */
#include "configs/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "configs/json_text.h"

typedef struct {
    Pool *pool;
    const char *path;
    Node *model;
    char **warnings;
    Error *error;
} Hf;

static const char ignored_fields[] =
    "_attn_implementation _attn_implementation_autoset _name_or_path add_cross_attention architectures "
    "attn_implementation auto_map bad_words_ids begin_suppress_tokens chunk_size_feed_forward cross_attention_hidden_size "
    "decoder_start_token_id diversity_penalty do_sample dtype early_stopping encoder_no_repeat_ngram_size ep_size "
    "exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id head_dim id2label "
    "is_decoder is_encoder_decoder label2id length_penalty max_length min_length model_type moe_implementation "
    "no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions output_hidden_states "
    "output_router_logits output_scores pad_token_id prefix pretraining_tp problem_type pruned_heads qk_head_dim "
    "remove_invalid_values repetition_penalty return_dict return_dict_in_generate sep_token_id suppress_tokens "
    "task_specific_params temperature tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torch_dtype "
    "torchscript transformers_version typical_p unsloth_version use_bfloat16 use_cache";

static const char required_fields[] =
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
    "kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim";

/* null in these means "none" (in the others it would be a hole). */
static const char nullable_fields[] = "q_lora_rank n_routed_experts n_shared_experts num_experts_per_tok "
                                      "moe_intermediate_size n_group topk_group num_key_value_heads bos_token_id "
                                      "eos_token_id";

/* What the published class takes for an absent field, where keys.def says something else. */
static const struct {
    const char *field, *value;
} class_defaults[] = {
    {"q_lora_rank", "1536"},        {"n_routed_experts", "0"}, {"n_shared_experts", "0"},
    {"first_k_dense_replace", "0"}, {"moe_layer_freq", "1"},   {"norm_topk_prob", "false"},
    {"aux_loss_alpha", "0.001"},    {"seq_aux", "true"},       {"max_position_embeddings", "2048"},
    {"initializer_range", "0.02"},  {"rope_theta", "10000"},   {"rms_norm_eps", "1e-6"},
};

static void add_text(const Hf *hf, Node *map, const char *key, const char *text, bool plain) {
    Node origin = {.file = hf->path};
    node_append(map, node_scalar(hf->pool, pool_format(hf->pool, "%s", key), pool_format(hf->pool, "%s", text), plain,
                                 &origin));
}

static void add_real(const Hf *hf, Node *map, const char *key, double value) {
    char *text = NULL;
    text_add_real(&text, value);
    if (!strpbrk(text, ".e")) text_add(&text, ".0"); /* 64.0 stays no whole number */
    add_text(hf, map, key, text, true);
    free(text);
}

static bool add_value(const Hf *hf, Node *map, const char *key, const json_t *value) {
    char text[32];
    switch (json_typeof(value)) {
    case JSON_TRUE: add_text(hf, map, key, "true", true); return true;
    case JSON_FALSE: add_text(hf, map, key, "false", true); return true;
    case JSON_STRING: add_text(hf, map, key, json_string_value(value), false); return true;
    case JSON_REAL: add_real(hf, map, key, json_real_value(value)); return true;
    case JSON_INTEGER:
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        add_text(hf, map, key, text, true);
        return true;
    default: return fail(hf->error, "%s: %s must be a single value", hf->path, key);
    }
}

/* -- rotary positions ------------------------------------------------------------------------ */

/* type or rope_type; both may be there when they agree. *type stays NULL when neither is. */
static bool rope_type(const Hf *hf, const json_t *rope, const char *field, const char **type) {
    const json_t *old = json_object_get(rope, "type"), *new = json_object_get(rope, "rope_type");
    if ((old && !json_is_string(old)) || (new && !json_is_string(new)))
        return fail(hf->error, "%s: %s.%s must be text", hf->path, field, old ? "type" : "rope_type");
    if (old && new &&strcmp(json_string_value(old), json_string_value(new)))
        return fail(hf->error, "%s: %s has type \"%.40s\" and rope_type \"%.40s\"; keep the right one", hf->path,
                    field, json_string_value(old), json_string_value(new));
    *type = json_string_value(old ? old : new);
    if (*type && strcmp(*type, "yarn") && strcmp(*type, "default"))
        return fail(hf->error, "%s: %s of type \"%.40s\" is not supported; the family uses yarn, or none", hf->path,
                    field, *type);
    return true;
}

static bool rope_field(const Hf *hf, Node *scaling, const char *field, const char *name, const json_t *value) {
    char path[128];
    snprintf(path, sizeof path, "model.rope_scaling.%.80s", name);
    if (!strcmp(name, "type") || !strcmp(name, "rope_type") || json_is_null(value)) return true;
    if (!strcmp(name, "rope_theta")) return node_find(hf->model, name) || add_value(hf, hf->model, name, value);
    if (!strcmp(name, "attention_factor"))
        return fail(hf->error,
                    "%s: %s.attention_factor is not supported: the amplitude follows from mscale and "
                    "mscale_all_dim; remove it",
                    hf->path, field);
    if (!strcmp(name, "truncate") && !json_is_true(value))
        return fail(hf->error,
                    "%s: %s.truncate false is not supported: the family was trained with whole correction "
                    "bounds",
                    hf->path, field);
    if (key_find(path)) return add_value(hf, scaling, name, value);
    if (strcmp(name, "truncate"))
        text_add(hf->warnings, "%s: %s.%.60s is unknown and ignored\n", hf->path, field, name);
    return true;
}

static bool read_rope(const Hf *hf, const json_t *rope, const char *field) {
    const char *type = NULL, *name;
    json_t *value;
    if (!rope || json_is_null(rope)) return true;
    if (!json_is_object(rope)) return fail(hf->error, "%s: %s must be an object or null", hf->path, field);
    if (!rope_type(hf, rope, field, &type)) return false;
    bool yarn = type && !strcmp(type, "yarn");
    if (!type && json_object_get(rope, "factor"))
        return fail(hf->error, "%s: %s has a factor and no type; add \"type\": \"yarn\"", hf->path, field);
    if (yarn && !json_is_number(json_object_get(rope, "factor")))
        return fail(hf->error, "%s: %s is yarn without a factor; add it", hf->path, field);
    Node origin = {.file = hf->path};
    Node *scaling = node_new(hf->pool, NODE_MAP, "rope_scaling", &origin);
    if (yarn) add_text(hf, scaling, "type", "yarn", true);
    json_object_foreach((json_t *)rope, name, value) {
        bool is_yarn_field = strcmp(name, "rope_theta") && strcmp(name, "type") && strcmp(name, "rope_type");
        if ((yarn || !is_yarn_field) && !rope_field(hf, scaling, field, name, value)) return false;
    }
    if (yarn) node_append(hf->model, scaling);
    return true;
}

static bool read_positions(const Hf *hf, const json_t *root) {
    const json_t *old = json_object_get(root, "rope_scaling"), *new = json_object_get(root, "rope_parameters");
    if (old && new && !json_is_null(old) && !json_is_null(new) && !json_equal(old, new))
        return fail(hf->error, "%s: rope_scaling and rope_parameters say different things; keep one", hf->path);
    const json_t *theta = json_object_get(root, "rope_theta"), *inner = json_object_get(new, "rope_theta");
    if (theta && inner && json_number_value(theta) != json_number_value(inner))
        return fail(hf->error, "%s: rope_theta is %g, and %g in rope_parameters; keep one", hf->path,
                    json_number_value(theta), json_number_value(inner));
    bool use_new = new && !json_is_null(new);
    return read_rope(hf, use_new ? new : old, use_new ? "rope_parameters" : "rope_scaling");
}

/* -- the rest -------------------------------------------------------------------------------- */

static bool is_supported(const Hf *hf, const json_t *root) {
    const json_t *type = json_object_get(root, "model_type");
    if (!json_is_string(type))
        return fail(hf->error, "%s: has no model_type; a model of this family says \"deepseek_v2\"", hf->path);
    if (strcmp(json_string_value(type), "deepseek_v2"))
        return fail(hf->error, "%s: model_type is \"%.60s\"; only deepseek_v2 can be read", hf->path,
                    json_string_value(type));
    const json_t *quantization = json_object_get(root, "quantization_config");
    if (quantization && !json_is_null(quantization))
        return fail(hf->error, "%s: has a quantization_config; quantised weights are not read, take the bf16 model",
                    hf->path);
    const json_t *bias = json_object_get(root, "mlp_bias");
    if (bias && !json_is_false(bias) && !json_is_null(bias))
        return fail(hf->error, "%s: mlp_bias must be false: the family has no biases", hf->path);
    return true;
}

static bool read_field(const Hf *hf, const char *name, const json_t *value) {
    char path[128];
    snprintf(path, sizeof path, "model.%.100s", name);
    bool special = !strcmp(name, "quantization_config") || !strcmp(name, "mlp_bias") ||
                   !strcmp(name, "rope_scaling") || !strcmp(name, "rope_parameters");
    if (special || node_find(hf->model, name) || word_in_list(name, ignored_fields)) return true;
    if (!key_find(path)) {
        text_add(hf->warnings, "%s: %.60s is unknown and ignored\n", hf->path, name);
        return true;
    }
    if (!json_is_null(value)) {
        bool misspelt = json_is_string(value) && !strcmp(json_string_value(value), "gready"); /* as published */
        if (!misspelt) return add_value(hf, hf->model, name, value);
        add_text(hf, hf->model, name, "greedy", false);
    } else if (word_in_list(name, nullable_fields)) {
        bool is_id = strstr(name, "_token_id") != NULL;
        add_text(hf, hf->model, name, is_id ? "-1" : "0", true);
    } else {
        return fail(hf->error, "%s: %s is null; it needs a value", hf->path, name);
    }
    return true;
}

static bool read_fields(const Hf *hf, const json_t *root) {
    const char *name;
    json_t *value;
    if (!is_supported(hf, root) || !read_positions(hf, root)) return false;
    json_object_foreach((json_t *)root, name, value) if (!read_field(hf, name, value)) return false;
    for (const char *at = required_fields; *at;) {
        char field[64];
        size_t n = strcspn(at, " ");
        snprintf(field, sizeof field, "%.*s", (int)n, at);
        if (!node_find(hf->model, field)) return fail(hf->error, "%s: has no %s", hf->path, field);
        at += n + strspn(at + n, " ");
    }
    for (size_t i = 0; i < sizeof class_defaults / sizeof *class_defaults; i++)
        if (!node_find(hf->model, class_defaults[i].field))
            add_text(hf, hf->model, class_defaults[i].field, class_defaults[i].value, true);
    return true;
}

Node *hf_parse_config(Pool *pool, const char *text, int64_t bytes, const char *path, char **warnings, Error *error) {
    json_error_t why;
    json_t *root = json_text(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        fail(error, "%s:%d: not valid JSON: %s", path, why.line, why.text);
        return NULL;
    }
    Node origin = {.file = pool_format(pool, "%s", path)};
    Node *top = node_new(pool, NODE_MAP, NULL, &origin);
    Hf hf = {pool, origin.file, node_new(pool, NODE_MAP, "model", &origin), warnings, error};
    node_append(top, hf.model);
    bool ok = json_is_object(root) ? read_fields(&hf, root) : fail(error, "%s: must be a JSON object", path);
    json_decref(root);
    return ok ? top : NULL;
}

Node *hf_read_config(Pool *pool, const char *path, char **warnings, Error *error) {
    struct stat info;
    int64_t bytes;
    if (!stat(path, &info) && !S_ISREG(info.st_mode)) /* a pipe would be waited for */
        return fail(error, "%s: is not a plain file", path), NULL;
    char *text = file_read(pool, path, &bytes, error);
    return text ? hf_parse_config(pool, text, bytes, path, warnings, error) : NULL;
}
