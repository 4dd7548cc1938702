/* outfile.h - what -o names: written beside its place, and there only when all of it is; a pipe or device as it goes. */
#pragma once
#include <limits.h>
#include <stdio.h>

#include "kernels/base.h"

typedef struct {
    FILE *file;                          /* NULL when none is open */
    char path[PATH_MAX], made[PATH_MAX]; /* the same for what is no plain file */
} OutFile;

bool outfile_open(OutFile *, const char *path, Error *);
/* Fine when none is open. */
bool outfile_keep(OutFile *, Error *);
void outfile_drop(OutFile *);
