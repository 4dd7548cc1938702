/* router.h - which experts a token goes to, with what weight, and the losses that keep their load
 * even (DeepSeek-V2, section 2.2.2-2.2.4; SEMANTICS sections 3 and 4).
 *
 * Scores, weights and gradients of the router are in the stat dtype whatever the activations are.
 * Shapes: N tokens, D hidden, E experts, K experts a token, S pools of the balance losses. */
#pragma once
#include "model/linear.h"

typedef struct {
    Linear gate; /* (E, D), stat dtype                                   */
    RouterRule rule;
    int64_t experts, top_k;
    Tensor balance; /* (3) F64: sums of L / alpha times sequences, this step */
} Router;

typedef struct {
    Tensor score;          /* (N, E)                                               */
    Tensor expert, weight; /* (N, K) as chosen                                     */
    Tensor kept;           /* (N, K) after token dropping; expert itself without   */
    Tensor slope;          /* (S, E) of the balance losses; none without           */
    Tensor dlogits;        /* (N, E) for the weight gradient                       */
} RouterActs;

void router_init(Router *, Params *, Run *, int layer);
void router_forward(const Router *, RouterActs *, Tensor x, const Batch *, Run *);
/* dx += ; dweight (N, K) */
void router_backward_input(Tensor dx, const Router *, RouterActs *, Tensor dweight, Run *);
void router_backward_weight(const Router *, RouterActs *, Tensor x, Run *);
