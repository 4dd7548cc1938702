/* disk.h - bytes to and from files with every return value looked at.
 *
 * Short transfers and EINTR are carried on with; anything else is a message that names the file.
 * A failed fsync is final: Linux drops the dirty pages after reporting it once, so a second fsync
 * that succeeds would prove nothing. */
#pragma once
#include "kernels/base.h"

#include <limits.h>

/* Like snprintf, for paths: one that does not fit is an end with EXIT_USAGE, never a shorter path. */
void disk_path(char path[PATH_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "FILE: cannot DOING: errno"; the code is EXIT_IO where the disk is full or broken. */
bool disk_fail(Error *, const char *file, const char *doing);

/* `file` is for messages. Reading past the end is an error. */
bool disk_write(int fd, const void *bytes, int64_t count, int64_t offset, const char *file, Error *);
bool disk_read(int fd, void *bytes, int64_t count, int64_t offset, const char *file, Error *);

/* Opens a file that must not exist yet, and so follows no link; -1 + message. */
int disk_create(const char *file, Error *);
/* Opens a plain file for reading and says how long it is; -1 + message. */
int disk_open(const char *file, int64_t *bytes, Error *);
/* Takes the room for a file of so many bytes, so that a full disk is known before any time is spent. File systems that
 * cannot do that tell at a write. */
bool disk_reserve(int fd, int64_t bytes, const char *file, Error *);
/* fsync and close, both checked; `ok` false only closes. Returns ok and both. */
bool disk_finish(int fd, bool ok, const char *file, Error *);

/* A whole small file: created anew, written, fsynced. */
bool disk_write_file(const char *file, const void *bytes, int64_t count, Error *);
/* malloc'd, ended by a NUL that *count leaves out; NULL + message, also when longer than `most`. */
char *disk_read_file(const char *file, int64_t most, int64_t *count, Error *);

bool disk_ends_with(const char *path, const char *ending); /* and has a name before it */
bool disk_exists(const char *path);
bool disk_is_folder(const char *path);
bool disk_make_folder(const char *path, Error *);            /* with its parents; fine when it is there */
bool disk_own_folder(const char *path, Error *);             /* the same; a link of that name is removed */
bool disk_sync_folder(const char *path, Error *);            /* makes names in it durable */
bool disk_rename(const char *from, const char *to, Error *); /* within one folder, which is fsynced */
bool disk_remove_file(const char *path, Error *);            /* fine when absent */
bool disk_remove_folder(const char *path, Error *); /* a folder of plain files, or a link; fine when absent */
bool disk_remove_tree(const char *path, Error *);   /* with the folders in it; links are not followed */
