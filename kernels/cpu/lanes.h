/* lanes.h - vectors of eight floats, for kernels whose registers are dealt out by hand (dots.c, sgemm.c). */
#pragma once
#include "kernels/cpu/vector.h"

#include <string.h>

enum { LANES = 8 };
typedef float Lanes __attribute__((vector_size(32)));
typedef float Loose __attribute__((vector_size(32), aligned(4), may_alias)); /* in memory */
typedef uint32_t Bits __attribute__((vector_size(32)));
typedef uint16_t Narrow __attribute__((vector_size(16), aligned(2), may_alias));
#define INLINE static inline __attribute__((always_inline))

/* Vectors go by address: the build's plain ABI has none so wide. */
INLINE void take(Lanes *v, const void *from, bool bf16) {
    if (bf16)
        *v = (Lanes)(__builtin_convertvector(*(const Narrow *)from, Bits) << 16);
    else
        *v = *(const Loose *)from;
}

/* The first n elements, zeros behind them. */
INLINE void take_some(Lanes *v, const void *from, bool bf16, int64_t n) {
    char padded[sizeof(Lanes)] = {0};
    memcpy(padded, from, (size_t)(n * (bf16 ? 2 : 4)));
    take(v, padded, bf16);
}
