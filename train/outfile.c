#include "train/outfile.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/disk.h"

/* A pipe or a device such as /dev/null keeps its place. */
static bool replaced(const OutFile *out) { return strcmp(out->made, out->path) != 0; }

bool outfile_open(OutFile *out, const char *path, Error *error) {
    struct stat s;
    bool there = stat(path, &s) == 0;
    if (there && S_ISDIR(s.st_mode)) return fail(error, "-o %s: is a folder; name a file", path);
    disk_path(out->path, "%s", path);
    if (there && !S_ISREG(s.st_mode))
        disk_path(out->made, "%s", path);
    else
        disk_path(out->made, "%s.tmp-%d", path, (int)getpid());
    if (replaced(out)) unlink(out->made);
    out->file = fopen(out->made, replaced(out) ? "wxe" : "we");
    return out->file || fail(error, "%s: cannot create: %s", out->made, strerror(errno));
}

bool outfile_keep(OutFile *out, Error *error) {
    if (!out->file) return true;
    bool ok = !fflush(out->file) && !ferror(out->file) && (!replaced(out) || !fsync(fileno(out->file)));
    if (!ok) fail(error, "%s: cannot write: %s", out->made, strerror(errno));
    fclose(out->file);
    out->file = NULL;
    if (!replaced(out)) return ok;
    ok = ok && disk_rename(out->made, out->path, error);
    if (!ok) unlink(out->made);
    return ok;
}

void outfile_drop(OutFile *out) {
    if (!out->file) return;
    fclose(out->file);
    if (replaced(out)) unlink(out->made);
    out->file = NULL;
}
