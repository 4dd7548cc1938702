/* test_tokenizer.h - small tokenizer.json files for tests. */
#pragma once
#include "data/tokenizer.h"
#include "data/tokenizer_file.h"
#include "tests/test_data.h"

/* The 256 bytes, "th" 256, "he" 257, "the" 258, "Ġt" 259, "Ġthe" 260, "aa" 261, "aaaa" 262, with what is asked for. */
typedef struct {
    const char *pretokenizer, *normalizer, *added, *model,
        *parts; /* JSON; NULL: ByteLevel, null, none, nothing more */
} Recipe;

char *recipe_text(const Recipe *, size_t *bytes); /* malloc'd */
Tokenizer *recipe_open(const Recipe *);           /* written to test_path("tokenizer.json") */
extern const char recipe_added[];                 /* <|x|>, <|x|>y, the with an accent, [S]: 300 to 303 */

#define SPLIT(pattern, behavior, invert)                                                                             \
    "{\"type\":\"Split\",\"pattern\":" pattern ",\"behavior\":\"" behavior "\",\"invert\":" invert "}"
#define SEQUENCE(steps)                                                                                              \
    "{\"type\":\"Sequence\",\"pretokenizers\":[" steps ",{\"type\":\"ByteLevel\",\"use_regex\":false}]}"
#define REGEX(r) "{\"Regex\":\"" r "\"}"
