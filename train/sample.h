/* sample.h - what a prompt is in ids, and how the tokens behind it are chosen. */
#pragma once
#include "configs/config.h"
#include "data/tokenizer.h"
#include "kernels/kernels.h"

typedef struct {
    ChoiceRule choice;
    uint64_t seed;
    int64_t new_tokens;
    int32_t eos; /* stops; -1 = never */
} SampleRule;

/* As the generate.* keys say; eos is the model's. */
SampleRule sample_rule(const Config *);
/* Ids that sample_prompt makes of so many bytes, at most, whatever the tokenizer. */
#define SAMPLE_ROOM(bytes) (11 * (int64_t)(bytes) + 2)
/* A prompt as ids (malloc'd), bos in front where the tokenizer adds it to a text; an empty one starts where a document
 * would. False + message when the tokenizer cannot read it. */
bool sample_prompt(const Config *, const Tokenizer *, const char *prompt, int32_t **ids, int64_t *n, Error *);
