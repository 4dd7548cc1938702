/* prepare.c - see prepare.h. The way: cache? -> lock -> parts -> shards -> rename.
 *
 * A prepared set is the folder NAME-KEY with train-00000.h5 ... and perhaps validation-00000.h5 ... It is filled below
 * FOLDER/.making-NAME and renamed when all of it is on disk. Rank 0 holds FOLDER/.lock while the ranks work, and every
 * rank holds .making-NAME/alive with it, so that a run which begins while ranks of a killed one still end waits for them
 * before it clears up. */
#include "data/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "data/disk.h"
#include "data/prepare_own.h"
#include "data/spool.h"
#include "launch/agree.h"
#include "launch/signals.h"

enum { WORTH_KEEPING = 1 << 20, WAIT_MICROSECONDS = 100000 }; /* bytes of source; between two looks at a lock */

/* -- what is there ------------------------------------------------------------------------------------------------ */

static bool read_counts(const char *stem, const Tokenizer *tokenizer, ShardInfo *info, Error *error) {
    TokenShard *s = tokens_open(stem, error);
    if (!s) return false;
    *info = *tokens_info(s);
    info->source = NULL;
    tokens_close(s);
    return info->tokenizer_hash == tokenizer_hash(tokenizer) ||
           fail(error, "%s: made with the tokenizer '%s', this run uses '%s'; prepare it again", stem,
                info->tokenizer, tokenizer_name(tokenizer));
}

/* Fills `out` from the shards of a prepared folder. */
static bool read_prepared(Prepared *out, const char *folder, const Tokenizer *tokenizer, Error *error) {
    ShardInfo train, held;
    int a = snprintf(out->train, sizeof out->train, "%s/train", folder);
    int b = snprintf(out->validation, sizeof out->validation, "%s/validation", folder);
    if (a >= (int)sizeof out->train || b >= (int)sizeof out->validation)
        return fail(error, "%s: this path is too long; choose a shorter folder", folder);
    if (!read_counts(out->train, tokenizer, &train, error)) return false;
    out->documents = train.documents, out->tokens = train.tokens, out->shards = train.shards;
    out->source = train.source_counts;
    out->validation_documents = out->validation_tokens = 0;
    if (!tokens_exist(out->validation)) {
        out->validation[0] = 0;
        return true;
    }
    if (!read_counts(out->validation, tokenizer, &held, error)) return false;
    out->validation_documents = held.documents, out->validation_tokens = held.tokens;
    return true;
}

/* -- locks ---------------------------------------------------------------------------------------------------------- */

static int open_lock(const char *folder, const char *name, Error *error) {
    char *path = must_format("%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) disk_fail(error, path, "open");
    free(path);
    return fd;
}

/* 0, or why not: EWOULDBLOCK when somebody else has it. */
static int try_lock(int fd, int how) {
    while (flock(fd, how | LOCK_NB))
        if (errno != EINTR) return errno;
    return 0;
}

/* Looks again and again, because a wait in flock(2) goes on behind a signal. Some file systems have no locks. */
static bool wait_for_lock(int fd, int how, const Job *job, Error *error) {
    bool said = false;
    for (int cause; (cause = try_lock(fd, how)); usleep(WAIT_MICROSECONDS)) {
        if (cause == ENOSYS || cause == EOPNOTSUPP || cause == ENOLCK) return true;
        if (cause != EWOULDBLOCK) return fail(error, "%s: cannot lock it: %s", job->folder, strerror(cause));
        if (!signals_none(error)) return false;
        if (!said) fprintf(stderr, "dsv2: waiting for another run that prepares in %s\n", job->folder);
        said = true;
    }
    return true;
}

/* A file of the folder, made if need be, with flock(2); -1 + message. */
static int lock_file(const char *folder, const char *name, int how, const Job *job, Error *error) {
    int fd = open_lock(folder, name, error);
    if (fd < 0 || wait_for_lock(fd, how, job, error)) return fd;
    close(fd);
    return -1;
}

/* One run at a time fills a folder. */
static int lock_folder(const Job *job, Error *error) { return lock_file(job->folder, ".lock", LOCK_EX, job, error); }

static int lock_alive(const Job *job, int how, Error *error) {
    return lock_file(job->making, "alive", how, job, error);
}

/* -- a set in the making ---------------------------------------------------------------------------------------------- */

/* Whether any part is finished; removes files that are not. */
static bool clear_up(const char *folder, bool *any, Error *error) {
    DIR *d = opendir(folder);
    *any = false;
    if (!d) return errno == ENOENT || fail(error, "%s: cannot open this folder: %s", folder, strerror(errno));
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(d));) {
        *any |= disk_ends_with(entry->d_name, ".records");
        if (!disk_ends_with(entry->d_name, ".tmp") && strcmp(entry->d_name, "stop")) continue;
        ok = !unlinkat(dirfd(d), entry->d_name, 0) ||
             fail(error, "%s/%s: cannot remove: %s", folder, entry->d_name, strerror(errno));
    }
    closedir(d);
    return ok;
}

/* After the ranks of a killed run have ended. */
static bool start_making(const Job *job, Error *error) {
    if (!disk_own_folder(job->making, error)) return false;
    int alive = lock_alive(job, LOCK_EX, error);
    if (alive < 0) return false;
    bool any;
    char *slots = must_format("%s/progress", job->making);
    bool ok = clear_up(job->making, &any, error) && disk_write_file(slots, "", 0, error) &&
              disk_own_folder(job->shards, error);
    free(slots);
    close(alive);
    return ok;
}

/* Finished parts stay for the next run, unless they are soon made again. */
static void keep_parts(const Job *job) {
    bool any;
    Error ignored;
    if (!clear_up(job->making, &any, &ignored)) return;
    if (!any || job->parts.bytes < WORTH_KEEPING) disk_remove_tree(job->making, &ignored);
}

static bool finish_making(const Job *job, Error *error) {
    return disk_sync_folder(job->shards, error) && disk_rename(job->shards, job->final, error) &&
           disk_remove_tree(job->making, error);
}

static bool make_set(Job *job, Error *error) {
    int alive = lock_alive(job, LOCK_SH, error);
    bool ok = agree(job->world, alive >= 0, error) && prepare_parts(job, error) && prepare_shards(job, error);
    if (alive >= 0) close(alive);
    job->world->ops->barrier(job->world);
    return ok;
}

static bool has_parts(const Job *job) {
    bool found = false;
    for (int64_t i = 0; !found && i < job->parts.count; i++) {
        char *records = spool_file(job->making, job->parts.part[i].key, "records");
        found = disk_exists(records);
        free(records);
    }
    return found;
}

/* A run that was killed after the set had its name left the parts, unless a run is at work with them. */
static void remove_left_parts(const Job *job) {
    Error ignored;
    if (!disk_exists(job->making) || !has_parts(job)) return;
    int lock = open_lock(job->folder, ".lock", &ignored);
    if (lock < 0) return;
    if (try_lock(lock, LOCK_EX) == 0) disk_remove_tree(job->making, &ignored);
    close(lock);
}

/* Rank 0 looks whether the set is there, and locks the folder and prepares for making it otherwise. */
static bool begin(Job *job, int *lock, Error *error) {
    if ((job->out->cached = disk_exists(job->final))) {
        remove_left_parts(job);
        return true;
    }
    if (!disk_make_folder(job->folder, error) || (*lock = lock_folder(job, error)) < 0) return false;
    job->out->cached = disk_exists(job->final); /* made while we waited */
    return job->out->cached || start_making(job, error);
}

static bool end(Job *job, bool ok, Error *error) {
    if (!job->out->cached) {
        if (!ok) keep_parts(job);
        ok = ok && finish_making(job, error);
    }
    Error why;
    if (ok && !read_prepared(job->out, job->final, job->e.tokenizer, &why))
        ok = fail(error, "%s; delete %s to prepare the set again", why.text, job->final);
    return ok;
}

static bool prepare_source(Job *job, Error *error) {
    Comm *world = job->world;
    int lock = -1;
    bool first = world->rank == 0, ok = agree(world, !first || begin(job, &lock, error), error);
    if (ok) {
        world->ops->host_broadcast(world, &job->out->cached, (int64_t)sizeof job->out->cached, 0);
        ok = job->out->cached || make_set(job, error);
        if (first) ok = end(job, ok, error);
        ok = agree(world, ok, error);
    }
    if (lock >= 0) close(lock);
    return ok;
}

/* -- format: tokens --------------------------------------------------------------------------------------------------- */

/* The folder of a prepared set: path itself, or where the shards that it matches lie. NULL + message. */
static char *shard_folder(const DataSet *set, const char *config_file, Error *error) {
    SourceFiles s;
    static const char first[] = "/train-00000.h5";
    if (!source_list(&s, set, config_file, error)) return NULL;
    char *folder = NULL;
    for (int64_t i = 0; i < s.count && !folder; i++)
        if (disk_ends_with(s.file[i].path, first))
            folder = must_format("%.*s", (int)(strlen(s.file[i].path) - strlen(first)), s.file[i].path);
    source_free(&s);
    if (!folder)
        fail(error, "data.%s: %s holds no train-00000.h5; name a folder that prepare made", set->name, set->path);
    return folder;
}

static bool use_shards(Prepared *out, const DataSet *set, const Tokenizer *tokenizer, const char *config_file,
                       Error *error) {
    if (set->validation != 0)
        return fail(error, "data.%s.validation: a set of format tokens was split when it was prepared", set->name);
    char *folder = shard_folder(set, config_file, error);
    bool ok = folder && read_prepared(out, folder, tokenizer, error);
    out->cached = true;
    free(folder);
    return ok;
}

/* ----------------------------------------------------------------------------------------------------------------------- */

static bool check_name(const DataSet *set, Error *error) {
    return (*set->name && *set->name != '.' && !strchr(set->name, '/')) ||
           fail(error, "data.%s: a set's name becomes a folder's; it cannot have '/' or begin with '.'", set->name);
}

static bool prepare_text(Prepared *out, const Config *config, const DataSet *set, const Tokenizer *tokenizer,
                         const char *folder, Comm *world, Error *error) {
    Job job = {0};
    bool ok = job_open(&job, out, config, set, tokenizer, folder, world, error);
    ok = agree(world, ok, error) && job_agrees(&job, error) && prepare_source(&job, error);
    job_close(&job);
    return ok;
}

bool prepare_set(Prepared *out, const Config *config, const DataSet *set, const Tokenizer *tokenizer,
                 const char *folder, Comm *world, Error *error) {
    Comm *all = world ? world : comm_open_single();
    *out = (Prepared){0};
    bool ok = check_name(set, error);
    if (ok && !strcmp(set->format, "tokens"))
        ok = agree(all, all->rank > 0 || use_shards(out, set, tokenizer, config->file, error), error);
    else if (ok)
        ok = prepare_text(out, config, set, tokenizer, folder, all, error);
    out->stopped = !ok && error->code == EXIT_RETRY;
    all->ops->host_broadcast(all, out, (int64_t)sizeof *out, 0);
    if (!world) all->ops->close(all);
    return ok;
}
