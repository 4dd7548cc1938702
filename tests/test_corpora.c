/* test_corpora.c - prepare at scale: ranks, duplicates, rows of shards. */
#include "tests/test_corpora.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "data/disk.h"
#include "data/duplicates.h"
#include "data/loader.h"
#include "tests/forked.h"

/* -- sources and results ------------------------------------------------------------------------------------- */

static const Config plain_config = {.bos_token_id = -1, .eos_token_id = -1, .file = ""};

DataSet corpus_set(const char *path) {
    return (DataSet){.name = "set", .path = path, .format = "text", .field = "text", .shard_tokens = 1 << 30};
}

typedef struct {
    DataSet set;
    const char *out;
    Prepared *prepared; /* of rank 0, shared by the ranks */
} Trial;

static bool prepare_one(Prepared *p, DataSet set, const char *out, Comm *world, Error *error) {
    Tokenizer *t = tokenizer_open("bytes", error);
    bool ok = prepare_set(p, &plain_config, &set, t, out, world, error);
    tokenizer_close(t);
    return ok;
}

bool corpus_try(Prepared *p, DataSet set, const char *out, Error *error) {
    return prepare_one(p, set, out, NULL, error);
}

static bool prepare_rank(Comm *world, void *own) {
    Trial *trial = own;
    Prepared p;
    Error error = {0};
    bool ok = prepare_one(&p, trial->set, trial->out, world, &error);
    if (!ok) printf("  rank %d: %s\n", world->rank, error.text);
    return ok;
}

Prepared corpus_prepare(DataSet set, const char *out, int ranks) {
    Trial trial = {set, out, NULL};
    Prepared p;
    Error error;
    if (ranks > 1) expect(forked(ranks, prepare_rank, &trial), "%d ranks failed", ranks);
    check(corpus_try(&p, set, out, &error), "%s", error.text); /* of several ranks: reads what they made */
    return p;
}

char *corpus_text(const char *stem) {
    Error error;
    TokenShard *s = tokens_open(stem, &error);
    check(s && tokens_verify(stem, &error), "%s", error.text);
    int64_t n = tokens_info(s)->tokens;
    int32_t *tokens = must_alloc(n, sizeof *tokens);
    char *text = must_alloc(n + 1, 1);
    check(tokens_read(s, 0, n, tokens, &error), "%s", error.text);
    for (int64_t i = 0; i < n; i++) text[i] = tokens[i] == 257 ? '|' : (char)tokens[i];
    tokens_close(s);
    free(tokens);
    return text;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }

uint64_t corpus_hash(const char *folder) {
    struct dirent **entry;
    int n = scandir(folder, &entry, is_visible, by_name);
    uint64_t hash = 0;
    Error error;
    check(n > 0, "%s holds nothing", folder);
    for (int i = 0; i < n; i++) {
        int64_t bytes;
        char *path = must_format("%s/%s", folder, entry[i]->d_name);
        char *text = disk_read_file(path, 1 << 28, &bytes, &error);
        check(text, "%s", error.text);
        uint64_t all[] = {hash, hash_string(entry[i]->d_name), hash_bytes(text, bytes)};
        hash = hash_bytes(all, sizeof all);
        free(text);
        free(path);
        free(entry[i]);
    }
    free(entry);
    return hash;
}

uint64_t corpus_hash_of(const Prepared *p) {
    char *folder = must_format("%.*s", (int)(strrchr(p->train, '/') - p->train), p->train);
    uint64_t hash = corpus_hash(folder);
    free(folder);
    return hash;
}

static int64_t pack_piece(const char *name, char *to, int64_t room, const char *text, int64_t bytes) {
    if (strstr(name, ".zst")) return (int64_t)ZSTD_compress(to, (size_t)room, text, (size_t)bytes, 3);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text,
                  .avail_in = (uInt)bytes,
                  .next_out = (Bytef *)to,
                  .avail_out = (uInt)room};
    check(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
    check(deflate(&z, Z_FINISH) == Z_STREAM_END, "zlib");
    deflateEnd(&z);
    return (int64_t)z.total_out;
}

const char *corpus_pack(const char *name, const char *text, int64_t bytes, int64_t piece) {
    if (!strstr(name, ".zst") && !strstr(name, ".gz")) return test_file(name, text, bytes);
    int64_t room = 2 * bytes + 1024 * ceil_div(bytes, piece), n = 0;
    char *packed = must_alloc(room, 1);
    for (int64_t at = 0; at < bytes; at += piece)
        n += pack_piece(name, packed + n, room - n, text + at, min_i64(piece, bytes - at));
    const char *path = test_file(name, packed, n);
    free(packed);
    return path;
}

const char *corpus_lines(const char *name, const char *word, int count, int bytes) {
    char *text = NULL;
    size_t all;
    FILE *f = open_memstream(&text, &all);
    for (int i = 0; i < count; i++) {
        fprintf(f, "{\"id\": %d, \"text\": \"%s %d", i, word, i);
        for (int n = 0; n < bytes; n += 12) fprintf(f, " and %07d", i * 7919 + n);
        fputs("\"}\n", f);
    }
    fclose(f);
    const char *path = corpus_pack(name, text, (int64_t)all, 70000);
    free(text);
    return path;
}

DataSet corpus_mixed(void) {
    Error error;
    check(disk_make_folder(test_path("in/deep"), &error), "%s", error.text);
    corpus_lines("in/a.jsonl", "plain", 2500, 600);
    static const char few[] =
        "{\"text\":\"a document of its own\"}\n{\"text\":\"short\"}\n{\"text\":\"another document\"}\n";
    test_file("in/a-few.jsonl", few, sizeof few - 1);
    corpus_lines("in/b.jsonl.gz", "plain", 400, 600); /* copies of a's first */
    corpus_lines("in/c.jsonl.zst", "other", 700, 600);
    corpus_lines("in/deep/d.jsonl.zstd", "plain", 100, 600);
    for (char name[] = "in/deep/f0.txt"; name[9] <= '9'; name[9]++) test_file(name, name, 14);
    DataSet set = corpus_set(test_path("in"));
    set.validation = 0.1;
    set.deduplicate = true;
    set.shard_tokens = 300000;
    set.min_tokens = 15; /* the texts of 14 bytes are left out again */
    return set;
}

/* -- ranks ------------------------------------------------------------------------------------------------- */

static void ranks_make_the_same(void) {
    DataSet set = corpus_mixed();
    Prepared one = corpus_prepare(set, test_path("one"), 1);
    expect(one.parts > 4, "%lld parts are no test of ranks", (long long)one.parts);
    expect(one.source.duplicates == 500, "%lld duplicates", (long long)one.source.duplicates);
    expect(one.shards > 4 && one.documents + one.validation_documents == 2 + 2500 + 700 && one.source.too_short == 11,
           "%lld shards, %lld documents", (long long)one.shards,
           (long long)(one.documents + one.validation_documents));
    for (int ranks = 2; ranks <= 3; ranks++) {
        char name[32];
        snprintf(name, sizeof name, "out%d", ranks);
        Prepared p = corpus_prepare(set, test_path(name), ranks);
        expect(p.cached && corpus_hash_of(&p) == corpus_hash_of(&one), "%d ranks make other files than one", ranks);
        expect(!disk_exists(test_path(ranks == 2 ? "out2/.making-set" : "out3/.making-set")),
               "%d ranks leave parts behind", ranks);
    }
}

static bool fail_rank(Comm *world, void *own) {
    Trial *trial = own;
    Prepared p;
    Error error = {0};
    bool ok = prepare_one(&p, trial->set, trial->out, world, &error);
    return !ok && strstr(error.text, "z.jsonl:2: no field 'text'");
}

static void ranks_fail_together(void) {
    DataSet set = corpus_mixed();
    test_file("in/z.jsonl", "{\"text\":\"a\"}\n{\"txt\":\"a\"}\n", 25);
    Trial trial = {set, test_path("out"), NULL};
    expect(forked(3, fail_rank, &trial), "the ranks end with different messages, or none");
    expect(!disk_exists(test_path("out/.making-set/stop")), "what stopped the ranks was left");
}

/* -- duplicates, lengths ---------------------------------------------------------------------------------------- */

static void expect_set(const char *text, DataSet set, const char *wanted) {
    Error error;
    Prepared p;
    test_file("few.jsonl", text, (int64_t)strlen(text));
    set.path = test_path("few.jsonl");
    check(corpus_try(&p, set, test_path("few"), &error), "%s", error.text);
    char *found = corpus_text(p.train);
    expect(!strcmp(found, wanted), "'%s', not '%s'", found, wanted);
    free(found);
}

#define LINE(text) "{\"text\":\"" text "\"}\n"

static void duplicates_are_dropped(void) {
    DataSet set = corpus_set("");
    const char *text = LINE("b") LINE("a") LINE("b") LINE("c") LINE("a") LINE("a") LINE("b ");
    expect_set(text, set, "b|a|b|c|a|a|b |");
    set.deduplicate = true;
    expect_set(text, set, "b|a|c|b |");
    Prepared p;
    Error error;
    set.path = test_path("few.jsonl");
    check(corpus_try(&p, set, test_path("few"), &error), "%s", error.text);
    expect(p.source.duplicates == 3 && p.documents == 4, "%lld duplicates", (long long)p.source.duplicates);
}

static void few_passes(void) {
    expect(duplicates_passes(1) == 1 && duplicates_passes(1 << 20) == 1 && duplicates_passes((1 << 20) + 1) == 2,
           "passes over few documents");
    expect(duplicates_passes(20000000000) == 64, "%lld passes", (long long)duplicates_passes(20000000000));
}

/* One document, many times over, more often than hashes are kept at once. */
static void many_copies(void) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    for (int i = 0; i < 2300000; i++) fputs(i % 1000000 == 77 ? LINE("rare") : LINE("x"), f);
    fclose(f);
    test_file("many.jsonl", text, (int64_t)bytes);
    free(text);
    DataSet set = corpus_set(test_path("many.jsonl"));
    set.deduplicate = true;
    Prepared p = corpus_prepare(set, test_path("many"), 1);
    expect(p.documents == 2 && p.source.duplicates == 2299998, "%lld documents, %lld duplicates",
           (long long)p.documents, (long long)p.source.duplicates);
}

static void short_documents_are_left_out(void) {
    DataSet set = corpus_set("");
    Error error;
    Prepared p;
    set.min_tokens = 3;
    expect_set(LINE("ab") LINE("abc") LINE("") LINE("a") LINE("abcd"), set, "abc|abcd|");
    set.path = test_path("few.jsonl");
    check(corpus_try(&p, set, test_path("few"), &error), "%s", error.text);
    expect(p.source.too_short == 2 && p.source.skipped == 1, "%lld too short", (long long)p.source.too_short);
    set.min_tokens = 5;
    expect_message(corpus_try(&p, set, test_path("few"), &error), &error, "none of 4 documents has 5 tokens",
                   "all short");
}

/* -- rows of shards --------------------------------------------------------------------------------------------- */

static void expect_same_stream(const char *row, const char *single) {
    char *a = corpus_text(row), *b = corpus_text(single);
    expect(!strcmp(a, b), "%s reads otherwise than one shard", row);
    free(a);
    free(b);
}

static void expect_same_documents(const char *row, const char *single) {
    Error error;
    TokenShard *a = tokens_open(row, &error), *b = tokens_open(single, &error);
    check(a && b, "%s", error.text);
    for (int64_t i = 0; i <= tokens_info(b)->documents; i++) {
        int64_t x, y, document;
        expect(tokens_document(a, i, &x, &error) && tokens_document(b, i, &y, &error) && x == y,
               "document %lld at %lld", (long long)i, (long long)x);
        if (i == tokens_info(b)->documents) continue;
        expect(tokens_document_of(a, x, &document, &error) && document == i, "document %lld", (long long)document);
    }
    tokens_close(a);
    tokens_close(b);
}

/* As large as they may be, and no larger. */
static void expect_full(const Prepared *p, int64_t most) {
    Error error;
    int64_t last = 0;
    for (int i = 0; i < (int)p->shards; i++) {
        char *file = must_format(TOKENS_NAME, p->train, i);
        TokenShard *s = tokens_open(file, &error);
        check(s, "%s", error.text);
        const ShardInfo *info = tokens_info(s);
        int64_t first;
        check(tokens_document(s, 1, &first, &error), "%s", error.text);
        expect(info->tokens <= most || info->documents == 1, "%s: %lld tokens", file, (long long)info->tokens);
        expect(i == 0 || last + first > most, "%s: its first document fits the shard before", file);
        last = info->tokens;
        tokens_close(s);
        free(file);
    }
}

enum { LENGTH = 64 };

/* The sequences that training gets. */
static uint64_t batches(const char *stem) {
    Config c = {.sequence_length = LENGTH, .seed = 3, .attend = "document", .positions = "restart"};
    Error error;
    int32_t a[4][LENGTH];
    Sequence to = {a[0], a[1], a[2], a[3]};
    uint64_t hash[2] = {0};
    c.mix = (RealList){.count = 1, .name = {"set"}};
    Loader *l = loader_open(&c, &stem, 1, 258, &error);
    check(l, "%s", error.text);
    for (int64_t i = 0; i < 300; i++) {
        check(loader_sequence(l, i, to, &error), "%s", error.text);
        hash[1] = hash_bytes(a, sizeof a);
        hash[0] = hash_bytes(hash, sizeof hash);
    }
    loader_close(l);
    return hash[0];
}

static void shards_of_any_size(void) {
    static const int64_t sizes[] = {1, 500, 1000, 1009, 30000};
    DataSet set = corpus_set(corpus_lines("s.jsonl", "word", 90, 200));
    set.validation = 0.2;
    Prepared one = corpus_prepare(set, test_path("one"), 1);
    uint64_t wanted = batches(one.train);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set.shard_tokens = sizes[i];
        Prepared p = corpus_prepare(set, test_path("many"), 1);
        expect(p.shards == (sizes[i] < 400 ? p.documents : p.shards) && p.shards > 0, "%lld shards",
               (long long)p.shards);
        expect(p.tokens == one.tokens && p.documents == one.documents, "%lld tokens", (long long)p.tokens);
        expect_full(&p, sizes[i]);
        expect_same_stream(p.train, one.train);
        expect_same_stream(p.validation, one.validation);
        expect_same_documents(p.train, one.train);
        expect(batches(p.train) == wanted, "shards of %lld tokens give other batches", (long long)sizes[i]);
    }
}

static void write_shard(const char *name, int64_t shard, int64_t shards, uint64_t hash) {
    Error error;
    ShardInfo info = {
        .vocab_size = 258, .shard = shard, .shards = shards, .tokenizer_hash = hash, .tokenizer = "bytes"};
    check(tokens_write(test_path(name), (int32_t[]){1, 2, 3}, (int64_t[]){0, 3}, 1, &info, &error), "%s", error.text);
}

static void rows_that_do_not_fit(void) {
    Error error;
    write_shard("r-00000.h5", 0, 3, 7);
    write_shard("r-00001.h5", 1, 3, 7);
    expect_message(tokens_open(test_path("r"), &error) != NULL, &error, "r-00002.h5: cannot open", "a gap");
    write_shard("r-00002.h5", 1, 3, 7);
    expect_message(tokens_open(test_path("r"), &error) != NULL, &error, "is shard 1 of 3, where shard 2 of 3",
                   "order");
    write_shard("r-00002.h5", 2, 4, 7);
    expect_message(tokens_open(test_path("r"), &error) != NULL, &error, "is shard 2 of 4, where", "another row");
    write_shard("r-00002.h5", 2, 3, 8);
    expect_message(tokens_open(test_path("r"), &error) != NULL, &error, "another tokenizer", "another tokenizer");
    write_shard("r-00002.h5", 2, 3, 7);
    TokenShard *s = tokens_open(test_path("r"), &error);
    check(s, "%s", error.text);
    expect(tokens_info(s)->tokens == 9 && tokens_info(s)->documents == 3, "counts");
    tokens_close(s);
    s = tokens_open(test_path("r-00001.h5"), &error);
    expect(s && tokens_info(s)->tokens == 3, "one of a row alone");
    tokens_close(s);
    expect_message(tokens_open(test_path("none"), &error) != NULL, &error, "none-00000.h5: cannot open", "no row");
}

const TestCase corpora_tests[] = {{"ranks_make_the_same", ranks_make_the_same},
                                  {"ranks_fail_together", ranks_fail_together},
                                  {"killed_runs_go_on", killed_runs_go_on},
                                  {"damaged_part_is_made_again", damaged_part_is_made_again},
                                  {"duplicates_are_dropped", duplicates_are_dropped},
                                  {"few_passes", few_passes},
                                  {"many_copies", many_copies},
                                  {"short_documents_are_left_out", short_documents_are_left_out},
                                  {"shards_of_any_size", shards_of_any_size},
                                  {"rows_that_do_not_fit", rows_that_do_not_fit},
                                  {"packed_equals_plain", packed_equals_plain},
                                  {"packed_cut_off", packed_cut_off},
                                  {"packed_damaged", packed_damaged},
                                  {"lines_by_range", lines_by_range},
                                  {"line_without_end", line_without_end},
                                  {"ranges read once", ranges_read_once},
                                  {"json_lines", json_lines},
                                  {"bad_lines_are_counted", bad_lines_are_counted},
                                  {"bad_line_in_a_late_part", bad_line_in_a_late_part},
                                  {"bad_lines_of_text", bad_lines_of_text},
                                  {"unfit_at_its_end", unfit_at_its_end},
                                  {"broken_disk", broken_disk},
                                  {"stopped_behind_the_parts", stopped_behind_the_parts},
                                  {"finished_parts_are_passed_by", finished_parts_are_passed_by},
                                  {"long_texts", long_texts},
                                  {"megatron_good", megatron_good},
                                  {"megatron_parts", megatron_parts},
                                  {"megatron_broken", megatron_broken},
                                  {"megatron_ids", megatron_ids},
                                  {"survey_figures", survey_figures},
                                  {"survey_ranks", survey_ranks},
                                  {"survey_samples", survey_samples},
                                  {"render_escapes", render_escapes},
                                  {0}};
