/* json_line.h - one string out of a line of JSON, fast.
 *
 * Reads the plain case only: an object of strings, numbers, true, false, null, each key once. Whatever else a line may
 * be - nested, broken, hostile - is left to a real parser, which also has the message. What is read here such a parser
 * would read to the same text (tests/fuzz holds them beside each other). */
#pragma once
#include "kernels/base.h"

/* `to` holds `bytes`. True with the field's text and its length; false: use a parser. */
bool json_line_field(const char *line, int64_t bytes, const char *field, char *to, int64_t *length);
