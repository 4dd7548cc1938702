#include "train/meter.h"

#include <stdio.h>
#include <unistd.h>

#include "data/progress.h"

void meter_start(Meter *m, const char *what) {
    m->what = what;
    m->done = 0;
    m->start = m->shown = clock_seconds();
    m->terminal = isatty(STDERR_FILENO);
}

void meter_add(Meter *m, int64_t bytes) {
    double now = clock_seconds(), rate = (double)(m->done += bytes) / (now - m->start + 1e-9);
    if (now - m->shown < (m->terminal ? 0.2 : 10)) return;
    char line[120];
    progress_line(line, m->what, m->done, m->total, rate);
    fprintf(stderr, m->terminal ? "\r%s " : "%s\n", line);
    m->shown = now;
}

void meter_end(Meter *m) {
    if (m->terminal && m->shown > m->start) fprintf(stderr, "\r%119s\r", "");
    m->seconds = clock_seconds() - m->start;
}
