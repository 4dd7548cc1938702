/* corpus.h - the finished parts of a source as one row of documents, read from the disk piece by piece.
 *
 * All work that comes behind the parts reads them here, so here a wish to stop is heard: reading fails (signals_none). */
#pragma once
#include "data/spool.h"

typedef struct Corpus Corpus;

/* A place in the row: a document of a part, and how many tokens of the part lie before it. */
typedef struct {
    int64_t part, document, token;
} Spot;

typedef struct {
    Record record;
    Spot spot;
    bool dropped; /* a copy of an earlier document */
} Document;

Corpus *corpus_open(const char *folder, const Parts *, Error *);
void corpus_close(Corpus *);
int64_t corpus_documents(const Corpus *);
const PartCounts *corpus_counts(const Corpus *); /* of all parts; the first bad lines in the order of the source */

/* dropped: a file with a bit for each document, which decides Document.dropped from now on. */
bool corpus_use_dropped(Corpus *, const char *dropped, Error *);

void corpus_go(Corpus *, Spot);
/* The document at the place gone to, then the ones behind it; *found false at the end. */
bool corpus_next(Corpus *, Document *, bool *found, Error *);
/* Tokens of a part as they are stored. */
bool corpus_read(Corpus *, int64_t part, int64_t first, int64_t count, void *to, Error *);
