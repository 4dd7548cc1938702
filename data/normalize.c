#include "data/normalize.h"

#include <utf8proc.h>

char *normalize(Normalizer n, const char *text, int64_t bytes, int64_t *size) {
    static const int form[] = {[NORMALIZE_NOT] = 0,
                               [NORMALIZE_NFC] = UTF8PROC_COMPOSE,
                               [NORMALIZE_NFD] = UTF8PROC_DECOMPOSE,
                               [NORMALIZE_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                               [NORMALIZE_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    utf8proc_uint8_t *to = NULL;
    *size = utf8proc_map((const utf8proc_uint8_t *)text, bytes, &to, (utf8proc_option_t)(UTF8PROC_STABLE | form[n]));
    return *size < 0 ? NULL : (char *)to;
}

/* Unicode's longest expansions. */
int64_t normalize_growth(Normalizer n) {
    static const int times[] = {
        [NORMALIZE_NOT] = 1, [NORMALIZE_NFC] = 3, [NORMALIZE_NFD] = 3, [NORMALIZE_NFKC] = 11, [NORMALIZE_NFKD] = 11};
    return times[n];
}
