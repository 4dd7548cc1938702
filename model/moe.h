/* moe.h - DeepSeekMoE feed-forward layer (DeepSeek-V2, arXiv:2405.04434, section 2.2).
 *
 * A token passes the shared experts and its top-K routed experts; the routed part crosses the
 * expert axis twice: out (dispatch) and home (combine), in as many rounds as the buffers need. The
 * first round keeps its activations; later ones keep nothing and are computed again by the backward.
 * Shapes: N tokens here, D hidden, F expert width, E routed experts, e of them on this rank, K
 * top-k, V vectors received and P pairs computed in a round. Gate and up of an expert are one
 * matrix (2F, D), gate rows first. */
#pragma once
#include "model/exchange.h"
#include "model/ffn.h"
#include "model/router.h"

typedef struct {
    Router router;
    Param *gate_up, *down; /* (e 2F, D) (e D, F)                     */
    Ffn shared;            /* none when n_shared_experts is 0        */
    ExchangeShape shape;
    int64_t width; /* F                                      */
    int index;     /* among the layers with experts          */
} Moe;

typedef struct { /* of one round                           */
    Round round;
    Tensor vectors, slot_weight; /* (V, D) (V, K) received                 */
    Tensor weight;               /* (P) of each pair                       */
    Tensor gate_up;              /* (P, 2F)                                */
    Tensor dy;                   /* (P, D) for the weight gradients        */
    Tensor dgate_up, hidden;     /* (P, 2F) (P, F)                         */
} ExpertActs;

typedef struct {
    Tensor x; /* (N, D), the caller's                   */
    RouterActs router;
    ExpertActs experts; /* of the first round                     */
    FfnActs shared;
    int rounds;
} MoeActs;

void moe_init(Moe *, Params *, Run *, int layer, int index, int64_t tokens);
/* The batch may be NULL when not training. */
void moe_forward(Tensor y, const Moe *, MoeActs *, Tensor x, const Batch *, Run *);
/* Later rounds add their weight gradients here: nothing of them is kept. */
void moe_backward_input(Tensor dx, const Moe *, MoeActs *, Tensor dy, Run *);
void moe_backward_weight(const Moe *, MoeActs *, Run *);
