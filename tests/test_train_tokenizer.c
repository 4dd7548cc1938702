/* test_train_tokenizer.c - merges learned from words, words counted in files, and what is written. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/tokenizer_write.h"
#include "tests/test_tokenizer.h"

static Words words_of(const char *const *word, const int *count) {
    Words w;
    words_open(&w);
    for (int i = 0; word[i]; i++) words_add(&w, word[i], (int64_t)strlen(word[i]), count[i]);
    return w;
}

static void expect_merges(const Learned *l, const char *wanted) {
    char got[512] = "";
    for (int64_t i = 0; i < l->merges; i++)
        for (int side = 0; side < 2; side++) {
            int32_t id = side ? l->merge[i].right : l->merge[i].left;
            int64_t from = id ? l->end[id - 1] : 0;
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s",
                     side ? "+"
                     : i  ? " "
                          : "",
                     (int)(l->end[id] - from), l->text + from);
        }
    expect(!strcmp(got, wanted), "'%s', not '%s'", got, wanted);
}

/* Worked by hand: the counts after each merge decide the next. */
static void known_merges(void) {
    static const struct {
        const char *word[6];
        int count[6];
        int64_t tokens, least;
        const char *merges;
    } rows[] = {
        {{"hug", "pug", "pun", "bun", "hugs"}, {10, 5, 12, 4, 5}, 259, 1, "u+g u+n h+ug"},
        {{"hug", "pug", "pun", "bun", "hugs"}, {10, 5, 12, 4, 5}, 400, 5, "u+g u+n h+ug p+un p+ug hug+s"},
        {{"aaaa"}, {3}, 400, 1, "a+a aa+aa"},
        {{"aaa"}, {3}, 400, 1, "a+a aa+a"},
        {{"ab", "cd"}, {1, 1}, 257, 1, "a+b"},       /* equal counts: the lower left id */
        {{"ac", "ab"}, {1, 1}, 257, 1, "a+b"},       /* then the lower right one */
        {{"ab", "cd"}, {1, 2}, 400, 2, "c+d"},       /* seen once is not enough */
        {{"\xc3\xa9", "~a"}, {1, 1}, 257, 1, "~+a"}, /* ids in the order of the alphabet, not of bytes */
        {{"a"}, {9}, 400, 1, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Learned l;
        Words w = words_of(rows[i].word, rows[i].count);
        bpe_learn(&l, &w, rows[i].tokens, rows[i].least, NULL, NULL);
        expect_merges(&l, rows[i].merges);
        expect(l.tokens == 256 + l.merges, "row %zu: %lld tokens", i, (long long)l.tokens);
        bpe_learned_free(&l);
        words_free(&w);
    }
}

static Pretokenizer *v2(void) {
    Error error;
    json_t *json = json_loads(pretokenizer_deepseek_v2, 0, NULL);
    Pretokenizer *p = pretokenizer_open(json, &error);
    json_decref(json);
    check(p, "%s", error.text);
    return p;
}

static bool count_files(Words *w, const char *const *files, int64_t n, int64_t most, WordCount *c, Error *error) {
    Pretokenizer *p = v2();
    *c = (WordCount){.pretokenizer = p, .field = "text", .most_words = most};
    words_open(w);
    bool ok = words_count(w, c, files, n, error);
    pretokenizer_close(p);
    return ok;
}

static bool count(Words *w, const char *file, int64_t most, WordCount *c, Error *error) {
    return count_files(w, &file, 1, most, c, error);
}

static int64_t count_of(const Words *w, const char *word) {
    for (int64_t i = 0; i < w->words; i++)
        if (w->word[i].bytes == (int32_t)strlen(word) && !memcmp(w->text + w->word[i].from, word, strlen(word)))
            return w->word[i].count;
    return 0;
}

static void counted_words(void) {
    static const char text[] = "{\"text\":\"the cat, the 12\\nthe cat\"}\n{\"text\":\"\"}\n{\"text\":\"cat\"}\n";
    char *long_text = must_alloc(WORD_BYTES + 9, 1);
    Words w;
    WordCount c;
    Error error;
    bool ok = count(&w, test_file("a.jsonl", text, (int64_t)strlen(text)), 100, &c, &error);
    expect(ok && c.documents == 2 && c.skipped == 1, "%s", ok ? "documents" : error.text);
    expect(count_of(&w, "the") == 2 && count_of(&w, " the") == 1 && count_of(&w, " cat") == 2, "words");
    expect(count_of(&w, "cat") == 1 && count_of(&w, ",") == 1 && count_of(&w, " ") == 1 && count_of(&w, "1") == 1,
           "others");
    words_free(&w);
    memset(long_text, 'a', WORD_BYTES + 1);
    memcpy(long_text + WORD_BYTES + 1, "\naa", 4);
    ok = count(&w, test_file("long.txt", long_text, WORD_BYTES + 4), 100, &c, &error);
    expect(ok && w.left_out == 1 && w.words == 2, "what is too long is left out");
    words_free(&w);
    expect(!count(&w, "data/sample/john.txt", 100, &c, &error), "too many words were taken");
    expect(strstr(error.text, "max_words"), "%s", error.text);
    words_free(&w);
    free(long_text);
}

/* Files, several chunks for every thread. */
static Learned learned_with(int threads) {
    static const char *const files[] = {"data/sample/john.txt", "data/sample/luke.txt", "data/sample/psalms.txt",
                                        "data/sample/exodus.txt", "data/sample/proverbs.txt"};
    Words w;
    WordCount c;
    Error error;
    Learned l;
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    bool ok = count_files(&w, files, 5, 1000000, &c, &error);
    omp_set_num_threads(before);
    check(ok, "%s", error.text);
    bpe_learn(&l, &w, 1000, 2, NULL, NULL);
    words_free(&w);
    return l;
}

static void threads_change_nothing(void) {
    Learned one = learned_with(1), three = learned_with(3);
    expect(one.merges == 744 && three.merges == 744, "%lld merges", (long long)one.merges);
    expect(!memcmp(one.merge, three.merge, (size_t)one.merges * sizeof *one.merge), "other merges");
    expect(one.corpus_tokens == three.corpus_tokens && one.corpus_tokens > 0, "other counts");
    bpe_learned_free(&one);
    bpe_learned_free(&three);
}

/* What was learned is what the encoder does: the words of the corpus become as many tokens. */
static void written(void) {
    Error error;
    Learned l;
    Words w;
    WordCount c;
    check(count(&w, "data/sample/john.txt", 1000000, &c, &error), "%s", error.text);
    bpe_learn(&l, &w, 1000, 2, NULL, NULL);
    words_free(&w);
    const char *folder = test_path("made");
    bool ok = tokenizer_write(folder, &l, CONTROL_TOKENS_FIM, &error);
    expect(ok, "%s", error.text);
    Tokenizer *t = tokenizer_open(folder, &error);
    check(t, "%s", error.text);
    expect(tokenizer_size(t) == 1005 && tokenizer_bos(t) == 1000 && tokenizer_eos(t) == 1001, "control tokens");
    expect(tokenizer_id(t, "<｜fim▁end｜>") == 1004 && !tokenizer_is_special(t, 1004), "those for filling in");
    int64_t bytes;
    char *text = disk_read_file("data/sample/john.txt", 1 << 20, &bytes, &error);
    int32_t *ids = must_alloc(tokenizer_room(t, bytes), sizeof *ids);
    int64_t n = tokenizer_encode(t, ids, text, bytes, SPECIALS_MATCH);
    expect(n == l.corpus_tokens, "%lld tokens, and %lld when it was learned", (long long)n,
           (long long)l.corpus_tokens);
    expect(!tokenizer_write(folder, &l, 2, &error) && strstr(error.text, "is there already"), "%s", error.text);
    expect(!tokenizer_write("/proc/nowhere", &l, 2, &error), "written to a folder that takes nothing");
    free(ids);
    free(text);
    tokenizer_close(t);
    bpe_learned_free(&l);
}

const TestCase train_tokenizer_tests[] = {
    {"merges that are known", known_merges},
    {"words of files", counted_words},
    {"threads change nothing", threads_change_nothing},
    {"what is written is read", written},
    {0},
};
