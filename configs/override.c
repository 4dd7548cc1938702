/* override.c - `key=value` words of the command line as layers. */
#include "configs/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PATH = 256 };

/* Paths that end in the word, behind a dot. */
typedef struct {
    const char *word;
    char path[MAX_PATH];
    char *list;
    int count;
} Candidates;

static void offer(Candidates *c, const char *path) {
    size_t n = strlen(path), m = strlen(c->word);
    if (n <= m || path[n - m - 1] != '.' || strcmp(path + n - m, c->word)) return;
    if (!c->count++) snprintf(c->path, sizeof c->path, "%s", path);
    text_add(&c->list, "%s%s", c->list ? ", " : "", path);
}

static void offer_named(Candidates *c, const Named *n, const Node *entries) {
    char path[MAX_PATH];
    for (const Node *entry = entries ? entries->child : NULL; entry; entry = entry->next)
        for (int i = 0; i < n->keys; i++) {
            snprintf(path, sizeof path, "%s.%.100s.%s", n->section, entry->key, n->key[i].path);
            offer(c, path);
        }
}

static void offer_all(Candidates *c, const Node *files) {
    for (int i = 0; i < KEY_COUNT; i++) offer(c, config_keys[i].path);
    for (int i = 0; i < NAMED_COUNT; i++) offer_named(c, &named[i], node_find(files, named[i].section));
}

static bool unknown_word(const Node *at, const char *word, Error *error) {
    char section[MAX_PATH];
    snprintf(section, sizeof section, "%s", word);
    char *dot = strrchr(section, '.');
    if (dot) *dot = 0;
    return key_unknown(at, dot ? section : "", dot ? dot + 1 : word, error);
}

/* From what was typed to a full path: exact, or the one key that ends so. */
static bool find_path(const Node *files, const Node *at, const char *word, char path[MAX_PATH], Error *error) {
    Node first = *at;
    char start[MAX_PATH];
    snprintf(start, sizeof start, "%.*s", (int)strcspn(word, "."), word);
    first.key = start;
    if (!layer_key_is_known(&first, "", error)) return false;
    if (!strcmp(word, "base")) return fail(error, "command line: base can only be said in a file");
    if (key_find(word) || key_is_section(word) || named_find(word) || !strncmp(word, "mix.", 4)) {
        snprintf(path, MAX_PATH, "%s", word);
        return true;
    }
    Candidates c = {.word = word};
    offer_all(&c, files);
    bool ok = c.count == 1;
    if (ok) snprintf(path, MAX_PATH, "%s", c.path);
    if (c.count > 1) fail(error, "command line: '%s' may be any of %s; write one of them", word, c.list);
    if (!c.count) unknown_word(at, word, error);
    free(c.list);
    return ok;
}

/* The key that a path names; NULL for a section and for an entry of mix. */
static const Key *key_at(const char *path) {
    const Named *n = named_find(path);
    if (!n) return key_find(path);
    const char *name = strchr(path, '.'), *dot = name ? strchr(name + 1, '.') : NULL;
    return dot ? named_key(n, dot + 1) : NULL;
}

static void mark(Node *node, int number) {
    node->override = number;
    node->line = 0;
    for (Node *child = node->child; child; child = child->next) mark(child, number);
}

/* Nothing at all: what a variable of the shell leaves that is not set. */
static bool has_empty(const Node *node) {
    if (node->kind == NODE_SCALAR) return node->plain && !*node->text;
    for (const Node *child = node->child; child; child = child->next)
        if (has_empty(child)) return true;
    return false;
}

static bool refuse_empty(const char *path, const char *text, bool is_text, Error *error) {
    char *empty = is_text ? must_format(", %s='\"\"' for an empty text", path) : must_strdup("");
    fail(error, "command line: %s=%s says nothing; write %s=null for the default%s, or leave it out", path, text,
         path, empty);
    free(empty);
    return false;
}

/* Text and choices are taken as they stand, but for null and ""; all else is YAML ([0.6, 0.9], {law: 0.5}). */
static Node *read_value(Layers *l, const char *path, const char *text, int number) {
    const Key *key = key_at(path);
    bool literal = key && type_is_text(key->type), is_text = literal && key->type != TYPE_CHOICE;
    Node *node = node_scalar(l->pool, NULL, pool_format(l->pool, "%s", text), true, NULL);
    if (!node_is_null(node)) {
        bool as_it_stands = literal && !(is_text && !strcmp(text, "\"\""));
        char *yaml = as_it_stands ? text_quoted(text) : must_strdup(text);
        bool blank = !yaml[strspn(yaml, " \t\r\n")];
        node = blank ? node : yaml_parse(l->pool, yaml, (int64_t)strlen(yaml), NULL, l->error);
        free(yaml);
        if (blank) node->text = "";
    }
    if (node && has_empty(node) && !refuse_empty(path, text, is_text, l->error)) return NULL;
    if (node) mark(node, number);
    return node;
}

/* {a: {b: leaf}} for "a.b" */
static Node *nest(Pool *pool, const char *path, Node *leaf) {
    Node *root = node_new(pool, NODE_MAP, NULL, leaf), *map = root;
    for (;;) {
        size_t n = strcspn(path, ".");
        const char *key = pool_format(pool, "%.*s", (int)n, path);
        if (!path[n]) {
            leaf->key = key;
            node_append(map, leaf);
            return root;
        }
        Node *inner = node_new(pool, NODE_MAP, key, leaf);
        node_append(map, inner);
        map = inner;
        path += n + 1;
    }
}

static bool add_override(Layers *l, const Node *files, const char *text, int number) {
    const Node at = {.override = number};
    char word[MAX_PATH], path[MAX_PATH];
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || equals - text >= MAX_PATH)
        return fail(l->error, "command line: '%.100s' is not key=value", text);
    snprintf(word, sizeof word, "%.*s", (int)(equals - text), text);
    if (!find_path(files, &at, word, path, l->error)) return false;
    Node *value = read_value(l, path, equals + 1, number);
    if (!value) return false;
    Node *layer = nest(l->pool, path, value);
    l->layer[l->n++] = layer;
    return layer_check(layer, l->error);
}

bool layers_add_overrides(Layers *l, const char *const *overrides, int n) {
    const Node *files = layers_merge(l, l->n);
    if (n > LAYERS_MAX - l->n - 1)
        return fail(l->error, "command line: more than %d overrides", LAYERS_MAX - l->n - 1);
    for (int i = 0; i < n; i++)
        if (!add_override(l, files, overrides[i], i + 1)) return false;
    return true;
}

/* -- words without meaning ------------------------------------------------------------------- */

static bool is_among(const char *path, const char *keys) {
    for (const char *at = keys; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (!strncmp(path, at, n) && (!path[n] || path[n] == '.')) return true;
        at += n;
    }
    return false;
}

bool config_words_mean(const char *const *overrides, int n, const char *keys, const char *command, Error *error) {
    Pool pool = {0};
    const Node *none = node_new(&pool, NODE_MAP, NULL, NULL);
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        const Node at = {.override = i + 1};
        char word[MAX_PATH], path[MAX_PATH];
        snprintf(word, sizeof word, "%.*s", (int)strcspn(overrides[i], "="), overrides[i]);
        ok = find_path(none, &at, word, path, error) &&
             (is_among(path, keys) ||
              fail(error, "%s means nothing to %s; `dsv2 help %s` lists the keys it reads", path, command, command));
    }
    pool_free(&pool);
    return ok;
}

/* -- overrides without effect ---------------------------------------------------------------- */

static bool has_effect(Layers *l, const Node *node, const char *path, const Node *before, const Node *root) {
    const Node *now = node_at(root, path);
    bool null = node_is_null(node);
    char at[256];
    if (null && !now && !node_at(before, path))
        return fail(l->error, "command line: %s=null has no effect: %s is not set", path, path);
    if (null ? !now : now && now->override == node->override) return true;
    return fail(l->error, "command line: %s=%s has no effect: %s%s sets it to %s; keep one of them", path,
                node->kind == NODE_SCALAR ? node->text : "[...]", now && now->override ? "a later word of the " : "",
                now ? node_place(now, at) : "a later word",
                now && now->kind == NODE_SCALAR ? now->text : "something else");
}

static bool all_have_effect(Layers *l, const Node *map, const char *section, const Node *before, const Node *root) {
    char path[MAX_PATH];
    if (!map->child) return fail(l->error, "command line: %s={} has no effect: nothing is in it", section);
    for (const Node *item = map->child; item; item = item->next) {
        snprintf(path, sizeof path, "%.120s%s%.120s", section, *section ? "." : "", item->key);
        bool ok = item->kind == NODE_MAP ? all_have_effect(l, item, path, before, root)
                                         : has_effect(l, item, path, before, root);
        if (!ok) return false;
    }
    return true;
}

bool layers_check_effect(Layers *l, const Node *before, const Node *root) {
    for (int i = l->n_files; i < l->n; i++)
        if (!all_have_effect(l, l->layer[i], "", before, root)) return false;
    return true;
}
