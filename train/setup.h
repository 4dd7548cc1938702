/* setup.h - what stands between a config and its data: tokenizer, prepared shards, loader. */
#pragma once
#include "data/loader.h"
#include "data/prepare.h"
#include "launch/comm.h"

typedef struct {
    Tokenizer *tokenizer;
    Prepared sets[CONFIG_MAX_SETS]; /* as config->data; zero for those that training does not use */
    Loader *loader;                 /* NULL when only evaluating */
    bool stopped;                   /* a signal came while sets were prepared */
} Data;

/* Where the config's tokenizer lies: with a model that is not there any more it is in the checkpoint to go on from. */
const char *setup_tokenizer_place(const Config *);
/* The config's tokenizer; what the config leaves to it (vocab_size, bos, eos) is filled in. */
bool setup_tokenizer(Config *, Tokenizer **, Error *);
/* A warning where a published model came without its tokenizer and texts are read as bytes. Once nothing is refused. */
void setup_warn_of_bytes(const Config *);
/* Where the prepared shards of a config lie. malloc'd. */
char *setup_data_folder(const Config *);

/* Whether the files of every set that is used are there. */
bool setup_data_is_there(const Config *, const Tokenizer *, Error *);
/* Collective: the ranks prepare every set that is used and missing, then open the mixture's shards. */
bool setup_data(Data *, const Config *, Comm *world, Error *);
void setup_data_close(Data *);
