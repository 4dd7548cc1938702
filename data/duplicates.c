/* duplicates.c - see duplicates.h. */
#include "data/duplicates.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"

/* Each pass reads all records, so of a very large set the hashes of a share grow, not the number of passes. A share has
 * 24 bytes a hash, in room for up to four times as many. */
enum { AT_ONCE = 1 << 20, PASSES_MOST = 64 };

typedef struct {
    uint64_t hash[2];
    int64_t document;
} Entry;

static int by_hash(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
    if (x[1] != y[1]) return x[1] < y[1] ? -1 : 1;
    return 0;
}

static int by_hash_then_place(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    int order = by_hash(x->hash, y->hash);
    return order ? order : (x->document > y->document) - (x->document < y->document);
}

typedef struct {
    Entry *entry;
    int64_t n, room, found, about; /* about: hashes of a share */
    uint8_t *bits;                 /* of the file */
} Marking;

/* Of equal ones the first stays; the others are marked and forgotten. */
static void mark_copies(Marking *m) {
    int64_t kept = 0;
    if (m->n == 0) return;
    qsort(m->entry, (size_t)m->n, sizeof *m->entry, by_hash_then_place);
    for (int64_t i = 0; i < m->n; i++) {
        Entry e = m->entry[i];
        bool copy = kept > 0 && by_hash(e.hash, m->entry[kept - 1].hash) == 0;
        if (copy)
            m->bits[e.document / 8] |= (uint8_t)(1 << e.document % 8);
        else
            m->entry[kept++] = e;
    }
    m->found += m->n - kept;
    m->n = kept;
}

/* A set may hold one document a billion times: what is full of copies is cleared before it grows. */
static void add(Marking *m, const Record *r, int64_t document) {
    if (m->n == m->room) {
        if (m->room >= 2 * m->about) mark_copies(m);
        if (2 * m->n >= m->room) { /* what stays nearly full would be sorted again and again */
            m->room = max_i64(2 * m->room, 1 << 12);
            m->entry = must_realloc(m->entry, m->room, sizeof *m->entry);
        }
    }
    m->entry[m->n++] = (Entry){{r->hash[0], r->hash[1]}, document};
}

/* Documents whose hash falls to this share. */
static bool mark_share(Corpus *c, uint64_t share, uint64_t shares, Marking *m, Error *error) {
    Document d;
    bool more;
    m->n = 0;
    corpus_go(c, (Spot){0});
    for (int64_t number = 0;; number++) {
        if (!corpus_next(c, &d, &more, error)) return false;
        if (!more) break;
        if (d.record.hash[1] % shares == share) add(m, &d.record, number);
    }
    mark_copies(m);
    return true;
}

int64_t duplicates_passes(int64_t documents) {
    return max_i64(1, min_i64(ceil_div(documents, AT_ONCE), PASSES_MOST));
}

static bool mark_all(Corpus *c, Marking *m, Error *error) {
    uint64_t shares = (uint64_t)duplicates_passes(corpus_documents(c));
    m->about = ceil_div(corpus_documents(c), (int64_t)shares);
    for (uint64_t share = 0; share < shares; share++)
        if (!mark_share(c, share, shares, m, error)) return false;
    return true;
}

bool duplicates_mark(Corpus *c, const char *file, int64_t *found, Error *error) {
    int64_t bytes = ceil_div(corpus_documents(c), 8);
    unlink(file);
    int fd = disk_create(file, error);
    if (fd < 0) return false;
    Marking m = {.bits = must_alloc(bytes, 1)};
    bool ok = mark_all(c, &m, error) && disk_write(fd, m.bits, bytes, 0, file, error);
    *found = m.found;
    free(m.bits);
    free(m.entry);
    close(fd);
    return ok;
}

int64_t duplicates_count(uint64_t (*hash)[2], int64_t n) {
    int64_t found = 0;
    qsort(hash, (size_t)n, sizeof *hash, by_hash);
    for (int64_t i = 1; i < n; i++) found += by_hash(hash[i], hash[i - 1]) == 0;
    return found;
}
