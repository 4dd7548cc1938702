/* generate.c - `dsv2 generate MODEL ...`: continues prompts. One prompt is written while it grows; several, or with -o,
 * as lines of JSON. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/agree.h"
#include "launch/launcher.h"
#include "launch/signals.h"
#include "train/commands.h"
#include "train/log.h"
#include "train/outfile.h"
#include "train/prompts.h"
#include "train/reply.h"
#include "train/session.h"
#include "train/setup.h"

typedef struct {
    Config config;
    Session session;
    ModelPath model;
    Tokenizer *tokenizer; /* NULL: ids only */
    Prompts prompts;
    const CommandLine *line;
    OutFile out;
    /* of each prompt, where answers are collected */
    int32_t **ids;
    int64_t *made, told; /* told: lines that were written, in order of the prompts */
    DecodeStream *stream;
    PromptEnd *end;
    bool *ended;
    int64_t nan, stopped;
} Generate;

static bool gives_ids(const Generate *g) { return g->line->token_ids != NULL; }
static bool writes_lines(const Generate *g) { return g->prompts.lines || g->line->out; }

/* -- a prompt that is written while it grows -------------------------------------------------------------- */

static void print_text(const char *text, int64_t bytes) {
    fwrite(text, 1, (size_t)bytes, stdout);
    fflush(stdout);
}

static void print_begin(const Generate *g) {
    const Prompt *p = &g->prompts.prompt[0];
    for (int64_t i = 0; gives_ids(g) && i < p->n; i++) printf("%s%d", i ? " " : "", p->ids[i]);
    if (!gives_ids(g)) print_text(g->prompts.text[0], (int64_t)strlen(g->prompts.text[0]));
}

static bool print_token(void *own, int64_t prompt, int32_t id) {
    Generate *g = own;
    (void)prompt;
    if (gives_ids(g)) {
        printf(" %d", id);
        return !fflush(stdout);
    }
    char *piece = must_alloc(tokenizer_stream_room(g->tokenizer), 1);
    print_text(piece, tokenizer_stream_next(g->tokenizer, &g->stream[0], piece, id));
    free(piece);
    return !ferror(stdout);
}

static void note_end(Generate *g, int64_t prompt, PromptEnd end) {
    g->end[prompt] = end;
    g->ended[prompt] = true;
    g->nan += end == ENDED_NAN;
    g->stopped += end == ENDED_STOPPED;
}

static void print_end(void *own, int64_t prompt, PromptEnd end) {
    Generate *g = own;
    char rest[8];
    if (!gives_ids(g)) print_text(rest, tokenizer_stream_end(&g->stream[0], rest));
    if (g->line->suffix) print_text(g->line->suffix, (int64_t)strlen(g->line->suffix));
    print_text("\n", 1);
    note_end(g, prompt, end);
}

/* -- lines of JSON ---------------------------------------------------------------------------------------- */

static bool collect_token(void *own, int64_t prompt, int32_t id) {
    Generate *g = own;
    if (!g->ids[prompt]) g->ids[prompt] = must_alloc(g->config.max_new_tokens, sizeof **g->ids);
    g->ids[prompt][g->made[prompt]++] = id;
    return true;
}

static json_t *ids_json(const int32_t *ids, int64_t n) {
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static json_t *text_json(const Generate *g, int64_t i) {
    char *text = must_alloc(g->made[i] * tokenizer_max_bytes(g->tokenizer) + 1, 1);
    json_t *json = reply_json(text, tokenizer_decode(g->tokenizer, text, g->ids[i], g->made[i]));
    free(text);
    return json;
}

static json_t *given_json(const char *text) { return reply_json(text, (int64_t)strlen(text)); }

static void write_line(Generate *g, int64_t i) {
    static const char *const names[] = {[ENDED_EOS] = "eos", [ENDED_LENGTH] = "length", [ENDED_NAN] = "nan"};
    FILE *to = g->out.file ? g->out.file : stdout;
    const Prompt *p = &g->prompts.prompt[i];
    json_t *object = json_object();
    if (gives_ids(g)) {
        json_object_set_new(object, "prompt_ids", ids_json(p->ids, p->n));
        json_object_set_new(object, "ids", ids_json(g->ids[i], g->made[i]));
    } else if (g->line->prefix) {
        json_object_set_new(object, "prefix", given_json(g->line->prefix));
        json_object_set_new(object, "suffix", given_json(g->line->suffix));
        json_object_set_new(object, "text", text_json(g, i));
    } else {
        json_object_set_new(object, "prompt", given_json(g->prompts.text[i]));
        json_object_set_new(object, "text", text_json(g, i));
    }
    json_object_set_new(object, "prompt_tokens", json_integer(p->n));
    json_object_set_new(object, "new_tokens", json_integer(g->made[i]));
    json_object_set_new(object, "ended", json_string(names[g->end[i]]));
    json_dumpf(object, to, JSON_COMPACT);
    putc('\n', to); /* errors show when the file is closed */
    fflush(to);
    json_decref(object);
    free(g->ids[i]);
    g->ids[i] = NULL;
}

static void collect_end(void *own, int64_t prompt, PromptEnd end) {
    Generate *g = own;
    note_end(g, prompt, end);
    if (g->stopped) return; /* what is not whole is no line */
    for (; g->told < g->prompts.count && g->ended[g->told]; g->told++) write_line(g, g->told);
}

/* -- the command ------------------------------------------------------------------------------------------ */

/* A folder without a tokenizer can be tried by ids. */
static bool open_tokenizer(Generate *g, Error *error) {
    bool none = gives_ids(g) && !strcmp(config_origin(&g->config, "tokenizer"), "default");
    return none || setup_tokenizer(&g->config, &g->tokenizer, error);
}

static bool configure(Generate *g, int *code, Error *error) {
    const CommandLine *line = g->line;
    char *warnings = NULL;
    *code = line->n_override ? EXIT_USAGE : EXIT_INPUT;
    bool ok = model_config(&g->config, &g->model, line->override, line->n_override, line->ranks, &warnings, error);
    if (ok) *code = EXIT_INPUT;
    ok = ok && open_tokenizer(g, error);
    if (ok && warnings && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    return ok && prompts_read(&g->prompts, line, &g->config, g->tokenizer, error);
}

/* Who did not ask for a number of tokens gets what the model has positions for. */
static void cap_new_tokens(Generate *g) {
    int64_t longest = 0;
    for (int64_t i = 0; i < g->prompts.count; i++) longest = max_i64(longest, g->prompts.prompt[i].n);
    int64_t room = g->config.max_position_embeddings - longest;
    if (room < 1 || room >= g->config.max_new_tokens ||
        !strcmp(config_origin(&g->config, "generate.max_new_tokens"), "cli"))
        return;
    g->config.max_new_tokens = room;
    if (base_rank == 0)
        fprintf(stderr, "max_new_tokens %lld: max_position_embeddings %lld leaves no more\n", (long long)room,
                (long long)g->config.max_position_embeddings);
}

static bool fits(Generate *g, Error *error) {
    const Config *c = &g->config;
    cap_new_tokens(g);
    for (int64_t i = 0; i < g->prompts.count; i++)
        if (!generate_fits(c, &g->prompts.prompt[i], i, c->max_new_tokens, error)) return false;
    return true;
}

static bool open_session(Generate *g, Error *error) {
    const Config *c = &g->config;
    EngineUse use = {.cache = generate_use(g->prompts.prompt, g->prompts.count, c->max_new_tokens, c->prompts_at_once,
                                           g->line->ranks)};
    return session_open(&g->session, c, use, error) && session_load(&g->session, &g->model, NULL, error);
}

static bool open_out(Generate *g, Error *error) {
    bool mine = base_rank || !g->line->out || outfile_open(&g->out, g->line->out, error);
    if (!agree(g->session.world, mine, error)) return false;
    if (g->tokenizer) setup_warn_of_bytes(&g->config);
    return true;
}

static void open_answers(Generate *g) {
    int64_t n = g->prompts.count;
    g->ids = must_alloc(n, sizeof *g->ids);
    g->made = must_alloc(n, sizeof *g->made);
    g->end = must_alloc(n, sizeof *g->end);
    g->ended = must_alloc(n, sizeof *g->ended);
    g->stream = must_alloc(1, sizeof *g->stream);
}

static double rate(int64_t tokens, double seconds) { return seconds > 0 ? (double)tokens / seconds : 0; }

static void print_report(const GenerateReport *r) {
    char each[32], all[32];
    fprintf(stderr,
            "cache %s bytes a token, %s in all; %lld prompt tokens, %.1f tokens/s; %lld new tokens, %.1f tokens/s\n",
            format_commas(each, r->cache_bytes_per_token), format_commas(all, r->cache_bytes),
            (long long)r->prompt_tokens, rate(r->prompt_tokens, r->prefill_seconds), (long long)r->new_tokens,
            rate(r->decoded_tokens, r->decode_seconds));
}

static int finish(Generate *g, Error *error) {
    int64_t counts[3] = {g->nan, g->stopped, ferror(stdout) != 0};
    comm_reduce_i64(g->session.world, counts, 3, REDUCE_SUM);
    if (counts[2]) return launch_output_lost(error);
    if (counts[1]) return signals_stopped(error, g->line->out ? NOTHING_WRITTEN : ""), EXIT_RETRY;
    if (!agree(g->session.world, outfile_keep(&g->out, error), error)) return EXIT_IO;
    if (!counts[0]) return EXIT_DONE;
    fail(error, "the model's logits are not numbers");
    return EXIT_NUMERIC;
}

static int run(Generate *g, Error *error) {
    GenerateSink growing = {g, print_token, print_end}, lines = {g, collect_token, collect_end};
    GenerateReport report;
    int code;
    if (!session_find(&g->session, g->line->input[0], &g->model, &code, error)) return code;
    bool mine = configure(g, &code, error) && fits(g, error);
    if (!session_join(&g->session, mine, &code, error)) return code;
    if (!open_session(g, error)) return EXIT_INPUT;
    signals_open(); /* before OUT is begun, so that it is removed */
    if (!open_out(g, error)) return EXIT_IO;
    SampleRule rule = sample_rule(&g->config);
    open_answers(g);
    if (base_rank == 0 && !writes_lines(g)) print_begin(g);
    int64_t limit = g->tokenizer ? tokenizer_size(g->tokenizer) : g->config.vocab_size;
    if (!generate(&g->session.engine, g->prompts.prompt, g->prompts.count, &rule, limit,
                  writes_lines(g) ? &lines : &growing, &report, error))
        return EXIT_INPUT;
    if (base_rank == 0) print_report(&report);
    return finish(g, error);
}

static void close_all(Generate *g) {
    outfile_drop(&g->out);
    session_close(&g->session);
    if (g->tokenizer) tokenizer_close(g->tokenizer);
    for (int64_t i = 0; g->ids && i < g->prompts.count; i++) free(g->ids[i]);
    free(g->ids);
    free(g->made);
    free(g->end);
    free(g->ended);
    free(g->stream);
    prompts_free(&g->prompts);
    config_free(&g->config);
}

int command_generate(const CommandLine *line) {
    static Generate g;
    Error error = {0};
    g.line = line;
    int code = run(&g, &error);
    if (code != EXIT_DONE && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    close_all(&g);
    return code;
}
