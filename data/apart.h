/* apart.h - work that may crash, hang or eat all memory (a library over a stranger's bytes), in a process of its own.
 *
 * The child is a fork that calls neither MPI nor OpenMP and lives for milliseconds, so a rank may make one at any time;
 * its limits are a GiB more than the parent has and some seconds of CPU time. */
#pragma once
#include "kernels/base.h"

#include <stdio.h>

/* Calls work(own, out) there. Returns what it wrote to `out`, malloc'd, once it came to its end; NULL + "FILE: damaged:
 * ..." where it did not. The bytes come from a process that may have gone astray: look at each before use. */
char *apart(void (*work)(void *own, FILE *out), void *own, const char *file, int64_t *count, Error *);
