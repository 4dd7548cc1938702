/* spool.c - see spool.h. */
#include "data/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/disk.h"

enum { BUFFER_BYTES = 1 << 18 };
static const uint64_t MAGIC = 0x3230706c6f6f7073; /* "spoolp02" */

/* A growing file that can go back to a mark, as long as the mark is the last one set. */
typedef struct {
    char *path, *temporary, *buffer;
    int fd;
    int64_t held, written, mark;
    XXH3_state_t *hash, *hash_at_mark;
} Growing;

struct Spool {
    Growing tokens, records;
    SpoolEnd end;
    uint16_t *narrow;
    int64_t narrow_room, marked_tokens;
};

/* -- growing files ---------------------------------------------------------------------------------------- */

static void growing_name(Growing *g, const char *folder, uint64_t key, const char *ending) {
    g->path = spool_file(folder, key, ending);
    g->temporary = must_format("%s.tmp", g->path);
    g->fd = -1;
}

static void growing_start(Growing *g, int fd) {
    g->fd = fd;
    g->buffer = must_alloc(BUFFER_BYTES, 1);
    g->hash = XXH3_createState();
    g->hash_at_mark = XXH3_createState();
    check(g->hash && g->hash_at_mark, "out of memory for a hash");
    XXH3_64bits_reset(g->hash);
    XXH3_copyState(g->hash_at_mark, g->hash);
}

static void growing_close(Growing *g) {
    if (g->fd >= 0) close(g->fd);
    XXH3_freeState(g->hash);
    XXH3_freeState(g->hash_at_mark);
    free(g->path);
    free(g->temporary);
    free(g->buffer);
}

static bool growing_flush(Growing *g, Error *error) {
    if (!disk_write(g->fd, g->buffer, g->held, g->written, g->temporary, error)) return false;
    g->written += g->held;
    g->held = 0;
    return true;
}

static bool growing_put(Growing *g, const void *bytes, int64_t count, Error *error) {
    XXH3_64bits_update(g->hash, bytes, (size_t)count);
    for (const char *from = bytes; count > 0;) {
        int64_t n = min_i64(count, BUFFER_BYTES - g->held);
        memcpy(g->buffer + g->held, from, (size_t)n);
        g->held += n, from += n, count -= n;
        if (g->held == BUFFER_BYTES && !growing_flush(g, error)) return false;
    }
    return true;
}

static void growing_mark(Growing *g) {
    g->mark = g->written + g->held;
    XXH3_copyState(g->hash_at_mark, g->hash);
}

/* What lies on the disk behind the mark is written over, or cut off at the end. */
static void growing_back(Growing *g) {
    if (g->mark >= g->written) {
        g->held = g->mark - g->written;
    } else {
        g->written = g->mark;
        g->held = 0;
    }
    XXH3_copyState(g->hash, g->hash_at_mark);
}

static bool growing_finish(Growing *g, Error *error) {
    if (!growing_flush(g, error)) return false;
    if (ftruncate(g->fd, (off_t)g->written)) return disk_fail(error, g->temporary, "set its size");
    int status = close(g->fd);
    g->fd = -1;
    if (status) return disk_fail(error, g->temporary, "close");
    return rename(g->temporary, g->path) == 0 || disk_fail(error, g->path, "rename a file to this name");
}

/* -- one part ----------------------------------------------------------------------------------------------- */

char *spool_file(const char *folder, uint64_t key, const char *ending) {
    return must_format("%s/%016llx.%s", folder, (unsigned long long)key, ending);
}

/* -1 when somebody else has made it; -2 + message. */
static int claim_file(const Growing *records, Error *error) {
    if (disk_exists(records->path)) return -1;
    int fd = open(records->temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) return -1;
    if (fd < 0) return disk_fail(error, records->temporary, "create"), -2;
    if (!disk_exists(records->path)) return fd;
    close(fd); /* finished between two looks */
    unlink(records->temporary);
    return -1;
}

Spool *spool_claim(const char *folder, uint64_t key, int64_t vocab_size, bool *claimed, Error *error) {
    Spool *s = must_alloc(1, sizeof *s);
    s->end = (SpoolEnd){.magic = MAGIC, .key = key, .token_bytes = tokens_stored_bytes(vocab_size)};
    growing_name(&s->tokens, folder, key, "tokens");
    growing_name(&s->records, folder, key, "records");
    int fd = claim_file(&s->records, error);
    *claimed = fd != -1;
    if (fd >= 0) {
        growing_start(&s->records, fd);
        unlink(s->tokens.temporary);
        fd = disk_create(s->tokens.temporary, error);
        if (fd >= 0) {
            growing_start(&s->tokens, fd);
            return s;
        }
    }
    spool_abandon(s);
    return NULL;
}

static const void *as_stored(Spool *s, const int32_t *ids, int64_t n) {
    if (s->end.token_bytes == 4) return ids;
    if (n > s->narrow_room) {
        s->narrow_room = n;
        free(s->narrow);
        s->narrow = must_alloc(n, sizeof *s->narrow);
    }
    for (int64_t i = 0; i < n; i++) s->narrow[i] = (uint16_t)ids[i];
    return s->narrow;
}

static bool on_ids(void *own, const int32_t *ids, int64_t n, Error *error) {
    Spool *s = own;
    s->end.tokens += n;
    return growing_put(&s->tokens, as_stored(s, ids, n), n * s->end.token_bytes, error);
}

static bool on_end(void *own, const Record *record, Error *error) {
    Spool *s = own;
    s->end.documents++;
    growing_mark(&s->tokens);
    s->marked_tokens = s->end.tokens;
    return growing_put(&s->records, record, sizeof *record, error);
}

static void on_drop(void *own) {
    Spool *s = own;
    growing_back(&s->tokens);
    s->end.tokens = s->marked_tokens;
}

IdSink spool_sink(Spool *s) { return (IdSink){.own = s, .put = on_ids, .end = on_end, .drop = on_drop}; }

static void spool_free(Spool *s) {
    growing_close(&s->tokens);
    growing_close(&s->records);
    free(s->narrow);
    free(s);
}

void spool_abandon(Spool *s) {
    if (s->tokens.fd >= 0) unlink(s->tokens.temporary);
    if (s->records.fd >= 0) unlink(s->records.temporary);
    spool_free(s);
}

bool spool_finish(Spool *s, const PartCounts *counts, Error *error) {
    s->end.counts = *counts;
    s->end.tokens_hash = XXH3_64bits_digest(s->tokens.hash);
    s->end.records_hash = XXH3_64bits_digest(s->records.hash);
    s->end.hash = hash_bytes(&s->end, offsetof(SpoolEnd, hash));
    bool ok = growing_put(&s->records, &s->end, sizeof s->end, error) && growing_finish(&s->tokens, error) &&
              growing_finish(&s->records, error);
    if (ok)
        spool_free(s);
    else
        spool_abandon(s);
    return ok;
}

/* -- what an earlier run left ---------------------------------------------------------------------------------- */

bool spool_read_end(const char *folder, uint64_t key, SpoolEnd *end, Error *error) {
    char *file = spool_file(folder, key, "records");
    int64_t bytes;
    int fd = disk_open(file, &bytes, error);
    int64_t size = (int64_t)sizeof *end, record = (int64_t)sizeof(Record);
    bool ok = fd >= 0 && (bytes >= size || fail(error, "%s: is not whole", file)) &&
              disk_read(fd, end, size, bytes - size, file, error);
    if (ok && (end->magic != MAGIC || end->key != key || end->hash != hash_bytes(end, offsetof(SpoolEnd, hash)) ||
               bytes != end->documents * record + size))
        ok = fail(error, "%s: is not whole", file);
    if (fd >= 0) close(fd);
    free(file);
    return ok;
}

/* XXH3 of the first bytes of a file that has `bytes` and `rest` more. */
static bool has_hash(const char *folder, uint64_t key, const char *ending, int64_t bytes, int64_t rest,
                     uint64_t wanted) {
    Error ignored;
    int64_t size, step = 1 << 20;
    char *file = spool_file(folder, key, ending), *buffer = must_alloc(step, 1);
    int fd = disk_open(file, &size, &ignored);
    bool ok = fd >= 0 && size == bytes + rest;
    XXH3_state_t *hash = XXH3_createState();
    XXH3_64bits_reset(hash);
    for (int64_t at = 0, n; ok && at < bytes; at += n) {
        n = min_i64(step, bytes - at);
        ok = disk_read(fd, buffer, n, at, file, &ignored);
        if (ok) XXH3_64bits_update(hash, buffer, (size_t)n);
    }
    ok = ok && XXH3_64bits_digest(hash) == wanted;
    XXH3_freeState(hash);
    if (fd >= 0) close(fd);
    free(buffer);
    free(file);
    return ok;
}

bool spool_is_whole(const char *folder, uint64_t key) {
    SpoolEnd e;
    Error ignored;
    return spool_read_end(folder, key, &e, &ignored) &&
           has_hash(folder, key, "records", e.documents * (int64_t)sizeof(Record), (int64_t)sizeof e,
                    e.records_hash) &&
           has_hash(folder, key, "tokens", e.tokens * e.token_bytes, 0, e.tokens_hash);
}
