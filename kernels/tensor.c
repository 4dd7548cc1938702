#include "kernels/tensor.h"

int64_t dtype_bytes(Dtype dtype) {
    static const int64_t bytes[] = {[F64] = 8, [F32] = 4, [BF16] = 2, [I32] = 4, [I64] = 8, [U8] = 1, [U16] = 2};
    return bytes[dtype];
}

const char *dtype_name(Dtype dtype) {
    static const char *const name[] = {
        [F64] = "f64", [F32] = "f32", [BF16] = "bf16", [I32] = "i32", [I64] = "i64", [U8] = "u8", [U16] = "u16"};
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
bool tensor_same_shape(Tensor a, Tensor b) {
    return tensor_rows(a) == tensor_rows(b) && tensor_cols(a) == tensor_cols(b);
}
bool tensor_is_float(Tensor t) { return t.dtype == F64 || t.dtype == F32 || t.dtype == BF16; }

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
