/* validate.h - what the rules of validate.c and validate_run.c share. Used inside configs/ only. */
#pragma once
#include "configs/keys.h"

enum { TOKENIZER_BYTES_SIZE = 258, MAX_MICRO_BATCH = 8, MAX_RAMP_STEPS = 10000000 };
enum { MAX_MICRO_TOKENS = 1 << 26, MAX_STEP_TOKENS = INT32_MAX };

#define LL(value) ((long long)(value))

const Node *key_origin(const Config *, const char *path);              /* NULL = default */
const char *key_place(const Config *, const char *path, char to[256]); /* file and line, for messages */
/* A broken rule: names where the key was set; always false. */
bool bad(Error *, const Config *, const char *path, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* What training needs besides a model and a layout (validate_run.c). micro_derived: nobody said micro_batch_size. */
bool validate_run(Config *, int64_t ranks, bool micro_derived, char **warnings, Error *);
