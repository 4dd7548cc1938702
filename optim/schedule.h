/* schedule.h - learning rate of a step. Warm-up is linear in steps; what follows runs in tokens, because the batch may
 * ramp: linear and cosine from the end of the warm-up to the end of the stage, steps at shares of the whole stage. */
#pragma once
#include "configs/config.h"

/* step: the one to be taken, 1 = the first of the stage; `done` tokens before it. */
typedef struct {
    int64_t warm, done, total; /* tokens; warm: of the warm-up */
} StageTokens;
double schedule_rate(const Config *, int64_t step, StageTokens);
