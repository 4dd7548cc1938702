/* test_corpora_resume.c - prepare is interrupted: what stays, and that what comes out is the same. */
#include "tests/test_corpora.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/disk.h"
#include "data/prepare_own.h"
#include "data/spool.h"
#include "launch/agree.h"
#include "launch/signals.h"
#include "tests/forked.h"

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void prepare_and_die(DataSet set, const char *out) {
    Prepared p;
    Error error;
    _exit(!corpus_try(&p, set, out, &error));
}

/* Files of finished parts in a folder; `damage`: a byte of the first is changed. */
static int finished_parts(const char *folder, bool damage) {
    struct dirent **entry;
    int n = scandir(folder, &entry, is_visible, by_name), found = 0;
    for (int i = 0; i < n; i++) {
        const char *end = strrchr(entry[i]->d_name, '.');
        if (end && !strcmp(end, ".tokens") && found++ == 0 && damage) {
            char *path = must_format("%s/%s", folder, entry[i]->d_name);
            FILE *f = fopen(path, "r+");
            check(f && !fseek(f, 1000, SEEK_SET) && putc('x', f) == 'x' && !fclose(f), "cannot change %s", path);
            free(path);
        }
        free(entry[i]);
    }
    if (n >= 0) free(entry);
    return found;
}

static int finished_sets(const char *folder) {
    struct dirent **entry;
    int n = scandir(folder, &entry, is_visible, by_name);
    for (int i = 0; i < n; i++) free(entry[i]);
    if (n >= 0) free(entry);
    return n;
}

/* Killed ever later; the parts that were made stay, and what comes out is what an undisturbed run makes. */
void killed_runs_go_on(void) {
    DataSet set = corpus_mixed();
    uint64_t wanted = 0;
    Prepared p = corpus_prepare(set, test_path("whole"), 1);
    wanted = corpus_hash_of(&p);
    int kept = 0, kills = 0;
    const char *out = test_path("killed");
    for (useconds_t i = 1; i < 60; i++) {
        pid_t child = fork();
        if (child == 0) prepare_and_die(set, out);
        usleep(500 * i);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        if (WIFEXITED(status)) break;
        kills++;
        int now = finished_parts(test_path("killed/.making-set"), false);
        bool whole = finished_sets(out) > 0;
        expect(whole || now >= kept, "%d parts are left of %d", now, kept);
        kept = now;
        if (whole) break;
    }
    p = corpus_prepare(set, out, 2);
    expect(kills > 2, "%d runs were killed", kills);
    expect(!disk_exists(test_path("killed/.making-set")), "parts were left behind");
    expect(corpus_hash_of(&p) == wanted, "after %d kills other files came out", kills);
}

static pid_t start_run(DataSet set, const char *out) {
    pid_t child = fork();
    if (child == 0) prepare_and_die(set, out);
    return child;
}

/* A part that is not as it was written is made again, the others are not. */
void damaged_part_is_made_again(void) {
    DataSet set = corpus_mixed();
    const char *out = test_path("out"), *making = test_path("out/.making-set");
    Prepared p = corpus_prepare(set, test_path("whole"), 1);
    uint64_t wanted = corpus_hash_of(&p);
    Error error;
    set.bad_lines = 3; /* parts are the same, the set is another */
    test_file("in/z.jsonl", "{\"text\":\n", 9);
    set.bad_lines = 0;
    expect(!corpus_try(&p, set, out, &error), "a bad line was accepted");
    int made = finished_parts(making, false);
    expect(made > 3, "%d parts were kept after an error", made);
    unlink(test_path("in/z.jsonl"));
    expect(finished_parts(making, true) == made, "parts");
    check(corpus_try(&p, set, out, &error), "%s", error.text);
    expect(p.parts_kept == made - 1, "%lld of %d parts were kept, of which one was damaged", (long long)p.parts_kept,
           made);
    expect(corpus_hash_of(&p) == wanted, "other files came out");
    waitpid(start_run(set, out), NULL, 0); /* finds the set there */
}

/* -- a signal when the parts are there --------------------------------------------------------------------------- */

typedef struct {
    DataSet set;
    const char *out;
    int stopped; /* the rank that hears the signal */
} Stop;

/* What prepare_set does until the parts are there. */
static bool make_parts(Job *job, Error *error) {
    bool ok = true;
    char *slots = must_format("%s/progress", job->making);
    if (job->world->rank == 0) ok = disk_make_folder(job->shards, error) && disk_write_file(slots, "", 0, error);
    free(slots);
    return agree(job->world, ok, error) && prepare_parts(job, error);
}

static bool stop_rank(Comm *world, void *own) {
    static const Config c = {.bos_token_id = -1, .eos_token_id = -1, .file = ""};
    Stop *s = own;
    Prepared p = {0};
    Job job;
    Error error = {0};
    Tokenizer *t = tokenizer_open("bytes", &error);
    check(t && job_open(&job, &p, &c, &s->set, t, s->out, world, &error) && make_parts(&job, &error), "%s",
          error.text);
    signals_open();
    if (world->rank == s->stopped) raise(SIGTERM);
    bool made = prepare_shards(&job, &error);
    if (made || error.code != EXIT_RETRY) printf("  rank %d: made %d, '%s'\n", world->rank, made, error.text);
    job_close(&job);
    tokenizer_close(t);
    return !made && error.code == EXIT_RETRY;
}

/* Deciding what lies where (rank 0) and writing shards (any) end on all ranks, and the next run needs no part again. */
void stopped_behind_the_parts(void) {
    Stop stop = {corpus_mixed(), test_path("out"), 0};
    Prepared whole = corpus_prepare(stop.set, test_path("whole"), 1);
    for (; stop.stopped < 3; stop.stopped++)
        expect(forked(3, stop_rank, &stop), "a signal on rank %d does not stop all", stop.stopped);
    Prepared p = corpus_prepare(stop.set, stop.out, 1);
    expect(p.parts_kept == p.parts && corpus_hash_of(&p) == corpus_hash_of(&whole), "%lld of %lld parts were kept",
           (long long)p.parts_kept, (long long)p.parts);
}

/* A part that is there is not even claimed: the folder of a large set would be written to a thousand times. */
void finished_parts_are_passed_by(void) {
    Error error;
    struct stat before, after;
    PartCounts counts = {0};
    bool claimed;
    const char *folder = test_folder();
    Spool *s = spool_claim(folder, 7, 258, &claimed, &error);
    check(s && spool_finish(s, &counts, &error), "%s", error.text);
    usleep(20000); /* the times of files go by ticks */
    check(!stat(folder, &before), "%s", folder);
    expect(!spool_claim(folder, 7, 258, &claimed, &error) && !claimed, "a finished part was claimed");
    check(!stat(folder, &after), "%s", folder);
    expect(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
           "the folder was written to");
}
