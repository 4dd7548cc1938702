/* nth.c - runs a command and does something at the Nth of its system calls, counted over all its
 * threads from the moment it raises SIGURG (the driver's mark, ignored when nobody traces).
 *
 *   nth count all|write COMMAND...     prints how many there are
 *   nth kill N COMMAND...              SIGKILL before the Nth call
 *   nth EIO|ENOSPC|EINTR N COMMAND...  the Nth write-like call does nothing and fails so; stderr names it
 *   nth full N COMMAND...              from the Nth write-like call on the disk is full
 *   nth short N COMMAND...             the Nth write-like call, if it is a pwrite, moves half of its bytes
 *
 * strace can inject too, but counts per thread and per name of call; a sweep then never reaches
 * what the main thread does after the writer thread. Exit status: the command's, 128 + signal when
 * killed, 99 when there was no Nth call. x86-64. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

typedef enum { COUNT, KILL, FAIL, FULL, SHORT } Mode;

static struct {
    Mode mode;
    bool writes_only, armed;
    int error;
    long nth, seen;
    pid_t child, failing; /* failing: thread whose call is being failed */
    int exit_code;
} state;

static void stop(const char *what) {
    perror(what);
    exit(98);
}

/* Calls by which a save changes the disk, or learns that it cannot. */
static const struct {
    long number;
    const char *name;
} write_like[] = {
    {SYS_openat, "openat"}, {SYS_pwrite64, "pwrite64"}, {SYS_fallocate, "fallocate"}, {SYS_fsync, "fsync"},
    {SYS_close, "close"},   {SYS_mkdir, "mkdir"},       {SYS_rename, "rename"},       {SYS_renameat2, "renameat2"},
    {SYS_unlink, "unlink"}, {SYS_unlinkat, "unlinkat"}, {SYS_rmdir, "rmdir"},         {SYS_statfs, "statfs"},
};

static const char *write_like_name(long call) { /* NULL: another call */
    for (size_t i = 0; i < sizeof write_like / sizeof *write_like; i++)
        if (write_like[i].number == call) return write_like[i].name;
    return NULL;
}

static void set_registers(pid_t thread, struct user_regs_struct *r) {
    if (ptrace(PTRACE_SETREGS, thread, NULL, r)) stop("PTRACE_SETREGS");
}

static bool takes_room(long call) { return call == SYS_fallocate || call == SYS_pwrite64 || call == SYS_mkdir; }

static void act(pid_t thread, long call) {
    struct user_regs_struct r;
    if (ptrace(PTRACE_GETREGS, thread, NULL, &r)) stop("PTRACE_GETREGS");
    if (state.mode == KILL) {
        kill(state.child, SIGKILL);
    } else if (state.mode == FAIL || (state.mode == FULL && takes_room(call))) {
        fprintf(stderr, "nth: %s fails\n", write_like_name(call));
        r.orig_rax = (unsigned long long)-1; /* no such call */
        set_registers(thread, &r);
        state.failing = thread;
    } else if (state.mode == SHORT && call == SYS_pwrite64) {
        r.rdx = (r.rdx + 1) / 2;
        set_registers(thread, &r);
    }
}

static void at_entry(pid_t thread, long call) {
    if (state.writes_only && !write_like_name(call)) return;
    state.seen++;
    if (state.seen == state.nth || (state.mode == FULL && state.seen > state.nth)) act(thread, call);
}

static void at_exit(pid_t thread) {
    struct user_regs_struct r;
    if (thread != state.failing) return;
    if (ptrace(PTRACE_GETREGS, thread, NULL, &r)) stop("PTRACE_GETREGS");
    r.rax = (unsigned long long)-state.error;
    set_registers(thread, &r);
    state.failing = 0;
}

/* What to hand to the thread when it goes on: the mark, our own stops and the first SIGSTOP of a thread are not
 * signals of its own. */
static int handle_stop(pid_t thread, int status) {
    struct ptrace_syscall_info info;
    int sig = WSTOPSIG(status);
    if (sig == (SIGTRAP | 0x80)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) return 0;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) at_entry(thread, (long)info.entry.nr);
        if (info.op == PTRACE_SYSCALL_INFO_EXIT) at_exit(thread);
        return 0;
    }
    if (sig == SIGURG) state.armed = true;
    return status >> 16 || sig == SIGURG || sig == SIGSTOP || sig == SIGTRAP ? 0 : sig;
}

static void trace(void) {
    int status;
    for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status)) {
            int sig = handle_stop(thread, status);
            ptrace(state.armed ? PTRACE_SYSCALL : PTRACE_CONT, thread, NULL,
                   sig); /* fails when it was killed: fine */
        } else if (thread == state.child) {
            state.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
    }
}

static void start(char **command) {
    int status;
    state.child = fork();
    if (state.child < 0) stop("fork");
    if (!state.child) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execvp(*command, command);
        stop(*command);
    }
    waitpid(state.child, &status, 0);
    if (ptrace(PTRACE_SETOPTIONS, state.child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL))
        stop("PTRACE_SETOPTIONS");
    ptrace(PTRACE_CONT, state.child, NULL, 0);
}

static void parse(char **argv) {
    static const struct {
        const char *name;
        Mode mode;
        int error;
    } modes[] = {
        {"count", COUNT, 0},    {"kill", KILL, 0},   {"EIO", FAIL, EIO},     {"ENOSPC", FAIL, ENOSPC},
        {"EINTR", FAIL, EINTR}, {"short", SHORT, 0}, {"full", FULL, ENOSPC},
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name)) continue;
        state.mode = modes[i].mode;
        state.error = modes[i].error;
        state.nth = state.mode == COUNT ? -1 : atol(argv[2]);
        state.writes_only = state.mode == COUNT ? !strcmp(argv[2], "write") : state.mode != KILL;
        return;
    }
    fprintf(stderr, "nth: no mode %s\n", argv[1]);
    exit(98);
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: nth MODE N COMMAND...\n"), 98;
    parse(argv);
    start(argv + 3);
    trace();
    if (state.mode == COUNT) return printf("%ld\n", state.seen), state.exit_code;
    return state.seen < state.nth ? 99 : state.exit_code;
}
