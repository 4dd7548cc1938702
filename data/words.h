/* words.h - the pieces of a corpus, each once, with how often it occurs: what a vocabulary is trained on. */
#pragma once
#include "data/pretokenizer.h"

/* Longer pieces are no words (a line without a space, a picture in base64): they are left out and counted. */
enum { WORD_BYTES = 1024 };

typedef struct {
    int64_t from, count; /* text[from, from + bytes) */
    int32_t bytes;
} Word;
typedef struct {
    Word *word;
    int64_t words, text_bytes;
    char *text;
    int32_t *slot; /* open addressing, -1 = empty */
    uint64_t mask;
    int64_t room, text_room;
    int64_t pieces, left_out; /* read; too long */
} Words;

void words_open(Words *);
void words_free(Words *);
void words_add(Words *, const char *piece, int64_t bytes, int64_t count);
void words_join(Words *to, const Words *from); /* as if `to` had read what `from` has */

/* Files -> words, by all threads. Text is cut at the ends of lines, so the pre-tokenizer must end pieces there
 * (pretokenizer_v2.c does). */
typedef struct {
    const Pretokenizer *pretokenizer;
    const char *field;                          /* of JSONL */
    int64_t most_words;                         /* more different ones are an error */
    void (*progress)(void *own, int64_t bytes); /* bytes of files that were read */
    void *own;
    int64_t documents, skipped, bytes; /* found: with text, without; bytes of text */
} WordCount;
bool words_count(Words *, WordCount *, const char *const *files, int64_t count, Error *);
