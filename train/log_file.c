#include "train/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/disk.h"

static bool copy_kept(FILE *from, FILE *to, bool (*keep)(void *, const char *, int64_t), void *own) {
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool good = true;
    while (good && (n = getline(&line, &room, from)) > 0)
        if (line[n - 1] == '\n' && keep(own, line, n)) good = fwrite(line, 1, (size_t)n, to) == (size_t)n;
    free(line);
    return good && !ferror(from) && fflush(to) == 0 && fsync(fileno(to)) == 0;
}

/* A link may lead to a file of somebody else's choice. */
static bool refuse_link(const char *path, Error *error) {
    struct stat s;
    if (lstat(path, &s) || !S_ISLNK(s.st_mode)) return true;
    fail(error, "%s: is a symbolic link, which a run does not write through; remove it, or set another output_dir",
         path);
    error->code = EXIT_USAGE;
    return false;
}

static FILE *create(const char *path, Error *error) {
    int file = disk_remove_file(path, error) ? disk_create(path, error) : -1;
    FILE *f = file < 0 ? NULL : fdopen(file, "w");
    if (file >= 0 && !f) close(file);
    return f;
}

bool log_file_cut(const char *path, bool (*keep)(void *, const char *, int64_t), void *own, Error *error) {
    if (!refuse_link(path, error)) return false;
    FILE *from = fopen(path, "re");
    if (!from) return errno == ENOENT || fail(error, "%s: %s", path, strerror(errno));
    char *temporary = must_format("%s.tmp", path);
    FILE *to = create(temporary, error);
    bool good = to && copy_kept(from, to, keep, own);
    if (to && fclose(to) != 0) good = false;
    fclose(from);
    if (to && (!good || rename(temporary, path) != 0))
        good = disk_fail(error, path, "cut it back to the step to resume from");
    if (to && !good) unlink(temporary);
    free(temporary);
    return good;
}

bool log_file_open(LogFile *f, const char *path, Error *error) {
    *f = (LogFile){.path = must_strdup(path), .file = -1};
    if (!refuse_link(path, error)) return false;
    f->file = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    return f->file >= 0 || disk_fail(error, path, "write");
}

static bool write_all(int file, const char *text, size_t left) {
    while (left > 0) {
        ssize_t n = write(file, text, left);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

/* After a line that was cut short the next begins on a line of its own, so that only one is lost. */
void log_file_write(LogFile *f, const char *line) {
    if (f->file < 0) return;
    if (f->torn) f->torn = !write_all(f->file, "\n", 1);
    if (!f->torn && write_all(f->file, line, strlen(line))) return;
    if (!f->warned) fprintf(stderr, "dsv2: %s: %s; training goes on, this file has gaps\n", f->path, strerror(errno));
    f->torn = f->warned = true;
}

bool log_file_empty(const LogFile *f) {
    struct stat s;
    return f->file >= 0 && fstat(f->file, &s) == 0 && s.st_size == 0;
}

void log_file_close(LogFile *f) {
    if (f->file >= 0) close(f->file);
    free(f->path);
    *f = (LogFile){.file = -1};
}
