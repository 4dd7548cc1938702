/* safetensors_parse.h - the parts of safetensors that see a stranger's bytes: pure functions over
 * (pointer, length), no file and no global state, so that they can be fuzzed. Internal to data/. */
#pragma once
#include "data/safetensors.h"

enum { ST_MAX_NAME = 1024, ST_MAX_DIMS = 8, ST_MAX_HEADER = 100 << 20, ST_MAX_INDEX = 64 << 20, ST_MAX_DEPTH = 32 };

/* Tensors of one file, in the order of their bytes. Names are malloc'd, data point into the file. */
typedef struct {
    StTensor *tensor;
    int64_t count, room;
} StList;
bool st_parse_file(StList *, const void *file, int64_t bytes, const char *name, Error *);

/* weight_map of an index: tensor name -> file name, both malloc'd. Sorted by tensor name. */
typedef struct {
    char *tensor, *file;
} StMapping;
typedef struct {
    StMapping *mapping;
    int64_t count, room;
    double total_size; /* bytes of all tensors, as the index says; -1 = it does not */
} StIndex;
bool st_parse_index(StIndex *, const char *text, int64_t bytes, const char *name, Error *);

void st_list_free(StList *);
void st_index_free(StIndex *);

int64_t st_dtype_bytes(const char *name, StDtype *); /* of one element; 0 = not a dtype */
StTensor *st_list_add(StList *);

/* A cursor over JSON text. Every reader skips blanks first; a failure sets the message once. */
typedef struct {
    const char *text, *name; /* name of the file, for messages */
    int64_t at, end, base;   /* base: of text[0] in the file */
    Error *error;
} Json;

bool json_fail(const Json *, const char *what); /* false; "NAME: byte N: what" */
char json_peek(Json *);                         /* next character, 0 at the end */
bool json_expect(Json *, char c);
bool json_take(Json *, char c);           /* true and past it where the next character is c */
char *json_name(Json *, int64_t longest); /* malloc'd string without escapes or control bytes; NULL + message */
bool json_count(Json *, int64_t *value);  /* an integer >= 0 */
bool json_skip(Json *, int depth);        /* any value */
bool json_end(Json *);                    /* nothing but blanks is left */
/* Calls see(own, json, key) for each member of an object; see reads the value. */
bool json_members(Json *, bool (*see)(void *own, Json *, char *key), void *own);
