/* hf_write.c - a config.json for the model of a Config.
 *
 * One that came from somewhere is changed as text, field by field and only where the model is no longer
 * what it says: fields that have no meaning here, their order and how numbers are spelled stay. */
#include "configs/keys.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* -- JSON text ------------------------------------------------------------------------------------ */

typedef struct {
    size_t begin, end; /* end 0: not there */
} Span;

static size_t skip_blanks(const char *text, size_t at) {
    while (text[at] && isspace((unsigned char)text[at])) at++;
    return at;
}

static size_t string_end(const char *text, size_t at) { /* at: its opening quote */
    for (at++; text[at] && text[at] != '"'; at++)
        if (text[at] == '\\' && text[at + 1]) at++;
    return text[at] ? at + 1 : at;
}

/* The value that begins at `at`, blanks behind it left out. */
static size_t value_end(const char *text, size_t at) {
    int depth = 0;
    size_t end = at;
    while (text[at] && (depth || !strchr(",}]", text[at]))) {
        if (strchr("{[", text[at])) depth++;
        if (strchr("}]", text[at])) depth--;
        at = text[at] == '"' ? string_end(text, at) : at + 1;
        if (!isspace((unsigned char)text[at - 1])) end = at;
    }
    return end;
}

/* The value of a field of the outermost object of a text that is valid JSON. */
static Span find_field(const char *text, const char *field) {
    size_t at = skip_blanks(text, 0) + 1, length = strlen(field);
    for (at = skip_blanks(text, at); text[at] == '"'; at = skip_blanks(text, at)) {
        size_t key = at + 1, key_end = string_end(text, at) - 1;
        at = skip_blanks(text, skip_blanks(text, key_end + 1) + 1); /* past the colon */
        Span value = {at, value_end(text, at)};
        if (key_end - key == length && !strncmp(text + key, field, length)) return value;
        at = skip_blanks(text, value.end);
        if (text[at] == ',') at++;
        at = skip_blanks(text, at);
    }
    return (Span){0};
}

static void replace(char **text, Span span, const char *with) {
    char *changed = must_format("%.*s%s%s", (int)span.begin, *text, with, *text + span.end);
    free(*text);
    *text = changed;
}

static void append(char **text, const char *field, const char *value) {
    size_t close = (size_t)(strrchr(*text, '}') - *text), last = close;
    while (last && isspace((unsigned char)(*text)[last - 1])) last--;
    char *member = must_format("%s\n  \"%s\": %s\n", (*text)[last - 1] == '{' ? "" : ",", field, value);
    replace(text, (Span){last, close}, member);
    free(member);
}

static void set_field(char **text, const char *field, const char *value) {
    Span span = find_field(*text, field);
    if (!span.end)
        append(text, field, value);
    else if (strlen(value) != span.end - span.begin || strncmp(*text + span.begin, value, strlen(value)))
        replace(text, span, value);
}

static bool is_set(const char *text, const char *field) {
    Span span = find_field(text, field);
    return span.end && strncmp(text + span.begin, "null", 4);
}

/* -- values --------------------------------------------------------------------------------------- */

static const char born[] = "{\n  \"architectures\": [\n    \"DeepseekV2ForCausalLM\"\n  ],\n"
                           "  \"model_type\": \"deepseek_v2\",\n  \"pretraining_tp\": 1,\n  \"use_cache\": true\n}\n";

/* 0 or -1 of these is no number but "none". */
static bool is_null(const char *field, const char *value) {
    static const char zero_is_none[] = "q_lora_rank n_routed_experts";
    return (!strcmp(value, "0") && word_in_list(field, zero_is_none)) ||
           (!strcmp(value, "-1") && word_in_list(field, "bos_token_id eos_token_id"));
}

/* As JSON. malloc'd. */
static char *json_value(const Key *key, const Config *c) {
    char *text = value_format(key, key_value(key, c)), *made = NULL;
    if (is_null(key_name(key), text))
        made = must_strdup("null");
    else if (type_is_text(key->type))
        made = must_format("\"%s\"", text); /* words of ours */
    else if (key->type == TYPE_REAL && !strpbrk(text, ".e"))
        made = must_format("%s.0", text);
    else
        return text;
    free(text);
    return made;
}

static bool same_value(const Key *key, const Config *a, const Config *b) {
    char *x = value_format(key, key_value(key, a)), *y = value_format(key, key_value(key, b));
    bool same = !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* The field of config.json that a key is; NULL for keys that are none, and for rotary positions. */
static const char *field_of(const Key *key) {
    const char *field = key->path + strlen("model.");
    return strncmp(key->path, "model.", strlen("model.")) || strchr(field, '.') ? NULL : field;
}

/* A dense model has experts in no layer, however a reader takes null; these say nothing then. */
static bool is_idle(const Config *c, const char *field) {
    return !c->n_routed_experts && word_in_list(field, "num_experts_per_tok moe_intermediate_size");
}

static void set_fields(char **text, const Config *c, const Config *source) {
    for (int i = 0; i < KEY_COUNT; i++) {
        const Key *key = &config_keys[i];
        const char *field = field_of(key);
        if (!field || (source ? same_value(key, source, c) : is_idle(c, field))) continue;
        if (!strcmp(field, "rope_theta") && is_set(*text, "rope_parameters")) continue; /* stands in there */
        char *value = json_value(key, c);
        set_field(text, field, value);
        free(value);
    }
    if (source || c->n_routed_experts) return;
    char *layers = must_format("%lld", (long long)c->num_hidden_layers);
    set_field(text, "first_k_dense_replace", layers);
    free(layers);
}

/* -- rotary positions ------------------------------------------------------------------------------ */

static bool same_rope(const Config *a, const Config *b) {
    if (strcmp(a->rope_type, b->rope_type)) return false;
    for (int i = 0; i < KEY_COUNT && !strcmp(a->rope_type, "yarn"); i++)
        if (!strncmp(config_keys[i].path, "model.rope_scaling.", 19) && !same_value(&config_keys[i], a, b))
            return false;
    return true;
}

/* As published (new false), or as rope_parameters of later versions. malloc'd. */
static char *rope_object(const Config *c, bool new) {
    bool yarn = !strcmp(c->rope_type, "yarn");
    char *text = NULL;
    if (!new && !yarn) return must_strdup("null");
    text_add(&text, "{\n    \"%s\": \"%s\"", new ? "rope_type" : "type", yarn ? "yarn" : "default");
    for (int i = 0; i < KEY_COUNT; i++) {
        const Key *key = &config_keys[i];
        bool scaling = !strncmp(key->path, "model.rope_scaling.", 19) && strcmp(key_name(key), "type");
        if (!(yarn && scaling) && !(new && !strcmp(key->path, "model.rope_theta"))) continue;
        char *value = json_value(key, c);
        text_add(&text, ",\n    \"%s\": %s", key_name(key), value);
        free(value);
    }
    text_add(&text, "\n  }");
    return text;
}

static void set_rope(char **text, const Config *c, const Config *source) {
    bool new = is_set(*text, "rope_parameters"), old = is_set(*text, "rope_scaling") || !new;
    if (source && same_rope(source, c) && (!new || source->rope_theta == c->rope_theta)) return;
    char *value = rope_object(c, new);
    if (new) set_field(text, "rope_parameters", value);
    if (old) set_field(text, "rope_scaling", value);
    free(value);
}

/* -- together -------------------------------------------------------------------------------------- */

static void set_dtype(char **text, const char *dtype) {
    char *value = must_format("\"%s\"", dtype);
    bool old = find_field(*text, "torch_dtype").end, new = find_field(*text, "dtype").end;
    if (new) set_field(text, "dtype", value);
    if (old || !new) set_field(text, "torch_dtype", value);
    free(value);
}

/* What was made reads back to the same model. */
static bool reads_back(const char *text, const Config *c, Error *error) {
    Config again;
    Error why;
    if (!config_from_hf_text(&again, text, "config.json", &why))
        return fail(error, "the new config.json cannot be read: %s", why.text);
    bool same = same_rope(&again, c) && again.rope_theta == c->rope_theta;
    for (int i = 0; same && i < KEY_COUNT; i++) {
        const char *field = field_of(&config_keys[i]);
        bool free_when_dense = !c->n_routed_experts && field && !strcmp(field, "first_k_dense_replace");
        if (field && !free_when_dense && !is_idle(c, field)) same = same_value(&config_keys[i], &again, c);
        if (!same) fail(error, "the new config.json does not say %s as it is", config_keys[i].path);
    }
    config_free(&again);
    return same;
}

char *config_to_hf(const Config *c, const char *source, const char *dtype, Error *error) {
    Config before;
    if (source && !config_from_hf_text(&before, source, "config.json", error)) return NULL;
    char *text = must_strdup(source ? source : born);
    set_fields(&text, c, source ? &before : NULL);
    set_rope(&text, c, source ? &before : NULL);
    if (dtype) set_dtype(&text, dtype);
    if (source) config_free(&before);
    if (reads_back(text, c, error)) return text;
    free(text);
    return NULL;
}
