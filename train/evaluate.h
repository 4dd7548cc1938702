/* evaluate.h - loss of a model on the windows of a token shard, in file order, over all ranks. */
#pragma once
#include "data/loader.h"
#include "train/engine.h"

typedef struct {
    double loss; /* cross-entropy a token */
    int64_t tokens, sequences;
    double seconds;
    bool stopped; /* by a signal, on any rank: the figures are of a part */
} Evaluation;

/* Collective. limit: tokens at most, 0 = the whole shard. Windows are filled to whole global batches of the engine;
 * what is left of the shard below one window is not counted. */
bool evaluate_shard(Evaluation *, Engine *, const char *shard, int64_t limit, Error *);
