#include "train/load_hf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void shape_text(char to[128], const int64_t *dim, int ndim) {
    size_t used = (size_t)snprintf(to, 128, "(");
    for (int i = 0; i < ndim && used < 96; i++)
        used += (size_t)snprintf(to + used, 128 - used, i ? ", %lld" : "%lld", (long long)dim[i]);
    snprintf(to + used, 128 - used, ")");
}

static bool shape_fits(const StTensor *t, const Param *p, Error *error) {
    int64_t matrix[2] = {p->rows, p->cols}, *wanted = p->is_vector ? matrix + 1 : matrix;
    int ndim = p->is_vector ? 1 : 2;
    if (t->ndim == ndim && !memcmp(t->dim, wanted, (size_t)ndim * sizeof *wanted)) return true;
    char has[128], asked[128];
    shape_text(has, t->dim, t->ndim);
    shape_text(asked, wanted, ndim);
    return fail(error, "%s: tensor %s is of shape %s, config.json asks for %s", t->file, t->name, has, asked);
}

static bool finite_values(const float *values, int64_t n, const StTensor *t, int64_t first, Error *error) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return fail(error,
                        "%s: tensor %s holds %s at element %lld; the file is damaged or was saved from a broken run",
                        t->file, t->name, isnan(values[i]) ? "NaN" : "infinity", (long long)(first + i));
    return true;
}

/* Elements [first, first + n) of one published tensor go to w and, where it is another tensor, to master. */
static bool copy_block(Param *p, int64_t unit, const StTensor *t, int64_t first, int64_t n, float *host, Run *run,
                       Error *error) {
    if (!safetensors_read(t, F32, first, n, host, error) || !finite_values(host, n, t, first, error)) return false;
    int64_t mark = arena_mark(&run->scratch);
    Tensor block = arena_1d(&run->scratch, F32, n), targets[2] = {p->w, p->master};
    run->device->ops->to_device(run->device, block.data, host, tensor_bytes(block));
    for (int i = 0; i < 2; i++) {
        if (tensor_none(targets[i]) || (i == 1 && p->master.data == p->w.data)) continue;
        Tensor whole = param_unit(p, targets[i], unit);
        Tensor part = tensor_1d((char *)whole.data + first * dtype_bytes(whole.dtype), whole.dtype, n);
        run->k->convert(run->device, part, block);
    }
    arena_rewind(&run->scratch, mark);
    return true;
}

static bool load_unit(Param *p, int64_t unit, const Safetensors *from, float *host, Run *run, Error *error) {
    char name[192];
    param_unit_name(p, unit, name);
    const StTensor *t = safetensors_find(from, name);
    if (!t) return fail(error, "tensor %s is missing from the model's safetensors", name);
    if (!shape_fits(t, p, error)) return false;
    for (int64_t first = 0; first < t->count; first += LOAD_BLOCK)
        if (!copy_block(p, unit, t, first, min_i64(LOAD_BLOCK, t->count - first), host, run, error)) return false;
    return true;
}

typedef struct {
    char text[192];
} Name;

static int by_text(const void *a, const void *b) { return strcmp(((const Name *)a)->text, ((const Name *)b)->text); }

/* Sorted names of all tensors of the model, experts of other ranks included. */
static Name *wanted_names(const Params *params, const Run *run, int64_t *count) {
    Name *names = NULL;
    *count = 0;
    for (int i = 0; i < params->count; i++) {
        Param all = params->list[i];
        if (all.sum_axis == AXIS_EDP) all.units *= mesh_size(&run->mesh, AXIS_EP), all.first_expert = 0;
        names = must_realloc(names, *count + all.units, sizeof *names);
        for (int64_t u = 0; u < all.units; u++) param_unit_name(&all, u, names[(*count)++].text);
    }
    qsort(names, (size_t)*count, sizeof *names, by_text);
    return names;
}

/* Published tensors that no layer of this model has. inv_freq is a constant that some old files carry. */
static bool no_surplus(const Params *params, const Safetensors *from, const Run *run, Error *error) {
    const StTensor *first = NULL;
    int64_t wanted, surplus = 0;
    Name *names = wanted_names(params, run, &wanted), name;
    for (int64_t i = 0; i < safetensors_count(from); i++) {
        const StTensor *t = safetensors_at(from, i);
        snprintf(name.text, sizeof name.text, "%s", t->name);
        bool known =
            strlen(t->name) < sizeof name.text && bsearch(&name, names, (size_t)wanted, sizeof name, by_text);
        if (known || strstr(t->name, "rotary_emb.inv_freq")) continue;
        if (!surplus++) first = t;
    }
    free(names);
    if (!surplus) return true;
    char more[64] = "";
    if (surplus > 1) snprintf(more, sizeof more, ", nor %lld others", (long long)(surplus - 1));
    return fail(error,
                "%s: tensor %.300s is not of the model that config.json describes%s: they do not belong together",
                first->file, first->name, more);
}

bool load_hf(Params *params, const Safetensors *from, Run *run, Error *error) {
    float *host = must_alloc(LOAD_BLOCK, sizeof *host);
    bool ok = true;
    for (int i = 0; ok && i < params->count; i++)
        for (int64_t u = 0; ok && u < params->list[i].units; u++)
            ok = load_unit(&params->list[i], u, from, host, run, error);
    free(host);
    if (ok) params_zero_moments(params, run);
    return ok && no_surplus(params, from, run, error);
}
