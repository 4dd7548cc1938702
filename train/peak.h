/* peak.h - what this machine's matrix products reach: percent_of_peak is measured against it. */
#pragma once
#include "kernels/kernels.h"

typedef struct {
    const char *name;
    int64_t rows, out, in;
} PeakShape;
extern const PeakShape peak_shapes[]; /* ended by a row without a name */

/* FLOP/s of linear_forward on one shape, the best of a few calls. */
double peak_measure(Device *, const PeakShape *, Dtype);
/* The best over the list; 0 for backends that are not meant to be fast (ref, plan). */
double peak_flops(Device *, Dtype);
