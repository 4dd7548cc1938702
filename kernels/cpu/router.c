/* router.c - softmax router, as ref/router.c, a thread to a row and a row on the stack. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <math.h>
#include <string.h>

enum { MAX_EXPERTS = 4096 };

static LOOP void softmax(float *restrict p, const float *restrict z, float top, int64_t n) {
    float mass = 0;
#pragma omp simd reduction(+ : mass)
    for (int64_t e = 0; e < n; e++) {
        float x = fast_exp(z[e] - top);
        p[e] = x;
        mass += x;
    }
    for (int64_t e = 0; e < n; e++) p[e] /= mass;
}

/* The index of the largest; the lowest one wins ties. */
static int64_t best_of(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* Copies p, with -1 for the experts outside the best topk_group groups (max rule). */
static void allowed_scores(float *open, const float *p, int64_t experts, RouterRule rule) {
    int64_t width = experts / rule.n_group;
    float group[MAX_EXPERTS];
    memcpy(open, p, (size_t)experts * sizeof *open);
    if (rule.topk_group == rule.n_group) return;
    for (int64_t d = 0; d < rule.n_group; d++) group[d] = floats_max(p + d * width, width);
    for (int64_t d = 0; d < rule.topk_group; d++) group[best_of(group, rule.n_group)] = -1;
    for (int64_t e = 0; e < experts; e++)
        if (group[e / width] >= 0) open[e] = -1;
}

static bool normalises(RouterRule rule, int64_t top_k) { return rule.norm_topk_prob && top_k > 1; }

/* The probabilities of a row are all NaN or none. The step will be skipped, but its tokens travel first, and the
 * tables they travel by have room for different experts of topk_group groups only. */
static void route_nan(int32_t *expert, float *weight, int64_t top_k) {
    for (int64_t k = 0; k < top_k; k++) expert[k] = (int32_t)k, weight[k] = NAN;
}

static void route_row(const float *p, int32_t *expert, float *weight, int64_t experts, int64_t top_k,
                      RouterRule rule) {
    float open[MAX_EXPERTS];
    double sum = 1e-20;
    if (isnan(p[0])) {
        route_nan(expert, weight, top_k);
        return;
    }
    allowed_scores(open, p, experts, rule);
    for (int64_t k = 0; k < top_k; k++) {
        expert[k] = (int32_t)best_of(open, experts);
        open[expert[k]] = -2;
        sum += p[expert[k]];
    }
    double factor = normalises(rule, top_k) ? 1 / sum : rule.routed_scaling_factor;
    for (int64_t k = 0; k < top_k; k++) weight[k] = (float)(factor * p[expert[k]]);
}

void cpu_router_forward(Device *device, Tensor score, Tensor expert, Tensor weight, Tensor logits, RouterRule rule) {
    shape_router_forward(device, score, expert, weight, logits, rule);
    int64_t experts = tensor_cols(logits);
    if (cpu_leaves(logits) || experts > MAX_EXPERTS) {
        ref_router_forward(device, score, expert, weight, logits, rule);
        return;
    }
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < tensor_rows(logits); row++) {
        const float *z = element(logits, row, 0);
        softmax(element(score, row, 0), z, floats_max(z, experts), experts);
        route_row(element(score, row, 0), element(expert, row, 0), element(weight, row, 0), experts,
                  tensor_cols(expert), rule);
    }
}

static LOOP float dot(const float *a, const float *b, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Through the softmax: dz = p (dp - sum of p dp). */
static LOOP void softmax_backward(float *restrict dz, const float *restrict p, const float *restrict dp, float mean,
                                  int64_t n) {
    for (int64_t i = 0; i < n; i++) dz[i] = p[i] * (dp[i] - mean);
}

/* Adds to dp what the weights of the chosen experts bring. */
static void chosen_gradient(float *dp, const float *p, const int32_t *expert, const float *weight,
                            const float *dweight, int64_t top_k, RouterRule rule) {
    double sum = 1e-20, mean = 0;
    for (int64_t k = 0; k < top_k; k++) sum += p[expert[k]], mean += (double)dweight[k] * weight[k];
    for (int64_t k = 0; k < top_k; k++) {
        double plain = dweight[k] * rule.routed_scaling_factor;
        dp[expert[k]] += (float)(normalises(rule, top_k) ? (dweight[k] - mean) / sum : plain);
    }
}

void cpu_router_backward(Device *device, Tensor dlogits, Tensor dweight, Tensor score, Tensor expert, Tensor weight,
                         Tensor slope, RouterRule rule) {
    shape_router_backward(device, dlogits, dweight, score, expert, weight, slope, rule);
    int64_t rows = tensor_rows(score), experts = tensor_cols(score);
    if (cpu_leaves(score) || experts > MAX_EXPERTS) {
        ref_router_backward(device, dlogits, dweight, score, expert, weight, slope, rule);
        return;
    }
    int64_t rows_per_pool = rows / max_i64(tensor_rows(slope), 1);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        float dp[MAX_EXPERTS];
        const float *p = element(score, row, 0);
        if (tensor_none(slope))
            memset(dp, 0, (size_t)experts * sizeof *dp);
        else
            memcpy(dp, element(slope, row / rows_per_pool, 0), (size_t)experts * sizeof *dp);
        chosen_gradient(dp, p, element(expert, row, 0), element(weight, row, 0), element(dweight, row, 0),
                        tensor_cols(expert), rule);
        softmax_backward(element(dlogits, row, 0), p, dp, dot(p, dp, experts), experts);
    }
}

void cpu_read_experts(Device *device, int32_t *ids, Tensor expert, int64_t n_experts, RouterRule rule) {
    ref_read_experts(device, ids, expert, n_experts, rule);
}
