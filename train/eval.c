/* eval.c - `dsv2 eval MODEL DATA`: loss and perplexity of a model on text, or on a token shard. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "launch/agree.h"
#include "train/commands.h"
#include "train/evaluate.h"
#include "train/log.h"
#include "train/session.h"
#include "train/setup.h"

typedef struct {
    Config config;
    Session session;
    Tokenizer *tokenizer;
    ModelPath model;
    char folder[64]; /* of shards made here, "" = none */
    char shard[512];
} Eval;

static bool is_shard(const char *path) {
    size_t n = strlen(path);
    return n > 3 && !strcmp(path + n - 3, ".h5");
}

/* Text becomes a shard in a folder that is removed again. */
static bool prepare_text(Eval *v, const char *path, Error *error) {
    Prepared p;
    DataSet set = {.name = "eval", .path = path, .format = "text", .field = "text"};
    snprintf(v->folder, sizeof v->folder, "/tmp/dsv2-eval-XXXXXX");
    if (!mkdtemp(v->folder)) {
        v->folder[0] = 0;
        return fail(error, "cannot make a folder in /tmp for the tokens of %s", path);
    }
    if (!prepare_set(&p, &v->config, &set, v->tokenizer, v->folder, error)) return false;
    snprintf(v->shard, sizeof v->shard, "%s", p.train);
    return true;
}

static bool find_data(Eval *v, const char *path, Error *error) {
    bool ok = true;
    if (is_shard(path))
        snprintf(v->shard, sizeof v->shard, "%s", path);
    else if (base_rank == 0)
        ok = prepare_text(v, path, error);
    if (!agree(v->session.world, ok, error)) return false;
    v->session.world->ops->host_broadcast(v->session.world, v->shard, sizeof v->shard, 0);
    return true;
}

static EngineUse use_of(const Config *c, int ranks) {
    int64_t micro = max_i64(min_i64(c->micro_batch_size, 8), 1);
    return (EngineUse){.sequence_length = c->sequence_length, .micro = micro, .sequences = micro * ranks};
}

static bool configure(Eval *v, const CommandLine *line, Error *error) {
    char *warnings = NULL;
    bool ok = model_find(line->input[0], &v->model, error) &&
              model_config(&v->config, &v->model, line->override, line->n_override, line->ranks, &warnings, error) &&
              setup_tokenizer(&v->config, &v->tokenizer, error);
    if (ok && warnings && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    return ok;
}

static bool evaluate(Eval *v, const char *data, Error *error) {
    Evaluation e;
    char tokens[32];
    if (!session_load(&v->session, &v->model, NULL, error) || !find_data(v, data, error) ||
        !evaluate_shard(&e, &v->session.engine, v->shard, v->config.eval_tokens, error))
        return false;
    if (base_rank == 0)
        printf("%s: loss %.6f, perplexity %.4f, %s tokens in sequences of %lld, %.0f tokens/s\n", data, e.loss,
               exp(e.loss), format_commas(tokens, e.tokens), (long long)v->config.sequence_length,
               (double)e.tokens / e.seconds);
    return true;
}

static void close_all(Eval *v) {
    Error ignored;
    if (v->folder[0]) {
        char *inner = must_format("%s/eval", v->folder);
        disk_remove_folder(inner, &ignored);
        disk_remove_folder(v->folder, &ignored);
        free(inner);
    }
    session_close(&v->session);
    if (v->tokenizer) tokenizer_close(v->tokenizer);
    config_free(&v->config);
}

int command_eval(const CommandLine *line) {
    Eval v = {0};
    Error error = {0};
    int code = EXIT_USAGE;
    if (configure(&v, line, &error) && session_open(&v.session, &v.config, use_of(&v.config, line->ranks), &error))
        code = evaluate(&v, line->input[1], &error) ? EXIT_DONE : EXIT_INPUT;
    if (code != EXIT_DONE && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    close_all(&v);
    return code;
}
