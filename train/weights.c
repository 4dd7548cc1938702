#include "train/weights.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "train/checkpoint_internal.h"
#include "train/load_hf.h"

enum { READERS = 32 }; /* rank files that are open at once */

struct Weights {
    ModelTensors tensors;
    Dtype *dtype;
    char *raw; /* WEIGHTS_PART elements before they are converted */

    Safetensors *folder; /* NULL: a checkpoint, */
    char *checkpoint;    /* which this is */
    Manifest manifest;
    H5Reader *reader[READERS]; /* of rank files, each in the place of its number */
    int reader_rank[READERS];
};

/* -- a Hugging Face folder ------------------------------------------------------------------------- */

static const StTensor *folder_tensor(const Weights *w, int64_t i) {
    return safetensors_find(w->folder, w->tensors.list[i].name);
}

static bool is_weight(Dtype d) { return d == F32 || d == BF16 || d == F16; }

static bool open_folder(Weights *w, const char *path, Error *error) {
    w->folder = safetensors_open(path, error);
    if (!w->folder || !model_tensors_match(&w->tensors, w->folder, error)) return false;
    for (int64_t i = 0; i < w->tensors.count; i++) {
        const StTensor *t = folder_tensor(w, i);
        if (!safetensors_dtype(t, &w->dtype[i]) || !is_weight(w->dtype[i]))
            return fail(error, "%s: tensor %s does not hold BF16, F16 or F32 numbers", t->file, t->name);
    }
    return true;
}

/* -- a checkpoint ---------------------------------------------------------------------------------- */

static const ManifestDataset *dataset(const Weights *w, Kind kind, int64_t i) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", kind_names[kind], w->tensors.list[i].name);
    return manifest_dataset(&w->manifest, path);
}

static bool check_dataset(Weights *w, int64_t i, Error *error) {
    const ModelTensor *t = &w->tensors.list[i];
    const ManifestDataset *d = dataset(w, KIND_MODEL, i);
    if (!d)
        return fail(error, "%s: holds no model/%s: another model than its config describes", w->checkpoint, t->name);
    int64_t rows = d->ndim == 2 ? d->dim[0] : 1;
    if (rows != t->rows || d->dim[d->ndim - 1] != t->cols || (d->ndim == 1) != t->is_vector)
        return fail(error, "%s: %s has not the shape that the config asks for", w->checkpoint, d->path);
    w->dtype[i] = d->dtype;
    return is_weight(d->dtype) ||
           fail(error, "%s: %s holds %s; f32, bf16 or f16 is wanted", w->checkpoint, d->path, dtype_name(d->dtype));
}

static bool open_checkpoint(Weights *w, const ModelPath *m, Error *error) {
    w->checkpoint = must_strdup(m->path);
    if (!(m->verified || checkpoint_verify(m->path, error)) || !manifest_read(&w->manifest, m->path, error))
        return false;
    for (int64_t i = 0; i < w->tensors.count; i++)
        if (!check_dataset(w, i, error)) return false;
    int64_t there = manifest_count(&w->manifest, kind_names[KIND_MODEL]);
    return there == w->tensors.count || fail(error, "%s: holds %lld tensors, its config's model has %lld",
                                             w->checkpoint, (long long)there, (long long)w->tensors.count);
}

static H5Reader *reader_of(Weights *w, int rank, Error *error) {
    char file[PATH_MAX], name[32];
    int place = rank % READERS;
    if (w->reader[place] && w->reader_rank[place] == rank) return w->reader[place];
    if (w->reader[place]) h5_close(w->reader[place]);
    rank_file_name(name, rank);
    disk_path(file, "%s/%s", w->checkpoint, name);
    w->reader_rank[place] = rank;
    return w->reader[place] = h5_open_proven(file, error);
}

/* -- both ------------------------------------------------------------------------------------------ */

Weights *weights_open(const ModelPath *m, const Config *c, Error *error) {
    Weights *w = must_alloc(1, sizeof *w);
    bool ok = model_tensors_plan(&w->tensors, c, error);
    w->dtype = must_alloc(w->tensors.count, sizeof *w->dtype);
    w->raw = must_alloc(WEIGHTS_PART, sizeof(float));
    ok = ok && (m->kind == MODEL_HF ? open_folder(w, m->path, error) : open_checkpoint(w, m, error));
    if (ok) return w;
    weights_close(w);
    return NULL;
}

void weights_close(Weights *w) {
    if (!w) return;
    for (int i = 0; i < READERS; i++)
        if (w->reader[i]) h5_close(w->reader[i]);
    safetensors_close(w->folder);
    if (w->checkpoint) manifest_free(&w->manifest);
    model_tensors_close(&w->tensors);
    free(w->checkpoint);
    free(w->dtype);
    free(w->raw);
    free(w);
}

const ModelTensors *weights_tensors(const Weights *w) { return &w->tensors; }
Dtype weights_dtype(const Weights *w, int64_t i) { return w->dtype[i]; }
bool weights_trained(const Weights *w) {
    return !w->folder && manifest_count(&w->manifest, kind_names[KIND_ADAM_M]) > 0;
}
bool weights_have_masters(const Weights *w) {
    return !w->folder && manifest_count(&w->manifest, kind_names[KIND_MASTER]) > 0;
}
int64_t weights_left_out(const Weights *w) { return w->folder ? safetensors_count(w->folder) - w->tensors.count : 0; }

/* The stored form that `wanted` is made from; *path names it in a checkpoint. */
static Dtype source_dtype(const Weights *w, int64_t i, Dtype wanted, const ManifestDataset **from) {
    if (w->folder) return w->dtype[i];
    *from = wanted == F32 ? dataset(w, KIND_MASTER, i) : NULL;
    if (!*from) *from = dataset(w, KIND_MODEL, i);
    return (*from)->dtype;
}

static bool read_stored(Weights *w, int64_t i, const ManifestDataset *from, Dtype d, int64_t first, int64_t count,
                        void *to, Error *error) {
    int64_t size = dtype_bytes(d);
    if (w->folder) {
        const StTensor *t = folder_tensor(w, i);
        return safetensors_bytes(w->folder, t, first * size, count * size, to, error) &&
               weights_finite(to, d, first, count, t->file, t->name, error);
    }
    H5Reader *r = reader_of(w, from->rank, error);
    return r && h5_read(r, from->path, d, first, count, to, error) &&
           weights_finite(to, d, first, count, w->checkpoint, from->path, error);
}

bool weights_read(Weights *w, int64_t i, Dtype wanted, int64_t first, int64_t count, void *to, Error *error) {
    const ManifestDataset *from = NULL;
    check(count <= WEIGHTS_PART, "%lld elements at once", (long long)count);
    Dtype stored = source_dtype(w, i, wanted, &from);
    if (stored == wanted) return read_stored(w, i, from, stored, first, count, to, error);
    if (!read_stored(w, i, from, stored, first, count, w->raw, error)) return false;
    floats_convert(to, wanted, w->raw, stored, count);
    const char *name = w->tensors.list[i].name, *file = w->folder ? folder_tensor(w, i)->file : w->checkpoint;
    int64_t at = floats_nonfinite(to, wanted, count);
    return at < 0 || fail(error, "%s: tensor %s: element %lld does not fit %s", file, name, (long long)(first + at),
                          dtype_name(wanted));
}
