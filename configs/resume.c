/* resume.c - what may differ between a run's configuration and the one it resumes. Paths are the same when they name the
 * same thing, from whichever folder they are written. */
#include "configs/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- paths ----------------------------------------------------------------------------------- */

/* Puts /name behind the path for each name; ".." takes the last one off. */
static void add_names(char *path, const char *names) {
    for (const char *at = names; *at; at += strspn(at, "/")) {
        size_t n = strcspn(at, "/"), end = strlen(path);
        bool up = n == 2 && !memcmp(at, "..", 2), here = !n || (n == 1 && *at == '.');
        while (up && end && path[--end] != '/') {}
        if (up) path[end] = 0;
        if (!up && !here) snprintf(path + end, n + 2, "/%s", at);
        at += n;
    }
}

char *path_absolute(const char *folder, const char *path) {
    char *here = *folder || *path == '/' ? NULL : getcwd(NULL, 0);
    if (here) folder = here;
    char *out = must_alloc((int64_t)(strlen(folder) + strlen(path)) + 3, 1);
    *out = 0;
    if (*path != '/') add_names(out, folder);
    add_names(out, path);
    free(here);
    return out;
}

/* A tokenizer's folder stands for the tokenizer.json in it. */
static void cut_tokenizer_json(char *path) {
    char *slash = strrchr(path, '/');
    if (slash && !strcmp(slash, "/tokenizer.json")) *slash = 0;
}

static bool is_bytes(const Key *key, const char *path) {
    return !strcmp(key->path, "tokenizer") && !strcmp(path, "bytes");
}

static bool same_place(const Key *key, const char *a_folder, const char *a, const char *b_folder, const char *b) {
    if (!*a || !*b || is_bytes(key, a) || is_bytes(key, b)) return !strcmp(a, b);
    char *x = path_absolute(a_folder, a), *y = path_absolute(b_folder, b);
    if (!strcmp(key->path, "tokenizer")) cut_tokenizer_json(x), cut_tokenizer_json(y);
    bool same = !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* -- keys ------------------------------------------------------------------------------------ */

/* Three configs of one run: of its checkpoint, which says nothing of where a path begins, so that it has the same bytes
 * wherever a run is started; of its folder, which does, or NULL; and of the command. */
typedef struct {
    const Config *old, *written, *now;
    char **changes;
    Error *error;
} Resume;

/* One key of the three, in a Config or in a data set of it. */
typedef struct {
    const Key *key;
    const char *name;
    const void *old, *written, *now;
} Compared;

static bool same_path(const Resume *r, const Compared *c) {
    const char *old = *(const char *const *)key_value(c->key, c->old);
    const char *written = c->written ? *(const char *const *)key_value(c->key, c->written) : old;
    const char *now = *(const char *const *)key_value(c->key, c->now);
    const char *folder = c->written ? r->written->folder : "";
    return same_place(c->key, folder, written, r->now->folder, now);
}

static bool compare_key(const Resume *r, const Compared *c) {
    char *before = value_format(c->key, key_value(c->key, c->old)),
         *after = value_format(c->key, key_value(c->key, c->now));
    bool same = !strcmp(before, after) || (c->key->type == TYPE_PATH && same_path(r, c)), ok = true;
    if (!same && c->key->resume == RESUME_FIXED)
        ok = fail(r->error,
                  "%s was %s when this run began and is %s now; it cannot change in a run: set it back, or start "
                  "a new run with --fresh or another output_dir",
                  c->name, *before ? before : "unset", *after ? after : "unset");
    if (!same && c->key->resume == RESUME_CHANGEABLE)
        text_add(r->changes, "%s %s -> %s\n", c->name, *before ? before : "unset", *after ? after : "unset");
    free(before);
    free(after);
    return ok;
}

static int find_set(const Config *c, const char *name) {
    for (int i = 0; c && i < c->n_data; i++)
        if (!strcmp(c->data[i].name, name)) return i;
    return -1;
}

static bool compare_set(const Resume *r, const DataSet *old) {
    char name[256];
    const Key *keys = named[NAMED_DATA].key;
    int now = find_set(r->now, old->name), written = find_set(r->written, old->name);
    if (now < 0)
        return fail(r->error,
                    "data.%s was there when this run began; a run's data cannot change: put it back, or start "
                    "a new run with --fresh or another output_dir",
                    old->name);
    for (int k = 0; k < DATA_KEY_COUNT; k++) {
        snprintf(name, sizeof name, "data.%.100s.%s", old->name, keys[k].path);
        Compared c = {&keys[k], name, old, written < 0 ? NULL : &r->written->data[written], &r->now->data[now]};
        if (!compare_key(r, &c)) return false;
    }
    return true;
}

bool config_resume_check(const Config *old, const Config *written, const Config *now, char **changes, Error *error) {
    Resume r = {old, written, now, changes, error};
    *changes = must_strdup("");
    for (int i = 0; i < KEY_COUNT; i++) {
        Compared c = {&config_keys[i], config_keys[i].path, old, written, now};
        if (!compare_key(&r, &c)) return false;
    }
    for (int i = 0; i < old->n_data; i++)
        if (!compare_set(&r, &old->data[i])) return false;
    return true;
}
