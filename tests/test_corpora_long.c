/* test_corpora_long.c - documents longer than the window they are encoded through. */
#include "tests/test_corpora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"

/* A document of several windows has the ids of the whole, however it comes. */
static void expect_whole(const Tokenizer *t, const char *text, int64_t bytes) {
    static const Config c = {.bos_token_id = -1, .eos_token_id = -1, .file = ""};
    static const char *const names[] = {"long.txt", "long.txt.gz"};
    Error error;
    int32_t *ids = must_alloc(tokenizer_room(t, bytes), sizeof *ids);
    int64_t n = tokenizer_encode(t, ids, text, bytes, SPECIALS_MATCH);
    for (int i = 0; i < 2; i++) {
        DataSet set = corpus_set(corpus_pack(names[i], text, bytes, 99999));
        Prepared p;
        check(prepare_set(&p, &c, &set, t, test_path("long"), NULL, &error), "%s", error.text);
        TokenShard *s = tokens_open(p.train, &error);
        check(s, "%s", error.text);
        int64_t all = tokens_info(s)->tokens, bos = tokenizer_adds_bos(t);
        int32_t *found = must_alloc(all, sizeof *found);
        check(tokens_read(s, 0, all, found, &error), "%s", error.text);
        expect(all == n + bos + 1 && !memcmp(found + bos, ids, (size_t)n * sizeof *ids),
               "%s: %lld tokens, of the whole %lld", names[i], (long long)all, (long long)n);
        tokens_close(s);
        free(found);
    }
    free(ids);
}

/* With a window's border between its lines, or in a line that goes on through several. */
static void expect_long(const Tokenizer *t, char between) {
    Error error;
    int64_t bytes;
    char *sample = disk_read_file("data/sample/genesis.txt", 1 << 24, &bytes, &error);
    check(sample, "%s", error.text);
    char *text = must_alloc(12 * bytes, 1);
    for (int i = 0; i < 12; i++) memcpy(text + i * bytes, sample, (size_t)bytes);
    for (int64_t i = 0; i < 12 * bytes; i++)
        if (text[i] == '\n') text[i] = between;
    expect_whole(t, text, 12 * bytes);
    free(text);
    free(sample);
}

/* No line that is indented is a place to cut at. Where the only places are these, a window grows until it holds one, and
 * what is left behind that may still be longer than a window begins. */
static void expect_sparse(const Tokenizer *t, int64_t bytes, const int64_t *place, int places) {
    char *text = NULL;
    size_t all = 0;
    FILE *f = open_memstream(&text, &all);
    for (int64_t i = 0; ftell(f) < bytes; i++) {
        if (places && ftell(f) >= *place) fputs("}\n{\n", f), place++, places--;
        fprintf(f, "    \"key%lld\": %lld,\n", (long long)i, (long long)(i * 7919 % 1000003));
    }
    fclose(f);
    expect_whole(t, text, (int64_t)all);
    free(text);
}

void long_texts(void) {
    Error error;
    Tokenizer *t = tokenizer_open("tests/fixtures/tokenizer/deepseek-v2.json", &error);
    check(t, "%s", error.text);
    expect_long(t, '\n');
    expect_long(t, ' ');
    expect_sparse(t, 5 << 20, (int64_t[]){2200000}, 1);
    expect_sparse(t, 5 << 20, (int64_t[]){1100000, 4100000}, 2);
    tokenizer_close(t);
}
