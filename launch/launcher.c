#include "launch/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/signals.h"
#include "launch/threads.h"
#include "launch/watchdog.h"

/* Tells ranks what their own standard output cannot: mpirun puts a pipe or a terminal of its own in between. */
#define COLUMNS_VARIABLE "DSV2_COLUMNS"
#define TYPED_VARIABLE "DSV2_TYPED"
/* Somebody waits for the byte with which rank 0 begins its output: by then all ranks hear signals. mpirun takes
 * variables of this beginning to every machine, and they do not stand in the command that is printed. */
#define HEARING_VARIABLE "OMPI_DSV2_HEARING"
#define HEARING '\x06'

int64_t launch_number(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoll(text, NULL, 10) : otherwise;
}

/* -- where this process stands ------------------------------------------------------------------- */

bool launch_place(LaunchPlace *place, Error *error) {
    *place = (LaunchPlace){.size = 1, .local_size = 1};
    if (getenv("OMPI_COMM_WORLD_SIZE")) {
        place->started = true;
        place->rank = (int)launch_number("OMPI_COMM_WORLD_RANK", 0);
        place->size = (int)launch_number("OMPI_COMM_WORLD_SIZE", 1);
        place->local_size = (int)launch_number("OMPI_COMM_WORLD_LOCAL_SIZE", place->size);
        return true;
    }
    int64_t tasks = launch_number("SLURM_STEP_NUM_TASKS", 1);
    if (getenv("PMIX_RANK")) {
        place->started = true;
        place->rank = (int)launch_number("PMIX_RANK", 0);
        place->size = (int)tasks;
        place->local_size = (int)launch_number("SLURM_STEP_TASKS_PER_NODE", tasks); /* "4(x2)": the first number */
        return true;
    }
    if (tasks > 1)
        return fail(error,
                    "srun started %lld processes that do not know of each other; write: srun --mpi=pmix dsv2 ...",
                    (long long)tasks);
    return true;
}

int launch_terminal_columns(void) {
    LaunchPlace place;
    if (getenv(COLUMNS_VARIABLE)) return (int)launch_number(COLUMNS_VARIABLE, 0);
    if (!launch_place(&place, NULL) || place.started || !isatty(STDOUT_FILENO)) return 0;
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    return size.ws_col ? size.ws_col : 80;
}

bool launch_input_is_typed(void) {
    return getenv(TYPED_VARIABLE) ? launch_number(TYPED_VARIABLE, 0) : isatty(STDIN_FILENO);
}

/* -- dsv2 -n N ------------------------------------------------------------------------------------ */

/* A signal would kill a rank that has not begun, and mpirun loses one that comes before there are ranks: a wish to stop
 * is held until the ranks hear it. */
static volatile pid_t mpirun_process;
static _Atomic bool ranks_hear, wish_held, wish_passed, given_up;

static void pass_held_wish(void) {
    if (!atomic_load(&ranks_hear) || !atomic_exchange(&wish_held, false)) return;
    atomic_store(&wish_passed, true);
    kill(mpirun_process, SIGUSR1);
}

static void hear_ranks(void) {
    atomic_store(&ranks_hear, true);
    pass_held_wish();
}

/* Ranks that do not hear have nothing to keep. */
static void give_up(void) {
    atomic_store(&given_up, true);
    if (mpirun_process > 0) kill(mpirun_process, SIGTERM);
}

/* A wish to stop reaches the ranks as USR1, once however many signals tell of it; an urgent one reaches them too and
 * ends them at once. */
static void pass_on(int number) {
    static const char text[] = ": stopping at the next step; the same again ends it at once\n";
    const char *parts[] = {"dsv2: ", signals_name(number), text};
    SignalWish wish = signals_wish(number);
    if (wish == WISH_KNOWN) return;
    bool told = true;
    for (int i = 0; i < 3 && told; i++) told = write(STDERR_FILENO, parts[i], strlen(parts[i])) > 0;
    if (wish == WISH_URGENT && !atomic_load(&ranks_hear)) give_up();
    atomic_store(&wish_held, true);
    pass_held_wish();
}

static void ask_ranks(int number) {
    if (atomic_load(&ranks_hear)) kill(mpirun_process, number);
}

static void pass_signals_on(void) {
    struct sigaction action = {.sa_handler = ask_ranks};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR2, &action, NULL);
    signals_catch(pass_on, 0);
}

enum { MPIRUN_WORDS = 256 };

/* The words of the mpirun command: argv[0] is this program, and "-n N" has gone. */
static int mpirun_words(char *words[MPIRUN_WORDS], int ranks, bool input, int argc, char **argv) {
    int n = 0, cpus = launch_cpus();
    int nodes = (int)max_i64(launch_number("SLURM_JOB_NUM_NODES", 1), 1);
    int local = (int)ceil_div(ranks, nodes);
    words[n++] = "mpirun";
    words[n++] = "--quiet";
    words[n++] = "--bind-to";
    words[n++] = "none";
    if (local > cpus) words[n++] = "--oversubscribe";
    words[n++] = "-n";
    words[n++] = must_format("%d", ranks);
    words[n++] = "-x";
    const char *threads = getenv("OMP_NUM_THREADS");
    words[n++] = threads ? must_format("OMP_NUM_THREADS=%s", threads)
                         : must_format("OMP_NUM_THREADS=%lld", (long long)max_i64(cpus / local, 1));
    words[n++] = "-x";
    words[n++] = must_format(COLUMNS_VARIABLE "=%d", launch_terminal_columns());
    if (input) words[n++] = "-x";
    if (input) words[n++] = must_format(TYPED_VARIABLE "=%d", isatty(STDIN_FILENO));
    words[n++] = realpath("/proc/self/exe", NULL);
    bool plain = false; /* after "--" */
    for (int i = 1; i < argc && n < MPIRUN_WORDS - 1; i++) {
        plain |= strcmp(argv[i], "--") == 0;
        if (!plain && strcmp(argv[i], "-n") == 0)
            i++; /* and its number */
        else
            words[n++] = argv[i];
    }
    words[n] = NULL;
    return n;
}

char *launch_shell_word(const char *word) {
    if (*word && !strpbrk(word, " \t\n'\"\\$&;|<>()*?[]{}!`#~")) return must_strdup(word);
    char *quoted = must_alloc(4 * (int64_t)strlen(word) + 3, 1), *to = quoted;
    *to++ = '\'';
    for (; *word; word++)
        if (*word == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *word;
    *to = '\'';
    return quoted;
}

static void print_words(char **words) {
    for (int i = 0; words[i]; i++) {
        char *word = launch_shell_word(words[i]);
        fprintf(stderr, "%s%s", i ? " " : "", word);
        free(word);
    }
    fputc('\n', stderr);
}

static void become_mpirun(char **words, int input, int output) {
    /* Its own group, so that ctrl-C comes to us alone; and it must not outlive us. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGXFSZ, SIG_DFL); /* else it may wait for ever */
    if (geteuid() == 0) {
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
    setenv(HEARING_VARIABLE, "1", 1);
    threads_waiting();
    if (input < 0) input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0) _exit(EXIT_IO);
    execvp(words[0], words);
    fprintf(stderr, "dsv2: cannot start mpirun: %s; `make setup` installs it\n", strerror(errno));
    _exit(EXIT_USAGE);
}

static int wait_for(pid_t process) {
    int status = 0;
    while (waitpid(process, &status, 0) < 0) check(errno == EINTR, "lost mpirun: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* All ranks of -n are on this machine, unless a scheduler's allocation says otherwise. */
enum { RANKS_A_CPU = 16 };

bool launch_sensible(int ranks, Error *error) {
    int most = RANKS_A_CPU * launch_node_cpus();
    bool allocated = getenv("SLURM_JOB_ID") || getenv("PBS_JOBID") || getenv("LSB_JOBID");
    if (ranks <= most || allocated) return true;
    return fail(error, "-n %d would start %d ranks on the %d CPUs of this machine; at most %d make sense here", ranks,
                ranks, launch_node_cpus(), most);
}

/* A thread that takes bytes from one file to another. */
typedef struct {
    int from, to;
    bool lost;       /* `to` took no more; what else comes is thrown away */
    bool from_ranks; /* a byte in it, before anything of theirs, tells that they hear signals */
    pthread_t thread;
} Passing;

static bool write_whole(int to, const char *bytes, ssize_t n) {
    for (ssize_t at = 0, written; at < n; at += written)
        while ((written = write(to, bytes + at, (size_t)(n - at))) <= 0)
            if (written == 0 || errno != EINTR) return false;
    return true;
}

/* What mpirun is asked to print of its own comes before it. */
static bool take_hearing(char *bytes, ssize_t *n) {
    char *at = memchr(bytes, HEARING, (size_t)*n);
    if (!at) return false;
    memmove(at, at + 1, (size_t)(bytes + --*n - at));
    return true;
}

static void *pass_bytes_on(void *own) {
    enum { BYTES = 65536 };
    Passing *p = own;
    char *bytes = must_alloc(BYTES, 1);
    ssize_t n;
    bool begins = p->from_ranks;
    while ((n = read(p->from, bytes, BYTES)) > 0 || (n < 0 && errno == EINTR)) {
        if (begins && n > 0 && take_hearing(bytes, &n)) begins = false, hear_ranks();
        if (n > 0 && !p->lost) p->lost = !write_whole(p->to, bytes, n);
    }
    free(bytes);
    close(p->to);
    return NULL;
}

static void start_passing(Passing *p, int from, int to, bool from_ranks) {
    *p = (Passing){.from = from, .to = to, .from_ranks = from_ranks};
    signal(SIGPIPE, SIG_IGN); /* the ranks may end before the input does, who reads the output before the ranks */
    check(!pthread_create(&p->thread, NULL, pass_bytes_on, p), "cannot start a thread");
}

int launch_output_lost(Error *error) {
    fail(error, "standard output: cannot write; is the disk full?");
    return EXIT_IO;
}

/* What the ranks print counts only where it arrived. */
static int output_code(Passing *p, int code) {
    Error error;
    pthread_join(p->thread, NULL);
    if (!p->lost || code != EXIT_DONE) return code;
    code = launch_output_lost(&error);
    fprintf(stderr, "dsv2: %s\n", error.text);
    return code;
}

/* USR1 kills nobody who is at work: mpirun it does, when all is done. */
static int code_of_wish(int code) {
    bool late = atomic_load(&wish_passed) && code == 128 + SIGUSR1;
    return late || atomic_load(&given_up) ? EXIT_RETRY : code;
}

static void make_pipe(int ends[2]) { check(!pipe2(ends, O_CLOEXEC), "cannot make a pipe: %s", strerror(errno)); }

/* mpirun and each rank have a file of 4 MiB and a few bytes as shared memory. Where it may not be that long, some of them
 * are killed and others may wait for ever. */
static bool files_suffice(void) {
    enum { LEAST = 8 << 20 };
    struct rlimit most;
    if (getrlimit(RLIMIT_FSIZE, &most) || most.rlim_cur >= LEAST) return true;
    fprintf(stderr,
            "dsv2: ulimit -f lets a file have %llu bytes, and MPI's shared memory takes more; raise it to %d\n",
            (unsigned long long)most.rlim_cur, LEAST);
    return false;
}

/* Says what has ended a rank or mpirun; a file that became too long is a full disk. */
static int code_of_end(int code) {
    if (code == 128 + SIGKILL)
        fprintf(stderr, "dsv2: a rank was killed; when nobody did it, memory ran out\n");
    else if (code > 128)
        fprintf(stderr, "dsv2: a rank was ended by signal %d (%s)\n", code - 128, strsignal(code - 128));
    return code == 128 + SIGXFSZ ? EXIT_IO : code;
}

/* A background group that reads from the terminal would be stopped, so this process reads and passes on. So it does
 * with the output, since mpirun does not tell when a disk is full. */
int launch_ranks(int ranks, bool input, int argc, char **argv) {
    static Passing in, out; /* the input may still be waited for when this returns */
    char *words[MPIRUN_WORDS];
    int in_ends[2] = {-1, -1}, out_ends[2];
    if (!files_suffice()) return EXIT_IO;
    mpirun_words(words, ranks, input, argc, argv);
    print_words(words);
    pass_signals_on();
    if (input) make_pipe(in_ends);
    make_pipe(out_ends);
    mpirun_process = fork();
    check(mpirun_process >= 0, "cannot start a process: %s", strerror(errno));
    if (mpirun_process == 0) become_mpirun(words, in_ends[0], out_ends[1]);
    close(out_ends[1]);
    start_passing(&out, out_ends[0], STDOUT_FILENO, true);
    if (input) {
        close(in_ends[0]);
        start_passing(&in, STDIN_FILENO, in_ends[1], false);
    }
    return code_of_end(code_of_wish(output_code(&out, wait_for(mpirun_process))));
}

/* -- inside a rank -------------------------------------------------------------------------------- */

static void abort_all(int code) {
    watchdog_farewell();
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

/* A collective among ranks that share CPUs, with each other or with another job, takes milliseconds instead of
 * microseconds unless waiting ranks step aside; where each has its own, stepping aside costs nothing that shows. */
static void step_aside(const LaunchPlace *place) {
    int cpus = launch_node_cpus();
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    if (place->local_size > cpus && place->rank == 0)
        fprintf(stderr, "dsv2: %d ranks share %d CPUs; waiting ranks step aside (mpi_yield_when_idle)\n",
                place->local_size, cpus);
}

static void tell_launcher(void) {
    const char byte = HEARING;
    if (!getenv(HEARING_VARIABLE)) return;
    MPI_Barrier(MPI_COMM_WORLD);
    if (base_rank == 0 && write(STDOUT_FILENO, &byte, 1) != 1) return; /* whoever prints next will say so */
}

void launch_init(int *rank, int *size) {
    LaunchPlace place;
    Error error;
    if (!launch_place(&place, &error)) stop_job(EXIT_USAGE, "%s", error.text);
    *rank = 0;
    *size = 1;
    if (place.size == 1) return;
    step_aside(&place);
    int provided;
    check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS, "MPI_Init failed");
    check(provided >= MPI_THREAD_FUNNELED, "this MPI knows no threads (level %d)", provided);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    base_rank = *rank;
    base_abort = abort_all;
    tell_launcher();
}

void launch_finish(void) {
    int begun = 0;
    MPI_Initialized(&begun);
    if (begun) {
        watchdog_section(SECTION_END);
        watchdog_enter("MPI_Finalize");
        MPI_Finalize();
        base_abort = _exit;
    }
    watchdog_close();
}
