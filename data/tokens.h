/* tokens.h - token shards: HDF5 files with `tokens` (uint16 where the vocabulary allows, else int32),
 * `documents` (I64 offsets, count + 1), and attributes: format, tokenizer, tokenizer_hash, source,
 * counts; each dataset has its XXH3 as an attribute.
 *
 * Read by ranges, so a shard may be larger than memory. A document has at least one token.
 *
 * One side of a prepared set is a row of shards FOLDER/train-00000.h5, -00001 ..., each with attributes `shard` and
 * `shards`; a document lies in one of them. It is named and opened by its stem (FOLDER/train) and reads as one stream;
 * a single file can be opened alone. */
#pragma once
#include "data/tokenizer.h"
#include "kernels/tensor.h"

typedef struct TokenShard TokenShard;
typedef struct TokenWriter TokenWriter;

/* What a set's source gave beside its documents. */
typedef struct {
    int64_t bytes;                            /* of text read */
    int64_t skipped;                          /* lines and documents without text */
    int64_t bad_lines, duplicates, too_short; /* left out */
} SourceCounts;

typedef struct {
    int64_t tokens, documents; /* counts */
    int64_t shard, shards;     /* this one's place in its row; shards 0 stands for a row of one */
    SourceCounts source_counts;
    int64_t vocab_size; /* every token is below it */
    uint64_t tokenizer_hash;
    uint64_t content; /* hash of all tokens and where documents end; set by reading */
    char tokenizer[512];
    char *source; /* what the user named */
} ShardInfo;

/* A writer is told the counts first, because they fix the layout of the file. The file appears under
 * its name only at tokens_finish, whole and on disk; tokens_finish and tokens_abandon free the writer. */
TokenWriter *tokens_create(const char *file, const ShardInfo *, Error *);
bool tokens_append(TokenWriter *, const int32_t *tokens, int64_t count, Error *);
bool tokens_append_stored(TokenWriter *, const void *tokens, int64_t count, Error *); /* tokens_stored_bytes each */
/* The next document ends before this token of the file, which may come later. */
bool tokens_end_document(TokenWriter *, int64_t end, Error *);
bool tokens_finish(TokenWriter *, Error *);
void tokens_abandon(TokenWriter *);
/* All of it at once. documents: n_documents + 1 offsets; counts are taken from them. */
bool tokens_write(const char *file, const int32_t *tokens, const int64_t *documents, int64_t n_documents,
                  const ShardInfo *info, Error *);

/* path: a file, or the stem of a row. Of a row few files are open at a time. */
TokenShard *tokens_open(const char *path, Error *);
bool tokens_exist(const char *path); /* a file or a row of this name */
void tokens_close(TokenShard *);
const ShardInfo *tokens_info(const TokenShard *); /* of a row: counts of all its files */
const char *tokens_file(const TokenShard *);
bool tokens_read(TokenShard *, int64_t first, int64_t count, int32_t *to, Error *);
/* first token of document i; i may be the number of documents (the end) */
bool tokens_document(TokenShard *, int64_t i, int64_t *first, Error *);
bool tokens_document_of(TokenShard *, int64_t token, int64_t *document, Error *); /* by bisection */
bool tokens_verify(const char *path, Error *); /* the hashes of its datasets, offsets and every token */

/* What both sides of the format agree on. */
#define TOKENS_FORMAT "dsv2 tokens"
enum { TOKENS_VERSION = 2, TOKENS_U16_LIMIT = 65536, TOKENS_SHARDS_MOST = 100000 };
#define TOKENS_NAME "%s-%05d.h5" /* stem, place in the row */
static inline int64_t tokens_stored_bytes(int64_t vocab_size) { return vocab_size <= TOKENS_U16_LIMIT ? 2 : 4; }
static inline Dtype tokens_stored_type(int64_t vocab_size) { return vocab_size <= TOKENS_U16_LIMIT ? U16 : I32; }
