/* answer.c - generated answers: what a model says behind the prompt (shots.h), up to the end of the line, is right when
 * it equals one of the right answers; space around both does not count. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "launch/agree.h"
#include "launch/watchdog.h"
#include "train/evaluate.h"
#include "train/reply.h"
#include "train/shots.h"

enum { BLOCK = 64 }; /* questions asked together */

typedef struct {
    const Task *task;
    const Config *config;
    const Tokenizer *tokenizer;
    Shots shots;
    Question question[BLOCK];
    int32_t *ids[BLOCK];
    Prompt prompt[BLOCK]; /* ids, or what is left of them */
    int64_t cut[BLOCK];
    char *reply[BLOCK];
    int count;
} AnswerBlock;

/* -- what is right ---------------------------------------------------------------------------------- */

/* Without the space around it, and in one case when that is asked for; NULL for what is no UTF-8. */
static char *normal_form(const char *text, bool ignore_case) {
    static const char space[] = " \t\r\n\v\f";
    text += strspn(text, space);
    size_t n = strlen(text);
    while (n && strchr(space, text[n - 1])) n--;
    utf8proc_option_t how = UTF8PROC_COMPOSE | (ignore_case ? UTF8PROC_CASEFOLD : 0);
    utf8proc_uint8_t *form = NULL;
    utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &form, how);
    return (char *)form;
}

bool answer_matches(const char *reply, const char *right, bool ignore_case) {
    char *a = normal_form(reply, ignore_case), *b = normal_form(right, ignore_case);
    bool same = a && b && !strcmp(a, b);
    free(a);
    free(b);
    return same;
}

/* -- questions -------------------------------------------------------------------------------------- */

static void block_clear(AnswerBlock *b) {
    for (int i = 0; i < b->count; i++) {
        question_free(&b->question[i]);
        free(b->ids[i]);
        free(b->reply[i]);
        b->ids[i] = NULL, b->reply[i] = NULL;
    }
    b->count = 0;
}

static AnswerBlock *block_open(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    AnswerBlock *b = must_alloc(1, sizeof *b);
    *b = (AnswerBlock){.task = task, .config = c, .tokenizer = t};
    if (shots_open(&b->shots, task->path, LINES_ANSWER, task->shots, error)) return b;
    free(b);
    return NULL;
}

static void block_close(AnswerBlock *b) {
    if (!b) return;
    block_clear(b);
    shots_close(&b->shots);
    free(b);
}

static void add_prompt(AnswerBlock *b, int i) {
    int64_t n;
    char *text = shots_prompt(&b->shots, &b->question[i]);
    b->ids[i] = prompt_ids(b->config, b->tokenizer, text, &n);
    b->cut[i] = reply_cut(b->config, n, b->task->config->eval_answer_tokens);
    b->prompt[i] = (Prompt){.ids = b->ids[i] + b->cut[i], .n = n - b->cut[i]};
    free(text);
}

/* The next questions; none are left when count is 0. */
static bool block_read(AnswerBlock *b, Error *error) {
    block_clear(b);
    for (bool found = true; b->count < BLOCK; b->count++) {
        if (!questions_next(b->shots.asked, &b->question[b->count], &found, error)) return false;
        if (!found) break;
        add_prompt(b, b->count);
    }
    return true;
}

bool answer_check(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    int64_t longest = task->config->eval_answer_tokens;
    if (longest >= c->sequence_length)
        return fail(error, "%s: eval_answer_tokens %lld leaves no room for a question in sequence_length %lld",
                    task->name, (long long)longest, (long long)c->sequence_length);
    AnswerBlock *b = block_open(task, c, t, error);
    bool ok = b && block_read(b, error);
    while (ok && b->count) ok = block_read(b, error);
    block_close(b);
    return ok;
}

/* -- answers ---------------------------------------------------------------------------------------- */

static void count_answer(const AnswerBlock *b, const Exam *exam, int i, TaskResult *r) {
    const Question *q = &b->question[i];
    bool right = false;
    for (int k = 0; k < q->choices; k++)
        right |= answer_matches(b->reply[i], q->choice[k], b->task->config->eval_ignore_case);
    r->accuracy += right;
    if (exam->items)
        task_item(exam, json_pack("{s:s, s:I, s:s, s:s, s:o, s:b}", "set", b->task->name, "line", (json_int_t)q->line,
                                  "question", q->question, "answer", q->choice[0], "generated",
                                  reply_json(b->reply[i], (int64_t)strlen(b->reply[i])), "right", right));
}

/* Rank 0 has the replies and tells the others. */
static bool block_ask(AnswerBlock *b, const Exam *exam, TaskResult *r, Error *error) {
    Comm *world = exam->engine->run.mesh.world;
    int64_t longest = b->task->config->eval_answer_tokens;
    if (!replies(exam, b->prompt, b->count, longest, b->reply, r, error)) return false;
    for (int i = 0; i < b->count; i++) {
        if (world->rank == 0) count_answer(b, exam, i, r);
        r->cut += b->cut[i] > 0;
    }
    r->items += b->count;
    world->ops->host_broadcast(world, &r->accuracy, sizeof r->accuracy, 0);
    return true;
}

static bool run_blocks(AnswerBlock *b, const Exam *exam, TaskResult *r, Error *error) {
    Engine *e = exam->engine;
    while (!(r->stopped = evaluation_stopped(e))) {
        if (!agree(e->run.mesh.world, block_read(b, error), error)) return false;
        if (!b->count) break;
        if (!block_ask(b, exam, r, error)) return false;
    }
    return true;
}

bool answer_run(const Task *task, const Exam *exam, TaskResult *r, Error *error) {
    double begin = clock_seconds();
    watchdog_section(SECTION_EVAL);
    AnswerBlock *b = block_open(task, exam->engine->run.config, exam->tokenizer, error);
    bool ok = agree(exam->engine->run.mesh.world, b != NULL, error) && run_blocks(b, exam, r, error);
    block_close(b);
    r->seconds = clock_seconds() - begin;
    r->accuracy /= (double)max_i64(r->items, 1);
    return ok;
}
