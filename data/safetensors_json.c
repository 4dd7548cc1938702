/* safetensors_json.c - just enough JSON for safetensors headers and indexes, strict and without a tree.
 *
 * A general parser builds the whole tree first, which costs forty times the text on hostile input,
 * and reads names with escapes or twice the same name in its own way. This one allocates only names. */
#include "data/safetensors_parse.h"

#include <stdlib.h>
#include <string.h>

bool json_fail(const Json *j, const char *what) {
    return fail(j->error, "%s: byte %lld of the file: %s", j->name, (long long)(j->base + j->at), what);
}

char json_peek(Json *j) {
    while (j->at < j->end && strchr(" \t\r\n", j->text[j->at]) && j->text[j->at]) j->at++;
    return j->at < j->end ? j->text[j->at] : 0;
}

bool json_take(Json *j, char c) {
    if (json_peek(j) != c || j->at == j->end) return false;
    j->at++;
    return true;
}

bool json_expect(Json *j, char c) {
    char what[] = "expected '?'";
    what[10] = c;
    return json_take(j, c) || json_fail(j, j->at == j->end ? "the JSON text ends too early" : what);
}

bool json_end(Json *j) {
    json_peek(j);
    return j->at == j->end || json_fail(j, "text after the end of the JSON object");
}

char *json_name(Json *j, int64_t longest) {
    if (!json_expect(j, '"')) return NULL;
    int64_t first = j->at;
    for (; j->at < j->end && j->text[j->at] != '"'; j->at++) {
        unsigned char c = (unsigned char)j->text[j->at];
        if (c == '\\') return json_fail(j, "a name with an escape, which parsers read differently"), NULL;
        if (c < 0x20 || c == 0x7f) return json_fail(j, "a name with a control character"), NULL;
        if (j->at - first >= longest) return json_fail(j, "a name of more than 1024 bytes"), NULL;
    }
    if (j->at == j->end) return json_fail(j, "the JSON text ends within a string"), NULL;
    char *name = must_alloc(j->at - first + 1, 1);
    memcpy(name, j->text + first, (size_t)(j->at - first));
    j->at++;
    return name;
}

bool json_count(Json *j, int64_t *value) {
    char c = json_peek(j);
    if (c < '0' || c > '9') return json_fail(j, "expected an integer that is not negative");
    bool zero = c == '0';
    int64_t digits = 0;
    for (*value = 0; j->at < j->end && j->text[j->at] >= '0' && j->text[j->at] <= '9'; j->at++, digits++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, j->text[j->at] - '0', value))
            return json_fail(j, "an integer beyond 2^63");
    if (zero && digits > 1) return json_fail(j, "an integer with leading zeros");
    if (j->at < j->end && strchr(".eE", j->text[j->at]) && j->text[j->at])
        return json_fail(j, "a fraction where an integer is expected");
    return true;
}

bool json_members(Json *j, bool (*see)(void *own, Json *, char *key), void *own) {
    if (!json_expect(j, '{')) return false;
    if (json_take(j, '}')) return true;
    do {
        char *key = json_name(j, ST_MAX_NAME);
        bool ok = key && json_expect(j, ':') && see(own, j, key);
        free(key);
        if (!ok) return false;
    } while (json_take(j, ','));
    return json_expect(j, '}');
}

static bool skip_string(Json *j) {
    if (!json_expect(j, '"')) return false;
    for (; j->at < j->end && j->text[j->at] != '"'; j->at++) {
        if ((unsigned char)j->text[j->at] < 0x20) return json_fail(j, "a control character within a string");
        if (j->text[j->at] == '\\') j->at++;
    }
    return j->at < j->end ? j->at++, true : json_fail(j, "the JSON text ends within a string");
}

static bool skip_items(Json *j, int depth, char close) {
    j->at++;
    if (json_take(j, close)) return true;
    do {
        if (close == '}' && !(skip_string(j) && json_expect(j, ':'))) return false;
        if (!json_skip(j, depth + 1)) return false;
    } while (json_take(j, ','));
    return json_expect(j, close);
}

/* true, false, null and numbers: what they say does not matter here */
static bool skip_word(Json *j) {
    int64_t first = j->at;
    while (j->at < j->end && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", j->text[j->at]) && j->text[j->at])
        j->at++;
    return j->at > first || json_fail(j, j->at == j->end ? "the JSON text ends too early" : "expected a value");
}

bool json_skip(Json *j, int depth) {
    if (depth > ST_MAX_DEPTH) return json_fail(j, "nested deeper than 32 levels");
    switch (json_peek(j)) {
    case '"': return skip_string(j);
    case '{': return skip_items(j, depth, '}');
    case '[': return skip_items(j, depth, ']');
    default: return skip_word(j);
    }
}
