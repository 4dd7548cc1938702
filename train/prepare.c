/* prepare.c - `dsv2 prepare CONFIG`: every set of a config becomes token shards. */
#include <stdio.h>
#include <stdlib.h>

#include "launch/agree.h"
#include "launch/signals.h"
#include "launch/watchdog.h"
#include "train/commands.h"
#include "train/log.h"
#include "train/session.h"
#include "train/setup.h"
#include "train/survey.h"

static void print_set(const char *name, const Prepared *p) {
    char tokens[32], held[32];
    if (base_rank) return;
    printf("%-12s %s tokens in %lld documents, %s held out%s -> %s (%lld shard%s)\n", name,
           format_commas(tokens, p->tokens), (long long)p->documents, format_commas(held, p->validation_tokens),
           p->cached ? " (was there)" : "", p->train, (long long)p->shards, p->shards == 1 ? "" : "s");
    const SourceCounts *s = &p->source;
    if (s->duplicates || s->too_short || s->bad_lines || s->skipped)
        printf("%-12s left out: %lld duplicates, %lld too short, %lld without text, %lld bad lines\n", "",
               (long long)s->duplicates, (long long)s->too_short, (long long)s->skipped, (long long)s->bad_lines);
    for (int i = 0; i < BAD_NAMED && p->bad[i][0]; i++) printf("%-12s bad: %s\n", "", p->bad[i]);
    if (p->parts_kept)
        printf("%-12s went on from %lld of %lld parts that an interrupted run had made\n", "",
               (long long)p->parts_kept, (long long)p->parts);
}

static int prepare_sets(const Config *c, const Tokenizer *tokenizer, Comm *world, Error *error) {
    char *folder = setup_data_folder(c);
    int code = EXIT_DONE;
    for (int i = 0; code == EXIT_DONE && i < c->n_data; i++) {
        Prepared p;
        bool ok = prepare_set(&p, c, &c->data[i], tokenizer, folder, world, error);
        if (ok) print_set(c->data[i].name, &p);
        if (!ok) code = p.stopped ? EXIT_RETRY : error_code(error, EXIT_INPUT);
    }
    free(folder);
    return code;
}

static int survey_sets(const Config *c, const Tokenizer *tokenizer, Comm *world, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < c->n_data; i++) ok = survey_print(c, &c->data[i], tokenizer, world, error);
    return ok ? EXIT_DONE : signals_pending() ? EXIT_RETRY : EXIT_INPUT;
}

static bool configure(Config *c, Tokenizer **tokenizer, const CommandLine *line, Error *error) {
    char *warnings = NULL;
    bool ok = config_load(c, line->input[0], line->override, line->n_override, 0, &warnings, error);
    if (ok && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    return ok && setup_tokenizer(c, tokenizer, error);
}

static int prepare(const Config *c, const Tokenizer *tokenizer, const CommandLine *line, Comm *world, Error *error) {
    watchdog_open(world, c->watchdog_seconds);
    watchdog_section(SECTION_PREPARE);
    setup_warn_of_bytes(c);
    return (line->dry_run ? survey_sets : prepare_sets)(c, tokenizer, world, error);
}

int command_prepare(const CommandLine *line) {
    Config c = {0};
    Error error = {0};
    Tokenizer *tokenizer = NULL;
    int code = EXIT_USAGE;
    signals_open();
    Comm *world = session_world();
    if (agree(world, configure(&c, &tokenizer, line, &error), &error))
        code = prepare(&c, tokenizer, line, world, &error);
    if (code != EXIT_DONE && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    world->ops->close(world);
    if (tokenizer) tokenizer_close(tokenizer);
    config_free(&c);
    return code;
}
