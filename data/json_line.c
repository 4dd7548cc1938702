/* json_line.c - see json_line.h. */
#include "data/json_line.h"

#include <string.h>

#include "data/utf8.h"

enum { KEYS_MOST = 32, DIGITS_MOST = 17 };

typedef struct {
    const unsigned char *at, *end;
} Line;

typedef struct {
    const unsigned char *text;
    int64_t bytes;
} Word;

static void skip_space(Line *l) {
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\t' || *l->at == '\r')) l->at++;
}

static bool take(Line *l, char c) {
    skip_space(l);
    if (l->at == l->end || *l->at != (unsigned char)c) return false;
    l->at++;
    return true;
}

/* -- strings ------------------------------------------------------------------------------------------- */

/* Whether none of eight bytes is a quote, a backslash, a control or beyond ASCII. */
static bool plain_eight(const unsigned char *p) {
    const uint64_t one = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t x, quote, slash;
    memcpy(&x, p, 8);
    quote = x ^ one * '"';
    slash = x ^ one * '\\';
    return !((x | (x - one * 0x20) | (quote - one) | (slash - one)) & high);
}

static int hex4(const Line *l, const unsigned char *p) {
    int value = 0;
    if (l->end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 0x20, digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0'
                                     : c >= 'a' && c <= 'f'     ? c - 'a' + 10
                                                                : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *put_code(char *to, int c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* Behind "\u". A NUL and half a surrogate pair are no text. */
static char *unescape_code(Line *l, char *to) {
    int code = hex4(l, l->at);
    if (code <= 0 || (code >= 0xdc00 && code < 0xe000)) return NULL;
    l->at += 4;
    if (code < 0xd800 || code >= 0xe000) return put_code(to, code);
    if (l->end - l->at < 6 || l->at[0] != '\\' || l->at[1] != 'u') return NULL;
    int low = hex4(l, l->at + 2);
    if (low < 0xdc00 || low >= 0xe000) return NULL;
    l->at += 6;
    return put_code(to, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
}

/* Behind a backslash. NULL: no escape. */
static char *unescape(Line *l, char *to) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (l->at == l->end) return NULL;
    unsigned char c = *l->at++;
    if (c == 'u') return unescape_code(l, to);
    const char *name = memchr(names, c, sizeof names - 1);
    if (!name) return NULL;
    *to++ = values[name - names];
    return to;
}

/* Behind the first quote: writes the string and goes behind the last. NULL: not a good string. */
static char *read_string(Line *l, char *to) {
    for (;;) {
        while (l->end - l->at >= 8 && plain_eight(l->at)) {
            memcpy(to, l->at, 8);
            to += 8, l->at += 8;
        }
        if (l->at == l->end || *l->at < 0x20) return NULL;
        unsigned char c = *l->at;
        int64_t bytes = c < 0x80 ? 1 : utf8_character((const char *)l->at, l->end - l->at);
        if (bytes == 0) return NULL;
        l->at += bytes;
        if (c == '"') return to;
        if (c == '\\') {
            if (!(to = unescape(l, to))) return NULL;
        } else {
            memcpy(to, l->at - bytes, (size_t)bytes);
            to += bytes;
        }
    }
}

/* -- other values -------------------------------------------------------------------------------------- */

static bool take_word(Line *l, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(l->end - l->at) < n || memcmp(l->at, word, n)) return false;
    l->at += n;
    return true;
}

static int64_t take_digits(Line *l) {
    const unsigned char *from = l->at;
    while (l->at < l->end && *l->at >= '0' && *l->at <= '9') l->at++;
    return l->at - from;
}

/* Numbers so short that no parser finds them too large; no exponents. */
static bool skip_number(Line *l) {
    if (l->at < l->end && *l->at == '-') l->at++;
    bool zero = l->at < l->end && *l->at == '0';
    int64_t digits = take_digits(l);
    if (digits == 0 || digits > DIGITS_MOST || (zero && digits > 1)) return false;
    if (l->at == l->end || *l->at != '.') return true;
    l->at++;
    digits = take_digits(l);
    return digits > 0 && digits <= DIGITS_MOST;
}

static bool skip_value(Line *l) {
    return take_word(l, "true") || take_word(l, "false") || take_word(l, "null") || skip_number(l);
}

/* -- the object ------------------------------------------------------------------------------------------ */

/* A key as it is spelled; one with an escape is left to a parser. */
static bool read_key(Line *l, Word *key) {
    if (!take(l, '"')) return false;
    key->text = l->at;
    while (l->at < l->end && *l->at != '"' && *l->at != '\\' && *l->at >= 0x20 && *l->at < 0x80) l->at++;
    key->bytes = l->at - key->text;
    return l->at < l->end && *l->at++ == '"' && take(l, ':');
}

static bool same(const Word *a, const void *text, int64_t bytes) {
    return a->bytes == bytes && !memcmp(a->text, text, (size_t)bytes);
}

static bool is_new(const Word *key, int n) {
    for (int i = 0; i < n; i++)
        if (same(&key[i], key[n].text, key[n].bytes)) return false;
    return true;
}

bool json_line_field(const char *line, int64_t bytes, const char *field, char *to, int64_t *length) {
    Line l = {(const unsigned char *)line, (const unsigned char *)line + bytes};
    Word key[KEYS_MOST];
    char *free_room = to, *text = NULL;
    if (!take(&l, '{')) return false;
    for (int n = 0; n < KEYS_MOST; n++) {
        if (!read_key(&l, &key[n]) || !is_new(key, n)) return false;
        bool wanted = same(&key[n], field, (int64_t)strlen(field));
        skip_space(&l);
        if (l.at < l.end && *l.at == '"') {
            l.at++;
            char *end = read_string(&l, free_room);
            if (!end) return false;
            if (wanted)
                text = free_room, *length = end - text, free_room = end; /* later strings are written behind it */
        } else if (wanted || !skip_value(&l)) {
            return false;
        }
        if (take(&l, ',')) continue;
        if (!take(&l, '}')) return false;
        skip_space(&l);
        if (l.at < l.end || !text) return false;
        memmove(to, text, (size_t)*length);
        return true;
    }
    return false;
}
