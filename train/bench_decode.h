/* bench_decode.h - what a decoded token takes, by the length of the context behind it. */
#pragma once
#include "configs/config.h"

/* Rows for 1 and 8 sequences at once, random weights and cache; False + message when memory is short. */
bool bench_decode(const Config *, Error *);
