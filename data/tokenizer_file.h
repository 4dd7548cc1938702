/* tokenizer_file.h - a tokenizer.json, and the tokenizer_config.json beside it, as far as they decide ids. */
#pragma once
#include "data/added_tokens.h"
#include "data/bpe.h"
#include "data/normalize.h"
#include "data/pretokenizer.h"

typedef struct {
    char *path; /* of the tokenizer.json */
    Bpe *bpe;
    Pretokenizer *pretokenizer;
    AddedTokens added;
    Normalizer normalizer;
    int32_t bos, eos; /* -1 = none */
    bool adds_bos, adds_eos;
    uint64_t hash;
} TokenizerFile;

/* name: a tokenizer.json or a folder that holds one. tokenizer_config.json says what bos and eos are and whether they
 * are added; else the post-processor does; else they are the family's (<｜begin▁of▁sentence｜>,
 * <｜end▁of▁sentence｜>) where the file has them, and bos is added, as published. */
bool tokenizer_file_read(TokenizerFile *, const char *name, Error *);
void tokenizer_file_free(TokenizerFile *);

/* The tokenizer of the bytes of a tokenizer.json alone; `name` is for messages. */
bool tokenizer_file_parse(TokenizerFile *, const char *text, int64_t bytes, const char *name, Error *);
