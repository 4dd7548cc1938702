/* run_folder.h - output_dir of a run: made, locked, started over or resumed. Rank 0 acts, the
 * others are told. */
#pragma once
#include "configs/config.h"
#include "launch/comm.h"

enum { RUN_FOLDER_LONGEST = 960 }; /* bytes of output_dir: the path of a checkpoint in it has 1023 at most */

typedef struct {
    char path[1024], checkpoints[1100];
    char resume[1024]; /* checkpoint to go on from, "" = none */
    bool verified;     /* it was chosen by reading all of it */
    int lock;          /* file descriptor on rank 0, -1 elsewhere */
} RunFolder;

/* Collective. fresh: an old folder is renamed first. False + message, among others when another run uses the
 * folder, or when it holds checkpoints of which none is whole; *code becomes EXIT_USAGE where `resume` asks for what
 * cannot be, EXIT_IO where the folder cannot be made or used. */
bool run_folder_open(RunFolder *, const Config *, bool fresh, Comm *world, int *code, Error *);
/* The same as far as it can be told without making or locking anything. */
bool run_folder_look(RunFolder *, const Config *, bool fresh, Comm *world, int *code, Error *);
void run_folder_close(RunFolder *);
/* Writes (rank 0) text to a file of the folder: whole or not at all. */
bool run_folder_write(const RunFolder *, const char *name, const char *text, Error *);
