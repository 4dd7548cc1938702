#include "model/rope.h"

#include <math.h>
#include <string.h>

static bool is_yarn(const Config *c) { return !strcmp(c->rope_type, "yarn"); }

/* The pair whose angle turns `turns` times within the original context. */
static double pair_of(const Config *c, double turns) {
    double d = (double)c->qk_rope_head_dim;
    return d * log((double)c->rope_original_max / (2 * M_PI * turns)) / (2 * log(c->rope_theta));
}

void rope_frequencies(const Config *c, double *frequency) {
    int64_t d = c->qk_rope_head_dim;
    double low = 0, high = 0;
    if (is_yarn(c)) {
        low = fmax(floor(pair_of(c, c->rope_beta_fast)), 0);
        high = fmin(ceil(pair_of(c, c->rope_beta_slow)), (double)(d - 1));
        if (low == high) high += 0.001; /* as the reference: no division by zero */
    }
    for (int64_t i = 0; i < d / 2; i++) {
        double plain = pow(c->rope_theta, -2.0 * (double)i / (double)d);
        double ramp = is_yarn(c) ? fmin(fmax(((double)i - low) / (high - low), 0), 1) : 0;
        frequency[i] = plain * (1 - ramp) + plain / c->rope_factor * ramp;
    }
}

static double magnitude(double factor, double mscale) { /* g of SEMANTICS section 3 */
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

double rope_amplitude(const Config *c) {
    if (!is_yarn(c)) return 1;
    return magnitude(c->rope_factor, c->rope_mscale) / magnitude(c->rope_factor, c->rope_mscale_all_dim);
}

double rope_softmax_scale(const Config *c) {
    double scale = 1 / sqrt((double)(c->qk_nope_head_dim + c->qk_rope_head_dim));
    double m = is_yarn(c) ? magnitude(c->rope_factor, c->rope_mscale_all_dim) : 1;
    return scale * m * m; /* m would multiply both q and k */
}

void rope_init(Rope *rope, int64_t positions, Run *run) {
    double frequency[run->config->qk_rope_head_dim / 2];
    rope_frequencies(run->config, frequency);
    rope->table = arena_2d(&run->state, run_stat_dtype(run), positions, run->config->qk_rope_head_dim);
    run->k->rope_table(run->device, rope->table, frequency, rope_amplitude(run->config));
}
