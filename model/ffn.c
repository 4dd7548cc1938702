#include "model/ffn.h"

#include <stdio.h>

void ffn_init(Ffn *f, Params *params, Run *run, int layer, const char *prefix, int64_t width) {
    int64_t d = run->config->hidden_size;
    char pattern[128];
    f->width = width;
    snprintf(pattern, sizeof pattern, "model.layers.%d.%s.{gate_proj,up_proj}.weight", layer, prefix);
    f->gate_up.p = param_add(params, run, PARAM_MATRIX, AXIS_DP, layer, pattern, 0, 2, width, d);
    snprintf(pattern, sizeof pattern, "model.layers.%d.%s.down_proj.weight", layer, prefix);
    f->down.p = param_add(params, run, PARAM_MATRIX, AXIS_DP, layer, pattern, 0, 1, d, width);
}

void ffn_forward(Tensor y, const Ffn *f, FfnActs *a, Tensor x, Run *run) {
    int64_t n = tensor_rows(x), mark = arena_mark(&run->scratch);
    *a = (FfnActs){.x = x, .gate_up = acts_2d(run, n, 2 * f->width)};
    Tensor hidden = scratch_2d(run, n, f->width);
    linear_forward(a->gate_up, &f->gate_up, x, run);
    run->k->swiglu_forward(run->device, hidden, a->gate_up);
    linear_forward(y, &f->down, hidden, run);
    arena_rewind(&run->scratch, mark);
}

void ffn_backward_input(Tensor dx, const Ffn *f, FfnActs *a, Tensor dy, Run *run) {
    int64_t n = tensor_rows(dx), mark = arena_mark(&run->scratch);
    a->dy = dy;
    a->dgate_up = acts_2d(run, n, 2 * f->width);
    a->hidden = acts_2d(run, n, f->width);
    Tensor dhidden = scratch_2d(run, n, f->width);
    linear_backward_input(dhidden, &f->down, dy, false, run);
    run->k->swiglu_backward(run->device, a->dgate_up, a->hidden, dhidden, a->gate_up);
    linear_backward_input(dx, &f->gate_up, a->dgate_up, false, run);
    arena_rewind(&run->scratch, mark);
}

void ffn_backward_weight(const Ffn *f, FfnActs *a, Run *run) {
    linear_backward_weight(&f->down, a->dy, a->hidden, run);
    linear_backward_weight(&f->gate_up, a->dgate_up, a->x, run);
}
