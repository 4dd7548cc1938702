/* test_kernels_parity.c - every row of kernels.def on every backend against ref, from one table.
 *
 * A case is a function that makes its tensors in a fixed order and calls one kernel. It runs on ref
 * and on the backend with the same inputs; what it watched is compared. Outputs are poisoned before
 * the call and lie between guard bands; a second run on the backend must give the same bits. A new
 * backend joins by a word in `backends`, a new kernel by a function and
 * rows in test_kernels_cases.c. */
#include "tests/test_kernels.h"

#include "kernels/cpu/gemm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const backends[] = {"cpu"};

/* Largest difference allowed, relative in L2 and of the worst element to the largest, by dtype. */
static const double limits[] = {[F64] = 1e-12, [F32] = 1e-5, [BF16] = 1e-2};

static const KernelCase *const tables[] = {kernel_cases, latent_cases};

#define COUNT(table) (sizeof(table) / sizeof *(table))

typedef struct {
    int64_t count;
    double *values[WATCHED];
    Tensor shape[WATCHED];
    bool guards;
} Result;

static void run_case(const KernelCase *c, Device *device, Dtype dtype, bool strided, Result *result) {
    Trial t;
    trial_open(&t, device, dtype, strided);
    c->run(&t, c->d);
    device->ops->sync(device);
    *result = (Result){.count = t.count, .guards = true};
    for (int i = 0; i < t.count; i++) {
        result->values[i] = trial_read(&t, t.watched[i]);
        result->shape[i] = t.watched[i];
        result->guards = result->guards && trial_guards_hold(&t, t.watched[i]);
    }
    trial_close(&t);
}

static void result_free(Result *r) {
    for (int64_t i = 0; i < r->count; i++) free(r->values[i]);
}

static const char *case_name(const KernelCase *c, const char *backend, Dtype dtype, bool strided) {
    static char name[256];
    int used =
        snprintf(name, sizeof name, "%s %s %s%s", backend, c->kernel, dtype_name(dtype), strided ? " strided" : "");
    for (int i = 0; i < 8; i++)
        used += snprintf(name + used, sizeof name - (size_t)used, " %lld", (long long)c->d[i]);
    return name;
}

static void compare_results(const char *name, const Result *got, const Result *want, const Result *again,
                            Dtype dtype) {
    expect(got->guards, "%s wrote outside an output", name);
    for (int64_t i = 0; i < want->count; i++) {
        int64_t n = tensor_count(want->shape[i]);
        double limit = want->shape[i].dtype == I32 ? 0 : limits[dtype];
        Difference d = difference(got->values[i], want->values[i], n);
        expect(d.nans == 0 && d.relative <= limit && d.worst <= limit,
               "%s output %lld: relative %.2e, worst %.2e at %lld (%g for %g), %lld NaN", name, (long long)i,
               d.relative, d.worst, (long long)d.worst_at, n ? got->values[i][d.worst_at] : 0,
               n ? want->values[i][d.worst_at] : 0, (long long)d.nans);
        expect(!memcmp(got->values[i], again->values[i], (size_t)n * sizeof(double)),
               "%s output %lld: two runs differ", name, (long long)i);
    }
}

static void try_case(const KernelCase *c, Device *ref, Device *device, Dtype dtype, bool strided) {
    Result want, got, again;
    run_case(c, ref, dtype, strided, &want);
    run_case(c, device, dtype, strided, &got);
    run_case(c, device, dtype, strided, &again);
    compare_results(case_name(c, device->backend, dtype, strided), &got, &want, &again, dtype);
    result_free(&want), result_free(&got), result_free(&again);
}

static void parity(Dtype dtype) {
    Device *ref = device_open("ref", NULL);
    for (size_t b = 0; b < COUNT(backends); b++) {
        Device *device = device_open(backends[b], NULL);
        if (!device) {
            printf("     skipped: this build has no backend %s\n", backends[b]);
            continue;
        }
        for (size_t i = 0; i < COUNT(tables); i++)
            for (const KernelCase *c = tables[i]; c->kernel; c++)
                for (int strided = 0; strided < 2; strided++) try_case(c, ref, device, dtype, strided);
        device_close(device);
    }
    device_close(ref);
}

/* By the products that this CPU would leave: oneDNN's without AVX-512, else sgemm.h's. */
void test_parity_other_products(void) {
    gemm_choose(gemm_is_own() ? PRODUCTS_ONEDNN : PRODUCTS_OWN);
    parity(F32);
    if (gemm_is_own()) parity(BF16);
    gemm_choose(PRODUCTS_BY_CPU);
}

void test_parity_f32(void) { parity(F32); }
void test_parity_bf16(void) { parity(BF16); }

void test_parity_covers_every_kernel(void) {
    static const char *const names[] = {
#define KERNEL(name, args) #name,
#include "kernels/kernels.def"
#undef KERNEL
    };
    for (size_t n = 0; n < COUNT(names); n++) {
        bool found = false;
        for (size_t i = 0; i < COUNT(tables); i++)
            for (const KernelCase *c = tables[i]; c->kernel; c++) found |= !strcmp(c->kernel, names[n]);
        expect(found, "no case for %s", names[n]);
    }
}

/* Plan memory faults when touched, so a kernel that survives this did not look. */
void test_plan_counts(void) {
    Device *plan = device_open("plan", "ref");
    for (size_t i = 0; i < COUNT(tables); i++)
        for (const KernelCase *c = tables[i]; c->kernel; c++) {
            Result result;
            plan->work = (Work){0};
            run_case(c, plan, BF16, false, &result);
            bool product =
                strstr(c->kernel, "linear") || strstr(c->kernel, "attention") || strstr(c->kernel, "absorb");
            expect(product || plan->work.flops == 0, "%s: %g flops", c->kernel, plan->work.flops);
            expect(plan->work.bytes > 0 || !c->d[0], "%s: no bytes", c->kernel);
            result_free(&result);
        }
    device_close(plan);
}
