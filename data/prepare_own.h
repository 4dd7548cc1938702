/* prepare_own.h - what the files of prepare share. */
#pragma once
#include "data/encode.h"
#include "data/prepare.h"
#include "data/source.h"
#include "data/split.h"

typedef struct {
    Prepared *out;
    Comm *world;
    bool has_keys; /* the set stands in the config, under data */
    Encoding e;
    SourceFiles source;
    Parts parts;
    char *settings; /* what ids depend on besides the files */
    char *folder;   /* where sets lie */
    char *final;    /* this one, when it is whole */
    char *making;   /* where its parts lie until then */
    char *shards;   /* in it: the set that is being made */
} Job;

/* bos, eos, files, parts, places. */
bool job_open(Job *, Prepared *, const Config *, const DataSet *, const Tokenizer *, const char *folder, Comm *,
              Error *);
/* Collective: all ranks see the same source. */
bool job_agrees(Job *, Error *);
void job_close(Job *);

/* Collective: makes the parts that are missing. False also when a signal came, with EXIT_RETRY. */
bool prepare_parts(Job *, Error *);
/* Collective: the shards of the finished parts; the same of a signal. */
bool prepare_shards(Job *, Error *);
