/* test_configs_override.c - what the command line changed, and that it is told; paths that a resumed run says otherwise. */
#include "tests/test_configs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *extra, *word, *changed;
} words[] = {
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
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        Error error = {0};
        char *warnings = NULL;
        bool ok = load_extra(&c, words[i].extra, words[i].word, 2, &warnings, &error);
        expect(ok, "%s: %s", words[i].word, error.text);
        if (ok) expect(!strcmp(config_changed(&c), words[i].changed), "%s: %s", words[i].word, config_changed(&c));
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

/* Whether a run may go on whose dump, from a folder, has one line and the new run another. */
static bool may_resume(const char *folder, const char *line, const char *now_folder, const char *now_line,
                       Error *error) {
    static Config old, written, now;
    const char *usual = "init: random\noutput_dir: x\nsteps: 1\ntokenizer: bytes\n";
    char *text = must_format("%s%s%s\n", folder, usual, line),
         *now_text = must_format("%s%s%s\n", now_folder, usual, now_line);
    char *changes = NULL;
    bool read = config_parse_dump(&old, text, error) && config_parse_dump(&written, text, error) &&
                config_parse_dump(&now, now_text, error);
    check(read, "%s", error->text);
    bool ok = config_resume_check(&old, &written, &now, &changes, error);
    config_free(&old), config_free(&written), config_free(&now);
    free(changes), free(text), free(now_text);
    return ok;
}

#define FROM(folder) "# relative paths begin in \"" folder "\"\n"

void paths_are_compared(void) {
    static const struct {
        const char *folder, *line, *now_folder, *now_line;
        bool same;
    } cases[] = {
        {FROM("/a"), "init_from: x/kk", FROM("/b"), "init_from: /a/x/kk", true},
        {FROM("/a"), "init_from: x/kk", FROM("/a/x"), "init_from: ../x/./kk/", true},
        {FROM("/a"), "init_from: x/kk", FROM("/a"), "init_from: x/kk2", false},
        {FROM("/a"), "init_from: x/kk", FROM("/b"), "init_from: x/k", false},
        {FROM("/a"), "init_from: x/kk", FROM("/moved"), "init_from: x/kk", true}, /* with all its folder */
        {"", "init_from: /../x//kk", "", "init_from: /x/kk", true},
        {FROM("/a"), "data: {s: {path: cd/../bd/*.txt}}", FROM("/a/cd"), "data: {s: {path: ../bd/*.txt}}", true},
        {FROM("/a"), "data: {s: {path: bd/*.txt}}", FROM("/a"), "data: {s: {path: bd/*.t}}", false},
        {FROM("/a"), "data: {s: {path: bd, field: x}}", FROM("/a"), "data: {s: {path: bd, field: ./x}}", false},
        {FROM("/a"), "sample_steps: 1", FROM("/b"), "sample_steps: 1", true},
    };
    static const struct {
        const char *line, *now;
        bool same;
    } tokenizers[] = {
        {"tk", "tk/tokenizer.json", true},
        {"tk/tokenizer.json", "/a/tk", true},
        {"tk", "tk2", false},
        {"tk/other.json", "tk", false},
        {"bytes", "./bytes", false},
        {"bytes", "bytes/tokenizer.json", false},
    };
    Error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(may_resume(cases[i].folder, cases[i].line, cases[i].now_folder, cases[i].now_line, &error) ==
                   cases[i].same,
               "%s -> %s%s: %s", cases[i].line, cases[i].now_folder, cases[i].now_line, error.text);
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        static Config old, now;
        char *changes = NULL,
             *a = must_format(FROM("/a") "model: {vocab_size: 300}\ntokenizer: %s\n", tokenizers[i].line),
             *b = must_format(FROM("/a") "model: {vocab_size: 300}\ntokenizer: %s\n", tokenizers[i].now);
        check(config_parse_dump(&old, a, &error) && config_parse_dump(&now, b, &error), "%s", error.text);
        expect(config_resume_check(&old, &old, &now, &changes, &error) == tokenizers[i].same, "tokenizer %s -> %s",
               tokenizers[i].line, tokenizers[i].now);
        config_free(&old), config_free(&now);
        free(changes), free(a), free(b);
    }
}
