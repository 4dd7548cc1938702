/* tokenizer.h - text <-> token ids. Today: bytes (256 bytes, bos 256, eos 257). */
#pragma once
#include "kernels/base.h"

typedef struct Tokenizer Tokenizer;

Tokenizer *tokenizer_open(const char *name, Error *); /* "bytes"; NULL + message */
void tokenizer_close(Tokenizer *);
int64_t tokenizer_size(const Tokenizer *);
int32_t tokenizer_bos(const Tokenizer *), tokenizer_eos(const Tokenizer *); /* -1 = none */
bool tokenizer_adds_bos(const Tokenizer *); /* documents and prompts begin with bos (bytes: no) */
uint64_t tokenizer_hash(const Tokenizer *);
const char *tokenizer_name(const Tokenizer *);
/* Both return how many were written; `to` must hold `bytes` ids, or tokenizer_max_bytes a token.
 * Special ids decode to nothing. */
int64_t tokenizer_encode(const Tokenizer *, int32_t *to, const char *text, int64_t bytes);
int64_t tokenizer_decode(const Tokenizer *, char *to, const int32_t *ids, int64_t n);
int64_t tokenizer_max_bytes(const Tokenizer *);
