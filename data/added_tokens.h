/* added_tokens.h - tokens that are found in a text before anything else, the longest first: control tokens and what
 * else a tokenizer.json lists under "added_tokens". */
#pragma once
#include "kernels/base.h"

#include <jansson.h>

typedef struct {
    char *text;
    int32_t id, bytes;
    bool special, control; /* control: special, or spelled like a control token: <|...|> or <｜...｜> */
    bool normalized;       /* looked for after normalisation */
    bool lstrip, rstrip;   /* takes the white space before, after it along */
} AddedToken;

typedef struct {
    AddedToken *token; /* by rising text */
    int64_t count;
    bool first[256], any_normalized, any_strips;
} AddedTokens;

/* json: the value of "added_tokens"; null: none. False + message. */
bool added_tokens_read(AddedTokens *, const json_t *json, Error *);
void added_tokens_free(AddedTokens *);
const AddedToken *added_tokens_find(const AddedTokens *, const char *text); /* NULL when absent */

/* The first one in text[from, bytes) with *begin and *end; NULL when there is none. Of those that begin at one place
 * the longest counts. controls: whether control tokens are looked for. */
const AddedToken *added_tokens_next(const AddedTokens *, bool normalized, bool controls, const char *text,
                                    int64_t bytes, int64_t from, int64_t *begin, int64_t *end);
