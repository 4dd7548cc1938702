/* threads.h - how many CPUs there are for ranks, how many threads a rank has, and how these wait for each other. */
#pragma once
#include "kernels/base.h"

/* CPUs this process may use; CPUs that all ranks of this machine share. A container's limit on time counts as CPUs. */
int launch_cpus(void);
int launch_node_cpus(void);

/* Sets and returns the OpenMP threads of a rank: `wanted` (key threads), else OMP_NUM_THREADS, else CPUs / local ranks.
 * Rank 0 warns when threads outnumber CPUs, or when mpirun tied ranks to fewer CPUs than there are. */
int launch_threads(int wanted);

/* OpenMP threads that wait shall soon sleep, unless the environment says how they wait. Sets what the next program to
 * be executed reads; false when that is already there. */
bool threads_waiting(void);
/* The same for this program, which begins anew where it must: OpenMP reads that before main. Signals that end a process
 * are held meanwhile; signals_begin lets them go. */
void threads_begin(char **argv);
