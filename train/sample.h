/* sample.h - text from a model: forward over the whole context for each new token, then choose. */
#pragma once
#include "data/tokenizer.h"
#include "train/engine.h"

typedef struct {
    double temperature, top_p; /* temperature 0 = the likeliest token */
    int64_t top_k;             /* 0 = all */
    uint64_t seed;
    int64_t new_tokens;
    int32_t eos; /* stops; -1 = never */
} SampleRule;

/* A prompt as ids (malloc'd); an empty one starts where a document would. False + message when the tokenizer cannot
 * read it. */
bool sample_prompt(const Tokenizer *, const char *prompt, int32_t **ids, int64_t *n, Error *);

/* Called with each piece of text as it comes; rank 0 only. */
typedef void (*SampleText)(void *own, const char *text, int64_t bytes);

/* Collective. Continues prompt (n ids, n >= 1); where the context is full, its oldest part is left out. Ids that the
 * tokenizer does not have are never chosen. */
void sample_text(Engine *, const Tokenizer *, const int32_t *prompt, int64_t n, SampleRule, SampleText, void *own);

/* One id from logits (vocabulary doubles, changed); exposed for tests. index: which draw of the seed. */
int32_t sample_choose(double *logits, int64_t n, const SampleRule *, uint64_t index);
