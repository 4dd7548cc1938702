/* tokenizer.c - the byte tokenizer: the id of a byte is its value. */
#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { BYTES = 256, BYTES_BOS = 256, BYTES_EOS = 257, BYTES_SIZE = 258 };

struct Tokenizer {
    const char *name;
    int64_t size, max_bytes;
    int32_t bos, eos;
};

Tokenizer *tokenizer_open(const char *name, Error *error) {
    if (strcmp(name, "bytes")) return fail(error, "tokenizer: '%s' is not known; write tokenizer: bytes", name), NULL;
    Tokenizer *t = must_alloc(1, sizeof *t);
    *t = (Tokenizer){.name = "bytes", .size = BYTES_SIZE, .max_bytes = 1, .bos = BYTES_BOS, .eos = BYTES_EOS};
    return t;
}

void tokenizer_close(Tokenizer *t) { free(t); }
int64_t tokenizer_size(const Tokenizer *t) { return t->size; }
int32_t tokenizer_bos(const Tokenizer *t) { return t->bos; }
int32_t tokenizer_eos(const Tokenizer *t) { return t->eos; }
bool tokenizer_adds_bos(const Tokenizer *t) { return (void)t, false; }
bool tokenizer_adds_eos(const Tokenizer *t) { return (void)t, false; }
int32_t tokenizer_id(const Tokenizer *t, const char *token) { return (void)t, (void)token, -1; }
bool tokenizer_is_special(const Tokenizer *t, int32_t id) { return id == t->bos || id == t->eos; }
const char *tokenizer_file(const Tokenizer *t) { return (void)t, ""; }
const char *tokenizer_name(const Tokenizer *t) { return t->name; }
int64_t tokenizer_max_bytes(const Tokenizer *t) { return t->max_bytes; }

/* A byte tokenizer is its special ids; a vocabulary file would be hashed whole. */
uint64_t tokenizer_hash(const Tokenizer *t) {
    int32_t identity[] = {(int32_t)t->size, t->bos, t->eos};
    return hash_bytes(identity, sizeof identity) ^ hash_string(t->name);
}

int64_t tokenizer_room(const Tokenizer *t, int64_t bytes) { return (void)t, bytes; }
int64_t tokenizer_cut(const Tokenizer *t, const char *text, int64_t bytes) { return (void)t, (void)text, bytes; }

int64_t tokenizer_encode(const Tokenizer *t, int32_t *to, const char *text, int64_t bytes, Specials specials) {
    (void)t, (void)specials; /* no byte spells a special token */
    for (int64_t i = 0; i < bytes; i++) to[i] = (unsigned char)text[i];
    return bytes;
}

int64_t tokenizer_decode(const Tokenizer *t, char *to, const int32_t *ids, int64_t n) {
    int64_t written = 0;
    for (int64_t i = 0; i < n; i++) {
        check(ids[i] >= 0, "token %d cannot be decoded by the tokenizer %s", ids[i], t->name);
        if (ids[i] < BYTES) to[written++] = (char)ids[i];
    }
    return written;
}
