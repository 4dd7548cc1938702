/* turns.h - tasks for threads that take the next one as they get free, where what the tasks give is added up in the
 * order of tasks, whoever is done first: the sum depends neither on timing nor on the number of threads. A thread that
 * is ahead of the others keeps SPARE results before it has to wait. A task may also wait for a step of an earlier one. */
#pragma once
#include "kernels/backend.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SPARE = 4, MAX_THREADS = 1024 };
enum { IN_FLIGHT = SPARE * MAX_THREADS };

typedef struct {
    int64_t tasks, steps; /* steps a task, at most */
    /* Adds the result of a task; the calls come in the order of tasks, one at a time. */
    void (*add)(void *context, int64_t task, const void *result);
    void *context;
    pthread_mutex_t lock;
    int64_t next, turn;                 /* task to be taken, to be added */
    const void *result[IN_FLIGHT];      /* of tasks done whose turn has not come */
    _Atomic int64_t reached[IN_FLIGHT]; /* task (steps + 1) + its steps done: it only grows */
} Turns;

void turns_open(Turns *, int64_t tasks, int64_t steps, void (*add)(void *, int64_t, const void *), void *context);
void turns_close(Turns *);

/* A thread's; starts as zeros. */
typedef struct {
    int64_t taken, last[SPARE];
} Taker;

/* The next task, and at which of the thread's SPARE places its result goes; -1 when there is none. */
int64_t turns_take(Turns *, Taker *, int *place);
/* The task is done; the result stays where it is until it was added. */
void turns_give(Turns *, int64_t task, const void *result);

/* Steps count from 1. */
void turns_reach(Turns *, int64_t task, int64_t step);
void turns_await(Turns *, int64_t task, int64_t step);
