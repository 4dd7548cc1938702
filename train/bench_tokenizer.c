/* bench_tokenizer.c - see bench_tokenizer.h.
 *
 * The files are cut into texts of whole lines of at least TEXT_BYTES, which are encoded and decoded by all threads;
 * tests/tokenizer_hf.py --speed cuts the same texts and times Hugging Face beside these rows. */
#include "train/bench_tokenizer.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/documents.h"
#include "data/source.h"
#include "launch/threads.h"

enum { TEXT_BYTES = 4096, RUNS = 7, STRINGS = 20000, MOST_TEXT = 1 << 30 };

typedef struct {
    const char *text;
    int64_t bytes;
    int32_t *ids;
    int64_t n;
} Text;

typedef struct {
    const Tokenizer *tokenizer;
    char *all; /* the files, one after the other */
    int64_t bytes, room;
    Text *text;
    int64_t texts, tokens;
} Bench;

/* -- texts ----------------------------------------------------------------------------------------- */

static bool add_piece(void *own, const char *text, int64_t bytes, Error *error) {
    Bench *b = own;
    if (b->bytes + bytes > MOST_TEXT) return fail(error, "more than %d MiB of text", MOST_TEXT >> 20);
    if (b->bytes + bytes > b->room) b->all = must_realloc(b->all, b->room = 2 * (b->bytes + bytes), 1);
    memcpy(b->all + b->bytes, text, (size_t)bytes);
    b->bytes += bytes;
    return true;
}

static bool end_document(void *own, Error *error) {
    (void)own, (void)error;
    return true;
}

static void no_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

static bool read_files(Bench *b, const char *path, Error *error) {
    DataSet set = {.name = "bench", .path = (char *)path};
    SourceFiles files;
    DocumentSink sink = {.own = b, .text = add_piece, .end = end_document, .progress = no_progress};
    DocumentCounts left_out = {0};
    bool ok = source_list(&files, &set, NULL, error);
    for (int64_t i = 0; ok && i < files.count; i++)
        ok = documents_read(&(DocumentFile){.file = files.file[i].path, .field = "text"}, &sink, &left_out, error);
    source_free(&files);
    if (ok && b->bytes == 0) return fail(error, "%s: there is no text", path);
    return ok;
}

static void cut_texts(Bench *b) {
    b->text = must_alloc(b->bytes / TEXT_BYTES + 1, sizeof *b->text);
    for (int64_t from = 0; from < b->bytes;) {
        int64_t least = min_i64(from + TEXT_BYTES, b->bytes);
        const char *newline = memchr(b->all + least - 1, '\n', (size_t)(b->bytes - least + 1));
        int64_t to = newline ? newline + 1 - b->all : b->bytes;
        Text *t = &b->text[b->texts++];
        *t = (Text){.text = b->all + from, .bytes = to - from};
        t->ids = must_alloc(tokenizer_room(b->tokenizer, t->bytes), sizeof *t->ids);
        from = to;
    }
}

/* -- rows ------------------------------------------------------------------------------------------ */

static bool encode_all(Bench *b, int threads) {
    bool ok = true;
    (void)threads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(&& : ok)
    for (int64_t i = 0; i < b->texts; i++) {
        Text *t = &b->text[i];
        t->n = tokenizer_encode(b->tokenizer, t->ids, t->text, t->bytes, SPECIALS_MATCH);
        ok = ok && t->n >= 0;
    }
    return ok;
}

static bool decode_all(Bench *b, int threads) {
    bool ok = true;
    (void)threads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(&& : ok)
    for (int64_t i = 0; i < b->texts; i++) {
        const Text *t = &b->text[i];
        char *text = must_alloc(t->n * tokenizer_max_bytes(b->tokenizer) + 1, 1);
        ok = ok && tokenizer_decode(b->tokenizer, text, t->ids, t->n) > 0;
        free(text);
    }
    return ok;
}

static bool print_row(Bench *b, const char *what, bool (*work)(Bench *, int), int threads, Error *error) {
    double seconds[RUNS];
    for (int i = -1; i < RUNS; i++) { /* the first one only warms */
        double begin = clock_seconds();
        if (!work(b, threads)) return fail(error, "a text took the tokenizer's expressions beyond their limits");
        if (i >= 0) seconds[i] = clock_seconds() - begin;
    }
    printf("%-24s %2d %s %9.2f MB/s\n", what, threads, threads == 1 ? "thread " : "threads",
           (double)b->bytes / 1e6 / median(seconds, RUNS));
    return true;
}

static bool print_rows(Bench *b, int threads, Error *error) {
    for (int n = 1; n <= threads; n += max_i64(1, threads - 1))
        if (!print_row(b, "encode", encode_all, (int)n, error)) return false;
    for (int n = 1; n <= threads; n += max_i64(1, threads - 1))
        if (!print_row(b, "decode", decode_all, (int)n, error)) return false;
    for (int64_t i = 0; i < b->texts; i++) b->tokens += b->text[i].n;
    int64_t changed = tokenizer_changed_strings(b->tokenizer, STRINGS);
    printf("%-24s %.3f bytes (%lld texts, %lld bytes, %lld tokens)\n", "a token",
           (double)b->bytes / (double)b->tokens, (long long)b->texts, (long long)b->bytes, (long long)b->tokens);
    printf("%-24s %lld of %d come back as they were\n", "random strings", (long long)(STRINGS - changed), STRINGS);
    return true;
}

bool bench_is_tokenizer(const CommandLine *line) {
    const char *name = line->n_input ? line->input[0] : "";
    size_t n = strlen(name);
    char *inside = must_format("%s/tokenizer.json", name);
    bool is = disk_exists(inside) || (n > 5 && !strcmp(name + n - 5, ".json"));
    free(inside);
    return is;
}

int bench_tokenizer(const CommandLine *line) {
    Error error;
    Bench b = {0};
    int threads = launch_threads(0);
    double begin = clock_seconds();
    Tokenizer *t = tokenizer_open(line->input[0], &error);
    double seconds = clock_seconds() - begin;
    b.tokenizer = t;
    bool ok = t && read_files(&b, line->n_input > 1 ? line->input[1] : "data/sample/*.txt", &error);
    if (ok) {
        printf("%-24s %.2f s, %lld ids\n", "open", seconds, (long long)tokenizer_size(t));
        cut_texts(&b);
        ok = print_rows(&b, threads, &error);
    }
    if (!ok) fprintf(stderr, "dsv2: %s\n", error.text);
    for (int64_t i = 0; i < b.texts; i++) free(b.text[i].ids);
    free(b.text);
    free(b.all);
    tokenizer_close(t);
    return ok ? EXIT_DONE : EXIT_INPUT;
}

/* -- random strings ---------------------------------------------------------------------------------- */

enum { STRING_CHARACTERS = 50 };

static int write_codepoint(char *to, uint32_t c) {
    if (c < 0x80) return to[0] = (char)c, 1;
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

/* Often of the first planes, where scripts that people write are. */
static uint32_t random_codepoint(uint64_t r) {
    static const uint32_t below[] = {0x80, 0x80, 0x250, 0x800, 0x3000, 0xd800, 0x110000};
    uint32_t c = (uint32_t)(r >> 8) % below[r % 7];
    return c >= 0xd800 && c < 0xe000 ? ' ' : c;
}

static int64_t random_text(char *to, int64_t number) {
    int64_t bytes = 0, n = (int64_t)(random_bits(1, 2, (uint64_t)number) % STRING_CHARACTERS);
    for (int64_t i = 0; i < n; i++)
        bytes += write_codepoint(to + bytes, random_codepoint(random_bits(1, 3, (uint64_t)(number * 64 + i))));
    return bytes;
}

int64_t tokenizer_changed_strings(const Tokenizer *t, int64_t count) {
    char text[4 * STRING_CHARACTERS];
    int64_t room = tokenizer_room(t, sizeof text), changed = 0;
    int32_t *ids = must_alloc(room, sizeof *ids);
    char *back = must_alloc(room * tokenizer_max_bytes(t), 1);
    for (int64_t i = 0; i < count; i++) {
        int64_t bytes = random_text(text, i), n = tokenizer_encode(t, ids, text, bytes, SPECIALS_MATCH);
        changed += n < 0 || tokenizer_decode(t, back, ids, n) != bytes || memcmp(back, text, (size_t)bytes) != 0;
    }
    free(back);
    free(ids);
    return changed;
}
