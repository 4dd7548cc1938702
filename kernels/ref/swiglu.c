/* swiglu.c - h = weight * silu(gate) * up with silu(g) = g s(g), s the sigmoid.
 *
 * dgate = dh weight up s (1 + g (1 - s)), dup = dh weight silu(g), dweight = sum over the row of dh silu(g) up. */
#include "kernels/ref/ref.h"

#include <math.h>

static double sigmoid(double z) { return 1.0 / (1.0 + exp(-z)); }

/* A tensor without dims stands for weights of 1. */
static double weight_at(Tensor weight, int64_t row) { return tensor_none(weight) ? 1.0 : get(weight, 0, row); }

static void forward(Tensor h, Tensor gu, Tensor weight) {
    int64_t f = tensor_cols(h);
    for (int64_t n = 0; n < tensor_rows(h); n++)
        for (int64_t i = 0; i < f; i++) {
            double gate = get(gu, n, i), up = get(gu, n, f + i);
            put(h, n, i, weight_at(weight, n) * gate * sigmoid(gate) * up);
        }
}

/* Writes a row of dgu and returns the gradient of its weight. */
static double backward_row(Tensor dgu, Tensor dh, Tensor gu, int64_t n, double weight) {
    int64_t f = tensor_cols(dh);
    double dweight = 0;
    for (int64_t i = 0; i < f; i++) {
        double gate = get(gu, n, i), up = get(gu, n, f + i), d = get(dh, n, i), s = sigmoid(gate);
        put(dgu, n, i, d * weight * up * s * (1 + gate * (1 - s)));
        put(dgu, n, f + i, d * weight * gate * s);
        dweight += d * gate * s * up;
    }
    return dweight;
}

void ref_swiglu_forward(Device *device, Tensor h, Tensor gu) {
    shape_swiglu_forward(device, h, gu);
    forward(h, gu, (Tensor){0});
}

void ref_swiglu_backward(Device *device, Tensor dgu, Tensor h, Tensor dh, Tensor gu) {
    shape_swiglu_backward(device, dgu, h, dh, gu);
    for (int64_t n = 0; n < tensor_rows(dh); n++) backward_row(dgu, dh, gu, n, 1.0);
    forward(h, gu, (Tensor){0});
}

void ref_swiglu_weighted_forward(Device *device, Tensor h, Tensor gu, Tensor weight) {
    shape_swiglu_weighted_forward(device, h, gu, weight);
    forward(h, gu, weight);
}

void ref_swiglu_weighted_backward(Device *device, Tensor dgu, Tensor dweight, Tensor h, Tensor dh, Tensor gu,
                                  Tensor weight) {
    shape_swiglu_weighted_backward(device, dgu, dweight, h, dh, gu, weight);
    for (int64_t n = 0; n < tensor_rows(dh); n++) put(dweight, 0, n, backward_row(dgu, dh, gu, n, get(weight, 0, n)));
    forward(h, gu, weight);
}
