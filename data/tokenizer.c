/* tokenizer.c - both kinds of tokenizer behind one interface: bytes, whose ids are their values, and files. */
#include "data/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_encode.h"
#include "data/utf8.h"

enum { BYTES = 256, BYTES_BOS = 256, BYTES_EOS = 257, BYTES_SIZE = 258 };

struct Tokenizer {
    char *name;
    int64_t size, max_bytes;
    TokenizerFile file;   /* of bytes: only bos, eos and hash */
    TextEncoder *encoder; /* NULL: bytes */
    int32_t *added;       /* of each id: place in file.added, -1 = it is of the vocabulary */
};

static void open_bytes(Tokenizer *t) {
    int32_t identity[] = {BYTES_SIZE, BYTES_BOS, BYTES_EOS};
    t->file = (TokenizerFile){.bos = BYTES_BOS, .eos = BYTES_EOS};
    t->file.hash = hash_bytes(identity, sizeof identity) ^ hash_string("bytes");
    t->size = BYTES_SIZE;
    t->max_bytes = 1;
}

static void index_added(Tokenizer *t) {
    const AddedTokens *added = &t->file.added;
    for (int64_t i = 0; i < added->count; i++) t->size = max_i64(t->size, added->token[i].id + 1);
    t->added = must_alloc(t->size, sizeof *t->added);
    memset(t->added, 0xff, (size_t)t->size * sizeof *t->added);
    for (int64_t i = 0; i < added->count; i++) {
        t->added[added->token[i].id] = (int32_t)i;
        t->max_bytes = max_i64(t->max_bytes, (int64_t)strlen(added->token[i].text));
    }
}

static bool open_file(Tokenizer *t, Error *error) {
    if (!tokenizer_file_read(&t->file, t->name, error)) return false;
    t->encoder = text_encoder_open(&t->file);
    t->size = bpe_size(t->file.bpe);
    for (int64_t i = 0, bytes; i < t->size; i++)
        if (bpe_token(t->file.bpe, (int32_t)i, &bytes)) t->max_bytes = max_i64(t->max_bytes, bytes);
    index_added(t);
    return true;
}

Tokenizer *tokenizer_open(const char *name, Error *error) {
    Tokenizer *t = must_alloc(1, sizeof *t);
    t->name = must_strdup(name);
    if (!strcmp(name, "bytes"))
        open_bytes(t);
    else if (!open_file(t, error))
        return tokenizer_close(t), NULL;
    return t;
}

void tokenizer_close(Tokenizer *t) {
    if (!t) return;
    text_encoder_close(t->encoder);
    tokenizer_file_free(&t->file);
    free(t->added);
    free(t->name);
    free(t);
}

int64_t tokenizer_size(const Tokenizer *t) { return t->size; }
int32_t tokenizer_bos(const Tokenizer *t) { return t->file.bos; }
int32_t tokenizer_eos(const Tokenizer *t) { return t->file.eos; }
bool tokenizer_adds_bos(const Tokenizer *t) { return t->file.adds_bos; }
bool tokenizer_adds_eos(const Tokenizer *t) { return t->file.adds_eos; }
const char *tokenizer_name(const Tokenizer *t) { return t->name; }
const char *tokenizer_file(const Tokenizer *t) { return t->encoder ? t->file.path : ""; }
uint64_t tokenizer_hash(const Tokenizer *t) { return t->file.hash; }
int64_t tokenizer_max_bytes(const Tokenizer *t) { return t->max_bytes; }

static const AddedToken *added_token(const Tokenizer *t, int32_t id) {
    return t->added && id >= 0 && id < t->size && t->added[id] >= 0 ? &t->file.added.token[t->added[id]] : NULL;
}

int32_t tokenizer_id(const Tokenizer *t, const char *token) {
    const AddedToken *a = added_tokens_find(&t->file.added, token);
    return a ? a->id : -1;
}

bool tokenizer_is_special(const Tokenizer *t, int32_t id) {
    const AddedToken *a = added_token(t, id);
    return a ? a->special : id >= 0 && (id == t->file.bos || id == t->file.eos);
}

const char *tokenizer_special_name(const Tokenizer *t, int32_t id, char room[64]) {
    const AddedToken *a = added_token(t, id);
    if (!tokenizer_is_special(t, id) && id < t->size) return NULL;
    if (a) return a->text;
    if (id == t->file.bos || id == t->file.eos)
        snprintf(room, 64, id == t->file.bos ? "<bos>" : "<eos>");
    else
        snprintf(room, 64, "<%d>", id);
    return room;
}

/* -- encoding ----------------------------------------------------------------------------------------- */

int64_t tokenizer_encode(const Tokenizer *t, int32_t *to, const char *text, int64_t bytes, Specials specials) {
    if (t->encoder) return text_encode(t->encoder, to, text, bytes, specials);
    for (int64_t i = 0; i < bytes; i++) to[i] = (unsigned char)text[i]; /* no byte spells a special token */
    return bytes;
}

int64_t tokenizer_room(const Tokenizer *t, int64_t bytes) {
    return t->encoder ? text_room(t->encoder, bytes) : bytes;
}

int64_t tokenizer_cut(const Tokenizer *t, const char *text, int64_t bytes) {
    return t->encoder ? text_cut(t->encoder, text, bytes) : bytes;
}

/* -- decoding ----------------------------------------------------------------------------------------- */

static int64_t decode_file(const Tokenizer *t, char *to, int32_t id) {
    const AddedToken *a = added_token(t, id);
    int64_t bytes = 0;
    const char *text = a ? a->text : bpe_token(t->file.bpe, id, &bytes);
    if (a) bytes = a->special ? 0 : (int64_t)strlen(a->text);
    if (text) memcpy(to, text, (size_t)bytes);
    return text ? bytes : 0;
}

static int64_t decode_byte(char *to, int32_t id) {
    if (id < BYTES) *to = (char)id;
    return id < BYTES;
}

int64_t tokenizer_decode(const Tokenizer *t, char *to, const int32_t *ids, int64_t n) {
    int64_t written = 0;
    for (int64_t i = 0; i < n; i++) {
        check(ids[i] >= 0, "token %d cannot be decoded by the tokenizer %s", ids[i], t->name);
        written += t->encoder ? decode_file(t, to + written, ids[i]) : decode_byte(to + written, ids[i]);
    }
    return written;
}

int64_t tokenizer_stream_room(const Tokenizer *t) { return 3 * (t->max_bytes + 3); }

int64_t tokenizer_stream_next(const Tokenizer *t, DecodeStream *s, char *to, int32_t id) {
    /* The token goes to the end of the room, from where it is read while the text is written at the front: a byte
     * becomes three at most. */
    char *text = to + tokenizer_stream_room(t) - (t->max_bytes + 3);
    memcpy(text, s->held, (size_t)s->n);
    int64_t bytes = s->n + tokenizer_decode(t, text + s->n, &id, 1), written = 0;
    s->n = 0;
    for (int64_t i = 0; i < bytes;) {
        int n;
        Utf8 kind = utf8_next(text + i, bytes - i, &n);
        if (kind == UTF8_CUT) {
            memcpy(s->held, text + i, (size_t)n);
            s->n = n;
        } else {
            memmove(to + written, kind == UTF8_WHOLE ? text + i : UTF8_REPLACEMENT,
                    kind == UTF8_WHOLE ? (size_t)n : 3);
            written += kind == UTF8_WHOLE ? n : 3;
        }
        i += n;
    }
    return written;
}

int64_t tokenizer_stream_end(DecodeStream *s, char *to) {
    int held = s->n;
    s->n = 0;
    if (held) memcpy(to, UTF8_REPLACEMENT, 3);
    return held ? 3 : 0;
}
