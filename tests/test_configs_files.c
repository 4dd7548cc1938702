/* test_configs_files.c - the files that the configuration tests write. */
#include "tests/test_configs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

const char *write_config(const char *name, const char *text) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    FILE *f = fopen(path, "wb");
    check(f && fputs(text, f) >= 0 && fclose(f) == 0, "cannot write %s", path);
    return path;
}

void write_good(void) {
    write_config("good.yaml", "init: random\noutput_dir: runs/x\nsteps: 100\nsequence_length: 32\n"
                              "data: {sample: {path: text/*.txt}}\nmix: [sample]\n"
                              "model: {hidden_size: 64, n_routed_experts: 8, num_experts_per_tok: 2,\n"
                              "  moe_intermediate_size: 32, n_group: 4, topk_group: 2,\n"
                              "  topk_method: group_limited_greedy}\n");
}

bool load_extra(Config *c, const char *extra, const char *override, int ranks, char **warnings, Error *error) {
    char *text = must_format("base: good.yaml\n%s\n", extra);
    bool ok = config_load(c, write_config("bad.yaml", text), &override, override != NULL, ranks, warnings, error);
    free(text);
    return ok;
}

const char good_json[] =
    "{\"architectures\": [\"DeepseekV2ForCausalLM\"], \"model_type\": \"deepseek_v2\", \"vocab_size\": 320,\n"
    " \"hidden_size\": 64, \"intermediate_size\": 160, \"num_hidden_layers\": 4, \"num_attention_heads\": 4,\n"
    " \"num_key_value_heads\": 4, \"kv_lora_rank\": 32, \"q_lora_rank\": 24, \"qk_nope_head_dim\": 16,\n"
    " \"qk_rope_head_dim\": 8, \"v_head_dim\": 12, \"n_routed_experts\": 16, \"n_shared_experts\": 2,\n"
    " \"num_experts_per_tok\": 3, \"moe_intermediate_size\": 40, \"first_k_dense_replace\": 2, \"n_group\": 4,\n"
    " \"topk_group\": 2, \"topk_method\": \"group_limited_greedy\", \"routed_scaling_factor\": 16.0,\n"
    " \"norm_topk_prob\": false, \"max_position_embeddings\": 640, \"rms_norm_eps\": 1e-05,\n"
    " \"tie_word_embeddings\": false, \"hidden_act\": \"silu\", \"bos_token_id\": 0, \"eos_token_id\": 1,\n"
    " \"rope_theta\": 10000.0, \"rope_scaling\": null, \"use_cache\": true, \"ep_size\": 8, \"auto_map\": {}}\n";

const char *write_json(const char *field, const char *value) {
    json_t *root = json_loads(good_json, 0, NULL);
    if (value)
        json_object_set_new(root, field, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(root, field);
    char *text = json_dumps(root, JSON_INDENT(1));
    const char *path = write_config("config.json", text);
    free(text);
    json_decref(root);
    return path;
}
