#include "train/load_hf.h"

#include <math.h>
#include <stdlib.h>

#include "train/model_tensors.h"

bool weights_finite(const void *values, Dtype dtype, int64_t first, int64_t n, const char *file, const char *name,
                    Error *error) {
    int64_t at = floats_nonfinite(values, dtype, n);
    if (at < 0) return true;
    float value;
    floats_convert(&value, F32, (const char *)values + at * dtype_bytes(dtype), dtype, 1);
    return fail(error, "%s: tensor %s holds %s at element %lld; the file is damaged or was saved from a broken run",
                file, name, isnan(value) ? "NaN" : "infinity", (long long)(first + at));
}

/* Elements [first, first + n) of one published tensor go to w and, where it is another tensor, to master. */
static bool copy_block(Param *p, int64_t unit, const StTensor *t, int64_t first, int64_t n, float *host, Run *run,
                       Error *error) {
    if (!safetensors_read(t, F32, first, n, host, error) ||
        !weights_finite(host, F32, first, n, t->file, t->name, error))
        return false;
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
    for (int64_t first = 0; first < t->count; first += LOAD_BLOCK)
        if (!copy_block(p, unit, t, first, min_i64(LOAD_BLOCK, t->count - first), host, run, error)) return false;
    return true;
}

bool load_hf(Params *params, const Safetensors *from, Run *run, Error *error) {
    ModelTensors wanted;
    model_tensors_open(&wanted, params, mesh_size(&run->mesh, AXIS_EP));
    bool ok = model_tensors_match(&wanted, from, error);
    model_tensors_close(&wanted);
    float *host = must_alloc(LOAD_BLOCK, sizeof *host);
    for (int i = 0; ok && i < params->count; i++)
        for (int64_t u = 0; ok && u < params->list[i].units; u++)
            ok = load_unit(&params->list[i], u, from, host, run, error);
    free(host);
    if (ok) params_zero_moments(params, run);
    return ok;
}
