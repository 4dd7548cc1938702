/* corpus.c - see corpus.h. */
#include "data/corpus.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"
#include "launch/signals.h"

enum { BLOCK = 4096 }; /* records at once */

typedef struct {
    uint64_t key;
    int64_t documents, first; /* first: documents of the parts before */
} Entry;

struct Corpus {
    char *folder, *records, *tokens; /* files of the part that is open, for messages */
    Entry *entry;
    int64_t parts, documents, element;
    PartCounts counts;
    int64_t open; /* the part whose files are open; -1 */
    int records_fd, tokens_fd, dropped_fd;
    char *dropped_file;
    Spot at;
    Record block[BLOCK];
    int64_t block_part, block_first, block_end; /* documents of a part that block holds */
    uint8_t bits[BLOCK / 8 + 1];
    int64_t bits_first, bits_end; /* documents of the row that bits hold */
};

int64_t corpus_documents(const Corpus *c) { return c->documents; }
const PartCounts *corpus_counts(const Corpus *c) { return &c->counts; }

static bool read_ends(Corpus *c, const Parts *parts, Error *error) {
    for (int64_t i = 0; i < c->parts; i++) {
        SpoolEnd end;
        if (!spool_read_end(c->folder, parts->part[i].key, &end, error)) return false;
        c->entry[i] = (Entry){parts->part[i].key, end.documents, c->documents};
        c->documents += end.documents;
        c->element = end.token_bytes;
        counts_add(&c->counts.counts, c->counts.bad, &end.counts);
    }
    return true;
}

Corpus *corpus_open(const char *folder, const Parts *parts, Error *error) {
    Corpus *c = must_alloc(1, sizeof *c);
    c->folder = must_strdup(folder);
    c->parts = parts->count;
    c->entry = must_alloc(c->parts, sizeof *c->entry);
    c->open = c->block_part = -1;
    c->records_fd = c->tokens_fd = c->dropped_fd = -1;
    if (read_ends(c, parts, error)) return c;
    corpus_close(c);
    return NULL;
}

static void close_part(Corpus *c) {
    if (c->records_fd >= 0) close(c->records_fd);
    if (c->tokens_fd >= 0) close(c->tokens_fd);
    free(c->records);
    free(c->tokens);
    c->records = c->tokens = NULL;
    c->open = c->records_fd = c->tokens_fd = -1;
}

void corpus_close(Corpus *c) {
    if (!c) return;
    close_part(c);
    if (c->dropped_fd >= 0) close(c->dropped_fd);
    free(c->dropped_file);
    free(c->entry);
    free(c->folder);
    free(c);
}

static bool open_part(Corpus *c, int64_t part, Error *error) {
    if (c->open == part) return true;
    close_part(c);
    int64_t bytes;
    c->records = spool_file(c->folder, c->entry[part].key, "records");
    c->tokens = spool_file(c->folder, c->entry[part].key, "tokens");
    c->records_fd = disk_open(c->records, &bytes, error);
    if (c->records_fd >= 0) c->tokens_fd = disk_open(c->tokens, &bytes, error);
    if (c->tokens_fd >= 0) c->open = part;
    return c->tokens_fd >= 0;
}

bool corpus_read(Corpus *c, int64_t part, int64_t first, int64_t count, void *to, Error *error) {
    return signals_none(error) && open_part(c, part, error) &&
           disk_read(c->tokens_fd, to, count * c->element, first * c->element, c->tokens, error);
}

bool corpus_use_dropped(Corpus *c, const char *dropped, Error *error) {
    int64_t bytes;
    c->dropped_file = must_strdup(dropped);
    c->dropped_fd = disk_open(dropped, &bytes, error);
    return c->dropped_fd >= 0;
}

/* -- one document after the other -------------------------------------------------------------------------- */

void corpus_go(Corpus *c, Spot spot) { c->at = spot; }

static bool load_block(Corpus *c, Spot at, Error *error) {
    if (c->block_part == at.part && at.document >= c->block_first && at.document < c->block_end) return true;
    int64_t n = min_i64(BLOCK, c->entry[at.part].documents - at.document), size = (int64_t)sizeof(Record);
    c->block_part = -1;
    if (!signals_none(error) || !open_part(c, at.part, error) ||
        !disk_read(c->records_fd, c->block, n * size, at.document * size, c->records, error))
        return false;
    c->block_part = at.part;
    c->block_first = at.document;
    c->block_end = at.document + n;
    return true;
}

static bool load_bit(Corpus *c, int64_t document, bool *bit, Error *error) {
    *bit = false;
    if (c->dropped_fd < 0) return true;
    if (document < c->bits_first || document >= c->bits_end) {
        int64_t first = document / BLOCK * BLOCK, n = min_i64(BLOCK, c->documents - first);
        c->bits_end = 0;
        if (!disk_read(c->dropped_fd, c->bits, ceil_div(n, 8), first / 8, c->dropped_file, error)) return false;
        c->bits_first = first;
        c->bits_end = first + n;
    }
    document -= c->bits_first;
    *bit = c->bits[document / 8] >> document % 8 & 1;
    return true;
}

bool corpus_next(Corpus *c, Document *d, bool *found, Error *error) {
    Spot *at = &c->at;
    while (at->part < c->parts && at->document == c->entry[at->part].documents) *at = (Spot){.part = at->part + 1};
    *found = at->part < c->parts;
    if (!*found) return true;
    if (!load_block(c, *at, error) || !load_bit(c, c->entry[at->part].first + at->document, &d->dropped, error))
        return false;
    d->record = c->block[at->document - c->block_first];
    d->spot = *at;
    at->document++;
    at->token += d->record.tokens;
    return true;
}
