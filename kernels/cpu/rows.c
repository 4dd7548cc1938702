/* rows.c - rows by index: gather, gather with sum, embedding and its gradient. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <string.h>

static int64_t index_at(Tensor index, int64_t i, int64_t j, int64_t rows) {
    int64_t row = id_of(index, i, j);
    check(row < rows, "index %lld of %lld rows", (long long)row, (long long)rows);
    return row;
}

static void copy_row(Tensor y, int64_t i, Tensor x, int64_t row) {
    float buffer[PIECE];
    size_t bytes = (size_t)(tensor_cols(y) * dtype_bytes(y.dtype));
    if (row < 0)
        memset(element(y, i, 0), 0, bytes);
    else if (x.dtype == y.dtype)
        memcpy(element(y, i, 0), element(x, row, 0), bytes);
    else
        for (int64_t col = 0; col < tensor_cols(y); col += PIECE) {
            int64_t n = min_i64(PIECE, tensor_cols(y) - col);
            floats_store(element(y, i, col), y.dtype, piece_in(x, row, col, n, buffer), n);
        }
}

void cpu_gather_rows(Device *device, Tensor y, Tensor x, Tensor index) {
    shape_gather_rows(device, y, x, index);
    if (cpu_leaves(x) || cpu_leaves(y)) {
        ref_gather_rows(device, y, x, index);
        return;
    }
    index = tensor_flat(index);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < tensor_rows(y); i++) copy_row(y, i, x, index_at(index, 0, i, tensor_rows(x)));
}

void cpu_put_rows(Device *device, Tensor y, Tensor x, Tensor index) {
    shape_put_rows(device, y, x, index);
    if (cpu_leaves(x) || cpu_leaves(y)) {
        ref_put_rows(device, y, x, index);
        return;
    }
    index = tensor_flat(index);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < tensor_rows(x); i++) {
        int64_t row = index_at(index, 0, i, tensor_rows(y));
        check(row >= 0, "row %lld", (long long)row);
        copy_row(y, row, x, i);
    }
}

static void sum_rows(Tensor y, int64_t i, Tensor x, Tensor index, bool accumulate) {
    float buffer[PIECE], sum[PIECE];
    for (int64_t col = 0; col < tensor_cols(y); col += PIECE) {
        int64_t n = min_i64(PIECE, tensor_cols(y) - col);
        if (accumulate)
            floats_load(sum, element(y, i, col), y.dtype, n);
        else
            memset(sum, 0, (size_t)n * sizeof *sum);
        for (int64_t j = 0; j < tensor_cols(index); j++) {
            int64_t row = index_at(index, i, j, tensor_rows(x));
            if (row >= 0) floats_add(sum, piece_in(x, row, col, n, buffer), n);
        }
        floats_store(element(y, i, col), y.dtype, sum, n);
    }
}

void cpu_gather_sum_rows(Device *device, Tensor y, Tensor x, Tensor index, bool accumulate) {
    shape_gather_sum_rows(device, y, x, index);
    if (cpu_leaves(x) || cpu_leaves(y)) {
        ref_gather_sum_rows(device, y, x, index, accumulate);
        return;
    }
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < tensor_rows(y); i++) sum_rows(y, i, x, index, accumulate);
}

static int64_t token_at(Tensor ids, int64_t i, Tensor w) {
    int64_t token = index_at(ids, 0, i, tensor_rows(w));
    check(token >= 0, "token id %lld", (long long)token);
    return token;
}

void cpu_embedding_forward(Device *device, Tensor y, Tensor w, Tensor ids) {
    shape_embedding_forward(device, y, w, ids);
    if (cpu_leaves(w)) {
        ref_embedding_forward(device, y, w, ids);
        return;
    }
    ids = tensor_flat(ids);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < tensor_rows(y); i++) copy_row(y, i, w, token_at(ids, i, w));
}

/* Each task takes some columns of all rows in order: no two threads meet in a row of dw. */
void cpu_embedding_backward(Device *device, Tensor dw, Tensor dy, Tensor ids) {
    shape_embedding_backward(device, dw, dy, ids);
    if (cpu_leaves(dy)) {
        ref_embedding_backward(device, dw, dy, ids);
        return;
    }
    int64_t cols = tensor_cols(dy), step = min_i64(PIECE, round_up(ceil_div(cols, device->threads), 16));
    ids = tensor_flat(ids);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t col = 0; col < cols; col += step) {
        float buffer[PIECE];
        int64_t n = min_i64(step, cols - col);
        for (int64_t i = 0; i < tensor_rows(dy); i++)
            floats_add(element(dw, token_at(ids, i, dw), col), piece_in(dy, i, col, n, buffer), n);
    }
}
