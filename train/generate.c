/* generate.c - `dsv2 generate MODEL PROMPT`: continues a text, forward over the whole context for each token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/agree.h"
#include "train/commands.h"
#include "train/sample.h"
#include "train/session.h"
#include "train/setup.h"

static void print_piece(void *own, const char *text, int64_t bytes) {
    (void)own;
    fwrite(text, 1, (size_t)bytes, stdout);
    fflush(stdout);
}

static bool generate(Session *s, const Tokenizer *t, const char *prompt, Error *error) {
    const Config *c = s->config;
    int32_t *ids;
    int64_t n;
    if (!sample_prompt(t, prompt, &ids, &n, error)) return false;
    SampleRule rule = {.temperature = c->temperature,
                       .top_p = c->top_p,
                       .top_k = c->top_k,
                       .seed = (uint64_t)c->seed,
                       .new_tokens = c->max_new_tokens,
                       .eos = tokenizer_eos(t)};
    if (base_rank == 0) print_piece(NULL, prompt, (int64_t)strlen(prompt));
    sample_text(&s->engine, t, ids, n, rule, print_piece, NULL);
    if (base_rank == 0) print_piece(NULL, "\n", 1);
    free(ids);
    return true;
}

static bool run(Session *s, Config *c, Tokenizer **t, const CommandLine *line, Error *error) {
    ModelPath model;
    char *warnings = NULL;
    bool ok = model_find(line->input[0], &model, error) &&
              model_config(c, &model, line->override, line->n_override, line->ranks, &warnings, error) &&
              setup_tokenizer(c, t, error);
    if (ok && warnings && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    EngineUse use = {.sequence_length = c->sequence_length, .micro = 1, .sequences = 1, .logits_rows = 1};
    if (!ok || !session_open(s, c, use, error) || !session_load(s, &model, NULL, error)) return false;
    return generate(s, *t, line->n_input > 1 ? line->input[1] : "", error);
}

int command_generate(const CommandLine *line) {
    Session s = {0};
    Config c = {0};
    Tokenizer *t = NULL;
    Error error = {0};
    bool ok = run(&s, &c, &t, line, &error);
    if (!ok && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    session_close(&s);
    if (t) tokenizer_close(t);
    config_free(&c);
    return ok ? EXIT_DONE : EXIT_INPUT;
}
