/* driver.c - saves and loads checkpoints of a few small made-up parameters, and does nothing else, so
 * that every one of its system calls can be killed or made to fail (faults.py, power_cut.py).
 *
 *   driver FOLDER ACTION...             an action is a step to save, or the word load:
 *       STEP    prints "saved STEP", or "failed: why" and goes on as training would
 *       load    prints "loaded STEP" of what a run would resume from, "none", or "failed: why"
 *   driver -x COUNT FOLDER STEP         flips COUNT bytes of a step, one at a time; each must be noticed
 *
 * -e EP sets the layout, -f fp32 weights, -l the number of layers. Every value follows from (step, name, kind,
 * index), so what is loaded can be told from what should have been. Alone or under mpirun. Exit 1: a promise was
 * broken. */
#include "data/disk.h"
#include "launch/agree.h"
#include "train/checkpoint.h"

#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXPERTS = 8, WIDTH = 8, HIDDEN = 6, KEEP = 2, STATE_BYTES = 4 << 20 };
static const char config_text[] = "steps: 600\nseed: 1\n";

/* -- plain memory as a device ------------------------------------------------------------------- */
static void *reserve(Device *d, int64_t bytes, Space space) {
    (void)d, (void)space;
    return aligned_alloc(4096, (size_t)round_up(bytes, 4096));
}
static void release(Device *d, void *p, int64_t bytes, Space space) {
    (void)d, (void)bytes, (void)space;
    free(p);
}
static void copy(Device *d, void *to, const void *from, int64_t bytes) {
    (void)d;
    memcpy(to, from, (size_t)bytes);
}
static const DeviceOps memory_ops = {.reserve = reserve, .release = release, .to_host = copy, .to_device = copy};

/* -- made-up parameters ------------------------------------------------------------------------- */
static float value(int64_t step, uint64_t name, int kind, int64_t i) {
    return (float)random_uniform((uint64_t)(step * 4 + kind), name, (uint64_t)i);
}

typedef struct {
    int ep, layers;
    bool fp32;
    int64_t flips;
} Options;

typedef struct {
    Device device;
    Config config;
    Run run;
    Params params;
} Job;

static void add_layer(Job *j, int layer) {
    Run *run = &j->run;
    int64_t experts = EXPERTS / mesh_size(&run->mesh, AXIS_EP), first = experts * mesh_rank(&run->mesh, AXIS_EP);
    char name[100];
    snprintf(name, sizeof name, "model.layers.%d.norm.weight", layer);
    param_add(&j->params, run, PARAM_VECTOR, AXIS_DP, layer, name, 0, 1, 1, WIDTH);
    snprintf(name, sizeof name, "model.layers.%d.o_proj.weight", layer);
    param_add(&j->params, run, PARAM_MATRIX, AXIS_DP, layer, name, 0, 1, WIDTH, HIDDEN);
    snprintf(name, sizeof name, "model.layers.%d.gate.weight", layer);
    param_add(&j->params, run, PARAM_ROUTER, AXIS_DP, layer, name, 0, 1, EXPERTS, WIDTH);
    snprintf(name, sizeof name, "model.layers.%d.experts.#.{gate,up}.weight", layer);
    param_add(&j->params, run, PARAM_MATRIX, AXIS_EDP, layer, name, first, 2 * experts, HIDDEN, WIDTH);
}

static void open_job(Job *j, Comm *world, const Options *o) {
    Error error;
    j->config = (Config){.dtype = o->fp32 ? "fp32" : "bf16", .ep = o->ep, .save_total_limit = KEEP};
    j->device = (Device){.ops = &memory_ops, .backend = "memory"};
    ArenaBytes bytes = {
        .state = STATE_BYTES, .host = CHECKPOINT_STAGING + 4096, .acts = 64, .scratch = 64, .comm = 64};
    if (!run_open(&j->run, &j->config, &j->device, world, bytes, &error)) stop_job(EXIT_IO, "%s", error.text);
    params_open(&j->params, true, true);
    for (int layer = 0; layer < o->layers; layer++) add_layer(j, layer);
}
static void close_job(Job *j) {
    params_close(&j->params);
    run_close(&j->run);
}

static void visit_unit(Tensor t, int64_t step, uint64_t name, int kind, int64_t *wrong) {
    float *wide = t.data;
    uint16_t *narrow = t.data;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        float want = value(step, name, kind, i);
        if (wrong)
            *wrong += t.dtype == BF16 ? narrow[i] != float_to_bf16(want) : wide[i] != want;
        else if (t.dtype == BF16)
            narrow[i] = float_to_bf16(want);
        else
            wide[i] = want;
    }
}

/* Sets all values of a parameter; with `wrong`, counts those that differ instead. */
static void visit_param(Param *p, int64_t step, int64_t *wrong) {
    char name[192];
    for (int64_t u = 0; u < p->units; u++) {
        param_unit_name(p, u, name);
        uint64_t hash = hash_string(name);
        visit_unit(param_unit(p, p->w, u), step, hash, 0, wrong);
        visit_unit(param_unit(p, p->master, u), step, hash, 0, wrong);
        visit_unit(param_unit(p, p->m, u), step, hash, 1, wrong);
        visit_unit(param_unit(p, p->v, u), step, hash, 2, wrong);
    }
}

static int64_t visit_all(Params *params, int64_t step, bool count) {
    int64_t wrong = 0;
    for (int i = 0; i < params->count; i++) visit_param(&params->list[i], step, count ? &wrong : NULL);
    return wrong;
}

/* -- actions ---------------------------------------------------------------------------------- */
static void say(const Job *j, const char *what, int64_t step, const char *message) {
    if (j->run.mesh.world->rank) return;
    if (step >= 0)
        printf("%s %lld%s%s\n", what, (long long)step, *message ? " warning: " : "", message);
    else
        printf("%s%s\n", what, message);
    fflush(stdout);
}

/* The values change as soon as wait_param allows it, as in an optimizer step: the old ones must be saved. */
static bool save_step(Job *j, Checkpointer *c, int64_t step, Error *error) {
    Progress progress = {.step = step, .tokens = step * 100, .sequences = step * 10, .adam_step = step, .seed = 7};
    int64_t saved;
    double seconds;
    visit_all(&j->params, step, false);
    if (!checkpoint_save_start(c, &progress, config_text, error)) return false;
    for (int i = 0; i < j->params.count; i++) {
        checkpoint_wait_param(c, i);
        visit_param(&j->params.list[i], step + 1000, NULL);
    }
    return checkpoint_save_poll(c, true, &saved, &seconds, error);
}

static void save(Job *j, const char *folder, int64_t step) {
    Error error = {0};
    int64_t mark = arena_mark(&j->run.host);
    Checkpointer *c = checkpoint_open(folder, &j->params, &j->run, &error);
    Companions files = {0};
    companions_put(&files, "config.json", config_text, (int64_t)strlen(config_text));
    if (c) checkpoint_take_along(c, &files);
    bool ok = c && save_step(j, c, step, &error);
    checkpoint_close(c);
    companions_free(&files);
    arena_rewind(&j->run.host, mark);
    say(j, ok ? "saved" : "failed: ", ok ? step : -1, error.text);
}

static bool compare(Job *j, const Progress *p) {
    int64_t wrong = visit_all(&j->params, p->step, true);
    wrong += p->tokens != p->step * 100 || p->sequences != p->step * 10 || p->adam_step != p->step || p->seed != 7;
    comm_reduce_i64(j->run.mesh.world, &wrong, 1, REDUCE_SUM);
    say(j, wrong ? "WRONG values in" : "loaded", p->step, "");
    return !wrong;
}

/* One rank chooses; all load. */
static bool load(Job *j, const char *folder) {
    Comm *world = j->run.mesh.world;
    Error error = {0};
    Progress progress;
    char path[1024] = "", *why = NULL;
    bool ok = world->rank != 0 || checkpoint_newest(folder, path, &why, &error);
    if (why) fputs(why, stderr);
    free(why);
    ok = agree(world, ok, &error);
    world->ops->host_broadcast(world, path, sizeof path, 0);
    if (ok && !*path) return say(j, "none", -1, ""), true;
    if (ok && checkpoint_load(path, &j->params, &j->run, &progress, &error)) return compare(j, &progress);
    say(j, "failed: ", -1, error.text);
    return false;
}

static bool act(Job *j, const char *folder, const char *action) {
    if (!strcmp(action, "load")) return load(j, folder);
    save(j, folder, atoll(action));
    return true;
}

/* -- flipped bytes ------------------------------------------------------------------------------ */
static const char *const files[] = {"MANIFEST", "model.h5", "rank-00000.h5"};
enum { FILES = sizeof files / sizeof *files };

/* Flips one bit of one byte in place. */
static void flip(const char *file, int64_t at, int bit) {
    char byte;
    int fd = open(file, O_RDWR);
    check(fd >= 0 && pread(fd, &byte, 1, at) == 1, "%s cannot be read at %lld", file, (long long)at);
    byte ^= (char)(1 << bit);
    check(pwrite(fd, &byte, 1, at) == 1 && close(fd) == 0, "%s cannot be written", file);
}

/* Bytes spread evenly over all files; the checkpoint that is flipped must never be the one chosen. */
static bool flips(const char *folder, int64_t step, int64_t count) {
    int64_t bytes[FILES], total = 0, missed = 0;
    Error error;
    char file[FILES][600], flipped[600], path[1024], *why;
    snprintf(flipped, sizeof flipped, "%s/step-%08lld", folder, (long long)step);
    for (int f = 0; f < FILES; f++) {
        snprintf(file[f], sizeof file[f], "%s/step-%08lld/%s", folder, (long long)step, files[f]);
        int fd = disk_open(file[f], &bytes[f], &error);
        check(fd >= 0, "%s", error.text);
        close(fd);
        total += bytes[f];
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i * total / count;
        int f = 0, bit = (int)(i % 8);
        for (; at >= bytes[f]; f++) at -= bytes[f];
        flip(file[f], at, bit);
        bool found = checkpoint_newest(folder, path, &why, &error) && strcmp(path, flipped) &&
                     !checkpoint_verify(flipped, &error);
        free(why);
        missed += !found;
        flip(file[f], at, bit);
    }
    printf("flipped %lld missed %lld, undamaged again %d\n", (long long)count, (long long)missed,
           checkpoint_verify(flipped, &error));
    return missed == 0 && checkpoint_verify(flipped, &error);
}

static Options parse(int argc, char **argv) {
    Options o = {.ep = 1, .layers = 4};
    for (int option; (option = getopt(argc, argv, "+fe:l:x:")) != -1;) {
        if (option == 'f') o.fp32 = true;
        if (option == 'e') o.ep = atoi(optarg);
        if (option == 'l') o.layers = atoi(optarg);
        if (option == 'x') o.flips = atoll(optarg);
    }
    if (argc - optind < 2) stop_job(EXIT_USAGE, "usage: driver [-f] [-e EP] [-l LAYERS] [-x FLIPS] FOLDER ACTION...");
    return o;
}

int main(int argc, char **argv) {
    Options o = parse(argc, argv);
    bool mpi = getenv("OMPI_COMM_WORLD_SIZE"), ok = true;
    if (mpi) MPI_Init(&argc, &argv);
    Job job = {0};
    Comm *world = mpi ? comm_open_mpi() : comm_open_single();
    base_rank = world->rank;
    open_job(&job, world, &o);
    raise(SIGURG); /* the mark from which nth.c counts; ignored otherwise */
    if (o.flips) ok = flips(argv[optind], atoll(argv[optind + 1]), o.flips);
    for (int i = optind + 1; ok && i < argc && !o.flips; i++) ok = act(&job, argv[optind], argv[i]);
    close_job(&job);
    world->ops->close(world);
    if (mpi) MPI_Finalize();
    return !ok;
}
