/* test_launch.c - the watchdog among forked ranks, signals, and where a process finds itself. */
#include "launch/cgroups.h"
#include "launch/launcher.h"
#include "launch/threads.h"
#include "launch/signals.h"
#include "launch/watchdog.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 3, ROUNDS = 5, BAD_RANK = 2 };

/* What the forked ranks share instead of MPI. */
typedef struct {
    pthread_barrier_t barrier;
    int64_t broadcast;
    volatile int rounds; /* of rank 0 */
    volatile bool go_on;
} Shared;

static Shared *shared;

static void shared_broadcast(Comm *comm, void *data, int64_t bytes, int root) {
    if (comm->rank == root) memcpy(&shared->broadcast, data, (size_t)bytes);
    pthread_barrier_wait(&shared->barrier);
    memcpy(data, &shared->broadcast, (size_t)bytes);
}
static void shared_barrier(Comm *comm) {
    (void)comm;
    pthread_barrier_wait(&shared->barrier);
}
static const CommOps shared_ops = {.host_broadcast = shared_broadcast, .barrier = shared_barrier};

static void shared_open(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(shared, 0, sizeof *shared);
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &attributes, RANKS);
}

/* -- jobs: three ranks that take steps together; one may misbehave after some ------------------------ */

typedef enum { WELL, HANGS, HANGS_SAVING, STOPS, DIES } Trouble;

typedef struct {
    pid_t rank[RANKS];
    int said; /* the read end of the ranks' stderr */
    double began;
} Job;

static void misbehave(Trouble trouble) {
    if (trouble == STOPS) raise(SIGSTOP);
    if (trouble == DIES) raise(SIGKILL);
    for (;;) pause();
}

static void be_rank(int rank, double limit, Trouble trouble) {
    Comm world = {.ops = &shared_ops, .rank = rank, .size = RANKS};
    watchdog_open(&world, limit);
    watchdog_saving(trouble == HANGS_SAVING);
    for (int round = 0; round < ROUNDS || shared->go_on; round++) {
        watchdog_step(round + 1);
        if (round == ROUNDS && rank == BAD_RANK && trouble != WELL) misbehave(trouble);
        watchdog_enter("exchange");
        pthread_barrier_wait(&shared->barrier);
        watchdog_leave();
        if (rank == 0) shared->rounds = round + 1;
        if (round >= ROUNDS) usleep(10000);
    }
    watchdog_close();
    _exit(0);
}

static Job job_start(double limit, Trouble trouble) {
    shared_open();
    shared->go_on = true;
    int ends[2];
    check(pipe(ends) == 0, "pipe: %s", strerror(errno));
    Job job = {.said = ends[0]};
    fflush(stdout);
    for (int r = 0; r < RANKS; r++) {
        job.rank[r] = fork();
        if (job.rank[r] != 0) continue;
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        be_rank(r, limit, trouble);
    }
    close(ends[1]);
    job.began = clock_seconds();
    while (shared->rounds < ROUNDS && clock_seconds() - job.began < 10) usleep(5000);
    job.began = clock_seconds();
    return job;
}

/* Code of a rank's end within the time; -1 when it lives, 128 + signal when killed. */
static int job_code(const Job *job, int rank, double seconds) {
    int status;
    while (waitpid(job->rank[rank], &status, WNOHANG) == 0) {
        if (clock_seconds() - job->began > seconds) return -1;
        usleep(5000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Ends what still runs; what the ranks have said. */
static const char *job_end(Job *job) {
    static char text[4096];
    for (int r = 0; r < RANKS; r++) {
        kill(job->rank[r], SIGKILL);
        waitpid(job->rank[r], NULL, 0);
    }
    size_t n = 0;
    ssize_t got;
    while (n < sizeof text - 1 && (got = read(job->said, text + n, sizeof text - 1 - n)) > 0) n += (size_t)got;
    text[n] = 0;
    close(job->said);
    munmap(shared, sizeof *shared);
    return text;
}

static int count_in(const char *text, const char *word) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word)) n++;
    return n;
}

/* -- the watchdog -------------------------------------------------------------------------------------- */

static void late_rank_is_named(Trouble trouble) {
    Job job = job_start(0.6, trouble);
    expect(job_code(&job, 0, 1.2) == EXIT_RETRY, "rank 0 did not end in time");
    expect(job_code(&job, 1, 1.2) == EXIT_RETRY, "rank 1 did not end in time");
    if (trouble == HANGS) expect(job_code(&job, BAD_RANK, 1.2) == EXIT_RETRY, "the late rank lives on");
    const char *said = job_end(&job);
    expect(count_in(said, "late: rank 2 (step 6, after exchange #5") == 1, "said: %s", said);
    expect(count_in(said, "watchdog") == 1, "said more than once: %s", said);
}
static void hanging_rank(void) { late_rank_is_named(HANGS); }
static void stopped_rank(void) { late_rank_is_named(STOPS); }

/* A disk that is slow for one rank is that for all of them, whatever they do. */
static void slow_save(void) {
    double usual = watchdog_limits[SECTION_SAVE].seconds;
    watchdog_limits[SECTION_SAVE].seconds = 1.6;
    Job job = job_start(0.4, HANGS_SAVING);
    watchdog_limits[SECTION_SAVE].seconds = usual;
    expect(job_code(&job, 0, 1.2) == -1, "rank 0 ended after the limit of steps");
    expect(job_code(&job, 0, 2.4) == EXIT_RETRY, "rank 0 did not end in time");
    const char *said = job_end(&job);
    expect(count_in(said, "late: rank 2 (step 6") == 1 && count_in(said, "a save is in flight") == 1, "said: %s",
           said);
}

static void dead_rank(void) {
    Job job = job_start(30, DIES);
    expect(job_code(&job, BAD_RANK, 2) == 128 + SIGKILL, "it did not die");
    expect(job_code(&job, 0, 5) == EXIT_RETRY && job_code(&job, 1, 5) == EXIT_RETRY,
           "the others did not end in time");
    const char *said = job_end(&job);
    expect(count_in(said, "died without a word: rank 2 (step 6") == 1, "said: %s", said);
}

/* A job that was stopped as a whole (ctrl-Z, a frozen container) is not late when it goes on. */
static void stopped_job_goes_on(void) {
    Job job = job_start(1.2, WELL);
    for (int r = RANKS - 1; r >= 0; r--) { /* the others are caught while they wait for the first one */
        kill(job.rank[r], SIGSTOP);
        usleep(50000);
    }
    usleep(1600000);
    for (int r = 0; r < RANKS; r++) {
        kill(job.rank[r], SIGCONT);
        usleep(200000);
    }
    usleep(300000);
    shared->go_on = false;
    job.began = clock_seconds();
    int ended = 0, bad = 0;
    for (int r = 0; r < RANKS; r++) {
        int code = job_code(&job, r, 1);
        ended += code == 0;
        bad += code == EXIT_RETRY;
    }
    const char *said = job_end(&job);
    expect(ended > 0 && bad == 0 && !*said, "%d ended well, %d by the watchdog, said: %s", ended, bad, said);
}

static void journal_on_request(void) {
    Job job = job_start(30, WELL);
    for (int r = 0; r < RANKS; r++) kill(job.rank[r], SIGUSR2);
    usleep(400000);
    expect(job_code(&job, 0, 0) == -1, "SIGUSR2 ended a rank");
    const char *said = job_end(&job);
    for (int r = 0; r < RANKS; r++) {
        char line[32];
        snprintf(line, sizeof line, "dsv2: rank %d (step ", r);
        expect(count_in(said, line) == 1, "rank %d: %s", r, said);
    }
}

/* Without watchdog_open, and with it, notes must cost next to nothing: they stand around every collective. */
static void notes_are_cheap(void) {
    enum { PAIRS = 100000 };
    double began = clock_seconds();
    for (int i = 0; i < PAIRS; i++) {
        watchdog_enter("exchange");
        watchdog_leave();
    }
    double ns = (clock_seconds() - began) / PAIRS * 1e9;
    expect(ns < 500, "a pair before watchdog_open takes %.0f ns", ns);
}

/* -- signals ------------------------------------------------------------------------------------------- */

/* The ms before each signal but the first. */
static int after_signals(const int *numbers, int n, unsigned ms) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signals_open();
        for (int i = 0; i < n; i++) {
            if (i) usleep(1000 * ms);
            raise(numbers[i]);
        }
        _exit(signals_pending() == numbers[n - 1] ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void signals_are_wishes(void) {
    const struct {
        int number[2], n;
        unsigned ms;
        int code;
    } cases[] = {
        {{SIGUSR1}, 1, 0, 0},
        {{SIGTERM}, 1, 0, 0},
        {{SIGINT}, 1, 0, 0},
        {{SIGHUP}, 1, 0, 0},
        {{SIGINT, SIGINT}, 2, 1100, EXIT_RETRY},
        {{SIGUSR1, SIGUSR1}, 2, 1100, EXIT_RETRY},
        {{SIGINT, SIGINT}, 2, 100, 0}, /* to the group, and passed on by the parent */
        {{SIGUSR1, SIGUSR1}, 2, 100, 0},
        {{SIGTERM, SIGUSR1}, 2, 0, 0}, /* a scheduler's TERM and its script's USR1 are one wish */
        {{SIGUSR1, SIGTERM}, 2, 1100, 0},
        {{SIGPIPE, SIGUSR1}, 2, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = after_signals(cases[i].number, cases[i].n, cases[i].ms);
        expect(code == cases[i].code, "case %zu ended with %d, not %d", i, code, cases[i].code);
    }
}

/* Every signal that a process may get before it has begun what must be kept or removed. */
static int after_early_signal(int number, bool held, bool open) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        sigset_t blocked;
        sigfillset(&blocked);
        if (held) sigprocmask(SIG_BLOCK, &blocked, NULL);
        if (held) raise(number);
        signals_begin();
        if (open) signals_open();
        if (!held) raise(number);
        _exit(signals_pending() == number ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void early_signals_end_at_once(void) {
    const struct {
        int number;
        bool held, open; /* held back by the parent; after signals_open */
        int code;
    } cases[] = {
        {SIGTERM, false, false, EXIT_RETRY}, {SIGINT, false, false, EXIT_RETRY}, {SIGHUP, false, false, EXIT_RETRY},
        {SIGUSR1, false, false, EXIT_RETRY}, {SIGTERM, true, false, EXIT_RETRY}, {SIGUSR1, true, false, EXIT_RETRY},
        {SIGUSR2, false, false, 1},          {SIGTERM, false, true, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = after_early_signal(cases[i].number, cases[i].held, cases[i].open);
        expect(code == cases[i].code, "case %zu ended with %d, not %d", i, code, cases[i].code);
    }
}

/* -- where a process finds itself ------------------------------------------------------------------------ */

static void places(void) {
    const char *const names[] = {"OMPI_COMM_WORLD_SIZE",       "OMPI_COMM_WORLD_RANK",
                                 "OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_RANK",
                                 "SLURM_STEP_NUM_TASKS",       "SLURM_STEP_TASKS_PER_NODE"};
    const struct {
        const char *value[6];
        bool good;
        LaunchPlace place;
    } cases[] = {
        {{0}, true, {0, 1, 1, false}},
        {{"8", "3", "4"}, true, {3, 8, 4, true}},
        {{"1", "0", "1"}, true, {0, 1, 1, true}},
        {{0, 0, 0, "5", "16", "4(x4)"}, true, {5, 16, 4, true}},
        {{0, 0, 0, 0, "4"}, false, {0}},                         /* srun without PMIx */
        {{"2", "1", "2", "1", "4", "4"}, true, {1, 2, 2, true}}, /* mpirun inside a step of Slurm */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 6; k++) {
            unsetenv(names[k]);
            if (cases[i].value[k]) setenv(names[k], cases[i].value[k], 1);
        }
        LaunchPlace p, want = cases[i].place;
        Error error = {0};
        bool good = launch_place(&p, &error);
        expect(good == cases[i].good, "case %zu: %s", i, error.text);
        if (good)
            expect(p.rank == want.rank && p.size == want.size && p.local_size == want.local_size &&
                       p.started == want.started,
                   "case %zu: rank %d of %d, %d here", i, p.rank, p.size, p.local_size);
    }
    for (int k = 0; k < 6; k++) unsetenv(names[k]);
}

static void words_are_quoted(void) {
    static const char *const words[][2] = {
        {"runs/tiny", "runs/tiny"}, {"my runs", "'my runs'"}, {"it's", "'it'\\''s'"}, {"", "''"}, {"$x", "'$x'"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *word = launch_shell_word(words[i][0]);
        expect(!strcmp(word, words[i][1]), "%s: %s", words[i][0], word);
        free(word);
    }
}

static void write_text(const char *root, const char *name, const char *text) {
    char *path = must_format("%s/%s", root, name);
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    check(f, "cannot write %s", path);
    fputs(text, f);
    fclose(f);
    free(path);
}

/* A container that may use less than the machine has: by its own group, by one above it, in either version. */
static void containers_have_limits(void) {
    static const struct {
        const char *groups, *file[3], *text[3];
        int64_t cpus, memory; /* memory: 0 = no limit */
    } rows[] = {{"0::/\n", {"cpu.max"}, {"250000 100000\n"}, 2, 0},
                {"0::/\n", {"cpu.max", "memory.max"}, {"max 100000\n", "max\n"}, 0, 0},
                {"0::/\n", {"cpu.max"}, {"50000 100000\n"}, 1, 0},
                {"0::/\n", {"cpu.max", "memory.max"}, {"rubbish\n", "rubbish\n"}, 0, 0},
                {"0::/a/b\n", {"a/cpu.max", "a/b/cpu.max"}, {"300000 100000\n", "max 100000\n"}, 3, 0},
                {"0::/a/b\n", {"a/cpu.max", "a/b/cpu.max"}, {"300000 100000\n", "80000 20000\n"}, 3, 0},
                {"0::/a/b\n", {"a/cpu.max", "a/b/cpu.max"}, {"900000 100000\n", "80000 20000\n"}, 4, 0},
                {"0::/of/the/host\n", {"cpu.max", "memory.max"}, {"700000 100000\n", "1000\n"}, 7, 1000},
                {"4:cpu,cpuacct:/d\n0::/\n",
                 {"cpu,cpuacct/d/cpu.cfs_quota_us", "cpu,cpuacct/d/cpu.cfs_period_us"},
                 {"500000\n", "100000\n"},
                 5,
                 0},
                {"4:cpu,cpuacct:/d\n0::/\n",
                 {"cpu,cpuacct/d/cpu.cfs_quota_us", "cpu,cpuacct/d/cpu.cfs_period_us"},
                 {"-1\n", "100000\n"},
                 0,
                 0},
                {"4:memory:/d\n", {"memory/d/cpu.max"}, {"100000 100000\n"}, 0, 0},
                {"", {"cpu.max", "memory.max"}, {"100000 100000\n", "1000\n"}, 0, 0},
                {"0::/\n", {"memory.max", "memory.current"}, {"1000\n", "1200\n"}, 0, 1},
                {"0::/a\n",
                 {"a/memory.max", "a/memory.current", "a/memory.stat"},
                 {"5000000000\n", "3000000000\n", "anon 1\nactive_file 9\ninactive_file 500000000\n"},
                 0,
                 2500000000},
                {"3:memory:/d\n",
                 {"memory/d/memory.limit_in_bytes", "memory/d/memory.usage_in_bytes", "memory/d/memory.stat"},
                 {"5000000000\n", "3000000000\n", "inactive_file 7\ntotal_inactive_file 1000000000\n"},
                 0,
                 3000000000},
                {"3:memory:/d\n", {"memory/d/memory.limit_in_bytes"}, {"9223372036854771712\n"}, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *root = must_format("%s/groups%zu", test_folder(), i), *groups = must_format("%s/groups", root);
        write_text(root, "groups", rows[i].groups);
        for (int k = 0; k < 3 && rows[i].file[k]; k++) write_text(root, rows[i].file[k], rows[i].text[k]);
        int64_t memory = cgroups_memory(groups, root), wanted = rows[i].memory ? rows[i].memory : INT64_MAX;
        if (wanted == 1) wanted = 0; /* all of it is used */
        expect(cgroups_cpus(groups, root) == rows[i].cpus, "row %zu: %d CPUs", i, cgroups_cpus(groups, root));
        expect(memory == wanted, "row %zu: %lld bytes", i, (long long)memory);
        free(root), free(groups);
    }
    expect(!cgroups_cpus("no such file", "/") && cgroups_memory("no such file", "/") == INT64_MAX, "without groups");
}

static void threads_are_shared_out(void) {
    int cpus = launch_node_cpus();
    unsetenv("OMP_NUM_THREADS");
    expect(launch_threads(0) == cpus, "%d", launch_threads(0));
    expect(launch_threads(1) == 1, "%d", launch_threads(1));
    setenv("OMP_NUM_THREADS", "1", 1);
    expect(launch_threads(0) == 1, "%d", launch_threads(0));
    unsetenv("OMP_NUM_THREADS");
}

const TestCase launch_tests[] = {
    {"watchdog names a hanging rank", hanging_rank},
    {"watchdog names a stopped rank", stopped_rank},
    {"watchdog is patient while a save is in flight", slow_save},
    {"watchdog names a dead rank", dead_rank},
    {"watchdog forgives a job that was stopped as a whole", stopped_job_goes_on},
    {"SIGUSR2 prints the journal", journal_on_request},
    {"watchdog's notes are cheap", notes_are_cheap},
    {"signals are wishes, the second time orders", signals_are_wishes},
    {"early signals end a process at once", early_signals_end_at_once},
    {"place from the environment of mpirun and srun", places},
    {"words are quoted for a shell", words_are_quoted},
    {"threads are shared out", threads_are_shared_out},
    {"containers have limits", containers_have_limits},
    {0},
};
