/* forked.h - several ranks in one test without MPI: forked processes that share a board.
 *
 * Collectives over all ranks (host memory) work; a part of them, as the mesh makes, only knows its
 * place. */
#pragma once
#include "launch/comm.h"

/* Runs body(world, own) on n ranks; true when it returned true on all of them. What a body expects
 * it prints itself: counts of failures stay behind in its process. */
bool forked(int n, bool (*body)(Comm *world, void *own), void *own);
