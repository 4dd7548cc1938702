/* balance.c - balance losses and token dropping (SEMANTICS section 4).
 *
 * A pool is T rows (a sequence, or a micro-batch). E experts in D device groups, K chosen a token,
 * at most M groups a token. p is the probability of the router, counts are of chosen experts:
 *   f_i = E / (K T) pairs of expert i        P_i = mean over t of p_i
 *   f'_d = mean of f over group d            P'_d = sum of P over group d
 *   f''_d = D / (M T) tokens sent to group d
 * and the losses over alpha are sum f P, sum f' P', sum f'' P'. Counts carry no gradient. */
#include "kernels/ref/ref.h"

typedef struct {
    Tensor score, expert;
    int64_t first, rows, experts, top_k;
} Pool;

/* A block of experts: one expert, or those of a device group. */
typedef struct {
    int64_t first, count;
} ExpertBlock;

static bool holds(ExpertBlock b, int64_t e) { return e >= b.first && e < b.first + b.count; }

static double pairs_in(const Pool *pool, ExpertBlock block) {
    int64_t pairs = 0;
    for (int64_t t = pool->first; t < pool->first + pool->rows; t++)
        for (int64_t k = 0; k < pool->top_k; k++) pairs += holds(block, id_at(pool->expert, t, k));
    return (double)pairs;
}

static double tokens_sent_to(const Pool *pool, ExpertBlock block) {
    int64_t tokens = 0;
    for (int64_t t = pool->first; t < pool->first + pool->rows; t++) {
        bool sent = false;
        for (int64_t k = 0; k < pool->top_k; k++) sent |= holds(block, id_at(pool->expert, t, k));
        tokens += sent;
    }
    return (double)tokens;
}

static double mean_mass(const Pool *pool, ExpertBlock block) {
    double sum = 0;
    for (int64_t t = pool->first; t < pool->first + pool->rows; t++)
        for (int64_t e = block.first; e < block.first + block.count; e++) sum += get(pool->score, t, e);
    return sum / (double)pool->rows;
}

/* f of one expert, or f' of a device group: both are the load over its balanced share. */
static double load_share(const Pool *pool, ExpertBlock block) {
    return pairs_in(pool, block) * (double)pool->experts / (double)(block.count * pool->top_k * pool->rows);
}

static double sent_share(const Pool *pool, ExpertBlock device, BalanceRule rule) {
    return tokens_sent_to(pool, device) * rule.groups / (double)(rule.topk_group * pool->rows);
}

/* Adds one pool to the losses and writes its row of slope. */
static void balance_pool(Tensor loss, Tensor slope, int64_t row, const Pool *pool, BalanceRule rule) {
    int64_t width = pool->experts / rule.groups;
    double share = rule.gradient_scale / (double)pool->rows;
    for (int64_t d = 0; d < rule.groups; d++) {
        ExpertBlock device = {d * width, width};
        double load = load_share(pool, device), sent = sent_share(pool, device, rule);
        put_plus(loss, 0, 1, load * mean_mass(pool, device) * rule.pool_weight);
        put_plus(loss, 0, 2, sent * mean_mass(pool, device) * rule.pool_weight);
        for (int64_t e = device.first; e < device.first + width; e++) {
            double own = load_share(pool, (ExpertBlock){e, 1});
            put_plus(loss, 0, 0, own * mean_mass(pool, (ExpertBlock){e, 1}) * rule.pool_weight);
            put(slope, row, e,
                share * (rule.alpha_expert * own + rule.alpha_device * load + rule.alpha_communication * sent));
        }
    }
}

void ref_balance_forward(Device *device, Tensor loss, Tensor slope, Tensor score, Tensor expert, BalanceRule rule) {
    shape_balance_forward(device, loss, slope, score, expert, rule);
    int64_t pools = tensor_rows(slope), rows = pools ? tensor_rows(score) / pools : 0;
    if (!rows) ref_fill(device, slope, 0);
    for (int64_t s = 0; rows && s < pools; s++) {
        Pool pool = {score, expert, s * rows, rows, tensor_cols(score), tensor_cols(expert)};
        balance_pool(loss, slope, s, &pool, rule);
    }
}

typedef struct {
    Tensor expert, score, protect;
    int64_t pairs, top_k, rows_per_pool;
} Drop;

static int64_t pair_expert(const Drop *d, int64_t pair) { return id_at(d->expert, pair / d->top_k, pair % d->top_k); }
static double pair_score(const Drop *d, int64_t pair) { return get(d->score, pair / d->top_k, pair_expert(d, pair)); }
static bool pair_protected(const Drop *d, int64_t pair) {
    return id_at(d->protect, 0, pair / d->top_k / d->rows_per_pool) != 0;
}

/* Does `other` go before `pair` when pairs are dropped? */
static bool goes_first(const Drop *d, int64_t other, int64_t pair) {
    double a = pair_score(d, other), b = pair_score(d, pair);
    return !pair_protected(d, other) && (a < b || (a == b && other > pair));
}

static bool pair_dropped(const Drop *d, int64_t pair, int64_t width, int64_t budget) {
    if (pair_protected(d, pair)) return false;
    int64_t load = 0, before = 0, group = pair_expert(d, pair) / width;
    for (int64_t other = 0; other < d->pairs; other++) {
        if (pair_expert(d, other) / width != group) continue;
        load++;
        before += goes_first(d, other, pair);
    }
    return before < load - budget;
}

void ref_drop_tokens(Device *device, Tensor kept, Tensor expert, Tensor score, Tensor protect, int groups,
                     int64_t budget) {
    shape_drop_tokens(device, kept, expert, score, protect, groups, budget);
    int64_t rows = tensor_rows(expert), top_k = tensor_cols(expert), width = tensor_cols(score) / groups;
    if (!rows) return;
    Drop drop = {expert, score, protect, rows * top_k, top_k, rows / tensor_count(protect)};
    for (int64_t pair = 0; pair < drop.pairs; pair++)
        put(kept, pair / top_k, pair % top_k,
            pair_dropped(&drop, pair, width, budget) ? -1 : (double)pair_expert(&drop, pair));
}

void ref_read_experts(Device *device, int32_t *ids, Tensor expert, int64_t n_experts, RouterRule rule) {
    shape_read_experts(device, expert, n_experts, rule);
    for (int64_t i = 0; i < tensor_rows(expert); i++)
        for (int64_t k = 0; k < tensor_cols(expert); k++) {
            int64_t e = id_at(expert, i, k);
            check(e >= -1 && e < n_experts, "token %lld chose expert %lld of %lld", (long long)i, (long long)e,
                  (long long)n_experts);
            *ids++ = (int32_t)e;
        }
}
