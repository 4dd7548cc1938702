/* spool.c - see spool.h. */
#include "data/spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/disk.h"

enum { BUFFER_BYTES = 4 << 20 };

/* One growing file; it has no name, so it vanishes with the process. */
typedef struct {
    char *path, *buffer;
    int fd;
    int64_t held, written;
    void *map;
} Growing;

struct Spool {
    Growing tokens, records;
    const Tokenizer *tokenizer;
    int32_t bos, eos, *ids;
    int64_t ids_room;
    XXH3_state_t *hash;
    Record record; /* of the document that is being spooled */
    int64_t text_bytes, documents;
};

static bool growing_open(Growing *g, const char *folder, const char *name, Error *error) {
    *g = (Growing){.path = must_format("%s/%s", folder, name), .buffer = must_alloc(BUFFER_BYTES, 1)};
    g->fd = disk_create(g->path, error);
    if (g->fd >= 0) unlink(g->path);
    return g->fd >= 0;
}

static bool growing_flush(Growing *g, Error *error) {
    if (!disk_write(g->fd, g->buffer, g->held, g->written, g->path, error)) return false;
    g->written += g->held;
    g->held = 0;
    return true;
}

static bool growing_put(Growing *g, const void *bytes, int64_t count, Error *error) {
    for (const char *from = bytes; count > 0;) {
        int64_t n = min_i64(count, BUFFER_BYTES - g->held);
        memcpy(g->buffer + g->held, from, (size_t)n);
        g->held += n, from += n, count -= n;
        if (g->held == BUFFER_BYTES && !growing_flush(g, error)) return false;
    }
    return true;
}

static bool growing_map(Growing *g, Error *error) {
    if (!growing_flush(g, error)) return false;
    void *map = mmap(NULL, (size_t)g->written, PROT_READ, MAP_SHARED, g->fd, 0);
    if (map == MAP_FAILED) return fail(error, "%s: cannot map: %s", g->path, strerror(errno));
    g->map = map;
    return true;
}

static void growing_close(Growing *g) {
    if (g->map) munmap(g->map, (size_t)g->written);
    if (g->path && g->fd >= 0) close(g->fd);
    free(g->path);
    free(g->buffer);
}

Spool *spool_open(const char *folder, const Tokenizer *tokenizer, int32_t bos, int32_t eos, Error *error) {
    Spool *s = must_alloc(1, sizeof *s);
    s->tokenizer = tokenizer;
    s->bos = bos, s->eos = eos;
    s->hash = XXH3_createState();
    check(s->hash, "out of memory for a hash");
    XXH3_64bits_reset(s->hash);
    if (growing_open(&s->tokens, folder, "tokens.spool", error) &&
        growing_open(&s->records, folder, "documents.spool", error))
        return s;
    spool_close(s);
    return NULL;
}

static bool put_token(Spool *s, int32_t token, Error *error) {
    s->record.tokens++;
    return growing_put(&s->tokens, &token, sizeof token, error);
}

bool spool_text(Spool *s, const char *text, int64_t bytes, Error *error) {
    if (s->record.tokens == 0 && s->bos >= 0 && !put_token(s, s->bos, error)) return false;
    int64_t room = tokenizer_room(s->tokenizer, bytes);
    if (room > s->ids_room) {
        s->ids_room = room;
        s->ids = must_realloc(s->ids, room, sizeof *s->ids);
    }
    int64_t n = tokenizer_encode(s->tokenizer, s->ids, text, bytes, SPECIALS_MATCH);
    if (n < 0)
        return fail(error, "a text of %lld bytes takes the tokenizer's expressions beyond their limits",
                    (long long)bytes);
    XXH3_64bits_update(s->hash, text, (size_t)bytes);
    s->text_bytes += bytes;
    s->record.tokens += n;
    s->record.text_tokens += n;
    return growing_put(&s->tokens, s->ids, n * (int64_t)sizeof *s->ids, error);
}

bool spool_end(Spool *s, Error *error) {
    s->record.hash = XXH3_64bits_digest(s->hash);
    bool ok = put_token(s, s->eos, error) && growing_put(&s->records, &s->record, sizeof s->record, error);
    XXH3_64bits_reset(s->hash);
    s->record = (Record){0};
    s->documents++;
    return ok;
}

int64_t spool_bytes(const Spool *s) { return s->text_bytes; }

bool spool_records(Spool *s, const Record **records, int64_t *documents, Error *error) {
    check(s->documents > 0, "an empty spool");
    if (!growing_flush(&s->tokens, error) || !growing_map(&s->records, error)) return false;
    *records = s->records.map;
    *documents = s->documents;
    return true;
}

bool spool_tokens(Spool *s, int64_t first, int64_t count, int32_t *to, Error *error) {
    int64_t bytes = (int64_t)sizeof *to;
    return disk_read(s->tokens.fd, to, count * bytes, first * bytes, s->tokens.path, error);
}

void spool_close(Spool *s) {
    if (!s) return;
    growing_close(&s->tokens);
    growing_close(&s->records);
    XXH3_freeState(s->hash);
    free(s->ids);
    free(s);
}
