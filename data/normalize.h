/* normalize.h - Unicode's normal forms, for tokenizers that ask for one. */
#pragma once
#include "kernels/base.h"

typedef enum { NORMALIZE_NOT, NORMALIZE_NFC, NORMALIZE_NFD, NORMALIZE_NFKC, NORMALIZE_NFKD } Normalizer;

/* The normal form of valid UTF-8, malloc'd and ended by a NUL; *size: its bytes, at most normalize_growth times as
 * many. NULL where memory or the text's length does not allow it. */
char *normalize(Normalizer, const char *text, int64_t bytes, int64_t *size);
int64_t normalize_growth(Normalizer);
