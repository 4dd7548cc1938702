/* meter.h - how far a long copy is: on a terminal a line that changes, elsewhere one every ten seconds. */
#pragma once
#include "kernels/base.h"

typedef struct {
    const char *what;
    int64_t done, total; /* bytes */
    double start, shown, seconds;
    bool terminal;
} Meter;

void meter_start(Meter *, const char *what); /* total stays as it was set */
void meter_add(Meter *, int64_t bytes);
void meter_end(Meter *); /* sets seconds */
