/* documents.c - see documents.h. */
#include "data/documents.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"

enum { CHUNK = 1 << 20 };

/* A file read through a window: bytes [first, end) of buffer are not yet used. */
typedef struct {
    const char *file;
    int fd;
    char *buffer;
    int64_t room, first, end, line; /* line: number of the line that begins at first */
    bool done;                      /* nothing more will come */
    const DocumentSink *sink;
} Reader;

/* Bytes of a character by its first byte, and the range of its second, which excludes overlong forms,
 * surrogates and what lies beyond U+10FFFF (RFC 3629). */
static int character_bytes(unsigned char c, unsigned char *low, unsigned char *high) {
    *low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    *high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c < 0x80) return 1;
    if (c < 0xc2 || c > 0xf4) return 0;
    return c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

int64_t utf8_prefix(const char *text, int64_t bytes, bool *cut) {
    const unsigned char *p = (const unsigned char *)text;
    int64_t i = 0;
    *cut = false;
    while (i < bytes) {
        unsigned char low, high;
        int n = p[i] ? character_bytes(p[i], &low, &high) : 0, k = 1;
        if (n == 0) break;
        for (; k < n && i + k < bytes && p[i + k] >= low && p[i + k] <= high; k++) low = 0x80, high = 0xbf;
        if (k < n) {
            *cut = i + k == bytes;
            break;
        }
        i += n;
    }
    return i;
}

/* Moves what is left to the front, makes room for a chunk and reads it. */
static bool refill(Reader *r, Error *error) {
    memmove(r->buffer, r->buffer + r->first, (size_t)(r->end - r->first));
    r->end -= r->first;
    r->first = 0;
    if (r->room - r->end < CHUNK) {
        r->room = r->end + CHUNK;
        r->buffer = must_realloc(r->buffer, r->room, 1);
    }
    ssize_t n;
    do n = read(r->fd, r->buffer + r->end, CHUNK);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail(error, "%s: cannot read: %s", r->file, strerror(errno));
    r->done = n == 0;
    r->end += n;
    r->sink->progress(r->sink->own, n);
    return true;
}

static void skip_mark(Reader *r) { /* the byte order mark that some editors write */
    if (r->end - r->first >= 3 && !memcmp(r->buffer + r->first, "\xef\xbb\xbf", 3)) r->first += 3;
}

static bool fail_text(const Reader *r, int64_t valid, Error *error) {
    int64_t line = r->line;
    for (int64_t i = 0; i < valid; i++) line += r->buffer[r->first + i] == '\n';
    unsigned char byte = (unsigned char)r->buffer[r->first + valid];
    return fail(error, "%s:%lld: byte 0x%02x is not UTF-8 text%s", r->file, (long long)line, byte,
                byte ? "; convert the file, or unpack it if it is compressed"
                     : " (a NUL byte: is this a binary file?)");
}

/* Bytes at the front that can be passed on: whole characters, and up to the last line's end unless
 * the file ends, so that a tokenizer never sees the halves of a word. -1 + message. */
static int64_t piece(const Reader *r, Error *error) {
    bool cut;
    const char *text = r->buffer + r->first;
    int64_t bytes = r->end - r->first, valid = utf8_prefix(text, bytes, &cut);
    if (valid < bytes && (!cut || r->done)) return fail_text(r, valid, error), -1;
    const char *newline = r->done ? NULL : memrchr(text, '\n', (size_t)valid);
    return newline ? newline + 1 - text : valid;
}

static bool pass_on(Reader *r, int64_t bytes, Error *error) {
    for (int64_t i = 0; i < bytes; i++) r->line += r->buffer[r->first + i] == '\n';
    if (!r->sink->text(r->sink->own, r->buffer + r->first, bytes, error)) return false;
    r->first += bytes;
    return true;
}

static bool read_text(Reader *r, int64_t *skipped, Error *error) {
    bool any = false;
    do {
        if (!refill(r, error)) return false;
        if (!any) skip_mark(r);
        int64_t bytes = piece(r, error);
        if (bytes < 0) return false;
        if (bytes > 0 && !pass_on(r, bytes, error)) return false;
        any = any || bytes > 0;
    } while (!r->done);
    if (any) return r->sink->end(r->sink->own, error);
    ++*skipped;
    return true;
}

/* The next line is [first, *end) of the buffer; *found false at the end of the file. */
static bool find_line(Reader *r, int64_t *end, bool *found, Error *error) {
    int64_t seen = 0;
    for (;;) {
        char *from = r->buffer + r->first;
        char *newline =
            r->end - r->first > seen ? memchr(from + seen, '\n', (size_t)(r->end - r->first - seen)) : NULL;
        *found = newline || (r->done && r->end > r->first);
        *end = newline ? newline - r->buffer : r->end;
        if (*end - r->first > LINE_LIMIT)
            return fail(error, "%s:%lld: a line of more than %d MiB", r->file, (long long)r->line, LINE_LIMIT >> 20);
        if (*found || r->done) return true;
        seen = r->end - r->first;
        if (!refill(r, error)) return false;
        if (r->line == 1 && seen == 0) skip_mark(r);
    }
}

static bool blank(const char *text, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++)
        if (!strchr(" \t\r", text[i]) || !text[i]) return false;
    return true;
}

static bool pass_field(Reader *r, const json_t *object, const char *field, int64_t *skipped, Error *error) {
    const json_t *value = json_object_get(object, field);
    if (!json_is_object(object))
        return fail(error, "%s:%lld: the line is not a JSON object", r->file, (long long)r->line);
    if (!value)
        return fail(error, "%s:%lld: no field '%s'; name the field of the text with data.NAME.field", r->file,
                    (long long)r->line, field);
    if (!json_is_string(value))
        return fail(error, "%s:%lld: field '%s' is not a string", r->file, (long long)r->line, field);
    if (json_string_length(value) > 0)
        return r->sink->text(r->sink->own, json_string_value(value), (int64_t)json_string_length(value), error) &&
               r->sink->end(r->sink->own, error);
    ++*skipped;
    return true;
}

static bool pass_line(Reader *r, int64_t end, const char *field, int64_t *skipped, Error *error) {
    json_error_t why;
    const char *text = r->buffer + r->first;
    if (blank(text, end - r->first)) {
        ++*skipped;
        return true;
    }
    json_t *object = json_loadb(text, (size_t)(end - r->first), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!object)
        return fail(error, "%s:%lld: not JSON: %s (byte %d of the line)", r->file, (long long)r->line, why.text,
                    why.position);
    bool ok = pass_field(r, object, field, skipped, error);
    json_decref(object);
    return ok;
}

static bool read_lines(Reader *r, const char *field, int64_t *skipped, Error *error) {
    for (;;) {
        int64_t end;
        bool found;
        if (!find_line(r, &end, &found, error)) return false;
        if (!found) return true;
        if (!pass_line(r, end, field, skipped, error)) return false;
        r->first = min_i64(end + 1, r->end);
        r->line++;
    }
}

static bool is_jsonl(const char *file) {
    size_t n = strlen(file);
    return n > 6 && !strcmp(file + n - 6, ".jsonl");
}

bool documents_read(const char *file, const char *field, const DocumentSink *sink, int64_t *skipped, Error *error) {
    int64_t bytes;
    Reader r = {.file = file, .line = 1, .sink = sink, .room = CHUNK};
    r.fd = disk_open(file, &bytes, error);
    if (r.fd < 0) return false;
    r.buffer = must_alloc(r.room, 1);
    bool ok = is_jsonl(file) ? read_lines(&r, field, skipped, error) : read_text(&r, skipped, error);
    free(r.buffer);
    close(r.fd);
    return ok;
}
