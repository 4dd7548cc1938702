/* manifest.c - see manifest.h. */
#include "train/manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"
#include "train/companions.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MOST_MANIFEST = 1 << 28, END_LENGTH = 21, READ_BUFFER = 1 << 20 };

void rank_file_name(char name[32], int rank) { snprintf(name, 32, "rank-%05d.h5", rank); }

/* -- writing ---------------------------------------------------------------------------------- */
void manifest_put_head(FILE *f, int64_t step, int ranks, int ep, uint64_t config_hash) {
    fprintf(f, "dsv2-checkpoint %d\nstep %lld\nlayout ranks %d ep %d\nconfig %016" PRIx64 "\n", CHECKPOINT_FORMAT,
            (long long)step, ranks, ep, config_hash);
}
void manifest_put_file(FILE *f, const char *name, int64_t bytes, uint64_t hash) {
    fprintf(f, "file %s %lld %016" PRIx64 "\n", name, (long long)bytes, hash);
}
void manifest_put_dataset(FILE *f, int rank, const char *path, Tensor t, bool is_vector, uint64_t hash) {
    fprintf(f, "dataset %d %s %s ", rank, path, dtype_name(t.dtype));
    if (!is_vector) fprintf(f, "%lldx", (long long)tensor_rows(t));
    fprintf(f, "%lld %016" PRIx64 "\n", (long long)tensor_cols(t), hash);
}
void manifest_put_end(FILE *f, const char *above, int64_t bytes) {
    fprintf(f, "end %016" PRIx64 "\n", hash_bytes(above, bytes));
}

/* -- parsing ---------------------------------------------------------------------------------- */
static bool find_dtype(const char *name, Dtype *dtype) {
    for (Dtype d = F64; d <= F16; d++)
        if (!strcmp(name, dtype_name(d))) return *dtype = d, true;
    return false;
}

/* Words of a line, separated by one space each; -1 when there are more than `most`. */
static int split_words(char *line, char *word[], int most) {
    int n = 0;
    for (char *rest = line; rest; n++) {
        char *next = strsep(&rest, " ");
        if (n == most) return -1;
        word[n] = next;
    }
    return n;
}

static bool parse_hash(const char *text, uint64_t *hash) {
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    *hash = strtoull(text, NULL, 16);
    return true;
}
static bool parse_count(const char *text, int64_t most, int64_t *count) {
    size_t digits = strspn(text, "0123456789");
    if (!digits || digits > 18 || text[digits]) return false; /* as many as always fit */
    *count = strtoll(text, NULL, 10);
    return *count <= most;
}

/* "3x4" or "7" */
static bool parse_shape(char *text, ManifestDataset *d) {
    char *cols = text, *rows = strsep(&cols, "x");
    *d = (ManifestDataset){.ndim = cols ? 2 : 1};
    return parse_count(rows, INT64_MAX, &d->dim[0]) && (!cols || parse_count(cols, INT64_MAX, &d->dim[1]));
}

static bool plain_name(const char *name) { /* of a file of ours, in the same folder */
    char expected[32];
    int rank = -1;
    if (!strcmp(name, MASTER_NAME) || companion_kind(name)) return true;
    if (sscanf(name, "rank-%9d.h5", &rank) != 1 || rank < 0) return false;
    rank_file_name(expected, rank);
    return !strcmp(name, expected);
}

static bool parse_file(Manifest *m, char **word, int words) {
    ManifestFile f;
    if (words != 4 || !plain_name(word[1]) || !parse_count(word[2], INT64_MAX, &f.bytes) ||
        !parse_hash(word[3], &f.hash))
        return false;
    f.name = word[1];
    m->file[m->files++] = f;
    return true;
}

static bool parse_dataset(Manifest *m, char **word, int words) {
    ManifestDataset d;
    int64_t rank;
    if (words != 6 || !parse_shape(word[4], &d) || !parse_count(word[1], m->ranks - 1, &rank) ||
        !find_dtype(word[3], &d.dtype) || !parse_hash(word[5], &d.hash))
        return false;
    d.path = word[2];
    d.rank = (int)rank;
    m->dataset[m->datasets++] = d;
    return true;
}

static bool parse_layout(Manifest *m, char **word, int words) {
    int64_t ranks, ep;
    if (words != 5 || strcmp(word[1], "ranks") || strcmp(word[3], "ep") || !parse_count(word[2], 99999, &ranks) ||
        !parse_count(word[4], ranks, &ep))
        return false;
    m->ranks = (int)ranks;
    m->ep = (int)ep;
    return true;
}

static bool parse_line(Manifest *m, char *line) {
    char *word[6];
    int words = split_words(line, word, 6);
    if (words < 2) return false;
    if (!strcmp(word[0], "dataset")) return parse_dataset(m, word, words);
    if (!strcmp(word[0], "file")) return parse_file(m, word, words);
    /* once: what stands before was held against them */
    if (!strcmp(word[0], "layout")) return m->ranks == 0 && parse_layout(m, word, words);
    if (!strcmp(word[0], "step")) return m->step < 0 && words == 2 && parse_count(word[1], INT64_MAX, &m->step);
    if (!strcmp(word[0], "config")) return words == 2 && parse_hash(word[1], &m->config_hash);
    return false;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const ManifestDataset *)a)->path, ((const ManifestDataset *)b)->path);
}

static bool check_twice(const Manifest *m, const char *file, Error *error) {
    for (int i = 1; i < m->datasets; i++)
        if (!by_path(&m->dataset[i - 1], &m->dataset[i]))
            return fail(error, "%s: dataset %s is there twice", file, m->dataset[i].path);
    return true;
}

static bool parse_version(char **rest, const char *file, Error *error) {
    char *line = strsep(rest, "\n");
    int version = 0, used = 0;
    if (sscanf(line, "dsv2-checkpoint %d%n", &version, &used) != 1 || line[used])
        return fail(error, "%s: is not a checkpoint's manifest (line 1)", file);
    return (version >= CHECKPOINT_OLDEST && version <= CHECKPOINT_FORMAT) ||
           fail(error, "%s: checkpoint format %d; this program reads formats %d to %d", file, version,
                CHECKPOINT_OLDEST, CHECKPOINT_FORMAT);
}

static int64_t count_lines(const char *text) {
    int64_t n = 0;
    while ((text = strchr(text, '\n'))) n++, text++;
    return n;
}

bool manifest_parse(Manifest *m, char *text, const char *file, Error *error) {
    int64_t lines = count_lines(text);
    *m = (Manifest){.step = -1, .text = text};
    m->file = must_alloc(lines, sizeof *m->file);
    m->dataset = must_alloc(lines, sizeof *m->dataset);
    char *rest = text;
    bool ok = parse_version(&rest, file, error);
    for (int number = 2; ok && rest && *rest; number++)
        if (!parse_line(m, strsep(&rest, "\n"))) ok = fail(error, "%s: line %d makes no sense", file, number);
    if (ok && (m->step < 0 || m->ranks < 1)) ok = fail(error, "%s: does not say step and layout", file);
    qsort(m->dataset, (size_t)m->datasets, sizeof *m->dataset, by_path);
    if (ok && check_twice(m, file, error)) return true;
    manifest_free(m);
    return false;
}

/* The end line must be right to the last byte, so that no flipped bit goes unseen. */
static bool check_end(char *text, int64_t bytes, const char *file, Error *error) {
    char expected[32];
    int64_t above = bytes - END_LENGTH;
    if (above < 0 || text[above - (above > 0)] != '\n') return fail(error, "%s: cut off", file);
    snprintf(expected, sizeof expected, "end %016" PRIx64 "\n", hash_bytes(text, above));
    if (memcmp(text + above, expected, END_LENGTH))
        return fail(error, "%s: cut off or damaged (its hash is wrong)", file);
    if (memchr(text, 0, (size_t)bytes)) return fail(error, "%s: holds a zero byte", file);
    text[above] = 0;
    return true;
}

bool manifest_read(Manifest *m, const char *checkpoint, Error *error) {
    char file[PATH_MAX];
    int64_t bytes;
    disk_path(file, "%s/" MANIFEST_NAME, checkpoint);
    char *text = disk_read_file(file, MOST_MANIFEST, &bytes, error);
    if (!text) return false;
    uint64_t hash = hash_bytes(text, bytes);
    if (!check_end(text, bytes, file, error)) return free(text), false;
    bool ok = manifest_parse(m, text, file, error);
    if (ok) m->own_hash = hash;
    return ok;
}

void manifest_free(Manifest *m) {
    free(m->file);
    free(m->dataset);
    free(m->text);
    *m = (Manifest){0};
}

/* -- looking up, checking ----------------------------------------------------------------------- */
const ManifestFile *manifest_file(const Manifest *m, const char *name) {
    for (int i = 0; i < m->files; i++)
        if (!strcmp(m->file[i].name, name)) return &m->file[i];
    return NULL;
}

const ManifestDataset *manifest_dataset(const Manifest *m, const char *path) {
    union {
        const char *text;
        char *key;
    } u = {path}; /* bsearch compares keys, it does not change them */
    ManifestDataset wanted = {.path = u.key};
    return bsearch(&wanted, m->dataset, (size_t)m->datasets, sizeof *m->dataset, by_path);
}

int64_t manifest_count(const Manifest *m, const char *group) {
    int64_t n = 0;
    size_t length = strlen(group);
    for (int i = 0; i < m->datasets; i++)
        n += !strncmp(m->dataset[i].path, group, length) && m->dataset[i].path[length] == '/';
    return n;
}

bool manifest_names_all(const Manifest *m, const char *checkpoint, Error *error) {
    char name[32] = MASTER_NAME;
    for (int rank = -1; rank < m->ranks; rank++) {
        if (rank >= 0) rank_file_name(name, rank);
        if (!manifest_file(m, name)) return fail(error, "%s: MANIFEST does not name %s", checkpoint, name);
    }
    return true;
}

static bool hash_file(int fd, int64_t bytes, const char *file, uint64_t *hash, Error *error) {
    char *buffer = must_alloc(READ_BUFFER, 1);
    XXH3_state_t *state = XXH3_createState();
    check(state && XXH3_64bits_reset(state) == XXH_OK, "no memory for a hash");
    bool ok = true;
    for (int64_t at = 0, part; ok && at < bytes; at += part) {
        part = min_i64(bytes - at, READ_BUFFER);
        ok = disk_read(fd, buffer, part, at, file, error);
        XXH3_64bits_update(state, buffer, (size_t)part);
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    free(buffer);
    return ok;
}

bool manifest_check_file(const ManifestFile *f, const char *checkpoint, Error *error) {
    char file[PATH_MAX];
    int64_t bytes;
    uint64_t hash = 0;
    disk_path(file, "%s/%s", checkpoint, f->name);
    int fd = disk_open(file, &bytes, error);
    if (fd < 0) return false;
    bool ok = bytes == f->bytes ||
              fail(error, "%s: %lld bytes, MANIFEST says %lld", file, (long long)bytes, (long long)f->bytes);
    ok = ok && hash_file(fd, bytes, file, &hash, error);
    close(fd);
    return ok && (hash == f->hash || fail(error, "%s: damaged (its hash is not the one in MANIFEST)", file));
}
