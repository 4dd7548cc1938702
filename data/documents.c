/* documents.c - see documents.h. */
#include "data/documents.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/input.h"
#include "data/json_line.h"

enum { CHUNK = 1 << 20, BEYOND = 1 << 14 };

/* A file read through a window: bytes [first, end) of buffer are not yet used. */
typedef struct {
    const DocumentFile *what;
    const DocumentSink *sink;
    DocumentCounts *counts;
    Input *input;
    char *buffer, *field; /* field: room for the text of a line of JSON */
    int64_t field_room;
    int64_t room, first, end, checked; /* bytes behind first that are known to be text */
    int64_t line, position;            /* of the byte at first: lines before it since the start, place in the file */
    int64_t start;                     /* where reading began */
    int64_t taken;                     /* bytes of the file that progress was told of */
    bool done;                         /* nothing more will come */
    bool line_open;                    /* the beginning of this line of plain text was passed on */
} Reader;

/* -- the window --------------------------------------------------------------------------------------- */

/* Bytes to read: of a range no more than it has, and of the line that leaves it, as much again as there is. */
static int64_t wanted(const Reader *r) {
    int64_t room = r->room - r->end, ready = r->end - r->first, left = r->what->end - r->position - ready;
    if (!r->what->end) return room;
    return min_i64(room, left > 0 ? left : max_i64(BEYOND, ready));
}

/* What lies beyond a range is told of by the next one. */
static void tell_progress(Reader *r) {
    int64_t taken = input_taken(r->input);
    if (r->what->end) taken = min_i64(taken, r->what->end - r->what->from);
    r->sink->progress(r->sink->own, taken - r->taken);
    r->taken = taken;
}

/* Moves what is left to the front, makes room for a chunk and fills it. */
static bool refill(Reader *r, Error *error) {
    memmove(r->buffer, r->buffer + r->first, (size_t)(r->end - r->first));
    r->end -= r->first;
    r->first = 0;
    if (r->room - r->end < CHUNK) {
        r->room = r->end + max_i64(CHUNK, r->end);
        r->buffer = must_realloc(r->buffer, r->room, 1);
    }
    int64_t most = wanted(r), n = input_read(r->input, r->buffer + r->end, most, error);
    if (n < 0) return false;
    r->done = n < most;
    r->end += n;
    tell_progress(r);
    return true;
}

static void use(Reader *r, int64_t bytes) {
    r->first += bytes;
    r->position += bytes;
    r->checked = max_i64(r->checked - bytes, 0);
}

static void skip_mark(Reader *r) {
    if (r->position == 0) use(r, text_mark(r->buffer + r->first, r->end - r->first));
}

static int64_t newlines(const char *text, int64_t bytes) {
    int64_t count = 0;
    for (int64_t i = 0; i < bytes; i++) count += text[i] == '\n';
    return count;
}

/* -- bad lines ---------------------------------------------------------------------------------------- */

/* Lines before the range, counted only when a message needs them; -1 + message. */
static int64_t lines_before(const Reader *r, Error *error) {
    if (r->start == 0) return 0;
    Input *in = input_open(r->what->file, error);
    char *buffer = must_alloc(CHUNK, 1);
    int64_t count = 0, n = in ? 0 : -1;
    for (int64_t left = r->start; in && left > 0; left -= n) {
        n = input_read(in, buffer, min_i64(left, CHUNK), error);
        if (n <= 0) break;
        count += newlines(buffer, n);
    }
    input_close(in);
    free(buffer);
    return n < 0 ? -1 : count;
}

/* The line at first plus `ahead` lines is bad: counted where that is allowed, else false with the message. */
static bool bad_line(Reader *r, int64_t ahead, const Error *why, Error *error) {
    DocumentCounts *c = r->counts;
    if (c->bad_lines < r->what->bad_most && c->bad_lines >= BAD_NAMED) return ++c->bad_lines;
    int64_t before = lines_before(r, error);
    if (before < 0) return false;
    long long line = (long long)(before + r->line + ahead + 1);
    if (c->bad_lines >= r->what->bad_most) {
        fail(error, "%s:%lld: %s", r->what->file, line, why->text);
        return c->bad_lines++, false;
    }
    Error said;
    fail(&said, "%s:%lld: %s", r->what->file, line, why->text);
    snprintf(c->bad[c->bad_lines++], BAD_TEXT, "%.*s", BAD_TEXT - 1, said.text);
    return true;
}

/* What the sink refused for what it is becomes a bad line; any other failure stays one. */
static bool refused(Reader *r, Error *error) {
    if (!r->sink->unfit || !*r->sink->unfit) return false;
    Error why = *error;
    *r->sink->unfit = false;
    r->sink->drop(r->sink->own);
    return bad_line(r, 0, &why, error);
}

/* -- plain text: one document ---------------------------------------------------------------------------- */

/* The sink knows no file; what it refuses for what the text is, is said of this one. */
static bool passed(const Reader *r, bool ok, Error *error) {
    if (ok || !r->sink->unfit || !*r->sink->unfit) return ok;
    Error why = *error;
    return fail(error, "%s: %s", r->what->file, why.text);
}

static bool pass_on(Reader *r, int64_t bytes, Error *error) {
    if (bytes == 0) return true;
    if (!passed(r, r->sink->text(r->sink->own, r->buffer + r->first, bytes, error), error)) return false;
    r->line += newlines(r->buffer + r->first, bytes);
    r->line_open = r->buffer[r->first + bytes - 1] != '\n';
    use(r, bytes);
    return true;
}

/* Leaves out the line that holds the byte at `bad`, which is no text; what is before it is passed on. */
static bool leave_out_line(Reader *r, int64_t bad, bool *any, Error *error) {
    const char *text = r->buffer + r->first, *newline = memrchr(text, '\n', (size_t)bad);
    int64_t start = newline ? newline + 1 - text : 0;
    unsigned char byte = (unsigned char)text[bad];
    Error why;
    fail(&why, "byte 0x%02x is not UTF-8 text%s", byte,
         byte ? "; convert the file, or name it for how it is packed (.gz, .zst)"
              : " (a NUL byte: is this a binary file?)");
    if (!bad_line(r, newlines(text, start), &why, error)) return false;
    if (!newline && r->line_open)
        return fail(error, "%s: a line of more than %d MiB turns out not to be text; it cannot be left out",
                    r->what->file, LINE_LIMIT >> 20);
    *any = *any || start > 0;
    if (!pass_on(r, start, error)) return false;
    for (;;) {
        char *end = memchr(r->buffer + r->first, '\n', (size_t)(r->end - r->first));
        use(r, end ? end + 1 - (r->buffer + r->first) : r->end - r->first);
        if (end || r->done) break;
        if (!refill(r, error)) return false;
    }
    r->checked = 0;
    r->line++;
    return true;
}

/* Passes on all of the window that is whole lines of text; of a line that is too long, what there is. */
static bool pass_window(Reader *r, bool *any, Error *error) {
    for (;;) {
        bool cut;
        int64_t bytes = r->end - r->first;
        int64_t valid = r->checked + utf8_prefix(r->buffer + r->first + r->checked, bytes - r->checked, &cut);
        if (valid < bytes && (!cut || r->done)) {
            if (!leave_out_line(r, valid, any, error)) return false;
            continue;
        }
        r->checked = valid;
        const char *text = r->buffer + r->first;
        const char *newline = r->done ? NULL : memrchr(text, '\n', (size_t)valid);
        int64_t pass = newline ? newline + 1 - text : r->done || valid >= LINE_LIMIT ? valid : 0;
        *any = *any || pass > 0;
        return pass_on(r, pass, error);
    }
}

static bool read_text(Reader *r, Error *error) {
    bool any = false;
    do {
        if (!refill(r, error)) return false;
        skip_mark(r);
        if (!pass_window(r, &any, error)) return false;
    } while (!r->done);
    if (any) return passed(r, r->sink->end(r->sink->own, error), error);
    r->counts->skipped++;
    return true;
}

/* -- JSONL: a document a line ------------------------------------------------------------------------------ */

/* The next line is [first, *end) of the buffer, as far as it is not *long; *found false at the end of the file. */
static bool find_line(Reader *r, int64_t *end, bool *found, bool *is_long, Error *error) {
    int64_t seen = 0;
    *is_long = false;
    for (;;) {
        char *from = r->buffer + r->first;
        char *newline =
            r->end - r->first > seen ? memchr(from + seen, '\n', (size_t)(r->end - r->first - seen)) : NULL;
        *found = newline || (r->done && r->end > r->first);
        *end = newline ? newline - r->buffer : r->end;
        *is_long = *end - r->first > LINE_LIMIT;
        if (*found || r->done || *is_long) return true;
        seen = r->end - r->first;
        if (!refill(r, error)) return false;
        if (seen == 0) skip_mark(r);
    }
}

/* Reads on behind the end of this line, or to `limit` where that comes first. */
static bool skip_line(Reader *r, int64_t limit, Error *error) {
    for (;;) {
        char *end = memchr(r->buffer + r->first, '\n', (size_t)(r->end - r->first));
        use(r, end ? end + 1 - (r->buffer + r->first) : r->end - r->first);
        r->line += end != NULL;
        if (end || r->done || r->position >= limit) return true;
        if (!refill(r, error)) return false;
    }
}

static bool blank(const char *text, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++)
        if (!strchr(" \t\r", text[i]) || !text[i]) return false;
    return true;
}

/* The string of a field, or NULL with what is wrong. */
static const json_t *find_field(const json_t *object, const char *field, Error *why) {
    const json_t *value = json_object_get(object, field);
    if (!json_is_object(object)) return fail(why, "the line is not a JSON object"), NULL;
    if (!value) return fail(why, "no field '%s'; name the field of the text with data.NAME.field", field), NULL;
    if (!json_is_string(value)) return fail(why, "field '%s' is not a string", field), NULL;
    return value;
}

static bool pass_text(Reader *r, const char *text, int64_t bytes, Error *error) {
    if (bytes == 0) {
        r->counts->skipped++;
        return true;
    }
    return (r->sink->text(r->sink->own, text, bytes, error) && r->sink->end(r->sink->own, error)) ||
           refused(r, error);
}

static bool pass_field(Reader *r, const json_t *object, Error *error) {
    Error why;
    const json_t *value = find_field(object, r->what->field, &why);
    if (!value) return bad_line(r, 0, &why, error);
    return pass_text(r, json_string_value(value), (int64_t)json_string_length(value), error);
}

static bool parse_line(Reader *r, const char *text, int64_t bytes, Error *error) {
    json_error_t why;
    Error said;
    json_t *object = json_text(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!object) {
        fail(&said, "not JSON: %s (byte %d of the line)", why.text, why.position);
        return bad_line(r, 0, &said, error);
    }
    bool ok = pass_field(r, object, error);
    json_decref(object);
    return ok;
}

static bool pass_line(Reader *r, int64_t end, Error *error) {
    const char *text = r->buffer + r->first;
    int64_t bytes = end - r->first, length;
    if (blank(text, bytes)) {
        r->counts->skipped++;
        return true;
    }
    if (bytes > r->field_room) {
        r->field_room = max_i64(bytes, 2 * r->field_room);
        free(r->field);
        r->field = must_alloc(r->field_room, 1);
    }
    if (json_line_field(text, bytes, r->what->field, r->field, &length)) return pass_text(r, r->field, length, error);
    return parse_line(r, text, bytes, error);
}

static bool pass_long_line(Reader *r, Error *error) {
    Error why;
    fail(&why, "a line of more than %d MiB", LINE_LIMIT >> 20);
    return bad_line(r, 0, &why, error) && skip_line(r, INT64_MAX, error);
}

static bool read_lines(Reader *r, Error *error) {
    const DocumentFile *f = r->what;
    for (;;) {
        int64_t end;
        bool found, is_long;
        if (f->end && r->position >= f->end) return true;
        if (!find_line(r, &end, &found, &is_long, error)) return false;
        if (is_long) {
            if (!pass_long_line(r, error)) return false;
            continue;
        }
        if (!found) return true;
        if (!pass_line(r, end, error)) return false;
        use(r, min_i64(end + 1, r->end) - r->first);
        r->line++;
    }
}

/* To the first line that begins at `from` or later; when none begins in the range, behind it. */
static bool go_to_range(Reader *r, Error *error) {
    if (r->what->from == 0) return true;
    r->position = r->what->from - 1;
    if (!input_seek(r->input, r->position, error) || !refill(r, error) || !skip_line(r, r->what->end, error))
        return false;
    r->start = r->position;
    r->line = 0;
    return true;
}

bool documents_are_lines(const char *file) { return input_ends_with(file, ".jsonl"); }

bool documents_read(const DocumentFile *what, const DocumentSink *sink, DocumentCounts *counts, Error *error) {
    Reader r = {.what = what, .sink = sink, .counts = counts, .room = CHUNK};
    r.input = input_open(what->file, error);
    if (!r.input) return false;
    r.buffer = must_alloc(r.room, 1);
    bool ok =
        documents_are_lines(what->file) ? go_to_range(&r, error) && read_lines(&r, error) : read_text(&r, error);
    free(r.buffer);
    free(r.field);
    input_close(r.input);
    return ok;
}
