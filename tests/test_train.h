/* test_train.h - what the tests of training share. */
#pragma once
#include "tests/test.h"
#include "train/engine.h"

/* A tiny model with every kind of layer on random tokens; key: overrides, up to the first NULL. */
void small_config(Config *, const char *const *key, int keys, int ranks, int ep);
bool small_fill(void *config, int64_t number, StepRow, Error *); /* a StepFill */

void test_layouts(void), test_nan(void), test_plan_walks(void), test_plan_equals_run(void), test_poison(void);
