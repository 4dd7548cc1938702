/* test.h - the smallest test frame that serves: named cases in tables, one binary.
 *
 * Each tests/test_*.c defines `const TestCase NAME_tests[]` ended by {0}; tests/main.c lists them.
 * `build/tests/run` runs all, `build/tests/run kernels` those whose suite/name contains the word.
 * The last line is "N passed, N failed". Tests that need several ranks are scripts or forks. */
#pragma once
#include "kernels/base.h"

typedef struct {
    const char *name;
    void (*run)(void);
} TestCase;

/* Counts a failure and prints where; the test goes on. */
#define expect(condition, ...) ((condition) ? (void)0 : test_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))
void test_failed(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A fresh folder under build/ that is emptied at the start of each test. */
const char *test_folder(void);
