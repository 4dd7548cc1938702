/* trainer.c - opening and closing of a training run, and the command itself. */
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "data/disk.h"
#include "launch/launcher.h"
#include "launch/signals.h"
#include "launch/agree.h"
#include "launch/watchdog.h"
#include "train/peak.h"
#include "train/publish.h"
#include "train/sample.h"

static bool check_sample_prompt(const Trainer *t, Error *error) {
    int32_t *ids;
    int64_t n;
    Error why;
    if (!t->config.sample_steps || t->config.synthetic_data) return true;
    if (!sample_prompt(&t->config, t->data.tokenizer, t->config.sample_prompt, &ids, &n, &why))
        return fail(error, "sample_prompt: %s", why.text);
    free(ids);
    return n < t->config.max_position_embeddings ||
           fail(error,
                "sample_prompt has %lld tokens, which leaves no room in max_position_embeddings %lld; shorten it",
                (long long)n, (long long)t->config.max_position_embeddings);
}

static bool load_config(Trainer *t, const CommandLine *line, Error *error) {
    char *warnings = NULL;
    bool ok =
        config_load(&t->config, line->input[0], line->override, line->n_override, line->ranks, &warnings, error) &&
        (!line->fresh || config_can_begin(&t->config, error));
    if (ok && warnings && *warnings && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    ok = ok && setup_tokenizer(&t->config, &t->data.tokenizer, error) && check_sample_prompt(t, error);
    if (ok) setup_warn_of_bytes(&t->config);
    return ok;
}

static void print_resumed_changes(char *changes) {
    for (char *line; (line = strsep(&changes, "\n")) && *line;) log_line("changed", "since the checkpoint: %s", line);
}

/* The place in the data means something only in the same data, weights only with the same tokens. Both are known by
 * what they hold: files may have moved. */
#define BEGIN_ANEW "put it back, or start a new run with --fresh or another output_dir"
static bool same_tokenizer(const Trainer *t, Error *error) {
    uint64_t before = t->progress.tokenizer;
    if (!before || before == tokenizer_hash(t->data.tokenizer)) return true;
    return fail(error, "tokenizer: %s is not the tokenizer that this run began with; " BEGIN_ANEW,
                t->config.tokenizer);
}

static bool same_data(const Trainer *t, int *code, Error *error) {
    uint64_t before = t->progress.data;
    if (!before || before == loader_content(t->data.loader)) return true;
    *code = EXIT_USAGE;
    return fail(error, "data: the text of the mixture is not what this run began with; " BEGIN_ANEW);
}

/* The config in the folder of a checkpoint's run; false where there is none that can be read. */
static bool read_written(Config *written, const char *checkpoint) {
    Error ignored;
    int64_t bytes;
    char *path = must_format("%s/../../config.yaml", checkpoint),
         *text = disk_read_file(path, 1 << 20, &bytes, &ignored);
    bool ok = text && config_parse_dump(written, text, &ignored);
    free(path);
    free(text);
    return ok;
}

/* What a resumed run may not change is refused, as a mistake of the config; what it may is printed. */
static bool check_resume(Trainer *t, int *code, Error *error) {
    char *text = NULL, *changes = NULL;
    Config old = {0}, written = {0};
    bool ok =
        checkpoint_read_config(t->folder.resume, &text, &t->progress, error) && config_parse_dump(&old, text, error);
    bool is_written = ok && read_written(&written, t->folder.resume);
    if (ok && !(config_resume_check(&old, is_written ? &written : NULL, &t->config, &changes, error) &&
                same_tokenizer(t, error)))
        ok = false, *code = EXIT_USAGE;
    if (ok) log_line("resume", "%s", t->folder.resume);
    if (ok && t->progress.numerics_epoch != NUMERICS_EPOCH)
        log_line("resume", "kernels round differently since it was saved: the run goes on, but not to the same bits");
    if (ok) print_resumed_changes(changes);
    free(text);
    free(changes);
    config_free(&old);
    config_free(&written);
    return ok;
}

static bool load_weights(Trainer *t, int *code, Error *error) {
    ModelPath *model = &t->source;
    if (t->folder.resume[0]) {
        *model = (ModelPath){.kind = MODEL_CHECKPOINT, .verified = t->folder.verified};
        snprintf(model->path, sizeof model->path, "%s", t->folder.resume);
        return session_load(&t->session, model, &t->progress, error);
    }
    if (!*t->config.init_from) {
        params_init_random(&t->session.engine.model.params, &t->session.engine.run);
        return true;
    }
    Progress of_source; /* another run's: this one starts at its own first step, with moments of its own */
    watchdog_section(SECTION_LOAD); /* rank 0 may read whole checkpoints to find it */
    bool ok = session_find(&t->session, t->config.init_from, model, code, error) &&
              session_load(&t->session, model, &of_source, error);
    if (ok) params_zero_moments(&t->session.engine.model.params, &t->session.engine.run);
    return ok;
}

/* A resumed run takes its files from its checkpoint: what it began from may be gone. */
static bool read_companions(Trainer *t, Error *error) {
    const char *folder = t->source.path[0] ? t->source.path : NULL;
    return base_rank || publish_companions(&t->companions, &t->config, folder, t->config.dtype, error);
}

static void count_steps(Trainer *t) {
    const Config *c = &t->config;
    t->steps = config_steps(c, loader_sequences_per_epoch(t->data.loader));
    t->tokens = config_tokens(c, t->steps);
    t->warm = config_tokens(c, min_i64(c->warmup_steps, t->steps));
}

static bool disk_fits(const Trainer *t, Error *error) {
    struct statvfs st;
    double bytes = 1.05 * (double)checkpoint_bytes(&t->session.engine.model.params, &t->session.engine.run, NULL);
    if (statvfs(t->folder.path, &st)) return true; /* the save itself will tell */
    double there = (double)st.f_bavail * (double)st.f_frsize, all = bytes * (double)(t->config.save_total_limit + 1);
    char need[32], have[32];
    if (bytes > there) {
        fail(error, "a checkpoint takes %s and %s has %s free; make room, or set another output_dir",
             format_bytes(need, bytes), t->folder.path, format_bytes(have, there));
        error->code = EXIT_IO;
        return false;
    }
    if (all > there && base_rank == 0)
        fprintf(stderr, "dsv2: warning: save_total_limit %lld and one in the making take %s, %s has %s free\n",
                (long long)t->config.save_total_limit, format_bytes(need, all), t->folder.path,
                format_bytes(have, there));
    return true;
}

/* The folder, and whether the run may go on in it. */
static bool open_folder(Trainer *t, const CommandLine *line, int *code, Error *error) {
    Comm *world = t->session.world;
    bool (*open)(RunFolder *, const Config *, bool, Comm *, int *, Error *) =
        line->dry_run ? run_folder_look : run_folder_open;
    if (!*t->config.output_dir) return fail(error, "output_dir is not set; say where the run's folder shall be");
    if (!open(&t->folder, &t->config, line->fresh, world, code, error)) return false;
    return !t->folder.resume[0] || agree(world, check_resume(t, code, error), error);
}

static bool open_log(Trainer *t, Error *error) {
    if (base_rank) return true;
    const Config *c = &t->config;
    LogOptions options = {
        .folder = t->folder.path, .resume_step = t->progress.step, .columns = launch_terminal_columns()};
    if (config_moe_layers(c)) options.vectors_bound = (int)exchange_bound(c, (int)c->ep);
    char *origins = config_dump(c, true);
    bool ok = run_folder_write(&t->folder, "config.yaml", origins, error);
    free(origins);
    t->log = ok ? log_open(&options, error) : NULL;
    return t->log != NULL;
}

/* A stopped run saves what it has and leaves the evaluation to the next start: the log tells whether one was made. */
static void find_owed_evaluation(Trainer *t) {
    Comm *world = t->session.world;
    t->owes_evaluation = t->folder.resume[0] && evaluation_due(t) && !log_evaluated(t->log);
    world->ops->host_broadcast(world, &t->owes_evaluation, sizeof t->owes_evaluation, 0);
}

static bool open_weights(Trainer *t, const CommandLine *line, int *code, Error *error) {
    Session *s = &t->session;
    watchdog_section(SECTION_LOAD); /* rank 0 reads whole checkpoints to find the one to resume from */
    if (!open_folder(t, line, code, error)) return false;
    signals_open(); /* before this there is nothing to keep */
    if (!setup_data(&t->data, &t->config, s->world, error) || !agree(s->world, same_data(t, code, error), error) ||
        !tasks_open(&t->tasks, &t->config, &t->data, s->world, error))
        return false;
    count_steps(t);
    t->config_text = config_dump(&t->config, false);
    if (!load_weights(t, code, error)) return false;
    t->progress.seed = (uint64_t)t->config.seed;
    t->progress.data = loader_content(t->data.loader);
    t->progress.tokenizer = tokenizer_hash(t->data.tokenizer);
    watchdog_section(SECTION_LOAD); /* rank 0 reads what a checkpoint holds beside tensors */
    if (s->engine.use.optimizer) {
        t->checkpoints = checkpoint_open(t->folder.checkpoints, &s->engine.model.params, &s->engine.run, error);
        if (!t->checkpoints || !agree(s->world, disk_fits(t, error) && read_companions(t, error), error))
            return false;
        checkpoint_take_along(t->checkpoints, &t->companions);
    }
    *code = EXIT_IO;
    if (!agree(s->world, open_log(t, error), error)) return false;
    find_owed_evaluation(t);
    watchdog_section(SECTION_START);
    return true;
}

bool trainer_open(Trainer *t, const CommandLine *line, int *code, Error *error) {
    *t = (Trainer){.folder = {.lock = -1}, .fresh = line->fresh};
    *code = EXIT_USAGE;
    if (!session_join(&t->session, load_config(t, line, error), code, error) ||
        !session_open(&t->session, &t->config, engine_use_training(&t->config), error))
        return false;
    *code = EXIT_INPUT;
    if (!open_weights(t, line, code, error)) {
        *code = t->data.stopped ? EXIT_RETRY : error_code(error, *code);
        return false;
    }
    t->peak = peak_flops(t->session.device, t->session.engine.run.dtype);
    return true;
}

void trainer_close(Trainer *t) {
    checkpoint_close(t->checkpoints);
    log_close(t->log);
    companions_free(&t->companions);
    run_folder_close(&t->folder);
    tasks_close(&t->tasks);
    setup_data_close(&t->data);
    session_close(&t->session);
    free(t->config_text);
    config_free(&t->config);
}

/* What a run would refuse before its first step, except for what only this machine's memory and disk can tell. */
static bool look(Trainer *t, Plan *plan, const CommandLine *line, int *code, Error *error) {
    const Config *c = &t->config;
    Comm *world = t->session.world;
    if (!agree(world, engine_plan(plan, c, line->ranks, engine_use_training(c), error), error)) return false;
    *code = EXIT_INPUT;
    bool there = world->rank > 0 ||
                 (setup_data_is_there(c, t->data.tokenizer, error) && tasks_are_there(c, t->data.tokenizer, error));
    return agree(world, there, error) && open_folder(t, line, code, error);
}

static int dry_run(const CommandLine *line) {
    Trainer t = {.folder = {.lock = -1}};
    Error error = {0};
    Plan plan;
    int code = EXIT_USAGE;
    bool ok = session_join(&t.session, load_config(&t, line, &error), &code, &error) &&
              look(&t, &plan, line, &code, &error);
    if (ok && base_rank == 0) {
        char *text = config_dump(&t.config, true);
        printf("%s", text);
        banner_memory(&plan);
        free(text);
    }
    if (!ok && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    setup_data_close(&t.data);
    session_close(&t.session);
    config_free(&t.config);
    return ok ? EXIT_DONE : error_code(&error, code);
}

static int train(Trainer *t, const CommandLine *line, Error *error) {
    banner_print(t, line);
    if (t->progress.step >= t->steps && !t->owes_evaluation) {
        log_line("done", "all %lld steps were taken before; to go on, raise steps, tokens or epochs",
                 (long long)t->steps);
        return EXIT_DONE;
    }
    if (t->progress.step == 0 && !print_first_loss(t, error)) return EXIT_INPUT;
    log_stage(t->log, 1, 1, t->config.stage);
    int code = train_loop(t, error);
    char text[32], *folder = launch_shell_word(t->folder.path);
    if (code == EXIT_DONE)
        log_line("done", "%s; next: dsv2 generate %s \"...\"", format_duration(text, clock_seconds() - t->begin),
                 folder);
    free(folder);
    return code;
}

int command_train(const CommandLine *line) {
    Trainer t;
    Error error = {0};
    int code;
    if (line->dry_run) return dry_run(line);
    if (trainer_open(&t, line, &code, &error)) code = train(&t, line, &error);
    if (error.text[0] && base_rank == 0 && code != EXIT_DONE) fprintf(stderr, "dsv2: %s\n", error.text);
    trainer_close(&t);
    return code;
}
