#include "train/companions.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"

enum { MOST_BYTES = 64 << 20 }; /* of one; the largest that is published has 20 MB */

static const char *const tokenizer_files[] = {"added_tokens.json", "chat_template.jinja",     "chat_template.json",
                                              "merges.txt",        "special_tokens_map.json", "tokenizer.json",
                                              "tokenizer.model",   "tokenizer_config.json",   "vocab.json"};
static const char *const other_files[] = {"LICENSE",     "LICENSE-CODE", "LICENSE-MODEL",
                                          "LICENSE.txt", "config.json",  "generation_config.json"};

#define IN_LIST(name, list) in_list(name, list, sizeof(list) / sizeof *(list))
static bool in_list(const char *name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, list[i])) return true;
    return false;
}

static bool is_code(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t stem = strspn(name, allowed);
    return stem > 0 && stem <= 64 && !strcmp(name + stem, ".py");
}

CompanionKind companion_kind(const char *name) {
    if (IN_LIST(name, tokenizer_files)) return COMPANION_TOKENIZER;
    return IN_LIST(name, other_files) || is_code(name) ? COMPANION_OTHER : COMPANION_NONE;
}

void companions_put(Companions *c, const char *name, const char *bytes, int64_t count) {
    int at = 0;
    while (at < c->n && strcmp(c->list[at].name, name) < 0) at++;
    bool there = at < c->n && !strcmp(c->list[at].name, name);
    if (there) {
        free(c->list[at].bytes);
    } else {
        c->list = must_realloc(c->list, c->n + 1, sizeof *c->list);
        memmove(c->list + at + 1, c->list + at, (size_t)(c->n++ - at) * sizeof *c->list);
        c->list[at].name = must_strdup(name);
    }
    char *copy = must_alloc(count + 1, 1);
    memcpy(copy, bytes, (size_t)count);
    c->list[at].bytes = copy;
    c->list[at].count = count;
}

static bool read_one(Companions *c, const char *folder, const char *name, Error *error) {
    char path[PATH_MAX];
    int64_t count;
    disk_path(path, "%s/%s", folder, name);
    char *bytes = disk_read_file(path, MOST_BYTES, &count, error);
    if (!bytes) return false;
    companions_put(c, name, bytes, count);
    free(bytes);
    return true;
}

bool companions_read(Companions *c, const char *folder, CompanionKind wanted, Error *error) {
    DIR *d = opendir(folder);
    bool ok = true;
    if (!d) return fail(error, "%s: cannot open this folder: %s", folder, strerror(errno));
    for (struct dirent *entry; ok && (entry = readdir(d));) {
        CompanionKind kind = companion_kind(entry->d_name);
        if (kind && (!wanted || kind == wanted)) ok = read_one(c, folder, entry->d_name, error);
    }
    closedir(d);
    return ok;
}

void companions_remove(Companions *c, CompanionKind kind) {
    int kept = 0;
    for (int i = 0; i < c->n; i++) {
        if (companion_kind(c->list[i].name) != kind) {
            c->list[kept++] = c->list[i];
            continue;
        }
        free(c->list[i].name);
        free(c->list[i].bytes);
    }
    c->n = kept;
}

const Companion *companions_find(const Companions *c, const char *name) {
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->list[i].name, name)) return &c->list[i];
    return NULL;
}

bool companions_write(const Companions *c, const char *folder, Error *error) {
    char path[PATH_MAX];
    for (int i = 0; i < c->n; i++) {
        disk_path(path, "%s/%s", folder, c->list[i].name);
        if (!disk_write_file(path, c->list[i].bytes, c->list[i].count, error)) return false;
    }
    return true;
}

void companions_free(Companions *c) {
    for (int i = 0; i < c->n; i++) {
        free(c->list[i].name);
        free(c->list[i].bytes);
    }
    free(c->list);
    *c = (Companions){0};
}
