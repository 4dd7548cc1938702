/* tokens_file.h - one file of a row of token shards. It is a stranger's: every number is checked before use.
 *
 * A file at rest keeps what was learned of it and no handle; it must be woken before anything is read. */
#pragma once
#include "data/tokens.h"

typedef struct TokenFile TokenFile;

TokenFile *token_file_open(const char *file, Error *);
void token_file_close(TokenFile *);
void token_file_rest(TokenFile *);
bool token_file_wake(TokenFile *, Error *);

const ShardInfo *token_file_info(const TokenFile *);
const char *token_file_name(const TokenFile *);
bool token_file_read(TokenFile *, int64_t first, int64_t count, int32_t *to, Error *);
bool token_file_document(TokenFile *, int64_t i, int64_t *first, Error *);
bool token_file_document_of(TokenFile *, int64_t token, int64_t *document, Error *);
bool token_file_verify(TokenFile *, Error *);
