/* facts.c - what follows from a configuration: parameters, layers with experts, batches, steps. */
#include "configs/config.h"

#include <math.h>
#include <string.h>

bool config_layer_is_moe(const Config *c, int layer) {
    return c->n_routed_experts > 0 && layer >= c->first_k_dense_replace && layer % c->moe_layer_freq == 0;
}

int config_moe_layers(const Config *c) {
    int count = 0;
    for (int layer = 0; layer < c->num_hidden_layers; layer++) count += config_layer_is_moe(c, layer);
    return count;
}

bool config_set_in_mix(const Config *c, int set) {
    for (int i = 0; i < c->mix.count; i++)
        if (!strcmp(c->mix.name[i], c->data[set].name)) return true;
    return false;
}

bool config_set_is_used(const Config *c, int set) {
    const DataSet *d = &c->data[set];
    return !c->synthetic_data && (config_set_in_mix(c, set) || d->validation > 0 || !strcmp(d->format, "tokens"));
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

/* The next steps with batches of one size: as many as there are, or until `most` are reached. */
typedef struct {
    int64_t batch, steps;
} Stretch;
static Stretch stretch_at(const Config *c, int64_t tokens_done, int64_t most) {
    Stretch s = {config_batch_at(c, tokens_done), most};
    int64_t tokens = s.batch * c->sequence_length, first = 1, last = most;
    if (s.batch == c->global_batch_size || first >= last) return s;
    last = min_i64(last, (c->batch_ramp_tokens - tokens_done) / tokens + 1);
    while (first < last) { /* the last step that still has this size */
        int64_t middle = first + (last - first + 1) / 2;
        if (config_batch_at(c, tokens_done + (middle - 1) * tokens) == s.batch)
            first = middle;
        else
            last = middle - 1;
    }
    s.steps = first;
    return s;
}

int64_t config_steps(const Config *c, int64_t sequences_per_epoch) {
    if (c->steps) return c->steps;
    double sequences = c->tokens ? ceil((double)c->tokens / (double)c->sequence_length)
                                 : ceil(c->epochs * (double)sequences_per_epoch);
    int64_t steps = 0, left = (int64_t)sequences;
    for (int64_t tokens = 0; left > 0;) {
        Stretch s = stretch_at(c, tokens, INT64_MAX / 2);
        int64_t n = min_i64(s.steps, ceil_div(left, s.batch));
        steps += n, left -= n * s.batch, tokens += n * s.batch * c->sequence_length;
    }
    return steps;
}

int64_t config_tokens(const Config *c, int64_t steps) {
    int64_t tokens = 0;
    for (Stretch s; steps > 0; steps -= s.steps) {
        s = stretch_at(c, tokens, steps);
        tokens += s.steps * s.batch * c->sequence_length;
    }
    return tokens;
}
