/* elementwise.c - fill, convert, add, scale and random numbers. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

void cpu_fill(Device *device, Tensor y, double value) {
    shape_fill(device, y);
    if (y.dtype != F32 && y.dtype != BF16) {
        ref_fill(device, y, value);
        return;
    }
    if (tensor_contiguous(y)) y = tensor_flat(y);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < piece_count(y); i++) {
        float buffer[PIECE];
        Piece at = piece_at(y, i);
        float *out = piece_out(y, at.row, at.col, buffer);
        for (int64_t j = 0; j < at.n; j++) out[j] = (float)value;
        piece_done(y, at.row, at.col, at.n, out);
    }
}

void cpu_convert(Device *device, Tensor y, Tensor x) {
    shape_convert(device, y, x);
    if (cpu_leaves(x) || cpu_leaves(y)) {
        ref_convert(device, y, x);
        return;
    }
    if (tensor_contiguous(y) && tensor_contiguous(x)) y = tensor_flat(y), x = tensor_flat(x);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < piece_count(y); i++) {
        float buffer[PIECE];
        Piece at = piece_at(y, i);
        const float *in = piece_in(x, at.row, at.col, at.n, buffer);
        floats_store(element(y, at.row, at.col), y.dtype, in, at.n);
    }
}

void cpu_add(Device *device, Tensor y, Tensor x) {
    shape_add(device, y, x);
    if (cpu_leaves(x) || cpu_leaves(y)) {
        ref_add(device, y, x);
        return;
    }
    if (tensor_contiguous(y) && tensor_contiguous(x)) y = tensor_flat(y), x = tensor_flat(x);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < piece_count(y); i++) {
        float in_x[PIECE], sum[PIECE];
        Piece at = piece_at(y, i);
        floats_load(sum, element(y, at.row, at.col), y.dtype, at.n);
        floats_add(sum, piece_in(x, at.row, at.col, at.n, in_x), at.n);
        floats_store(element(y, at.row, at.col), y.dtype, sum, at.n);
    }
}

void cpu_scale(Device *device, Tensor y, double factor) {
    shape_scale(device, y);
    if (cpu_leaves(y)) {
        ref_scale(device, y, factor);
        return;
    }
    if (tensor_contiguous(y)) y = tensor_flat(y);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < piece_count(y); i++) {
        float values[PIECE];
        Piece at = piece_at(y, i);
        floats_load(values, element(y, at.row, at.col), y.dtype, at.n);
        floats_scale(values, (float)factor, at.n);
        floats_store(element(y, at.row, at.col), y.dtype, values, at.n);
    }
}

void cpu_random_normal(Device *device, Tensor y, double std, uint64_t seed, uint64_t stream, int64_t first) {
    shape_random_normal(device, y);
    int64_t cols = tensor_cols(y);
    if (cpu_leaves(y)) {
        ref_random_normal(device, y, std, seed, stream, first);
        return;
    }
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < piece_count(y); i++) {
        float buffer[PIECE];
        Piece at = piece_at(y, i);
        float *out = piece_out(y, at.row, at.col, buffer);
        uint64_t index = (uint64_t)(first + at.row * cols + at.col);
        for (int64_t j = 0; j < at.n; j++) out[j] = (float)(std * random_gauss(seed, stream, index + (uint64_t)j));
        piece_done(y, at.row, at.col, at.n, out);
    }
}
