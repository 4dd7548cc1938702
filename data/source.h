/* source.h - the files that a data set's path names, in an order that no file system decides. */
#pragma once
#include "configs/config.h"

typedef struct {
    char *path;
    int64_t bytes, modified; /* ns since 1970 */
    int64_t state;           /* changes with the file: its time, and what lies beside it */
} SourceFile;
typedef struct {
    SourceFile *file;
    int64_t count, bytes;
} SourceFiles;

/* path: a file, a glob or a folder (all plain, visible files below it), relative to the config file
 * or else to the working folder. Sorted by path. False + message when there are none. */
bool source_list(SourceFiles *, const DataSet *, const char *config_file, Error *);
/* Keeps the .bin files of a Megatron source; each must have its .idx beside it. */
bool source_keep_megatron(SourceFiles *, const DataSet *, Error *);
/* False + message when the file is not what it was when it was listed. */
bool source_unchanged(const SourceFile *, Error *);
void source_free(SourceFiles *);
