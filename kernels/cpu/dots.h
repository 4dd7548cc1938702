/* dots.h - products of few rows, where a library's packing would cost more than the product: each element of b is read
 * once for four rows of a, straight from where it lies.
 *
 * An element of a result is summed in an order that depends on the number of terms alone: not on how many rows or
 * columns are computed beside it. */
#pragma once
#include "kernels/tensor.h"

enum { FEW_ROWS = 16 }; /* above this, a library is faster */

/* c (m, n) = a (m, k) b (n, k)^T; b is F32 or BF16. Leading dims in elements. */
typedef struct {
    int64_t m, n, k, lda, ldb, ldc;
} Dots;
void dots(Dots, float *c, const float *a, const void *b, Dtype b_dtype);

/* c (m, n) += a (m, k) b (k, n) */
void combine(Dots, float *c, const float *a, const float *b);
