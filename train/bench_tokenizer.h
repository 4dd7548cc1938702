/* bench_tokenizer.h - speed of a tokenizer on texts, and random strings there and back. */
#pragma once
#include "data/tokenizer.h"
#include "train/commands.h"

/* Is the first input a tokenizer.json, or a folder that holds one? */
bool bench_is_tokenizer(const CommandLine *);
/* Rows for line->input[0] on the files of line->input[1] (else data/sample). Exit code. */
int bench_tokenizer(const CommandLine *);

/* How many of `count` strings of random characters of all of Unicode decode(encode()) does not give back. */
int64_t tokenizer_changed_strings(const Tokenizer *, int64_t count);
