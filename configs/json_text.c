/* json_text.c - see json_text.h. */
#include "configs/json_text.h"

#include <stdio.h>
#include <string.h>

int64_t text_mark(const char *text, int64_t bytes) { return bytes >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0; }

json_t *json_text(const char *text, int64_t bytes, size_t flags, json_error_t *why) {
    const char *nul = memchr(text, 0, (size_t)bytes);
    if (text_mark(text, bytes)) {
        *why = (json_error_t){.line = 1, .text = "a byte order mark stands before it"};
        return NULL;
    }
    if (!nul) return json_loadb(text, (size_t)bytes, flags, why);
    *why = (json_error_t){.line = 1, .position = (int)(nul - text) + 1};
    for (const char *at = text; at < nul; at++) why->line += *at == '\n';
    snprintf(why->text, sizeof why->text, "a NUL byte");
    return NULL;
}

bool json_flag(bool *to, const json_t *object, const char *key, Error *error) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return true;
    if (!json_is_boolean(value)) return fail(error, "%s is neither true nor false", key);
    *to = json_is_true(value);
    return true;
}
