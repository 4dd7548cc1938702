/* test_data_shards.c - broken and damaged token shards: each with words that its message must have. */
#include "tests/test_data.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/apart.h"
#include "data/disk.h"
#include "data/h5.h"
#include "data/tokens.h"

typedef struct {
    const char *format, *tokenizer, *hash, *tokens_hash;
    int64_t version, vocab_size, tokens, documents, skipped, shard, shards; /* attributes */
    Dtype dtype, documents_dtype;
    int64_t n_tokens, n_offsets, offset[5];
    int32_t token[4]; /* as I32; U16 shards hold 1 2 3 4 */
    bool no_source, no_documents;
} RawShard;

static const RawShard sound_shard = {.format = "dsv2 tokens",
                                     .tokenizer = "bytes",
                                     .hash = "0123456789abcdef",
                                     .tokens_hash = "0123456789abcdef",
                                     .version = 2,
                                     .shards = 1,
                                     .vocab_size = 258,
                                     .tokens = 4,
                                     .documents = 2,
                                     .dtype = I32,
                                     .documents_dtype = I64,
                                     .n_tokens = 4,
                                     .n_offsets = 3,
                                     .offset = {0, 1, 4},
                                     .token = {1, 2, 3, 4}};

static bool put_raw(void *own, int64_t offset, const void *bytes, int64_t count) {
    return pwrite(*(int *)own, bytes, (size_t)count, offset) == count;
}

static void declare_raw(H5Writer *w, const RawShard *s, int *tokens, int *documents) {
    *tokens = h5_dataset(w, "tokens", s->dtype, 1, &s->n_tokens);
    *documents = s->no_documents ? -1 : h5_dataset(w, "documents", s->documents_dtype, 1, &s->n_offsets);
    h5_attr_text(w, "tokens", "xxh3", s->tokens_hash);
    if (!s->no_documents) h5_attr_text(w, "documents", "xxh3", "0123456789abcdef");
    h5_attr_text(w, "/", "format", s->format);
    h5_attr_int(w, "/", "format_version", s->version);
    h5_attr_text(w, "/", "tokenizer", s->tokenizer);
    h5_attr_text(w, "/", "tokenizer_hash", s->hash);
    h5_attr_int(w, "/", "vocab_size", s->vocab_size);
    h5_attr_int(w, "/", "tokens", s->tokens);
    h5_attr_int(w, "/", "documents", s->documents);
    h5_attr_int(w, "/", "source_bytes", 4);
    h5_attr_int(w, "/", "skipped", s->skipped);
    h5_attr_int(w, "/", "bad_lines", 0);
    h5_attr_int(w, "/", "duplicates", 0);
    h5_attr_int(w, "/", "too_short", 0);
    h5_attr_int(w, "/", "shard", s->shard);
    h5_attr_int(w, "/", "shards", s->shards);
    if (!s->no_source) h5_attr_text(w, "/", "source", "here");
}

static void write_raw(const char *file, const RawShard *s) {
    Error error = {0};
    int tokens, documents, fd = open(file, O_CREAT | O_TRUNC | O_RDWR, 0644);
    H5Writer *w = h5_create();
    declare_raw(w, s, &tokens, &documents);
    check(fd >= 0 && h5_layout(w, &error), "%s: %s", file, error.text);
    check(h5_metadata(w, put_raw, &fd) && ftruncate(fd, h5_file_bytes(w)) == 0, "%s: cannot write", file);
    check(put_raw(&fd, h5_offset(w, tokens), s->token, min_i64(s->n_tokens, 4) * dtype_bytes(s->dtype)), "%s", file);
    if (documents >= 0)
        check(put_raw(&fd, h5_offset(w, documents), s->offset, s->n_offsets * dtype_bytes(s->documents_dtype)), "%s",
              file);
    h5_destroy(w);
    close(fd);
}

static void spoil_format(RawShard *s) { s->format = "other"; }
static void spoil_version(RawShard *s) { s->version = 3; }
static void spoil_shard(RawShard *s) { s->shard = 1; }
static void spoil_shards(RawShard *s) { s->shards = 1000000000; }
static void spoil_tokenizer(RawShard *s) {
    static char name[600];
    memset(name, 'n', sizeof name - 1);
    s->tokenizer = name;
}
static void spoil_hash(RawShard *s) { s->hash = "0123"; }
static void spoil_hash_digits(RawShard *s) { s->hash = "0123456789abcdeg"; }
static void spoil_vocab(RawShard *s) { s->vocab_size = 0; }
static void spoil_vocab_large(RawShard *s) { s->vocab_size = INT64_MAX; }
static void spoil_count(RawShard *s) { s->tokens = 5; }
static void spoil_negative(RawShard *s) { s->tokens = -4; }
static void spoil_huge(RawShard *s) { s->tokens = INT64_MAX; }
static void spoil_documents(RawShard *s) { s->documents = 3; }
static void spoil_documents_many(RawShard *s) { s->documents = INT64_MAX; }
static void spoil_documents_none(RawShard *s) { s->documents = 0; }
static void spoil_skipped(RawShard *s) { s->skipped = -1; }
static void spoil_dtype(RawShard *s) { s->dtype = F32; }
static void spoil_documents_dtype(RawShard *s) { s->documents_dtype = I32; }
static void spoil_first(RawShard *s) { s->offset[0] = 1; }
static void spoil_order(RawShard *s) { s->offset[1] = 0; }
static void spoil_range(RawShard *s) { s->offset[1] = 9; }
static void spoil_below(RawShard *s) { s->offset[1] = -1; }
static void spoil_last(RawShard *s) { s->offset[2] = 3; }
static void spoil_source(RawShard *s) { s->no_source = true; }
static void spoil_missing(RawShard *s) { s->no_documents = true; }
static void spoil_token(RawShard *s) { s->token[2] = 258; }
static void spoil_token_sign(RawShard *s) { s->token[2] = -1; }
static void spoil_nothing(RawShard *s) { (void)s; }

static const struct {
    void (*spoil)(RawShard *);
    const char *words;
} bad_shards[] = {
    {spoil_format, "is no token shard"},
    {spoil_version, "version 3"},
    {spoil_shard, "shard is 1, allowed are 0 to 0"},
    {spoil_shards, "shards is 1000000000"},
    {spoil_tokenizer, "longer than 511 bytes"},
    {spoil_hash, "not 16 hexadecimal digits"},
    {spoil_hash_digits, "not 16 hexadecimal digits"},
    {spoil_vocab, "vocab_size is 0"},
    {spoil_vocab_large, "vocab_size is 9223372036854775807"},
    {spoil_count, "4 elements, its attributes say one dim and 5"},
    {spoil_negative, "tokens is -4"},
    {spoil_huge, "tokens is 9223372036854775807"},
    {spoil_documents, "3 elements, its attributes say one dim and 4"},
    {spoil_documents_many, "documents is 9223372036854775807"},
    {spoil_documents_none, "documents is 0"},
    {spoil_skipped, "skipped is -1"},
    {spoil_dtype, "tokens are f32"},
    {spoil_documents_dtype, "documents are i32"},
    {spoil_first, "documents[0] is 1"},
    {spoil_order, "documents[1] is 0"},
    {spoil_range, "documents[1] is 9"},
    {spoil_below, "documents[1] is -1"},
    {spoil_last, "documents[2] is 3"},
    {spoil_source, "no attribute source"},
    {spoil_missing, "documents"},
    {spoil_token, "token 2 is 258"},
    {spoil_token_sign, "token 2 is -1"},
    {spoil_nothing, "documents is damaged"},
};

static bool read_all(const char *file, Error *error) {
    int32_t tokens[4];
    TokenShard *s = tokens_open(file, error);
    bool ok = s && tokens_read(s, 0, 4, tokens, error);
    tokens_close(s);
    return ok && tokens_verify(file, error);
}

void broken_token_shards(void) {
    Error error = {0};
    const char *file = test_path("bad.h5");
    for (size_t i = 0; i < sizeof bad_shards / sizeof *bad_shards; i++) {
        RawShard s = sound_shard;
        bad_shards[i].spoil(&s);
        write_raw(file, &s);
        expect_message(read_all(file, &error), &error, bad_shards[i].words, bad_shards[i].words);
        expect(strstr(error.text, "bad.h5"), "no file name in: %s", error.text);
    }
    expect_message(read_all(test_file("text.h5", "hello", 5), &error), &error, "text.h5", "a text as a shard");
    write_raw(file, &sound_shard);
    check(!truncate(file, 600), "cannot cut %s", file);
    expect_message(read_all(file, &error), &error, "bad.h5", "cut off");
}

void flipped_token_shard(void) {
    Error error;
    int32_t tokens[300];
    int64_t documents[4] = {0, 10, 150, 300}, bytes, accepted = 0;
    ShardInfo info = {.vocab_size = 258, .tokenizer = "bytes", .source = "x"};
    for (int i = 0; i < 300; i++) tokens[i] = i % 258;
    const char *good_file = test_path("good.h5"), *file = test_path("flipped.h5");
    check(tokens_write(good_file, tokens, documents, 3, &info, &error), "%s", error.text);
    char *good = disk_read_file(good_file, 1 << 24, &bytes, &error);
    check(good, "%s", error.text);
    int fd = open(file, O_CREAT | O_RDWR, 0644);
    check(fd >= 0 && pwrite(fd, good, (size_t)bytes, 0) == bytes, "cannot write %s", file);
    for (uint64_t i = 0; i < 250; i++) {
        int64_t at = (int64_t)(random_bits(1, 3, i) % (uint64_t)bytes);
        char byte = (char)(good[at] ^ (char)(1 + random_bits(1, 4, i) % 255));
        check(pwrite(fd, &byte, 1, at) == 1, "cannot write %s", file);
        accepted += tokens_verify(file, &error);
        check(pwrite(fd, &good[at], 1, at) == 1, "cannot write %s", file);
    }
    close(fd);
    expect(tokens_verify(file, &error), "%s", error.text);
    expect(accepted < 175, "%lld of 250 damaged shards were accepted", (long long)accepted); /* blank metadata */
    free(good);
}

/* -- work in a process of its own ------------------------------------------------------------------------------ */

static void work_well(void *own, FILE *out) { fputs(own, out); }
static void work_abort(void *own, FILE *out) {
    fputs(own, out);
    fflush(out);
    abort();
}
static void work_fault(void *own, FILE *out) { (void)own, raise(SIGSEGV), fputs("never", out); }
static void work_check(void *own, FILE *out) { check(!out, "a check of %s", (const char *)own); }
static void work_exit(void *own, FILE *out) {
    fputs(own, out);
    fflush(out);
    _exit(0);
}
static void work_eat(void *own, FILE *out) {
    fputs(own, out);
    memset(must_alloc(3, 1 << 30), 1, (size_t)3 << 30);
}
static void work_talk(void *own, FILE *out) {
    while (!ferror(out)) fputs(own, out);
}

void work_apart(void) {
    static const struct {
        void (*work)(void *, FILE *);
        const char *message;
    } cases[] = {{work_abort, "x.h5: damaged: reading it crashed (Aborted)"},
                 {work_fault, "x.h5: damaged: reading it crashed (Segmentation fault)"},
                 {work_check, "x.h5: damaged: reading it failed (exit 1)"},
                 {work_exit, "x.h5: damaged: reading it failed (exit 0)"},
                 {work_eat, "x.h5: damaged: reading it failed (exit 1)"},
                 {work_talk, "x.h5: damaged: it lists too much"}};
    Error error;
    int64_t count;
    char words[] = "some words", *text = apart(work_well, words, "x.h5", &count, &error);
    expect(text && count == 10 && !memcmp(text, words, 10), "what was written comes back");
    free(text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text = apart(cases[i].work, words, "x.h5", &count, &error);
        expect(!text, "case %zu comes to an end", i);
        if (!text) expect_message(false, &error, cases[i].message, cases[i].message);
        free(text);
    }
}
