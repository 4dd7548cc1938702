/* haystack.h - long texts in which a number is hidden, and the prompts that ask for it.
 *
 *   {hay} The magic number is 1234567. {hay}\n\nThe magic number is
 *
 * The number stands between two sentences, or behind all of the hay. */
#pragma once
#include "data/tokenizer.h"

enum { HAYSTACK_DEPTHS = 5, HAYSTACK_ANSWER = 16 }; /* 0, 25, 50, 75, 100%; tokens that are kept for the answer */

typedef struct {
    const Tokenizer *tokenizer;
    int32_t bos; /* -1 = none */
    int32_t *ids;
    int64_t n; /* of hay */
} Haystack;

/* n tokens of the text of a file (documents.h), over and over where it is too short; path "": of sentences made here,
 * always the same. */
bool haystack_open(Haystack *, const char *path, const Tokenizer *, int32_t bos, int64_t n, Error *);
void haystack_close(Haystack *);

/* Whether prompt and answer of `length` tokens have room for a little hay. */
bool haystack_fits(const Haystack *, int64_t length);
/* malloc'd ids: length - HAYSTACK_ANSWER of them. */
int32_t *haystack_prompt(const Haystack *, int64_t length, int depth, int64_t number);
