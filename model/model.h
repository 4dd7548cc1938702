/* model.h - the whole network: embedding, blocks, head (DeepSeek-V2, arXiv:2405.04434, section 2).
 *
 * One micro-batch: model_forward, then model_loss (which may make the gradient by the last block's
 * output), then model_backward. All activations lie in run->acts and run->host between
 * model_forward and the rewind at the end of model_backward (or model_forget).
 * Shapes: N tokens of this rank's micro-batch (0 is allowed: the rank still joins every
 * collective), D hidden, V vocabulary. */
#pragma once
#include "model/block.h"
#include "model/head.h"

typedef struct {
    Params params;
    Param *embedding; /* (V, D)                                                   */
    Rope rope;
    Block *blocks;
    int layers, moe_layers;
    Head head;
    Tensor loss_sum; /* (1) F64, device: sum of weight * cross-entropy           */
    bool recompute;  /* keep only the input of each block                        */
} Model;

typedef struct {
    Tensor *x; /* (layers + 1) of (N, D): input of each block, last output */
    BlockActs *blocks;
    int64_t acts_mark, host_mark;
} ModelActs;

/* Takes the memory of parameters from run->state. tokens: rows of a micro-batch at most;
 * positions: rotary positions that will be asked for. */
void model_init(Model *, Run *, int64_t tokens, int64_t positions, bool training, bool optimizer);
void model_close(Model *);
void model_acts_open(ModelActs *, const Model *);
void model_acts_close(ModelActs *);

void model_forward(Model *, ModelActs *, const Batch *, Run *);
/* loss_sum +=; with dx (N, D) the gradient by the last block's output and the head's weight gradients too */
void model_loss(Model *, const ModelActs *, Tensor dx, Tensor token_loss, const Batch *, Run *);
/* Gradients of everything below; dx is overwritten. Gives the activations' memory back. */
void model_backward(Model *, ModelActs *, Tensor dx, const Batch *, Run *);
void model_forget(const ModelActs *, Run *); /* gives the memory back without a backward */
/* Forward, loss and backward of one micro-batch. */
void model_step(Model *, ModelActs *, const Batch *, Run *);

/* Forward of new tokens (run->training is false): they join the cache; x (N, D) = the last block's output. Nothing else
 * is kept. Collective: a rank without tokens takes part. */
void model_decode(Tensor x, Model *, const Cache *, const NewTokens *, Run *);

/* Host copies, this rank's part: cross-entropy sum; sums of L / alpha of the three balance losses for each layer
 * with experts (3 x moe_layers, times sequences). Both start again from 0. */
double model_read_loss(Model *, Run *);
void model_read_balance(Model *, Run *, double *sums);
