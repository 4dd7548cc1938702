/* progress.h - a bar with MB/s and the time that is left, on a terminal only, over the work of all ranks.
 *
 * Each rank notes how far it is in a slot of a file that rank 0 reads; nothing else depends on it. */
#pragma once
#include "launch/comm.h"

typedef struct {
    const char *name; /* of the set */
    int rank, size, fd;
    int64_t done, total; /* bytes, this rank's; of all */
    int64_t before;      /* done before this run began: counted as done, not as speed */
    double start, noted, shown;
    bool terminal;
} Progress;

/* file: made by rank 0 before. NULL: this process is alone. */
void progress_open(Progress *, const char *name, const char *file, const Comm *, int64_t total, int64_t before);
void progress_add(Progress *, int64_t bytes);
/* This rank has nothing left to do. Rank 0 goes on showing what the others do until `stop` exists. */
void progress_wait(Progress *, const char *stop);
void progress_close(Progress *); /* clears the line */

/* The line itself: "law [====>     ]  41% 123.4 of 301.2 MB, 35.1 MB/s, 0:05 left". */
void progress_line(char to[120], const char *name, int64_t done, int64_t total, double bytes_per_second);
