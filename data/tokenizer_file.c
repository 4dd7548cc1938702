#include "data/tokenizer_file.h"

#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/disk.h"

enum { MOST_BYTES = 64 << 20, MOST_CONFIG_BYTES = 4 << 20 };

static json_t *parse_json(const char *text, int64_t bytes, const char *name, Error *error) {
    json_error_t why;
    json_t *json = json_text(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!json) return fail(error, "%s:%d: not JSON: %.160s", name, why.line, why.text), NULL;
    if (json_is_object(json)) return json;
    json_decref(json);
    return fail(error, "%s is no JSON object", name), NULL;
}

/* -- parts of a tokenizer.json ------------------------------------------------------------------------- */

static bool one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(word, *list)) return true;
    return false;
}

static const char *type_of(const json_t *json) {
    const char *type = json_string_value(json_object_get(json, "type"));
    return type ? type : "of no type";
}

static bool read_normalizer(Normalizer *to, const json_t *json, int depth, Error *error) {
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD", NULL};
    const json_t *rest = json_object_get(json, "normalizers");
    bool ok = true;
    if (!json || json_is_null(json)) return true;
    for (int i = 0; forms[i]; i++) {
        if (strcmp(type_of(json), forms[i])) continue;
        if (*to != NORMALIZE_NOT) return fail(error, "normalizer has two Unicode forms, which is not known here");
        *to = (Normalizer)(NORMALIZE_NFC + i);
        return true;
    }
    if (strcmp(type_of(json), "Sequence") || depth > 4)
        return fail(error, "normalizer %.80s is not known here", type_of(json));
    for (size_t i = 0; ok && i < json_array_size(rest); i++)
        ok = read_normalizer(to, json_array_get(rest, i), depth + 1, error);
    return ok;
}

static bool known_decoder(const json_t *json, Error *error) {
    if (!json || json_is_null(json) || !strcmp(type_of(json), "ByteLevel")) return true;
    return fail(error, "decoder %.80s is not known here", type_of(json));
}

static bool is_null(const json_t *json, const char *key) {
    const json_t *value = json_object_get(json, key);
    return !value || json_is_null(value);
}

static bool known_parts(const json_t *json, Error *error) {
    static const char *const parts[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value) {
        if (!one_of(key, parts)) return fail(error, "\"%.80s\" is not known here", key);
    }
    if (!is_null(json, "truncation") || !is_null(json, "padding"))
        return fail(error, "truncation or padding is set, which would change every text; only null is known here");
    return true;
}

static bool ids_once(const AddedTokens *added, Error *error) {
    int32_t highest = 0;
    bool ok = true;
    for (int64_t i = 0; i < added->count; i++) highest = added->token[i].id > highest ? added->token[i].id : highest;
    char *seen = must_alloc(highest + 1, 1);
    for (int64_t i = 0; ok && i < added->count; i++) {
        const AddedToken *a = &added->token[i];
        if (seen[a->id]++) ok = fail(error, "added_tokens gives id %d twice, once to \"%.80s\"", a->id, a->text);
    }
    free(seen);
    return ok;
}

/* A token that the vocabulary has too has the id that it has there. */
static bool ids_agree(const AddedTokens *added, const Bpe *bpe, const json_t *vocabulary, Error *error) {
    for (int64_t i = 0, bytes; i < added->count; i++) {
        const AddedToken *a = &added->token[i];
        const json_t *id = json_object_get(vocabulary, a->text);
        if (id && json_integer_value(id) != a->id)
            return fail(error, "added_tokens gives \"%.80s\" id %d, and model.vocab gives it %lld", a->text, a->id,
                        (long long)json_integer_value(id));
        if (!id && bpe_token(bpe, a->id, &bytes))
            return fail(error, "added_tokens gives \"%.80s\" id %d, which is another token in model.vocab", a->text,
                        a->id);
    }
    return true;
}

static bool parse_added(TokenizerFile *t, const json_t *json, Error *error) {
    const json_t *vocabulary = json_object_get(json_object_get(json, "model"), "vocab");
    return added_tokens_read(&t->added, json_object_get(json, "added_tokens"), t->normalizer, error) &&
           ids_once(&t->added, error) && ids_agree(&t->added, t->bpe, vocabulary, error);
}

static int32_t id_of(const TokenizerFile *t, const char *text) {
    const AddedToken *a = added_tokens_find(&t->added, text);
    return a ? a->id : -1;
}

/* A name of the template; `ids` are what it stands for. */
static bool read_template_token(int32_t *id, const TokenizerFile *t, const json_t *special, const json_t *names,
                                Error *error) {
    const char *name = json_string_value(json_object_get(special, "id"));
    const json_t *ids = name ? json_object_get(json_object_get(names, name), "ids") : NULL;
    *id = name ? id_of(t, name) : -1;
    if (*id < 0) return fail(error, "post_processor adds \"%.80s\", which is no added token", name ? name : "");
    if (!ids || (json_array_size(ids) == 1 && json_integer_value(json_array_get(ids, 0)) == *id)) return true;
    return fail(error, "post_processor has other ids for \"%.80s\" than its own, %d, which is not known here", name,
                *id);
}

/* TemplateProcessing puts special tokens around a text: bos before it, eos after it, or nothing. */
static bool read_template(TokenizerFile *t, const json_t *json, Error *error) {
    const json_t *single = json_object_get(json, "single"), *names = json_object_get(json, "special_tokens");
    bool text = false;
    t->adds_bos = t->adds_eos = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i), *special = json_object_get(item, "SpecialToken");
        const char *sequence = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        bool *adds = text ? &t->adds_eos : &t->adds_bos;
        if (!special) {
            if (text || !sequence || strcmp(sequence, "A"))
                return fail(error, "post_processor TemplateProcessing has a part that is not known here");
            text = true;
            continue;
        }
        if (*adds) return fail(error, "post_processor adds several tokens on one side, which is not known here");
        if (!read_template_token(text ? &t->eos : &t->bos, t, special, names, error)) return false;
        *adds = true;
    }
    return text || fail(error, "post_processor TemplateProcessing has no place for the text");
}

static bool parse_post_processor(TokenizerFile *t, const json_t *json, Error *error) {
    const json_t *all = json_object_get(json, "processors");
    if (!json || json_is_null(json) || !strcmp(type_of(json), "ByteLevel")) return true;
    if (!strcmp(type_of(json), "TemplateProcessing")) return read_template(t, json, error);
    if (strcmp(type_of(json), "Sequence"))
        return fail(error, "post_processor %.80s is not known here", type_of(json));
    for (size_t i = 0, templates = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        if (!strcmp(type_of(one), "Sequence")) return fail(error, "post_processor has a Sequence within a Sequence");
        templates += !strcmp(type_of(one), "TemplateProcessing");
        if (templates > 1) return fail(error, "post_processor has two templates, which is not known here");
        if (!parse_post_processor(t, one, error)) return false;
    }
    return true;
}

static bool parse_parts(TokenizerFile *t, const json_t *json, Error *error) {
    if (!known_parts(json, error)) return false;
    if (!read_normalizer(&t->normalizer, json_object_get(json, "normalizer"), 0, error)) return false;
    if (!known_decoder(json_object_get(json, "decoder"), error)) return false;
    t->pretokenizer = pretokenizer_open(json_object_get(json, "pre_tokenizer"), error);
    if (!t->pretokenizer || !(t->bpe = bpe_open(json_object_get(json, "model"), error))) return false;
    if (!parse_added(t, json, error)) return false;
    t->bos = id_of(t, "<｜begin▁of▁sentence｜>");
    t->eos = id_of(t, "<｜end▁of▁sentence｜>");
    t->adds_bos = t->bos >= 0;
    return parse_post_processor(t, json_object_get(json, "post_processor"), error);
}

bool tokenizer_file_parse(TokenizerFile *t, const char *text, int64_t bytes, const char *name, Error *error) {
    Error part;
    *t = (TokenizerFile){.path = must_strdup(name), .bos = -1, .eos = -1};
    json_t *json = parse_json(text, bytes, name, error);
    bool ok = json && (parse_parts(t, json, &part) || fail(error, "%s: %s", name, part.text));
    json_decref(json);
    if (!ok) return tokenizer_file_free(t), false;
    t->hash = hash_bytes(text, bytes);
    return true;
}

/* -- tokenizer_config.json ------------------------------------------------------------------------------- */

/* "bos_token": "<s>", or an object with its content, or null. */
static bool read_special(int32_t *id, const TokenizerFile *t, const json_t *json, const char *key, Error *error) {
    const json_t *value = json_object_get(json, key);
    const char *text = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    if (!value) return true;
    *id = -1;
    if (json_is_null(value)) return true;
    if (!text) return fail(error, "%s is no text", key);
    if ((*id = id_of(t, text)) >= 0) return true;
    return fail(error, "%s is \"%.80s\", which is not among the added tokens of %s", key, text, t->path);
}

static bool apply_config(TokenizerFile *t, const json_t *json, Error *error) {
    if (!read_special(&t->bos, t, json, "bos_token", error) || !read_special(&t->eos, t, json, "eos_token", error) ||
        !json_flag(&t->adds_bos, json, "add_bos_token", error) ||
        !json_flag(&t->adds_eos, json, "add_eos_token", error))
        return false;
    t->adds_bos = t->adds_bos && t->bos >= 0;
    t->adds_eos = t->adds_eos && t->eos >= 0;
    return true;
}

static bool read_config(TokenizerFile *t, Error *error) {
    const char *slash = strrchr(t->path, '/');
    char *path = must_format("%.*stokenizer_config.json", slash ? (int)(slash - t->path + 1) : 0, t->path);
    int64_t bytes;
    Error part;
    bool there = disk_exists(path);
    char *text = there ? disk_read_file(path, MOST_CONFIG_BYTES, &bytes, error) : NULL;
    json_t *json = text ? parse_json(text, bytes, path, error) : NULL;
    bool ok = !there || (json && (apply_config(t, json, &part) || fail(error, "%s: %s", path, part.text)));
    json_decref(json);
    free(text);
    free(path);
    return ok;
}

bool tokenizer_file_read(TokenizerFile *t, const char *name, Error *error) {
    int64_t bytes;
    char *path = disk_is_folder(name) ? must_format("%s/tokenizer.json", name) : must_strdup(name);
    *t = (TokenizerFile){0};
    char *text = disk_read_file(path, MOST_BYTES, &bytes, error);
    bool ok = text && tokenizer_file_parse(t, text, bytes, path, error) && read_config(t, error);
    if (ok) {
        int32_t identity[] = {t->bos, t->eos, t->adds_bos, t->adds_eos};
        t->hash ^= hash_bytes(identity, sizeof identity);
    }
    if (!ok) tokenizer_file_free(t);
    free(text);
    free(path);
    return ok;
}

void tokenizer_file_free(TokenizerFile *t) {
    free(t->path);
    bpe_close(t->bpe);
    pretokenizer_close(t->pretokenizer);
    added_tokens_free(&t->added);
    *t = (TokenizerFile){0};
}
