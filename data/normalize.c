#include "data/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Hugging Face's tables are those of Unicode 9. Characters that came later, and that would be
 * taken apart, put together or moved past others, it leaves as they are; so must we. */
static const struct {
    int32_t from, to;
} left_alone[] = {{0x558, 0x558},     {0x58b, 0x58c},     {0x5c8, 0x5c9},     {0x7fd, 0x7fd},     {0x897, 0x89f},
                  {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},
                  {0x1715, 0x1715},   {0x1abf, 0x1af0},   {0x1df6, 0x1dfa},   {0x209d, 0x209f},   {0x32ff, 0x32ff},
                  {0xa7f1, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x105c0, 0x105f3}, {0x10781, 0x10785},
                  {0x10787, 0x107b0}, {0x107b2, 0x107bf}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac},
                  {0x10ecb, 0x10ecf}, {0x10ef0, 0x10efb}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
                  {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113e2}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
                  {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
                  {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
                  {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16100, 0x1612f}, {0x16d40, 0x16d79}, {0x16ff0, 0x16ff1},
                  {0x1b123, 0x1b126}, {0x1ccd6, 0x1ccf9}, {0x1d127, 0x1d128}, {0x1d250, 0x1d252}, {0x1d25b, 0x1d25c},
                  {0x1d25f, 0x1d25f}, {0x1d280, 0x1d281}, {0x1d6a6, 0x1d6a6}, {0x1df95, 0x1df95}, {0x1dfcd, 0x1dfff},
                  {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
                  {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef},
                  {0x1e6f5, 0x1e6f5}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}};

static bool is_left_alone(int32_t c) {
    int low = 0, high = sizeof left_alone / sizeof *left_alone;
    while (low < high) {
        int middle = (low + high) / 2;
        if (left_alone[middle].to < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < (int)(sizeof left_alone / sizeof *left_alone) && left_alone[low].from <= c;
}

/* The next of them in text[from, bytes), or bytes; *length: its bytes. */
static int64_t next_left_alone(const char *text, int64_t bytes, int64_t from, int *length) {
    int32_t c;
    for (int64_t i = from; i < bytes; i += *length) {
        *length = 1;
        if ((unsigned char)text[i] < 0x80) continue;
        *length = (int)utf8proc_iterate((const utf8proc_uint8_t *)text + i, bytes - i, &c);
        if (is_left_alone(c)) return i;
    }
    *length = 0;
    return bytes;
}

typedef struct {
    char *text;
    int64_t bytes, room;
} Normal;

static void append(Normal *n, const char *text, int64_t bytes) {
    if (n->bytes + bytes + 1 > n->room) n->text = must_realloc(n->text, n->room = 2 * (n->bytes + bytes) + 64, 1);
    if (bytes) memcpy(n->text + n->bytes, text, (size_t)bytes);
    n->bytes += bytes;
    n->text[n->bytes] = 0;
}

static bool append_form(Normal *n, Normalizer form, const char *text, int64_t bytes) {
    static const int options[] = {[NORMALIZE_NOT] = 0,
                                  [NORMALIZE_NFC] = UTF8PROC_COMPOSE,
                                  [NORMALIZE_NFD] = UTF8PROC_DECOMPOSE,
                                  [NORMALIZE_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                                  [NORMALIZE_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    utf8proc_uint8_t *to = NULL;
    if (bytes == 0) return true;
    int64_t size = utf8proc_map((const utf8proc_uint8_t *)text, bytes, &to,
                                (utf8proc_option_t)(UTF8PROC_STABLE | options[form]));
    if (size >= 0) append(n, (char *)to, size);
    free(to);
    return size >= 0;
}

char *normalize(Normalizer form, const char *text, int64_t bytes, int64_t *size) {
    Normal n = {0};
    bool ok = true;
    append(&n, "", 0);
    if (form == NORMALIZE_NOT) append(&n, text, bytes);
    for (int64_t at = 0, next; form != NORMALIZE_NOT && ok && at < bytes; at = next) {
        int length;
        next = next_left_alone(text, bytes, at, &length);
        ok = append_form(&n, form, text + at, next - at);
        append(&n, text + next, length);
        next += length;
    }
    *size = n.bytes;
    if (ok) return n.text;
    free(n.text);
    return NULL;
}

/* Unicode's longest expansions. */
int64_t normalize_growth(Normalizer form) {
    static const int times[] = {
        [NORMALIZE_NOT] = 1, [NORMALIZE_NFC] = 3, [NORMALIZE_NFD] = 3, [NORMALIZE_NFKC] = 11, [NORMALIZE_NFKD] = 11};
    return times[form];
}
