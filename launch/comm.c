#include "launch/comm.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

/* -- one rank ----------------------------------------------------------------------------------- */

static void single_exchange(Comm *c, void *recv, const int64_t *recv_bytes, const void *send,
                            const int64_t *send_bytes) {
    check(c->size == 1 && recv_bytes[0] == send_bytes[0], "one rank sends %lld bytes to itself and expects %lld",
          (long long)send_bytes[0], (long long)recv_bytes[0]);
    memcpy(recv, send, (size_t)send_bytes[0]);
}
static void single_gather_all(Comm *c, void *recv, const void *send, int64_t bytes) {
    (void)c;
    memcpy(recv, send, (size_t)bytes);
}
static void single_broadcast(Comm *c, void *data, int64_t bytes, int root) {
    (void)c, (void)data, (void)bytes, (void)root;
}
static void single_nothing(Comm *c) { (void)c; }
static Comm *single_part(Comm *c, const int *ranks, int n) {
    (void)c, (void)ranks, (void)n;
    return comm_open_single();
}
static void single_close(Comm *c) { free(c); }

Comm *comm_open_single(void) {
    static const CommOps ops = {.exchange_start = single_exchange,
                                .exchange_finish = single_nothing,
                                .gather_all = single_gather_all,
                                .host_exchange = single_exchange,
                                .host_gather_all = single_gather_all,
                                .host_broadcast = single_broadcast,
                                .barrier = single_nothing,
                                .part = single_part,
                                .close = single_close};
    Comm *c = must_alloc(1, sizeof *c);
    *c = (Comm){.ops = &ops, .size = 1};
    return c;
}

/* -- reductions over any transport -------------------------------------------------------------- */

void comm_reduce_i64(Comm *c, int64_t *values, int n, Reduce how) {
    int64_t *all = must_alloc((int64_t)n * c->size, sizeof *all);
    c->ops->host_gather_all(c, all, values, n * (int64_t)sizeof *values);
    for (int i = 0; i < n; i++) {
        values[i] = all[i];
        for (int r = 1; r < c->size; r++) {
            int64_t v = all[r * n + i];
            if (how == REDUCE_SUM)
                values[i] += v;
            else if (how == REDUCE_MAX)
                values[i] = max_i64(values[i], v);
            else
                values[i] = min_i64(values[i], v);
        }
    }
    free(all);
}

void comm_reduce_f64(Comm *c, double *values, int n, Reduce how) {
    double *all = must_alloc((int64_t)n * c->size, sizeof *all);
    c->ops->host_gather_all(c, all, values, n * (int64_t)sizeof *values);
    for (int i = 0; i < n; i++) {
        values[i] = all[i];
        for (int r = 1; r < c->size; r++) {
            double v = all[r * n + i];
            if (how == REDUCE_SUM)
                values[i] += v;
            else if (how == REDUCE_MAX ? v > values[i] : v < values[i])
                values[i] = v;
        }
    }
    free(all);
}

bool comm_all_agree(Comm *c, bool mine) {
    int64_t value = mine;
    comm_reduce_i64(c, &value, 1, REDUCE_MIN);
    return value != 0;
}

static Tensor span(Tensor x, int64_t first, int64_t count) {
    return tensor_1d((char *)x.data + first * dtype_bytes(x.dtype), x.dtype, count);
}

/* all (size, count): row 0 becomes the sum of the rows in rank order */
static Tensor sum_rows(Comm *c, Device *device, Tensor all, int64_t count) {
    Tensor total = span(all, 0, count);
    for (int r = 1; r < c->size; r++) device->kernels->add(device, total, span(all, r * count, count));
    return total;
}

/* x of size * slice elements: every rank sums one slice and hands it round. */
static void sum_slices(Comm *c, Tensor x, int64_t slice, Arena *buffer) {
    int64_t mark = arena_mark(buffer), bytes[c->size];
    for (int r = 0; r < c->size; r++) bytes[r] = slice * dtype_bytes(x.dtype);
    Tensor all = arena_1d(buffer, x.dtype, slice * c->size);
    c->ops->exchange_start(c, all.data, bytes, x.data, bytes);
    c->ops->exchange_finish(c);
    Tensor mine = sum_rows(c, buffer->device, all, slice);
    c->ops->gather_all(c, x.data, mine.data, bytes[0]);
    arena_rewind(buffer, mark);
}

/* Fewer elements than ranks: everybody sums everything. */
static void sum_rest(Comm *c, Tensor x, Arena *buffer) {
    int64_t mark = arena_mark(buffer), n = tensor_count(x);
    Tensor all = arena_1d(buffer, x.dtype, n * c->size);
    c->ops->gather_all(c, all.data, x.data, tensor_bytes(x));
    buffer->device->kernels->convert(buffer->device, x, sum_rows(c, buffer->device, all, n));
    arena_rewind(buffer, mark);
}

enum { SUM_CHUNK = 1 << 22 }; /* elements in flight: bounds the buffer to 16 MiB of fp32 */

void comm_sum(Comm *c, Tensor x, Arena *buffer) {
    check(tensor_contiguous(x), "a sum over ranks needs contiguous memory");
    if (c->size == 1) return;
    int64_t n = tensor_count(x), most = max_i64(SUM_CHUNK / c->size, 1);
    int64_t done = 0;
    while (n - done >= c->size) {
        int64_t slice = min_i64((n - done) / c->size, most);
        sum_slices(c, span(x, done, slice * c->size), slice, buffer);
        done += slice * c->size;
    }
    if (done < n) sum_rest(c, span(x, done, n - done), buffer);
}
