/* rope.h - rotary positions with YaRN (SEMANTICS section 3; YaRN, arXiv:2309.00071).
 *
 * One table of cos and sin for all layers: (positions, qk_rope_head_dim), made once. */
#pragma once
#include "launch/run.h"

typedef struct {
    Tensor table;
} Rope;

void rope_init(Rope *, int64_t positions, Run *); /* table from run->state */

/* frequency of each pair, qk_rope_head_dim / 2 of them */
void rope_frequencies(const Config *, double *frequency);
double rope_amplitude(const Config *);     /* on cos and sin */
double rope_softmax_scale(const Config *); /* on q . k, m^2 of YaRN included */
