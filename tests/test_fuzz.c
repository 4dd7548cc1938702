/* test_fuzz.c - replays the inputs of tests/fuzz/corpus: seeds, and everything that ever broke a parser.
 * Each in a process of its own, so that a crash is one failure that names its input. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/disk.h"
#include "tests/fuzz/fuzz.h"
#include "tests/test.h"

enum { MOST_BYTES = 1 << 20, TAKEN = 10, REFUSED = 11 };

static int run_apart(const FuzzTarget *target, const char *path) {
    Error error;
    int64_t bytes;
    int status = 0;
    char *data = disk_read_file(path, MOST_BYTES, &bytes, &error);
    expect(data, "%s", error.text);
    if (!data) return -1;
    test_folder(); /* made here, so that this process removes it */
    pid_t child = fork();
    if (child == 0) _exit(target->run((const uint8_t *)data, bytes) ? TAKEN : REFUSED);
    free(data);
    check(child > 0 && waitpid(child, &status, 0) == child, "cannot fork");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void replay_file(const FuzzTarget *target, const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int code = run_apart(target, path);
    expect(code == TAKEN || code == REFUSED, "%s ends the process with %d", path, code);
    expect(strncmp(name, "ok-", 3) || code == TAKEN, "%s is refused", path);
    expect(strncmp(name, "bad-", 4) || code == REFUSED, "%s is taken", path);
}

static void replay_target(const FuzzTarget *target) {
    char folder[256];
    int taken = 0, refused = 0;
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", target->name);
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (*entry->d_name == '.') continue;
        replay_file(target, folder, entry->d_name);
        taken += !strncmp(entry->d_name, "ok-", 3);
        refused += !strncmp(entry->d_name, "bad-", 4);
    }
    if (d) closedir(d);
    expect(taken && refused, "%s holds %d inputs to take and %d to refuse", folder, taken, refused);
}

static void replay(void) {
    for (const FuzzTarget *t = fuzz_targets; t->name; t++) replay_target(t);
}

const TestCase fuzz_tests[] = {
    {"the corpora", replay},
    {0},
};
