/* shots.h - the questions of a file, and what a model is shown before it is asked one: solved questions of the same file.
 *
 *   Question: {question}\nAnswer: {right answer}\n\n     for each of the shots
 *   Question: {question}\nAnswer:                        and what is scored or generated begins with a space
 *
 * The shots are the first `shots` questions of the file whose text is not that of the question asked, so a question
 * never sees its own answer; which they are depends on nothing else. */
#pragma once
#include "data/questions.h"
#include "data/tokenizer.h"
#include "train/engine.h"

typedef struct {
    Question *question; /* the first shots + 1 of the file with different texts */
    int64_t count, shots;
    Questions *asked; /* all of the file, one after the other */
} Shots;

/* False + message; what was opened is closed again. */
bool shots_open(Shots *, const char *file, LinesKind, int64_t shots, Error *);
void shots_close(Shots *);
/* The text above, malloc'd. */
char *shots_prompt(const Shots *, const Question *);

/* Ids of a text as a document begins: after bos where the tokenizer adds it. What the text spells never becomes a
 * control token. malloc'd. */
int32_t *prompt_ids(const Config *, const Tokenizer *, const char *text, int64_t *n);
/* How many of the last of n ids it takes to cover the last `bytes` bytes of their text. */
int64_t ids_that_cover(const Tokenizer *, const int32_t *ids, int64_t n, int64_t bytes);
