/* tokenizer_encode.h - text -> ids by a tokenizer.json: added tokens, normalisation, pieces, merges.
 *
 * What a piece becomes depends on nothing but the piece and the step of the pre-tokenizer that it has reached, so the
 * ids of short pieces are remembered. Each thread takes a Scratch while it encodes. */
#pragma once
#include "data/tokenizer.h"
#include "data/tokenizer_file.h"

typedef struct TextEncoder TextEncoder;

TextEncoder *text_encoder_open(const TokenizerFile *); /* borrows the file */
void text_encoder_close(TextEncoder *);
/* As tokenizer_encode, tokenizer_room and tokenizer_cut. */
int64_t text_encode(TextEncoder *, int32_t *to, const char *text, int64_t bytes, Specials);
int64_t text_room(const TextEncoder *, int64_t bytes);
int64_t text_cut(TextEncoder *, const char *text, int64_t bytes);
