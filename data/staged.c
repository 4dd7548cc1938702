/* staged.c - see staged.h. */
#include "data/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* "runs/a/" and "runs/a" are one folder, and it needs a name of its own. */
static bool split_path(Staged *s, const char *path, char parent[PATH_MAX], Error *error) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (length >= PATH_MAX - 64) return fail(error, "%.80s...: the path is too long", path);
    disk_path(s->path, "%.*s", (int)length, path);
    const char *slash = strrchr(s->path, '/'), *name = slash ? slash + 1 : s->path;
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return fail(error, "%s: is no name for a new folder", path);
    disk_path(parent, "%.*s", slash ? (int)(slash - s->path + (slash == s->path)) : 1, slash ? s->path : ".");
    disk_path(s->temporary, "%s/.tmp-%s", parent, name);
    return true;
}

/* The lock tells a folder that somebody fills from one that an interrupted attempt left. */
static bool lock(Staged *s, Error *error) {
    s->lock = open(s->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->lock < 0) return disk_fail(error, s->temporary, "open this folder");
    if (!flock(s->lock, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return true; /* some file systems have no locks */
    close(s->lock);
    return fail(error, "%s: another process is writing it", s->path);
}

static bool remove_left(Staged *s, Error *error) {
    if (!disk_exists(s->temporary)) return true;
    if (!lock(s, error)) return false;
    bool ok = disk_remove_folder(s->temporary, error);
    close(s->lock);
    return ok;
}

bool staged_open(Staged *s, const char *path, Error *error) {
    char parent[PATH_MAX];
    s->lock = -1;
    if (!split_path(s, path, parent, error)) return false;
    if (disk_exists(s->path)) return fail(error, "%s: is there already; give another name, or remove it", s->path);
    if (!disk_make_folder(parent, error) || !remove_left(s, error)) return false;
    if (mkdir(s->temporary, 0755)) return disk_fail(error, s->temporary, "make this folder");
    return lock(s, error);
}

/* Never onto something that came there meanwhile. */
static bool take_name(const Staged *s, Error *error) {
    if (!renameat2(AT_FDCWD, s->temporary, AT_FDCWD, s->path, RENAME_NOREPLACE)) return true;
    if ((errno == EINVAL || errno == ENOSYS) && !disk_exists(s->path) && !rename(s->temporary, s->path)) return true;
    return disk_fail(error, s->path, "rename a folder to this name");
}

static bool publish(const Staged *s, Error *error) {
    char parent[PATH_MAX];
    if (!disk_sync_folder(s->temporary, error) || !take_name(s, error)) return false;
    const char *slash = strrchr(s->path, '/');
    disk_path(parent, "%.*s", slash ? (int)(slash - s->path + (slash == s->path)) : 1, slash ? s->path : ".");
    return disk_sync_folder(parent, error);
}

bool staged_close(Staged *s, bool ok, Error *error) {
    Error second; /* the first cause is what counts */
    ok = ok && publish(s, error);
    if (!ok) disk_remove_folder(s->temporary, &second);
    close(s->lock);
    return ok;
}
