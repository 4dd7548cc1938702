/* checkpoint_load.c - any layout's checkpoint into any layout, by published name.
 *
 * The ranks share the verification of the files; then each reads what it holds, file by file. fp32
 * tensors come from the master where there is one, bf16 weights from the weights; whichever is
 * missing follows from the other. */
#include "train/checkpoint_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "launch/agree.h"

enum { CHUNK = 1 << 18 }; /* elements converted at a time */

typedef struct {
    const Piece *to;
    const ManifestDataset *from;
} Transfer;

typedef struct {
    const char *checkpoint;
    const Manifest *manifest;
    Run *run;
    Transfer *list;
    int n;
    Error *error;
} Loading;

/* -- where each tensor comes from --------------------------------------------------------------- */
static const ManifestDataset *find(const Manifest *m, Kind kind, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", kind_names[kind], name);
    return manifest_dataset(m, path);
}

static const ManifestDataset *source_of(const Manifest *m, const Piece *p) {
    if (p->kind == KIND_ADAM_M || p->kind == KIND_ADAM_V) return find(m, p->kind, p->name);
    const ManifestDataset *master = p->data.dtype == F32 ? find(m, KIND_MASTER, p->name) : NULL;
    return master ? master : find(m, KIND_MODEL, p->name);
}

static bool check_shape(const Loading *l, const Piece *p, const ManifestDataset *d) {
    int64_t rows = tensor_rows(p->data), cols = tensor_cols(p->data);
    int64_t d_rows = d->ndim == 2 ? d->dim[0] : 1, d_cols = d->dim[d->ndim - 1];
    if (rows != d_rows || cols != d_cols)
        return fail(l->error, "%s: %s is %lld x %lld, the model's is %lld x %lld: another model", l->checkpoint,
                    d->path, (long long)d_rows, (long long)d_cols, (long long)rows, (long long)cols);
    return d->dtype == F32 || d->dtype == BF16 || d->dtype == F16 ||
           fail(l->error, "%s: %s holds %s; f32, bf16 or f16 is wanted", l->checkpoint, d->path,
                dtype_name(d->dtype));
}

static int by_file(const void *a, const void *b) {
    int x = ((const Transfer *)a)->from->rank, y = ((const Transfer *)b)->from->rank;
    return (x > y) - (x < y);
}

static bool plan_transfers(Loading *l, const Piece *piece, int pieces) {
    bool moments = manifest_count(l->manifest, kind_names[KIND_ADAM_M]) > 0;
    l->list = must_alloc(pieces, sizeof *l->list);
    for (int i = 0; i < pieces; i++) {
        const Piece *p = &piece[i];
        if (!moments && (p->kind == KIND_ADAM_M || p->kind == KIND_ADAM_V)) continue;
        const ManifestDataset *from = source_of(l->manifest, p);
        if (!from) return fail(l->error, "%s: holds no %s: another model", l->checkpoint, p->path);
        if (!check_shape(l, p, from)) return false;
        l->list[l->n++] = (Transfer){p, from};
    }
    qsort(l->list, (size_t)l->n, sizeof *l->list, by_file);
    return true;
}

/* -- reading ---------------------------------------------------------------------------------- */
static bool read_piece(const Loading *l, H5Reader *r, const Transfer *t, void *raw, void *ready) {
    Device *device = l->run->device;
    Tensor to = t->to->data;
    int64_t size = dtype_bytes(to.dtype), count = tensor_count(to);
    check(to.dtype == F32 || to.dtype == BF16, "%s is %s in memory", t->to->path, dtype_name(to.dtype));
    for (int64_t done = 0, part; done < count; done += part) {
        part = min_i64(count - done, CHUNK);
        if (!h5_read(r, t->from->path, t->from->dtype, done, part, raw, l->error)) return false;
        floats_convert(ready, to.dtype, raw, t->from->dtype, part);
        device->ops->to_device(device, (char *)to.data + done * size, ready, part * size);
    }
    return true;
}

/* All transfers from one file, which begin at *next and which it moves on. */
static bool read_file(const Loading *l, int *next, void *raw, void *ready) {
    char file[PATH_MAX], name[32];
    int rank = l->list[*next].from->rank;
    rank_file_name(name, rank);
    disk_path(file, "%s/%s", l->checkpoint, name);
    H5Reader *r = h5_open_proven(file, l->error);
    if (!r) return false;
    bool ok = true;
    for (; ok && *next < l->n && l->list[*next].from->rank == rank; ++*next)
        ok = read_piece(l, r, &l->list[*next], raw, ready);
    h5_close(r);
    return ok;
}

static bool read_all(const Loading *l) {
    void *raw = must_alloc(CHUNK, sizeof(float)), *ready = must_alloc(CHUNK, sizeof(float));
    bool ok = true;
    for (int next = 0; ok && next < l->n;) ok = read_file(l, &next, raw, ready);
    free(raw);
    free(ready);
    return ok;
}

/* -- together ---------------------------------------------------------------------------------- */
/* Files are shared out among the ranks, so that all of them are hashed once. */
static bool verify_share(const Manifest *m, const char *path, const Comm *world, Error *error) {
    if (!manifest_names_all(m, path, error)) return false;
    for (int i = world->rank; i < m->files; i += world->size)
        if (!manifest_check_file(&m->file[i], path, error)) return false;
    return true;
}

/* Collective. What every rank looked up was there; so the model is another one when there is more. */
static bool same_count(const Manifest *m, const char *path, const Params *params, Run *run, Error *error) {
    Piece *piece;
    int n = pieces_list(&piece, params, run, PIECES_WRITTEN);
    int64_t units = 0, stored = manifest_count(m, kind_names[KIND_MODEL]);
    for (int i = 0; i < n; i++) units += piece[i].kind == KIND_MODEL;
    pieces_free(piece, n);
    comm_reduce_i64(run->mesh.world, &units, 1, REDUCE_SUM);
    return units == stored || fail(error, "%s: holds %lld tensors, the model has %lld: another model", path,
                                   (long long)stored, (long long)units);
}

static bool read_params(const Manifest *m, const char *path, Params *params, Run *run, Error *error) {
    Loading l = {.checkpoint = path, .manifest = m, .run = run, .error = error};
    Piece *piece;
    int n = pieces_list(&piece, params, run, PIECES_HELD);
    bool ok = plan_transfers(&l, piece, n) && read_all(&l);
    if (ok && !manifest_count(m, kind_names[KIND_ADAM_M])) params_zero_moments(params, run);
    free(l.list);
    pieces_free(piece, n);
    return ok;
}

static bool read_progress(const Manifest *m, const char *path, Progress *progress, Error *error) {
    char *config_text;
    if (!state_read(path, m, progress, &config_text, error)) return false;
    bool ok = (hash_string(config_text) == m->config_hash && progress->step == m->step) ||
              fail(error, "%s: " MASTER_NAME " and MANIFEST are of different checkpoints", path);
    free(config_text);
    return ok;
}

/* Machines may have different files under one name, and parts of two runs are none. */
static bool same_everywhere(const Manifest *m, const char *path, Comm *world, Error *error) {
    uint64_t first = m->own_hash;
    world->ops->host_broadcast(world, &first, sizeof first, 0);
    return first == m->own_hash ||
           fail(error, "%s: is another checkpoint here than on rank 0; all ranks must see the same files", path);
}

static bool load(const char *path, bool verified, Params *params, Run *run, Progress *progress, Error *error) {
    Comm *world = run->mesh.world;
    Manifest m = {0};
    bool ok =
        agree(world, manifest_read(&m, path, error), error) &&
        agree(world, same_everywhere(&m, path, world, error), error) &&
        (verified || agree(world, verify_share(&m, path, world, error), error)) &&
        agree(world, same_count(&m, path, params, run, error), error) &&
        agree(world, read_progress(&m, path, progress, error) && read_params(&m, path, params, run, error), error);
    manifest_free(&m);
    return ok;
}

bool checkpoint_load(const char *path, Params *params, Run *run, Progress *progress, Error *error) {
    return load(path, false, params, run, progress, error);
}

bool checkpoint_load_verified(const char *path, Params *params, Run *run, Progress *progress, Error *error) {
    return load(path, true, params, run, progress, error);
}
