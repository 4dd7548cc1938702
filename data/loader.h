/* loader.h - the order of the data, and sequences of it.
 *
 * A sample is a fixed window of sequence_length + 1 tokens of a set's token stream (documents end
 * with eos). Which sample stands at which place is a pure function of (seed, epoch, index), so the
 * position in the data is one integer, and every layout reads the same global batches. */
#pragma once
#include "configs/config.h"
#include "data/tokens.h"

typedef struct Loader Loader;

/* Host arrays of one sequence of T tokens: ids, label (next token; < 0 = not trained on), position,
 * first (first place of this sequence that a token attends to: 0, or its document's start). */
typedef struct { int32_t *ids, *label, *position, *first; } Sequence;

/* files: one shard a set of the mixture, in the order of config->mix; `synthetic_data` needs none. */
Loader *loader_open(const Config *, const char *const *files, int n, int64_t vocab_size, Error *);
void loader_close(Loader *);
/* Sequence number `index` of the whole run (0, 1, 2, ...; global batches follow one another). */
bool loader_sequence(Loader *, int64_t index, Sequence to, Error *);
int64_t loader_sequences_per_epoch(const Loader *); /* of the whole mixture */
double loader_passes(const Loader *, int set, int64_t sequences); /* over a set after that many */

/* Position of the permutation of 0 .. n - 1 with this key (a bijection, O(1)): exposed for tests. */
int64_t loader_permute(uint64_t key, int64_t n, int64_t i);

/* Sequences of an evaluation set in file order: number of whole windows, and one of them. */
int64_t eval_sequences(const TokenShard *, int64_t sequence_length);
bool eval_sequence(TokenShard *, const Config *, int64_t index, Sequence to, Error *);
