/* run.h - one rank's means: device, kernels, arenas, mesh. Passed to every layer. */
#pragma once
#include "configs/config.h"
#include "kernels/kernels.h"
#include "launch/mesh.h"

/* Capacities in bytes; what `plan` measures and a real run reserves. */
typedef struct {
    int64_t state, acts, scratch, cache, comm, host;
} ArenaBytes;

/* What a step counts besides the loss; the log reads it. Sums over layers and micro-batches. */
typedef struct {
    int64_t routed_tokens; /* tokens x MoE layers */
    int64_t vectors_sent;  /* to destination ranks, own rank included */
    int64_t pairs_dropped;
    int64_t extra_rounds; /* of the exchange, beyond the first */
    int64_t bytes_sent;   /* by the exchange to other ranks, forward and backward */
    int64_t *load;        /* (MoE layers, E) pairs per expert, this rank's tokens; host */
    int moe_layers, experts;
} Stats;

typedef struct Run {
    const Config *config;
    const Kernels *k;
    Device *device;
    Mesh mesh;
    Dtype dtype; /* of weights and activations: from config; F64 in gradient tests */
    Arena state, acts, scratch, cache, comm, host;
    Stats stats;
    bool training;    /* token dropping and balance losses happen only then */
    bool recomputing; /* a forward that was done before: nothing is counted twice */
    bool plan;        /* the device is a plan device */
} Run;

/* A Run borrows config, device and world. On a plan device the capacities are ignored. */
bool run_open(Run *, const Config *, Device *, Comm *world, ArenaBytes, Error *);
void run_close(Run *);
ArenaBytes run_peaks(const Run *);

/* The dtype of statistics, router and gradients: F64 for F64, else F32. */
Dtype run_stat_dtype(const Run *);

/* One step's share of one rank: tokens of whole sequences. All tensors are device memory, N =
 * sequences * sequence_length rows; N may be 0. */
typedef struct {
    Tensor ids;      /* (N) I32                                                           */
    Tensor label;    /* (N) I32: the token to predict at this place, < 0 = not trained on */
    Tensor position; /* (N) I32: rotary position                                          */
    Tensor range;    /* (N, 2) I32: first and end row a token attends to                  */
    Tensor weight;   /* (N) stat: share of this token in the loss (1 / global tokens)     */
    Tensor protect;  /* (sequences) I32: 1 = exempt from token dropping                   */
    int64_t sequences, sequence_length;
    int64_t global_tokens, global_sequences; /* of the whole optimizer step, all ranks    */
} Batch;
