/* checkpoint_write.c - a file of a checkpoint, in one pass from front to back, so that the hash of the whole
 * is had without reading it again. Runs on the writer thread: no HDF5, no MPI. */
#include "train/checkpoint_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct {
    const FileContent *what;
    const char *name;
    int fd;
    int64_t at;       /* written so far */
    int *order, next; /* pieces by rising offset, the next one to write */
    XXH3_state_t *whole, *part;
    uint64_t *piece_hash;
    Error *error;
} Stream;

static bool stream_put(Stream *s, int64_t offset, const void *bytes, int64_t count) {
    check(offset == s->at, "%s: byte %lld is written when %lld is due", s->name, (long long)offset, (long long)s->at);
    if (!disk_write(s->fd, bytes, count, offset, s->name, s->error)) return false;
    XXH3_64bits_update(s->whole, bytes, (size_t)count);
    s->at += count;
    return true;
}

static int64_t piece_offset(const FileContent *f, int i) { return h5_offset(f->layout, f->dataset[i]); }

static bool put_piece(Stream *s, int i) {
    const FileContent *f = s->what;
    int64_t bytes = h5_bytes(f->layout, f->dataset[i]), offset = piece_offset(f, i);
    XXH3_64bits_reset(s->part);
    for (int64_t done = 0, part; done < bytes; done += part) {
        part = min_i64(bytes - done, CHECKPOINT_STAGING);
        if (!f->read(f->own, i, done, part, f->staging, s->error)) return false;
        XXH3_64bits_update(s->part, f->staging, (size_t)part);
        if (!stream_put(s, offset + done, f->staging, part)) return false;
    }
    s->piece_hash[i] = XXH3_64bits_digest(s->part);
    if (f->piece_done) f->piece_done(f->own, i);
    return true;
}

static bool put_pieces_before(Stream *s, int64_t offset) {
    for (; s->next < s->what->pieces; s->next++) {
        int i = s->order[s->next];
        if (piece_offset(s->what, i) >= offset) break;
        if (!put_piece(s, i)) return false;
    }
    return true;
}

static bool put_metadata(void *own, int64_t offset, const void *bytes, int64_t count) {
    Stream *s = own;
    return put_pieces_before(s, offset) && stream_put(s, offset, bytes, count);
}

static int by_offset(const void *a, const void *b, void *own) {
    const FileContent *f = own;
    int64_t x = piece_offset(f, *(const int *)a), y = piece_offset(f, *(const int *)b);
    return (x > y) - (x < y);
}

static void stream_open(Stream *s) {
    s->whole = XXH3_createState();
    s->part = XXH3_createState();
    check(s->whole && s->part && XXH3_64bits_reset(s->whole) == XXH_OK, "no memory for a hash");
    s->order = must_alloc(s->what->pieces, sizeof *s->order);
    for (int i = 0; i < s->what->pieces; i++) s->order[i] = i;
    qsort_r(s->order, (size_t)s->what->pieces, sizeof *s->order, by_offset, (void *)s->what);
}
static void stream_close(Stream *s) {
    XXH3_freeState(s->whole);
    XXH3_freeState(s->part);
    free(s->order);
}

bool content_write(const FileContent *f, const char *file, uint64_t *hash, uint64_t *piece_hash, Error *error) {
    int64_t bytes = h5_file_bytes(f->layout);
    Stream s = {.what = f, .name = file, .piece_hash = piece_hash, .error = error, .fd = disk_create(file, error)};
    if (s.fd < 0) return false;
    stream_open(&s);
    bool ok = disk_reserve(s.fd, bytes, file, error) && h5_metadata(f->layout, put_metadata, &s) &&
              put_pieces_before(&s, INT64_MAX);
    check(!ok || s.at == bytes, "%s: %lld bytes written of %lld", file, (long long)s.at, (long long)bytes);
    *hash = XXH3_64bits_digest(s.whole);
    stream_close(&s);
    return disk_finish(s.fd, ok, file, error);
}
