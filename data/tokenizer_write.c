#include "data/tokenizer_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/bpe.h"
#include "data/chat.h"
#include "data/disk.h"
#include "data/tokenizer.h"

static const char *const control[CONTROL_TOKENS_FIM] = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
                                                        "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"};

/* A token in the alphabet of bytes; of its characters only these two need an escape. */
static void write_token(FILE *f, const Learned *l, int32_t id) {
    for (int64_t i = id ? l->end[id - 1] : 0; i < l->end[id]; i++) {
        char utf8[2];
        int n = bpe_write_byte(utf8, (unsigned char)l->text[i]);
        fprintf(f, "%s%.*s", *utf8 == '"' || *utf8 == '\\' ? "\\" : "", n, utf8);
    }
}

/* As in the published files: bos and eos are special, the others only look so. */
static void write_controls(FILE *f, int64_t first, int controls) {
    for (int i = 0; i < controls; i++)
        fprintf(f,
                "%s\n    {\"id\": %lld, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": "
                "false, \"normalized\": %s, \"special\": %s}",
                i ? "," : "", (long long)(first + i), control[i], "false", i < CONTROL_TOKENS ? "true" : "false");
}

static void write_template(FILE *f, int64_t bos) {
    fprintf(
        f,
        "  \"post_processor\": {\"type\": \"Sequence\", \"processors\": [\n    {\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": true, \"trim_offsets\": false, \"use_regex\": true},\n    {\"type\": "
        "\"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"%s\", \"type_id\": 0}}, {\"Sequence\": "
        "{\"id\": \"A\", \"type_id\": 0}}],\n     \"pair\": [{\"SpecialToken\": {\"id\": \"%s\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"%s\", \"type_id\": 1}}, "
        "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}],\n     \"special_tokens\": {\"%s\": {\"id\": \"%s\", "
        "\"ids\": [%lld], \"tokens\": [\"%s\"]}}}]},\n",
        control[0], control[0], control[0], control[0], control[0], (long long)bos, control[0]);
}

static void write_model(FILE *f, const Learned *l) {
    fputs("  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": "
          "null, \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": "
          "false,\n    \"vocab\": {",
          f);
    for (int32_t id = 0; id < l->tokens; id++) {
        fprintf(f, "%s\n      \"", id ? "," : "");
        write_token(f, l, id);
        fprintf(f, "\": %d", id);
    }
    fputs("\n    },\n    \"merges\": [", f);
    for (int64_t i = 0; i < l->merges; i++) {
        fprintf(f, "%s\n      \"", i ? "," : "");
        write_token(f, l, l->merge[i].left);
        fputc(' ', f);
        write_token(f, l, l->merge[i].right);
        fputc('"', f);
    }
    fputs("\n    ]\n  }\n}\n", f);
}

static bool write_json(const char *folder, const Learned *l, int controls, Error *error) {
    char *text, *path = must_format("%s/tokenizer.json", folder);
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [", f);
    write_controls(f, l->tokens, controls);
    fprintf(f, "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": %s,\n", pretokenizer_deepseek_v2);
    write_template(f, l->tokens);
    fputs(
        "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": "
        "true},\n",
        f);
    write_model(f, l);
    fclose(f);
    bool ok = disk_write_file(path, text, (int64_t)bytes, error);
    free(text);
    free(path);
    return ok;
}

static bool write_config(const char *folder, Error *error) {
    char *path = must_format("%s/tokenizer_config.json", folder);
    json_t *json = json_pack("{s:b, s:b, s:s, s:s, s:b, s:s, s:s, s:s, s:n}", "add_bos_token", true, "add_eos_token",
                             false, "bos_token", control[0], "chat_template", chat_template_v2,
                             "clean_up_tokenization_spaces", false, "eos_token", control[1], "pad_token", control[1],
                             "tokenizer_class", "PreTrainedTokenizerFast", "unk_token");
    char *text = json_dumps(json, JSON_INDENT(2));
    bool ok = disk_write_file(path, text, (int64_t)strlen(text), error);
    json_decref(json);
    free(text);
    free(path);
    return ok;
}

/* What was written is what is read: as many tokens, and the names mean what they should. */
static bool reads_back(const char *folder, const Learned *l, Error *error) {
    Tokenizer *t = tokenizer_open(folder, error);
    if (!t) return false;
    bool same = tokenizer_bos(t) == l->tokens && tokenizer_eos(t) == l->tokens + 1 && tokenizer_adds_bos(t) &&
                !tokenizer_adds_eos(t);
    tokenizer_close(t);
    check(same, "%s: what was written reads differently", folder);
    return true;
}

bool tokenizer_write(const char *folder, const Learned *l, int controls, Error *error) {
    Error ignored;
    if (disk_exists(folder)) return fail(error, "%s is there already; name a new folder", folder);
    char *making = must_format("%s.making-%d", folder, (int)getpid());
    bool ok = disk_make_folder(making, error) && write_json(making, l, controls, error) &&
              write_config(making, error) && reads_back(making, l, error) && disk_sync_folder(making, error) &&
              disk_rename(making, folder, error);
    if (!ok) disk_remove_folder(making, &ignored);
    free(making);
    return ok;
}
