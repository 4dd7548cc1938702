/* bpe.h - byte-level byte-pair encoding: the vocabulary and the merges of a tokenizer.json's "model".
 *
 * A piece begins as its bytes; as long as two neighbours are a merge, the one of lowest rank is made, the leftmost
 * first. Ids are read-only after opening; threads may share a Bpe. */
#pragma once
#include "kernels/base.h"

#include <jansson.h>

typedef struct Bpe Bpe;

/* json: the value of "model". NULL + message. */
Bpe *bpe_open(const json_t *json, Error *);
void bpe_close(Bpe *);
int64_t bpe_size(const Bpe *); /* every id is below it */
/* The bytes of a token; NULL for an id that the vocabulary does not have. */
const char *bpe_token(const Bpe *, int32_t id, int64_t *bytes);

/* What one thread merges with. */
typedef struct BpeScratch BpeScratch;
BpeScratch *bpe_scratch_open(void);
void bpe_scratch_close(BpeScratch *);
/* Ids of a piece of 1 byte or more; `to` holds `bytes` of them. Returns how many. Time: n log n for n bytes. */
int64_t bpe_encode(const Bpe *, BpeScratch *, int32_t *to, const char *piece, int64_t bytes);

/* The alphabet in which files write bytes (GPT-2): printable ones as themselves, the others from U+0100 on. */
int bpe_byte_of(int32_t codepoint);                 /* -1: not of the alphabet */
int bpe_write_byte(char to[2], unsigned char byte); /* as UTF-8; returns 1 or 2 */
