/* split.h - which tokens of a set are for training and which are held out, and in which shard they lie. */
#pragma once
#include "data/corpus.h"

enum { SPLIT_LEAST_DOCUMENTS = 20 }; /* fewer are split within each document */

typedef struct {
    bool documents, tails; /* whole documents are held out, or the end of each; neither: nothing is */
    uint64_t threshold;    /* documents: those with a hash up to this one */
    double share;          /* tails */
    int32_t bos;           /* -1: documents have none */
} Split;

/* validation as people give it: a share below 1, or a number of documents. documents: without dropped ones. */
bool split_choose(Split *, double validation, int32_t bos, Corpus *, int64_t documents, const char *set, Error *);

/* One side of one document: its first `from` tokens are left out, `count` follow, and then eos where
 * `eos` says so. count 0: nothing of this document is on this side. */
typedef struct {
    int64_t from, count;
    bool eos;
} Side;
Side split_side(const Split *, const Document *, bool validation);

/* A shard: its documents of one side begin at a place of the corpus. */
typedef struct {
    bool validation;
    int64_t shard, shards; /* place in its row; how many the row has */
    int64_t tokens, documents;
    Spot from;
} ShardPlan;

/* Shards of at most shard_tokens each, or of one document, for both sides; at most TOKENS_SHARDS_MOST each. malloc'd. */
bool split_shards(const Split *, Corpus *, int64_t shard_tokens, const char *set, ShardPlan **, int64_t *n, Error *);
