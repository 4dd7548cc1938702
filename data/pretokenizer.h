/* pretokenizer.h - a text into the pieces that byte pairs are merged within.
 *
 * What a tokenizer.json's "pre_tokenizer" says: Split (a regular expression: PCRE2 with Unicode properties, or a
 * string), Digits, ByteLevel, and sequences of them, each working on the pieces of the one before. */
#pragma once
#include "kernels/base.h"

#include <jansson.h>

typedef struct Pretokenizer Pretokenizer;

/* json: the value of "pre_tokenizer"; null: the whole text is one piece. What it does not know is an error that names
 * it. NULL + message. */
Pretokenizer *pretokenizer_open(const json_t *json, Error *);
/* That of DeepSeek-V2, as JSON text (for tokenizers that are trained here). */
extern const char pretokenizer_deepseek_v2[];
void pretokenizer_close(Pretokenizer *);

/* Calls piece() for each piece in order; text is valid UTF-8. Pieces point into text. Threads may share a
 * Pretokenizer. */
typedef void (*PieceSink)(void *own, const char *piece, int64_t bytes);
void pretokenizer_split(const Pretokenizer *, const char *text, int64_t bytes, PieceSink piece, void *own);
