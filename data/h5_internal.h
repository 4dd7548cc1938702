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
