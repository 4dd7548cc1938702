/* test_h5.c - our HDF5 files are plain ones that say the same every time, and a stranger's file can
 * neither lead elsewhere nor bring the program down. */
#include "data/disk.h"
#include "data/h5.h"
#include "tests/test.h"

#include <hdf5.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path_of(const char *name) {
    static char path[4][300];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, 300, "%s/%s", test_folder(), name);
    return p;
}

/* -- writing ---------------------------------------------------------------------------------- */
typedef struct {
    int fd;
    int64_t end; /* of the last piece */
    bool rising;
} Target;

static bool put(void *own, int64_t offset, const void *bytes, int64_t count) {
    Target *t = own;
    Error error;
    t->rising = t->rising && offset >= t->end && count > 0;
    t->end = offset + count;
    return disk_write(t->fd, bytes, count, offset, "test", &error);
}

/* Writes metadata, and 1, 2, 3 ... (mod 100) as bytes of every dataset. */
static void write_all(H5Writer *w, const char *file, const int *dataset, const int64_t *bytes, int n) {
    Error error;
    Target t = {.fd = disk_create(file, &error), .rising = true};
    expect(h5_layout(w, &error), "%s", error.text);
    expect(t.fd >= 0 && h5_metadata(w, put, &t) && t.rising, "metadata comes in rising order");
    for (int i = 0; i < n; i++)
        for (int64_t b = 0; b < bytes[i]; b++) {
            unsigned char byte = (unsigned char)((b + i + 1) % 100);
            expect(disk_write(t.fd, &byte, 1, h5_offset(w, dataset[i]) + b, file, &error), "%s", error.text);
        }
    expect(!close(t.fd), "close");
    h5_destroy(w);
}

static const Dtype dtypes[] = {F64, F32, BF16, F16, I32, I64, U8, U16};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static void write_sample(const char *file) {
    H5Writer *w = h5_create();
    int dataset[DTYPES];
    int64_t bytes[DTYPES];
    for (int i = 0; i < DTYPES; i++) {
        char path[60];
        int64_t dim[2] = {3 + i, 7};
        snprintf(path, sizeof path, "group/inner/%s", dtype_name(dtypes[i]));
        dataset[i] = h5_dataset(w, path, dtypes[i], 2, dim);
        bytes[i] = dim[0] * dim[1] * dtype_bytes(dtypes[i]);
    }
    h5_dataset(w, "empty", I32, 1, (int64_t[]){0});
    h5_attr_text(w, "/", "words", "two\nlines");
    h5_attr_text(w, "group/inner/u8", "nothing", "");
    h5_attr_int(w, "empty", "number", -5);
    write_all(w, file, dataset, bytes, DTYPES);
}

static void check_sample(const char *file) {
    Error error;
    H5Reader *r = h5_open(file, &error);
    expect(r, "%s", error.text);
    for (int i = 0; r && i < DTYPES; i++) {
        char path[60];
        unsigned char data[800];
        Dtype dtype = F64;
        int ndim = 0;
        int64_t dim[4] = {0}, size = dtype_bytes(dtypes[i]);
        snprintf(path, sizeof path, "group/inner/%s", dtype_name(dtypes[i]));
        expect(h5_shape(r, path, &dtype, &ndim, dim, &error), "%s", error.text);
        expect(dtype == dtypes[i] && ndim == 2 && dim[0] == 3 + i && dim[1] == 7, "%s", path);
        expect(h5_read(r, path, dtypes[i], 5, 4, data, &error), "%s", error.text);
        for (int64_t b = 0; b < 4 * size; b++)
            expect(data[b] == (5 * size + b + i + 1) % 100, "%s byte %d", path, (int)b);
    }
    if (r) h5_close(r);
}

static void test_round_trip(void) {
    const char *file = path_of("sample.h5");
    write_sample(file);
    check_sample(file);
    char *text;
    int64_t number;
    Error error;
    H5Reader *r = h5_open(file, &error);
    expect(h5_read_attr_text(r, "/", "words", &text, &error) && !strcmp(text, "two\nlines"), "text");
    free(text);
    expect(h5_read_attr_text(r, "group/inner/u8", "nothing", &text, &error) && !*text, "empty text");
    free(text);
    expect(h5_read_attr_int(r, "empty", "number", &number, &error) && number == -5, "number");
    expect(h5_read(r, "empty", I32, 0, 0, NULL, &error), "%s", error.text);
    expect(h5_has(r, "group") && h5_has(r, "group/inner/f32") && !h5_has(r, "group/f32") && !h5_has(r, ""), "h5_has");
    h5_close(r);
}

static void test_misuse(void) {
    static const struct {
        const char *path;
        Dtype dtype;
        int64_t first, count;
        const char *message;
    } cases[] = {{"group/inner/f32", F64, 0, 1, "holds f32, f64 is wanted"},
                 {"group/inner/f32", F32, 0, 29, "has 28 elements, not 0 + 29"},
                 {"group/inner/f32", F32, -1, 1, "has 28 elements"},
                 {"group/inner/f32", F32, INT64_MAX, 2, "has 28 elements"},
                 {"group/inner", F32, 0, 1, "is a group, no dataset"},
                 {"group/inner/f32/more", F32, 0, 1, "has no dataset"},
                 {"nowhere", F32, 0, 1, "has no dataset nowhere"}};
    Error error;
    char data[400], *text;
    int64_t number;
    write_sample(path_of("sample.h5"));
    H5Reader *r = h5_open(path_of("sample.h5"), &error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool ok = h5_read(r, cases[i].path, cases[i].dtype, cases[i].first, cases[i].count, data, &error);
        expect(!ok && strstr(error.text, cases[i].message) && strstr(error.text, "sample.h5"), "case %zu: %s", i,
               error.text);
    }
    expect(!h5_read_attr_int(r, "/", "words", &number, &error) && strstr(error.text, "not a 64-bit integer"), "%s",
           error.text);
    expect(!h5_read_attr_text(r, "empty", "number", &text, &error) && strstr(error.text, "not a plain text"), "%s",
           error.text);
    expect(!h5_read_attr_text(r, "/", "absent", &text, &error) && strstr(error.text, "no attribute absent"), "%s",
           error.text);
    h5_close(r);
}

static bool count_path(void *own, const char *path) {
    int *n = own;
    (*n)++;
    return *path != 0;
}

static void test_each(void) {
    int n = 0;
    Error error;
    write_sample(path_of("sample.h5"));
    H5Reader *r = h5_open(path_of("sample.h5"), &error);
    expect(h5_each(r, count_path, &n, &error) && n == DTYPES + 1, "%d datasets", n);
    h5_close(r);
}

/* bf16 as others see it: the library converts it to the floats that it stands for. */
static void test_bf16_for_others(void) {
    H5Writer *w = h5_create();
    int id = h5_dataset(w, "x", BF16, 1, (int64_t[]){4});
    Error error;
    Target t = {.fd = disk_create(path_of("bf16.h5"), &error), .rising = true};
    uint16_t stored[4] = {float_to_bf16(1.5f), float_to_bf16(-3e38f), float_to_bf16(1e-30f), 0};
    float seen[4] = {0};
    expect(h5_layout(w, &error) && h5_metadata(w, put, &t), "%s", error.text);
    expect(disk_write(t.fd, stored, sizeof stored, h5_offset(w, id), "bf16.h5", &error), "%s", error.text);
    close(t.fd);
    h5_destroy(w);
    hid_t file = H5Fopen(path_of("bf16.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "x", H5P_DEFAULT);
    expect(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, seen) >= 0, "HDF5 cannot convert");
    for (int i = 0; i < 4; i++)
        expect(seen[i] == bf16_to_float(stored[i]), "%g, not %g", seen[i], bf16_to_float(stored[i]));
    H5Dclose(set);
    H5Fclose(file);
}

/* Rows 0 and 1 live in another file, row 2 nowhere: NaN. */
static void test_virtual(void) {
    H5Writer *w = h5_create();
    int id = h5_dataset(w, "f", F32, 2, (int64_t[]){2, 3}), v;
    int64_t bytes = 24;
    write_all(w, path_of("f.h5"), &id, &bytes, 1);
    w = h5_create();
    v = h5_virtual_dataset(w, "all", F32, 2, (int64_t[]){3, 3});
    h5_virtual_source(w, v, "f.h5", "f", 0, 2);
    write_all(w, path_of("master.h5"), NULL, NULL, 0);
    float seen[9];
    hid_t file = H5Fopen(path_of("master.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "all", H5P_DEFAULT);
    expect(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, seen) >= 0, "HDF5 cannot read it");
    unsigned char first[4] = {1, 2, 3, 4};
    expect(!memcmp(seen, first, 4), "the source's bytes");
    expect(seen[6] != seen[6] && seen[8] != seen[8] && seen[5] == seen[5], "NaN where nothing is mapped");
    H5Dclose(set);
    H5Fclose(file);
    Error error;
    H5Reader *r = h5_open(path_of("master.h5"), &error);
    expect(!h5_read(r, "all", F32, 0, 1, seen, &error) && strstr(error.text, "is virtual"), "%s", error.text);
    h5_close(r);
}

/* -- a stranger's files ------------------------------------------------------------------------- */
static hid_t stranger_open(H5F_libver_t low) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, low, low == H5F_LIBVER_EARLIEST ? H5F_LIBVER_LATEST : low);
    unlink(path_of("strange.h5"));
    hid_t file = H5Fcreate(path_of("strange.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    return file;
}

static void make_set(hid_t file, hid_t creation, hid_t type) {
    hsize_t dim[1] = {8};
    hid_t space = H5Screate_simple(1, dim, NULL),
          set = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    expect(set >= 0, "the stranger cannot make it");
    H5Dclose(set);
    H5Sclose(space);
}

static void strange_plain(hid_t file) { make_set(file, H5P_DEFAULT, H5T_STD_I32LE); }
static void strange_soft(hid_t file) { H5Lcreate_soft("/elsewhere", file, "x", H5P_DEFAULT, H5P_DEFAULT); }
static void strange_external_link(hid_t file) {
    H5Lcreate_external("sample.h5", "/empty", file, "x", H5P_DEFAULT, H5P_DEFAULT);
}
static void strange_external_data(hid_t file) {
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(creation, "/etc/passwd", 0, 32);
    make_set(file, creation, H5T_STD_I32LE);
    H5Pclose(creation);
}
static void strange_filter(hid_t file) {
    hsize_t chunk[1] = {4};
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 1, chunk);
    H5Pset_shuffle(creation);
    make_set(file, creation, H5T_STD_I32LE);
    H5Pclose(creation);
}
static void strange_chunks(hid_t file) {
    hsize_t chunk[1] = {4};
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 1, chunk);
    make_set(file, creation, H5T_STD_I32LE);
    H5Pclose(creation);
}
static void strange_vlen(hid_t file) {
    hid_t type = H5Tvlen_create(H5T_STD_I32LE);
    make_set(file, H5P_DEFAULT, type);
    H5Tclose(type);
}
static void strange_reference(hid_t file) { make_set(file, H5P_DEFAULT, H5T_STD_REF_OBJ); }
static void strange_big_endian(hid_t file) { make_set(file, H5P_DEFAULT, H5T_STD_I32BE); }
static void strange_scalar(hid_t file) {
    hid_t space = H5Screate(H5S_SCALAR),
          set = H5Dcreate2(file, "x", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(set);
    H5Sclose(space);
}

static void test_strangers(void) {
    static const struct {
        void (*make)(hid_t);
        H5F_libver_t version;
        const char *message;
    } cases[] = {{strange_plain, H5F_LIBVER_EARLIEST, "superblock 0"},
                 {strange_plain, H5F_LIBVER_V110, "was never written"},
                 {strange_soft, H5F_LIBVER_V110, "has no dataset x"},
                 {strange_external_link, H5F_LIBVER_V110, "has no dataset x"},
                 {strange_external_data, H5F_LIBVER_V110, "lies in other files"},
                 {strange_filter, H5F_LIBVER_V110, "is compressed"},
                 {strange_chunks, H5F_LIBVER_V110, "is not contiguous"},
                 {strange_vlen, H5F_LIBVER_V110, "its type is none of"},
                 {strange_reference, H5F_LIBVER_V110, "its type is none of"},
                 {strange_big_endian, H5F_LIBVER_V110, "its type is none of"},
                 {strange_scalar, H5F_LIBVER_V110, "0 dims"}};
    write_sample(path_of("sample.h5"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hid_t file = stranger_open(cases[i].version);
        Error error = {0};
        int32_t data[8];
        cases[i].make(file);
        H5Fclose(file);
        H5Reader *r = h5_open(path_of("strange.h5"), &error);
        bool ok = r && h5_read(r, "x", I32, 0, 1, data, &error);
        expect(!ok && strstr(error.text, cases[i].message) && strstr(error.text, "strange.h5"), "case %zu: %s", i,
               error.text);
        if (r) h5_close(r);
    }
}

static void test_links_are_refused(void) {
    int n = 0;
    Error error;
    hid_t file = stranger_open(H5F_LIBVER_V110);
    strange_external_link(file);
    H5Fclose(file);
    H5Reader *r = h5_open(path_of("strange.h5"), &error);
    expect(!h5_each(r, count_path, &n, &error) && strstr(error.text, "link that leads elsewhere"), "%s", error.text);
    h5_close(r);
}

static void test_no_hdf5_file(void) {
    static const struct {
        const char *bytes, *message;
    } cases[] = {{"", "0 bytes are no HDF5 file"},
                 {"hello", "5 bytes are no HDF5 file"},
                 {"a text that is long enough to be a file of that kind, but no more", "wrong first bytes"},
                 {"\x89HDF\r\n\x1a\n\x03 and then nothing of what should be in such a file", "damaged or cut off"}};
    Error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *file = path_of("text.h5");
        expect(disk_write_file(file, cases[i].bytes, (int64_t)strlen(cases[i].bytes), &error), "%s", error.text);
        expect(!h5_open(file, &error) && strstr(error.text, cases[i].message), "case %zu: %s", i, error.text);
    }
    expect(!h5_open(path_of("absent.h5"), &error) && strstr(error.text, "cannot open"), "%s", error.text);
    expect(!h5_open(test_folder(), &error) && strstr(error.text, "not a plain file"), "%s", error.text);
}

/* Looks at everything in the file; true when nothing was noticed. */
static bool look_through(const char *file) {
    Error error;
    int n = 0, ndim;
    int64_t dim[4], number;
    char data[64], *text = NULL;
    Dtype dtype;
    H5Reader *r = h5_open(file, &error);
    if (!r) return false;
    bool ok = h5_each(r, count_path, &n, &error) && n == DTYPES + 1;
    for (int i = 0; i < DTYPES; i++) {
        char path[60];
        snprintf(path, sizeof path, "group/inner/%s", dtype_name(dtypes[i]));
        ok = h5_shape(r, path, &dtype, &ndim, dim, &error) && dtype == dtypes[i] && dim[0] == 3 + i &&
             h5_read(r, path, dtype, 0, 2, data, &error) && ok;
    }
    ok = h5_read_attr_text(r, "/", "words", &text, &error) && !strcmp(text, "two\nlines") && ok;
    ok = h5_read_attr_int(r, "empty", "number", &number, &error) && number == -5 && ok;
    free(text);
    h5_close(r);
    return ok;
}

static void poke(const char *file, int64_t at, int byte) {
    int fd = open(file, O_RDWR);
    char one = (char)byte;
    expect(fd >= 0 && pwrite(fd, &one, 1, at) == 1 && !close(fd), "cannot change byte %lld", (long long)at);
}

/* Metadata carry checksums: a flipped byte is noticed or does not matter (free space), and never fatal. */
static void test_flipped_metadata(void) {
    const char *file = path_of("sample.h5");
    int64_t bytes = 0;
    int noticed = 0;
    Error error;
    write_sample(file);
    char *whole = disk_read_file(file, 1 << 24, &bytes, &error);
    for (int64_t at = 0; at < bytes; at += 17) {
        poke(file, at, whole[at] ^ 1 << at % 8);
        noticed += !look_through(file);
        poke(file, at, whole[at]);
    }
    expect(noticed > 40, "%d flips noticed in %lld bytes", noticed, (long long)bytes);
    free(whole);
    check_sample(file);
}

/* -- damage that crashes the library -------------------------------------------------------------- */
static void write_master(const char *file) {
    enum { SETS = 20 };
    H5Writer *w = h5_create();
    for (int i = 0; i < SETS; i++) {
        char path[60];
        snprintf(path, sizeof path, "model/tensor.%d.weight", i);
        int set = h5_virtual_dataset(w, path, F32, 2, (int64_t[]){8, 4});
        for (int part = 0; part < 2; part++) h5_virtual_source(w, set, part ? "b.h5" : "a.h5", path, part * 4, 4);
    }
    write_all(w, file, NULL, NULL, 0);
}

static bool see_shape(void *own, const char *path) {
    Dtype dtype;
    int ndim;
    int64_t dim[4];
    Error error;
    h5_shape(own, path, &dtype, &ndim, dim, &error);
    return true;
}

/* The code with which the library ends a process that looks through a file; -1: a signal. */
static int bare_library(const char *file) {
    int status;
    pid_t child = fork();
    if (!child) {
        Error error;
        int nowhere = open("/dev/null", O_WRONLY);
        for (int s = 1; s < 32; s++) signal(s, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        alarm(2);
        dup2(nowhere, STDERR_FILENO);
        H5Reader *r = h5_open_proven(file, &error);
        if (r) h5_each(r, see_shape, r, &error);
        _exit(0);
    }
    check(waitpid(child, &status, 0) == child, "wait");
    return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}

/* Bytes of a heap, which has no checksum (the mappings of virtual datasets lie there). */
static void test_crashes_are_errors(void) {
    enum { TRIES = 300, ENOUGH = 4 };
    const char *file = path_of("master.h5");
    int64_t bytes = 0;
    int crashes = 0, said = 0;
    Error error;
    write_master(file);
    char *whole = disk_read_file(file, 1 << 24, &bytes, &error), *heap = memmem(whole, (size_t)bytes, "GCOL", 4);
    expect(heap, "no heap");
    for (int i = 0; heap && i < TRIES && crashes < ENOUGH; i++) {
        int64_t at = heap - whole + 4 + (int64_t)(random_bits(7, 0, (uint64_t)i) % 4000);
        if (at >= bytes) continue;
        poke(file, at, whole[at] ^ "\x01\x80\xff\x55"[i % 4]);
        if (bare_library(file)) {
            crashes++;
            H5Reader *r = h5_open(file, &error);
            said += !r && strstr(error.text, "master.h5: damaged: reading it ") != NULL;
            if (r) h5_close(r);
        }
        poke(file, at, whole[at]);
    }
    expect(crashes > 0 && said > 0, "%d crashes, %d said", crashes, said);
    free(whole);
}

static void test_rest_and_wake(void) {
    const char *file = path_of("sample.h5");
    Error error;
    char byte;
    write_sample(file);
    H5Reader *r = h5_open(file, &error);
    h5_rest(r);
    expect(h5_wake(r, &error) && h5_read(r, "group/inner/u8", U8, 0, 1, &byte, &error), "%s", error.text);
    h5_rest(r);
    unlink(file);
    write_master(file); /* a changed file is listed anew */
    expect(h5_wake(r, &error) && !h5_read(r, "group/inner/u8", U8, 0, 1, &byte, &error) &&
               strstr(error.text, "has no dataset"),
           "%s", error.text);
    h5_rest(r);
    unlink(file);
    expect(!h5_wake(r, &error) && strstr(error.text, "cannot open"), "%s", error.text);
    h5_close(r);
}

static void test_cut_off(void) {
    int64_t bytes = 0;
    Error error;
    write_sample(path_of("sample.h5"));
    free(disk_read_file(path_of("sample.h5"), 1 << 24, &bytes, &error));
    for (int64_t length = bytes - 1; length > 0; length -= 1 + length / 60) {
        expect(!truncate(path_of("sample.h5"), length), "truncate");
        expect(!look_through(path_of("sample.h5")), "%lld of %lld bytes", (long long)length, (long long)bytes);
    }
}

const TestCase h5_tests[] = {{"every type, round trip", test_round_trip},
                             {"wrong type, range, path", test_misuse},
                             {"each dataset", test_each},
                             {"bf16 as the library converts it", test_bf16_for_others},
                             {"virtual datasets", test_virtual},
                             {"strangers' files", test_strangers},
                             {"links are refused", test_links_are_refused},
                             {"no HDF5 file at all", test_no_hdf5_file},
                             {"flipped bytes", test_flipped_metadata},
                             {"cut off", test_cut_off},
                             {"crashes are errors", test_crashes_are_errors},
                             {"rest and wake", test_rest_and_wake},
                             {0}};
