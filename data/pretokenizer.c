#include "data/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"

enum { MOST_STEPS = 32 };

/* How a split treats what the expression found (Hugging Face's SplitDelimiterBehavior). */
typedef enum { ISOLATED, REMOVED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS, BEHAVIORS } Behavior;
static const char *const behavior_name[BEHAVIORS] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                                     "Contiguous"};

typedef struct {
    Regex *regex;  /* or: */
    char *literal; /* a string to find */
    Behavior behavior;
    bool invert;
} Step;

struct Pretokenizer {
    Step step[MOST_STEPS];
    int steps;
    bool bytes; /* ByteLevel was there: pieces are read as bytes */
};

/* -- reading ------------------------------------------------------------------------------------- */

/* The words of GPT-2, which ByteLevel splits by unless told not to. */
static const char gpt2_words[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static bool add_step(Pretokenizer *p, Step step, const char *pattern, Error *error) {
    if (p->steps == MOST_STEPS) return fail(error, "pre_tokenizer has more than %d steps", MOST_STEPS);
    if (p->bytes) return fail(error, "pre_tokenizer goes on after ByteLevel, which is not known here");
    if (pattern && !(step.regex = regex_open(pattern, error))) return false;
    p->step[p->steps++] = step;
    return true;
}

static bool read_behavior(Behavior *to, const json_t *json, Error *error) {
    const char *name = json_string_value(json_object_get(json, "behavior"));
    for (int b = 0; name && b < BEHAVIORS; b++)
        if (!strcmp(name, behavior_name[b])) return *to = (Behavior)b, true;
    return fail(error, "pre_tokenizer Split has behavior %.80s, which is not known here", name ? name : "of no name");
}

static bool add_split(Pretokenizer *p, const json_t *json, Error *error) {
    Step step = {0};
    const json_t *pattern = json_object_get(json, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    if (!regex && (!literal || !*literal)) return fail(error, "pre_tokenizer Split has no pattern");
    if (!json_flag(&step.invert, json, "invert", error)) return false;
    if (!read_behavior(&step.behavior, json, error)) return false;
    if (!regex) step.literal = must_strdup(literal);
    bool ok = add_step(p, step, regex, error);
    if (!ok) free(step.literal);
    return ok;
}

/* What Hugging Face asks here is no expression, and its answer is of Unicode 17. */
#define NUMERIC "[\\p{N}\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}]"

static bool add_digits(Pretokenizer *p, const json_t *json, Error *error) {
    bool each = false;
    return json_flag(&each, json, "individual_digits", error) &&
           add_step(p, (Step){.behavior = ISOLATED}, each ? NUMERIC : NUMERIC "+", error);
}

static bool add_byte_level(Pretokenizer *p, const json_t *json, Error *error) {
    bool words = true, space = false;
    if (!json_flag(&words, json, "use_regex", error) || !json_flag(&space, json, "add_prefix_space", error))
        return false;
    if (space) return fail(error, "pre_tokenizer ByteLevel has add_prefix_space true, which is not known here");
    if (words && !add_step(p, (Step){.behavior = ISOLATED}, gpt2_words, error)) return false;
    return p->bytes = true;
}

static bool add_any(Pretokenizer *p, const json_t *json, int depth, Error *error) {
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *rest = json_object_get(json, "pretokenizers");
    bool ok = true;
    if (!type) return fail(error, "pre_tokenizer has no type");
    if (!strcmp(type, "Split")) return add_split(p, json, error);
    if (!strcmp(type, "Digits")) return add_digits(p, json, error);
    if (!strcmp(type, "ByteLevel")) return add_byte_level(p, json, error);
    if (strcmp(type, "Sequence") || !json_is_array(rest) || depth > 4)
        return fail(error, "pre_tokenizer %.80s is not known here", type);
    for (size_t i = 0; ok && i < json_array_size(rest); i++)
        ok = add_any(p, json_array_get(rest, i), depth + 1, error);
    return ok;
}

Pretokenizer *pretokenizer_open(const json_t *json, Error *error) {
    Pretokenizer *p = must_alloc(1, sizeof *p);
    bool ok = add_any(p, json, 0, error);
    if (ok && !p->bytes)
        ok = fail(error, "pre_tokenizer has no ByteLevel; only byte-level tokenizers are known here");
    if (ok) return p;
    pretokenizer_close(p);
    return NULL;
}

void pretokenizer_close(Pretokenizer *p) {
    for (int i = 0; p && i < p->steps; i++) {
        regex_close(p->step[i].regex);
        free(p->step[i].literal);
    }
    free(p);
}

int pretokenizer_steps(const Pretokenizer *p) { return p->steps; }

/* -- one step ------------------------------------------------------------------------------------ */

typedef struct {
    const Step *step;
    const char *text;
    PieceSink sink;
    void *own;
    int64_t held_from, held_to; /* a piece that what follows may still join */
    bool held_found, last_found;
} Split;

static bool give(const Split *s, int64_t from, int64_t to) {
    return from == to || s->sink(s->own, s->text + from, to - from);
}

static bool give_held(Split *s) {
    int64_t from = s->held_from, to = s->held_to;
    s->held_from = s->held_to;
    return give(s, from, to);
}

static bool join(Split *s, int64_t to, bool found) {
    s->held_to = to;
    s->held_found = found;
    return true;
}

static bool hold(Split *s, int64_t from, int64_t to, bool found) {
    if (!give_held(s)) return false;
    s->held_from = from;
    return join(s, to, found);
}

/* The next stretch of text, in order and without holes: found by the expression, or between two that were. */
static bool stretch(Split *s, int64_t from, int64_t to, bool found) {
    bool before = s->last_found, held = s->held_from < s->held_to;
    if (from == to) return true;
    found ^= s->step->invert;
    s->last_found = found;
    switch (s->step->behavior) {
    case ISOLATED: return give(s, from, to);
    case REMOVED: return found || give(s, from, to);
    case MERGED_WITH_PREVIOUS: return found && !before && held ? join(s, to, found) : hold(s, from, to, found);
    case MERGED_WITH_NEXT: return !found && held && s->held_found ? join(s, to, found) : hold(s, from, to, found);
    default: return found == before && held ? join(s, to, found) : hold(s, from, to, found);
    }
}

static int find(const Step *step, RegexScratch *scratch, const char *text, int64_t bytes, int64_t from,
                int64_t *begin, int64_t *end) {
    if (step->regex) return regex_find(step->regex, scratch, text, bytes, from, begin, end);
    size_t n = strlen(step->literal);
    const char *at = memmem(text + from, (size_t)(bytes - from), step->literal, n);
    if (!at) return 0;
    *begin = at - text;
    *end = *begin + (int64_t)n;
    return 1;
}

bool pretokenizer_step(const Pretokenizer *p, int step, RegexScratch *scratch, const char *text, int64_t bytes,
                       PieceSink sink, void *own) {
    Split s = {.step = &p->step[step], .text = text, .sink = sink, .own = own};
    int64_t at = 0, begin, end;
    int found;
    while (at < bytes && (found = find(s.step, scratch, text, bytes, at, &begin, &end)) != 0) {
        if (found < 0 || !stretch(&s, at, begin, false) || !stretch(&s, begin, end, true)) return false;
        at = end;
    }
    return stretch(&s, at, bytes, false) && give_held(&s);
}

/* -- all steps ----------------------------------------------------------------------------------- */

typedef struct {
    const Pretokenizer *p;
    RegexScratch *scratch;
    PieceSink sink;
    void *own;
    int step;
} Walk;

static bool walk_piece(void *own, const char *piece, int64_t bytes) {
    Walk w = *(const Walk *)own;
    if (w.step == w.p->steps) return w.sink(w.own, piece, bytes);
    w.step++;
    return pretokenizer_step(w.p, w.step - 1, w.scratch, piece, bytes, walk_piece, &w);
}

bool pretokenizer_split(const Pretokenizer *p, RegexScratch *scratch, const char *text, int64_t bytes, PieceSink sink,
                        void *own) {
    Walk w = {p, scratch, sink, own, 0};
    return bytes == 0 || walk_piece(&w, text, bytes);
}
