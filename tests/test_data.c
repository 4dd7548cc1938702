/* test_data.c - tokenizer, token shards, the order of data, windows of it, safetensors round trips. */
#include "tests/test_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"
#include "data/h5.h"
#include "data/loader.h"
#include "data/safetensors.h"
#include "data/tokenizer.h"

/* -- tokenizer ---------------------------------------------------------------------------------- */

static void bytes_round_trip(void) {
    Error error;
    Tokenizer *t = tokenizer_open("bytes", &error);
    char text[256], back[258];
    int32_t ids[258];
    for (int i = 0; i < 256; i++) text[i] = (char)i;
    expect(tokenizer_encode(t, ids, text, 256, SPECIALS_MATCH) == 256, "a byte is not a token");
    for (int i = 0; i < 256; i++) expect(ids[i] == i, "byte %d became %d", i, ids[i]);
    ids[256] = tokenizer_bos(t), ids[257] = tokenizer_eos(t);
    expect(ids[256] == 256 && ids[257] == 257 && tokenizer_size(t) == 258, "special ids %d %d", ids[256], ids[257]);
    expect(tokenizer_decode(t, back, ids, 258) == 256 && !memcmp(text, back, 256), "decode is not the inverse");
    expect(!tokenizer_adds_bos(t), "bytes need no bos");
    tokenizer_close(t);
    expect_message(tokenizer_open("words", &error) != NULL, &error, "words: cannot open", "unknown tokenizer");
}

/* -- shards ------------------------------------------------------------------------------------- */

/* Writes a shard of n tokens: token i is i modulo the vocabulary, a document every `stride` tokens. */
static const char *make_shard(const char *name, int64_t n, int64_t stride, int64_t vocab_size) {
    Error error;
    const char *file = test_path(name);
    int64_t count = ceil_div(n, stride);
    int64_t *documents = must_alloc(count + 1, sizeof *documents);
    int32_t *tokens = must_alloc(n, sizeof *tokens);
    ShardInfo info = {.vocab_size = vocab_size,
                      .tokenizer = "bytes",
                      .tokenizer_hash = 0xfedcba9876543210,
                      .source_counts = {.bytes = 77, .skipped = 3, .bad_lines = 4, .duplicates = 5, .too_short = 6},
                      .source = "here/*.txt"};
    for (int64_t i = 0; i <= count; i++) documents[i] = min_i64(i * stride, n);
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)(i % vocab_size);
    check(tokens_write(file, tokens, documents, count, &info, &error), "%s", error.text);
    free(documents);
    free(tokens);
    return file;
}

static void expect_shard(int64_t n, int64_t stride, int64_t vocab_size, Dtype stored) {
    Error error = {0};
    const char *file = make_shard("s.h5", n, stride, vocab_size);
    TokenShard *s = tokens_open(file, &error);
    check(s, "%s", error.text);
    const ShardInfo *i = tokens_info(s);
    expect(i->tokens == n && i->documents == ceil_div(n, stride) && i->vocab_size == vocab_size, "counts");
    expect(i->tokenizer_hash == 0xfedcba9876543210 && !strcmp(i->tokenizer, "bytes"), "tokenizer");
    expect(i->source_counts.bytes == 77 && i->source_counts.skipped == 3 && i->source_counts.bad_lines == 4 &&
               i->source_counts.duplicates == 5 && i->source_counts.too_short == 6 &&
               !strcmp(i->source, "here/*.txt"),
           "source '%s'", i->source);
    int32_t *tokens = must_alloc(n, sizeof *tokens);
    expect(tokens_read(s, 0, n, tokens, &error), "%s", error.text);
    for (int64_t k = 0; k < n; k++)
        if (tokens[k] != k % vocab_size) expect(false, "token %lld is %d", (long long)k, tokens[k]);
    expect(tokens_read(s, n - 1, 1, tokens, &error) && tokens[0] == (n - 1) % vocab_size, "last token %d", tokens[0]);
    expect(tokens_read(s, n, 0, tokens, &error), "an empty range: %s", error.text);
    for (int64_t k = 0; k < n; k += max_i64(1, n / 97)) {
        int64_t document, first;
        expect(tokens_document_of(s, k, &document, &error) && document == k / stride, "document of %lld is %lld",
               (long long)k, (long long)document);
        expect(tokens_document(s, document, &first, &error) && first == document * stride, "document %lld at %lld",
               (long long)document, (long long)first);
    }
    free(tokens);
    tokens_close(s);
    H5Reader *h5 = h5_open(file, &error);
    Dtype dtype;
    int ndim;
    int64_t dim[4];
    expect(h5 && h5_shape(h5, "tokens", &dtype, &ndim, dim, &error) && dtype == stored, "stored type");
    h5_close(h5);
    expect(tokens_verify(file, &error), "%s", error.text);
    expect(!disk_exists(test_path("s.h5.tmp")), "a temporary file was left");
}

static void shard_round_trip(void) {
    expect_shard(1, 1, 258, U16);
    expect_shard(1000, 7, 258, U16);
    expect_shard(200000, 3, 65536, U16); /* many blocks of offsets */
    expect_shard(200000, 4096, 65537, I32);
    expect_shard(4096 * 2, 1, 100000, I32); /* offsets end at a block's border */
}

static void shards_are_equal(void) {
    Error error;
    int64_t a_bytes, b_bytes;
    char *a = disk_read_file(make_shard("a.h5", 5000, 9, 258), 1 << 24, &a_bytes, &error);
    char *b = disk_read_file(make_shard("b.h5", 5000, 9, 258), 1 << 24, &b_bytes, &error);
    expect(a && b && a_bytes == b_bytes && !memcmp(a, b, (size_t)a_bytes), "same tokens, other files");
    free(a);
    free(b);
}

static void shard_damage_is_found(void) {
    Error error;
    const char *file = make_shard("s.h5", 5000, 50, 300);
    int64_t bytes;
    char *text = disk_read_file(file, 1 << 24, &bytes, &error);
    int16_t run[] = {100, 101, 102, 103};
    char *place = memmem(text, (size_t)bytes, run, sizeof run);
    check(place, "the tokens are not in the file as uint16");
    place[0] = 99;
    test_file("s.h5", text, bytes);
    expect_message(tokens_verify(file, &error), &error, "tokens is damaged", "a changed token");
    free(text);
}

static void shard_write_fails(void) {
    Error error;
    ShardInfo info = {.tokens = 2, .documents = 1, .vocab_size = 258, .tokenizer = "bytes"};
    expect_message(tokens_create(test_path("no/such/folder.h5"), &info, &error) != NULL, &error, "cannot create",
                   "no folder");
    TokenWriter *w = tokens_create(test_path("left.h5"), &info, &error);
    check(w, "%s", error.text);
    expect(tokens_append(w, (int32_t[]){1}, 1, &error), "%s", error.text);
    tokens_abandon(w);
    expect(!disk_exists(test_path("left.h5")) && !disk_exists(test_path("left.h5.tmp")),
           "an abandoned shard was left");
}

/* -- the permutation ---------------------------------------------------------------------------- */

static void permutation_is_bijection(void) {
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 1000, 4097, 65536, 100003};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int64_t n = sizes[k], missing = 0;
        char *seen = must_alloc(n, 1);
        for (int64_t i = 0; i < n; i++) {
            int64_t to = loader_permute(99 + (uint64_t)k, n, i);
            check(to >= 0 && to < n, "%lld of %lld", (long long)to, (long long)n);
            seen[to] = 1;
        }
        for (int64_t i = 0; i < n; i++) missing += !seen[i];
        expect(missing == 0, "%lld of %lld are missing", (long long)missing, (long long)n);
        free(seen);
    }
    int64_t large = (int64_t)1 << 61, a = loader_permute(1, large + 1, large), b = loader_permute(1, large + 1, 0);
    expect(a >= 0 && a <= large && b >= 0 && b <= large && a != b, "a permutation of 2^61 + 1");
}

/* Each place goes to each cell equally often over keys (chi-square), and neighbours fall apart. */
static void permutation_is_uniform(void) {
    enum { N = 13, KEYS = 13000 };
    double worst = 0;
    for (int64_t i = 0; i < N; i += 4) {
        int64_t count[N] = {0};
        double chi = 0;
        for (uint64_t key = 0; key < KEYS; key++) count[loader_permute(key, N, i)]++;
        for (int k = 0; k < N; k++) chi += pow((double)count[k] - (double)KEYS / N, 2) / ((double)KEYS / N);
        worst = fmax(worst, chi);
    }
    expect(worst < 39.1, "chi-square %.1f with 12 degrees of freedom (39.1: 1 in 10,000)", worst);
    double sum = 0, n = 50000;
    for (int64_t i = 0; i + 1 < (int64_t)n; i++)
        sum += (double)llabs(loader_permute(7, (int64_t)n, i + 1) - loader_permute(7, (int64_t)n, i));
    double mean = sum / (n - 1) / n;
    expect(fabs(mean - 1.0 / 3) < 0.01, "neighbours are %.4f of the range apart, random ones 1/3", mean);
}

/* -- windows ------------------------------------------------------------------------------------ */

enum { T = 8 };
typedef struct {
    int32_t ids[T], label[T], position[T], first[T];
} Arrays;

static Sequence sequence_of(Arrays *a) { return (Sequence){a->ids, a->label, a->position, a->first}; }

static Config make_config(const char *attend, const char *positions) {
    Config c = {.sequence_length = T, .seed = 5, .attend = attend, .positions = positions};
    c.mix = (RealList){.count = 1, .name = {"a"}};
    return c;
}

static void windows_and_labels(void) {
    Error error;
    Config c = make_config("sequence", "continue");
    TokenShard *s = tokens_open(make_shard("s.h5", 8 * 5 + 1, 3, 258), &error);
    check(s, "%s", error.text);
    expect(eval_sequences(s, T) == 5, "41 tokens are 5 windows of 8 and a label");
    for (int64_t w = 0; w < 5; w++) {
        Arrays a;
        expect(eval_sequence(s, &c, w, sequence_of(&a), &error), "%s", error.text);
        for (int t = 0; t < T; t++) {
            expect(a.ids[t] == w * T + t && a.label[t] == w * T + t + 1, "window %d place %d: %d -> %d", (int)w, t,
                   a.ids[t], a.label[t]);
            expect(a.position[t] == t && a.first[t] == 0, "place %d: position %d first %d", t, a.position[t],
                   a.first[t]);
        }
    }
    tokens_close(s);
}

/* Documents of 3 tokens: window 1 is tokens 8 .. 15, the first document ends after its first token. */
static void documents_in_windows(void) {
    static const int32_t begin[T] = {0, 1, 1, 1, 4, 4, 4, 7};
    Error error;
    TokenShard *s = tokens_open(make_shard("s.h5", 25, 3, 258), &error);
    check(s, "%s", error.text);
    for (int mode = 0; mode < 4; mode++) {
        bool own = mode & 1, restart = mode & 2;
        Config c = make_config(own ? "document" : "sequence", restart ? "restart" : "continue");
        Arrays a;
        expect(eval_sequence(s, &c, 1, sequence_of(&a), &error), "%s", error.text);
        for (int t = 0; t < T; t++) {
            expect(a.first[t] == (own ? begin[t] : 0), "mode %d place %d: first %d", mode, t, a.first[t]);
            expect(a.position[t] == (restart ? t - begin[t] : t), "mode %d place %d: position %d", mode, t,
                   a.position[t]);
            expect(a.label[t] == 9 + t, "mode %d place %d: label %d", mode, t, a.label[t]);
        }
    }
    tokens_close(s);
}

static Loader *open_loader(const Config *c, const char *const *files) {
    Error error;
    Loader *l = loader_open(c, files, c->mix.count, 258, &error);
    check(l, "%s", error.text);
    return l;
}

/* A list: every window of every set once an epoch, in another order each epoch and for each seed. */
static void list_is_complete(void) {
    const char *files[] = {make_shard("a.h5", 81, 3, 258), make_shard("b.h5", 250, 9, 258)};
    Config c = make_config("sequence", "continue"), other = c;
    c.mix = (RealList){.count = 2, .name = {"a", "b"}};
    other.mix = c.mix;
    other.seed = 6;
    Loader *l = open_loader(&c, files), *m = open_loader(&other, files);
    int64_t n = loader_sequences_per_epoch(l), moved = 0, changed = 0;
    expect(n == 10 + 31, "%lld windows", (long long)n);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int seen[2][31] = {{0}};
        for (int64_t i = 0; i < n; i++) {
            Place p = loader_place(l, epoch * n + i), q = loader_place(l, i), r = loader_place(m, i);
            seen[p.set][p.window]++;
            moved += p.set != q.set || p.window != q.window;
            changed += q.set != r.set || q.window != r.window;
        }
        for (int w = 0; w < 31; w++) expect(seen[1][w] == 1 && seen[0][w] == (w < 10), "epoch %d", (int)epoch);
    }
    expect(moved > n && changed > n, "the same order again: %lld, %lld", (long long)moved, (long long)changed);
    expect(fabs(loader_passes(l, 0, 2 * n) - 2) < 1e-12, "passes %g", loader_passes(l, 0, 2 * n));
    loader_close(l);
    loader_close(m);
}

static void expect_shares(Loader *l, const double *share, int sets, const int64_t *windows) {
    int64_t count[3] = {0}, seen[3][31] = {{0}};
    for (int64_t i = 0; i < 70000; i++) {
        Place p = loader_place(l, i);
        check(p.window < windows[p.set], "window %lld of %lld", (long long)p.window, (long long)windows[p.set]);
        seen[p.set][p.window]++;
        count[p.set]++;
        for (int k = 0; k < sets; k++)
            if (fabs((double)count[k] - share[k] * (double)(i + 1)) > 2.5)
                expect(false, "set %d has %lld of %lld", k, (long long)count[k], (long long)i + 1);
    }
    for (int k = 0; k < sets; k++) {
        expect(fabs(loader_passes(l, k, 70000) * (double)windows[k] - (double)count[k]) < 1e-6, "passes of %d", k);
        for (int64_t w = 0; w < windows[k]; w++) /* each pass takes every window once */
            expect(llabs(seen[k][w] - count[k] / windows[k]) <= 1, "window %d of set %d: %lld times", (int)w, k,
                   (long long)seen[k][w]);
    }
}

static void shares_are_kept(void) {
    const char *files[] = {make_shard("a.h5", 81, 3, 258), make_shard("b.h5", 250, 9, 258),
                           make_shard("c.h5", 9, 9, 258)};
    Config c = make_config("sequence", "continue");
    c.mix = (RealList){.count = 3, .name = {"a", "b", "c"}, .value = {0.5, 0.3, 0.2}};
    Loader *l = open_loader(&c, files);
    expect_shares(l, c.mix.value, 3, (int64_t[]){10, 31, 1});
    loader_close(l);
    c.mix.value[0] = 5, c.mix.value[1] = 3, c.mix.value[2] = 2; /* shares need not sum to 1 */
    l = open_loader(&c, files);
    expect_shares(l, (double[]){0.5, 0.3, 0.2}, 3, (int64_t[]){10, 31, 1});
    loader_close(l);
}

static void sequences_are_pure(void) {
    const char *files[] = {make_shard("a.h5", 2000, 3, 258)};
    Config c = make_config("document", "restart");
    Loader *forward = open_loader(&c, files), *jumps = open_loader(&c, files);
    Arrays a, b;
    Error error;
    memset(&a, 0, sizeof a), memset(&b, 0, sizeof b);
    for (int64_t i = 0; i < 600; i++) { /* the other loader goes backwards through another epoch first */
        bool ok = loader_sequence(forward, i, sequence_of(&a), &error) &&
                  loader_sequence(jumps, 5000 - i, sequence_of(&b), &error) &&
                  loader_sequence(jumps, i, sequence_of(&b), &error);
        expect(ok && !memcmp(&a, &b, sizeof a), "sequence %d depends on what was read before", (int)i);
    }
    loader_close(forward);
    loader_close(jumps);
}

static void synthetic_tokens(void) {
    Config c = make_config("sequence", "continue");
    Error error;
    int64_t high = 0;
    c.synthetic_data = true;
    Loader *l = loader_open(&c, NULL, 0, 1000, &error);
    for (int64_t i = 0; i < 300; i++) {
        Arrays a, b;
        loader_sequence(l, i, sequence_of(&a), &error);
        loader_sequence(l, i, sequence_of(&b), &error);
        expect(!memcmp(&a, &b, sizeof a), "sequence %d differs from itself", (int)i);
        expect(!memcmp(a.label, a.ids + 1, (T - 1) * sizeof *a.ids), "labels are not the next ids");
        for (int t = 0; t < T; t++) {
            expect(a.ids[t] >= 0 && a.ids[t] < 1000 && a.label[t] >= 0 && a.label[t] < 1000, "token %d", a.ids[t]);
            high += a.ids[t] >= 500;
        }
    }
    expect(llabs(high - 1200) < 120, "%lld of 2400 tokens in the upper half", (long long)high);
    loader_close(l);
}

static void loader_refuses(void) {
    const char *files[] = {make_shard("a.h5", T, 3, 258), make_shard("b.h5", 100, 3, 258)};
    Error error;
    Config c = make_config("sequence", "continue");
    expect_message(loader_open(&c, files, 1, 258, &error) != NULL, &error, "set a has 8 tokens", "too few tokens");
    expect_message(loader_open(&c, files + 1, 1, 257, &error) != NULL, &error, "vocabulary of 258", "vocabulary");
    c.mix = (RealList){.count = 2, .name = {"a", "b"}, .value = {1, 0}};
    expect_message(loader_open(&c, files, 2, 258, &error) != NULL, &error, "mix.b: a share must be above 0",
                   "no share");
    files[0] = files[1];
    c.mix.value[1] = 1e-9;
    expect_message(loader_open(&c, files, 2, 258, &error) != NULL, &error, "mix.b: a share of 1e-09 is too small",
                   "share");
    c.mix.count = 0;
    expect_message(loader_open(&c, files, 0, 258, &error) != NULL, &error, "mix: name the data sets", "no sets");
}

/* -- safetensors -------------------------------------------------------------------------------- */

static void safetensors_round_trip(void) {
    Error error;
    float f[6] = {1.5f, -0.0f, INFINITY, 1e-45f, 3e38f, 7}, f_back[6];
    int32_t i[2] = {INT32_MIN, INT32_MAX}, i_back[2];
    int64_t l[3] = {INT64_MIN, 0, INT64_MAX}, l_back[3];
    uint16_t h[2] = {float_to_bf16(2.5f), float_to_bf16(-3)};
    StOut out[] = {{"f", tensor_2d(f, F32, 2, 3), 2, {2, 3}},
                   {"i", tensor_1d(i, I32, 2), 1, {2}},
                   {"l", tensor_1d(l, I64, 3), 3, {1, 3, 1}},
                   {"h", tensor_1d(h, BF16, 2), 1, {2}},
                   {"scalar", tensor_1d(f, F32, 1), 0, {0}}};
    const char *file = test_path("out.safetensors");
    check(safetensors_write(file, out, 5, &error) && safetensors_write(file, out, 5, &error), "%s", error.text);
    Safetensors *s = safetensors_open(file, &error);
    check(s, "%s", error.text);
    const StTensor *t = safetensors_find(s, "f");
    expect(safetensors_count(s) == 5 && t && t->ndim == 2 && t->dim[1] == 3, "shape of f");
    expect(!strcmp(safetensors_at(s, 0)->name, "f") && !safetensors_find(s, "none"), "names are sorted");
    expect(safetensors_read(t, F32, 0, 6, f_back, &error) && !memcmp(f, f_back, sizeof f), "f");
    expect(safetensors_read(safetensors_find(s, "i"), I32, 0, 2, i_back, &error) && !memcmp(i, i_back, sizeof i),
           "i");
    expect(safetensors_read(safetensors_find(s, "l"), I64, 0, 3, l_back, &error) && !memcmp(l, l_back, sizeof l),
           "l");
    expect(safetensors_read(safetensors_find(s, "h"), F32, 1, 1, f_back, &error) && f_back[0] == -3, "h %g",
           f_back[0]);
    expect(safetensors_find(s, "scalar")->count == 1, "a scalar is one element");
    expect_message(safetensors_read(safetensors_find(s, "l"), I32, 0, 1, i_back, &error), &error, "beyond 32 bits",
                   "l");
    expect_message(safetensors_read(t, I64, 0, 1, l_back, &error), &error, "does not hold", "floats as integers");
    expect_message(safetensors_read(safetensors_find(s, "i"), F32, 0, 1, f_back, &error), &error, "does not hold",
                   "i");
    safetensors_close(s);
    expect(!disk_exists(test_path("out.safetensors.tmp")), "a temporary file was left");
}

/* Every half-precision number against its definition. */
static void half_precision(void) {
    uint16_t *half = must_alloc(65536, 2);
    float *single = must_alloc(65536, 4);
    double *wide = must_alloc(65536, 8);
    Error error;
    for (int i = 0; i < 65536; i++) half[i] = (uint16_t)i;
    StTensor t = {.name = "h", .file = "f", .dtype = ST_F16, .count = 65536, .data = half};
    expect(safetensors_read(&t, F32, 0, 65536, single, &error), "%s", error.text);
    expect(safetensors_read(&t, F64, 0, 65536, wide, &error), "%s", error.text);
    for (int i = 0; i < 65536; i++) {
        int exponent = i >> 10 & 31, fraction = i & 1023;
        double value = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
        if (exponent == 31) value = fraction ? NAN : INFINITY;
        if (i >> 15) value = -value;
        bool ok = isnan(value) ? isnan(single[i]) && isnan(wide[i]) : single[i] == value && wide[i] == value;
        if (!ok || (!isnan(value) && !signbit(single[i]) != !(i >> 15)))
            expect(false, "half %04x is %g", i, single[i]);
    }
    free(half);
    free(single);
    free(wide);
}

static void sharded_folder(void) {
    float x[4] = {1, 2, 3, 4}, y = 0;
    Error error;
    StOut a = {"a", tensor_1d(x, F32, 2), 1, {2}}, b = {"b", tensor_1d(x + 2, F32, 2), 1, {2}};
    const char *map =
        "{\"metadata\":{\"total_size\":16},\"weight_map\":{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}}";
    check(safetensors_write(test_path("m-1.safetensors"), &a, 1, &error), "%s", error.text);
    check(safetensors_write(test_path("m-2.safetensors"), &b, 1, &error), "%s", error.text);
    test_file("model.safetensors.index.json", map, (int64_t)strlen(map));
    Safetensors *s = safetensors_open(test_folder(), &error);
    check(s, "%s", error.text);
    const StTensor *t = safetensors_find(s, "b");
    expect(safetensors_count(s) == 2 && t && safetensors_read(t, F32, 1, 1, &y, &error) && y == 4, "b[1] is %g", y);
    safetensors_close(s);
}

static void fixture_opens(void) {
    Error error;
    Safetensors *s = safetensors_open("tests/fixtures/tiny-lite", &error);
    check(s, "%s", error.text);
    const StTensor *t = safetensors_find(s, "model.norm.weight");
    expect(t && t->dtype == ST_F32 && t->ndim == 1, "model.norm.weight");
    safetensors_close(s);
}

const TestCase data_tests[] = {{"bytes_round_trip", bytes_round_trip},
                               {"shard_round_trip", shard_round_trip},
                               {"shards_are_equal", shards_are_equal},
                               {"shard_damage_is_found", shard_damage_is_found},
                               {"shard_write_fails", shard_write_fails},
                               {"permutation_is_bijection", permutation_is_bijection},
                               {"permutation_is_uniform", permutation_is_uniform},
                               {"windows_and_labels", windows_and_labels},
                               {"documents_in_windows", documents_in_windows},
                               {"list_is_complete", list_is_complete},
                               {"shares_are_kept", shares_are_kept},
                               {"sequences_are_pure", sequences_are_pure},
                               {"synthetic_tokens", synthetic_tokens},
                               {"loader_refuses", loader_refuses},
                               {"safetensors_round_trip", safetensors_round_trip},
                               {"half_precision", half_precision},
                               {"sharded_folder", sharded_folder},
                               {"fixture_opens", fixture_opens},
                               {"broken_safetensors", broken_safetensors},
                               {"sound_safetensors", sound_safetensors},
                               {"broken_index", broken_index},
                               {"broken_shard_folders", broken_shard_folders},
                               {"broken_jsonl", broken_jsonl},
                               {"broken_text", broken_text},
                               {"broken_token_shards", broken_token_shards},
                               {"flipped_safetensors", flipped_safetensors},
                               {"flipped_token_shard", flipped_token_shard},
                               {"work_apart", work_apart},
                               {"prepare_splits_tails", prepare_splits_tails},
                               {"prepare_splits_documents", prepare_splits_documents},
                               {"prepare_counts_documents", prepare_counts_documents},
                               {"prepare_caches", prepare_caches},
                               {"prepare_interrupted", prepare_interrupted},
                               {"prepare_refuses", prepare_refuses},
                               {"prepare_uses_shards", prepare_uses_shards},
                               {"prepare_reads_folders", prepare_reads_folders},
                               {0}};
