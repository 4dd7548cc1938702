/* test_kernels_cases.c - one function per kernel that makes its tensors and calls it, and the sizes to
 * try: odd ones, empty ones, and some that cross the borders of a backend's blocks. */
#include "tests/test_kernels.h"

#include <math.h>
#include <stdlib.h>

static Tensor in(Trial *t, int64_t rows, int64_t cols) { return trial_random(t, t->dtype, rows, cols); }
static Tensor in_stat(Trial *t, int64_t rows, int64_t cols) { return trial_random(t, t->stat, rows, cols); }
static Tensor out(Trial *t, int64_t rows, int64_t cols) {
    return trial_watch(t, trial_poisoned(t, t->dtype, rows, cols));
}
static Tensor out_stat(Trial *t, int64_t rows, int64_t cols) {
    return trial_watch(t, trial_poisoned(t, t->stat, rows, cols));
}
static Tensor out_ids(Trial *t, int64_t rows, int64_t cols) {
    return trial_watch(t, trial_poisoned(t, I32, rows, cols));
}
/* Read and written: in place, or added to. */
static Tensor both(Trial *t, int64_t rows, int64_t cols) { return trial_watch(t, in(t, rows, cols)); }
static Tensor both_stat(Trial *t, int64_t rows, int64_t cols) { return trial_watch(t, in_stat(t, rows, cols)); }
static Tensor sum_f64(Trial *t, int64_t n) { return trial_watch(t, trial_random(t, F64, VECTOR, n)); }

/* -- d = {rows, cols} -- */

static void fill(Trial *t, const int64_t *d) { t->k->fill(t->device, out(t, d[0], d[1]), 0.75); }
static void convert(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[0], d[1]), wide = in_stat(t, d[0], d[1]);
    t->k->convert(t->device, out_stat(t, d[0], d[1]), x);
    t->k->convert(t->device, out(t, d[0], d[1]), wide);
    t->k->convert(t->device, out(t, d[0], d[1]), x);
}
static void add(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[0], d[1]);
    t->k->add(t->device, both(t, d[0], d[1]), x);
    t->k->add(t->device, both_stat(t, d[0], d[1]), x);
}
static void scale(Trial *t, const int64_t *d) {
    t->k->scale(t->device, both(t, d[0], d[1]), 0.3);
    t->k->scale(t->device, both_stat(t, d[0], d[1]), -1.7);
}
static void random_normal(Trial *t, const int64_t *d) {
    t->k->random_normal(t->device, out(t, d[0], d[1]), 0.006, 11, 12, 13);
    t->k->random_normal(t->device, out_stat(t, d[0], d[1]), 2, 11, 12, INT64_C(1) << 33);
}
static void dot(Trial *t, const int64_t *d) {
    Tensor a = in(t, d[0], d[1]), b = in(t, d[0], d[1]), c = in_stat(t, d[0], d[1]);
    t->k->dot(t->device, sum_f64(t, 1), a, b);
    t->k->dot(t->device, sum_f64(t, 1), a, c);
    t->k->dot(t->device, sum_f64(t, 1), a, trial_random(t, F64, d[0], d[1]));
}
static void sum_squares(Trial *t, const int64_t *d) {
    Tensor a = in(t, d[0], d[1]), b = in_stat(t, d[0], d[1]);
    t->k->sum_squares(t->device, sum_f64(t, 1), a);
    t->k->sum_squares(t->device, sum_f64(t, 1), b);
}

/* -- d = {N, I, O} -- */

static void linear_forward(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[0], d[1]), w = in(t, d[2], d[1]);
    t->k->linear_forward(t->device, out(t, d[0], d[2]), x, w);
    t->k->linear_forward(t->device, out_stat(t, d[0], d[2]), x, w);
    t->device->few_rows = true; /* as decoding has it */
    t->k->linear_forward(t->device, out(t, d[0], d[2]), x, w);
    t->k->linear_forward(t->device, out_stat(t, d[0], d[2]), x, w);
    t->device->few_rows = false;
}
static void linear_backward_input(Trial *t, const int64_t *d) {
    Tensor dy = in(t, d[0], d[2]), w = in(t, d[2], d[1]);
    t->k->linear_backward_input(t->device, out(t, d[0], d[1]), dy, w, false);
    t->k->linear_backward_input(t->device, both(t, d[0], d[1]), dy, w, true);
    t->k->linear_backward_input(t->device, both_stat(t, d[0], d[1]), dy, w, true);
}
static void linear_backward_weight(Trial *t, const int64_t *d) {
    Tensor dy = in(t, d[0], d[2]), x = in(t, d[0], d[1]);
    t->k->linear_backward_weight(t->device, out_stat(t, d[2], d[1]), dy, x, false);
    t->k->linear_backward_weight(t->device, both_stat(t, d[2], d[1]), dy, x, true);
}

/* -- d = {I, O, spare rows behind the groups, groups, sizes...} -- */

static int64_t grouped_rows(const int64_t *d) {
    int64_t rows = d[2];
    for (int64_t g = 0; g < d[3]; g++) rows += d[4 + g];
    return rows;
}
static Tensor only_grouped(Tensor t, const int64_t *d) { return tensor_rows_view(t, 0, grouped_rows(d) - d[2]); }

/* Rows behind the last group are no one's: watched as a tensor that must stay as it was. */
static Tensor grouped_out(Trial *t, int64_t cols, const int64_t *d) {
    Tensor all = in(t, grouped_rows(d), cols);
    t->k->fill(t->device, only_grouped(all, d), NAN);
    return trial_watch(t, all);
}
static void grouped_linear_forward(Trial *t, const int64_t *d) {
    Groups groups = trial_groups(t, d + 4, d[3]);
    Tensor x = in(t, grouped_rows(d), d[0]), w = in(t, d[3] * d[1], d[0]);
    t->k->grouped_linear_forward(t->device, grouped_out(t, d[1], d), x, w, groups);
    t->device->few_rows = true;
    t->k->grouped_linear_forward(t->device, grouped_out(t, d[1], d), x, w, groups);
    t->device->few_rows = false;
}
static void grouped_linear_backward_input(Trial *t, const int64_t *d) {
    Groups groups = trial_groups(t, d + 4, d[3]);
    Tensor dy = in(t, grouped_rows(d), d[1]), w = in(t, d[3] * d[1], d[0]);
    t->k->grouped_linear_backward_input(t->device, grouped_out(t, d[0], d), dy, w, groups);
}
static void grouped_linear_backward_weight(Trial *t, const int64_t *d) {
    Groups groups = trial_groups(t, d + 4, d[3]);
    Tensor dy = in(t, grouped_rows(d), d[1]), x = in(t, grouped_rows(d), d[0]);
    t->k->grouped_linear_backward_weight(t->device, out_stat(t, d[3] * d[1], d[0]), dy, x, groups, false);
    t->k->grouped_linear_backward_weight(t->device, both_stat(t, d[3] * d[1], d[0]), dy, x, groups, true);
}

/* -- d = {N, D} -- */

static void rmsnorm_forward(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[0], d[1]), w = in(t, VECTOR, d[1]);
    t->k->rmsnorm_forward(t->device, out(t, d[0], d[1]), out_stat(t, VECTOR, d[0]), x, w, 1e-3);
}
static void rmsnorm_backward_input(Trial *t, const int64_t *d) {
    Tensor dy = in(t, d[0], d[1]), x = in(t, d[0], d[1]), w = in(t, VECTOR, d[1]), rstd = in_stat(t, VECTOR, d[0]);
    t->k->rmsnorm_backward_input(t->device, out(t, d[0], d[1]), dy, x, w, rstd, false);
    t->k->rmsnorm_backward_input(t->device, both(t, d[0], d[1]), dy, x, w, rstd, true);
}
static void rmsnorm_backward_weight(Trial *t, const int64_t *d) {
    Tensor dy = in(t, d[0], d[1]), x = in(t, d[0], d[1]), rstd = in_stat(t, VECTOR, d[0]);
    t->k->rmsnorm_backward_weight(t->device, both_stat(t, VECTOR, d[1]), dy, x, rstd);
}
static void add_rmsnorm_forward(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[0], d[1]), delta = in(t, d[0], d[1]), w = in(t, VECTOR, d[1]), place = both(t, d[0], d[1]);
    t->k->add_rmsnorm_forward(t->device, out(t, d[0], d[1]), out(t, d[0], d[1]), out_stat(t, VECTOR, d[0]), x, delta,
                              w, 1e-6);
    t->k->add_rmsnorm_forward(t->device, place, out(t, d[0], d[1]), out_stat(t, VECTOR, d[0]), place, delta, w, 1e-6);
}

/* -- d = {N, heads, R} -- */

enum { POSITIONS = 40 };

static const double frequency[32] = {1.0, 0.31, 0.17, 0.1, 0.06, 0.031, 0.017, 0.01, 0.006, 0.003};

static void rope_table(Trial *t, const int64_t *d) {
    t->k->rope_table(t->device, out_stat(t, POSITIONS, d[2]), frequency, 1.2);
}
static void rope(Trial *t, const int64_t *d) {
    Tensor table = in_stat(t, POSITIONS, d[2]), position = trial_ids(t, VECTOR, d[0], 0, POSITIONS);
    t->k->rope(t->device, both(t, d[0] * d[1], d[2]), table, position, (int)d[1], false);
    t->k->rope(t->device, both(t, d[0] * d[1], d[2]), table, position, (int)d[1], true);
    Tensor whole = both(t, d[0] * d[1], d[2] + 5); /* as q_pe lies within q */
    t->k->rope(t->device, tensor_cols_view(whole, 5, d[2]), table, position, (int)d[1], false);
}

/* -- d = {N, cached keys, heads, nope, rope, value, document length; 0: one, -1: two keys or none, -2: none} -- */

static Tensor ranges(Trial *t, const int64_t *d) {
    double *range = must_alloc(2 * d[0], sizeof *range);
    for (int64_t i = 0; i < d[0]; i++) {
        int64_t place = d[1] + i, length = d[6];
        int64_t narrow = i % 3 == 1 || length == -2 ? place : max_i64(place - 1, 0);
        range[2 * i] = (double)(length > 0 ? place / length * length : length < 0 ? narrow : 0);
        range[2 * i + 1] = (double)(length == -2 || (length < 0 && i % 3 == 1) ? place : place + 1);
    }
    Tensor made = trial_place(t, I32, d[0], 2, range);
    free(range);
    return made;
}

typedef struct {
    Tensor q, kv, k_pe, range;
    double scale;
} Operands;

static Operands operands(Trial *t, const int64_t *d) {
    Operands a = {.q = in(t, d[0], d[2] * (d[3] + d[4])), .kv = in(t, d[0] + d[1], d[2] * (d[3] + d[5]))};
    a.k_pe = in(t, d[0] + d[1], d[4]);
    a.range = ranges(t, d);
    a.scale = 1 / sqrt((double)(d[3] + d[4]));
    return a;
}
static void attention_forward(Trial *t, const int64_t *d) {
    Operands a = operands(t, d);
    t->k->attention_forward(t->device, out(t, d[0], d[2] * d[5]), out_stat(t, d[0], d[2]), a.q, a.kv, a.k_pe, a.range,
                            (int)d[2], a.scale);
}
static void attention_backward(Trial *t, const int64_t *d) {
    Operands a = operands(t, d);
    Tensor dout = in(t, d[0], d[2] * d[5]), o = in(t, d[0], d[2] * d[5]), lse = in_stat(t, d[0], d[2]);
    t->k->attention_forward(t->device, o, lse, a.q, a.kv, a.k_pe, a.range, (int)d[2], a.scale);
    Tensor dq = out(t, d[0], d[2] * (d[3] + d[4])), dkv = out(t, d[0] + d[1], d[2] * (d[3] + d[5]));
    t->k->attention_backward(t->device, dq, dkv, out(t, d[0] + d[1], d[4]), dout, o, lse, a.q, a.kv, a.k_pe, a.range,
                             (int)d[2], a.scale);
}

/* -- d = {N, F} -- */

static void swiglu_forward(Trial *t, const int64_t *d) {
    Tensor gu = in(t, d[0], 2 * d[1]);
    t->k->swiglu_forward(t->device, out(t, d[0], d[1]), gu);
}
static void swiglu_backward(Trial *t, const int64_t *d) {
    Tensor gu = in(t, d[0], 2 * d[1]), dh = in(t, d[0], d[1]), dgu = out(t, d[0], 2 * d[1]);
    t->k->swiglu_backward(t->device, dgu, out(t, d[0], d[1]), dh, gu);
}
static void swiglu_weighted_forward(Trial *t, const int64_t *d) {
    Tensor gu = in(t, d[0], 2 * d[1]), weight = in_stat(t, VECTOR, d[0]);
    t->k->swiglu_weighted_forward(t->device, out(t, d[0], d[1]), gu, weight);
}
static void swiglu_weighted_backward(Trial *t, const int64_t *d) {
    Tensor gu = in(t, d[0], 2 * d[1]), weight = in_stat(t, VECTOR, d[0]), dh = in(t, d[0], d[1]);
    Tensor dgu = out(t, d[0], 2 * d[1]), dweight = out_stat(t, VECTOR, d[0]);
    t->k->swiglu_weighted_backward(t->device, dgu, dweight, out(t, d[0], d[1]), dh, gu, weight);
}

/* -- d = {rows of y, cols, rows of x, J} -- */

static void gather_rows(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[2], d[1]), index = trial_ids(t, VECTOR, d[0], -1, d[2]);
    t->k->gather_rows(t->device, out(t, d[0], d[1]), x, index);
}
static void gather_sum_rows(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[2], d[1]), index = trial_ids(t, d[0], d[3], -1, d[2]);
    t->k->gather_sum_rows(t->device, out(t, d[0], d[1]), x, index, false);
    t->k->gather_sum_rows(t->device, both(t, d[0], d[1]), x, index, true);
    t->k->gather_sum_rows(t->device, both_stat(t, d[0], d[1]), x, index, true);
}

/* -- d = {N, E, K, n_group, topk_group, norm_topk_prob, pools} -- */

static RouterRule router_rule(const int64_t *d) { return (RouterRule){(int)d[3], (int)d[4], d[5] != 0, 2.5}; }

typedef struct {
    Tensor score, expert, weight;
} Routing;

static Routing route(Trial *t, const int64_t *d) {
    Routing r = {trial_poisoned(t, t->stat, d[0], d[1]), trial_poisoned(t, I32, d[0], d[2]),
                 trial_poisoned(t, t->stat, d[0], d[2])};
    t->k->router_forward(t->device, r.score, r.expert, r.weight, in_stat(t, d[0], d[1]), router_rule(d));
    return r;
}
static void router_forward(Trial *t, const int64_t *d) {
    Routing r = route(t, d);
    trial_watch(t, r.score), trial_watch(t, r.expert), trial_watch(t, r.weight);
}
static void router_backward(Trial *t, const int64_t *d) {
    Routing r = route(t, d);
    Tensor dweight = in_stat(t, d[0], d[2]), slope = in_stat(t, d[6], d[1]);
    t->k->router_backward(t->device, out_stat(t, d[0], d[1]), dweight, r.score, r.expert, r.weight, (Tensor){0},
                          router_rule(d));
    t->k->router_backward(t->device, out_stat(t, d[0], d[1]), dweight, r.score, r.expert, r.weight, slope,
                          router_rule(d));
}
static void balance_forward(Trial *t, const int64_t *d) {
    Routing r = route(t, d);
    BalanceRule rule = {(int)d[3], (int)d[4], 0.003, 0.05, 0.02, 0.25, 2.0};
    t->k->balance_forward(t->device, sum_f64(t, 3), out_stat(t, d[6], d[1]), r.score, r.expert, rule);
}
static void drop_tokens(Trial *t, const int64_t *d) {
    Routing r = route(t, d);
    Tensor protect = trial_ids(t, VECTOR, d[6], 0, 2);
    for (int64_t budget = 0; budget <= d[0] * d[2]; budget += max_i64(d[0] * d[2] / 4, 1))
        t->k->drop_tokens(t->device, out_ids(t, d[0], d[2]), r.expert, r.score, protect, (int)d[3], budget);
}
/* Reads on the host and writes back, so that the ids can be compared like an output. */
static void read_experts(Trial *t, const int64_t *d) {
    Tensor expert = trial_ids(t, d[0], d[2], -1, d[1]);
    int32_t *ids = must_alloc(d[0] * d[2], sizeof *ids);
    t->k->read_experts(t->device, ids, expert, d[1], (RouterRule){.n_group = 1, .topk_group = 1});
    double *values = must_alloc(d[0] * d[2], sizeof *values);
    for (int64_t i = 0; i < d[0] * d[2]; i++) values[i] = ids[i];
    trial_watch(t, trial_place(t, I32, d[0], d[2], values));
    free(ids);
    free(values);
}

/* -- d = {N, V, D} -- */

static void embedding_forward(Trial *t, const int64_t *d) {
    Tensor w = in(t, d[1], d[2]), ids = trial_ids(t, VECTOR, d[0], 0, d[1]);
    t->k->embedding_forward(t->device, out(t, d[0], d[2]), w, ids);
}
static void embedding_backward(Trial *t, const int64_t *d) {
    Tensor dy = in(t, d[0], d[2]), ids = trial_ids(t, VECTOR, d[0], 0, d[1]);
    t->k->embedding_backward(t->device, both_stat(t, d[1], d[2]), dy, ids);
}
static void cross_entropy(Trial *t, const int64_t *d) {
    Tensor logits = in(t, d[0], d[1]), label = trial_ids(t, VECTOR, d[0], -d[1] / 4, d[1]);
    Tensor weight = in_stat(t, VECTOR, d[0]), place = both(t, d[0], d[1]);
    t->k->scale(t->device, logits, 8);
    t->k->cross_entropy(t->device, out_stat(t, VECTOR, d[0]), out(t, d[0], d[1]), logits, label, weight);
    t->k->cross_entropy(t->device, out_stat(t, VECTOR, d[0]), (Tensor){0}, logits, label, weight);
    t->k->cross_entropy(t->device, out_stat(t, VECTOR, d[0]), place, place, label, weight);
    Tensor exact = trial_watch(t, trial_poisoned(t, F64, d[0], d[1]));
    t->k->cross_entropy(t->device, out_stat(t, VECTOR, d[0]), exact, logits, label, weight);
}

/* -- d = {rows, cols, master is w} -- */

static void adamw(Trial *t, const int64_t *d) {
    AdamwRule rule = {1e-2, 0.9, 0.95, 1e-8, 0.1, 1 - 0.9 * 0.9, 1 - 0.95 * 0.95, 0.7};
    Tensor master = both_stat(t, d[0], d[1]), w = d[2] ? master : out(t, d[0], d[1]);
    Tensor m = both_stat(t, d[0], d[1]), v = both_stat(t, d[0], d[1]), dw = both_stat(t, d[0], d[1]);
    t->k->scale(t->device, v, 0); /* second moments are never negative */
    t->k->adamw(t->device, w, master, m, v, dw, rule);
    t->k->add(t->device, dw, m);
    t->k->adamw(t->device, w, master, m, v, dw, rule);
}

#define ROW(kernel, ...)                                                                                             \
    {                                                                                                                \
#kernel, kernel, { __VA_ARGS__ }                                                                             \
    }

const KernelCase kernel_cases[] = {
    ROW(fill, 5, 7),
    ROW(fill, 0, 3),
    ROW(fill, 300, 33),
    ROW(fill, 3, 2051),
    ROW(convert, 3, 5),
    ROW(convert, 0, 4),
    ROW(convert, 257, 67),
    ROW(convert, 3, 2051),
    ROW(add, 3, 5),
    ROW(add, 0, 4),
    ROW(add, 257, 67),
    ROW(add, 3, 2051),
    ROW(scale, 3, 5),
    ROW(scale, 0, 4),
    ROW(scale, 257, 67),
    ROW(scale, 3, 2051),
    ROW(random_normal, 3, 5),
    ROW(random_normal, 0, 5),
    ROW(random_normal, 65, 131),
    ROW(random_normal, 3, 2051),
    ROW(dot, 1, 1),
    ROW(dot, 0, 3),
    ROW(dot, 7, 13),
    ROW(dot, 130, 257),
    ROW(dot, 3, 2051),
    ROW(sum_squares, 1, 1),
    ROW(sum_squares, 0, 3),
    ROW(sum_squares, 7, 13),
    ROW(sum_squares, 130, 257),
    ROW(linear_forward, 1, 1, 1),
    ROW(linear_forward, 0, 5, 3),
    ROW(linear_forward, 1, 64, 33),
    ROW(linear_forward, 33, 7, 65),
    ROW(linear_forward, 257, 96, 130),
    ROW(linear_forward, 70, 1030, 40),
    ROW(linear_forward, 2061, 5, 6),  /* several parts a thread */
    ROW(linear_forward, 3, 22000, 9), /* too many terms for dot products */
    ROW(linear_backward_input, 1, 1, 1),
    ROW(linear_backward_input, 0, 5, 3),
    ROW(linear_backward_input, 1, 64, 33),
    ROW(linear_backward_input, 33, 7, 65),
    ROW(linear_backward_input, 257, 96, 130),
    ROW(linear_backward_weight, 1, 1, 1),
    ROW(linear_backward_weight, 0, 5, 3),
    ROW(linear_backward_weight, 1, 64, 33),
    ROW(linear_backward_weight, 33, 7, 65),
    ROW(linear_backward_weight, 257, 96, 130),
    ROW(linear_backward_weight, 1030, 20, 40),
    ROW(linear_backward_weight, 40, 30, 600),
    ROW(linear_backward_weight, 21, 4101, 35), /* too wide for a tile */
    ROW(grouped_linear_forward, 5, 7, 0, 3, 2, 0, 3),
    ROW(grouped_linear_forward, 3, 4, 2, 2, 0, 0),
    ROW(grouped_linear_forward, 64, 40, 5, 4, 0, 129, 1, 33),
    ROW(grouped_linear_forward, 17, 33, 0, 1, 65),
    ROW(grouped_linear_backward_input, 5, 7, 0, 3, 2, 0, 3),
    ROW(grouped_linear_backward_input, 3, 4, 2, 2, 0, 0),
    ROW(grouped_linear_backward_input, 64, 40, 5, 4, 0, 129, 1, 33),
    ROW(grouped_linear_backward_input, 33, 17, 0, 7, 300, 5, 0, 40, 3, 1, 600),
    ROW(grouped_linear_backward_weight, 33, 17, 0, 7, 300, 5, 0, 40, 3, 1, 600),
    ROW(grouped_linear_backward_weight, 5, 7, 0, 3, 2, 0, 3),
    ROW(grouped_linear_backward_weight, 4101, 7, 2, 3, 20, 0, 5),
    ROW(grouped_linear_backward_weight, 3, 4, 2, 2, 0, 0),
    ROW(grouped_linear_backward_weight, 64, 40, 5, 4, 0, 129, 1, 33),
    ROW(rmsnorm_forward, 1, 1),
    ROW(rmsnorm_forward, 0, 5),
    ROW(rmsnorm_forward, 33, 67),
    ROW(rmsnorm_forward, 130, 512),
    ROW(rmsnorm_backward_input, 1, 2),
    ROW(rmsnorm_backward_input, 0, 5),
    ROW(rmsnorm_backward_input, 33, 67),
    ROW(rmsnorm_backward_input, 130, 512),
    ROW(rmsnorm_backward_input, 3, 2051),
    ROW(rmsnorm_backward_weight, 1, 2),
    ROW(rmsnorm_backward_weight, 0, 5),
    ROW(rmsnorm_backward_weight, 33, 67),
    ROW(rmsnorm_backward_weight, 700, 130),
    ROW(rmsnorm_backward_weight, 5, 5001),
    ROW(add_rmsnorm_forward, 1, 2),
    ROW(add_rmsnorm_forward, 0, 5),
    ROW(add_rmsnorm_forward, 33, 67),
    ROW(add_rmsnorm_forward, 130, 512),
    ROW(add_rmsnorm_forward, 3, 2051),
    ROW(rope_table, 0, 0, 64),
    ROW(rope_table, 0, 0, 6),
    ROW(rope, 3, 2, 6),
    ROW(rope, 0, 2, 4),
    ROW(rope, 129, 3, 64),
    ROW(rope, 5, 1, 2),
    ROW(rope, 3, 2, 1030),
    ROW(attention_forward, 1, 0, 1, 1, 2, 1, 0),
    ROW(attention_forward, 7, 0, 3, 13, 6, 11, 0),
    ROW(attention_forward, 0, 0, 2, 4, 2, 4, 0),
    ROW(attention_forward, 129, 0, 2, 13, 6, 11, 50),
    ROW(attention_forward, 300, 0, 1, 128, 64, 128, 0),
    ROW(attention_forward, 129, 0, 2, 16, 8, 16, -1),
    ROW(attention_forward, 70, 0, 2, 16, 8, 16, -2),
    ROW(attention_forward, 5, 150, 2, 13, 6, 11, 0),
    ROW(attention_forward, 300, 0, 3, 32, 16, 40, 129),
    ROW(attention_forward, 600, 0, 5, 13, 6, 11, 0),
    ROW(attention_forward, 40, 1100, 1, 13, 6, 11, 1050),
    ROW(attention_forward, 70, 0, 1, 1024, 1024, 1024, 0), /* the widest heads of configs */
    ROW(attention_backward, 1, 0, 1, 1, 2, 1, 0),
    ROW(attention_backward, 7, 0, 3, 13, 6, 11, 0),
    ROW(attention_backward, 0, 0, 2, 4, 2, 4, 0),
    ROW(attention_backward, 129, 0, 2, 13, 6, 11, 50),
    ROW(attention_backward, 300, 0, 1, 128, 64, 128, 0),
    ROW(attention_backward, 129, 0, 2, 16, 8, 16, -1),
    ROW(attention_backward, 70, 0, 2, 16, 8, 16, -2),
    ROW(attention_backward, 5, 150, 2, 13, 6, 11, 0),
    ROW(attention_backward, 300, 0, 3, 32, 16, 40, 129),
    ROW(attention_backward, 600, 0, 2, 13, 6, 11, 0),
    ROW(attention_backward, 600, 0, 2, 13, 6, 11, 270),
    ROW(attention_backward, 70, 0, 1, 1024, 1024, 1024, 0),
    ROW(swiglu_forward, 1, 1),
    ROW(swiglu_forward, 0, 3),
    ROW(swiglu_forward, 33, 67),
    ROW(swiglu_forward, 130, 256),
    ROW(swiglu_backward, 1, 1),
    ROW(swiglu_backward, 0, 3),
    ROW(swiglu_backward, 33, 67),
    ROW(swiglu_weighted_forward, 1, 1),
    ROW(swiglu_weighted_forward, 0, 3),
    ROW(swiglu_weighted_forward, 33, 67),
    ROW(swiglu_weighted_forward, 3, 2051),
    ROW(swiglu_weighted_backward, 1, 1),
    ROW(swiglu_weighted_backward, 0, 3),
    ROW(swiglu_weighted_backward, 33, 67),
    ROW(swiglu_weighted_backward, 3, 2051),
    ROW(swiglu_weighted_backward, 130, 256),
    ROW(gather_rows, 5, 3, 4),
    ROW(gather_rows, 0, 3, 4),
    ROW(gather_rows, 3, 7, 0),
    ROW(gather_rows, 300, 65, 129),
    ROW(gather_rows, 7, 2051, 9),
    ROW(gather_sum_rows, 5, 3, 4, 2),
    ROW(gather_sum_rows, 0, 3, 4, 2),
    ROW(gather_sum_rows, 3, 7, 0, 1),
    ROW(gather_sum_rows, 300, 65, 129, 6),
    ROW(gather_sum_rows, 7, 2051, 9, 6),
    ROW(router_forward, 3, 6, 2, 1, 1, 0, 1),
    ROW(router_forward, 0, 6, 2, 1, 1, 0, 0),
    ROW(router_forward, 257, 64, 6, 1, 1, 0, 1),
    ROW(router_forward, 130, 160, 6, 8, 3, 0, 1),
    ROW(router_forward, 65, 24, 4, 4, 2, 1, 1),
    ROW(router_forward, 33, 8, 1, 4, 1, 1, 1),
    ROW(router_forward, 9, 4, 4, 2, 2, 1, 1),
    ROW(router_backward, 3, 6, 2, 1, 1, 0, 1),
    ROW(router_backward, 0, 6, 2, 1, 1, 0, 0),
    ROW(router_backward, 256, 64, 6, 1, 1, 0, 4),
    ROW(router_backward, 130, 160, 6, 8, 3, 0, 2),
    ROW(router_backward, 65, 24, 4, 4, 2, 1, 5),
    ROW(router_backward, 33, 8, 1, 4, 1, 1, 1),
    ROW(balance_forward, 4, 6, 2, 2, 1, 0, 2),
    ROW(balance_forward, 0, 6, 2, 3, 1, 0, 0),
    ROW(balance_forward, 0, 6, 2, 3, 1, 0, 3),
    ROW(balance_forward, 256, 64, 6, 1, 1, 0, 4),
    ROW(balance_forward, 130, 160, 6, 8, 3, 0, 1),
    ROW(drop_tokens, 4, 6, 2, 2, 1, 0, 2),
    ROW(drop_tokens, 0, 6, 2, 3, 1, 0, 2),
    ROW(drop_tokens, 120, 24, 4, 4, 2, 0, 5),
    ROW(drop_tokens, 130, 16, 3, 1, 1, 0, 1),
    ROW(read_experts, 4, 6, 2),
    ROW(read_experts, 0, 6, 2),
    ROW(read_experts, 130, 16, 6),
    ROW(embedding_forward, 7, 5, 3),
    ROW(embedding_forward, 0, 5, 3),
    ROW(embedding_forward, 300, 40, 65),
    ROW(embedding_forward, 9, 5, 4101),
    ROW(embedding_backward, 7, 5, 3),
    ROW(embedding_backward, 0, 5, 3),
    ROW(embedding_backward, 300, 40, 65),
    ROW(embedding_backward, 9, 5, 4101),
    ROW(embedding_backward, 300, 1000, 33),
    ROW(cross_entropy, 3, 5),
    ROW(cross_entropy, 0, 5),
    ROW(cross_entropy, 4, 1),
    ROW(cross_entropy, 65, 1031),
    ROW(adamw, 3, 5, 0),
    ROW(adamw, 0, 5, 0),
    ROW(adamw, 1, 7, 1),
    ROW(adamw, 65, 131, 0),
    ROW(adamw, 3, 2051, 0),
    {0},
};
