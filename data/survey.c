#include "data/survey.h"

#include <stdlib.h>
#include <string.h>

#include "data/duplicates.h"
#include "data/prepare_own.h"
#include "data/progress.h"
#include "launch/agree.h"
#include "launch/signals.h"

enum { HASHES_MOST = 1 << 20 };

typedef struct {
    Survey *out;
    Progress progress;
    uint64_t (*hash)[2]; /* of the documents that are compared */
    int64_t hashes, room;
    uint64_t mask;                     /* those with these bits of hash[1] at 0 */
    int64_t document;                  /* its number in the part */
    int64_t row_document[SURVEY_ROWS]; /* documents of this part that are shown; -1 */
} Surveyor;

/* -- figures -------------------------------------------------------------------------------------------- */

static void on_text(void *own, const char *text, int64_t bytes) {
    Survey *s = ((Surveyor *)own)->out;
    int64_t inner = 0;
    for (int64_t i = 0; i < bytes; i++) inner += ((unsigned char)text[i] & 0xc0) == 0x80;
    s->characters += bytes - inner;
    const char *end = text + bytes;
    for (const char *at = text; (at = memmem(at, (size_t)(end - at), "\xef\xbf\xbd", 3)); at += 3) s->replaced++;
}

static bool on_put(void *own, const int32_t *ids, int64_t n, Error *error) {
    Surveyor *s = own;
    if (signals_pending()) return fail(error, "stopped by a signal");
    for (int r = 0; r < SURVEY_ROWS; r++) {
        if (s->row_document[r] != s->document) continue;
        int64_t *shown = &s->out->row_tokens[r], take = min_i64(n, SURVEY_ROW_TOKENS - *shown);
        memcpy(s->out->row[r] + *shown, ids, (size_t)take * sizeof *ids);
        *shown += take;
    }
    return true;
}

static void forget_rows(Surveyor *s) {
    for (int r = 0; r < SURVEY_ROWS; r++)
        if (s->row_document[r] == s->document) s->out->row_tokens[r] = 0;
}

static void on_drop(void *own) { forget_rows(own); }

/* Keeps the hashes that the mask lets through. */
static void thin_out(Surveyor *s) {
    int64_t kept = 0;
    for (int64_t i = 0; i < s->hashes; i++) {
        if (s->hash[i][1] & s->mask) continue;
        s->hash[kept][0] = s->hash[i][0];
        s->hash[kept++][1] = s->hash[i][1];
    }
    s->hashes = kept;
}

static void compare_later(Surveyor *s, const Record *r) {
    if (r->hash[1] & s->mask) return;
    while (s->hashes == HASHES_MOST) {
        s->mask = s->mask << 1 | 1;
        thin_out(s);
    }
    if (r->hash[1] & s->mask) return;
    if (s->hashes == s->room) {
        s->room = s->room ? 2 * s->room : 1 << 10;
        s->hash = must_realloc(s->hash, s->room, sizeof *s->hash);
    }
    s->hash[s->hashes][0] = r->hash[0];
    s->hash[s->hashes++][1] = r->hash[1];
}

static bool on_end(void *own, const Record *r, Error *error) {
    Surveyor *s = own;
    (void)error;
    s->out->documents++;
    s->out->tokens += r->tokens;
    s->out->longest = max_i64(s->out->longest, r->tokens);
    compare_later(s, r);
    s->document++;
    return true;
}

static void on_progress(void *own, int64_t bytes) { progress_add(&((Surveyor *)own)->progress, bytes); }

/* -- parts ---------------------------------------------------------------------------------------------- */

/* Rows are the first documents of the first, a middle and the last part; the next ones where parts are the same. */
static void choose_rows(Surveyor *s, int64_t part, int64_t parts, int64_t step) {
    int64_t last = (parts - 1) / step * step;
    int64_t shown[SURVEY_ROWS] = {0, last / step / 2 * step, last};
    for (int r = 0; r < SURVEY_ROWS; r++) {
        int64_t before = 0;
        for (int q = 0; q < r; q++) before += shown[q] == shown[r];
        s->row_document[r] = shown[r] == part ? before : -1;
    }
}

static bool survey_parts(Surveyor *s, const Job *job, int64_t step, Error *error) {
    IdSink sink = {s, on_put, on_end, on_drop, on_progress, on_text};
    bool ok = true;
    for (int64_t i = job->world->rank * step; ok && i < job->parts.count; i += job->world->size * step) {
        PartCounts counts;
        const Part *part = &job->parts.part[i];
        s->document = 0;
        choose_rows(s, i, job->parts.count, step);
        ok = encode_part(&job->e, part, INT64_MAX, &sink, &counts, error);
        counts_add(&s->out->source, s->out->bad, &counts);
        s->out->bytes_read += part->bytes;
    }
    return ok;
}

/* -- all ranks together ----------------------------------------------------------------------------------- */

/* In the order of the ranks that they go to; send: bytes to each. malloc'd. */
static uint64_t (*sort_by_owner(const Surveyor *s, int size, int64_t *send))[2] {
    uint64_t(*sorted)[2] = must_alloc(s->hashes + 1, sizeof *sorted);
    int64_t *at = must_alloc(size, sizeof *at), bytes = (int64_t)sizeof *sorted;
    for (int64_t i = 0; i < s->hashes; i++) send[s->hash[i][0] % (uint64_t)size] += bytes;
    for (int r = 1; r < size; r++) at[r] = at[r - 1] + send[r - 1] / bytes;
    for (int64_t i = 0; i < s->hashes; i++) {
        int64_t place = at[s->hash[i][0] % (uint64_t)size]++;
        sorted[place][0] = s->hash[i][0];
        sorted[place][1] = s->hash[i][1];
    }
    free(at);
    return sorted;
}

/* Each hash goes to one rank, which then has all equal ones. */
static void compare_all(Surveyor *s, Comm *world) {
    int64_t mask = (int64_t)s->mask, *send = must_alloc(world->size, 8), *recv = must_alloc(world->size, 8),
            total = 0;
    comm_reduce_i64(world, &mask, 1, REDUCE_MAX);
    s->mask = (uint64_t)mask;
    thin_out(s);
    uint64_t(*sorted)[2] = sort_by_owner(s, world->size, send);
    int64_t *all = must_alloc((int64_t)world->size * world->size, 8);
    world->ops->host_gather_all(world, all, send, world->size * 8);
    for (int r = 0; r < world->size; r++) total += recv[r] = all[(int64_t)r * world->size + world->rank];
    uint64_t(*mine)[2] = must_alloc(total + 1, 1);
    world->ops->host_exchange(world, mine, recv, sorted, send);
    s->out->compared = total / (int64_t)sizeof *mine;
    s->out->duplicates = duplicates_count(mine, s->out->compared);
    s->out->compared_share = mask + 1;
    free(sorted);
    free(mine);
    free(all);
    free(send);
    free(recv);
}

static void gather_rows(Survey *s, Comm *world) {
    Survey *all = must_alloc(world->size, sizeof *all);
    world->ops->host_gather_all(world, all, s, (int64_t)sizeof *s);
    int64_t named = 0;
    for (int rank = 0; rank < world->size; rank++) {
        for (int r = 0; r < SURVEY_ROWS; r++) {
            if (!all[rank].row_tokens[r]) continue;
            s->row_tokens[r] = all[rank].row_tokens[r];
            memcpy(s->row[r], all[rank].row[r], sizeof s->row[r]);
        }
        for (int b = 0; b < BAD_NAMED && all[rank].bad[b][0] && named < BAD_NAMED; b++)
            memmove(s->bad[named++], all[rank].bad[b], BAD_TEXT);
    }
    free(all);
}

static void add_up(Survey *s, Comm *world) {
    int64_t sums[] = {s->documents,      s->tokens,           s->characters,      s->replaced,
                      s->duplicates,     s->compared,         s->bytes_read,      s->source.bytes,
                      s->source.skipped, s->source.bad_lines, s->source.too_short};
    comm_reduce_i64(world, sums, sizeof sums / sizeof *sums, REDUCE_SUM);
    comm_reduce_i64(world, &s->longest, 1, REDUCE_MAX);
    s->documents = sums[0], s->tokens = sums[1], s->characters = sums[2], s->replaced = sums[3];
    s->duplicates = sums[4], s->compared = sums[5], s->bytes_read = sums[6];
    s->source = (SourceCounts){.bytes = sums[7], .skipped = sums[8], .bad_lines = sums[9], .too_short = sums[10]};
}

static bool survey(Job *job, Survey *out, int64_t most_bytes, Error *error) {
    Surveyor s = {.out = out};
    int64_t step = max_i64(1, ceil_div(job->parts.bytes, most_bytes));
    out->bytes = job->parts.bytes;
    out->files = job->source.count;
    progress_open(&s.progress, job->e.set->name, NULL, job->world, job->parts.bytes / step / job->world->size, 0);
    bool ok = agree(job->world, survey_parts(&s, job, step, error), error);
    progress_close(&s.progress);
    if (ok) {
        compare_all(&s, job->world);
        gather_rows(out, job->world);
        add_up(out, job->world);
    }
    free(s.hash);
    return ok;
}

bool survey_set(Survey *out, const Config *config, const DataSet *set, const Tokenizer *tokenizer, int64_t most_bytes,
                Comm *world, Error *error) {
    Job job = {0};
    Prepared unused;
    *out = (Survey){0};
    bool ok = job_open(&job, &unused, config, set, tokenizer, "", world, error);
    ok = agree(world, ok, error) && job_agrees(&job, error) && survey(&job, out, most_bytes, error);
    job_close(&job);
    return ok;
}
