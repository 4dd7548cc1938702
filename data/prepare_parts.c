/* prepare_parts.c - the parts of a set, made by all ranks: each takes the next that nobody has claimed.
 *
 * Ranks share a file system and nothing else while they work: a claim is the making of a file, and a rank that fails
 * makes the file `stop`, which the others see before their next part. */
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/megatron.h"
#include "data/prepare_own.h"
#include "data/progress.h"
#include "data/spool.h"
#include "launch/agree.h"
#include "launch/signals.h"

static const double LOOK_EVERY = 0.5; /* seconds */

typedef struct {
    Job *job;
    Progress progress;
    uint8_t *found; /* of each part: it was there when this run began */
    char *stop;
    double looked; /* when this rank last looked whether another one failed */
    bool other_failed;
} PartWork;

/* -- one part --------------------------------------------------------------------------------------------- */

typedef struct {
    IdSink spool;
    PartWork *work;
} Sink;

/* Now and then a rank in the middle of a part, which may be a file of any size, looks whether it is still wanted. */
static bool others_failed(PartWork *w) {
    double now = clock_seconds();
    if (now - w->looked < LOOK_EVERY) return false;
    w->looked = now;
    return w->other_failed = disk_exists(w->stop);
}

/* Between two pieces of text a wish to stop is heard. */
static bool on_put(void *own, const int32_t *ids, int64_t n, Error *error) {
    Sink *s = own;
    if (!signals_none(error)) return false;
    if (others_failed(s->work)) return fail(error, "another rank failed");
    return s->spool.put(s->spool.own, ids, n, error);
}

static bool on_end(void *own, const Record *record, Error *error) {
    Sink *s = own;
    return s->spool.end(s->spool.own, record, error);
}

static void on_drop(void *own) {
    Sink *s = own;
    s->spool.drop(s->spool.own);
}

static void on_progress(void *own, int64_t bytes) { progress_add(&((Sink *)own)->work->progress, bytes); }

static bool make_part(PartWork *w, const Part *part, Spool *spool, Error *error) {
    PartCounts counts;
    Sink own = {spool_sink(spool), w};
    IdSink sink = {.own = &own, .put = on_put, .end = on_end, .drop = on_drop, .progress = on_progress};
    if (encode_part(&w->job->e, part, w->job->e.set->bad_lines, &sink, &counts, error))
        return spool_finish(spool, &counts, error);
    spool_abandon(spool);
    const DataSet *set = w->job->e.set;
    Error why = *error;
    if (counts.counts.bad_lines > set->bad_lines && w->job->has_keys)
        fail(error, "%s (data.%s.bad_lines, now %lld, says how many such lines may be left out)", why.text, set->name,
             (long long)set->bad_lines);
    return false;
}

/* Makes the part unless another rank does or did. */
static bool claim_part(PartWork *w, int64_t i, Error *error) {
    const Part *part = &w->job->parts.part[i];
    bool claimed;
    Spool *spool = spool_claim(w->job->making, part->key, w->job->e.vocab_size, &claimed, error);
    return spool ? make_part(w, part, spool, error) : !claimed;
}

/* What an earlier run left is looked through by one rank, and made again when it is not whole. */
static bool check_part(PartWork *w, int64_t i, Error *error) {
    const Job *job = w->job;
    uint64_t key = job->parts.part[i].key;
    if (!signals_none(error)) return false;
    if (spool_is_whole(job->making, key)) {
        progress_add(&w->progress, 0);
        job->out->parts_kept++;
        return true;
    }
    char *records = spool_file(job->making, key, "records");
    Error ignored;
    bool removed = disk_remove_file(records, &ignored);
    free(records);
    return removed && claim_part(w, i, error);
}

/* -- all of them -------------------------------------------------------------------------------------------- */

static bool work_on(PartWork *w, Error *error) {
    Job *job = w->job;
    int64_t *order = parts_order(&job->parts);
    bool ok = true;
    for (int64_t k = 0; ok && k < job->parts.count && !disk_exists(w->stop); k++) {
        int64_t i = order[k];
        if (!w->found[i])
            ok = claim_part(w, i, error);
        else if (k % job->world->size == job->world->rank)
            ok = check_part(w, i, error);
    }
    free(order);
    if (w->other_failed) return true; /* that one has the message */
    Error ignored;
    if (!ok) disk_write_file(w->stop, "", 0, &ignored);
    return ok;
}

static int64_t look_for_parts(PartWork *w) {
    Job *job = w->job;
    int64_t bytes = 0;
    w->found = must_alloc(job->parts.count, 1);
    for (int64_t i = 0; job->world->rank == 0 && i < job->parts.count; i++) {
        char *records = spool_file(job->making, job->parts.part[i].key, "records");
        w->found[i] = disk_exists(records);
        if (w->found[i]) bytes += job->parts.part[i].bytes;
        free(records);
    }
    job->world->ops->host_broadcast(job->world, w->found, job->parts.count, 0);
    return bytes;
}

/* Each .idx is read through by one rank. */
static bool check_indexes(Job *job, Error *error) {
    bool ok = true;
    for (int64_t i = job->world->rank; ok && i < job->source.count; i += job->world->size) {
        Megatron m;
        ok = megatron_open(&m, job->source.file[i].path, error);
        if (!ok) break;
        ok = megatron_check(&m, error);
        megatron_close(&m);
    }
    return agree(job->world, ok, error);
}

bool prepare_parts(Job *job, Error *error) {
    PartWork w = {.job = job, .stop = must_format("%s/stop", job->making)};
    char *slots = must_format("%s/progress", job->making);
    bool ok = strcmp(job->e.set->format, "megatron") || check_indexes(job, error);
    if (ok) {
        progress_open(&w.progress, job->e.set->name, slots, job->world, job->parts.bytes, look_for_parts(&w));
        ok = work_on(&w, error);
        progress_wait(&w.progress, w.stop);
        progress_close(&w.progress);
        ok = agree(job->world, ok, error);
        comm_reduce_i64(job->world, &job->out->parts_kept, 1, REDUCE_SUM);
        job->out->parts = job->parts.count;
    }
    free(w.found);
    free(w.stop);
    free(slots);
    return ok;
}
