/* balance.c - balance losses and token dropping; formulas in ref/balance.c. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <string.h>

enum { MAX_EXPERTS = 4096 };

/* What one pool (rows first .. first + rows - 1) adds up to. */
typedef struct {
    double mass[MAX_EXPERTS];   /* sums of probabilities by expert */
    int64_t pairs[MAX_EXPERTS]; /* by expert */
    int64_t sent[MAX_EXPERTS];  /* tokens by device group */
} PoolSums;

static void add_chosen(PoolSums *sums, const int32_t *expert, int64_t top_k, int64_t width) {
    for (int64_t k = 0; k < top_k; k++) {
        if (expert[k] < 0) continue;
        sums->pairs[expert[k]]++;
        bool seen = false;
        for (int64_t j = 0; j < k; j++) seen |= expert[j] >= 0 && expert[j] / width == expert[k] / width;
        sums->sent[expert[k] / width] += !seen;
    }
}

static void pool_sums(PoolSums *sums, Tensor score, Tensor expert, int64_t first, int64_t rows, int64_t width) {
    int64_t experts = tensor_cols(score);
    memset(sums, 0, sizeof *sums);
    for (int64_t row = first; row < first + rows; row++) {
        const float *p = element(score, row, 0);
        for (int64_t e = 0; e < experts; e++) sums->mass[e] += p[e];
        add_chosen(sums, element(expert, row, 0), tensor_cols(expert), width);
    }
}

/* Adds the pool to the losses and writes its row of slope. */
static void balance_pool(double *loss, float *slope, const PoolSums *sums, int64_t rows, int64_t experts,
                         int64_t top_k, BalanceRule rule) {
    int64_t width = experts / rule.groups;
    double t = (double)rows, even = (double)experts / ((double)top_k * t);
    for (int64_t d = 0; d < rule.groups; d++) {
        double load = 0, mass = 0, sent = (double)sums->sent[d] * rule.groups / (rule.topk_group * t);
        for (int64_t e = d * width; e < (d + 1) * width; e++) {
            load += (double)sums->pairs[e] * even / (double)width;
            mass += sums->mass[e] / t;
            loss[0] += (double)sums->pairs[e] * even * sums->mass[e] / t * rule.pool_weight;
        }
        loss[1] += load * mass * rule.pool_weight;
        loss[2] += sent * mass * rule.pool_weight;
        for (int64_t e = d * width; e < (d + 1) * width; e++)
            slope[e] = (float)(rule.gradient_scale / t *
                               (rule.alpha_expert * (double)sums->pairs[e] * even + rule.alpha_device * load +
                                rule.alpha_communication * sent));
    }
}

/* Pools are summed by different threads; their losses are added in order. */
void cpu_balance_forward(Device *device, Tensor loss, Tensor slope, Tensor score, Tensor expert, BalanceRule rule) {
    shape_balance_forward(device, loss, slope, score, expert, rule);
    int64_t pools = tensor_rows(slope), experts = tensor_cols(score), rows = pools ? tensor_rows(score) / pools : 0;
    if (cpu_leaves(score) || experts > MAX_EXPERTS || !rows) {
        ref_balance_forward(device, loss, slope, score, expert, rule);
        return;
    }
#pragma omp parallel for num_threads(device->threads) ordered schedule(static, 1)
    for (int64_t s = 0; s < pools; s++) {
        PoolSums sums;
        pool_sums(&sums, score, expert, s * rows, rows, experts / rule.groups);
#pragma omp ordered
        balance_pool(loss.data, element(slope, s, 0), &sums, rows, experts, tensor_cols(expert), rule);
    }
}

typedef struct {
    Tensor expert, score, protect;
    int64_t top_k, rows_per_pool, width;
} Drop;

static int64_t pair_expert(const Drop *d, int64_t pair) { return id_of(d->expert, pair / d->top_k, pair % d->top_k); }
static bool pair_protected(const Drop *d, int64_t pair) {
    return id_of(d->protect, 0, pair / d->top_k / d->rows_per_pool) != 0;
}

/* Orders pairs as they are dropped: by score (probabilities are not negative, so their bits order
 * them), later pairs first among equals. */
static uint64_t drop_key(const Drop *d, int64_t pair) {
    float score = *(const float *)element(d->score, pair / d->top_k, pair_expert(d, pair));
    return (uint64_t)bits_of_float(score) << 32 | (uint32_t)(INT32_MAX - pair);
}

/* How many droppable pairs of the group have keys below `bound`. */
static int64_t pairs_below(const Drop *d, int64_t pairs, int64_t group, uint64_t bound) {
    int64_t count = 0;
    for (int64_t pair = 0; pair < pairs; pair++)
        count += pair_expert(d, pair) / d->width == group && !pair_protected(d, pair) && drop_key(d, pair) < bound;
    return count;
}

/* The smallest bound with `excess` keys below it, found bit by bit; all ones when there are fewer. */
static uint64_t drop_bound(const Drop *d, int64_t pairs, int64_t group, int64_t excess) {
    if (excess <= 0) return 0;
    uint64_t low = 0, high = UINT64_MAX;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (pairs_below(d, pairs, group, middle) >= excess)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void drop_group(const Drop *d, Tensor kept, int64_t pairs, int64_t group, int64_t budget) {
    int64_t load = 0;
    for (int64_t pair = 0; pair < pairs; pair++) load += pair_expert(d, pair) / d->width == group;
    uint64_t bound = drop_bound(d, pairs, group, load - budget);
    for (int64_t pair = 0; pair < pairs; pair++) {
        int64_t e = pair_expert(d, pair);
        if (e / d->width != group) continue;
        bool drop = !pair_protected(d, pair) && drop_key(d, pair) < bound;
        *(int32_t *)element(kept, pair / d->top_k, pair % d->top_k) = drop ? -1 : (int32_t)e;
    }
}

void cpu_drop_tokens(Device *device, Tensor kept, Tensor expert, Tensor score, Tensor protect, int groups,
                     int64_t budget) {
    shape_drop_tokens(device, kept, expert, score, protect, groups, budget);
    int64_t rows = tensor_rows(expert), top_k = tensor_cols(expert), pairs = rows * top_k;
    if (cpu_leaves(score) || !rows || pairs > INT32_MAX) {
        ref_drop_tokens(device, kept, expert, score, protect, groups, budget);
        return;
    }
    Drop drop = {
        expert, score, tensor_flat(protect), top_k, rows / tensor_count(protect), tensor_cols(score) / groups};
#pragma omp parallel for num_threads(device->threads) schedule(dynamic)
    for (int64_t group = 0; group < groups; group++) drop_group(&drop, kept, pairs, group, budget);
}
