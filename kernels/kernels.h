/* kernels.h - the table of kernels: one struct of function pointers, one table per backend.
 *
 * Model code calls run->k->rmsnorm_forward(run->device, ...) and never touches elements itself. */
#pragma once
#include "kernels/arena.h"

typedef struct {
    int n_group, topk_group; /* experts in n_group blocks, the best topk_group of them (max rule) may be chosen */
    bool norm_topk_prob;     /* weights divided by (their sum + 1e-20) instead of scaled */
    double routed_scaling_factor;
} RouterRule;

typedef struct {
    int groups;     /* device groups D: blocks of E / D experts */
    int topk_group; /* M of the communication loss: devices a token may be sent to */
    double alpha_expert, alpha_device, alpha_communication;
    double gradient_scale; /* slope: share of the objective one pool has (1 / global pools ...) */
    double pool_weight;    /* loss: sequences a pool stands for */
} BalanceRule;

typedef struct {
    double learning_rate, beta1, beta2, epsilon, weight_decay;
    double correction1, correction2; /* 1 - beta^step */
    double gradient_scale;           /* of clipping */
} AdamwRule;

typedef struct {
    double temperature, top_p; /* temperature 0: the likeliest */
    int64_t top_k;             /* 0: all */
} ChoiceRule;

#define KERNEL(name, args) void(*name) args;
struct Kernels {
#include "kernels/kernels.def"
};
#undef KERNEL

#define KERNEL(name, args) void ref_##name args;
#include "kernels/kernels.def"
#undef KERNEL
#define KERNEL(name, args) void plan_##name args;
#include "kernels/kernels.def"
#undef KERNEL

extern const Kernels ref_kernels, plan_kernels;
