/* test_import.c - the parts of import and export: half precision, folders that appear whole, config.json as text, the
 * published table, small files that travel with checkpoints. Whole commands are in tests/import.py. */
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "configs/config.h"
#include "data/staged.h"
#include "data/tokenizer.h"
#include "data/tokenizer_bytes.h"
#include "kernels/tensor.h"
#include "train/companions.h"

/* -- numbers -------------------------------------------------------------------------------------- */

static void half_precision(void) {
    static const struct {
        uint16_t half;
        float value;
    } cases[] = {{0x0000, 0.0f},     {0x3c00, 1.0f},     {0xc000, -2.0f},       {0x7bff, 65504.0f},
                 {0x0400, 0x1p-14f}, {0x0001, 0x1p-24f}, {0x83ff, -0x3ffp-24f}, {0x3555, 0x1.554p-2f},
                 {0x7c00, INFINITY}, {0xfc00, -INFINITY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float wide;
        floats_convert(&wide, F32, &cases[i].half, F16, 1);
        expect(wide == cases[i].value, "%04x is %g, not %g", cases[i].half, (double)cases[i].value, (double)wide);
    }
    expect(isnan(half_to_float(0x7e00)) && isnan(half_to_float(0xfc01)), "NaN");
    expect(signbit(half_to_float(0x8000)), "-0");
    uint16_t narrow[2], half[2] = {0x3c01, 0x3c03}; /* 1 + 2^-10 and 1 + 3 * 2^-10: to even in bf16's 7 bits */
    floats_convert(narrow, BF16, half, F16, 2);
    expect(narrow[0] == 0x3f80 && narrow[1] == 0x3f80, "%04x %04x", narrow[0], narrow[1]);
}

static void nonfinite_numbers(void) {
    enum { MANY = 5000 };
    static const struct {
        Dtype dtype;
        uint32_t good, bad[2];
    } kinds[] = {{F32, 0x7f7fffff, {0x7f800000, 0xffc00001}},
                 {BF16, 0xff7f, {0x7f80, 0xffc1}},
                 {F16, 0xfbff, {0xfc00, 0x7c01}}};
    static const int64_t places[] = {0, 1023, 1024, 3001, MANY - 1};
    for (size_t k = 0; k < 3; k++) {
        uint32_t wide[MANY];
        uint16_t *narrow = (uint16_t *)(void *)wide;
        bool four = kinds[k].dtype == F32;
        for (int i = 0; i < MANY; i++) four ? (wide[i] = kinds[k].good) : (narrow[i] = (uint16_t)kinds[k].good);
        expect(floats_nonfinite(wide, kinds[k].dtype, MANY) == -1, "%s: all are finite", dtype_name(kinds[k].dtype));
        for (int p = 4; p >= 0; p--) {
            uint32_t bad = kinds[k].bad[p % 2];
            four ? (wide[places[p]] = bad) : (narrow[places[p]] = (uint16_t)bad);
            int64_t at = floats_nonfinite(wide, kinds[k].dtype, MANY);
            expect(at == places[p], "%s: %lld, not %lld", dtype_name(kinds[k].dtype), (long long)at,
                   (long long)places[p]);
        }
    }
}

/* -- folders that appear whole ---------------------------------------------------------------------- */

static const char *inside(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

static void staged_folders(void) {
    Staged s, second;
    Error error = {0};
    expect(staged_open(&s, inside("deep/er/new/"), &error), "%s", error.text);
    expect(!disk_exists(inside("deep/er/new")) && disk_exists(inside("deep/er/.tmp-new")), "only the temporary name");
    expect(!staged_open(&second, inside("deep/er/new"), &error) && strstr(error.text, "another process"), "%s",
           error.text);
    expect(staged_close(&s, true, &error) && disk_exists(inside("deep/er/new")), "%s", error.text);
    expect(!staged_open(&s, inside("deep/er/new"), &error) && strstr(error.text, "is there already"), "%s",
           error.text);
    expect(staged_open(&s, inside("other"), &error) && disk_write_file(inside(".tmp-other/a"), "x", 1, &error), "%s",
           error.text);
    expect(!staged_close(&s, false, &error) && !disk_exists(inside("other")) && !disk_exists(inside(".tmp-other")),
           "a failed one is gone");
    mkdir(inside(".tmp-left"), 0755); /* of an attempt that was killed */
    expect(disk_write_file(inside(".tmp-left/half"), "x", 1, &error) && staged_open(&s, inside("left"), &error), "%s",
           error.text);
    expect(!disk_exists(inside(".tmp-left/half")), "what was left is gone");
    mkdir(inside("left"), 0755); /* somebody was faster */
    expect(!staged_close(&s, true, &error) && !disk_exists(inside(".tmp-left")), "takes nobody's place: %s",
           error.text);
    static const char *const no_names[] = {".", "..", "/", "a/..", ""};
    for (size_t i = 0; i < sizeof no_names / sizeof *no_names; i++)
        expect(!staged_open(&s, no_names[i], &error), "'%s' was taken as a name", no_names[i]);
}

/* -- config.json ------------------------------------------------------------------------------------ */

#define SHAPE                                                                                                        \
    "\"model_type\": \"deepseek_v2\", \"vocab_size\": 300, \"hidden_size\": 16, \"intermediate_size\": 24,\n"        \
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"kv_lora_rank\": 8, \"qk_nope_head_dim\": 8,\n"          \
    "\"qk_rope_head_dim\": 4, \"v_head_dim\": 8, \"q_lora_rank\" :null, \"note\": {\"a\": [1.50, \"}\"]}"

static char *written(const char *source, const char *const *override, int n, const char *dtype) {
    Config c;
    Error error = {0};
    char *warnings;
    check(disk_write_file(inside("config.json"), source, (int64_t)strlen(source), &error), "%s", error.text);
    bool ok = config_from_hf(&c, inside("config.json"), override, n, 1, &warnings, &error);
    check(ok, "%s", error.text);
    char *text = config_to_hf(&c, source, dtype, &error);
    expect(text, "%s", error.text);
    free(warnings);
    config_free(&c);
    return text;
}

static void config_as_text(void) {
    static const struct {
        const char *source, *override[2], *dtype, *wanted;
    } cases[] = {
        {"{" SHAPE "}", {NULL}, NULL, "{" SHAPE "}"},
        {"{" SHAPE "}\n\n", {NULL}, "bfloat16", "{" SHAPE ",\n  \"torch_dtype\": \"bfloat16\"\n}\n\n"},
        {"{\"dtype\" : \"float32\" , " SHAPE "}", {NULL}, "bfloat16", "{\"dtype\" : \"bfloat16\" , " SHAPE "}"},
        {"{\"torch_dtype\":\"x\"," SHAPE ",\"dtype\":null}",
         {NULL},
         "float32",
         "{\"torch_dtype\":\"float32\"," SHAPE ",\"dtype\":\"float32\"}"},
        {"{" SHAPE ", \"rms_norm_eps\": 1E-06}", {"rms_norm_eps=1e-5"}, NULL, "{" SHAPE ", \"rms_norm_eps\": 1e-05}"},
        {"{" SHAPE ", \"rope_theta\": 10000}",
         {"rope_theta=500", "seq_aux=false"},
         NULL,
         "{" SHAPE ", \"rope_theta\": 500.0,\n  \"seq_aux\": false\n}"},
        {"{\"rope_scaling\":null, " SHAPE "}",
         {"rope_scaling.type=yarn", "rope_scaling.factor=4"},
         NULL,
         "{\"rope_scaling\":{\n    \"type\": \"yarn\",\n    \"factor\": 4.0,\n    "
         "\"original_max_position_embeddings\": 4096,\n    \"beta_fast\": 32.0,\n    \"beta_slow\": 1.0,\n    "
         "\"mscale\": 1.0,\n    \"mscale_all_dim\": 0.0\n  }, " SHAPE "}"},
        {"{\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1e4}, " SHAPE "}",
         {"rope_theta=9"},
         NULL,
         "{\"rope_parameters\":{\n    \"rope_type\": \"default\",\n    \"rope_theta\": 9.0\n  }, " SHAPE "}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = !cases[i].override[0] ? 0 : !cases[i].override[1] ? 1 : 2;
        char *text = written(cases[i].source, cases[i].override, n, cases[i].dtype);
        expect(text && !strcmp(text, cases[i].wanted), "case %zu: %s", i, text);
        free(text);
    }
}

/* A key spelled with an escape would be there twice: said, not written. */
static void config_twice(void) {
    Config c;
    Error error = {0};
    const char *source = "{\"hidden_siz\\u0065\": 16, \"rms_norm_\\u0065ps\": 1e-6, " SHAPE "}";
    expect(!config_from_hf_text(&c, source, "config.json", &error) && strstr(error.text, "duplicate"), "%s",
           error.text);
    source = "{\"rms_norm_\\u0065ps\": 1e-6, " SHAPE "}";
    check(config_from_hf_text(&c, source, "config.json", &error), "%s", error.text);
    c.rms_norm_eps = 1e-5;
    char *text = config_to_hf(&c, source, NULL, &error);
    expect(!text && strstr(error.text, "duplicate"), "%s", text ? text : error.text);
    config_free(&c);
}

#define FAMILY                                                                                                       \
    "\"model_type\":\"deepseek_v2\",\"vocab_size\":102400,\"kv_lora_rank\":512,\"qk_nope_head_dim\":128,"            \
    "\"qk_rope_head_dim\":64,\"v_head_dim\":128,\"n_shared_experts\":2,\"num_experts_per_tok\":6,"                   \
    "\"first_k_dense_replace\":1,\"bos_token_id\":100000,\"eos_token_id\":100001,"
#define LONG(mscale)                                                                                                 \
    "\"max_position_embeddings\":163840,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,"                          \
    "\"original_max_position_embeddings\":4096,\"mscale\":" mscale ",\"mscale_all_dim\":" mscale "},"
#define LITE                                                                                                         \
    "\"hidden_size\":2048,\"intermediate_size\":10944,\"num_hidden_layers\":27,\"num_attention_heads\":16,"          \
    "\"q_lora_rank\":null,\"n_routed_experts\":64,\"moe_intermediate_size\":1408,\"topk_method\":\"greedy\""
#define LARGE(factor)                                                                                                 \
    "\"hidden_size\":5120,\"intermediate_size\":12288,\"num_hidden_layers\":60,\"num_attention_heads\":128,"          \
    "\"n_routed_experts\":160,\"moe_intermediate_size\":1536,\"topk_method\":\"group_limited_greedy\",\"n_group\":8," \
    "\"topk_group\":3,\"routed_scaling_factor\":" factor

static void published_table(void) {
    static const struct {
        const char *text, *name, *notes;
    } cases[] = {
        {"{" FAMILY LONG("0.707") LITE "}", "DeepSeek-V2-Lite", ""},
        {"{" FAMILY LONG("0.707") LARGE("16.0") "}", "DeepSeek-V2", ""},
        {"{" FAMILY LONG("1.0") LARGE("16") "}", "DeepSeek-V2", ""},
        {"{" FAMILY LONG("0.9") LARGE("1.0") "}", "DeepSeek-V2",
         "routed_scaling_factor is 1; DeepSeek-V2 has 16\n"
         "rope_scaling.mscale is 0.9; DeepSeek-V2 has 0.707 or 1\n"
         "rope_scaling.mscale_all_dim is 0.9; DeepSeek-V2 has 0.707 or 1\n"},
        {"{" FAMILY LONG("1") LITE "}", "DeepSeek-V2-Lite",
         "rope_scaling.mscale is 1; DeepSeek-V2-Lite has 0.707\n"
         "rope_scaling.mscale_all_dim is 1; DeepSeek-V2-Lite has 0.707\n"},
        {"{" FAMILY "\"max_position_embeddings\":4096,\"rope_scaling\":null," LITE "}", "DeepSeek-V2-Lite",
         "rope_scaling.type is none; DeepSeek-V2-Lite has yarn\n"
         "max_position_embeddings is 4096; DeepSeek-V2-Lite has 163840\n"},
        {"{" SHAPE "}", NULL, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c;
        Error error = {0};
        const char *name;
        check(config_from_hf_text(&c, cases[i].text, "config.json", &error), "%s", error.text);
        char *notes = config_published_notes(&c, &name);
        expect(!name == !cases[i].name && (!name || !strcmp(name, cases[i].name)), "case %zu: %s", i, name);
        expect(!strcmp(notes, cases[i].notes), "case %zu: %s", i, notes);
        free(notes);
        config_free(&c);
    }
}

/* -- small files ------------------------------------------------------------------------------------ */

static void companion_names(void) {
    static const char *const travel[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                         "modeling_deepseek.py", "LICENSE"};
    static const char *const stay[] = {"",
                                       "MANIFEST",
                                       "model.h5",
                                       "rank-00000.h5",
                                       "../config.json",
                                       "a/b.py",
                                       ".hidden.py",
                                       "x.py\n",
                                       "README.md",
                                       "model.safetensors",
                                       "model.safetensors.index.json",
                                       ".py"};
    for (size_t i = 0; i < sizeof travel / sizeof *travel; i++) expect(companion_kind(travel[i]), "%s", travel[i]);
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) expect(!companion_kind(stay[i]), "%s", stay[i]);
    Companions c = {0};
    companions_put(&c, "tokenizer.json", "{}", 2);
    companions_put(&c, "config.json", "a", 1);
    companions_put(&c, "tokenizer.json", "[]", 2);
    expect(c.n == 2 && !strcmp(c.list[0].name, "config.json") && !strcmp(c.list[1].bytes, "[]"), "sorted, replaced");
    companions_remove(&c, COMPANION_TOKENIZER);
    expect(c.n == 1 && !companions_find(&c, "tokenizer.json") && companions_find(&c, "config.json"), "removed");
    companions_free(&c);
}

/* The byte tokenizer as a file gives the ids and the text that it gives itself. */
static void bytes_as_a_file(void) {
    Error error = {0};
    char *json = tokenizer_bytes_json(), *config = tokenizer_bytes_config(), text[512], back[512];
    check(disk_write_file(inside("tokenizer.json"), json, (int64_t)strlen(json), &error) &&
              disk_write_file(inside("tokenizer_config.json"), config, (int64_t)strlen(config), &error),
          "%s", error.text);
    Tokenizer *file = tokenizer_open(test_folder(), &error), *bytes = tokenizer_open("bytes", &error);
    expect(file, "%s", error.text);
    if (!file) return;
    int n = 0;
    for (int c = 1; c < 0x80; c++) text[n++] = (char)c;
    for (int c = 0x80; c < 0x100; c++) text[n++] = (char)(0xc0 | c >> 6), text[n++] = (char)(0x80 | (c & 0x3f));
    int32_t *ids = must_alloc(tokenizer_room(file, n), sizeof *ids);
    int64_t count = tokenizer_encode(file, ids, text, n, SPECIALS_PLAIN);
    expect(count == n, "%lld ids of %d bytes", (long long)count, n);
    for (int i = 0; i < count && i < n; i++) expect(ids[i] == (unsigned char)text[i], "byte %d is id %d", i, ids[i]);
    expect(tokenizer_decode(file, back, ids, count) == n && !memcmp(back, text, (size_t)n), "there and back");
    expect(tokenizer_bos(file) == tokenizer_bos(bytes) && tokenizer_eos(file) == tokenizer_eos(bytes) &&
               tokenizer_size(file) == tokenizer_size(bytes),
           "bos, eos, size");
    tokenizer_close(file);
    tokenizer_close(bytes);
    free(ids);
    free(json);
    free(config);
}

const TestCase import_tests[] = {
    {"half precision", half_precision},
    {"NaN and infinity are found", nonfinite_numbers},
    {"folders that appear whole", staged_folders},
    {"config.json changed as text", config_as_text},
    {"config.json with a name twice", config_twice},
    {"the published table", published_table},
    {"files that travel", companion_names},
    {"the byte tokenizer as a file", bytes_as_a_file},
    {0},
};
