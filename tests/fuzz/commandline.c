/* commandline.c - the words that people type; a line of the input is a word. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "train/commands.h"

enum { WORDS_MOST = 400 };

bool fuzz_commandline(const uint8_t *data, int64_t bytes) {
    static CommandLine line;
    const char *words[WORDS_MOST] = {"dsv2"};
    Error error = {0};
    int n = 1;
    char *text = fuzz_text(data, bytes), *rest = text;
    while (n < WORDS_MOST && rest) words[n++] = strsep(&rest, "\n");
    bool ok = commandline_parse(&line, n, words, &error);
    if (ok && !line.help && !line.version) {
        const Command *c = command_find(line.command);
        check(c && line.n_input >= c->min_inputs && line.n_input <= c->max_inputs, "%d inputs", line.n_input);
        check(line.ranks >= 1 && (c->takes & TAKES_KEYS || !line.n_override), "%d ranks", line.ranks);
        for (int i = 0; i < line.n_override; i++) check(strchr(line.override[i], '='), "%s", line.override[i]);
    }
    free(text);
    return fuzz_verdict(ok, &error);
}
