#include "train/shots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_known(const Shots *s, const Question *q) {
    for (int64_t i = 0; i < s->count; i++)
        if (!strcmp(s->question[i].question, q->question)) return true;
    return false;
}

static bool read_shots(Shots *s, Questions *from, Error *error) {
    for (bool found = true; s->count <= s->shots;) {
        Question q;
        if (!questions_next(from, &q, &found, error)) return false;
        if (!found) break;
        if (is_known(s, &q))
            question_free(&q);
        else
            s->question[s->count++] = q;
    }
    return true;
}

bool shots_open(Shots *s, const char *file, LinesKind kind, int64_t shots, Error *error) {
    *s = (Shots){.shots = shots, .question = must_alloc(shots + 1, sizeof *s->question)};
    Questions *from = questions_open(file, kind, error);
    bool ok = from && read_shots(s, from, error);
    questions_close(from);
    if (ok && !s->count) ok = fail(error, "%s: holds no question", file);
    if (ok && s->count <= shots)
        ok = fail(error, "%s: %lld shots and a question take %lld different questions, it has %lld", file,
                  (long long)shots, (long long)shots + 1, (long long)s->count);
    ok = ok && (s->asked = questions_open(file, kind, error)) != NULL;
    if (!ok) shots_close(s);
    return ok;
}

void shots_close(Shots *s) {
    questions_close(s->asked);
    for (int64_t i = 0; i < s->count; i++) question_free(&s->question[i]);
    free(s->question);
    *s = (Shots){0};
}

char *shots_prompt(const Shots *s, const Question *asked) {
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    int64_t left = s->shots;
    for (int64_t i = 0; i < s->count && left > 0; i++) {
        const Question *q = &s->question[i];
        if (!strcmp(q->question, asked->question)) continue;
        fprintf(to, "Question: %s\nAnswer: %s\n\n", q->question, q->choice[q->answer]);
        left--;
    }
    fprintf(to, "Question: %s\nAnswer:", asked->question);
    check(!fclose(to), "out of memory for a prompt");
    return text;
}

int32_t *prompt_ids(const Config *c, const Tokenizer *t, const char *text, int64_t *n) {
    int64_t bytes = (int64_t)strlen(text), first = tokenizer_adds_bos(t);
    int32_t *ids = must_alloc(tokenizer_room(t, bytes) + 1, sizeof *ids);
    if (first) ids[0] = (int32_t)c->bos_token_id;
    int64_t encoded = tokenizer_encode(t, ids + first, text, bytes, SPECIALS_PLAIN);
    check(encoded >= 0, "a prompt that is not UTF-8");
    *n = first + encoded;
    return ids;
}

int64_t ids_that_cover(const Tokenizer *t, const int32_t *ids, int64_t n, int64_t bytes) {
    char *text = must_alloc(tokenizer_max_bytes(t), 1);
    int64_t count = 0;
    while (bytes > 0 && count < n) bytes -= tokenizer_decode(t, text, &ids[n - ++count], 1);
    free(text);
    return count;
}
