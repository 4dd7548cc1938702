/* comm_mpi.c - collectives over MPI: point-to-point messages in rank order, so that a message may
 * be larger than an int counts and the order of nothing depends on MPI's choice of algorithm. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "launch/comm.h"
#include "launch/watchdog.h"

enum { CHUNK = 1 << 30, TAG = 7 }; /* bytes of one message at most */

typedef struct {
    MPI_Comm mpi;
    MPI_Request *request;
    int pending, capacity;
} MpiComm;

#define mpi_check(call) check((call) == MPI_SUCCESS, "%s failed", #call)

static MPI_Request *next_request(MpiComm *m) {
    if (m->pending == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 64;
        m->request = must_realloc(m->request, m->capacity, sizeof *m->request);
    }
    return &m->request[m->pending++];
}

static void post(MpiComm *m, char *recv, const char *send, int64_t bytes, int peer) {
    for (int64_t done = 0; done < bytes; done += CHUNK) {
        int n = (int)min_i64(bytes - done, CHUNK);
        if (recv)
            mpi_check(MPI_Irecv(recv + done, n, MPI_BYTE, peer, TAG, m->mpi, next_request(m)));
        else
            mpi_check(MPI_Isend(send + done, n, MPI_BYTE, peer, TAG, m->mpi, next_request(m)));
    }
}

static int64_t offset_of(const int64_t *bytes, int rank) {
    int64_t offset = 0;
    for (int r = 0; r < rank; r++) offset += bytes[r];
    return offset;
}

static void mpi_exchange_start(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                               const int64_t *send_bytes) {
    MpiComm *m = c->own;
    check(!m->pending, "an exchange is already in flight");
    for (int i = 1; i < c->size; i++) { /* each rank starts with its own neighbour */
        int from = (c->rank + c->size - i) % c->size, to = (c->rank + i) % c->size;
        post(m, (char *)recv + offset_of(recv_bytes, from), NULL, recv_bytes[from], from);
        post(m, NULL, (const char *)send + offset_of(send_bytes, to), send_bytes[to], to);
    }
    check(recv_bytes[c->rank] == send_bytes[c->rank], "a rank sends itself %lld bytes and expects %lld",
          (long long)send_bytes[c->rank], (long long)recv_bytes[c->rank]);
    memcpy((char *)recv + offset_of(recv_bytes, c->rank), (const char *)send + offset_of(send_bytes, c->rank),
           (size_t)send_bytes[c->rank]);
}

static void mpi_exchange_finish(Comm *c) {
    MpiComm *m = c->own;
    watchdog_enter("exchange");
    mpi_check(MPI_Waitall(m->pending, m->request, MPI_STATUSES_IGNORE));
    watchdog_leave();
    m->pending = 0;
}

static void mpi_host_exchange(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                              const int64_t *send_bytes) {
    mpi_exchange_start(c, recv, recv_bytes, send, send_bytes);
    mpi_exchange_finish(c);
}

static void mpi_gather_all(Comm *c, void *recv, const void *send, int64_t bytes) {
    MpiComm *m = c->own;
    watchdog_enter("gather");
    if (bytes <= CHUNK) {
        int n = (int)bytes;
        mpi_check(MPI_Allgather(send, n, MPI_BYTE, recv, n, MPI_BYTE, m->mpi));
    } else {
        for (int i = 1; i < c->size; i++) {
            int from = (c->rank + c->size - i) % c->size, to = (c->rank + i) % c->size;
            post(m, (char *)recv + from * bytes, NULL, bytes, from);
            post(m, NULL, send, bytes, to);
        }
        memcpy((char *)recv + c->rank * bytes, send, (size_t)bytes);
        mpi_exchange_finish(c);
    }
    watchdog_leave();
}

static void mpi_broadcast(Comm *c, void *data, int64_t bytes, int root) {
    watchdog_enter("broadcast");
    for (int64_t done = 0; done < bytes; done += CHUNK)
        mpi_check(MPI_Bcast((char *)data + done, (int)min_i64(bytes - done, CHUNK), MPI_BYTE, root,
                            ((MpiComm *)c->own)->mpi));
    watchdog_leave();
}

static void mpi_barrier(Comm *c) {
    watchdog_enter("barrier");
    mpi_check(MPI_Barrier(((MpiComm *)c->own)->mpi));
    watchdog_leave();
}

static Comm *wrap(MPI_Comm mpi);

static Comm *mpi_part(Comm *c, const int *ranks, int n) {
    MPI_Comm part;
    int key = 0;
    while (key < n && ranks[key] != c->rank) key++;
    mpi_check(MPI_Comm_split(((MpiComm *)c->own)->mpi, ranks[0], key, &part));
    return wrap(part);
}

static void mpi_close(Comm *c) {
    MpiComm *m = c->own;
    if (m->mpi != MPI_COMM_WORLD) MPI_Comm_free(&m->mpi);
    free(m->request);
    free(m);
    free(c);
}

static Comm *wrap(MPI_Comm mpi) {
    static const CommOps ops = {.exchange_start = mpi_exchange_start,
                                .exchange_finish = mpi_exchange_finish,
                                .gather_all = mpi_gather_all,
                                .host_exchange = mpi_host_exchange,
                                .host_gather_all = mpi_gather_all,
                                .host_broadcast = mpi_broadcast,
                                .barrier = mpi_barrier,
                                .part = mpi_part,
                                .close = mpi_close};
    Comm *c = must_alloc(1, sizeof *c);
    MpiComm *m = must_alloc(1, sizeof *m);
    m->mpi = mpi;
    *c = (Comm){.ops = &ops, .own = m};
    mpi_check(MPI_Comm_rank(mpi, &c->rank));
    mpi_check(MPI_Comm_size(mpi, &c->size));
    return c;
}

Comm *comm_open_mpi(void) { return wrap(MPI_COMM_WORLD); }
