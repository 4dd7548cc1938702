#include "train/meter.h"

#include <stdio.h>
#include <unistd.h>

#include "train/log.h"

void meter_start(Meter *m, const char *what) {
    m->what = what;
    m->done = 0;
    m->start = m->shown = clock_seconds();
    m->terminal = isatty(STDERR_FILENO);
}

void meter_add(Meter *m, int64_t bytes) {
    double now = clock_seconds(), rate = (double)(m->done += bytes) / (now - m->start + 1e-9);
    if (now - m->shown < (m->terminal ? 0.2 : 10)) return;
    char done[32], total[32], speed[32], left[32];
    fprintf(stderr, "%s%s: %s of %s, %s/s, %s left%s", m->terminal ? "\r" : "", m->what,
            format_bytes(done, (double)m->done), format_bytes(total, (double)m->total), format_bytes(speed, rate),
            format_duration(left, (double)(m->total - m->done) / rate), m->terminal ? "   " : "\n");
    m->shown = now;
}

void meter_end(Meter *m) {
    if (m->terminal && m->shown > m->start) fprintf(stderr, "\r%78s\r", "");
    m->seconds = clock_seconds() - m->start;
}
