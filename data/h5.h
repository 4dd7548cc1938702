/* h5.h - the only place that sees HDF5. Files made here stay plain HDF5 1.10 files.
 *
 * Writing: HDF5 lays the file out in memory (a sparse driver) and never touches the disk; the
 * bytes are written by our own pwrite, so a full disk is an error and not a crash. Every dataset
 * is contiguous. Reading: refuses what a stranger's file could use to reach elsewhere (external
 * storage, links, filters, virtual datasets). */
#pragma once
#include "kernels/tensor.h"

typedef struct H5Writer H5Writer;
typedef struct H5Reader H5Reader;

/* -- writing: declare everything, then lay out, then put the data at its offsets -------------- */
H5Writer *h5_create(void);
void h5_attr_text(H5Writer *, const char *object, const char *name,
                  const char *value); /* object "/" or a dataset's path */
void h5_attr_int(H5Writer *, const char *object, const char *name, int64_t value);
/* path may contain groups ("model/lm_head.weight"); returns the dataset's number. bf16 is stored
 * as a custom float that h5dump and h5py read, f16 as theirs. */
int h5_dataset(H5Writer *, const char *path, Dtype, int ndim, const int64_t *dim);
/* a dataset of a master file: rows [first_row ..) of it live in dataset `source_path` of the file
 * `source_file` beside this one; NaN where nothing is mapped */
int h5_virtual_dataset(H5Writer *, const char *path, Dtype, int ndim, const int64_t *dim);
void h5_virtual_source(H5Writer *, int dataset, const char *source_file, const char *source_path, int64_t first_row,
                       int64_t rows);
/* Fixes the layout. After it: */
bool h5_layout(H5Writer *, Error *);
int64_t h5_offset(const H5Writer *, int dataset); /* of its first byte in the file */
int64_t h5_bytes(const H5Writer *, int dataset);
int64_t h5_file_bytes(const H5Writer *);
/* All that lies before, between and behind the datasets: calls put for each piece, in rising order of
 * offset. These pieces and the datasets together are the whole file, without overlap. */
typedef bool H5Put(void *own, int64_t offset, const void *bytes, int64_t count);
bool h5_metadata(const H5Writer *, H5Put *put, void *own);
void h5_destroy(H5Writer *);

/* -- reading ---------------------------------------------------------------------------------- */
/* Any file: the library, which crashes on some damaged ones, lists it in a child process. NULL + message. */
H5Reader *h5_open(const char *file, Error *);
/* One whose size and hash were those of a MANIFEST: the library looks up what is asked for. */
H5Reader *h5_open_proven(const char *file, Error *);
void h5_close(H5Reader *);
/* At rest a reader of h5_open holds no file open. Woken, it lists the file anew if that has changed. */
void h5_rest(H5Reader *);
bool h5_wake(H5Reader *, Error *);
bool h5_read_attr_text(H5Reader *, const char *object, const char *name, char **value, Error *); /* malloc'd */
bool h5_read_attr_int(H5Reader *, const char *object, const char *name, int64_t *value, Error *);
bool h5_has(H5Reader *, const char *path);
bool h5_shape(H5Reader *, const char *path, Dtype *, int *ndim, int64_t dim[4], Error *);
/* elements [first, first + count) of the flattened dataset, converted to nothing: dtype must match */
bool h5_read(H5Reader *, const char *path, Dtype, int64_t first, int64_t count, void *to, Error *);
/* calls see(own, path) for every dataset; after h5_open for none where the file holds links or damage */
bool h5_each(H5Reader *, bool (*see)(void *own, const char *path), void *own, Error *);

const char *h5_version(void); /* "HDF5 1.10.8" */
