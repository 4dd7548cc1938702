/* agree.h - one outcome for all ranks when something may fail on some of them only. */
#pragma once
#include "launch/comm.h"

/* Collective. True when `mine` is true on every rank; else every rank gets false and the message of
 * the first rank that failed, which the message names unless all failed. */
bool agree(Comm *, bool mine, Error *);
