#include "optim/schedule.h"

#include <math.h>
#include <string.h>

static double stepped(const Config *c, double part) {
    double rate = c->learning_rate;
    for (int i = 0; i < c->lr_step_at.count; i++)
        if (part >= c->lr_step_at.value[i]) rate *= c->lr_step_factor;
    return rate;
}

double schedule_rate(const Config *c, int64_t step, int64_t tokens_done, int64_t tokens_total) {
    if (step <= c->warmup_steps) return c->learning_rate * (double)step / (double)c->warmup_steps;
    double part = tokens_total > 0 ? fmin((double)tokens_done / (double)tokens_total, 1) : 0;
    double span = c->learning_rate - c->min_lr;
    if (!strcmp(c->lr_scheduler_type, "linear")) return c->learning_rate - span * part;
    if (!strcmp(c->lr_scheduler_type, "cosine")) return c->min_lr + span * 0.5 * (1 + cos(M_PI * part));
    if (!strcmp(c->lr_scheduler_type, "step")) return stepped(c, part);
    return c->learning_rate;
}
