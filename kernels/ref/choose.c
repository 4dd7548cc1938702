/* choose.c - the next token: sorts the whole vocabulary. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    double logit, p;
    int32_t id;
} Candidate;

static int by_logit(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id); /* the same order on every machine */
}

/* The likeliest, -1 when there is no order among them. */
static int32_t likeliest(Tensor logits, int64_t row) {
    int64_t best = 0;
    for (int64_t i = 0; i < tensor_cols(logits); i++) {
        if (isnan(get(logits, row, i))) return -1;
        if (get(logits, row, i) > get(logits, row, best)) best = i;
    }
    return isfinite(get(logits, row, best)) ? (int32_t)best : -1;
}

/* How many of the sorted candidates may be chosen, and their total probability. */
static int64_t cut(const Candidate *c, int64_t n, ChoiceRule rule, double *total) {
    int64_t most = rule.top_k > 0 ? min_i64(rule.top_k, n) : n, kept = 0;
    double all = 0, taken = 0;
    for (int64_t i = 0; i < n; i++) all += c[i].p;
    while (kept < most && (kept == 0 || taken < rule.top_p * all)) taken += c[kept++].p;
    *total = taken;
    return kept;
}

static int32_t draw_one(Candidate *c, Tensor logits, int64_t row, double draw, int32_t best, ChoiceRule rule) {
    int64_t n = tensor_cols(logits), at = 0;
    double top = get(logits, row, best), total;
    for (int64_t i = 0; i < n; i++) {
        double logit = get(logits, row, i);
        c[i] = (Candidate){logit, exp((logit - top) / rule.temperature), (int32_t)i};
    }
    qsort(c, (size_t)n, sizeof *c, by_logit);
    int64_t kept = cut(c, n, rule, &total);
    double left = draw * total;
    while (at + 1 < kept && (left -= c[at].p) >= 0) at++;
    return c[at].id;
}

void ref_choose_tokens(Device *device, Tensor id, Tensor logits, Tensor draw, ChoiceRule rule) {
    shape_choose_tokens(device, id, logits, draw, rule);
    Candidate *c = must_alloc(tensor_cols(logits), sizeof *c);
    for (int64_t i = 0; i < tensor_rows(logits); i++) {
        int32_t chosen = likeliest(logits, i);
        if (chosen >= 0 && rule.temperature > 0) chosen = draw_one(c, logits, i, get(draw, 0, i), chosen, rule);
        put(id, 0, i, chosen);
    }
    free(c);
}
