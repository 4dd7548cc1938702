/* loss.c - cross-entropy with its gradient in one pass over a row of logits, and sums of products. */
#include "kernels/ref/ref.h"

#include <math.h>

static double log_sum_exp(Tensor logits, int64_t row) {
    double top = -INFINITY, mass = 0;
    for (int64_t v = 0; v < tensor_cols(logits); v++) top = fmax(top, get(logits, row, v));
    for (int64_t v = 0; v < tensor_cols(logits); v++) mass += exp(get(logits, row, v) - top);
    return top + log(mass);
}

void ref_cross_entropy(Device *device, Tensor loss, Tensor dlogits, Tensor logits, Tensor label, Tensor weight) {
    shape_cross_entropy(device, loss, dlogits, logits, label, weight);
    int64_t vocabulary = tensor_cols(logits);
    for (int64_t row = 0; row < tensor_rows(logits); row++) {
        int64_t target = id_at(label, 0, row);
        check(target < vocabulary, "label %lld of %lld", (long long)target, (long long)vocabulary);
        double lse = log_sum_exp(logits, row);
        put(loss, 0, row, target < 0 ? 0 : lse - get(logits, row, target));
        if (tensor_none(dlogits)) continue;
        for (int64_t v = 0; v < vocabulary; v++) {
            double d = get(weight, 0, row) * (exp(get(logits, row, v) - lse) - (v == target));
            put(dlogits, row, v, target < 0 ? 0 : d);
        }
    }
}

/* Sums run in blocks of this many elements, so that backends with threads can keep the same order. */
enum { SUM_BLOCK = 4096 };

void ref_dot(Device *device, Tensor out, Tensor a, Tensor b) {
    shape_dot(device, out, a, b);
    int64_t cols = tensor_cols(a), count = tensor_count(a);
    double total = 0;
    for (int64_t first = 0; first < count; first += SUM_BLOCK) {
        double sum = 0;
        for (int64_t i = first; i < min_i64(first + SUM_BLOCK, count); i++)
            sum += get(a, i / cols, i % cols) * get(b, i / cols, i % cols);
        total += sum;
    }
    put_plus(out, 0, 0, total);
}

void ref_sum_squares(Device *device, Tensor out, Tensor x) {
    shape_sum_squares(device, out, x);
    ref_dot(device, out, x, x);
}
