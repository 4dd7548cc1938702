/* attention.c - causal attention of MLA, per query and head: p = softmax(scale q.k), out = p v.
 *
 * With dp = dout.v and delta = dout.out: ds = scale p (dp - delta), dq = ds k, dk = ds q, dv = p dout;
 * dk_pe sums over the heads, which share k_pe. n, r, d are the widths of nope, rope and value. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

enum { MAX_HEAD_DIM = 4096 };

typedef struct {
    Tensor q, kv, k_pe, range;
    int64_t n, r, d;
    double scale;
} Attention;

static Attention attention_of(Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads, double scale) {
    HeadDims dims = attention_dims(q, kv, k_pe, heads);
    check(dims.nope + dims.rope <= MAX_HEAD_DIM && dims.value <= MAX_HEAD_DIM, "heads wider than %d", MAX_HEAD_DIM);
    for (int64_t i = 0; i < tensor_rows(q); i++)
        check(id_at(range, i, 0) >= 0 && id_at(range, i, 0) <= id_at(range, i, 1) &&
                  id_at(range, i, 1) <= tensor_rows(kv),
              "query %lld sees keys %lld to %lld of %lld", (long long)i, (long long)id_at(range, i, 0),
              (long long)id_at(range, i, 1), (long long)tensor_rows(kv));
    return (Attention){q, kv, k_pe, range, dims.nope, dims.rope, dims.value, scale};
}

static double query_at(const Attention *a, int64_t i, int h, int64_t c) {
    return get(a->q, i, h * (a->n + a->r) + c);
}
static double key_at(const Attention *a, int64_t j, int h, int64_t c) {
    return c < a->n ? get(a->kv, j, h * (a->n + a->d) + c) : get(a->k_pe, j, c - a->n);
}
static double value_at(const Attention *a, int64_t j, int h, int64_t c) {
    return get(a->kv, j, h * (a->n + a->d) + a->n + c);
}

static double score_of(const Attention *a, int64_t i, int64_t j, int h) {
    double sum = 0;
    for (int64_t c = 0; c < a->n + a->r; c++) sum += query_at(a, i, h, c) * key_at(a, j, h, c);
    return a->scale * sum;
}

static bool sees(const Attention *a, int64_t i, int64_t j) {
    return id_at(a->range, i, 0) <= j && j < id_at(a->range, i, 1);
}

static void attend(const Attention *a, Tensor out, Tensor lse, int64_t i, int h) {
    int64_t first = id_at(a->range, i, 0), end = id_at(a->range, i, 1);
    double top = -INFINITY, mass = 0, sum[MAX_HEAD_DIM];
    memset(sum, 0, (size_t)a->d * sizeof *sum);
    for (int64_t j = first; j < end; j++) top = fmax(top, score_of(a, i, j, h));
    for (int64_t j = first; j < end; j++) {
        double p = exp(score_of(a, i, j, h) - top);
        mass += p;
        for (int64_t c = 0; c < a->d; c++) sum[c] += p * value_at(a, j, h, c);
    }
    for (int64_t c = 0; c < a->d; c++) put(out, i, h * a->d + c, first < end ? sum[c] / mass : 0);
    put(lse, i, h, first < end ? top + log(mass) : -INFINITY);
}

void ref_attention_forward(Device *device, Tensor out, Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range,
                           int heads, double scale) {
    shape_attention_forward(device, out, lse, q, kv, k_pe, range, heads);
    Attention a = attention_of(q, kv, k_pe, range, heads, scale);
    for (int64_t i = 0; i < tensor_rows(q); i++)
        for (int h = 0; h < heads; h++) attend(&a, out, lse, i, h);
}

typedef struct {
    Tensor dout, out, lse;
} AttentionSaved;

/* p and ds of one pair of query and key. */
static void pair_gradient(const Attention *a, const AttentionSaved *s, int64_t i, int64_t j, int h, double *p,
                          double *ds) {
    double dp = 0, delta = 0;
    for (int64_t c = 0; c < a->d; c++) {
        double dout = get(s->dout, i, h * a->d + c);
        dp += dout * value_at(a, j, h, c);
        delta += dout * get(s->out, i, h * a->d + c);
    }
    *p = exp(score_of(a, i, j, h) - get(s->lse, i, h));
    *ds = a->scale * *p * (dp - delta);
}

static void query_gradient(const Attention *a, const AttentionSaved *s, Tensor dq, int64_t i, int h) {
    double p, ds, sum[MAX_HEAD_DIM];
    int64_t width = a->n + a->r;
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (int64_t j = id_at(a->range, i, 0); j < id_at(a->range, i, 1); j++) {
        pair_gradient(a, s, i, j, h, &p, &ds);
        for (int64_t c = 0; c < width; c++) sum[c] += ds * key_at(a, j, h, c);
    }
    for (int64_t c = 0; c < width; c++) put(dq, i, h * width + c, sum[c]);
}

/* Writes one head's dk_nope and dv of key j and adds to dk_pe[r], which the heads share. */
static void key_gradient(const Attention *a, const AttentionSaved *s, Tensor dkv, double *dk_pe, int64_t j, int h) {
    double p, ds, dk[MAX_HEAD_DIM], dv[MAX_HEAD_DIM];
    memset(dk, 0, (size_t)a->n * sizeof *dk);
    memset(dv, 0, (size_t)a->d * sizeof *dv);
    for (int64_t i = 0; i < tensor_rows(a->q); i++) {
        if (!sees(a, i, j)) continue;
        pair_gradient(a, s, i, j, h, &p, &ds);
        for (int64_t c = 0; c < a->n; c++) dk[c] += ds * query_at(a, i, h, c);
        for (int64_t c = 0; c < a->r; c++) dk_pe[c] += ds * query_at(a, i, h, a->n + c);
        for (int64_t c = 0; c < a->d; c++) dv[c] += p * get(s->dout, i, h * a->d + c);
    }
    for (int64_t c = 0; c < a->n; c++) put(dkv, j, h * (a->n + a->d) + c, dk[c]);
    for (int64_t c = 0; c < a->d; c++) put(dkv, j, h * (a->n + a->d) + a->n + c, dv[c]);
}

void ref_attention_backward(Device *device, Tensor dq, Tensor dkv, Tensor dk_pe, Tensor dout, Tensor out, Tensor lse,
                            Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads, double scale) {
    shape_attention_backward(device, dq, dkv, dk_pe, dout, out, lse, q, kv, k_pe, range, heads);
    Attention a = attention_of(q, kv, k_pe, range, heads, scale);
    AttentionSaved saved = {dout, out, lse};
    for (int64_t i = 0; i < tensor_rows(q); i++)
        for (int h = 0; h < heads; h++) query_gradient(&a, &saved, dq, i, h);
    for (int64_t j = 0; j < tensor_rows(kv); j++) {
        double shared[MAX_HEAD_DIM];
        memset(shared, 0, (size_t)a.r * sizeof *shared);
        for (int h = 0; h < heads; h++) key_gradient(&a, &saved, dkv, shared, j, h);
        for (int64_t c = 0; c < a.r; c++) put(dk_pe, j, c, shared[c]);
    }
}
