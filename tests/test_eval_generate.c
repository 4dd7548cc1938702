/* test_eval_generate.c - evaluations that generate text: what is right, what is hidden where, replies against logits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ranks.h"
#include "tests/test_data.h"
#include "tests/test_eval.h"
#include "train/reply.h"

void eval_matches(void) {
    static const struct {
        const char *reply, *right;
        bool as_it_is, any_case;
    } cases[] = {
        {"Paris", "Paris", true, true},        {"  Paris\t", "Paris\n", true, true},
        {"paris", "Paris", false, true},       {"\xc3\x89t\xc3\xa9", "\xc3\xa9t\xc3\xa9", false, true},
        {"e\xcc\x81", "\xc3\xa9", true, true}, /* one letter, written in two ways */
        {"Pa ris", "Paris", false, false},     {"Paris.", "Paris", false, false},
        {"", "Paris", false, false},           {"\xff", "Paris", false, false},
        {"\xff", "\xff", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect(answer_matches(cases[i].reply, cases[i].right, false) == cases[i].as_it_is, "case %zu, as it is", i);
        expect(answer_matches(cases[i].reply, cases[i].right, true) == cases[i].any_case, "case %zu, any case", i);
    }
}

void eval_reply_json(void) {
    static const struct {
        const char *reply, *text;
    } cases[] = {{"", ""}, {"a\xff", "a\xef\xbf\xbd"}, {"\xc3", "\xef\xbf\xbd"}, {"\xe2\x82\xac", "\xe2\x82\xac"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = reply_json(cases[i].reply, (int64_t)strlen(cases[i].reply));
        expect(!strcmp(json_string_value(json), cases[i].text), "case %zu: %s", i, json_string_value(json));
        json_decref(json);
    }
}

/* -- haystacks -------------------------------------------------------------------------------------- */

enum { HAY = 400 };

/* One number, between two sentences not far above its depth, and the question at the end. */
static void expect_prompt(const Haystack *h, int64_t length, int depth, bool sentences) {
    static const char needle[] = " The magic number is 1234567. ", question[] = "\n\nThe magic number is";
    int64_t first = h->bos >= 0, n = length - HAYSTACK_ANSWER - first;
    int32_t *ids = haystack_prompt(h, length, depth, 1234567);
    char *text = must_alloc(n + 1, 1);
    for (int64_t i = 0; i < n; i++) text[i] = (char)ids[first + i];
    int64_t hay = n - (int64_t)(sizeof needle + sizeof question) + 2, wanted = hay * depth / 4;
    const char *found = strstr(text, needle);
    int64_t at = found ? found - text : -1;
    expect(!first || ids[0] == h->bos, "bos is %d", ids[0]);
    expect(found && !strstr(found + 1, needle), "depth %d: %s", depth, text);
    expect(n >= (int64_t)sizeof question && !strcmp(text + n - sizeof question + 1, question), "depth %d: %s", depth,
           text);
    expect(at <= wanted && at > wanted - 120, "depth %d: at %d of %d", depth, (int)at, (int)wanted);
    bool between = at == 0 || at == hay || strchr(".!?\n", text[at - 1]);
    expect(!sentences || depth == 0 || between, "depth %d: %s", depth, text);
    free(text);
    free(ids);
}

void eval_haystacks(void) {
    Error error = {0};
    Tokenizer *t = tokenizer_open("bytes", &error);
    const char *lines = test_file("hay.txt", "First line\nand the second. A third\n", 35);
    const char *none = test_file("plain.txt", "words without an end ", 21), *empty = test_file("empty.txt", "", 0);
    const char *paths[] = {"", lines, none};
    for (int i = 0; i < 3; i++)
        for (int bos = 0; bos < 2; bos++) {
            Haystack h;
            bool ok = haystack_open(&h, paths[i], t, bos ? 256 : -1, HAY, &error);
            expect(ok && haystack_fits(&h, HAY) && !haystack_fits(&h, 97), "%s", error.text);
            for (int depth = 0; ok && depth < HAYSTACK_DEPTHS; depth++) {
                expect_prompt(&h, HAY, depth, paths[i] != none);
                expect_prompt(&h, HAY / 2, depth, paths[i] == lines);
            }
            haystack_close(&h);
        }
    Haystack h;
    expect_message(haystack_open(&h, empty, t, -1, HAY, &error), &error, "no text to hide", empty);
    expect_message(haystack_open(&h, "gone.txt", t, -1, HAY, &error), &error, "gone.txt", "no file");
    tokenizer_close(t);
}

/* -- replies ---------------------------------------------------------------------------------------- */

enum { ASKED = 26, LENGTH = 48 };

typedef struct {
    int32_t likeliest[ASKED]; /* behind the prompt for question 'a' + i */
    Task task;
    TaskResult result[RANKS_MOST];
} AnswerJob;

static bool fill_prompt(void *own, int64_t number, StepRow row, Error *error) {
    const char *text = own;
    int64_t n = (int64_t)strlen(text);
    (void)number, (void)error;
    for (int64_t t = 0; t < LENGTH; t++) {
        row.ids[t] = t < n ? (unsigned char)text[t] : 0;
        row.label[t] = -1, row.position[t] = (int32_t)t, row.first[t] = 0;
    }
    return true;
}

static void find_likeliest(Engine *e, void *own) {
    AnswerJob *job = own;
    double logits[258];
    Error error;
    for (int i = 0; i < ASKED; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "Question: %c\nAnswer:", 'a' + i);
        stepdata_fill(&e->data, &e->run, 0, 1, fill_prompt, text, &error);
        stepdata_count(&e->data, &e->run);
        engine_logits(e, n - 1, 1, logits);
        for (int id = 1; id < 258; id++)
            if (logits[id] > logits[job->likeliest[i]]) job->likeliest[i] = id;
    }
}

static void run_answers(Engine *e, void *own) {
    AnswerJob *job = own;
    Error error = {0};
    Tokenizer *t = tokenizer_open("bytes", &error);
    Exam exam = {.engine = e, .tokenizer = t};
    bool ok = task_check(&job->task, e->run.config, t, &error) &&
              task_run(&job->task, &exam, &job->result[e->run.mesh.world->rank], &error);
    expect(ok, "%s", error.text);
    tokenizer_close(t);
}

static bool is_letter(int32_t id) { return (id >= 'A' && id <= 'Z') || (id >= 'a' && id <= 'z'); }

static const Config one_token = {.eval_answer_tokens = 1, .eval_needles = 1};

/* Answers of one token: right where the file says what the logits say; every third line says something else. */
void eval_answers(void) {
    AnswerJob job = {.task = {.name = "test", .kind = TASK_ANSWER, .config = &one_token}}, four;
    char lines[ASKED * 64];
    int n = 0, right = 0;
    eval_on_ranks(1, 1, find_likeliest, &job);
    for (int i = 0; i < ASKED; i++) {
        bool said = is_letter(job.likeliest[i]) && i % 3;
        n += snprintf(lines + n, sizeof lines - (size_t)n, "{\"question\":\"%c\",\"answer\":[\"wrong\",\"%c\"]}\n",
                      'a' + i, said ? job.likeliest[i] : '!');
        right += said || job.likeliest[i] == '!';
    }
    strcpy(job.task.path, test_file("answers.jsonl", lines, n));
    four = job;
    eval_on_ranks(1, 1, run_answers, &job);
    eval_on_ranks(4, 2, run_answers, &four);
    expect(right > 0, "no question has a letter as its likeliest answer: the test shows nothing");
    for (int r = 0; r < 4; r++) {
        const TaskResult *a = &four.result[r], *b = &job.result[0];
        expect(a->items == ASKED && b->items == ASKED, "%d and %d questions", (int)a->items, (int)b->items);
        expect(fabs(a->accuracy - (double)right / ASKED) < 1e-12 && a->accuracy == b->accuracy,
               "rank %d: %g right on 4 ranks, %g on one, %d by logits", r, a->accuracy * ASKED, b->accuracy * ASKED,
               right);
    }
}

/* A prompt that leaves no room for the answer loses its beginning. */
void eval_long_prompts(void) {
    static const int64_t cases[][3] = {{40, 8, 0}, {41, 8, 1}, {100, 1, 53}};
    Config c = {.sequence_length = LENGTH};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(reply_cut(&c, cases[i][0], cases[i][1]) == cases[i][2], "case %zu: %lld", i,
               (long long)reply_cut(&c, cases[i][0], cases[i][1]));
    Config long_answers = {.eval_answer_tokens = LENGTH};
    Error error = {0};
    Task task = {.name = "test", .kind = TASK_ANSWER, .config = &long_answers};
    Tokenizer *t = tokenizer_open("bytes", &error);
    expect_message(task_check(&task, &c, t, &error), &error, "leaves no room", "a long answer");
    task.kind = TASK_NEEDLE;
    expect_message(task_check(&task, &c, t, &error), &error, "too short to hide", "a short haystack");
    tokenizer_close(t);
}
