/* test_megatron.c - Megatron's token files: all layouts, and what is wrong with broken ones. */
#include "tests/test_corpora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/megatron.h"

enum { SEQUENCES_MOST = 64, BORDERS_MOST = 64 };

typedef struct {
    const char *magic;
    int64_t version, dtype, sequences, borders; /* borders 0: the oldest layout */
    int32_t size[SEQUENCES_MOST];
    int64_t place[SEQUENCES_MOST], border[BORDERS_MOST];
    int64_t idx_cut, idx_more, bin_bytes; /* bytes left out of, added to the index; of the .bin, -1 = as described */
    bool modes;
    int64_t id[16]; /* ids of the .bin, repeated */
} Raw;

static int64_t element(int64_t dtype) {
    static const int bytes[] = {1, 1, 1, 2, 4, 8, 8, 4, 2};
    return dtype >= 0 && dtype <= 8 ? bytes[dtype] : 1;
}

/* Three sequences of 2, 1 and 3 ids in two documents. */
static Raw sound(int64_t dtype) {
    Raw r = {.magic = "MMIDIDX\0",
             .version = 1,
             .dtype = dtype,
             .sequences = 3,
             .borders = 3,
             .size = {2, 1, 3},
             .border = {0, 2, 3},
             .bin_bytes = -1,
             .id = {1, 2, 3, 4, 5, 6}};
    int64_t at = 0;
    for (int i = 0; i < 3; i++) {
        r.place[i] = at;
        at += r.size[i] * element(dtype);
    }
    return r;
}

static const char *write_raw(const char *name, const Raw *r) {
    char *text = NULL, file[64];
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    unsigned char dtype = (unsigned char)r->dtype;
    fwrite(r->magic, 1, 9, f);
    fwrite(&r->version, 8, 1, f);
    fwrite(&dtype, 1, 1, f);
    fwrite(&r->sequences, 8, 1, f);
    if (r->borders) fwrite(&r->borders, 8, 1, f);
    int64_t n = min_i64(max_i64(r->sequences, 0), SEQUENCES_MOST), d = min_i64(max_i64(r->borders, 0), BORDERS_MOST);
    fwrite(r->size, 4, (size_t)n, f);
    fwrite(r->place, 8, (size_t)n, f);
    fwrite(r->border, 8, (size_t)d, f);
    for (int64_t i = 0; i < r->idx_more + (r->modes ? n : 0); i++) putc(0, f);
    fclose(f);
    snprintf(file, sizeof file, "%s.idx", name);
    test_file(file, text, (int64_t)bytes - r->idx_cut);
    free(text);
    int64_t ids = 0;
    f = open_memstream(&text, &bytes);
    for (int64_t i = 0; i < n; i++) ids += r->size[i];
    for (int64_t i = 0; i < min_i64(ids, 4096); i++) fwrite(&r->id[i % 6], (size_t)element(r->dtype), 1, f);
    fclose(f);
    snprintf(file, sizeof file, "%s.bin", name);
    const char *path = test_file(file, text, r->bin_bytes >= 0 ? r->bin_bytes : (int64_t)bytes);
    free(text);
    return path;
}

static DataSet megatron_set(const char *path) {
    DataSet set = corpus_set(path);
    set.format = "megatron";
    return set;
}

static void expect_ids(const Raw *r, const char *wanted, const char *what) {
    Error error;
    Prepared p;
    if (!corpus_try(&p, megatron_set(write_raw("m", r)), test_path("out"), &error)) {
        expect(false, "%s: %s", what, error.text);
        return;
    }
    char *text = corpus_text(p.train);
    for (char *c = text; *c; c++)
        if (*c < 10) *c = (char)(*c + '0');
    expect(!strcmp(text, wanted), "%s: '%s', not '%s'", what, text, wanted);
    free(text);
}

void megatron_good(void) {
    static const int dtypes[] = {1, 2, 3, 4, 5, 8};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        char what[32];
        snprintf(what, sizeof what, "dtype %d", dtypes[i]);
        Raw r = sound(dtypes[i]);
        expect_ids(&r, "123|456|", what);
        r.modes = true;
        expect_ids(&r, "123|456|", "with modes");
        r = sound(dtypes[i]);
        r.borders = 0;
        expect_ids(&r, "12|3|456|", "the oldest layout");
    }
    Raw r = sound(8);
    r.id[2] = r.id[5] = 257; /* eos is there already */
    expect_ids(&r, "12|45|", "with eos");
    r = sound(8);
    r.borders = 5;
    memcpy(r.border, (int64_t[]){0, 0, 2, 2, 3}, 40);
    expect_ids(&r, "123|456|", "empty documents");
    r = sound(4);
    r.size[1] = 0;
    r.place[2] = 8;
    expect_ids(&r, "12|345|", "an empty sequence");
}

/* Wherever the .bin is divided, its ranges together give all documents, each once. */
void megatron_parts(void) {
    Raw r = sound(8);
    r.sequences = 60, r.borders = 31;
    for (int i = 0, at = 0; i < 60; i++, at += 2 * r.size[i - 1]) r.size[i] = i % 5, r.place[i] = at;
    for (int i = 0; i < 31; i++) r.border[i] = 2 * i;
    const char *bin = write_raw("m", &r);
    Error error;
    Prepared p;
    check(corpus_try(&p, megatron_set(bin), test_path("out"), &error), "%s", error.text);
    int64_t documents = p.documents, tokens = p.tokens;
    Megatron m;
    check(megatron_open(&m, bin, &error) && megatron_check(&m, &error), "%s", error.text);
    expect(documents <= m.documents && documents > 20 && tokens == m.bin_bytes / 2 + documents, "%lld documents",
           (long long)documents);
    megatron_close(&m);
    char *whole = corpus_text(p.train);
    /* large enough for several parts */
    enum { COPIES = 200000 };
    int32_t *size = must_alloc(COPIES, 4);
    int64_t *place = must_alloc(COPIES, 8), at = 0, n = COPIES;
    for (int64_t i = 0; i < n; i++, at += 2 * size[i - 1]) size[i] = (int32_t)(i % 7 + 1), place[i] = at;
    uint16_t *ids = must_alloc(at / 2, 2);
    for (int64_t i = 0; i < at / 2; i++) ids[i] = (uint16_t)(i % 200);
    char *idx = NULL;
    size_t bytes;
    FILE *f = open_memstream(&idx, &bytes);
    fwrite("MMIDIDX\0\0\1\0\0\0\0\0\0\0\x8", 1, 18, f);
    fwrite(&n, 8, 1, f);
    fwrite(size, 4, COPIES, f);
    fwrite(place, 8, COPIES, f);
    fclose(f);
    test_file("large.idx", idx, (int64_t)bytes);
    DataSet set = megatron_set(test_file("large.bin", ids, at));
    p = corpus_prepare(set, test_path("one"), 1);
    expect(p.parts > 3 && p.documents == COPIES && p.tokens == at / 2 + COPIES, "%lld parts, %lld documents",
           (long long)p.parts, (long long)p.documents);
    char *text = corpus_text(p.train);
    int64_t i = 0, k = 0, wrong = 0;
    for (int64_t d = 0; d < n; d++, k++)
        for (int32_t t = 0; t < size[d]; t++, i++, k++) wrong += (unsigned char)text[k] != ids[i];
    expect(wrong == 0, "%lld ids are wrong", (long long)wrong);
    free(text);
    free(whole);
    free(idx);
    free(ids);
    free(place);
    free(size);
}

static void spoil_magic(Raw *r) { r->magic = "MMIDIDY\0"; }
static void spoil_lazy(Raw *r) { r->magic = "TNTIDX\0\0"; }
static void spoil_version(Raw *r) { r->version = 2; }
static void spoil_version_large(Raw *r) { r->version = -1; }
static void spoil_float(Raw *r) { r->dtype = 7; }
static void spoil_double(Raw *r) { r->dtype = 6; }
static void spoil_dtype(Raw *r) { r->dtype = 9; }
static void spoil_dtype_zero(Raw *r) { r->dtype = 0; }
static void spoil_none(Raw *r) { r->sequences = 0; }
static void spoil_huge(Raw *r) { r->sequences = INT64_MIN; }
static void spoil_many(Raw *r) { r->sequences = 1000; }
static void spoil_overflow(Raw *r) { r->sequences = INT64_MAX / 4; }
static void spoil_borders(Raw *r) { r->borders = INT64_MAX / 8 + 1; }
static void spoil_borders_huge(Raw *r) { r->borders = -3; }
static void spoil_one_border(Raw *r) { r->borders = 1; }
static void spoil_cut(Raw *r) { r->idx_cut = 5; }
static void spoil_head(Raw *r) { r->idx_cut = 34 + 36 + 24 - 20; }
static void spoil_empty(Raw *r) { r->idx_cut = 34 + 36 + 24; }
static void spoil_more(Raw *r) { r->idx_more = 1; }
static void spoil_size(Raw *r) { r->size[1] = -1; }
static void spoil_size_large(Raw *r) {
    r->size[2] = INT32_MAX;
    r->bin_bytes = 12;
}
static void spoil_place(Raw *r) { r->place[1] = 2; }
static void spoil_place_negative(Raw *r) { r->place[1] = -4; }
static void spoil_place_large(Raw *r) { r->place[2] = INT64_MAX - 1; }
static void spoil_first(Raw *r) { r->place[0] = 2; }
static void spoil_bin_short(Raw *r) { r->bin_bytes = 10; }
static void spoil_bin_odd(Raw *r) { r->bin_bytes = 11; }
static void spoil_bin_empty(Raw *r) { r->bin_bytes = 0; }
static void spoil_border_first(Raw *r) { r->border[0] = 1; }
static void spoil_border_order(Raw *r) { r->border[1] = 4; }
static void spoil_border_back(Raw *r) {
    r->borders = 4;
    memcpy(r->border, (int64_t[]){0, 2, 1, 3}, 32);
}
static void spoil_border_last(Raw *r) { r->border[2] = 2; }
static void spoil_border_negative(Raw *r) { r->border[1] = -1; }
static void spoil_id(Raw *r) { r->id[4] = 258; }
static void spoil_id_sign(Raw *r) {
    r->dtype = 3;
    r->id[4] = -1;
}

void megatron_broken(void) {
    static const struct {
        void (*spoil)(Raw *);
        const char *words;
    } cases[] = {
        {spoil_magic, "m.idx: is no Megatron index"},
        {spoil_lazy, "m.idx: is in the older TNTIDX format"},
        {spoil_version, "m.idx: index of version 2"},
        {spoil_version_large, "m.idx: index of version 18446744073709551615"},
        {spoil_float, "m.idx: its ids are floating point numbers"},
        {spoil_double, "m.idx: its ids are floating point numbers"},
        {spoil_dtype, "m.idx: dtype 9 is not known"},
        {spoil_dtype_zero, "m.idx: dtype 0 is not known"},
        {spoil_none, "m.idx: 0 sequences do not fit"},
        {spoil_huge, "m.idx: 9223372036854775808 sequences do not fit"},
        {spoil_many, "m.idx: 1000 sequences"},
        {spoil_overflow, "sequences do not fit"},
        {spoil_borders, "document borders do not make up"},
        {spoil_borders_huge, "3 sequences and 18446744073709551613 document borders do not make up"},
        {spoil_one_border, "document borders do not make up"},
        {spoil_cut, "was it cut off?"},
        {spoil_head, "m.idx: 20 bytes are no Megatron index"},
        {spoil_empty, "m.idx: 0 bytes are no Megatron index"},
        {spoil_more, "do not make up"},
        {spoil_size, "m.idx: sequence 1 has -1 ids"},
        {spoil_size_large, "sequence 2 has 2147483647 ids"},
        {spoil_place, "sequence 1 lies at byte 2, the one before ends at 4"},
        {spoil_place_negative, "sequence 1 lies at byte -4"},
        {spoil_place_large, "sequence 2 lies at byte 9223372036854775806"},
        {spoil_first, "sequence 0 lies at byte 2"},
        {spoil_bin_short, "sequence 2 has 3 ids, which do not fit the 10 bytes"},
        {spoil_bin_odd, "sequence 2 has 3 ids, which do not fit the 11 bytes"},
        {spoil_bin_empty, "do not fit the 0 bytes"},
        {spoil_border_first, "document border 0 is sequence 1"},
        {spoil_border_order, "document border 1 is sequence 4"},
        {spoil_border_back, "document border 2 is sequence 1 after 2"},
        {spoil_border_last, "document border 2 is sequence 2"},
        {spoil_border_negative, "document border 1 is sequence -1"},
        {spoil_id, "m.bin: document 1 holds id 258, outside the tokenizer's 258"},
        {spoil_id_sign, "m.bin: document 1 holds id -1"},
    };
    Error error;
    Prepared p;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Raw r = sound(8);
        cases[i].spoil(&r);
        DataSet set = megatron_set(write_raw("m", &r));
        expect_message(corpus_try(&p, set, test_path("bad"), &error), &error, cases[i].words, cases[i].words);
        expect(!disk_exists(test_path("bad/.making-set")), "%s: something was left", cases[i].words);
    }
    test_file("alone.bin", "1234", 4);
    expect_message(corpus_try(&p, megatron_set(test_path("alone.bin")), test_path("bad"), &error), &error,
                   "alone.idx: cannot read", "no index");
    expect_message(corpus_try(&p, megatron_set(test_file("a.txt", "1234", 4)), test_path("bad"), &error), &error,
                   "names no .bin file", "a text");
}

static bool take_ids(void *own, const int32_t *ids, int64_t n, Error *error) {
    (void)own, (void)ids, (void)n, (void)error;
    return true;
}
static bool take_end(void *own, Error *error) { return (void)own, (void)error, true; }
static void take_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

/* An index that was changed after it was looked through leads nowhere outside of the files. */
void megatron_ids(void) {
    MegatronSink sink = {NULL, take_ids, take_end, take_progress};
    Error error;
    int64_t bytes, empty = 0, refused = 0;
    Raw r = sound(4);
    const char *bin = write_raw("m", &r);
    char *idx = disk_read_file(test_path("m.idx"), 1 << 20, &bytes, &error);
    for (uint64_t i = 0; i < 600; i++) {
        char *changed = must_alloc(bytes, 1);
        memcpy(changed, idx, (size_t)bytes);
        changed[random_bits(1, 6, i) % (uint64_t)bytes] ^= (char)(1 + random_bits(1, 7, i) % 255);
        test_file("m.idx", changed, bytes);
        Megatron m;
        if (megatron_open(&m, bin, &error)) {
            refused += !megatron_check(&m, &error);
            for (int64_t from = 0; from < 24; from += 4)
                megatron_read(&m, from, from + 4, 258, &sink, &empty, &error);
            megatron_close(&m);
        } else {
            refused++;
        }
        free(changed);
    }
    expect(refused > 550, "%lld of 600 changed indexes were refused", (long long)refused);
    free(idx);
}
