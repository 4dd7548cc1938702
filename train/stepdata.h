/* stepdata.h - the sequences of one optimizer step that this rank computes, on the host, and their
 * way to the device one micro-batch at a time.
 *
 * Micro-batch j of a step is sequences [j * micro, (j + 1) * micro) of the global batch on every
 * layout; ranks take them in turn. Every rank walks the same number of micro-batches, the last ones
 * may be short or empty. Memory comes from run->host and run->state at open. */
#pragma once
#include "launch/run.h"

typedef struct {
    int64_t sequence_length, micro;          /* tokens a sequence, sequences a micro-batch             */
    int64_t capacity;                        /* sequences of this rank in one step, at most            */
    int64_t count;                           /* sequences of this rank in this step                    */
    int64_t micros;                          /* micro-batches that every rank walks                    */
    int64_t global_sequences, global_tokens; /* of the step, all ranks; tokens that are trained on */
    int32_t *ids, *label, *position, *first; /* (capacity, sequence_length)                        */
    int64_t *number;                         /* (capacity) number of each sequence in the run          */
    int32_t *range, *protect;                /* staging of one micro-batch                             */
    float *weight;
    double *weight_f64;
    Batch batch; /* device tensors of `micro` sequences                    */
} StepData;

/* sequences: of a global batch, at most. */
void stepdata_open(StepData *, Run *, int64_t sequence_length, int64_t micro, int64_t sequences);

/* Begins a step of `sequences` sequences of which the first has the number `first`: calls fill(own, number, row) for
 * each that is this rank's; row points into the host arrays. False as soon as fill says so, on this rank alone. */
typedef struct {
    int32_t *ids, *label, *position, *first;
} StepRow;
typedef bool (*StepFill)(void *own, int64_t number, StepRow row, Error *);
bool stepdata_fill(StepData *, Run *, int64_t first, int64_t sequences, StepFill, void *own, Error *);
/* Collective, after stepdata_fill succeeded everywhere: counts the tokens of all ranks. */
void stepdata_count(StepData *, Run *);

/* Puts micro-batch i of this rank on the device; the returned batch may have no sequences. */
Batch stepdata_batch(StepData *, Run *, int64_t i);
