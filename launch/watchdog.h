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

/* Collective. seconds: limit of a step (key watchdog_seconds) and the least one of every section; 0 = 10 times the
 * median step, at least 60. */
void watchdog_open(Comm *world, double seconds);
void watchdog_close(void);

/* This rank ends for a reason it has told: nobody is to report its death. Safe in a signal handler. */
void watchdog_farewell(void);

/* Around whatever waits for another rank; pairs may nest, the outermost one counts. */
void watchdog_enter(const char *operation);
void watchdog_leave(void);

/* How long a rank may wait for another depends on what they do. */
typedef enum {
    SECTION_START,
    SECTION_LOAD,    /* reading and hashing, however slow the disk of a rank */
    SECTION_PREPARE, /* however much text there is */
    SECTION_TYPING,  /* for as long as somebody thinks */
    SECTION_GENERATE,
    SECTION_EVAL,
    SECTION_SAVE,
    SECTION_END,
    SECTIONS
} Section;
typedef struct {
    const char *name;
    double seconds;
} WatchdogLimit;
#define WATCHDOG_ENDLESS 1e9
extern WatchdogLimit watchdog_limits[SECTIONS]; /* not const, so that a test need not wait for minutes */

/* Every rank names the section it begins. Lasts until the next call. */
void watchdog_section(Section);
/* The section of training step `step` begins, with the limit of steps. */
void watchdog_step(int64_t step);
/* While a save is in flight a rank may have to wait for its disk anywhere, in the midst of a step too, and the others
 * for it: on every rank, no section's limit is less than that of saves. Every rank says when it begins and has ended. */
void watchdog_saving(bool);
