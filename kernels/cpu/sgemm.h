/* sgemm.h - one matrix product on the calling thread without a library: packed panels and a tile of c in registers
 * (Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication"). For CPUs without AVX-512:
 * oneDNN's products of fp32 are slower there, and it has none of bf16, which is widened here while it is packed. An
 * element of c has the same bits wherever it stands and however many others there are. */
#pragma once
#include "kernels/cpu/gemm.h"

/* scratch: CPU_SCRATCH_BYTES, 64-byte aligned. */
void sgemm(char *scratch, Gemm, void *c, const void *a, const void *b);

/* A matrix b (k, n) in fp32, packed once for many products: panels of PANEL columns, each with all its k. */
enum { PANEL = 16 };
typedef struct {
    float *data;
    int64_t depth; /* k */
} Panels;
static inline int64_t panels_floats(int64_t k, int64_t n) { return k * round_up(n, PANEL); }

/* The part from a k and a column, a multiple of PANEL, on. */
static inline Panels panels_at(Panels p, int64_t k, int64_t col) {
    return (Panels){p.data + col * p.depth + k * PANEL, p.depth};
}

/* flags: B_TRANSPOSED, IN_BF16. */
void panels_pack(Panels, int64_t k, int64_t n, const void *b, int64_t ldb, int64_t flags);

/* As sgemm, with fp32 c and a packed b, whose flags do not count: IN_BF16 speaks of a. */
void sgemm_panels(char *scratch, Gemm, float *c, const void *a, Panels b);
