/* turns.c - see turns.h.
 *
 * A task that was taken and not added holds one of its thread's places, so no more than SPARE tasks a thread are under
 * way: IN_FLIGHT entries are enough. The first of them waits for nobody, so there is always one that goes on. */
#include "kernels/cpu/turns.h"

#include <sched.h>

void turns_open(Turns *t, int64_t tasks, int64_t steps, void (*add)(void *, int64_t, const void *), void *context) {
    t->tasks = tasks, t->steps = steps, t->add = add, t->context = context, t->next = t->turn = 0;
    for (int i = 0; i < IN_FLIGHT; i++) t->result[i] = NULL, atomic_init(&t->reached[i], 0);
    check(pthread_mutex_init(&t->lock, NULL) == 0, "no lock for threads");
}

void turns_close(Turns *t) { pthread_mutex_destroy(&t->lock); }

static bool is_free(const Turns *t, const Taker *taker) {
    int64_t taken = taker->taken;
    return taken < SPARE || taker->last[taken % SPARE] < t->turn;
}

int64_t turns_take(Turns *t, Taker *taker, int *place) {
    int64_t task = -1;
    pthread_mutex_lock(&t->lock);
    while (t->next < t->tasks && !is_free(t, taker)) {
        pthread_mutex_unlock(&t->lock);
        sched_yield();
        pthread_mutex_lock(&t->lock);
    }
    if (t->next < t->tasks) {
        task = t->next++;
        *place = (int)(taker->taken++ % SPARE);
        taker->last[*place] = task;
        turns_reach(t, task, 0);
    }
    pthread_mutex_unlock(&t->lock);
    return task;
}

void turns_give(Turns *t, int64_t task, const void *result) {
    pthread_mutex_lock(&t->lock);
    t->result[task % IN_FLIGHT] = result;
    for (const void **next; *(next = &t->result[t->turn % IN_FLIGHT]); t->turn++) {
        t->add(t->context, t->turn, *next);
        *next = NULL;
    }
    pthread_mutex_unlock(&t->lock);
}

void turns_reach(Turns *t, int64_t task, int64_t step) {
    atomic_store_explicit(&t->reached[task % IN_FLIGHT], task * (t->steps + 1) + step, memory_order_release);
}

void turns_await(Turns *t, int64_t task, int64_t step) {
    int64_t wanted = task * (t->steps + 1) + step;
    while (atomic_load_explicit(&t->reached[task % IN_FLIGHT], memory_order_acquire) < wanted) sched_yield();
}
