/* test_survey.c - figures of prepare --dry-run, and ids as people read them. */
#include "tests/test_corpora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/survey.h"
#include "tests/forked.h"
#include "train/render.h"

static const Config plain_config = {.bos_token_id = -1, .eos_token_id = -1, .file = ""};

typedef struct {
    DataSet set;
    int64_t most;
    Survey *survey; /* shared memory of rank 0's figures is not needed: each rank compares with these */
} Trial;

static bool survey(Survey *s, const DataSet *set, int64_t most, Comm *world, Error *error) {
    Tokenizer *t = tokenizer_open("bytes", error);
    bool ok = survey_set(s, &plain_config, set, t, most, world, error);
    tokenizer_close(t);
    return ok;
}

static Survey survey_one(DataSet set, int64_t most) {
    Survey s;
    Error error = {0};
    Comm *alone = comm_open_single();
    check(survey(&s, &set, most, alone, &error), "%s", error.text);
    alone->ops->close(alone);
    return s;
}

void survey_figures(void) {
    static const char text[] =
        "{\"text\":\"abc\"}\n{\"text\":\"\xef\xbf\xbdz\xef\xbf\xbd\xe2\x82\xac\"}\nbad\n{\"text\":\"abc\"}\n"
        "{\"text\":\"\"}\n{\"text\":\"de\"}\n";
    DataSet set = corpus_set(test_file("s.jsonl", text, sizeof text - 1));
    set.min_tokens = 3;
    Survey s = survey_one(set, 1 << 30);
    expect(s.documents == 3 && s.tokens == 3 + 10 + 3 + 3 && s.longest == 11,
           "%lld documents, %lld tokens, longest %lld", (long long)s.documents, (long long)s.tokens,
           (long long)s.longest);
    expect(s.characters == 3 + 4 + 3 + 2 && s.replaced == 2, "%lld characters, %lld U+FFFD", (long long)s.characters,
           (long long)s.replaced);
    expect(s.duplicates == 1 && s.compared == 3 && s.compared_share == 1, "%lld duplicates of %lld",
           (long long)s.duplicates, (long long)s.compared);
    expect(s.source.bytes == 18 && s.source.skipped == 1 && s.source.too_short == 1 && s.source.bad_lines == 1,
           "%lld bytes", (long long)s.source.bytes);
    expect(strstr(s.bad[0], "s.jsonl:3: not JSON"), "%s", s.bad[0]);
    static const int32_t rows[3][4] = {{'a', 'b', 'c', 257}, {0xef, 0xbf, 0xbd, 'z'}, {'a', 'b', 'c', 257}};
    for (int r = 0; r < 3; r++)
        expect(s.row_tokens[r] >= 4 && !memcmp(s.row[r], rows[r], sizeof rows[r]), "row %d", r);
    expect(!disk_exists(test_path("set")), "something was written");
}

static bool survey_rank(Comm *world, void *own) {
    Trial *trial = own;
    Survey s;
    Error error = {0};
    bool ok = survey(&s, &trial->set, trial->most, world, &error);
    if (!ok) printf("  rank %d: %s\n", world->rank, error.text);
    return ok && !memcmp(&s, trial->survey, sizeof s);
}

void survey_ranks(void) {
    Error error;
    check(disk_make_folder(test_path("in"), &error), "%s", error.text);
    corpus_lines("in/a.jsonl", "plain", 2500, 600);
    corpus_lines("in/b.jsonl.gz", "plain", 400, 600);
    test_file("in/c.jsonl", "{\n{\n{\n{\n", 8);
    DataSet set = corpus_set(test_path("in"));
    Survey one = survey_one(set, 1 << 30);
    expect(one.documents == 2900 && one.duplicates == 400 && one.source.bad_lines == 4,
           "%lld documents, %lld duplicates", (long long)one.documents, (long long)one.duplicates);
    Trial trial = {set, 1 << 30, &one};
    for (int ranks = 2; ranks <= 3; ranks++)
        expect(forked(ranks, survey_rank, &trial), "%d ranks find other figures", ranks);
}

/* Of a large source some parts are read; of many documents some are compared. */
void survey_samples(void) {
    DataSet set = corpus_set(corpus_lines("a.jsonl", "plain", 4000, 600));
    Survey s = survey_one(set, 1 << 19);
    expect(s.bytes_read < s.bytes / 2 && s.bytes_read >= 1 << 18, "%lld of %lld bytes", (long long)s.bytes_read,
           (long long)s.bytes);
    double bytes = (double)s.source.bytes / (double)s.documents;
    expect(bytes > 550 && bytes < 680, "documents of %.1f bytes", bytes);
    char *text = NULL;
    size_t all;
    FILE *f = open_memstream(&text, &all);
    for (int i = 0; i < 2400000; i++) fprintf(f, "{\"text\":\"%d\"}\n", i % 1600000);
    fclose(f);
    set.path = test_file("many.jsonl", text, (int64_t)all);
    free(text);
    s = survey_one(set, 1 << 30);
    double share = (double)s.duplicates / (double)s.compared;
    expect(s.compared_share > 1 && s.compared > 500000 && s.compared <= 1 << 20, "%lld compared, 1 in %lld",
           (long long)s.compared, (long long)s.compared_share);
    expect(share > 0.331 && share < 0.336, "a share of %.4f duplicates, where a third is", share);
}

static void expect_render(const int32_t *ids, int64_t n, bool borders, const char *wanted) {
    char *text = NULL;
    size_t bytes;
    Error error;
    Tokenizer *t = tokenizer_open("bytes", &error);
    FILE *f = open_memstream(&text, &bytes);
    Render r;
    render_open(&r, f, t, borders, false);
    render_ids(&r, ids, n);
    render_close(&r);
    fclose(f);
    expect(!strcmp(text, wanted), "'%s', not '%s'", text, wanted);
    free(text);
    tokenizer_close(t);
}

void render_escapes(void) {
    static const struct {
        const char *text, *plain, *borders;
    } cases[] = {
        {"ab", "ab", "|a|b|"},
        {"a|\\", "a|\\\\", "|a|\\||\\\\|"},
        {"\n\t\x1b", "\\n\\t\\x1b", "|\\n|\\t|\\x1b|"},
        {"\xe2\x82\xac", "\xe2\x82\xac", "|\\xe2|\\x82|\\xac|"},
        {"\xe2\x80\x8fx", "\\u{200f}x", "|\\xe2|\\x80|\\x8f|x|"},
        {"\xc2\x9b", "\\u{9b}", "|\\xc2|\\x9b|"},
        {"\xff\xe2\x82", "\\xff\\xe2\\x82", "|\\xff|\\xe2|\\x82|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[16];
        int64_t n = (int64_t)strlen(cases[i].text);
        for (int64_t k = 0; k < n; k++) ids[k] = (unsigned char)cases[i].text[k];
        expect_render(ids, n, false, cases[i].plain);
        expect_render(ids, n, true, cases[i].borders);
    }
    expect_render((int32_t[]){256, 'a', 0xe2, 257, 258}, 5, false, "<bos>a\\xe2<eos><258>");
}
