/* tensor.h - a typed view of device memory: up to four dims, the last one contiguous.
 *
 * A tensor owns nothing; an Arena owns the bytes. All leading dims flatten to rows, and
 * consecutive rows lie row_stride elements apart, so a block of columns of a matrix is a tensor
 * too. rows = product of all dims but the last, cols = the last dim (a 1-D tensor is one row). */
#pragma once
#include "kernels/base.h"

typedef enum { F64, F32, BF16, I32, I64, U8, U16, F16 } Dtype; /* files only: U16 (token shards), F16 (weights) */

typedef struct {
    void *data;
    int64_t dim[4], row_stride; /* elements */
    int ndim;
    Dtype dtype;
} Tensor;

/* Rows of a matrix in consecutive groups: group g is rows first[g] .. first[g + 1] - 1. The host
 * copy serves control flow and launches, the device copy kernels. Groups may be empty. */
typedef struct {
    int64_t count;
    const int64_t *first; /* host, count + 1 */
    Tensor device;        /* (count + 1) I64 */
} Groups;

int64_t dtype_bytes(Dtype dtype);
const char *dtype_name(Dtype dtype); /* "f64" "f32" "bf16" "i32" "i64" "u8" "u16" "f16" */

Tensor tensor_1d(void *data, Dtype dtype, int64_t n);
Tensor tensor_2d(void *data, Dtype dtype, int64_t rows, int64_t cols);
Tensor tensor_3d(void *data, Dtype dtype, int64_t a, int64_t b, int64_t c);

int64_t tensor_rows(Tensor t);
int64_t tensor_cols(Tensor t);
int64_t tensor_count(Tensor t); /* elements */
int64_t tensor_bytes(Tensor t); /* elements times size, strides left out */
bool tensor_contiguous(Tensor t);

Tensor tensor_rows_view(Tensor t, int64_t first, int64_t count); /* 2-D view of some rows */
Tensor tensor_cols_view(Tensor t, int64_t first, int64_t count); /* 2-D view of some columns */
/* The same elements as a (rows, cols) matrix; t must be contiguous. */
Tensor tensor_reshape(Tensor t, int64_t rows, int64_t cols);
static inline bool tensor_none(Tensor t) { return t.ndim == 0; } /* Tensor none = {0} */

/* bf16 <-> float on the host, round to nearest even; NaN stays NaN. */
static inline float bf16_to_float(uint16_t h) {
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)h << 16};
    return v.f;
}
static inline uint16_t float_to_bf16(float f) {
    union {
        float f;
        uint32_t u;
    } v = {f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(v.u >> 16 | 0x40u);
    return (uint16_t)((v.u + 0x7fffu + (v.u >> 16 & 1u)) >> 16);
}
/* Half precision, exactly: subnormals are scaled, the largest exponent is infinity or NaN. */
static inline float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    union {
        uint32_t u;
        float f;
    } v = {.u = magnitude << 13};
    if (magnitude >= 0x7c00u)
        v.u += 0x70000000u;
    else if (magnitude >= 0x0400u)
        v.u += 0x38000000u;
    else
        v.f = (float)magnitude * 0x1p-24f;
    v.u |= sign;
    return v.f;
}

/* Host copies of F32, BF16 or F16 numbers, F32 or BF16 ones made of them. */
void floats_convert(void *to, Dtype to_dtype, const void *from, Dtype from_dtype, int64_t count);
/* The first NaN or infinity among host copies of F32, BF16 or F16 numbers; -1 when there is none. */
int64_t floats_nonfinite(const void *values, Dtype, int64_t count);
