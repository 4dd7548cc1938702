/* arena.h - memory of one lifetime, taken and given back like a stack.
 *
 * The maker of an arena owns its bytes; tensors borrow. There is no free of a single tensor: take
 * a mark, allocate, rewind. An arena over a plan device has no capacity and only measures peak. */
#pragma once
#include "kernels/device.h"

typedef struct {
    char *base;
    int64_t used, peak, capacity;
    Space space;
    Device *device;
    const char *name;
} Arena;

/* capacity in bytes; on a plan device it is ignored (unbounded). False when memory is short. */
bool arena_open(Arena *, const char *name, Device *, Space, int64_t capacity, Error *);
void arena_close(Arena *);

void *arena_alloc(Arena *, int64_t bytes); /* 64-byte aligned, not cleared */
Tensor arena_1d(Arena *, Dtype, int64_t n);
Tensor arena_2d(Arena *, Dtype, int64_t rows, int64_t cols);

static inline int64_t arena_mark(const Arena *a) { return a->used; }
void arena_rewind(Arena *, int64_t mark);
void arena_poison(Arena *); /* fills what is not in use with NaN bytes (tests) */
