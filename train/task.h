/* task.h - an evaluation by name, and what came out of it.
 *
 * loss: cross-entropy on the windows of a token shard. choice: which of several answers is likeliest. answer: whether
 * what is generated is right. needle: whether a number hidden in a long text is found again. */
#pragma once
#include <limits.h>
#include <stdio.h>

#include "data/tokenizer.h"
#include "train/engine.h"
#include "train/haystack.h"

#include <jansson.h>

typedef enum { TASK_LOSS, TASK_CHOICE, TASK_ANSWER, TASK_NEEDLE } TaskKind;

typedef struct {
    const char *name;
    TaskKind kind;
    char path[PATH_MAX]; /* shard; JSONL; text that the needles are hidden in, "" = sentences made here */
    int64_t shots;
    DataSet text;         /* becomes the shard; a path of NULL: it is there already */
    bool held_out;        /* only what is held out of the text is evaluated; path "" when nothing is */
    const Config *config; /* that asks for it: its eval_* keys, and how the text is prepared */
} Task;

enum { NEEDLE_LENGTHS = 4 };
typedef struct {
    int64_t length[NEEDLE_LENGTHS]; /* tokens of prompt and answer */
    int lengths;
    int64_t each, found[NEEDLE_LENGTHS][HAYSTACK_DEPTHS]; /* of `each` at every length and depth */
} NeedleTable;

typedef struct {
    TaskKind kind;
    double loss, bits_per_byte; /* loss */
    double accuracy;            /* share of items: answers, needles; choice: by log-likelihood a byte of the choice */
    double plain;               /* choice: by log-likelihood alone */
    int64_t items, tokens, cut; /* tokens: computed; cut: items whose beginning did not fit */
    double seconds;
    bool stopped; /* by a signal: the figures are of a part */
    bool finite;  /* false: some log-likelihood was no number */
    NeedleTable needle;
} TaskResult;

/* What tasks compute with. items (rank 0, or NULL) gets a line of JSON for every question. */
typedef struct {
    Engine *engine;
    const Tokenizer *tokenizer;
    FILE *items;
} Exam;

/* What a word of the command line names: needle, needle:TEXT, shards, questions, or text. The word is borrowed. */
bool task_of_word(Task *, const Config *, const char *word, Error *);
/* An evaluation under `eval:` of the config. Paths are relative to the config file or the working folder. */
void task_of_set(Task *, const Config *, const EvalSet *);
/* Makes the shard of a task that has none, in a folder of its own below `folder`. One process does it. */
bool task_prepare(Task *, const Tokenizer *, const char *folder, Error *);

/* Reads all of what a task asks, so that a mistake is told before anything is computed. One process does it. */
bool task_check(const Task *, const Config *, const Tokenizer *, Error *);
/* What an engine must be able to do for tasks of a kind, added to `use`. */
void task_use(TaskKind, const Config *, EngineUse *use);
TaskKind task_kind(const char *format); /* of an evaluation in a config */
/* Collective; the same result on every rank. */
bool task_run(const Task *, const Exam *, TaskResult *, Error *);

/* On rank 0: a warning when prompts lost their beginning. */
void task_warn(const Task *, const TaskResult *, const Config *);

/* Standard error of a share p of n independent items. */
double task_error(double p, int64_t n);
/* Writes one line to exam->items; takes the reference. */
void task_item(const Exam *, json_t *item);

/* The kinds, one file each. */
bool choice_check(const Task *, const Config *, const Tokenizer *, Error *);
bool choice_run(const Task *, const Exam *, TaskResult *, Error *);
bool answer_check(const Task *, const Config *, const Tokenizer *, Error *);
bool answer_run(const Task *, const Exam *, TaskResult *, Error *);
bool answer_matches(const char *reply, const char *right, bool ignore_case); /* exposed for tests */
bool needle_check(const Task *, const Config *, const Tokenizer *, Error *);
bool needle_run(const Task *, const Exam *, TaskResult *, Error *);
