/* ref.h - how the reference kernels see a tensor: one element at a time, as a double.
 *
 * ref is the truth for the other backends: plain loops, every sum in double whatever the dtype,
 * one rounding when a result is stored. */
#pragma once
#include "kernels/shapes.h"

static inline double get(Tensor t, int64_t row, int64_t col) {
    int64_t i = row * t.row_stride + col;
    switch (t.dtype) {
    case F64: return ((const double *)t.data)[i];
    case F32: return ((const float *)t.data)[i];
    case BF16: return bf16_to_float(((const uint16_t *)t.data)[i]);
    case I32: return ((const int32_t *)t.data)[i];
    default: die(__FILE__, __LINE__, "no kernel reads %s", dtype_name(t.dtype));
    }
}

static inline void put(Tensor t, int64_t row, int64_t col, double value) {
    int64_t i = row * t.row_stride + col;
    switch (t.dtype) {
    case F64: ((double *)t.data)[i] = value; return;
    case F32: ((float *)t.data)[i] = (float)value; return;
    case BF16: ((uint16_t *)t.data)[i] = float_to_bf16((float)value); return;
    case I32: ((int32_t *)t.data)[i] = (int32_t)value; return;
    default: die(__FILE__, __LINE__, "no kernel writes %s", dtype_name(t.dtype));
    }
}

static inline void put_plus(Tensor t, int64_t row, int64_t col, double value) {
    put(t, row, col, get(t, row, col) + value);
}

/* Writes (=) or adds to (+=) an activation gradient. */
static inline void put_gradient(Tensor t, int64_t row, int64_t col, double value, bool accumulate) {
    put(t, row, col, accumulate ? get(t, row, col) + value : value);
}

static inline int64_t id_at(Tensor t, int64_t row, int64_t col) {
    return ((const int32_t *)t.data)[row * t.row_stride + col];
}
