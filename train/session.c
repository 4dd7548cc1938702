#include "train/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/cgroups.h"
#include "launch/launcher.h"
#include "launch/threads.h"
#include "launch/watchdog.h"
#include "launch/agree.h"
#include "train/load_hf.h"

int64_t machine_memory_available(void) {
    FILE *f = fopen("/proc/meminfo", "r");
    long long kib = 0;
    char line[128];
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) break;
    if (f) fclose(f);
    return min_i64(kib ? (int64_t)kib * 1024 : INT64_MAX, cgroups_memory(CGROUPS, CGROUPS_ROOT));
}

static bool fits(const Plan *plan, const Config *c, int local_ranks, Error *error) {
    double wanted = (double)plan_total(plan), there = (double)machine_memory_available() / local_ranks;
    if (c->device_memory_gib > 0) there = c->device_memory_gib * 0x1p30;
    if (wanted <= there) return true;
    return fail(
        error,
        "this run needs %.2f GiB a rank and %.2f GiB are there; `dsv2 plan` shows what takes it and what to change",
        wanted / 0x1p30, there / 0x1p30);
}

static bool open_device(Session *s, EngineUse use, Error *error) {
    s->device = device_open(s->config->backend, NULL);
    if (!s->device)
        return fail(error, "backend %s is not in this build, which has: %s", s->config->backend, device_backends());
    return engine_open(&s->engine, s->config, s->device, s->world, s->plan.arenas, use, error);
}

Comm *session_world(void) {
    LaunchPlace place;
    Error error;
    check(launch_place(&place, &error), "%s", error.text);
    return place.size > 1 ? comm_open_mpi() : comm_open_single();
}

bool session_join(Session *s, bool mine, int *code, Error *error) {
    if (!s->world) s->world = session_world();
    if (!mine && !error->code) error->code = *code;
    if (agree(s->world, mine, error)) return true;
    *code = error_code(error, *code);
    return false;
}

bool session_open(Session *s, const Config *config, EngineUse use, Error *error) {
    LaunchPlace place;
    *s = (Session){.config = config, .world = s->world ? s->world : session_world()};
    if (!launch_place(&place, error)) return false;
    launch_threads((int)config->threads);
    watchdog_open(s->world, config->watchdog_seconds);
    /* Opening an engine is collective (mesh), so a rank that cannot must say so before it. */
    bool mine =
        engine_plan(&s->plan, config, place.size, use, error) && fits(&s->plan, config, place.local_size, error);
    if (!agree(s->world, mine, error)) return false;
    return agree(s->world, open_device(s, use, error), error);
}

void session_close(Session *s) {
    if (s->device) engine_close(&s->engine);
    if (s->device) device_close(s->device);
    if (s->world) s->world->ops->close(s->world);
    *s = (Session){0};
}

static bool is_file(const char *folder, const char *name) {
    struct stat st;
    char *path = must_format("%s/%s", folder, name);
    bool there = !stat(path, &st) && S_ISREG(st.st_mode);
    free(path);
    return there;
}

static bool newest_of_run(const char *given, ModelPath *m, Error *error) {
    char *folder = must_format("%s/checkpoints", given), *why = NULL;
    bool ok = m->verified = checkpoint_newest(folder, m->path, &why, error);
    if (ok && why && *why) fprintf(stderr, "dsv2: %s\n", why);
    free(why);
    free(folder);
    if (ok && !m->path[0])
        return fail(error,
                    "%s is no model: it holds no config.json (Hugging Face folder), no MANIFEST (checkpoint) and "
                    "no checkpoints (run folder)",
                    given);
    return ok;
}

bool model_find(const char *given, ModelPath *m, Error *error) {
    struct stat st;
    if (stat(given, &st) || !S_ISDIR(st.st_mode)) return fail(error, "%s: there is no such folder", given);
    *m = (ModelPath){.kind = MODEL_CHECKPOINT};
    if (strlen(given) >= sizeof m->path) {
        fail(error, "%.80s...: this path has more than %zu bytes; shorten it", given, sizeof m->path - 1);
        error->code = EXIT_USAGE;
        return false;
    }
    snprintf(m->path, sizeof m->path, "%s", given);
    if (checkpoint_is(given)) return true;
    if (is_file(given, "config.json")) {
        m->kind = MODEL_HF;
        return true;
    }
    return newest_of_run(given, m, error);
}

static bool sees_model(const ModelPath *m, Error *error) {
    bool there = m->kind == MODEL_HF ? is_file(m->path, "config.json") : checkpoint_is(m->path);
    return there || fail(error, "%s: this model is not there; every machine needs it under this path", m->path);
}

bool session_find(Session *s, const char *given, ModelPath *m, int *code, Error *error) {
    *code = EXIT_INPUT;
    if (!s->world) s->world = session_world();
    bool found = s->world->rank > 0 || model_find(given, m, error);
    s->world->ops->host_broadcast(s->world, &found, sizeof found, 0);
    if (!session_join(s, found, code, error)) return false;
    s->world->ops->host_broadcast(s->world, m, sizeof *m, 0);
    return session_join(s, sees_model(m, error), code, error);
}

static bool says_layout(const char *const *overrides, int n) { return config_words_set(overrides, n, "layout.ep"); }

/* text: of a checkpoint's config; ep: of the layout, where overrides say none. */
static bool config_with_ep(Config *c, const ModelPath *m, const char *text, int ep, const char *const *overrides,
                           int n, int ranks, char **warnings, Error *error) {
    const char *all[n + 1], *tokenizer = is_file(m->path, "tokenizer.json") ? m->path : NULL;
    char layout[64];
    int count = 0;
    snprintf(layout, sizeof layout, "layout.ep=%d", ep);
    if (!says_layout(overrides, n)) all[count++] = layout;
    for (int i = 0; i < n; i++) all[count++] = overrides[i];
    if (m->kind == MODEL_HF) return config_from_hf(c, m->path, all, count, ranks, warnings, error);
    return config_from_dump(c, text, tokenizer, all, count, ranks, warnings, error);
}

/* Without what was typed: else the mistake is the model's, whatever was typed. */
static bool sound_alone(const ModelPath *m, const char *text) {
    Config alone;
    Error ignored;
    char *warnings = NULL;
    bool ok = config_with_ep(&alone, m, text, 1, NULL, 0, 1, &warnings, &ignored);
    if (ok) config_free(&alone);
    free(warnings);
    return ok;
}

/* The layout it was trained with says nothing about this one: the ranks share the experts where they can. */
bool model_config(Config *c, const ModelPath *m, const char *const *overrides, int n, int ranks, char **warnings,
                  Error *error) {
    char *text = NULL;
    Progress progress;
    bool ok = (m->kind == MODEL_HF || checkpoint_read_config(m->path, &text, &progress, error)) &&
              config_with_ep(c, m, text, 1, overrides, n, ranks, warnings, error);
    if (ok && ranks > 1 && c->n_routed_experts && c->n_routed_experts % ranks == 0 && !says_layout(overrides, n)) {
        free(*warnings);
        config_free(c);
        ok = config_with_ep(c, m, text, ranks, overrides, n, ranks, warnings, error);
    }
    if (!ok && n && (m->kind == MODEL_HF || text) && !sound_alone(m, text)) error->code = EXIT_INPUT;
    free(text);
    return ok;
}

static bool load_folder(Session *s, const char *path, Error *error) {
    Safetensors *from = safetensors_open(path, error);
    if (!from) return false;
    bool ok = load_hf(&s->engine.model.params, from, &s->engine.run, error);
    safetensors_close(from);
    return ok;
}

bool session_load(Session *s, const ModelPath *m, Progress *progress, Error *error) {
    Progress ignored;
    if (!progress) progress = &ignored;
    *progress = (Progress){0};
    bool (*load)(const char *, Params *, Run *, Progress *, Error *) =
        m->verified ? checkpoint_load_verified : checkpoint_load;
    watchdog_section(SECTION_LOAD);
    bool ok = m->kind == MODEL_HF ? agree(s->world, load_folder(s, m->path, error), error)
                                  : load(m->path, &s->engine.model.params, &s->engine.run, progress, error);
    watchdog_section(SECTION_START);
    return ok;
}
