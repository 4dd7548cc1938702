/* verify_hashes.c - `dsv2 verify PATH`: every hash of a checkpoint, of all checkpoints of a run, or of a shard. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/disk.h"
#include "data/tokens.h"
#include "train/session.h"
#include "train/verify.h"

static bool is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* A folder of prepared shards has a training side, and perhaps one held out. */
static bool verify_set(const char *train, const char *validation, Error *error) {
    return tokens_verify(train, error) && (!tokens_exist(validation) || tokens_verify(validation, error));
}

static bool verify_hashes(const char *path, Error *error) {
    ModelPath model;
    char train[PATH_MAX], validation[PATH_MAX];
    disk_path(train, "%s/train", path);
    disk_path(validation, "%s/validation", path);
    if (tokens_exist(train)) return verify_set(train, validation, error);
    if (!is_folder(path)) return tokens_verify(path, error);
    if (!model_find(path, &model, error)) return false;
    if (model.kind == MODEL_HF)
        return fail(error,
                    "%s is a Hugging Face folder, which carries no hashes; give a reference file to compare with",
                    path);
    return checkpoint_verify(model.path, error);
}

int command_verify(const CommandLine *line) {
    Error error = {0};
    if (line->n_input == 2) return verify_reference(line);
    if (base_rank) return EXIT_DONE;
    if (!verify_hashes(line->input[0], &error)) {
        fprintf(stderr, "dsv2: %s\n", error.text);
        return error_code(&error, EXIT_INPUT);
    }
    printf("%s: every size and hash is right\n", line->input[0]);
    return EXIT_DONE;
}
