/* eval.c - `dsv2 eval MODEL DATA...`: how well a model does on texts, questions and long contexts, a line for each. */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"
#include "launch/agree.h"
#include "launch/signals.h"
#include "launch/watchdog.h"
#include "train/commands.h"
#include "train/log.h"
#include "train/outfile.h"
#include "train/session.h"
#include "train/setup.h"
#include "train/task.h"

/* Without micro_batch_size so many tokens are computed at once, in so many sequences at most. */
enum { MICRO_TOKENS = 4096, MICRO_MOST = 8 };

typedef struct {
    Config config;
    Session session;
    Tokenizer *tokenizer;
    ModelPath model;
    Task *task;
    int tasks;
    Config *named[COMMAND_INPUTS]; /* configs among the inputs; their tasks borrow them */
    int n_named;
    char folder[PATH_MAX]; /* of shards made here, "" = none */
    const char *out;
    OutFile items;
    Exam exam;
} Eval;

/* -- before anything is computed -------------------------------------------------------------------- */

static bool configure(Eval *v, const CommandLine *line, int *code, Error *error) {
    char *warnings = NULL;
    *code = line->n_override ? EXIT_USAGE : EXIT_INPUT;
    bool ok = model_config(&v->config, &v->model, line->override, line->n_override, line->ranks, &warnings, error);
    if (ok) *code = EXIT_INPUT;
    ok = ok && setup_tokenizer(&v->config, &v->tokenizer, error);
    if (ok && warnings && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    const Config *c = &v->config;
    if (!ok || c->sequence_length <= c->max_position_embeddings) return ok;
    *code = EXIT_USAGE;
    return fail(error, "sequence_length %lld is more than max_position_embeddings %lld of the model; lower it",
                (long long)c->sequence_length, (long long)c->max_position_embeddings);
}

static Task *add_task(Eval *v) {
    v->task = must_realloc(v->task, v->tasks + 1, sizeof *v->task);
    return &v->task[v->tasks++];
}

/* What the command line says counts for all inputs. */
static void take_settings(Config *c, const Config *line) {
    if (!strcmp(config_origin(line, "eval_tokens"), "cli")) c->eval_tokens = line->eval_tokens;
    if (!strcmp(config_origin(line, "eval_shots"), "cli")) c->eval_shots = line->eval_shots;
    if (!strcmp(config_origin(line, "eval_needles"), "cli")) c->eval_needles = line->eval_needles;
    if (!strcmp(config_origin(line, "eval_answer_tokens"), "cli")) c->eval_answer_tokens = line->eval_answer_tokens;
    if (!strcmp(config_origin(line, "eval_ignore_case"), "cli")) c->eval_ignore_case = line->eval_ignore_case;
}

/* What a config evaluates while it trains: what its sets hold out, and what stands under `eval:`. */
static bool add_config(Eval *v, const char *file, int *code, Error *error) {
    char *warnings = NULL;
    Config *c = v->named[v->n_named++] = must_alloc(1, sizeof *c);
    int before = v->tasks;
    *code = EXIT_USAGE;
    bool ok = config_load(c, file, NULL, 0, 0, &warnings, error);
    free(warnings); /* they are about training */
    if (!ok) return false;
    take_settings(c, &v->config);
    for (int i = 0; i < c->n_data; i++)
        if (c->data[i].validation > 0 || !strcmp(c->data[i].format, "tokens"))
            *add_task(v) =
                (Task){.name = c->data[i].name, .kind = TASK_LOSS, .text = c->data[i], .held_out = true, .config = c};
    for (int i = 0; i < c->n_eval; i++) task_of_set(add_task(v), c, &c->eval[i]);
    if (v->tasks == before) return fail(error, "%s: has no eval, and no data set with validation", file);
    *code = EXIT_INPUT;
    return true;
}

static bool is_config(const char *word) {
    const char *dot = strrchr(word, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static bool find_tasks(Eval *v, const CommandLine *line, int *code, Error *error) {
    for (int i = 1; i < line->n_input; i++) {
        const char *word = line->input[i];
        if (is_config(word) ? !add_config(v, word, code, error) : !task_of_word(add_task(v), &v->config, word, error))
            return false;
    }
    return true;
}

static EngineUse use_of(const Eval *v, int ranks) {
    const Config *c = &v->config;
    bool said = !strcmp(config_origin(c, "micro_batch_size"), "cli"); /* what a run trained with is another matter */
    int64_t usual = max_i64(min_i64(MICRO_TOKENS / c->sequence_length, MICRO_MOST), 1);
    int64_t micro = said && c->micro_batch_size ? c->micro_batch_size : usual;
    EngineUse use = {.sequence_length = c->sequence_length, .micro = micro, .sequences = micro * ranks};
    for (int i = 0; i < v->tasks; i++) task_use(v->task[i].kind, c, &use);
    return use;
}

/* Texts become shards in a folder that is removed again. */
static bool make_folder(Eval *v, Error *error) {
    const char *place = getenv("TMPDIR");
    disk_path(v->folder, "%s/dsv2-eval-XXXXXX", place && *place ? place : "/tmp");
    if (mkdtemp(v->folder)) return true;
    fail(error, "%s: cannot make this folder for the tokens of the texts; set TMPDIR", v->folder);
    v->folder[0] = 0;
    return false;
}

static bool is_empty(const Task *task) { return task->held_out && !*task->path; }

/* Texts of a config have their place, where training finds them too. */
static bool prepare_task(Eval *v, Task *task, Error *error) {
    char *own = *task->config->file ? setup_data_folder(task->config) : NULL;
    bool ok = task_prepare(task, v->tokenizer, own ? own : v->folder, error);
    free(own);
    return ok && (is_empty(task) || task_check(task, &v->config, v->tokenizer, error));
}

static int why_not(const Eval *v, Error *error) {
    if (signals_pending()) signals_stopped(error, v->out ? NOTHING_WRITTEN : "");
    return error_code(error, EXIT_INPUT);
}

/* Rank 0 reads what is asked; the others are told where the shards are. */
static bool prepare(Eval *v, int *code, Error *error) {
    Comm *world = v->session.world;
    watchdog_section(SECTION_PREPARE);
    bool ok = true, texts = false;
    int64_t failed = EXIT_INPUT;
    signals_open(); /* from here on something may be half made, and must be removed */
    for (int i = 0; i < v->tasks; i++) texts |= v->task[i].text.path && !*v->task[i].config->file;
    if (world->rank == 0) {
        ok = (!texts || make_folder(v, error)) && (!v->out || outfile_open(&v->items, v->out, error));
        if (!ok) failed = EXIT_IO;
        for (int i = 0; ok && i < v->tasks; i++)
            if (!(ok = prepare_task(v, &v->task[i], error))) failed = why_not(v, error);
    }
    comm_reduce_i64(world, &failed, 1, REDUCE_MAX);
    *code = (int)failed;
    if (!agree(world, ok, error)) return false;
    setup_warn_of_bytes(&v->config);
    for (int i = 0; i < v->tasks; i++)
        world->ops->host_broadcast(world, v->task[i].path, (int64_t)sizeof v->task[i].path, 0);
    watchdog_section(SECTION_START);
    return true;
}

/* -- what came out ---------------------------------------------------------------------------------- */

static void print_share(const char *what, double share, int64_t items) {
    printf("%s %.2f%% (+-%.2f), ", what, 100 * share, 100 * task_error(share, items));
}

static void print_loss(const TaskResult *r, const Config *c) {
    char tokens[32];
    printf("loss %.6f, perplexity %.4f, ", r->loss, exp(r->loss));
    if (isfinite(r->bits_per_byte)) printf("%.6f bits per byte, ", r->bits_per_byte); /* eos alone has no bytes */
    printf("%s tokens in sequences of %lld, ", format_commas(tokens, r->items), (long long)c->sequence_length);
}

static void print_questions(const Task *task, const TaskResult *r) {
    char items[32];
    if (task->kind == TASK_CHOICE) {
        print_share("normalised", r->accuracy, r->items);
        print_share("plain", r->plain, r->items);
    } else {
        print_share(task->kind == TASK_ANSWER ? "exact match" : "numbers found", r->accuracy, r->items);
    }
    printf("%s questions, ", format_commas(items, r->items));
    if (task->kind != TASK_NEEDLE) printf("shots %lld, ", (long long)task->shots);
}

/* Rows are lengths, columns depths. */
static void print_needles(const NeedleTable *t) {
    printf("%10s", "tokens");
    for (int d = 0; d < HAYSTACK_DEPTHS; d++) printf("%7d%%", 100 * d / (HAYSTACK_DEPTHS - 1));
    puts(" deep");
    for (int l = 0; l < t->lengths; l++) {
        printf("%10lld", (long long)t->length[l]);
        for (int d = 0; d < HAYSTACK_DEPTHS; d++)
            printf("%4lld/%-3lld", (long long)t->found[l][d], (long long)t->each);
        puts(" found");
    }
}

static void print_result(const Task *task, const TaskResult *r, const Config *c) {
    printf("%s: ", task->name);
    if (task->kind == TASK_LOSS)
        print_loss(r, c);
    else
        print_questions(task, r);
    printf("%.0f tokens/s%s\n", (double)r->tokens / r->seconds, r->stopped ? " (stopped: of a part)" : "");
    if (task->kind == TASK_NEEDLE) print_needles(&r->needle);
    task_warn(task, r, c);
}

static int run_tasks(Eval *v, Error *error) {
    int code = EXIT_DONE;
    v->exam.engine = &v->session.engine;
    v->exam.tokenizer = v->tokenizer;
    v->exam.items = v->items.file;
    for (int i = 0; i < v->tasks && code != EXIT_RETRY; i++) {
        TaskResult r;
        if (is_empty(&v->task[i])) continue;
        if (!task_run(&v->task[i], &v->exam, &r, error)) return EXIT_INPUT;
        if (base_rank == 0) print_result(&v->task[i], &r, &v->config);
        if (!r.finite) code = EXIT_NUMERIC;
        if (r.stopped) code = EXIT_RETRY;
    }
    if (code == EXIT_NUMERIC) fail(error, "some of the model's log-likelihoods are not numbers");
    if (code == EXIT_RETRY) signals_stopped(error, v->out ? NOTHING_WRITTEN : "");
    if (code != EXIT_RETRY && !agree(v->session.world, outfile_keep(&v->items, error), error)) return EXIT_IO;
    return code;
}

/* -- the command ------------------------------------------------------------------------------------ */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

static void close_all(Eval *v) {
    if (v->folder[0]) nftw(v->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    outfile_drop(&v->items);
    session_close(&v->session);
    if (v->tokenizer) tokenizer_close(v->tokenizer);
    for (int i = 0; i < v->n_named; i++) {
        config_free(v->named[i]);
        free(v->named[i]);
    }
    free(v->task);
    config_free(&v->config);
}

static int run(Eval *v, const CommandLine *line, Error *error) {
    int code;
    if (!session_find(&v->session, line->input[0], &v->model, &code, error)) return code;
    bool mine = configure(v, line, &code, error) && find_tasks(v, line, &code, error);
    if (!session_join(&v->session, mine, &code, error)) return code;
    if (!session_open(&v->session, &v->config, use_of(v, line->ranks), error) ||
        !session_load(&v->session, &v->model, NULL, error))
        return EXIT_INPUT;
    return prepare(v, &code, error) ? run_tasks(v, error) : code;
}

int command_eval(const CommandLine *line) {
    static Eval v;
    Error error = {0};
    v.out = line->out;
    int code = run(&v, line, &error);
    if (code != EXIT_DONE && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    close_all(&v);
    return code;
}
