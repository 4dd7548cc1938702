/* reply.h - what a model says, greedily, behind each of several prompts: up to the end of the line. */
#pragma once
#include "train/generator.h"
#include "train/task.h"

/* Collective. reply[i]: malloc'd text (on rank 0; "" elsewhere). Counts what was computed, and notes logits that are no
 * numbers, in the result. */
bool replies(const Exam *, const Prompt *, int64_t count, int64_t new_tokens, char **reply, TaskResult *, Error *);
/* What an engine needs for prompts and answers of sequence_length. */
void reply_use(const Config *, EngineUse *);
/* A prompt that leaves room for new_tokens: `ids` from the returned place on. */
int64_t reply_cut(const Config *, int64_t n, int64_t new_tokens);
/* For a line of JSON: NUL and bytes that are no UTF-8 become U+FFFD. */
json_t *reply_json(const char *reply, int64_t bytes);
