/* bench.c - one row per kernel; see bench.h.
 *
 * A row is a function that takes its tensors from the scene and calls one kernel. It runs on the
 * plan device, which counts its FLOPs, bytes and memory, and then a number of times on the real
 * one, always in the same memory. Sizes are those of configs/bench-mini.yaml (4,096 tokens) and of
 * configs/bench-lite-layer.yaml (2,048 tokens, with 16 of the 64 experts, so that it fits). */
#include "train/bench.h"
#include "train/bench_step.h"
#include "train/bench_tokenizer.h"

#include "train/commands.h"
#include "train/peak.h"

#include "kernels/shapes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_RUNS = 5, MAX_RUNS = 25, MAX_GROUPS = 64 };
static const double row_seconds = 0.4;

typedef struct {
    Device *device;
    const Kernels *k;
    Arena arena;
    Dtype dtype;
    bool fills; /* the first run gives the tensors values */
    int64_t first[MAX_GROUPS + 1];
} Scene;

static Tensor make(Scene *s, Dtype dtype, int64_t rows, int64_t cols) {
    Tensor t = arena_2d(&s->arena, dtype, rows, cols);
    if (s->fills) s->k->fill(s->device, t, 0.0625);
    return t;
}
static Tensor mat(Scene *s, int64_t rows, int64_t cols) { return make(s, s->dtype, rows, cols); }
static Tensor stat(Scene *s, int64_t rows, int64_t cols) { return make(s, F32, rows, cols); }

/* Ids 0 .. limit - 1, each row's apart from one another. */
static Tensor ids(Scene *s, int64_t rows, int64_t cols, int64_t limit) {
    Tensor t = arena_2d(&s->arena, I32, rows, cols);
    if (!s->fills) return t;
    int32_t *host = must_alloc(rows * cols, sizeof *host);
    for (int64_t i = 0; i < rows * cols; i++)
        host[i] = (int32_t)((random_bits(0, 0, (uint64_t)(i / cols)) + (uint64_t)(i % cols)) % (uint64_t)limit);
    s->device->ops->to_device(s->device, t.data, host, tensor_bytes(t));
    free(host);
    return t;
}

/* `rows` rows in groups of somewhat different sizes. */
static Groups groups(Scene *s, int64_t rows, int64_t count) {
    for (int64_t g = 0; g <= count; g++) {
        int64_t shift = g > 0 && g < count ? g * 29 % 64 - 32 : 0;
        s->first[g] = max_i64(0, min_i64(rows, rows * g / count + shift));
    }
    Tensor device = arena_1d(&s->arena, I64, count + 1);
    if (s->fills) s->device->ops->to_device(s->device, device.data, s->first, tensor_bytes(device));
    return (Groups){count, s->first, device};
}

/* -- d = {N, I, O} -- */

static void linear_forward(Scene *s, const int64_t *d) {
    s->k->linear_forward(s->device, mat(s, d[0], d[2]), mat(s, d[0], d[1]), mat(s, d[2], d[1]));
}
static void linear_backward_input(Scene *s, const int64_t *d) {
    s->k->linear_backward_input(s->device, mat(s, d[0], d[1]), mat(s, d[0], d[2]), mat(s, d[2], d[1]), false);
}
static void linear_backward_weight(Scene *s, const int64_t *d) {
    s->k->linear_backward_weight(s->device, stat(s, d[2], d[1]), mat(s, d[0], d[2]), mat(s, d[0], d[1]), false);
}

/* -- d = {rows, I, O, groups} -- */

static void grouped_linear_forward(Scene *s, const int64_t *d) {
    Tensor w = mat(s, d[3] * d[2], d[1]);
    s->k->grouped_linear_forward(s->device, mat(s, d[0], d[2]), mat(s, d[0], d[1]), w, groups(s, d[0], d[3]));
}
static void grouped_linear_backward_input(Scene *s, const int64_t *d) {
    Tensor w = mat(s, d[3] * d[2], d[1]);
    s->k->grouped_linear_backward_input(s->device, mat(s, d[0], d[1]), mat(s, d[0], d[2]), w, groups(s, d[0], d[3]));
}
static void grouped_linear_backward_weight(Scene *s, const int64_t *d) {
    Tensor dw = stat(s, d[3] * d[2], d[1]);
    s->k->grouped_linear_backward_weight(s->device, dw, mat(s, d[0], d[2]), mat(s, d[0], d[1]), groups(s, d[0], d[3]),
                                         false);
}

/* -- d = {sequence, sequences, heads, nope, rope, value} -- */

typedef struct {
    Tensor q, kv, k_pe, range, out, lse;
} AttentionTensors;

static AttentionTensors attention_tensors(Scene *s, const int64_t *d) {
    int64_t n = d[0] * d[1];
    AttentionTensors t = {.q = mat(s, n, d[2] * (d[3] + d[4])), .kv = mat(s, n, d[2] * (d[3] + d[5]))};
    t.k_pe = mat(s, n, d[4]);
    t.range = arena_2d(&s->arena, I32, n, 2);
    t.out = mat(s, n, d[2] * d[5]);
    t.lse = stat(s, n, d[2]);
    if (!s->fills) return t;
    int32_t *host = must_alloc(2 * n, sizeof *host);
    for (int64_t i = 0; i < n; i++) host[2 * i] = (int32_t)(i / d[0] * d[0]), host[2 * i + 1] = (int32_t)(i + 1);
    s->device->ops->to_device(s->device, t.range.data, host, tensor_bytes(t.range));
    free(host);
    return t;
}
static double attention_scale(const int64_t *d) { return 1 / sqrt((double)(d[3] + d[4])); }

static void attention_forward(Scene *s, const int64_t *d) {
    AttentionTensors t = attention_tensors(s, d);
    s->k->attention_forward(s->device, t.out, t.lse, t.q, t.kv, t.k_pe, t.range, (int)d[2], attention_scale(d));
}
static void attention_backward(Scene *s, const int64_t *d) {
    AttentionTensors t = attention_tensors(s, d);
    int64_t n = d[0] * d[1];
    Tensor dq = mat(s, n, tensor_cols(t.q)), dkv = mat(s, n, tensor_cols(t.kv)), dk_pe = mat(s, n, d[4]);
    Tensor dout = mat(s, n, tensor_cols(t.out));
    if (s->fills) s->k->fill(s->device, t.lse, log((double)d[0]));
    s->k->attention_backward(s->device, dq, dkv, dk_pe, dout, t.out, t.lse, t.q, t.kv, t.k_pe, t.range, (int)d[2],
                             attention_scale(d));
}

/* -- d = {sequences, heads, rope, latent, length of each} -- */

static void attention_latent(Scene *s, const int64_t *d) {
    int64_t rows = d[0] * d[4], width = d[3] + d[2];
    int32_t range[2 * MAX_GROUPS];
    Tensor out = mat(s, d[0], d[1] * d[3]), q = mat(s, d[0], d[1] * width), cache = mat(s, rows, width);
    Tensor parts = stat(s, attention_latent_parts(s->device, d[0], (int)d[1]), d[3] + 2);
    Tensor seen = arena_2d(&s->arena, I32, d[0], 2);
    for (int64_t i = 0; i < d[0]; i++)
        range[2 * i] = (int32_t)(i * d[4]), range[2 * i + 1] = (int32_t)((i + 1) * d[4]);
    if (s->fills) s->device->ops->to_device(s->device, seen.data, range, tensor_bytes(seen));
    s->k->attention_latent(s->device, out, parts, q, cache, seen, (int)d[1], 1 / sqrt((double)width));
}

/* -- d = {N, heads, nope, rope, value, latent} -- */

static void absorb_queries(Scene *s, const int64_t *d) {
    s->k->absorb_queries(s->device, mat(s, d[0], d[1] * (d[5] + d[3])), mat(s, d[0], d[1] * (d[2] + d[3])),
                         mat(s, d[1] * (d[2] + d[4]), d[5]), (int)d[1]);
}
static void absorb_values(Scene *s, const int64_t *d) {
    s->k->absorb_values(s->device, mat(s, d[0], d[1] * d[4]), mat(s, d[0], d[1] * d[5]),
                        mat(s, d[1] * (d[2] + d[4]), d[5]), (int)d[1]);
}
static void merge_attention(Scene *s, const int64_t *d) {
    s->k->merge_attention(s->device, stat(s, d[0], d[1] * d[4]), stat(s, d[0], d[1]), mat(s, d[0], d[1] * d[4]),
                          stat(s, d[0], d[1]));
}

/* -- d = {N, V} -- */

static void choose_tokens(Scene *s, const int64_t *d) {
    Tensor id = arena_1d(&s->arena, I32, d[0]), draw = make(s, F64, 1, d[0]), logits = stat(s, d[0], d[1]);
    if (s->fills) s->k->random_normal(s->device, logits, 2, 1, 1, 0);
    s->k->choose_tokens(s->device, id, logits, draw, (ChoiceRule){.temperature = 0.8, .top_p = 0.95});
}

/* -- d = {N, D} -- */

static void rmsnorm_forward(Scene *s, const int64_t *d) {
    s->k->rmsnorm_forward(s->device, mat(s, d[0], d[1]), stat(s, 1, d[0]), mat(s, d[0], d[1]), mat(s, 1, d[1]), 1e-6);
}
static void rmsnorm_backward_input(Scene *s, const int64_t *d) {
    s->k->rmsnorm_backward_input(s->device, mat(s, d[0], d[1]), mat(s, d[0], d[1]), mat(s, d[0], d[1]),
                                 mat(s, 1, d[1]), stat(s, 1, d[0]), true);
}
static void rmsnorm_backward_weight(Scene *s, const int64_t *d) {
    s->k->rmsnorm_backward_weight(s->device, stat(s, 1, d[1]), mat(s, d[0], d[1]), mat(s, d[0], d[1]),
                                  stat(s, 1, d[0]));
}
static void add_rmsnorm_forward(Scene *s, const int64_t *d) {
    s->k->add_rmsnorm_forward(s->device, mat(s, d[0], d[1]), mat(s, d[0], d[1]), stat(s, 1, d[0]), mat(s, d[0], d[1]),
                              mat(s, d[0], d[1]), mat(s, 1, d[1]), 1e-6);
}
static void swiglu_weighted_forward(Scene *s, const int64_t *d) {
    s->k->swiglu_weighted_forward(s->device, mat(s, d[0], d[1]), mat(s, d[0], 2 * d[1]), stat(s, 1, d[0]));
}
static void swiglu_weighted_backward(Scene *s, const int64_t *d) {
    s->k->swiglu_weighted_backward(s->device, mat(s, d[0], 2 * d[1]), stat(s, 1, d[0]), mat(s, d[0], d[1]),
                                   mat(s, d[0], d[1]), mat(s, d[0], 2 * d[1]), stat(s, 1, d[0]));
}
static void add(Scene *s, const int64_t *d) { s->k->add(s->device, mat(s, d[0], d[1]), mat(s, d[0], d[1])); }
static void sum_squares(Scene *s, const int64_t *d) {
    s->k->sum_squares(s->device, make(s, F64, 1, 1), stat(s, d[0], d[1]));
}
static void adamw(Scene *s, const int64_t *d) {
    AdamwRule rule = {1e-4, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1};
    Tensor master = stat(s, d[0], d[1]), w = s->dtype == F32 ? master : mat(s, d[0], d[1]);
    s->k->adamw(s->device, w, master, stat(s, d[0], d[1]), stat(s, d[0], d[1]), stat(s, d[0], d[1]), rule);
}
static void convert(Scene *s, const int64_t *d) { s->k->convert(s->device, mat(s, d[0], d[1]), stat(s, d[0], d[1])); }

/* -- d = {N, heads, R, row} : heads of `row` columns whose last R turn -- */

static void rope(Scene *s, const int64_t *d) {
    Tensor q = tensor_cols_view(mat(s, d[0] * d[1], d[3]), d[3] - d[2], d[2]);
    s->k->rope(s->device, q, stat(s, 1024, d[2]), ids(s, 1, d[0], 1024), (int)d[1], false);
}

/* -- d = {rows of y, D, rows of x, J} -- */

static void gather_rows(Scene *s, const int64_t *d) {
    s->k->gather_rows(s->device, mat(s, d[0], d[1]), mat(s, d[2], d[1]), ids(s, 1, d[0], d[2]));
}
static void gather_sum_rows(Scene *s, const int64_t *d) {
    s->k->gather_sum_rows(s->device, mat(s, d[0], d[1]), mat(s, d[2], d[1]), ids(s, d[0], d[3], d[2]), true);
}
static void embedding_backward(Scene *s, const int64_t *d) {
    s->k->embedding_backward(s->device, stat(s, d[2], d[1]), mat(s, d[0], d[1]), ids(s, 1, d[0], d[2]));
}

/* -- d = {N, V} -- */

static void cross_entropy(Scene *s, const int64_t *d) {
    Tensor logits = mat(s, d[0], d[1]), loss = stat(s, 1, d[0]);
    s->k->cross_entropy(s->device, loss, logits, logits, ids(s, 1, d[0], d[1]), stat(s, 1, d[0]));
}

/* -- d = {N, E, K, pools} -- */

static const RouterRule greedy = {1, 1, false, 1};

static void router_forward(Scene *s, const int64_t *d) {
    s->k->router_forward(s->device, stat(s, d[0], d[1]), ids(s, d[0], d[2], d[1]), stat(s, d[0], d[2]),
                         stat(s, d[0], d[1]), greedy);
}
static void router_backward(Scene *s, const int64_t *d) {
    s->k->router_backward(s->device, stat(s, d[0], d[1]), stat(s, d[0], d[2]), stat(s, d[0], d[1]),
                          ids(s, d[0], d[2], d[1]), stat(s, d[0], d[2]), stat(s, d[3], d[1]), greedy);
}
static void balance_forward(Scene *s, const int64_t *d) {
    s->k->balance_forward(s->device, make(s, F64, 1, 3), stat(s, d[3], d[1]), stat(s, d[0], d[1]),
                          ids(s, d[0], d[2], d[1]), (BalanceRule){1, 1, 0.001, 0, 0, 1, 1});
}

typedef struct {
    const char *kernel, *what;
    void (*run)(Scene *, const int64_t *d);
    int64_t d[6];
} Row;

#define ROW(kernel, what, ...)                                                                                       \
    {                                                                                                                \
#kernel, what, kernel, { __VA_ARGS__ }                                                                       \
    }
static const Row rows[] = {
    ROW(linear_forward, "mini q", 4096, 512, 768),
    ROW(linear_forward, "mini shared gate up", 4096, 512, 768),
    ROW(linear_forward, "mini head", 4096, 512, 8192),
    ROW(linear_forward, "lite q", 2048, 2048, 3072),
    ROW(linear_forward, "lite kv_a", 2048, 2048, 576),
    ROW(linear_forward, "lite shared down", 2048, 2816, 2048),
    ROW(linear_backward_input, "mini q", 4096, 512, 768),
    ROW(linear_backward_input, "mini head", 4096, 512, 8192),
    ROW(linear_backward_input, "lite q", 2048, 2048, 3072),
    ROW(linear_backward_input, "lite kv_a", 2048, 2048, 576),
    ROW(linear_backward_input, "lite shared down", 2048, 2816, 2048),
    ROW(linear_backward_weight, "mini q", 4096, 512, 768),
    ROW(linear_backward_weight, "mini head", 4096, 512, 8192),
    ROW(linear_backward_weight, "lite q", 2048, 2048, 3072),
    ROW(linear_backward_weight, "lite kv_a", 2048, 2048, 576),
    ROW(linear_backward_weight, "lite shared down", 2048, 2816, 2048),
    ROW(grouped_linear_forward, "mini gate up", 16384, 512, 384, 32),
    ROW(grouped_linear_forward, "mini down", 16384, 192, 512, 32),
    ROW(grouped_linear_forward, "lite gate up", 3072, 2048, 2816, 16),
    ROW(grouped_linear_forward, "lite down", 3072, 1408, 2048, 16),
    ROW(grouped_linear_backward_input, "mini gate up", 16384, 512, 384, 32),
    ROW(grouped_linear_backward_input, "mini down", 16384, 192, 512, 32),
    ROW(grouped_linear_backward_input, "lite gate up", 3072, 2048, 2816, 16),
    ROW(grouped_linear_backward_input, "lite down", 3072, 1408, 2048, 16),
    ROW(grouped_linear_backward_weight, "mini gate up", 16384, 512, 384, 32),
    ROW(grouped_linear_backward_weight, "mini down", 16384, 192, 512, 32),
    ROW(grouped_linear_backward_weight, "lite gate up", 3072, 2048, 2816, 16),
    ROW(grouped_linear_backward_weight, "lite down", 3072, 1408, 2048, 16),
    ROW(attention_forward, "mini", 512, 8, 8, 64, 32, 64),
    ROW(attention_forward, "lite", 1024, 2, 16, 128, 64, 128),
    ROW(attention_backward, "mini", 512, 8, 8, 64, 32, 64),
    ROW(attention_backward, "lite", 1024, 2, 16, 128, 64, 128),
    ROW(attention_latent, "mini decoding", 1, 8, 32, 128, 4096),
    ROW(attention_latent, "lite decoding", 1, 16, 64, 512, 4096),
    ROW(attention_latent, "lite decoding", 8, 16, 64, 512, 4096),
    ROW(attention_latent, "v2 decoding", 1, 128, 64, 512, 4096),
    ROW(absorb_queries, "lite decoding", 8, 16, 128, 64, 128, 512),
    ROW(absorb_values, "lite decoding", 8, 16, 128, 64, 128, 512),
    ROW(merge_attention, "lite prefill", 512, 16, 128, 64, 128),
    ROW(choose_tokens, "lite", 1, 102400),
    ROW(choose_tokens, "lite", 16, 102400),
    ROW(rmsnorm_forward, "mini", 4096, 512),
    ROW(rmsnorm_forward, "lite", 2048, 2048),
    ROW(add_rmsnorm_forward, "mini", 4096, 512),
    ROW(add_rmsnorm_forward, "lite", 2048, 2048),
    ROW(rmsnorm_backward_input, "mini", 4096, 512),
    ROW(rmsnorm_backward_input, "lite", 2048, 2048),
    ROW(rmsnorm_backward_weight, "mini", 4096, 512),
    ROW(rmsnorm_backward_weight, "lite", 2048, 2048),
    ROW(rope, "mini q", 4096, 8, 32, 96),
    ROW(rope, "lite q", 2048, 16, 64, 192),
    ROW(swiglu_weighted_forward, "mini experts", 16384, 192),
    ROW(swiglu_weighted_forward, "lite experts", 12288, 1408),
    ROW(swiglu_weighted_backward, "mini experts", 16384, 192),
    ROW(swiglu_weighted_backward, "lite experts", 12288, 1408),
    ROW(gather_rows, "mini dispatch", 16384, 512, 4096),
    ROW(gather_rows, "lite dispatch", 12288, 2048, 2048),
    ROW(gather_sum_rows, "mini combine", 4096, 512, 16384, 4),
    ROW(gather_sum_rows, "lite combine", 2048, 2048, 12288, 6),
    ROW(router_forward, "mini", 4096, 32, 4),
    ROW(router_forward, "lite", 2048, 64, 6),
    ROW(router_backward, "mini", 4096, 32, 4, 8),
    ROW(router_backward, "lite", 2048, 64, 6, 2),
    ROW(balance_forward, "mini", 4096, 32, 4, 8),
    ROW(balance_forward, "lite", 2048, 64, 6, 2),
    ROW(embedding_backward, "mini", 4096, 512, 8192),
    ROW(cross_entropy, "mini", 1024, 8192),
    ROW(add, "mini", 4096, 512),
    ROW(convert, "from f32", 4096, 4096),
    ROW(sum_squares, "mini parameters", 4096, 8192),
    ROW(adamw, "mini parameters", 4096, 8192),
};
enum { ROWS = sizeof rows / sizeof *rows };

/* -- timing -- */

typedef struct {
    double run[MAX_RUNS], beside[MAX_RUNS];
    int count;
} Times;

static double timed(Scene *s, const Row *row) {
    arena_rewind(&s->arena, 0);
    double begin = clock_seconds();
    row->run(s, row->d);
    s->device->ops->sync(s->device);
    return clock_seconds() - begin;
}

/* Work and memory of a row, from the plan device. */
static Work row_work(const Device *device, const Row *row, Dtype dtype, int64_t *bytes) {
    Device *plan = device_open("plan", device->backend);
    Scene s = {.device = plan, .k = plan->kernels, .dtype = dtype};
    Error error;
    check(plan && arena_open(&s.arena, "bench", plan, MEM_DEVICE, 0, &error), "the plan backend is missing");
    row->run(&s, row->d);
    Work work = plan->work;
    *bytes = s.arena.peak;
    arena_close(&s.arena);
    device_close(plan);
    return work;
}

/* What the machine reaches, timed in turn with the rows: a product and a copy of memory. */
static const Row product = ROW(linear_forward, "peak", 4096, 512, 768);
static const Row copy = ROW(convert, "copy", 4096, 4096);

typedef struct {
    Scene scene;
    const Row *row;
    Work work;
} Measure;

static bool measure_open(Measure *m, Device *device, const Row *row, Dtype dtype) {
    int64_t bytes;
    Error error;
    *m = (Measure){.scene = {.device = device, .k = device->kernels, .dtype = dtype, .fills = true}, .row = row};
    m->work = row_work(device, row, dtype, &bytes);
    if (!arena_open(&m->scene.arena, "bench", device, MEM_DEVICE, bytes, &error)) return false;
    timed(&m->scene, row);
    m->scene.fills = false;
    return true;
}

/* Runs a row and its yardstick in turn, so that a busy machine slows both. */
static Times measure_both(Measure *m, Measure *yardstick) {
    Times t = {.count = 0};
    double begin = clock_seconds();
    while (t.count < MIN_RUNS || (t.count < MAX_RUNS && clock_seconds() - begin < row_seconds)) {
        t.beside[t.count] = timed(&yardstick->scene, yardstick->row);
        t.run[t.count++] = timed(&m->scene, m->row);
    }
    return t;
}

static bool counts_one_sequence(const Row *row) {
    return row->run == attention_forward || row->run == attention_backward;
}
/* Decoding reads its cache once, whatever it computes with it. */
static bool counts_bytes(const Row *row) { return row->run == attention_latent; }

static void print_row(FILE *out, const Row *row, Dtype dtype, Work work, Times *t, Work yardstick) {
    char size[96] = "";
    for (int i = 0; i < 6 && row->d[i]; i++)
        snprintf(size + strlen(size), sizeof size - strlen(size), "%s%lld", i ? "x" : "", (long long)row->d[i]);
    bool products = work.flops > 0;
    double amount = products ? work.flops : work.bytes, seconds = median(t->run, t->count);
    double reached = (products ? yardstick.flops : yardstick.bytes) / median(t->beside, t->count);
    fprintf(out, "%-31s %-5s %-21s %-24s %10.3f %9.1f %-7s %6.1f\n", row->kernel, dtype_name(dtype), row->what, size,
            seconds * 1e3, amount / seconds / 1e9, products ? "GFLOP/s" : "GB/s", 100 * amount / seconds / reached);
}

static void bench_row(Device *device, const Row *row, Dtype dtype, Measure yardstick[2], FILE *out) {
    Measure m;
    if (!measure_open(&m, device, row, dtype)) {
        fprintf(out, "%-31s %-5s %-21s needs more memory than there is\n", row->kernel, dtype_name(dtype), row->what);
        return;
    }
    if (counts_one_sequence(row)) m.work.flops /= (double)row->d[1]; /* plan sees one sequence of all rows */
    if (counts_bytes(row)) m.work.flops = 0;
    Measure *beside = &yardstick[m.work.flops > 0 ? 0 : 1];
    Times t = measure_both(&m, beside);
    print_row(out, row, dtype, m.work, &t, beside->work);
    arena_close(&m.scene.arena);
}

static bool matches(const Row *row, const char *word) { return !word || strstr(row->kernel, word); }

static void print_peaks(Device *device, Dtype dtype, FILE *out) {
    fprintf(out, "%s", dtype_name(dtype));
    for (const PeakShape *s = peak_shapes; s->name; s++)
        fprintf(out, "%s %s %.0f", s == peak_shapes ? "" : ",", s->name, peak_measure(device, s, dtype) / 1e9);
    fprintf(out, " GFLOP/s\n");
}

static bool bench_dtype(Device *device, Dtype dtype, const char *word, FILE *out) {
    Measure yardstick[2];
    if (!measure_open(&yardstick[0], device, &product, dtype)) return false;
    if (!measure_open(&yardstick[1], device, &copy, F32)) {
        arena_close(&yardstick[0].scene.arena);
        return false;
    }
    for (int i = 0; i < ROWS; i++)
        if (matches(&rows[i], word)) bench_row(device, &rows[i], dtype, yardstick, out);
    for (int i = 0; i < 2; i++) arena_close(&yardstick[i].scene.arena);
    return true;
}

bool bench_kernels(Device *device, const char *word, FILE *out) {
    static const Dtype dtypes[] = {F32, BF16};
    int found = 0;
    for (int i = 0; i < ROWS; i++) found += matches(&rows[i], word);
    if (!found) return false;
    fprintf(out, "backend %s, %d threads; products are compared with 4096x512x768, the rest with a copy of 64 MiB\n",
            device->backend, device->threads);
    for (int i = 0; i < 2; i++) print_peaks(device, dtypes[i], out);
    fprintf(out, "%-31s %-5s %-21s %-24s %10s %17s %6s\n", "kernel", "dtype", "what", "size", "ms", "rate", "%peak");
    for (int i = 0; i < 2; i++)
        if (!bench_dtype(device, dtypes[i], word, out)) fprintf(out, "%s: no memory\n", dtype_name(dtypes[i]));
    return true;
}

static bool is_config(const char *word) {
    size_t n = strlen(word);
    return n > 5 && !strcmp(word + n - 5, ".yaml");
}

int command_bench(const CommandLine *line) {
    if (line->n_input && is_config(line->input[0])) return bench_step(line);
    if (bench_is_tokenizer(line)) return bench_tokenizer(line);
    if (line->n_input > 1) {
        fprintf(stderr, "dsv2: '%s' is one input too many; only a tokenizer takes a text beside it\n",
                line->input[1]);
        return EXIT_USAGE;
    }
    Device *device = device_open("cpu", NULL);
    check(device, "the cpu backend is missing");
    const char *word = line->n_input ? line->input[0] : NULL;
    bool found = bench_kernels(device, word, stdout);
    if (!found) fprintf(stderr, "no kernel's name contains '%s'; dsv2 bench without a word runs all\n", word);
    device_close(device);
    return found ? EXIT_DONE : EXIT_USAGE;
}
