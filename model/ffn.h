/* ffn.h - SwiGLU feed-forward layer: y = down(silu(gate x) * (up x)). Dense layers and the shared
 * experts. Shapes: N tokens, D hidden, F width; gate and up are one matrix (2F, D), gate rows first. */
#pragma once
#include "model/linear.h"

typedef struct {
    Linear gate_up, down;
    int64_t width;
} Ffn;

typedef struct {
    Tensor x, gate_up;   /* (N, D) the caller's, (N, 2F)        */
    Tensor dy, dgate_up; /* for the weight gradients            */
    Tensor hidden;       /* (N, F), computed again by backward  */
} FfnActs;

/* prefix: "mlp" or "mlp.shared_experts" */
void ffn_init(Ffn *, Params *, Run *, int layer, const char *prefix, int64_t width);
void ffn_forward(Tensor y, const Ffn *, FfnActs *, Tensor x, Run *);
void ffn_backward_input(Tensor dx, const Ffn *, FfnActs *, Tensor dy, Run *);
void ffn_backward_weight(const Ffn *, FfnActs *, Run *);
