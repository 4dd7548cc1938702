/* adamw.c - AdamW in one pass over a parameter: five streams in, five out. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <math.h>

typedef struct {
    float scale, beta1, rest1, beta2, rest2, decay, step, root2, epsilon;
} Factors;

/* The decay by itself: 1 - decay has too few digits for it, at a learning rate of 5e-6 one in twenty was lost. */
static LOOP void step_piece(float *restrict master, float *restrict m, float *restrict v, const float *restrict dw,
                            Factors f, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float g = dw[i] * f.scale;
        float mean = f.beta1 * m[i] + f.rest1 * g, square = f.beta2 * v[i] + f.rest2 * g * g;
        m[i] = mean;
        v[i] = square;
        master[i] -= f.decay * master[i] + f.step * mean / (sqrtf(square) * f.root2 + f.epsilon);
    }
}

static Factors factors_of(AdamwRule rule) {
    return (Factors){(float)rule.gradient_scale,
                     (float)rule.beta1,
                     (float)(1 - rule.beta1),
                     (float)rule.beta2,
                     (float)(1 - rule.beta2),
                     (float)(rule.learning_rate * rule.weight_decay),
                     (float)(rule.learning_rate / rule.correction1),
                     (float)(1 / sqrt(rule.correction2)),
                     (float)rule.epsilon};
}

void cpu_adamw(Device *device, Tensor w, Tensor master, Tensor m, Tensor v, Tensor dw, AdamwRule rule) {
    shape_adamw(device, w, master, m, v, dw, rule);
    if (cpu_leaves(master) || cpu_leaves(w) || dw.dtype != F32) {
        ref_adamw(device, w, master, m, v, dw, rule);
        return;
    }
    Factors f = factors_of(rule);
    bool same = w.data == master.data;
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t i = 0; i < piece_count(master); i++) {
        Piece at = piece_at(master, i);
        float *p = element(master, at.row, at.col);
        step_piece(p, element(m, at.row, at.col), element(v, at.row, at.col), element(dw, at.row, at.col), f, at.n);
        if (!same) floats_store(element(w, at.row, at.col), w.dtype, p, at.n);
    }
}
