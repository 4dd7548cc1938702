/* prepare.h - text, JSONL, Megatron ids -> rows of token shards, cached under a key of source, tokenizer and settings.
 *
 * A document is one file, or one line of a .jsonl file; its tokens are followed by eos (and preceded
 * by bos where the tokenizer says so). `validation` holds out documents: below 1 it is a share, from
 * 1 on a number of documents. Which ones is decided by a hash of their text, so copies of a document
 * stay on one side. A set of fewer than 20 documents is too small for that: there a share is taken
 * from the end of each document.
 *
 * All ranks take part; the bytes are the same whatever their number. Work is done in parts (parts.h) whose results are
 * kept in FOLDER/.making-NAME until the set is whole: a run that was interrupted goes on from them. */
#pragma once
#include "configs/config.h"
#include "data/documents.h"
#include "data/tokenizer.h"
#include "data/tokens.h"
#include "launch/comm.h"

typedef struct {
    char train[512], validation[512];  /* stems of rows of shards; validation "" when there is none */
    int64_t documents, tokens, shards; /* of training */
    int64_t validation_documents, validation_tokens;
    SourceCounts source;
    char bad[BAD_NAMED][BAD_TEXT]; /* the first bad lines that were left out, unless the set was there */
    int64_t parts, parts_kept;     /* of work; kept from a run that was interrupted */
    bool cached;                   /* the set was there */
    bool stopped;                  /* a signal ended it (signals.h); the rest is for the next run */
} Prepared;

/* Collective over `world` (NULL: this process alone). Prepares one set into a folder of its own below `folder`. Progress
 * goes to stderr when it is a terminal. Memory is bounded; the disk holds up to four times the text for a while, eight
 * times with a vocabulary of more than 65,536.
 * format tokens: path is a folder made by prepare, or one of its shards. */
bool prepare_set(Prepared *, const Config *, const DataSet *, const Tokenizer *, const char *folder, Comm *world,
                 Error *);
