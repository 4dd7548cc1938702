/* encode.h - a part of a source as documents of ids: bos where there is one, the text's ids, eos.
 *
 * A long text is encoded a MiB at a time, cut where that changes no id; only a text of 16 MiB without such a place is
 * cut elsewhere, at the end of a line if it has one. Where the cuts fall does not depend on how the file is packed. */
#pragma once
#include "configs/config.h"
#include "data/documents.h"
#include "data/parts.h"
#include "data/tokenizer.h"
#include "data/tokens.h"

/* What is known of a document. */
typedef struct {
    uint64_t hash[2]; /* XXH3 of its text, or of its ids where it came as ids */
    int64_t tokens;   /* bos and eos included */
    int64_t bytes;    /* of its text */
} Record;

typedef struct {
    const DataSet *set;
    const Tokenizer *tokenizer;
    int32_t bos, eos; /* bos -1: none */
    int64_t vocab_size;
    const SourceFiles *source;
    const Parts *parts;
} Encoding;

/* Ids of all documents, in order; what was put since the last end is dropped when drop is called. */
typedef struct {
    void *own;
    bool (*put)(void *own, const int32_t *ids, int64_t n, Error *);
    bool (*end)(void *own, const Record *, Error *);
    void (*drop)(void *own);
    void (*progress)(void *own, int64_t bytes);               /* of files */
    void (*text)(void *own, const char *text, int64_t bytes); /* may be NULL: text as it passes by */
} IdSink;

typedef struct {
    SourceCounts counts;
    char bad[BAD_NAMED][BAD_TEXT]; /* the first bad lines, by file and line */
} PartCounts;

/* Adds up: the sums, and the first bad lines as long as there is room. */
void counts_add(SourceCounts *to, char bad[BAD_NAMED][BAD_TEXT], const PartCounts *part);

/* Encodes one part. At most bad_most bad lines are left out. Counts are set. */
bool encode_part(const Encoding *, const Part *, int64_t bad_most, const IdSink *, PartCounts *, Error *);

/* Tokens of the text alone. */
static inline int64_t record_text_tokens(const Record *r, int32_t bos) { return r->tokens - 1 - (bos >= 0); }
