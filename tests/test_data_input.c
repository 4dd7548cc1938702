/* test_data_input.c - broken and damaged files: each with words that its message must have, none with a crash.
 *
 * Bytes are handed to parsers in blocks of their exact size, so that a sanitizer sees any read past the end. */
#include "tests/test_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"
#include "data/documents.h"
#include "data/safetensors_parse.h"

const char *test_path(const char *name) {
    static char paths[64][256];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

const char *test_file(const char *name, const void *bytes, int64_t count) {
    Error error;
    const char *path = test_path(name);
    check(disk_write_file(path, bytes, count, &error), "%s", error.text);
    return path;
}

void expect_message(bool ok, const Error *error, const char *words, const char *name) {
    expect(!ok, "%s was accepted", name);
    if (!ok) expect(strstr(error->text, words), "%s: '%s' in: %s", name, words, error->text);
}

/* -- safetensors -------------------------------------------------------------------------------- */

/* A file with this header and `data` bytes of zeros; malloc'd at its exact size. */
static char *make_safetensors(const char *header, int64_t length, int64_t data, int64_t *bytes) {
    *bytes = 8 + length + data;
    char *file = must_alloc(*bytes, 1);
    for (int i = 0; i < 8; i++) file[i] = (char)(length >> 8 * i);
    memcpy(file + 8, header, (size_t)length);
    return file;
}

#define F32_AT(name, shape, from, to)                                                                                \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"

static const struct {
    const char *name, *header;
    int64_t data;
    const char *words;
} bad_headers[] = {
    {"no header", "", 0, "does not begin with '{'"},
    {"a blank first", " {}", 0, "does not begin with '{'"},
    {"an array", "[]", 0, "does not begin with '{'"},
    {"cut off", "{\"a\":{\"dtype\":\"F32\"", 0, "ends too early"},
    {"cut off in a string", "{\"a", 0, "ends within a string"},
    {"text after the object", "{} {}", 0, "after the end"},
    {"tail", "{" F32_AT("a", "1", 0, 4) "}", 8, "bytes without a tensor"},
    {"data without tensors", "{}", 4, "bytes without a tensor"},
    {"hole", "{" F32_AT("a", "1", 0, 4) "," F32_AT("b", "1", 8, 12) "}", 12, "hole"},
    {"hole at the start", "{" F32_AT("a", "1", 4, 8) "}", 8, "hole"},
    {"overlap", "{" F32_AT("a", "2", 0, 8) "," F32_AT("b", "1", 4, 8) "}", 8, "overlaps"},
    {"same place", "{" F32_AT("a", "1", 0, 4) "," F32_AT("b", "1", 0, 4) "}", 4, "overlaps"},
    {"empty tensor within another", "{" F32_AT("a", "2", 0, 8) "," F32_AT("b", "0", 4, 4) "}", 8, "overlaps"},
    {"empty tensor beyond the end", "{" F32_AT("a", "2", 0, 8) "," F32_AT("b", "0", 12, 12) "}", 8, "do not lie"},
    {"beyond the end", "{" F32_AT("a", "2", 0, 8) "}", 4, "do not lie"},
    {"begin after end", "{" F32_AT("a", "1", 4, 0) "}", 4, "do not lie"},
    {"shape and bytes differ", "{" F32_AT("a", "3", 0, 8) "}", 8, "take 12 bytes"},
    {"product overflows", "{" F32_AT("a", "4194305,4194305,211106198978564", 0, 4) "}", 4, "overflows"},
    {"bytes overflow", "{" F32_AT("a", "4611686018427387905", 0, 4) "}", 4, "overflows"},
    {"integer overflows", "{" F32_AT("a", "99999999999999999999", 0, 4) "}", 4, "beyond 2^63"},
    {"negative", "{" F32_AT("a", "-1", 0, 4) "}", 4, "not negative"},
    {"fraction", "{" F32_AT("a", "1.0", 0, 4) "}", 4, "fraction"},
    {"exponent", "{" F32_AT("a", "1e0", 0, 4) "}", 4, "fraction"},
    {"leading zero", "{" F32_AT("a", "01", 0, 4) "}", 4, "leading zeros"},
    {"number as text", "{" F32_AT("a", "\"1\"", 0, 4) "}", 4, "expected an integer"},
    {"nine dims", "{" F32_AT("a", "1,1,1,1,1,1,1,1,1", 0, 4) "}", 4, "more than 8 dims"},
    {"shape of shapes", "{" F32_AT("a", "[1]", 0, 4) "}", 4, "expected an integer"},
    {"three offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "expected ']'"},
    {"one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "expected ','"},
    {"unknown dtype", "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "dtype 'F33' is not known"},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "lacks dtype"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "lacks shape"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "lacks data_offsets"},
    {"shape twice", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice"},
    {"unknown key", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"strides\":[1],\"data_offsets\":[0,4]}}", 4,
     "'strides' is no key"},
    {"name twice", "{" F32_AT("a", "1", 0, 4) "," F32_AT("a", "1", 4, 8) "}", 8, "is there twice"},
    {"name with escape", "{" F32_AT("\\u0061", "1", 0, 4) "}", 4, "escape"},
    {"name with control", "{" F32_AT("a\tb", "1", 0, 4) "}", 4, "control character"},
    {"no name", "{" F32_AT("", "1", 0, 4) "}", 4, "without a name"},
    {"comma at the end", "{" F32_AT("a", "1", 0, 4) ",}", 4, "expected '\"'"},
    {"tensor is a number", "{\"a\":1}", 0, "expected '{'"},
    {"metadata is a number", "{\"__metadata__\":1}", 0, "expected '{'"},
    {"metadata of numbers", "{\"__metadata__\":{\"a\":1}}", 0, "strings only"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ twice"},
};

static void expect_bad_file(const char *file, int64_t bytes, const char *words, const char *name) {
    Error error = {0};
    char *exact = must_alloc(bytes, 1);
    memcpy(exact, file, (size_t)bytes);
    expect_message(safetensors_check(exact, bytes, "f.safetensors", &error), &error, words, name);
    if (error.text[0]) expect(strstr(error.text, "f.safetensors"), "%s: no file name in: %s", name, error.text);
    free(exact);
}

/* A value nested deeper than any parser's stack, and a name longer than allowed. */
static void expect_bad_extremes(void) {
    int64_t bytes, deep = 1 << 20;
    char *header = must_alloc(deep + 16, 1);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', (size_t)deep);
    char *file = make_safetensors(header, deep + 5, 0, &bytes);
    expect_bad_file(file, bytes, "expected '{'", "deep nesting");
    free(file);
    memset(header + 1, 'n', 2000);
    header[1] = '"';
    file = make_safetensors(header, 2000, 0, &bytes);
    expect_bad_file(file, bytes, "more than 1024 bytes", "long name");
    free(file);
    free(header);
}

void broken_safetensors(void) {
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++) {
        int64_t bytes;
        const char *header = bad_headers[i].header;
        char *file = make_safetensors(header, (int64_t)strlen(header), bad_headers[i].data, &bytes);
        expect_bad_file(file, bytes, bad_headers[i].words, bad_headers[i].name);
        free(file);
    }
    expect_bad_file("", 0, "at least 8", "empty file");
    expect_bad_file("\2\0\0\0\0\0\0", 7, "at least 8", "seven bytes");
    expect_bad_file("\3\0\0\0\0\0\0\0{}", 10, "does not fit", "header beyond the end");
    expect_bad_file("\377\377\377\377\377\377\377\377{}", 10, "does not fit", "header of 2^64 - 1");
    expect_bad_extremes();
}

void sound_safetensors(void) {
    static const struct {
        const char *header;
        int64_t data;
    } good[] = {
        {"{}", 0},
        {"{}   \n", 0},
        {"{" F32_AT("a", "", 0, 4) "}", 4},
        {"{" F32_AT("b", "1", 4, 8) "," F32_AT("a", "1", 0, 4) "}", 8},
        {"{" F32_AT("z", "0", 0, 0) "," F32_AT("a", "1", 0, 4) "," F32_AT("y", "5,0", 4, 4) "}", 4},
        {"{ \"__metadata__\" : {\"format\":\"pt \\\" \\u0041\"} , " F32_AT("a", "1 , 2", 0, 8) " }", 8},
        {"{\"a\":{\"data_offsets\":[0,3],\"shape\":[3],\"dtype\":\"F8_E4M3\"}}", 3},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Error error = {0};
        int64_t bytes;
        char *file = make_safetensors(good[i].header, (int64_t)strlen(good[i].header), good[i].data, &bytes);
        expect(safetensors_check(file, bytes, "f", &error), "%s: %s", good[i].header, error.text);
        free(file);
    }
}

/* -- index -------------------------------------------------------------------------------------- */

#define SHARD_1 "model-00001.safetensors"
#define SHARD_2 "model-00002.safetensors"

static const struct {
    const char *name, *text, *words;
} bad_indexes[] = {
    {"empty", "", "ends too early"},
    {"no map", "{\"metadata\":{\"total_size\":3.5}}", "no weight_map"},
    {"empty map", "{\"weight_map\":{}}", "no weight_map"},
    {"map twice", "{\"weight_map\":{},\"weight_map\":{}}", "weight_map twice"},
    {"tensor twice", "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}", "twice"},
    {"file is a number", "{\"weight_map\":{\"a\":1}}", "expected '\"'"},
    {"absolute path", "{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", "plain name"},
    {"path up", "{\"weight_map\":{\"a\":\"../x.safetensors\"}}", "plain name"},
    {"folder", "{\"weight_map\":{\"a\":\"b/x.safetensors\"}}", "plain name"},
    {"backslash", "{\"weight_map\":{\"a\":\"b\\\\x.safetensors\"}}", "escape"},
    {"NUL", "{\"weight_map\":{\"a\":\"x.safetensors\\u0000\"}}", "escape"},
    {"hidden file", "{\"weight_map\":{\"a\":\".x.safetensors\"}}", "plain name"},
    {"other ending", "{\"weight_map\":{\"a\":\"x.bin\"}}", "plain name"},
    {"only the ending", "{\"weight_map\":{\"a\":\".safetensors\"}}", "plain name"},
    {"deep metadata",
     "{\"metadata\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     "deeper than 32"},
    {"rest", "{\"weight_map\":{\"a\":\"x.safetensors\"}} x", "after the end"},
};

void broken_index(void) {
    for (size_t i = 0; i < sizeof bad_indexes / sizeof *bad_indexes; i++) {
        StIndex x;
        Error error = {0};
        int64_t bytes = (int64_t)strlen(bad_indexes[i].text);
        char *exact = must_alloc(bytes, 1);
        memcpy(exact, bad_indexes[i].text, (size_t)bytes);
        expect_message(st_parse_index(&x, exact, bytes, "i.json", &error), &error, bad_indexes[i].words,
                       bad_indexes[i].name);
        free(exact);
    }
}

static void write_one(const char *file, const char *a, const char *b) {
    float values[4] = {1, 2, 3, 4};
    Error error;
    StOut out[] = {{a, tensor_1d(values, F32, 2), 1, {2}}, {b, tensor_1d(values + 2, F32, 2), 1, {2}}};
    check(safetensors_write(test_path(file), out, b ? 2 : 1, &error), "%s", error.text);
}

void broken_shard_folders(void) {
    static const struct {
        const char *map, *words;
    } cases[] = {
        {"\"a\":\"" SHARD_1 "\",\"c\":\"" SHARD_2 "\"", "tensor b is not in the weight_map"},
        {"\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_1 "\",\"c\":\"" SHARD_2 "\",\"d\":\"" SHARD_2 "\"",
         "tensor d is missing"},
        {"\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_2 "\"", "tensor b should be in"},
        {"\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_1 "\",\"c\":\"gone.safetensors\"", "gone.safetensors: cannot open"},
    };
    Error error = {0};
    write_one(SHARD_1, "a", "b");
    write_one(SHARD_2, "c", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        int n = snprintf(text, sizeof text, "{\"weight_map\":{%s}}", cases[i].map);
        const char *index = test_file("model.safetensors.index.json", text, n);
        Safetensors *s = safetensors_open(index, &error);
        expect_message(s != NULL, &error, cases[i].words, cases[i].map);
        safetensors_close(s);
    }
    write_one(SHARD_2, "c", "a");
    const char *map = "{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_1 "\",\"c\":\"" SHARD_2 "\"}}";
    test_file("model.safetensors.index.json", map, (int64_t)strlen(map));
    expect_message(safetensors_open(test_folder(), &error) != NULL, &error, "tensor a is also in",
                   "same name in two files");
    unlink(test_path("model.safetensors.index.json"));
    expect_message(safetensors_open(test_folder(), &error) != NULL, &error, "neither model.safetensors",
                   "empty folder");
}

/* -- text and JSONL ----------------------------------------------------------------------------- */

static bool take_text(void *own, const char *text, int64_t bytes, Error *error) {
    (void)text, (void)error;
    *(int64_t *)own += bytes;
    return true;
}
static bool take_end(void *own, Error *error) { return (void)own, (void)error, true; }
static void take_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

static bool read_documents(const char *file, Error *error) {
    int64_t bytes = 0;
    DocumentSink sink = {.own = &bytes, .text = take_text, .end = take_end, .progress = take_progress};
    DocumentFile what = {.file = file, .field = "text"};
    DocumentCounts counts = {0};
    return documents_read(&what, &sink, &counts, error);
}

static const struct {
    const char *name, *text;
    int64_t bytes;
    const char *words;
} bad_lines[] = {
    {"not JSON", "{\"text\":\"a\"}\nhello\n", 0, ".jsonl:2: not JSON"},
    {"cut off", "{\"text\":\"a\"}\n\n{\"text\":\"b", 0, ".jsonl:3: not JSON"},
    {"an array", "[\"text\"]\n", 0, ".jsonl:1: the line is not a JSON object"},
    {"a word", "null\n", 0, ".jsonl:1: the line is not a JSON object"},
    {"no field", "{\"text\":\"a\"}\n{\"body\":\"a\"}\n", 0, ".jsonl:2: no field 'text'"},
    {"a number", "{\"text\":7}\n", 0, ".jsonl:1: field 'text' is not a string"},
    {"null", "{\"text\":null}\n", 0, ".jsonl:1: field 'text' is not a string"},
    {"twice", "{\"text\":\"a\",\"text\":\"b\"}\n", 0, ".jsonl:1: not JSON: duplicate"},
    {"escaped NUL", "{\"text\":\"a\\u0000b\"}\n", 0, ".jsonl:1: not JSON"},
    {"NUL", "{\"text\":\"a\0b\"}\n", 15, ".jsonl:1: not JSON"},
    {"blank with NUL", " \0 \n", 4, ".jsonl:1: not JSON"},
    {"invalid UTF-8", "{\"text\":\"\xff\"}\n", 0, ".jsonl:1: not JSON: unable to decode"},
    {"overlong", "{\"text\":\"\xc0\xaf\"}\n", 0, ".jsonl:1: not JSON: unable to decode"},
    {"surrogate", "{\"text\":\"\xed\xa0\x80\"}\n", 0, ".jsonl:1: not JSON: unable to decode"},
    {"lone escape", "{\"text\":\"\\ud800\"}\n", 0, ".jsonl:1: not JSON"},
    {"two objects", "{\"text\":\"a\"} {\"text\":\"b\"}\n", 0, ".jsonl:1: not JSON"},
};

void broken_jsonl(void) {
    Error error = {0};
    for (size_t i = 0; i < sizeof bad_lines / sizeof *bad_lines; i++) {
        int64_t bytes = bad_lines[i].bytes ? bad_lines[i].bytes : (int64_t)strlen(bad_lines[i].text);
        const char *file = test_file("bad.jsonl", bad_lines[i].text, bytes);
        expect_message(read_documents(file, &error), &error, bad_lines[i].words, bad_lines[i].name);
    }
    int64_t bytes = LINE_LIMIT + 2;
    char *line = must_alloc(bytes, 1);
    memset(line, ' ', (size_t)bytes);
    expect_message(read_documents(test_file("bad.jsonl", line, bytes), &error), &error,
                   ":1: a line of more than 16 MiB", "long line");
    memset(line, '[', 1 << 20);
    expect_message(read_documents(test_file("bad.jsonl", line, 1 << 20), &error), &error, "maximum parsing depth",
                   "deep line");
    free(line);
    const char *sound = "\xef\xbb\xbf{\"text\":\"a\"}\r\n \r\n{\"more\":[1],\"text\":\"\xe2\x82\xac\"}";
    expect(read_documents(test_file("good.jsonl", sound, (int64_t)strlen(sound)), &error), "%s", error.text);
    expect_message(read_documents(test_path("gone.jsonl"), &error), &error, "cannot open", "no file");
    expect_message(read_documents(test_folder(), &error), &error, "not a plain file", "a folder");
}

void broken_text(void) {
    static const struct {
        const char *text;
        int64_t bytes;
        const char *words;
    } cases[] = {
        {"line\nna\xefve", 10, ".txt:2: byte 0xef is not UTF-8"},
        {"a\0b", 3, ".txt:1: byte 0x00 is not UTF-8 text (a NUL byte"},
        {"\n\n\xf0\x9f\x98", 5, ".txt:3: byte 0xf0"},
        {"\xf4\x90\x80\x80", 4, "byte 0xf4"},
        {"\xed\xa0\x80", 3, "byte 0xed"},
        {"\xe0\x80\x80", 3, "byte 0xe0"},
        {"\x1f\x8b\x08", 3, "byte 0x8b is not UTF-8 text; convert the file, or name it"},
    };
    Error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_message(read_documents(test_file("bad.txt", cases[i].text, cases[i].bytes), &error), &error,
                       cases[i].words, cases[i].words);
    bool cut;
    expect(utf8_prefix("a\xe2\x82", 3, &cut) == 1 && cut, "the beginning of a character");
    expect(utf8_prefix("a\xe2\x28", 3, &cut) == 1 && !cut, "no beginning of a character");
    int64_t bytes = (3 << 20) + 5; /* a bad byte far behind the first chunk, characters across chunk borders */
    char *text = must_alloc(bytes, 1);
    for (int64_t i = 0; i + 3 <= bytes; i += 3) memcpy(text + i, "\xe2\x82\xac", 3);
    bytes -= bytes % 3;
    expect(read_documents(test_file("good.txt", text, bytes), &error), "%s", error.text);
    text[2 << 20] = '\n';
    expect_message(read_documents(test_file("bad.txt", text, bytes), &error), &error, "is not UTF-8", "late byte");
    free(text);
}

/* -- flipped bytes ------------------------------------------------------------------------------ */

void flipped_safetensors(void) {
    Error error;
    int64_t bytes, accepted = 0;
    char *good = disk_read_file("tests/fixtures/tiny-lite/model.safetensors", 1 << 24, &bytes, &error);
    check(good, "%s", error.text);
    int64_t header = 8;
    for (int i = 0; i < 8; i++) header += (int64_t)(unsigned char)good[i] << 8 * i;
    for (uint64_t i = 0; i < 1000; i++) {
        int64_t at = (int64_t)(random_bits(1, 1, i) % (uint64_t)header);
        char mask = (char)(1 + random_bits(1, 2, i) % 255);
        good[at] ^= mask;
        accepted += safetensors_check(good, bytes, "flipped", &error); /* letters of names may change */
        good[at] ^= mask;
    }
    expect(accepted < 600, "%lld of 1000 damaged headers were accepted", (long long)accepted);
    expect(safetensors_check(good, bytes, "whole", &error), "%s", error.text);
    free(good);
}
