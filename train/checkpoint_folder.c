/* checkpoint_folder.c - names in the folder of checkpoints: what is there, how a new one appears, how
 * old ones go. Everything that counts happens by rename and is durable before the next thing begins.
 * Only one rank calls these. */
#include "train/checkpoint_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"

#define GONE_PREFIX ".del-" /* a checkpoint on its way out: no longer one, not yet removed */

void step_path(char path[PATH_MAX], const char *folder, const char *prefix, int64_t step) {
    disk_path(path, "%s/%s%08lld", folder, prefix, (long long)step);
}

static bool starts_with(const char *text, const char *prefix) { return !strncmp(text, prefix, strlen(prefix)); }

/* The step of "step-00000500"; false for any other name. */
static bool parse_step(const char *name, int64_t *step) {
    char expected[64];
    long long n;
    if (sscanf(name, STEP_PREFIX "%lld", &n) != 1 || n < 0) return false;
    snprintf(expected, sizeof expected, STEP_PREFIX "%08lld", n);
    *step = n;
    return !strcmp(name, expected);
}

/* -- what is there ---------------------------------------------------------------------------- */
static int best_first(const void *a, const void *b, void *own) {
    int64_t latest = *(const int64_t *)own, x = *(const int64_t *)a, y = *(const int64_t *)b;
    bool x_later = latest >= 0 && x > latest, y_later = latest >= 0 && y > latest;
    if (x_later != y_later) return x_later ? 1 : -1;
    return (x < y) - (x > y);
}

int steps_list(const char *folder, int64_t latest, int64_t **steps, Error *error) {
    DIR *d = opendir(folder);
    int n = 0;
    *steps = NULL;
    if (!d && errno == ENOENT) return 0;
    if (!d) return fail(error, "%s: cannot open this folder: %s", folder, strerror(errno)), -1;
    for (struct dirent *entry; (entry = readdir(d));) {
        int64_t step;
        if (!parse_step(entry->d_name, &step)) continue;
        *steps = must_realloc(*steps, n + 1, sizeof **steps);
        (*steps)[n++] = step;
    }
    closedir(d);
    if (n) qsort_r(*steps, (size_t)n, sizeof **steps, best_first, &latest);
    return n;
}

bool latest_read(const char *folder, int64_t *step, Error *error) {
    char file[PATH_MAX];
    int64_t bytes;
    disk_path(file, "%s/LATEST", folder);
    char *text = disk_read_file(file, 64, &bytes, error);
    if (!text) return false;
    char *end = strchr(text, '\n');
    bool ok = end && end == text + bytes - 1;
    if (ok) *end = 0;
    ok = (ok && parse_step(text, step)) || fail(error, "%s: does not name a checkpoint", file);
    free(text);
    return ok;
}

/* -- the new one ------------------------------------------------------------------------------ */
/* The step may be there already (a return to an older step): then the two change places at once
 * where the file system can do that, and the old one goes with the next clean. */
static bool place(const char *folder, int64_t step, Error *error) {
    char temp[PATH_MAX], final[PATH_MAX], gone[PATH_MAX];
    step_path(temp, folder, TEMP_PREFIX, step);
    step_path(final, folder, STEP_PREFIX, step);
    step_path(gone, folder, GONE_PREFIX, step);
    if (!disk_exists(final)) return disk_rename(temp, final, error);
    if (!renameat2(AT_FDCWD, temp, AT_FDCWD, final, RENAME_EXCHANGE)) return disk_sync_folder(folder, error);
    if (errno != EINVAL && errno != ENOSYS)
        return fail(error, "%s: cannot take the place of %s: %s", temp, final, strerror(errno));
    return disk_rename(final, gone, error) && disk_rename(temp, final, error);
}

static bool latest_write(const char *folder, int64_t step, Error *error) {
    char new[PATH_MAX], file[PATH_MAX], text[64];
    disk_path(new, "%s/LATEST.tmp", folder);
    disk_path(file, "%s/LATEST", folder);
    int length = snprintf(text, sizeof text, STEP_PREFIX "%08lld\n", (long long)step);
    return disk_write_file(new, text, length, error) && disk_rename(new, file, error);
}

bool folder_publish(const char *folder, int64_t step, Error *error) {
    char temp[PATH_MAX];
    step_path(temp, folder, TEMP_PREFIX, step);
    return disk_sync_folder(temp, error) && place(folder, step, error) && latest_write(folder, step, error);
}

/* -- the old ones ----------------------------------------------------------------------------- */
bool folder_clean(const char *folder, Error *error) {
    char path[PATH_MAX];
    Error later;
    DIR *d = opendir(folder);
    if (!d) return fail(error, "%s: cannot open this folder: %s", folder, strerror(errno));
    bool ok = true;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (!starts_with(entry->d_name, TEMP_PREFIX) && !starts_with(entry->d_name, GONE_PREFIX)) continue;
        disk_path(path, "%s/%s", folder, entry->d_name);
        ok = disk_remove_folder(path, ok ? error : &later) && ok;
    }
    closedir(d);
    return ok;
}

bool folder_prune(const char *folder, int64_t newest, int64_t keep, Error *error) {
    char path[PATH_MAX], gone[PATH_MAX];
    int64_t *steps;
    int n = steps_list(folder, newest, &steps, error);
    bool ok = n >= 0;
    for (int64_t i = max_i64(keep, 1); ok && i < n; i++) {
        step_path(path, folder, STEP_PREFIX, steps[i]);
        step_path(gone, folder, GONE_PREFIX, steps[i]);
        ok = disk_rename(path, gone, error);
    }
    free(steps);
    return ok && folder_clean(folder, error);
}
