/* ranks.c - see ranks.h. A collective is: show what you send, wait for all, take what is yours,
 * wait for all again, so that nobody reuses memory that somebody still reads. */
#include "tests/ranks.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct Group {
    pthread_barrier_t barrier;
    const char *send[RANKS_MOST];
    int64_t send_bytes[RANKS_MOST][RANKS_MOST]; /* [from][to] */
    struct Group *part[RANKS_MOST];             /* by its first rank, while ranks form parts */
} Group;

typedef struct { /* one rank's end of a group */
    Group *group;
    char *recv; /* of the exchange in flight */
    int64_t recv_bytes[RANKS_MOST];
} End;

static void meet(const Comm *c) { pthread_barrier_wait(&((End *)c->own)->group->barrier); }

static void thread_exchange_start(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                                  const int64_t *send_bytes) {
    End *end = c->own;
    Group *g = end->group;
    check(!g->send[c->rank], "an exchange is already in flight");
    g->send[c->rank] = send;
    memcpy(g->send_bytes[c->rank], send_bytes, (size_t)c->size * sizeof *send_bytes);
    memcpy(end->recv_bytes, recv_bytes, (size_t)c->size * sizeof *recv_bytes);
    end->recv = recv;
}

static void thread_exchange_finish(Comm *c) {
    End *end = c->own;
    Group *g = end->group;
    char *to = end->recv;
    meet(c);
    for (int from = 0; from < c->size; from++) {
        const char *data = g->send[from];
        for (int r = 0; r < c->rank; r++) data += g->send_bytes[from][r];
        check(g->send_bytes[from][c->rank] == end->recv_bytes[from], "rank %d sends %lld bytes, %lld expected", from,
              (long long)g->send_bytes[from][c->rank], (long long)end->recv_bytes[from]);
        memcpy(to, data, (size_t)end->recv_bytes[from]);
        to += end->recv_bytes[from];
    }
    meet(c);
    g->send[c->rank] = NULL;
}

static void thread_host_exchange(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                                 const int64_t *send_bytes) {
    thread_exchange_start(c, recv, recv_bytes, send, send_bytes);
    thread_exchange_finish(c);
}

static void thread_gather_all(Comm *c, void *recv, const void *send, int64_t bytes) {
    Group *g = ((End *)c->own)->group;
    g->send[c->rank] = send;
    meet(c);
    for (int from = 0; from < c->size; from++) memcpy((char *)recv + from * bytes, g->send[from], (size_t)bytes);
    meet(c);
    g->send[c->rank] = NULL;
}

static void thread_broadcast(Comm *c, void *data, int64_t bytes, int root) {
    Group *g = ((End *)c->own)->group;
    if (c->rank == root) g->send[root] = data;
    meet(c);
    if (c->rank != root) memcpy(data, g->send[root], (size_t)bytes);
    meet(c);
    if (c->rank == root) g->send[root] = NULL;
}

static void thread_barrier(Comm *c) { meet(c); }

static Group *group_open(int size) {
    Group *g = must_alloc(1, sizeof *g);
    check(size <= RANKS_MOST && !pthread_barrier_init(&g->barrier, NULL, (unsigned)size), "%d ranks", size);
    return g;
}

static Comm *join(Group *g, int rank, int size);

static Comm *thread_part(Comm *c, const int *ranks, int n) {
    Group *g = ((End *)c->own)->group;
    int rank = 0;
    while (ranks[rank] != c->rank) rank++;
    if (rank == 0) g->part[c->rank] = group_open(n);
    meet(c);
    Group *part = g->part[ranks[0]];
    meet(c);
    return join(part, rank, n);
}

static void thread_close(Comm *c) {
    End *end = c->own;
    if (pthread_barrier_wait(&end->group->barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
        pthread_barrier_destroy(&end->group->barrier); /* waits for those who are still leaving it */
        free(end->group);
    }
    free(end);
    free(c);
}

static Comm *join(Group *g, int rank, int size) {
    static const CommOps ops = {.exchange_start = thread_exchange_start,
                                .exchange_finish = thread_exchange_finish,
                                .gather_all = thread_gather_all,
                                .host_exchange = thread_host_exchange,
                                .host_gather_all = thread_gather_all,
                                .host_broadcast = thread_broadcast,
                                .barrier = thread_barrier,
                                .part = thread_part,
                                .close = thread_close};
    Comm *c = must_alloc(1, sizeof *c);
    End *end = must_alloc(1, sizeof *end);
    end->group = g;
    *c = (Comm){.ops = &ops, .rank = rank, .size = size, .own = end};
    return c;
}

typedef struct {
    Comm *world;
    RankBody body;
    void *own;
} Start;

static void *run_rank(void *start) {
    Start *s = start;
    omp_set_num_threads(1);
    s->body(s->world, s->own);
    s->world->ops->close(s->world);
    return NULL;
}

void ranks_run(int ranks, RankBody body, void *own) {
    pthread_t thread[RANKS_MOST];
    Start start[RANKS_MOST];
    Group *g = group_open(ranks);
    for (int r = 0; r < ranks; r++) {
        start[r] = (Start){join(g, r, ranks), body, own};
        check(!pthread_create(&thread[r], NULL, run_rank, &start[r]), "no thread for rank %d", r);
    }
    for (int r = 0; r < ranks; r++) pthread_join(thread[r], NULL);
}
