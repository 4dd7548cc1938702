/* ranks.h - several ranks as threads of one process, so that a test can look into each of them. */
#pragma once
#include "launch/comm.h"

enum { RANKS_MOST = 8 };

/* Calls body once for every rank, at the same time, and returns when all have returned. Collectives
 * of `world` behave as those over MPI: an exchange has happened only when it is finished. */
typedef void (*RankBody)(Comm *world, void *own);
void ranks_run(int ranks, RankBody body, void *own);
