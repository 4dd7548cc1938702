#include "train/model_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

static int by_name(const void *a, const void *b) {
    return strcmp((*(const ModelTensor *const *)a)->name, (*(const ModelTensor *const *)b)->name);
}

void model_tensors_open(ModelTensors *m, const Params *params, int ep) {
    *m = (ModelTensors){0};
    for (int i = 0; i < params->count; i++) {
        Param all = params->list[i];
        if (all.sum_axis == AXIS_EDP) all.units *= ep, all.first_expert = 0;
        m->list = must_realloc(m->list, m->count + all.units, sizeof *m->list);
        for (int64_t u = 0; u < all.units; u++) {
            ModelTensor *t = &m->list[m->count++];
            *t = (ModelTensor){.rows = all.rows, .cols = all.cols, .is_vector = all.is_vector};
            param_unit_name(&all, u, t->name);
        }
    }
    m->by_name = must_alloc(m->count, sizeof *m->by_name);
    for (int64_t i = 0; i < m->count; i++) m->by_name[i] = &m->list[i];
    qsort(m->by_name, (size_t)m->count, sizeof *m->by_name, by_name);
}

bool model_tensors_plan(ModelTensors *m, const Config *c, Error *error) {
    Model model;
    Run run;
    Device *device = device_open("plan", c->backend);
    check(device, "there is no plan for backend %s", c->backend);
    Comm *world = comm_open_plan(0, 1);
    bool ok = run_open(&run, c, device, world, (ArenaBytes){0}, error);
    if (ok) {
        model_init(&model, &run, 1, 1, false, false);
        model_tensors_open(m, &model.params, 1);
        model_close(&model);
        run_close(&run);
    }
    world->ops->close(world);
    device_close(device);
    return ok;
}

void model_tensors_close(ModelTensors *m) {
    free(m->list);
    free(m->by_name);
    *m = (ModelTensors){0};
}

/* -- beside a folder ------------------------------------------------------------------------------ */

static void shape_text(char to[128], const int64_t *dim, int ndim) {
    size_t used = (size_t)snprintf(to, 128, "(");
    for (int i = 0; i < ndim && used < 96; i++)
        used += (size_t)snprintf(to + used, 128 - used, i ? ", %lld" : "%lld", (long long)dim[i]);
    snprintf(to + used, 128 - used, ")");
}

static bool shape_fits(const StTensor *t, const ModelTensor *wanted, Error *error) {
    int64_t matrix[2] = {wanted->rows, wanted->cols}, *dim = matrix + wanted->is_vector;
    int ndim = wanted->is_vector ? 1 : 2;
    if (t->ndim == ndim && !memcmp(t->dim, dim, (size_t)ndim * sizeof *dim)) return true;
    char has[128], asked[128];
    shape_text(has, t->dim, t->ndim);
    shape_text(asked, dim, ndim);
    return fail(error, "%s: tensor %s is of shape %s, config.json asks for %s", t->file, t->name, has, asked);
}

/* "" or ", nor 12 others" */
static const char *others(char to[64], int64_t count, const char *word) {
    to[0] = 0;
    if (count > 1) snprintf(to, 64, ", %s %lld other%s", word, (long long)count - 1, count > 2 ? "s" : "");
    return to;
}

static bool none_missing(const ModelTensors *m, const Safetensors *from, Error *error) {
    int64_t missing = 0, first = 0;
    char more[64];
    for (int64_t i = m->count - 1; i >= 0; i--)
        if (!safetensors_find(from, m->list[i].name)) missing++, first = i;
    return !missing || fail(error, "%s: tensor %s is missing from the model's safetensors%s", safetensors_path(from),
                            m->list[first].name, others(more, missing, "and"));
}

static bool is_wanted(const ModelTensors *m, const char *name) {
    ModelTensor key;
    const ModelTensor *p = &key;
    if (strlen(name) >= sizeof key.name) return false;
    snprintf(key.name, sizeof key.name, "%s", name);
    return bsearch(&p, m->by_name, (size_t)m->count, sizeof p, by_name) != NULL;
}

static bool none_surplus(const ModelTensors *m, const Safetensors *from, Error *error) {
    const StTensor *first = NULL;
    int64_t surplus = 0;
    char more[64];
    for (int64_t i = 0; i < safetensors_count(from); i++) {
        const StTensor *t = safetensors_at(from, i);
        if (is_wanted(m, t->name) || strstr(t->name, "rotary_emb.inv_freq")) continue;
        if (!surplus++) first = t;
    }
    return !surplus ||
           fail(error,
                "%s: tensor %.300s is not of the model that config.json describes%s: they do not belong together",
                first->file, first->name, others(more, surplus, "nor"));
}

bool model_tensors_match(const ModelTensors *m, const Safetensors *from, Error *error) {
    if (!none_missing(m, from, error)) return false;
    for (int64_t i = 0; i < m->count; i++)
        if (!shape_fits(safetensors_find(from, m->list[i].name), &m->list[i], error)) return false;
    return none_surplus(m, from, error);
}
