/* trial.h - tensors for a test of kernels: made alike on any device, watched after the call.
 *
 * A Trial makes its tensors in order, each filled from its own random stream, so the same sequence
 * of calls on two devices gives the same inputs. Every tensor lies between guard bands; with
 * `strided`, matrices also have gaps between their rows. Watched tensors are read back, guards and
 * gaps checked. Tensors live in device memory and are reached by its copies alone. */
#pragma once
#include "kernels/kernels.h"
#include "tests/test.h"

enum { WATCHED = 12, GROUPS = 16, VECTOR = -1 }; /* rows = VECTOR: a 1-D tensor of `cols` elements */

typedef struct {
    Device *device;
    const Kernels *k;
    Dtype dtype, stat;
    bool strided;
    Arena arena;
    uint64_t made; /* tensors so far: the stream of the next */
    Tensor watched[WATCHED];
    int count;
    int64_t first[GROUPS + 1]; /* of its Groups */
} Trial;

void trial_open(Trial *, Device *, Dtype, bool strided);
void trial_close(Trial *);

Tensor trial_place(Trial *, Dtype, int64_t rows, int64_t cols, const double *values);
Tensor trial_random(Trial *, Dtype, int64_t rows, int64_t cols);                 /* N(0, 1) */
Tensor trial_ids(Trial *, int64_t rows, int64_t cols, int64_t low, int64_t end); /* low <= id < end */
Tensor trial_poisoned(Trial *, Dtype, int64_t rows, int64_t cols);               /* NaN; ints: a huge value */
Tensor trial_watch(Trial *, Tensor);                                             /* returns the tensor */
Groups trial_groups(Trial *, const int64_t *sizes, int64_t count);               /* one a trial */

/* The values of any of its tensors, row-major, to be freed. */
double *trial_read(const Trial *, Tensor);
/* Whether the guards and gaps of a tensor are as they were made. */
bool trial_guards_hold(const Trial *, Tensor);

/* Scale-free difference |a - b| / |b|, the worst element against the largest of b, and NaNs of a. */
typedef struct {
    double relative, worst;
    int64_t worst_at, nans;
} Difference;
Difference difference(const double *a, const double *b, int64_t count);
