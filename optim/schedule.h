/* schedule.h - learning rate of a step. Warm-up is linear in steps; what follows runs in tokens,
 * because the batch may ramp. */
#pragma once
#include "configs/config.h"

/* step: the one to be taken, 1 = the first of the stage; tokens_done before it, of tokens_total. */
double schedule_rate(const Config *, int64_t step, int64_t tokens_done, int64_t tokens_total);
