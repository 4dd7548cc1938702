/* corpora.c - what a corpus may come as: packed, as lines of JSON read the fast way, as Megatron's token files. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/input.h"
#include "data/json_line.h"
#include "data/megatron.h"
#include "tests/fuzz/fuzz.h"

/* All of a packed file, as far as a MiB; a bomb may go on. */
static bool unpack(const char *name, const uint8_t *data, int64_t bytes) {
    enum { MOST = 1 << 20, AT_ONCE = 5000 };
    Error error = {0};
    Input *in = input_open(fuzz_file(name, data, bytes), &error);
    char *to = must_alloc(AT_ONCE, 1);
    int64_t n = in ? 1 : -1;
    for (int64_t all = 0; n > 0 && all < MOST; all += n) n = input_read(in, to, AT_ONCE, &error);
    check(!in || input_taken(in) <= bytes, "%lld bytes of %lld were taken", (long long)input_taken(in),
          (long long)bytes);
    input_close(in);
    free(to);
    return fuzz_verdict(n >= 0, &error);
}

/* As gzip where it begins so, else as zstd; a plain file is neither. */
bool fuzz_packed(const uint8_t *data, int64_t bytes) {
    return unpack(bytes > 0 && *data == 0x1f ? "fuzz.gz" : "fuzz.zst", data, bytes);
}

/* What the fast reader takes, the parser reads to the same text. */
bool fuzz_json_line(const uint8_t *data, int64_t bytes) {
    char *line = must_alloc(bytes, 1), *text = must_alloc(bytes, 1);
    int64_t length = -1;
    memcpy(line, data, (size_t)bytes);
    bool taken = json_line_field(line, bytes, "text", text, &length);
    if (taken) {
        json_t *object = json_loadb(line, (size_t)bytes, JSON_REJECT_DUPLICATES, NULL);
        const json_t *value = json_object_get(object, "text");
        check(json_is_string(value) && length == (int64_t)json_string_length(value) &&
                  !memcmp(json_string_value(value), text, (size_t)length),
              "the parser reads another text");
        json_decref(object);
    }
    free(line);
    free(text);
    return taken;
}

typedef struct {
    int64_t ids, documents, vocab_size;
} Taken;

static bool take_ids(void *own, const int32_t *ids, int64_t n, Error *error) {
    Taken *t = own;
    (void)error;
    check(n > 0, "a piece without ids");
    for (int64_t i = 0; i < n; i++) check(ids[i] >= 0 && ids[i] < t->vocab_size, "id %d", ids[i]);
    t->ids += n;
    return true;
}

static bool take_end(void *own, Error *error) { return (void)error, ((Taken *)own)->documents++ >= 0; }
static void take_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

/* Whatever the index says: read in two ranges and as a whole, checked or not. */
static bool read_megatron(const char *bin, Error *error) {
    Megatron m;
    if (!megatron_open(&m, bin, error)) return false;
    Taken whole = {.vocab_size = 300}, halves = whole;
    MegatronSink sink = {&whole, take_ids, take_end, take_progress};
    int64_t empty = 0, empty_halves = 0;
    Error ignored;
    bool ok = megatron_check(&m, error);
    bool read = megatron_read(&m, 0, INT64_MAX, 300, &sink, &empty, ok ? error : &ignored);
    sink.own = &halves;
    bool both = megatron_read(&m, 0, m.bin_bytes / 2, 300, &sink, &empty_halves, &ignored) &&
                megatron_read(&m, m.bin_bytes / 2, INT64_MAX, 300, &sink, &empty_halves, &ignored);
    if (ok && read)
        check(both && whole.ids == halves.ids && whole.documents == halves.documents &&
                  whole.ids * m.element == m.bin_bytes && whole.documents <= m.documents,
              "%lld ids in %lld documents, in halves %lld in %lld", (long long)whole.ids, (long long)whole.documents,
              (long long)halves.ids, (long long)halves.documents);
    megatron_close(&m);
    return ok && read;
}

/* The first byte says how long the .bin is, which holds the ids 1 2 3 ...; the rest is the .idx. */
bool fuzz_megatron(const uint8_t *data, int64_t bytes) {
    uint8_t ids[256] = {0};
    Error error = {0};
    int64_t n = bytes ? *data : 0, element = bytes > 18 && data[18] == 8 ? 2 : 1;
    for (int64_t i = 0; i < n; i += element) ids[i] = (uint8_t)(i / element + 1);
    fuzz_file("fuzz.idx", bytes ? data + 1 : data, bytes ? bytes - 1 : 0);
    return fuzz_verdict(read_megatron(fuzz_file("fuzz.bin", ids, n), &error), &error);
}
