/* weights.c - safetensors: one file, and the index of a folder of them. */
#include <stdlib.h>
#include <string.h>

#include "data/safetensors_parse.h"
#include "tests/fuzz/fuzz.h"

/* Its bytes lie in the file, and both ends of it can be read. */
static void look_at(const StTensor *t, const uint8_t *data, int64_t bytes) {
    const uint8_t *first = t->data;
    Error error;
    double ends[2];
    int64_t whole[2];
    check(t->ndim >= 0 && t->ndim <= ST_MAX_DIMS && t->count >= 0, "%s: %d dims", t->name, t->ndim);
    check(t->bytes == 0 || (first >= data && t->bytes <= data + bytes - first), "%s lies outside", t->name);
    if (t->count == 0) return;
    safetensors_read(t, F64, 0, 1, &ends[0], &error);
    safetensors_read(t, F64, t->count - 1, 1, &ends[1], &error);
    safetensors_read(t, I64, 0, 1, &whole[0], &error);
    safetensors_read(t, I64, t->count - 1, 1, &whole[1], &error);
}

bool fuzz_safetensors(const uint8_t *data, int64_t bytes) {
    StList list;
    Error error = {0};
    if (!st_parse_file(&list, data, bytes, "fuzz", &error)) return fuzz_verdict(false, &error);
    int64_t covered = 0;
    for (int64_t i = 0; i < list.count; i++) {
        look_at(&list.tensor[i], data, bytes);
        covered += list.tensor[i].bytes;
    }
    check(covered <= bytes, "%lld bytes of tensors in a file of %lld", (long long)covered, (long long)bytes);
    st_list_free(&list);
    return true;
}

bool fuzz_index(const uint8_t *data, int64_t bytes) {
    StIndex index;
    Error error = {0};
    char *text = fuzz_text(data, bytes);
    bool ok = st_parse_index(&index, text, bytes, "fuzz", &error);
    free(text);
    if (!ok) return fuzz_verdict(false, &error);
    for (int64_t i = 0; i < index.count; i++) {
        const char *file = index.mapping[i].file;
        check(*file && *file != '.' && !strchr(file, '/'), "'%s' leads out of the folder", file);
        check(i == 0 || strcmp(index.mapping[i - 1].tensor, index.mapping[i].tensor) < 0, "not sorted, or twice");
    }
    st_index_free(&index);
    return true;
}
