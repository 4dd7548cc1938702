/* import.c - `dsv2 import MODEL -o CHECKPOINT`: a Hugging Face folder becomes a checkpoint without optimizer state.
 *
 * Tensors go through one buffer, as they are stored, whatever the size of the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/staged.h"
#include "data/tokenizer.h"
#include "launch/signals.h"
#include "train/checkpoint_internal.h"
#include "train/commands.h"
#include "train/log.h"
#include "train/meter.h"
#include "train/weights.h"

typedef struct {
    ModelPath model;
    Config config;
    char *config_text;
    Companions companions;
    Weights *weights;
    const ModelTensors *tensors;
    H5Writer *layout;
    int *dataset; /* of each tensor in layout */
    uint64_t *hash;
    Meter meter;
    bool reading_failed;
    int code;
} Import;

/* -- what is there ------------------------------------------------------------------------------ */

static void print_config(const Import *im, const char *warnings) {
    const char *name;
    char *text = config_dump(&im->config, true), *notes = config_published_notes(&im->config, &name), *rest = notes;
    printf("%s\n", text);
    fprintf(stderr, "%s", warnings);
    if (name && !*notes) log_line("published", "config.json says what that of %s says", name);
    for (char *line; name && (line = strsep(&rest, "\n")) && *line;) log_line("differs", "%s", line);
    free(text);
    free(notes);
}

static bool read_config(Import *im, const char *given, Error *error) {
    char *warnings = NULL;
    if (!model_find(given, &im->model, error)) return false;
    if (im->model.kind != MODEL_HF)
        return fail(error, "%s: is a checkpoint already; import takes a Hugging Face folder", im->model.path);
    bool ok = model_config(&im->config, &im->model, NULL, 0, 1, &warnings, error) &&
              companions_read(&im->companions, im->model.path, COMPANION_NONE, error);
    if (ok) print_config(im, warnings);
    free(warnings);
    im->config_text = ok ? config_dump(&im->config, false) : NULL;
    return ok;
}

/* A broken tokenizer is no reason to refuse the weights, and one to speak. */
static void look_at_tokenizer(const Import *im) {
    Error why;
    Tokenizer *t = tokenizer_open(im->config.tokenizer, &why);
    if (!t) fprintf(stderr, "dsv2: warning: %s\n", why.text);
    if (t && !strcmp(im->config.tokenizer, "bytes"))
        log_line("tokenizer", "none in this folder: texts are read as bytes");
    else if (t)
        log_line("tokenizer", "%lld ids of %lld", (long long)tokenizer_size(t), (long long)im->config.vocab_size);
    if (t) tokenizer_close(t);
}

static bool open_weights(Import *im, Error *error) {
    im->weights = weights_open(&im->model, &im->config, error);
    if (!im->weights) return false;
    im->tensors = weights_tensors(im->weights);
    int64_t left_out = weights_left_out(im->weights);
    if (left_out) log_line("left out", "%lld inv_freq, constants that follow from config.json", (long long)left_out);
    return true;
}

/* -- the checkpoint ------------------------------------------------------------------------------- */

static bool lay_out(Import *im, Error *error) {
    im->layout = h5_create();
    im->dataset = must_alloc(im->tensors->count, sizeof *im->dataset);
    im->hash = must_alloc(im->tensors->count, sizeof *im->hash);
    for (int64_t i = 0; i < im->tensors->count; i++) {
        const ModelTensor *t = &im->tensors->list[i];
        int64_t shape[2] = {t->rows, t->cols};
        char *path = must_format("%s/%s", kind_names[KIND_MODEL], t->name);
        im->dataset[i] =
            h5_dataset(im->layout, path, weights_dtype(im->weights, i), t->is_vector ? 1 : 2, shape + t->is_vector);
        im->meter.total += t->rows * t->cols * dtype_bytes(weights_dtype(im->weights, i));
        free(path);
    }
    Progress none = {0};
    state_put(im->layout, &none, im->config_text);
    return h5_layout(im->layout, error);
}

static bool read_part(void *own, int tensor, int64_t first, int64_t bytes, void *to, Error *error) {
    Import *im = own;
    Dtype dtype = weights_dtype(im->weights, tensor);
    int64_t size = dtype_bytes(dtype);
    bool ok = weights_read(im->weights, tensor, dtype, first / size, bytes / size, to, error);
    im->reading_failed = !ok;
    meter_add(&im->meter, bytes);
    return ok && (!signals_pending() || signals_stopped(error, NOTHING_WRITTEN));
}

/* MANIFEST's lines about the one file of tensors. malloc'd. */
static char *manifest_lines(const Import *im, const char *name, uint64_t hash) {
    char *text;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for MANIFEST");
    manifest_put_head(f, 0, 1, 1, hash_string(im->config_text));
    manifest_put_file(f, name, h5_file_bytes(im->layout), hash);
    for (int64_t i = 0; i < im->tensors->count; i++) {
        const ModelTensor *t = &im->tensors->list[i];
        char *path = must_format("%s/%s", kind_names[KIND_MODEL], t->name);
        manifest_put_dataset(f, 0, path, tensor_2d(NULL, weights_dtype(im->weights, i), t->rows, t->cols),
                             t->is_vector, im->hash[i]);
        free(path);
    }
    check(fclose(f) == 0, "out of memory for MANIFEST");
    return text;
}

static bool write_tensors(Import *im, const char *folder, char name[32], uint64_t *hash, Error *error) {
    char file[PATH_MAX];
    rank_file_name(name, 0);
    disk_path(file, "%s/%s", folder, name);
    FileContent content = {.layout = im->layout,
                           .pieces = (int)im->tensors->count,
                           .dataset = im->dataset,
                           .staging = must_alloc(CHECKPOINT_STAGING, 1),
                           .read = read_part,
                           .own = im};
    bool ok = content_write(&content, file, hash, im->hash, error);
    free(content.staging);
    return ok;
}

static bool fill(Import *im, const char *folder, Error *error) {
    char name[32];
    uint64_t hash;
    if (!write_tensors(im, folder, name, &hash, error)) return false;
    char *lines = manifest_lines(im, name, hash);
    FolderState state = {.config_text = im->config_text, .companions = &im->companions};
    bool ok = folder_complete(folder, lines, &state, error);
    free(lines);
    return ok;
}

static bool write_checkpoint(Import *im, const char *path, Error *error) {
    Staged staged;
    im->code = EXIT_IO;
    signals_open(); /* what is half made must be removed */
    if (!staged_open(&staged, path, error)) return false;
    meter_start(&im->meter, "import");
    bool ok = staged_close(&staged, fill(im, staged.temporary, error), error);
    if (im->reading_failed) im->code = EXIT_INPUT;
    meter_end(&im->meter);
    return ok;
}

static bool import(Import *im, const char *given, const char *path, Error *error) {
    im->code = EXIT_USAGE;
    if (disk_exists(path)) return fail(error, "%s: is there already; give another name, or remove it", path);
    im->code = EXIT_INPUT;
    if (!read_config(im, given, error) || !open_weights(im, error) || !lay_out(im, error)) return false;
    look_at_tokenizer(im);
    return write_checkpoint(im, path, error);
}

int command_import(const CommandLine *line) {
    Import im = {0};
    Error error = {0};
    char bytes[32], time[32];
    bool ok = import(&im, line->input[0], line->out, &error);
    if (ok)
        log_line("imported", "%lld tensors, %s in %s -> %s", (long long)im.tensors->count,
                 format_bytes(bytes, (double)im.meter.total), format_duration(time, im.meter.seconds), line->out);
    else
        fprintf(stderr, "dsv2: %s\n", error.text);
    if (im.layout) h5_destroy(im.layout);
    weights_close(im.weights);
    companions_free(&im.companions);
    config_free(&im.config);
    free(im.config_text);
    free(im.dataset);
    free(im.hash);
    return ok ? EXIT_DONE : error_code(&error, im.code);
}
