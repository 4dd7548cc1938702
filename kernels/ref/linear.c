/* linear.c - products with a weight (O, I): x (N, I), y (N, O) = x w^T, and the same for groups of
 * rows, each with its own weight. */
#include "kernels/ref/ref.h"

void ref_linear_forward(Device *device, Tensor y, Tensor x, Tensor w) {
    shape_linear_forward(device, y, x, w);
    for (int64_t n = 0; n < tensor_rows(x); n++)
        for (int64_t o = 0; o < tensor_rows(w); o++) {
            double sum = 0;
            for (int64_t i = 0; i < tensor_cols(x); i++) sum += get(x, n, i) * get(w, o, i);
            put(y, n, o, sum);
        }
}

void ref_linear_backward_input(Device *device, Tensor dx, Tensor dy, Tensor w, bool accumulate) {
    shape_linear_backward_input(device, dx, dy, w);
    for (int64_t n = 0; n < tensor_rows(dy); n++)
        for (int64_t i = 0; i < tensor_cols(w); i++) {
            double sum = 0;
            for (int64_t o = 0; o < tensor_rows(w); o++) sum += get(dy, n, o) * get(w, o, i);
            put_gradient(dx, n, i, sum, accumulate);
        }
}

void ref_linear_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, bool accumulate) {
    shape_linear_backward_weight(device, dw, dy, x);
    for (int64_t o = 0; o < tensor_cols(dy); o++)
        for (int64_t i = 0; i < tensor_cols(x); i++) {
            double sum = 0;
            for (int64_t n = 0; n < tensor_rows(x); n++) sum += get(dy, n, o) * get(x, n, i);
            put_gradient(dw, o, i, sum, accumulate);
        }
}

static Tensor group_rows(Tensor t, Groups groups, int64_t g) {
    return tensor_rows_view(t, groups.first[g], groups.first[g + 1] - groups.first[g]);
}

static Tensor group_weight(Tensor w, Groups groups, int64_t g) {
    int64_t rows = tensor_rows(w) / groups.count;
    return tensor_rows_view(w, g * rows, rows);
}

void ref_grouped_linear_forward(Device *device, Tensor y, Tensor x, Tensor w, Groups groups) {
    shape_grouped_linear_forward(device, y, x, w, groups);
    for (int64_t g = 0; g < groups.count; g++)
        ref_linear_forward(device, group_rows(y, groups, g), group_rows(x, groups, g), group_weight(w, groups, g));
}

void ref_grouped_linear_backward_input(Device *device, Tensor dx, Tensor dy, Tensor w, Groups groups) {
    shape_grouped_linear_backward_input(device, dx, dy, w, groups);
    for (int64_t g = 0; g < groups.count; g++)
        ref_linear_backward_input(device, group_rows(dx, groups, g), group_rows(dy, groups, g),
                                  group_weight(w, groups, g), false);
}

void ref_grouped_linear_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, Groups groups,
                                        bool accumulate) {
    shape_grouped_linear_backward_weight(device, dw, dy, x, groups);
    for (int64_t g = 0; g < groups.count; g++)
        ref_linear_backward_weight(device, group_weight(dw, groups, g), group_rows(dy, groups, g),
                                   group_rows(x, groups, g), accumulate);
}
