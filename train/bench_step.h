/* bench_step.h - speed of whole training steps of a config, on random tokens. */
#pragma once
#include "train/commands.h"

/* Steps of line->input[0] (overrides apply), each timed beside the machine's matrix products. Exit code. */
int bench_step(const CommandLine *);
