#include "kernels/arena.h"

#include <string.h>

enum { ALIGN = 64 };

bool arena_open(Arena *a, const char *name, Device *device, Space space, int64_t capacity, Error *error) {
    bool plan = !strcmp(device->backend, "plan");
    int64_t bytes = plan ? INT64_C(1) << 43 : round_up(max_i64(capacity, 1), 4096);
    *a = (Arena){.capacity = bytes, .space = space, .device = device, .name = name};
    a->base = device->ops->reserve(device, bytes, space);
    if (!a->base && plan)
        return fail(error, "planning takes addresses, not memory, and this shell limits them; raise `ulimit -v`");
    if (!a->base)
        return fail(error, "cannot reserve %.2f GiB for %s; run `dsv2 plan` to see what would fit",
                    (double)bytes / 0x1p30, name);
    return true;
}

void arena_close(Arena *a) {
    if (a->base) a->device->ops->release(a->device, a->base, a->capacity, a->space);
    a->base = NULL;
}

void *arena_alloc(Arena *a, int64_t bytes) {
    int64_t first = a->used;
    a->used = first + round_up(max_i64(bytes, 0), ALIGN);
    if (a->used > a->capacity && !strcmp(a->device->backend, "plan"))
        stop_job(EXIT_USAGE, "%s of one rank would be more than %lld TiB; check the sizes of model and batch",
                 a->name, (long long)(a->capacity >> 40));
    check(a->used <= a->capacity, "arena %s: %lld bytes wanted, %lld planned", a->name, (long long)a->used,
          (long long)a->capacity);
    a->peak = max_i64(a->peak, a->used);
    return a->base + first;
}

Tensor arena_1d(Arena *a, Dtype dtype, int64_t n) {
    return tensor_1d(arena_alloc(a, n * dtype_bytes(dtype)), dtype, n);
}

Tensor arena_2d(Arena *a, Dtype dtype, int64_t rows, int64_t cols) {
    return tensor_2d(arena_alloc(a, rows * cols * dtype_bytes(dtype)), dtype, rows, cols);
}

void arena_rewind(Arena *a, int64_t mark) {
    check(mark >= 0 && mark <= a->used, "arena %s: rewind to %lld above %lld", a->name, (long long)mark,
          (long long)a->used);
    a->used = mark;
}

void arena_poison(Arena *a) {
    if (strcmp(a->device->backend, "plan")) memset(a->base + a->used, 0xff, (size_t)(a->capacity - a->used));
}
