/* test_kernels.h - the parts of the kernels suite. */
#pragma once
#include "tests/trial.h"

/* test_kernels_cases.c: makes tensors in a fixed order, calls one kernel, watches what it wrote. */
typedef struct {
    const char *kernel;
    void (*run)(Trial *, const int64_t *d);
    int64_t d[12]; /* sizes; what they mean is the function's */
} KernelCase;
extern const KernelCase kernel_cases[], latent_cases[]; /* ended by {0}; the latter: test_kernels_latent.c */

/* test_kernels_gradient.c: every backward row against central differences, ref in F64. */
void test_gradient_linear(void);
void test_gradient_grouped_linear(void);
void test_gradient_rmsnorm(void);
void test_gradient_rope(void);
void test_gradient_attention(void);
void test_gradient_swiglu(void);
void test_gradient_swiglu_weighted(void);
void test_gradient_embedding(void);
void test_gradient_cross_entropy(void);
void test_gradient_router(void);
void test_gradient_balance(void);
void test_gather_adjoint(void);

/* test_kernels_latent.c: decoding. */
void test_absorbed_is_expanded(void);
void test_latent_alone(void);
void test_latent_reads_once(void);
void test_choose_shares(void);
void test_choose_extremes(void);

/* test_kernels_sgemm.c: products without kernels around them. */
void test_sgemm_sizes(void);
void test_sgemm_parts(void);
void test_gemm_halves(void);

/* test_kernels_parity.c: every row on every backend against ref. */
void test_parity_f32(void);
void test_parity_bf16(void);
void test_parity_other_products(void);
void test_parity_covers_every_kernel(void);
void test_plan_counts(void);

/* test_kernels_golden.c: worked examples. */
void test_forward_golden(void);
void test_router_golden(void);
void test_router_ties(void);
void test_balance_golden(void);
void test_drop_tokens(void);
void test_adamw_golden(void);
void test_rope_golden(void);
void test_cross_entropy_stable(void);
void test_sums_do_not_depend_on_threads(void);
void test_teams_are_whole(void);
void test_devices(void);

/* test_kernels_extremes.c */
void test_router_equals(void);
void test_plan_routing(void);
void test_small_decay(void);
void test_drop_equals(void);
void test_cross_entropy_of_pieces(void);
void test_attention_to_one_key(void);
void test_attention_of_threads(void);
void test_turns(void);
