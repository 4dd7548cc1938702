/* source.h - the files that a data set's path names, in an order that no file system decides. */
#pragma once
#include "configs/config.h"

typedef struct {
    char *path;
    int64_t bytes, modified;
} SourceFile; /* modified: ns since 1970 */
typedef struct {
    SourceFile *file;
    int64_t count, bytes;
} SourceFiles;

/* path: a file, a glob or a folder (all plain, visible files below it), relative to the config file
 * or else to the working folder. Sorted by path. False + message when there are none. */
bool source_list(SourceFiles *, const DataSet *, const char *config_file, Error *);
void source_free(SourceFiles *);
