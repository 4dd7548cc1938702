/* launcher.h - how ranks come to life: `dsv2 -n N`, plain mpirun, srun, or just one process.
 *
 * The first process of `dsv2 -n N` starts mpirun, passes signals on (INT, TERM, HUP and USR1 all reach
 * the ranks as USR1, because mpirun would kill them one second after a TERM; none before all ranks can hear it) and
 * ends with the ranks' exit code. */
#pragma once
#include "kernels/base.h"

/* Where this process stands, from the environment; needs no MPI. */
typedef struct {
    int rank, size; /* of the job; 0 and 1 outside mpirun and srun */
    int local_size; /* ranks on this machine */
    bool started;   /* by mpirun or srun */
} LaunchPlace;

bool launch_place(LaunchPlace *, Error *); /* false: srun without PMIx, which would start N separate runs */

/* A variable of the environment as a number. */
int64_t launch_number(const char *name, int64_t otherwise);

/* False + message for more ranks than this machine could ever serve. */
bool launch_sensible(int ranks, Error *);

/* Runs argv (of main) under mpirun with `ranks` ranks and returns the exit code. input: rank 0 gets standard input,
 * else there is none. */
int launch_ranks(int ranks, bool input, int argc, char **argv);

/* EXIT_IO + message: standard output took no more. */
int launch_output_lost(Error *);

/* MPI when there is more than one rank (FUNNELED), and base_rank, base_abort. Sets and mentions
 * yield_when_idle where local ranks outnumber the CPUs. */
void launch_init(int *rank, int *size);
void launch_finish(void);

/* A word as a shell takes it, in quotes where it needs them. malloc'd. */
char *launch_shell_word(const char *);

/* Whether somebody types what rank 0 reads from standard input. */
bool launch_input_is_typed(void);

/* Columns of the terminal that standard output ends in; 0 = none (a file, a pipe, plain mpirun). */
int launch_terminal_columns(void);
