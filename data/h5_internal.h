/* h5_internal.h - what the files behind h5.h share; nobody else includes it. */
#pragma once
#include "data/h5.h"
#include <hdf5.h>

/* Called before any other use of HDF5: nothing in the environment may lead the library to other
 * files or plugins, and it never prints by itself. */
void h5_start(void);

/* fail() with the library's own reason behind the message. Call it right after the failed call:
 * the next one clears the reason. */
bool h5_fail(Error *, const char *format, ...) __attribute__((format(printf, 2, 3)));

hid_t h5_type_open(Dtype);                   /* as stored: little endian; the caller closes it */
bool h5_type_find(hid_t type, Dtype *dtype); /* false: a type that we never write */

/* A file in memory. Pages that were never written read as zeros and take no memory. */
typedef struct H5Memory H5Memory;
H5Memory *h5_memory_open(void);
void h5_memory_close(H5Memory *);
hid_t h5_memory_access(H5Memory *);        /* property list for H5Fcreate; the caller closes it */
int64_t h5_memory_bytes(const H5Memory *); /* length of the file */
void h5_memory_read(const H5Memory *, int64_t offset, void *bytes, int64_t count);

/* -- reading: what is in a file ------------------------------------------------------------------ */
enum { H5_DIMS = 4 };
typedef struct {
    Dtype dtype;
    int ndim;
    int64_t dim[H5_DIMS], count, offset;
} H5Place; /* of a dataset's elements in its file */

bool h5_place_count(H5Place *);                     /* sets count; false: its dims have no product */
bool h5_place_fits(const H5Place *, int64_t bytes); /* within a file of so many */

/* As the library says it, which may crash. */
typedef struct {
    const char *name; /* borrowed */
    int64_t bytes;
    hid_t file;
} H5Library;

bool library_open(H5Library *, const char *name, int64_t bytes, Error *);
void library_close(H5Library *);
bool library_has(const H5Library *, const char *path);
bool library_place(const H5Library *, const char *path, H5Place *, Error *);
bool library_text(const H5Library *, const char *object, const char *name, char **value, Error *);
bool library_int(const H5Library *, const char *object, const char *name, int64_t *value, Error *);
bool library_each(const H5Library *, bool (*see)(void *own, const char *path), void *own, Error *);
void library_attributes(const H5Library *, const char *object,
                        void (*see)(void *own, const char *object, const char *name), void *own);

/* As a child process listed it that asked the library: datasets, their attributes and those of "/". */
typedef struct H5Listing H5Listing;

H5Listing *listing_make(const char *name, int64_t bytes, Error *); /* borrows the name; NULL + message */
void listing_close(H5Listing *);
bool listing_has(H5Listing *, const char *path);
bool listing_place(H5Listing *, const char *path, H5Place *, Error *);
bool listing_text(H5Listing *, const char *object, const char *name, char **value, Error *);
bool listing_int(H5Listing *, const char *object, const char *name, int64_t *value, Error *);
bool listing_each(H5Listing *, bool (*see)(void *own, const char *path), void *own, Error *);
