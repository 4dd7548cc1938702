/* bpe_read.c - a vocabulary and its merges out of JSON. Every id and every merge is checked. */
#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/bpe_own.h"

enum { MOST_TOKENS = 4000000, MOST_BYTES = 1 << 20 };

/* -- the alphabet of bytes --------------------------------------------------------------------------- */

static bool printable(int byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static int32_t codepoint_of(int byte) {
    int32_t others = 0;
    if (printable(byte)) return byte;
    for (int b = 0; b < byte; b++) others += !printable(b);
    return 256 + others;
}

int bpe_byte_of(int32_t codepoint) {
    if (codepoint < 256) return codepoint >= 0 && printable(codepoint) ? codepoint : -1;
    for (int b = 0; b < 256; b++)
        if (!printable(b) && codepoint_of(b) == codepoint) return b;
    return -1;
}

int bpe_write_byte(char to[2], unsigned char byte) {
    int32_t c = codepoint_of(byte);
    if (c < 0x80) return to[0] = (char)c, 1;
    to[0] = (char)(0xc0 | c >> 6);
    to[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* The alphabet as a table: two bytes of UTF-8 are enough for all of it. */
typedef struct {
    int16_t byte[0x800];
} Alphabet;

static void alphabet_fill(Alphabet *a) {
    memset(a, 0xff, sizeof *a);
    for (int b = 0; b < 256; b++) a->byte[codepoint_of(b)] = (int16_t)b;
}

/* Bytes that a token spells; -1 when it is not of the alphabet. */
static int64_t spelled(const Alphabet *a, char *to, const char *text) {
    int64_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; n++) {
        int c = *p++;
        if (c >= 0x80) {
            if ((c & 0xe0) != 0xc0 || (*p & 0xc0) != 0x80) return -1;
            c = (c & 0x1f) << 6 | (*p++ & 0x3f);
        }
        if (a->byte[c] < 0) return -1;
        to[n] = (char)a->byte[c];
    }
    return n;
}

/* -- vocabulary -------------------------------------------------------------------------------------- */

static bool largest_id(const json_t *vocabulary, int64_t *size, int64_t *text, Error *error) {
    const char *key;
    json_t *value;
    *size = *text = 0;
    if (!json_is_object(vocabulary) || json_object_size(vocabulary) == 0) return fail(error, "model has no vocab");
    json_object_foreach((json_t *)vocabulary, key, value) {
        int64_t id = json_is_integer(value) ? json_integer_value(value) : -1, bytes = (int64_t)strlen(key);
        if (id < 0 || id >= MOST_TOKENS)
            return fail(error, "model.vocab gives \"%.80s\" no id below %d", key, MOST_TOKENS);
        if (bytes == 0 || bytes > MOST_BYTES)
            return fail(error, "model.vocab has a token of %lld bytes (id %lld)", (long long)bytes, (long long)id);
        *size = max_i64(*size, id + 1);
        *text += bytes;
    }
    return true;
}

/* A token that is not written in the alphabet of bytes is its own text: control tokens are listed among the vocabulary
 * too (DeepSeek-V3). No merge leads to it, so no text becomes it. */
static void read_token(Bpe *b, const Alphabet *alphabet, const char *key, int64_t id) {
    char *to = b->text + b->text_bytes;
    int64_t n = spelled(alphabet, to, key);
    b->token[id] = (Token){.from = b->text_bytes, .bytes = (int32_t)n, .plain = n < 0};
    if (n < 0) {
        b->token[id].bytes = (int32_t)strlen(key);
        memcpy(to, key, strlen(key));
    }
    if (n == 1) b->of_byte[(unsigned char)*to] = (int32_t)id;
    b->text_bytes += b->token[id].bytes;
}

static bool read_tokens(Bpe *b, const json_t *vocabulary, Error *error) {
    Alphabet alphabet;
    const char *key;
    json_t *value;
    alphabet_fill(&alphabet);
    json_object_foreach((json_t *)vocabulary, key, value) {
        int64_t id = json_integer_value(value);
        if (b->token[id].bytes)
            return fail(error, "model.vocab gives id %lld twice, once to \"%.80s\"", (long long)id, key);
        read_token(b, &alphabet, key, id);
    }
    return true;
}

/* Bytes that no UTF-8 text has may be missing. */
static bool all_bytes(const Bpe *b, Error *error) {
    for (int byte = 0; byte < 256; byte++)
        if (b->of_byte[byte] < 0 && byte != 0xc0 && byte != 0xc1 && byte < 0xf5)
            return fail(error, "model.vocab has no token for the byte 0x%02x, so not every text can be written",
                        (unsigned)byte);
    return true;
}

static uint64_t table_mask(int64_t count) {
    uint64_t slots = 16;
    while (slots < 2 * (uint64_t)count) slots *= 2;
    return slots - 1;
}

static void index_words(Bpe *b) {
    b->word_mask = table_mask(b->size);
    b->word = must_alloc((int64_t)b->word_mask + 1, sizeof *b->word);
    memset(b->word, 0xff, (b->word_mask + 1) * sizeof *b->word);
    for (int32_t id = 0; id < b->size; id++) {
        if (!b->token[id].bytes || b->token[id].plain) continue;
        uint64_t i = hash_bytes(b->text + b->token[id].from, b->token[id].bytes) & b->word_mask;
        while (b->word[i] >= 0) i = (i + 1) & b->word_mask;
        b->word[i] = id;
    }
}

/* -- merges -------------------------------------------------------------------------------------------- */

typedef struct {
    const json_t *vocabulary;
    char *text; /* room for left and right, each ended by a NUL, and for both together */
    size_t room;
} MergeReader;

static bool split_merge(MergeReader *r, const json_t *json, const char **left, const char **right) {
    const char *both = json_string_value(json), *space = both ? strchr(both, ' ') : NULL;
    *left = json_string_value(json_array_get(json, 0));
    *right = json_string_value(json_array_get(json, 1));
    if (json_is_array(json)) return json_array_size(json) == 2 && *left && *right;
    if (!space || strchr(space + 1, ' ')) return false;
    size_t n = (size_t)(space - both);
    if (strlen(both) + 1 > r->room) r->text = must_realloc(r->text, (int64_t)(r->room = 2 * strlen(both) + 64), 1);
    memcpy(r->text, both, strlen(both) + 1);
    r->text[n] = 0;
    *left = r->text;
    *right = r->text + n + 1;
    return true;
}

static int32_t id_of(const MergeReader *r, const char *token) {
    const json_t *id = json_object_get(r->vocabulary, token);
    return id ? (int32_t)json_integer_value(id) : -1;
}

static void insert_merge(Bpe *b, Merge m) {
    uint64_t i = merge_slot(m.left, m.right) & b->merge_mask;
    for (; b->merge[i].id >= 0; i = (i + 1) & b->merge_mask)
        if (b->merge[i].left == m.left && b->merge[i].right == m.right) break; /* the last one counts, as published */
    b->merge[i] = m;
}

static bool read_merge(Bpe *b, MergeReader *r, const json_t *json, size_t rank, Error *error) {
    const char *left, *right;
    if (!split_merge(r, json, &left, &right)) return fail(error, "model.merges[%zu] is not two tokens", rank);
    char *merged = must_format("%s%s", left, right);
    Merge m = {id_of(r, left), id_of(r, right), id_of(r, merged), (uint32_t)rank};
    bool known = m.left >= 0 && m.right >= 0 && m.id >= 0;
    if (known) insert_merge(b, m);
    if (!known)
        fail(error, "model.merges[%zu] is \"%.60s %.60s\", and %s is not in model.vocab", rank, left, right,
             m.left < 0    ? "the first"
             : m.right < 0 ? "the second"
                           : "what they make");
    free(merged);
    return known;
}

static bool read_merges(Bpe *b, const json_t *merges, const json_t *vocabulary, Error *error) {
    MergeReader r = {.vocabulary = vocabulary};
    bool ok = true;
    if (!json_is_array(merges)) return fail(error, "model has no merges");
    if (json_array_size(merges) > MOST_TOKENS) return fail(error, "model.merges has more than %d rows", MOST_TOKENS);
    b->merge_mask = table_mask((int64_t)json_array_size(merges));
    b->merge = must_alloc((int64_t)b->merge_mask + 1, sizeof *b->merge);
    for (uint64_t i = 0; i <= b->merge_mask; i++) b->merge[i].id = -1;
    for (size_t i = 0; ok && i < json_array_size(merges); i++)
        ok = read_merge(b, &r, json_array_get(merges, i), i, error);
    free(r.text);
    return ok;
}

/* -- the model --------------------------------------------------------------------------------------------- */

static bool is_off(const json_t *v) {
    return !v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && !*json_string_value(v)) ||
           (json_is_number(v) && json_number_value(v) == 0);
}

static bool plain_bpe(const json_t *json, Error *error) {
    static const char *const off[] = {"dropout",  "unk_token",    "continuing_subword_prefix", "end_of_word_suffix",
                                      "fuse_unk", "byte_fallback"};
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!json_is_object(json)) return fail(error, "there is no model");
    if (type && strcmp(type, "BPE")) return fail(error, "model.type is %.80s; only BPE is known here", type);
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (!is_off(json_object_get(json, off[i])))
            return fail(error, "model.%s is set, which is not known here", off[i]);
    return true;
}

static bool read_model(Bpe *b, const json_t *json, Error *error) {
    const json_t *vocabulary = json_object_get(json, "vocab");
    int64_t text;
    if (!plain_bpe(json, error) || !json_flag(&b->ignore_merges, json, "ignore_merges", error) ||
        !largest_id(vocabulary, &b->size, &text, error))
        return false;
    b->text = must_alloc(text, 1);
    b->token = must_alloc(b->size, sizeof *b->token);
    memset(b->of_byte, 0xff, sizeof b->of_byte);
    if (!read_tokens(b, vocabulary, error) || !all_bytes(b, error)) return false;
    if (b->ignore_merges) index_words(b);
    return read_merges(b, json_object_get(json, "merges"), vocabulary, error);
}

Bpe *bpe_open(const json_t *json, Error *error) {
    Bpe *b = must_alloc(1, sizeof *b);
    if (read_model(b, json, error)) return b;
    bpe_close(b);
    return NULL;
}

void bpe_close(Bpe *b) {
    if (!b) return;
    free(b->text);
    free(b->token);
    free(b->merge);
    free(b->word);
    free(b);
}
