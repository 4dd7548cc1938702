/* staged.h - a folder that appears under its name whole, or not at all.
 *
 * It is filled under a temporary name beside the final one (".tmp-NAME"), its files fsynced by whoever
 * writes them, and renamed when all are there. What an interrupted attempt left under the temporary
 * name goes when the next one begins; two at once are refused. */
#pragma once
#include "data/disk.h"

typedef struct {
    char path[PATH_MAX], temporary[PATH_MAX];
    int lock; /* on the temporary folder */
} Staged;

/* Makes the temporary folder (and the parents of `path`). False + message, when `path` exists already among others. */
bool staged_open(Staged *, const char *path, Error *);
/* ok: fsyncs, takes its name, fsyncs the parent. Else, or when that fails, all is removed. Returns whether it is there. */
bool staged_close(Staged *, bool ok, Error *);
