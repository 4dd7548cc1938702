/* tokenize.c - `dsv2 tokenize TOKENIZER < in.jsonl > out.jsonl`: ids of texts, or texts of ids.
 *
 * Lines are read in blocks, worked on by all threads, and written in their order. What is added goes before the last
 * brace of a line, so the rest of it stays as it came, byte for byte. */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/json_text.h"
#include "data/disk.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "launch/threads.h"
#include "launch/signals.h"
#include "train/commands.h"

enum { BLOCK_BYTES = 8 << 20, LINE_BYTES = 16 << 20 };

typedef struct {
    const char *text;
    int64_t bytes, number;
    char *out, *why; /* malloc'd: the result with its newline, or an error */
    size_t out_bytes;
} Line;

typedef struct {
    const Tokenizer *tokenizer;
    bool decode;
    char *block;
    int64_t used, room, next_number; /* bytes in the block; number of its first line */
    bool ended;
    Line *line;
    int64_t lines, line_room;
} Work;

/* -- one line -------------------------------------------------------------------------------------- */

static void write_ids(FILE *out, const int32_t *id, int64_t n) {
    for (int64_t i = 0; i < n; i++) fprintf(out, i ? ",%d" : "%d", id[i]);
}

/* The value to add, as JSON text (malloc'd), NULL + message. */
static char *ids_of(const Tokenizer *t, const json_t *text, Error *error) {
    int64_t bytes = (int64_t)json_string_length(text);
    int32_t *id = must_alloc(tokenizer_room(t, bytes) + 1, sizeof *id);
    int64_t n = tokenizer_encode(t, id, json_string_value(text), bytes, SPECIALS_MATCH);
    char *value = NULL;
    size_t size;
    if (n < 0) fail(error, "the text took the tokenizer's expressions beyond their limits");
    if (n >= 0) {
        FILE *out = open_memstream(&value, &size);
        fputc('[', out);
        write_ids(out, id, n);
        fputc(']', out);
        fclose(out);
    }
    free(id);
    return value;
}

static bool read_id(const Tokenizer *t, const json_t *json, int32_t *to, Error *error) {
    json_int_t id = json_is_integer(json) ? json_integer_value(json) : -1;
    if (id < 0 || id >= tokenizer_size(t))
        return fail(error, "ids holds something that is no id from 0 to %lld", (long long)tokenizer_size(t) - 1);
    *to = (int32_t)id;
    return true;
}

static char *text_of(const Tokenizer *t, const json_t *ids, Error *error) {
    char *text = must_alloc(tokenizer_max_bytes(t) * (int64_t)json_array_size(ids) + 1, 1), *value = NULL;
    int64_t bytes = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(ids); i++) {
        int32_t id;
        ok = read_id(t, json_array_get(ids, i), &id, error);
        if (ok) bytes += tokenizer_decode(t, text + bytes, &id, 1);
    }
    if (ok) {
        char *good = must_alloc(3 * bytes + 1, 1);
        json_t *json = json_stringn(good, (size_t)utf8_repair(good, text, bytes));
        value = json_dumps(json, JSON_ENCODE_ANY);
        json_decref(json);
        free(good);
    }
    free(text);
    return value;
}

/* Puts "key": value at the end of the object, or in place of what it has under that key. */
static void write_line(Line *l, json_t *object, const char *key, const char *value) {
    FILE *out = open_memstream(&l->out, &l->out_bytes);
    if (json_object_get(object, key)) {
        json_object_set_new(object, key, json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
        json_dumpf(object, out, JSON_COMPACT);
    } else {
        int64_t brace = l->bytes;
        while (l->text[--brace] != '}') {}
        fwrite(l->text, 1, (size_t)brace, out);
        fprintf(out, "%s\"%s\":%s}", json_object_size(object) ? "," : "", key, value);
    }
    fputc('\n', out);
    fclose(out);
}

static bool copy_line(Line *l) {
    FILE *out = open_memstream(&l->out, &l->out_bytes);
    fwrite(l->text, 1, (size_t)l->bytes, out);
    fputc('\n', out);
    fclose(out);
    return true;
}

static bool blank(const Line *l) { return strspn(l->text, " \t\r\n") >= (size_t)l->bytes; }

static bool work_object(const Work *w, Line *l, json_t *object, Error *error) {
    const json_t *from = json_object_get(object, w->decode ? "ids" : "text");
    if (!from) return copy_line(l);
    if (w->decode && !json_is_array(from)) return fail(error, "ids is no list");
    if (!w->decode && !json_is_string(from)) return fail(error, "text is no string");
    char *value = w->decode ? text_of(w->tokenizer, from, error) : ids_of(w->tokenizer, from, error);
    if (value) write_line(l, object, w->decode ? "text" : "ids", value);
    free(value);
    return value != NULL;
}

static bool work_json(const Work *w, Line *l, Error *error) {
    json_error_t why;
    if (blank(l)) return copy_line(l);
    json_t *object = json_text(l->text, l->bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    bool ok = object || fail(error, "not JSON: %.200s", why.text);
    if (ok && !json_is_object(object)) ok = fail(error, "not a JSON object");
    ok = ok && work_object(w, l, object, error);
    json_decref(object);
    return ok;
}

static void work_line(const Work *w, Line *l) {
    Error error;
    if (!work_json(w, l, &error)) l->why = must_strdup(error.text);
}

/* -- blocks of lines -------------------------------------------------------------------------------- */

static void add_line(Work *w, const char *text, int64_t bytes) {
    if (w->lines == w->line_room) {
        w->line_room = 2 * w->line_room + 1024;
        w->line = must_realloc(w->line, w->line_room, sizeof *w->line);
    }
    int64_t number = w->next_number + w->lines, mark = number == 1 ? text_mark(text, bytes) : 0;
    w->line[w->lines] = (Line){.text = text + mark, .bytes = bytes - mark, .number = number};
    w->lines++;
}

/* Whole lines of the block; what follows them is *rest bytes. */
static void find_lines(Work *w, int64_t *rest) {
    char *at = w->block, *end = w->block + w->used, *newline;
    w->lines = 0;
    for (; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        *newline = 0;
        add_line(w, at, newline - at);
    }
    if (w->ended && at < end) {
        *end = 0;
        add_line(w, at, end - at);
        at = end;
    }
    *rest = end - at;
}

static bool fill_block(Work *w, Error *error) {
    while (w->used < w->room && !w->ended) {
        if (!signals_wait_input(error)) return false;
        ssize_t n = read(STDIN_FILENO, w->block + w->used, (size_t)(w->room - w->used));
        if (n < 0) return fail(error, "standard input cannot be read: %s", strerror(errno));
        w->used += n;
        w->ended = n == 0;
    }
    return true;
}

static bool write_lines(Work *w, Error *error) {
    bool ok = true;
    for (int64_t i = 0; i < w->lines; i++) {
        Line *l = &w->line[i];
        if (ok && l->why) ok = fail(error, "standard input:%lld: %s", (long long)l->number, l->why);
        if (ok && fwrite(l->out, 1, l->out_bytes, stdout) != l->out_bytes)
            ok = disk_fail(error, "standard output", "write");
        free(l->out);
        free(l->why);
    }
    return ok;
}

static bool work_block(Work *w, Error *error) {
    int64_t rest;
    if (!fill_block(w, error)) return false;
    find_lines(w, &rest);
    if (!w->lines && rest >= LINE_BYTES)
        return fail(error, "standard input:%lld: the line has more than %d bytes; split its text",
                    (long long)w->next_number, LINE_BYTES);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < w->lines; i++) work_line(w, &w->line[i]);
    if (!write_lines(w, error)) return false;
    w->next_number += w->lines;
    memmove(w->block, w->block + w->used - rest, (size_t)rest);
    w->used = rest;
    w->room = w->lines ? max_i64(BLOCK_BYTES, 2 * rest) : LINE_BYTES; /* a longer line than the block */
    return true;
}

static bool work_all(Work *w, Error *error) {
    bool ok = true;
    w->block = must_alloc(2 * LINE_BYTES + 1, 1);
    w->room = BLOCK_BYTES;
    w->next_number = 1;
    while (ok && !(w->ended && !w->used)) ok = work_block(w, error);
    if (ok && fflush(stdout)) ok = disk_fail(error, "standard output", "write");
    free(w->block);
    free(w->line);
    return ok;
}

int command_tokenize(const CommandLine *line) {
    Error error = {0};
    signals_open();           /* lines are written whole */
    signal(SIGPIPE, SIG_DFL); /* who reads them may have had enough */
    launch_threads(0);
    setvbuf(stdout, NULL, _IOFBF, 1 << 20);
    Tokenizer *t = tokenizer_open(line->input[0], &error);
    Work w = {.tokenizer = t, .decode = line->decode};
    bool ok = t && work_all(&w, &error);
    if (!ok) fflush(stdout);
    if (!ok) fprintf(stderr, "dsv2: %s\n", error.text);
    tokenizer_close(t);
    return ok ? EXIT_DONE : error_code(&error, EXIT_INPUT);
}
