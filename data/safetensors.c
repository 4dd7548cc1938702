/* safetensors.c - files mapped and their tensors in one sorted list; reading elements of them. */
#include "data/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/disk.h"
#include "data/safetensors_parse.h"

typedef struct {
    char *path;
    void *map;
    int64_t bytes;
} StFile;

struct Safetensors {
    char *path; /* as it was opened */
    StFile *file;
    int64_t files;
    StList list; /* of all files, sorted by name */
    int fd;      /* of the file that safetensors_bytes read last, -1 at first */
    char *fd_of;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const StTensor *)a)->name, ((const StTensor *)b)->name);
}

static bool map_file(StFile *f, Error *error) {
    int fd = disk_open(f->path, &f->bytes, error);
    if (fd < 0) return false;
    if (f->bytes > 0) f->map = mmap(NULL, (size_t)f->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    bool ok = f->map != MAP_FAILED;
    if (!ok) {
        f->map = NULL;
        fail(error, "%s: cannot map: %s", f->path, strerror(errno));
    }
    close(fd);
    return ok;
}

/* Takes over path. The tensors of the file join the list. */
static bool add_file(Safetensors *s, char *path, Error *error) {
    StList l;
    s->file = must_realloc(s->file, s->files + 1, sizeof *s->file);
    StFile *f = &s->file[s->files++];
    *f = (StFile){.path = path};
    if (!map_file(f, error) || !st_parse_file(&l, f->map, f->bytes, path, error)) return false;
    for (int64_t i = 0; i < l.count; i++) *st_list_add(&s->list) = l.tensor[i];
    free(l.tensor); /* the names moved on */
    return true;
}

static char *sibling(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return must_format("%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Each file that the index names, once. */
static bool add_shards(Safetensors *s, const StIndex *x, const char *path, Error *error) {
    char **names = must_alloc(x->count, sizeof *names);
    bool ok = true;
    for (int64_t i = 0; i < x->count; i++) names[i] = x->mapping[i].file;
    qsort(names, (size_t)x->count, sizeof *names, by_text);
    for (int64_t i = 0; ok && i < x->count; i++)
        if (i == 0 || strcmp(names[i - 1], names[i])) ok = add_file(s, sibling(path, names[i]), error);
    free(names);
    return ok;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The shards hold exactly what the index says, each tensor where it says. Both lists are sorted. */
static bool check_index(const Safetensors *s, const StIndex *x, const char *path, Error *error) {
    int64_t i = 0, k = 0;
    while (i < s->list.count || k < x->count) {
        const StTensor *t = i < s->list.count ? &s->list.tensor[i] : NULL;
        const StMapping *m = k < x->count ? &x->mapping[k] : NULL;
        int order = !t ? 1 : !m ? -1 : strcmp(t->name, m->tensor);
        if (order < 0) return fail(error, "%s: tensor %.160s is not in the weight_map of %s", t->file, t->name, path);
        if (order > 0) return fail(error, "%s: tensor %.160s is missing in %s", path, m->tensor, m->file);
        if (strcmp(base_name(t->file), m->file))
            return fail(error, "%s: tensor %.160s should be in %s, it is in %s", path, t->name, m->file, t->file);
        i++, k++;
    }
    return true;
}

static bool check_total(const Safetensors *s, const StIndex *x, const char *path, Error *error) {
    int64_t total = 0;
    for (int64_t i = 0; i < s->list.count; i++) total += s->list.tensor[i].bytes;
    return x->total_size < 0 || x->total_size == (double)total ||
           fail(error,
                "%s: metadata.total_size is %.0f, the tensors of its files have %lld bytes: they do not belong "
                "together",
                path, x->total_size, (long long)total);
}

static bool check_unique(const Safetensors *s, Error *error) {
    for (int64_t i = 1; i < s->list.count; i++)
        if (!by_name(&s->list.tensor[i - 1], &s->list.tensor[i]))
            return fail(error, "%s: tensor %.160s is also in %s", s->list.tensor[i].file, s->list.tensor[i].name,
                        s->list.tensor[i - 1].file);
    return true;
}

static bool open_index(Safetensors *s, const char *path, Error *error) {
    StIndex x;
    int64_t bytes;
    char *text = disk_read_file(path, ST_MAX_INDEX, &bytes, error);
    if (!text) return false;
    bool ok = st_parse_index(&x, text, bytes, path, error);
    free(text);
    if (!ok) return false;
    ok = add_shards(s, &x, path, error);
    if (ok && s->list.count) qsort(s->list.tensor, (size_t)s->list.count, sizeof(StTensor), by_name);
    ok = ok && check_unique(s, error) && check_index(s, &x, path, error) && check_total(s, &x, path, error);
    st_index_free(&x);
    return ok;
}

static bool open_file(Safetensors *s, const char *path, Error *error) {
    if (!add_file(s, must_strdup(path), error)) return false;
    if (s->list.count) qsort(s->list.tensor, (size_t)s->list.count, sizeof(StTensor), by_name);
    return true;
}

static bool open_folder(Safetensors *s, const char *folder, Error *error) {
    char *single = must_format("%s/model.safetensors", folder);
    char *index = must_format("%s/model.safetensors.index.json", folder);
    bool ok;
    if (disk_exists(single))
        ok = open_file(s, single, error);
    else if (disk_exists(index))
        ok = open_index(s, index, error);
    else
        ok = fail(error, "%s: neither model.safetensors nor model.safetensors.index.json is in this folder", folder);
    free(single);
    free(index);
    return ok;
}

Safetensors *safetensors_open(const char *path, Error *error) {
    Safetensors *s = must_alloc(1, sizeof *s);
    bool ok;
    s->fd = -1;
    s->path = must_strdup(path);
    if (disk_ends_with(path, ".json"))
        ok = open_index(s, path, error);
    else if (disk_is_folder(path))
        ok = open_folder(s, path, error);
    else
        ok = open_file(s, path, error);
    if (ok) return s;
    safetensors_close(s);
    return NULL;
}

void safetensors_close(Safetensors *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->files; i++) {
        if (s->file[i].map) munmap(s->file[i].map, (size_t)s->file[i].bytes);
        free(s->file[i].path);
    }
    if (s->fd >= 0) close(s->fd);
    st_list_free(&s->list);
    free(s->file);
    free(s->path);
    free(s);
}

const char *safetensors_path(const Safetensors *s) { return s->path; }
int64_t safetensors_count(const Safetensors *s) { return s->list.count; }

const StTensor *safetensors_at(const Safetensors *s, int64_t i) {
    check(i >= 0 && i < s->list.count, "tensor %lld of %lld", (long long)i, (long long)s->list.count);
    return &s->list.tensor[i];
}

const StTensor *safetensors_find(const Safetensors *s, const char *name) {
    if (s->list.count == 0) return NULL;
    return bsearch(&(StTensor){.name = name}, s->list.tensor, (size_t)s->list.count, sizeof(StTensor), by_name);
}

bool safetensors_dtype(const StTensor *t, Dtype *dtype) {
    static const Dtype of[] = {[ST_F64] = F64, [ST_F32] = F32, [ST_BF16] = BF16, [ST_F16] = F16,
                               [ST_I32] = I32, [ST_I64] = I64, [ST_U8] = U8};
    if (t->dtype == ST_OTHER) return false;
    *dtype = of[t->dtype];
    return true;
}

static const StFile *file_of(const Safetensors *s, const StTensor *t) {
    for (int64_t i = 0; i < s->files; i++)
        if (s->file[i].path == t->file) return &s->file[i];
    check(false, "tensor %s is of no file that is open", t->name);
}

/* By read, not through the map: its pages would count as this process's memory, and a disk that fails would kill it. */
bool safetensors_bytes(Safetensors *s, const StTensor *t, int64_t first, int64_t count, void *to, Error *error) {
    const StFile *f = file_of(s, t);
    int64_t bytes;
    check(first >= 0 && count >= 0 && first <= t->bytes - count, "bytes %lld + %lld of %lld of tensor %s",
          (long long)first, (long long)count, (long long)t->bytes, t->name);
    if (s->fd_of != f->path) {
        if (s->fd >= 0) close(s->fd);
        s->fd_of = f->path;
        s->fd = disk_open(f->path, &bytes, error);
    }
    if (s->fd < 0) return s->fd_of = NULL, false;
    return disk_read(s->fd, to, count, (const char *)t->data - (const char *)f->map + first, f->path, error);
}

static double float_element(const StTensor *t, int64_t i) {
    union {
        double d;
        float f;
        uint16_t h;
    } v;
    const char *p = t->data;
    switch (t->dtype) {
    case ST_F64: return memcpy(&v.d, p + 8 * i, 8), v.d;
    case ST_F32: return memcpy(&v.f, p + 4 * i, 4), (double)v.f;
    case ST_BF16: return memcpy(&v.h, p + 2 * i, 2), (double)bf16_to_float(v.h);
    default: return memcpy(&v.h, p + 2 * i, 2), (double)half_to_float(v.h);
    }
}

static int64_t integer_element(const StTensor *t, int64_t i) {
    union {
        int64_t l;
        int32_t i;
    } v;
    const char *p = t->data;
    switch (t->dtype) {
    case ST_I64: return memcpy(&v.l, p + 8 * i, 8), v.l;
    case ST_I32: return memcpy(&v.i, p + 4 * i, 4), v.i;
    default: return (unsigned char)p[i];
    }
}

static bool is_float(StDtype d) { return d == ST_F64 || d == ST_F32 || d == ST_BF16 || d == ST_F16; }
static bool is_integer(StDtype d) { return d == ST_I32 || d == ST_I64 || d == ST_U8; }

static bool read_floats(const StTensor *t, Dtype dtype, int64_t first, int64_t count, void *to, Error *error) {
    if (!is_float(t->dtype))
        return fail(error, "%s: tensor %.160s does not hold F64, F32, BF16 or F16 numbers", t->file, t->name);
    if (t->dtype == ST_F32 && dtype == F32) {
        memcpy(to, (const char *)t->data + 4 * first, (size_t)(4 * count));
        return true;
    }
    for (int64_t i = 0; i < count; i++) {
        double value = float_element(t, first + i);
        if (dtype == F32)
            ((float *)to)[i] = (float)value;
        else
            ((double *)to)[i] = value;
    }
    return true;
}

static bool read_integers(const StTensor *t, Dtype dtype, int64_t first, int64_t count, void *to, Error *error) {
    if (!is_integer(t->dtype))
        return fail(error, "%s: tensor %.160s does not hold I64, I32 or U8 numbers", t->file, t->name);
    for (int64_t i = 0; i < count; i++) {
        int64_t value = integer_element(t, first + i);
        if (dtype == I64) {
            ((int64_t *)to)[i] = value;
            continue;
        }
        if (value < INT32_MIN || value > INT32_MAX)
            return fail(error, "%s: tensor %.160s: element %lld is %lld, beyond 32 bits", t->file, t->name,
                        (long long)(first + i), (long long)value);
        ((int32_t *)to)[i] = (int32_t)value;
    }
    return true;
}

bool safetensors_read(const StTensor *t, Dtype dtype, int64_t first, int64_t count, void *to, Error *error) {
    check(first >= 0 && count >= 0 && first <= t->count - count, "elements %lld + %lld of %lld of tensor %s",
          (long long)first, (long long)count, (long long)t->count, t->name);
    check(dtype == F32 || dtype == F64 || dtype == I32 || dtype == I64, "tensors are not read as %s",
          dtype_name(dtype));
    if (dtype == F32 || dtype == F64) return read_floats(t, dtype, first, count, to, error);
    return read_integers(t, dtype, first, count, to, error);
}
