/* config.c - from files and command line to one resolved Config.
 *
 * Every source is a tree of nodes; a list of such layers, weakest first, is merged into one tree,
 * whose values go through the key table. A stage or variant is one more layer. */
#include "configs/keys.h"
#include "configs/layers.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- unknown keys and wrong values, per layer, so that a mistake is named even where it is overridden ---- */

static bool check_entry(const Named *n, const Node *entry, Error *error) {
    char section[256];
    snprintf(section, sizeof section, "%s.%.200s", n->section, entry->key);
    for (const Node *item = entry->child; item; item = item->next) {
        const Key *key = named_key(n, item->key);
        Value value;
        if (!key) return key_unknown(item, section, item->key, error);
        if (!node_is_null(item) && !value_parse(key, item, &value, error)) return false;
    }
    return true;
}

static bool check_named(const Named *n, const Node *entries, Error *error) {
    char at[256];
    for (const Node *entry = entries->child; entry; entry = entry->next) {
        node_place(entry, at);
        if (entry->key[strspn(entry->key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ||
            !*entry->key || strlen(entry->key) > 64)
            return fail(error, "%s: '%.64s' cannot name %s; use up to 64 letters, digits, _ and -", at, entry->key,
                        n->entry);
        if (node_is_null(entry)) continue;
        if (entry->kind != NODE_MAP)
            return fail(error, "%s: %s.%.60s must be a mapping such as {path: text/*.txt}", at, n->section,
                        entry->key);
        if (!check_entry(n, entry, error)) return false;
    }
    return true;
}

static bool check_section(const Node *map, const char *section, Error *error) {
    char path[256], at[256];
    for (const Node *item = map->child; item; item = item->next) {
        Value value;
        snprintf(path, sizeof path, "%.120s%s%.120s", section, *section ? "." : "", item->key);
        if (!layer_key_is_known(item, section, error)) return false;
        const Key *key = key_find(path);
        bool is_section = key_is_section(path);
        if (!strcmp(path, "base")) continue;
        if (!key && !is_section) return key_unknown(item, section, item->key, error);
        if (node_is_null(item)) continue;
        if (key && !value_parse(key, item, &value, error)) return false;
        if (key) continue;
        if (item->kind != NODE_MAP)
            return fail(error, "%s: %s must be a mapping of keys, such as {key: value}", node_place(item, at), path);
        const Named *n = named_find(path);
        if (n ? !check_named(n, item, error) : !check_section(item, path, error)) return false;
    }
    return true;
}

bool layer_check(const Node *layer, Error *error) { return check_section(layer, "", error); }

/* -- from the merged tree to values ---------------------------------------------------------- */

static bool read_key(const Key *key, const Node *node, void *owner, const Node **origin, Pool *pool, Error *error) {
    *origin = node;
    if (node) return value_parse(key, node, key_slot(key, owner), error);
    value_default(key, key_slot(key, owner), pool);
    return true;
}

static bool read_entries(Config *c, const Named *n, const Node *entries, Error *error) {
    struct Origins *o = c->origins;
    int *count = (int *)((char *)c + n->count);
    char at[256];
    for (const Node *node = entries ? entries->child : NULL; node; node = node->next) {
        if (*count == CONFIG_MAX_SETS)
            return fail(error, "%s: more than %d entries in %s", node_place(node, at), CONFIG_MAX_SETS, n->section);
        int i = (*count)++;
        char *entry = (char *)c + n->first + (size_t)i * n->bytes;
        *(const char **)entry = node->key;
        for (int k = 0; k < n->keys; k++) {
            const Node *value = node_find(node, n->key[k].path);
            if (!read_key(&n->key[k], value, entry, &o->named[n - named][i][k], &o->pool, error)) return false;
        }
    }
    return true;
}

static bool read_values(Config *c, const Node *root, Error *error) {
    struct Origins *o = c->origins;
    for (int i = 0; i < KEY_COUNT; i++) {
        const Node *node = node_at(root, config_keys[i].path);
        if (!read_key(&config_keys[i], node, c, &o->key[i], &o->pool, error)) return false;
    }
    for (int i = 0; i < NAMED_COUNT; i++)
        if (!read_entries(c, &named[i], node_find(root, named[i].section), error)) return false;
    return true;
}

/* "learning_rate 5e-6 -> 1e-5 (cli)" for a key that has another value than without the command line. */
static void note_change(char **text, Config *c, const Key *key, const char *path, const Node *before,
                        const void *owner) {
    Value value;
    Error ignored;
    if (!before || !value_parse(key, before, &value, &ignored)) value_default(key, &value, &c->origins->pool);
    char *old = value_format(key, &value), *now = value_format(key, key_value(key, owner));
    if (strcmp(old, now)) text_add(text, "%s %s -> %s (cli)\n", path, *old ? old : "unset", *now ? now : "unset");
    free(old);
    free(now);
}

static void note_entries(char **text, Config *c, const Named *n, const Node *before) {
    char path[256];
    for (int i = 0; i < named_entries(n, c); i++)
        for (int k = 0; k < n->keys; k++) {
            snprintf(path, sizeof path, "%s.%.100s.%.100s", n->section, named_name(n, c, i), n->key[k].path);
            note_change(text, c, &n->key[k], path, node_at(before, path), named_entry(n, c, i));
        }
}

static void note_removed(char **text, const Named *n, const Node *before, const Node *root) {
    const Node *was = node_find(before, n->section), *is = node_find(root, n->section);
    for (const Node *entry = was ? was->child : NULL; entry; entry = entry->next)
        if (!node_find(is, entry->key)) text_add(text, "%s.%s removed (cli)\n", n->section, entry->key);
}

/* What the command line changed; before: without it. */
static void note_changes(Config *c, const Node *before, const Node *root) {
    char *text = must_strdup("");
    for (int i = 0; i < KEY_COUNT; i++)
        note_change(&text, c, &config_keys[i], config_keys[i].path, node_at(before, config_keys[i].path), c);
    for (int i = 0; i < NAMED_COUNT; i++) {
        note_entries(&text, c, &named[i], before);
        note_removed(&text, &named[i], before, root);
    }
    c->origins->changed = pool_format(&c->origins->pool, "%s", text);
    free(text);
}

static bool matches(const char *path) {
    glob_t found = {0};
    if (!access(path, F_OK)) return true; /* a name with [ or * of its own */
    bool any = !glob(path, 0, NULL, &found);
    globfree(&found);
    return any;
}

/* A path of data or of an evaluation is looked for beside the file that names it, beside the main file, and in the
 * working folder, in which all paths begin from here on. */
static void find_entry_path(Config *c, const Named *n, int i) {
    struct Origins *o = c->origins;
    const Key *key = named_key(n, "path");
    const Node *node = o->named[n - named][i][key - n->key];
    const char *files[] = {node ? node->file : NULL, c->file};
    char *entry = (char *)c + n->first + (size_t)i * n->bytes;
    for (int f = 0; node && f < 2; f++) {
        const char *beside = path_beside(&o->pool, files[f], node->text);
        if (beside == node->text || !matches(beside)) continue;
        *(const char **)key_slot(key, entry) = beside;
        return;
    }
}

static void find_entry_paths(Config *c) {
    for (int k = 0; k < NAMED_COUNT; k++)
        for (int i = 0; i < named_entries(&named[k], c); i++) find_entry_path(c, &named[k], i);
}

/* -- the ways in ----------------------------------------------------------------------------- */

static void layers_begin(Layers *l, Config *c, Error *error) {
    memset(c, 0, sizeof *c);
    c->origins = must_alloc(1, sizeof *c->origins);
    c->file = c->stage = c->folder = c->stand_in = c->origins->changed = "";
    *l = (Layers){.pool = &c->origins->pool, .error = error};
}

/* Merges the layers, weakest first, and reads the values. */
static bool layers_resolve(Layers *l, Config *c) {
    Node *before = layers_merge(l, l->n_files), *root = layers_merge(l, l->n);
    if (!read_values(c, root, l->error) || !layers_check_effect(l, before, root)) return false;
    note_changes(c, before, root);
    return true;
}

/* Hands the warnings over; frees a Config that did not come out whole. */
static bool layers_end(Layers *l, Config *c, bool ok, char **warnings) {
    if (warnings)
        *warnings = l->warnings ? l->warnings : must_strdup("");
    else
        free(l->warnings);
    if (!ok) config_free(c);
    return ok;
}

/* "" also where its name is not text that a dump could hold. */
static const char *working_folder(Pool *pool) {
    Error ignored;
    char *here = getcwd(NULL, 0), *quoted = text_quoted(here && *here == '/' ? here : "");
    const Node *node = yaml_parse(pool, quoted, (int64_t)strlen(quoted), NULL, &ignored);
    free(here);
    free(quoted);
    return node ? node->text : "";
}

bool config_load(Config *c, const char *file, const char *const *overrides, int n, int ranks, char **warnings,
                 Error *error) {
    Layers l;
    layers_begin(&l, c, error);
    c->file = pool_format(l.pool, "%s", file);
    c->folder = working_folder(l.pool);
    bool ok = layers_add_file(&l, c->file) && layers_add_overrides(&l, overrides, n) && layers_add_init_from(&l) &&
              layers_resolve(&l, c);
    if (ok && l.init_from) c->init_from = l.init_from;
    if (l.stand_in) c->stand_in = l.stand_in;
    if (ok) layers_find_tokenizer(&l);
    if (l.tokenizer) c->tokenizer = l.tokenizer;
    if (ok) find_entry_paths(c);
    ok = ok && config_validate(c, ranks, &l.warnings, error);
    return layers_end(&l, c, ok, warnings);
}

bool config_can_begin(const Config *c, Error *error) {
    char at[256];
    const Node *node = c->origins->key[key_find("init_from") - config_keys];
    return !*c->stand_in || fail(error, "%s: init_from %s does not exist", node_place(node, at), node->text);
}

/* Who only reads a model has no batch that a micro-batch could be too large for, unless that was said too. */
static void fit_batch(Config *c) {
    if (strcmp(config_origin(c, "global_batch_size"), "cli"))
        c->global_batch_size = max_i64(c->global_batch_size, c->micro_batch_size);
}

bool config_from_hf(Config *c, const char *path, const char *const *overrides, int n, int ranks, char **warnings,
                    Error *error) {
    Layers l;
    layers_begin(&l, c, error);
    bool ok = layers_add_model(&l, path) && layers_add_overrides(&l, overrides, n) && layers_resolve(&l, c);
    bool said = ok && strcmp(config_origin(c, "sequence_length"), "default");
    if (ok && !said && c->max_position_embeddings)
        c->sequence_length = min_i64(c->sequence_length, c->max_position_embeddings);
    if (ok) fit_batch(c);
    ok = ok && validate_model(c, &l.warnings, error) && validate_layout(c, ranks, error);
    return layers_end(&l, c, ok, warnings);
}

bool config_from_overrides(Config *c, const char *const *overrides, int n, Error *error) {
    Layers l;
    layers_begin(&l, c, error);
    return layers_end(&l, c, layers_add_overrides(&l, overrides, n) && layers_resolve(&l, c), NULL);
}

bool config_words_set(const char *const *overrides, int n, const char *path) {
    Config c;
    Layers l;
    Error ignored; /* is told when the words are read for good */
    layers_begin(&l, &c, &ignored);
    bool set = false;
    if (layers_add_overrides(&l, overrides, n))
        for (int i = 0; i < l.n; i++) set |= node_at(l.layer[i], path) != NULL;
    layers_end(&l, &c, false, NULL);
    return set;
}

bool config_from_hf_text(Config *c, const char *text, const char *path, Error *error) {
    Layers l;
    layers_begin(&l, c, error);
    bool ok = layers_add_hf_text(&l, text, path) && layers_resolve(&l, c) && validate_model(c, &l.warnings, error);
    return layers_end(&l, c, ok, NULL);
}

bool config_from_dump(Config *c, const char *text, const char *tokenizer, const char *const *overrides, int n,
                      int ranks, char **warnings, Error *error) {
    Layers l;
    layers_begin(&l, c, error);
    c->folder = dump_read_folder(l.pool, text);
    bool ok = layers_add_text(&l, text, "config of the checkpoint");
    if (ok && tokenizer) layers_add_tokenizer(&l, tokenizer);
    ok = ok && layers_add_overrides(&l, overrides, n) && layers_resolve(&l, c);
    if (ok && n) fit_batch(c);
    ok = ok && validate_model(c, &l.warnings, error) && validate_layout(c, ranks, error);
    return layers_end(&l, c, ok, warnings);
}

bool config_parse_dump(Config *c, const char *text, Error *error) {
    return config_from_dump(c, text, NULL, NULL, 0, 0, NULL, error);
}

void config_free(Config *c) {
    if (c->origins) pool_free(&c->origins->pool);
    free(c->origins);
    memset(c, 0, sizeof *c);
}
