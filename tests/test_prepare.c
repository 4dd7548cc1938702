/* test_prepare.c - prepare: splits, the cache, interruptions, what it refuses. */
#include "tests/test_corpora.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/disk.h"

static const Config plain_config = {.bos_token_id = -1, .eos_token_id = -1, .file = ""};

static DataSet make_set(const char *path, double validation) {
    return (DataSet){.name = "set",
                     .path = path,
                     .format = "text",
                     .field = "text",
                     .validation = validation,
                     .shard_tokens = 500000000};
}

static bool prepare(Prepared *out, DataSet set, Error *error) {
    Tokenizer *t = tokenizer_open("bytes", error);
    bool ok = prepare_set(out, &plain_config, &set, t, test_path("out"), NULL, error);
    tokenizer_close(t);
    return ok;
}

static Prepared must_prepare(DataSet set) {
    Prepared out;
    Error error = {0};
    check(prepare(&out, set, &error), "%s", error.text);
    return out;
}

static void expect_text(const char *file, const char *wanted) {
    char *text = corpus_text(file);
    expect(!strcmp(text, wanted), "%s: '%s', not '%s'", file, text, wanted);
    free(text);
}

/* `count` lines {"text": "document N"}; with copies every fifth is the first. */
static const char *make_lines(int count, bool copies) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    for (int i = 0; i < count; i++)
        fprintf(f, "{\"id\": %d, \"text\": \"document %d\"}\n", i, copies && i % 5 == 0 ? 0 : i);
    fclose(f);
    const char *file = test_file("lines.jsonl", text, (int64_t)bytes);
    free(text);
    return file;
}

void prepare_splits_tails(void) {
    test_file("b.txt", "abcdefghijklmnopqrst", 20);
    test_file("a.txt", "0123456789", 10);
    test_file("c.txt", "", 0);
    test_file("d.txt",
              "\xef\xbb\xbf"
              "x",
              4);
    Prepared p = must_prepare(make_set(test_path("*.txt"), 0.2));
    expect_text(p.train, "01234567|abcdefghijklmnop|x|");
    expect_text(p.validation, "89|qrst|");
    expect(p.documents == 3 && p.tokens == 28 && p.validation_tokens == 8, "%lld documents, %lld + %lld tokens",
           (long long)p.documents, (long long)p.tokens, (long long)p.validation_tokens);
    expect(p.source.skipped == 1 && p.source.bytes == 31 && !p.cached, "%lld skipped, %lld bytes",
           (long long)p.source.skipped, (long long)p.source.bytes);
    p = must_prepare(make_set(test_path("*.txt"), 0));
    expect_text(p.train, "0123456789|abcdefghijklmnopqrst|x|");
    expect(!p.validation[0] && p.validation_tokens == 0, "a validation shard without being asked for");
}

/* Whole documents, each on one side, copies together. */
static void expect_split(const Prepared *p, int documents, bool copies, int64_t least, int64_t most) {
    char *train = corpus_text(p->train), *held = corpus_text(p->validation);
    for (int i = 0; i < documents; i++) {
        char text[32];
        snprintf(text, sizeof text, "document %d|", copies && i % 5 == 0 ? 0 : i);
        bool in_train = strstr(train, text), in_held = strstr(held, text);
        expect(in_train != in_held, "%s in training: %d, held out: %d", text, in_train, in_held);
    }
    expect(p->documents + p->validation_documents == documents, "documents were lost");
    expect(p->validation_documents >= least && p->validation_documents <= most, "%lld held out",
           (long long)p->validation_documents);
    free(train);
    free(held);
}

void prepare_splits_documents(void) {
    Prepared p = must_prepare(make_set(make_lines(200, false), 0.1));
    expect_split(&p, 200, false, 20, 20);
    p = must_prepare(make_set(make_lines(200, true), 0.1)); /* 40 copies, held out or not */
    expect_split(&p, 200, true, 20, 59);
    p = must_prepare(make_set(make_lines(20, false), 0.001));
    expect_split(&p, 20, false, 1, 1);
}

void prepare_counts_documents(void) {
    Error error;
    for (int held = 1; held < 30; held += 4) {
        Prepared p = must_prepare(make_set(make_lines(30, false), held));
        expect_split(&p, 30, false, held, held);
    }
    Prepared p;
    DataSet set = make_set(test_path("lines.jsonl"), 30);
    expect_message(prepare(&p, set, &error), &error, "leaves none to train on", "all documents");
    set.validation = 7.5;
    expect_message(prepare(&p, set, &error), &error, "nor a whole number", "7.5 documents");
    test_file("same.jsonl", "{\"text\":\"a\"}\n{\"text\":\"a\"}\n", 26);
    set = make_set(test_path("same.jsonl"), 1);
    expect_message(prepare(&p, set, &error), &error, "leaves none to train on", "copies of one document");
}

static void set_time(const char *file, time_t seconds) {
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    check(!utimensat(AT_FDCWD, file, times, 0), "cannot set the time of %s", file);
}

/* Removing the prepared folder and preparing again gives the same bytes. */
static void expect_reproduced(DataSet set) {
    int64_t bytes, again;
    Error error;
    Prepared p = must_prepare(set);
    char *file = must_format("%s-00000.h5", p.train), *first = disk_read_file(file, 1 << 24, &bytes, &error);
    *strrchr(p.train, '/') = 0;
    check(disk_remove_folder(p.train, &error), "%s", error.text);
    p = must_prepare(set);
    char *second = disk_read_file(file, 1 << 24, &again, &error);
    expect(!p.cached && first && second && bytes == again && !memcmp(first, second, (size_t)bytes),
           "prepared twice, two results");
    free(file);
    free(first);
    free(second);
}

void prepare_caches(void) {
    DataSet set = make_set(make_lines(40, true), 0.1);
    set_time(set.path, 1000);
    Prepared a = must_prepare(set), b = must_prepare(set);
    expect(!a.cached && b.cached, "cached: %d, then %d", a.cached, b.cached);
    expect(!strcmp(a.train, b.train) && a.tokens == b.tokens && a.source.bytes == b.source.bytes &&
               a.documents == b.documents && a.validation_tokens == b.validation_tokens,
           "the cache says something else");
    set.validation = 0.2;
    b = must_prepare(set);
    expect(!b.cached && strcmp(a.train, b.train), "another share, the same shard");
    make_lines(40, true);
    set_time(set.path, 1001);
    expect(!must_prepare(set).cached, "a file of another time, the same shard");
    make_lines(41, true);
    set_time(set.path, 10413792000); /* the year 2300 */
    expect(!must_prepare(set).cached, "a file of another size, the same shard");
    expect_reproduced(set);
}

static void prepare_and_die(DataSet set) {
    Prepared p;
    Error error;
    bool ok = prepare(&p, set, &error);
    _exit(ok ? 0 : 1);
}

static bool is_prepared(void) {
    glob_t found;
    char *pattern = must_format("%s/set-*", test_path("out"));
    bool there = glob(pattern, 0, NULL, &found) == 0;
    if (there) globfree(&found);
    free(pattern);
    return there;
}

/* Killed ever later; what then stands under the final name is whole, and the next run is not confused. */
void prepare_interrupted(void) {
    DataSet set = make_set("data/sample/*.txt", 0.05);
    Error error;
    for (useconds_t i = 0; i < 40 && !is_prepared(); i++) {
        pid_t child = fork();
        if (child == 0) prepare_and_die(set);
        usleep(200 * i);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    Prepared p = must_prepare(set);
    expect(tokens_verify(p.train, &error) && tokens_verify(p.validation, &error), "%s", error.text);
    expect(p.tokens + p.validation_tokens == p.source.bytes + 2 * 7, "%lld + %lld tokens of %lld bytes",
           (long long)p.tokens, (long long)p.validation_tokens, (long long)p.source.bytes);
    expect(!disk_exists(test_path("out/.making-set")), "a temporary folder was left");
}

void prepare_refuses(void) {
    static const struct {
        const char *path, *text, *words;
        double validation;
    } cases[] = {
        {"gone.txt", NULL, "no file matches", 0},
        {"gone*/x.txt", NULL, "no file matches", 0},
        {"empty.txt", "", "there is no text", 0},
        {"blank.jsonl", "\n\n", "there is no text", 0},
        {"bad.jsonl", "{\"text\":\"a\"}\n{\"text\":\n", "bad.jsonl:2: not JSON", 0},
        {"bad.txt", "a\xff", "bad.txt:1: byte 0xff", 0},
        {"tiny.txt", "abc", "is not one token", 0.01},
    };
    Error error;
    Prepared p;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].text) test_file(cases[i].path, cases[i].text, (int64_t)strlen(cases[i].text));
        DataSet set = make_set(test_path(cases[i].path), cases[i].validation);
        expect_message(prepare(&p, set, &error), &error, cases[i].words, cases[i].path);
        expect(!disk_exists(test_path("out/.making-set")), "%s: a temporary folder was left", cases[i].path);
    }
    DataSet set = make_set(test_path("tiny.txt"), 0);
    set.name = "../set";
    expect_message(prepare(&p, set, &error), &error, "becomes a folder's", "a name with a slash");
    set = make_set("", 0);
    expect_message(prepare(&p, set, &error), &error, "no path", "no path");
}

void prepare_uses_shards(void) {
    test_file("a.txt", "0123456789", 10);
    Prepared p = must_prepare(make_set(test_path("a.txt"), 0.2)), q;
    char *file = must_format("%s-00000.h5", p.train);
    DataSet set = make_set(file, 0);
    set.format = "tokens";
    q = must_prepare(set);
    free(file);
    expect(!strcmp(q.train, p.train) && !strcmp(q.validation, p.validation) && q.tokens == p.tokens,
           "a shard as path");
    Error error;
    set.validation = 0.1;
    expect_message(prepare(&q, set, &error), &error, "was split when it was prepared", "a second split");
    set = make_set(test_path("a.txt"), 0);
    set.format = "tokens";
    expect_message(prepare(&q, set, &error), &error, "holds no train-00000.h5", "a text as shard");
    test_file("train-00000.h5", "text", 4);
    set.path = test_path("train-00000.h5");
    expect_message(prepare(&q, set, &error), &error, "train-00000.h5", "a text named train-00000.h5");
}

static void expect_lost_link(void) {
    Error error;
    Prepared p;
    check(!symlink("nowhere", test_path("in/deep/z.txt")), "no link");
    expect_message(prepare(&p, make_set(test_path("in"), 0), &error), &error,
                   "deep/z.txt: this link leads to nothing", "a folder with a link to nothing");
    check(!unlink(test_path("in/deep/z.txt")) && !symlink("nowhere", test_path("in/.z")), "no other link");
}

/* A folder: all visible files below it; relative to the config file before the working folder. */
void prepare_reads_folders(void) {
    Error error;
    check(disk_make_folder(test_path("in/deep"), &error) && disk_make_folder(test_path("in/.git"), &error), "%s",
          error.text);
    for (char name[] = "in/h.txt"; name[3] >= 'b'; name[3]--) test_file(name, name + 3, 1);
    test_file("in/deep/a.txt", "a", 1);
    test_file("in/.hidden", "h", 1);
    test_file("in/.git/x", "x", 1);
    test_file("in/[c].jsonl", "{\"text\":\"c\"}", 12);
    expect_lost_link();
    Prepared p = must_prepare(make_set(test_path("in"), 0));
    expect_text(p.train, "c|b|c|d|a|e|f|g|h|");
    Config c = plain_config;
    c.file = test_path("my.yaml");
    Tokenizer *t = tokenizer_open("bytes", &error);
    DataSet set = make_set("in/[c].jsonl", 0);
    expect(prepare_set(&p, &c, &set, t, test_path("out"), NULL, &error), "%s", error.text);
    expect_text(p.train, "c|");
    set.path = "data/sample/j*.txt"; /* not beside the config file */
    expect(prepare_set(&p, &c, &set, t, test_path("out"), NULL, &error) && p.source.bytes > 90000, "%s", error.text);
    tokenizer_close(t);
}
