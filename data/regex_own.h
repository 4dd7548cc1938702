/* regex_own.h - for regex.c and regex_unicode.c. */
#pragma once
#include "data/regex.h"

#include <stdio.h>

/* Writes, as parts of a class, the characters of a property that PCRE2's tables may be too old to know; to NULL: only
 * counts. Returns how many ranges. */
int regex_assigned(FILE *to, const char *property, int length);
