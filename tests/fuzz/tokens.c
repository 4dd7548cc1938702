/* tokens.c - a tokenizer.json; and text -> ids -> the same text. */
#include <stdlib.h>
#include <string.h>

#include "data/documents.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "tests/fuzz/fuzz.h"

/* What is said of ids holds for texts and both readings of control tokens. */
static void encode_samples(const Tokenizer *t) {
    static const char *const samples[] = {"", "In the beginning 1234", "中文 é\n\n\t  x", "<｜begin▁of▁sentence｜>y"};
    for (size_t i = 0; i < 2 * sizeof samples / sizeof *samples; i++) {
        int64_t bytes = (int64_t)strlen(samples[i / 2]), room = tokenizer_room(t, bytes);
        int32_t *ids = must_alloc(room, sizeof *ids);
        int64_t n = tokenizer_encode(t, ids, samples[i / 2], bytes, i % 2 ? SPECIALS_PLAIN : SPECIALS_MATCH);
        char *text = must_alloc(max_i64(n, 0) * tokenizer_max_bytes(t) + 1, 1);
        check(n <= room, "%lld ids in a room for %lld", (long long)n, (long long)room);
        for (int64_t k = 0; k < n; k++) check(ids[k] >= 0 && ids[k] < tokenizer_size(t), "id %d", ids[k]);
        if (n > 0) tokenizer_decode(t, text, ids, n);
        free(text);
        free(ids);
    }
}

bool fuzz_tokenizer(const uint8_t *data, int64_t bytes) {
    Error error = {0};
    Tokenizer *t = tokenizer_open(fuzz_file("tokenizer.json", data, bytes), &error);
    if (t) {
        encode_samples(t);
        tokenizer_close(t);
    }
    return fuzz_verdict(t != NULL, &error);
}

/* -- there and back --------------------------------------------------------------------------------- */

static int64_t decode_stream(const Tokenizer *t, char *to, const int32_t *ids, int64_t n) {
    DecodeStream stream = {0};
    int64_t bytes = 0;
    for (int64_t i = 0; i < n; i++) bytes += tokenizer_stream_next(t, &stream, to + bytes, ids[i]);
    return bytes + tokenizer_stream_end(&stream, to + bytes);
}

/* A text comes back as it was, at once and id by id; its two parts at the cut have the ids of the whole. */
static void round_trip(const Tokenizer *t, const char *text, int64_t bytes) {
    int64_t room = tokenizer_room(t, bytes), cut = tokenizer_cut(t, text, bytes);
    int32_t *ids = must_alloc(room, sizeof *ids), *parts = must_alloc(2 * room, sizeof *parts);
    int64_t n = tokenizer_encode(t, ids, text, bytes, SPECIALS_PLAIN);
    check(n >= 0 && n <= room, "%lld ids of %lld bytes", (long long)n, (long long)bytes);
    char *back = must_alloc((n + 1) * tokenizer_stream_room(t), 1);
    check(tokenizer_decode(t, back, ids, n) == bytes && !memcmp(back, text, (size_t)bytes), "another text");
    check(decode_stream(t, back, ids, n) == bytes && !memcmp(back, text, (size_t)bytes), "another text, id by id");
    check(cut >= 0 && cut <= bytes, "a cut at %lld of %lld", (long long)cut, (long long)bytes);
    int64_t first = tokenizer_encode(t, parts, text, cut, SPECIALS_PLAIN);
    int64_t rest = tokenizer_encode(t, parts + first, text + cut, bytes - cut, SPECIALS_PLAIN);
    check(first + rest == n && !memcmp(ids, parts, (size_t)n * sizeof *ids), "cut at %lld: other ids",
          (long long)cut);
    free(back);
    free(parts);
    free(ids);
}

/* Whatever the ids: the stream says what all of them together say, as valid UTF-8. */
static void decode_any(const Tokenizer *t, const uint8_t *data, int64_t bytes) {
    int64_t most = (bytes + 1) * tokenizer_stream_room(t);
    int32_t *ids = must_alloc(bytes, sizeof *ids);
    char *whole = must_alloc(most, 1), *repaired = must_alloc(3 * most, 1), *streamed = must_alloc(most, 1);
    for (int64_t i = 0; i < bytes; i++) ids[i] = (int32_t)((data[i] * 257 + i) % tokenizer_size(t));
    int64_t n = tokenizer_decode(t, whole, ids, bytes), m = decode_stream(t, streamed, ids, bytes);
    int64_t r = utf8_repair(repaired, whole, n);
    check(n <= bytes * tokenizer_max_bytes(t), "%lld bytes", (long long)n);
    check(m == r && !memcmp(repaired, streamed, (size_t)r) && utf8_valid(streamed, m), "another text in a stream");
    free(whole);
    free(repaired);
    free(streamed);
    free(ids);
}

bool fuzz_encode(const uint8_t *data, int64_t bytes) {
    static const char *const names[] = {"bytes", "tests/fuzz/corpus/tokenizer/ok-genesis",
                                        "tests/fixtures/tokenizer/deepseek-v2.json"};
    enum { TOKENIZERS = sizeof names / sizeof *names };
    static Tokenizer *tokenizers[TOKENIZERS];
    Error error;
    bool cut;
    char *text = fuzz_text(data, bytes);
    bool is_text = utf8_prefix(text, bytes, &cut) == bytes;
    for (int i = 0; i < TOKENIZERS; i++) {
        if (!tokenizers[i]) tokenizers[i] = tokenizer_open(names[i], &error);
        check(tokenizers[i], "%s", error.text);
        if (is_text) round_trip(tokenizers[i], text, bytes);
        decode_any(tokenizers[i], data, bytes);
    }
    free(text);
    return is_text;
}
