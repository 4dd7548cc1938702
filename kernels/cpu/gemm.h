/* gemm.h - one matrix product on the calling thread: c (m, n) = a (m, k) b (k, n), by oneDNN, and on
 * CPUs without AVX-512 by sgemm.h.
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

/* How many rows are best computed together: few different sizes for oneDNN, all for sgemm.h, which packs b anew each
 * time. */
int64_t gemm_rows(void);

/* Whose products these are: oneDNN's with AVX-512, else sgemm.h's. A test may choose, between calls of kernels; oneDNN
 * has none of bf16 without AVX-512. */
typedef enum { PRODUCTS_BY_CPU, PRODUCTS_OWN, PRODUCTS_ONEDNN } Products;
void gemm_choose(Products);
/* oneDNN's products of more elements of c are computed as halves, and those as halves, as where scratch does not suffice:
 * which sizes need more than there is, is the CPU's. For a test; holds for plans that are not made yet. */
void gemm_halve(int64_t elements);
bool gemm_is_own(void);

static inline int64_t gemm_flags(Tensor in, Tensor out) {
    return (in.dtype == BF16 ? IN_BF16 : 0) | (out.dtype == BF16 ? OUT_BF16 : 0);
}

/* A matrix b that many products share: packed once in the room given where products gain from that (sgemm.h), else read
 * where it lies. */
typedef struct {
    const void *b;
    int64_t ld, flags; /* B_TRANSPOSED, IN_BF16 */
    float *panels;     /* or NULL */
    int64_t depth;     /* of panels */
} Right;

int64_t right_bytes(int64_t k, int64_t n); /* of room */
Right right_make(void *room, int64_t k, int64_t n, const void *b, int64_t ld, int64_t flags);

/* As gemm, with the part of b from (k, col) on, col a multiple of GEMM_STEP, and c in fp32. Of the flags IN_BF16 speaks
 * of a, which has b's type where b is not packed. */
void gemm_right(CpuThread *, Gemm, float *c, const void *a, const Right *b, int64_t k, int64_t col);

struct GemmPlans *gemm_plans_open(void);
void gemm_plans_close(struct GemmPlans *);
