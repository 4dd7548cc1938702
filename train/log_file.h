/* log_file.h - a text file of a run folder that grows by whole lines and can be cut back to a step. */
#pragma once
#include "kernels/base.h"

typedef struct {
    char *path;
    int file;  /* -1 = not open */
    bool torn; /* the last line was not written whole */
    bool warned;
} LogFile;

/* Keeps the lines of `path` for which keep(own, line, length) is true (a last line without its end is dropped), in a
 * new file that replaces the old one. No file is fine. */
bool log_file_cut(const char *path, bool (*keep)(void *own, const char *line, int64_t length), void *own, Error *);
bool log_file_open(LogFile *, const char *path, Error *);
/* One line, its newline included. An error is a warning, the first time. */
void log_file_write(LogFile *, const char *line);
bool log_file_empty(const LogFile *);
void log_file_close(LogFile *);
