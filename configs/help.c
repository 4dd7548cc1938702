/* help.c - `dsv2 help KEY` and the README's reference, both from the key table. */
#include "configs/keys.h"

#include <stdio.h>
#include <string.h>

static const char *const scopes[] = {
    [SCOPE_MODEL] = "the network", [SCOPE_RUN] = "the whole run", [SCOPE_STAGE] = "a stage"};
static const char *const classes[] = {
    [RESUME_FREE] = "free", [RESUME_CHANGEABLE] = "changeable", [RESUME_FIXED] = "fixed"};
static const char *const class_help[] = {[RESUME_FREE] = "may change when a run goes on",
                                         [RESUME_CHANGEABLE] = "may change when a run goes on; old -> new is printed",
                                         [RESUME_FIXED] = "cannot change when a run goes on"};

static const char *default_text(const Key *key) { return *key->fallback ? key->fallback : "not set"; }

static void help_one(char **out, const Key *key, const char *prefix) {
    char takes[256];
    text_add(out, "%s%s%s\n  %s\n", *out ? "\n" : "", prefix, key->path, key->help);
    text_add(out, "  takes    %s\n  default  %s\n", key_takes(key, takes), default_text(key));
    text_add(out, "  belongs  to %s; %s\n", scopes[key->scope], class_help[key->resume]);
    if (*key->also) text_add(out, "  others call it %s\n", key->also);
}

/* A key answers to its path, the end of its path, and the words that other tools use. */
static bool answers(const Key *key, const char *word) {
    size_t n = strlen(key->path), m = strlen(word);
    bool ends = n > m && key->path[n - m - 1] == '.' && !strcmp(key->path + n - m, word);
    return ends || !strcmp(key->path, word) || word_in_list(word, key->also);
}

/* "data.NAME." */
static const char *prefix_of(const Named *n, char to[64]) {
    snprintf(to, 64, "%s.NAME.", n->section);
    return to;
}

char *config_help_key(const char *word) {
    char *out = NULL, prefix[64];
    for (int i = 0; i < KEY_COUNT; i++)
        if (answers(&config_keys[i], word)) help_one(&out, &config_keys[i], "");
    for (int n = 0; n < NAMED_COUNT; n++)
        for (int i = 0; i < named[n].keys; i++) {
            size_t before = strlen(prefix_of(&named[n], prefix)); /* the reference writes data.NAME.path */
            const char *key = strncmp(word, prefix, before) ? word : word + before;
            if (answers(&named[n].key[i], key)) help_one(&out, &named[n].key[i], prefix);
        }
    return out;
}

/* A bar would end the cell. */
static void cell(char **out, const char *text) {
    text_add(out, " ");
    for (; *text; text++) text_add(out, *text == '|' ? "\\|" : "%c", *text);
    text_add(out, " |");
}

static void row(char **out, const Key *key, const char *prefix) {
    char takes[256];
    text_add(out, "| `%s%s` |", prefix, key->path);
    cell(out, key_takes(key, takes));
    cell(out, default_text(key));
    cell(out, classes[key->resume]);
    cell(out, key->help);
    text_add(out, "\n");
}

char *config_reference(void) {
    char *out = NULL, prefix[64];
    text_add(&out, "| key | takes | default | on resume | meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < KEY_COUNT; i++) row(&out, &config_keys[i], "");
    for (int n = 0; n < NAMED_COUNT; n++)
        for (int i = 0; i < named[n].keys; i++) row(&out, &named[n].key[i], prefix_of(&named[n], prefix));
    return out;
}
