/* test_kernels_threads.c - results that do not depend on the number of threads, nor on which of them is slow. */
#include "tests/test_kernels.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/turns.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static Device *device_of_threads(int threads) {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    Device *device = device_open("cpu", NULL);
    omp_set_num_threads(before);
    return device;
}

/* Forward and backward over two documents, the second of three blocks of keys; out, dq, dkv, dk_pe one after the other. */
static double *attended(Device *device, Dtype dtype, int64_t *count) {
    enum { N = 1300, HEADS = 3, NOPE = 13, ROPE = 6, VALUE = 11, DOCUMENT = 270, RESULTS = 4 };
    double range[2 * N], scale = 0.2;
    Trial t;
    trial_open(&t, device, dtype, false);
    for (int n = 0; n < N; n++) range[2 * n] = n < DOCUMENT ? 0 : DOCUMENT, range[2 * n + 1] = n + 1;
    Tensor q = trial_random(&t, dtype, N, HEADS * (NOPE + ROPE)),
           kv = trial_random(&t, dtype, N, HEADS * (NOPE + VALUE));
    Tensor k_pe = trial_random(&t, dtype, N, ROPE), keys = trial_place(&t, I32, N, 2, range);
    Tensor dout = trial_random(&t, dtype, N, HEADS * VALUE), lse = trial_poisoned(&t, F32, N, HEADS);
    Tensor result[RESULTS] = {trial_poisoned(&t, dtype, N, HEADS * VALUE),
                              trial_poisoned(&t, dtype, N, tensor_cols(q)),
                              trial_poisoned(&t, dtype, N, tensor_cols(kv)), trial_poisoned(&t, dtype, N, ROPE)};
    t.k->attention_forward(device, result[0], lse, q, kv, k_pe, keys, HEADS, scale);
    t.k->attention_backward(device, result[1], result[2], result[3], dout, result[0], lse, q, kv, k_pe, keys, HEADS,
                            scale);
    double *all = NULL;
    *count = 0;
    for (int i = 0; i < RESULTS; i++) {
        double *values = trial_read(&t, result[i]);
        int64_t n = tensor_count(result[i]);
        all = realloc(all, (size_t)(*count + n) * sizeof *all);
        memcpy(all + *count, values, (size_t)n * sizeof *all);
        *count += n;
        free(values);
    }
    trial_close(&t);
    return all;
}

static void expect_same_bits(Device *device, Dtype dtype) {
    int most = device->threads;
    int64_t count;
    device->threads = 1;
    double *one = attended(device, dtype, &count);
    for (device->threads = 2; device->threads <= most; device->threads++) {
        double *many = attended(device, dtype, &count);
        expect(!memcmp(one, many, (size_t)count * sizeof *one), "%s: %d threads differ", dtype_name(dtype),
               device->threads);
        free(many);
    }
    free(one);
    device->threads = most;
}

/* The same bits from any number of threads, fewer than heads or more, though tiles of queries go out in other bands. */
void test_attention_of_threads(void) {
    Device *device = device_of_threads(7);
    gemm_choose(PRODUCTS_ONEDNN);
    expect_same_bits(device, F32);
    gemm_choose(PRODUCTS_OWN);
    expect_same_bits(device, F32);
    expect_same_bits(device, BF16);
    gemm_choose(PRODUCTS_BY_CPU);
    device_close(device);
}

enum { TASKS = 400, STEPS = 5, BEFORE = 3 };

typedef struct {
    Turns turns;
    int64_t added;
    int step[TASKS]; /* done */
    bool in_order, intact, awaited;
} Race;

static void add_result(void *context, int64_t task, const void *result) {
    Race *race = context;
    if (task != race->added++) race->in_order = false;
    if (*(const int64_t *)result != task) race->intact = false;
}

static void dawdle(int64_t times) {
    while (times-- > 0) sched_yield();
}

/* Each step waits for the same step of the task three before; one thread is slow. */
static void race_of_thread(Race *race, int thread) {
    Taker taker = {0};
    int64_t results[SPARE];
    int place;
    for (int64_t task; (task = turns_take(&race->turns, &taker, &place)) >= 0;) {
        for (int step = 1; step <= STEPS; step++) {
            if (task >= BEFORE) turns_await(&race->turns, task - BEFORE, step);
            if (task >= BEFORE && __atomic_load_n(&race->step[task - BEFORE], __ATOMIC_RELAXED) < step)
                race->awaited = false;
            dawdle(thread == 1 ? 20 : task % 3);
            __atomic_store_n(&race->step[task], step, __ATOMIC_RELAXED);
            turns_reach(&race->turns, task, step);
        }
        results[place] = task;
        turns_give(&race->turns, task, &results[place]);
    }
    while (__atomic_load_n(&race->added, __ATOMIC_RELAXED) < TASKS) sched_yield(); /* results lie on this stack */
}

void test_turns(void) {
    Race *race = must_alloc(1, sizeof *race);
    for (int threads = 1; threads <= 6; threads++) {
        *race = (Race){.in_order = true, .intact = true, .awaited = true};
        turns_open(&race->turns, TASKS, STEPS, add_result, race);
#pragma omp parallel num_threads(threads)
        race_of_thread(race, omp_get_thread_num());
        turns_close(&race->turns);
        expect(race->added == TASKS, "%d threads: %lld results of %d", threads, (long long)race->added, TASKS);
        expect(race->in_order, "%d threads: out of order", threads);
        expect(race->intact, "%d threads: a result was overwritten before its turn", threads);
        expect(race->awaited, "%d threads: a step did not wait", threads);
    }
    free(race);
}
