/* test_configs_bad.c - broken configurations by tables: each must be refused with words that name
 * the place and the cause. */
#include "configs/keys.h"
#include "tests/test_configs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *text, *place, *cause;
} Bad;

static void expect_message(const char *what, bool ok, const Error *error, const char *place, const char *cause) {
    expect(!ok, "accepted: %.200s", what);
    if (ok) return;
    expect(strstr(error->text, place) != NULL, "%.200s: no '%s' in: %s", what, place, error->text);
    expect(strstr(error->text, cause) != NULL, "%.200s: no '%s' in: %s", what, cause, error->text);
}

/* -- YAML that is wrong as YAML, whole files ------------------------------------------------- */

static const Bad bad_yaml[] = {
    {"", "bad.yaml", "nothing is written"},
    {"# only a comment\n", "bad.yaml", "nothing is written"},
    {"just a word\n", "bad.yaml", "keys and values"},
    {"- a\n- b\n", "bad.yaml", "keys and values"},
    {"steps: 1\nsteps: 2\n", "bad.yaml:2", "given twice, first at"},
    {"model: {hidden_size: 8,\n hidden_size: 9}\n", "bad.yaml:2", "given twice"},
    {"steps: &a 5\n", "bad.yaml:1", "anchors and aliases"},
    {"model: &m {hidden_size: 8}\n", "bad.yaml:1", "anchors and aliases"},
    {"steps: 5\nseed: *a\n", "bad.yaml:2", "anchors and aliases"},
    {"steps: !!int 5\n", "bad.yaml:1", "tags"},
    {"mix: !set [a]\n", "bad.yaml:1", "tags"},
    {"model:\n  <<: {hidden_size: 8}\n", "bad.yaml:2", "merge keys"},
    {"? [a, b]\n: 1\n", "bad.yaml:1", "a key must be a word"},
    {"steps: 1\n---\nsteps: 2\n", "bad.yaml:2", "second document"},
    {"steps: [1, 2\n", "bad.yaml:", "not valid YAML"},
    {"steps: 1\n\tseed: 2\n", "bad.yaml:2", "not valid YAML"},
    {"output_dir: \"a\\0b\"\n", "bad.yaml:1", "NUL"},
    {"output_dir: \xff\xfe\n", "bad.yaml", "UTF-8"},
    {"output_dir: \xc0\xaf\n", "bad.yaml", "UTF-8"},
    {"base: [a, b]\n", "bad.yaml:1", "name of one file"},
    {"\nbase: nowhere.yaml\n", "bad.yaml:2", "cannot be opened"},
    {"base: bad.yaml\n", "bad.yaml:1", "circle"},
    {"base: good.yaml\nstages: {sft: {steps: 1}}\n", "bad.yaml:2", "stages: is not supported"},
    {"base: good.yaml\nvariants: {a: {}}\n", "bad.yaml:2", "variants: is not supported"},
    {"base: good.yaml\ninit: null\n", "bad.yaml", "neither init nor init_from"},
    {"base: good.yaml\nsteps: null\n", "bad.yaml", "none of steps, tokens, epochs"},
    {"base: good.yaml\noutput_dir: null\n", "bad.yaml", "output_dir is not set"},
    {"base: good.yaml\noutput_dir: \"\"\n", "bad.yaml", "output_dir is not set"},
    {"base: good.yaml\ndata: {one: {path: [a.txt, b.txt]}}\n", "bad.yaml:2",
     "path is a list; it must be text (one file, glob or folder"},
    {"base: good.yaml\nmix: null\n", "bad.yaml", "mix is not set"},
    {"base: good.yaml\nmodel: {num_experts_per_tok: null}\n", "good.yaml", "num_experts_per_tok is not set"},
    {"base: good.yaml\nmodel: {moe_intermediate_size: null}\n", "good.yaml", "moe_intermediate_size is not set"},
};

static void refuse_file(const char *text, const char *place, const char *cause) {
    static Config c;
    Error error = {0};
    char *warnings = NULL;
    bool ok = config_load(&c, write_config("bad.yaml", text), NULL, 0, 1, &warnings, &error);
    expect_message(text, ok, &error, place, cause);
    if (ok) config_free(&c);
    free(warnings);
}

static char *repeated(const char *head, const char *piece, int times, const char *tail) {
    size_t a = strlen(head), b = strlen(piece), n = a + b * (size_t)times + strlen(tail) + 1;
    char *text = must_alloc((int64_t)n, 1), *at = text + sprintf(text, "%s", head);
    for (int i = 0; i < times; i++, at += b) memcpy(at, piece, b);
    strcpy(at, tail);
    return text;
}

void bad_yaml_is_refused(void) {
    write_good();
    for (size_t i = 0; i < sizeof bad_yaml / sizeof *bad_yaml; i++)
        refuse_file(bad_yaml[i].text, bad_yaml[i].place, bad_yaml[i].cause);
    char *deep = repeated("mix: ", "[", 50000, ""), *big = repeated("# ", "x", 1 << 20, "\nsteps: 1\n");
    char *many = repeated("mix: [", "1,", 20000, "1]\n");
    refuse_file(deep, "bad.yaml:1", "nested more than 32 deep");
    refuse_file(big, "bad.yaml", "larger than 1024 KiB");
    refuse_file(many, "bad.yaml:1", "more than 10000 values");
    free(deep), free(big), free(many);
    write_config("a.yaml", "base: b.yaml\n");
    write_config("b.yaml", "base: a.yaml\n");
    refuse_file("base: a.yaml\n", "b.yaml:1", "circle");
}

/* -- keys, values and rules: lines added to a good file, from line 2 on ---------------------- */

static const Bad bad_keys[] = {
    {"lr: 1e-3", "bad.yaml:2", "'lr' is not a key here; write learning_rate"},
    {"warmup_ratio: 0.1", "bad.yaml:2", "write warmup_steps"},
    {"per_device_train_batch_size: 1", "bad.yaml:2", "write micro_batch_size"},
    {"learning_rat: 1", "bad.yaml:2", "did you mean learning_rate?"},
    {"hidden_size: 64", "bad.yaml:2", "write model.hidden_size"},
    {"model: {learning_rate: 1}", "bad.yaml:2", "does not stand in model; write learning_rate"},
    {"model:\n  hiden_size: 4", "bad.yaml:3", "did you mean model.hidden_size?"},
    {"layuot: {ep: 1}", "bad.yaml:2", "did you mean layout?"},
    {"rope_scaling: {type: yarn}", "bad.yaml:2", "did you mean model.rope_scaling?"},
    {"completely_else: 1", "bad.yaml:2", "`dsv2 help` lists the keys"},
    {"model: 5", "bad.yaml:2", "must be a mapping"},
    {"steps: {a: 1}", "bad.yaml:2", "steps is a mapping"},
    {"steps: ten", "bad.yaml:2", "steps is ten; it must be a whole number"},
    {"steps: \"10\"", "bad.yaml:2", "steps is \"10\""},
    {"steps: 10x", "bad.yaml:2", "steps is 10x"},
    {"steps: 1.5", "bad.yaml:2", "whole number"},
    {"steps: -1", "bad.yaml:2", "from 0 to"},
    {"seed: 99999999999999999999", "bad.yaml:2", "seed is"},
    {"seed: 9223372036854775808", "bad.yaml:2", "a whole number from 0 to 9223372036854775807"},
    {"learning_rate: nan", "bad.yaml:2", "a number from 0 to 100"},
    {"learning_rate: .inf", "bad.yaml:2", "a number"},
    {"learning_rate: 0x10", "bad.yaml:2", "a number"},
    {"learning_rate: 1e999", "bad.yaml:2", "a number"},
    {"learning_rate: 1e-3 1", "bad.yaml:2", "a number"},
    {"tokens: 2b", "bad.yaml:2", "20M or 2B"},
    {"tokens: 0.0001K", "bad.yaml:2", "20M or 2B"},
    {"tokens: 1e300T", "bad.yaml:2", "20M or 2B"},
    {"synthetic_data: yes", "bad.yaml:2", "true or false"},
    {"dtype: fp8", "bad.yaml:2", "one of fp32|bf16"},
    {"lr_step_at: 0.5", "bad.yaml:2", "a list of numbers"},
    {"lr_step_at: {a: 0.5}", "bad.yaml:2", "lr_step_at is a mapping"},
    {"lr_step_at: [0.5, 2]", "bad.yaml:2", "lr_step_at is 2"},
    {"lr_scheduler_type: step\nlr_step_at: [0.9, 0.6]", "bad.yaml:3", "must rise"},
    {"lr_scheduler_type: step\nlr_step_at: []", "bad.yaml:3", "empty"},
    {"tokens: 1M", "bad.yaml:2", "tokens and steps"},
    {"epochs: 1", "bad.yaml:2", "epochs and steps"},
    {"init_from: .", "/.: has", "no config.json"},
    {"init_from: no/such/model", "bad.yaml:2", "does not exist"},
    {"warmup_steps: 100", "bad.yaml:2", "not below the 100 steps"},
    {"min_lr: 1", "bad.yaml:2", "more than learning_rate"},
    {"adam_beta2: 1", "bad.yaml:2", "below 1"},
    {"adam_epsilon: 0", "bad.yaml:2", "above 0"},
    {"batch_ramp: {start: 2}", "bad.yaml:2", "both start and tokens"},
    {"batch_ramp: {start: 200, tokens: 1M}", "bad.yaml:2", "more than global_batch_size"},
    {"batch_ramp: {start: 1, tokens: 1000T}", "bad.yaml:2", "takes over"},
    {"micro_batch_size: 16", "bad.yaml:2", "more than global_batch_size"},
    {"sequence_length: 100000000", "bad.yaml:2", "tokens at once"},
    {"micro_batch_size: 1\nglobal_batch_size: 100000000", "bad.yaml:3", "tokens a step"},
    {"model: {max_position_embeddings: 16}", "good.yaml", "more than max_position_embeddings 16"},
    {"model: {num_key_value_heads: 2}", "bad.yaml:2", "no shared heads"},
    {"model: {qk_rope_head_dim: 7}", "bad.yaml:2", "odd"},
    {"model: {tie_word_embeddings: true}", "bad.yaml:2", "its own head"},
    {"model: {attention_bias: true}", "bad.yaml:2", "no biases"},
    {"model: {attention_dropout: 0.1}", "bad.yaml:2", "no dropout"},
    {"model: {n_group: 3}", "bad.yaml:2", "does not divide n_routed_experts 8"},
    {"model: {topk_group: 5}", "bad.yaml:2", "more than n_group 4"},
    {"model: {num_experts_per_tok: 5}", "bad.yaml:2", "more than the 4 experts of topk_group 2"},
    {"model: {num_experts_per_tok: 9}", "bad.yaml:2", "more than n_routed_experts 8"},
    {"model: {rope_scaling: {type: yarn}}", "bad.yaml:2", "needs a factor"},
    {"model: {rope_scaling: {type: linear, factor: 2}}", "bad.yaml:2", "one of none|yarn"},
    {"model: {rope_scaling: {type: yarn, factor: 2, beta_fast: 1}}", "bad.yaml:2", "above beta_slow"},
    {"model: {rope_theta: 1, rope_scaling: {type: yarn, factor: 2}}", "bad.yaml:2", "above 1"},
    {"model: {vocab_size: 100}", "bad.yaml:2", "less than the 258 tokens"},
    {"model: {eos_token_id: 300}", "bad.yaml:2", "not below vocab_size 258"},
    {"model: {hidden_size: 65536, n_routed_experts: 65536, moe_intermediate_size: 1000000}", "bad.yaml:2",
     "stops at 1e13"},
    {"balance: {balance_groups: 3}", "bad.yaml:2", "does not divide n_routed_experts 8"},
    {"balance: {balance_groups: 1, communication_loss_alpha: 0.02}", "bad.yaml:2", "can have no effect"},
    {"balance: {balance_groups: 1, device_loss_alpha: 0.02}", "bad.yaml:2", "constant"},
    {"balance: {balance_groups: 1, token_dropping: true}", "bad.yaml:2", "can have no effect"},
    {"model: {n_routed_experts: 0}\nbalance: {token_dropping: true}", "bad.yaml:3", "dense model"},
    {"model: {n_routed_experts: 0}\nbalance: {device_loss_alpha: 1}", "bad.yaml:3", "dense model"},
    {"init: \"null\"", "bad.yaml:2", "init is \"null\""},
    {"layout: {ep: 2}", "bad.yaml:2", "does not divide 1 rank; start with -n 2"},
    {"mix: [sampel]", "bad.yaml:2", "did you mean sample?"},
    {"mix: [sample, sample]", "bad.yaml:2", "twice"},
    {"mix: {sample: 0.5}", "bad.yaml:2", "sum to 0.5"},
    {"mix: {sample: -1}", "bad.yaml:2", "above 0"},
    {"mix: {sample: 0}", "bad.yaml:2", "the share of 'sample' is 0; shares are above 0"},
    {"mix: sample", "bad.yaml:2", "a list of names"},
    {"data: {other: {format: text}}", "bad.yaml:2", "data.other has no path"},
    {"data: {other: {files: x}}", "bad.yaml:2", "write path"},
    {"data: {other: {pth: x}}", "bad.yaml:2", "did you mean path?"},
    {"data: {other: 5}", "bad.yaml:2", "data.other must be a mapping"},
    {"data: {a.b: {path: x}}", "bad.yaml:2", "cannot name a data set"},
    {"data: {sample: {validation: 1.5}}", "bad.yaml:2", "neither a share"},
    {"eval: {a: {shots: 5}}", "bad.yaml:2", "eval.a has no path"},
    {"eval: {a: {path: x, shot: 5}}", "bad.yaml:2", "did you mean shots?"},
    {"eval: {a: {path: x, num_fewshot: 5}}", "bad.yaml:2", "not a key of an evaluation; write shots"},
    {"eval: {a: {path: x, colour: red}}", "bad.yaml:2", "an evaluation has path, format and shots"},
    {"eval: {a: {path: x, format: text, shots: 1}}", "bad.yaml:2", "format text has no questions"},
    {"eval: {a: {path: x, format: quiz}}", "bad.yaml:2", "one of choice|answer|text|needle"},
    {"eval: {a: [x]}", "bad.yaml:2", "eval.a must be a mapping"},
    {"eval: {\"a b\": {path: x}}", "bad.yaml:2", "cannot name an evaluation"},
    {"eval: {sample: {path: x}}", "bad.yaml:2", "have the same name"},
    {"eval: {a: {path: x}}\nsynthetic_data: true\nmix: null", "bad.yaml:3", "nothing to measure"},
    {"data: {sample: {format: parquet}}", "bad.yaml:2", "one of text|megatron|tokens"},
    {"data: {sample: {format: tokens, min_tokens: 3}}", "bad.yaml:2", "min_tokens has no effect on format tokens"},
    {"data: {sample: {format: megatron, field: body}}", "bad.yaml:2", "field has no effect on format megatron"},
};

void bad_keys_are_refused(void) {
    static Config c;
    write_good();
    for (size_t i = 0; i < sizeof bad_keys / sizeof *bad_keys; i++) {
        Error error = {0};
        char *warnings = NULL;
        bool ok = load_extra(&c, bad_keys[i].text, NULL, 1, &warnings, &error);
        expect_message(bad_keys[i].text, ok, &error, bad_keys[i].place, bad_keys[i].cause);
        if (ok) config_free(&c);
        free(warnings);
    }
}

/* -- the command line ------------------------------------------------------------------------ */

static const Bad bad_overrides[] = {
    {"steps", "command line", "is not key=value"},
    {"=5", "command line", "is not key=value"},
    {"steps=", "command line", "steps= says nothing; write steps=null for the default, or leave it out"},
    {"steps=null", "", "none of steps, tokens, epochs"},
    {"dtype=", "command line", "write dtype=null for the default, or leave it out"},
    {"tokenizer=", "command line", "write tokenizer=null for the default, tokenizer='\"\"' for an empty text"},
    {"learning_rate= ", "command line", "learning_rate=  says nothing"},
    {"layout={ep: }", "command line", "layout={ep: } says nothing"},
    {"mix=", "command line", "mix= says nothing"},
    {"mix={sample: -1, more: 2}", "command line", "the share of 'sample' is -1; shares are above 0"},
    {"mix={sample: 0, more: 0}", "command line", "the share of 'sample' is 0; shares are above 0"},
    {"mix={sample: 0.5, more: 0.6}", "command line", "sum to 1.1"},
    {"steps=1e3", "command line", "steps is 1e3"},
    {"steps=[1", "command line", "not valid YAML"},
    {"steps=&a 5", "command line", "anchors"},
    {"lr=1", "command line", "write learning_rate"},
    {"model.lr=1", "command line", "write learning_rate"},
    {"stepz=1", "command line", "did you mean steps?"},
    {"tokens=1M", "command line", "take the other back with steps=null"},
    {"base=x.yaml", "command line", "only be said in a file"},
    {"stages.sft.learning_rate=1", "command line", "not supported"},
    {"factor=3", "command line", "has no effect without model.rope_scaling.type yarn"},
    {"min_lr=1e-5", "command line", "has no effect without lr_scheduler_type"},
    {"eval_steps=5", "command line", "has no effect without validation"},
    {"eval_shots=5", "command line", "has no effect without eval"},
    {"epochs=null", "command line", "is not set"},
    {"layout={}", "command line", "nothing is in it"},
    {"path=x", "command line", "may be any of data.sample.path, data.more.path"},
    {"data.third.path=x", "", ""},
    {"output_dir=a\xff", "command line", "UTF-8"},
    {"output_dir=/tmp/x\xc2", "command line", "UTF-8"},
    {"sample_steps=5 6", "command line", "sample_steps is 5 6"},
};

void bad_overrides_are_refused(void) {
    static Config c;
    Error error = {0};
    char *warnings = NULL;
    const char *twice[] = {"steps=5", "steps=6"};
    write_good();
    for (size_t i = 0; i < sizeof bad_overrides / sizeof *bad_overrides; i++) {
        const Bad *b = &bad_overrides[i];
        bool ok = load_extra(&c, "data: {more: {path: x}}\nmix: [sample, more]", b->text, 1, &warnings, &error);
        if (*b->cause)
            expect_message(b->text, ok, &error, b->place, b->cause);
        else
            expect(ok && strstr(warnings, "data.third"), "an unused set: %s%s", error.text, warnings);
        if (ok) config_free(&c);
        free(warnings);
    }
    bool ok = config_load(&c, write_config("bad.yaml", "base: good.yaml\n"), twice, 2, 1, &warnings, &error);
    expect_message("steps=5 steps=6", ok, &error, "steps=5 has no effect", "sets it to 6");
    free(warnings);
}

/* -- config.json: one field of a good one replaced ------------------------------------------- */

static const struct {
    const char *field, *value, *cause;
} bad_json[] = {
    {"model_type", "\"deepseek_v3\"", "only deepseek_v2 can be read"},
    {"model_type", NULL, "has no model_type"},
    {"hidden_size", NULL, "has no hidden_size"},
    {"kv_lora_rank", NULL, "has no kv_lora_rank"},
    {"kv_lora_rank", "8192", "more than attention over the cache has room for"},
    {"hidden_size", "null", "hidden_size is null"},
    {"hidden_size", "64.0", "hidden_size is 64.0; it must be a whole number"},
    {"hidden_size", "\"64\"", "hidden_size is \"64\""},
    {"hidden_size", "0", "from 1 to 65536"},
    {"hidden_size", "-64", "from 1 to 65536"},
    {"hidden_size", "[64]", "hidden_size must be a single value"},
    {"hidden_size", "9223372036854775807", "from 1 to 65536"},
    {"vocab_size", "1000000000", "from 0 to 4000000"},
    {"n_routed_experts", "100000", "from 0 to 65536"},
    {"num_hidden_layers", "1e3", "whole number"},
    {"num_key_value_heads", "2", "no shared heads"},
    {"qk_rope_head_dim", "7", "odd"},
    {"hidden_act", "\"gelu\"", "must be silu"},
    {"scoring_func", "\"sigmoid\"", "must be softmax"},
    {"topk_method", "\"noaux_tc\"", "one of greedy|group_limited_greedy"},
    {"tie_word_embeddings", "true", "its own head"},
    {"attention_bias", "true", "no biases"},
    {"mlp_bias", "true", "no biases"},
    {"attention_dropout", "0.1", "no dropout"},
    {"quantization_config", "{\"quant_method\": \"awq\"}", "quantised"},
    {"n_group", "3", "does not divide"},
    {"topk_group", "9", "more than n_group"},
    {"num_experts_per_tok", "20", "more than n_routed_experts"},
    {"eos_token_id", "320", "not below vocab_size"},
    {"rope_scaling", "5", "an object or null"},
    {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2}", "\"linear\" is not supported"},
    {"rope_scaling", "{\"type\": \"yarn\"}", "without a factor"},
    {"rope_scaling", "{\"factor\": 4}", "no type"},
    {"rope_scaling", "{\"type\": 4, \"factor\": 4}", "type must be text"},
    {"rope_scaling", "{\"type\": \"yarn\", \"rope_type\": \"default\", \"factor\": 4}", "keep the right one"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": \"4\"}", "without a factor"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"attention_factor\": 1.2}",
     "attention_factor is not supported"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"truncate\": false}", "truncate false"},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"beta_fast\": []}", "single value"},
    {"rope_parameters", "{\"rope_type\": \"llama3\", \"factor\": 2}", "\"llama3\" is not supported"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 5000}", "keep one"},
    {"rope_theta", "\"big\"", "rope_theta is \"big\""},
    {"rms_norm_eps", "2", "from 0 to 1"},
    {"q_lora_rank", "-1", "from 0 to 65536"},
};

static void refuse_json(const char *what, const char *path, const char *cause) {
    static Config c;
    Error error = {0};
    char *warnings = NULL;
    bool ok = config_from_hf(&c, path, NULL, 0, 1, &warnings, &error);
    expect_message(what, ok, &error, "config.json", cause);
    if (ok) config_free(&c);
    free(warnings);
}

void bad_json_is_refused(void) {
    for (size_t i = 0; i < sizeof bad_json / sizeof *bad_json; i++)
        refuse_json(bad_json[i].field, write_json(bad_json[i].field, bad_json[i].value), bad_json[i].cause);
    char *deep = repeated("{\"a\": ", "[", 100000, ""), *big = repeated("{", " ", 1 << 20, "}");
    refuse_json("deep", write_config("config.json", deep), "not valid JSON");
    refuse_json("big", write_config("config.json", big), "larger than 1024 KiB");
    refuse_json("empty", write_config("config.json", ""), "config.json:1: not valid JSON");
    refuse_json("cut", write_config("config.json", "{\n\"hidden_size\": 6"), "config.json:2: not valid JSON");
    refuse_json("list", write_config("config.json", "[1]"), "must be a JSON object");
    refuse_json("twice", write_config("config.json", "{\"a\": 1, \"a\": 2}"), "duplicate");
    refuse_json("UTF-8", write_config("config.json", "{\"a\": \"\xff\"}"), "not valid JSON");
    free(deep), free(big);
}

/* A character cut short by the end of the text does not take the end along. */
void cut_characters_end(void) {
    static const char cut[][10] = {"x\xc2\0after", "x\xe2\0after", "x\xe2\x80\0a", "x\xef\xbb\0a"};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        char *quoted = text_quoted(cut[i]), wanted[64];
        snprintf(wanted, sizeof wanted, "\"%s\"", cut[i]);
        expect(!strcmp(quoted, wanted), "%zu: %s", i, quoted);
        free(quoted);
    }
}

/* -- any bytes at all ------------------------------------------------------------------------ */

static void load_damaged(const char *text, int64_t length, uint64_t trial, bool json) {
    static Config c;
    char *copy = must_strdup(text), *warnings = NULL;
    Error error = {0};
    for (uint64_t k = 0; k < 1 + trial % 3; k++) {
        uint64_t bits = random_bits(7, trial, k);
        copy[bits % (uint64_t)length] = (char)(bits >> 40 | 1);
    }
    if (trial % 4 == 0) copy[random_bits(8, trial, 0) % (uint64_t)length] = 0;
    const char *path = write_config(json ? "config.json" : "damaged.yaml", copy);
    bool ok = json ? config_from_hf(&c, path, NULL, 0, 1, &warnings, &error)
                   : config_load(&c, path, NULL, 0, 1, &warnings, &error);
    expect(ok || strlen(error.text) > 10, "refused without a message: %s", copy);
    if (ok) config_free(&c);
    free(warnings);
    free(copy);
}

void damaged_files_never_crash(void) {
    static const char yaml[] =
        "init: random\noutput_dir: \"x\"\nmodel: {hidden_size: 64, n_routed_experts: 8,\n "
        "num_experts_per_tok: 2, moe_intermediate_size: 32}\nsteps: 5\ndata:\n  a: {path: t/*.txt}"
        "\nmix: {a: 1.0}\nlr_step_at: [0.6, 0.9]\ntokens: null\n";
    for (uint64_t trial = 0; trial < 1000; trial++) {
        load_damaged(yaml, sizeof yaml - 1, trial, false);
        load_damaged(good_json, (int64_t)strlen(good_json), trial, true);
    }
}
