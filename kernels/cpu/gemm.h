/* gemm.h - one matrix product on the calling thread: c (m, n) = a (m, k) b (k, n), by oneDNN, and on
 * CPUs without AVX-512 mostly by sgemm.h.
 *
 * A product of new sizes costs oneDNN a fraction of a millisecond of planning (code generation), so
 * plans are kept per thread, and callers ask for few different sizes: multiples of GEMM_STEP, and
 * smaller ones only at an end. */
#pragma once
#include "kernels/cpu/cpu.h"

enum { GEMM_STEP = 16 };
enum { A_TRANSPOSED = 1, B_TRANSPOSED = 2, ACCUMULATE = 4, IN_BF16 = 8, OUT_BF16 = 16 };

/* Leading dims in elements: a is stored as (m, k) or transposed (k, m), b as (k, n) or (n, k). All
 * fields have one type, so that equal structs have equal bytes. */
typedef struct {
    int64_t m, n, k, lda, ldb, ldc, flags;
} Gemm;

void gemm(CpuThread *, Gemm, void *c, const void *a, const void *b);
static inline int64_t gemm_flags(Tensor in, Tensor out) {
    return (in.dtype == BF16 ? IN_BF16 : 0) | (out.dtype == BF16 ? OUT_BF16 : 0);
}

struct GemmPlans *gemm_plans_open(void);
void gemm_plans_close(struct GemmPlans *);
