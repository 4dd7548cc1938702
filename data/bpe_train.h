/* bpe_train.h - byte pairs learned from words: which merges make a vocabulary.
 *
 * The pair that occurs most often becomes a token, again and again; of pairs that occur equally often the one with the
 * lower left id, then the lower right one. Ids: the bytes in the order of the alphabet that files write them in
 * (bpe.h), then the merges. This is what Hugging Face's BpeTrainer does, so the merges are the same. */
#pragma once
#include "data/words.h"

typedef struct {
    int32_t left, right, id; /* id: of what they make; one from before when two pairs make the same bytes */
} LearnedMerge;

typedef struct {
    LearnedMerge *merge;
    int64_t merges, tokens; /* tokens: bytes and what the merges made */
    char *text;             /* of the tokens, one after the other */
    int64_t *end;           /* of each token in text */
    int64_t corpus_tokens;  /* tokens of the words, each as often as it occurs */
} Learned;

/* Until there are `tokens`, or no pair is left that occurs min_frequency times (at least 1): then fewer. `progress`
 * (may be NULL) hears of every token. */
void bpe_learn(Learned *, const Words *, int64_t tokens, int64_t min_frequency,
               void (*progress)(void *own, int64_t tokens), void *own);
void bpe_learned_free(Learned *);
