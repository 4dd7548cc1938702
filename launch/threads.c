#include "launch/threads.h"

#include <errno.h>
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/launcher.h"
#include "launch/signals.h"

/* -- CPUs ------------------------------------------------------------------------------------------ */

/* The quota that one folder of control groups sets, in CPUs; 0: none. Version 2: "max 100000" or "150000 100000". */
static double quota_of(const char *folder) {
    double quota = 0, period = 0;
    char *path = must_format("%s/cpu.max", folder), *older = must_format("%s/cpu.cfs_quota_us", folder),
         *every = must_format("%s/cpu.cfs_period_us", folder);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%lf %lf", &quota, &period) != 2) quota = 0;
        fclose(f);
    } else if ((f = fopen(older, "re"))) {
        if (fscanf(f, "%lf", &quota) != 1) quota = 0;
        fclose(f);
        if ((f = fopen(every, "re"))) {
            if (fscanf(f, "%lf", &period) != 1) period = 0;
            fclose(f);
        }
    }
    free(path), free(older), free(every);
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* The smallest of a group and those above it. Inside a container the path may be the host's: what is not there sets
 * no limit. */
static double least_quota(const char *root, const char *group) {
    char *path = must_format("%s%s", root, group);
    size_t top = strlen(root);
    double least = 0;
    for (;;) {
        double quota = quota_of(path);
        if (quota > 0 && (!least || quota < least)) least = quota;
        char *slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < top) break;
        *slash = '\0';
    }
    free(path);
    return least;
}

/* A line is "0::/group" in version 2, "4:cpu,cpuacct:/group" in version 1. */
int launch_quota(const char *groups, const char *root) {
    char line[4096];
    double least = 0;
    FILE *f = fopen(groups, "re");
    while (f && fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0', names++;
        group[strcspn(group, "\n")] = '\0';
        if (*names && strncmp(names, "cpu", 3) != 0) continue;
        char *mount = must_format("%s%s%s", root, *names ? "/" : "", names);
        double quota = least_quota(mount, group);
        if (quota > 0 && (!least || quota < least)) least = quota;
        free(mount);
    }
    if (f) fclose(f);
    return least > 0 && least < 1 ? 1 : (int)least;
}

static int within_quota(int cpus) {
    static int quota = -1; /* read once */
    if (quota < 0) quota = launch_quota(CGROUPS, CGROUPS_ROOT);
    return quota && quota < cpus ? quota : cpus;
}

static int cpus_of(pid_t process) {
    cpu_set_t set;
    return sched_getaffinity(process, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int launch_cpus(void) { return within_quota(cpus_of(0)); }

/* mpirun ties a rank to fewer CPUs than it has itself; what started us shows what ranks share. */
int launch_node_cpus(void) {
    int own = cpus_of(0), parent = cpus_of(getppid());
    return within_quota(own > parent ? own : parent);
}

/* -- threads --------------------------------------------------------------------------------------- */

static void warn_of_threads(const LaunchPlace *place, int threads, int share) {
    int node = launch_node_cpus(), own = launch_cpus();
    if (own < share)
        fprintf(stderr, "dsv2: each rank is tied to %d of %d CPUs; start with mpirun --bind-to none, or dsv2 -n %d\n",
                own, node, place->size);
    else if (threads > share && threads * place->local_size > node)
        fprintf(stderr, "dsv2: %d x %d threads outnumber %d CPUs; set threads or OMP_NUM_THREADS to %d\n",
                place->local_size, threads, node, share);
}

int launch_threads(int wanted) {
    LaunchPlace place;
    if (!launch_place(&place, NULL)) place = (LaunchPlace){.size = 1, .local_size = 1};
    int share = (int)max_i64(launch_node_cpus() / place.local_size, 1);
    int threads = wanted > 0 ? wanted : (int)launch_number("OMP_NUM_THREADS", share);
    if (threads < 1) threads = share;
    omp_set_num_threads(threads);
    if (base_rank == 0) warn_of_threads(&place, threads, share);
    return threads;
}

/* libgomp lets a thread spin 300,000 times, 5 to 15 ms, before it sleeps. Where something else wants the CPUs as well,
 * that is time the thread waited for does not get: beside two busy processes on two CPUs a step took 10 to 100 times as
 * long as with 1,000, which is enough for what threads that do run wait for each other. */
#define SPINS "GOMP_SPINCOUNT"
static const char *const spins = "1000";

bool threads_waiting(void) {
    if (getenv(SPINS) || getenv("OMP_WAIT_POLICY")) return false;
    return setenv(SPINS, spins, 1) == 0;
}

void threads_begin(char **argv) {
    if (!threads_waiting()) return;
    signals_hold();
    execv("/proc/self/exe", argv);
    signals_begin(); /* it cannot: threads spin longer */
}
