/* evaluate.h - loss of a model on the windows of a token shard, in file order, over all ranks. */
#pragma once
#include "data/loader.h"
#include "train/engine.h"

typedef struct {
    double loss; /* cross-entropy a token */
    int64_t tokens, sequences;
    int64_t bytes; /* of text that the scored tokens decode to; special tokens have none */
    double seconds;
    bool stopped; /* by a signal, on any rank: the figures are of a part */
} Evaluation;

/* Collective. Every token but the first is scored, given those before it in its window of sequence_length. limit: tokens
 * at most, 0 = all. The shard was made with this tokenizer, or it is refused. */
bool evaluate_shard(Evaluation *, Engine *, const char *shard, const Tokenizer *, int64_t limit, Error *);
/* Whether a model with this config and tokenizer can be evaluated on a shard. */
bool evaluation_fits(const TokenShard *, const Config *, const Tokenizer *, Error *);
/* The loss in bits, spread over the bytes of text; NaN when there are none. */
double evaluation_bits_per_byte(const Evaluation *);
/* Collective. A job that is being ended has no time for the rest. */
bool evaluation_stopped(Engine *);
