/* score.h - log-likelihood of the ends of token sequences.
 *
 * Many short sequences are packed into each row of the engine; each attends to itself alone, at positions from 0, so
 * what stands beside it changes nothing. Rows are dealt to the ranks as in an evaluation. */
#pragma once
#include "train/engine.h"

typedef struct {
    const int32_t *ids;
    int64_t n, from;       /* tokens ids[from .. n) are scored, given all before them; 1 <= from < n */
    double log_likelihood; /* filled: their sum */
} Scored;

/* How many of the first tokens of a sequence of n do not fit the engine and are left out. */
int64_t score_cut(const Engine *, int64_t n);
/* Collective: every rank has the same items and gets the same results. The scored tokens of an item are at most
 * sequence_length. The engine was opened with use.scores. */
void score(Engine *, Scored *, int64_t count);
