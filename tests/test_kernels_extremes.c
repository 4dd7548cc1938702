/* test_kernels_extremes.c - routing and dropping where scores are equal or no numbers, routing as a plan makes it up, a
 * logit far above the others, attention to a single key, and a weight decay of a few units in the last place. */
#include "tests/test_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Equals go to the lowest ids. Where all is NaN the ids are different still, in as few groups as the rule allows:
 * tables have no room for others. */
void test_router_equals(void) {
    static const char *const backends[] = {"ref", "cpu"};
    static const struct {
        double logit;
        RouterRule rule;
    } rows[] = {{0, {1, 1, false, 1}}, {0, {4, 2, true, 1}}, {NAN, {1, 1, false, 1}}, {NAN, {4, 2, true, 1}}};
    enum { EXPERTS = 8, TOP_K = 4 };
    for (size_t b = 0; b < COUNT(backends); b++)
        for (size_t r = 0; r < COUNT(rows); r++) {
            double logits[EXPERTS];
            Trial t;
            trial_open(&t, device_open(backends[b], NULL), F32, false);
            for (int e = 0; e < EXPERTS; e++) logits[e] = rows[r].logit;
            Tensor score = trial_poisoned(&t, F32, 1, EXPERTS), expert = trial_poisoned(&t, I32, 1, TOP_K);
            Tensor weight = trial_poisoned(&t, F32, 1, TOP_K);
            t.k->router_forward(t.device, score, expert, weight, trial_place(&t, F32, 1, EXPERTS, logits),
                                rows[r].rule);
            double *ids = trial_read(&t, expert), *w = trial_read(&t, weight);
            for (int k = 0; k < TOP_K; k++)
                expect(ids[k] == k && isnan(w[k]) == isnan(rows[r].logit), "%s row %d: expert %g, weight %g",
                       backends[b], (int)r, ids[k], w[k]);
            free(ids), free(w);
            trial_close(&t);
            device_close(t.device);
        }
}

/* A plan's routing is one that the rule allows, since tables have no room for others, and loads experts alike. */
void test_plan_routing(void) {
    static const struct {
        int64_t experts, top_k;
        int n_group, topk_group;
    } rows[] = {{4, 2, 1, 1}, {6, 2, 2, 1}, {64, 6, 8, 1}, {160, 6, 8, 3}, {12, 5, 4, 2}, {8, 8, 4, 4}, {9, 4, 3, 2}};
    enum { TOKENS = 1440, MOST = 8 };
    char byte;
    Device *plan = device_open("plan", "ref");
    for (size_t r = 0; r < COUNT(rows); r++) {
        int32_t ids[TOKENS * MOST];
        int64_t load[160] = {0}, experts = rows[r].experts, k = rows[r].top_k, width = experts / rows[r].n_group;
        RouterRule rule = {.n_group = rows[r].n_group, .topk_group = rows[r].topk_group};
        plan->kernels->read_experts(plan, ids, tensor_2d(&byte, I32, TOKENS, k), experts, rule);
        for (int64_t t = 0; t < TOKENS; t++) {
            bool sent[160] = {0}, chosen[160] = {0};
            int groups = 0, different = 0;
            for (const int32_t *id = ids + t * k; id < ids + (t + 1) * k; id++) {
                check(*id >= 0 && *id < experts, "expert %d", *id);
                groups += !sent[*id / width], different += !chosen[*id];
                sent[*id / width] = chosen[*id] = true;
                load[*id]++;
            }
            expect(groups <= rule.topk_group && different == k, "row %d, token %d: %d groups, %d experts", (int)r,
                   (int)t, groups, different);
        }
        for (int64_t e = 0; e < experts; e++)
            expect(load[e] * experts == TOKENS * k, "row %d: expert %d has %d pairs", (int)r, (int)e, (int)load[e]);
    }
    device_close(plan);
}

/* Where scores are equal, later pairs go first. */
void test_drop_equals(void) {
    static const char *const backends[] = {"ref", "cpu"};
    enum { N = 5, EXPERTS = 4, BUDGET = 3 };
    static const double ids[N] = {0, 1, 0, 3, 1}, want[N] = {0, 1, 0, 3, -1};
    double scores[N * EXPERTS];
    for (int i = 0; i < N * EXPERTS; i++) scores[i] = 0.25;
    for (size_t b = 0; b < COUNT(backends); b++) {
        Trial t;
        trial_open(&t, device_open(backends[b], NULL), F32, false);
        Tensor kept = trial_poisoned(&t, I32, N, 1), protect = trial_place(&t, I32, VECTOR, 1, (double[]){0});
        t.k->drop_tokens(t.device, kept, trial_place(&t, I32, N, 1, ids), trial_place(&t, F32, N, EXPERTS, scores),
                         protect, 2, BUDGET);
        double *got = trial_read(&t, kept);
        for (int i = 0; i < N; i++) expect(got[i] == want[i], "%s pair %d: %g", backends[b], i, got[i]);
        free(got);
        trial_close(&t);
        device_close(t.device);
    }
}

/* A logit above all others by more than exp can span, in the first of several pieces of a row and in the last. */
void test_cross_entropy_of_pieces(void) {
    static const char *const backends[] = {"ref", "cpu"};
    enum { VOCABULARY = 2500 };
    for (size_t b = 0; b < COUNT(backends); b++)
        for (int at = 0; at < VOCABULARY; at += VOCABULARY - 1) {
            double logits[VOCABULARY] = {0};
            logits[at] = 1000;
            Trial t;
            trial_open(&t, device_open(backends[b], NULL), F32, false);
            Tensor loss = trial_poisoned(&t, F32, VECTOR, 2), none = {0}, x = trial_poisoned(&t, F32, 2, VOCABULARY);
            for (int i = 0; i < 2; i++)
                t.k->convert(t.device, tensor_rows_view(x, i, 1), trial_place(&t, F32, 1, VOCABULARY, logits));
            t.k->cross_entropy(t.device, loss, none, x, trial_place(&t, I32, VECTOR, 2, (double[]){at, 1}), none);
            double *got = trial_read(&t, loss);
            expect(got[0] == 0 && got[1] == 1000, "%s, logit %d: losses %g %g", backends[b], at, got[0], got[1]);
            free(got);
            trial_close(&t);
            device_close(t.device);
        }
}

/* A softmax over one key is constant: its gradient is 0, not what is left of the difference of two sums. */
void test_attention_to_one_key(void) {
    static const Dtype dtypes[] = {F32, BF16};
    enum { N = 5, HEADS = 2, NOPE = 33, ROPE = 6, VALUE = 67 };
    Device *device = device_open("cpu", NULL);
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        Trial t;
        double range[2 * N];
        trial_open(&t, device, dtypes[i], false);
        for (int n = 0; n < N; n++) range[2 * n] = n, range[2 * n + 1] = n + 1;
        Tensor q = trial_random(&t, t.dtype, N, HEADS * (NOPE + ROPE)), k_pe = trial_random(&t, t.dtype, N, ROPE);
        Tensor kv = trial_random(&t, t.dtype, N, HEADS * (NOPE + VALUE)), keys = trial_place(&t, I32, N, 2, range);
        Tensor dout = trial_random(&t, t.dtype, N, HEADS * VALUE),
               out = trial_poisoned(&t, t.dtype, N, HEADS * VALUE);
        Tensor lse = trial_poisoned(&t, F32, N, HEADS), dq = trial_poisoned(&t, t.dtype, N, HEADS * (NOPE + ROPE));
        Tensor dkv = trial_poisoned(&t, t.dtype, N, HEADS * (NOPE + VALUE)),
               dk_pe = trial_poisoned(&t, t.dtype, N, ROPE);
        t.k->attention_forward(device, out, lse, q, kv, k_pe, keys, HEADS, 0.2);
        t.k->attention_backward(device, dq, dkv, dk_pe, dout, out, lse, q, kv, k_pe, keys, HEADS, 0.2);
        double *by_q = trial_read(&t, dq), *by_key = trial_read(&t, dk_pe);
        for (int j = 0; j < N * HEADS * (NOPE + ROPE); j++) expect(by_q[j] == 0, "dq %d is %g", j, by_q[j]);
        for (int j = 0; j < N * ROPE; j++) expect(by_key[j] == 0, "dk_pe %d is %g", j, by_key[j]);
        free(by_q), free(by_key);
        trial_close(&t);
    }
    device_close(device);
}

/* What many weights lose together is the decay, though a single one loses whole units in its last place. */
void test_small_decay(void) {
    enum { WEIGHTS = 20000 };
    AdamwRule rule = {.beta1 = 0.9,
                      .beta2 = 0.95,
                      .epsilon = 1e-8,
                      .gradient_scale = 1,
                      .correction1 = 0.1,
                      .correction2 = 0.05,
                      .learning_rate = 5e-6,
                      .weight_decay = 0.1};
    Trial t;
    trial_open(&t, device_open("cpu", NULL), F32, false);
    double *before = must_alloc(WEIGHTS, sizeof *before), sum = 0, lost = 0;
    for (int i = 0; i < WEIGHTS; i++) before[i] = (float)(1 + (double)i / WEIGHTS), sum += before[i];
    double *none = must_alloc(WEIGHTS, sizeof *none);
    Tensor w = trial_place(&t, F32, 1, WEIGHTS, before), m = trial_place(&t, F32, 1, WEIGHTS, none);
    Tensor v = trial_place(&t, F32, 1, WEIGHTS, none), dw = trial_place(&t, F32, 1, WEIGHTS, none);
    t.k->adamw(t.device, w, w, m, v, dw, rule);
    double *after = trial_read(&t, w);
    for (int i = 0; i < WEIGHTS; i++) lost += before[i] - after[i];
    expect(fabs(lost / sum / 5e-7 - 1) < 0.01, "decay %g, wanted 5e-7", lost / sum);
    free(before), free(none), free(after);
    trial_close(&t);
    device_close(t.device);
}
