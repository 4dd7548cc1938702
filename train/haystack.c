#include "train/haystack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/documents.h"

enum { BYTES_A_TOKEN = 8 }; /* of text that are read for a token: more than tokens have on average */
enum { HAY_LEAST = 32 };

/* -- hay -------------------------------------------------------------------------------------------- */

typedef struct {
    char *text;
    int64_t bytes, wanted;
} Reader;

/* "Enough" ends the reading as an error would. */
static bool take_text(void *own, const char *text, int64_t bytes, Error *error) {
    Reader *r = own;
    bool cut;
    int64_t n = utf8_prefix(text, min_i64(bytes, r->wanted - r->bytes), &cut);
    memcpy(r->text + r->bytes, text, (size_t)n);
    r->bytes += n;
    return n == bytes || fail(error, "enough");
}

static bool take_end(void *own, Error *error) {
    Reader *r = own;
    return r->bytes == r->wanted ? fail(error, "enough") : take_text(own, "\n", 1, error);
}

static void ignore_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

static bool read_text(Reader *r, const char *path, Error *error) {
    DocumentSink sink = {.own = r, .text = take_text, .end = take_end, .progress = ignore_progress};
    DocumentFile file = {.file = path, .field = "text"};
    DocumentCounts counts = {0};
    if (!documents_read(&file, &sink, &counts, error) && strcmp(error->text, "enough")) return false;
    return r->bytes > 0 || fail(error, "%s: there is no text to hide a number in", path);
}

static void make_sentences(Reader *r) {
    static const char *const words[4][8] = {
        {"old", "quiet", "green", "small", "bright", "heavy", "distant", "gentle"},
        {"river", "farmer", "garden", "village", "teacher", "mountain", "ship", "winter"},
        {"crosses", "remembers", "follows", "watches", "leaves", "reaches", "passes", "greets"},
        {"bridge", "market", "forest", "harbour", "window", "field", "road", "tower"}};
    uint64_t stream = hash_string("hay"), index = 0;
    while (r->bytes < r->wanted) {
        const char *word[5];
        char sentence[128];
        for (int i = 0; i < 5; i++) word[i] = words[i % 4][random_bits(0, stream, index++) % 8];
        int n = snprintf(sentence, sizeof sentence, "The %s %s %s the %s near the %s %s. ", word[0], word[1], word[2],
                         word[3], word[4], words[1][random_bits(0, stream, index++) % 8]);
        n = (int)min_i64(n, r->wanted - r->bytes);
        memcpy(r->text + r->bytes, sentence, (size_t)n);
        r->bytes += n;
    }
}

static void encode_hay(Haystack *h, const Reader *r) {
    int32_t *ids = must_alloc(tokenizer_room(h->tokenizer, r->bytes), sizeof *ids);
    int64_t have = tokenizer_encode(h->tokenizer, ids, r->text, r->bytes, SPECIALS_PLAIN);
    check(have > 0, "text that cannot be encoded");
    h->ids = must_alloc(h->n, sizeof *h->ids);
    for (int64_t i = 0; i < h->n; i++) h->ids[i] = ids[i % have];
    free(ids);
}

bool haystack_open(Haystack *h, const char *path, const Tokenizer *t, int32_t bos, int64_t n, Error *error) {
    Reader r = {.text = must_alloc(n * BYTES_A_TOKEN, 1), .wanted = n * BYTES_A_TOKEN};
    bool ok = true;
    *h = (Haystack){.tokenizer = t, .bos = bos, .n = n};
    if (*path)
        ok = read_text(&r, path, error);
    else
        make_sentences(&r);
    if (ok) encode_hay(h, &r);
    free(r.text);
    return ok;
}

void haystack_close(Haystack *h) {
    free(h->ids);
    *h = (Haystack){0};
}

/* The last place up to `at` where a sentence or a line has just ended; `at` itself when there is none. */
static int64_t border(const Haystack *h, int64_t at) {
    char *text = must_alloc(tokenizer_max_bytes(h->tokenizer), 1);
    int64_t place = at;
    for (; place > 0; place--) {
        int64_t n = tokenizer_decode(h->tokenizer, text, &h->ids[place - 1], 1);
        if (n && memchr(".!?\n", text[n - 1], 4)) break;
    }
    free(text);
    return place ? place : at;
}

/* -- prompts ---------------------------------------------------------------------------------------- */

typedef struct {
    int32_t *ids;
    int64_t n;
} Piece;

static Piece piece_of(const Haystack *h, const char *text) {
    int64_t bytes = (int64_t)strlen(text);
    Piece p = {.ids = must_alloc(tokenizer_room(h->tokenizer, bytes), sizeof *p.ids)};
    p.n = tokenizer_encode(h->tokenizer, p.ids, text, bytes, SPECIALS_PLAIN);
    return p;
}

static Piece needle_of(const Haystack *h, int64_t number) {
    char text[64];
    snprintf(text, sizeof text, " The magic number is %lld. ", (long long)number);
    return piece_of(h, text);
}

static Piece question_of(const Haystack *h) { return piece_of(h, "\n\nThe magic number is"); }

static int64_t hay_tokens(const Haystack *h, int64_t length, Piece needle, Piece question) {
    return length - HAYSTACK_ANSWER - (h->bos >= 0) - needle.n - question.n;
}

bool haystack_fits(const Haystack *h, int64_t length) {
    Piece needle = needle_of(h, 9999999), question = question_of(h);
    bool fits = hay_tokens(h, length, needle, question) >= HAY_LEAST;
    free(needle.ids);
    free(question.ids);
    return fits;
}

static void put(Piece *to, const int32_t *ids, int64_t n) {
    memcpy(to->ids + to->n, ids, (size_t)n * sizeof *ids);
    to->n += n;
}

int32_t *haystack_prompt(const Haystack *h, int64_t length, int depth, int64_t number) {
    Piece needle = needle_of(h, number), question = question_of(h), all = {must_alloc(length, sizeof *all.ids), 0};
    int64_t hay = hay_tokens(h, length, needle, question), place = hay * depth / (HAYSTACK_DEPTHS - 1);
    if (place < hay) place = border(h, place);
    put(&all, &h->bos, h->bos >= 0);
    put(&all, h->ids, place);
    put(&all, needle.ids, needle.n);
    put(&all, h->ids + place, hay - place);
    put(&all, question.ids, question.n);
    free(needle.ids);
    free(question.ids);
    return all.ids;
}
