/* render.h - ids as a person can read them: control tokens by name, control characters escaped. */
#pragma once
#include <stdio.h>

#include "data/tokenizer.h"

/* Characters that show nothing, or change how others are shown, appear as \n, \t, \x1b, \u{200f}; a backslash as two;
 * bytes of unfinished characters as \xe2; control tokens as <name>. */
typedef struct {
    FILE *to;
    const Tokenizer *tokenizer;
    bool borders; /* a | before each token; a | of the text is then \| */
    bool lines;   /* a line of the text ends the line */
    char *text;   /* own */
    char held[4]; /* of an unfinished character, when there are no borders */
    int n;
} Render;

void render_open(Render *, FILE *, const Tokenizer *, bool borders, bool lines);
void render_ids(Render *, const int32_t *ids, int64_t n);
void render_close(Render *);
