/* test_configs.c - layers, origins, overrides, dump and reading it back, config.json, help, and what
 * follows from a configuration. Broken input is in test_configs_bad.c. */
#include "tests/test_configs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void make_folder(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    check(!mkdir(path, 0777), "cannot make %s", path);
}

/* Loads or counts a failure. */
static bool load(Config *c, const char *file, const char *const *overrides, int n, int ranks) {
    Error error = {0};
    char *warnings = NULL;
    bool ok = config_load(c, file, overrides, n, ranks, &warnings, &error);
    expect(ok, "%s: %s", file, error.text);
    free(warnings);
    return ok;
}

static bool load_json(Config *c, const char *path, char **warnings) {
    Error error = {0};
    bool ok = config_from_hf(c, path, NULL, 0, 1, warnings, &error);
    expect(ok, "%s: %s", path, error.text);
    return ok;
}

static void expect_origin(const Config *c, const char *path, const char *origin) {
    expect(!strcmp(config_origin(c, path), origin), "%s comes from %s, not %s", path, config_origin(c, path), origin);
}

/* -- layers ---------------------------------------------------------------------------------- */

static void layers_merge_and_remember(void) {
    static Config c;
    make_folder("sub");
    write_good();
    write_config("sub/near.txt", "text");
    write_config("sub/mid.yaml",
                 "base: ../good.yaml\nsteps: 50\nlr_scheduler_type: step\nlr_step_at: [0.1, 0.2, 0.3]\n"
                 "data: {near: {path: near.txt}, far: {path: far.txt}}\n"
                 "model: {v_head_dim: 20, topk_group: null}\n");
    const char *overrides[] = {"learning_rate=2e-3",  "lr_step_at=[0.5]", "v_head_dim=24",
                               "sample_prompt=a: {b", "sample_steps=7",   "data.sample.path=other/*.txt"};
    if (!load(&c,
              write_config("top.yaml", "\xef\xbb\xbf"
                                       "base: sub/mid.yaml\nseed: 9\nsteps: 60\n"),
              overrides, 6, 1))
        return;
    expect(c.steps == 60 && c.seed == 9 && c.hidden_size == 64, "steps %lld", (long long)c.steps);
    expect(c.lr_step_at.count == 1 && c.lr_step_at.value[0] == 0.5, "lists replace: %d", c.lr_step_at.count);
    expect(c.topk_group == 1, "null removes: topk_group %lld", (long long)c.topk_group);
    expect(c.v_head_dim == 24 && !strcmp(c.sample_prompt, "a: {b"), "%lld %s", (long long)c.v_head_dim,
           c.sample_prompt);
    expect(c.n_data == 3 && !strcmp(c.data[0].path, "other/*.txt"), "%s", c.data[0].path);
    expect(strstr(c.data[1].path, "/sub/near.txt") != NULL, "found beside its base: %s", c.data[1].path);
    expect(!strcmp(c.data[2].path, "far.txt"), "left as it is: %s", c.data[2].path);
    expect_origin(&c, "steps", "top.yaml:3");
    expect_origin(&c, "lr_scheduler_type", "mid.yaml:3");
    expect_origin(&c, "model.n_group", "good.yaml:8");
    expect_origin(&c, "model.topk_group", "default");
    expect_origin(&c, "learning_rate", "cli");
    expect(strstr(config_changed(&c), "learning_rate 0.001 -> 0.002 (cli)\n") != NULL, "%s", config_changed(&c));
    expect(strstr(config_changed(&c), "model.v_head_dim 20 -> 24 (cli)\n") != NULL, "%s", config_changed(&c));
    config_free(&c);
}

static const struct {
    const char *override, *path, *value;
} spellings[] = {
    {"steps=7", "steps", "steps: 7"},
    {"ep=2", "layout.ep", "ep: 2"},
    {"layout.ep=2", "layout.ep", "ep: 2"},
    {"layout={ep: 2}", "layout.ep", "ep: 2"},
    {"model={rope_scaling: {type: yarn, factor: 4}}", "model.rope_scaling.factor", "factor: 4"},
    {"balance_groups=2", "balance.balance_groups", "balance_groups: 2"},
    {"lr_scheduler_type=cosine", "lr_scheduler_type", "lr_scheduler_type: cosine"},
    {"mix={sample: 1}", "mix", "mix: {\"sample\": 1}"},
    {"seq_aux=false", "model.seq_aux", "seq_aux: false"},
    {"output_dir=a b \"c\"\\", "output_dir", "output_dir: \"a b \\\"c\\\"\\\\\""},
    {"output_dir=tab\tend\xc2\x85.", "output_dir", "output_dir: \"tab\\u0009end\\u0085.\""},
    {"eval_tokens=null", NULL, NULL},
    {"mix=[\"sample\"]", "mix", "mix: [\"sample\"]"},
    {"learning_rate=+1.50e-3", "learning_rate", "learning_rate: 0.0015"},
};

static void overrides_are_found(void) {
    static Config c;
    write_good();
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        Error error = {0};
        char *warnings = NULL;
        bool ok = load_extra(&c, "layout: {}", spellings[i].override, 2, &warnings, &error);
        free(warnings);
        expect(ok == (spellings[i].path != NULL), "%s: %s", spellings[i].override, error.text);
        if (!ok) continue;
        expect_origin(&c, spellings[i].path, "cli");
        char *dump = config_dump(&c, false);
        expect(strstr(dump, spellings[i].value) != NULL, "%s: no '%s' in the dump", spellings[i].override,
               spellings[i].value);
        free(dump);
        config_free(&c);
    }
}

static const struct {
    const char *extra, *warning;
} warned[] = {
    {"data: {other: {path: x}}", "bad.yaml:2: data.other is not in mix; training does not use it"},
    {"data: {other: {path: x, validation: 9}}", "data.other is not in mix; only what it holds out is used"},
    {"data: {other: {path: x, format: tokens}}", "data.other is not in mix; only what it holds out is used"},
    {"model: {topk_method: greedy}", "topk_group limits nothing"},
    {"model: {first_k_dense_replace: 4}", "leave no layer with experts"},
    {"global_batch_size: 1", "makes 1 micro-batch of 1 for 2 ranks; 1 of them has no sequences"},
    {"balance: {token_dropping: true}", "set micro_batch_size=4 to train alike on any number"},
    {"model: {seq_aux: false}", "bad.yaml:2: model.seq_aux looks at a micro-batch"},
    {"micro_batch_size: 2\nbalance: {token_dropping: true}", ""},
    {"model: {seq_aux: false, aux_loss_alpha: 0}", ""},
    {"min_lr: 1e-5", "bad.yaml:2: min_lr has no effect without lr_scheduler_type linear or cosine"},
    {"lr_step_at: [0.2]", "has no effect without lr_scheduler_type step"},
    {"eval_steps: 5", "has no effect without validation"},
    {"model: {norm_topk_prob: true, routed_scaling_factor: 2}", "normalised weights are not scaled"},
    {"min_lr: 0", ""},
    {"lr_scheduler_type: cosine\nmin_lr: 1e-3", ""},
    {"data: {sample: {validation: 0.1}}\neval_steps: 5", ""},
    {"eval: {a: {path: x}}\neval_steps: 5\neval_shots: 2", ""},
};

static void warnings_are_given(void) {
    static Config c;
    write_good();
    for (size_t i = 0; i < sizeof warned / sizeof *warned; i++) {
        Error error = {0};
        char *warnings = NULL;
        bool ok = load_extra(&c, warned[i].extra, NULL, 2, &warnings, &error);
        expect(ok, "%s: %s", warned[i].extra, error.text);
        bool as_said = *warned[i].warning ? strstr(warnings, warned[i].warning) != NULL : !*warnings;
        expect(as_said, "%s: warned '%s'", warned[i].extra, warnings);
        if (ok) config_free(&c);
        free(warnings);
    }
}

/* -- derived values -------------------------------------------------------------------------- */

static void values_are_derived(void) {
    static Config c;
    write_good();
    const char *overrides[] = {"global_batch_size=24", "hidden_size=100"};
    if (!load(&c, write_config("a.yaml", "base: good.yaml\n"), overrides, 2, 4)) return;
    expect(c.micro_batch_size == 6, "micro_batch_size %lld", (long long)c.micro_batch_size);
    expect(c.intermediate_size == 288, "intermediate_size %lld", (long long)c.intermediate_size);
    expect(c.num_key_value_heads == 4 && c.balance_groups == 4, "%lld", (long long)c.balance_groups);
    expect(c.vocab_size == 258 && c.max_position_embeddings == 32, "%lld", (long long)c.vocab_size);
    config_free(&c);
    if (!load(&c, write_config("a.yaml", "base: good.yaml\nlayout: {ep: 4}\n"), NULL, 0, 0)) return;
    expect(c.micro_batch_size == 2, "0 ranks are as many as ep: %lld", (long long)c.micro_batch_size);
    config_free(&c);
}

/* -- dump ------------------------------------------------------------------------------------ */

static void expect_round_trip(const Config *c, const char *name, int ranks) {
    static Config parsed, loaded;
    Error error = {0};
    char *dump = config_dump(c, true), *plain = config_dump(c, false);
    bool ok = config_parse_dump(&parsed, dump, &error);
    expect(ok, "%s: %s", name, error.text);
    if (ok) {
        char *again = config_dump(&parsed, false), *changes = NULL;
        expect(!strcmp(plain, again), "%s: parsed dump differs:\n%s\n%s", name, plain, again);
        expect(config_hash(c) == config_hash(&parsed), "%s: hash differs", name);
        expect(config_resume_check(c, NULL, &parsed, &changes, &error) && !*changes, "%s: %s%s", name, error.text,
               changes);
        free(again);
        free(changes);
        config_free(&parsed);
    }
    if (load(&loaded, write_config("dump.yaml", dump), NULL, 0, ranks)) {
        char *again = config_dump(&loaded, false);
        expect(!strcmp(plain, again), "%s: loaded dump differs", name);
        free(again);
        config_free(&loaded);
    }
    free(dump);
    free(plain);
}

static void dumps_read_back(void) {
    static const struct {
        const char *file;
        int ranks;
    } shipped[] = {{"configs/tiny.yaml", 2},
                   {"configs/bench-mini.yaml", 1},
                   {"configs/bench-lite-layer.yaml", 1},
                   {"configs/v2-lite.yaml", 8},
                   {"configs/v2.yaml", 128}};
    static Config c;
    for (size_t i = 0; i < sizeof shipped / sizeof *shipped; i++) {
        if (!load(&c, shipped[i].file, NULL, 0, shipped[i].ranks)) continue;
        expect_round_trip(&c, shipped[i].file, shipped[i].ranks);
        config_free(&c);
    }
    write_good();
    const char *odd[] = {"output_dir=\"\\\n\t#: é {", "learning_rate=0.1234567890123456789", "mix={sample: 1}",
                         "data.sample.validation=1000000",
                         "model.rope_scaling={type: yarn, factor: 40, mscale: 0.707, mscale_all_dim: 0.707}"};
    if (!load(&c, write_config("a.yaml", "base: good.yaml\nsteps: null\ntokens: 8.1T\n"), odd, 5, 1)) return;
    expect(c.tokens == 8100000000000, "8.1T is %lld", (long long)c.tokens);
    expect_round_trip(&c, "odd values", 1);
    char *dump = config_dump(&c, false);
    expect(strstr(dump, "validation: 1000000\n") != NULL, "%s", dump);
    free(dump);
    config_free(&c);
}

/* -- resume ---------------------------------------------------------------------------------- */

static const struct {
    const char *override, *fixed, *changes;
} resumed[] = {
    {"learning_rate=5e-4", NULL, "learning_rate 0.001 -> 0.0005\n"},
    {"save_steps=10", NULL, ""},
    {"eval.a.path=x", NULL, ""}, /* evaluations may come and go */
    {"steps=200", NULL, "steps 100 -> 200\n"},
    {"hidden_size=32", "model.hidden_size was 64", NULL},
    {"seed=2", "seed was 1", NULL},
    {"data.sample.path=y", "data.sample.path was \"text/*.txt\"", NULL},
    {"mix={sample: 1}", "mix was [\"sample\"]", NULL},
};

static void resume_is_checked(void) {
    static Config old, now;
    write_good();
    if (!load(&old, write_config("old.yaml", "base: good.yaml\n"), NULL, 0, 1)) return;
    for (size_t i = 0; i < sizeof resumed / sizeof *resumed; i++) {
        Error error = {0};
        char *warnings = NULL, *changes = NULL;
        if (!load_extra(&now, "", resumed[i].override, 1, &warnings, &error)) expect(false, "%s", error.text);
        bool ok = config_resume_check(&old, NULL, &now, &changes, &error), fixed = resumed[i].fixed != NULL;
        expect(ok == !fixed, "%s: %s", resumed[i].override, error.text);
        if (fixed)
            expect(strstr(error.text, resumed[i].fixed) != NULL, "%s: %s", resumed[i].override, error.text);
        else
            expect(!strcmp(changes, resumed[i].changes), "%s: %s", resumed[i].override, changes);
        expect(fixed == (config_hash(&old) != config_hash(&now)), "%s: hash", resumed[i].override);
        config_free(&now);
        free(changes);
        free(warnings);
    }
    config_free(&old);
}

/* -- config.json ----------------------------------------------------------------------------- */

static void json_defaults_are_the_published_ones(void) {
    static Config c;
    char *warnings = NULL;
    if (!load_json(&c, write_json("q_lora_rank", NULL), &warnings)) return;
    expect(c.q_lora_rank == 1536, "absent q_lora_rank: %lld", (long long)c.q_lora_rank);
    expect(c.seq_aux && c.aux_loss_alpha == 0.001 && !c.norm_topk_prob && c.moe_layer_freq == 1, "class defaults");
    expect(c.initializer_range == 0.02 && c.sequence_length == 512, "%g", c.initializer_range);
    expect(!*warnings, "warned: %s", warnings);
    expect_origin(&c, "model.q_lora_rank", "config.json");
    config_free(&c);
    free(warnings);
    static const struct {
        const char *field, *value;
        size_t offset;
        int64_t expected;
    } cases[] = {
        {"q_lora_rank", "null", offsetof(Config, q_lora_rank), 0},
        {"n_shared_experts", NULL, offsetof(Config, n_shared_experts), 0},
        {"n_shared_experts", "null", offsetof(Config, n_shared_experts), 0},
        {"first_k_dense_replace", NULL, offsetof(Config, first_k_dense_replace), 0},
        {"moe_layer_freq", "2", offsetof(Config, moe_layer_freq), 2},
        {"n_routed_experts", "null", offsetof(Config, n_routed_experts), 0},
        {"n_routed_experts", NULL, offsetof(Config, n_routed_experts), 0},
        {"bos_token_id", "null", offsetof(Config, bos_token_id), -1},
        {"num_key_value_heads", NULL, offsetof(Config, num_key_value_heads), 4},
        {"max_position_embeddings", NULL, offsetof(Config, max_position_embeddings), 2048},
        {"max_position_embeddings", "48", offsetof(Config, sequence_length), 48},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (load_json(&c, write_json(cases[i].field, cases[i].value), &warnings)) {
            int64_t value = *(const int64_t *)((const char *)&c + cases[i].offset);
            expect(value == cases[i].expected, "%s %s: %lld", cases[i].field, cases[i].value, (long long)value);
            config_free(&c);
        }
        free(warnings);
    }
}

static const struct {
    const char *field, *value, *type;
    double factor, theta, mscale, all_dim;
} ropes[] = {
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 40, \"mscale\": 0.707, \"mscale_all_dim\": 0.5}", "yarn", 40,
     10000, 0.707, 0.5},
    {"rope_scaling", "{\"rope_type\": \"yarn\", \"type\": \"yarn\", \"factor\": 4}", "yarn", 4, 10000, 1, 0},
    {"rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"mscale\": null, \"truncate\": true}", "yarn", 4, 10000, 1,
     0},
    {"rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 8.5, \"rope_theta\": 10000.0}", "yarn", 8.5, 10000, 1,
     0},
    {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 10000}", "none", 1, 10000, 1, 0},
    {"rope_scaling", "{}", "none", 1, 10000, 1, 0},
    {"rope_scaling", NULL, "none", 1, 10000, 1, 0},
    {"rope_theta", "5e5", "none", 1, 500000, 1, 0},
    {"rope_theta", NULL, "none", 1, 10000, 1, 0},
};

static void both_ropes_are_read(void) {
    static Config c;
    for (size_t i = 0; i < sizeof ropes / sizeof *ropes; i++) {
        char *warnings = NULL;
        if (load_json(&c, write_json(ropes[i].field, ropes[i].value), &warnings)) {
            bool same = !strcmp(c.rope_type, ropes[i].type) && c.rope_factor == ropes[i].factor &&
                        c.rope_theta == ropes[i].theta && c.rope_mscale == ropes[i].mscale &&
                        c.rope_mscale_all_dim == ropes[i].all_dim && !*warnings;
            expect(same, "%s: %s factor %g theta %g mscale %g %g %s", ropes[i].value, c.rope_type, c.rope_factor,
                   c.rope_theta, c.rope_mscale, c.rope_mscale_all_dim, warnings);
            config_free(&c);
        }
        free(warnings);
    }
}

static void json_is_the_weakest_layer(void) {
    static Config c;
    char *warnings = NULL;
    if (load_json(&c, write_json("topk_method", "\"gready\""), &warnings)) {
        expect(!strcmp(c.topk_method, "greedy"), "%s", c.topk_method);
        config_free(&c);
    }
    free(warnings);
    if (load_json(&c, write_json("new_thing", "3"), &warnings)) {
        expect(strstr(warnings, "new_thing is unknown and ignored") != NULL, "%s", warnings);
        config_free(&c);
    }
    free(warnings);
    write_json("rope_scaling", "{\"type\": \"yarn\", \"factor\": 40, \"mscale\": 0.707, \"mscale_all_dim\": 0.707}");
    if (!load(&c,
              write_config("ft.yaml", "init_from: .\noutput_dir: o\nsynthetic_data: true\nsteps: 3\nmodel:\n"
                                      "  rope_scaling: {factor: 8}\n  q_lora_rank: null\n  aux_loss_alpha: 0\n"),
              NULL, 0, 1))
        return;
    expect(c.rope_factor == 8 && c.rope_mscale == 0.707, "the others of rope_scaling stay: %g", c.rope_mscale);
    expect(c.q_lora_rank == 0 && c.hidden_size == 64 && c.ep == 1, "%lld", (long long)c.q_lora_rank);
    expect_origin(&c, "model.rope_scaling.mscale", "config.json");
    expect_origin(&c, "model.rope_scaling.factor", "ft.yaml:6");
    char *dump = config_dump(&c, true);
    make_folder("run");
    make_folder("run/checkpoints");
    make_folder("run/checkpoints/step-5");
    write_config("run/config.yaml", dump);
    config_free(&c);
    free(dump);
    static const char *const sources[] = {"run", "run/checkpoints/step-5"};
    for (int i = 0; i < 2; i++) {
        const char *file = write_config("on.yaml", "init_from: .\noutput_dir: o\nsynthetic_data: true\nsteps: 3\n");
        char *override = must_format("init_from=%s/%s", test_folder(), sources[i]);
        const char *overrides[] = {override};
        if (load(&c, file, overrides, 1, 1)) {
            expect(c.rope_factor == 8 && c.hidden_size == 64, "a run brings its model: %g", c.rope_factor);
            config_free(&c);
        }
        free(override);
    }
}

/* -- help ------------------------------------------------------------------------------------ */

static void help_comes_from_the_table(void) {
    static const struct {
        const char *word, *says;
    } cases[] = {
        {"learning_rate", "highest learning rate"}, {"lr", "learning_rate\n"}, {"model.n_group", "cannot change"},
        {"factor", "model.rope_scaling.factor"},    {"ep", "from 1 to 65536"}, {"path", "data.NAME.path"},
        {"optimizer", "one of adamw|none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = config_help_key(cases[i].word);
        expect(text && strstr(text, cases[i].says), "help %s: %s", cases[i].word, text ? text : "nothing");
        free(text);
    }
    expect(!config_help_key("no_such_key"), "help for a key that does not exist");
    char *table = config_reference();
    expect(strstr(table, "| `model.kv_lora_rank` | a whole number from 1 to 65536 | 64 | fixed |") != NULL, "%.400s",
           table);
    expect(strstr(table, "one of fp32\\|bf16") != NULL, "bars are escaped");
    free(table);
}

/* -- facts ----------------------------------------------------------------------------------- */

static void parameters_are_the_published_ones(void) {
    static const struct {
        const char *file;
        int64_t total, activated;
    } cases[] = {{"configs/v2-lite.yaml", 15706484224, 2661150208}, {"configs/v2.yaml", 235741434880, 21375800320}};
    static Config c;
    for (int i = 0; i < 2; i++) {
        if (!load(&c, cases[i].file, NULL, 0, 0)) continue;
        expect(config_parameters(&c) == cases[i].total, "%lld", (long long)config_parameters(&c));
        expect(config_parameters_activated(&c) == cases[i].activated, "%lld",
               (long long)config_parameters_activated(&c));
        config_free(&c);
    }
    c = (Config){.num_hidden_layers = 7, .n_routed_experts = 4, .first_k_dense_replace = 1, .moe_layer_freq = 2};
    expect(config_moe_layers(&c) == 3 && !config_layer_is_moe(&c, 0) && config_layer_is_moe(&c, 6),
           "every second layer");
    c.n_routed_experts = 0;
    expect(config_moe_layers(&c) == 0, "a dense model");
}

static void batches_and_steps_follow_the_ramp(void) {
    Config c = {.sequence_length = 4096,
                .global_batch_size = 9216,
                .batch_ramp_start = 2304,
                .batch_ramp_tokens = 225000000000,
                .tokens = 8100000000000};
    expect(config_batch_at(&c, 0) == 2304 && config_batch_at(&c, 225000000000) == 9216, "ends of the ramp");
    expect(config_batch_at(&c, 112500000000) == 5760, "%lld", (long long)config_batch_at(&c, 112500000000));
    int64_t tokens = 0, steps = 0;
    for (; tokens < c.tokens; steps++) {
        if (steps % 997 == 0) expect(config_tokens(&c, steps) == tokens, "tokens of %lld steps", (long long)steps);
        tokens += config_batch_at(&c, tokens) * c.sequence_length;
    }
    expect(config_steps(&c, 0) == steps, "%lld steps, counted %lld", (long long)config_steps(&c, 0),
           (long long)steps);
    c.tokens = 900000000000000000; /* both are known at once, however long it takes */
    c.batch_ramp_tokens = 100000000000000000;
    expect(config_tokens(&c, config_steps(&c, 0)) >= c.tokens, "%lld",
           (long long)config_tokens(&c, config_steps(&c, 0)));
    static const struct {
        int64_t steps, tokens;
        double epochs;
        int64_t ramp, expected;
    } cases[] = {{17, 0, 0, 0, 17}, {0, 1, 0, 0, 1},    {0, 64, 0, 0, 1}, {0, 65, 0, 0, 2},
                 {0, 0, 1, 0, 25},  {0, 0, 2.5, 0, 63}, {0, 0, 1, 2, 26}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config small = {.sequence_length = 16,
                        .global_batch_size = 4,
                        .steps = cases[i].steps,
                        .tokens = cases[i].tokens,
                        .epochs = cases[i].epochs,
                        .batch_ramp_start = cases[i].ramp,
                        .batch_ramp_tokens = cases[i].ramp ? 64 : 0};
        expect(config_steps(&small, 100) == cases[i].expected, "case %zu: %lld", i,
               (long long)config_steps(&small, 100));
        for (int64_t n = 0, done = 0; n < 20; done += config_batch_at(&small, done) * 16, n++)
            expect(config_tokens(&small, n) == done, "case %zu: %lld tokens of %lld steps", i,
                   (long long)config_tokens(&small, n), (long long)n);
    }
}

const TestCase configs_tests[] = {
    {"layers merge key by key and remember where from", layers_merge_and_remember},
    {"overrides are found by path, by name and by section", overrides_are_found},
    {"what the command line changes is told", words_change_values},
    {"a mixture comes from where it was changed last", mixtures_remember_words},
    {"warnings name file and line", warnings_are_given},
    {"values that say 0 are derived", values_are_derived},
    {"every dump reads back to the same config", dumps_read_back},
    {"resume classes", resume_is_checked},
    {"resume: paths are what they name", paths_are_compared},
    {"config.json: defaults of the published class", json_defaults_are_the_published_ones},
    {"config.json: rope_scaling and rope_parameters", both_ropes_are_read},
    {"config.json is the weakest layer", json_is_the_weakest_layer},
    {"help and reference", help_comes_from_the_table},
    {"published parameter counts", parameters_are_the_published_ones},
    {"batch ramp and number of steps", batches_and_steps_follow_the_ramp},
    {"broken YAML is refused", bad_yaml_is_refused},
    {"broken keys and rules are refused", bad_keys_are_refused},
    {"broken overrides are refused", bad_overrides_are_refused},
    {"broken config.json is refused", bad_json_is_refused},
    {"a character cut short ends with the text", cut_characters_end},
    {"damaged files never crash", damaged_files_never_crash},
    {0}};
