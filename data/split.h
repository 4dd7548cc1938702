/* split.h - which tokens of a set are for training and which are held out. */
#pragma once
#include "data/spool.h"

enum { SPLIT_LEAST_DOCUMENTS = 20 }; /* fewer are split within each document */

typedef struct {
    bool documents, tails; /* whole documents are held out, or the end of each; neither: nothing is */
    uint64_t threshold;    /* documents: those with a hash up to this one */
    double share;          /* tails */
} Split;

/* validation as people give it: a share below 1, or a number of documents. */
bool split_choose(Split *, double validation, const Record *, int64_t documents, const char *set, Error *);

/* One side of one document: its first `from` tokens are left out, `count` follow, and then eos where
 * `eos` says so. count 0: nothing of this document is on this side. */
typedef struct {
    int64_t from, count;
    bool eos;
} Part;
Part split_part(const Split *, const Record *, bool validation);
