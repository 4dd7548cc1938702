/* needle.c - a number hidden in a long text (haystack.h): is it found again, whatever the length and the depth?
 *
 * Prompt and answer are sequence_length tokens, half, a quarter, an eighth. The number is found when the answer, up to
 * the end of the line, contains it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/agree.h"
#include "launch/watchdog.h"
#include "train/evaluate.h"
#include "train/reply.h"

typedef struct {
    const Task *task;
    const Exam *exam;
    const Config *config;
    Haystack hay;
} Needles;

static int64_t hidden_number(const Config *c, int64_t length, int64_t i) {
    uint64_t stream = hash_string("needle") ^ (uint64_t)length;
    return 1000000 + (int64_t)(random_bits((uint64_t)c->seed, stream, (uint64_t)i) % 9000000);
}

/* -- one length ------------------------------------------------------------------------------------- */

typedef struct {
    int64_t length, count; /* prompts: `each` of every depth */
    int64_t *number;
    Prompt *prompt; /* each owns its ids */
    char **reply;
} NeedleSet;

static NeedleSet set_open(const Needles *s, int64_t length) {
    NeedleSet set = {.length = length, .count = HAYSTACK_DEPTHS * s->task->config->eval_needles};
    set.number = must_alloc(set.count, sizeof *set.number);
    set.prompt = must_alloc(set.count, sizeof *set.prompt);
    set.reply = must_alloc(set.count, sizeof *set.reply);
    for (int64_t i = 0; i < set.count; i++) {
        set.number[i] = hidden_number(s->config, length, i);
        set.prompt[i] = (Prompt){.ids = haystack_prompt(&s->hay, length, (int)(i % HAYSTACK_DEPTHS), set.number[i]),
                                 .n = length - HAYSTACK_ANSWER};
    }
    return set;
}

static void set_close(NeedleSet *set) {
    for (int64_t i = 0; i < set->count; i++) {
        free((int32_t *)(uintptr_t)set->prompt[i].ids);
        free(set->reply[i]);
    }
    free(set->number);
    free(set->prompt);
    free(set->reply);
}

static bool is_found(const Needles *s, const NeedleSet *set, int64_t i) {
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)set->number[i]);
    bool found = strstr(set->reply[i], number);
    if (s->exam->items)
        task_item(s->exam,
                  json_pack("{s:s, s:I, s:i, s:s, s:o, s:b}", "set", s->task->name, "tokens", (json_int_t)set->length,
                            "depth", (int)(i % HAYSTACK_DEPTHS) * 100 / (HAYSTACK_DEPTHS - 1), "answer", number,
                            "generated", reply_json(set->reply[i], (int64_t)strlen(set->reply[i])), "right", found));
    return found;
}

/* Rank 0 has the replies and tells the others. */
static bool ask(const Needles *s, NeedleSet *set, int64_t found[HAYSTACK_DEPTHS], TaskResult *r, Error *error) {
    Comm *world = s->exam->engine->run.mesh.world;
    if (!replies(s->exam, set->prompt, set->count, HAYSTACK_ANSWER, set->reply, r, error)) return false;
    for (int64_t i = 0; i < set->count && world->rank == 0; i++) found[i % HAYSTACK_DEPTHS] += is_found(s, set, i);
    world->ops->host_broadcast(world, found, HAYSTACK_DEPTHS * (int64_t)sizeof *found, 0);
    return true;
}

/* The lengths that have room for hay, the shortest first. */
static int choose_lengths(const Haystack *h, int64_t longest, int64_t length[NEEDLE_LENGTHS]) {
    int count = 0;
    for (int i = NEEDLE_LENGTHS - 1; i >= 0; i--)
        if (haystack_fits(h, longest >> i)) length[count++] = longest >> i;
    return count;
}

static bool run_lengths(const Needles *s, TaskResult *result, Error *error) {
    NeedleTable *t = &result->needle;
    int64_t right = 0;
    bool ok = true;
    t->each = s->task->config->eval_needles;
    t->lengths = choose_lengths(&s->hay, s->config->sequence_length, t->length);
    for (int l = 0; ok && l < t->lengths && !result->stopped; l++) {
        NeedleSet set = set_open(s, t->length[l]);
        ok = ask(s, &set, t->found[l], result, error);
        result->items += set.count;
        for (int d = 0; d < HAYSTACK_DEPTHS; d++) right += t->found[l][d];
        set_close(&set);
        result->stopped = evaluation_stopped(s->exam->engine); /* then replies were cut short, the last one's too */
    }
    result->accuracy = (double)right / (double)max_i64(result->items, 1);
    return ok;
}

/* -- the task --------------------------------------------------------------------------------------- */

static bool open_hay(Needles *s, const Tokenizer *t, Error *error) {
    const Config *c = s->config;
    int32_t bos = tokenizer_adds_bos(t) ? (int32_t)c->bos_token_id : -1;
    if (!haystack_open(&s->hay, s->task->path, t, bos, c->sequence_length, error)) return false;
    return haystack_fits(&s->hay, c->sequence_length) ||
           fail(error, "%s: sequence_length %lld is too short to hide a number in; raise it", s->task->name,
                (long long)c->sequence_length);
}

bool needle_check(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    Needles s = {.task = task, .config = c};
    bool ok = open_hay(&s, t, error);
    haystack_close(&s.hay);
    return ok;
}

bool needle_run(const Task *task, const Exam *exam, TaskResult *r, Error *error) {
    double begin = clock_seconds();
    Needles s = {.task = task, .exam = exam, .config = exam->engine->run.config};
    watchdog_section(SECTION_EVAL);
    bool ok = agree(exam->engine->run.mesh.world, open_hay(&s, exam->tokenizer, error), error);
    ok = ok && run_lengths(&s, r, error);
    haystack_close(&s.hay);
    r->seconds = clock_seconds() - begin;
    return ok;
}
