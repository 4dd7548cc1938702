#include "train/prompts.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/json_text.h"
#include "data/documents.h"

bool prompts_check(const CommandLine *line, Error *error) {
    bool gap = line->prefix || line->suffix;
    int ways = (line->n_input > 1) + (line->token_ids != NULL) + (line->prompts != NULL) + gap;
    if (ways > 1) return fail(error, "give one of PROMPT, --token-ids, --prompts, and --prefix with --suffix");
    if (gap && !(line->prefix && line->suffix))
        return fail(error, "--%s goes with --%s, which may be empty", line->prefix ? "prefix" : "suffix",
                    line->prefix ? "suffix" : "prefix");
    if (line->prompts && access(line->prompts, R_OK))
        return fail(error, "%s: no such file, or not readable", line->prompts);
    return true;
}

/* Takes text and ids. */
static void add(Prompts *p, char *text, int32_t *ids, int64_t n) {
    p->prompt = must_realloc(p->prompt, p->count + 1, sizeof *p->prompt);
    p->text = must_realloc(p->text, p->count + 1, sizeof *p->text);
    p->prompt[p->count] = (Prompt){.ids = ids, .n = n};
    p->text[p->count++] = text;
}

static bool add_text(Prompts *p, const Config *c, const Tokenizer *t, const char *text, Error *error) {
    int32_t *ids;
    int64_t n;
    if (!sample_prompt(c, t, text, &ids, &n, error)) return false;
    add(p, must_strdup(text), ids, n);
    return true;
}

/* -- ids ------------------------------------------------------------------------------------------- */

static bool add_ids(Prompts *p, const Config *c, const char *text, Error *error) {
    static const char between[] = " ,\t\n";
    int32_t *ids = must_alloc((int64_t)strlen(text) / 2 + 1, sizeof *ids);
    int64_t n = 0;
    for (const char *at = text + strspn(text, between); *at; at += strspn(at, between)) {
        char *end;
        size_t length = strcspn(at, between);
        errno = 0;
        long long id = strtoll(at, &end, 10);
        if (end != at + length || errno || id < 0 || id >= c->vocab_size) {
            free(ids);
            return fail(error, "--token-ids: '%.*s' is not an id from 0 to %lld", (int)min_i64((int64_t)length, 40),
                        at, (long long)c->vocab_size - 1);
        }
        ids[n++] = (int32_t)id;
        at = end;
    }
    add(p, NULL, ids, n);
    return n || fail(error, "--token-ids: there is no id");
}

/* -- a gap ------------------------------------------------------------------------------------------ */

static const char *const marks[] = {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"};

/* A mark, then a text that is plain whatever it spells. */
static bool add_part(const Tokenizer *t, const char *mark, const char *text, int32_t *ids, int64_t *n, Error *error) {
    ids[*n] = tokenizer_id(t, mark);
    if (ids[(*n)++] < 0)
        return fail(error, "tokenizer %s has no token %s, so this model was not made to fill gaps", tokenizer_name(t),
                    mark);
    int64_t encoded = tokenizer_encode(t, ids + *n, text, (int64_t)strlen(text), SPECIALS_PLAIN);
    *n += max_i64(encoded, 0);
    return encoded >= 0 || fail(error, "the text around the gap is not UTF-8");
}

static bool add_gap(Prompts *p, const Config *c, const Tokenizer *t, const char *prefix, const char *suffix,
                    Error *error) {
    int64_t room = tokenizer_room(t, (int64_t)strlen(prefix)) + tokenizer_room(t, (int64_t)strlen(suffix)) + 4, n = 0;
    int32_t *ids = must_alloc(room, sizeof *ids);
    if (tokenizer_adds_bos(t)) ids[n++] = (int32_t)c->bos_token_id;
    bool ok = add_part(t, marks[0], prefix, ids, &n, error) && add_part(t, marks[1], suffix, ids, &n, error) &&
              add_part(t, marks[2], "", ids, &n, error);
    add(p, must_strdup(prefix), ids, n);
    return ok;
}

/* -- files ------------------------------------------------------------------------------------------ */

typedef struct {
    Prompts *prompts;
    const Config *config;
    const Tokenizer *tokenizer;
    const char *file;
    bool json;
    int64_t line;
} Reader;

static bool is_blank(const char *text) { return !text[strspn(text, " \t\r")]; }

static bool add_object(const Reader *r, const char *text, Error *error) {
    json_error_t why;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    const json_t *prompt = json_object_get(object, "prompt");
    if (!prompt) prompt = json_object_get(object, "text");
    const char *found = json_string_value(prompt);
    bool ok = found    ? add_text(r->prompts, r->config, r->tokenizer, found, error)
              : object ? fail(error, "the object has no text in a field prompt or text")
                       : fail(error, "not JSON: %s (byte %d of the line)", why.text, why.position);
    json_decref(object);
    return ok;
}

/* One line without its end. A plain one that is empty is an empty prompt, so that answers keep the lines' order. */
static bool add_line(const Reader *r, char *text, int64_t bytes, Error *error) {
    Error why;
    if (bytes && text[bytes - 1] == '\n') text[--bytes] = 0;
    if (bytes && text[bytes - 1] == '\r') text[--bytes] = 0;
    if (bytes > LINE_LIMIT)
        return fail(error, "%s:%lld: a line of more than %d MiB", r->file, (long long)r->line, LINE_LIMIT >> 20);
    if ((int64_t)strlen(text) != bytes) return fail(error, "%s:%lld: a NUL byte", r->file, (long long)r->line);
    if (r->json && is_blank(text)) return true;
    if (r->json ? add_object(r, text, &why) : add_text(r->prompts, r->config, r->tokenizer, text, &why)) return true;
    return fail(error, "%s:%lld: %s", r->file, (long long)r->line, why.text);
}

static bool read_lines(Reader *r, FILE *from, Error *error) {
    char *text = NULL;
    size_t room = 0;
    ssize_t bytes;
    bool ok = true;
    while (ok && (bytes = getline(&text, &room, from)) >= 0) {
        int64_t mark = ++r->line == 1 ? text_mark(text, bytes) : 0;
        ok = add_line(r, text + mark, bytes - mark, error);
    }
    if (ok && ferror(from)) ok = fail(error, "%s: cannot read: %s", r->file, strerror(errno));
    free(text);
    return ok && (r->prompts->count || fail(error, "%s: holds no prompt", r->file));
}

static bool read_file(Prompts *p, const Config *c, const Tokenizer *t, const char *file, Error *error) {
    const char *dot = strrchr(file, '.');
    Reader r = {p, c, t, file, dot && !strcmp(dot, ".jsonl"), 0};
    FILE *from = fopen(file, "re");
    if (!from) return fail(error, "%s: cannot open: %s", file, strerror(errno));
    p->lines = true;
    bool ok = read_lines(&r, from, error);
    fclose(from);
    return ok;
}

bool prompts_read(Prompts *p, const CommandLine *line, const Config *c, const Tokenizer *t, Error *error) {
    *p = (Prompts){0};
    if (line->token_ids) return add_ids(p, c, line->token_ids, error);
    if (line->prompts) return read_file(p, c, t, line->prompts, error);
    if (line->prefix) return add_gap(p, c, t, line->prefix, line->suffix, error);
    return add_text(p, c, t, line->n_input > 1 ? line->input[1] : "", error);
}

void prompts_free(Prompts *p) {
    for (int64_t i = 0; i < p->count; i++) {
        free((int32_t *)(uintptr_t)p->prompt[i].ids);
        free(p->text[i]);
    }
    free(p->prompt);
    free(p->text);
    *p = (Prompts){0};
}
