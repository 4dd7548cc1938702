/* inspect.c - what is in a checkpoint, run folder, token shard, HDF5 or safetensors file, or Hugging Face folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/h5.h"
#include "data/safetensors.h"
#include "data/tokens.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/log.h"
#include "train/inspect_tokens.h"
#include "train/manifest.h"

static void print_shape(int ndim, const int64_t *dim) {
    char text[128] = "scalar";
    for (int i = 0, n = 0; i < ndim && n < 100; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, i ? " x %lld" : "%lld", (long long)dim[i]);
    printf("%-24s", text);
}

/* -- safetensors ---------------------------------------------------------------------------------- */

static bool inspect_safetensors(const char *path, Error *error) {
    static const char *const name[] = {"f64", "f32", "bf16", "f16", "i32", "i64", "u8", "other"};
    static const int bytes[] = {8, 4, 2, 2, 4, 8, 1, 0};
    Safetensors *st = safetensors_open(path, error);
    if (!st) return false;
    int64_t elements = 0, total = 0;
    for (int64_t i = 0; i < safetensors_count(st); i++) {
        const StTensor *t = safetensors_at(st, i);
        printf("%-6s", name[t->dtype]);
        print_shape(t->ndim, t->dim);
        printf("%s\n", t->name);
        elements += t->count;
        total += t->count * bytes[t->dtype];
    }
    char count[32], size[32];
    printf("%s: %lld tensors, %s elements, %s\n", path, (long long)safetensors_count(st),
           format_commas(count, elements), format_bytes(size, (double)total));
    safetensors_close(st);
    return true;
}

/* -- HDF5 files ------------------------------------------------------------- */

static bool print_dataset(void *own, const char *path) {
    Dtype dtype;
    int ndim;
    int64_t dim[4];
    Error error;
    if (!h5_shape(own, path, &dtype, &ndim, dim, &error)) return printf("%-30s%s\n", "?", error.text) > 0;
    printf("%-6s", dtype_name(dtype));
    print_shape(ndim, dim);
    return printf("%s\n", path) > 0;
}

static bool asks_for_tokens(const CommandLine *line) { return line->document || line->tokenizer; }

static bool has_no_tokens(const char *path, const char *what, Error *error) {
    return fail(error, "%s: is %s; documents, and so --document and --tokenizer, belong to token shards", path, what);
}

static bool inspect_h5(const char *path, const CommandLine *line, Error *error) {
    H5Reader *h5 = h5_open(path, error);
    if (!h5) return false;
    bool shard = h5_has(h5, "tokens") && h5_has(h5, "documents"), good = true;
    if (!shard && asks_for_tokens(line))
        good = has_no_tokens(path, "an HDF5 file of another kind", error);
    else if (!shard)
        good = h5_each(h5, print_dataset, h5, error);
    h5_close(h5);
    return shard ? inspect_tokens(path, line, error) : good;
}

/* -- checkpoints ----------------------------------------------------------------------------------- */

/* Datasets of one kind ("model/"): how many, elements, bytes. */
static void print_kind(const Manifest *m, const char *kind) {
    int64_t tensors = 0, elements = 0, bytes = 0;
    for (int i = 0; i < m->datasets; i++) {
        const ManifestDataset *d = &m->dataset[i];
        if (strncmp(d->path, kind, strlen(kind)) != 0) continue;
        int64_t count = 1;
        for (int k = 0; k < d->ndim; k++) count *= d->dim[k];
        tensors++;
        elements += count;
        bytes += count * dtype_bytes(d->dtype);
    }
    char number[32], size[32];
    if (tensors)
        printf("%-10s %lld tensors, %s elements, %s\n", kind, (long long)tensors, format_commas(number, elements),
               format_bytes(size, (double)bytes));
}

static void print_model_tensors(const Manifest *m) {
    for (int i = 0; i < m->datasets; i++) {
        const ManifestDataset *d = &m->dataset[i];
        if (strncmp(d->path, "model/", 6) != 0) continue;
        printf("%-6s", dtype_name(d->dtype));
        print_shape(d->ndim, d->dim);
        printf("%s\n", d->path + 6);
    }
}

static void print_progress(const Manifest *m, const Progress *p, const char *path) {
    char tokens[32], sequences[32];
    printf("%s: checkpoint of %d ranks, ep %d, in %d files\n", path, m->ranks, m->ep, m->files);
    printf("%-10s step %lld, %s tokens, %s sequences, %lld optimizer steps, %lld skipped, seed %llu\n", "progress",
           (long long)p->step, format_commas(tokens, p->tokens), format_commas(sequences, p->sequences),
           (long long)p->adam_step, (long long)p->skipped, (unsigned long long)p->seed);
}

/* The files that came along with the weights. */
static void print_companions(const Manifest *m) {
    for (int i = 0; i < m->files; i++)
        if (companion_kind(m->file[i].name))
            printf("%-10s %s, %lld bytes\n", "file", m->file[i].name, (long long)m->file[i].bytes);
}

static bool inspect_checkpoint(const char *path, Error *error) {
    Manifest m;
    Progress progress;
    char *config = NULL;
    if (!checkpoint_read_config(path, &config, &progress, error)) return false;
    if (!manifest_read(&m, path, error)) {
        free(config);
        return false;
    }
    print_model_tensors(&m);
    printf("\n%s\n", config);
    if (manifest_count(&m, "adam_m"))
        print_progress(&m, &progress, path);
    else
        printf("%s: imported weights, without optimizer state; a run begins from it with init_from\n", path);
    const char *const kinds[] = {"model/", "master/", "adam_m/", "adam_v/"};
    for (int i = 0; i < 4; i++) print_kind(&m, kinds[i]);
    print_companions(&m);
    printf("hashes are checked by: dsv2 verify %s\n", path);
    manifest_free(&m);
    free(config);
    return true;
}

static bool inspect_run(const char *folder, Error *error) {
    char newest[1024], *why = NULL, checkpoints[PATH_MAX];
    disk_path(checkpoints, "%s/checkpoints", folder);
    bool good = checkpoint_newest(checkpoints, newest, &why, error);
    if (good && why && *why) printf("%s\n", why);
    free(why);
    if (!good) return false;
    return *newest ? inspect_checkpoint(newest, error) : fail(error, "%s: a run folder without a checkpoint", folder);
}

/* -- which of them it is --------------------------------------------------------------------------- */

/* Both sides of a prepared set. */
static bool inspect_set(const char *folder, const CommandLine *line, Error *error) {
    char train[PATH_MAX], validation[PATH_MAX];
    disk_path(train, "%s/train", folder);
    disk_path(validation, "%s/validation", folder);
    if (!inspect_tokens(train, line, error)) return false;
    return line->document || !tokens_exist(validation) || inspect_tokens(validation, line, error);
}

static bool inspect_path(const char *path, const CommandLine *line, Error *error) {
    char checkpoints[PATH_MAX], train[PATH_MAX];
    disk_path(checkpoints, "%s/checkpoints", path);
    disk_path(train, "%s/train", path);
    if (tokens_exist(train)) return inspect_set(path, line, error);
    bool asks = asks_for_tokens(line);
    if (!disk_exists(path) && tokens_exist(path)) return inspect_tokens(path, line, error);
    if (checkpoint_is(path))
        return asks ? has_no_tokens(path, "a checkpoint", error) : inspect_checkpoint(path, error);
    if (disk_is_folder(checkpoints))
        return asks ? has_no_tokens(path, "a run folder", error) : inspect_run(path, error);
    if (disk_is_folder(path) || disk_ends_with(path, ".safetensors") || disk_ends_with(path, ".json"))
        return asks ? has_no_tokens(path, "a model's folder or file", error) : inspect_safetensors(path, error);
    return inspect_h5(path, line, error);
}

int command_inspect(const CommandLine *line) {
    int code = EXIT_DONE;
    for (int i = 0; i < line->n_input; i++) {
        Error error = {0};
        if (i) putchar('\n');
        if (inspect_path(line->input[i], line, &error)) continue;
        fprintf(stderr, "dsv2: %s\n", error.text);
        code = EXIT_INPUT;
    }
    return code;
}
