/* keys.c - the table that keys.def describes, and what to say about a word that is not in it. */
#include "configs/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Key config_keys[KEY_COUNT] = {
#define KEY(field, type, path, fallback, range, scope, resume, also, help)                                           \
    {TYPE_##type, path, fallback, range, SCOPE_##scope, RESUME_##resume, also, help, offsetof(Config, field)},
#include "configs/keys.def"
#undef KEY
};

static const Key data_keys[DATA_KEY_COUNT] = {
#define DATA_KEY(field, type, path, fallback, range, also, help)                                                     \
    {TYPE_##type, path, fallback, range, SCOPE_STAGE, RESUME_FIXED, also, help, offsetof(DataSet, field)},
#include "configs/keys.def"
#undef DATA_KEY
};

static const Key eval_keys[EVAL_KEY_COUNT] = {
#define EVAL_KEY(field, type, path, fallback, range, also, help)                                                     \
    {TYPE_##type, path, fallback, range, SCOPE_RUN, RESUME_FREE, also, help, offsetof(EvalSet, field)},
#include "configs/keys.def"
#undef EVAL_KEY
};

const Named named[NAMED_COUNT] = {
    [NAMED_DATA] = {"data", "a data set", data_keys, DATA_KEY_COUNT, offsetof(Config, data), sizeof(DataSet),
                    offsetof(Config, n_data)},
    [NAMED_EVAL] = {"eval", "an evaluation", eval_keys, EVAL_KEY_COUNT, offsetof(Config, eval), sizeof(EvalSet),
                    offsetof(Config, n_eval)},
};

const Named *named_find(const char *path) {
    for (int i = 0; i < NAMED_COUNT; i++) {
        size_t n = strlen(named[i].section);
        if (!strncmp(path, named[i].section, n) && (!path[n] || path[n] == '.')) return &named[i];
    }
    return NULL;
}

const char *key_name(const Key *key) {
    const char *dot = strrchr(key->path, '.');
    return dot ? dot + 1 : key->path;
}

const Key *key_find(const char *path) {
    for (int i = 0; i < KEY_COUNT; i++)
        if (!strcmp(config_keys[i].path, path)) return &config_keys[i];
    return NULL;
}

const Key *named_key(const Named *n, const char *name) {
    for (int i = 0; i < n->keys; i++)
        if (!strcmp(n->key[i].path, name)) return &n->key[i];
    return NULL;
}

bool key_is_section(const char *path) {
    size_t length = strlen(path);
    for (int i = 0; i < NAMED_COUNT; i++)
        if (!strcmp(path, named[i].section)) return true;
    for (int i = 0; i < KEY_COUNT; i++)
        if (!strncmp(config_keys[i].path, path, length) && config_keys[i].path[length] == '.') return true;
    return false;
}

bool word_in_list(const char *word, const char *list) {
    size_t length = strlen(word);
    for (const char *at = list; length && *at;) {
        size_t n = strcspn(at, " ");
        if (n == length && !memcmp(at, word, n)) return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

enum { LONGEST_WORD = 64, FARTHEST = 3 };

/* Levenshtein, one row at a time. */
static int edit_distance(const char *a, const char *b) {
    int n = (int)strlen(b), row[LONGEST_WORD + 1];
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int shifted = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            row[j] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[n];
}

bool nearest_offer(Nearest *nearest, const char *candidate) {
    size_t length = strlen(nearest->word);
    if (length > LONGEST_WORD || strlen(candidate) > LONGEST_WORD) return false;
    int distance = edit_distance(nearest->word, candidate);
    if (distance > FARTHEST || 2 * distance > (int)length + 1 || (nearest->best && distance >= nearest->distance))
        return false;
    nearest->best = candidate;
    nearest->distance = distance;
    return true;
}

/* Is the key directly in this section? */
static bool key_in_section(const Key *key, const char *section) {
    size_t length = strlen(section);
    if (!length) return !strchr(key->path, '.');
    return !strncmp(key->path, section, length) && key->path + length + 1 == key_name(key);
}

/* The key that a word stands for elsewhere, or that other tools call so. */
static const Key *key_meant(const char *word) {
    for (int i = 0; i < KEY_COUNT; i++)
        if (!strcmp(key_name(&config_keys[i]), word)) return &config_keys[i];
    for (int i = 0; i < KEY_COUNT; i++)
        if (word_in_list(word, config_keys[i].also)) return &config_keys[i];
    return NULL;
}

/* The path of the nearest key: first among the neighbours, then everywhere. */
static const char *nearest_key(const char *section, const char *word) {
    Nearest near = {.word = word};
    const char *path = NULL;
    for (int pass = 0; pass < 2 && !path; pass++)
        for (int i = 0; i < KEY_COUNT; i++)
            if ((pass || key_in_section(&config_keys[i], section)) && nearest_offer(&near, key_name(&config_keys[i])))
                path = config_keys[i].path;
    return path;
}

/* A section's name with a slip of the pen ("layuot"), as the beginning of a path. */
static const char *nearest_section(const char *word, char to[256]) {
    Nearest near = {.word = word};
    *to = 0;
    for (int i = 0; i < NAMED_COUNT; i++)
        if (nearest_offer(&near, named[i].section)) snprintf(to, 256, "%s", named[i].section);
    for (int i = 0; i < KEY_COUNT; i++) {
        char section[256];
        snprintf(section, sizeof section, "%s", config_keys[i].path);
        char *dot = strrchr(section, '.');
        if (!dot) continue;
        *dot = 0;
        const char *name = strrchr(section, '.');
        if (nearest_offer(&near, name ? name + 1 : section)) snprintf(to, 256, "%s", section);
    }
    return *to ? to : NULL;
}

static bool named_key_unknown(const Named *n, const Node *at, const char *section, const char *word, Error *error) {
    char place[256], *all = NULL;
    Nearest near = {.word = word};
    node_place(at, place);
    for (int i = 0; i < n->keys; i++) {
        const char *path = n->key[i].path;
        if (word_in_list(word, n->key[i].also))
            return fail(error, "%s: '%.60s' is not a key of %s; write %s", place, word, n->entry, path);
        nearest_offer(&near, path);
    }
    if (near.best)
        return fail(error, "%s: unknown key '%.60s' in %.80s; did you mean %s?", place, word, section, near.best);
    for (int i = 0; i < n->keys; i++)
        text_add(&all, "%s%s", i == 0 ? "" : i + 1 == n->keys ? " and " : ", ", n->key[i].path);
    fail(error, "%s: unknown key '%.60s' in %.80s; %s has %s", place, word, section, n->entry, all);
    free(all);
    return false;
}

bool key_unknown(const Node *at, const char *section, const char *word, Error *error) {
    char place[256], section_name[256];
    const Named *entries = strchr(section, '.') ? named_find(section) : NULL;
    if (entries) return named_key_unknown(entries, at, section, word, error);
    node_place(at, place);
    const char *where = *section ? section : "at top level";
    const Key *meant = key_meant(word);
    if (meant && !strcmp(key_name(meant), word))
        return fail(error, "%s: '%.60s' does not stand %s%s; write %s", place, word, *section ? "in " : "", where,
                    meant->path);
    if (meant) return fail(error, "%s: '%.60s' is not a key here; write %s", place, word, meant->path);
    const char *near = nearest_key(section, word);
    if (!near) near = nearest_section(word, section_name);
    if (near) return fail(error, "%s: unknown key '%.60s'; did you mean %s?", place, word, near);
    return fail(error, "%s: unknown key '%.60s' %s%s; `dsv2 help` lists the keys", place, word, *section ? "in " : "",
                where);
}
