/* prepare.c - see prepare.h. The way: cache? -> lock -> spool -> split -> shards -> rename.
 *
 * A prepared set is the folder NAME-KEY with train.h5 and perhaps validation.h5. It is filled under a
 * temporary name and renamed when it is on disk, so an interrupted run leaves nothing to mistake. */
#include "data/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "data/disk.h"
#include "data/documents.h"
#include "data/source.h"
#include "data/split.h"
#include "data/spool.h"

enum { PIECE = 1 << 16 };     /* tokens from the spool to a shard at once */
enum { PREPARE_VERSION = 1 }; /* rises when the same input gives other tokens */

typedef struct {
    Prepared *out;
    const DataSet *set;
    const Tokenizer *tokenizer;
    SourceFiles source;
    int32_t bos, eos; /* bos -1: none */
    int64_t vocab_size;
    Split split;
    Spool *spool;
    const Record *records;
    int64_t documents;
} Job;

/* -- progress ----------------------------------------------------------------------------------- */

typedef struct {
    Spool *spool;
    const char *name;
    int64_t done, total;
    double start, shown;
    bool terminal;
} Progress;

static void show_progress(Progress *p, double now) {
    double seconds = now - p->start, rate = (double)p->done / (seconds > 1e-3 ? seconds : 1e-3);
    double left = rate > 0 ? (double)max_i64(p->total - p->done, 0) / rate : 0;
    fprintf(stderr, "\rprepare %s: %.1f of %.1f MB, %.1f MB/s, %d:%02d left ", p->name, (double)p->done / 1e6,
            (double)p->total / 1e6, rate / 1e6, (int)left / 60, (int)left % 60);
    p->shown = now;
}

static void on_progress(void *own, int64_t bytes) {
    Progress *p = own;
    p->done += bytes;
    double now = clock_seconds();
    if (p->terminal && now - p->shown > 0.2) show_progress(p, now);
}

static bool on_text(void *own, const char *text, int64_t bytes, Error *error) {
    return spool_text(((Progress *)own)->spool, text, bytes, error);
}

static bool on_end(void *own, Error *error) { return spool_end(((Progress *)own)->spool, error); }

/* -- text -> spool ------------------------------------------------------------------------------ */

static bool spool_source(Job *job, Error *error) {
    double now = clock_seconds();
    Progress p = {.spool = job->spool,
                  .name = job->set->name,
                  .total = job->source.bytes,
                  .start = now,
                  .shown = now,
                  .terminal = isatty(STDERR_FILENO)};
    DocumentSink sink = {.own = &p, .text = on_text, .end = on_end, .progress = on_progress};
    bool ok = true;
    for (int64_t i = 0; ok && i < job->source.count; i++)
        ok = documents_read(job->source.file[i].path, job->set->field, &sink, &job->out->skipped, error);
    if (p.terminal && p.shown > p.start) fprintf(stderr, "\r%78s\r", "");
    job->out->bytes = spool_bytes(job->spool);
    if (ok && job->out->bytes == 0)
        ok = fail(error, "data.%s: there is no text in %s", job->set->name, job->set->path);
    return ok;
}

/* -- spool -> shards ---------------------------------------------------------------------------- */

static void count_side(const Job *job, bool validation, int64_t *tokens, int64_t *documents) {
    *tokens = *documents = 0;
    for (int64_t i = 0; i < job->documents; i++) {
        Part part = split_part(&job->split, &job->records[i], validation);
        *tokens += part.count + part.eos;
        *documents += part.count > 0;
    }
}

static ShardInfo shard_info(const Job *job, int64_t tokens, int64_t documents) {
    ShardInfo info = {.tokens = tokens,
                      .documents = documents,
                      .source_bytes = job->out->bytes,
                      .skipped = job->out->skipped,
                      .vocab_size = job->vocab_size,
                      .tokenizer_hash = tokenizer_hash(job->tokenizer),
                      .source = (char *)(uintptr_t)job->set->path};
    snprintf(info.tokenizer, sizeof info.tokenizer, "%s", tokenizer_name(job->tokenizer));
    return info;
}

static bool copy_tokens(const Job *job, int64_t first, int64_t count, TokenWriter *w, Error *error) {
    static int32_t tokens[PIECE];
    for (int64_t end = first + count; first < end; first += PIECE) {
        int64_t n = min_i64(PIECE, end - first);
        if (!spool_tokens(job->spool, first, n, tokens, error) || !tokens_append(w, tokens, n, error)) return false;
    }
    return true;
}

static bool write_documents(const Job *job, bool validation, TokenWriter *w, Error *error) {
    int64_t first = 0;
    for (int64_t i = 0; i < job->documents; first += job->records[i++].tokens) {
        Part part = split_part(&job->split, &job->records[i], validation);
        if (part.count == 0) continue;
        if (!copy_tokens(job, first + part.from, part.count, w, error)) return false;
        if (part.eos && !tokens_append(w, &job->eos, 1, error)) return false;
        if (!tokens_end_document(w, error)) return false;
    }
    return true;
}

static bool write_side(const Job *job, bool validation, const char *folder, Error *error) {
    int64_t tokens, documents;
    count_side(job, validation, &tokens, &documents);
    if (tokens == 0)
        return fail(error, "data.%s.validation: %g of these documents is not one token; write a larger share",
                    job->set->name, job->set->validation);
    ShardInfo info = shard_info(job, tokens, documents);
    char *file = must_format("%s/%s.h5", folder, validation ? "validation" : "train");
    TokenWriter *w = tokens_create(file, &info, error);
    bool ok = w != NULL;
    if (ok && !write_documents(job, validation, w, error)) {
        tokens_abandon(w);
        ok = false;
    } else if (ok) {
        ok = tokens_finish(w, error);
    }
    free(file);
    return ok;
}

static bool write_shards(Job *job, const char *folder, Error *error) {
    job->spool = spool_open(folder, job->tokenizer, job->bos, job->eos, error);
    bool ok =
        job->spool && spool_source(job, error) && spool_records(job->spool, &job->records, &job->documents, error) &&
        split_choose(&job->split, job->set->validation, job->records, job->documents, job->set->name, error) &&
        write_side(job, false, folder, error) && (job->set->validation == 0 || write_side(job, true, folder, error));
    spool_close(job->spool);
    return ok;
}

/* -- the cache ---------------------------------------------------------------------------------- */

/* What the tokens depend on. */
static uint64_t cache_key(const Job *job) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for a key");
    fprintf(f, "%d %d %016llx %d %d %lld %.17g\n%s\n%s\n", PREPARE_VERSION, TOKENS_VERSION,
            (unsigned long long)tokenizer_hash(job->tokenizer), job->bos, job->eos, (long long)job->vocab_size,
            job->set->validation, job->set->field, job->set->path);
    for (int64_t i = 0; i < job->source.count; i++) {
        const SourceFile *s = &job->source.file[i];
        fprintf(f, "%s\n%lld %lld\n", s->path, (long long)s->bytes, (long long)s->modified);
    }
    check(fclose(f) == 0, "out of memory for a key");
    uint64_t key = hash_bytes(text, (int64_t)bytes);
    free(text);
    return key;
}

static bool read_counts(const char *file, const Tokenizer *tokenizer, ShardInfo *info, Error *error) {
    TokenShard *s = tokens_open(file, error);
    if (!s) return false;
    *info = *tokens_info(s);
    info->source = NULL;
    tokens_close(s);
    return info->tokenizer_hash == tokenizer_hash(tokenizer) ||
           fail(error, "%s: made with the tokenizer '%s', this run uses '%s'; prepare it again", file,
                info->tokenizer, tokenizer_name(tokenizer));
}

/* Fills `out` from the shards of a prepared folder. */
static bool read_prepared(Prepared *out, const char *folder, const Tokenizer *tokenizer, Error *error) {
    ShardInfo train, held;
    int a = snprintf(out->train, sizeof out->train, "%s/train.h5", folder);
    int b = snprintf(out->validation, sizeof out->validation, "%s/validation.h5", folder);
    if (a >= (int)sizeof out->train || b >= (int)sizeof out->validation)
        return fail(error, "%s: this path is too long; choose a shorter folder", folder);
    if (!read_counts(out->train, tokenizer, &train, error)) return false;
    out->documents = train.documents, out->tokens = train.tokens;
    out->bytes = train.source_bytes, out->skipped = train.skipped;
    out->validation_documents = out->validation_tokens = 0;
    if (!disk_exists(out->validation)) {
        out->validation[0] = 0;
        return true;
    }
    if (!read_counts(out->validation, tokenizer, &held, error)) return false;
    out->validation_documents = held.documents, out->validation_tokens = held.tokens;
    return true;
}

static bool build(Job *job, const char *folder, const char *final, Error *error) {
    char *temporary = must_format("%s/.tmp-%s", folder, job->set->name);
    bool ok = disk_remove_folder(temporary, error) && disk_make_folder(temporary, error);
    if (ok) {
        ok = write_shards(job, temporary, error) && disk_sync_folder(temporary, error) &&
             disk_rename(temporary, final, error);
        Error ignored;
        if (!ok) disk_remove_folder(temporary, &ignored);
    }
    free(temporary);
    return ok;
}

/* One process at a time fills a folder; -1 + message. */
static int lock_folder(const char *folder, Error *error) {
    char *path = must_format("%s/.lock", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644), status = fd < 0 ? -1 : 0;
    if (fd >= 0) do
            status = flock(fd, LOCK_EX);
        while (status && errno == EINTR);
    if (status) {
        fail(error, "%s: cannot lock: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

static bool build_once(Job *job, const char *folder, const char *final, Error *error) {
    if (disk_exists(final)) return job->out->cached = true;
    if (!disk_make_folder(folder, error)) return false;
    int lock = lock_folder(folder, error);
    if (lock < 0) return false;
    job->out->cached = disk_exists(final); /* made while we waited */
    bool ok = job->out->cached || build(job, folder, final, error);
    close(lock);
    return ok;
}

static bool prepare_text(Job *job, const char *folder, Error *error) {
    char *final = must_format("%s/%s-%016llx", folder, job->set->name, (unsigned long long)cache_key(job));
    bool ok = build_once(job, folder, final, error);
    Error why;
    if (ok && !read_prepared(job->out, final, job->tokenizer, &why))
        ok = fail(error, "%s; delete %s to prepare the set again", why.text, final);
    free(final);
    return ok;
}

/* -- format: tokens ----------------------------------------------------------------------------- */

static bool use_shards(Prepared *out, const DataSet *set, const Tokenizer *tokenizer, const char *config_file,
                       Error *error) {
    SourceFiles s;
    if (set->validation != 0)
        return fail(error, "data.%s.validation: a set of format tokens was split when it was prepared", set->name);
    if (!source_list(&s, set, config_file, error)) return false;
    char *folder = NULL;
    for (int64_t i = 0; i < s.count && !folder; i++) {
        size_t length = strlen(s.file[i].path);
        if (length > 9 && !strcmp(s.file[i].path + length - 9, "/train.h5"))
            folder = must_format("%.*s", (int)length - 9, s.file[i].path);
    }
    source_free(&s);
    bool ok =
        folder ? read_prepared(out, folder, tokenizer, error)
               : fail(error, "data.%s: %s holds no train.h5; name a folder that prepare made", set->name, set->path);
    out->cached = true;
    free(folder);
    return ok;
}

/* ----------------------------------------------------------------------------------------------- */

static bool choose_ids(Job *job, const Config *c, Error *error) {
    const Tokenizer *t = job->tokenizer;
    int64_t bos = c->bos_token_id >= 0 ? c->bos_token_id : tokenizer_bos(t);
    int64_t eos = c->eos_token_id >= 0 ? c->eos_token_id : tokenizer_eos(t);
    if (!tokenizer_adds_bos(t)) bos = -1;
    if (eos < 0) return fail(error, "model.eos_token_id: documents need an id between them; the tokenizer has none");
    job->bos = (int32_t)bos, job->eos = (int32_t)eos;
    job->vocab_size = max_i64(tokenizer_size(t), max_i64(bos, eos) + 1);
    return true;
}

bool prepare_set(Prepared *out, const Config *config, const DataSet *set, const Tokenizer *tokenizer,
                 const char *folder, Error *error) {
    Job job = {.out = out, .set = set, .tokenizer = tokenizer};
    *out = (Prepared){0};
    if (!*set->name || *set->name == '.' || strchr(set->name, '/'))
        return fail(error, "data.%s: a set's name becomes a folder's; it cannot have '/' or begin with '.'",
                    set->name);
    if (!strcmp(set->format, "tokens")) return use_shards(out, set, tokenizer, config->file, error);
    if (!choose_ids(&job, config, error) || !source_list(&job.source, set, config->file, error)) return false;
    bool ok = prepare_text(&job, folder, error);
    source_free(&job.source);
    return ok;
}
