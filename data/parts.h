/* parts.h - a source divided into parts of work: the same ones whatever the number of ranks.
 *
 * A part is a run of pieces in the order of the source: whole files, or ranges of files that can be read from anywhere
 * (JSONL that is not packed, Megatron's .bin). A document belongs to the piece that it begins in. */
#pragma once
#include "configs/config.h"
#include "data/source.h"

typedef struct {
    int64_t file, from, end; /* bytes of it; whole files: from 0 to their size */
    bool whole;
} Piece;

typedef struct {
    int64_t first, count, bytes; /* pieces */
    uint64_t key;                /* of all that its documents depend on */
} Part;

typedef struct {
    Piece *piece;
    Part *part;
    int64_t pieces, count, bytes;
} Parts;

/* settings: what documents depend on besides the files. */
void parts_make(Parts *, const SourceFiles *, bool megatron, const char *settings);
void parts_free(Parts *);
/* Part numbers in the order in which to work on them: large ones first. malloc'd. */
int64_t *parts_order(const Parts *);
