/* safetensors.h - read a .safetensors file, or a folder of shards with an index, as published.
 *
 * Everything in a header is a stranger's word: sizes, overlaps, holes, names and dtypes are
 * checked before a byte of data is used. Files are mapped, so reading a slice costs that slice. */
#pragma once
#include "kernels/tensor.h"

typedef enum { ST_F64, ST_F32, ST_BF16, ST_F16, ST_I32, ST_I64, ST_U8, ST_OTHER } StDtype;

typedef struct {
    const char *name;
    StDtype dtype;
    int ndim;
    int64_t dim[8], count, bytes; /* count: elements */
    const void *data;             /* mapped, read-only, may be unaligned */
    const char *file;
} StTensor;

typedef struct Safetensors Safetensors;

/* path: a .safetensors file, a *.index.json, or a folder that holds either. NULL + message. */
Safetensors *safetensors_open(const char *path, Error *);
void safetensors_close(Safetensors *);
const char *safetensors_path(const Safetensors *); /* as it was opened */
int64_t safetensors_count(const Safetensors *);
const StTensor *safetensors_at(const Safetensors *, int64_t i);          /* sorted by name */
const StTensor *safetensors_find(const Safetensors *, const char *name); /* NULL when absent */
bool safetensors_dtype(const StTensor *, Dtype *);                       /* false: one that Dtype has no name for */
/* Bytes [first, first + count) as they are stored, read from the file anew. */
bool safetensors_bytes(Safetensors *, const StTensor *, int64_t first, int64_t count, void *to, Error *);
/* elements [first, first + count) as F32, F64, I32 or I64 (floats to floats, integers to integers) */
bool safetensors_read(const StTensor *, Dtype, int64_t first, int64_t count, void *to, Error *);
/* The parser alone, for tests and fuzzing: checks header and layout of `bytes` of a file. */
bool safetensors_check(const void *file, int64_t bytes, const char *name, Error *);

/* -- writing: F32, BF16, F16, I32 or I64 tensors, in the order given ------------------------------ */
typedef struct {
    const char *name;
    Tensor t; /* its data may be NULL for safetensors_stream */
    int ndim;
    int64_t dim[8];
} StOut;
/* One file, atomically: a temporary name beside it, then its own. */
bool safetensors_write(const char *file, const StOut *tensors, int64_t n, Error *);
/* One new file, fsynced, whose bytes come piece by piece from read(own, tensor, first byte, count, to). */
typedef bool StRead(void *own, int64_t tensor, int64_t first, int64_t count, void *to, Error *);
bool safetensors_stream(const char *file, const StOut *tensors, int64_t n, StRead *read, void *own, Error *);
