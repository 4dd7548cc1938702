/* checkpoint_state.c - the run's state as attributes of a file. Nothing here depends on the clock. */
#include "train/checkpoint_internal.h"

#include <stddef.h>
#include <stdlib.h>

#include "data/disk.h"
#include "train/commands.h"

static const struct {
    const char *name;
    size_t field;
    int since; /* which format */
} numbers[] = {
    {"step", offsetof(Progress, step), 2},
    {"tokens", offsetof(Progress, tokens), 2},
    {"sequences", offsetof(Progress, sequences), 2},
    {"adam_step", offsetof(Progress, adam_step), 2},
    {"seed", offsetof(Progress, seed), 2},
    {"skipped", offsetof(Progress, skipped), 2},
    {"skipped_in_a_row", offsetof(Progress, skipped_in_a_row), 2},
    {"data", offsetof(Progress, data), 4},
    {"tokenizer", offsetof(Progress, tokenizer), 4},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

void state_put(H5Writer *w, const Progress *progress, const char *config_text) {
    h5_attr_int(w, "/", "format", CHECKPOINT_FORMAT);
    h5_attr_int(w, "/", "numerics_epoch", NUMERICS_EPOCH);
    h5_attr_text(w, "/", "program", "dsv2 " DSV2_VERSION ", compiler " __VERSION__);
    h5_attr_text(w, "/", "config", config_text);
    for (int i = 0; i < NUMBERS; i++)
        h5_attr_int(w, "/", numbers[i].name,
                    *(const int64_t *)(const void *)((const char *)progress + numbers[i].field));
}

static bool read_attributes(H5Reader *r, const char *file, Progress *progress, char **config_text, Error *error) {
    int64_t format;
    if (!h5_read_attr_int(r, "/", "format", &format, error)) return false;
    if (format < CHECKPOINT_OLDEST || format > CHECKPOINT_FORMAT)
        return fail(error, "%s: checkpoint format %lld; this program reads formats %d to %d", file, (long long)format,
                    CHECKPOINT_OLDEST, CHECKPOINT_FORMAT);
    if (!h5_read_attr_int(r, "/", "numerics_epoch", &progress->numerics_epoch, error)) return false;
    progress->data = progress->tokenizer = 0;
    for (int i = 0; i < NUMBERS; i++)
        if (numbers[i].since <= format &&
            !h5_read_attr_int(r, "/", numbers[i].name, (int64_t *)(void *)((char *)progress + numbers[i].field),
                              error))
            return false;
    return h5_read_attr_text(r, "/", "config", config_text, error);
}

bool state_read(const char *checkpoint, const Manifest *m, Progress *progress, char **config_text, Error *error) {
    char file[PATH_MAX];
    const ManifestFile *master = manifest_file(m, MASTER_NAME);
    if (!master) return fail(error, "%s: MANIFEST does not name " MASTER_NAME, checkpoint);
    if (!manifest_check_file(master, checkpoint, error)) return false;
    disk_path(file, "%s/" MASTER_NAME, checkpoint);
    H5Reader *r = h5_open_proven(file, error);
    if (!r) return false;
    bool ok = read_attributes(r, file, progress, config_text, error);
    h5_close(r);
    return ok;
}
