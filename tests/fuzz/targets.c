/* targets.c - the table of targets, and what they share. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/test.h"

const FuzzTarget fuzz_targets[] = {
    {"safetensors", fuzz_safetensors}, {"index", fuzz_index},
    {"hf_config", fuzz_hf_config},     {"config", fuzz_config},
    {"manifest", fuzz_manifest},       {"documents", fuzz_documents},
    {"packed", fuzz_packed},           {"json_line", fuzz_json_line},
    {"megatron", fuzz_megatron},       {"questions", fuzz_questions},
    {"tokenizer", fuzz_tokenizer},     {"encode", fuzz_encode},
    {"commandline", fuzz_commandline}, {0},
};

const char *fuzz_file(const char *name, const uint8_t *data, int64_t bytes) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    FILE *f = fopen(path, "w");
    bool ok = f && fwrite(data, 1, (size_t)bytes, f) == (size_t)bytes;
    check(f && !fclose(f) && ok, "cannot write %s: %s", path, strerror(errno));
    return path;
}

char *fuzz_text(const uint8_t *data, int64_t bytes) {
    char *text = must_alloc(bytes + 1, 1);
    memcpy(text, data, (size_t)bytes);
    return text;
}

bool fuzz_verdict(bool taken, const Error *error) {
    check(taken || error->text[0], "refused without a message");
    return taken;
}
