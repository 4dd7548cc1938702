/* test_kernels_latent.c - decoding: cases for the parity table, attention over latents against attention over the keys
 * and values that they stand for, and how a token is chosen. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "tests/test_kernels.h"

static Tensor in(Trial *t, int64_t rows, int64_t cols) { return trial_random(t, t->dtype, rows, cols); }
static Tensor out(Trial *t, int64_t rows, int64_t cols) {
    return trial_watch(t, trial_poisoned(t, t->dtype, rows, cols));
}

/* -- d = {N, heads, n, r, d, C} -- */

static void absorb_queries(Trial *t, const int64_t *d) {
    Tensor q = in(t, d[0], d[1] * (d[2] + d[3])), w = in(t, d[1] * (d[2] + d[4]), d[5]);
    t->k->absorb_queries(t->device, out(t, d[0], d[1] * (d[5] + d[3])), q, w, (int)d[1]);
}
static void absorb_values(Trial *t, const int64_t *d) {
    Tensor x = in(t, d[0], d[1] * d[5]), w = in(t, d[1] * (d[2] + d[4]), d[5]);
    t->k->absorb_values(t->device, out(t, d[0], d[1] * d[4]), x, w, (int)d[1]);
}

/* -- d = {sequences, heads, r, C, shortest, step, queries of each}: sequence s sees shortest + s * step rows -- */

static Tensor spans(Trial *t, const int64_t *d, int64_t *rows) {
    double range[2 * 1024];
    int64_t n = 0;
    *rows = 1; /* the first row is nobody's */
    for (int64_t s = 0; s < d[0]; s++) {
        int64_t length = d[4] + s * d[5];
        for (int64_t i = 0; i < d[6]; i++, n++) {
            range[2 * n] = (double)*rows;
            range[2 * n + 1] = (double)(*rows + max_i64(length - d[6] + 1 + i, 0));
        }
        *rows += length;
    }
    return trial_place(t, I32, n, 2, range);
}

static void attention_latent(Trial *t, const int64_t *d) {
    int64_t rows, n = d[0] * d[6], width = d[3] + d[2];
    Tensor range = spans(t, d, &rows), q = in(t, n, d[1] * width), cache = in(t, rows, width);
    Tensor parts = trial_poisoned(t, t->stat, attention_latent_parts(t->device, n, (int)d[1]), d[3] + 2);
    t->k->attention_latent(t->device, out(t, n, d[1] * d[3]), parts, q, cache, range, (int)d[1],
                           1 / sqrt((double)width));
}

/* -- d = {sequences, heads, r, C, rows that each of a sequence's UNEVEN queries sees, the longest last but one} -- */

enum { UNEVEN = 5 };
static void attention_latent_uneven(Trial *t, const int64_t *d) {
    double range[2 * 1024];
    int64_t n = d[0] * UNEVEN, width = d[3] + d[2], longest = d[4 + UNEVEN - 2];
    for (int64_t i = 0; i < n; i++) {
        range[2 * i] = (double)(i / UNEVEN * longest);
        range[2 * i + 1] = range[2 * i] + (double)d[4 + i % UNEVEN];
    }
    Tensor at = trial_place(t, I32, n, 2, range), q = in(t, n, d[1] * width), cache = in(t, d[0] * longest, width);
    Tensor parts = trial_poisoned(t, t->stat, attention_latent_parts(t->device, n, (int)d[1]), d[3] + 2);
    t->k->attention_latent(t->device, out(t, n, d[1] * d[3]), parts, q, cache, at, (int)d[1], 0.1);
}

/* -- d = {N, heads, d} -- */

static void merge_attention(Trial *t, const int64_t *d) {
    Tensor part = in(t, d[0], d[1] * d[2]), part_lse = trial_random(t, t->stat, d[0], d[1]);
    Tensor sum = trial_watch(t, trial_random(t, t->stat, d[0], d[1] * d[2]));
    Tensor lse = trial_watch(t, trial_random(t, t->stat, d[0], d[1]));
    if (d[0] > 1) { /* no keys so far; no keys at all */
        t->k->fill(t->device, tensor_rows_view(lse, 0, 2), -INFINITY);
        t->k->fill(t->device, tensor_rows_view(part_lse, 1, 1), -INFINITY);
    }
    t->k->merge_attention(t->device, sum, lse, part, part_lse);
}

/* -- d = {N, D, rows of y} -- */

static void put_rows(Trial *t, const int64_t *d) {
    double index[1024];
    for (int64_t i = 0; i < d[0]; i++) index[i] = (double)((i * 7 + 3) % d[2]);
    Tensor x = in(t, d[0], d[1]), at = trial_place(t, I32, VECTOR, d[0], index);
    t->k->put_rows(t->device, trial_watch(t, in(t, d[2], d[1])), x, at);
}

/* -- d = {N, V, temperature and top_p in hundredths, top_k} -- */

static void choose_tokens(Trial *t, const int64_t *d) {
    double draw[1024];
    for (int64_t i = 0; i < d[0]; i++) draw[i] = random_uniform(5, (uint64_t)d[1], (uint64_t)i);
    Tensor logits = trial_random(t, t->stat, d[0], d[1]), at = trial_place(t, F64, VECTOR, d[0], draw);
    ChoiceRule rule = {.temperature = (double)d[2] / 100, .top_p = (double)d[3] / 100, .top_k = d[4]};
    t->k->choose_tokens(t->device, trial_watch(t, trial_poisoned(t, I32, VECTOR, d[0])), logits, at, rule);
}

#define ROW(name, ...)                                                                                               \
    {                                                                                                                \
#name, name, { __VA_ARGS__ }                                                                                 \
    }
const KernelCase latent_cases[] = {
    ROW(absorb_queries, 1, 1, 1, 2, 1, 1),
    ROW(absorb_queries, 0, 2, 4, 2, 4, 8),
    ROW(absorb_queries, 7, 3, 13, 6, 11, 35),
    ROW(absorb_queries, 65, 4, 32, 16, 24, 64),
    ROW(absorb_values, 1, 1, 1, 2, 1, 1),
    ROW(absorb_values, 0, 2, 4, 2, 4, 8),
    ROW(absorb_values, 7, 3, 13, 6, 11, 35),
    ROW(absorb_values, 65, 4, 32, 16, 24, 64),
    ROW(attention_latent, 1, 1, 2, 1, 1, 0, 1),
    ROW(attention_latent, 0, 2, 2, 4, 1, 0, 1),
    ROW(attention_latent, 3, 3, 6, 35, 0, 70, 1),     /* one sees nothing */
    ROW(attention_latent, 1, 16, 16, 64, 1300, 0, 1), /* three splits */
    ROW(attention_latent, 1, 5, 6, 35, 9000, 0, 1),   /* all splits, longer than the least */
    ROW(attention_latent, 5, 4, 8, 32, 1, 301, 1),    /* more than threads */
    ROW(attention_latent, 2, 4, 8, 32, 600, 33, 37),  /* some tiles of several queries */
    ROW(attention_latent, 9, 128, 16, 64, 63, 1, 1),  /* more heads than a tile has rows */
    ROW(attention_latent, 2, 70, 6, 35, 20, 5, 23),   /* the first queries see nothing */
    {"attention_latent", attention_latent_uneven, {1, 3, 6, 35, 0, 700, 0, 1300, 0}}, /* blind ones beside splits */
    {"attention_latent", attention_latent_uneven, {9, 3, 6, 35, 0, 700, 1, 1300, 0}}, /* more than threads */
    ROW(merge_attention, 1, 1, 1),
    ROW(merge_attention, 0, 2, 3),
    ROW(merge_attention, 33, 3, 13),
    ROW(merge_attention, 5, 2, 1100),
    ROW(put_rows, 1, 1, 1),
    ROW(put_rows, 0, 3, 4),
    ROW(put_rows, 129, 65, 300),
    ROW(choose_tokens, 3, 5, 0, 100, 0),
    ROW(choose_tokens, 0, 5, 0, 100, 0),
    ROW(choose_tokens, 40, 1, 100, 100, 0),
    ROW(choose_tokens, 200, 1000, 100, 100, 0),
    ROW(choose_tokens, 200, 1000, 80, 95, 0),
    ROW(choose_tokens, 200, 1000, 30, 50, 0),
    ROW(choose_tokens, 200, 1000, 5000, 99, 40),
    ROW(choose_tokens, 200, 1000, 1, 95, 3),
    ROW(choose_tokens, 200, 1000, 100, 0, 0),
    ROW(choose_tokens, 9, 20000, 150, 90, 12000),
    {0},
};

/* -- absorbed and not ------------------------------------------------------------------------------------ */

enum { HEADS = 4, NOPE = 16, ROPE = 8, VALUE = 12, LATENT = 32, KEYS = 700, QUERIES = 45 };

typedef struct {
    Trial t;
    Tensor q, w, cache, range; /* queries: the last of KEYS places */
    double scale;
} Scene;

static void scene_open(Scene *s, Device *device, Dtype dtype) {
    double range[2 * QUERIES];
    trial_open(&s->t, device, dtype, false);
    for (int i = 0; i < QUERIES; i++) range[2 * i] = 0, range[2 * i + 1] = KEYS - QUERIES + 1 + i;
    s->q = in(&s->t, QUERIES, HEADS * (NOPE + ROPE));
    s->w = in(&s->t, HEADS * (NOPE + VALUE), LATENT);
    s->cache = in(&s->t, KEYS, LATENT + ROPE);
    s->range = trial_place(&s->t, I32, QUERIES, 2, range);
    s->scale = 0.05;
}

static double *absorbed(Scene *s) {
    Trial *t = &s->t;
    Tensor q = trial_poisoned(t, t->dtype, QUERIES, HEADS * (LATENT + ROPE));
    Tensor x = trial_poisoned(t, t->dtype, QUERIES, HEADS * LATENT),
           y = trial_poisoned(t, t->dtype, QUERIES, HEADS * VALUE);
    Tensor parts = trial_poisoned(t, t->stat, attention_latent_parts(t->device, QUERIES, HEADS), LATENT + 2);
    t->k->absorb_queries(t->device, q, s->q, s->w, HEADS);
    t->k->attention_latent(t->device, x, parts, q, s->cache, s->range, HEADS, s->scale);
    t->k->absorb_values(t->device, y, x, s->w, HEADS);
    return trial_read(t, y);
}

/* Keys and values of `block` cached tokens at a time. */
static double *expanded(Scene *s, int64_t block) {
    Trial *t = &s->t;
    Tensor sum = trial_poisoned(t, t->stat, QUERIES, HEADS * VALUE), lse = trial_poisoned(t, t->stat, QUERIES, HEADS);
    t->k->fill(t->device, sum, 0);
    t->k->fill(t->device, lse, -INFINITY);
    for (int64_t first = 0; first < KEYS; first += block) {
        double range[2 * QUERIES];
        int64_t n = min_i64(block, KEYS - first);
        for (int i = 0; i < QUERIES; i++)
            range[2 * i] = 0, range[2 * i + 1] = (double)max_i64(min_i64(KEYS - QUERIES + 1 + i - first, n), 0);
        Tensor rows = tensor_rows_view(s->cache, first, n),
               kv = trial_poisoned(t, t->dtype, n, HEADS * (NOPE + VALUE));
        Tensor part = trial_poisoned(t, t->dtype, QUERIES, HEADS * VALUE),
               part_lse = trial_poisoned(t, t->stat, QUERIES, HEADS);
        t->k->linear_forward(t->device, kv, tensor_cols_view(rows, 0, LATENT), s->w);
        t->k->attention_forward(t->device, part, part_lse, s->q, kv, tensor_cols_view(rows, LATENT, ROPE),
                                trial_place(t, I32, QUERIES, 2, range), HEADS, s->scale);
        t->k->merge_attention(t->device, sum, lse, part, part_lse);
    }
    return trial_read(t, sum);
}

void test_absorbed_is_expanded(void) {
    static const struct {
        const char *backend;
        Dtype dtype;
        double limit;
    } cases[] = {{"ref", F64, 1e-13}, {"ref", F32, 1e-5}, {"cpu", F32, 1e-5}, {"cpu", BF16, 2e-2}};
    static const int64_t blocks[] = {KEYS, 64, 133};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
            Scene s;
            Device *device = device_open(cases[i].backend, NULL);
            scene_open(&s, device, cases[i].dtype);
            double *one = absorbed(&s), *other = expanded(&s, blocks[b]);
            Difference d = difference(one, other, QUERIES * HEADS * VALUE);
            expect(d.nans == 0 && d.relative <= cases[i].limit && d.worst <= cases[i].limit,
                   "%s %s, blocks of %d: relative %.2e, worst %.2e, %d NaN", cases[i].backend,
                   dtype_name(cases[i].dtype), (int)blocks[b], d.relative, d.worst, (int)d.nans);
            free(one), free(other);
            trial_close(&s.t);
            device_close(device);
        }
}

/* The same bits for a query whatever stands beside it, in the cache behind it too, and for any number of threads. */
void test_latent_alone(void) {
    static const int64_t many[] = {7, 16, 8, 40, 100, 700, 1}, rows = 1;
    Device *device = device_open("cpu", NULL);
    int threads = device->threads;
    double *all = NULL;
    for (int run = 0; run < 3; run++) {
        Trial t;
        int64_t cached, n = many[0], width = many[3] + many[2], cols = many[1] * many[3];
        device->threads = run == 1 ? 1 : threads;
        trial_open(&t, device, F32, false);
        Tensor range = spans(&t, many, &cached), q = in(&t, n, many[1] * width), cache = in(&t, cached, width);
        Tensor y = trial_poisoned(&t, F32, n, cols);
        for (int64_t i = 0; i < n; i += run == 2 ? rows : n) { /* together, or one by one */
            int64_t k = run == 2 ? rows : n, end = run == 2 ? id_at(range, i, 1) : cached;
            Tensor parts = trial_poisoned(&t, F32, attention_latent_parts(device, k, (int)many[1]), many[3] + 2);
            t.k->attention_latent(device, tensor_rows_view(y, i, k), parts, tensor_rows_view(q, i, k),
                                  tensor_rows_view(cache, 0, end), tensor_rows_view(range, i, k), (int)many[1], 0.1);
        }
        double *values = trial_read(&t, y);
        if (run) expect(!memcmp(values, all, (size_t)(n * cols) * sizeof *all), "run %d differs", run);
        if (run) free(values);
        if (!run) all = values;
        trial_close(&t);
    }
    free(all);
    device->threads = threads;
    device_close(device);
}

/* All heads of a tile share what is read of the cache, however its rows are cut. */
void test_latent_reads_once(void) {
    static const int64_t rows[] = {0, 1, 64, 513, 8193, 9000}; /* of 8193 the last split has none */
    Device *device = device_open("cpu", NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Trial t;
        double range[2] = {0, (double)rows[i]};
        trial_open(&t, device, F32, false);
        Tensor q = in(&t, 1, HEADS * (LATENT + ROPE)), cache = in(&t, 1 + rows[i], LATENT + ROPE);
        Tensor parts = trial_poisoned(&t, F32, attention_latent_parts(device, 1, HEADS), LATENT + 2);
        device->latent_bytes = 0;
        t.k->attention_latent(device, out(&t, 1, HEADS * LATENT), parts, q, cache, trial_place(&t, I32, 1, 2, range),
                              HEADS, 0.1);
        expect(device->latent_bytes == rows[i] * (LATENT + ROPE) * 4, "%lld rows: %lld bytes", (long long)rows[i],
               (long long)device->latent_bytes);
        trial_close(&t);
    }
    device_close(device);
}

/* -- choosing -------------------------------------------------------------------------------------------- */

/* Probabilities at temperature 1: 0.1 0.4 0.1 0.3 0.1; how often each id comes in evenly spread draws. */
static void shares(double share[5], Device *device, ChoiceRule rule) {
    enum { DRAWS = 2000 };
    static const double five[] = {0.1, 0.4, 0.1, 0.3, 0.1};
    double logits[5 * DRAWS], draw[DRAWS];
    Trial t;
    trial_open(&t, device, F32, false);
    for (int i = 0; i < 5 * DRAWS; i++) logits[i] = log(five[i % 5]) + 7;
    for (int i = 0; i < DRAWS; i++) draw[i] = (i + 0.5) / DRAWS;
    Tensor x = trial_place(&t, F32, DRAWS, 5, logits), at = trial_place(&t, F64, VECTOR, DRAWS, draw);
    Tensor id = trial_poisoned(&t, I32, VECTOR, DRAWS);
    t.k->choose_tokens(device, id, x, at, rule);
    double *chosen = trial_read(&t, id);
    memset(share, 0, 5 * sizeof *share);
    for (int i = 0; i < DRAWS; i++) {
        check(chosen[i] >= 0 && chosen[i] < 5, "id %g", chosen[i]);
        share[(int)chosen[i]] += 1.0 / DRAWS;
    }
    free(chosen);
    trial_close(&t);
}

void test_choose_shares(void) {
    static const struct {
        ChoiceRule rule;
        double share[5];
    } rows[] = {
        {{.temperature = 0, .top_p = 1}, {0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 1}, {0.1, 0.4, 0.1, 0.3, 0.1}},
        {{.temperature = 1, .top_p = 1, .top_k = 1}, {0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 1, .top_k = 2}, {0, 4. / 7, 0, 3. / 7, 0}},
        {{.temperature = 1, .top_p = 1, .top_k = 3}, {0.125, 0.5, 0, 0.375, 0}}, /* the lowest id of equals */
        {{.temperature = 1, .top_p = 1, .top_k = 9}, {0.1, 0.4, 0.1, 0.3, 0.1}},
        {{.temperature = 1, .top_p = 0.3}, {0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 0}, {0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 0.5}, {0, 4. / 7, 0, 3. / 7, 0}},
        {{.temperature = 1, .top_p = 0.75}, {0.125, 0.5, 0, 0.375, 0}},
        {{.temperature = 1, .top_p = 0.75, .top_k = 2}, {0, 4. / 7, 0, 3. / 7, 0}},
        {{.temperature = 0.5, .top_p = 1}, {1. / 28, 16. / 28, 1. / 28, 9. / 28, 1. / 28}},
        {{.temperature = 1e-300, .top_p = 1}, {0, 1, 0, 0, 0}},
    };
    static const char *const backends[] = {"ref", "cpu"};
    for (int b = 0; b < 2; b++) {
        Device *device = device_open(backends[b], NULL);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            double share[5];
            shares(share, device, rows[i].rule);
            for (int k = 0; k < 5; k++)
                expect(fabs(share[k] - rows[i].share[k]) < 1e-3, "%s row %d: id %d has share %.4f, %.4f", backends[b],
                       (int)i, k, share[k], rows[i].share[k]);
        }
        device_close(device);
    }
}

/* Logits that are no numbers choose nothing; equals and the borders of bins choose alike on both backends. */
void test_choose_extremes(void) {
    static const double rows[][4] = {{NAN, 1, 2, 3},
                                     {1, 2, NAN, 0},
                                     {INFINITY, 1, 1, 1},
                                     {-INFINITY, -INFINITY, -INFINITY, -INFINITY},
                                     {-INFINITY, 5, -INFINITY, -INFINITY},
                                     {2, 2, 2, 2},
                                     {-3e38, 3e38, 0, 0},
                                     {1e-40, 0, -1e-40, 0}};
    static const int wanted[][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {1, 1}, {0, 2}, {1, 1}, {0, 3}};
    static const char *const backends[] = {"ref", "cpu"};
    enum { N = sizeof rows / sizeof *rows };
    for (int b = 0; b < 2; b++)
        for (int hot = 0; hot < 2; hot++) {
            Device *device = device_open(backends[b], NULL);
            double draw[N];
            Trial t;
            trial_open(&t, device, F32, false);
            for (int i = 0; i < N; i++) draw[i] = 0.6;
            Tensor id = trial_poisoned(&t, I32, VECTOR, N), x = trial_place(&t, F32, N, 4, &rows[0][0]);
            t.k->choose_tokens(device, id, x, trial_place(&t, F64, VECTOR, N, draw),
                               (ChoiceRule){.temperature = hot, .top_p = 1});
            double *chosen = trial_read(&t, id);
            for (int i = 0; i < N; i++)
                expect((int)chosen[i] == wanted[i][hot], "%s row %d, temperature %d: id %d", backends[b], i, hot,
                       (int)chosen[i]);
            free(chosen);
            trial_close(&t);
            device_close(device);
        }
}
