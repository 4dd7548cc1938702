/* documents.h - text out of files, as a stream of documents.
 *
 * A .jsonl file holds one document a line, in a named field; any other file is one document; both may be packed
 * (input.h). Memory is bounded: plain text comes in pieces, a line of JSON has at most LINE_LIMIT bytes. Text is UTF-8
 * without NUL; a line that is not, is no JSON, or lacks the field is bad: an error that names file and line, or left out
 * and counted, as far as bad_most allows. Of plain text the line alone is left out. */
#pragma once
#include "data/utf8.h"

enum { LINE_LIMIT = 16 << 20, BAD_NAMED = 3, BAD_TEXT = 256 };

typedef struct {
    const char *file, *field;
    int64_t from, end; /* only lines that begin in this range of a .jsonl that is not packed; end 0: all */
    int64_t bad_most;  /* bad lines to leave out, counts of earlier files included */
} DocumentFile;

/* What was not passed on; added to, so that several files may share it. */
typedef struct {
    int64_t skipped;   /* lines and files without text */
    int64_t bad_lines; /* left out; the first are named */
    char bad[BAD_NAMED][BAD_TEXT];
} DocumentCounts;

typedef struct {
    void *own;
    bool (*text)(void *own, const char *text, int64_t bytes, Error *); /* the next piece of a document */
    bool (*end)(void *own, Error *);                                   /* it is complete */
    void (*progress)(void *own, int64_t bytes);                        /* bytes of the file that were read */
    /* Where these are set, text may refuse what it is given as unfit, and takes back the pieces of a document. */
    bool *unfit;
    void (*drop)(void *own);
} DocumentSink;

bool documents_read(const DocumentFile *, const DocumentSink *, DocumentCounts *, Error *);

/* Whether documents are lines of this file, or it is one. */
bool documents_are_lines(const char *file);
