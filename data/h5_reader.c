/* h5_reader.c - the reading half of h5.h. HDF5 reads metadata only: a dataset is contiguous, so its
 * bytes are read at their offset, within the file, by us.
 *
 * Accepted are files in the 1.10 format (superblock 3), all of whose metadata carries checksums. The library crashes
 * on some damaged bytes even so: only a file whose hash was right is opened by it in this process. */
#include "data/disk.h"
#include "data/h5_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct H5Reader {
    char *name;
    int fd; /* -1: at rest */
    int64_t bytes;
    H5Library library;
    H5Listing *listing; /* NULL: the library is asked */
    bool has_library;
    struct timespec changed; /* what was listed is that of the file of this time */
    ino_t number;
    char *last_path; /* a loader reads windows of one dataset: it is looked up once */
    H5Place last;
};

/* -- open ------------------------------------------------------------------------------------- */
static bool check_start(const H5Reader *r, Error *error) {
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char start[9];
    if (r->bytes < 48) return fail(error, "%s: %lld bytes are no HDF5 file", r->name, (long long)r->bytes);
    if (!disk_read(r->fd, start, sizeof start, 0, r->name, error)) return false;
    if (memcmp(start, signature, sizeof signature))
        return fail(error, "%s: is not an HDF5 file (wrong first bytes)", r->name);
    return start[8] == 3 ||
           fail(error, "%s: HDF5 format with superblock %d; write it with libver v110 (superblock 3)", r->name,
                start[8]);
}

static bool open_file(H5Reader *r, Error *error) {
    struct stat s;
    r->fd = disk_open(r->name, &r->bytes, error);
    if (r->fd < 0) return false;
    if (fstat(r->fd, &s)) return disk_fail(error, r->name, "read");
    r->changed = s.st_mtim, r->number = s.st_ino;
    return check_start(r, error);
}

static H5Reader *reader_new(const char *file) {
    H5Reader *r = must_alloc(1, sizeof *r);
    r->name = must_strdup(file);
    r->fd = -1;
    return r;
}

H5Reader *h5_open(const char *file, Error *error) {
    H5Reader *r = reader_new(file);
    if (open_file(r, error) && (r->listing = listing_make(r->name, r->bytes, error))) return r;
    h5_close(r);
    return NULL;
}

H5Reader *h5_open_proven(const char *file, Error *error) {
    H5Reader *r = reader_new(file);
    if (open_file(r, error) && (r->has_library = library_open(&r->library, r->name, r->bytes, error))) return r;
    h5_close(r);
    return NULL;
}

void h5_rest(H5Reader *r) {
    check(r->listing, "%s: only what was listed can rest", r->name);
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
}

static void forget(H5Reader *r) {
    free(r->last_path);
    r->last_path = NULL;
    listing_close(r->listing);
    r->listing = NULL;
}

bool h5_wake(H5Reader *r, Error *error) {
    const H5Reader before = *r;
    if (r->fd >= 0) return true;
    if (!open_file(r, error)) return h5_rest(r), false;
    if (r->bytes == before.bytes && r->number == before.number && r->changed.tv_sec == before.changed.tv_sec &&
        r->changed.tv_nsec == before.changed.tv_nsec)
        return true;
    H5Listing *listing = listing_make(r->name, r->bytes, error);
    if (!listing) return h5_rest(r), false;
    forget(r);
    r->listing = listing;
    return true;
}

void h5_close(H5Reader *r) {
    if (r->has_library) library_close(&r->library);
    if (r->fd >= 0) close(r->fd);
    forget(r);
    free(r->name);
    free(r);
}

/* -- datasets --------------------------------------------------------------------------------- */
bool h5_has(H5Reader *r, const char *path) {
    return r->listing ? listing_has(r->listing, path) : library_has(&r->library, path);
}

static const H5Place *place_of(H5Reader *r, const char *path, Error *error) {
    if (r->last_path && !strcmp(r->last_path, path)) return &r->last;
    H5Place p;
    if (!(r->listing ? listing_place(r->listing, path, &p, error) : library_place(&r->library, path, &p, error)))
        return NULL;
    free(r->last_path);
    r->last_path = must_strdup(path);
    r->last = p;
    return &r->last;
}

bool h5_shape(H5Reader *r, const char *path, Dtype *dtype, int *ndim, int64_t dim[4], Error *error) {
    const H5Place *p = place_of(r, path, error);
    if (!p) return false;
    *dtype = p->dtype;
    *ndim = p->ndim;
    memcpy(dim, p->dim, sizeof p->dim);
    return true;
}

bool h5_read(H5Reader *r, const char *path, Dtype dtype, int64_t first, int64_t count, void *to, Error *error) {
    const H5Place *p = place_of(r, path, error);
    if (!p) return false;
    if (p->dtype != dtype)
        return fail(error, "%s: dataset %s: holds %s, %s is wanted", r->name, path, dtype_name(p->dtype),
                    dtype_name(dtype));
    if (first < 0 || count < 0 || first > p->count - count)
        return fail(error, "%s: dataset %s: has %lld elements, not %lld + %lld", r->name, path, (long long)p->count,
                    (long long)first, (long long)count);
    int64_t size = dtype_bytes(dtype);
    return disk_read(r->fd, to, count * size, p->offset + first * size, r->name, error);
}

bool h5_each(H5Reader *r, bool (*see)(void *own, const char *path), void *own, Error *error) {
    return r->listing ? listing_each(r->listing, see, own, error) : library_each(&r->library, see, own, error);
}

/* -- attributes ------------------------------------------------------------------------------- */
bool h5_read_attr_text(H5Reader *r, const char *object, const char *name, char **value, Error *error) {
    return r->listing ? listing_text(r->listing, object, name, value, error)
                      : library_text(&r->library, object, name, value, error);
}

bool h5_read_attr_int(H5Reader *r, const char *object, const char *name, int64_t *value, Error *error) {
    return r->listing ? listing_int(r->listing, object, name, value, error)
                      : library_int(&r->library, object, name, value, error);
}
