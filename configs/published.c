/* published.c - what config.json of the published models says, to point out where another one of their shape differs.
 * Such a difference is often meant (a longer context, ESFT's 4K base), so it is told and never changed. */
#include "configs/keys.h"

#include <stdlib.h>
#include <string.h>

/* As `dsv2 help KEY` would have it written; alternatives that were published too after "|". */
static const struct {
    const char *path, *v2, *lite;
} table[] = {
    {"model.vocab_size", "102400", "102400"},
    {"model.hidden_size", "5120", "2048"},
    {"model.intermediate_size", "12288", "10944"},
    {"model.num_hidden_layers", "60", "27"},
    {"model.num_attention_heads", "128", "16"},
    {"model.q_lora_rank", "1536", "0"},
    {"model.kv_lora_rank", "512", "512"},
    {"model.qk_nope_head_dim", "128", "128"},
    {"model.qk_rope_head_dim", "64", "64"},
    {"model.v_head_dim", "128", "128"},
    {"model.n_routed_experts", "160", "64"},
    {"model.n_shared_experts", "2", "2"},
    {"model.num_experts_per_tok", "6", "6"},
    {"model.moe_intermediate_size", "1536", "1408"},
    {"model.first_k_dense_replace", "1", "1"},
    {"model.moe_layer_freq", "1", "1"},
    {"model.n_group", "8", "1"},
    {"model.topk_group", "3", "1"},
    {"model.topk_method", "group_limited_greedy", "greedy"},
    {"model.scoring_func", "softmax", "softmax"},
    {"model.norm_topk_prob", "false", "false"},
    {"model.routed_scaling_factor", "16", "1"},
    {"model.aux_loss_alpha", "0.001", "0.001"},
    {"model.seq_aux", "true", "true"},
    {"model.rope_theta", "10000", "10000"},
    {"model.rope_scaling.type", "yarn", "yarn"},
    {"model.rope_scaling.factor", "40", "40"},
    {"model.rope_scaling.original_max_position_embeddings", "4096", "4096"},
    {"model.rope_scaling.beta_fast", "32", "32"},
    {"model.rope_scaling.beta_slow", "1", "1"},
    {"model.rope_scaling.mscale", "0.707|1", "0.707"}, /* 1: V2.5 */
    {"model.rope_scaling.mscale_all_dim", "0.707|1", "0.707"},
    {"model.rms_norm_eps", "1e-6", "1e-6"},
    {"model.max_position_embeddings", "163840", "163840"},
    {"model.initializer_range", "0.02", "0.02"},
    {"model.bos_token_id", "100000", "100000"},
    {"model.eos_token_id", "100001", "100001"},
};

/* The published one that it must be meant to be. */
static const char *name_of(const Config *c) {
    if (c->num_hidden_layers == 60 && c->hidden_size == 5120) return "DeepSeek-V2";
    return c->num_hidden_layers == 27 && c->hidden_size == 2048 ? "DeepSeek-V2-Lite" : NULL;
}

static bool is_value(const Key *key, const Config *c, const char *text) {
    Node node = {.kind = NODE_SCALAR, .plain = true, .text = text, .key = key->path};
    Value wanted;
    Error error;
    check(value_parse(key, &node, &wanted, &error), "%s", error.text);
    char *a = value_format(key, &wanted), *b = value_format(key, key_value(key, c));
    bool same = !strcmp(a, b);
    free(a);
    free(b);
    return same;
}

static bool is_one_of(const Key *key, const Config *c, const char *alternatives) {
    char text[64];
    for (const char *at = alternatives; *at; at += *at == '|') {
        size_t n = strcspn(at, "|");
        memcpy(text, at, n);
        text[n] = 0;
        if (is_value(key, c, text)) return true;
        at += n;
    }
    return false;
}

char *config_published_notes(const Config *c, const char **name) {
    char *notes = must_strdup("");
    *name = name_of(c);
    for (size_t i = 0; *name && i < sizeof table / sizeof *table; i++) {
        const Key *key = key_find(table[i].path);
        bool yarn = !strcmp(c->rope_type, "yarn"), of_yarn = !strncmp(table[i].path, "model.rope_scaling.", 19);
        const char *published = strcmp(*name, "DeepSeek-V2") ? table[i].lite : table[i].v2;
        if ((of_yarn && !yarn && strcmp(key_name(key), "type")) || is_one_of(key, c, published)) continue;
        char *value = value_format(key, key_value(key, c));
        const char *other = strchr(published, '|');
        text_add(&notes, "%s is %s; %s has %.*s%s%s\n", table[i].path + strlen("model."), value, *name,
                 (int)strcspn(published, "|"), published, other ? " or " : "", other ? other + 1 : "");
        free(value);
    }
    return notes;
}
