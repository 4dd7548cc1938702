/* adamw.c - AdamW with decoupled weight decay, as torch.optim.AdamW. */
#include "kernels/ref/ref.h"

#include <math.h>

void ref_adamw(Device *device, Tensor w, Tensor master, Tensor m, Tensor v, Tensor dw, AdamwRule rule) {
    shape_adamw(device, w, master, m, v, dw, rule);
    double step = rule.learning_rate / rule.correction1, root2 = sqrt(rule.correction2);
    for (int64_t i = 0; i < tensor_rows(master); i++)
        for (int64_t j = 0; j < tensor_cols(master); j++) {
            double g = get(dw, i, j) * rule.gradient_scale;
            double mean = rule.beta1 * get(m, i, j) + (1 - rule.beta1) * g;
            double square = rule.beta2 * get(v, i, j) + (1 - rule.beta2) * g * g;
            double p = get(master, i, j) * (1 - rule.learning_rate * rule.weight_decay);
            put(m, i, j, mean);
            put(v, i, j, square);
            put(master, i, j, p - step * mean / (sqrt(square) / root2 + rule.epsilon));
            put(w, i, j, get(master, i, j));
        }
}
