/* h5_memory.c - an HDF5 file driver over sparse memory pages.
 *
 * HDF5 1.10 cannot be trusted with a disk that fails: after one ENOSPC most ways out of the library
 * crash (RELIABILITY section 2.3). So it only ever writes to memory here, and since our datasets
 * are never filled, what it writes is metadata: a few pages per thousand datasets. */
#include "data/h5_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, FIRST_SLOTS = 256 };

typedef struct {
    uint64_t number;
    unsigned char *bytes;
} Page; /* bytes NULL: a free slot */

struct H5Memory {
    Page *slot; /* open hashing by page number; slots is a power of two */
    uint64_t slots, used;
    haddr_t allocated, written; /* HDF5's end of allocation and end of file */
};

typedef struct {
    H5FD_t base;
    H5Memory *memory;
} MemoryFile;

/* -- pages ------------------------------------------------------------------------------------ */
static Page *find(const H5Memory *m, uint64_t number) {
    uint64_t i = number * 0x9E3779B97F4A7C15u >> 32 & (m->slots - 1);
    while (m->slot[i].bytes && m->slot[i].number != number) i = (i + 1) & (m->slots - 1);
    return &m->slot[i];
}

static void double_slots(H5Memory *m) {
    H5Memory old = *m;
    m->slots *= 2;
    m->slot = must_alloc((int64_t)m->slots, sizeof *m->slot);
    for (uint64_t i = 0; i < old.slots; i++)
        if (old.slot[i].bytes) *find(m, old.slot[i].number) = old.slot[i];
    free(old.slot);
}

static unsigned char *page_to_write(H5Memory *m, uint64_t number) {
    Page *page = find(m, number);
    if (page->bytes) return page->bytes;
    if (m->used * 2 >= m->slots) {
        double_slots(m);
        page = find(m, number);
    }
    m->used++;
    *page = (Page){number, must_alloc(PAGE, 1)};
    return page->bytes;
}

H5Memory *h5_memory_open(void) {
    H5Memory *m = must_alloc(1, sizeof *m);
    m->slots = FIRST_SLOTS;
    m->slot = must_alloc(FIRST_SLOTS, sizeof *m->slot);
    return m;
}

void h5_memory_close(H5Memory *m) {
    for (uint64_t i = 0; i < m->slots; i++) free(m->slot[i].bytes);
    free(m->slot);
    free(m);
}

int64_t h5_memory_bytes(const H5Memory *m) { return (int64_t)m->allocated; }

void h5_memory_read(const H5Memory *m, int64_t offset, void *bytes, int64_t count) {
    for (char *to = bytes; count > 0;) {
        int64_t inside = offset % PAGE, part = min_i64(count, PAGE - inside);
        const unsigned char *page = find(m, (uint64_t)(offset / PAGE))->bytes;
        if (page)
            memcpy(to, page + inside, (size_t)part);
        else
            memset(to, 0, (size_t)part);
        to += part, offset += part, count -= part;
    }
}

static void memory_write(H5Memory *m, int64_t offset, const void *bytes, int64_t count) {
    m->written = (haddr_t)max_i64((int64_t)m->written, offset + count);
    for (const char *from = bytes; count > 0;) {
        int64_t inside = offset % PAGE, part = min_i64(count, PAGE - inside);
        memcpy(page_to_write(m, (uint64_t)(offset / PAGE)) + inside, from, (size_t)part);
        from += part, offset += part, count -= part;
    }
}

/* -- the driver ------------------------------------------------------------------------------- */
static H5Memory *memory_of(const H5FD_t *file) { return ((const MemoryFile *)(const void *)file)->memory; }

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t most) {
    (void)name, (void)flags, (void)most;
    MemoryFile *file = must_alloc(1, sizeof *file);
    file->memory = *(H5Memory *const *)H5Pget_driver_info(access);
    return &file->base;
}
static herr_t driver_close(H5FD_t *file) {
    free(file); /* the pages stay: they are what we came for */
    return 0;
}
static herr_t driver_query(const H5FD_t *file, unsigned long *flags) {
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA;
    return 0;
}
static haddr_t driver_get_eoa(const H5FD_t *file, H5FD_mem_t type) { return (void)type, memory_of(file)->allocated; }
static herr_t driver_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t end) {
    (void)type;
    memory_of(file)->allocated = end;
    return 0;
}
static haddr_t driver_get_eof(const H5FD_t *file, H5FD_mem_t type) { return (void)type, memory_of(file)->written; }
static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t how, haddr_t at, size_t count, void *bytes) {
    (void)type, (void)how;
    h5_memory_read(memory_of(file), (int64_t)at, bytes, (int64_t)count);
    return 0;
}
static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t how, haddr_t at, size_t count, const void *bytes) {
    (void)type, (void)how;
    memory_write(memory_of(file), (int64_t)at, bytes, (int64_t)count);
    return 0;
}
static herr_t driver_truncate(H5FD_t *file, hid_t how, hbool_t closing) {
    (void)how, (void)closing;
    memory_of(file)->written = memory_of(file)->allocated;
    return 0;
}

static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 13, 2) /* from here on the struct says which edition it is */
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)600,
#endif
    .name = "dsv2 memory",
    .maxaddr = (haddr_t)1 << 62,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(H5Memory *),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_get_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_get_eof,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t h5_memory_access(H5Memory *m) {
    static hid_t id; /* registered once for the process */
    if (!id) id = H5FDregister(&driver);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    check(id > 0 && access >= 0 && H5Pset_driver(access, id, &m) >= 0 &&
              H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0,
          "HDF5 does not take our file driver");
    return access;
}
