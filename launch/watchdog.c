#include "launch/watchdog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 100, STEP_TIMES = 16, NAME_WORDS = 4 };
#define SLOWEST_POLL 1.0 /* a longer gap means that this process was stopped, not that a rank is late */
#define PATIENCE 3.0     /* with a dead peer, until mpirun has ended the job */
#define STEP_LIMIT_LEAST 60.0

/* Names travel between processes, so they are copied: a word at a time, since a reader may look meanwhile. */
typedef struct {
    _Atomic uint64_t word[NAME_WORDS];
} SharedName;

/* What one rank shows to the others. `progress` grows by one on entering and on leaving an
 * operation: odd = inside, and the smallest value is the late rank. */
typedef struct {
    _Atomic uint64_t progress;
    _Atomic int64_t since_ns, step;
    _Atomic int64_t process; /* 0 = not of this machine, or gone in good order */
    SharedName operation, section;
    char pad[128 - 32 - 2 * sizeof(SharedName)];
} Slot;

typedef struct {
    _Atomic int64_t reported;   /* the rank that named the late one, + 1 */
    _Atomic int64_t dead;       /* the rank whose death was told, + 1 */
    _Atomic int64_t printed_ns; /* of the last print on request */
    Slot slot[];                /* by rank; those of other machines stay empty */
} Journal;

WatchdogLimit watchdog_limits[SECTIONS] = {
    [SECTION_START] = {"start", 600},
    [SECTION_LOAD] = {"load", WATCHDOG_ENDLESS},
    [SECTION_PREPARE] = {"prepare", WATCHDOG_ENDLESS},
    [SECTION_TYPING] = {"typing", WATCHDOG_ENDLESS},
    [SECTION_GENERATE] = {"generate", 600},
    [SECTION_EVAL] = {"eval", 600},
    [SECTION_SAVE] = {"save", 300},
    [SECTION_END] = {"end", 60},
};

static Journal *journal;
static int own_rank, ranks, depth;
static double fixed_limit;
static _Atomic double limit;
static _Atomic bool saving;
static double step_seconds[STEP_TIMES], step_began;
static int64_t steps_timed;
static pthread_t helper;
static _Atomic bool helper_stop;
static volatile sig_atomic_t print_wanted;

static int64_t now_ns(void) { return (int64_t)(clock_seconds() * 1e9); }
static int64_t journal_bytes(void) { return (int64_t)sizeof(Journal) + ranks * (int64_t)sizeof(Slot); }

static void name_store(SharedName *to, const char *name) {
    char text[NAME_WORDS * 8] = "";
    uint64_t word[NAME_WORDS];
    snprintf(text, sizeof text, "%s", name);
    memcpy(word, text, sizeof word);
    for (int i = 0; i < NAME_WORDS; i++) atomic_store_explicit(&to->word[i], word[i], memory_order_relaxed);
}

static const char *name_load(char text[NAME_WORDS * 8], SharedName *from) {
    uint64_t word[NAME_WORDS];
    for (int i = 0; i < NAME_WORDS; i++) word[i] = atomic_load_explicit(&from->word[i], memory_order_relaxed);
    memcpy(text, word, sizeof word);
    text[sizeof word - 1] = 0;
    return text;
}

/* -- the rank's side: notes in its own slot ---------------------------------------------------- */

static void slot_advance(Slot *slot) {
    atomic_store_explicit(&slot->since_ns, now_ns(), memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->progress, 1, memory_order_release);
}

void watchdog_enter(const char *operation) {
    if (!journal || depth++) return;
    name_store(&journal->slot[own_rank].operation, operation);
    slot_advance(&journal->slot[own_rank]);
}

void watchdog_leave(void) {
    if (!journal || --depth) return;
    slot_advance(&journal->slot[own_rank]);
}

static void begin_section(const char *name, double seconds) {
    name_store(&journal->slot[own_rank].section, name);
    atomic_store(&limit, seconds);
    step_began = 0;
}

void watchdog_saving(bool in_flight) { atomic_store(&saving, in_flight); }

/* Who says how long to wait for a rank means all that ranks wait for, and may have slow disks. */
static double section_limit(Section section) {
    double usual = watchdog_limits[section].seconds;
    return usual > fixed_limit ? usual : fixed_limit;
}

void watchdog_section(Section section) {
    if (journal) begin_section(watchdog_limits[section].name, section_limit(section));
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double step_limit(void) {
    if (fixed_limit > 0) return fixed_limit;
    if (steps_timed < 3)
        return watchdog_limits[SECTION_START].seconds; /* the first steps build primitives and read cold files */
    double sorted[STEP_TIMES];
    int n = (int)min_i64(steps_timed, STEP_TIMES);
    memcpy(sorted, step_seconds, sizeof sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    double tenfold = 10 * sorted[n / 2];
    return tenfold > STEP_LIMIT_LEAST ? tenfold : STEP_LIMIT_LEAST;
}

void watchdog_step(int64_t step) {
    if (!journal) return;
    double now = clock_seconds();
    if (step_began > 0) step_seconds[steps_timed++ % STEP_TIMES] = now - step_began;
    begin_section("step", step_limit());
    step_began = now;
    atomic_store(&journal->slot[own_rank].step, step);
}

/* -- the helper's side: looks at all slots ------------------------------------------------------ */

static bool slot_used(int r) { return atomic_load(&journal->slot[r].process) > 0; }

static uint64_t smallest_progress(void) {
    uint64_t least = UINT64_MAX;
    for (int r = 0; r < ranks; r++) {
        uint64_t mine = atomic_load(&journal->slot[r].progress);
        if (slot_used(r) && mine < least) least = mine;
    }
    return least;
}

/* "rank 3: step 17, outside after all-gather (#500) for 2.0 s" */
static int describe_slot(char *text, int room, int r) {
    Slot *slot = &journal->slot[r];
    char operation[NAME_WORDS * 8], section[NAME_WORDS * 8];
    uint64_t progress = atomic_load_explicit(&slot->progress, memory_order_acquire);
    int n =
        snprintf(text, (size_t)room, "rank %d (%s %lld, %s %s #%llu, for %.1f s)", r,
                 name_load(section, &slot->section), (long long)atomic_load(&slot->step),
                 progress % 2 ? "in" : "after", progress ? name_load(operation, &slot->operation) : "start",
                 (unsigned long long)(progress + 1) / 2, (double)(now_ns() - atomic_load(&slot->since_ns)) * 1e-9);
    return n < room ? n : room - 1;
}

static void write_error(char *text, int bytes) {
    text[bytes++] = '\n';
    if (write(STDERR_FILENO, text, (size_t)bytes) < 0) return; /* nobody left to tell */
}

static void report_late(double waited) {
    enum { ROOM = 1024 };
    char text[ROOM + 64];
    uint64_t least = smallest_progress();
    int n = snprintf(text, ROOM, "dsv2: watchdog: rank %d has waited %.1f s in ", own_rank, waited), late = 0;
    char operation[NAME_WORDS * 8];
    n += snprintf(text + n, (size_t)(ROOM - n), "%s", name_load(operation, &journal->slot[own_rank].operation));
    if (least < atomic_load(&journal->slot[own_rank].progress)) {
        n += snprintf(text + n, (size_t)(ROOM - n), "; late: ");
        for (int r = 0; r < ranks && n < ROOM - 200; r++)
            if (slot_used(r) && atomic_load(&journal->slot[r].progress) == least) {
                if (late++) n += snprintf(text + n, (size_t)(ROOM - n), ", ");
                n += describe_slot(text + n, ROOM - n, r);
            }
    } else {
        n += snprintf(text + n, (size_t)(ROOM - n), "; no rank of this machine is behind it");
    }
    n += snprintf(text + n, (size_t)(ROOM - n), "%s; ending the job",
                  atomic_load(&saving) ? "; a save is in flight" : "");
    write_error(text, n);
}

/* A rank that died without a word (killed, out of memory): mpirun ends the job within a second or two, but may not say
 * who it was. Where nothing does (srun), the next look finds this rank still here and ends it. */
static void look_for_dead(void) {
    static double mourning;
    for (int r = 0; r < ranks && mourning == 0; r++) {
        if (!slot_used(r) || kill((pid_t)atomic_load(&journal->slot[r].process), 0) == 0 || errno != ESRCH) continue;
        mourning = clock_seconds();
        int64_t nobody = 0;
        char text[512] = "dsv2: watchdog: died without a word: ";
        int n = (int)strlen(text);
        if (atomic_compare_exchange_strong(&journal->dead, &nobody, r + 1))
            write_error(text, n + describe_slot(text + n, 400, r));
    }
    if (mourning > 0 && clock_seconds() - mourning > PATIENCE) _exit(EXIT_RETRY);
}

static void print_journal(void) {
    int64_t last = atomic_load(&journal->printed_ns), now = now_ns();
    if (now - last < 1000000000 || !atomic_compare_exchange_strong(&journal->printed_ns, &last, now)) return;
    for (int r = 0; r < ranks; r++) {
        char text[512] = "dsv2: ";
        int n = (int)strlen(text);
        if (slot_used(r)) write_error(text, n + describe_slot(text + n, 480, r));
    }
}

static double limit_now(void) {
    double own = atomic_load(&limit), of_saves = atomic_load(&saving) ? section_limit(SECTION_SAVE) : 0;
    return own > of_saves ? own : of_saves;
}

/* One look; returns the seconds waited so far. */
static double look(double waited, double gap, uint64_t *last) {
    uint64_t progress = atomic_load_explicit(&journal->slot[own_rank].progress, memory_order_acquire);
    if (progress != *last || progress % 2 == 0)
        waited = 0;
    else
        waited += gap < SLOWEST_POLL ? gap : 0;
    *last = progress;
    int64_t nobody = 0;
    if (waited > limit_now() && atomic_compare_exchange_strong(&journal->reported, &nobody, own_rank + 1))
        report_late(waited);
    if (atomic_load(&journal->reported)) _exit(EXIT_RETRY);
    look_for_dead();
    if (print_wanted) {
        print_wanted = 0;
        print_journal();
    }
    return waited;
}

static void *watch(void *unused) {
    (void)unused;
    double waited = 0, before = clock_seconds();
    uint64_t last = 0;
    while (!atomic_load(&helper_stop)) {
        usleep(POLL_MS * 1000);
        double now = clock_seconds();
        waited = look(waited, now - before, &last);
        before = now;
    }
    return NULL;
}

static void on_print(int number) {
    (void)number;
    print_wanted = 1;
}

/* -- opening: rank 0 picks a name, every machine maps its own file ------------------------------ */

/* Whoever uses a journal's name holds a shared lock on the file, which ends with the process; so the names of processes
 * that were killed meanwhile can be told from those in use. An hour keeps sweepers away from runs that just start. */
#define JOURNALS "/dev/shm"
#define JOURNAL_NAME "dsv2-journal."
enum { ABANDONED_SECONDS = 3600 };

/* One that was swept away before it was locked has no name any more: it is made again. */
static int journal_open(const char *path) {
    for (;;) {
        struct stat s;
        int file = open(path, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (file < 0 || flock(file, LOCK_SH) || fstat(file, &s) || s.st_nlink) return file;
        close(file);
    }
}

static void journal_sweep(int folder, const char *name) {
    struct stat named, opened;
    if (strncmp(name, JOURNAL_NAME, strlen(JOURNAL_NAME)) || fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW))
        return;
    if (!S_ISREG(named.st_mode) || named.st_uid != geteuid() || time(NULL) - named.st_mtime < ABANDONED_SECONDS)
        return;
    int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return;
    bool unused = !flock(file, LOCK_EX | LOCK_NB) && !fstat(file, &opened);
    if (unused && opened.st_ino == named.st_ino && opened.st_nlink) unlinkat(folder, name, 0);
    close(file);
}

static void journals_sweep(void) {
    DIR *folder = opendir(JOURNALS);
    for (struct dirent *entry; folder && (entry = readdir(folder));) journal_sweep(dirfd(folder), entry->d_name);
    if (folder) closedir(folder);
}

static void journal_map(int64_t id, Comm *world) {
    char path[64];
    snprintf(path, sizeof path, JOURNALS "/" JOURNAL_NAME "%llx", (unsigned long long)id);
    int file = journal_open(path);
    int failed = file < 0 ? errno : posix_fallocate(file, 0, journal_bytes()); /* a full one kills who writes later */
    if (failed) stop_job(EXIT_IO, "%s: cannot make the watchdog's journal: %s", path, strerror(failed));
    void *map = mmap(NULL, (size_t)journal_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    check(map != MAP_FAILED, "cannot map %s: %s", path, strerror(errno));
    world->ops->barrier(world);
    if (!unlink(path)) journals_sweep(); /* the first rank of each machine; the others find it gone */
    close(file);
    journal = map;
}

void watchdog_open(Comm *world, double seconds) {
    own_rank = world->rank;
    ranks = world->size;
    fixed_limit = seconds;
    int64_t id = (int64_t)getpid() << 32 ^ now_ns();
    world->ops->host_broadcast(world, &id, sizeof id, 0);
    journal_map(id, world);
    atomic_store(&journal->slot[own_rank].since_ns, now_ns());
    atomic_store(&journal->slot[own_rank].process, getpid());
    watchdog_section(SECTION_START);
    struct sigaction action = {.sa_handler = on_print, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &action, NULL);
    atomic_store(&helper_stop, false);
    check(pthread_create(&helper, NULL, watch, NULL) == 0, "cannot start the watchdog's thread");
}

void watchdog_farewell(void) {
    if (journal) atomic_store(&journal->slot[own_rank].process, 0);
}

void watchdog_close(void) {
    if (!journal) return;
    watchdog_farewell();
    atomic_store(&helper_stop, true);
    pthread_join(helper, NULL);
    Journal *mapped = journal;
    journal = NULL; /* first: a signal's farewell writes in it */
    munmap(mapped, (size_t)journal_bytes());
    depth = 0;
    steps_timed = 0;
}
