#include "optim/schedule.h"

#include <math.h>
#include <string.h>

static double stepped(const Config *c, double part) {
    double rate = c->learning_rate;
    for (int i = 0; i < c->lr_step_at.count; i++)
        if (part >= c->lr_step_at.value[i]) rate *= c->lr_step_factor;
    return rate;
}

static double share(int64_t part, int64_t whole) {
    return whole > 0 ? fmin(fmax((double)part / (double)whole, 0), 1) : 0;
}

double schedule_rate(const Config *c, int64_t step, StageTokens t) {
    if (step <= c->warmup_steps) return c->learning_rate * (double)step / (double)c->warmup_steps;
    double part = share(t.done - t.warm, t.total - t.warm);
    double span = c->learning_rate - c->min_lr;
    if (!strcmp(c->lr_scheduler_type, "linear")) return c->learning_rate - span * part;
    if (!strcmp(c->lr_scheduler_type, "cosine")) return c->min_lr + span * 0.5 * (1 + cos(M_PI * part));
    if (!strcmp(c->lr_scheduler_type, "step")) return stepped(c, share(t.done, t.total));
    return c->learning_rate;
}
