/* manifest.h - MANIFEST, the text that says what a checkpoint consists of.
 *
 *   dsv2-checkpoint 3
 *   step 500
 *   layout ranks 4 ep 2
 *   config 0123456789abcdef                               XXH3 of the config text
 *   file rank-00000.h5 12345678 0123456789abcdef          bytes, XXH3
 *   dataset 0 model/lm_head.weight bf16 102400x2048 0123456789abcdef
 *   ...                                                   (dataset: number of the rank file, shape, XXH3)
 *   file config.json 1234 0123456789abcdef                (companions; see companions.h)
 *   end 0123456789abcdef                                  XXH3 of everything above
 *
 * A checkpoint is whole when this file is, and every file named here has its size and hash. */
#pragma once
#include "kernels/tensor.h"

#include <stdio.h>

enum {
    CHECKPOINT_FORMAT = 4,
    CHECKPOINT_OLDEST = 2
}; /* 2: no companions, no f16; 3: no hashes of data and tokenizer */
#define MANIFEST_NAME "MANIFEST"
#define MASTER_NAME "model.h5" /* virtual datasets over the rank files, and the run's state as attributes */

typedef struct {
    const char *name;
    int64_t bytes;
    uint64_t hash;
} ManifestFile;
typedef struct {
    const char *path;
    int rank, ndim;
    int64_t dim[2];
    Dtype dtype;
    uint64_t hash;
} ManifestDataset;

typedef struct {
    int64_t step;
    int ranks, ep;
    uint64_t config_hash, own_hash; /* own: of the whole text, where it was read */
    ManifestFile *file;
    ManifestDataset *dataset; /* by rising path */
    int files, datasets;
    char *text; /* owns the names */
} Manifest;

void rank_file_name(char name[32], int rank);

/* Lines of the text. */
void manifest_put_head(FILE *, int64_t step, int ranks, int ep, uint64_t config_hash);
void manifest_put_file(FILE *, const char *name, int64_t bytes, uint64_t hash);
void manifest_put_dataset(FILE *, int rank, const char *path, Tensor shape, bool is_vector, uint64_t hash);
void manifest_put_end(FILE *, const char *above, int64_t bytes);

/* Parses lines without the end line; takes `text` over. `file` is for messages. */
bool manifest_parse(Manifest *, char *text, const char *file, Error *);
/* Reads a checkpoint's MANIFEST, whose hash must be right. */
bool manifest_read(Manifest *, const char *checkpoint, Error *);
void manifest_free(Manifest *);

const ManifestFile *manifest_file(const Manifest *, const char *name);       /* NULL when absent */
const ManifestDataset *manifest_dataset(const Manifest *, const char *path); /* NULL when absent */
int64_t manifest_count(const Manifest *, const char *group);                 /* datasets within "model", say */
/* The master and every rank's file are listed. */
bool manifest_names_all(const Manifest *, const char *checkpoint, Error *);
/* Size and hash of one file of a checkpoint. */
bool manifest_check_file(const ManifestFile *, const char *checkpoint, Error *);
