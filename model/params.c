#include "model/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS_MAX = 1 << 14 }; /* fixed, so that pointers into the list stay valid */

void params_open(Params *params, bool training, bool optimizer) {
    *params = (Params){.training = training, .optimizer = training && optimizer, .capacity = PARAMS_MAX};
    params->list = must_alloc(PARAMS_MAX, sizeof *params->list);
}

void params_close(Params *params) {
    free(params->list);
    *params = (Params){0};
}

Param *param_add(Params *params, Run *run, ParamKind kind, Axis sum_axis, int layer, const char *pattern,
                 int64_t first_expert, int64_t units, int64_t rows, int64_t cols) {
    check(params->count < params->capacity, "more than %d parameters", params->capacity);
    Param *p = &params->list[params->count++];
    Dtype stat = run_stat_dtype(run), dtype = kind == PARAM_ROUTER ? stat : run->dtype;
    *p = (Param){.units = units,
                 .rows = rows,
                 .cols = cols,
                 .is_vector = kind == PARAM_VECTOR,
                 .first_expert = first_expert,
                 .sum_axis = sum_axis,
                 .layer = layer,
                 .init_std = kind == PARAM_VECTOR ? -1 : run->config->initializer_range,
                 .decay = kind != PARAM_VECTOR};
    snprintf(p->pattern, sizeof p->pattern, "%s", pattern);
    p->w = arena_2d(&run->state, dtype, units * rows, cols);
    if (params->training) p->dw = arena_2d(&run->state, stat, units * rows, cols);
    if (params->optimizer) {
        p->master = dtype == stat ? p->w : arena_2d(&run->state, stat, units * rows, cols);
        p->m = arena_2d(&run->state, stat, units * rows, cols);
        p->v = arena_2d(&run->state, stat, units * rows, cols);
    }
    return p;
}

/* Number of alternatives in {a,b,...}, and the text of one of them. */
static int64_t alternatives(const char *open) {
    int64_t n = 1;
    for (; *open != '}'; open++) n += *open == ',';
    return n;
}
static const char *alternative(const char *open, int64_t which, int *length) {
    const char *at = open + 1;
    for (; which > 0; at++) which -= *at == ',';
    *length = (int)strcspn(at, ",}");
    return at;
}

void param_unit_name(const Param *p, int64_t unit, char name[192]) {
    const char *open = strchr(p->pattern, '{');
    int64_t n = open ? alternatives(open) : 1, expert = p->first_expert + unit / n;
    size_t used = 0;
    for (const char *c = p->pattern; *c; c++) {
        if (*c == '#') {
            used += (size_t)snprintf(name + used, 192 - used, "%lld", (long long)expert);
        } else if (*c == '{') {
            int length;
            const char *text = alternative(c, unit % n, &length);
            used += (size_t)snprintf(name + used, 192 - used, "%.*s", length, text);
            c = strchr(c, '}');
        } else {
            name[used++] = *c;
        }
        check(used < 191, "a parameter's name is too long: %s", p->pattern);
    }
    name[used] = 0;
}

Tensor param_unit(const Param *p, Tensor of, int64_t unit) { return tensor_rows_view(of, unit * p->rows, p->rows); }

static void init_unit(Param *p, Run *run, int64_t unit) {
    char name[192];
    param_unit_name(p, unit, name);
    Tensor w = param_unit(p, tensor_none(p->master) ? p->w : p->master, unit);
    if (p->init_std < 0)
        run->k->fill(run->device, w, 1.0);
    else
        run->k->random_normal(run->device, w, p->init_std, (uint64_t)run->config->seed, hash_string(name), 0);
}

void params_init_random(Params *params, Run *run) {
    for (int i = 0; i < params->count; i++) {
        Param *p = &params->list[i];
        for (int64_t u = 0; u < p->units; u++) init_unit(p, run, u);
        if (!tensor_none(p->master) && p->master.data != p->w.data) run->k->convert(run->device, p->w, p->master);
    }
    params_zero_moments(params, run);
}

void params_zero_moments(Params *params, Run *run) {
    for (int i = 0; i < params->count && params->optimizer; i++) {
        run->k->fill(run->device, params->list[i].m, 0.0);
        run->k->fill(run->device, params->list[i].v, 0.0);
    }
}

void params_forget_gradients(Params *params) {
    for (int i = 0; i < params->count; i++) params->list[i].has_gradient = false;
}

void params_complete_gradients(Params *params, Run *run) {
    for (int i = 0; i < params->count; i++) param_gradient(&params->list[i], run);
}

Tensor param_gradient(Param *p, Run *run) {
    if (!p->has_gradient) run->k->fill(run->device, p->dw, 0.0);
    p->has_gradient = true;
    return p->dw;
}
