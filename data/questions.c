#include "data/questions.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/documents.h"

struct Questions {
    char *file;
    FILE *from;
    LinesKind kind;
    int64_t line; /* number of the one read last */
    char *text;
    int64_t bytes, room;
};

void question_free(Question *q) {
    free(q->question);
    for (int i = 0; i < q->choices; i++) free(q->choice[i]);
    *q = (Question){0};
}

Questions *questions_open(const char *file, LinesKind kind, Error *error) {
    FILE *from = fopen(file, "re");
    if (!from) return fail(error, "%s: cannot open: %s", file, strerror(errno)), NULL;
    Questions *q = must_alloc(1, sizeof *q);
    *q = (Questions){.file = must_strdup(file), .from = from, .kind = kind};
    return q;
}

void questions_close(Questions *q) {
    if (!q) return;
    fclose(q->from);
    free(q->file);
    free(q->text);
    free(q);
}

/* Always false: the message begins with file and line. */
static bool bad(const Questions *q, Error *error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool bad(const Questions *q, Error *error, const char *format, ...) {
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return fail(error, "%s:%lld: %s", q->file, (long long)q->line, what);
}

/* -- lines ---------------------------------------------------------------------------------------- */

static void append(Questions *q, int byte) {
    if (q->bytes == q->room) {
        q->room = max_i64(2 * q->room, 1 << 12);
        q->text = must_realloc(q->text, q->room, 1);
    }
    q->text[q->bytes++] = (char)byte;
}

/* One line without its end; *found false when there is none left. */
static bool read_line(Questions *q, bool *found, Error *error) {
    int byte;
    q->bytes = 0;
    q->line++;
    while ((byte = getc_unlocked(q->from)) != EOF && byte != '\n') {
        append(q, byte);
        if (q->bytes > LINE_LIMIT) return bad(q, error, "a line of more than %d MiB", LINE_LIMIT >> 20);
    }
    if (ferror(q->from)) return fail(error, "%s: cannot read: %s", q->file, strerror(errno));
    *found = byte != EOF || q->bytes > 0;
    int64_t mark = q->line == 1 ? text_mark(q->text, q->bytes) : 0;
    if (mark) memmove(q->text, q->text + mark, (size_t)(q->bytes -= mark));
    return true;
}

static bool is_blank(const Questions *q) {
    for (int64_t i = 0; i < q->bytes; i++)
        if (!memchr(" \t\r", q->text[i], 3)) return false;
    return true;
}

/* The next line that is not blank, as an object; NULL + *found false at the end, NULL + message. */
static json_t *read_object(Questions *q, bool *found, Error *error) {
    json_error_t why;
    do
        if (!read_line(q, found, error)) return NULL;
    while (*found && is_blank(q));
    if (!*found) return NULL;
    json_t *object = json_text(q->text, q->bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!object) return bad(q, error, "not JSON: %s (byte %d of the line)", why.text, why.position), NULL;
    if (json_is_object(object)) return object;
    json_decref(object);
    return bad(q, error, "the line is not a JSON object"), NULL;
}

/* -- fields --------------------------------------------------------------------------------------- */

static bool get_text(const Questions *q, char **to, const json_t *value, const char *field, Error *error) {
    if (!value) return bad(q, error, "no field '%s'", field);
    if (!json_is_string(value)) return bad(q, error, "field '%s' is not a text", field);
    if (!json_string_length(value)) return bad(q, error, "field '%s' is empty", field);
    *to = must_strdup(json_string_value(value));
    return true;
}

/* As people write it: the fewest digits that read back as the same number; 3.14, not 3.1400000000000001. malloc'd. */
static char *number_text(const json_t *value) {
    char *text = NULL;
    for (size_t digits = 15; digits <= 17; digits++) {
        free(text);
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        check(text, "out of memory for a number");
        if (json_is_integer(value) || strtod(text, NULL) == json_real_value(value)) break;
    }
    return text;
}

static bool add_choice(const Questions *q, Question *to, const json_t *value, const char *field, Error *error) {
    if (to->choices == CHOICES_MOST) return bad(q, error, "field '%s' has more than %d entries", field, CHOICES_MOST);
    if (json_is_number(value))
        to->choice[to->choices] = number_text(value);
    else if (!get_text(q, &to->choice[to->choices], value, field, error))
        return false;
    to->choices++;
    return true;
}

static bool add_choices(const Questions *q, Question *to, const json_t *list, const char *field, Error *error) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!add_choice(q, to, json_array_get(list, i), field, error)) return false;
    return true;
}

/* A text is first looked for among the choices, then taken as a letter. */
static bool find_answer(const Questions *q, Question *to, const char *text, Error *error) {
    int matches = 0;
    for (int i = 0; i < to->choices; i++)
        if (!strcmp(to->choice[i], text)) to->answer = i, matches++;
    if (matches == 1) return true;
    if (matches > 1) return bad(q, error, "answer '%.80s' is the text of %d choices; give its letter", text, matches);
    to->answer = text[0] - 'A';
    if (text[0] && !text[1] && to->answer >= 0 && to->answer < to->choices) return true;
    return bad(q, error, "answer '%.80s' is neither the text of a choice nor a letter from A to %c", text,
               'A' + to->choices - 1);
}

static bool get_answer(const Questions *q, Question *to, const json_t *value, Error *error) {
    if (json_is_string(value)) return find_answer(q, to, json_string_value(value), error);
    if (!value) return bad(q, error, "no field 'answer'");
    if (!json_is_integer(value)) return bad(q, error, "field 'answer' is neither a text nor a whole number");
    long long number = json_integer_value(value);
    if (number < 0 || number >= to->choices)
        return bad(q, error, "answer %lld of %d choices; they are counted from 0", number, to->choices);
    to->answer = (int)number;
    return true;
}

static bool get_choices(const Questions *q, Question *to, const json_t *object, Error *error) {
    const json_t *list = json_object_get(object, "choices");
    if (!json_is_array(list)) return bad(q, error, list ? "field 'choices' is not a list" : "no field 'choices'");
    if (!add_choices(q, to, list, "choices", error)) return false;
    if (to->choices < 2) return bad(q, error, "field 'choices' has %d entries; at least 2 are needed", to->choices);
    return get_answer(q, to, json_object_get(object, "answer"), error);
}

static bool get_right_answers(const Questions *q, Question *to, const json_t *object, Error *error) {
    const json_t *value = json_object_get(object, "answer");
    if (!json_is_array(value)) return add_choice(q, to, value, "answer", error);
    if (!json_array_size(value)) return bad(q, error, "field 'answer' is an empty list");
    return add_choices(q, to, value, "answer", error);
}

bool questions_next(Questions *q, Question *to, bool *found, Error *error) {
    *to = (Question){0};
    *found = true;
    json_t *object = read_object(q, found, error);
    if (!object) return !*found;
    to->line = q->line;
    bool ok = get_text(q, &to->question, json_object_get(object, "question"), "question", error) &&
              (q->kind == LINES_CHOICE ? get_choices(q, to, object, error) : get_right_answers(q, to, object, error));
    json_decref(object);
    if (!ok) question_free(to);
    return ok;
}

bool questions_recognise(const char *file, LinesKind *kind, Error *error) {
    bool found = true;
    Questions *q = questions_open(file, LINES_TEXT, error);
    json_t *object = q ? read_object(q, &found, error) : NULL;
    bool ok = object != NULL;
    if (json_object_get(object, "question"))
        *kind = json_object_get(object, "choices") ? LINES_CHOICE : LINES_ANSWER;
    else if (json_object_get(object, "text"))
        *kind = LINES_TEXT;
    else if (ok)
        ok = bad(q, error, "has neither the fields question and answer (and choices) nor text");
    if (!found) fail(error, "%s: holds no line of JSON", file);
    json_decref(object);
    questions_close(q);
    return ok;
}
