/* libfuzzer.c - random bytes for the target that FUZZ_TARGET names. Linked with clang's libFuzzer alone,
 * by tests/fuzz/run.sh through `make fuzz`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

const char *test_folder(void) {
    const char *folder = getenv("FUZZ_FOLDER");
    check(folder, "FUZZ_FOLDER does not say where files may be written");
    return folder;
}

static void end_here(int code) {
    (void)code;
    abort(); /* so that a check that does not hold counts as a crash */
}

static const FuzzTarget *find_target(void) {
    const char *wanted = getenv("FUZZ_TARGET");
    const FuzzTarget *t = fuzz_targets;
    while (t->name && wanted && strcmp(t->name, wanted)) t++;
    check(t->name && wanted, "FUZZ_TARGET names no target of tests/fuzz/targets.c");
    base_abort = end_here;
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const FuzzTarget *target;
    if (!target) target = find_target();
    target->run(data, (int64_t)bytes);
    return 0;
}
