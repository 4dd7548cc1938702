/* prepare.h - text, JSONL -> token shards, cached under a key of source, tokenizer and settings. */
#pragma once
#include "configs/config.h"
#include "data/tokenizer.h"
#include "data/tokens.h"

typedef struct {
    char train[512], validation[512]; /* shard files; validation "" when there is none */
    int64_t documents, tokens, validation_tokens, bytes, skipped_lines;
    bool cached;
} Prepared;

/* Prepares one set into `folder` (one process does it; others wait). Progress goes to stderr when
 * it is a terminal. */
bool prepare_set(Prepared *, const Config *, const DataSet *, const Tokenizer *, const char *folder, Error *);
