/* disk.c - see disk.h. */
#include "data/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_AT_ONCE = 1 << 30 }; /* Linux moves at most 2 GiB - 4096 a call */

void disk_path(char path[PATH_MAX], const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(path, PATH_MAX, format, args);
    va_end(args);
    if (length >= 0 && length < PATH_MAX) return;
    stop_job(EXIT_USAGE, "%.80s...: this path has more than %d bytes; shorten it", path, PATH_MAX - 1);
}

bool disk_fail(Error *error, const char *file, const char *doing) {
    int cause = errno;
    bool disk = cause == ENOSPC || cause == EDQUOT || cause == EIO || cause == EROFS || cause == EFBIG;
    fail(error, "%s: cannot %s: %s", file, doing, strerror(cause));
    if (error && disk) error->code = EXIT_IO;
    return false;
}

bool disk_write(int fd, const void *bytes, int64_t count, int64_t offset, const char *file, Error *error) {
    const char *from = bytes;
    while (count > 0) {
        ssize_t done = pwrite(fd, from, (size_t)min_i64(count, MOST_AT_ONCE), (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return disk_fail(error, file, "write");
        if (done == 0) return fail(error, "%s: cannot write: the device takes no more bytes", file);
        from += done, offset += done, count -= done;
    }
    return true;
}

bool disk_read(int fd, void *bytes, int64_t count, int64_t offset, const char *file, Error *error) {
    char *to = bytes;
    while (count > 0) {
        ssize_t done = pread(fd, to, (size_t)min_i64(count, MOST_AT_ONCE), (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return disk_fail(error, file, "read");
        if (done == 0) return fail(error, "%s: ends at byte %lld, too early", file, (long long)offset);
        to += done, offset += done, count -= done;
    }
    return true;
}

int disk_create(const char *file, Error *error) {
    int fd = open(file, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) disk_fail(error, file, "create");
    return fd;
}

int disk_open(const char *file, int64_t *bytes, Error *error) {
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    struct stat s;
    if (fd < 0) return disk_fail(error, file, "open"), -1;
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) {
        *bytes = s.st_size;
        return fd;
    }
    fail(error, "%s: is not a plain file", file);
    close(fd);
    return -1;
}

bool disk_reserve(int fd, int64_t bytes, const char *file, Error *error) {
    int failed = 0;
    if (bytes > 0) do
            failed = fallocate(fd, 0, 0, (off_t)bytes);
        while (failed && errno == EINTR);
    if (!failed || errno == EOPNOTSUPP || errno == ENOSYS) return true;
    return disk_fail(error, file, "reserve all bytes of it");
}

bool disk_finish(int fd, bool ok, const char *file, Error *error) {
    if (ok && fsync(fd)) ok = disk_fail(error, file, "fsync");
    if (close(fd) && ok) ok = disk_fail(error, file, "close");
    return ok;
}

bool disk_write_file(const char *file, const void *bytes, int64_t count, Error *error) {
    if (unlink(file) && errno != ENOENT) return disk_fail(error, file, "replace");
    int fd = disk_create(file, error);
    return fd >= 0 && disk_finish(fd, disk_write(fd, bytes, count, 0, file, error), file, error);
}

char *disk_read_file(const char *file, int64_t most, int64_t *count, Error *error) {
    int64_t bytes;
    int fd = disk_open(file, &bytes, error);
    if (fd < 0) return NULL;
    bool ok = bytes <= most || fail(error, "%s: %lld bytes, more than the %lld that such a file can have", file,
                                    (long long)bytes, (long long)most);
    char *text = ok ? must_alloc(bytes + 1, 1) : NULL;
    if (ok && !disk_read(fd, text, bytes, 0, file, error)) {
        free(text);
        text = NULL;
    }
    close(fd);
    *count = bytes;
    return text;
}

bool disk_ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcmp(path + n - m, ending);
}

bool disk_exists(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0;
}

bool disk_is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static void parent_of(const char *path, char parent[PATH_MAX]) {
    disk_path(parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash)
        disk_path(parent, ".");
    else
        slash[slash == parent] = 0;
}

bool disk_make_folder(const char *path, Error *error) {
    char parent[PATH_MAX];
    if (disk_is_folder(path)) return true;
    parent_of(path, parent);
    if (!disk_is_folder(parent) && !disk_make_folder(parent, error)) return false;
    if (mkdir(path, 0755) && !(errno == EEXIST && disk_is_folder(path)))
        return disk_fail(error, path, "make this folder");
    return disk_sync_folder(parent, error);
}

static bool is_link(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0 && S_ISLNK(s.st_mode);
}

bool disk_own_folder(const char *path, Error *error) {
    return (!is_link(path) || disk_remove_file(path, error)) && disk_make_folder(path, error);
}

bool disk_sync_folder(const char *path, Error *error) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return disk_fail(error, path, "open this folder");
    return disk_finish(fd, true, path, error);
}

bool disk_rename(const char *from, const char *to, Error *error) {
    char parent[PATH_MAX];
    if (rename(from, to)) return disk_fail(error, to, "rename a folder or file to this name");
    parent_of(to, parent);
    return disk_sync_folder(parent, error);
}

bool disk_remove_folder(const char *path, Error *error) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder && errno == ENOTDIR && is_link(path))
        return disk_remove_file(path, error); /* what it leads to stays */
    if (!folder) return errno == ENOENT || disk_fail(error, path, "open this folder");
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (unlinkat(dirfd(folder), entry->d_name, 0)) ok = disk_fail(error, path, "empty this folder");
    }
    closedir(folder);
    return ok && (rmdir(path) == 0 || disk_fail(error, path, "remove this folder"));
}

bool disk_remove_file(const char *path, Error *error) {
    return unlink(path) == 0 || errno == ENOENT || disk_fail(error, path, "remove");
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

bool disk_remove_tree(const char *path, Error *error) {
    return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT ||
           disk_fail(error, path, "remove this folder");
}
