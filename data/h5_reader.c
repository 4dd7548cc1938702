/* h5_reader.c - the reading half of h5.h. HDF5 reads metadata only: a dataset is contiguous, so its
 * bytes are read at their offset, within the file, by us.
 *
 * Accepted are files in the 1.10 format (superblock 3), all of whose metadata carries checksums:
 * older formats make the library itself crash on some damaged bytes. */
#include "data/disk.h"
#include "data/h5_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DIMS = 4, MOST_TEXT = 1 << 24 };

typedef struct {
    Dtype dtype;
    int ndim;
    int64_t dim[MOST_DIMS], count, offset;
} Place;

struct H5Reader {
    char *name;
    int fd;
    int64_t bytes;
    hid_t file;
    char *last_path; /* a loader reads windows of one dataset: it is looked up once */
    Place last;
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

static bool open_library(H5Reader *r, Error *error) {
    h5_start();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    check(access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0, "HDF5 makes no property list");
    r->file = H5Fopen(r->name, H5F_ACC_RDONLY, access);
    bool ok = r->file >= 0 || h5_fail(error, "%s: damaged or cut off", r->name);
    H5Pclose(access);
    return ok;
}

H5Reader *h5_open(const char *file, Error *error) {
    H5Reader *r = must_alloc(1, sizeof *r);
    r->name = must_strdup(file);
    r->file = -1;
    r->fd = disk_open(file, &r->bytes, error);
    if (r->fd >= 0 && check_start(r, error) && open_library(r, error)) return r;
    h5_close(r);
    return NULL;
}

void h5_close(H5Reader *r) {
    if (r->file >= 0) H5Fclose(r->file);
    if (r->fd >= 0) close(r->fd);
    free(r->last_path);
    free(r->name);
    free(r);
}

/* -- where a dataset lies ----------------------------------------------------------------------- */
/* Every link on the way must be a hard one: soft and external links lead where the file says. */
static bool plain_path(const H5Reader *r, const char *path) {
    char *prefix = must_strdup(path);
    bool ok = *path != 0;
    for (char *end = prefix; ok && end;) {
        end = strchr(end, '/');
        if (end) *end = 0;
        H5L_info_t link;
        ok = H5Lexists(r->file, prefix, H5P_DEFAULT) > 0 && H5Lget_info(r->file, prefix, &link, H5P_DEFAULT) >= 0 &&
             link.type == H5L_TYPE_HARD;
        if (end) *end++ = '/';
    }
    free(prefix);
    return ok;
}

static bool is_root(const char *object) { return !strcmp(object, "/"); }

bool h5_has(H5Reader *r, const char *path) { return plain_path(r, path); }

static bool check_storage(const H5Reader *r, hid_t set, const char *path, Error *error) {
    hid_t creation = H5Dget_create_plist(set);
    if (creation < 0) return h5_fail(error, "%s: dataset %s: damaged", r->name, path);
    H5D_layout_t layout = H5Pget_layout(creation);
    int external = H5Pget_external_count(creation), filters = H5Pget_nfilters(creation);
    H5Pclose(creation);
    if (layout == H5D_VIRTUAL)
        return fail(error, "%s: dataset %s: is virtual; read the files it shows", r->name, path);
    if (external) return fail(error, "%s: dataset %s: lies in other files, which is refused", r->name, path);
    if (filters) return fail(error, "%s: dataset %s: is compressed; store it plain", r->name, path);
    return layout == H5D_CONTIGUOUS || fail(error, "%s: dataset %s: is not contiguous", r->name, path);
}

static bool find_type(const H5Reader *r, hid_t set, const char *path, Dtype *dtype, Error *error) {
    hid_t type = H5Dget_type(set);
    bool ok = (type >= 0 && h5_type_find(type, dtype)) ||
              fail(error, "%s: dataset %s: its type is none of f64 f32 bf16 f16 i32 i64 u8 u16, little endian",
                   r->name, path);
    if (type >= 0) H5Tclose(type);
    return ok;
}

static bool find_shape(const H5Reader *r, hid_t set, const char *path, Place *p, Error *error) {
    hsize_t dim[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    p->ndim = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dim, NULL);
    if (space >= 0) H5Sclose(space);
    if (p->ndim < 1 || p->ndim > MOST_DIMS)
        return fail(error, "%s: dataset %s: %d dims; 1 to %d are read", r->name, path, p->ndim, MOST_DIMS);
    p->count = 1;
    for (int i = 0; i < p->ndim; i++) {
        p->dim[i] = (int64_t)dim[i];
        if (p->dim[i] < 0 || __builtin_mul_overflow(p->count, p->dim[i], &p->count))
            return fail(error, "%s: dataset %s: its shape overflows", r->name, path);
    }
    return true;
}

static bool find_offset(const H5Reader *r, hid_t set, const char *path, Place *p, Error *error) {
    haddr_t offset = p->count ? H5Dget_offset(set) : 0;
    int64_t room = r->bytes / dtype_bytes(p->dtype);
    if (offset == HADDR_UNDEF) return fail(error, "%s: dataset %s: was never written", r->name, path);
    p->offset = (int64_t)offset;
    if (p->count > room || p->offset < 0 || p->offset > r->bytes - p->count * dtype_bytes(p->dtype))
        return fail(error, "%s: dataset %s: reaches beyond the end of the file", r->name, path);
    return true;
}

static const Place *place_of(H5Reader *r, const char *path, Error *error) {
    if (r->last_path && !strcmp(r->last_path, path)) return &r->last;
    if (!plain_path(r, path)) return fail(error, "%s: has no dataset %s", r->name, path), NULL;
    Place p = {0};
    hid_t set = H5Dopen2(r->file, path, H5P_DEFAULT);
    if (set < 0) return h5_fail(error, "%s: dataset %s: does not open", r->name, path), NULL;
    bool ok = check_storage(r, set, path, error) && find_type(r, set, path, &p.dtype, error) &&
              find_shape(r, set, path, &p, error) && find_offset(r, set, path, &p, error);
    H5Dclose(set);
    if (!ok) return NULL;
    free(r->last_path);
    r->last_path = must_strdup(path);
    r->last = p;
    return &r->last;
}

/* -- datasets --------------------------------------------------------------------------------- */
bool h5_shape(H5Reader *r, const char *path, Dtype *dtype, int *ndim, int64_t dim[4], Error *error) {
    const Place *p = place_of(r, path, error);
    if (!p) return false;
    *dtype = p->dtype;
    *ndim = p->ndim;
    memcpy(dim, p->dim, sizeof p->dim);
    return true;
}

bool h5_read(H5Reader *r, const char *path, Dtype dtype, int64_t first, int64_t count, void *to, Error *error) {
    const Place *p = place_of(r, path, error);
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

typedef struct {
    bool (*see)(void *, const char *);
    void *own;
    H5Reader *reader;
    Error *error;
    bool ok;
} Walk;

static herr_t see_link(hid_t group, const char *path, const H5L_info_t *link, void *own) {
    Walk *walk = own;
    H5O_info_t object;
    if (link->type != H5L_TYPE_HARD) {
        walk->ok =
            fail(walk->error, "%s: %s is a link that leads elsewhere, which is refused", walk->reader->name, path);
        return 1;
    }
    if (H5Oget_info_by_name(group, path, &object, H5P_DEFAULT) < 0) {
        walk->ok = h5_fail(walk->error, "%s: %s: damaged", walk->reader->name, path);
        return 1;
    }
    if (object.type == H5O_TYPE_DATASET) walk->ok = walk->see(walk->own, path);
    return !walk->ok;
}

bool h5_each(H5Reader *r, bool (*see)(void *own, const char *path), void *own, Error *error) {
    Walk walk = {see, own, r, error, true};
    herr_t done = H5Lvisit(r->file, H5_INDEX_NAME, H5_ITER_INC, see_link, &walk);
    return walk.ok && (done >= 0 || h5_fail(error, "%s: damaged", r->name));
}

/* -- attributes ------------------------------------------------------------------------------- */
static hid_t open_attribute(H5Reader *r, const char *object, const char *name, Error *error) {
    bool there =
        (is_root(object) || plain_path(r, object)) && H5Aexists_by_name(r->file, object, name, H5P_DEFAULT) > 0;
    hid_t a = there ? H5Aopen_by_name(r->file, object, name, H5P_DEFAULT, H5P_DEFAULT) : -1;
    if (a < 0) fail(error, "%s: has no attribute %s of %s", r->name, name, object);
    return a;
}

static bool is_scalar(hid_t attribute) {
    hid_t space = H5Aget_space(attribute);
    bool ok = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SCALAR;
    if (space >= 0) H5Sclose(space);
    return ok;
}

bool h5_read_attr_text(H5Reader *r, const char *object, const char *name, char **value, Error *error) {
    hid_t a = open_attribute(r, object, name, error);
    if (a < 0) return false;
    hid_t type = H5Aget_type(a);
    size_t size = type < 0 ? 0 : H5Tget_size(type);
    bool plain = size > 0 && size <= MOST_TEXT && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                 is_scalar(a);
    char *text = plain ? must_alloc((int64_t)size + 1, 1) : NULL;
    bool ok = plain ? H5Aread(a, type, text) >= 0 || h5_fail(error, "%s: attribute %s: damaged", r->name, name)
                    : fail(error, "%s: attribute %s of %s is not a plain text", r->name, name, object);
    if (type >= 0) H5Tclose(type);
    H5Aclose(a);
    if (ok)
        *value = text;
    else
        free(text);
    return ok;
}

bool h5_read_attr_int(H5Reader *r, const char *object, const char *name, int64_t *value, Error *error) {
    hid_t a = open_attribute(r, object, name, error);
    if (a < 0) return false;
    hid_t type = H5Aget_type(a);
    bool plain = type >= 0 && H5Tequal(type, H5T_STD_I64LE) > 0 && is_scalar(a);
    bool ok =
        plain ? H5Aread(a, H5T_NATIVE_INT64, value) >= 0 || h5_fail(error, "%s: attribute %s: damaged", r->name, name)
              : fail(error, "%s: attribute %s of %s is not a 64-bit integer", r->name, name, object);
    if (type >= 0) H5Tclose(type);
    H5Aclose(a);
    return ok;
}
