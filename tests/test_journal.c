/* test_journal.c - the watchdog's journals that processes which were killed left behind. */
#include "launch/watchdog.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOURNAL_ID = 0x7e57 };
static const char own_journal[] = "/dev/shm/dsv2-journal.7e57";
static bool locked_at_barrier;

static void journal_path(char path[64], const char *id) { snprintf(path, 64, "/dev/shm/dsv2-journal.%s", id); }

static void give_id(Comm *comm, void *data, int64_t bytes, int root) {
    (void)comm, (void)bytes, (void)root;
    *(int64_t *)data = JOURNAL_ID;
}

static void look_at_own(Comm *comm) {
    (void)comm;
    int file = open(own_journal, O_RDWR | O_CLOEXEC);
    locked_at_barrier = file >= 0 && flock(file, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
    if (file >= 0) close(file);
}

static void open_alone(void) {
    static const CommOps ops = {.host_broadcast = give_id, .barrier = look_at_own};
    Comm world = {.ops = &ops, .size = 1};
    watchdog_open(&world, 0);
    watchdog_close();
}

/* A file of that age, open. */
static int journal_left(const char *id, time_t hours) {
    char path[64];
    journal_path(path, id);
    int file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    struct timespec at[2] = {{.tv_sec = time(NULL) - hours * 3600}, {.tv_sec = time(NULL) - hours * 3600}};
    check(file >= 0 && !futimens(file, at), "%s: %s", path, strerror(errno));
    return file;
}

static void journals_are_swept(void) {
    enum { GONE, YOUNG, USED, LINK, PIPE, OTHERS, NAMED, PATHS };
    static const char *const ids[PATHS] = {"test-gone", "test-young",  "test-used", "test-link",
                                           "test-pipe", "test-others", "test-named"};
    char path[PATHS][64];
    int file[PATHS] = {0};
    for (int i = 0; i < PATHS; i++) journal_path(path[i], ids[i]), unlink(path[i]);
    file[GONE] = journal_left(ids[GONE], 2);
    file[YOUNG] = journal_left(ids[YOUNG], 0);
    file[USED] = journal_left(ids[USED], 2);
    check(!flock(file[USED], LOCK_SH), "flock: %s", strerror(errno));
    snprintf(path[NAMED], sizeof path[NAMED], "/dev/shm/other-dsv2-journal.test");
    file[NAMED] = journal_left("test-named", 2);
    check(!rename("/dev/shm/dsv2-journal.test-named", path[NAMED]), "rename: %s", strerror(errno));
    check(!symlink(path[NAMED], path[LINK]) && !mkfifo(path[PIPE], 0600), "%s", strerror(errno));
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    utimensat(AT_FDCWD, path[LINK], old, AT_SYMLINK_NOFOLLOW), utimensat(AT_FDCWD, path[PIPE], old, 0);
    file[OTHERS] = journal_left(ids[OTHERS], 2);
    bool root = !geteuid() && !fchown(file[OTHERS], 65534, 65534);
    open_alone();
    for (int i = 0; i < PATHS; i++) {
        struct stat s;
        bool there = !lstat(path[i], &s), wanted = i != GONE && (i != OTHERS || root);
        expect(there == wanted, "%s is %s", path[i], there ? "left" : "gone");
        unlink(path[i]);
        if (file[i]) close(file[i]);
    }
    expect(locked_at_barrier && access(own_journal, F_OK), "the own journal was not locked, or stays");
}

/* Taken away just when it was opened: the next one is not. */
static void journal_swept_too_early(void) {
    int file = journal_left("7e57", 2), status = -1;
    check(!flock(file, LOCK_EX), "flock: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(file);
        open_alone();
        _exit(locked_at_barrier);
    }
    usleep(100000);
    expect(waitpid(child, &status, WNOHANG) == 0, "it did not wait for the sweeper");
    unlink(own_journal);
    close(file);
    expect(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %d", status);
}

const TestCase journal_tests[] = {
    {"those that nobody uses are swept", journals_are_swept},
    {"one that is swept too early is made again", journal_swept_too_early},
    {0},
};
