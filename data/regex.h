/* regex.h - the regular expressions of published tokenizers: written for Oniguruma, run by PCRE2.
 *
 * What the two read differently is translated (white space, words, scripts) or refused by name, so that matches are
 * the same. Threads may share a Regex. */
#pragma once
#include "kernels/base.h"

typedef struct Regex Regex;

/* NULL + message, with the pattern. An expression that can match nothing at all is refused. */
Regex *regex_open(const char *pattern, Error *);
void regex_close(Regex *);

/* What one thread matches with: taken once, used for any number of searches. */
typedef struct RegexScratch RegexScratch;
RegexScratch *regex_scratch_open(void);
void regex_scratch_close(RegexScratch *);

/* The first match in text[from, bytes): 1 and *begin, *end; 0 when there is none; -1 when the limits of matching were
 * reached. Text is valid UTF-8, and all that the expression sees. */
int regex_find(const Regex *, RegexScratch *, const char *text, int64_t bytes, int64_t from, int64_t *begin,
               int64_t *end);
