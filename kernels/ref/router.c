/* router.c - softmax router with a group limit (SEMANTICS section 3).
 *
 * Experts lie in n_group blocks; a block's score is its largest probability (max rule), and only
 * the best topk_group blocks may give experts, even where their probabilities underflow to 0.
 * Lowest ids win ties. Weights are the probabilities of the chosen experts, either divided by
 * their sum or multiplied by routed_scaling_factor, never both. */
#include "kernels/ref/ref.h"

#include <math.h>

static void softmax_row(Tensor p, Tensor z, int64_t row) {
    double top = -INFINITY, mass = 0;
    for (int64_t e = 0; e < tensor_cols(z); e++) top = fmax(top, get(z, row, e));
    for (int64_t e = 0; e < tensor_cols(z); e++) mass += exp(get(z, row, e) - top);
    for (int64_t e = 0; e < tensor_cols(z); e++) put(p, row, e, exp(get(z, row, e) - top) / mass);
}

static double block_score(Tensor score, int64_t row, int64_t width, int64_t block) {
    double best = get(score, row, block * width);
    for (int64_t e = block * width + 1; e < (block + 1) * width; e++) best = fmax(best, get(score, row, e));
    return best;
}

/* Is this block among the best topk_group of the row? */
static bool block_allowed(Tensor score, int64_t row, RouterRule rule, int64_t block) {
    int64_t width = tensor_cols(score) / rule.n_group, better = 0;
    double own = block_score(score, row, width, block);
    for (int64_t other = 0; other < rule.n_group; other++) {
        double theirs = block_score(score, row, width, other);
        better += theirs > own || (theirs == own && other < block);
    }
    return better < rule.topk_group;
}

static bool already_chosen(Tensor expert, int64_t row, int64_t k, int64_t e) {
    for (int64_t j = 0; j < k; j++)
        if (id_at(expert, row, j) == e) return true;
    return false;
}

/* The best expert of the allowed blocks that is not among the first k chosen. */
static int64_t best_expert(Tensor score, Tensor expert, int64_t row, int64_t k, RouterRule rule) {
    int64_t width = tensor_cols(score) / rule.n_group, best = -1;
    for (int64_t block = 0; block < rule.n_group; block++) {
        if (!block_allowed(score, row, rule, block)) continue;
        for (int64_t e = block * width; e < (block + 1) * width; e++)
            if (!already_chosen(expert, row, k, e) && (best < 0 || get(score, row, e) > get(score, row, best)))
                best = e;
    }
    return best;
}

static double chosen_sum(Tensor score, Tensor expert, int64_t row) {
    double sum = 1e-20;
    for (int64_t k = 0; k < tensor_cols(expert); k++) sum += get(score, row, id_at(expert, row, k));
    return sum;
}

/* With one expert a token the published code never normalises. */
static bool normalises(RouterRule rule, int64_t top_k) { return rule.norm_topk_prob && top_k > 1; }

void ref_router_forward(Device *device, Tensor score, Tensor expert, Tensor weight, Tensor logits, RouterRule rule) {
    shape_router_forward(device, score, expert, weight, logits, rule);
    int64_t top_k = tensor_cols(expert);
    for (int64_t row = 0; row < tensor_rows(logits); row++) {
        softmax_row(score, logits, row);
        for (int64_t k = 0; k < top_k; k++) put(expert, row, k, (double)best_expert(score, expert, row, k, rule));
        double factor = normalises(rule, top_k) ? 1 / chosen_sum(score, expert, row) : rule.routed_scaling_factor;
        for (int64_t k = 0; k < top_k; k++) put(weight, row, k, factor * get(score, row, id_at(expert, row, k)));
    }
}

typedef struct {
    Tensor dweight, score, expert, weight, slope;
    RouterRule rule;
    int64_t rows_per_pool;
} RouterGradient;

/* Gradient of the k-th chosen probability: with S = their sum, dp_k = (dw_k - sum_j dw_j w_j) / S. */
static double chosen_gradient(const RouterGradient *g, int64_t row, int64_t k) {
    if (!normalises(g->rule, tensor_cols(g->expert))) return get(g->dweight, row, k) * g->rule.routed_scaling_factor;
    double mean = 0;
    for (int64_t j = 0; j < tensor_cols(g->expert); j++) mean += get(g->dweight, row, j) * get(g->weight, row, j);
    return (get(g->dweight, row, k) - mean) / chosen_sum(g->score, g->expert, row);
}

/* Gradient of the probability of expert e: what its weight brings if chosen, and the balance losses. */
static double score_gradient(const RouterGradient *g, int64_t row, int64_t e) {
    double sum = tensor_none(g->slope) ? 0 : get(g->slope, row / g->rows_per_pool, e);
    for (int64_t k = 0; k < tensor_cols(g->expert); k++)
        if (id_at(g->expert, row, k) == e) sum += chosen_gradient(g, row, k);
    return sum;
}

void ref_router_backward(Device *device, Tensor dlogits, Tensor dweight, Tensor score, Tensor expert, Tensor weight,
                         Tensor slope, RouterRule rule) {
    shape_router_backward(device, dlogits, dweight, score, expert, weight, slope, rule);
    int64_t rows = tensor_rows(score), pools = max_i64(tensor_rows(slope), 1);
    RouterGradient g = {dweight, score, expert, weight, slope, rule, rows / pools};
    for (int64_t row = 0; row < rows; row++) {
        double mean = 0; /* through the softmax: dz = p (dp - sum of p dp) */
        for (int64_t e = 0; e < tensor_cols(score); e++) mean += get(score, row, e) * score_gradient(&g, row, e);
        for (int64_t e = 0; e < tensor_cols(score); e++)
            put(dlogits, row, e, get(score, row, e) * (score_gradient(&g, row, e) - mean));
    }
}
