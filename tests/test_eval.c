/* test_eval.c - evaluations against what follows by hand from the logits of a tiny model in F64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/questions.h"
#include "tests/ranks.h"
#include "tests/test_data.h"
#include "tests/test_eval.h"
#include "tests/test_train.h"
#include "train/evaluate.h"
#include "train/score.h"
#include "train/shots.h"
#include "train/task.h"

enum { LENGTH = 48, MICRO = 2 };

typedef struct {
    Config config;
    EngineUse use;
    Plan plan;
    EvalBody body;
    void *own;
} Job;

static void compute(Comm *world, void *own) {
    Job *job = own;
    Engine e;
    Error error = {0};
    Device *device = device_open(job->config.backend, NULL);
    check(engine_open(&e, &job->config, device, world, job->plan.arenas, job->use, &error), "%s", error.text);
    params_init_random(&e.model.params, &e.run);
    job->body(&e, job->own);
    engine_close(&e);
    device_close(device);
}

void eval_on_ranks(int ranks, int ep, EvalBody body, void *own) {
    static const char *const key[] = {"model.vocab_size=258", "sequence_length=48", "backend=ref"};
    Job job = {.body = body, .own = own};
    Error error = {0};
    small_config(&job.config, key, (int)(sizeof key / sizeof *key), ranks, ep);
    job.config.bos_token_id = 256, job.config.eos_token_id = 0; /* a model's eos need not be the tokenizer's */
    job.use = (EngineUse){.sequence_length = LENGTH,
                          .micro = MICRO,
                          .sequences = MICRO * ranks,
                          .logits_rows = LENGTH,
                          .cache = {.sequences = 2, .length = LENGTH, .tokens = 2 * LENGTH, .block = LENGTH},
                          .scores = true,
                          .double_precision = true};
    check(engine_plan(&job.plan, &job.config, ranks, job.use, &error), "%s", error.text);
    ranks_run(ranks, compute, &job);
    config_free(&job.config);
}

/* -- log-likelihoods from logits -------------------------------------------------------------------- */

typedef struct {
    const int32_t *ids;
    int64_t n;
} Alone;

static bool fill_alone(void *own, int64_t number, StepRow row, Error *error) {
    const Alone *a = own;
    (void)number, (void)error;
    for (int64_t t = 0; t < LENGTH; t++) {
        row.ids[t] = t < a->n ? a->ids[t] : 0;
        row.label[t] = -1, row.position[t] = (int32_t)t, row.first[t] = 0;
    }
    return true;
}

/* log p of ids[from .. n) given those before, from the logits of the sequence alone; n <= LENGTH. */
static double by_logits(Engine *e, const int32_t *ids, int64_t n, int64_t from) {
    int64_t v = e->run.config->vocab_size;
    double *logits = must_alloc(LENGTH * v, sizeof *logits), sum = 0;
    Alone a = {ids, n};
    Error error;
    stepdata_fill(&e->data, &e->run, 0, 1, fill_alone, &a, &error);
    stepdata_count(&e->data, &e->run);
    engine_logits(e, 0, n, logits);
    for (int64_t t = from; t < n; t++) {
        double all = 0;
        for (int64_t i = 0; i < v; i++) all += exp(logits[(t - 1) * v + i]);
        sum += logits[(t - 1) * v + ids[t]] - log(all);
    }
    free(logits);
    return sum;
}

/* -- packed scores ---------------------------------------------------------------------------------- */

enum { ITEMS = 11 };
static const int64_t item_tokens[ITEMS] = {5, 2, 48, 30, 17, 3, 49, 60, 9, 9, 49};
static const int64_t item_from[ITEMS] = {1, 1, 40, 29, 10, 2, 48, 20, 1, 8, 1};

static void make_items(Scored *item) {
    for (int64_t i = 0; i < ITEMS; i++) {
        int32_t *ids = must_alloc(item_tokens[i], sizeof *ids);
        for (int64_t k = 0; k < item_tokens[i]; k++)
            ids[k] = (int32_t)(random_bits(7, (uint64_t)i, (uint64_t)k) % 258);
        item[i] = (Scored){.ids = ids, .n = item_tokens[i], .from = item_from[i]};
    }
}

static void free_items(Scored *item) {
    for (int64_t i = 0; i < ITEMS; i++) free((int32_t *)(uintptr_t)item[i].ids);
}

static void score_all(Engine *e, void *own) {
    Scored item[ITEMS];
    double *to = own;
    make_items(item);
    score(e, item, ITEMS);
    for (int64_t i = 0; i < ITEMS; i++) to[e->run.mesh.world->rank * ITEMS + i] = item[i].log_likelihood;
    free_items(item);
}

/* Where all of an item fits the logits: one that lost its beginning is scored from what is left. */
static void expect_alone(Engine *e, void *own) {
    const double *packed = own;
    Scored item[ITEMS];
    make_items(item);
    for (int64_t i = 0; i < ITEMS; i++) {
        int64_t cut = score_cut(e, item[i].n), left = item[i].n - cut;
        if (left > LENGTH) continue; /* its last label is behind the last logits that can be read */
        double alone = by_logits(e, item[i].ids + cut, left, item[i].from - cut);
        expect(fabs(packed[i] - alone) < 1e-9 * fabs(alone), "item %d: %.15g packed, %.15g alone", (int)i, packed[i],
               alone);
    }
    free_items(item);
}

static void packed_scores(void) {
    static const int layouts[][2] = {{2, 1}, {2, 2}, {4, 4}};
    double one[ITEMS], many[4 * ITEMS];
    eval_on_ranks(1, 1, score_all, one);
    eval_on_ranks(1, 1, expect_alone, one);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        int ranks = layouts[l][0];
        eval_on_ranks(ranks, layouts[l][1], score_all, many);
        for (int i = 0; i < ranks * ITEMS; i++)
            expect(fabs(many[i] - one[i % ITEMS]) < 1e-11 * fabs(one[i % ITEMS]),
                   "item %d, rank %d of %d: %.15g, %.15g", i % ITEMS, i / ITEMS, ranks, many[i], one[i % ITEMS]);
    }
}

/* -- loss of a text --------------------------------------------------------------------------------- */

static const char *make_shard(const char *name, const int32_t *tokens, int64_t n) {
    Error error;
    Tokenizer *t = tokenizer_open("bytes", &error);
    ShardInfo info = {.vocab_size = 258, .tokenizer_hash = tokenizer_hash(t), .tokenizer = "bytes", .source = "test"};
    const char *path = test_path(name);
    check(tokens_write(path, tokens, (int64_t[]){0, n}, 1, &info, &error), "%s", error.text);
    tokenizer_close(t);
    return path;
}

typedef struct {
    const char *path;
    Evaluation result[RANKS_MOST];
} TextJob;

static void evaluate_text(Engine *e, void *own) {
    TextJob *job = own;
    Error error = {0};
    Tokenizer *t = tokenizer_open("bytes", &error);
    expect(evaluate_shard(&job->result[e->run.mesh.world->rank], e, job->path, t, 0, &error), "%s", error.text);
    tokenizer_close(t);
}

typedef struct {
    const int32_t *ids;
    int64_t n;
    double sum;
} TextSum;

/* Windows of LENGTH tokens and one label, the last one short. A window's last label needs one more place than the
 * logits have, so every window is read in two halves that both begin at its start. */
static void sum_by_logits(Engine *e, void *own) {
    TextSum *s = own;
    for (int64_t start = 0; start + 1 < s->n; start += LENGTH) {
        int64_t count = min_i64(LENGTH, s->n - 1 - start);
        if (count < LENGTH) s->sum += by_logits(e, s->ids + start, count + 1, 1);
        if (count < LENGTH) continue;
        Scored last = {.ids = s->ids + start, .n = LENGTH + 1, .from = LENGTH};
        score(e, &last, 1);
        s->sum += by_logits(e, s->ids + start, LENGTH, 1) + last.log_likelihood;
    }
}

static void loss_of_text(void) {
    enum { TOKENS = 4 * LENGTH + 18 };
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) ids[i] = 1 + (int32_t)(random_bits(9, 0, (uint64_t)i) % 255);
    TextSum sum = {ids, TOKENS, 0};
    TextJob one = {.path = make_shard("text.h5", ids, TOKENS)}, two = one;
    eval_on_ranks(1, 1, sum_by_logits, &sum);
    eval_on_ranks(1, 1, evaluate_text, &one);
    eval_on_ranks(2, 2, evaluate_text, &two);
    const Evaluation *v = &one.result[0];
    double loss = -sum.sum / (TOKENS - 1);
    expect(fabs(v->loss - loss) < 1e-9 * loss, "loss %.15g, by logits %.15g", v->loss, loss);
    expect(v->tokens == TOKENS - 1 && v->bytes == TOKENS - 1, "%lld tokens, %lld bytes", (long long)v->tokens,
           (long long)v->bytes);
    expect(fabs(evaluation_bits_per_byte(v) - loss / M_LN2) < 1e-9, "%.15g bits per byte",
           evaluation_bits_per_byte(v));
    for (int r = 0; r < 2; r++)
        expect(fabs(two.result[r].loss - v->loss) < 1e-11 && two.result[r].bytes == v->bytes, "rank %d: loss %.15g",
               r, two.result[r].loss);
}

/* The tokenizer's special tokens and the model's eos (0) are scored and have no bytes, so bits per byte grow. */
static void bytes_of_text(void) {
    int32_t ids[12] = {65, 66, 67, 68, 257, 69, 70, 0, 72, 73, 257, 256};
    TextJob job = {.path = make_shard("eos.h5", ids, 12)};
    eval_on_ranks(1, 1, evaluate_text, &job);
    const Evaluation *v = &job.result[0];
    expect(v->tokens == 11 && v->bytes == 7, "%lld tokens, %lld bytes", (long long)v->tokens, (long long)v->bytes);
    expect(fabs(evaluation_bits_per_byte(v) - v->loss * 11 / 7 / M_LN2) < 1e-12, "%g bits per byte",
           evaluation_bits_per_byte(v));
}

static void refuse_text(Engine *e, void *own) {
    static const struct {
        uint64_t hash;
        int64_t vocab;
        const char *words;
    } cases[] = {{1, 258, "made with the tokenizer"}, {0, 259, "vocabulary of 259"}};
    Error error = {0};
    Tokenizer *t = tokenizer_open("bytes", &error);
    Evaluation v;
    (void)own;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ShardInfo info = {.vocab_size = cases[i].vocab, .tokenizer = "bytes", .source = "test"};
        info.tokenizer_hash = cases[i].hash ? cases[i].hash : tokenizer_hash(t);
        const char *path = test_path("other.h5");
        check(tokens_write(path, (int32_t[]){1, 2, 3}, (int64_t[]){0, 3}, 1, &info, &error), "%s", error.text);
        expect_message(evaluate_shard(&v, e, path, t, 0, &error), &error, cases[i].words, path);
    }
    const char *path = make_shard("one.h5", (int32_t[]){1}, 1);
    expect_message(evaluate_shard(&v, e, path, t, 0, &error), &error, "one token alone", path);
    expect_message(evaluate_shard(&v, e, "gone.h5", t, 0, &error), &error, "gone.h5", "no file");
    tokenizer_close(t);
}

static void refused_texts(void) { eval_on_ranks(1, 1, refuse_text, NULL); }

/* -- multiple choice -------------------------------------------------------------------------------- */

typedef struct {
    const char *question, *choice[3];
    int choices, answer;
} Asked;
static const Asked asked[] = {{"a", {"x", "yy", "zzzz"}, 3, 1},    {"b", {"no", "y\xc3\xa9s"}, 2, 1},
                              {"c", {"A", "B", "CCC"}, 3, 2},      {"d", {"a", "bcdefghi"}, 2, 1},
                              {"e", {"it", "and", "so on"}, 3, 0}, {"f", {"7", "seventeen"}, 2, 1}};
enum { QUESTIONS = sizeof asked / sizeof *asked };

static const char choices_text[] = "{\"question\":\"a\",\"choices\":[\"x\",\"yy\",\"zzzz\"],\"answer\":\"yy\"}\n"
                                   "{\"question\":\"b\",\"choices\":[\"no\",\"y\\u00e9s\"],\"answer\":1}\n"
                                   "{\"question\":\"c\",\"choices\":[\"A\",\"B\",\"CCC\"],\"answer\":\"C\"}\n"
                                   "{\"question\":\"d\",\"choices\":[\"a\",\"bcdefghi\"],\"answer\":\"bcdefghi\"}\n"
                                   "{\"question\":\"e\",\"choices\":[\"it\",\"and\",\"so on\"],\"answer\":\"A\"}\n"
                                   "{\"question\":\"f\",\"choices\":[7,\"seventeen\"],\"answer\":1}\n";

static const Config usual;

typedef struct {
    Task task;
    TaskResult result[RANKS_MOST];
    char *items; /* what rank 0 wrote */
} ChoiceJob;

static void run_choice(Engine *e, void *own) {
    ChoiceJob *job = own;
    Error error = {0};
    size_t bytes;
    int rank = e->run.mesh.world->rank;
    Tokenizer *t = tokenizer_open("bytes", &error);
    Exam exam = {.engine = e, .tokenizer = t, .items = rank ? NULL : open_memstream(&job->items, &bytes)};
    expect(task_check(&job->task, e->run.config, t, &error), "%s", error.text);
    expect(task_run(&job->task, &exam, &job->result[rank], &error), "%s", error.text);
    if (exam.items) fclose(exam.items);
    tokenizer_close(t);
}

/* The same from logits: what stands behind "Answer:" is scored, byte by byte. */
typedef struct {
    double sum[QUESTIONS][3];
    int plain[QUESTIONS], normalised[QUESTIONS];
} ByHand;

static void choose_by_logits(Engine *e, void *own) {
    ByHand *by = own;
    for (int q = 0; q < QUESTIONS; q++) {
        double best = -INFINITY, best_a_byte = -INFINITY;
        for (int i = 0; i < asked[q].choices; i++) {
            char *text = must_format("Question: %s\nAnswer: %s", asked[q].question, asked[q].choice[i]);
            int64_t n = (int64_t)strlen(text), bytes = (int64_t)strlen(asked[q].choice[i]);
            int32_t ids[LENGTH];
            for (int64_t k = 0; k < n; k++) ids[k] = (unsigned char)text[k];
            double sum = by->sum[q][i] = by_logits(e, ids, n, n - bytes - 1);
            if (sum > best) best = sum, by->plain[q] = i;
            if (sum / (double)bytes > best_a_byte) best_a_byte = sum / (double)bytes, by->normalised[q] = i;
            free(text);
        }
    }
}

/* Line by line what -o holds. */
static void expect_items(const char *items, const ByHand *by) {
    for (int q = 0; q < QUESTIONS; q++) {
        json_t *line = json_loads(items, JSON_DISABLE_EOF_CHECK, NULL),
               *sums = json_object_get(line, "log_likelihood");
        expect(json_integer_value(json_object_get(line, "line")) == q + 1, "line %d", q + 1);
        expect(json_integer_value(json_object_get(line, "answer")) == asked[q].answer, "answer of line %d", q + 1);
        expect(json_integer_value(json_object_get(line, "chosen")) == by->normalised[q] &&
                   json_integer_value(json_object_get(line, "chosen_plain")) == by->plain[q],
               "line %d: %d and %d by logits: %s", q + 1, by->normalised[q], by->plain[q], items);
        expect(json_array_size(sums) == (size_t)asked[q].choices, "line %d: %zu sums", q + 1, json_array_size(sums));
        for (int i = 0; i < asked[q].choices; i++) {
            double sum = json_real_value(json_array_get(sums, (size_t)i));
            expect(fabs(sum - by->sum[q][i]) < 1e-9 * fabs(sum), "line %d: %.15g, by logits %.15g", q + 1, sum,
                   by->sum[q][i]);
        }
        json_decref(line);
        items = strchr(items, '\n') + 1;
    }
}

static void multiple_choice(void) {
    ChoiceJob one = {.task = {.name = "test", .kind = TASK_CHOICE, .config = &usual}}, four;
    ByHand by = {0};
    int plain = 0, normalised = 0, differ = 0;
    strcpy(one.task.path, test_file("choice.jsonl", choices_text, (int64_t)sizeof choices_text - 1));
    four = one;
    eval_on_ranks(1, 1, choose_by_logits, &by);
    eval_on_ranks(1, 1, run_choice, &one);
    eval_on_ranks(4, 2, run_choice, &four);
    for (int q = 0; q < QUESTIONS; q++) {
        plain += by.plain[q] == asked[q].answer;
        normalised += by.normalised[q] == asked[q].answer;
        differ += by.plain[q] != by.normalised[q];
    }
    expect(differ && plain != normalised, "length makes no difference: the test shows nothing");
    for (int i = 0; i < 4; i++) {
        const TaskResult *r = i ? &four.result[i] : &one.result[0];
        expect(r->items == QUESTIONS && r->finite && !r->cut, "%d questions, %d cut", (int)r->items, (int)r->cut);
        expect(fabs(r->accuracy * QUESTIONS - normalised) < 1e-9 && fabs(r->plain * QUESTIONS - plain) < 1e-9,
               "normalised %g of %d, plain %g of %d", r->accuracy * QUESTIONS, normalised, r->plain * QUESTIONS,
               plain);
    }
    expect_items(one.items, &by);
    expect_items(four.items, &by);
    free(one.items);
    free(four.items);
}

/* A prompt that is too long loses its beginning; a choice that is too long is refused. */
static void long_choices(void) {
    char text[512];
    ChoiceJob job = {.task = {.name = "test", .kind = TASK_CHOICE, .config = &usual}};
    int n = snprintf(text, sizeof text, "{\"question\":\"%060d\",\"choices\":[\"x\",\"y\"],\"answer\":\"x\"}\n", 0);
    strcpy(job.task.path, test_file("long.jsonl", text, n));
    eval_on_ranks(1, 1, run_choice, &job);
    free(job.items);
    expect(job.result[0].cut == 1, "%lld prompts cut", (long long)job.result[0].cut);
    n = snprintf(text, sizeof text, "{\"question\":\"a\",\"choices\":[\"x\",\"%048d\"],\"answer\":\"x\"}\n", 0);
    strcpy(job.task.path, test_file("long.jsonl", text, n));
    Config c = {.sequence_length = LENGTH};
    Error error = {0};
    Tokenizer *t = tokenizer_open("bytes", &error);
    expect_message(task_check(&job.task, &c, t, &error), &error, "long.jsonl:1: a choice of 49 tokens",
                   "long choice");
    tokenizer_close(t);
}

static void standard_errors(void) {
    expect(fabs(task_error(0.5, 100) - 0.05) < 1e-15, "%g", task_error(0.5, 100));
    expect(fabs(task_error(0.2, 400) - 0.02) < 1e-15, "%g", task_error(0.2, 400));
    expect(task_error(1, 7) == 0 && task_error(0, 0) == 0, "certain, or nothing asked");
}

const TestCase eval_tests[] = {
    {"packed scores equal those of each item alone, on any layout", packed_scores},
    {"loss of a text, bits per byte", loss_of_text},
    {"special tokens have no bytes", bytes_of_text},
    {"texts that do not fit the model", refused_texts},
    {"multiple choice by hand", multiple_choice},
    {"long prompts, long choices", long_choices},
    {"standard errors", standard_errors},
    {"questions as they should be", eval_good_questions},
    {"each mistake in a line is named", eval_bad_questions},
    {"shots", eval_shots_text},
    {"tokens that cover a text", eval_cover},
    {"what a path stands for", eval_words},
    {"what stands under eval", eval_sets},
    {"when an answer is right", eval_matches},
    {"replies as JSON", eval_reply_json},
    {"numbers in haystacks", eval_haystacks},
    {"generated answers by hand", eval_answers},
    {"prompts that leave no room", eval_long_prompts},
    {0},
};
