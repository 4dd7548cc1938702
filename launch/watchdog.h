/* watchdog.h - names the rank that is late, and ends the job instead of waiting forever.
 *
 * Every rank notes in a journal in shared memory what it waits in and how far it is. A helper
 * thread of each rank looks 10 times a second; when its rank has waited in one operation longer
 * than the limit of the section, the late rank, its operation and step are printed once and every
 * rank of the machine ends with EXIT_RETRY, a stopped one excepted (mpirun kills it). Time during which
 * the helper itself was stopped does not count. A rank that dies is named too. SIGUSR2 prints the journal and changes nothing.
 *
 * All of it is a cheap no-op before watchdog_open. launch_finish closes it, so that a rank that
 * hangs while MPI ends is noticed too. */
#pragma once
#include "launch/comm.h"

/* Collective. seconds: limit of a step (key watchdog_seconds); 0 = 10 times the median step, at least 60. */
void watchdog_open(Comm *world, double seconds);
void watchdog_close(void);

/* This rank ends for a reason it has told: nobody is to report its death. Safe in a signal handler. */
void watchdog_farewell(void);

/* Around whatever waits for another rank; pairs may nest, the outermost one counts. */
void watchdog_enter(const char *operation);
void watchdog_leave(void);

/* Every rank names the section it begins: "start" 600, "eval" 600, "save" 300. Lasts until the next call. */
void watchdog_section(const char *name, double limit_seconds);
/* The section of training step `step` begins, with the limit of steps. */
void watchdog_step(int64_t step);
