/* load_hf.h - weights of a published folder (safetensors) into the parameters of this rank. */
#pragma once
#include "data/safetensors.h"
#include "model/params.h"

enum { LOAD_BLOCK = 1 << 18 }; /* elements on their way at once: fp32, in run->scratch */

/* Fills w and master of every parameter. Missing, surplus, misshaped and non-finite tensors are named. Each rank
 * reads what it holds; the caller agrees with the others on the outcome. */
bool load_hf(Params *, const Safetensors *, Run *, Error *);
/* n host copies, from element `first` of a tensor on: no NaN, no infinity. */
bool weights_finite(const void *values, Dtype, int64_t first, int64_t n, const char *file, const char *name, Error *);
