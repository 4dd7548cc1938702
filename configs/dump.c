/* dump.c - a resolved configuration as YAML, its hash, and what may differ when a run goes on. */
#include "configs/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *origin_text(const Node *node, char to[256]) {
    char place[256];
    if (!node) return "default";
    if (!node->file) return "cli";
    node_place(node, place);
    const char *slash = strrchr(place, '/');
    snprintf(to, 256, "%s", slash ? slash + 1 : place);
    return to;
}

const char *config_origin(const Config *c, const char *path) {
    static _Thread_local char text[256];
    const Key *key = key_find(path);
    check(key, "no key is called %s", path);
    return origin_text(c->origins->key[key - config_keys], text);
}

const char *config_changed(const Config *c) { return c->origins->changed; }

/* Values that say nothing: texts that are not set, an empty mixture, and the two of steps, tokens, epochs not used. */
static bool is_silent(const Key *key, const char *value) {
    if (!strcmp(key->path, "steps") || !strcmp(key->path, "tokens") || !strcmp(key->path, "epochs"))
        return !strcmp(value, "0");
    return !*value || (!strcmp(key->path, "mix") && !strcmp(value, "[]"));
}

static void dump_line(char **out, int depth, const char *name, const char *value, const char *origin) {
    text_add(out, "%*s%s: %s", 2 * depth, "", name, value);
    if (origin) text_add(out, "  # %s", origin);
    text_add(out, "\n");
}

/* Opens the sections of `path` that `open` (the section before) did not; returns the depth. */
static int dump_sections(char **out, char open[256], const char *path) {
    int depth = 0;
    const char *at = path;
    for (const char *dot; (dot = strchr(at, '.')); at = dot + 1, depth++) {
        size_t n = (size_t)(dot - path);
        bool is_open = !strncmp(open, path, n) && (!open[n] || open[n] == '.');
        if (!is_open) text_add(out, "%*s%.*s:\n", 2 * depth, "", (int)(dot - at), at);
    }
    snprintf(open, 256, "%.*s", (int)(at > path ? at - path - 1 : 0), path);
    return depth;
}

static void dump_named(char **out, const Config *c, const Named *n, bool origins) {
    char text[256];
    int count = named_entries(n, c);
    if (count) text_add(out, "%s:\n", n->section);
    for (int i = 0; i < count; i++) {
        text_add(out, "  %s:\n", named_name(n, c, i));
        for (int k = 0; k < n->keys; k++) {
            char *value = value_format(&n->key[k], key_value(&n->key[k], named_entry(n, c, i)));
            const char *origin = origins ? origin_text(c->origins->named[n - named][i][k], text) : NULL;
            dump_line(out, 2, n->key[k].path, *value ? value : "\"\"", origin);
            free(value);
        }
    }
}

char *config_dump(const Config *c, bool origins) {
    char *out = must_strdup(""), open[256] = "", text[256];
    for (int i = 0; i < KEY_COUNT; i++) {
        const Key *key = &config_keys[i];
        char *value = value_format(key, key_value(key, c));
        if (!is_silent(key, value)) {
            int depth = dump_sections(&out, open, key->path);
            dump_line(&out, depth, key_name(key), value, origins ? origin_text(c->origins->key[i], text) : NULL);
        }
        free(value);
    }
    for (int i = 0; i < NAMED_COUNT; i++) dump_named(&out, c, &named[i], origins);
    return out;
}

uint64_t config_hash(const Config *c) {
    char *text = must_strdup("");
    for (int i = 0; i < KEY_COUNT; i++) {
        const Key *key = &config_keys[i];
        if (key->scope != SCOPE_MODEL && key->resume != RESUME_FIXED) continue;
        char *value = value_format(key, key_value(key, c));
        text_add(&text, "%s=%s\n", key->path, value);
        free(value);
    }
    dump_named(&text, c, &named[NAMED_DATA], false);
    uint64_t hash = hash_string(text);
    free(text);
    return hash;
}

/* -- resume ---------------------------------------------------------------------------------- */

static bool compare_key(const Key *key, const char *name, const void *old, const void *now, char **changes,
                        Error *error) {
    char *before = value_format(key, key_value(key, old)), *after = value_format(key, key_value(key, now));
    bool same = !strcmp(before, after), ok = true;
    if (!same && key->resume == RESUME_FIXED)
        ok = fail(error,
                  "%s was %s when this run began and is %s now; it cannot change in a run: set it back, or start "
                  "a new run with --fresh or another output_dir",
                  name, *before ? before : "unset", *after ? after : "unset");
    if (!same && key->resume == RESUME_CHANGEABLE)
        text_add(changes, "%s %s -> %s\n", name, *before ? before : "unset", *after ? after : "unset");
    free(before);
    free(after);
    return ok;
}

static const DataSet *find_set(const Config *c, const char *name) {
    for (int i = 0; i < c->n_data; i++)
        if (!strcmp(c->data[i].name, name)) return &c->data[i];
    return NULL;
}

static bool compare_sets(const Config *old, const Config *now, Error *error) {
    char name[256], *none = NULL;
    const Key *keys = named[NAMED_DATA].key;
    for (int i = 0; i < old->n_data; i++) {
        const DataSet *before = &old->data[i], *after = find_set(now, before->name);
        if (!after)
            return fail(error,
                        "data.%s was there when this run began; a run's data cannot change: put it back, or start "
                        "a new run with --fresh or another output_dir",
                        before->name);
        for (int k = 0; k < DATA_KEY_COUNT; k++) {
            snprintf(name, sizeof name, "data.%.100s.%s", before->name, keys[k].path);
            if (!compare_key(&keys[k], name, before, after, &none, error)) return false;
        }
    }
    return true;
}

bool config_resume_check(const Config *old, const Config *now, char **changes, Error *error) {
    *changes = must_strdup("");
    for (int i = 0; i < KEY_COUNT; i++)
        if (!compare_key(&config_keys[i], config_keys[i].path, old, now, changes, error)) return false;
    return compare_sets(old, now, error);
}
