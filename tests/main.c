/* main.c - runs the tests: `run` all of them, `run WORD...` those whose suite/name contains a word.
 *
 * A suite that is not linked in (weak symbol) counts as a failure: a test that is not there must
 * not look like one that passed. */
#include "tests/test.h"

#include "launch/threads.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const TestCase base_tests[] __attribute__((weak)), kernels_tests[] __attribute__((weak)),
    configs_tests[] __attribute__((weak)), data_tests[] __attribute__((weak)), launch_tests[] __attribute__((weak)),
    model_tests[] __attribute__((weak)), checkpoint_tests[] __attribute__((weak)), h5_tests[] __attribute__((weak)),
    train_tests[] __attribute__((weak)), log_tests[] __attribute__((weak)), commands_tests[] __attribute__((weak)),
    fuzz_tests[] __attribute__((weak)), eval_tests[] __attribute__((weak)), tokenizer_tests[] __attribute__((weak)),
    corpora_tests[] __attribute__((weak)), tokenizer_file_tests[] __attribute__((weak)),
    chat_tests[] __attribute__((weak)), generate_tests[] __attribute__((weak)),
    train_tokenizer_tests[] __attribute__((weak)), import_tests[] __attribute__((weak)),
    journal_tests[] __attribute__((weak));

typedef struct {
    const char *name;
    const TestCase *tests;
} Suite;

static const char *current_test; /* "suite/name" */
static int failures;             /* of the current test */

void test_failed(const char *file, int line, const char *what, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("  %s:%d: %s: expected %s: %s\n", file, line, current_test, what, text);
    failures++;
}

static char folder[64];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

static void remove_folder(void) {
    if (folder[0]) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    folder[0] = 0;
}

const char *test_folder(void) {
    if (folder[0]) return folder;
    mkdir("build", 0777);
    snprintf(folder, sizeof folder, "build/test-%d", (int)getpid());
    check(!mkdir(folder, 0777), "cannot make %s", folder);
    return folder;
}

static bool wanted(const char *name, int words, char **word) {
    for (int i = 0; i < words; i++)
        if (strstr(name, word[i])) return true;
    return words == 0;
}

static void run_test(const char *suite, const TestCase *test, int words, char **word, int counts[2]) {
    char name[256];
    snprintf(name, sizeof name, "%s/%s", suite, test->name);
    if (!wanted(name, words, word)) return;
    current_test = name;
    failures = 0;
    double start = clock_seconds();
    test->run();
    printf("%s %-58s %7.2f s\n", failures ? "FAIL" : "ok  ", name, clock_seconds() - start);
    fflush(stdout);
    counts[failures != 0]++;
    remove_folder();
}

int main(int argc, char **argv) {
    if (threads_waiting()) execv("/proc/self/exe", argv);
    signal(SIGHUP, SIG_DFL); /* under nohup it is ignored, by the programs tested too */
    const Suite suites[] = {{"base", base_tests},
                            {"kernels", kernels_tests},
                            {"configs", configs_tests},
                            {"data", data_tests},
                            {"launch", launch_tests},
                            {"journal", journal_tests},
                            {"model", model_tests},
                            {"h5", h5_tests},
                            {"checkpoint", checkpoint_tests},
                            {"train", train_tests},
                            {"log", log_tests},
                            {"commands", commands_tests},
                            {"fuzz", fuzz_tests},
                            {"eval", eval_tests},
                            {"prepare", corpora_tests},
                            {"tokenizer", tokenizer_tests},
                            {"tokenizer file", tokenizer_file_tests},
                            {"train tokenizer", train_tokenizer_tests},
                            {"chat", chat_tests},
                            {"generate", generate_tests},
                            {"import", import_tests}};
    int counts[2] = {0};
    for (size_t s = 0; s < sizeof suites / sizeof *suites; s++) {
        if (!suites[s].tests && wanted(suites[s].name, argc - 1, argv + 1)) {
            printf("FAIL suite %s is not linked in\n", suites[s].name);
            counts[1]++;
        }
        for (const TestCase *t = suites[s].tests; t && t->name; t++)
            run_test(suites[s].name, t, argc - 1, argv + 1, counts);
    }
    printf("%d passed, %d failed\n", counts[0], counts[1]);
    return counts[1] != 0;
}
