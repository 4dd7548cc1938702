/* prompts.h - what `generate` is asked to continue: a text, ids, a file of prompts, or a gap to fill. */
#pragma once
#include "train/commands.h"
#include "train/generator.h"

typedef struct {
    Prompt *prompt; /* each owns its ids */
    char **text;    /* as it was given; NULL where ids were */
    int64_t count;
    bool lines; /* from a file */
} Prompts;

/* Whether the command line asks for one thing, and names files that can be read. */
bool prompts_check(const CommandLine *, Error *);
/* tokenizer: may be NULL with --token-ids. False + a message that names file and line. */
bool prompts_read(Prompts *, const CommandLine *, const Config *, const Tokenizer *, Error *);
void prompts_free(Prompts *);
