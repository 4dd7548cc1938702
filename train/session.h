/* session.h - from a config to an engine with weights: device, ranks, memory that was planned and
 * checked against the machine, then parameters from a folder, a checkpoint or a seed. */
#pragma once
#include "train/checkpoint.h"
#include "train/engine.h"

typedef struct {
    const Config *config;
    Device *device;
    Comm *world;
    Engine engine;
    Plan plan;
} Session;

/* All ranks of the job, or this process alone. */
Comm *session_world(void);
/* Collective, before session_open: whether this rank could read its config and what goes with it, on its own machine.
 * False + the message of the first rank that could not, and the exit code that it gave. Session is zero at first. */
bool session_join(Session *, bool mine, int *code, Error *);

/* Collective over all ranks of the job. False + the same message on every rank. */
bool session_open(Session *, const Config *, EngineUse, Error *);
void session_close(Session *);

/* MODEL as people give it: a Hugging Face folder, a checkpoint, or a run folder (its newest whole checkpoint). */
typedef enum { MODEL_HF, MODEL_CHECKPOINT } ModelKind;
typedef struct {
    ModelKind kind;
    char path[1024];
    bool verified; /* a checkpoint that was chosen by reading all of it */
} ModelPath;
bool model_find(const char *given, ModelPath *, Error *);
/* Collective: rank 0 finds it for all, since a run may save or remove a checkpoint meanwhile. Fails as session_join. */
bool session_find(Session *, const char *given, ModelPath *, int *code, Error *);
/* The config of a model with key=value on top. Warnings as config_load. */
bool model_config(Config *, const ModelPath *, const char *const *overrides, int n, int ranks, char **warnings,
                  Error *);
/* Collective. Fills parameters; progress (may be NULL) is zero for a Hugging Face folder. */
bool session_load(Session *, const ModelPath *, Progress *, Error *);

/* Memory this machine can still give, all ranks on it together. */
int64_t machine_memory_available(void);
