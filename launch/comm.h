/* comm.h - collectives over the ranks of one axis. Every rank of the Comm must make the same calls
 * in the same order. Implementations: comm_mpi.c, comm_plan.c (plays the other ranks: they send
 * what this rank sends), later NCCL.
 *
 * Nothing here adds floating point numbers in an order that depends on timing or on the number of
 * ranks: sums over ranks go through comm_sum, which adds in rank order. */
#pragma once
#include "kernels/arena.h"

typedef struct Comm Comm;
typedef enum { REDUCE_MAX, REDUCE_MIN, REDUCE_SUM } Reduce;

typedef struct {
    /* bytes of slice i go to / come from rank i; offsets are derived (slices lie back to back).
     * Device memory. start may return early; at most one exchange is in flight on a Comm. */
    void (*exchange_start)(Comm *, void *recv, const int64_t *recv_bytes, const void *send,
                           const int64_t *send_bytes);
    void (*exchange_finish)(Comm *);
    /* every rank's `bytes` behind each other in rank order, device memory */
    void (*gather_all)(Comm *, void *recv, const void *send, int64_t bytes);
    /* host memory */
    void (*host_exchange)(Comm *, void *recv, const int64_t *recv_bytes, const void *send, const int64_t *send_bytes);
    void (*host_gather_all)(Comm *, void *recv, const void *send, int64_t bytes);
    void (*host_broadcast)(Comm *, void *data, int64_t bytes, int root);
    void (*barrier)(Comm *);
    /* the Comm of these n ranks, this one among them; every rank calls it with its own part, and the parts
     * do not overlap */
    Comm *(*part)(Comm *, const int *ranks, int n);
    void (*close)(Comm *);
} CommOps;

struct Comm {
    const CommOps *ops;
    int rank, size;
    void *own;
};

/* Host reductions over the axis, same bits on every rank (gathered, reduced in rank order). */
void comm_reduce_i64(Comm *, int64_t *values, int n, Reduce);
void comm_reduce_f64(Comm *, double *values, int n, Reduce);
bool comm_all_agree(Comm *, bool mine); /* true when true on every rank */

/* x = sum over the axis in rank order; buffers from `buffer` (mark and rewind inside). `kernels`
 * of buffer->device do the adding. Bytes moved: 2 (size - 1) / size of x. */
void comm_sum(Comm *, Tensor x, Arena *buffer);

Comm *comm_open_mpi(void);    /* MPI_COMM_WORLD; launch/run.c has initialised MPI */
Comm *comm_open_single(void); /* one rank, no MPI needed */
Comm *comm_open_plan(int rank, int size);
