/* sync.h - gradients of all ranks become one: summed over the ranks that hold copies of a
 * parameter (Param.sum_axis), in rank order, so that every copy has the same bits. */
#pragma once
#include "model/params.h"

void grads_sync(Params *, Run *);

/* Norm of the whole model's gradient; every expert counted once. The same bits on every rank.
 * NaN or infinite where any gradient is. `sum` is a device F64 of one element. */
double grads_norm(const Params *, Tensor sum, Run *);
