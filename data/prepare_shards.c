/* prepare_shards.c - from the finished parts of a set to its shards. Rank 0 decides what lies where; the ranks write
 * shards in turn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/duplicates.h"
#include "data/prepare_own.h"
#include "data/tokens_file.h"
#include "launch/agree.h"
#include "launch/signals.h"

enum { TOKENS_AT_ONCE = 1 << 18 };

/* What rank 0 decides and tells. */
typedef struct {
    Split split;
    SourceCounts counts;
    int64_t shards;
} Decision;

/* -- what lies where: rank 0 ---------------------------------------------------------------------------------- */

static bool check_source(const Job *job, const Corpus *c, Error *error) {
    const DataSet *set = job->e.set;
    const PartCounts *counts = corpus_counts(c);
    if (counts->counts.bad_lines > set->bad_lines)
        return fail(error, "data.%s: %lld bad lines, where bad_lines allows %lld; the first: %s", set->name,
                    (long long)counts->counts.bad_lines, (long long)set->bad_lines, counts->bad[0]);
    if (corpus_documents(c)) return true;
    if (counts->counts.too_short)
        return fail(error, "data.%s.min_tokens: none of %lld documents has %lld tokens", set->name,
                    (long long)counts->counts.too_short, (long long)set->min_tokens);
    return fail(error, "data.%s: there is no text in %s", set->name, set->path);
}

static bool drop_copies(const Job *job, Corpus *c, int64_t *found, Error *error) {
    *found = 0;
    if (!job->e.set->deduplicate) return true;
    char *file = must_format("%s/dropped", job->making);
    bool ok = duplicates_mark(c, file, found, error) && corpus_use_dropped(c, file, error);
    free(file);
    return ok;
}

static bool has_sides(const Job *job, const ShardPlan *plan, int64_t n, Error *error) {
    bool side[2] = {false};
    for (int64_t i = 0; i < n; i++) side[plan[i].validation] = true;
    if (side[0] && (side[1] || job->e.set->validation == 0)) return true;
    return fail(error, "data.%s.validation: %g of these documents is not one token; write a larger share",
                job->e.set->name, job->e.set->validation);
}

static bool decide(Job *job, Corpus *c, Decision *d, ShardPlan **plan, Error *error) {
    const DataSet *set = job->e.set;
    int64_t dropped;
    if (!check_source(job, c, error) || !drop_copies(job, c, &dropped, error)) return false;
    d->counts = corpus_counts(c)->counts;
    d->counts.duplicates = dropped;
    memcpy(job->out->bad, corpus_counts(c)->bad, sizeof job->out->bad);
    return split_choose(&d->split, set->validation, job->e.bos, c, corpus_documents(c) - dropped, set->name, error) &&
           split_shards(&d->split, c, set->shard_tokens, set->name, plan, &d->shards, error) &&
           has_sides(job, *plan, d->shards, error);
}

/* -- one shard ---------------------------------------------------------------------------------------------------- */

/* A run of tokens of one part, on its way. */
typedef struct {
    const Job *job;
    Corpus *corpus;
    TokenWriter *writer;
    void *buffer;
    int64_t part, first, end; /* the run */
    int64_t tokens;           /* of the shard so far, the run included */
} Copy;

static bool flush_run(Copy *c, Error *error) {
    for (int64_t n; c->first < c->end; c->first += n) {
        n = min_i64(TOKENS_AT_ONCE, c->end - c->first);
        if (!corpus_read(c->corpus, c->part, c->first, n, c->buffer, error) ||
            !tokens_append_stored(c->writer, c->buffer, n, error))
            return false;
    }
    return true;
}

static bool copy_document(Copy *c, const Spot *at, Side side, Error *error) {
    int64_t first = at->token + side.from;
    if (at->part != c->part || first != c->end || c->end - c->first >= TOKENS_AT_ONCE) {
        if (!flush_run(c, error)) return false;
        c->part = at->part;
        c->first = c->end = first;
    }
    c->end += side.count;
    c->tokens += side.count + side.eos;
    if (side.eos && (!flush_run(c, error) || !tokens_append(c->writer, &c->job->e.eos, 1, error))) return false;
    return tokens_end_document(c->writer, c->tokens, error);
}

static bool copy_documents(Copy *c, const Split *split, const ShardPlan *plan, Error *error) {
    Document d = {0};
    bool found;
    corpus_go(c->corpus, plan->from);
    for (int64_t left = plan->documents; left > 0;) {
        if (!corpus_next(c->corpus, &d, &found, error)) return false;
        check(found, "documents end before their shard does");
        Side side = split_side(split, &d, plan->validation);
        if (side.count == 0) continue;
        if (!copy_document(c, &d.spot, side, error)) return false;
        left--;
    }
    return flush_run(c, error);
}

static ShardInfo shard_info(const Job *job, const Decision *d, const ShardPlan *plan) {
    ShardInfo info = {.tokens = plan->tokens,
                      .documents = plan->documents,
                      .shard = plan->shard,
                      .shards = plan->shards,
                      .source_counts = d->counts,
                      .vocab_size = job->e.vocab_size,
                      .tokenizer_hash = tokenizer_hash(job->e.tokenizer),
                      .source = (char *)(uintptr_t)job->e.set->path};
    snprintf(info.tokenizer, sizeof info.tokenizer, "%s", tokenizer_name(job->e.tokenizer));
    return info;
}

/* Files have their name only when they are whole and on the disk. */
static bool is_there(const char *file, const ShardInfo *wanted) {
    Error ignored;
    TokenFile *f = disk_exists(file) ? token_file_open(file, &ignored) : NULL;
    const ShardInfo *i = f ? token_file_info(f) : NULL;
    bool there = i && i->tokens == wanted->tokens && i->documents == wanted->documents && i->shard == wanted->shard &&
                 i->shards == wanted->shards;
    token_file_close(f);
    return there;
}

static bool write_shard(const Job *job, Corpus *corpus, const Decision *d, const ShardPlan *plan, Error *error) {
    char *stem = must_format("%s/%s", job->shards, plan->validation ? "validation" : "train");
    char *file = must_format(TOKENS_NAME, stem, (int)plan->shard);
    ShardInfo info = shard_info(job, d, plan);
    bool there = is_there(file, &info), ok = there;
    TokenWriter *w = there ? NULL : tokens_create(file, &info, error);
    if (w) {
        Copy c = {.job = job, .corpus = corpus, .writer = w, .part = -1};
        c.buffer = must_alloc(TOKENS_AT_ONCE, 4);
        ok = copy_documents(&c, &d->split, plan, error);
        if (ok)
            ok = tokens_finish(w, error);
        else
            tokens_abandon(w);
        free(c.buffer);
    }
    free(stem);
    free(file);
    return ok;
}

/* -- all of them ----------------------------------------------------------------------------------------------------- */

static bool open_corpus(const Job *job, Corpus **c, const Decision *d, Error *error) {
    if (*c) return true;
    *c = corpus_open(job->making, &job->parts, error);
    if (!*c || !d->counts.duplicates) return *c != NULL;
    char *file = must_format("%s/dropped", job->making);
    bool ok = corpus_use_dropped(*c, file, error);
    free(file);
    return ok;
}

static bool write_shards(Job *job, Corpus **c, Decision *d, ShardPlan **plan, Error *error) {
    Comm *world = job->world;
    world->ops->host_broadcast(world, d, (int64_t)sizeof *d, 0);
    if (world->rank) *plan = must_alloc(d->shards, sizeof **plan);
    world->ops->host_broadcast(world, *plan, d->shards * (int64_t)sizeof **plan, 0);
    bool ok = open_corpus(job, c, d, error);
    for (int64_t i = world->rank; ok && i < d->shards; i += world->size)
        ok = signals_none(error) && write_shard(job, *c, d, &(*plan)[i], error);
    return agree(world, ok, error);
}

bool prepare_shards(Job *job, Error *error) {
    Corpus *c = NULL;
    ShardPlan *plan = NULL;
    Decision d = {0};
    bool ok = true;
    if (job->world->rank == 0) {
        c = corpus_open(job->making, &job->parts, error);
        ok = c && decide(job, c, &d, &plan, error);
    }
    ok = agree(job->world, ok, error) && write_shards(job, &c, &d, &plan, error);
    corpus_close(c);
    free(plan);
    return ok;
}
