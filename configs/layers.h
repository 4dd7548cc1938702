/* layers.h - the sources of a configuration, weakest first. Used inside configs/ only. */
#pragma once
#include "configs/keys.h"

enum { LAYERS_MAX = 512, LAYERS_MAX_BASES = 32 };

typedef struct {
    Pool *pool;
    const Node *layer[LAYERS_MAX];
    int n, n_files;        /* the first n_files come from files, the others from the command line */
    const char *init_from; /* where it was found, NULL when there is none */
    const char *stand_in;  /* a checkpoint that has what init_from is no more there to give, else NULL */
    const char *tokenizer; /* where its file was found, NULL when it is not a file */
    const char *chain[LAYERS_MAX_BASES]; /* of base: files being read, as real paths */
    char *warnings;
    Error *error;
} Layers;

bool layers_add_file(Layers *, const char *file);                      /* with its base: */
bool layers_add_text(Layers *, const char *text, const char *name);    /* YAML without base: */
bool layers_add_hf_text(Layers *, const char *text, const char *path); /* of a config.json; path for messages */
void layers_add_tokenizer(Layers *, const char *folder);
bool layers_add_overrides(Layers *, const char *const *overrides, int n);
bool layers_add_model(Layers *, const char *path); /* config.json, or its folder; weakest */
bool layers_add_init_from(Layers *);               /* the model that the layers name */
void layers_find_tokenizer(Layers *);              /* sets l->tokenizer */
/* The first n layers as one tree. */
Node *layers_merge(Layers *, int n);
/* An override that something stronger sets again changes nothing: an error. */
bool layers_check_effect(Layers *, const Node *before, const Node *root);

/* A name as seen from the folder of the file that mentions it; the name itself where that changes nothing. */
const char *path_beside(Pool *, const char *file, const char *name);
/* Unknown keys and wrong values of one layer (config.c). */
bool layer_check(const Node *layer, Error *);
/* False + message for sections of CONFIG.md that this version cannot run yet. */
bool layer_key_is_known(const Node *item, const char *section, Error *);
