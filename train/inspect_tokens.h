/* inspect_tokens.h - what is in token shards. */
#pragma once
#include "train/commands.h"

/* path: a file, or the stem of a row. line: --document and --tokenizer; may be NULL. */
bool inspect_tokens(const char *path, const CommandLine *line, Error *);
