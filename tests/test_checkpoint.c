/* test_checkpoint.c - what is saved comes back to the bit, in any layout and dtype; what is damaged is
 * never taken for whole. The long sweeps (kills, failing writes, power cuts) are `make fault`. */
#include "data/disk.h"
#include "tests/forked.h"
#include "tests/test.h"
#include "train/checkpoint.h"
#include "train/manifest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXPERTS = 4, WIDTH = 10, HIDDEN = 6, LIMIT = 2 };
static const char config_text[] = "steps: 3\n";

/* -- a small model ------------------------------------------------------------------------------ */
typedef struct {
    Device *device;
    Comm *world;
    Config config;
    Run run;
    Params params;
} Model;

typedef struct {
    int ranks, ep;
    const char *dtype;
    bool optimizer;
} Layout;
static const Layout one = {1, 1, "bf16", true};

static void add_params(Model *m) {
    int64_t experts = EXPERTS / m->config.ep, first = experts * mesh_rank(&m->run.mesh, AXIS_EP);
    param_add(&m->params, &m->run, PARAM_MATRIX, AXIS_DP, -1, "model.embed_tokens.weight", 0, 1, HIDDEN, WIDTH);
    param_add(&m->params, &m->run, PARAM_VECTOR, AXIS_DP, 0, "model.layers.0.norm.weight", 0, 1, 1, WIDTH);
    param_add(&m->params, &m->run, PARAM_ROUTER, AXIS_DP, 0, "model.layers.0.gate.weight", 0, 1, EXPERTS, WIDTH);
    param_add(&m->params, &m->run, PARAM_MATRIX, AXIS_EDP, 0, "model.layers.0.experts.#.{gate,up}.weight", first,
              2 * experts, HIDDEN, WIDTH);
}

static void model_make(Model *m, Comm *world, const Layout *l) {
    Error error = {0};
    *m = (Model){.device = device_open("ref", NULL), .world = world};
    m->config =
        (Config){.dtype = l->dtype, .ep = l->ep, .save_total_limit = LIMIT, .initializer_range = 1, .seed = 5};
    ArenaBytes bytes = {.state = 1 << 20, .acts = 64, .scratch = 64, .comm = 64, .host = 2 * CHECKPOINT_STAGING};
    check(m->device && run_open(&m->run, &m->config, m->device, world, bytes, &error), "%s", error.text);
    params_open(&m->params, l->optimizer, l->optimizer);
    add_params(m);
}
static void model_drop(Model *m) {
    params_close(&m->params);
    run_close(&m->run);
    device_close(m->device);
}

/* Values that follow from the step and the published name: masters first, as an optimizer has it. */
static void set_tensor(Model *m, Tensor t, int64_t step, const char *name, uint64_t kind) {
    m->run.k->random_normal(m->device, t, 1.0, (uint64_t)step, hash_string(name) + kind, 0);
}
static void set_param(Model *m, int i, int64_t step) {
    Param *p = &m->params.list[i];
    char name[192];
    for (int64_t u = 0; u < p->units; u++) {
        param_unit_name(p, u, name);
        set_tensor(m, param_unit(p, tensor_none(p->master) ? p->w : p->master, u), step, name, 0);
        if (!tensor_none(p->m)) set_tensor(m, param_unit(p, p->m, u), step, name, 1);
        if (!tensor_none(p->v)) set_tensor(m, param_unit(p, p->v, u), step, name, 2);
    }
    if (!tensor_none(p->master) && p->master.data != p->w.data) m->run.k->convert(m->device, p->w, p->master);
}
static void set_all(Model *m, int64_t step) {
    for (int i = 0; i < m->params.count; i++) set_param(m, i, step);
}

/* Hash of all that a checkpoint must bring back. */
static uint64_t state_hash(const Model *m) {
    uint64_t hash = 0;
    for (int i = 0; i < m->params.count; i++) {
        const Param *p = &m->params.list[i];
        const Tensor all[] = {p->w, p->master, p->m, p->v};
        for (int k = 0; k < 4; k++) {
            if (tensor_none(all[k])) continue;
            char *host = must_alloc(tensor_bytes(all[k]), 1);
            m->device->ops->to_host(m->device, host, all[k].data, tensor_bytes(all[k]));
            hash = hash * 31 + hash_bytes(host, tensor_bytes(all[k]));
            free(host);
        }
    }
    return hash;
}

/* -- saving and loading ------------------------------------------------------------------------- */
static const Progress made_up = {0, 900, 90, 8, 5, 1, 2, .data = 0xfedcba9876543210, .tokenizer = 1};

/* Saves as training does: each parameter changes as soon as it may. */
static bool save(Model *m, const char *folder, int64_t step, Error *error) {
    Progress progress = made_up;
    int64_t saved = -1, mark = arena_mark(&m->run.host);
    double seconds = -1;
    progress.step = step;
    set_all(m, step);
    Checkpointer *c = checkpoint_open(folder, &m->params, &m->run, error);
    bool ok = c && checkpoint_save_start(c, &progress, config_text, error);
    for (int i = 0; ok && i < m->params.count; i++) {
        checkpoint_wait_param(c, i);
        set_param(m, i, step + 100);
    }
    ok = ok && checkpoint_save_poll(c, true, &saved, &seconds, error) && saved == step && seconds >= 0;
    checkpoint_close(c);
    arena_rewind(&m->run.host, mark);
    return ok;
}

static void save_steps(const Layout *l, const char *folder, int64_t first, int64_t last) {
    Model m;
    Error error = {0};
    Comm *world = comm_open_single();
    model_make(&m, world, l);
    for (int64_t step = first; step <= last; step++)
        expect(save(&m, folder, step, &error) && !error.text[0], "%s", error.text);
    model_drop(&m);
    world->ops->close(world);
}

static bool load_here(Comm *world, const Layout *l, const char *path, int64_t step) {
    Model got, want;
    Progress p = {0};
    Error error = {0};
    model_make(&got, world, l);
    model_make(&want, world, l);
    set_all(&got, step + 50);
    set_all(&want, step);
    bool ok = checkpoint_load(path, &got.params, &got.run, &p, &error);
    if (!ok) printf("  rank %d: %s\n", world->rank, error.text);
    bool same = state_hash(&got) == state_hash(&want);
    set_all(&got, step + 60);
    ok = ok && checkpoint_load_verified(path, &got.params, &got.run, &p, &error);
    same = same && state_hash(&got) == state_hash(&want);
    if (ok && !same) printf("  rank %d of %d, ep %d, %s: other values\n", world->rank, l->ranks, l->ep, l->dtype);
    Progress saved = made_up;
    saved.step = step, saved.numerics_epoch = p.numerics_epoch;
    ok = ok && same && !memcmp(&p, &saved, sizeof p);
    model_drop(&got);
    model_drop(&want);
    return ok;
}

static const char *step_folder(const char *folder, int64_t step) {
    static char path[512];
    snprintf(path, sizeof path, "%s/step-%08lld", folder, (long long)step);
    return path;
}

/* What checkpoint_newest says: the step, 0 = there are none, -1 = an error. */
static int64_t newest(const char *folder, char *why_part, Error *error) {
    char path[1024], *why;
    bool ok = checkpoint_newest(folder, path, &why, error);
    if (why_part) snprintf(why_part, 600, "%s", why);
    free(why);
    if (!ok) return -1;
    return *path ? atoll(strrchr(path, '-') + 1) : 0;
}

/* -- layouts and dtypes ------------------------------------------------------------------------- */
static const Layout layouts[] = {{1, 1, "bf16", true}, {2, 1, "bf16", true}, {2, 2, "fp32", true},
                                 {4, 2, "bf16", true}, {4, 4, "fp32", true}, {4, 1, "fp32", true}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

typedef struct {
    const Layout *from, *to;
    char folder[200];
} Move;

static bool save_ranks(Comm *world, void *own) {
    const Move *move = own;
    Model m;
    Error error = {0};
    model_make(&m, world, move->from);
    bool ok = save(&m, move->folder, 7, &error);
    if (!ok) printf("  rank %d: %s\n", world->rank, error.text);
    model_drop(&m);
    return ok;
}
static bool load_ranks(Comm *world, void *own) {
    const Move *move = own;
    return load_here(world, move->to, step_folder(move->folder, 7), 7);
}

static void test_layouts(void) {
    for (int from = 0; from < LAYOUTS; from++) {
        Move move = {.from = &layouts[from]};
        snprintf(move.folder, sizeof move.folder, "%s/from%d", test_folder(), from);
        expect(forked(move.from->ranks, save_ranks, &move), "layout %d cannot save", from);
        for (int to = 0; to < LAYOUTS; to++) {
            move.to = &layouts[to];
            expect(forked(move.to->ranks, load_ranks, &move), "from layout %d to %d", from, to);
        }
    }
}

/* All ranks together write each published tensor once. */
static void test_written_once(void) {
    Move move = {.from = &layouts[3]};
    Manifest m;
    Error error;
    int per_rank[4] = {0};
    snprintf(move.folder, sizeof move.folder, "%s", test_folder());
    expect(forked(4, save_ranks, &move), "cannot save");
    expect(manifest_read(&m, step_folder(move.folder, 7), &error), "%s", error.text);
    for (int i = 0; i < m.datasets; i++) per_rank[m.dataset[i].rank]++;
    /* router in fp32 (its own master), the others with four kinds */
    expect(m.datasets == 3 + 4 * (2 + 2 * EXPERTS), "%d datasets", m.datasets);
    for (int r = 0; r < 4; r++) expect(per_rank[r] > 0, "rank %d writes nothing", r);
    expect(m.ranks == 4 && m.ep == 2 && m.files == 5, "ranks %d ep %d files %d", m.ranks, m.ep, m.files);
    manifest_free(&m);
}

static void test_without_optimizer(void) {
    static const Layout bare = {1, 1, "fp32", false}, narrow = {1, 1, "bf16", false};
    char a[200], b[200];
    Comm *world = comm_open_single();
    snprintf(a, sizeof a, "%s/bare", test_folder());
    snprintf(b, sizeof b, "%s/full", test_folder());
    save_steps(&bare, a, 1, 1);
    save_steps(&one, b, 1, 1);
    expect(load_here(world, &bare, step_folder(a, 1), 1), "fp32 to fp32");
    expect(load_here(world, &narrow, step_folder(b, 1), 1), "weights alone of a full checkpoint");
    expect(load_here(world, &bare, step_folder(b, 1), 1), "weights of a full bf16 checkpoint in fp32: the masters");
    world->ops->close(world);
}

static void test_same_bytes(void) {
    char a[200], b[200];
    snprintf(a, sizeof a, "%s/a", test_folder());
    snprintf(b, sizeof b, "%s/b", test_folder());
    save_steps(&one, a, 1, 1);
    usleep(1100000); /* a time stamp would have changed */
    save_steps(&one, b, 1, 1);
    static const char *const names[] = {"MANIFEST", "model.h5", "rank-00000.h5"};
    for (int i = 0; i < 3; i++) {
        char file[2][300];
        int64_t bytes[2];
        Error error;
        snprintf(file[0], sizeof file[0], "%s/step-00000001/%s", a, names[i]);
        snprintf(file[1], sizeof file[1], "%s/step-00000001/%s", b, names[i]);
        char *x = disk_read_file(file[0], 1 << 24, &bytes[0], &error),
             *y = disk_read_file(file[1], 1 << 24, &bytes[1], &error);
        expect(x && y && bytes[0] == bytes[1] && !memcmp(x, y, (size_t)bytes[0]), "%s differs", names[i]);
        free(x);
        free(y);
    }
}

static void test_read_config(void) {
    char *text;
    Progress p;
    Error error;
    save_steps(&one, test_folder(), 3, 3);
    expect(checkpoint_read_config(step_folder(test_folder(), 3), &text, &p, &error), "%s", error.text);
    expect(!strcmp(text, config_text) && p.step == 3 && p.tokens == 900, "%s at step %lld", text, (long long)p.step);
    free(text);
    expect(checkpoint_is(step_folder(test_folder(), 3)) && !checkpoint_is(test_folder()), "checkpoint_is");
}

/* -- names in the folder ------------------------------------------------------------------------ */
static void test_nothing_there(void) {
    Error error;
    expect(newest("build/there-is-no-such-folder", NULL, &error) == 0, "a run that has not begun");
    expect(newest(test_folder(), NULL, &error) == 0, "an empty folder");
}

static void test_limit(void) {
    Error error;
    save_steps(&one, test_folder(), 1, 4);
    for (int64_t step = 1; step <= 4; step++)
        expect(disk_exists(step_folder(test_folder(), step)) == (step > 4 - LIMIT), "step %lld", (long long)step);
    expect(newest(test_folder(), NULL, &error) == 4, "%s", error.text);
}

/* After a return to step 2 the steps of the abandoned way never come before the new ones. */
static void test_return_to_older(void) {
    Error error;
    save_steps(&one, test_folder(), 8, 9);
    save_steps(&one, test_folder(), 3, 3);
    expect(newest(test_folder(), NULL, &error) == 3, "%s", error.text);
    expect(disk_exists(step_folder(test_folder(), 9)) && !disk_exists(step_folder(test_folder(), 8)),
           "8 goes, 9 stays");
    save_steps(&one, test_folder(), 9, 9); /* takes the place of the old one */
    expect(newest(test_folder(), NULL, &error) == 9, "%s", error.text);
    expect(checkpoint_verify(step_folder(test_folder(), 9), &error), "%s", error.text);
}

static void test_leftovers_go(void) {
    char temp[300], gone[300];
    Error error;
    snprintf(temp, sizeof temp, "%s/.tmp-00000002", test_folder());
    snprintf(gone, sizeof gone, "%s/.del-00000001", test_folder());
    expect(!mkdir(temp, 0755) && !mkdir(gone, 0755), "mkdir");
    expect(newest(test_folder(), NULL, &error) == 0, "leftovers are no checkpoints");
    save_steps(&one, test_folder(), 2, 2);
    expect(!disk_exists(temp) && !disk_exists(gone), "leftovers stay");
}

static void write_file(const char *file, const char *text) {
    Error error;
    expect(disk_write_file(file, text, (int64_t)strlen(text), &error), "%s", error.text);
}

static void test_latest(void) {
    static const struct {
        const char *text; /* of LATEST; NULL: it is missing */
        int64_t step;
        const char *why;
    } cases[] = {{NULL, 2, ""},
                 {"step-00000002\n", 2, ""},
                 {"step-00000001\n", 1, ""},
                 {"step-0000", 2, "does not name a checkpoint"},
                 {"", 2, "does not name a checkpoint"},
                 {"step-00000002\nstep-00000001\n", 2, "does not name a checkpoint"},
                 {"../../step-00000002\n", 2, "does not name a checkpoint"},
                 {"step-00000007\n", 2, "LATEST names step 7, which is not there"}};
    char file[300], why[600];
    Error error;
    save_steps(&one, test_folder(), 1, 2);
    snprintf(file, sizeof file, "%s/LATEST", test_folder());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].text) write_file(file, cases[i].text);
        if (!cases[i].text) unlink(file);
        int64_t step = newest(test_folder(), why, &error);
        expect(step == cases[i].step && (*cases[i].why ? !!strstr(why, cases[i].why) : !*why),
               "case %zu: step %lld, why '%s'", i, (long long)step, why);
    }
}

/* -- damage ----------------------------------------------------------------------------------- */
static const char *const parts[] = {"MANIFEST", "model.h5", "rank-00000.h5"};

static void flip(const char *file, int64_t at, int mask) {
    unsigned char byte;
    int fd = open(file, O_RDWR);
    check(fd >= 0 && pread(fd, &byte, 1, at) == 1, "%s: byte %lld", file, (long long)at);
    byte ^= (unsigned char)mask;
    check(pwrite(fd, &byte, 1, at) == 1 && !close(fd), "%s: byte %lld", file, (long long)at);
}

static int64_t file_bytes(const char *file) {
    struct stat s;
    check(!stat(file, &s), "%s", file);
    return s.st_size;
}

static void test_flipped_bytes(void) {
    char why[600], file[600];
    Error error;
    save_steps(&one, test_folder(), 1, 2);
    for (int p = 0; p < 3; p++) {
        snprintf(file, sizeof file, "%s/%s", step_folder(test_folder(), 2), parts[p]);
        int64_t bytes = file_bytes(file);
        for (int64_t i = 0; i < 100; i++) {
            int64_t at = i < 20 ? bytes - 1 - i : i * bytes / 100;
            flip(file, at, 1 << i % 8);
            int64_t step = newest(test_folder(), why, &error);
            expect(step == 1 && strstr(why, parts[p]), "%s byte %lld: step %lld, why '%s'", file, (long long)at,
                   (long long)step, why);
            flip(file, at, 1 << i % 8);
        }
    }
    expect(newest(test_folder(), NULL, &error) == 2, "%s", error.text);
}

static void test_cut_off_and_missing(void) {
    char file[600], why[600];
    Error error;
    for (int p = 0; p < 3; p++)
        for (int how = 0; how < 3; how++) {
            save_steps(&one, test_folder(), 1, 2);
            snprintf(file, sizeof file, "%s/%s", step_folder(test_folder(), 2), parts[p]);
            int64_t bytes = file_bytes(file);
            bool done = how == 2 ? !unlink(file) : !truncate(file, how == 0 ? bytes - 1 : bytes + 1);
            expect(done && newest(test_folder(), why, &error) == 1 && strstr(why, parts[p]), "%s, way %d: '%s'",
                   parts[p], how, why);
        }
}

static void test_none_whole(void) {
    char file[600], *why, path[1024];
    Error error;
    save_steps(&one, test_folder(), 1, 2);
    for (int64_t step = 1; step <= 2; step++) {
        snprintf(file, sizeof file, "%s/rank-00000.h5", step_folder(test_folder(), step));
        flip(file, 100, 255);
    }
    expect(!checkpoint_newest(test_folder(), path, &why, &error), "a fresh start over damaged checkpoints");
    expect(strstr(error.text, "none is whole") && strstr(why, "step-00000002") && strstr(why, "step-00000001"),
           "'%s' '%s'", error.text, why);
    free(why);
}

/* A manifest whose own hash is right is still not believed. */
static void test_strange_manifests(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "cut off"},
        {"hello\n", "is not a checkpoint's manifest"},
        {"dsv2-checkpoint 99\n", "checkpoint format 99"},
        {"dsv2-checkpoint 2\n", "does not say step and layout"},
        {"dsv2-checkpoint 2\nstep -1\n", "line 2 makes no sense"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\nfile ../../etc/passwd 1 0123456789abcdef\n",
         "line 4 makes no sense"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\nfile rank-1.h5 1 0123456789abcdef\n",
         "line 4 makes no sense"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\ndataset 1 model/x f32 3 0123456789abcdef\n",
         "line 4 makes no sense"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\ndataset 0 model/x f99 3 0123456789abcdef\n",
         "line 4 makes no sense"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\ndataset 0 model/x f32 3x-1 0123456789abcdef\n",
         "line 4 makes no sense"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\ndataset 0 a f32 3 0123456789abcdef\ndataset 0 a f32 3 0123456789abcdef\n",
         "a is there twice"},
        {"dsv2-checkpoint 2\nstep 1\nlayout ranks 1 ep 1\n", "does not name model.h5"},
    };
    Error error;
    char file[600], text[600];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *above = cases[i].text;
        snprintf(file, sizeof file, "%s/MANIFEST", test_folder());
        snprintf(text, sizeof text, "%send %016llx\n", above, (unsigned long long)hash_string(above));
        write_file(file, *above ? text : "");
        expect(!checkpoint_verify(test_folder(), &error) && strstr(error.text, cases[i].message), "case %zu: '%s'", i,
               error.text);
    }
}

static void test_other_model(void) {
    Model m;
    Progress p;
    Error error;
    Comm *world = comm_open_single();
    save_steps(&one, test_folder(), 1, 1);
    model_make(&m, world, &one);
    param_add(&m.params, &m.run, PARAM_VECTOR, AXIS_DP, -1, "model.norm.weight", 0, 1, 1, WIDTH);
    expect(!checkpoint_load(step_folder(test_folder(), 1), &m.params, &m.run, &p, &error), "one tensor more");
    expect(strstr(error.text, "holds 11 tensors, the model has 12"), "%s", error.text);
    m.params.count--;
    strcpy(m.params.list[1].pattern, "model.layers.1.norm.weight");
    expect(!checkpoint_load(step_folder(test_folder(), 1), &m.params, &m.run, &p, &error), "another name");
    expect(strstr(error.text, "holds no model/model.layers.1.norm.weight"), "%s", error.text);
    strcpy(m.params.list[1].pattern, "model.layers.0.norm.weight");
    m.params.list[0].rows--;
    expect(!checkpoint_load(step_folder(test_folder(), 1), &m.params, &m.run, &p, &error), "another shape");
    expect(strstr(error.text, "is 6 x 10, the model's is 5 x 10"), "%s", error.text);
    model_drop(&m);
    world->ops->close(world);
}

/* -- saves that fail ---------------------------------------------------------------------------- */
static void test_failed_save(void) {
    Model m;
    Error error = {0};
    char folder[300];
    Comm *world = comm_open_single();
    snprintf(folder, sizeof folder, "%s/checkpoints", test_folder());
    save_steps(&one, folder, 1, 2);
    model_make(&m, world, &one);
    char blocked[400];
    snprintf(blocked, sizeof blocked, "%s/.tmp-00000003", folder); /* a file where the new folder should be */
    write_file(blocked, "");
    expect(!save(&m, folder, 3, &error) && strstr(error.text, ".tmp-00000003"), "'%s'", error.text);
    expect(newest(folder, NULL, &error) == 2, "%s", error.text);
    unlink(blocked);
    error.text[0] = 0;
    expect(save(&m, folder, 4, &error) && newest(folder, NULL, &error) == 4, "%s", error.text);
    model_drop(&m);
    world->ops->close(world);
}

const TestCase checkpoint_tests[] = {{"any layout and dtype to any", test_layouts},
                                     {"ranks share the writing", test_written_once},
                                     {"weights without optimizer", test_without_optimizer},
                                     {"equal runs give equal bytes", test_same_bytes},
                                     {"config and progress", test_read_config},
                                     {"nothing there", test_nothing_there},
                                     {"save_total_limit", test_limit},
                                     {"return to an older step", test_return_to_older},
                                     {"leftovers of a kill go", test_leftovers_go},
                                     {"LATEST missing, torn, wrong", test_latest},
                                     {"flipped bytes", test_flipped_bytes},
                                     {"files cut off, too long, missing", test_cut_off_and_missing},
                                     {"none whole is an error", test_none_whole},
                                     {"strange manifests", test_strange_manifests},
                                     {"another model's checkpoint", test_other_model},
                                     {"a failed save leaves the others", test_failed_save},
                                     {0}};
