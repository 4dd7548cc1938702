/* checkpoint_internal.h - what the files behind checkpoint.h share; nobody else includes it. */
#pragma once
#include "data/h5.h"
#include "train/checkpoint.h"
#include "train/manifest.h"

#include <limits.h>

/* -- pieces: what lies in a checkpoint (checkpoint_pieces.c) ------------------------------------ */
typedef enum { KIND_MODEL, KIND_MASTER, KIND_ADAM_M, KIND_ADAM_V, KINDS } Kind;
extern const char *const kind_names[KINDS]; /* "model" "master" "adam_m" "adam_v": groups of the files */

/* One published tensor in one kind, in this rank's memory. */
typedef struct {
    char *path;       /* "adam_m/model.layers.0..." */
    const char *name; /* the part behind the kind */
    Kind kind;
    Tensor data;
    bool is_vector;
    int param; /* index in Params */
} Piece;

/* All pieces that this rank holds, or those that it writes, in the order of Params. malloc'd. */
typedef enum { PIECES_HELD, PIECES_WRITTEN } Choice;
int pieces_list(Piece **, const Params *, const Run *, Choice);
void pieces_free(Piece *, int n);

/* -- one file of a checkpoint (checkpoint_write.c) ---------------------------------------------- */
typedef struct {
    const H5Writer *layout;
    int pieces;         /* none in the master */
    const int *dataset; /* of each piece in layout */
    char *staging;      /* CHECKPOINT_STAGING bytes */
    bool (*read)(void *own, int piece, int64_t first, int64_t bytes, void *to, Error *);
    void (*piece_done)(void *own, int piece); /* has been read for the last time; may be NULL */
    void *own;
} FileContent;

/* Creates, fills and fsyncs it; gives the hash of the whole and of each piece. */
bool content_write(const FileContent *, const char *file, uint64_t *hash, uint64_t *piece_hash, Error *);

/* -- the run's state as attributes of a file (checkpoint_state.c) ------------------------------- */
void state_put(H5Writer *, const Progress *, const char *config_text);
bool state_read(const char *checkpoint, const Manifest *, Progress *, char **config_text, Error *);

/* -- the folder of checkpoints (checkpoint_folder.c) -------------------------------------------- */
#define STEP_PREFIX "step-"
#define TEMP_PREFIX ".tmp-"
void step_path(char path[PATH_MAX], const char *folder, const char *prefix, int64_t step);
/* Steps that have a folder, the best to resume from first: `latest` and those before it by falling step, then later
 * ones (left from before somebody went back to an older step). latest -1: not known. malloc'd; -1 + message. */
int steps_list(const char *folder, int64_t latest, int64_t **steps, Error *);
bool latest_read(const char *folder, int64_t *step, Error *);
bool folder_clean(const char *folder, Error *); /* removes what was cut off or given up earlier */
/* Companions, master and MANIFEST of the checkpoint in its temporary folder; lines: what MANIFEST says of the rank
 * files. */
typedef struct {
    Progress progress;
    const char *config_text;
    const Companions *companions;
} FolderState;
bool folder_complete(const char *temp, const char *lines, const FolderState *, Error *);
bool folder_publish(const char *folder, int64_t step, Error *); /* temporary name -> final name, LATEST */
bool folder_prune(const char *folder, int64_t newest, int64_t keep, Error *);
