#include "data/progress.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"
#include "launch/launcher.h"

enum { WIDTH = 24 };
static const double EVERY = 0.2; /* seconds */

typedef struct {
    int64_t done, finished;
} Slot;

static bool on_terminal(const Comm *world) {
    return world->rank == 0 && (world->size > 1 ? launch_terminal_columns() > 0 : isatty(STDERR_FILENO));
}

void progress_open(Progress *p, const char *name, const char *file, const Comm *world, int64_t total,
                   int64_t before) {
    double now = clock_seconds();
    *p = (Progress){.name = name,
                    .rank = world->rank,
                    .size = world->size,
                    .fd = -1,
                    .total = total,
                    .before = before,
                    .start = now,
                    .noted = now,
                    .shown = now,
                    .terminal = on_terminal(world)};
    if (world->size > 1 && file) p->fd = open(file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
}

void progress_line(char to[120], const char *name, int64_t done, int64_t total, double bytes_per_second) {
    double share = total > 0 ? (double)min_i64(done, total) / (double)total : 1;
    char bar[WIDTH + 1];
    int filled = (int)(share * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[WIDTH] = 0;
    double left = bytes_per_second > 0 ? (double)max_i64(total - done, 0) / bytes_per_second : 0;
    char eta[24] = "";
    if (bytes_per_second > 0 && left < 360000)
        snprintf(eta, sizeof eta, ", %d:%02d:%02d left", (int)left / 3600, (int)left / 60 % 60, (int)left % 60);
    snprintf(to, 120, "%.20s [%s] %3d%% %.1f of %.1f MB, %.1f MB/s%s", name, bar, (int)(100 * share),
             (double)done / 1e6, (double)total / 1e6, bytes_per_second / 1e6, eta);
}

/* What all ranks have done; *finished: how many of them have nothing left. */
static int64_t all_done(const Progress *p, int *finished) {
    int64_t done = p->done;
    *finished = 1;
    for (int r = 1; r < p->size && p->fd >= 0; r++) {
        Slot slot;
        if (pread(p->fd, &slot, sizeof slot, (off_t)(r * sizeof slot)) != (ssize_t)sizeof slot) continue;
        done += slot.done;
        *finished += slot.finished != 0;
    }
    return done;
}

static int show(Progress *p, double now) {
    char line[120];
    int finished;
    int64_t done = all_done(p, &finished);
    double seconds = now - p->start;
    progress_line(line, p->name, p->before + done, p->total, seconds > 1e-3 ? (double)done / seconds : 0);
    fprintf(stderr, "\r%-100s", line);
    p->shown = now;
    return finished;
}

static void note(Progress *p, bool finished) {
    Slot slot = {p->done, finished};
    p->noted = clock_seconds();
    if (p->fd >= 0 && pwrite(p->fd, &slot, sizeof slot, (off_t)(p->rank * (int)sizeof slot)) < 0)
        p->noted = clock_seconds(); /* only the bar would know */
}

void progress_add(Progress *p, int64_t bytes) {
    p->done += bytes;
    double now = clock_seconds();
    if (now - p->noted < EVERY) return;
    note(p, false);
    if (p->terminal) show(p, now);
}

void progress_wait(Progress *p, const char *stop) {
    note(p, true);
    if (!p->terminal || p->size == 1) return;
    while (show(p, clock_seconds()) < p->size && !disk_exists(stop)) usleep((useconds_t)(EVERY * 1e6));
}

void progress_close(Progress *p) {
    if (p->terminal && p->shown > p->start) fprintf(stderr, "\r%100s\r", "");
    if (p->fd >= 0) close(p->fd);
}
