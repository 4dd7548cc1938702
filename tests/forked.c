/* forked.c - see forked.h. */
#include "tests/forked.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_RANKS = 8, ROOM = 1 << 22 };

typedef struct {
    pthread_barrier_t barrier;
    int64_t bytes[MOST_RANKS][MOST_RANKS]; /* from, to */
    char data[MOST_RANKS][ROOM];
} Board;

static void board_barrier(Comm *c) {
    Board *b = c->own;
    pthread_barrier_wait(&b->barrier);
}

static void put(Comm *c, const void *data, int64_t bytes) {
    check(bytes <= ROOM, "%lld bytes do not fit on the board", (long long)bytes);
    memcpy(((Board *)c->own)->data[c->rank], data, (size_t)bytes);
    board_barrier(c);
}

static void board_gather(Comm *c, void *recv, const void *send, int64_t bytes) {
    put(c, send, bytes);
    for (int r = 0; r < c->size; r++) memcpy((char *)recv + r * bytes, ((Board *)c->own)->data[r], (size_t)bytes);
    board_barrier(c);
}

static void board_broadcast(Comm *c, void *data, int64_t bytes, int root) {
    put(c, data, bytes);
    memcpy(data, ((Board *)c->own)->data[root], (size_t)bytes);
    board_barrier(c);
}

static void board_exchange(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                           const int64_t *send_bytes) {
    Board *b = c->own;
    int64_t total = 0;
    for (int r = 0; r < c->size; r++) total += b->bytes[c->rank][r] = send_bytes[r];
    put(c, send, total);
    char *to = recv;
    for (int from = 0; from < c->size; from++) {
        int64_t skip = 0;
        for (int r = 0; r < c->rank; r++) skip += b->bytes[from][r];
        check(b->bytes[from][c->rank] == recv_bytes[from], "rank %d expects other bytes than rank %d sends", c->rank,
              from);
        memcpy(to, b->data[from] + skip, (size_t)recv_bytes[from]);
        to += recv_bytes[from];
    }
    board_barrier(c);
}

static void place_close(Comm *c) { free(c); }
static const CommOps place_ops = {.close = place_close};

static Comm *board_part(Comm *c, const int *ranks, int n) {
    Comm *part = must_alloc(1, sizeof *part);
    *part = (Comm){.ops = &place_ops, .size = n};
    while (ranks[part->rank] != c->rank) part->rank++;
    return part;
}

static const CommOps board_ops = {.host_gather_all = board_gather,
                                  .host_broadcast = board_broadcast,
                                  .host_exchange = board_exchange,
                                  .barrier = board_barrier,
                                  .part = board_part};

static Board *board_open(int ranks) {
    Board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(b != MAP_FAILED && ranks <= MOST_RANKS, "no board for %d ranks", ranks);
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&b->barrier, &attributes, (unsigned)ranks);
    return b;
}

bool forked(int n, bool (*body)(Comm *, void *), void *own) {
    Board *board = board_open(n);
    pid_t child[MOST_RANKS];
    bool ok = true;
    for (int r = 0; r < n; r++) {
        child[r] = fork();
        check(child[r] >= 0, "cannot fork");
        Comm world = {.ops = &board_ops, .rank = r, .size = n, .own = board};
        if (!child[r]) _exit(!body(&world, own));
    }
    for (int r = 0; r < n; r++) {
        int status;
        ok = waitpid(child[r], &status, 0) == child[r] && status == 0 && ok;
    }
    munmap(board, sizeof *board);
    return ok;
}
