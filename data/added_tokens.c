#include "data/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/utf8.h"

enum { MOST_ADDED = 1000000, MOST_ID = 4000000 };

/* -- reading ------------------------------------------------------------------------------------- */

static bool looks_like_control(const char *text) { return !strncmp(text, "<|", 2) || !strncmp(text, "<｜", 4); }

static bool read_flags(AddedToken *t, const json_t *json, bool *single_word, Error *error) {
    return json_flag(single_word, json, "single_word", error) && json_flag(&t->special, json, "special", error) &&
           json_flag(&t->normalized, json, "normalized", error) && json_flag(&t->lstrip, json, "lstrip", error) &&
           json_flag(&t->rstrip, json, "rstrip", error);
}

static bool read_token(AddedToken *t, const json_t *json, Normalizer normalizer, size_t number, Error *error) {
    const char *text = json_string_value(json_object_get(json, "content"));
    const json_t *id = json_object_get(json, "id");
    if (!text || !*text) return fail(error, "added_tokens[%zu] has no content", number);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= MOST_ID)
        return fail(error, "added_tokens[%zu] \"%.80s\" has no id below %d", number, text, MOST_ID);
    AddedToken read = {.id = (int32_t)json_integer_value(id)};
    bool single_word = false;
    Error why;
    if (!read_flags(&read, json, &single_word, &why))
        return fail(error, "added_tokens[%zu] \"%.80s\": %s", number, text, why.text);
    if (single_word)
        return fail(error, "added_tokens[%zu] \"%.80s\" is single_word, which is not known here", number, text);
    *t = read;
    t->text = must_strdup(text);
    t->control = t->special || looks_like_control(text);
    int64_t bytes;
    t->sought = normalize(t->normalized ? normalizer : NORMALIZE_NOT, text, (int64_t)strlen(text), &bytes);
    check(t->sought, "no memory for an added token");
    t->sought_bytes = (int32_t)bytes;
    return true;
}

static int by_text(const void *a, const void *b) {
    return strcmp(((const AddedToken *)a)->text, ((const AddedToken *)b)->text);
}

static int by_sought(const void *a, const void *b) {
    const AddedToken *x = a, *y = b;
    int order = strcmp(x->sought, y->sought);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static bool no_twins(AddedTokens *a, Error *error) {
    qsort(a->token, (size_t)a->count, sizeof *a->token, by_text);
    for (int64_t i = 1; i < a->count; i++)
        if (!by_text(&a->token[i - 1], &a->token[i]))
            return fail(error, "added_tokens has \"%.80s\" twice", a->token[i].text);
    return true;
}

static void sum_up(AddedTokens *a) {
    for (int64_t i = 0; i < a->count; i++) {
        const AddedToken *t = &a->token[i];
        a->first[(unsigned char)*t->sought] = true;
        a->any_normalized |= t->normalized;
        a->any_strips |= t->lstrip || t->rstrip;
    }
}

bool added_tokens_read(AddedTokens *a, const json_t *json, Normalizer normalizer, Error *error) {
    size_t n = json_array_size(json);
    *a = (AddedTokens){0};
    if (!json || json_is_null(json)) return true;
    if (!json_is_array(json) || n > MOST_ADDED)
        return fail(error, "added_tokens is no list of at most %d", MOST_ADDED);
    a->token = must_alloc((int64_t)n + 1, sizeof *a->token);
    for (size_t i = 0; i < n; i++, a->count++)
        if (!read_token(&a->token[i], json_array_get(json, i), normalizer, i, error)) return false;
    if (!no_twins(a, error)) return false;
    qsort(a->token, n, sizeof *a->token, by_sought);
    sum_up(a);
    return true;
}

void added_tokens_free(AddedTokens *a) {
    for (int64_t i = 0; i < a->count; i++) {
        free(a->token[i].text);
        free(a->token[i].sought);
    }
    free(a->token);
    *a = (AddedTokens){0};
}

const AddedToken *added_tokens_find(const AddedTokens *a, const char *text) {
    for (int64_t i = 0; i < a->count; i++)
        if (!strcmp(a->token[i].text, text)) return &a->token[i];
    return NULL;
}

/* -- finding ------------------------------------------------------------------------------------- */

/* The first of the tokens in [low, high), which agree in their first `depth` bytes, whose next byte is at least c. */
static int64_t narrow(const AddedTokens *a, int64_t low, int64_t high, int depth, int c) {
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if ((unsigned char)a->token[middle].sought[depth] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that text begins with. */
static const AddedToken *longest(const AddedTokens *a, bool normalized, bool controls, const char *text,
                                 int64_t bytes) {
    const AddedToken *found = NULL;
    int64_t low = 0, high = a->count;
    for (int depth = 0; depth < bytes && low < high; depth++) {
        int c = (unsigned char)text[depth];
        if (c == 0) break; /* tokens end with one */
        low = narrow(a, low, high, depth, c);
        high = narrow(a, low, high, depth, c + 1);
        const AddedToken *t = &a->token[low], *end = &a->token[high]; /* the shortest of them come first */
        for (; t < end && t->sought_bytes == depth + 1; t++)
            if (t->normalized == normalized && (controls || !t->control)) {
                found = t;
                break;
            }
    }
    return found;
}

static int64_t spaces_before(const char *text, int64_t from, int64_t at) {
    while (at > from) {
        int64_t begin = at - 1;
        while (begin > from && ((unsigned char)text[begin] & 0xc0) == 0x80) begin--;
        if (!utf8_is_space(text + begin, at - begin)) break;
        at = begin;
    }
    return at;
}

static int64_t spaces_after(const char *text, int64_t bytes, int64_t at) {
    while (at < bytes && utf8_is_space(text + at, bytes - at)) at += utf8_length((unsigned char)text[at]);
    return at;
}

bool added_tokens_next(const AddedTokens *a, bool normalized, bool controls, const char *text, int64_t bytes,
                       AddedPlace *p) {
    if (!a->count || (normalized && !a->any_normalized)) return false;
    for (int64_t i = p->search; i < bytes; i++) {
        if (!a->first[(unsigned char)text[i]]) continue;
        const AddedToken *t = longest(a, normalized, controls, text + i, bytes - i);
        if (!t) continue;
        p->search = i + t->sought_bytes;
        if (t->lstrip && p->search <= p->end) { /* nothing is left of it: as published */
            i = p->search - 1;
            continue;
        }
        p->token = t;
        p->from = p->end;
        p->begin = max_i64(p->from, t->lstrip ? spaces_before(text, p->from, i) : i);
        bool in_space = p->search < p->from; /* taken by the one before: looked through once, not each time */
        p->end = !t->rstrip ? p->search : in_space ? p->from : spaces_after(text, bytes, p->search);
        return true;
    }
    return false;
}
