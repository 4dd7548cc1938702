/* loader.h - the order of the data, and sequences of it.
 *
 * A sample is a fixed window of a set's token stream: window i is tokens [i T, i T + T], so windows
 * share only the token that is the last label of one and the first id of the next (documents end with
 * eos; a label in the next document is trained on, what is left at the end of a set is not).
 * Which sample stands at which place is a pure function of (seed, epoch, index), so the position in
 * the data is one integer, and every layout reads the same global batches.
 *
 * mix as a list: the windows of all sets, permuted anew each epoch, all of them once an epoch.
 * mix as shares: sequence numbers are dealt to the sets in a fixed cycle of 65536 that keeps each set
 * as near to its share as integers allow after every sequence; each set then goes through its own
 * windows, permuted anew each time round.
 * synthetic_data: random ids below the vocabulary's size, by (seed, index, place). */
#pragma once
#include "configs/config.h"
#include "data/tokens.h"

typedef struct Loader Loader;

/* Host arrays of one sequence of T tokens: ids, label (next token; < 0 = not trained on), position
 * (packing.positions restart: from the document's first token in this sequence), first (first place
 * of this sequence that a token attends to: 0, or its document's start). */
typedef struct {
    int32_t *ids, *label, *position, *first;
} Sequence;

/* files: one shard a set of the mixture, in the order of config->mix; `synthetic_data` needs none. Borrows config. */
Loader *loader_open(const Config *, const char *const *files, int n, int64_t vocab_size, Error *);
void loader_close(Loader *);
/* Sequence number `index` of the whole run (0, 1, 2, ...; global batches follow one another). */
bool loader_sequence(Loader *, int64_t index, Sequence to, Error *);
int64_t loader_sequences_per_epoch(const Loader *); /* of the whole mixture; 0 = synthetic data, which has no end */
uint64_t loader_content(const Loader *);            /* hash of all tokens of the mixture; 0 = synthetic data */
double loader_passes(const Loader *, int set, int64_t sequences); /* over a set after that many */

/* Where sequence `index` comes from: a set of the mixture and a window of it. */
typedef struct {
    int set;
    int64_t window;
} Place;
Place loader_place(const Loader *, int64_t index);

/* Position of the permutation of 0 .. n - 1 with this key (a bijection, O(1)): exposed for tests. */
int64_t loader_permute(uint64_t key, int64_t n, int64_t i);

/* Sequences of an evaluation set in file order: number of windows, of which the last may be short, and one of them. */
int64_t eval_sequences(const TokenShard *, int64_t sequence_length);
bool eval_sequence(TokenShard *, const Config *, int64_t index, Sequence to, Error *);
