/* spool.h - tokens of all documents on their way from text to shards, in two growing files.
 *
 * How documents are split depends on all of them, and a shard's layout on its counts, so tokens are
 * first spooled to disk, then read back a piece at a time: memory stays bounded for any corpus. What is
 * known of each document (24 bytes) is mapped, and the system may take those pages back. */
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

/* After the last document: records live until spool_close, which deletes the files. */
bool spool_records(Spool *, const Record **, int64_t *documents, Error *);
bool spool_tokens(Spool *, int64_t first, int64_t count, int32_t *to, Error *);
void spool_close(Spool *);
