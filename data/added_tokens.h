/* added_tokens.h - tokens that are found in a text before anything else, the longest first: control tokens and what
 * else a tokenizer.json lists under "added_tokens". */
#pragma once
#include "kernels/base.h"

#include <jansson.h>

#include "data/normalize.h"

typedef struct {
    char *text, *sought; /* as written, and as it stands in a text; the same unless it is normalized */
    int32_t id, sought_bytes;
    bool special, control; /* control: special, or spelled like a control token: <|...|> or <｜...｜> */
    bool normalized;       /* looked for after normalisation */
    bool lstrip, rstrip;   /* takes the white space before, after it along */
} AddedToken;

typedef struct {
    AddedToken *token; /* by rising `sought` */
    int64_t count;
    bool first[256], any_normalized, any_strips;
} AddedTokens;

/* json: the value of "added_tokens"; null: none. False + message. */
bool added_tokens_read(AddedTokens *, const json_t *json, Normalizer, Error *);
void added_tokens_free(AddedTokens *);
const AddedToken *added_tokens_find(const AddedTokens *, const char *text); /* NULL when absent */

/* Where a token was found: text[from, begin) lies between it and the one before. As Hugging Face has it, the space that
 * a token takes along is still searched for others: then begin is before `from`, and nothing lies between. */
typedef struct {
    const AddedToken *token;
    int64_t from, begin, end, search; /* search: where the next one may begin */
} AddedPlace;
/* The next one, from {0} on; false: there is none, and text[end, bytes) is left. Of those that begin at one place the
 * longest counts. controls: whether control tokens are looked for. */
bool added_tokens_next(const AddedTokens *, bool normalized, bool controls, const char *text, int64_t bytes,
                       AddedPlace *);
