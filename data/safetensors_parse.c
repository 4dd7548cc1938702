/* safetensors_parse.c - header and layout of a .safetensors file, weight_map of an index.
 *
 * A file is: 8 bytes length N, N bytes JSON {name: {dtype, shape, data_offsets}, ...}, data. The data
 * must be tiled exactly: sorted by offset, each tensor begins where the one before ends, the first
 * at 0, the last at the end; so two readers cannot see different tensors, and nothing hides. */
#include "data/safetensors_parse.h"

#include <stdlib.h>
#include <string.h>

/* One tensor while its entry is read. */
typedef struct {
    StTensor tensor;
    int64_t element, begin, end;
    bool dtype, shape, offsets; /* seen */
} Entry;

typedef struct {
    StList *list;
    const char *data;
    int64_t room;
    bool metadata;
} Header; /* room: bytes of data */

int64_t st_dtype_bytes(const char *name, StDtype *dtype) {
    static const struct {
        const char *name;
        StDtype dtype;
        int bytes;
    } table[] = {{"F64", ST_F64, 8},      {"F32", ST_F32, 4},   {"BF16", ST_BF16, 2},     {"F16", ST_F16, 2},
                 {"I32", ST_I32, 4},      {"I64", ST_I64, 8},   {"U8", ST_U8, 1},         {"I8", ST_OTHER, 1},
                 {"I16", ST_OTHER, 2},    {"U16", ST_OTHER, 2}, {"U32", ST_OTHER, 4},     {"U64", ST_OTHER, 8},
                 {"BOOL", ST_OTHER, 1},   {"C64", ST_OTHER, 8}, {"F8_E4M3", ST_OTHER, 1}, {"F8_E5M2", ST_OTHER, 1},
                 {"F8_E8M0", ST_OTHER, 1}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(name, table[i].name)) {
            *dtype = table[i].dtype;
            return table[i].bytes;
        }
    return 0;
}

StTensor *st_list_add(StList *l) {
    if (l->count == l->room) {
        l->room = max_i64(64, 2 * l->room);
        l->tensor = must_realloc(l->tensor, l->room, sizeof *l->tensor);
    }
    StTensor *t = &l->tensor[l->count++];
    *t = (StTensor){0};
    return t;
}

void st_list_free(StList *l) {
    for (int64_t i = 0; i < l->count; i++) free((char *)(uintptr_t)l->tensor[i].name);
    free(l->tensor);
    *l = (StList){0};
}

static bool read_dtype(Entry *e, Json *j) {
    char *word = json_name(j, ST_MAX_NAME);
    if (!word) return false;
    e->element = st_dtype_bytes(word, &e->tensor.dtype);
    bool ok = e->element > 0 ||
              fail(j->error, "%s: tensor %.160s: dtype '%.40s' is not known", j->name, e->tensor.name, word);
    free(word);
    return ok;
}

static bool read_shape(Entry *e, Json *j) {
    StTensor *t = &e->tensor;
    if (!json_expect(j, '[')) return false;
    if (json_take(j, ']')) return true;
    do {
        if (t->ndim == ST_MAX_DIMS)
            return fail(j->error, "%s: tensor %.160s has more than %d dims", j->name, t->name, ST_MAX_DIMS);
        if (!json_count(j, &t->dim[t->ndim++])) return false;
    } while (json_take(j, ','));
    return json_expect(j, ']');
}

static bool read_offsets(Entry *e, Json *j) {
    return json_expect(j, '[') && json_count(j, &e->begin) && json_expect(j, ',') && json_count(j, &e->end) &&
           json_expect(j, ']');
}

static bool see_field(void *own, Json *j, char *key) {
    static const struct {
        const char *key;
        size_t seen;
        bool (*read)(Entry *, Json *);
    } fields[] = {{"dtype", offsetof(Entry, dtype), read_dtype},
                  {"shape", offsetof(Entry, shape), read_shape},
                  {"data_offsets", offsetof(Entry, offsets), read_offsets}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(key, fields[i].key)) continue;
        bool *seen = (bool *)((char *)own + fields[i].seen);
        if (*seen) return json_fail(j, "a key twice in one tensor's entry");
        *seen = true;
        return fields[i].read(own, j);
    }
    return fail(j->error, "%s: tensor %.160s: '%.80s' is no key of a tensor", j->name, ((Entry *)own)->tensor.name,
                key);
}

/* Elements by shape, and that shape, dtype and place agree. */
static bool check_entry(Entry *e, const Header *h, const Json *j) {
    StTensor *t = &e->tensor;
    t->count = 1;
    if (!e->dtype || !e->shape || !e->offsets)
        return fail(j->error, "%s: tensor %.160s lacks %s", j->name, t->name,
                    !e->dtype   ? "dtype"
                    : !e->shape ? "shape"
                                : "data_offsets");
    for (int i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(t->count, t->dim[i], &t->count))
            return fail(j->error, "%s: tensor %.160s: the product of its shape overflows", j->name, t->name);
    if (__builtin_mul_overflow(t->count, e->element, &t->bytes))
        return fail(j->error, "%s: tensor %.160s: the product of its shape overflows", j->name, t->name);
    if (e->begin > e->end || e->end > h->room)
        return fail(j->error, "%s: tensor %.160s: data_offsets [%lld, %lld] do not lie within the %lld bytes of data",
                    j->name, t->name, (long long)e->begin, (long long)e->end, (long long)h->room);
    if (e->end - e->begin != t->bytes)
        return fail(j->error, "%s: tensor %.160s: shape and dtype take %lld bytes, data_offsets give %lld", j->name,
                    t->name, (long long)t->bytes, (long long)(e->end - e->begin));
    t->data = h->data + e->begin;
    return true;
}

static bool see_text(void *own, Json *j, char *key) {
    (void)own, (void)key;
    return json_peek(j) == '"' ? json_skip(j, 0) : json_fail(j, "__metadata__ may hold strings only");
}

static bool see_tensor(void *own, Json *j, char *key) {
    Header *h = own;
    if (!strcmp(key, "__metadata__")) {
        if (h->metadata) return json_fail(j, "__metadata__ twice");
        h->metadata = true;
        return json_members(j, see_text, NULL);
    }
    if (!*key) return json_fail(j, "a tensor without a name");
    Entry e = {.tensor = {.name = key, .file = j->name}};
    if (!json_members(j, see_field, &e) || !check_entry(&e, h, j)) return false;
    e.tensor.name = must_strdup(key);
    *st_list_add(h->list) = e.tensor;
    return true;
}

static int by_place(const void *a, const void *b) {
    const StTensor *x = a, *y = b;
    if (x->data != y->data) return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return (x->bytes > 0) - (y->bytes > 0); /* empty ones first where they meet */
}

static int by_pointed_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool check_tiling(const StList *l, const Header *h, const char *name, Error *error) {
    const char *end = h->data;
    for (int64_t i = 0; i < l->count; i++) {
        const StTensor *t = &l->tensor[i];
        const char *begin = t->data;
        if (begin != end)
            return fail(error,
                        "%s: tensor %.160s %s: it begins at byte %lld of the data, the one before ends at %lld", name,
                        t->name, begin < end ? "overlaps another" : "leaves a hole before it",
                        (long long)(begin - h->data), (long long)(end - h->data));
        end = begin + t->bytes;
    }
    return end == h->data + h->room || fail(error, "%s: bytes without a tensor at the end", name);
}

static bool check_names(const StList *l, const char *name, Error *error) {
    const char **names = must_alloc(l->count, sizeof *names);
    bool ok = true;
    for (int64_t i = 0; i < l->count; i++) names[i] = l->tensor[i].name;
    qsort(names, (size_t)l->count, sizeof *names, by_pointed_name);
    for (int64_t i = 1; ok && i < l->count; i++)
        if (!strcmp(names[i - 1], names[i])) ok = fail(error, "%s: tensor %.160s is there twice", name, names[i]);
    free(names);
    return ok;
}

static bool check_list(StList *l, const Header *h, const char *name, Error *error) {
    if (l->count) qsort(l->tensor, (size_t)l->count, sizeof *l->tensor, by_place);
    return check_names(l, name, error) && check_tiling(l, h, name, error);
}

bool st_parse_file(StList *l, const void *file, int64_t bytes, const char *name, Error *error) {
    const unsigned char *p = file;
    uint64_t length = 0;
    *l = (StList){0};
    if (bytes < 8) return fail(error, "%s: %lld bytes, a safetensors file has at least 8", name, (long long)bytes);
    for (int i = 7; i >= 0; i--) length = length << 8 | p[i];
    if (length > ST_MAX_HEADER || length > (uint64_t)bytes - 8)
        return fail(error, "%s: a header of %llu bytes does not fit (file: %lld bytes, longest header: %d)", name,
                    (unsigned long long)length, (long long)bytes, ST_MAX_HEADER);
    Json j = {.text = (const char *)p + 8, .name = name, .end = (int64_t)length, .base = 8, .error = error};
    Header h = {.list = l, .data = j.text + length, .room = bytes - 8 - (int64_t)length};
    if (length == 0 || j.text[0] != '{') return fail(error, "%s: the header does not begin with '{'", name);
    if (json_members(&j, see_tensor, &h) && json_end(&j) && check_list(l, &h, name, error)) return true;
    st_list_free(l);
    return false;
}

bool safetensors_check(const void *file, int64_t bytes, const char *name, Error *error) {
    StList l;
    bool ok = st_parse_file(&l, file, bytes, name, error);
    if (ok) st_list_free(&l);
    return ok;
}

void st_index_free(StIndex *x) {
    for (int64_t i = 0; i < x->count; i++) {
        free(x->mapping[i].tensor);
        free(x->mapping[i].file);
    }
    free(x->mapping);
    *x = (StIndex){0};
}

/* A file of an index lies in the folder of the index, nowhere else. */
static bool plain_name(const char *file) {
    int64_t length = (int64_t)strlen(file);
    return length > 12 && length < 256 && file[0] != '.' && !strpbrk(file, "/\\") &&
           !strcmp(file + length - 12, ".safetensors");
}

static bool see_mapping(void *own, Json *j, char *key) {
    StIndex *x = own;
    char *file = json_name(j, ST_MAX_NAME);
    if (!file) return false;
    if (!plain_name(file)) {
        fail(j->error,
             "%s: weight_map gives '%.160s' for tensor %.160s; a plain name ending in .safetensors is allowed",
             j->name, file, key);
        free(file);
        return false;
    }
    if (x->count == x->room) {
        x->room = max_i64(256, 2 * x->room);
        x->mapping = must_realloc(x->mapping, x->room, sizeof *x->mapping);
    }
    x->mapping[x->count++] = (StMapping){must_strdup(key), file};
    return true;
}

typedef struct {
    StIndex *index;
    bool seen;
} IndexTop;

/* A whole number, or one that some writers spell 31412968448.0; whatever else metadata may hold is not looked at. */
static bool see_metadata(void *own, Json *j, char *key) {
    StIndex *x = own;
    char text[32] = "", *end;
    json_peek(j);
    int64_t first = j->at;
    if (!json_skip(j, 1)) return false;
    if (strcmp(key, "total_size") || j->text[first] == '{' || j->text[first] == '[') return true;
    if (x->total_size >= 0) return json_fail(j, "total_size twice");
    memcpy(text, j->text + first, (size_t)min_i64(j->at - first, (int64_t)sizeof text - 1));
    x->total_size = strtod(text, &end);
    return (end > text && !*end && x->total_size >= 0) || json_fail(j, "total_size is not a number of bytes");
}

static bool see_index_key(void *own, Json *j, char *key) {
    IndexTop *top = own;
    if (!strcmp(key, "metadata") && json_peek(j) == '{') return json_members(j, see_metadata, top->index);
    if (strcmp(key, "weight_map")) return json_skip(j, 0);
    if (top->seen) return json_fail(j, "weight_map twice");
    top->seen = true;
    return json_members(j, see_mapping, top->index);
}

static int by_tensor(const void *a, const void *b) {
    return strcmp(((const StMapping *)a)->tensor, ((const StMapping *)b)->tensor);
}

static bool check_mappings(StIndex *x, const char *name, Error *error) {
    if (x->count == 0) return fail(error, "%s: no weight_map, or an empty one", name);
    qsort(x->mapping, (size_t)x->count, sizeof *x->mapping, by_tensor);
    for (int64_t i = 1; i < x->count; i++)
        if (!by_tensor(&x->mapping[i - 1], &x->mapping[i]))
            return fail(error, "%s: tensor %.160s is in weight_map twice", name, x->mapping[i].tensor);
    return true;
}

bool st_parse_index(StIndex *x, const char *text, int64_t bytes, const char *name, Error *error) {
    Json j = {.text = text, .name = name, .end = bytes, .error = error};
    IndexTop top = {.index = x};
    *x = (StIndex){.total_size = -1};
    if (json_members(&j, see_index_key, &top) && json_end(&j) && check_mappings(x, name, error)) return true;
    st_index_free(x);
    return false;
}
