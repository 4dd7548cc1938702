/* cgroups.h - what the control groups of this process (a container's, a scheduler's) let it have; /proc/meminfo and the
 * number of CPUs speak of the whole machine. Versions 1 and 2. */
#pragma once
#include "kernels/base.h"

/* Which groups a process is in, and where groups are; a test has its own. */
#define CGROUPS "/proc/self/cgroup"
#define CGROUPS_ROOT "/sys/fs/cgroup"

/* CPUs whose time may be used, whole ones and at least 1; 0: no limit. */
int cgroups_cpus(const char *groups, const char *root);

/* Bytes that may still be allocated, those counted that cached files give back; INT64_MAX: no limit. */
int64_t cgroups_memory(const char *groups, const char *root);
