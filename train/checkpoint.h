/* checkpoint.h - save and load a run's whole state (DESIGN section 8, RELIABILITY section 2).
 *
 * checkpoints/step-00000500/: rank-00000.h5 ... (contiguous datasets, one per published tensor and
 * kind: model/NAME, master/NAME, adam_m/NAME, adam_v/NAME; fp32 weights are their own master),
 * model.h5 (virtual datasets over them, for people), config.json, tokenizer files and the like (so that
 * it can be exported wherever it lies), MANIFEST (sizes and XXH3 of every file and dataset). The folder appears under its name only when all of it is on disk; then LATEST beside
 * the checkpoints names it. */
#pragma once
#include "model/params.h"
#include "train/companions.h"

/* Rises when kernels change the bits of a result: a resumed run then no longer equals one that never stopped. */
enum { NUMERICS_EPOCH = 1 };

typedef struct {
    int64_t step, tokens, sequences; /* done so far; sequences = position in the data */
    int64_t adam_step;               /* optimizer steps taken (skipped ones do not count) */
    uint64_t seed;
    int64_t skipped, skipped_in_a_row; /* steps that were passed over: all, and up to the last one */
    uint64_t data, tokenizer;          /* hashes of the tokens it trains on and of its tokenizer; 0 = not known */
    int64_t numerics_epoch;            /* of the program that wrote the checkpoint; set by reading */
} Progress;

typedef struct Checkpointer Checkpointer;

/* What a Checkpointer takes from run->host, for plan. */
enum { CHECKPOINT_STAGING = 8 << 20 };

/* -- saving ----------------------------------------------------------------------------------- */
/* folder: .../checkpoints, made when it is not there. Writes happen on a background thread per rank
 * while the next step computes; checkpoint_wait_param() must be called before a parameter changes.
 * Collective. NULL + message. */
Checkpointer *checkpoint_open(const char *folder, const Params *, Run *, Error *);
void checkpoint_close(Checkpointer *); /* NULL is fine; a save that was not polled to its end is dropped */

/* Small files that every checkpoint from now on holds too; borrowed. Only rank 0's count. */
void checkpoint_take_along(Checkpointer *, const Companions *);

/* Bytes of tensors in one checkpoint, all ranks; the part that this rank writes (mine may be NULL). */
int64_t checkpoint_bytes(const Params *, const Run *, int64_t *mine);

/* Starts a save (collective); none may be in flight. Returns at once; data is read from params while the thread
 * runs. False + message (the same on all ranks): nothing was started, training may go on. */
bool checkpoint_save_start(Checkpointer *, const Progress *, const char *config_text, Error *);
/* Collective, called at step boundaries; cheap when no save is in flight. *saved = -1 while there is nothing to
 * say. When all ranks have written it finishes (manifest, rename, LATEST, prune): true and *saved = the step, with
 * *seconds = time behind training and the message, normally "", warning of old checkpoints that could not be
 * removed. A failed save returns false with the message and leaves earlier checkpoints alone. wait: blocks until
 * the save in flight has ended. */
bool checkpoint_save_poll(Checkpointer *, bool wait, int64_t *saved, double *seconds, Error *);
/* Blocks until parameter i of the list has been written (adamw calls it before the update). NULL is fine. */
void checkpoint_wait_param(Checkpointer *, int i);

/* -- loading ---------------------------------------------------------------------------------- */
/* Finds the checkpoint to resume from: the one LATEST names, or the newest whole one; path "" when there are none
 * at all. False + message when there are some but none is whole. *why lists what was rejected and for what, a line
 * each (malloc'd, "" when nothing was). Not collective: one rank calls it. */
bool checkpoint_newest(const char *folder, char path[1024], char **why, Error *);
bool checkpoint_is(const char *path);                                 /* a folder with a MANIFEST */
bool checkpoint_verify(const char *path, Error *);                    /* manifest, sizes, hashes */
bool checkpoint_is_trained(const char *path, bool *trained, Error *); /* it holds an optimizer's state */
/* The config a checkpoint carries (malloc'd text) and its progress. */
bool checkpoint_read_config(const char *path, char **text, Progress *, Error *);
/* Fills params (w and, when the list has them, master, m and v) from a checkpoint of any layout and dtype, after
 * all of its files have been verified. A checkpoint without optimizer state sets m and v to 0. Collective, same
 * outcome on all ranks. */
bool checkpoint_load(const char *path, Params *, Run *, Progress *, Error *);
/* The same for one that checkpoint_newest has just chosen, and so read to the last byte: it is not hashed again. */
bool checkpoint_load_verified(const char *path, Params *, Run *, Progress *, Error *);
