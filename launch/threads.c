#include "launch/threads.h"

#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "launch/cgroups.h"
#include "launch/launcher.h"
#include "launch/signals.h"

/* -- CPUs ------------------------------------------------------------------------------------------ */

static int within_quota(int cpus) {
    static int quota = -1; /* read once */
    if (quota < 0) quota = cgroups_cpus(CGROUPS, CGROUPS_ROOT);
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
