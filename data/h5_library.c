/* h5_library.c - what HDF5 says of a file. It crashes on some damaged ones. */
#include "data/h5_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_TEXT = 1 << 24 };

bool library_open(H5Library *l, const char *name, int64_t bytes, Error *error) {
    *l = (H5Library){.name = name, .bytes = bytes};
    h5_start();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    check(access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0, "HDF5 makes no property list");
    l->file = H5Fopen(name, H5F_ACC_RDONLY, access);
    bool ok = l->file >= 0 || h5_fail(error, "%s: damaged or cut off", name);
    H5Pclose(access);
    return ok;
}

void library_close(H5Library *l) { H5Fclose(l->file); }

/* -- where a dataset lies ----------------------------------------------------------------------- */
bool h5_place_count(H5Place *p) {
    p->count = 1;
    for (int i = 0; i < p->ndim; i++)
        if (p->dim[i] < 0 || __builtin_mul_overflow(p->count, p->dim[i], &p->count)) return false;
    return true;
}

bool h5_place_fits(const H5Place *p, int64_t bytes) {
    int64_t size = dtype_bytes(p->dtype);
    return p->count <= bytes / size && p->offset >= 0 && p->offset <= bytes - p->count * size;
}

/* Every link on the way must be a hard one: soft and external links lead where the file says. */
static bool plain_path(const H5Library *l, const char *path) {
    char *prefix = must_strdup(path);
    bool ok = *path != 0;
    for (char *end = prefix; ok && end;) {
        end = strchr(end, '/');
        if (end) *end = 0;
        H5L_info_t link;
        ok = H5Lexists(l->file, prefix, H5P_DEFAULT) > 0 && H5Lget_info(l->file, prefix, &link, H5P_DEFAULT) >= 0 &&
             link.type == H5L_TYPE_HARD;
        if (end) *end++ = '/';
    }
    free(prefix);
    return ok;
}

static bool is_root(const char *object) { return !strcmp(object, "/"); }

bool library_has(const H5Library *l, const char *path) { return plain_path(l, path); }

static bool check_storage(const H5Library *l, hid_t set, const char *path, Error *error) {
    hid_t creation = H5Dget_create_plist(set);
    if (creation < 0) return h5_fail(error, "%s: dataset %s: damaged", l->name, path);
    H5D_layout_t layout = H5Pget_layout(creation);
    int external = H5Pget_external_count(creation), filters = H5Pget_nfilters(creation);
    H5Pclose(creation);
    if (layout == H5D_VIRTUAL)
        return fail(error, "%s: dataset %s: is virtual; read the files it shows", l->name, path);
    if (external) return fail(error, "%s: dataset %s: lies in other files, which is refused", l->name, path);
    if (filters) return fail(error, "%s: dataset %s: is compressed; store it plain", l->name, path);
    return layout == H5D_CONTIGUOUS || fail(error, "%s: dataset %s: is not contiguous", l->name, path);
}

static bool find_type(const H5Library *l, hid_t set, const char *path, Dtype *dtype, Error *error) {
    hid_t type = H5Dget_type(set);
    bool ok = (type >= 0 && h5_type_find(type, dtype)) ||
              fail(error, "%s: dataset %s: its type is none of f64 f32 bf16 f16 i32 i64 u8 u16, little endian",
                   l->name, path);
    if (type >= 0) H5Tclose(type);
    return ok;
}

static bool find_shape(const H5Library *l, hid_t set, const char *path, H5Place *p, Error *error) {
    hsize_t dim[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    p->ndim = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dim, NULL);
    if (space >= 0) H5Sclose(space);
    if (p->ndim < 1 || p->ndim > H5_DIMS)
        return fail(error, "%s: dataset %s: %d dims; 1 to %d are read", l->name, path, p->ndim, H5_DIMS);
    for (int i = 0; i < p->ndim; i++) p->dim[i] = (int64_t)dim[i];
    return h5_place_count(p) || fail(error, "%s: dataset %s: its shape overflows", l->name, path);
}

static bool find_offset(const H5Library *l, hid_t set, const char *path, H5Place *p, Error *error) {
    haddr_t offset = p->count ? H5Dget_offset(set) : 0;
    if (offset == HADDR_UNDEF) return fail(error, "%s: dataset %s: was never written", l->name, path);
    p->offset = (int64_t)offset;
    return h5_place_fits(p, l->bytes) ||
           fail(error, "%s: dataset %s: reaches beyond the end of the file", l->name, path);
}

bool library_place(const H5Library *l, const char *path, H5Place *p, Error *error) {
    if (!plain_path(l, path)) return fail(error, "%s: has no dataset %s", l->name, path);
    *p = (H5Place){0};
    hid_t set = H5Dopen2(l->file, path, H5P_DEFAULT);
    if (set < 0) return h5_fail(error, "%s: dataset %s: does not open", l->name, path);
    bool ok = check_storage(l, set, path, error) && find_type(l, set, path, &p->dtype, error) &&
              find_shape(l, set, path, p, error) && find_offset(l, set, path, p, error);
    H5Dclose(set);
    return ok;
}

/* -- everything in it ------------------------------------------------------------------------- */
typedef struct {
    bool (*see)(void *, const char *);
    void *own;
    const H5Library *library;
    Error *error;
    bool ok;
} Walk;

/* Keeps the first fault; what lies behind it is seen all the same. */
static herr_t see_link(hid_t group, const char *path, const H5L_info_t *link, void *own) {
    Walk *walk = own;
    Error later, *error = walk->ok ? walk->error : &later;
    H5O_info_t object;
    if (link->type != H5L_TYPE_HARD)
        walk->ok = fail(error, "%s: %s is a link that leads elsewhere, which is refused", walk->library->name, path);
    else if (H5Oget_info_by_name(group, path, &object, H5P_DEFAULT) < 0)
        walk->ok = h5_fail(error, "%s: %s: damaged", walk->library->name, path);
    else if (object.type == H5O_TYPE_DATASET && !walk->see(walk->own, path))
        return walk->ok = false, 1;
    return 0;
}

bool library_each(const H5Library *l, bool (*see)(void *own, const char *path), void *own, Error *error) {
    Walk walk = {see, own, l, error, true};
    herr_t done = H5Lvisit(l->file, H5_INDEX_NAME, H5_ITER_INC, see_link, &walk);
    return walk.ok && (done >= 0 || h5_fail(error, "%s: damaged", l->name));
}

/* -- attributes ------------------------------------------------------------------------------- */
static hid_t open_attribute(const H5Library *l, const char *object, const char *name, Error *error) {
    bool there =
        (is_root(object) || plain_path(l, object)) && H5Aexists_by_name(l->file, object, name, H5P_DEFAULT) > 0;
    hid_t a = there ? H5Aopen_by_name(l->file, object, name, H5P_DEFAULT, H5P_DEFAULT) : -1;
    if (a < 0) fail(error, "%s: has no attribute %s of %s", l->name, name, object);
    return a;
}

static bool is_scalar(hid_t attribute) {
    hid_t space = H5Aget_space(attribute);
    bool ok = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SCALAR;
    if (space >= 0) H5Sclose(space);
    return ok;
}

bool library_text(const H5Library *l, const char *object, const char *name, char **value, Error *error) {
    hid_t a = open_attribute(l, object, name, error);
    if (a < 0) return false;
    hid_t type = H5Aget_type(a);
    size_t size = type < 0 ? 0 : H5Tget_size(type);
    bool plain = size > 0 && size <= MOST_TEXT && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                 is_scalar(a);
    char *text = plain ? must_alloc((int64_t)size + 1, 1) : NULL;
    bool ok = plain ? H5Aread(a, type, text) >= 0 || h5_fail(error, "%s: attribute %s: damaged", l->name, name)
                    : fail(error, "%s: attribute %s of %s is not a plain text", l->name, name, object);
    if (type >= 0) H5Tclose(type);
    H5Aclose(a);
    if (ok)
        *value = text;
    else
        free(text);
    return ok;
}

bool library_int(const H5Library *l, const char *object, const char *name, int64_t *value, Error *error) {
    hid_t a = open_attribute(l, object, name, error);
    if (a < 0) return false;
    hid_t type = H5Aget_type(a);
    bool plain = type >= 0 && H5Tequal(type, H5T_STD_I64LE) > 0 && is_scalar(a);
    bool ok =
        plain ? H5Aread(a, H5T_NATIVE_INT64, value) >= 0 || h5_fail(error, "%s: attribute %s: damaged", l->name, name)
              : fail(error, "%s: attribute %s of %s is not a 64-bit integer", l->name, name, object);
    if (type >= 0) H5Tclose(type);
    H5Aclose(a);
    return ok;
}

typedef struct {
    void (*see)(void *, const char *, const char *);
    void *own;
    const char *object;
} Names;

static herr_t see_attribute(hid_t object, const char *name, const H5A_info_t *info, void *own) {
    const Names *n = own;
    (void)object, (void)info;
    n->see(n->own, n->object, name);
    return 0;
}

void library_attributes(const H5Library *l, const char *object,
                        void (*see)(void *own, const char *object, const char *name), void *own) {
    Names n = {see, own, object};
    hid_t o = H5Oopen(l->file, object, H5P_DEFAULT);
    if (o < 0) return;
    H5Aiterate2(o, H5_INDEX_NAME, H5_ITER_INC, NULL, see_attribute, &n);
    H5Oclose(o);
}
