/* test_eval.h - what the tests of evaluations share; test_eval.c lists them all. */
#pragma once
#include "train/engine.h"

/* Calls body on every rank with an engine in F64 with random weights, vocabulary 258, sequence_length 48. */
typedef void (*EvalBody)(Engine *, void *own);
void eval_on_ranks(int ranks, int ep, EvalBody body, void *own);

/* test_eval_generate.c: replies and haystacks */
void eval_matches(void), eval_reply_json(void), eval_haystacks(void), eval_answers(void), eval_long_prompts(void);

/* test_eval_questions.c: files of questions, prompts */
void eval_good_questions(void), eval_bad_questions(void), eval_shots_text(void), eval_cover(void), eval_words(void),
    eval_sets(void);
