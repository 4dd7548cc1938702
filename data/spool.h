/* spool.h - tokens of all documents on their way from text to shards, in two growing files.
 *
 * How documents are split depends on all of them, and a shard's layout on its counts, so tokens are
 * first spooled to disk, then read back through a mapping: memory stays bounded for any corpus. */
#pragma once
#include "data/tokenizer.h"

typedef struct {
    int64_t tokens, text_tokens; /* all, and those between bos and eos */
    uint64_t hash;               /* XXH3 of the text */
} Record;

typedef struct Spool Spool;

/* bos < 0: documents have none. Files are made in `folder`. */
Spool *spool_open(const char *folder, const Tokenizer *, int32_t bos, int32_t eos, Error *);
bool spool_text(Spool *, const char *text, int64_t bytes, Error *); /* the next piece of a document */
bool spool_end(Spool *, Error *);
int64_t spool_bytes(const Spool *); /* of text so far */

/* After the last document; the pointers live until spool_close, which deletes the files. */
bool spool_read(Spool *, const int32_t **tokens, const Record **records, int64_t *documents, Error *);
void spool_close(Spool *);
