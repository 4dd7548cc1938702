/* head.h - final norm, projection to the vocabulary and cross-entropy, in chunks of rows, so that
 * the logits of a whole batch never exist at once. Forward and backward of a chunk are one: its
 * gradient is made while its logits are there.
 * Shapes: N tokens, D hidden, V vocabulary. */
#pragma once
#include "model/linear.h"

typedef struct {
    Norm norm;
    Linear out;    /* (V, D) */
    int64_t chunk; /* rows */
} Head;

typedef struct {
    Tensor loss_sum;   /* (1) F64: += sum of weight * loss                      */
    Tensor dx;         /* (N, D): gradient by x; none = no backward             */
    Tensor token_loss; /* (N) stat: -log p of each label; none = not wanted   */
} HeadOut;

void head_init(Head *, Params *, Run *);
/* Weight gradients of the head are added at once. */
void head_loss(HeadOut out, const Head *, Tensor x, const Batch *, Run *);
/* logits (n, V) stat of n rows of x */
void head_logits(Tensor logits, const Head *, Tensor x, Run *);
