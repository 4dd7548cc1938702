/* test_kernels_gradient.c - every backward row against central differences of its forward row.
 *
 * ref computes in double when its tensors are F64, so a five-point difference is good to 1e-11 and
 * 1e-7 can be demanded. The objective is sum(out * dout) with a random dout. */
#include "tests/test_kernels.h"

#include "kernels/ref/ref.h"

#include <math.h>
#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define LIMIT 1e-7

enum { INPUTS = 3 };

typedef struct Probe {
    Trial t;
    void (*forward)(struct Probe *);
    Tensor in[INPUTS], grad[INPUTS]; /* a grad without dims is not asked for */
    Tensor before[INPUTS];           /* what an accumulated gradient started from */
    Tensor out, dout;
    Tensor saved, aux, ids; /* rstd, lse or table; expert, weight or label */
    Groups groups;
    RouterRule router;
    double scale;
    int heads;
} Probe;

static void probe_open(Probe *p, bool strided, void (*forward)(Probe *)) {
    *p = (Probe){.forward = forward};
    trial_open(&p->t, device_open("ref", NULL), F64, strided);
}

static void probe_close(Probe *p) {
    trial_close(&p->t);
    device_close(p->t.device);
}

static Tensor random_of(Probe *p, int64_t rows, int64_t cols) { return trial_random(&p->t, F64, rows, cols); }
static Tensor poison(Probe *p, int64_t rows, int64_t cols) { return trial_poisoned(&p->t, F64, rows, cols); }
static int64_t rows_or_vector(Tensor t) { return t.ndim == 1 ? VECTOR : tensor_rows(t); }

/* The gradient of input i: poisoned where the kernel writes it, random where it is added to. */
static Tensor gradient_of(Probe *p, int i, bool accumulate) {
    int64_t rows = rows_or_vector(p->in[i]), cols = tensor_cols(p->in[i]);
    p->grad[i] = accumulate ? random_of(p, rows, cols) : poison(p, rows, cols);
    p->before[i] = poison(p, rows, cols);
    p->t.k->convert(p->t.device, p->before[i], p->grad[i]);
    if (!accumulate) p->t.k->fill(p->t.device, p->before[i], 0);
    return p->grad[i];
}

static void outputs_of(Probe *p, int64_t rows, int64_t cols) {
    p->out = poison(p, rows, cols);
    p->dout = random_of(p, rows, cols);
}

static double objective(Probe *p) {
    double sum = 0;
    p->forward(p);
    for (int64_t i = 0; i < tensor_count(p->out); i++)
        sum += get(p->out, i / tensor_cols(p->out), i % tensor_cols(p->out)) *
               get(p->dout, i / tensor_cols(p->out), i % tensor_cols(p->out));
    return sum;
}

static double objective_at(Probe *p, Tensor x, int64_t row, int64_t col, double value) {
    double old = get(x, row, col);
    put(x, row, col, value);
    double f = objective(p);
    put(x, row, col, old);
    return f;
}

/* Five-point central difference: error h^4 f''''' / 30. */
static double slope_at(Probe *p, Tensor x, int64_t row, int64_t col) {
    double h = 1e-3, v = get(x, row, col);
    double near = objective_at(p, x, row, col, v + h) - objective_at(p, x, row, col, v - h);
    double far = objective_at(p, x, row, col, v + 2 * h) - objective_at(p, x, row, col, v - 2 * h);
    return (8 * near - far) / (12 * h);
}

static void compare_input(Probe *p, int i, const char *name, size_t which) {
    Tensor x = p->in[i];
    int64_t n = tensor_count(x), cols = tensor_cols(x);
    double *want = must_alloc(n, sizeof *want), *got = must_alloc(n, sizeof *got);
    for (int64_t e = 0; e < n; e++) {
        want[e] = slope_at(p, x, e / cols, e % cols);
        got[e] = get(p->grad[i], e / cols, e % cols) - get(p->before[i], e / cols, e % cols);
    }
    Difference d = difference(got, want, n);
    expect(d.nans == 0 && d.relative <= LIMIT && d.worst <= LIMIT,
           "%s case %zu input %d: relative %.2e, worst %.2e at %lld, %lld NaN", name, which, i, d.relative, d.worst,
           (long long)d.worst_at, (long long)d.nans);
    expect(trial_guards_hold(&p->t, p->grad[i]), "%s case %zu wrote outside gradient %d", name, which, i);
    free(want);
    free(got);
}

static void compare_gradients(Probe *p, const char *name, size_t which) {
    for (int i = 0; i < INPUTS; i++)
        if (!tensor_none(p->grad[i])) compare_input(p, i, name, which);
}

/* -- linear -- */

static void linear(Probe *p) { p->t.k->linear_forward(p->t.device, p->out, p->in[0], p->in[1]); }

void test_gradient_linear(void) {
    static const struct {
        int64_t n, i, o;
        bool strided, accumulate;
    } cases[] = {
        {3, 5, 7, false, false}, {1, 1, 1, false, true},  {5, 3, 2, true, false},
        {4, 7, 3, true, true},   {0, 3, 2, false, false},
    };
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        probe_open(&p, cases[c].strided, linear);
        p.in[0] = random_of(&p, cases[c].n, cases[c].i);
        p.in[1] = random_of(&p, cases[c].o, cases[c].i);
        outputs_of(&p, cases[c].n, cases[c].o);
        p.t.k->linear_backward_input(p.t.device, gradient_of(&p, 0, cases[c].accumulate), p.dout, p.in[1],
                                     cases[c].accumulate);
        p.t.k->linear_backward_weight(p.t.device, gradient_of(&p, 1, cases[c].accumulate), p.dout, p.in[0],
                                      cases[c].accumulate);
        compare_gradients(&p, "linear", c);
        probe_close(&p);
    }
}

static void grouped_linear(Probe *p) {
    p->t.k->grouped_linear_forward(p->t.device, p->out, p->in[0], p->in[1], p->groups);
}

void test_gradient_grouped_linear(void) {
    static const struct {
        int64_t i, o, count, sizes[4];
        bool strided;
    } cases[] = {
        {3, 5, 3, {2, 0, 3}, false},
        {4, 2, 4, {0, 1, 0, 2}, true},
        {2, 3, 2, {0, 0}, false},
        {5, 1, 1, {4}, false},
    };
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        probe_open(&p, cases[c].strided, grouped_linear);
        p.groups = trial_groups(&p.t, cases[c].sizes, cases[c].count);
        p.groups.first = p.t.first;
        int64_t rows = p.groups.first[cases[c].count];
        p.in[0] = random_of(&p, rows, cases[c].i);
        p.in[1] = random_of(&p, cases[c].count * cases[c].o, cases[c].i);
        outputs_of(&p, rows, cases[c].o);
        p.t.k->grouped_linear_backward_input(p.t.device, gradient_of(&p, 0, false), p.dout, p.in[1], p.groups);
        p.t.k->grouped_linear_backward_weight(p.t.device, gradient_of(&p, 1, c % 2), p.dout, p.in[0], p.groups,
                                              c % 2);
        compare_gradients(&p, "grouped linear", c);
        probe_close(&p);
    }
}

/* -- norm and rope -- */

static void rmsnorm(Probe *p) {
    p->t.k->rmsnorm_forward(p->t.device, p->out, p->saved, p->in[0], p->in[1], p->scale);
}

/* in[2] is the delta; the sum is kept in aux. Both summands have the sum's gradient. */
static void add_rmsnorm(Probe *p) {
    p->t.k->add_rmsnorm_forward(p->t.device, p->aux, p->out, p->saved, p->in[0], p->in[2], p->in[1], p->scale);
}

void test_gradient_rmsnorm(void) {
    static const struct {
        int64_t n, d;
        double eps;
        bool strided, accumulate, add;
    } cases[] = {
        {3, 5, 1e-6, false, false, false}, {2, 7, 0.5, true, true, false},   {1, 1, 1e-3, false, false, false},
        {0, 4, 1e-6, false, false, false}, {3, 4, 1e-2, false, false, true}, {2, 5, 1e-6, true, true, true},
    };
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        probe_open(&p, cases[c].strided, cases[c].add ? add_rmsnorm : rmsnorm);
        p.scale = cases[c].eps;
        for (int i = 0; i < 3; i++) p.in[i] = random_of(&p, i == 1 ? VECTOR : cases[c].n, cases[c].d);
        p.saved = poison(&p, VECTOR, cases[c].n);
        p.aux = poison(&p, cases[c].n, cases[c].d);
        outputs_of(&p, cases[c].n, cases[c].d);
        p.forward(&p);
        Tensor x = cases[c].add ? p.aux : p.in[0];
        for (int i = 0; i <= (cases[c].add ? 2 : 0); i += 2)
            p.t.k->rmsnorm_backward_input(p.t.device, gradient_of(&p, i, cases[c].accumulate), p.dout, x, p.in[1],
                                          p.saved, cases[c].accumulate);
        p.t.k->rmsnorm_backward_weight(p.t.device, gradient_of(&p, 1, true), p.dout, x, p.saved);
        compare_gradients(&p, "rmsnorm", c);
        probe_close(&p);
    }
}

static void rope(Probe *p) {
    p->t.k->convert(p->t.device, p->out, p->in[0]);
    p->t.k->rope(p->t.device, p->out, p->saved, p->ids, p->heads, false);
}

/* The backward turns dout in place the other way, with the same amplitude. */
void test_gradient_rope(void) {
    static const struct {
        int64_t n, r;
        int heads;
        double amplitude;
        bool strided;
    } cases[] = {
        {3, 6, 2, 1.0, false},
        {4, 2, 1, 1.3, true},
        {2, 10, 3, 0.7, true},
        {0, 4, 2, 1.0, false},
    };
    static const double frequency[] = {1.0, 0.3, 0.11, 0.05, 0.01};
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        probe_open(&p, cases[c].strided, rope);
        p.heads = cases[c].heads;
        p.saved = poison(&p, 9, cases[c].r);
        p.t.k->rope_table(p.t.device, p.saved, frequency, cases[c].amplitude);
        p.ids = trial_ids(&p.t, VECTOR, cases[c].n, 0, 9);
        p.in[0] = random_of(&p, cases[c].n * p.heads, cases[c].r);
        outputs_of(&p, cases[c].n * p.heads, cases[c].r);
        p.t.k->convert(p.t.device, gradient_of(&p, 0, false), p.dout);
        p.t.k->rope(p.t.device, p.grad[0], p.saved, p.ids, p.heads, true);
        compare_gradients(&p, "rope", c);
        probe_close(&p);
    }
}

/* -- attention -- */

static void attention(Probe *p) {
    p->t.k->attention_forward(p->t.device, p->out, p->saved, p->in[0], p->in[1], p->in[2], p->ids, p->heads,
                              p->scale);
}

void test_gradient_attention(void) {
    /* past: keys before the first query (a cache); range: first and end key of each query */
    static const struct {
        int64_t n, m, heads, nope, rope, value;
        bool strided;
        double range[10];
    } cases[] = {
        {4, 4, 2, 3, 2, 5, false, {0, 1, 0, 2, 0, 3, 0, 4}},
        {5, 5, 3, 2, 4, 3, true, {0, 1, 0, 2, 2, 3, 2, 4, 2, 5}}, /* two documents */
        {2, 5, 1, 1, 2, 1, true, {0, 4, 0, 5}},                   /* a cache of three keys */
        {3, 3, 2, 4, 2, 3, false, {0, 0, 1, 1, 1, 3}},            /* queries without keys, a key unseen */
        {1, 1, 2, 6, 2, 11, false, {0, 1}},
        {0, 0, 2, 3, 2, 2, false, {0}},
        {0, 2, 1, 3, 2, 2, false, {0}}, /* keys without queries: gradient 0 */
    };
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        int64_t h = cases[c].heads, n = cases[c].nope, r = cases[c].rope, d = cases[c].value;
        probe_open(&p, cases[c].strided, attention);
        p.heads = (int)h;
        p.scale = 0.4;
        p.in[0] = random_of(&p, cases[c].n, h * (n + r));
        p.in[1] = random_of(&p, cases[c].m, h * (n + d));
        p.in[2] = random_of(&p, cases[c].m, r);
        p.ids = trial_place(&p.t, I32, cases[c].n, 2, cases[c].range);
        p.saved = poison(&p, cases[c].n, h);
        outputs_of(&p, cases[c].n, h * d);
        p.forward(&p);
        for (int i = 0; i < 3; i++) gradient_of(&p, i, false);
        p.t.k->attention_backward(p.t.device, p.grad[0], p.grad[1], p.grad[2], p.dout, p.out, p.saved, p.in[0],
                                  p.in[1], p.in[2], p.ids, p.heads, p.scale);
        compare_gradients(&p, "attention", c);
        probe_close(&p);
    }
}

/* -- SwiGLU -- */

static const struct {
    int64_t n, f;
    bool strided;
} swiglu_cases[] = {{3, 5, false}, {1, 1, false}, {4, 3, true}, {0, 2, false}};

static void swiglu(Probe *p) { p->t.k->swiglu_forward(p->t.device, p->out, p->in[0]); }
static void swiglu_weighted(Probe *p) { p->t.k->swiglu_weighted_forward(p->t.device, p->out, p->in[0], p->in[1]); }

/* The backward writes h again: it must be the forward's to the bit. */
static void expect_same_hidden(Probe *p, Tensor again) {
    p->forward(p);
    for (int64_t i = 0; i < tensor_count(again); i++) {
        int64_t row = i / tensor_cols(again), col = i % tensor_cols(again);
        expect(get(p->out, row, col) == get(again, row, col), "h at %lld, %lld", (long long)row, (long long)col);
    }
}

void test_gradient_swiglu(void) {
    for (size_t c = 0; c < COUNT(swiglu_cases); c++) {
        Probe p;
        probe_open(&p, swiglu_cases[c].strided, swiglu);
        p.in[0] = random_of(&p, swiglu_cases[c].n, 2 * swiglu_cases[c].f);
        outputs_of(&p, swiglu_cases[c].n, swiglu_cases[c].f);
        Tensor h = poison(&p, swiglu_cases[c].n, swiglu_cases[c].f);
        p.t.k->swiglu_backward(p.t.device, gradient_of(&p, 0, false), h, p.dout, p.in[0]);
        compare_gradients(&p, "swiglu", c);
        expect_same_hidden(&p, h);
        probe_close(&p);
    }
}

void test_gradient_swiglu_weighted(void) {
    for (size_t c = 0; c < COUNT(swiglu_cases); c++) {
        Probe p;
        probe_open(&p, swiglu_cases[c].strided, swiglu_weighted);
        p.in[0] = random_of(&p, swiglu_cases[c].n, 2 * swiglu_cases[c].f);
        p.in[1] = random_of(&p, VECTOR, swiglu_cases[c].n);
        outputs_of(&p, swiglu_cases[c].n, swiglu_cases[c].f);
        Tensor h = poison(&p, swiglu_cases[c].n, swiglu_cases[c].f);
        gradient_of(&p, 0, false), gradient_of(&p, 1, false);
        p.t.k->swiglu_weighted_backward(p.t.device, p.grad[0], p.grad[1], h, p.dout, p.in[0], p.in[1]);
        compare_gradients(&p, "swiglu weighted", c);
        expect_same_hidden(&p, h);
        probe_close(&p);
    }
}

/* -- embedding and loss -- */

static void embedding(Probe *p) { p->t.k->embedding_forward(p->t.device, p->out, p->in[0], p->ids); }

void test_gradient_embedding(void) {
    static const struct {
        int64_t n, v, d;
        bool strided;
    } cases[] = {{7, 4, 3, false}, {5, 9, 2, true}, {0, 2, 3, false}};
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        probe_open(&p, cases[c].strided, embedding);
        p.in[0] = random_of(&p, cases[c].v, cases[c].d);
        p.ids = trial_ids(&p.t, VECTOR, cases[c].n, 0, cases[c].v);
        outputs_of(&p, cases[c].n, cases[c].d);
        p.t.k->embedding_backward(p.t.device, gradient_of(&p, 0, true), p.dout, p.ids);
        compare_gradients(&p, "embedding", c);
        probe_close(&p);
    }
}

static void cross_entropy(Probe *p) {
    p->t.k->cross_entropy(p->t.device, p->out, (Tensor){0}, p->in[0], p->ids, (Tensor){0});
}

/* The objective weighs the loss of each row by dout, which is what the kernel calls weight. */
void test_gradient_cross_entropy(void) {
    static const struct {
        int64_t n, v, low;
        bool strided, in_place;
    } cases[] = {
        {4, 7, 0, false, false},
        {9, 3, -2, true, false},
        {5, 5, -5, false, true},
        {0, 4, 0, false, false},
    };
    for (size_t c = 0; c < COUNT(cases); c++) {
        Probe p;
        probe_open(&p, cases[c].strided, cross_entropy);
        p.in[0] = random_of(&p, cases[c].n, cases[c].v);
        p.ids = trial_ids(&p.t, VECTOR, cases[c].n, cases[c].low, cases[c].v);
        outputs_of(&p, VECTOR, cases[c].n);
        Tensor dlogits = gradient_of(&p, 0, false);
        if (cases[c].in_place) p.t.k->convert(p.t.device, dlogits, p.in[0]);
        p.t.k->cross_entropy(p.t.device, p.out, dlogits, cases[c].in_place ? dlogits : p.in[0], p.ids, p.dout);
        compare_gradients(&p, "cross entropy", c);
        probe_close(&p);
    }
}

/* -- router -- */

/* out = the weights; with a slope, rows of aux add sum(slope * score) through a second output. */
static void router(Probe *p) { p->t.k->router_forward(p->t.device, p->saved, p->ids, p->out, p->in[0], p->router); }

static const struct {
    int64_t n, e, k;
    RouterRule rule;
    bool strided;
} router_cases[] = {
    {3, 6, 2, {1, 1, false, 1.0}, false}, {4, 8, 3, {4, 2, false, 16.0}, true}, {3, 8, 3, {4, 2, true, 16.0}, false},
    {2, 6, 1, {3, 1, true, 2.5}, false},  {2, 4, 4, {2, 2, true, 1.0}, true},   {0, 6, 2, {1, 1, false, 1.0}, false},
};

void test_gradient_router(void) {
    for (size_t c = 0; c < COUNT(router_cases); c++) {
        Probe p;
        int64_t n = router_cases[c].n, e = router_cases[c].e, k = router_cases[c].k;
        probe_open(&p, router_cases[c].strided, router);
        p.router = router_cases[c].rule;
        p.in[0] = random_of(&p, n, e);
        p.saved = poison(&p, n, e);
        p.ids = trial_poisoned(&p.t, I32, n, k);
        outputs_of(&p, n, k);
        p.forward(&p);
        p.t.k->router_backward(p.t.device, gradient_of(&p, 0, false), p.dout, p.saved, p.ids, p.out, (Tensor){0},
                               p.router);
        compare_gradients(&p, "router", c);
        probe_close(&p);
    }
}

/* out = (weights, score): the weights bring dout's first columns, a balance slope the others. */
static void router_with_slope(Probe *p) {
    int64_t k = tensor_cols(p->ids), e = tensor_cols(p->in[0]);
    p->t.k->router_forward(p->t.device, tensor_cols_view(p->out, k, e), p->ids, tensor_cols_view(p->out, 0, k),
                           p->in[0], p->router);
}

/* Fills dout's score columns with G of each row's pool: L = sum G p with constant counts f. */
static void spread_slope(Probe *p, Tensor slope) {
    int64_t k = tensor_cols(p->ids), rows = tensor_rows(p->dout), pools = tensor_rows(slope);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t e = 0; e < tensor_cols(slope); e++) put(p->dout, t, k + e, get(slope, t / (rows / pools), e));
}

void test_gradient_balance(void) {
    static const BalanceRule rule = {2, 1, 0.3, 0.5, 0.2, 0.7, 1.0};
    static const int64_t pools[] = {1, 4, 3, 2, 1, 0};
    for (size_t c = 0; c < COUNT(router_cases); c++) {
        Probe p;
        int64_t n = router_cases[c].n, e = router_cases[c].e, k = router_cases[c].k;
        probe_open(&p, router_cases[c].strided, router_with_slope);
        p.router = router_cases[c].rule;
        p.in[0] = random_of(&p, n, e);
        p.ids = trial_poisoned(&p.t, I32, n, k);
        outputs_of(&p, n, k + e);
        p.forward(&p);
        Tensor score = tensor_cols_view(p.out, k, e), weight = tensor_cols_view(p.out, 0, k);
        Tensor slope = poison(&p, pools[c], e), loss = random_of(&p, VECTOR, 3);
        p.t.k->balance_forward(p.t.device, loss, slope, score, p.ids, rule);
        spread_slope(&p, slope);
        p.t.k->router_backward(p.t.device, gradient_of(&p, 0, false), tensor_cols_view(p.dout, 0, k), score, p.ids,
                               weight, slope, p.router);
        compare_gradients(&p, "router with balance losses", c);
        probe_close(&p);
    }
}

/* -- gather -- */

/* gather_sum of an index is the adjoint of gather by its inverse: <gather(x), y> = <x, gather_sum(y)>. */
static void gather_adjoint(int64_t rows, int64_t from, int64_t cols, bool strided) {
    Probe p;
    probe_open(&p, strided, NULL);
    Tensor x = random_of(&p, from, cols), y = random_of(&p, rows, cols);
    Tensor index = trial_ids(&p.t, VECTOR, rows, -1, from), gathered = poison(&p, rows, cols);
    double *back = must_alloc(from * rows, sizeof *back); /* row r of x: the places it went to, else -1 */
    for (int64_t r = 0; r < from; r++)
        for (int64_t i = 0; i < rows; i++) back[r * rows + i] = id_at(index, 0, i) == r ? (double)i : -1;
    Tensor inverse = trial_place(&p.t, I32, from, rows, back), sum = random_of(&p, from, cols);
    Tensor sides = trial_place(&p.t, F64, VECTOR, 1, (double[]){0}),
           other = trial_place(&p.t, F64, VECTOR, 1, (double[]){0});
    p.t.k->dot(p.t.device, other, x, sum); /* what `accumulate` finds there */
    p.t.k->gather_rows(p.t.device, gathered, x, index);
    p.t.k->dot(p.t.device, other, gathered, y);
    p.t.k->gather_sum_rows(p.t.device, sum, y, inverse, true);
    p.t.k->dot(p.t.device, sides, x, sum);
    expect(fabs(get(sides, 0, 0) - get(other, 0, 0)) <= 1e-12 * (1 + fabs(get(other, 0, 0))), "%.17g and %.17g",
           get(sides, 0, 0), get(other, 0, 0));
    free(back);
    probe_close(&p);
}

void test_gather_adjoint(void) {
    gather_adjoint(7, 4, 3, false);
    gather_adjoint(3, 8, 5, true);
    gather_adjoint(0, 3, 2, false);
}
