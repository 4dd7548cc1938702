/* engine.h - a model on this rank with all that computing with it needs: what one micro-batch, one
 * step, one evaluation do. The same functions run on a plan device, which is how a run knows its
 * memory before its first step: plan and run cannot disagree. */
#pragma once
#include "model/model.h"
#include "train/decoder.h"
#include "train/stepdata.h"

typedef struct { /* what will be asked of an engine */
    bool training, optimizer;
    int64_t sequence_length, micro, sequences; /* of a step: tokens a sequence; sequences a micro-batch and in all */
    int64_t logits_rows;                       /* rows of logits that are read at once; 0 = none */
    bool scores;                               /* engine_score will be called */
    CacheUse cache;                            /* generate will be called */
    bool saves;                                /* checkpoints will be written */
    bool double_precision;                     /* F64 on backend ref, for gradient tests */
} EngineUse;

typedef struct {
    Run run;
    Model model;
    ModelActs acts;
    StepData data;
    Decoder decoder; /* none without use.cache */
    Tensor norm_sum; /* (1) F64, device */
    Tensor logits;   /* (logits_rows, V) stat, device */
    Tensor scores;   /* (micro * sequence_length) stat, device; none when not asked for */
    EngineUse use;
} Engine;

typedef struct {       /* what an optimizer step tells */
    double loss;       /* cross-entropy a token, all ranks */
    double balance[3]; /* L / alpha, mean over layers and sequences; all ranks */
    double grad_norm; /* before clipping; NaN without an optimizer, for which it would be a pass over all gradients */
    bool finite;
} StepResult;

/* Opens device and arenas: the Engine owns its Run. On a plan device `bytes` is ignored. */
bool engine_open(Engine *, const Config *, Device *, Comm *world, ArenaBytes bytes, EngineUse, Error *);
void engine_close(Engine *);

/* Loss and gradients of the step in engine->data, summed over ranks and micro-batches. */
StepResult engine_gradients(Engine *);
/* Clips and updates. */
typedef struct {
    double learning_rate;
    int64_t adam_step;
    void (*before)(void *, int);
    void *own;
} EngineUpdate;
void engine_update(Engine *, double grad_norm, EngineUpdate);
/* Cross-entropy summed over the tokens of engine->data, forward only; the same on every rank. */
double engine_evaluate(Engine *);
/* -log p of each label of engine->data, forward only: of this rank's sequences, in the order they were filled, 0 where
 * there is no label. */
void engine_score(Engine *, double *to);
/* Logits of rows [first, first + n) of the only micro-batch in engine->data, to the host: (n, V) doubles. */
void engine_logits(Engine *, int64_t first, int64_t n, double *to);
/* Values of a contiguous float tensor, on the host. */
void tensor_to_doubles(double *to, Tensor, Run *);

/* -- what a step will take ---------------------------------------------------------------------- */
typedef struct {
    ArenaBytes arenas;
    int64_t workspace; /* of the backend */
    int64_t parameters, activated;
    int64_t weights, gradients, optimizer; /* bytes of the state arena, this rank */
    double flops;                          /* of a step, this rank, all kernels */
    double exchange_bytes;                 /* of a step, this rank, balanced routing, to other ranks */
    double sync_bytes;                     /* of a step, this rank: gradient sums */
} Plan;

/* Runs everything once on a plan device as rank 0 of `ranks`, which has the most to do. */
bool engine_plan(Plan *, const Config *, int ranks, EngineUse, Error *);
int64_t plan_total(const Plan *);
/* What a training run of this config asks of its engine. */
EngineUse engine_use_training(const Config *);
