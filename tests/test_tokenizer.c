/* test_tokenizer.c - tokenizers from tokenizer.json: published vectors, pieces, added tokens, hostile texts. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "tests/test_tokenizer.h"
#include "train/bench_tokenizer.h"

#define FIXTURE "tests/fixtures/tokenizer/deepseek-v2.json"

static int64_t encode(const Tokenizer *t, int32_t *id, const char *text) {
    return tokenizer_encode(t, id, text, (int64_t)strlen(text), SPECIALS_MATCH);
}

static void expect_ids(const Tokenizer *t, const char *text, const char *wanted) {
    int32_t id[256];
    char got[2048] = "";
    int64_t n = encode(t, id, text);
    for (int64_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", id[i]);
    expect(!strcmp(got, wanted), "'%s' became %s, not %s", text, got, wanted);
}

/* -- published vectors --------------------------------------------------------------------------------- */

static void expect_vector(const Tokenizer *t, const json_t *row, int number) {
    const char *text = json_string_value(json_object_get(row, "text"));
    const json_t *ids = json_object_get(row, "ids");
    int32_t id[4096];
    char back[4096];
    int64_t n = encode(t, id, text);
    bool same = n == (int64_t)json_array_size(ids);
    for (int64_t i = 0; same && i < n; i++) same = id[i] == json_integer_value(json_array_get(ids, (size_t)i));
    expect(same, "vector %d '%s'", number, text);
    int64_t bytes = tokenizer_decode(t, back, id, n);
    expect(bytes == (int64_t)strlen(text) && !memcmp(back, text, (size_t)bytes), "decoding vector %d", number);
}

static void published_vectors(void) {
    Error error;
    char line[16384];
    int rows = 0;
    Tokenizer *t = tokenizer_open(FIXTURE, &error);
    FILE *f = fopen("tests/fixtures/tokenizer/vectors.jsonl", "r");
    check(t && f, "fixtures: %s", error.text);
    while (fgets(line, sizeof line, f)) {
        json_t *row = json_loads(line, 0, NULL);
        expect_vector(t, row, ++rows);
        json_decref(row);
    }
    expect(rows == 47, "%d vectors", rows);
    expect(tokenizer_bos(t) == 100000 && tokenizer_eos(t) == 100001 && tokenizer_adds_bos(t), "special ids");
    expect(tokenizer_is_special(t, 100000) && !tokenizer_is_special(t, 100002), "which are special");
    fclose(f);
    tokenizer_close(t);
}

/* -- pieces: as Hugging Face splits -------------------------------------------------------------------- */

static const struct {
    const char *pretokenizer, *text, *pieces;
} splits[] = {
    {SEQUENCE(SPLIT(REGEX("a+"), "Isolated", "false")), "xaay a", "x|aa|y |a"},
    {SEQUENCE(SPLIT(REGEX("a+"), "Removed", "false")), "xaay a", "x|y "},
    {SEQUENCE(SPLIT(REGEX("a+"), "Removed", "true")), "xaay a", "aa|a"},
    {SEQUENCE(SPLIT(REGEX("a"), "MergedWithPrevious", "false")), "xaay a", "xa|a|y a"},
    {SEQUENCE(SPLIT(REGEX("a"), "MergedWithNext", "false")), "xaay a", "x|a|ay |a"},
    {SEQUENCE(SPLIT(REGEX("a"), "Contiguous", "false")), "xaay a", "x|aa|y |a"},
    {SEQUENCE(SPLIT("{\"String\":\"ab\"}", "Isolated", "false")), "abaab", "ab|a|ab"},
    {SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}"), "a12\u00bd", "a|1|2|\u00bd"},
    {SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":false}"), "a12b", "a|12|b"},
    {SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}"), "a\U00016ff6\U00016d70",
     "a|\U00016ff6|\U00016d70"},
    {SEQUENCE(SPLIT(REGEX("\\\\p{L}+"), "Isolated", "false")), "-\u1c8a\U00031350-", "-|\u1c8a\U00031350|-"},
    {SEQUENCE(SPLIT(REGEX("[^\\\\p{S}\\\\s]+|\\\\P{S}"), "Isolated", "false")), "a\U0001fae8 b", "a|\U0001fae8| |b"},
    {SEQUENCE(SPLIT(REGEX("\\\\w+"), "Isolated", "false")), "-a\u00b2\u1c8a-", "-|a\u00b2\u1c8a|-"},
    {SEQUENCE(SPLIT(REGEX("[\\\\w-]+"), "Isolated", "false")), "-a\u00b2\u1c8a-", "-a|\u00b2|\u1c8a-"},
    {SEQUENCE(SPLIT(REGEX("xa{,2}"), "Isolated", "false")), "xaaax", "xaa|a|x"},
    {SEQUENCE(SPLIT(REGEX("\\\\x{61}{2}|[{]|b{1,}c{d"), "Isolated", "false")), "aaa{{bbc{d", "aa|a|{|{|bbc{d"},
    {SEQUENCE(SPLIT(REGEX("a(?m:.)b|(?i:C)"), "Isolated", "false")), "a\nbac", "a\nb|a|c"},
    {SEQUENCE(SPLIT(REGEX("(?i)a|b"), "Isolated", "false")), "xAB", "x|A|B"},
    {SEQUENCE(SPLIT(REGEX("\\\\s+$"), "Isolated", "false")), "a  b  ", "a  b|  "},
    {SEQUENCE(SPLIT(REGEX("\\\\s+$"), "Isolated", "false")), " \n  x", " |\n  x"},
    {SEQUENCE(SPLIT(REGEX("\\\\s"), "Isolated", "false")), "a\u3000b\u180ec\xc2\x85", "a|\u3000|b\u180ec|\xc2\x85"},
    {SEQUENCE(SPLIT(REGEX("\\\\pL}"), "Isolated", "false")), "{ab}c", "{a|b}|c"},
    {SEQUENCE(SPLIT(REGEX("\\\\p{Han}+"), "Isolated", "false")), "x\u4e00\u30fcy", "x|\u4e00|\u30fcy"},
    {"{\"type\":\"ByteLevel\"}", "I'll be  back 12!", "I|'ll| be| | back| 12|!"},
};

static bool collect(void *own, const char *piece, int64_t bytes) {
    char *to = own;
    snprintf(to + strlen(to), 256 - strlen(to), "%s%.*s", *to ? "|" : "", (int)bytes, piece);
    return true;
}

static void pieces(void) {
    RegexScratch *scratch = regex_scratch_open();
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        Error error;
        char got[256] = "";
        json_t *json = json_loads(splits[i].pretokenizer, 0, NULL);
        Pretokenizer *p = pretokenizer_open(json, &error);
        check(p, "%s: %s", splits[i].pretokenizer, error.text);
        pretokenizer_split(p, scratch, splits[i].text, (int64_t)strlen(splits[i].text), collect, got);
        expect(!strcmp(got, splits[i].pieces), "%zu: '%s', not '%s'", i, got, splits[i].pieces);
        pretokenizer_close(p);
        json_decref(json);
    }
    regex_scratch_close(scratch);
}

static void v2_pretokenizer_is_the_published(void) {
    json_t *ours = json_loads(pretokenizer_deepseek_v2, 0, NULL), *file = json_load_file(FIXTURE, 0, NULL);
    expect(ours && json_equal(ours, json_object_get(file, "pre_tokenizer")), "they differ");
    json_decref(ours);
    json_decref(file);
}

/* -- merges, added tokens, normalisation ------------------------------------------------------------------ */

static const char more_added[] = ",{\"id\":304,\"content\":\"e\\u0301!\",\"normalized\":true},"
                                 "{\"id\":305,\"content\":\"  \"},"
                                 "{\"id\":306,\"content\":\"\\t\",\"lstrip\":true,\"rstrip\":true}";

static void merging(void) {
    Recipe plain = {0}, ignoring = {.model = ",\"ignore_merges\":true"};
    Tokenizer *t = recipe_open(&plain);
    expect_ids(t, "the", "258");
    expect_ids(t, " the", "32 258"); /* th, the: of lower rank than what makes Ġthe */
    expect_ids(t, "aaaaa", "262 97");
    expect_ids(t, "", "");
    expect(encode(t, (int32_t[8]){0}, "\xff") == -1, "text that is no UTF-8 was taken");
    tokenizer_close(t);
    t = recipe_open(&ignoring);
    expect_ids(t, " the", "260");
    tokenizer_close(t);
}

static void added_tokens(void) {
    Recipe r = {.added = recipe_added};
    int32_t id[16];
    char back[64];
    Tokenizer *t = recipe_open(&r);
    expect_ids(t, "a<|x|>b", "97 300 98");
    expect_ids(t, "a<|x|>yb", "97 301 98");
    expect_ids(t, "the\u0301", "302");
    expect_ids(t, "a [S] b", "97 303 98");
    int64_t n = tokenizer_encode(t, id, "<|x|>", 5, SPECIALS_PLAIN);
    expect(n == 5 && id[0] == '<', "what was typed became a control token");
    expect(tokenizer_id(t, "<|x|>y") == 301 && tokenizer_id(t, "y") == -1, "ids by text");
    expect(tokenizer_size(t) == 304 && tokenizer_max_bytes(t) == 6, "size");
    expect(tokenizer_decode(t, back, (int32_t[]){300, 301, 302}, 3) == 11, "special tokens decode to nothing");
    tokenizer_close(t);
}

static void normalisation(void) {
    char added[512];
    snprintf(added, sizeof added, "%s%s", recipe_added, more_added);
    Recipe nfc = {.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}", .added = added};
    Tokenizer *t = recipe_open(&nfc);
    expect_ids(t, "e\u0301", "195 169");
    expect_ids(t, "the\u0301", "302"); /* not normalized: found before */
    expect_ids(t, "th\u00e9", "256 195 169");
    expect_ids(t, "\u00e9!", "304"); /* normalized: what it is made of does not matter */
    expect_ids(t, "e\u0301!", "304");
    expect_ids(t, "[S]   x", "303 305 32 120");  /* as published: the space that was taken is searched too */
    expect_ids(t, "\t\t[S]\t x", "306 303 120"); /* of one that takes space before it nothing is left there */
    expect_ids(t, "a\u0345\u0897", "97 205 133 224 162 151"); /* marks that came after Unicode 9 are not moved */
    expect_ids(t, "a\u0345\u0301", "195 161 205 133");
    expect(tokenizer_room(t, 10) >= 30, "room for what grows");
    tokenizer_close(t);
}

/* -- decoding a stream -------------------------------------------------------------------------------------- */

static void streams(void) {
    static const char text[] = "a\u00e9\u4e00\U0001f600z";
    Recipe r = {0};
    Tokenizer *t = recipe_open(&r);
    int32_t id[64];
    char out[256];
    DecodeStream s = {0};
    expect(tokenizer_stream_room(t) < 32, "room");
    int64_t n = encode(t, id, text), bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        bytes += tokenizer_stream_next(t, &s, out + bytes, id[i]);
        expect(utf8_valid(out, bytes), "a character was split after %lld ids", (long long)i + 1);
    }
    expect(bytes == (int64_t)strlen(text) && !memcmp(out, text, strlen(text)), "the stream differs");
    tokenizer_stream_next(t, &s, out, 0xe4);
    expect(tokenizer_stream_end(&s, out) == 3 && !memcmp(out, UTF8_REPLACEMENT, 3), "an unfinished character");
    expect(tokenizer_stream_end(&s, out) == 0, "ended twice");
    tokenizer_close(t);
}

/* As Unicode and Hugging Face replace: one U+FFFD for the longest beginning of a character. */
static void repaired_text(void) {
    static const struct {
        const char *text, *repaired; /* ? for U+FFFD */
    } rows[] = {{"a\xff"
                 "b",
                 "a?b"},
                {"\xe4\xb8", "?"},
                {"\xe4\xb8x\xe4\xb8\xad", "?x\u4e2d"},
                {"\xf0\x9f\x98", "?"},
                {"\xf0\x9f\x98\xf0\x9f\x98\x80", "?\U0001f600"},
                {"\xed\xa0\x80", "???"},
                {"\xc0\x80", "??"},
                {"\xe0\x80\x80", "???"},
                {"\xf4\x90\x80\x80", "????"},
                {"\xc3", "?"},
                {"\x80\x80", "??"}};
    Error error;
    Tokenizer *t = tokenizer_open("bytes", &error);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[64], streamed[256], wanted[64] = "";
        for (const char *p = rows[i].repaired; *p; p++)
            snprintf(wanted + strlen(wanted), 8, "%.*s", *p == '?' ? 3 : 1, *p == '?' ? UTF8_REPLACEMENT : p);
        int64_t bytes = (int64_t)strlen(rows[i].text), n = utf8_repair(got, rows[i].text, bytes), m = 0;
        DecodeStream s = {0};
        for (int64_t k = 0; k < bytes; k++)
            m += tokenizer_stream_next(t, &s, streamed + m, (unsigned char)rows[i].text[k]);
        m += tokenizer_stream_end(&s, streamed + m);
        expect(n == (int64_t)strlen(wanted) && !memcmp(got, wanted, (size_t)n), "row %zu", i);
        expect(m == n && !memcmp(streamed, wanted, (size_t)m), "row %zu in a stream", i);
    }
    tokenizer_close(t);
}

/* -- random texts -------------------------------------------------------------------------------------------- */

static void round_trips(void) {
    Error error;
    Tokenizer *t = tokenizer_open(FIXTURE, &error);
    int64_t changed = tokenizer_changed_strings(t, 20000);
    expect(changed == 0, "%lld of 20000 texts came back changed", (long long)changed);
    tokenizer_close(t);
}

/* Encoding in parts gives what encoding the whole gives. */
static void cuts(void) {
    static const char line[] = "The  quick \u00e9 \u4e00\u4e01 12.\n\n  \tindented\r\nnext'll\n#!x\n\u3000wide\n";
    Error error;
    Tokenizer *t = tokenizer_open(FIXTURE, &error);
    int32_t whole[512], parts[512];
    int64_t n = encode(t, whole, line), end = (int64_t)strlen(line), cut = end, places = 0;
    while ((cut = tokenizer_cut(t, line, cut)) > 0) {
        int64_t a = tokenizer_encode(t, parts, line, cut, SPECIALS_MATCH);
        a += tokenizer_encode(t, parts + a, line + cut, end - cut, SPECIALS_MATCH);
        expect(a == n && !memcmp(whole, parts, (size_t)n * sizeof *whole), "cut at %lld", (long long)cut);
        places++;
    }
    expect(places == 1, "%lld places to cut", (long long)places);
    tokenizer_close(t);
}

/* Where pieces may cross the end of a line, no place is given. */
static void no_cuts(void) {
    static const char lines[] = "a line\nanother\n";
    Recipe crossing[] = {{0},
                         {.pretokenizer = SEQUENCE(SPLIT(REGEX("\\\\S+\\\\s+\\\\S+"), "Isolated", "false"))},
                         {.pretokenizer = SEQUENCE(SPLIT(REGEX("\\\\n"), "MergedWithNext", "false"))}};
    Recipe words = {.pretokenizer = "{\"type\":\"ByteLevel\"}"};
    for (int i = 0; i < 3; i++) {
        Tokenizer *t = recipe_open(&crossing[i]);
        expect(tokenizer_cut(t, lines, (int64_t)strlen(lines)) == 0, "recipe %d", i);
        tokenizer_close(t);
    }
    Tokenizer *t = recipe_open(&words);
    expect(tokenizer_cut(t, lines, (int64_t)strlen(lines)) == 7, "words of GPT-2");
    tokenizer_close(t);
}

static void hostile_texts(void) {
    static const char *const unit[] = {"a", " ", "\n", "\u4e00", "  1", "e\u0301", "<", "<|"};
    enum { BYTES = 1000000 };
    Error error;
    Tokenizer *t = tokenizer_open(FIXTURE, &error);
    char *text = must_alloc(BYTES + 8, 1);
    int32_t *id = must_alloc(BYTES + 8, sizeof *id);
    double begin = clock_seconds();
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        int64_t bytes = 0, n = (int64_t)strlen(unit[i]);
        for (; bytes < BYTES; bytes += n) memcpy(text + bytes, unit[i], (size_t)n);
        text[bytes++] = '1';
        expect(tokenizer_encode(t, id, text, bytes, SPECIALS_MATCH) > 0, "a megabyte of '%s'", unit[i]);
    }
    expect(clock_seconds() - begin < 60, "%.1f s for 8 MB", clock_seconds() - begin); /* quadratic would be hours */
    free(text);
    free(id);
    tokenizer_close(t);
}

const TestCase tokenizer_tests[] = {
    {"the published vectors", published_vectors},
    {"pieces", pieces},
    {"the pre-tokenizer of V2 is the published one", v2_pretokenizer_is_the_published},
    {"merges by rank", merging},
    {"added tokens", added_tokens},
    {"normalisation", normalisation},
    {"a stream never splits a character", streams},
    {"what is no UTF-8 becomes U+FFFD", repaired_text},
    {"20000 random texts come back", round_trips},
    {"encoding in parts", cuts},
    {"texts that cannot be encoded in parts", no_cuts},
    {"a megabyte of one thing", hostile_texts},
    {0},
};
