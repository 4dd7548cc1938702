/* pretokenizer.h - a text into the pieces that byte pairs are merged within.
 *
 * What a tokenizer.json's "pre_tokenizer" says: a row of steps, each of which splits the pieces of the one before it:
 * Split (an expression or a string), Digits, ByteLevel. A step sees nothing but its piece, so what becomes of a piece
 * depends only on its bytes and on the step it has reached. Threads may share a Pretokenizer. */
#pragma once
#include "data/regex.h"

#include <jansson.h>

typedef struct Pretokenizer Pretokenizer;

/* json: the value of "pre_tokenizer", which must make bytes of the pieces (ByteLevel). What is not known is an error
 * that names it. NULL + message. */
Pretokenizer *pretokenizer_open(const json_t *json, Error *);
/* That of DeepSeek-V2, as JSON text (for tokenizers that are trained here). */
extern const char pretokenizer_deepseek_v2[];
void pretokenizer_close(Pretokenizer *);
int pretokenizer_steps(const Pretokenizer *);

/* Gives the pieces of text in order, which is valid UTF-8; false ends the split. */
typedef bool (*PieceSink)(void *own, const char *piece, int64_t bytes);
/* False when the sink said so, or when an expression reached its limits. */
bool pretokenizer_split(const Pretokenizer *, RegexScratch *, const char *text, int64_t bytes, PieceSink, void *own);
/* One step alone, from 0 to pretokenizer_steps - 1. */
bool pretokenizer_step(const Pretokenizer *, int step, RegexScratch *, const char *text, int64_t bytes, PieceSink,
                       void *own);
