#include "optim/adamw.h"

#include <math.h>

double clip_factor(double norm, double max_grad_norm) {
    /* the same guard against division by zero as torch.nn.utils.clip_grad_norm_ */
    double factor = max_grad_norm / (norm + 1e-6);
    return max_grad_norm > 0 && factor < 1 ? factor : 1;
}

void adamw_step(Params *params, AdamwStep s, BeforeUpdate before, void *own, Run *run) {
    const Config *c = run->config;
    AdamwRule rule = {.learning_rate = s.learning_rate,
                      .beta1 = c->adam_beta1,
                      .beta2 = c->adam_beta2,
                      .epsilon = c->adam_epsilon,
                      .correction1 = 1 - pow(c->adam_beta1, (double)s.step),
                      .correction2 = 1 - pow(c->adam_beta2, (double)s.step),
                      .gradient_scale = s.clip};
    for (int i = 0; i < params->count; i++) {
        Param *p = &params->list[i];
        if (before) before(own, i);
        rule.weight_decay = p->decay ? c->weight_decay : 0;
        run->k->adamw(run->device, p->w, p->master, p->m, p->v, p->dw, rule);
    }
}
