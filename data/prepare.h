/* prepare.h - text, JSONL -> token shards, cached under a key of source, tokenizer and settings.
 *
 * A document is one file, or one line of a .jsonl file; its tokens are followed by eos (and preceded
 * by bos where the tokenizer says so). `validation` holds out documents: below 1 it is a share, from
 * 1 on a number of documents. Which ones is decided by a hash of their text, so copies of a document
 * stay on one side. A set of fewer than 20 documents is too small for that: there a share is taken
 * from the end of each document. */
#pragma once
#include "configs/config.h"
#include "data/tokenizer.h"
#include "data/tokens.h"

typedef struct {
    char train[512], validation[512]; /* shard files; validation "" when there is none */
    int64_t documents, tokens;        /* of the training shard */
    int64_t validation_documents, validation_tokens;
    int64_t bytes, skipped; /* of text read; lines and documents without text */
    bool cached;
} Prepared;

/* Prepares one set into a folder of its own below `folder` (one process does it; others wait). Progress goes to
 * stderr when it is a terminal. Memory is bounded; the disk holds up to five times the text for a while.
 * format tokens: path is a folder made by prepare, or its train.h5. */
bool prepare_set(Prepared *, const Config *, const DataSet *, const Tokenizer *, const char *folder, Error *);
