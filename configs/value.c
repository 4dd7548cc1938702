/* value.c - one value from a node and back to text, by the type and range of its key. */
#include "configs/keys.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t key_bytes(KeyType type) {
    static const size_t bytes[] = {
        [TYPE_INT] = sizeof(int64_t),   [TYPE_REAL] = sizeof(double),    [TYPE_BOOL] = sizeof(bool),
        [TYPE_STRING] = sizeof(char *), [TYPE_PATH] = sizeof(char *),    [TYPE_CHOICE] = sizeof(char *),
        [TYPE_COUNT] = sizeof(int64_t), [TYPE_REALS] = sizeof(RealList),
    };
    return bytes[type];
}

void text_add(char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *piece = must_format_args(format, args);
    va_end(args);
    size_t old = *text ? strlen(*text) : 0, bytes = strlen(piece) + 1;
    *text = must_realloc(*text, (int64_t)(old + bytes), 1);
    memcpy(*text + old, piece, bytes);
    free(piece);
}

/* -- ranges ---------------------------------------------------------------------------------- */

typedef struct {
    bool has_low, has_high;
    double low, high;
    char low_text[32], high_text[32];
} Range;

static Range range_of(const Key *key) {
    Range range = {0};
    const char *dots = strstr(key->range, "..");
    if (!dots) return range;
    snprintf(range.low_text, sizeof range.low_text, "%.*s", (int)(dots - key->range), key->range);
    snprintf(range.high_text, sizeof range.high_text, "%s", dots + 2);
    range.has_low = *range.low_text;
    range.has_high = *range.high_text;
    range.low = strtod(range.low_text, NULL);
    range.high = strtod(range.high_text, NULL);
    return range;
}

static bool in_range(const Key *key, double value) {
    Range range = range_of(key);
    return !(range.has_low && value < range.low) && !(range.has_high && value > range.high);
}

const char *key_takes(const Key *key, char to[256]) {
    static const char *const kinds[] = {
        [TYPE_INT] = "a whole number",
        [TYPE_REAL] = "a number",
        [TYPE_BOOL] = "true or false",
        [TYPE_STRING] = "text",
        [TYPE_PATH] = "text",
        [TYPE_CHOICE] = "one of ",
        [TYPE_COUNT] = "a count such as 5000, 20M or 2B",
        [TYPE_REALS] = "a list of numbers",
    };
    Range range = range_of(key);
    const char *kind = kinds[key->type];
    if (key->type == TYPE_CHOICE)
        snprintf(to, 256, strchr(key->range, '|') ? "%s%s" : "%.0s%s", kind, key->range);
    else if (key->type == TYPE_REALS && !*key->range)
        snprintf(to, 256, "a list of names, or shares by name");
    else if (range.has_low && range.has_high && range.low == range.high)
        snprintf(to, 256, "%s", range.low_text);
    else if (range.has_low && range.has_high)
        snprintf(to, 256, "%s from %s to %s", kind, range.low_text, range.high_text);
    else if (range.has_low)
        snprintf(to, 256, "%s, at least %s", kind, range.low_text);
    else
        snprintf(to, 256, "%s", kind);
    return to;
}

/* -- from text ------------------------------------------------------------------------------- */

static bool parse_integer(const char *text, int64_t *value) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || digits[strspn(digits, "0123456789")]) return false;
    errno = 0;
    *value = strtoll(text, NULL, 10);
    return errno == 0;
}

static bool parse_real(const char *text, double *value) {
    char *end;
    if (!strpbrk(text, "0123456789") || text[strspn(text, "0123456789.eE+-")]) return false; /* no nan, inf, hex */
    *value = strtod(text, &end);
    return !*end && isfinite(*value);
}

/* 5000, 20M, 2B, 8.1T: a whole number of tokens. */
static bool parse_count(const char *text, int64_t *value) {
    static const struct {
        char letter;
        double unit;
    } units[] = {{'K', 1e3}, {'M', 1e6}, {'B', 1e9}, {'T', 1e12}};
    if (parse_integer(text, value)) return true;
    size_t length = strlen(text);
    char number[32];
    if (length < 2 || length > sizeof number) return false;
    memcpy(number, text, length - 1);
    number[length - 1] = 0;
    double real;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (text[length - 1] != units[i].letter || !parse_real(number, &real)) continue;
        double count = real * units[i].unit, whole = nearbyint(count);
        if (fabs(count) > 9e15 || fabs(count - whole) > 1e-12 * fabs(count)) return false;
        *value = (int64_t)whole;
        return true;
    }
    return false;
}

/* "bf16|fp32": the word itself, so that values stay comparable when nodes are gone. */
static bool is_choice(const Key *key, const char *text) {
    size_t length = strlen(text);
    for (const char *at = key->range;; at++) {
        size_t n = strcspn(at, "|");
        if (n == length && !memcmp(at, text, n)) return true;
        at += n;
        if (!*at) return false;
    }
}

/* Says what stands there, what may, and what the key is for. */
static bool wrong(const Key *key, const Node *node, Error *error) {
    char at[256], takes[256], found[96];
    if (node->kind == NODE_SCALAR)
        snprintf(found, sizeof found, "%s%.60s%s", node->plain ? "" : "\"", node->text, node->plain ? "" : "\"");
    else
        snprintf(found, sizeof found, "%s", node->kind == NODE_LIST ? "a list" : "a mapping");
    bool in_json = node->file && !node->line;
    return fail(error, "%s: %s is %s; it must be %s (%s)", node_place(node, at), in_json ? key_name(key) : key->path,
                *found ? found : "empty", key_takes(key, takes), key->help);
}

static bool parse_share(const Key *key, const Node *item, RealList *list, bool names, Error *error) {
    char at[256];
    if (list->count == CONFIG_MAX_LIST)
        return fail(error, "%s: %s has more than %d entries", node_place(item, at), key->path, CONFIG_MAX_LIST);
    if (item->kind != NODE_SCALAR) return wrong(key, item, error);
    if (item->key && node_is_null(item)) return true; /* takes the name out of a weaker layer */
    double *value = &list->value[list->count];
    *value = 0;
    if (!names || item->key) {
        if (!item->plain || !parse_real(item->text, value) || !in_range(key, *value)) return wrong(key, item, error);
        if (names && *value <= 0) /* in a list of names 0 stands for all of each */
            return fail(error, "%s: %s: the share of '%.60s' is %s; shares are above 0, and null takes a set out",
                        node_place(item, at), key->path, item->key, item->text);
    }
    if (names) list->name[list->count] = item->key ? item->key : item->text;
    list->count++;
    return true;
}

static bool parse_list(const Key *key, const Node *node, RealList *list, Error *error) {
    bool names = !*key->range; /* a list of numbers always has a range */
    if (node->kind == NODE_SCALAR || (node->kind == NODE_MAP && !names)) return wrong(key, node, error);
    memset(list, 0, sizeof *list);
    for (const Node *item = node->child; item; item = item->next)
        if (!parse_share(key, item, list, names, error)) return false;
    return true;
}

static bool parse_number(const Key *key, const Node *node, void *slot) {
    int64_t integer;
    double real;
    if (!node->plain) return false;
    if (key->type == TYPE_REAL) {
        if (!parse_real(node->text, &real) || !in_range(key, real)) return false;
        *(double *)slot = real;
        return true;
    }
    bool ok = key->type == TYPE_INT ? parse_integer(node->text, &integer) : parse_count(node->text, &integer);
    if (!ok || !in_range(key, (double)integer)) return false;
    *(int64_t *)slot = integer;
    return true;
}

static bool parse_bool(const Node *node, bool *value) {
    *value = !strcmp(node->text, "true");
    return node->plain && (*value || !strcmp(node->text, "false"));
}

bool value_parse(const Key *key, const Node *node, void *slot, Error *error) {
    if (key->type == TYPE_REALS) return parse_list(key, node, slot, error);
    bool ok = node->kind == NODE_SCALAR;
    if (ok && key->type == TYPE_BOOL)
        ok = parse_bool(node, slot);
    else if (ok && key->type == TYPE_CHOICE)
        ok = is_choice(key, node->text);
    else if (ok && !type_is_text(key->type))
        ok = parse_number(key, node, slot);
    if (!ok) return wrong(key, node, error);
    if (type_is_text(key->type)) *(const char **)slot = node->text;
    return true;
}

void value_default(const Key *key, void *slot, Pool *pool) {
    memset(slot, 0, key_bytes(key->type));
    bool unset = !*key->fallback || !strcmp(key->fallback, "null");
    if (type_is_text(key->type)) {
        *(const char **)slot = key->fallback;
    } else if (!unset) {
        Error error = {0};
        Node *node = yaml_parse(pool, key->fallback, (int64_t)strlen(key->fallback), "keys.def", &error);
        check(node && value_parse(key, node, slot, &error), "default of %s: %s", key->path, error.text);
    }
}

/* -- to text --------------------------------------------------------------------------------- */

static bool continues(unsigned char c) { return (c & 0xc0) == 0x80; }

/* The code point at c when YAML would not keep it as it is (controls, its own line breaks, marks); else 0. */
static unsigned awkward(const unsigned char *c, int *bytes) {
    *bytes = 1;
    if (*c < 0x20 || *c == 0x7f) return *c;
    if (!continues(c[1])) return 0; /* a character cut short, perhaps by the end of the text */
    unsigned two = (c[0] & 0x1fu) << 6 | (c[1] & 0x3fu);
    if (*c == 0xc2 && two < 0xa0) return *bytes = 2, two;
    if ((*c != 0xe2 && *c != 0xef) || !continues(c[2])) return 0;
    unsigned three = (c[0] & 0xfu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
    *bytes = 3;
    return three == 0x2028 || three == 0x2029 || three == 0xfeff ? three : 0;
}

char *text_quoted(const char *text) {
    char *out = must_strdup("\"");
    int bytes;
    for (const unsigned char *c = (const unsigned char *)text; *c; c += bytes) {
        unsigned code = awkward(c, &bytes);
        if (code) {
            text_add(&out, "\\u%04x", code);
        } else {
            bytes = 1;
            text_add(&out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
        }
    }
    text_add(&out, "\"");
    return out;
}

void text_add_real(char **out, double value) {
    char text[40];
    if (value == nearbyint(value) && fabs(value) < 1e15) { /* 1000000, not 1e+06 */
        text_add(out, "%.0f", value);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    text_add(out, "%s", text);
}

static char *format_list(const RealList *list) {
    bool shares = list->count && list->name[0] && list->value[0] > 0;
    char *out = must_strdup(shares ? "{" : "[");
    for (int i = 0; i < list->count; i++) {
        char *name = list->name[i] ? text_quoted(list->name[i]) : NULL;
        text_add(&out, "%s%s%s", i ? ", " : "", name ? name : "", shares ? ": " : "");
        if (shares || !name) text_add_real(&out, list->value[i]);
        free(name);
    }
    text_add(&out, shares ? "}" : "]");
    return out;
}

char *value_format(const Key *key, const void *slot) {
    char *out = NULL;
    switch (key->type) {
    case TYPE_INT:
    case TYPE_COUNT: return must_format("%lld", (long long)*(const int64_t *)slot);
    case TYPE_BOOL: return must_strdup(*(const bool *)slot ? "true" : "false");
    case TYPE_CHOICE: return must_strdup(*(const char *const *)slot);
    case TYPE_REALS: return format_list(slot);
    case TYPE_REAL: text_add_real(&out, *(const double *)slot); return out;
    case TYPE_STRING:
    case TYPE_PATH: break;
    }
    const char *text = *(const char *const *)slot;
    return *text ? text_quoted(text) : must_strdup("");
}
