/* test_tokenizer_file.c - reading tokenizer.json and tokenizer_config.json: sound, broken and damaged ones. */
#include "tests/test_tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- small tokenizers ------------------------------------------------------------------------------- */

static const char byte_level[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
static const char merged[] =
    ",\"th\":256,\"he\":257,\"the\":258,\"\u0120t\":259,\"\u0120the\":260,\"aa\":261,\"aaaa\":262";
static const char merges[] = "[\"t h\",[\"h\",\"e\"],\"th e\",\"\u0120 t\",\"\u0120t he\",\"a a\",\"aa aa\"]";

char *recipe_text(const Recipe *r, size_t *bytes) {
    char *text;
    FILE *f = open_memstream(&text, bytes);
    fprintf(f,
            "{\"added_tokens\":[%s]%s,\"normalizer\":%s,\"pre_tokenizer\":%s,\"decoder\":{\"type\":\"ByteLevel\"},",
            r->added ? r->added : "", r->parts ? r->parts : "", r->normalizer ? r->normalizer : "null",
            r->pretokenizer ? r->pretokenizer : byte_level);
    fprintf(f, "\"model\":{\"type\":\"BPE\"%s,\"merges\":%s,\"vocab\":{", r->model ? r->model : "", merges);
    for (int b = 0; b < 256; b++) {
        char utf8[2];
        int n = bpe_write_byte(utf8, (unsigned char)b);
        fprintf(f, "%s\"%s%.*s\":%d", b ? "," : "", *utf8 == '"' || *utf8 == '\\' ? "\\" : "", n, utf8, b);
    }
    fprintf(f, "%s}}}", merged);
    fclose(f);
    return text;
}

Tokenizer *recipe_open(const Recipe *r) {
    size_t bytes;
    Error error;
    char *text = recipe_text(r, &bytes);
    Tokenizer *t = tokenizer_open(test_file("tokenizer.json", text, (int64_t)bytes), &error);
    check(t, "%s", error.text);
    free(text);
    return t;
}

const char recipe_added[] = "{\"id\":300,\"content\":\"<|x|>\",\"special\":true},"
                            "{\"id\":301,\"content\":\"<|x|>y\"},{\"id\":302,\"content\":\"the\\u0301\"},"
                            "{\"id\":303,\"content\":\"[S]\",\"lstrip\":true,\"rstrip\":true}";

/* -- broken files --------------------------------------------------------------------------------------------- */

#define ONE_TEMPLATE "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}}]}"
#define TEMPLATE(single) "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" single "]},\"decoder\""

/* The text of a sound file with `from` replaced. */
static const struct {
    const char *from, *to, *words;
} broken[] = {
    {"{\"added", "[\"added", "not JSON"},
    {"{\"added_tokens\"", "{\"x\":1,\"added_tokens\"", "\"x\" is not known here"},
    {"\"normalizer\":null", "\"normalizer\":{\"type\":\"Lowercase\"}", "normalizer Lowercase"},
    {"\"normalizer\":null", "\"normalizer\":null,\"normalizer\":null", "duplicate"},
    {"\"use_regex\":false", "\"use_regex\":false,\"add_prefix_space\":true", "duplicate"},
    {"\"add_prefix_space\":false", "\"add_prefix_space\":true", "add_prefix_space true"},
    {"\"type\":\"ByteLevel\",\"add", "\"type\":\"Metaspace\",\"add", "pre_tokenizer Metaspace"},
    {"\"pre_tokenizer\":{", "\"pre_tokenizer\":{\"x\":1},\"version\":{", "pre_tokenizer has no type"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a("), "Isolated", "false"), "cannot be read"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a*"), "Isolated", "false"), "can match an empty text"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("(?=[A-Z])"), "Isolated", "false"), "can match an empty text"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a{1,3}+b"), "Isolated", "false"), "+ after a number of times"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a{2}?b"), "Isolated", "false"), "? after one number of times"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a(?i)b|c"), "Isolated", "false"), "an option that begins in its midst"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("(*CR)a"), "Isolated", "false"), "(*"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("\\\\h"), "Isolated", "false"), "\\h"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", SPLIT(REGEX("a"), "Glued", "false"),
     "behavior Glued"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a"), "Isolated", "false"), "no ByteLevel"},
    {"\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"WordPiece\"}", "decoder WordPiece"},
    {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", "model.type is Unigram"},
    {"\"type\":\"BPE\"", "\"type\":\"BPE\",\"byte_fallback\":true", "model.byte_fallback"},
    {"\"type\":\"BPE\"", "\"type\":\"BPE\",\"dropout\":0.1", "model.dropout"},
    {"\"type\":\"BPE\"", "\"type\":\"BPE\",\"unk_token\":\"<unk>\"", "model.unk_token"},
    {"\"merges\":[", "\"merges\":[\"x yy\",", "merges[0]"},
    {"\"merges\":[", "\"merges\":[[\"x\"],", "merges[0]"},
    {"\"merges\":[", "\"merges\":[7,", "merges[0]"},
    {"\"th\":256", "\"th\":-1", "no id below"},
    {"\"th\":256", "\"th\":257", "id 257 twice"},
    {"\"th\":256", "\"th\":99999999", "no id below"},
    {"\"th\":256", "\"\u4e00\":256", "what they make is not in model.vocab"},
    {"\"a\":97,", "", "the byte 0x61"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1}", "added_tokens[0] has no content"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"\"}", "has no content"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":-5,\"content\":\"x\"}", "no id below"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"single_word\":true}", "single_word"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"x\"},{\"id\":2,\"content\":\"x\"}", "twice"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"x\"},{\"id\":1,\"content\":\"y\"}",
     "id 1 twice"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"the\"}",
     "\"the\" id 1, and model.vocab gives it 258"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"<x>\"}", "another token in model.vocab"},
    {"{\"added", "{\"truncation\":{\"max_length\":5},\"added", "truncation or padding"},
    {"\"decoder\"", "\"post_processor\":{\"type\":\"BertProcessing\"},\"decoder\"", "post_processor BertProcessing"},
    {"\"decoder\"",
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}}]},\"decoder\"",
     "adds \"<s>\""},
    {"\"decoder\"", TEMPLATE("{\"Sequence\":{\"id\":\"B\"}}"), "a part that is not known"},
    {"\"decoder\"", TEMPLATE("{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}"),
     "a part that is not known"},
    {"\"decoder\"", TEMPLATE(""), "no place for the text"},
    {"\"added_tokens\":[]",
     "\"added_tokens\":[{\"id\":300,\"content\":\"<s>\"}],\"post_processor\":{\"type\":\"TemplateProcessing\","
     "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],"
     "\"special_tokens\":{\"<s>\":{\"ids\":[5]}}}",
     "other ids for \"<s>\""},
    {"\"decoder\"",
     "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[" ONE_TEMPLATE "," ONE_TEMPLATE "]},\"decoder\"",
     "two templates"},
    {"\"use_regex\":false", "\"use_regex\":\"false\"", "use_regex is neither"},
    {"\"add_prefix_space\":false", "\"add_prefix_space\":1", "add_prefix_space is neither"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     SPLIT(REGEX("a"), "Isolated", "\"true\""), "invert is neither"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
     "{\"type\":\"Digits\",\"individual_digits\":0}", "individual_digits is neither"},
    {"\"type\":\"BPE\"", "\"type\":\"BPE\",\"ignore_merges\":\"true\"", "ignore_merges is neither"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"lstrip\":\"true\"}",
     "added_tokens[0] \"x\": lstrip is neither"},
    {"\"vocab\":{", "\"vocab\":[{", "not JSON"},
    {"\"merges\":[", "\"x\":[", "model has no merges"},
    {"\"th\":256", "\"th\":\"256\"", "no id below"},
};

static void broken_files(void) {
    Recipe plain = {0};
    size_t bytes;
    char *sound = recipe_text(&plain, &bytes);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const char *at = strstr(sound, broken[i].from);
        check(at, "row %zu: '%s' is not in the file", i, broken[i].from);
        char *text = must_format("%.*s%s%s", (int)(at - sound), sound, broken[i].to, at + strlen(broken[i].from));
        const char *path = test_file("broken.json", text, (int64_t)strlen(text));
        Error error;
        Tokenizer *t = tokenizer_open(path, &error);
        expect_message(t != NULL, &error, broken[i].words, broken[i].to);
        if (!t) expect(strstr(error.text, "broken.json"), "no file in: %s", error.text);
        tokenizer_close(t);
        free(text);
    }
    free(sound);
}

/* Every prefix of a sound file, and every file with a byte changed, is read or refused. */
static void damaged_files(void) {
    Recipe plain = {.added = recipe_added};
    size_t bytes;
    char *sound = recipe_text(&plain, &bytes);
    Error error;
    TokenizerFile file;
    for (size_t i = 0; i < bytes; i += 7) {
        char *cut = must_alloc((int64_t)i + 1, 1);
        memcpy(cut, sound, i);
        expect(!tokenizer_file_parse(&file, cut, (int64_t)i, "cut", &error), "a cut file was taken");
        free(cut);
        char *changed = must_alloc((int64_t)bytes, 1);
        memcpy(changed, sound, bytes);
        changed[i] ^= (char)(1 << i % 8);
        if (tokenizer_file_parse(&file, changed, (int64_t)bytes, "changed", &error)) tokenizer_file_free(&file);
        free(changed);
    }
    free(sound);
}

/* What the post-processor adds, where no tokenizer_config.json says otherwise. */
static void post_processors(void) {
    static const char form[] = ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
                               "{\"type\":\"TemplateProcessing\",\"single\":[%s{\"Sequence\":{\"id\":\"A\"}}%s]}]}";
    static const char bos[] = "{\"SpecialToken\":{\"id\":\"<|x|>\"}},",
                      eos[] = ",{\"SpecialToken\":{\"id\":\"<|x|>y\"}}";
    for (int i = 0; i < 4; i++) {
        char *processor = must_format(form, i & 1 ? bos : "", i & 2 ? eos : "");
        Recipe r = {.added = recipe_added, .parts = processor};
        Tokenizer *t = recipe_open(&r);
        expect(tokenizer_adds_bos(t) == (i & 1) && tokenizer_adds_eos(t) == (i >> 1), "what is added, %d", i);
        expect(tokenizer_bos(t) == (i & 1 ? 300 : -1) && tokenizer_eos(t) == (i & 2 ? 301 : -1), "ids, %d", i);
        tokenizer_close(t);
        free(processor);
    }
}

static void configurations(void) {
    static const struct {
        const char *text, *words; /* NULL: sound */
    } rows[] = {
        {"{\"add_bos_token\":true,\"bos_token\":{\"content\":\"<|x|>\"},\"eos_token\":\"<|x|>y\"}", NULL},
        {"{\"bos_token\":\"<nope>\"}", "not among the added tokens"},
        {"{\"bos_token\":7}", "bos_token is no text"},
        {"{\"add_bos_token\":\"yes\"}", "neither true nor false"},
        {"{\"add_bos_token\"", "not JSON"},
        {"[]", "no JSON object"},
    };
    Recipe r = {.added = recipe_added};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Error error;
        test_file("tokenizer_config.json", rows[i].text, (int64_t)strlen(rows[i].text));
        if (!rows[i].words) {
            Tokenizer *t = recipe_open(&r);
            expect(tokenizer_bos(t) == 300 && tokenizer_eos(t) == 301 && tokenizer_adds_bos(t), "row %zu", i);
            tokenizer_close(t);
            continue;
        }
        Tokenizer *t = tokenizer_open(test_path("tokenizer.json"), &error);
        expect_message(t != NULL, &error, rows[i].words, rows[i].text);
        tokenizer_close(t);
    }
    static const char nul[] = "{\"add_bos_token\":true\0}";
    Error error;
    test_file("tokenizer_config.json", nul, sizeof nul - 1);
    expect_message(tokenizer_open(test_path("tokenizer.json"), &error) != NULL, &error, "not JSON: a NUL byte",
                   "a NUL");
}

/* A pipe is refused, not waited for. */
static void pipes(void) {
    Error error;
    check(!mkfifo(test_path("tokenizer.json"), 0600), "no pipe");
    alarm(20);
    expect_message(tokenizer_open(test_folder(), &error) != NULL, &error, "tokenizer.json: is not a plain file",
                   "a pipe");
    alarm(0);
}

const TestCase tokenizer_file_tests[] = {
    {"broken files", broken_files},
    {"damaged files", damaged_files},
    {"what a post-processor adds", post_processors},
    {"tokenizer_config.json", configurations},
    {"a pipe", pipes},
    {0},
};
