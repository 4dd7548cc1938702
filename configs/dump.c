/* dump.c - a resolved configuration as YAML, and its hash. */
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

/* The first line: a comment, since the folder is none of the run's settings. */
static const char folder_note[] = "# relative paths begin in ";

static void dump_folder(char **out, const char *folder) {
    char *quoted = text_quoted(folder);
    if (*folder) text_add(out, "%s%s\n", folder_note, quoted);
    free(quoted);
}

const char *dump_read_folder(Pool *pool, const char *text) {
    size_t n = strlen(folder_note);
    Error ignored;
    if (strncmp(text, folder_note, n)) return "";
    const Node *node = yaml_parse(pool, text + n, (int64_t)strcspn(text + n, "\n"), NULL, &ignored);
    return node && node->kind == NODE_SCALAR && *node->text == '/' ? node->text : "";
}

char *config_dump(const Config *c, bool origins) {
    char *out = must_strdup(""), open[256] = "", text[256];
    if (origins) dump_folder(&out, c->folder);
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
