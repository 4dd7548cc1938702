/* tokens.h - token shards: HDF5 files with `tokens` (uint16 as U8 pairs or int32), `documents`
 * (I64 offsets, count + 1), and attributes: format, tokenizer, tokenizer_hash, source, counts. */
#pragma once
#include "data/tokenizer.h"
#include "kernels/tensor.h"

typedef struct TokenShard TokenShard;
typedef struct {
    int64_t tokens, documents, source_bytes, vocab_size;
    uint64_t tokenizer_hash;
    char tokenizer[64];
    char *source;
} ShardInfo;

/* Writes atomically (temporary name, fsync, rename). documents: n_documents + 1 offsets. */
bool tokens_write(const char *file, const int32_t *tokens, const int64_t *documents, int64_t n_documents,
                  const ShardInfo *info, Error *);
TokenShard *tokens_open(const char *file, Error *);
void tokens_close(TokenShard *);
const ShardInfo *tokens_info(const TokenShard *);
bool tokens_read(TokenShard *, int64_t first, int64_t count, int32_t *to, Error *);
/* first token of document i; i may be the number of documents (the end) */
int64_t tokens_document(const TokenShard *, int64_t i);
int64_t tokens_document_of(const TokenShard *, int64_t token); /* by bisection */
bool tokens_verify(const char *file, Error *); /* the hashes of its datasets */
