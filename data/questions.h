/* questions.h - questions with known answers, a JSON object a line.
 *
 * choice: question, choices (a list of texts) and answer: the text of a choice, its letter (A, B, ...) or its number
 *         (from 0).
 * answer: question and answer: a text, a number, or a list of such of which each is right.
 * Other fields are passed over. Lines are read one at a time, so a file of any size takes little memory. */
#pragma once
#include "kernels/base.h"

enum { CHOICES_MOST = 26 }; /* as many as there are letters */

typedef enum { LINES_TEXT, LINES_CHOICE, LINES_ANSWER } LinesKind;

typedef struct {
    int64_t line;
    char *question;
    char *choice[CHOICES_MOST]; /* of kind answer: what is right */
    int choices, answer;        /* answer: the right choice; of kind answer 0 */
} Question;
void question_free(Question *);

typedef struct Questions Questions;
Questions *questions_open(const char *file, LinesKind, Error *);
void questions_close(Questions *);
/* The next one; *found false at the end. What is wrong with a line is an error that names it. */
bool questions_next(Questions *, Question *, bool *found, Error *);

/* What the lines of a file are, by the fields of the first. */
bool questions_recognise(const char *file, LinesKind *, Error *);
