#include "kernels/tensor.h"

#include <string.h>

int64_t dtype_bytes(Dtype dtype) {
    static const int64_t bytes[] = {
        [F64] = 8, [F32] = 4, [BF16] = 2, [I32] = 4, [I64] = 8, [U8] = 1, [U16] = 2, [F16] = 2};
    return bytes[dtype];
}

const char *dtype_name(Dtype dtype) {
    static const char *const name[] = {[F64] = "f64", [F32] = "f32", [BF16] = "bf16", [I32] = "i32",
                                       [I64] = "i64", [U8] = "u8",   [U16] = "u16",   [F16] = "f16"};
    return name[dtype];
}

Tensor tensor_1d(void *data, Dtype dtype, int64_t n) {
    return (Tensor){.data = data, .dim = {n}, .row_stride = n, .ndim = 1, .dtype = dtype};
}
Tensor tensor_2d(void *data, Dtype dtype, int64_t rows, int64_t cols) {
    return (Tensor){.data = data, .dim = {rows, cols}, .row_stride = cols, .ndim = 2, .dtype = dtype};
}
Tensor tensor_3d(void *data, Dtype dtype, int64_t a, int64_t b, int64_t c) {
    return (Tensor){.data = data, .dim = {a, b, c}, .row_stride = c, .ndim = 3, .dtype = dtype};
}

int64_t tensor_rows(Tensor t) {
    int64_t rows = t.ndim ? 1 : 0;
    for (int i = 0; i + 1 < t.ndim; i++) rows *= t.dim[i];
    return rows;
}
int64_t tensor_cols(Tensor t) { return t.ndim ? t.dim[t.ndim - 1] : 0; }
int64_t tensor_count(Tensor t) { return tensor_rows(t) * tensor_cols(t); }
int64_t tensor_bytes(Tensor t) { return tensor_count(t) * dtype_bytes(t.dtype); }
bool tensor_contiguous(Tensor t) { return t.row_stride == tensor_cols(t) || tensor_rows(t) <= 1; }

static Tensor view(Tensor t, int64_t offset, int64_t rows, int64_t cols) {
    Tensor v = tensor_2d((char *)t.data + offset * dtype_bytes(t.dtype), t.dtype, rows, cols);
    v.row_stride = t.row_stride;
    return v;
}

Tensor tensor_rows_view(Tensor t, int64_t first, int64_t count) {
    check(first >= 0 && count >= 0 && first + count <= tensor_rows(t), "rows %lld + %lld of a tensor of %lld",
          (long long)first, (long long)count, (long long)tensor_rows(t));
    return view(t, first * t.row_stride, count, tensor_cols(t));
}

Tensor tensor_cols_view(Tensor t, int64_t first, int64_t count) {
    check(first >= 0 && count >= 0 && first + count <= tensor_cols(t), "columns %lld + %lld of a tensor of %lld",
          (long long)first, (long long)count, (long long)tensor_cols(t));
    return view(t, first, tensor_rows(t), count);
}

Tensor tensor_reshape(Tensor t, int64_t rows, int64_t cols) {
    check(tensor_contiguous(t) && rows * cols == tensor_count(t), "cannot see (%lld, %lld) as (%lld, %lld)",
          (long long)tensor_rows(t), (long long)tensor_cols(t), (long long)rows, (long long)cols);
    return tensor_2d(t.data, t.dtype, rows, cols);
}

static float float_from(const void *from, Dtype dtype, int64_t i) {
    if (dtype == F32) return ((const float *)from)[i];
    uint16_t h = ((const uint16_t *)from)[i];
    return dtype == BF16 ? bf16_to_float(h) : half_to_float(h);
}

void floats_convert(void *to, Dtype to_dtype, const void *from, Dtype from_dtype, int64_t count) {
    check(to_dtype == F32 || to_dtype == BF16, "numbers are not converted to %s", dtype_name(to_dtype));
    check(from_dtype == F32 || from_dtype == BF16 || from_dtype == F16, "numbers are not converted from %s",
          dtype_name(from_dtype));
    if (to_dtype == from_dtype)
        memcpy(to, from, (size_t)(count * dtype_bytes(to_dtype)));
    else if (to_dtype == F32)
        for (int64_t i = 0; i < count; i++) ((float *)to)[i] = float_from(from, from_dtype, i);
    else
        for (int64_t i = 0; i < count; i++) ((uint16_t *)to)[i] = float_to_bf16(float_from(from, from_dtype, i));
}

/* The exponent of what is no number is all ones. A block without one is passed over without a branch. */
static bool exponents_full(const void *values, Dtype dtype, int64_t first, int64_t n) {
    bool full = false;
    if (dtype == F32) {
        const uint32_t *wide = (const uint32_t *)values + first;
        for (int64_t i = 0; i < n; i++) full |= (wide[i] & 0x7f800000u) == 0x7f800000u;
        return full;
    }
    const uint16_t *narrow = (const uint16_t *)values + first, ones = dtype == BF16 ? 0x7f80 : 0x7c00;
    for (int64_t i = 0; i < n; i++) full |= (narrow[i] & ones) == ones;
    return full;
}

int64_t floats_nonfinite(const void *values, Dtype dtype, int64_t count) {
    enum { BLOCK = 1024 };
    check(dtype == F32 || dtype == BF16 || dtype == F16, "%s is looked through for NaN", dtype_name(dtype));
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t n = min_i64(BLOCK, count - at);
        if (!exponents_full(values, dtype, at, n)) continue;
        while (!exponents_full(values, dtype, at, 1)) at++;
        return at;
    }
    return -1;
}
