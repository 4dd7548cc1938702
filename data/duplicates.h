/* duplicates.h - documents whose text was there before, found by 128 bits of its hash. */
#pragma once
#include "data/corpus.h"

/* Writes a file with a bit for each document: 1 for a copy of an earlier one. The hashes are looked through a share at a
 * time, a million or so, or a 64th of them where that is more. */
bool duplicates_mark(Corpus *, const char *file, int64_t *found, Error *);
int64_t duplicates_passes(int64_t documents); /* over all records */

/* The same over hashes in memory, which are sorted: how many equal one before them. */
int64_t duplicates_count(uint64_t (*hash)[2], int64_t n);
