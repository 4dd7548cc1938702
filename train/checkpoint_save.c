/* checkpoint_save.c - the life of a save. The main thread lays the file out and starts the writer
 * thread; later, when all ranks have written, it finishes together with the others. The thread does
 * disk I/O only: no MPI and no HDF5 there.
 *
 * Fields of Checkpointer below `lock` belong to the thread while it runs; left and ended are shared. */
#include "train/checkpoint_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "data/disk.h"
#include "launch/agree.h"
#include "launch/watchdog.h"

struct Checkpointer {
    char *folder, *staging;
    const Companions *companions;
    const Params *params;
    Run *run;
    Piece *piece;
    int pieces, *dataset; /* of each piece in layout */

    bool active; /* a save is in flight; what follows is about it */
    Progress progress;
    char *config_text, temp[PATH_MAX], file[PATH_MAX];
    H5Writer *layout;
    pthread_t thread;
    bool threaded; /* it could be started */
    double started;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    int *left;  /* pieces of each parameter that were not yet read */
    bool ended; /* the thread is through, well or not */
    bool ok;
    Error error;
    double seconds;
    uint64_t hash, *piece_hash;
};

Checkpointer *checkpoint_open(const char *folder, const Params *params, Run *run, Error *error) {
    bool made = run->mesh.world->rank != 0 || disk_make_folder(folder, error);
    if (!agree(run->mesh.world, made, error)) return NULL;
    static const Companions none = {0};
    Checkpointer *c = must_alloc(1, sizeof *c);
    *c = (Checkpointer){.folder = must_strdup(folder), .companions = &none, .params = params, .run = run};
    c->staging = arena_alloc(&run->host, CHECKPOINT_STAGING);
    c->pieces = pieces_list(&c->piece, params, run, PIECES_WRITTEN);
    c->dataset = must_alloc(c->pieces, sizeof *c->dataset);
    c->piece_hash = must_alloc(c->pieces, sizeof *c->piece_hash);
    c->left = must_alloc(params->count, sizeof *c->left);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    return c;
}

void checkpoint_take_along(Checkpointer *c, const Companions *companions) { c->companions = companions; }

/* -- the writer thread -------------------------------------------------------------------------- */
static void piece_done(void *own, int piece) {
    Checkpointer *c = own;
    pthread_mutex_lock(&c->lock);
    if (--c->left[c->piece[piece].param] == 0) pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static bool read_piece(void *own, int piece, int64_t first, int64_t bytes, void *to, Error *error) {
    Checkpointer *c = own;
    Device *device = c->run->device;
    (void)error;
    device->ops->to_host(device, to, (const char *)c->piece[piece].data.data + first, bytes);
    return true;
}

static void thread_ends(Checkpointer *c, bool ok) {
    pthread_mutex_lock(&c->lock);
    c->ok = ok;
    c->ended = true;
    c->seconds = clock_seconds() - c->started;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void *writer_thread(void *own) {
    Checkpointer *c = own;
    FileContent content = {.layout = c->layout,
                           .dataset = c->dataset,
                           .pieces = c->pieces,
                           .staging = c->staging,
                           .read = read_piece,
                           .piece_done = piece_done,
                           .own = c};
    thread_ends(c, content_write(&content, c->file, &c->hash, c->piece_hash, &c->error));
    return NULL;
}

/* Signals are for the main thread, which knows what to do with them. */
static void start_thread(Checkpointer *c) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&c->thread, NULL, writer_thread, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->threaded = !failed;
    if (failed) thread_ends(c, fail(&c->error, "cannot start the thread that saves: %s", strerror(failed)));
}

static bool thread_ended(Checkpointer *c) {
    pthread_mutex_lock(&c->lock);
    bool ended = c->ended;
    pthread_mutex_unlock(&c->lock);
    return ended;
}

void checkpoint_wait_param(Checkpointer *c, int i) {
    if (!c || !c->active) return;
    pthread_mutex_lock(&c->lock);
    while (c->left[i] > 0 && !c->ended) pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

/* -- start ------------------------------------------------------------------------------------ */
static bool lay_out(Checkpointer *c, Error *error) {
    char name[32];
    rank_file_name(name, c->run->mesh.world->rank);
    step_path(c->temp, c->folder, TEMP_PREFIX, c->progress.step);
    disk_path(c->file, "%s/%s", c->temp, name);
    c->layout = h5_create();
    memset(c->left, 0, (size_t)c->params->count * sizeof *c->left);
    for (int i = 0; i < c->pieces; i++) {
        const Piece *p = &c->piece[i];
        int64_t shape[2] = {tensor_rows(p->data), tensor_cols(p->data)};
        c->dataset[i] = h5_dataset(c->layout, p->path, p->data.dtype, p->is_vector ? 1 : 2, shape + p->is_vector);
        c->left[p->param]++;
    }
    state_put(c->layout, &c->progress, c->config_text);
    return h5_layout(c->layout, error);
}

/* All ranks write to one file system, which must take everything and a little more. */
static bool has_room(Checkpointer *c, Error *error) {
    struct statvfs s;
    int64_t bytes = h5_file_bytes(c->layout), failed;
    comm_reduce_i64(c->run->mesh.world, &bytes, 1, REDUCE_SUM);
    do failed = statvfs(c->folder, &s);
    while (failed && errno == EINTR);
    if (failed) return fail(error, "%s: cannot tell how much room is left: %s", c->folder, strerror(errno));
    double wanted = 1.05 * (double)bytes, room = (double)s.f_bavail * (double)s.f_frsize;
    return wanted <= room || fail(error, "%s: a checkpoint takes %.1f MB and only %.1f MB are free; make room there",
                                  c->folder, wanted / 1e6, room / 1e6);
}

static bool make_temp(const Checkpointer *c, Error *error) {
    return mkdir(c->temp, 0755) == 0 || fail(error, "%s: cannot make this folder: %s", c->temp, strerror(errno));
}

static void release(Checkpointer *c) {
    if (c->layout) h5_destroy(c->layout);
    free(c->config_text);
    c->layout = NULL;
    c->config_text = NULL;
    c->active = false;
    watchdog_saving(false);
}

bool checkpoint_save_start(Checkpointer *c, const Progress *progress, const char *config_text, Error *error) {
    Comm *world = c->run->mesh.world;
    bool first = world->rank == 0;
    check(!c->active, "step %lld is to be saved while step %lld still is", (long long)progress->step,
          (long long)c->progress.step);
    c->progress = *progress;
    c->config_text = must_strdup(config_text);
    if (first) folder_clean(c->folder, error); /* to make room; what stays is spoken of after the save */
    bool ok = agree(world, lay_out(c, error), error) && agree(world, has_room(c, error), error) &&
              agree(world, !first || make_temp(c, error), error);
    if (!ok) {
        release(c);
        return false;
    }
    c->active = true;
    watchdog_saving(true);
    c->ended = false;
    c->error.text[0] = 0;
    c->started = clock_seconds();
    start_thread(c);
    return true;
}

/* -- finish ----------------------------------------------------------------------------------- */
/* This rank's lines of MANIFEST. malloc'd. */
static char *own_lines(const Checkpointer *c, int64_t *bytes) {
    char *text, name[32];
    size_t length;
    const Mesh *mesh = &c->run->mesh;
    FILE *f = open_memstream(&text, &length);
    check(f, "out of memory for MANIFEST");
    if (mesh->world->rank == 0)
        manifest_put_head(f, c->progress.step, mesh->world->size, mesh_size(mesh, AXIS_EP),
                          hash_string(c->config_text));
    rank_file_name(name, mesh->world->rank);
    manifest_put_file(f, name, h5_file_bytes(c->layout), c->hash);
    for (int i = 0; i < c->pieces; i++) {
        const Piece *p = &c->piece[i];
        manifest_put_dataset(f, mesh->world->rank, p->path, p->data, p->is_vector, c->piece_hash[i]);
    }
    check(fclose(f) == 0, "out of memory for MANIFEST");
    *bytes = (int64_t)length;
    return text;
}

/* Collective: everybody's lines, in rank order, at rank 0; an empty text elsewhere. malloc'd. */
static char *gather_lines(const Checkpointer *c) {
    Comm *world = c->run->mesh.world;
    int64_t bytes, total = 0;
    char *mine = own_lines(c, &bytes);
    int64_t *send = must_alloc(world->size, sizeof *send), *receive = must_alloc(world->size, sizeof *receive);
    world->ops->host_gather_all(world, receive, &bytes, sizeof bytes);
    for (int r = 0; r < world->size; r++) {
        if (world->rank != 0) receive[r] = 0;
        total += receive[r];
    }
    send[0] = bytes;
    char *all = must_alloc(total + 1, 1);
    world->ops->host_exchange(world, all, receive, mine, send);
    free(send);
    free(receive);
    free(mine);
    return all;
}

static bool complete(Checkpointer *c, const char *lines, Error *error) {
    FolderState state = {c->progress, c->config_text, c->companions};
    return folder_complete(c->temp, lines, &state, error) && folder_publish(c->folder, c->progress.step, error);
}

static bool finish(Checkpointer *c, Error *error) {
    Comm *world = c->run->mesh.world;
    bool first = world->rank == 0;
    *error = c->error;
    bool ok = agree(world, c->ok, error);
    if (ok) {
        char *lines = gather_lines(c);
        ok = agree(world, !first || complete(c, lines, error), error);
        free(lines);
    }
    Error second; /* the first cause is what counts, and the next save cleans up again */
    if (first && ok) folder_prune(c->folder, c->progress.step, c->run->config->save_total_limit, error);
    if (first && !ok) disk_remove_folder(c->temp, &second);
    return ok;
}

bool checkpoint_save_poll(Checkpointer *c, bool wait, int64_t *saved, double *seconds, Error *error) {
    Comm *world = c->run->mesh.world;
    *saved = -1;
    if (!c->active || (!wait && !comm_all_agree(world, thread_ended(c)))) return true;
    if (c->threaded) pthread_join(c->thread, NULL);
    bool ok = finish(c, error);
    *seconds = c->seconds;
    comm_reduce_f64(world, seconds, 1, REDUCE_MAX);
    if (ok) *saved = c->progress.step;
    release(c);
    return ok;
}

void checkpoint_close(Checkpointer *c) {
    if (!c) return;
    if (c->active && c->threaded) pthread_join(c->thread, NULL);
    release(c);
    pieces_free(c->piece, c->pieces);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c->dataset);
    free(c->piece_hash);
    free(c->left);
    free(c->folder);
    free(c);
}
