/* json_text.h - JSON of strangers, read by jansson. */
#pragma once
#include <jansson.h>
#include <stdint.h>

#include "kernels/base.h"

/* Bytes of the byte order mark that some editors put before a text: 3, or 0. */
int64_t text_mark(const char *text, int64_t bytes);

/* As json_loadb, which passes over a NUL byte behind a number or a word: here the text holds none (a NUL that is escaped
 * in a string is what JSON_ALLOW_NUL is for). NULL + why. */
json_t *json_text(const char *text, int64_t bytes, size_t flags, json_error_t *why);

/* true or false under a key; where there is none, or null, *to stays. */
bool json_flag(bool *to, const json_t *object, const char *key, Error *error);
