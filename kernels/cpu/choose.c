/* choose.c - the next token without sorting the vocabulary: logits are counted in narrow bins below the largest, with
 * their mass; only the bin where the cut falls and the bin that the draw hits are sorted. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 2048 };
static const double NEGLIGIBLE = 80; /* exp(-80) beside 1: all that is less likely shares the last bin */

typedef struct {
    float logit;
    int32_t id;
} Candidate;

typedef struct {
    const float *logits;
    int64_t n;
    float top, width; /* the largest logit; logits a bin */
    double temperature;
    double mass[BINS];
    int64_t count[BINS];
    Candidate *bin; /* room for all */
} Draw;

static int by_logit(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The likeliest, -1 when there is no order among them. */
static int32_t likeliest(const float *x, int64_t n) {
    int64_t best = 0;
    bool all = true;
    float top = floats_max(x, n);
    for (int64_t i = 0; i < n; i++) all &= x[i] == x[i];
    while (best < n && x[best] != top) best++;
    return all && isfinite(top) ? (int32_t)best : -1;
}

static int bin_of(const Draw *d, float logit) {
    float bin = (d->top - logit) / d->width;
    return bin < BINS - 1 ? (int)bin : BINS - 1;
}

static inline float weight_of(float logit, float top, double temperature) {
    return fast_exp((float)(((double)logit - top) / temperature));
}
static double weight(const Draw *d, float logit) { return weight_of(logit, d->top, d->temperature); }

static LOOP void weights(float *restrict y, const float *restrict x, int64_t n, float top, double temperature) {
    for (int64_t i = 0; i < n; i++) y[i] = weight_of(x[i], top, temperature);
}

static void fill_bins(Draw *d) {
    float low = INFINITY;
    for (int64_t i = 0; i < d->n; i++) low = d->logits[i] < low ? d->logits[i] : low;
    double span = fmin((double)d->top - low, NEGLIGIBLE * d->temperature);
    d->width = (float)fmax(span / (BINS - 1), 1e-30);
    memset(d->mass, 0, sizeof d->mass);
    memset(d->count, 0, sizeof d->count);
    for (int64_t first = 0; first < d->n; first += PIECE) {
        float w[PIECE];
        int64_t n = min_i64(PIECE, d->n - first);
        weights(w, d->logits + first, n, d->top, d->temperature);
        for (int64_t i = 0; i < n; i++) {
            int bin = bin_of(d, d->logits[first + i]);
            d->mass[bin] += w[i];
            d->count[bin]++;
        }
    }
}

/* The candidates of a bin, likeliest first. */
static int64_t sort_bin(Draw *d, int bin) {
    int64_t count = 0;
    for (int64_t i = 0; i < d->n && count < d->count[bin]; i++)
        if (bin_of(d, d->logits[i]) == bin) d->bin[count++] = (Candidate){d->logits[i], (int32_t)i};
    qsort(d->bin, (size_t)count, sizeof *d->bin, by_logit);
    return count;
}

/* What may be chosen: all bins before `bin` and the first `kept` of it, of this mass together. */
typedef struct {
    int bin;
    int64_t kept;
    double mass;
} Cut;

static Cut cut(Draw *d, ChoiceRule rule) {
    double all = 0;
    int64_t most = rule.top_k > 0 ? min_i64(rule.top_k, d->n) : d->n, taken = 0;
    for (int b = 0; b < BINS; b++) all += d->mass[b];
    Cut c = {.bin = 0};
    double wanted = rule.top_p * all;
    while (c.bin < BINS - 1 && taken + d->count[c.bin] < most && c.mass + d->mass[c.bin] < wanted)
        taken += d->count[c.bin], c.mass += d->mass[c.bin++];
    int64_t count = sort_bin(d, c.bin);
    while (c.kept < count && taken + c.kept < most && (taken + c.kept == 0 || c.mass < wanted))
        c.mass += weight(d, d->bin[c.kept++].logit);
    return c;
}

static int32_t draw_one(Draw *d, double draw, ChoiceRule rule) {
    fill_bins(d);
    Cut c = cut(d, rule);
    double left = draw * c.mass;
    int bin = 0;
    while (bin < c.bin && left >= d->mass[bin]) left -= d->mass[bin++];
    while (bin == c.bin ? !c.kept : !d->count[bin]) bin--; /* rounding went past the last one */
    int64_t count = bin == c.bin ? c.kept : d->count[bin], at = 0;
    if (bin != c.bin) sort_bin(d, bin);
    while (at + 1 < count && (left -= weight(d, d->bin[at].logit)) >= 0) at++;
    return d->bin[at].id;
}

void cpu_choose_tokens(Device *device, Tensor id, Tensor logits, Tensor draw, ChoiceRule rule) {
    shape_choose_tokens(device, id, logits, draw, rule);
    if (cpu_leaves(logits)) {
        ref_choose_tokens(device, id, logits, draw, rule);
        return;
    }
    int64_t n = tensor_cols(logits);
#pragma omp parallel num_threads(device->threads)
    {
        Draw *d = must_alloc(1, sizeof *d);
        d->bin = must_alloc(n, sizeof *d->bin);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tensor_rows(logits); i++) {
            int32_t chosen = likeliest(element(logits, i, 0), n);
            d->logits = element(logits, i, 0), d->n = n, d->temperature = rule.temperature;
            if (chosen >= 0 && rule.temperature > 0) {
                d->top = d->logits[chosen];
                chosen = draw_one(d, *(double *)element(draw, 0, i), rule);
            }
            *(int32_t *)element(id, 0, i) = chosen;
        }
        free(d->bin);
        free(d);
    }
}
