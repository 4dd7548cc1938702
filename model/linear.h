/* linear.h - projections and norms: one parameter and the kernels that use it. Every projection of
 * the model is a Linear, the one place where another form of weight would go.
 * Shapes: x (N, in), y (N, out), w (out, in). */
#pragma once
#include "model/params.h"

typedef struct {
    Param *p;
} Linear;
typedef struct {
    Param *p;
    double eps;
} Norm;

static inline void linear_forward(Tensor y, const Linear *l, Tensor x, Run *run) {
    run->k->linear_forward(run->device, y, x, l->p->w);
}
static inline void linear_backward_input(Tensor dx, const Linear *l, Tensor dy, bool accumulate, Run *run) {
    run->k->linear_backward_input(run->device, dx, dy, l->p->w, accumulate);
}
static inline void linear_backward_weight(const Linear *l, Tensor dy, Tensor x, Run *run) {
    run->k->linear_backward_weight(run->device, l->p->dw, dy, x, l->p->has_gradient);
    l->p->has_gradient = true;
}

static inline void norm_forward(Tensor y, Tensor rstd, const Norm *n, Tensor x, Run *run) {
    run->k->rmsnorm_forward(run->device, y, rstd, x, n->p->w, n->eps);
}
static inline void norm_backward_input(Tensor dx, const Norm *n, Tensor dy, Tensor x, Tensor rstd, bool accumulate,
                                       Run *run) {
    run->k->rmsnorm_backward_input(run->device, dx, dy, x, n->p->w, rstd, accumulate);
}
static inline void norm_backward_weight(const Norm *n, Tensor dy, Tensor x, Tensor rstd, Run *run) {
    run->k->rmsnorm_backward_weight(run->device, param_gradient(n->p, run), dy, x, rstd);
}

/* Memory in run->acts (kept until the layer's backward) and run->scratch, in the activations' dtype. */
static inline Tensor acts_2d(Run *run, int64_t rows, int64_t cols) {
    return arena_2d(&run->acts, run->dtype, rows, cols);
}
static inline Tensor scratch_2d(Run *run, int64_t rows, int64_t cols) {
    return arena_2d(&run->scratch, run->dtype, rows, cols);
}
static inline Tensor acts_stat(Run *run, int64_t n) { return arena_1d(&run->acts, run_stat_dtype(run), n); }
