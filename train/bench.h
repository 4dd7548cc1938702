/* bench.h - speed of every kernel at the sizes of the two bench configs. */
#pragma once
#include "kernels/kernels.h"

#include <stdio.h>

/* One row per kernel, size and dtype: median time, rate, and the rate as a share of what this machine
 * reaches: for products the best of peak_shapes, otherwise a copy of memory, both timed in turn
 * with the kernel. word: only kernels whose name contains it; NULL: all. False when no name does. */
bool bench_kernels(Device *, const char *word, FILE *out);
