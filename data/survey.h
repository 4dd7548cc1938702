/* survey.h - what a set would become, without writing anything: `prepare --dry-run`.
 *
 * Memory is bounded: of a large source only parts that are spread evenly over it are read, and
 * duplicates are looked for among documents whose hash falls to a share that is halved whenever they are too many. */
#pragma once
#include "data/prepare.h"

enum { SURVEY_ROWS = 3, SURVEY_ROW_TOKENS = 96, SURVEY_BYTES = 1 << 30 };

typedef struct {
    int64_t documents, tokens, longest; /* longest: tokens of a document */
    int64_t characters, replaced;       /* replaced: U+FFFD, which stands for what was lost */
    int64_t duplicates, compared;       /* of that many documents */
    int64_t compared_share;             /* one of so many documents was compared; 1 = all */
    SourceCounts source;
    int64_t bytes, bytes_read; /* of files */
    int64_t files;
    char bad[BAD_NAMED][BAD_TEXT];
    int32_t row[SURVEY_ROWS]
               [SURVEY_ROW_TOKENS];  /* how some documents begin: the first, one in the middle, a late one */
    int64_t row_tokens[SURVEY_ROWS]; /* shown of each; 0 = there is none */
} Survey;

/* Collective; the same figures on every rank. most_bytes: of files that are read, about (SURVEY_BYTES). Not for format tokens. Bad lines are counted, however many. */
bool survey_set(Survey *, const Config *, const DataSet *, const Tokenizer *, int64_t most_bytes, Comm *world,
                Error *);
