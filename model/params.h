/* params.h - the list of named tensors of a model. Initialisation, gradient sync, clipping,
 * optimizer, checkpoints and import are loops over it.
 *
 * A Param is one matrix (units * rows, cols) in device memory that stands for `units` tensors of
 * the published layout, back to back: the pattern "model.layers.3.mlp.experts.#.{gate,up}_proj.weight"
 * is, for experts 8 and 9 here, experts.8.gate_proj, experts.8.up_proj, experts.9.gate_proj, ...
 * `#` counts experts from first_expert, `{a,b}` alternates fastest. */
#pragma once
#include "launch/run.h"

typedef struct {
    char pattern[160];
    int64_t units, rows, cols; /* shape of one published tensor; a 1-D one has rows 1, is_vector */
    bool is_vector;
    int64_t first_expert;
    Tensor w, dw;        /* (units * rows, cols): w in its dtype, dw in the stat dtype (F32) */
    bool has_gradient;   /* dw holds this step's gradient so far; else whatever was there before */
    Tensor master, m, v; /* F32; master shares w's memory where w is F32; no dw, m, v when not training */
    Axis sum_axis;       /* ranks that hold copies: AXIS_DP, or AXIS_EDP for experts */
    int layer;           /* -1: embedding, head, final norm */
    double init_std;     /* < 0: ones */
    bool decay;
} Param;

typedef struct {
    Param *list;
    int count, capacity;
    bool training;  /* gradients and moments are wanted */
    bool optimizer; /* moments (and masters) are wanted */
} Params;

void params_open(Params *, bool training, bool optimizer);
void params_close(Params *);

typedef enum { PARAM_MATRIX, PARAM_VECTOR, PARAM_ROUTER } ParamKind; /* router: always stat dtype */

/* Declares one and takes its memory from run->state. The pointer stays valid. */
Param *param_add(Params *, Run *, ParamKind, Axis sum_axis, int layer, const char *pattern, int64_t first_expert,
                 int64_t units, int64_t rows, int64_t cols);

/* The published name of unit u, and its slice of one of p's tensors as a (rows, cols) matrix. */
void param_unit_name(const Param *, int64_t unit, char name[192]);
Tensor param_unit(const Param *, Tensor of, int64_t unit);

void params_init_random(Params *, Run *); /* N(0, init_std) keyed by published name, ones for norms; masters follow */
void params_zero_moments(Params *, Run *);
/* A step begins: no gradient is there (and none is written to say so); and ends: those that got none are 0. */
void params_forget_gradients(Params *);
void params_complete_gradients(Params *, Run *);
/* dw for a kernel that adds to it: 0 when nothing is there yet. */
Tensor param_gradient(Param *, Run *);
