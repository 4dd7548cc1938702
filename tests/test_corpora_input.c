/* test_corpora_input.c - packed files, lines by range, bad lines. */
#include "tests/test_corpora.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/json_text.h"
#include "data/disk.h"
#include "data/input.h"
#include "data/json_line.h"

/* All that comes out of a file, with '|' behind each document. */
typedef struct {
    char *text;
    size_t bytes;
    FILE *f;
    int64_t taken; /* bytes of files */
} Heard;

static bool hear_text(void *own, const char *text, int64_t bytes, Error *error) {
    (void)error;
    return fwrite(text, 1, (size_t)bytes, ((Heard *)own)->f) == (size_t)bytes;
}
static bool hear_end(void *own, Error *error) { return (void)error, putc('|', ((Heard *)own)->f) == '|'; }
static void hear_progress(void *own, int64_t bytes) { ((Heard *)own)->taken += bytes; }

static bool hear(Heard *h, const DocumentFile *file, DocumentCounts *counts, Error *error) {
    DocumentSink sink = {.own = h, .text = hear_text, .end = hear_end, .progress = hear_progress};
    return documents_read(file, &sink, counts, error);
}

static void heard_open(Heard *h) {
    h->taken = 0;
    check(h->f = open_memstream(&h->text, &h->bytes), "no memory");
}
static void heard_close(Heard *h) { fclose(h->f); }

static bool read_file(const char *path, char **text, int64_t *bytes, Error *error) {
    Heard h;
    DocumentCounts counts = {0};
    DocumentFile file = {.file = path, .field = "text"};
    heard_open(&h);
    bool ok = hear(&h, &file, &counts, error);
    heard_close(&h);
    *text = h.text;
    *bytes = (int64_t)h.bytes;
    return ok;
}

/* -- packed files ---------------------------------------------------------------------------------------------- */

static char *make_lines(int64_t *bytes, int count) {
    char *text = NULL;
    size_t all;
    FILE *f = open_memstream(&text, &all);
    for (int i = 0; i < count; i++)
        fprintf(f, "{\"id\": %d, \"text\": \"line %d \xe2\x82\xac and\\n %lld\"}\n", i, i, (long long)i * i);
    fclose(f);
    *bytes = (int64_t)all;
    return text;
}

void packed_equals_plain(void) {
    static const char *const names[] = {"p.jsonl.gz", "p.jsonl.zst", "p.jsonl.zstd", "p.txt.gz", "p.txt.zst"};
    static const int64_t pieces[] = {1 << 30, 100000, 777};
    int64_t bytes, n, m;
    char *lines = make_lines(&bytes, 40000), *plain, *text; /* more than one window */
    Error error;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            const char *file = test_file(strstr(names[i], ".txt") ? "p.txt" : "p.jsonl", lines, bytes);
            check(read_file(file, &plain, &n, &error), "%s", error.text);
            const char *packed = corpus_pack(names[i], lines, bytes, pieces[k]);
            expect(read_file(packed, &text, &m, &error), "%s: %s", names[i], error.text);
            expect(n == m && !memcmp(plain, text, (size_t)n), "%s reads otherwise than %s", packed, file);
            free(plain);
            free(text);
        }
    free(lines);
}

static void expect_cut(const char *name, const char *packed, int64_t bytes) {
    Error error;
    char *text;
    int64_t n;
    for (int64_t cut = 0; cut < bytes; cut += cut < 64 ? 1 : 7) {
        const char *file = test_file(name, packed, cut);
        bool ok = read_file(file, &text, &n, &error);
        expect(!ok && strstr(error.text, name), "%s cut to %lld bytes: %s", name, (long long)cut,
               ok ? "accepted" : error.text);
        free(text);
    }
}

void packed_cut_off(void) {
    static const char *const names[] = {"cut.jsonl.gz", "cut.jsonl.zst"};
    int64_t bytes, size, n;
    char *lines = make_lines(&bytes, 40), *text;
    Error error;
    for (int i = 0; i < 2; i++) {
        char *packed = disk_read_file(corpus_pack(names[i], lines, bytes, 1 << 30), 1 << 20, &size, &error);
        expect_cut(names[i], packed, size);
        test_file(names[i], packed, size);
        expect(read_file(test_path(names[i]), &text, &n, &error), "%s: %s", names[i], error.text);
        free(text);
        packed = realloc(packed, (size_t)size + 9);
        memcpy(packed + size, "and more.", 9);
        expect(!read_file(test_file(names[i], packed, size + 9), &text, &n, &error), "%s: a tail was accepted",
               names[i]);
        free(text);
        memset(packed + size, 0, 9); /* zeros may follow a gzip file */
        expect(read_file(test_file(names[i], packed, size + 9), &text, &n, &error) == (i == 0), "%s: zeros",
               names[i]);
        free(text);
        free(packed);
    }
    expect(!read_file(test_file("no.jsonl.gz", lines, bytes), &text, &n, &error) && strstr(error.text, "no.jsonl.gz"),
           "a plain file named .gz");
    free(text);
    expect(!read_file(test_file("no.jsonl.zst", lines, bytes), &text, &n, &error) &&
               strstr(error.text, "damaged zstd"),
           "a plain file named .zst");
    free(text);
    free(lines);
}

/* Any byte changed: never a crash, and gzip's checksum finds all of it (but for the header's idle bytes). */
void packed_damaged(void) {
    static const char *const names[] = {"bad.jsonl.gz", "bad.jsonl.zst"};
    int64_t bytes, size, n;
    char *lines = make_lines(&bytes, 40), *text;
    Error error;
    for (int i = 0; i < 2; i++) {
        int64_t accepted = 0;
        char *packed = disk_read_file(corpus_pack(names[i], lines, bytes, 500), 1 << 20, &size, &error);
        for (int64_t at = 0; at < size; at++) {
            char mask = (char)(1 + random_bits(1, 5, (uint64_t)at) % 255);
            packed[at] ^= mask;
            accepted += read_file(test_file(names[i], packed, size), &text, &n, &error);
            packed[at] ^= mask;
            free(text);
        }
        if (i == 0)
            expect(accepted < size / 8, "%lld of %lld damaged files were accepted", (long long)accepted,
                   (long long)size);
        free(packed);
    }
    free(lines);
}

/* -- lines ------------------------------------------------------------------------------------------------------ */

/* What this process has read from files so far. */
static int64_t bytes_read(void) {
    long long bytes = 0;
    FILE *f = fopen("/proc/self/io", "r");
    check(f && fscanf(f, "rchar: %lld", &bytes) == 1, "/proc/self/io cannot be read");
    fclose(f);
    return bytes;
}

/* Wherever a file is divided, its ranges together give what the whole gives, and are told of as its bytes. */
void lines_by_range(void) {
    int64_t bytes;
    char *lines = make_lines(&bytes, 200), *whole;
    int64_t n;
    Error error;
    const char *path = test_file("r.jsonl", lines, bytes);
    check(read_file(path, &whole, &n, &error), "%s", error.text);
    for (int64_t step = 1; step < bytes; step = step * 3 + 1) {
        Heard h;
        DocumentCounts counts = {0};
        heard_open(&h);
        for (int64_t from = 0; from < bytes; from += step) {
            DocumentFile file = {.file = path, .field = "text", .from = from, .end = min_i64(from + step, bytes)};
            check(hear(&h, &file, &counts, &error), "%s", error.text);
        }
        heard_close(&h);
        expect((int64_t)h.bytes == n && !memcmp(h.text, whole, (size_t)n), "ranges of %lld bytes", (long long)step);
        expect(h.taken == bytes, "ranges of %lld bytes: progress %lld of %lld", (long long)step, (long long)h.taken,
               (long long)bytes);
        free(h.text);
    }
    free(whole);
    free(lines);
}

/* One line without an end: no range reads to the end of the file for a line that begins in none. */
void line_without_end(void) {
    enum { BYTES = 20 << 20, STEP = 1 << 18 };
    char *text = must_alloc(BYTES, 1);
    Heard h;
    Error error;
    memset(text, 'x', BYTES);
    const char *path = test_file("endless.jsonl", text, BYTES);
    int64_t before = bytes_read();
    heard_open(&h);
    DocumentCounts counts = {0};
    for (int64_t from = 0; from < BYTES; from += STEP) {
        DocumentFile file = {.file = path, .field = "text", .from = from, .end = from + STEP, .bad_most = 1};
        check(hear(&h, &file, &counts, &error), "%s", error.text);
    }
    heard_close(&h);
    expect(counts.bad_lines == 1 && h.bytes == 0, "%lld bad lines", (long long)counts.bad_lines);
    int64_t taken = bytes_read() - before;
    expect(taken < 3 * BYTES, "%lld bytes of %d were read", (long long)taken, BYTES);
    free(h.text);
    free(text);
}

/* A range reads what it has and the rest of its last line, not what the next one reads again. */
void ranges_read_once(void) {
    enum { STEP = 1 << 18 };
    int64_t bytes;
    char *lines = make_lines(&bytes, 100000);
    Heard h;
    Error error;
    DocumentCounts counts = {0};
    const char *path = test_file("many.jsonl", lines, bytes);
    int64_t before = bytes_read();
    heard_open(&h);
    for (int64_t from = 0; from < bytes; from += STEP) {
        DocumentFile file = {.file = path, .field = "text", .from = from, .end = min_i64(from + STEP, bytes)};
        check(hear(&h, &file, &counts, &error), "%s", error.text);
    }
    heard_close(&h);
    int64_t taken = bytes_read() - before;
    expect(h.taken == bytes && taken < bytes * 1.1, "progress %lld, read %lld of %lld bytes", (long long)h.taken,
           (long long)taken, (long long)bytes);
    free(h.text);
    free(lines);
}

/* What the fast reader takes, the parser reads to the same. */
static void expect_json(const char *line, bool fast) {
    char text[256];
    int64_t length, bytes = (int64_t)strlen(line);
    char *exact = must_alloc(bytes, 1);
    memcpy(exact, line, (size_t)bytes);
    bool taken = json_line_field(exact, bytes, "text", text, &length);
    expect(taken == fast, "%s: %s", line, taken ? "taken" : "left to the parser");
    json_t *object = json_loadb(line, (size_t)bytes, JSON_REJECT_DUPLICATES, NULL);
    const json_t *value = json_object_get(object, "text");
    if (taken)
        expect(json_is_string(value) && json_string_length(value) == (size_t)length &&
                   !memcmp(json_string_value(value), text, (size_t)length),
               "%s reads as '%.*s'", line, (int)length, text);
    json_decref(object);
    free(exact);
}

void json_lines(void) {
    static const struct {
        const char *line;
        bool fast;
    } cases[] = {
        {"{\"text\":\"abc\"}", true},
        {" { \"text\" : \"abc\" } \r", true},
        {"{\"text\":\"\"}", true},
        {"{\"a\":\"before, longer than the text\",\"text\":\"abc\",\"b\":\"behind\"}", true},
        {"{\"a\":1,\"b\":-0.25,\"c\":true,\"d\":false,\"e\":null,\"text\":\"x\",\"f\":12345678901234567}", true},
        {"{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud834\\udd1e\"}", true},
        {"{\"text\":\"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e plain text behind\"}", true},
        {"{\"text\":\"eight by\\\\tes\\\" and more\"}", true},
        {"{\"text\":\"a\",\"text\":\"b\"}", false},
        {"{\"text\":\"a\",\"b\":1,\"b\":2}", false},
        {"{\"te\\u0078t\":\"a\"}", false},
        {"{\"text\":\"a\",\"b\":{\"c\":1}}", false},
        {"{\"text\":\"a\",\"b\":[1]}", false},
        {"{\"text\":7}", false},
        {"{\"text\":\"a\"} x", false},
        {"{\"text\":\"a\"", false},
        {"{\"text\":\"a", false},
        {"{\"text\":\"a\\u0000\"}", false},
        {"{\"text\":\"\\ud834\"}", false},
        {"{\"text\":\"\\ud834\\u0041\"}", false},
        {"{\"text\":\"\\udd1e\"}", false},
        {"{\"text\":\"\\x\"}", false},
        {"{\"text\":\"\\u12\"}", false},
        {"{\"text\":\"tab\there\"}", false},
        {"{\"text\":\"\xc0\xaf\"}", false},
        {"{\"text\":\"\xed\xa0\x80\"}", false},
        {"{\"text\":\"\xe2\x82\"}", false},
        {"{\"text\":\"a\",\"b\":01}", false},
        {"{\"text\":\"a\",\"b\":1.}", false},
        {"{\"text\":\"a\",\"b\":1e5}", false},
        {"{\"text\":\"a\",\"b\":123456789012345678901}", false},
        {"{\"text\":\"a\",}", false},
        {"{\"text\" \"a\"}", false},
        {"{}", false},
        {"{\"b\":\"text\"}", false},
        {"[\"text\"]", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_json(cases[i].line, cases[i].fast);
    static const char nul[] = "{\"text\":\"a\",\n\"b\":1\0}", nul_line[] = "{\"text\":\"a\",\"b\":1\0}";
    Error error;
    json_error_t why;
    char *text = NULL;
    int64_t bytes;
    expect(!json_text(nul, sizeof nul - 1, 0, &why) && why.line == 2, "a NUL on line %d: %s", why.line, why.text);
    bool ok = read_file(test_file("one.jsonl", nul_line, sizeof nul_line - 1), &text, &bytes, &error);
    expect_message(ok, &error, "one.jsonl:1: not JSON: a NUL byte (byte 18 of the line)", "a NUL behind a number");
    free(text);
}

/* -- bad lines ---------------------------------------------------------------------------------------------------- */

/* A file of many parts in which every 1000th line is bad. */
static const char *make_bad(void) {
    static const char *const bad[] = {"{\"text\":\"\xff\"}", "{\"txt\":1}", "no json", "[]",
                                      "{\"text\":\"\\u0000\"}"};
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    for (int i = 1; i <= 20000; i++)
        if (i % 1000 == 0)
            fprintf(f, "%s\n", bad[i / 1000 % 5]);
        else
            fprintf(f, "{\"text\":\"document %d, of which there are many, so that there are several parts\"}\n", i);
    fclose(f);
    const char *path = test_file("bad.jsonl", text, (int64_t)bytes);
    free(text);
    return path;
}

void bad_lines_are_counted(void) {
    DataSet set = corpus_set(make_bad());
    Error error;
    Prepared p;
    expect_message(corpus_try(&p, set, test_path("out"), &error), &error, "bad.jsonl:1000: no field 'text'",
                   "none allowed");
    expect(!strstr(error.text, "bad_lines"), "a key that there is not in: %s", error.text);
    Config c = {.bos_token_id = -1, .eos_token_id = -1, .file = "", .n_data = 1};
    Tokenizer *t = tokenizer_open("bytes", &error);
    c.data[0] = set;
    expect_message(prepare_set(&p, &c, &c.data[0], t, test_path("out"), NULL, &error), &error, "data.set.bad_lines",
                   "none allowed, and a key for it");
    tokenizer_close(t);
    set.bad_lines = 19;
    expect_message(corpus_try(&p, set, test_path("out"), &error), &error, "20 bad lines, where bad_lines allows 19",
                   "too few allowed");
    expect(strstr(error.text, "bad.jsonl:1000: no field"), "the first is not named in: %s", error.text);
    set.bad_lines = 20;
    p = corpus_prepare(set, test_path("out"), 1);
    expect(p.source.bad_lines == 20 && p.documents == 19980, "%lld bad lines", (long long)p.source.bad_lines);
    expect(p.parts_kept == p.parts, "%lld of %lld parts were kept", (long long)p.parts_kept, (long long)p.parts);
    static const char *const places[] = {":1000: no field 'text'", ":2000: not JSON",
                                         ":3000: the line is not a JSON object"};
    for (int i = 0; i < BAD_NAMED; i++) expect(strstr(p.bad[i], places[i]), "bad line %d: %s", i, p.bad[i]);
}

/* A bad line in a late part, the only one: its number counts the lines of the parts before. */
void bad_line_in_a_late_part(void) {
    Error error;
    int64_t bytes, number = 1;
    DataSet set = corpus_set(make_bad());
    char *text = disk_read_file(set.path, 1 << 24, &bytes, &error), *late = strstr(text + bytes / 2, "no json"),
         place[64];
    for (char *line = text; line < late; line = strchr(line, '\n') + 1, number++) {
        int64_t length = strchr(line, '\n') - line;
        if (length < 40) memset(line, ' ', (size_t)length); /* the bad ones before it become blank */
    }
    snprintf(place, sizeof place, "late.jsonl:%lld: not JSON", (long long)number);
    set.path = test_file("late.jsonl", text, bytes);
    set.bad_lines = 20;
    Prepared p = corpus_prepare(set, test_path("out"), 1);
    expect(strstr(p.bad[0], place), "'%s' in: %s", place, p.bad[0]);
    free(text);
}

static void expect_left(const char *text, int64_t bytes, int64_t bad, const char *wanted) {
    Heard h;
    Error error;
    DocumentCounts counts = {0};
    DocumentFile file = {.file = test_file("b.txt", text, bytes), .field = "text", .bad_most = bad};
    heard_open(&h);
    bool ok = hear(&h, &file, &counts, &error);
    heard_close(&h);
    expect(ok && counts.bad_lines == bad && !strcmp(h.text, wanted), "'%s', not '%s' (%s)", h.text, wanted,
           ok ? "" : error.text);
    free(h.text);
    counts = (DocumentCounts){0};
    file.bad_most = bad - 1;
    heard_open(&h);
    expect(!hear(&h, &file, &counts, &error), "more bad lines than allowed");
    heard_close(&h);
    free(h.text);
}

void bad_lines_of_text(void) {
    expect_left("one\ntw\xff o\nthree\n", 16, 1, "one\nthree\n|");
    expect_left("\xff\none\n", 6, 1, "one\n|");
    expect_left("one\nt\0o", 7, 1, "one\n|");
    expect_left("a\n\xe2\x82\nb\n\xff\xff\xff\nc", 12, 2, "a\nb\nc|");
    expect_left("\xff", 1, 1, "");
    int64_t bytes = 5 << 20; /* lines across windows, a bad byte late in a long one */
    char *text = must_alloc(bytes + 1, 1), *wanted = must_alloc(bytes + 2, 1);
    memset(text, 'a', (size_t)bytes);
    for (int64_t i = 999; i < bytes; i += 1000) text[i] = '\n';
    memset(text + (2 << 20), 'b', 2 << 20);
    text[3 << 20] = '\xff';
    char *start = memrchr(text, '\n', 2 << 20), *end = strchr(text + (4 << 20), '\n');
    snprintf(wanted, (size_t)bytes + 2, "%.*s%s|", (int)(start + 1 - text), text, end + 1);
    expect_left(text, bytes, 1, wanted);
    free(text);
    free(wanted);
}

/* -- failures that are no bad line --------------------------------------------------------------------------------- */

static bool refuse_end(void *own, Error *error) {
    *(bool *)own = true;
    return fail(error, "no such text");
}
static bool take_text(void *own, const char *text, int64_t bytes, Error *error) {
    return (void)own, (void)text, (void)bytes, (void)error, true;
}
static void no_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

void unfit_at_its_end(void) {
    bool unfit = false;
    DocumentSink sink = {&unfit, take_text, refuse_end, no_progress, &unfit, NULL};
    DocumentFile file = {.file = test_file("end.txt", "text", 4), .field = "text"};
    DocumentCounts counts = {0};
    Error error;
    expect_message(documents_read(&file, &sink, &counts, &error), &error, "end.txt: no such text", "a text");
}

/* A memory that begins with no page is a plain file that cannot be read. */
void broken_disk(void) {
    Error error, why = {0};
    Prepared p;
    test_file("in-1.txt", "a\n\xff\n", 4);
    check(!symlink("/proc/self/mem", test_path("in-2.txt")), "no link to /proc");
    Config c = {.bos_token_id = -1, .eos_token_id = -1, .file = "", .n_data = 1};
    c.data[0] = corpus_set(test_path("in-*.txt"));
    c.data[0].bad_lines = 1;
    Tokenizer *t = tokenizer_open("bytes", &error);
    check(t, "%s", error.text);
    expect_message(prepare_set(&p, &c, &c.data[0], t, test_path("out"), NULL, &why), &why, "in-2.txt: cannot read",
                   "what cannot be read");
    expect(why.code == EXIT_IO && !strstr(why.text, "bad_lines"), "code %d: %s", why.code, why.text);
    tokenizer_close(t);
}
