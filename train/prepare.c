/* prepare.c - `dsv2 prepare CONFIG`: every set of a config becomes token shards. */
#include <stdio.h>
#include <stdlib.h>

#include "train/commands.h"
#include "train/log.h"
#include "train/setup.h"

static bool prepare_sets(const Config *c, const Tokenizer *tokenizer, Error *error) {
    char *folder = setup_data_folder(c), tokens[32], held[32];
    bool ok = true;
    for (int i = 0; ok && i < c->n_data; i++) {
        Prepared p;
        ok = prepare_set(&p, c, &c->data[i], tokenizer, folder, error);
        if (!ok) break;
        printf("%-12s %s tokens in %lld documents, %s held out%s -> %s\n", c->data[i].name,
               format_commas(tokens, p.tokens), (long long)p.documents, format_commas(held, p.validation_tokens),
               p.cached ? " (was there)" : "", p.train);
    }
    free(folder);
    return ok;
}

int command_prepare(const CommandLine *line) {
    Config c;
    Error error = {0};
    Tokenizer *tokenizer = NULL;
    char *warnings = NULL;
    int code = EXIT_USAGE;
    bool ok = config_load(&c, line->input[0], line->override, line->n_override, 0, &warnings, &error);
    if (ok && *warnings) fprintf(stderr, "%s", warnings);
    ok = ok && setup_tokenizer(&c, &tokenizer, &error);
    if (ok) code = prepare_sets(&c, tokenizer, &error) ? EXIT_DONE : EXIT_INPUT;
    if (code != EXIT_DONE) fprintf(stderr, "dsv2: %s\n", error.text);
    if (tokenizer) tokenizer_close(tokenizer);
    free(warnings);
    config_free(&c);
    return code;
}
