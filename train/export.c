/* export.c - `dsv2 export MODEL -o FOLDER`: the weights of any MODEL as a Hugging Face folder.
 *
 * Tensors go through one buffer into files of at most export.max_shard_size bytes of weights each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/staged.h"
#include "launch/signals.h"
#include "train/commands.h"
#include "train/log.h"
#include "train/meter.h"
#include "train/publish.h"
#include "train/setup.h"
#include "train/weights.h"

typedef struct {
    ModelPath model;
    Config config;
    Companions companions;
    Weights *weights;
    const ModelTensors *tensors;
    StOut *out;            /* of each tensor */
    int64_t *shard;        /* which file each tensor goes to */
    int64_t shards, first; /* first: tensor of the file that is being written */
    Meter meter;
    bool reading_failed;
    int code;
} Export;

/* -- what will be written ---------------------------------------------------------------------------- */

static bool dtype_said(const Export *e) { return !strcmp(config_origin(&e->config, "dtype"), "cli"); }

static Dtype dtype_of(const Export *e, int64_t i) {
    if (!dtype_said(e)) return weights_dtype(e->weights, i);
    return strcmp(e->config.dtype, "bf16") ? F32 : BF16;
}

/* A tokenizer that is put beside the weights now must have ids that they know. */
static bool fits_tokenizer(Config *c, Error *error) {
    Tokenizer *t = NULL;
    bool ok = strcmp(config_origin(c, "tokenizer"), "cli") || setup_tokenizer(c, &t, error);
    if (t) tokenizer_close(t);
    return ok;
}

static bool read_model(Export *e, const CommandLine *line, Error *error) {
    char *warnings = NULL;
    if (!model_find(line->input[0], &e->model, error)) return false;
    e->code = line->n_override ? EXIT_USAGE : EXIT_INPUT;
    bool ok = model_config(&e->config, &e->model, line->override, line->n_override, 1, &warnings, error);
    ok = ok && fits_tokenizer(&e->config, error);
    e->code = ok ? EXIT_INPUT : e->code;
    if (ok) fprintf(stderr, "%s", warnings);
    free(warnings);
    e->weights = ok ? weights_open(&e->model, &e->config, error) : NULL;
    if (!e->weights) return false;
    e->tensors = weights_tensors(e->weights);
    /* what came from elsewhere and was not trained goes on as it came, its dtype in config.json too */
    bool own_dtype = dtype_said(e) || weights_trained(e->weights);
    if (!publish_companions(&e->companions, &e->config, e->model.path, own_dtype ? e->config.dtype : NULL, error))
        return false;
    if (weights_trained(e->weights) && !strcmp(e->config.tokenizer, "bytes")) publish_bytes(&e->companions);
    return true;
}

/* In the order of the model; a tensor beyond the limit has a file of its own. */
static void plan_shards(Export *e) {
    int64_t n = e->tensors->count, in_shard = 0;
    e->out = must_alloc(n, sizeof *e->out);
    e->shard = must_alloc(n, sizeof *e->shard);
    for (int64_t i = 0; i < n; i++) {
        const ModelTensor *t = &e->tensors->list[i];
        StOut *o = &e->out[i];
        *o = (StOut){
            .name = t->name, .t = tensor_2d(NULL, dtype_of(e, i), t->rows, t->cols), .ndim = 2 - t->is_vector};
        o->dim[0] = t->is_vector ? t->cols : t->rows;
        o->dim[1] = t->is_vector ? 0 : t->cols;
        int64_t bytes = tensor_bytes(o->t);
        if (in_shard && in_shard + bytes > e->config.max_shard_size) e->shards++, in_shard = 0;
        e->shard[i] = e->shards;
        in_shard += bytes;
        e->meter.total += bytes;
    }
    e->shards++;
}

/* Six digits of the total, as published. */
static void shard_name(const Export *e, int64_t shard, char name[64]) {
    if (e->shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05" PRId64 "-of-%06" PRId64 ".safetensors", shard + 1, e->shards);
}

/* -- writing ----------------------------------------------------------------------------------------- */

static bool read_part(void *own, int64_t tensor, int64_t first, int64_t bytes, void *to, Error *error) {
    Export *e = own;
    Dtype dtype = e->out[e->first + tensor].t.dtype;
    int64_t size = dtype_bytes(dtype), end = (first + bytes) / size;
    bool ok = true;
    for (int64_t at = first / size, n; ok && at < end; at += n) {
        n = min_i64(WEIGHTS_PART, end - at);
        ok = weights_read(e->weights, e->first + tensor, dtype, at, n, (char *)to + at * size - first, error);
    }
    e->reading_failed = !ok;
    meter_add(&e->meter, bytes);
    return ok && (!signals_pending() || signals_stopped(error, NOTHING_WRITTEN));
}

static bool write_shards(Export *e, const char *folder, Error *error) {
    char file[PATH_MAX], name[64];
    for (int64_t s = 0, n; s < e->shards; s++, e->first += n) {
        for (n = 0; e->first + n < e->tensors->count && e->shard[e->first + n] == s;) n++;
        shard_name(e, s, name);
        disk_path(file, "%s/%s", folder, name);
        if (!safetensors_stream(file, e->out + e->first, n, read_part, e, error)) return false;
    }
    return true;
}

static bool write_index(const Export *e, const char *folder, Error *error) {
    char *text, file[PATH_MAX], name[64];
    size_t bytes;
    if (e->shards == 1) return true;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for an index");
    fprintf(f, "{\n  \"metadata\": {\n    \"total_size\": %lld\n  },\n  \"weight_map\": {",
            (long long)e->meter.total);
    for (int64_t i = 0; i < e->tensors->count; i++) {
        const ModelTensor *t = e->tensors->by_name[i];
        shard_name(e, e->shard[t - e->tensors->list], name);
        fprintf(f, "%s\n    \"%s\": \"%s\"", i ? "," : "", t->name, name);
    }
    fputs("\n  }\n}\n", f);
    check(fclose(f) == 0, "out of memory for an index");
    disk_path(file, "%s/model.safetensors.index.json", folder);
    bool ok = disk_write_file(file, text, (int64_t)bytes, error);
    free(text);
    return ok;
}

static bool write_folder(Export *e, const char *path, Error *error) {
    Staged staged;
    e->code = EXIT_IO;
    signals_open(); /* what is half made must be removed */
    if (!staged_open(&staged, path, error)) return false;
    meter_start(&e->meter, "export");
    bool ok = write_shards(e, staged.temporary, error) && write_index(e, staged.temporary, error) &&
              companions_write(&e->companions, staged.temporary, error);
    ok = staged_close(&staged, ok, error);
    if (e->reading_failed) e->code = EXIT_INPUT;
    meter_end(&e->meter);
    return ok;
}

/* -- the command ------------------------------------------------------------------------------------- */

static const char *dtypes_text(const Export *e, char text[128]) {
    int64_t count[3] = {0};
    static const Dtype of[] = {F32, BF16, F16};
    static const char *const name[] = {"fp32", "bf16", "fp16"};
    for (int64_t i = 0; i < e->tensors->count; i++)
        for (int d = 0; d < 3; d++) count[d] += e->out[i].t.dtype == of[d];
    int n = 0, kinds = (count[0] > 0) + (count[1] > 0) + (count[2] > 0);
    for (int d = 0; d < 3; d++) {
        if (!count[d]) continue;
        n += snprintf(text + n, 128 - (size_t)n, n ? ", %s" : "%s", name[d]);
        if (kinds > 1) n += snprintf(text + n, 128 - (size_t)n, " (%lld tensors)", (long long)count[d]);
    }
    return text;
}

static const char *from_text(const Export *e) {
    if (!weights_trained(e->weights))
        return dtype_said(e) ? "converted from what is stored" : "as stored, bit for bit";
    if (!weights_have_masters(e->weights)) return "the weights that training updates";
    return dtype_said(e) && !strcmp(e->config.dtype, "fp32")
               ? "the fp32 masters"
               : "the weights that training computes with; dtype=fp32 exports their masters";
}

static void report(const Export *e, const char *path) {
    char bytes[32], time[32], dtypes[128];
    log_line("weights", "%s: %s", dtypes_text(e, dtypes), from_text(e));
    if (!companions_find(&e->companions, "tokenizer.json"))
        log_line("tokenizer", "%s: no tokenizer.json to write", e->config.tokenizer);
    log_line("exported", "%lld tensors, %s in %lld file%s in %s -> %s", (long long)e->tensors->count,
             format_bytes(bytes, (double)e->meter.total), (long long)e->shards, e->shards > 1 ? "s" : "",
             format_duration(time, e->meter.seconds), path);
}

static bool export(Export *e, const CommandLine *line, Error *error) {
    e->code = EXIT_USAGE;
    if (disk_exists(line->out))
        return fail(error, "%s: is there already; give another name, or remove it", line->out);
    e->code = EXIT_INPUT;
    if (!read_model(e, line, error)) return false;
    plan_shards(e);
    return write_folder(e, line->out, error);
}

int command_export(const CommandLine *line) {
    Export e = {0};
    Error error = {0};
    bool ok = export(&e, line, &error);
    if (ok)
        report(&e, line->out);
    else
        fprintf(stderr, "dsv2: %s\n", error.text);
    weights_close(e.weights);
    companions_free(&e.companions);
    config_free(&e.config);
    free(e.out);
    free(e.shard);
    return ok ? EXIT_DONE : error_code(&error, e.code);
}
