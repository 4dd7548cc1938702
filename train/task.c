#include "train/task.h"

#include <math.h>
#include <string.h>

#include "train/evaluate.h"
#include "train/reply.h"

double task_error(double p, int64_t n) { return n ? sqrt(p * (1 - p) / (double)n) : 0; }

void task_item(const Exam *exam, json_t *item) {
    check(item, "an item that is no JSON");
    json_dumpf(item, exam->items, JSON_COMPACT | JSON_ENSURE_ASCII);
    putc('\n', exam->items); /* errors show when the file is closed */
    json_decref(item);
}

void task_warn(const Task *task, const TaskResult *r, const Config *c) {
    if (!r->cut || base_rank) return;
    fprintf(stderr,
            "dsv2: warning: %s: %lld of %lld prompts do not fit sequence_length %lld and lost their beginning\n",
            task->name, (long long)r->cut, (long long)r->items, (long long)c->sequence_length);
}

static bool loss_check(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    TokenShard *shard = tokens_open(task->path, error);
    bool ok = shard && evaluation_fits(shard, c, t, error);
    if (shard) tokens_close(shard);
    return ok;
}

static bool loss_run(const Task *task, const Exam *exam, TaskResult *r, Error *error) {
    Evaluation v;
    if (!evaluate_shard(&v, exam->engine, task->path, exam->tokenizer, task->config->eval_tokens, error))
        return false;
    r->loss = v.loss;
    r->bits_per_byte = evaluation_bits_per_byte(&v);
    r->items = r->tokens = v.tokens;
    r->seconds = v.seconds;
    r->stopped = v.stopped;
    r->finite = isfinite(v.loss);
    if (exam->items)
        task_item(exam, json_pack("{s:s, s:o, s:I, s:I}", "set", task->name, "loss",
                                  r->finite ? json_real(v.loss) : json_null(), "tokens", (json_int_t)v.tokens,
                                  "bytes", (json_int_t)v.bytes));
    return true;
}

static const struct {
    bool (*read_all)(const Task *, const Config *, const Tokenizer *, Error *);
    bool (*run)(const Task *, const Exam *, TaskResult *, Error *);
    bool scores, generates;
} kinds[] = {[TASK_LOSS] = {loss_check, loss_run, false, false},
             [TASK_CHOICE] = {choice_check, choice_run, true, false},
             [TASK_ANSWER] = {answer_check, answer_run, false, true},
             [TASK_NEEDLE] = {needle_check, needle_run, false, true}};

bool task_check(const Task *task, const Config *c, const Tokenizer *t, Error *error) {
    return kinds[task->kind].read_all(task, c, t, error);
}

bool task_run(const Task *task, const Exam *exam, TaskResult *r, Error *error) {
    *r = (TaskResult){.kind = task->kind, .finite = true};
    return kinds[task->kind].run(task, exam, r, error);
}

void task_use(TaskKind kind, const Config *c, EngineUse *use) {
    use->scores |= kinds[kind].scores;
    if (kinds[kind].generates) reply_use(c, use);
}

TaskKind task_kind(const char *format) {
    static const char *const formats[] = {
        [TASK_LOSS] = "text", [TASK_CHOICE] = "choice", [TASK_ANSWER] = "answer", [TASK_NEEDLE] = "needle"};
    int kind = 0;
    while (strcmp(formats[kind], format)) kind++; /* the key table lets no other word through */
    return (TaskKind)kind;
}
