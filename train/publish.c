#include "train/publish.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/tokenizer_bytes.h"
#include "train/setup.h"

const char *publish_dtype(const char *dtype) {
    static const char *const names[][2] = {{"bf16", "bfloat16"}, {"fp32", "float32"}, {"fp16", "float16"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(dtype, names[i][0])) return names[i][1];
    check(false, "dtype %s has no name in config.json", dtype);
    return "";
}

/* A tokenizer.json under another name takes the name that readers look for. */
static bool take_renamed(Companions *c, const char *path, Error *error) {
    int64_t bytes;
    char *text = disk_read_file(path, 1 << 26, &bytes, error);
    if (text) companions_put(c, "tokenizer.json", text, bytes);
    free(text);
    return text != NULL;
}

/* The run's own tokenizer, whatever lay in the folder of the weights. A folder without tokenizer.json is read as bytes
 * for want of one: its other files stay. */
static bool take_tokenizer(Companions *c, const char *name, Error *error) {
    bool bytes = !strcmp(name, "bytes");
    if (!bytes || companions_find(c, "tokenizer.json")) companions_remove(c, COMPANION_TOKENIZER);
    if (bytes) return true;
    char parent[PATH_MAX];
    bool folder = disk_is_folder(name);
    const char *slash = strrchr(name, '/');
    disk_path(parent, "%.*s",
              folder  ? (int)strlen(name)
              : slash ? (int)(slash + 1 - name)
                      : 1,
              folder || slash ? name : ".");
    if (!companions_read(c, parent, COMPANION_TOKENIZER, error)) return false;
    return folder || !strcmp(slash ? slash + 1 : name, "tokenizer.json") || take_renamed(c, name, error);
}

static bool put_config(Companions *c, const Config *config, const char *dtype, Error *error) {
    const Companion *source = companions_find(c, "config.json");
    char *text = config_to_hf(config, source ? source->bytes : NULL, dtype ? publish_dtype(dtype) : NULL, error);
    if (!text) return false;
    companions_put(c, "config.json", text, (int64_t)strlen(text));
    free(text);
    return true;
}

static void put_generation_config(Companions *c, const Config *config) {
    char *ids = must_format("{\n  \"bos_token_id\": %lld,\n  \"eos_token_id\": %lld,\n",
                            (long long)config->bos_token_id, (long long)config->eos_token_id);
    char *text = config->temperature > 0
                     ? must_format("%s  \"do_sample\": true,\n  \"temperature\": %g,\n  \"top_p\": %g\n}\n", ids,
                                   config->temperature, config->top_p)
                     : must_format("%s  \"do_sample\": false\n}\n", ids);
    companions_put(c, "generation_config.json", text, (int64_t)strlen(text));
    free(ids);
    free(text);
}

bool publish_companions(Companions *c, const Config *config, const char *folder, const char *dtype, Error *error) {
    if (folder && !companions_read(c, folder, COMPANION_NONE, error)) return false;
    bool born_here = !companions_find(c, "config.json");
    if (!take_tokenizer(c, setup_tokenizer_place(config), error) || !put_config(c, config, dtype, error))
        return false;
    if (born_here) put_generation_config(c, config);
    return true;
}

void publish_bytes(Companions *c) {
    char *tokenizer = tokenizer_bytes_json(), *config = tokenizer_bytes_config();
    companions_put(c, "tokenizer.json", tokenizer, (int64_t)strlen(tokenizer));
    companions_put(c, "tokenizer_config.json", config, (int64_t)strlen(config));
    free(tokenizer);
    free(config);
}
