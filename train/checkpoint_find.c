/* checkpoint_find.c - which checkpoint to resume from, whether one is whole, what it says. Before
 * HDF5 opens a file, its size and hash have been compared with MANIFEST. */
#include "train/checkpoint_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"

bool checkpoint_is(const char *path) {
    char file[PATH_MAX];
    disk_path(file, "%s/" MANIFEST_NAME, path);
    return disk_exists(file);
}

bool checkpoint_verify(const char *path, Error *error) {
    Manifest m;
    if (!manifest_read(&m, path, error)) return false;
    bool ok = manifest_names_all(&m, path, error);
    for (int i = 0; ok && i < m.files; i++) ok = manifest_check_file(&m.file[i], path, error);
    manifest_free(&m);
    return ok;
}

bool checkpoint_is_trained(const char *path, bool *trained, Error *error) {
    Manifest m;
    if (!manifest_read(&m, path, error)) return false;
    *trained = manifest_count(&m, kind_names[KIND_ADAM_M]) > 0;
    manifest_free(&m);
    return true;
}

bool checkpoint_read_config(const char *path, char **text, Progress *progress, Error *error) {
    Manifest m;
    if (!manifest_read(&m, path, error)) return false;
    bool ok = state_read(path, &m, progress, text, error);
    manifest_free(&m);
    return ok;
}

/* -- the one to resume from --------------------------------------------------------------------- */
/* First of the steps whose checkpoint is whole, -1 when none is; the others' faults go to `why`. */
static int64_t first_whole(const char *folder, const int64_t *steps, int n, FILE *why) {
    char path[PATH_MAX];
    Error error;
    for (int i = 0; i < n; i++) {
        step_path(path, folder, STEP_PREFIX, steps[i]);
        if (checkpoint_verify(path, &error)) return steps[i];
        fprintf(why, "%s\n", error.text);
    }
    return -1;
}

/* LATEST when it can be read; a folder without it is fine, a torn one is noted. */
static int64_t read_latest(const char *folder, FILE *why) {
    char file[PATH_MAX];
    int64_t latest;
    Error error;
    disk_path(file, "%s/LATEST", folder);
    if (!disk_exists(file)) return -1;
    if (latest_read(folder, &latest, &error)) return latest;
    fprintf(why, "%s\n", error.text);
    return -1;
}

static bool choose(const char *folder, char path[1024], FILE *why, Error *error) {
    int64_t *steps, latest = read_latest(folder, why);
    int n = steps_list(folder, latest, &steps, error);
    if (n < 0) return false;
    if (n && latest >= 0 && steps[0] != latest)
        fprintf(why, "%s: LATEST names step %lld, which is not there\n", folder, (long long)latest);
    int64_t step = first_whole(folder, steps, n, why);
    free(steps);
    if (step < 0 && (n || latest >= 0)) return false;
    if (step < 0) return *path = 0, true;
    int length = snprintf(path, 1024, "%s/" STEP_PREFIX "%08lld", folder, (long long)step);
    if (length < 1024) return true;
    fail(error, "%.80s...: this path has more than 1023 bytes; shorten it", folder);
    error->code = EXIT_USAGE;
    return false;
}

bool checkpoint_newest(const char *folder, char path[1024], char **why, Error *error) {
    size_t bytes;
    FILE *f = open_memstream(why, &bytes);
    check(f, "out of memory for a message");
    error->text[0] = 0;
    bool ok = choose(folder, path, f, error);
    check(fclose(f) == 0, "out of memory for a message");
    if (!ok && !error->text[0])
        fail(error, "%s: there are checkpoints, but none is whole; --fresh starts anew. %.600s", folder, *why);
    return ok;
}
