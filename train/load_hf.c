#include "train/load_hf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool shape_fits(const StTensor *t, const Param *p, Error *error) {
    bool fits = p->is_vector ? t->ndim == 1 && t->dim[0] == p->cols
                             : t->ndim == 2 && t->dim[0] == p->rows && t->dim[1] == p->cols;
    if (fits) return true;
    return fail(error, "%s: tensor %s has %d dims, the first %lld; config.json asks for (%lld, %lld)", t->file,
                t->name, t->ndim, (long long)(t->ndim ? t->dim[0] : 0), (long long)p->rows, (long long)p->cols);
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

/* Published tensors that no layer of this model has. inv_freq is a constant that some old files carry. */
static bool no_surplus(const Params *params, const Safetensors *from, const Run *run, Error *error) {
    int64_t wanted = 0, ep = mesh_size(&run->mesh, AXIS_EP);
    for (int i = 0; i < params->count; i++)
        wanted += params->list[i].units * (params->list[i].sum_axis == AXIS_EDP ? ep : 1);
    int64_t there = 0;
    for (int64_t i = 0; i < safetensors_count(from); i++)
        there += !strstr(safetensors_at(from, i)->name, "rotary_emb.inv_freq");
    if (there == wanted) return true;
    return fail(error,
                "the model's safetensors hold %lld tensors, config.json asks for %lld: they do not belong together",
                (long long)there, (long long)wanted);
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
