/* test_kernels_golden.c - worked examples: results known from elsewhere than a second implementation. */
#include "tests/test_kernels.h"

#include "kernels/ref/ref.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

static bool near(double a, double b) { return fabs(a - b) <= 1e-9 * fmax(1, fabs(b)); }

static void open_ref(Trial *t) { trial_open(t, device_open("ref", NULL), F64, false); }
static void close_ref(Trial *t) {
    trial_close(t);
    device_close(t->device);
}

static Tensor f64(Trial *t, int64_t rows, int64_t cols, const double *values) {
    return trial_place(t, F64, rows, cols, values);
}

/* -- router (SEMANTICS sections 3 and 8) -- */

typedef struct {
    Tensor score, expert, weight;
} Routing;

static Routing route(Trial *t, const double *logits, int64_t n, int64_t e, int64_t k, RouterRule rule) {
    Routing r = {trial_poisoned(t, F64, n, e), trial_poisoned(t, I32, n, k), trial_poisoned(t, F64, n, k)};
    t->k->router_forward(t->device, r.score, r.expert, r.weight, f64(t, n, e, logits), rule);
    return r;
}

static void expect_experts(const char *name, Tensor expert, const int *want) {
    for (int64_t i = 0; i < tensor_count(expert); i++) {
        int64_t got = id_at(expert, i / tensor_cols(expert), i % tensor_cols(expert));
        expect(got == want[i], "%s: choice %lld is %lld, not %d", name, (long long)i, (long long)got, want[i]);
    }
}

static const double probability[8] = {.30, .01, .20, .18, .16, .02, .08, .05};

/* The group's score is its largest probability, not the sum of its best two: {0, 1}, not {2, 3}. */
static void max_rule(Trial *t) {
    double logits[8];
    for (int i = 0; i < 8; i++) logits[i] = log(probability[i]);
    Routing r = route(t, logits, 1, 8, 2, (RouterRule){4, 1, false, 16});
    expect_experts("max rule", r.expert, (int[]){0, 1});
    expect(near(get(r.weight, 0, 0), 16 * .30) && near(get(r.weight, 0, 1), 16 * .01), "weights %g %g",
           get(r.weight, 0, 0), get(r.weight, 0, 1));
    Routing two = route(t, logits, 1, 8, 3, (RouterRule){4, 2, false, 1});
    expect_experts("two groups", two.expert, (int[]){0, 2, 3});
}

/* A normalised gate is not scaled; a single expert is scaled, never normalised. */
static void normalise_or_scale(Trial *t) {
    double logits[8];
    for (int i = 0; i < 8; i++) logits[i] = log(probability[i]);
    Routing r = route(t, logits, 1, 8, 2, (RouterRule){1, 1, true, 2});
    expect(near(get(r.weight, 0, 0), .6) && near(get(r.weight, 0, 1), .4), "weights %g %g", get(r.weight, 0, 0),
           get(r.weight, 0, 1));
    Routing one = route(t, logits, 1, 8, 1, (RouterRule){1, 1, true, 2});
    expect(near(get(one.weight, 0, 0), .6), "weight %g of one expert", get(one.weight, 0, 0));
}

/* Chosen probabilities of 0 must give gradients of 0, not NaN: the 1e-20 in the normaliser. */
static void no_mass(Trial *t) {
    double zero[3] = {0}, dweight[2] = {1, 3}, ids[2] = {0, 2};
    Tensor dlogits = trial_poisoned(t, F64, 1, 3);
    t->k->router_backward(t->device, dlogits, f64(t, 1, 2, dweight), f64(t, 1, 3, zero),
                          trial_place(t, I32, 1, 2, ids), f64(t, 1, 2, zero), (Tensor){0},
                          (RouterRule){1, 1, true, 1});
    for (int e = 0; e < 3; e++) expect(get(dlogits, 0, e) == 0, "dlogits %d is %g", e, get(dlogits, 0, e));
}

void test_router_golden(void) {
    Trial t;
    open_ref(&t);
    max_rule(&t);
    normalise_or_scale(&t);
    no_mass(&t);
    close_ref(&t);
}

void test_router_ties(void) {
    static const struct {
        const char *name;
        double logits[8];
        int e, k;
        RouterRule rule;
        int want[4];
    } cases[] = {
        {"all equal", {0, 0, 0, 0, 0, 0, 0, 0}, 8, 4, {1, 1, false, 1}, {0, 1, 2, 3}},
        {"equal groups", {1, 2, 2, 1, 0, 2, 2, 0}, 8, 4, {4, 2, false, 1}, {1, 2, 0, 3}},
        {"tie behind the best", {0, 1, 3, 1, 1, 0}, 6, 3, {1, 1, false, 1}, {2, 1, 3}},
        {"the group's second underflows", {0, -2000, -1, -1}, 4, 2, {2, 1, false, 1}, {0, 1}},
        {"masked groups hold more mass", {-3000, 0, -2, -3}, 4, 2, {2, 1, true, 1}, {1, 0}},
    };
    for (size_t c = 0; c < COUNT(cases); c++) {
        Trial t;
        open_ref(&t);
        Routing r = route(&t, cases[c].logits, 1, cases[c].e, cases[c].k, cases[c].rule);
        expect_experts(cases[c].name, r.expert, cases[c].want);
        close_ref(&t);
    }
}

/* -- balance losses (SEMANTICS section 4) -- */

static void expect_losses(const char *name, Tensor loss, const double *want) {
    for (int i = 0; i < 3; i++)
        expect(fabs(get(loss, 0, i) - want[i]) < 5e-10, "%s: loss %d is %.12g, not %.12g", name, i, get(loss, 0, i),
               want[i]);
}

static const double golden_logits[16] = {1, .5, 0, -.5, .2, .1, 1.2, .3, 2, -1, .5, 0, 0, 0, .3, 1};

static void golden_balance(RouterRule router, int limit, const int *chosen, const double *losses) {
    static const double none[3];
    Trial t;
    open_ref(&t);
    Routing r = route(&t, golden_logits, 4, 4, 2, router);
    Tensor loss = f64(&t, VECTOR, 3, none), slope = trial_poisoned(&t, F64, 1, 4);
    BalanceRule rule = {2, limit, 0.003, 0.05, 0.02, 0.5, 1};
    t.k->balance_forward(t.device, loss, slope, r.score, r.expert, rule);
    expect_experts("golden case", r.expert, chosen);
    expect_losses("golden case", loss, losses);
    double total = 0; /* sum of G p = the losses with their alphas */
    for (int row = 0; row < 4; row++)
        for (int e = 0; e < 4; e++) total += get(slope, 0, e) * get(r.score, row, e);
    expect(near(total, 0.5 * (0.003 * losses[0] + 0.05 * losses[1] + 0.02 * losses[2])), "sum of slope p is %g",
           total);
    close_ref(&t);
}

/* Two sequences on a half of the experts each: unbalanced apart, balanced together. */
static void pools_apart_or_together(int64_t pools, double want) {
    double logits[16];
    for (int row = 0; row < 4; row++)
        for (int e = 0; e < 4; e++) logits[4 * row + e] = (row < 2) == (e < 2) ? 0 : -2000;
    Trial t;
    open_ref(&t);
    Routing r = route(&t, logits, 4, 4, 2, (RouterRule){1, 1, false, 1});
    Tensor loss = f64(&t, VECTOR, 3, (double[]){0, 0, 10}), slope = trial_poisoned(&t, F64, pools, 4);
    BalanceRule rule = {2, 1, 1, 1, 1, 1, 2.0 / (double)pools};
    t.k->balance_forward(t.device, loss, slope, r.score, r.expert, rule);
    expect_losses("pools", loss, (double[]){2 * want, 2 * want, 10 + 2 * want});
    close_ref(&t);
}

void test_balance_golden(void) {
    golden_balance((RouterRule){1, 1, false, 1}, 2, (int[]){0, 1, 2, 3, 0, 2, 3, 2},
                   (double[]){1.0485904508, 0.9826707333, 0.6163353667});
    golden_balance((RouterRule){2, 1, false, 1}, 1, (int[]){0, 1, 2, 3, 0, 1, 3, 2}, (double[]){1, 1, 1});
    pools_apart_or_together(2, 2);
    pools_apart_or_together(1, 1);
}

/* -- token dropping -- */

typedef struct {
    const char *name;
    int n, e, k, groups, pools;
    int64_t budget;
    double protect[4], expert[12], score[24], want[12];
} DropCase;

static const DropCase drops[] = {
    {"within budget", 2, 2, 1, 1, 1, 2, {0}, {0, 1}, {.6, .4, .3, .7}, {0, 1}},
    {"lowest goes", 3, 2, 1, 1, 1, 2, {0}, {0, 1, 0}, {.6, .4, .45, .55, .7, .3}, {0, -1, 0}},
    {"budget 0", 2, 2, 1, 2, 1, 0, {0}, {0, 1}, {.6, .4, .3, .7}, {-1, -1}},
    {"per group, not per expert: a loaded expert in a balanced group",
     4,
     4,
     1,
     2,
     1,
     2,
     {0},
     {0, 0, 2, 3},
     {.9, 0, .1, 0, .8, 0, .2, 0, .1, 0, .9, 0, .1, .1, .1, .7},
     {0, 0, 2, 3}},
    {"ties: later pairs first", 2, 2, 2, 1, 1, 2, {0}, {0, 1, 0, 1}, {.5, .5, .5, .5}, {0, 1, -1, -1}},
    {"protected pools count but stay",
     4,
     2,
     1,
     1,
     2,
     3,
     {1, 0},
     {0, 0, 1, 1},
     {.1, .9, .2, .8, .6, .4, .5, .5},
     {0, 0, -1, 1}},
    {"more protected than budget",
     4,
     2,
     1,
     1,
     2,
     1,
     {1, 0},
     {0, 0, 1, 1},
     {.1, .9, .2, .8, .6, .4, .5, .5},
     {0, 0, -1, -1}},
};

void test_drop_tokens(void) {
    for (size_t c = 0; c < COUNT(drops); c++) {
        const DropCase *d = &drops[c];
        Trial t;
        open_ref(&t);
        Tensor expert = trial_place(&t, I32, d->n, d->k, d->expert), kept = trial_poisoned(&t, I32, d->n, d->k);
        t.k->drop_tokens(t.device, kept, expert, f64(&t, d->n, d->e, d->score),
                         trial_place(&t, I32, VECTOR, d->pools, d->protect), d->groups, d->budget);
        for (int i = 0; i < d->n * d->k; i++)
            expect(get(kept, i / d->k, i % d->k) == d->want[i], "%s: pair %d became %g", d->name, i,
                   get(kept, i / d->k, i % d->k));
        close_ref(&t);
    }
}

/* -- forward rows, by hand: gradients would agree with a wrong forward -- */

static void expect_values(const char *name, Tensor t, const double *want) {
    for (int64_t i = 0; i < tensor_count(t); i++)
        expect(near(get(t, i / tensor_cols(t), i % tensor_cols(t)), want[i]), "%s: element %lld is %.12g, not %.12g",
               name, (long long)i, get(t, i / tensor_cols(t), i % tensor_cols(t)), want[i]);
}

static Tensor blank(Trial *t, int64_t rows, int64_t cols) { return trial_poisoned(t, F64, rows, cols); }

static void product_values(Trial *t) {
    Tensor y = blank(t, 2, 1), x = f64(t, 2, 2, (double[]){1, 2, 3, 4}), z = blank(t, 2, 2);
    Tensor w = f64(t, 2, 2, (double[]){10, 1, 100, 1000});
    t->k->linear_forward(t->device, z, x, w);
    expect_values("linear", z, (double[]){12, 2100, 34, 4300});
    t->k->grouped_linear_forward(t->device, y, x, w, trial_groups(t, (int64_t[]){1, 1}, 2));
    expect_values("grouped linear", y, (double[]){12, 4300});
}

static void norm_values(Trial *t) {
    Tensor y = blank(t, 1, 2), sum = blank(t, 1, 2), rstd = blank(t, VECTOR, 1), x = f64(t, 1, 2, (double[]){3, 4});
    Tensor w = f64(t, VECTOR, 2, (double[]){1, -2}), delta = f64(t, 1, 2, (double[]){1, -3});
    t->k->rmsnorm_forward(t->device, y, rstd, x, w, 3.5); /* mean of squares 12.5 */
    expect_values("rstd", rstd, (double[]){.25});
    expect_values("rmsnorm", y, (double[]){.75, -2});
    t->k->add_rmsnorm_forward(t->device, sum, y, rstd, x, delta, w, .5); /* (4, 1): 8.5 */
    expect_values("sum", sum, (double[]){4, 1});
    expect_values("add rmsnorm", y, (double[]){4. / 3, -2. / 3});
}

static void swiglu_values(Trial *t) {
    Tensor h = blank(t, 1, 2), gu = f64(t, 1, 4, (double[]){0, log(3), 5, 8});
    t->k->swiglu_forward(t->device, h, gu);
    expect_values("swiglu", h, (double[]){0, 6 * log(3)}); /* sigmoid(log 3) = 3/4 */
    t->k->swiglu_weighted_forward(t->device, h, gu, f64(t, VECTOR, 1, (double[]){.5}));
    expect_values("swiglu weighted", h, (double[]){0, 3 * log(3)});
}

/* One head of widths 1, 2, 1 and scale 1/2; the second query sees two keys with scores 0 and log 3,
 * the third its own alone, the fourth none. */
static void attention_values(Trial *t) {
    Tensor q = f64(t, 4, 3, (double[]){9, 9, 9, 2, 0, 4, 1, 1, 1, 1, 1, 1});
    Tensor kv = f64(t, 3, 2, (double[]){0, 4, log(3), 8, 1, 16});
    Tensor k_pe = f64(t, 3, 2, (double[]){1, 0, 7, 0, 1, 0}), out = blank(t, 4, 1), lse = blank(t, 4, 1);
    Tensor range = trial_place(t, I32, 4, 2, (double[]){0, 1, 0, 2, 2, 3, 3, 3});
    t->k->attention_forward(t->device, out, lse, q, kv, k_pe, range, 1, .5);
    expect_values("attention", out, (double[]){4, 7, 16, 0});
    expect(near(get(lse, 1, 0), log(4)) && near(get(lse, 2, 0), 1) && get(lse, 3, 0) == -INFINITY, "lse %g %g %g",
           get(lse, 1, 0), get(lse, 2, 0), get(lse, 3, 0));
}

static void row_values(Trial *t) {
    Tensor y = blank(t, 2, 2), x = f64(t, 3, 2, (double[]){1, 2, 10, 20, 100, 200});
    t->k->gather_rows(t->device, y, x, trial_place(t, I32, VECTOR, 2, (double[]){2, -1}));
    expect_values("gather", y, (double[]){100, 200, 0, 0});
    t->k->gather_sum_rows(t->device, y, x, trial_place(t, I32, 2, 2, (double[]){0, 2, 1, -1}), true);
    expect_values("gather sum", y, (double[]){201, 402, 10, 20});
    t->k->embedding_forward(t->device, y, x, trial_place(t, I32, VECTOR, 2, (double[]){1, 1}));
    expect_values("embedding", y, (double[]){10, 20, 10, 20});
}

static void element_values(Trial *t) {
    Tensor x = blank(t, 1, 2), y = blank(t, 1, 2), out = f64(t, VECTOR, 1, (double[]){1});
    t->k->random_normal(t->device, x, 3, 4, 5, 6);
    expect_values("random", x, (double[]){3 * random_gauss(4, 5, 6), 3 * random_gauss(4, 5, 7)});
    t->k->fill(t->device, x, 2);
    t->k->convert(t->device, y, x);
    t->k->scale(t->device, y, 5);
    t->k->add(t->device, y, x);
    expect_values("fill, convert, scale, add", y, (double[]){12, 12});
    t->k->dot(t->device, out, x, y);
    t->k->sum_squares(t->device, out, x);
    expect_values("dot and sum of squares", out, (double[]){1 + 48 + 8});
}

void test_forward_golden(void) {
    Trial t;
    open_ref(&t);
    product_values(&t);
    norm_values(&t);
    swiglu_values(&t);
    attention_values(&t);
    row_values(&t);
    element_values(&t);
    close_ref(&t);
}

/* -- optimizer, rope, loss -- */

/* Two steps of torch.optim.AdamW(lr 0.1, betas 0.9 0.999, eps 1e-8, decay 0.1) on 1.0, gradients 0.5, -0.2;
 * the kernel gets them doubled and a clipping factor of 0.5. */
void test_adamw_golden(void) {
    static const double zero[1], gradient[2] = {1.0, -0.4}, want[2] = {0.890000002, 0.8465394180965108};
    Trial t;
    open_ref(&t);
    Tensor p = f64(&t, 1, 1, (double[]){1}), m = f64(&t, 1, 1, zero), v = f64(&t, 1, 1, zero),
           w = f64(&t, 1, 1, zero);
    for (int step = 1; step <= 2; step++) {
        AdamwRule rule = {.1, .9, .999, 1e-8, .1, 1 - pow(.9, step), 1 - pow(.999, step), .5};
        Tensor dw = f64(&t, 1, 1, &gradient[step - 1]);
        t.k->adamw(t.device, w, p, m, v, dw, rule);
        expect(near(get(p, 0, 0), want[step - 1]), "step %d: %.15g", step, get(p, 0, 0));
        expect(get(w, 0, 0) == get(p, 0, 0) && get(dw, 0, 0) == gradient[step - 1], "w follows, dw stays");
    }
    close_ref(&t);
}

static double rotated_product(Trial *t, const double *q, const double *k, double at_q, double at_k) {
    static const double frequency[] = {1.0, 0.1};
    double product = 0;
    Tensor table = trial_poisoned(t, F64, 20, 4), a = f64(t, 1, 4, q), b = f64(t, 1, 4, k);
    t->k->rope_table(t->device, table, frequency, 1);
    t->k->rope(t->device, a, table, trial_place(t, I32, VECTOR, 1, &at_q), 1, false);
    t->k->rope(t->device, b, table, trial_place(t, I32, VECTOR, 1, &at_k), 1, false);
    for (int i = 0; i < 4; i++) product += get(a, 0, i) * get(b, 0, i);
    return product;
}

/* Pair i is (2i, 2i + 1), and a product of two rotated rows depends on their distance alone. */
void test_rope_golden(void) {
    static const double frequency[] = {1.0, 0.1}, q[4] = {.3, -.7, 1.1, .2}, k[4] = {-.4, .9, .5, -1.3};
    Trial t;
    open_ref(&t);
    Tensor table = trial_poisoned(&t, F64, 4, 4), x = f64(&t, 1, 4, (double[]){1, 0, 0, 1});
    t.k->rope_table(t.device, table, frequency, 2);
    t.k->rope(t.device, x, table, trial_place(&t, I32, VECTOR, 1, (double[]){3}), 1, false);
    const double want[4] = {2 * cos(3), 2 * sin(3), -2 * sin(.3), 2 * cos(.3)};
    for (int i = 0; i < 4; i++) expect(near(get(x, 0, i), want[i]), "column %d is %g", i, get(x, 0, i));
    double far = rotated_product(&t, q, k, 17, 5), close = rotated_product(&t, q, k, 12, 0);
    expect(near(far, close), "%g at 17 and 5, %g at 12 and 0", far, close);
    close_ref(&t);
}

void test_cross_entropy_stable(void) {
    static const double logits[12] = {1e4, 0, -1e4, 3e4, 3e4, 3e4, -5e4, -5e4 + 1, -5e4, 1, 2, 3};
    static const double want[4] = {1e4, 1.0986122886681098, 0.5514447139320511, 0};
    Trial t;
    open_ref(&t);
    Tensor loss = trial_poisoned(&t, F64, VECTOR, 4), dlogits = trial_poisoned(&t, F64, 4, 3);
    t.k->cross_entropy(t.device, loss, dlogits, f64(&t, 4, 3, logits),
                       trial_place(&t, I32, VECTOR, 4, (double[]){1, 0, 1, -100}),
                       f64(&t, VECTOR, 4, (double[]){1, 2, 1, 1}));
    for (int i = 0; i < 4; i++) expect(near(get(loss, 0, i), want[i]), "loss %d is %.15g", i, get(loss, 0, i));
    expect(near(get(dlogits, 0, 0), 1) && near(get(dlogits, 0, 1), -1) && near(get(dlogits, 1, 0), -4.0 / 3),
           "dlogits %g %g %g", get(dlogits, 0, 0), get(dlogits, 0, 1), get(dlogits, 1, 0));
    for (int v = 0; v < 3; v++) expect(get(dlogits, 3, v) == 0, "ignored label, dlogits %g", get(dlogits, 3, v));
    close_ref(&t);
}

/* -- devices -- */

static double sum_with_threads(const char *backend, int threads, bool squares) {
    Trial t;
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    trial_open(&t, device_open(backend, NULL), F32, false);
    Tensor a = trial_random(&t, F32, 131, 257), b = trial_random(&t, F32, 131, 257);
    Tensor out = trial_place(&t, F64, VECTOR, 1, (double[]){0});
    if (squares)
        t.k->sum_squares(t.device, out, a);
    else
        t.k->dot(t.device, out, a, b);
    double *value = trial_read(&t, out), sum = value[0];
    free(value);
    trial_close(&t);
    device_close(t.device);
    omp_set_num_threads(before);
    return sum;
}

void test_sums_do_not_depend_on_threads(void) {
    static const char *const backends[] = {"ref", "cpu"};
    for (size_t b = 0; b < COUNT(backends); b++) {
        if (!strstr(device_backends(), backends[b])) continue;
        for (int squares = 0; squares < 2; squares++) {
            double one = sum_with_threads(backends[b], 1, squares);
            for (int threads = 2; threads <= 5; threads++) {
                double many = sum_with_threads(backends[b], threads, squares);
                expect(one == many, "%s: %.17g with one thread, %.17g with %d", backends[b], one, many, threads);
            }
        }
    }
}

/* Kernels count on it: a thread that is not there leaves its part of a sum unwritten. */
void test_teams_are_whole(void) {
    int before = omp_get_max_threads(), team = 0;
    omp_set_dynamic(1); /* OpenMP may give fewer threads than asked for */
    omp_set_num_threads(3 * omp_get_num_procs());
    Device *device = device_open("cpu", NULL);
#pragma omp parallel num_threads(device->threads)
#pragma omp single
    team = omp_get_num_threads();
    expect(team == device->threads, "%d of %d threads", team, device->threads);
    device_close(device);
    omp_set_dynamic(0);
    omp_set_num_threads(before);
}

/* Whether a child that reads this byte dies of it. */
static bool faults(const char *byte) {
    pid_t child = fork();
    if (!child) {
        if (!freopen("/dev/null", "w", stderr)) _exit(0);
        (void)*(const volatile char *)byte;
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void plan_memory(Device *plan) {
    Arena device, host;
    Error error;
    char copy[3] = {7, 7, 7};
    expect(arena_open(&device, "device", plan, MEM_DEVICE, 0, &error), "%s", error.text);
    expect(arena_open(&host, "host", plan, MEM_HOST, 0, &error), "%s", error.text);
    char *p = arena_alloc(&device, 100), *q = arena_alloc(&host, 100);
    expect(faults(p), "plan memory can be read");
    q[99] = 1;
    plan->ops->to_device(plan, p, copy, 3);
    plan->ops->to_host(plan, copy, p, 3);
    expect(copy[0] == 0 && copy[2] == 0, "what a plan gives to the host is not zero");
    arena_close(&device);
    arena_close(&host);
}

static void plan_work(Device *plan) {
    static const int64_t first[] = {0, 3, 3, 7};
    char byte;
    Tensor x = tensor_2d(&byte, BF16, 10, 4), w = tensor_2d(&byte, BF16, 18, 4), y = tensor_2d(&byte, BF16, 10, 6);
    Groups groups = {3, first, tensor_1d(&byte, I64, 4)};
    plan->work = (Work){0};
    plan->kernels->grouped_linear_forward(plan, y, x, w, groups);
    expect(plan->work.flops == 2 * 7 * 6 * 4 && plan->work.bytes == 2 * (7 * 4 + 18 * 4 + 7 * 6),
           "%g flops, %g bytes", plan->work.flops, plan->work.bytes);
}

void test_devices(void) {
    expect(!device_open("abacus", NULL) && !device_open("plan", "abacus"), "unknown names give NULL");
    expect(strstr(device_backends(), "ref") && strstr(device_backends(), "plan"), "%s", device_backends());
    Device *plan = device_open("plan", "ref");
    plan_memory(plan);
    plan_work(plan);
    device_close(plan);
}
