#include "model/cache.h"

#include <string.h>

static int64_t width(const Config *c) { return c->kv_lora_rank + c->qk_rope_head_dim; }

void cache_open(Cache *cache, Run *run, int64_t tokens) {
    const Config *c = run->config;
    *cache = (Cache){.tokens = tokens, .layers = c->num_hidden_layers};
    cache->rows = arena_2d(&run->cache, run->dtype, cache->layers * tokens, width(c));
}

int64_t cache_bytes_per_token(const Config *c) {
    return c->num_hidden_layers * width(c) * dtype_bytes(strcmp(c->dtype, "bf16") ? F32 : BF16);
}
