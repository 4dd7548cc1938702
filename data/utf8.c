#include "data/utf8.h"

#include <string.h>

/* Bytes of the character at p, of which `left` are there; 0 when it is none. */
static int character(const unsigned char *p, int64_t left) {
    int n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    bool overlong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90);
    bool outside = (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf4 && p[1] >= 0x90); /* surrogates; above U+10FFFF */
    return overlong || outside ? 0 : n;
}

bool utf8_valid(const char *text, int64_t bytes) {
    const unsigned char *p = (const unsigned char *)text, *end = p + bytes;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8 && (memcpy(&eight, p, 8), !(eight & 0x8080808080808080u))) { /* ASCII, the common case */
            p += 8;
            continue;
        }
        int n = character(p, end - p);
        if (n == 0) return false;
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
    const unsigned char *p = (const unsigned char *)text, *end = p + bytes;
    char *out = to;
    while (p < end) {
        int n = character(p, end - p);
        memcpy(out, n ? (const char *)p : "\xef\xbf\xbd", n ? (size_t)n : 3);
        out += n ? n : 3;
        p += n ? n : 1;
    }
    return out - to;
}
