/* json_text.c - see json_text.h. */
#include "configs/json_text.h"

#include <stdio.h>
#include <string.h>

json_t *json_text(const char *text, int64_t bytes, size_t flags, json_error_t *why) {
    const char *nul = memchr(text, 0, (size_t)bytes);
    if (!nul) return json_loadb(text, (size_t)bytes, flags, why);
    *why = (json_error_t){.line = 1, .position = (int)(nul - text) + 1};
    for (const char *at = text; at < nul; at++) why->line += *at == '\n';
    snprintf(why->text, sizeof why->text, "a NUL byte");
    return NULL;
}
