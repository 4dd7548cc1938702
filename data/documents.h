/* documents.h - text out of files, as a stream of documents.
 *
 * A .jsonl file holds one document a line, in a named field; any other file is one document. Memory
 * is bounded: plain text comes in pieces, a line has at most LINE_LIMIT bytes. Text is UTF-8 without
 * NUL; anything else is an error that names file and line. */
#pragma once
#include "kernels/base.h"

enum { LINE_LIMIT = 16 << 20 };

typedef struct {
    void *own;
    bool (*text)(void *own, const char *text, int64_t bytes, Error *); /* the next piece of a document */
    bool (*end)(void *own, Error *);                                   /* it is complete */
    void (*progress)(void *own, int64_t bytes);                        /* bytes of the file that were read */
} DocumentSink;

/* Documents without text are left out; *skipped counts them and blank lines. */
bool documents_read(const char *file, const char *field, const DocumentSink *, int64_t *skipped, Error *);

/* Longest prefix of whole, valid UTF-8 characters without NUL; *cut says that what follows is only the
 * beginning of a character. */
int64_t utf8_prefix(const char *text, int64_t bytes, bool *cut);
