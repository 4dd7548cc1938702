/* comm_plan.c - one process plays all ranks: the others send what this rank sends, and device
 * memory, which a plan never has, is not touched. */
#include <stdlib.h>
#include <string.h>

#include "launch/comm.h"

static void plan_exchange(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                          const int64_t *send_bytes) {
    (void)c, (void)recv, (void)recv_bytes, (void)send, (void)send_bytes;
}
static void plan_gather_all(Comm *c, void *recv, const void *send, int64_t bytes) {
    (void)c, (void)recv, (void)send, (void)bytes;
}

/* What rank r sends us is what we send r, as far as it goes. */
static void plan_host_exchange(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                               const int64_t *send_bytes) {
    char *to = recv;
    const char *from = send;
    for (int r = 0; r < c->size; r++) {
        memset(to, 0, (size_t)recv_bytes[r]);
        memcpy(to, from, (size_t)min_i64(recv_bytes[r], send_bytes[r]));
        to += recv_bytes[r];
        from += send_bytes[r];
    }
}
static void plan_host_gather_all(Comm *c, void *recv, const void *send, int64_t bytes) {
    for (int r = 0; r < c->size; r++) memcpy((char *)recv + r * bytes, send, (size_t)bytes);
}
static void plan_broadcast(Comm *c, void *data, int64_t bytes, int root) {
    (void)c, (void)data, (void)bytes, (void)root;
}
static void plan_nothing(Comm *c) { (void)c; }
static void plan_close(Comm *c) { free(c); }

static Comm *plan_part(Comm *c, const int *ranks, int n) {
    int rank = 0;
    while (rank < n && ranks[rank] != c->rank) rank++;
    return comm_open_plan(rank, n);
}

Comm *comm_open_plan(int rank, int size) {
    static const CommOps ops = {.exchange_start = plan_exchange,
                                .exchange_finish = plan_nothing,
                                .gather_all = plan_gather_all,
                                .host_exchange = plan_host_exchange,
                                .host_gather_all = plan_host_gather_all,
                                .host_broadcast = plan_broadcast,
                                .barrier = plan_nothing,
                                .part = plan_part,
                                .close = plan_close};
    Comm *c = must_alloc(1, sizeof *c);
    *c = (Comm){.ops = &ops, .rank = rank, .size = size};
    return c;
}
