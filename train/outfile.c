#include "train/outfile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"

bool outfile_open(OutFile *out, const char *path, Error *error) {
    disk_path(out->path, "%s", path);
    disk_path(out->made, "%s.tmp-%d", path, (int)getpid());
    out->file = fopen(out->made, "we");
    return out->file || fail(error, "%s: cannot create: %s", out->made, strerror(errno));
}

bool outfile_keep(OutFile *out, Error *error) {
    if (!out->file) return true;
    bool ok = !fflush(out->file) && !ferror(out->file) && !fsync(fileno(out->file));
    if (!ok) fail(error, "%s: cannot write: %s", out->made, strerror(errno));
    fclose(out->file);
    out->file = NULL;
    ok = ok && disk_rename(out->made, out->path, error);
    if (!ok) unlink(out->made);
    return ok;
}

void outfile_drop(OutFile *out) {
    if (!out->file) return;
    fclose(out->file);
    unlink(out->made);
    out->file = NULL;
}
