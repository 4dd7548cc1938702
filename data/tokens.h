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
typedef struct {
    int64_t tokens, documents;     /* counts */
    int64_t source_bytes, skipped; /* text read, lines and documents of the source without text */
    int64_t vocab_size;            /* every token is below it */
    uint64_t tokenizer_hash;
    char tokenizer[64];
    char *source; /* what the user named */
} ShardInfo;

/* A writer is told the counts first, because they fix the layout of the file. The file appears under
 * its name only at tokens_finish, whole and on disk; tokens_finish and tokens_abandon free the writer. */
TokenWriter *tokens_create(const char *file, const ShardInfo *, Error *);
bool tokens_append(TokenWriter *, const int32_t *tokens, int64_t count, Error *);
bool tokens_end_document(TokenWriter *, Error *);
bool tokens_finish(TokenWriter *, Error *);
void tokens_abandon(TokenWriter *);
/* All of it at once. documents: n_documents + 1 offsets; counts are taken from them. */
bool tokens_write(const char *file, const int32_t *tokens, const int64_t *documents, int64_t n_documents,
                  const ShardInfo *info, Error *);

TokenShard *tokens_open(const char *file, Error *);
void tokens_close(TokenShard *);
const ShardInfo *tokens_info(const TokenShard *);
const char *tokens_file(const TokenShard *);
bool tokens_read(TokenShard *, int64_t first, int64_t count, int32_t *to, Error *);
/* first token of document i; i may be the number of documents (the end) */
bool tokens_document(TokenShard *, int64_t i, int64_t *first, Error *);
bool tokens_document_of(TokenShard *, int64_t token, int64_t *document, Error *); /* by bisection */
bool tokens_verify(const char *file, Error *); /* the hashes of its datasets, and every token */

/* What both sides of the format agree on. */
#define TOKENS_FORMAT "dsv2 tokens"
enum { TOKENS_VERSION = 1, TOKENS_U16_LIMIT = 65536 };
