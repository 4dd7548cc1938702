/* rows.c - rows by index: gather, gather with sum, embedding and its gradient. */
#include "kernels/ref/ref.h"

static int64_t index_at(Tensor index, int64_t i, int64_t j, int64_t rows) {
    int64_t row = id_at(index, i, j);
    check(row < rows, "index %lld of %lld rows", (long long)row, (long long)rows);
    return row;
}

void ref_gather_rows(Device *device, Tensor y, Tensor x, Tensor index) {
    shape_gather_rows(device, y, x, index);
    for (int64_t i = 0; i < tensor_rows(y); i++) {
        int64_t row = index_at(index, 0, i, tensor_rows(x));
        for (int64_t c = 0; c < tensor_cols(y); c++) put(y, i, c, row < 0 ? 0 : get(x, row, c));
    }
}

void ref_put_rows(Device *device, Tensor y, Tensor x, Tensor index) {
    shape_put_rows(device, y, x, index);
    for (int64_t i = 0; i < tensor_rows(x); i++) {
        int64_t row = index_at(index, 0, i, tensor_rows(y));
        check(row >= 0, "row %lld", (long long)row);
        for (int64_t c = 0; c < tensor_cols(x); c++) put(y, row, c, get(x, i, c));
    }
}

void ref_gather_sum_rows(Device *device, Tensor y, Tensor x, Tensor index, bool accumulate) {
    shape_gather_sum_rows(device, y, x, index);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t c = 0; c < tensor_cols(y); c++) {
            double sum = accumulate ? get(y, i, c) : 0;
            for (int64_t j = 0; j < tensor_cols(index); j++) {
                int64_t row = index_at(index, i, j, tensor_rows(x));
                if (row >= 0) sum += get(x, row, c);
            }
            put(y, i, c, sum);
        }
}

static int64_t token_at(Tensor ids, int64_t i, Tensor w) {
    int64_t token = index_at(ids, 0, i, tensor_rows(w));
    check(token >= 0, "token id %lld", (long long)token);
    return token;
}

void ref_embedding_forward(Device *device, Tensor y, Tensor w, Tensor ids) {
    shape_embedding_forward(device, y, w, ids);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t c = 0; c < tensor_cols(y); c++) put(y, i, c, get(w, token_at(ids, i, w), c));
}

static bool seen_before(Tensor ids, int64_t i) {
    for (int64_t j = 0; j < i; j++)
        if (id_at(ids, 0, j) == id_at(ids, 0, i)) return true;
    return false;
}

/* All rows of one token are summed before the sum is rounded into dw. */
void ref_embedding_backward(Device *device, Tensor dw, Tensor dy, Tensor ids) {
    shape_embedding_backward(device, dw, dy, ids);
    for (int64_t i = 0; i < tensor_rows(dy); i++) {
        if (seen_before(ids, i)) continue;
        int64_t token = token_at(ids, i, dw);
        for (int64_t c = 0; c < tensor_cols(dy); c++) {
            double sum = 0;
            for (int64_t j = i; j < tensor_rows(dy); j++)
                if (id_at(ids, 0, j) == token) sum += get(dy, j, c);
            put_plus(dw, token, c, sum);
        }
    }
}
