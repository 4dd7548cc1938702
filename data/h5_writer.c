/* h5_writer.c - the writing half of h5.h. Declarations are kept in lists; h5_layout makes the whole
 * file from them in memory, which fixes where each dataset's bytes belong.
 *
 * Objects carry no times, so equal declarations give equal bytes. */
#include "data/h5_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DIMS = 4, GAP_BUFFER = 1 << 16 };

typedef struct {
    char *file, *path;
    int64_t first_row, rows;
} Source;

typedef struct {
    char *path;
    Dtype dtype;
    int ndim;
    hsize_t dim[MOST_DIMS];
    bool is_virtual;
    Source *source;
    int sources;
    int64_t offset, bytes; /* in the file, once laid out; a virtual dataset has no bytes */
} Dataset;

typedef struct {
    char *object, *name, *text; /* text NULL: an integer */
    int64_t integer;
} Attribute;

struct H5Writer {
    Dataset *dataset;
    Attribute *attribute;
    int datasets, attributes;
    int *order; /* datasets with bytes in this file, by rising offset */
    int ordered;
    H5Memory *memory;
};

/* Room for one more at the end of a list of n: it doubles at every power of two. */
static void *grow(void *list, int n, int64_t size) {
    return n & (n - 1) ? list : must_realloc(list, n ? 2 * (int64_t)n : 1, size);
}

/* -- declarations ----------------------------------------------------------------------------- */
H5Writer *h5_create(void) { return must_alloc(1, sizeof(H5Writer)); }

static void add_attribute(H5Writer *w, const char *object, const char *name, Attribute a) {
    a.object = must_strdup(object);
    a.name = must_strdup(name);
    w->attribute = grow(w->attribute, w->attributes, sizeof a);
    w->attribute[w->attributes++] = a;
}
void h5_attr_text(H5Writer *w, const char *object, const char *name, const char *value) {
    add_attribute(w, object, name, (Attribute){.text = must_strdup(value)});
}
void h5_attr_int(H5Writer *w, const char *object, const char *name, int64_t value) {
    add_attribute(w, object, name, (Attribute){.integer = value});
}

static int add_dataset(H5Writer *w, const char *path, Dtype dtype, int ndim, const int64_t *dim, bool is_virtual) {
    check(ndim >= 1 && ndim <= MOST_DIMS, "dataset %s has %d dims", path, ndim);
    Dataset d = {.path = must_strdup(path), .dtype = dtype, .ndim = ndim, .is_virtual = is_virtual};
    d.bytes = is_virtual ? 0 : dtype_bytes(dtype);
    for (int i = 0; i < ndim; i++) {
        check(dim[i] >= 0, "dataset %s has a dim of %lld", path, (long long)dim[i]);
        d.dim[i] = (hsize_t)dim[i];
        d.bytes *= dim[i];
    }
    w->dataset = grow(w->dataset, w->datasets, sizeof d);
    w->dataset[w->datasets] = d;
    return w->datasets++;
}
int h5_dataset(H5Writer *w, const char *path, Dtype dtype, int ndim, const int64_t *dim) {
    return add_dataset(w, path, dtype, ndim, dim, false);
}
int h5_virtual_dataset(H5Writer *w, const char *path, Dtype dtype, int ndim, const int64_t *dim) {
    return add_dataset(w, path, dtype, ndim, dim, true);
}
void h5_virtual_source(H5Writer *w, int dataset, const char *file, const char *path, int64_t first_row,
                       int64_t rows) {
    Dataset *d = &w->dataset[dataset];
    check(d->is_virtual && first_row >= 0 && rows > 0 && first_row + rows <= (int64_t)d->dim[0],
          "rows %lld + %lld are not rows of virtual dataset %s", (long long)first_row, (long long)rows, d->path);
    d->source = grow(d->source, d->sources, sizeof *d->source);
    d->source[d->sources++] = (Source){must_strdup(file), must_strdup(path), first_row, rows};
}

/* -- layout ----------------------------------------------------------------------------------- */
static hid_t without_times(hid_t class) {
    hid_t list = H5Pcreate(class);
    check(list >= 0 && H5Pset_obj_track_times(list, false) >= 0, "HDF5 makes no property list");
    return list;
}

static hid_t create_file(H5Memory *memory) {
    hid_t access = h5_memory_access(memory), creation = H5Pcreate(H5P_FILE_CREATE);
    check(creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0, "HDF5 makes no property list");
    hid_t file = H5Fcreate("memory", H5F_ACC_TRUNC, creation, access);
    H5Pclose(creation);
    H5Pclose(access);
    return file;
}

/* The groups on the way to a dataset are made one by one, since groups that HDF5 makes along the
 * way carry a time stamp. */
static bool create_groups(hid_t file, const char *path) {
    bool ok = true;
    char *prefix = must_strdup(path);
    for (char *slash = strchr(prefix, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (H5Lexists(file, prefix, H5P_DEFAULT) <= 0) {
            hid_t creation = without_times(H5P_GROUP_CREATE);
            hid_t group = H5Gcreate2(file, prefix, H5P_DEFAULT, creation, H5P_DEFAULT);
            ok = group >= 0 && H5Gclose(group) >= 0;
            H5Pclose(creation);
        }
        *slash = '/';
    }
    free(prefix);
    return ok;
}

static bool set_nan_fill(hid_t creation, Dtype dtype, hid_t type) {
    static const float nan32 = __builtin_nanf("");
    static const double nan64 = __builtin_nan("");
    static const uint16_t nan16 = 0x7FC1, nan_half = 0x7E01;
    const void *value = dtype == F32    ? (const void *)&nan32
                        : dtype == F64  ? (const void *)&nan64
                        : dtype == BF16 ? &nan16
                                        : &nan_half;
    check(dtype == F32 || dtype == F64 || dtype == BF16 || dtype == F16, "virtual datasets hold floats, not %s",
          dtype_name(dtype));
    return H5Pset_fill_value(creation, type, value) >= 0;
}

static bool map_source(hid_t creation, const Dataset *d, const Source *s) {
    hsize_t start[MOST_DIMS] = {(hsize_t)s->first_row}, count[MOST_DIMS];
    memcpy(count, d->dim, sizeof count);
    count[0] = (hsize_t)s->rows;
    hid_t whole = H5Screate_simple(d->ndim, d->dim, NULL), part = H5Screate_simple(d->ndim, count, NULL);
    bool ok = H5Sselect_hyperslab(whole, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
              H5Pset_virtual(creation, whole, s->file, s->path, part) >= 0;
    H5Sclose(whole);
    H5Sclose(part);
    return ok;
}

static bool set_storage(hid_t creation, const Dataset *d, hid_t type) {
    if (!d->is_virtual) /* its place is taken at once, and nothing is written there */
        return H5Pset_layout(creation, H5D_CONTIGUOUS) >= 0 &&
               H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0 &&
               H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0;
    bool ok = set_nan_fill(creation, d->dtype, type);
    for (int i = 0; ok && i < d->sources; i++) ok = map_source(creation, d, &d->source[i]);
    return ok;
}

static bool create_dataset(hid_t file, Dataset *d, Error *error) {
    hid_t type = h5_type_open(d->dtype), space = H5Screate_simple(d->ndim, d->dim, NULL);
    hid_t creation = without_times(H5P_DATASET_CREATE), set = -1;
    bool ok = create_groups(file, d->path) && set_storage(creation, d, type);
    if (ok) set = H5Dcreate2(file, d->path, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ok = set >= 0 || h5_fail(error, "cannot declare dataset %s", d->path);
    if (ok && d->bytes) d->offset = (int64_t)H5Dget_offset(set);
    if (set >= 0) H5Dclose(set);
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    return ok;
}

static hid_t attribute_type(const Attribute *a) {
    if (!a->text) return H5Tcopy(H5T_STD_I64LE);
    hid_t type = H5Tcopy(H5T_C_S1);
    check(type >= 0 && H5Tset_size(type, strlen(a->text) + 1) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0,
          "HDF5 cannot make a text type");
    return type;
}

static bool create_attribute(hid_t file, const Attribute *a, Error *error) {
    const void *value = a->text ? (const void *)a->text : &a->integer;
    hid_t type = attribute_type(a), space = H5Screate(H5S_SCALAR);
    hid_t made = H5Acreate_by_name(file, a->object, a->name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = (made >= 0 && H5Awrite(made, type, value) >= 0) ||
              h5_fail(error, "cannot declare attribute %s of %s", a->name, a->object);
    if (made >= 0) H5Aclose(made);
    H5Sclose(space);
    H5Tclose(type);
    return ok;
}

static int by_offset(const void *a, const void *b, void *datasets) {
    const Dataset *d = datasets;
    int64_t x = d[*(const int *)a].offset, y = d[*(const int *)b].offset;
    return (x > y) - (x < y);
}

static void sort_datasets(H5Writer *w) {
    w->order = must_alloc(w->datasets, sizeof *w->order);
    for (int i = 0; i < w->datasets; i++)
        if (w->dataset[i].bytes) w->order[w->ordered++] = i;
    qsort_r(w->order, (size_t)w->ordered, sizeof *w->order, by_offset, w->dataset);
}

bool h5_layout(H5Writer *w, Error *error) {
    h5_start();
    check(!w->memory, "h5_layout is called once");
    w->memory = h5_memory_open();
    hid_t file = create_file(w->memory);
    if (file < 0) return h5_fail(error, "cannot lay out a file");
    bool ok = true;
    for (int i = 0; ok && i < w->datasets; i++) ok = create_dataset(file, &w->dataset[i], error);
    for (int i = 0; ok && i < w->attributes; i++) ok = create_attribute(file, &w->attribute[i], error);
    if (H5Fclose(file) < 0 && ok) ok = h5_fail(error, "cannot lay out a file");
    sort_datasets(w);
    return ok;
}

int64_t h5_offset(const H5Writer *w, int dataset) { return w->dataset[dataset].offset; }
int64_t h5_bytes(const H5Writer *w, int dataset) { return w->dataset[dataset].bytes; }
int64_t h5_file_bytes(const H5Writer *w) { return h5_memory_bytes(w->memory); }

/* -- what lies between the datasets ------------------------------------------------------------- */
static bool put_gap(const H5Writer *w, int64_t from, int64_t to, H5Put *put, void *own) {
    char *buffer = must_alloc(GAP_BUFFER, 1);
    bool ok = true;
    for (int64_t part; ok && from < to; from += part) {
        part = min_i64(to - from, GAP_BUFFER);
        h5_memory_read(w->memory, from, buffer, part);
        ok = put(own, from, buffer, part);
    }
    free(buffer);
    return ok;
}

bool h5_metadata(const H5Writer *w, H5Put *put, void *own) {
    int64_t at = 0;
    for (int i = 0; i < w->ordered; i++) {
        const Dataset *d = &w->dataset[w->order[i]];
        if (at < d->offset && !put_gap(w, at, d->offset, put, own)) return false;
        at = d->offset + d->bytes;
    }
    return at >= h5_file_bytes(w) || put_gap(w, at, h5_file_bytes(w), put, own);
}

void h5_destroy(H5Writer *w) {
    for (int i = 0; i < w->datasets; i++) {
        Dataset *d = &w->dataset[i];
        for (int j = 0; j < d->sources; j++) free(d->source[j].file), free(d->source[j].path);
        free(d->source);
        free(d->path);
    }
    for (int i = 0; i < w->attributes; i++)
        free(w->attribute[i].object), free(w->attribute[i].name), free(w->attribute[i].text);
    if (w->memory) h5_memory_close(w->memory);
    free(w->dataset);
    free(w->attribute);
    free(w->order);
    free(w);
}
