/* trainer.h - one training run: everything that `dsv2 train` holds between its first and last step. */
#pragma once
#include "train/commands.h"
#include "train/log.h"
#include "train/run_folder.h"
#include "train/session.h"
#include "train/setup.h"
#include "train/tasks.h"

typedef struct {
    Config config;
    Session session;
    Data data;
    Tasks tasks; /* evaluations */
    RunFolder folder;
    ModelPath source;          /* what the weights came from; path "": they are random */
    Log *log;                  /* rank 0 */
    Checkpointer *checkpoints; /* NULL: nothing is saved */
    Companions companions;     /* rank 0: what checkpoints hold beside tensors */
    char *config_text;         /* the dump that checkpoints carry */
    Progress progress;         /* up to the last step taken */
    int64_t steps, tokens;     /* of the whole run */
    int64_t warm;              /* tokens of the warm-up */
    double begin, peak;        /* clock at the first step; FLOP/s of a rank's matrix products, 0 = not known */
    int64_t first_step;        /* of this process */
    int failed_saves;          /* in a row */
    bool fresh;                /* the command has --fresh */
    bool owes_evaluation;      /* of the step it resumes from, before which it was stopped */
} Trainer;

/* Collective. Everything up to the first step: config, data, memory, folder, weights. False + message and the exit
 * code that goes with it. */
bool trainer_open(Trainer *, const CommandLine *, int *code, Error *);
void trainer_close(Trainer *);
/* From the step after progress to the last one; the exit code. */
int train_loop(Trainer *, Error *);
bool evaluation_due(const Trainer *); /* after step progress.step */
/* Mean loss of the first batch before any step, forward only: beside what to expect. */
bool print_first_loss(Trainer *, Error *);

/* The lines above the table: changed, model, layout, balance, memory, disk, data (CONFIG section 4). */
void banner_print(const Trainer *, const CommandLine *);
void banner_memory(const Plan *);

/* Model FLOPs of a token, forward and backward: 6 for each activated weight but the embedding's, and the causal half of
 * attention; recomputation is not counted. */
double model_flops_per_token(const Config *);
