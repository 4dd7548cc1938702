/* adamw.h - AdamW with decoupled decay (arXiv:1711.05101) over the list of parameters: fp32
 * masters and moments, decay on matrices only, gradients scaled by the clipping factor. */
#pragma once
#include "model/params.h"

typedef struct {
    double learning_rate, clip; /* factor on the gradients: 1, or max_grad_norm / norm */
    int64_t step;               /* optimizer steps taken, this one included            */
} AdamwStep;

/* Called before a parameter changes (a checkpoint may still be reading it); may be NULL. */
typedef void (*BeforeUpdate)(void *own, int index);

void adamw_step(Params *, AdamwStep, BeforeUpdate, void *own, Run *);
/* max_grad_norm / norm where norm exceeds it, else 1; max_grad_norm 0 = never clip */
double clip_factor(double norm, double max_grad_norm);
