#include "train/sample.h"

#include <stdlib.h>
#include <string.h>

SampleRule sample_rule(const Config *c) {
    return (SampleRule){.choice = {.temperature = c->temperature, .top_p = c->top_p, .top_k = c->top_k},
                        .seed = (uint64_t)c->seed,
                        .new_tokens = c->max_new_tokens,
                        .eos = (int32_t)c->eos_token_id};
}

bool sample_prompt(const Config *c, const Tokenizer *t, const char *prompt, int32_t **ids, int64_t *n, Error *error) {
    int64_t bytes = (int64_t)strlen(prompt), first = tokenizer_adds_bos(t);
    *ids = must_alloc(tokenizer_room(t, bytes) + 2, sizeof **ids);
    if (first) **ids = (int32_t)c->bos_token_id;
    int64_t encoded = tokenizer_encode(t, *ids + first, prompt, bytes, SPECIALS_MATCH);
    *n = first + encoded;
    if (*n == 0) (*ids)[(*n)++] = (int32_t)c->eos_token_id;
    if (encoded >= 0 && **ids >= 0) return true;
    free(*ids);
    return fail(error, encoded < 0
                           ? "the prompt is not UTF-8 text, or takes the tokenizer's expressions beyond their limits"
                           : "the prompt is empty, and the tokenizer has no token for the end of a document");
}
