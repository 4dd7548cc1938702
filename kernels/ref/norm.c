/* norm.c - RMSNorm: r = 1 / sqrt(mean(x^2) + eps), y = w * (x r).
 *
 * With xh = x r: dx = r (w dy - xh mean(w dy xh)), dw = sum over rows of dy xh. */
#include "kernels/ref/ref.h"

#include <math.h>

void ref_rmsnorm_forward(Device *device, Tensor y, Tensor rstd, Tensor x, Tensor w, double eps) {
    shape_rmsnorm_forward(device, y, rstd, x, w);
    int64_t d = tensor_cols(x);
    for (int64_t n = 0; n < tensor_rows(x); n++) {
        double squares = 0;
        for (int64_t i = 0; i < d; i++) squares += get(x, n, i) * get(x, n, i);
        double r = 1.0 / sqrt(squares / (double)d + eps);
        put(rstd, 0, n, r);
        for (int64_t i = 0; i < d; i++) put(y, n, i, get(w, 0, i) * (get(x, n, i) * r));
    }
}

void ref_rmsnorm_backward_input(Device *device, Tensor dx, Tensor dy, Tensor x, Tensor w, Tensor rstd,
                                bool accumulate) {
    shape_rmsnorm_backward_input(device, dx, dy, x, w, rstd);
    int64_t d = tensor_cols(x);
    for (int64_t n = 0; n < tensor_rows(x); n++) {
        double r = get(rstd, 0, n), mean = 0;
        for (int64_t i = 0; i < d; i++) mean += get(w, 0, i) * get(dy, n, i) * get(x, n, i) * r / (double)d;
        for (int64_t i = 0; i < d; i++) {
            double wdy = get(w, 0, i) * get(dy, n, i), xh = get(x, n, i) * r;
            put_gradient(dx, n, i, r * (wdy - xh * mean), accumulate);
        }
    }
}

void ref_rmsnorm_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
    shape_rmsnorm_backward_weight(device, dw, dy, x, rstd);
    for (int64_t i = 0; i < tensor_cols(x); i++) {
        double sum = 0;
        for (int64_t n = 0; n < tensor_rows(x); n++) sum += get(dy, n, i) * get(x, n, i) * get(rstd, 0, n);
        put_plus(dw, 0, i, sum);
    }
}

void ref_add_rmsnorm_forward(Device *device, Tensor sum, Tensor y, Tensor rstd, Tensor x, Tensor delta, Tensor w,
                             double eps) {
    shape_add_rmsnorm_forward(device, sum, y, rstd, x, delta, w);
    for (int64_t n = 0; n < tensor_rows(x); n++)
        for (int64_t i = 0; i < tensor_cols(x); i++) put(sum, n, i, get(x, n, i) + get(delta, n, i));
    ref_rmsnorm_forward(device, y, rstd, sum, w, eps);
}
