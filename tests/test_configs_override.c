/* test_configs_override.c - what the command line changed, and that it is told. */
#include "tests/test_configs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *extra, *word, *changed;
} changes[] = {
    {"learning_rate: 2e-3", "learning_rate=3e-3", "learning_rate 0.002 -> 0.003 (cli)\n"},
    {"learning_rate: 2e-3", "learning_rate=null", "learning_rate 0.002 -> 0.001 (cli)\n"},
    {"learning_rate: 2e-3", "learning_rate=0.002", ""}, /* one of a sweep may be the file's */
    {"learning_rate: 1e-3", "learning_rate=null", ""},
    {"sample_steps: 1\nsample_prompt: a", "sample_prompt=\"\"", "sample_prompt \"a\" -> unset (cli)\n"},
    {"layout: {ep: 2}", "layout=null", "layout.ep 2 -> 1 (cli)\n"},
    {"", "data.sample.validation=0.1", "data.sample.validation 0 -> 0.1 (cli)\n"},
    {"data: {sample: {validation: 0.1}}", "data.sample.validation=null", "data.sample.validation 0.1 -> 0 (cli)\n"},
    {"data: {more: {path: x}}", "data.more=null", "data.more removed (cli)\n"},
    {"", "data.more.path=x", "data.more.path unset -> \"x\" (cli)\n"},
    {"", "eval.more.path=x", "eval.more.path unset -> \"x\" (cli)\n"},
    {"", "mix={sample: 1}", "mix [\"sample\"] -> {\"sample\": 1} (cli)\n"},
};

void words_change_values(void) {
    static Config c;
    write_good();
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        Error error = {0};
        char *warnings = NULL;
        bool ok = load_extra(&c, changes[i].extra, changes[i].word, 2, &warnings, &error);
        expect(ok, "%s: %s", changes[i].word, error.text);
        if (ok)
            expect(!strcmp(config_changed(&c), changes[i].changed), "%s: %s", changes[i].word, config_changed(&c));
        if (ok) config_free(&c);
        free(warnings);
    }
}

/* A mapping is one value: it comes from where it was changed last. */
void mixtures_remember_words(void) {
    static Config c;
    static const struct {
        const char *word, *origin, *value, *changed;
    } cases[] = {
        {"mix={a: 0.5, b: 0.5}", "cli", "{\"a\": 0.5, \"b\": 0.5}", "mix {\"a\": 0.7, \"b\": 0.3} -> {\"a\": 0.5, "},
        {"mix={a: 0.7, b: 0.3}", "cli", "{\"a\": 0.7, \"b\": 0.3}", ""},
        {"mix={a: null, b: 1}", "cli", "{\"b\": 1}", "mix {\"a\": 0.7, \"b\": 0.3} -> {\"b\": 1} (cli)\n"},
        {"steps=9", "bad.yaml:3", "{\"a\": 0.7, \"b\": 0.3}", "steps 100 -> 9 (cli)\n"},
    };
    write_config("good.yaml", "init: random\noutput_dir: runs/x\nsteps: 100\nmix: {a: 0.5, b: 0.5}\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        char *warnings = NULL;
        bool ok = load_extra(&c, "data: {a: {path: x}, b: {path: y}}\nmix: {a: 0.7, b: 0.3}", cases[i].word, 1,
                             &warnings, &error);
        expect(ok, "%s: %s", cases[i].word, error.text);
        free(warnings);
        if (!ok) continue;
        char *dump = config_dump(&c, true), *line = must_format("mix: %s  # %s\n", cases[i].value, cases[i].origin);
        expect(strstr(dump, line) != NULL, "%s: no '%s' in %s", cases[i].word, line, dump);
        expect(*cases[i].changed ? strstr(config_changed(&c), cases[i].changed) != NULL : !*config_changed(&c),
               "%s: %s", cases[i].word, config_changed(&c));
        free(dump);
        free(line);
        config_free(&c);
    }
}
