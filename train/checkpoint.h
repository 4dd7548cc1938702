/* checkpoint.h - save and load a run's whole state (DESIGN section 8, RELIABILITY section 2).
 *
 * checkpoints/step-00000500/: rank-00000.h5 ... (contiguous datasets, one per published tensor and
 * kind: model/NAME, master/NAME, adam_m/NAME, adam_v/NAME), model.h5 (virtual datasets over them),
 * MANIFEST (sizes and XXH3 of every file and dataset). The folder appears under its name only when
 * all of it is on disk. */
#pragma once
#include "model/params.h"

typedef struct {
    int64_t step, tokens, sequences; /* done so far; sequences = position in the data */
    int64_t adam_step;               /* optimizer steps taken (skipped ones do not count) */
    uint64_t seed;
    int64_t skipped;
} Progress;

typedef struct Checkpointer Checkpointer;

/* folder: .../checkpoints. Writes happen on a background thread per rank while the next step
 * computes; params_writable() must be called before a parameter changes. */
Checkpointer *checkpoint_open(const char *folder, const Params *, Run *, Error *);
void checkpoint_close(Checkpointer *);

/* Bytes that one checkpoint takes on disk, all ranks; the part of this rank. */
int64_t checkpoint_bytes(const Params *, const Run *, int64_t *mine);

/* Starts a save (collective). Returns at once; data is read from params while the thread runs. */
bool checkpoint_save_start(Checkpointer *, const Progress *, const char *config_text, Error *);
/* Collective, called at step boundaries: when all ranks have written, finishes (manifest, rename, prune) and
 * returns true with *saved = the step; wait = true blocks until done. A failed save returns false with the
 * message and leaves earlier checkpoints alone; training goes on. *seconds = time behind training. */
bool checkpoint_save_poll(Checkpointer *, bool wait, int64_t *saved, double *seconds, Error *);
/* Blocks until parameter i of the list has been written (adamw calls it before the update). */
void checkpoint_wait_param(Checkpointer *, int i);

/* Finds the newest whole checkpoint of a run's folder: "" when there are none at all. False + message when there
 * are some but none is whole. *why lists what was rejected and for what (malloc'd). Rank 0 alone calls it. */
bool checkpoint_newest(const char *folder, char path[1024], char **why, Error *);
bool checkpoint_verify(const char *path, Error *);                 /* manifest, sizes, hashes */
/* The config a checkpoint carries (malloc'd text) and its progress. */
bool checkpoint_read_config(const char *path, char **text, Progress *, Error *);
/* Fills params (w, master, and m, v when the list has them) from a checkpoint of any layout. Collective. */
bool checkpoint_load(const char *path, Params *, Run *, Progress *, Error *);
bool checkpoint_is(const char *path);                              /* a folder with a MANIFEST */
