/* facts.c - what follows from a configuration: parameters, layers with experts, batches, steps. */
#include "configs/config.h"

#include <math.h>

bool config_layer_is_moe(const Config *c, int layer) {
    return c->n_routed_experts > 0 && layer >= c->first_k_dense_replace && layer % c->moe_layer_freq == 0;
}

int config_moe_layers(const Config *c) {
    int count = 0;
    for (int layer = 0; layer < c->num_hidden_layers; layer++) count += config_layer_is_moe(c, layer);
    return count;
}

/* SEMANTICS section 1: the latent norms are in, the two norms of a block are counted with the block. */
static int64_t attention_parameters(const Config *c) {
    int64_t hidden = c->hidden_size, heads = c->num_attention_heads, q = c->q_lora_rank, kv = c->kv_lora_rank;
    int64_t query = heads * (c->qk_nope_head_dim + c->qk_rope_head_dim);
    int64_t queries = q ? hidden * q + q + q * query : hidden * query;
    return queries + hidden * (kv + c->qk_rope_head_dim) + kv + kv * heads * (c->qk_nope_head_dim + c->v_head_dim) +
           heads * c->v_head_dim * hidden;
}

static int64_t parameters_with(const Config *c, int64_t experts) {
    int64_t hidden = c->hidden_size, layers = c->num_hidden_layers, moe = config_moe_layers(c);
    int64_t expert = 3 * hidden * c->moe_intermediate_size;
    return 2 * c->vocab_size * hidden + hidden + layers * (attention_parameters(c) + 2 * hidden) +
           (layers - moe) * 3 * hidden * c->intermediate_size +
           moe * ((experts + c->n_shared_experts) * expert + c->n_routed_experts * hidden);
}

int64_t config_parameters(const Config *c) { return parameters_with(c, c->n_routed_experts); }
int64_t config_parameters_activated(const Config *c) { return parameters_with(c, c->num_experts_per_tok); }

/* The batch grows in a straight line of tokens, from batch_ramp.start to global_batch_size. */
int64_t config_batch_at(const Config *c, int64_t tokens_done) {
    if (!c->batch_ramp_start || tokens_done >= c->batch_ramp_tokens) return c->global_batch_size;
    double done = (double)tokens_done / (double)c->batch_ramp_tokens;
    return c->batch_ramp_start + (int64_t)(done * (double)(c->global_batch_size - c->batch_ramp_start));
}

int64_t config_steps(const Config *c, int64_t sequences_per_epoch) {
    if (c->steps) return c->steps;
    double sequences = c->tokens ? ceil((double)c->tokens / (double)c->sequence_length)
                                 : ceil(c->epochs * (double)sequences_per_epoch);
    int64_t done = 0, steps = 0, wanted = (int64_t)sequences;
    for (; done < wanted && c->batch_ramp_start && done * c->sequence_length < c->batch_ramp_tokens; steps++)
        done += config_batch_at(c, done * c->sequence_length);
    return steps + (done < wanted ? ceil_div(wanted - done, c->global_batch_size) : 0);
}
