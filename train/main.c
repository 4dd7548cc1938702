/* main.c - from the command line to a command: parse, check the input once, start ranks, run. The
 * table of commands is in commands.c. */
#include <signal.h>
#include <stdio.h>

#include "launch/agree.h"
#include "launch/launcher.h"
#include "launch/signals.h"
#include "launch/threads.h"
#include "train/commands.h"
#include "train/session.h"

/* The first of the processes speaks; all of them end with the same code. */
static int refuse(const LaunchPlace *place, const Error *error) {
    if (place->rank == 0) fprintf(stderr, "dsv2: %s\n", error->text);
    return EXIT_USAGE;
}

static bool settle_ranks(const Command *command, CommandLine *line, const LaunchPlace *place, Error *error) {
    if (!place->started || command->ranks != RANKS_MPI) return true;
    if (line->ranks_said && line->ranks != place->size)
        return fail(error, "-n %d, but mpirun or srun started %d ranks; leave -n out", line->ranks, place->size);
    line->ranks = place->size;
    return true;
}

/* What was printed counts only where it arrived. */
static int told(int code) {
    Error error;
    if (!fflush(stdout) && !ferror(stdout)) return code;
    int lost = launch_output_lost(&error);
    if (code != lost) fprintf(stderr, "dsv2: %s\n", error.text);
    return code == EXIT_DONE ? lost : code;
}

static int run_command(const Command *command, const CommandLine *line) { return told(command->run(line)); }

static bool check_input(const Command *command, const CommandLine *line, Error *error) {
    return !command->check_input || command->check_input(line, error);
}

/* Each rank looks at the files of its own machine. One that misses some says so: alone it would end while the others
 * wait for it. */
static bool check_together(const Command *command, const CommandLine *line, Error *error) {
    Comm *world = session_world();
    bool ok = agree(world, check_input(command, line, error), error);
    world->ops->close(world);
    return ok;
}

static int run_rank(const Command *command, CommandLine *line, const LaunchPlace *place) {
    int rank, size;
    Error error = {0};
    launch_init(&rank, &size);
    int code = check_together(command, line, &error) ? run_command(command, line) : refuse(place, &error);
    launch_finish();
    return code;
}

int main(int argc, char **argv) {
    signals_begin();
    signal(SIGXFSZ, SIG_IGN); /* a write beyond ulimit -f fails like one on a full disk */
    setvbuf(stdout, NULL, _IOLBF, 0);
    Error error = {0};
    LaunchPlace place;
    if (!launch_place(&place, &error)) return refuse(&place, &error);
    CommandLine line;
    if (!commandline_parse(&line, argc, (const char *const *)argv, &error)) return refuse(&place, &error);
    const Command *command = command_find(line.help || line.version ? "help" : line.command);
    if (!settle_ranks(command, &line, &place, &error)) return refuse(&place, &error);
    bool is_rank = command->ranks == RANKS_MPI && (line.ranks == 1 || place.started);
    if (is_rank || command->takes & USES_THREADS) threads_begin(argv);
    if (is_rank) return run_rank(command, &line, &place);
    if (!check_input(command, &line, &error)) return refuse(&place, &error);
    if (command->ranks != RANKS_MPI) return place.rank == 0 ? run_command(command, &line) : EXIT_DONE;
    if (!launch_sensible(line.ranks, &error)) return refuse(&place, &error);
    return launch_ranks(line.ranks, command->takes & READS_INPUT, argc, argv);
}
