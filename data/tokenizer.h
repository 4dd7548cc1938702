/* tokenizer.h - text <-> token ids: the bytes themselves, or a Hugging Face tokenizer.json (byte-level BPE).
 *
 * A Tokenizer is read-only after tokenizer_open: any number of threads may use one. Text is UTF-8. */
#pragma once
#include "kernels/base.h"

typedef struct Tokenizer Tokenizer;

/* name: "bytes" (256 bytes, bos 256, eos 257), a tokenizer.json, or a folder that holds one; a tokenizer_config.json
 * beside it says which tokens are bos and eos and whether they are added. NULL + message. */
Tokenizer *tokenizer_open(const char *name, Error *);
void tokenizer_close(Tokenizer *);
const char *tokenizer_name(const Tokenizer *); /* as it was opened */
const char *tokenizer_file(const Tokenizer *); /* path of the tokenizer.json; "" for bytes */
uint64_t tokenizer_hash(const Tokenizer *);    /* of what decides ids: file, bos, eos and whether they are added */

int64_t tokenizer_size(const Tokenizer *);                                         /* every id is below it */
int32_t tokenizer_bos(const Tokenizer *), tokenizer_eos(const Tokenizer *);        /* -1 = none */
bool tokenizer_adds_bos(const Tokenizer *), tokenizer_adds_eos(const Tokenizer *); /* to a text, as published */
int32_t tokenizer_id(const Tokenizer *, const char *token); /* of an added token, by its text; -1 = there is none */
bool tokenizer_is_special(const Tokenizer *, int32_t id);
/* How a special token is spelled; NULL for any other id. room: used where it has no spelling of its own. */
const char *tokenizer_special_name(const Tokenizer *, int32_t id, char room[64]);

/* How a control token that is spelled out in a text is read: as that token, which is what Hugging Face does, or as
 * plain text, so that nothing a stranger typed becomes a control token. */
typedef enum { SPECIALS_MATCH, SPECIALS_PLAIN } Specials;

/* Neither bos nor eos is added. `to` holds tokenizer_room(bytes) ids. Returns how many were written, -1 when the text
 * is not UTF-8. Time is linear in bytes for any text. */
int64_t tokenizer_encode(const Tokenizer *, int32_t *to, const char *text, int64_t bytes, Specials);
int64_t tokenizer_room(const Tokenizer *, int64_t bytes);
/* The longest prefix whose ids do not depend on what follows, so that a long document can be encoded in parts; 0 when
 * there is no such place yet. */
int64_t tokenizer_cut(const Tokenizer *, const char *text, int64_t bytes);

/* Returns the bytes written; `to` holds tokenizer_max_bytes a token. Special ids decode to nothing. */
int64_t tokenizer_decode(const Tokenizer *, char *to, const int32_t *ids, int64_t n);
int64_t tokenizer_max_bytes(const Tokenizer *);

/* One id after the other, as valid UTF-8: the bytes of an unfinished character wait for the next id, and what is none
 * becomes U+FFFD. `to` holds tokenizer_stream_room. tokenizer_stream_end: what is left is no character. */
typedef struct {
    char held[4];
    int n;
} DecodeStream;
int64_t tokenizer_stream_room(const Tokenizer *);
int64_t tokenizer_stream_next(const Tokenizer *, DecodeStream *, char *to, int32_t id);
int64_t tokenizer_stream_end(DecodeStream *, char *to);
