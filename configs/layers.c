/* layers.c - reads the sources of a configuration: files with their base:, the model of init_from. */
#include "configs/layers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void push(Layers *l, const Node *layer) {
    check(l->n < LAYERS_MAX, "more than %d layers of configuration", LAYERS_MAX);
    l->layer[l->n++] = layer;
}

static void push_weakest(Layers *l, const Node *layer) {
    push(l, layer);
    memmove(l->layer + 1, l->layer, (size_t)(l->n - 1) * sizeof *l->layer);
    l->layer[0] = layer;
    l->n_files++;
}

Node *layers_merge(Layers *l, int n) {
    Node *root = node_new(l->pool, NODE_MAP, NULL, NULL);
    for (int i = 0; i < n; i++) node_merge(l->pool, root, l->layer[i]);
    return root;
}

bool layer_key_is_known(const Node *item, const char *section, Error *error) {
    static const struct {
        const char *key, *instead;
    } later[] = {
        {"stages", "put the keys of one stage at top level"},
        {"variants", "write one file per variant with base:"},
        {"seeds", "run once per seed with seed=N"},
        {"compare", "compare the runs' log.jsonl"},
    };
    char at[256];
    for (size_t i = 0; i < sizeof later / sizeof *later && !*section; i++)
        if (!strcmp(item->key, later[i].key))
            return fail(error, "%s: %s: is not supported by this version; %s", node_place(item, at), item->key,
                        later[i].instead);
    return true;
}

/* -- files ----------------------------------------------------------------------------------- */

const char *path_beside(Pool *pool, const char *file, const char *name) {
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (*name == '/' || !slash) return name;
    return pool_format(pool, "%.*s/%s", (int)(slash - file), file, name);
}

static Node *read_yaml(Layers *l, const char *text, int64_t bytes, const char *file) {
    Node *root = yaml_parse(l->pool, text, bytes, file, l->error);
    if (!root) return NULL;
    if (root->kind != NODE_MAP) {
        fail(l->error, "%s: must hold keys and values, such as `steps: 100`", file);
        return NULL;
    }
    return layer_check(root, l->error) ? root : NULL;
}

static bool add_file(Layers *l, const char *file, int depth);

static bool add_base(Layers *l, const Node *base, int depth) {
    char at[256];
    node_place(base, at);
    if (base->kind != NODE_SCALAR || node_is_null(base))
        return fail(l->error, "%s: base must be the name of one file", at);
    const char *file = path_beside(l->pool, base->file, base->text);
    if (access(file, R_OK)) return fail(l->error, "%s: base %s cannot be opened: %s", at, file, strerror(errno));
    if (depth == LAYERS_MAX_BASES - 1)
        return fail(l->error, "%s: more than %d files build on each other", at, LAYERS_MAX_BASES);
    char *real = realpath(file, NULL);
    bool cycle = false;
    for (int i = 0; i <= depth && real; i++) cycle |= !strcmp(l->chain[i], real);
    free(real);
    if (cycle)
        return fail(l->error, "%s: base %s leads back to a file that builds on it; break the circle", at, file);
    return add_file(l, file, depth + 1);
}

static bool add_file(Layers *l, const char *file, int depth) {
    int64_t bytes;
    char *text = file_read(l->pool, file, &bytes, l->error);
    if (!text) return false;
    char *real = realpath(file, NULL);
    l->chain[depth] = pool_format(l->pool, "%s", real ? real : file);
    free(real);
    Node *root = read_yaml(l, text, bytes, file);
    const Node *base = node_find(root, "base");
    if (!root || (base && !add_base(l, base, depth))) return false;
    push(l, root);
    return true;
}

bool layers_add_file(Layers *l, const char *file) {
    bool ok = add_file(l, file, 0);
    l->n_files = l->n;
    return ok;
}

bool layers_add_text(Layers *l, const char *text, const char *name) {
    Node *root = read_yaml(l, text, (int64_t)strlen(text), name);
    if (!root) return false;
    if (node_find(root, "base")) return fail(l->error, "%s: has no place for base:", name);
    push(l, root);
    l->n_files = l->n;
    return true;
}

bool layers_add_hf_text(Layers *l, const char *text, const char *path) {
    Node *layer = hf_parse_config(l->pool, text, (int64_t)strlen(text), path, &l->warnings, l->error);
    if (!layer || !layer_check(layer, l->error)) return false;
    push_weakest(l, layer);
    return true;
}

void layers_add_tokenizer(Layers *l, const char *folder) {
    Node *layer = node_new(l->pool, NODE_MAP, NULL, NULL);
    const char *path = pool_format(l->pool, "%s", folder);
    Node origin = {.file = path};
    node_append(layer, node_scalar(l->pool, "tokenizer", path, false, &origin));
    push(l, layer);
    l->n_files = l->n;
}

/* -- the model ------------------------------------------------------------------------------- */

static const char *existing(Pool *pool, const char *folder, const char *file) {
    const char *path = pool_format(pool, "%s/%s", folder, file);
    return access(path, F_OK) ? NULL : path;
}

/* A run's own config, as far as it describes the model. */
static Node *read_run_config(Layers *l, const char *path) {
    int64_t bytes;
    char *text = file_read(l->pool, path, &bytes, l->error);
    Node *all = text ? read_yaml(l, text, bytes, path) : NULL;
    if (!all) return NULL;
    Node *root = node_new(l->pool, NODE_MAP, NULL, all);
    static const char *const kept[] = {"model", "tokenizer"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        Node *node = node_find(all, kept[i]);
        if (!node) continue;
        Node *copy = node_new(l->pool, node->kind, node->key, node);
        *copy = *node;
        copy->next = NULL;
        node_append(root, copy);
    }
    return root;
}

bool layers_add_model(Layers *l, const char *path) {
    struct stat info;
    if (stat(path, &info)) return fail(l->error, "%s: cannot be opened: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode) && access(path, R_OK | X_OK))
        return fail(l->error, "%s: this folder cannot be read: %s", path, strerror(errno));
    const char *json = S_ISDIR(info.st_mode) ? existing(l->pool, path, "config.json") : path;
    const char *yaml = json ? NULL : existing(l->pool, path, "config.yaml");
    if (!json && !yaml) yaml = existing(l->pool, path, "../../config.yaml"); /* a checkpoint in its run */
    if (!json && !yaml)
        return fail(l->error, "%s: has no config.json (a Hugging Face model) and no config.yaml (a run)", path);
    Node *layer = json ? hf_read_config(l->pool, json, &l->warnings, l->error) : read_run_config(l, yaml);
    if (!layer || !layer_check(layer, l->error)) return false;
    if (json && S_ISDIR(info.st_mode) && existing(l->pool, path, "tokenizer.json"))
        node_append(layer, node_scalar(l->pool, "tokenizer", pool_format(l->pool, "%s", path), false, layer));
    push_weakest(l, layer);
    return true;
}

/* Beside the file that says it, else from here. */
static const char *found_path(Layers *l, const Node *node) {
    const char *near = path_beside(l->pool, node->file, node->text);
    return access(near, F_OK) ? node->text : near;
}

void layers_find_tokenizer(Layers *l) {
    const Node *node = node_find(layers_merge(l, l->n), "tokenizer");
    if (node && node->text && *node->text && strcmp(node->text, "bytes")) l->tokenizer = found_path(l, node);
}

/* -- a model that is gone: a run that goes on reads nothing from it -------------------------- */

/* By the number of its step; NULL when there is none. */
static const char *newest_checkpoint(Pool *pool, const char *run) {
    const char *folder = pool_format(pool, "%s/checkpoints", run), *newest = "";
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        const char *name = entry->d_name;
        size_t n = strlen(name), m = strlen(newest);
        if (!strncmp(name, "step-", 5) && (n > m || (n == m && strcmp(name, newest) > 0)))
            newest = pool_format(pool, "%s", name);
    }
    if (d) closedir(d);
    return *newest ? pool_format(pool, "%s/%s", folder, newest) : NULL;
}

/* The checkpoint to go on from, NULL when the run would begin anew, and the config.yaml that was written beside it. */
static const char *find_checkpoint(Pool *pool, const Node *root, const char **yaml) {
    const Node *resume = node_find(root, "resume"), *run = node_find(root, "output_dir");
    const char *word = resume ? resume->text : "auto", *folder = run ? run->text : "", *checkpoint = word;
    if (!strcmp(word, "never")) return NULL;
    if (!strcmp(word, "auto"))
        checkpoint = newest_checkpoint(pool, folder);
    else
        folder = pool_format(pool, "%s/../..", word);
    *yaml = existing(pool, folder, "config.yaml");
    return checkpoint && *yaml && existing(pool, checkpoint, "MANIFEST") ? checkpoint : NULL;
}

/* What the run that wrote the file began from, in words of now; NULL when that is another model. */
static const char *as_written(Layers *l, const char *yaml, const Node *node) {
    const char *words[] = {path_beside(l->pool, node->file, node->text), node->text}, *found = NULL;
    int64_t bytes;
    char *text = file_read(l->pool, yaml, &bytes, l->error);
    const Node *was = text ? node_find(yaml_parse(l->pool, text, bytes, yaml, l->error), "init_from") : NULL;
    for (int i = 0; was && was->text && !found && i < 2; i++) {
        char *now = path_absolute("", words[i]), *then = path_absolute(dump_read_folder(l->pool, text), was->text);
        if (!strcmp(now, then) || !strcmp(words[i], was->text)) found = words[i];
        free(now);
        free(then);
    }
    return found;
}

static bool do_without(Layers *l, const Node *root, const Node *node) {
    char at[256];
    const char *yaml, *checkpoint = find_checkpoint(l->pool, root, &yaml);
    const char *init_from = checkpoint ? as_written(l, yaml, node) : NULL;
    if (!init_from) return fail(l->error, "%s: init_from %s does not exist", node_place(node, at), node->text);
    l->init_from = init_from;
    l->stand_in = checkpoint;
    text_add(&l->warnings, "%s: init_from %s is not there any more; %s goes on without it\n", node_place(node, at),
             init_from, checkpoint);
    Node *layer = read_run_config(l, yaml);
    if (!layer || !layer_check(layer, l->error)) return false;
    push_weakest(l, layer);
    return true;
}

bool layers_add_init_from(Layers *l) {
    const Node *root = layers_merge(l, l->n), *node = node_find(root, "init_from");
    if (!node) return true;
    l->init_from = found_path(l, node);
    return access(l->init_from, F_OK) ? do_without(l, root, node) : layers_add_model(l, l->init_from);
}
