/* input.h - the bytes of a file, unpacked where its name ends in .gz, .zst or .zstd.
 *
 * Memory is bounded whatever the file unpacks to: a MiB for gzip, and for zstd the window that its frames ask for, at
 * most 128 MiB. A stream that is cut off or damaged is an error that names the file. */
#pragma once
#include "kernels/base.h"

typedef struct Input Input;

Input *input_open(const char *file, Error *);
void input_close(Input *);
/* Only of files that are not packed. */
bool input_seek(Input *, int64_t offset, Error *);
/* Fills `to` unless the file ends first; the bytes written, -1 + message. */
int64_t input_read(Input *, void *to, int64_t bytes, Error *);
int64_t input_taken(const Input *); /* bytes of the file itself that were read */

bool input_is_packed(const char *file);
/* Whether the name, without what says how it is packed, ends so. */
bool input_ends_with(const char *file, const char *end);
