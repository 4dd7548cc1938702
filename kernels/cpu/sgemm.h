/* sgemm.h - one matrix product on the calling thread without a library: packed panels and a tile of c in registers
 * (Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication"). For CPUs without AVX-512:
 * oneDNN's products of fp32 are slower there, and it has none of bf16, which is widened here while it is packed. An
 * element of c has the same bits wherever it stands and however many others there are. */
#pragma once
#include "kernels/cpu/gemm.h"

/* scratch: CPU_SCRATCH_BYTES, 64-byte aligned. */
void sgemm(char *scratch, Gemm, void *c, const void *a, const void *b);
