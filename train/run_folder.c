#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/disk.h"
#include "launch/agree.h"
#include "train/checkpoint.h"

static bool set_aside(const char *path, Error *error) {
    struct stat st;
    char old[1100];
    if (stat(path, &st)) return true;
    for (int i = 1; i < 10000; i++) {
        snprintf(old, sizeof old, "%s.old-%d", path, i);
        if (!stat(old, &st)) continue;
        if (rename(path, old)) return fail(error, "cannot rename %s to %s: %s", path, old, strerror(errno));
        fprintf(stderr, "dsv2: the old run folder is now %s\n", old);
        return true;
    }
    return fail(error, "%s.old-1 to .old-9999 are all taken; remove some", path);
}

static bool lock_folder(RunFolder *f, int *lock, Error *error) {
    char *path = must_format("%s/lock", f->path);
    *lock = open(path, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0644);
    bool opened = *lock >= 0, locked = opened && !flock(*lock, LOCK_EX | LOCK_NB);
    int reason = errno;
    if (!opened) disk_fail(error, path, "write");
    free(path);
    if (locked || (opened && reason != EWOULDBLOCK)) return true; /* some file systems have no locks */
    return opened && fail(error, "another run uses %s; wait for it, or give this one its own output_dir", f->path);
}

/* A folder in which a run is at work keeps its name: what that run writes by name would end up in the new one. */
static bool start_over(RunFolder *f, Error *error) {
    int lock = -1;
    if (disk_is_folder(f->path) && !lock_folder(f, &lock, error)) return false;
    bool ok = set_aside(f->path, error) && disk_make_folder(f->path, error) && lock_folder(f, &f->lock, error);
    if (lock >= 0) close(lock);
    return ok;
}

static bool named_resume(RunFolder *f, const char *checkpoint, int *code, Error *error) {
    *code = EXIT_USAGE;
    if (strlen(checkpoint) >= sizeof f->resume)
        return fail(error, "resume: %.80s...: this path has more than %zu bytes; shorten it", checkpoint,
                    sizeof f->resume - 1);
    snprintf(f->resume, sizeof f->resume, "%s", checkpoint);
    if (checkpoint_is(f->resume)) return *code = EXIT_INPUT, true;
    return fail(error, "resume: %s is no checkpoint (a folder with a MANIFEST)", checkpoint);
}

/* One that was imported has weights and nothing of a run. */
static bool can_resume(const RunFolder *f, int *code, Error *error) {
    bool trained;
    if (!f->resume[0]) return true;
    if (!checkpoint_is_trained(f->resume, &trained, error)) return false;
    if (trained) return true;
    *code = EXIT_USAGE;
    return fail(error,
                "%s: was imported and holds no optimizer state to resume from; begin a run from it with init_from",
                f->resume);
}

static bool find_resume(RunFolder *f, const Config *c, int *code, Error *error) {
    bool never = !strcmp(c->resume, "never");
    if (!never && strcmp(c->resume, "auto")) return named_resume(f, c->resume, code, error);
    char *why = NULL;
    bool ok = checkpoint_newest(f->checkpoints, f->resume, &why, error);
    if (why && *why) fprintf(stderr, "dsv2: %s\n", why);
    free(why);
    f->verified = ok && f->resume[0];
    if (never && (!ok || f->resume[0])) {
        *code = EXIT_USAGE;
        return fail(error,
                    "%s holds checkpoints and resume is never; give the run another output_dir, or --fresh to "
                    "rename the old one",
                    f->path);
    }
    return ok;
}

static bool open_folder(RunFolder *f, const Config *c, bool fresh, int *code, Error *error) {
    *code = EXIT_IO;
    if (!(fresh ? start_over(f, error) : disk_make_folder(f->path, error) && lock_folder(f, &f->lock, error)))
        return false;
    *code = EXIT_INPUT;
    return find_resume(f, c, code, error) && can_resume(f, code, error);
}

/* Whether the folder could be made: the nearest one above it that is there can be written. */
static bool can_make(const char *path, Error *error) {
    char above[RUN_FOLDER_LONGEST + 2];
    struct stat st;
    snprintf(above, sizeof above, "%s", path);
    while (lstat(above, &st) && (errno == ENOENT || errno == ENOTDIR)) {
        char *slash = strrchr(above, '/');
        if (slash == above || !slash) {
            snprintf(above, sizeof above, slash ? "/" : ".");
            break;
        }
        *slash = 0;
    }
    bool folder = disk_is_folder(above);
    if (folder && !access(above, W_OK | X_OK)) return true;
    if (!folder) errno = ENOTDIR;
    return disk_fail(error, path, strcmp(above, path) ? "make this folder" : "write in this folder");
}

static bool look_at_folder(RunFolder *f, const Config *c, bool fresh, int *code, Error *error) {
    *code = EXIT_IO;
    if (!can_make(f->path, error)) return false;
    *code = EXIT_INPUT;
    return fresh || (find_resume(f, c, code, error) && can_resume(f, code, error));
}

typedef bool Opening(RunFolder *, const Config *, bool fresh, int *code, Error *);

/* Rank 0 acts, the others are told. */
static bool open_by(Opening *opening, RunFolder *f, const Config *c, bool fresh, Comm *world, int *code,
                    Error *error) {
    *f = (RunFolder){.lock = -1};
    if (strlen(c->output_dir) > RUN_FOLDER_LONGEST) {
        *code = EXIT_USAGE;
        return fail(error, "output_dir: %.80s...: this path has more than %d bytes; shorten it", c->output_dir,
                    RUN_FOLDER_LONGEST);
    }
    snprintf(f->path, sizeof f->path, "%s", c->output_dir);
    snprintf(f->checkpoints, sizeof f->checkpoints, "%s/checkpoints", f->path);
    bool ok = world->rank != 0 || opening(f, c, fresh, code, error);
    world->ops->host_broadcast(world, code, sizeof *code, 0);
    if (!agree(world, ok, error)) return false;
    world->ops->host_broadcast(world, f->resume, sizeof f->resume, 0);
    world->ops->host_broadcast(world, &f->verified, sizeof f->verified, 0);
    return true;
}

bool run_folder_open(RunFolder *f, const Config *c, bool fresh, Comm *world, int *code, Error *error) {
    return open_by(open_folder, f, c, fresh, world, code, error);
}

bool run_folder_look(RunFolder *f, const Config *c, bool fresh, Comm *world, int *code, Error *error) {
    return open_by(look_at_folder, f, c, fresh, world, code, error);
}

void run_folder_close(RunFolder *f) {
    if (f->lock >= 0) close(f->lock);
    f->lock = -1;
}

bool run_folder_write(const RunFolder *f, const char *name, const char *text, Error *error) {
    char *path = must_format("%s/%s", f->path, name), *temporary = must_format("%s/.%s.tmp", f->path, name);
    bool ok = disk_write_file(temporary, text, (int64_t)strlen(text), error) && disk_rename(temporary, path, error);
    if (!ok) unlink(temporary);
    free(path);
    free(temporary);
    return ok;
}
