/* configs.c - a YAML file with words of the command line, a published config.json: what they make of a config
 * can be printed and read back. */
#include <stdlib.h>
#include <string.h>

#include "configs/config.h"
#include "tests/fuzz/fuzz.h"

/* Any model can be written as a config.json, which config_to_hf reads back itself. */
static void write_anew(const Config *c) {
    Error error = {0};
    char *text = config_to_hf(c, NULL, "bfloat16", &error);
    check(text, "%s", error.text);
    free(text);
}

static void look_at(Config *c) {
    static Config again;
    if (c->vocab_size) write_anew(c);
    Error error = {0};
    char *dump = config_dump(c, false), *with_origins = config_dump(c, true);
    check(config_parse_dump(&again, with_origins, &error), "the dump is not read back: %s", error.text);
    char *dump_again = config_dump(&again, false);
    check(!strcmp(dump, dump_again), "the dump reads back as another config:\n%s\n%s", dump, dump_again);
    free(dump);
    free(with_origins);
    free(dump_again);
    config_free(&again);
    config_free(c);
}

enum { WORDS_MOST = 16 };

/* A file; behind a NUL, words of the command line, one a line. A path would lead to files that are none of the
 * parser's business. */
bool fuzz_config(const uint8_t *data, int64_t bytes) {
    static Config c;
    Error error = {.text = "a path"};
    const char *words[WORDS_MOST];
    char *text = fuzz_text(data, bytes), *warnings = NULL;
    int64_t file_bytes = (int64_t)strlen(text);
    char *rest = file_bytes < bytes ? text + file_bytes + 1 : NULL;
    int n = 0;
    while (n < WORDS_MOST && rest) words[n++] = strsep(&rest, "\n");
    bool ok = !memchr(text, '/', (size_t)bytes) &&
              config_load(&c, fuzz_file("fuzz.yaml", data, file_bytes), words, n, 0, &warnings, &error);
    free(warnings);
    free(text);
    if (ok) look_at(&c);
    return fuzz_verdict(ok, &error);
}

/* What a config.json says stays as it came where nothing has changed. */
static void write_back(const Config *c, const char *source) {
    Error error = {0};
    char *same = config_to_hf(c, source, NULL, &error);
    check(same && !strcmp(same, source), "config.json does not stay as it came: %s", same ? same : error.text);
    free(same);
}

bool fuzz_hf_config(const uint8_t *data, int64_t bytes) {
    static Config c;
    Error error = {0};
    char *warnings = NULL;
    bool ok = config_from_hf(&c, fuzz_file("config.json", data, bytes), NULL, 0, 1, &warnings, &error);
    free(warnings);
    char *source = fuzz_text(data, bytes);
    if (ok) write_back(&c, source);
    free(source);
    if (ok) look_at(&c);
    return fuzz_verdict(ok, &error);
}
