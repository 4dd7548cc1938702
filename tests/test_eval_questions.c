/* test_eval_questions.c - lines of questions, good and bad, and the prompts that are made of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/questions.h"
#include "tests/test_data.h"
#include "tests/test_eval.h"
#include "train/shots.h"
#include "train/task.h"

static const char *lines_file(const char *text) { return test_file("q.jsonl", text, (int64_t)strlen(text)); }

void eval_good_questions(void) {
    static const struct {
        LinesKind kind;
        const char *text;
        int choices, answer;
        const char *right;
    } cases[] = {
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"b\"}", 2, 1, "b"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"B\"}", 2, 1, "b"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"B\",\"A\"],\"answer\":\"A\"}", 2, 1, "A"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":0}", 2, 0, "a"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[1,2.5],\"answer\":\"2.5\"}", 2, 1, "2.5"},
        {LINES_CHOICE, "\xef\xbb\xbf\n \r\n{\"question\":\"q\",\"choices\":[\"a\",\"a\"],\"answer\":1,\"x\":{}}\r\n",
         2, 1, "a"},
        {LINES_ANSWER, "\xef\xbb\xbf{\"question\":\"q\",\"answer\":\"two words\"}\n\n", 1, 0, "two words"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":42}", 1, 0, "42"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":3.14}", 1, 0, "3.14"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":-0.1}", 1, 0, "-0.1"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":0.30000000000000004}", 1, 0, "0.30000000000000004"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":[\"a\",7]}", 2, 0, "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        Question q;
        bool found;
        Questions *from = questions_open(lines_file(cases[i].text), cases[i].kind, &error);
        bool ok = questions_next(from, &q, &found, &error);
        expect(ok && found, "case %zu: %s", i, error.text);
        if (!ok || !found) continue;
        expect(q.choices == cases[i].choices && q.answer == cases[i].answer &&
                   !strcmp(q.choice[q.answer], cases[i].right),
               "case %zu: answer %d of %d", i, q.answer, q.choices);
        question_free(&q);
        expect(questions_next(from, &q, &found, &error) && !found, "case %zu: a second question", i);
        questions_close(from);
    }
}

#define GOOD "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"b\"}\n"

void eval_bad_questions(void) {
    static const struct {
        LinesKind kind;
        const char *text, *words;
    } cases[] = {
        {LINES_CHOICE, "{", "q.jsonl:1: not JSON"},
        {LINES_CHOICE, GOOD "\n{\"question\":}", "q.jsonl:3: not JSON"},
        {LINES_CHOICE, "{\"question\":\"\xff\"}", "q.jsonl:1: not JSON"},
        {LINES_CHOICE, "{\"question\":\"a\\u0000b\"}", "q.jsonl:1: not JSON"},
        {LINES_CHOICE, "{\"question\":\"a\",\"question\":\"b\"}", "duplicate"},
        {LINES_CHOICE, "[]", "not a JSON object"},
        {LINES_CHOICE, GOOD "{\"choices\":[\"a\",\"b\"],\"answer\":0}", "q.jsonl:2: no field 'question'"},
        {LINES_CHOICE, "{\"question\":3,\"choices\":[\"a\",\"b\"],\"answer\":0}", "'question' is not a text"},
        {LINES_CHOICE, "{\"question\":\"\",\"choices\":[\"a\",\"b\"],\"answer\":0}", "'question' is empty"},
        {LINES_CHOICE, "{\"question\":\"q\",\"answer\":0}", "no field 'choices'"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":\"ab\",\"answer\":0}", "'choices' is not a list"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\"],\"answer\":0}", "at least 2"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"\"],\"answer\":0}", "'choices' is empty"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",null],\"answer\":0}", "'choices' is not a text"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7]}",
         "more than 26"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"]}", "no field 'answer'"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":2}", "answer 2 of 2 choices"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":-1}", "answer -1 of 2 choices"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":1.0}", "neither a text nor a whole"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"C\"}",
         "neither the text of a choice"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"\"}",
         "neither the text of a choice"},
        {LINES_CHOICE, "{\"question\":\"q\",\"choices\":[\"a\",\"a\"],\"answer\":\"a\"}", "text of 2 choices"},
        {LINES_ANSWER, "{\"question\":\"q\"}", "no field 'answer'"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":[]}", "empty list"},
        {LINES_ANSWER, "{\"question\":\"q\",\"answer\":true}", "'answer' is not a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        Question q;
        bool found = true, ok = true;
        Questions *from = questions_open(lines_file(cases[i].text), cases[i].kind, &error);
        while (ok && found) {
            ok = questions_next(from, &q, &found, &error);
            if (ok) question_free(&q);
        }
        expect_message(ok, &error, cases[i].words, cases[i].text);
        questions_close(from);
    }
    Error error = {0};
    static const char nul[] = "{\"question\":\"q\",\"answer\":1\0}";
    Question q;
    bool found;
    Questions *from = questions_open(test_file("q.jsonl", nul, sizeof nul - 1), LINES_ANSWER, &error);
    expect_message(questions_next(from, &q, &found, &error), &error, "q.jsonl:1: not JSON: a NUL byte", "a NUL");
    questions_close(from);
    expect(!questions_open("gone.jsonl", LINES_CHOICE, &error) && strstr(error.text, "gone.jsonl"), "%s", error.text);
}

/* -- prompts ---------------------------------------------------------------------------------------- */

static const char *const solved = "{\"question\":\"1\",\"choices\":[\"a\",\"b\"],\"answer\":0}\n"
                                  "{\"question\":\"2\",\"choices\":[\"c\",\"d\"],\"answer\":1}\n"
                                  "{\"question\":\"1\",\"choices\":[\"e\",\"f\"],\"answer\":1}\n"
                                  "{\"question\":\"3\",\"choices\":[\"g\",\"h\"],\"answer\":0}\n"
                                  "{\"question\":\"4\",\"choices\":[\"i\",\"j\"],\"answer\":0}\n";

void eval_shots_text(void) {
    static const struct {
        const char *question, *prompt;
    } cases[] = {
        {"1", "Question: 2\nAnswer: d\n\nQuestion: 3\nAnswer: g\n\nQuestion: 1\nAnswer:"},
        {"2", "Question: 1\nAnswer: a\n\nQuestion: 3\nAnswer: g\n\nQuestion: 2\nAnswer:"},
        {"3", "Question: 1\nAnswer: a\n\nQuestion: 2\nAnswer: d\n\nQuestion: 3\nAnswer:"},
        {"4", "Question: 1\nAnswer: a\n\nQuestion: 2\nAnswer: d\n\nQuestion: 4\nAnswer:"},
    };
    Error error = {0};
    Shots s;
    const char *file = lines_file(solved);
    bool ok = shots_open(&s, file, LINES_CHOICE, 2, &error);
    expect(ok, "%s", error.text);
    for (size_t i = 0; ok && i < sizeof cases / sizeof *cases; i++) {
        Question q = {.question = (char *)(uintptr_t)cases[i].question};
        char *prompt = shots_prompt(&s, &q);
        expect(!strcmp(prompt, cases[i].prompt), "question %s: %s", q.question, prompt);
        free(prompt);
    }
    shots_close(&s);
    expect(shots_open(&s, file, LINES_CHOICE, 3, &error), "%s", error.text);
    shots_close(&s);
    expect_message(shots_open(&s, file, LINES_CHOICE, 4, &error), &error, "take 5 different questions, it has 4",
                   "4 shots");
    expect_message(shots_open(&s, lines_file("\n"), LINES_CHOICE, 0, &error), &error, "holds no question", "none");
}

static int64_t bytes_of(const Tokenizer *t, const int32_t *ids, int64_t n) {
    char *text = must_alloc(n * tokenizer_max_bytes(t) + 1, 1);
    int64_t bytes = tokenizer_decode(t, text, ids, n);
    free(text);
    return bytes;
}

/* As few of the last tokens as hold all of the last bytes, wherever tokens and words begin. */
static void expect_cover(const Tokenizer *t, const int32_t *ids, int64_t n, int64_t bytes) {
    int64_t count = ids_that_cover(t, ids, n, bytes);
    bool enough = count <= n && bytes_of(t, ids + n - count, count) >= bytes;
    bool few = !count || bytes_of(t, ids + n - count + 1, count - 1) < bytes;
    expect(enough && few, "%s: %lld tokens for %lld bytes", tokenizer_name(t), (long long)count, (long long)bytes);
}

void eval_cover(void) {
    static const int32_t special[] = {256, 'a', 'b', 257, 'c'};
    static const int64_t wanted[] = {0, 1, 3, 4}; /* to cover 0, 1, 2, 3 bytes; special tokens have none */
    static const char *const names[] = {"bytes", "tests/fixtures/tokenizer/deepseek-v2.json"};
    const char *text = "Question: How many?\nAnswer: the LORD, 2024 \xe4\xbd\xa0\xe5\xa5\xbd";
    const Config c = {.bos_token_id = 256};
    Error error = {0};
    for (int k = 0; k < 2; k++) {
        int64_t n;
        Tokenizer *t = tokenizer_open(names[k], &error);
        check(t, "%s", error.text);
        int32_t *ids = prompt_ids(&c, t, text, &n);
        int64_t first = tokenizer_adds_bos(t), whole = (int64_t)strlen(text);
        expect(bytes_of(t, ids + first, n - first) == whole, "%s: text became other text", names[k]);
        for (int64_t bytes = 0; bytes <= whole; bytes++) expect_cover(t, ids + first, n - first, bytes);
        for (int64_t bytes = 0; bytes < 4 && k == 0; bytes++)
            expect(ids_that_cover(t, special, 5, bytes) == wanted[bytes], "%lld bytes: %lld tokens", (long long)bytes,
                   (long long)ids_that_cover(t, special, 5, bytes));
        free(ids);
        tokenizer_close(t);
    }
}

void eval_words(void) {
    static const struct {
        const char *file, *text;
        TaskKind kind;
        int64_t shots;
    } cases[] = {
        {"a.jsonl", GOOD, TASK_CHOICE, 3},
        {"b.jsonl", "\n{\"question\":\"q\",\"answer\":\"a\"}", TASK_ANSWER, 3},
        {"c.jsonl", "{\"text\":\"a\"}", TASK_LOSS, 0},
        {"d.txt", GOOD, TASK_LOSS, 0},
        {"e.h5", "not looked at here", TASK_LOSS, 0},
    };
    Config c = {.eval_shots = 3};
    Error error = {0};
    Task task;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = test_file(cases[i].file, cases[i].text, (int64_t)strlen(cases[i].text));
        expect(task_of_word(&task, &c, path, &error), "%s: %s", path, error.text);
        expect(task.kind == cases[i].kind && task.shots == cases[i].shots, "%s: kind %d, %lld shots", path, task.kind,
               (long long)task.shots);
    }
    expect(task_of_word(&task, &c, "needle", &error) && task.kind == TASK_NEEDLE && !*task.path, "%s", task.path);
    expect(task_of_word(&task, &c, "needle:a/b", &error) && task.kind == TASK_NEEDLE && !strcmp(task.path, "a/b"),
           "%s", task.path);
    expect_message(task_of_word(&task, &c, "needles", &error), &error, "needles: there is no such file", "needles");
    const char *path = test_file("f.jsonl", "{\"texts\":\"a\"}", 13);
    expect_message(task_of_word(&task, &c, path, &error), &error, "f.jsonl:1: has neither", "another object");
    path = test_file("f.jsonl", "\n", 1);
    expect_message(task_of_word(&task, &c, path, &error), &error, "holds no line of JSON", "blank lines");
    path = test_file("f.jsonl", "{", 1);
    expect_message(task_of_word(&task, &c, path, &error), &error, "f.jsonl:1: not JSON", "half a line");
    check(disk_make_folder(test_path("set"), &error), "%s", error.text);
    test_file("set/train-00000.h5", "", 0);
    expect(task_of_word(&task, &c, test_path("set"), &error) && strstr(task.path, "set/train"), "%s", task.path);
    test_file("set/validation-00000.h5", "", 0);
    expect(task_of_word(&task, &c, test_path("set"), &error) && strstr(task.path, "set/validation"), "%s", task.path);
    expect(task_of_word(&task, &c, test_path("set/train"), &error) && strstr(task.path, "set/train"), "%s",
           task.path);
}

/* Beside the config file first; shots of its own, or those of all. */
void eval_sets(void) {
    Config c = {.eval_shots = 2, .file = test_path("run.yaml")};
    Error error;
    Task task;
    const char *beside = test_file("q.jsonl", GOOD, (int64_t)strlen(GOOD));
    check(disk_make_folder(test_path("shards"), &error), "%s", error.text);
    test_file("shards/validation-00000.h5", "", 0);
    task_of_set(&task, &c, &(EvalSet){.name = "a", .path = "q.jsonl", .format = "choice", .shots = -1});
    expect(task.kind == TASK_CHOICE && task.shots == 2 && !strcmp(task.path, beside), "%s", task.path);
    task_of_set(&task, &c, &(EvalSet){.name = "a", .path = "Makefile", .format = "answer", .shots = 0});
    expect(task.kind == TASK_ANSWER && task.shots == 0 && !strcmp(task.path, "Makefile"), "%s", task.path);
    task_of_set(&task, &c, &(EvalSet){.name = "a", .path = "shards", .format = "text", .shots = -1});
    expect(!task.text.path && strstr(task.path, "shards/validation"), "%s", task.path);
    task_of_set(&task, &c, &(EvalSet){.name = "a", .path = "*.txt", .format = "text", .shots = -1});
    expect(task.text.path && !strcmp(task.text.path, "*.txt") && task.shots == 0, "%s", task.path);
    task_of_set(&task, &c, &(EvalSet){.name = "a", .path = "", .format = "needle", .shots = -1});
    expect(task.kind == TASK_NEEDLE && !*task.path, "%s", task.path);
}
