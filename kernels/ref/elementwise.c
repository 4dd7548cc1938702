/* elementwise.c - fill, convert, add, scale, random. */
#include "kernels/ref/ref.h"

void ref_fill(Device *device, Tensor y, double value) {
    shape_fill(device, y);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t j = 0; j < tensor_cols(y); j++) put(y, i, j, value);
}

void ref_convert(Device *device, Tensor y, Tensor x) {
    shape_convert(device, y, x);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t j = 0; j < tensor_cols(y); j++) put(y, i, j, get(x, i, j));
}

void ref_add(Device *device, Tensor y, Tensor x) {
    shape_add(device, y, x);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t j = 0; j < tensor_cols(y); j++) put_plus(y, i, j, get(x, i, j));
}

void ref_scale(Device *device, Tensor y, double factor) {
    shape_scale(device, y);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t j = 0; j < tensor_cols(y); j++) put(y, i, j, get(y, i, j) * factor);
}

void ref_random_normal(Device *device, Tensor y, double std, uint64_t seed, uint64_t stream, int64_t first) {
    shape_random_normal(device, y);
    for (int64_t i = 0; i < tensor_rows(y); i++)
        for (int64_t j = 0; j < tensor_cols(y); j++) {
            int64_t index = first + i * tensor_cols(y) + j;
            put(y, i, j, std * random_gauss(seed, stream, (uint64_t)index));
        }
}
