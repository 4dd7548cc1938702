/* choice.c - multiple choice: every choice is put behind the prompt, and the likeliest is taken; see shots.h for the
 * prompt. The tokens that cover the space before a choice or the choice itself are scored. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "launch/watchdog.h"
#include "launch/agree.h"
#include "train/evaluate.h"
#include "train/score.h"
#include "train/shots.h"
#include "train/task.h"

enum { BLOCK = 64 }; /* questions scored together */

typedef struct {
    const Task *task;
    const Config *config;
    const Tokenizer *tokenizer;
    Shots shots;
    Question question[BLOCK];
    int count, items;
    Scored item[BLOCK * CHOICES_MOST]; /* of all choices, one question after the other */
} ChoiceBlock;

static void block_clear(ChoiceBlock *b) {
    for (int i = 0; i < b->items; i++) free((int32_t *)(uintptr_t)b->item[i].ids);
    for (int i = 0; i < b->count; i++) question_free(&b->question[i]);
    b->items = b->count = 0;
}

static ChoiceBlock *block_open(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    ChoiceBlock *b = must_alloc(1, sizeof *b);
    *b = (ChoiceBlock){.task = task, .config = c, .tokenizer = t};
    if (shots_open(&b->shots, task->path, LINES_CHOICE, task->shots, error)) return b;
    free(b);
    return NULL;
}

static void block_close(ChoiceBlock *b) {
    if (!b) return;
    block_clear(b);
    shots_close(&b->shots);
    free(b);
}

static bool add_choice(ChoiceBlock *b, const Question *q, const char *prompt, const char *choice, Error *error) {
    int64_t n, length = b->config->sequence_length;
    char *text = must_format("%s %s", prompt, choice);
    int32_t *ids = prompt_ids(b->config, b->tokenizer, text, &n);
    int64_t scored = ids_that_cover(b->tokenizer, ids, n, (int64_t)strlen(choice) + 1);
    b->item[b->items++] = (Scored){.ids = ids, .n = n, .from = n - scored};
    free(text);
    return scored <= length || fail(error, "%s:%lld: a choice of %lld tokens does not fit sequence_length %lld",
                                    b->task->path, (long long)q->line, (long long)scored, (long long)length);
}

static bool add_question(ChoiceBlock *b, const Question *q, Error *error) {
    char *prompt = shots_prompt(&b->shots, q);
    bool ok = true;
    for (int i = 0; ok && i < q->choices; i++) ok = add_choice(b, q, prompt, q->choice[i], error);
    free(prompt);
    return ok;
}

/* The next questions with their tokens; none are left when count is 0. */
static bool block_read(ChoiceBlock *b, Error *error) {
    block_clear(b);
    for (bool found = true; b->count < BLOCK;) {
        Question *q = &b->question[b->count];
        if (!questions_next(b->shots.asked, q, &found, error)) return false;
        if (!found) break;
        b->count++;
        if (!add_question(b, q, error)) return false;
    }
    return true;
}

bool choice_check(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    ChoiceBlock *b = block_open(task, c, t, error);
    bool ok = b && block_read(b, error);
    while (ok && b->count) ok = block_read(b, error);
    block_close(b);
    return ok;
}

/* -- scores ----------------------------------------------------------------------------------------- */

static int best_of(const double *value, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (value[i] > value[best]) best = i;
    return best;
}

static void write_item(const Exam *exam, const Task *task, const Question *q, const double *sum, int plain,
                       int normalised) {
    if (!exam->items) return;
    json_t *choices = json_array(), *sums = json_array();
    for (int i = 0; i < q->choices; i++) {
        json_array_append_new(choices, json_string(q->choice[i]));
        json_array_append_new(sums, isfinite(sum[i]) ? json_real(sum[i]) : json_null());
    }
    task_item(exam, json_pack("{s:s, s:I, s:s, s:o, s:i, s:o, s:i, s:i}", "set", task->name, "line",
                              (json_int_t)q->line, "question", q->question, "choices", choices, "answer", q->answer,
                              "log_likelihood", sums, "chosen", normalised, "chosen_plain", plain));
}

static void count_question(const ChoiceBlock *b, const Exam *exam, const Question *q, const Scored *item,
                           TaskResult *r) {
    double sum[CHOICES_MOST], a_byte[CHOICES_MOST];
    for (int i = 0; i < q->choices; i++) {
        sum[i] = item[i].log_likelihood;
        a_byte[i] = sum[i] / (double)strlen(q->choice[i]);
        r->finite = r->finite && isfinite(sum[i]);
    }
    int plain = best_of(sum, q->choices), normalised = best_of(a_byte, q->choices);
    r->plain += plain == q->answer;
    r->accuracy += normalised == q->answer;
    r->items++;
    write_item(exam, b->task, q, sum, plain, normalised);
}

static void block_score(ChoiceBlock *b, const Exam *exam, TaskResult *r) {
    const Scored *item = b->item;
    score(exam->engine, b->item, b->items);
    for (int i = 0; i < b->items; i++) r->tokens += item[i].n - score_cut(exam->engine, item[i].n);
    for (int i = 0; i < b->count; item += b->question[i++].choices) {
        r->cut += score_cut(exam->engine, item->n) > 0;
        count_question(b, exam, &b->question[i], item, r);
    }
}

static bool run_blocks(ChoiceBlock *b, const Exam *exam, TaskResult *r, Error *error) {
    Engine *e = exam->engine;
    while (!(r->stopped = evaluation_stopped(e))) {
        if (!agree(e->run.mesh.world, block_read(b, error), error)) return false;
        if (!b->count) break;
        block_score(b, exam, r);
    }
    return true;
}

bool choice_run(const Task *task, const Exam *exam, TaskResult *r, Error *error) {
    double begin = clock_seconds();
    watchdog_section(SECTION_EVAL);
    ChoiceBlock *b = block_open(task, exam->engine->run.config, exam->tokenizer, error);
    bool ok = agree(exam->engine->run.mesh.world, b != NULL, error) && run_blocks(b, exam, r, error);
    block_close(b);
    r->seconds = clock_seconds() - begin;
    r->accuracy /= (double)max_i64(r->items, 1);
    r->plain /= (double)max_i64(r->items, 1);
    return ok;
}
