#include "data/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/disk.h"

enum { CPU_SECONDS = 20, DONE = '.' }; /* DONE: the last byte of what came to its end */
static const int64_t MORE_MEMORY = (int64_t)1 << 30, MOST_BYTES = (int64_t)1 << 28;

/* -- the child --------------------------------------------------------------------------------------------- */

static void lower(int resource, rlim_t soft, rlim_t hard) {
    struct rlimit is;
    if (getrlimit(resource, &is)) return;
    is.rlim_cur = soft < is.rlim_max ? soft : is.rlim_max;
    is.rlim_max = hard < is.rlim_max ? hard : is.rlim_max;
    setrlimit(resource, &is);
}

/* Of address space: the child begins with all that its parent has. */
static void limit_memory(void) {
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lld", &pages) == 1) {
        rlim_t most = (rlim_t)(pages * sysconf(_SC_PAGESIZE) + MORE_MEMORY);
        lower(RLIMIT_AS, most, most);
    }
    if (f) fclose(f);
}

/* Handlers belong to the parent. All that is not a fault of the work stays blocked: a signal to the whole group is
 * the parent's to answer, and the child goes when it goes. */
static void limit_signals(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGXCPU};
    sigset_t open;
    sigemptyset(&open);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        signal(faults[i], SIG_DFL);
        sigaddset(&open, faults[i]);
    }
    sigprocmask(SIG_UNBLOCK, &open, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void quit(int code) { _exit(code); }

/* What a crash makes the C library say would stand among the lines of the parent, who has its own words for it. */
static void silence(void) {
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0) close(STDERR_FILENO);
}

static void run_child(int to, void (*work)(void *, FILE *), void *own) {
    base_abort = quit;
    silence();
    limit_signals();
    lower(RLIMIT_CORE, 0, 0);
    lower(RLIMIT_CPU, CPU_SECONDS, CPU_SECONDS + 5);
    limit_memory();
    FILE *out = fdopen(to, "w");
    if (!out) _exit(1);
    work(own, out);
    putc(DONE, out);
    _exit(fflush(out) != 0);
}

/* -- the parent -------------------------------------------------------------------------------------------- */

static pid_t start(int pipe_ends[2], void (*work)(void *, FILE *), void *own) {
    sigset_t all, before;
    if (pipe2(pipe_ends, O_CLOEXEC)) return -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = fork();
    int cause = errno;
    if (!child) run_child(pipe_ends[1], work, own);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(pipe_ends[1]);
    if (child < 0) close(pipe_ends[0]);
    errno = cause;
    return child;
}

/* To the end, or more than MOST_BYTES. */
static char *read_all(int from, int64_t *count) {
    int64_t room = 1 << 14;
    char *bytes = must_alloc(room, 1);
    *count = 0;
    while (*count <= MOST_BYTES) {
        if (*count == room) bytes = must_realloc(bytes, room *= 2, 1);
        ssize_t n = read(from, bytes + *count, (size_t)(room - *count));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        *count += n;
    }
    return bytes;
}

static bool say_why(const char *file, int status, Error *error) {
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGXCPU) return fail(error, "%s: damaged: reading it takes more than %d s", file, CPU_SECONDS);
    if (number) return fail(error, "%s: damaged: reading it crashed (%s)", file, strsignal(number));
    return fail(error, "%s: damaged: reading it failed (exit %d)", file, WEXITSTATUS(status));
}

char *apart(void (*work)(void *own, FILE *out), void *own, const char *file, int64_t *count, Error *error) {
    int ends[2], status = 0;
    pid_t child = start(ends, work, own);
    if (child < 0) return disk_fail(error, file, "start a process that reads it"), NULL;
    char *bytes = read_all(ends[0], count);
    close(ends[0]);
    if (*count > MOST_BYTES) kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (*count > 0 && *count <= MOST_BYTES && bytes[*count - 1] == DONE && status == 0) return --*count, bytes;
    free(bytes);
    if (*count > MOST_BYTES) return fail(error, "%s: damaged: it lists too much", file), NULL;
    return say_why(file, status, error), NULL;
}
