/* reply.h - what a model says, greedily, behind each of several prompts: up to the end of the line. */
#pragma once
#include "train/task.h"

typedef struct {
    const int32_t *ids;
    int64_t n; /* at least 1 */
} Prompt;

/* Collective. reply[i]: malloc'd text (on rank 0; "" elsewhere). tokens += what was computed. */
void replies(const Exam *, const Prompt *, int64_t count, int64_t new_tokens, char **reply, int64_t *tokens);
/* A prompt that leaves room for new_tokens: `ids` from the returned place on. */
int64_t reply_cut(const Config *, int64_t n, int64_t new_tokens);
/* For a line of JSON: bytes that are no UTF-8 become U+FFFD. */
json_t *reply_json(const char *reply);
