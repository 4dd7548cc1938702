#include "data/utf8.h"

#include <string.h>

Utf8 utf8_next(const char *text, int64_t bytes, int *length) {
    const unsigned char *p = (const unsigned char *)text;
    unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;  /* of the second byte: no overlong forms, */
    unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf; /* no surrogates, nothing above U+10FFFF */
    int n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0, k = 1;
    for (; k < n && k < bytes && p[k] >= low && p[k] <= high; k++) low = 0x80, high = 0xbf;
    *length = k;
    return k == n ? UTF8_WHOLE : k < n && k == bytes ? UTF8_CUT : UTF8_BROKEN;
}

int utf8_character(const char *text, int64_t left) {
    int n;
    return utf8_next(text, left, &n) == UTF8_WHOLE ? n : 0;
}

bool utf8_valid(const char *text, int64_t bytes) {
    const unsigned char *p = (const unsigned char *)text, *end = p + bytes;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8 && (memcpy(&eight, p, 8), !(eight & 0x8080808080808080u))) { /* ASCII, the common case */
            p += 8;
            continue;
        }
        int n;
        if (utf8_next((const char *)p, end - p, &n) != UTF8_WHOLE) return false;
        p += n;
    }
    return true;
}

bool utf8_is_space(const char *text, int64_t bytes) {
    static const char *const wide[] = {"\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
                                       "\u2004",   "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                       "\u2028",   "\u2029", "\u202f", "\u205f", "\u3000"};
    if (bytes > 0 && (unsigned char)*text < 0x80) return *text == ' ' || (*text >= '\t' && *text <= '\r');
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (bytes >= (int64_t)strlen(wide[i]) && !memcmp(text, wide[i], strlen(wide[i]))) return true;
    return false;
}

int64_t utf8_repair(char *to, const char *text, int64_t bytes) {
    int64_t written = 0;
    for (int64_t i = 0, n; i < bytes; i += n) {
        int length;
        bool whole = utf8_next(text + i, bytes - i, &length) == UTF8_WHOLE;
        n = length;
        memcpy(to + written, whole ? text + i : UTF8_REPLACEMENT, whole ? (size_t)n : 3);
        written += whole ? n : 3;
    }
    return written;
}

/* Eight characters of ASCII, none of them NUL. */
static bool plain_eight(const unsigned char *p) {
    uint64_t eight, low = 0x0101010101010101u, high = 0x8080808080808080u;
    memcpy(&eight, p, 8);
    return !((eight | (eight - low)) & high);
}

int64_t utf8_prefix(const char *text, int64_t bytes, bool *cut) {
    const unsigned char *p = (const unsigned char *)text;
    int64_t i = 0;
    *cut = false;
    while (i < bytes) {
        if (bytes - i >= 8 && plain_eight(p + i)) {
            i += 8;
            continue;
        }
        int n;
        Utf8 next = p[i] ? utf8_next(text + i, bytes - i, &n) : UTF8_BROKEN;
        *cut = next == UTF8_CUT;
        if (next != UTF8_WHOLE) break;
        i += n;
    }
    return i;
}
