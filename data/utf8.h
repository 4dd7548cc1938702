/* utf8.h - UTF-8: is it, and what is white space. */
#pragma once
#include "kernels/base.h"

/* The next character and its bytes; where there is none, the bytes that could have begun one, at least 1 (the "maximal
 * subpart" that Unicode says to replace by one U+FFFD). CUT: the text ends within what may be a character. */
typedef enum { UTF8_WHOLE, UTF8_CUT, UTF8_BROKEN } Utf8;
Utf8 utf8_next(const char *text, int64_t bytes, int *length);
#define UTF8_REPLACEMENT "\xef\xbf\xbd"

bool utf8_valid(const char *text, int64_t bytes);    /* no overlong forms, no surrogates, nothing above U+10FFFF */
int utf8_character(const char *text, int64_t left);  /* bytes of the one that text begins with; 0 = it is none */
bool utf8_is_space(const char *text, int64_t bytes); /* begins with a character of Unicode's White_Space */
static inline int utf8_length(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

/* Writes text with U+FFFD for what is no character, as Hugging Face does; `to` holds 3 times the bytes. Returns the
 * bytes written. */
int64_t utf8_repair(char *to, const char *text, int64_t bytes);

/* Longest prefix of whole, valid UTF-8 characters without NUL; *cut says that what follows is only the
 * beginning of a character. */
int64_t utf8_prefix(const char *text, int64_t bytes, bool *cut);
