/* test_generate.c - decoding with the latent cache against the plain forward over the whole text: tokens and logits of
 * the fixtures, on any layout, with prompts that come, end and wait at different times. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ranks.h"
#include "tests/test.h"
#include "tests/trial.h"
#include "train/generator.h"
#include "train/load_hf.h"

enum { LENGTH = 64, VOCAB = 320, PROMPTS = 9 };
static const char *const fixtures[] = {"tiny-v2", "tiny-lite", "tiny-lite-yarn"};

/* -- a fixture on some ranks ------------------------------------------------------------------------------ */

typedef struct Job {
    const char *fixture, *dtype;
    int ranks, ep;
    CacheUse cache;
    void (*body)(Engine *, struct Job *);
    Config config;
    EngineUse use;
    Plan plan;
    /* of generating */
    const Prompt *prompt;
    SampleRule rule;
    int64_t count, stop_at, limit; /* stop_at: tokens after which the sink stops prompt 1; 0 = never */
    int32_t made[PROMPTS][LENGTH];
    int64_t n[PROMPTS], at_once, together; /* together: prompts between their first token and their end, at most */
    PromptEnd end[PROMPTS];
    GenerateReport report;
    int64_t routed[RANKS_MOST]; /* tokens through layers with experts */
} Job;

static void run_rank(Comm *world, void *own) {
    Job *job = own;
    Engine e;
    Error error = {0};
    char path[128];
    snprintf(path, sizeof path, "tests/fixtures/%s", job->fixture);
    Device *device = device_open("cpu", NULL);
    check(engine_open(&e, &job->config, device, world, job->plan.arenas, job->use, &error), "%s", error.text);
    Safetensors *from = safetensors_open(path, &error);
    check(from && load_hf(&e.model.params, from, &e.run, &error), "%s", error.text);
    safetensors_close(from);
    Arena *arenas[] = {&e.run.acts, &e.run.scratch, &e.run.cache};
    for (int i = 0; i < 2; i++) arena_poison(arenas[i]);
    memset(e.run.cache.base, 0xff, (size_t)e.run.cache.used);
    job->body(&e, job);
    engine_close(&e);
    device_close(device);
}

static void run_job(Job *job) {
    char path[128], layout[32], dtype[32], *warnings = NULL;
    Error error = {0};
    snprintf(path, sizeof path, "tests/fixtures/%s", job->fixture);
    snprintf(layout, sizeof layout, "layout.ep=%d", job->ep);
    snprintf(dtype, sizeof dtype, "dtype=%s", job->dtype);
    const char *key[] = {layout, dtype, "threads=1"};
    check(config_from_hf(&job->config, path, key, 3, job->ranks, &warnings, &error), "%s", error.text);
    free(warnings);
    job->use = (EngineUse){
        .sequence_length = LENGTH, .micro = 1, .sequences = 1, .logits_rows = LENGTH, .cache = job->cache};
    check(engine_plan(&job->plan, &job->config, job->ranks, job->use, &error), "%s", error.text);
    ranks_run(job->ranks, run_rank, job);
    config_free(&job->config);
}

static Job job_of(const char *fixture, int ranks, int ep, void (*body)(Engine *, Job *)) {
    return (Job){.fixture = fixture,
                 .dtype = "fp32",
                 .ranks = ranks,
                 .ep = ep,
                 .body = body,
                 .limit = VOCAB,
                 .cache = {.sequences = 4, .length = LENGTH, .tokens = 4 * LENGTH, .block = LENGTH}};
}

static void text_of(int32_t *ids, int64_t n, uint64_t number) {
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(2 + random_bits(3, number, (uint64_t)i) % (VOCAB - 2));
}

/* -- the plain way ------------------------------------------------------------------------------------------ */

typedef struct {
    const int32_t *ids;
    int64_t n;
} Whole;

static bool fill_whole(void *own, int64_t number, StepRow row, Error *error) {
    const Whole *w = own;
    (void)number, (void)error;
    for (int64_t t = 0; t < LENGTH; t++) {
        row.ids[t] = t < w->n ? w->ids[t] : 0;
        row.label[t] = -1, row.position[t] = (int32_t)t, row.first[t] = 0;
    }
    return true;
}

static void whole_logits(Engine *e, const int32_t *ids, int64_t n, double *logits) {
    Whole w = {ids, n};
    Error error;
    stepdata_fill(&e->data, &e->run, 0, 1, fill_whole, &w, &error);
    stepdata_count(&e->data, &e->run);
    engine_logits(e, 0, n, logits);
}

/* Each token by a forward over all that stands before it. */
static int64_t whole_greedy(Engine *e, const Prompt *p, int64_t new_tokens, int32_t eos, int32_t *made) {
    static double logits[LENGTH * VOCAB];
    int32_t ids[LENGTH];
    memcpy(ids, p->ids, (size_t)p->n * sizeof *ids);
    for (int64_t k = 0; k < new_tokens; k++) {
        int64_t n = p->n + k;
        whole_logits(e, ids, n, logits);
        const double *last = logits + (n - 1) * VOCAB;
        made[k] = 0;
        for (int v = 1; v < VOCAB; v++)
            if (last[v] > last[made[k]]) made[k] = v;
        if (made[k] == eos) return k;
        ids[n] = made[k];
    }
    return new_tokens;
}

/* -- logits ------------------------------------------------------------------------------------------------- */

/* Logits of new tokens: ids of all pieces behind one another. */
static void piece_logits(Engine *e, const int32_t *ids, const TokenSpan *piece, int64_t pieces, double *logits) {
    Run *run = &e->run;
    int64_t mark = arena_mark(&run->scratch), n = 0;
    int32_t position[LENGTH], row[LENGTH], range[2 * LENGTH];
    for (int64_t p = 0; p < pieces; p++)
        for (int64_t i = 0; i < piece[p].rows; i++, n++) {
            position[n] = (int32_t)(piece[p].before + i), row[n] = (int32_t)piece[p].first + position[n];
            range[2 * n] = (int32_t)piece[p].first, range[2 * n + 1] = row[n] + 1;
        }
    NewTokens t = {.ids = tensor_1d((void *)(uintptr_t)ids, I32, n),
                   .position = tensor_1d(position, I32, n),
                   .row = tensor_1d(row, I32, n),
                   .range = tensor_2d(range, I32, n, 2),
                   .piece = piece,
                   .pieces = pieces};
    Tensor x = arena_2d(&run->scratch, run->dtype, n, e->model.embedding->cols);
    Tensor y = arena_2d(&run->scratch, F32, n, VOCAB);
    run->device->few_rows = true;
    model_decode(x, &e->model, &e->decoder.cache, &t, run);
    head_logits(y, &e->model.head, x, run);
    run->device->few_rows = false;
    tensor_to_doubles(logits, y, run);
    arena_rewind(&run->scratch, mark);
}

/* Logits of a text that is read in blocks, beginning at row `first` of the cache. */
static void block_logits(Engine *e, const int32_t *ids, int64_t n, int64_t block, int64_t first, double *logits) {
    for (int64_t at = 0; at < n; at += block) {
        TokenSpan piece = {min_i64(block, n - at), first, at};
        piece_logits(e, ids + at, &piece, 1, logits + at * VOCAB);
    }
}

/* 16 new tokens, one or a few of each of 9 sequences: the same bits together and alone. */
static void compare_together(Engine *e, Job *job) {
    enum { SEQUENCES = 9, ROWS = 16 };
    static double together[ROWS * VOCAB], alone[ROWS * VOCAB], ignored[LENGTH * VOCAB];
    TokenSpan piece[SEQUENCES];
    int32_t ids[LENGTH], next[ROWS];
    int64_t at = 0;
    for (int64_t s = 0; s < SEQUENCES; s++) {
        piece[s] = (TokenSpan){s % 5 == 1 ? 4 : s == 3 ? 2 : 1, s * 28, 3 + 2 * s};
        text_of(ids, piece[s].before, 40 + (uint64_t)s);
        block_logits(e, ids, piece[s].before, LENGTH, piece[s].first, ignored);
    }
    text_of(next, ROWS, 60);
    piece_logits(e, next, piece, SEQUENCES, together);
    for (int64_t s = 0; s < SEQUENCES; at += piece[s++].rows)
        piece_logits(e, next + at, &piece[s], 1, alone + at * VOCAB);
    expect(at == ROWS, "%d rows", (int)at);
    int differ = 0;
    for (int64_t i = 0; i < ROWS; i++)
        differ += memcmp(together + i * VOCAB, alone + i * VOCAB, VOCAB * sizeof *alone) != 0;
    expect(differ == 0, "%s %s: %d rows differ", job->fixture, job->dtype, differ);
}

/* In bf16 a rounding can choose another expert, and a text's rows from there on differ; so it is the median row that
 * must be as near to fp32 as that of the plain forward. */
static double median_row(const double *a, const double *b) {
    double row[LENGTH];
    for (int i = 0; i < LENGTH; i++) row[i] = difference(a + i * VOCAB, b + i * VOCAB, VOCAB).relative;
    return median(row, LENGTH);
}

static void compare_blocks(Engine *e, Job *job) {
    static double truth[LENGTH * VOCAB], whole[LENGTH * VOCAB], blocks[LENGTH * VOCAB];
    static const int64_t sizes[] = {1, 2, 7, 24, 25, 40, LENGTH};
    bool bf16 = !strcmp(job->dtype, "bf16");
    int32_t ids[LENGTH];
    text_of(ids, LENGTH, 1);
    whole_logits(e, ids, LENGTH, whole);
    if (!bf16) memcpy(truth, whole, sizeof truth);
    double usual = median_row(whole, truth);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        block_logits(e, ids, LENGTH, sizes[i], (int64_t)(i * 13), blocks);
        Difference d = difference(blocks, whole, LENGTH * VOCAB);
        double middle = median_row(blocks, truth);
        expect(d.nans == 0 && (bf16 ? middle <= 1.5 * usual : d.relative <= 1e-5 && d.worst <= 1e-5),
               "%s %s, blocks of %d: relative %.2e, worst %.2e, %d NaN; median row %.2e, usually %.2e", job->fixture,
               job->dtype, (int)sizes[i], d.relative, d.worst, (int)d.nans, middle, usual);
    }
    expect(decoder_expands(&e->model, LENGTH) && !decoder_expands(&e->model, 7), "blocks of one kind only");
}

static void logits_by_block(void) {
    for (int f = 0; f < 3; f++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            Job job = job_of(fixtures[f], 1, 1, compare_blocks);
            if (bf16) job.dtype = "bf16";
            run_job(&job);
        }
}

/* -- tokens ------------------------------------------------------------------------------------------------- */

static bool take_token(void *own, int64_t prompt, int32_t id) {
    Job *job = own;
    job->at_once += job->n[prompt] == 0;
    if (job->at_once > job->together) job->together = job->at_once;
    job->made[prompt][job->n[prompt]++] = id;
    return !(prompt == 1 && job->stop_at && job->n[prompt] == job->stop_at);
}

static void take_end(void *own, int64_t prompt, PromptEnd end) {
    Job *job = own;
    job->at_once -= job->n[prompt] > 0;
    job->end[prompt] = end;
}

static void generate_all(Engine *e, Job *job) {
    int rank = e->run.mesh.world->rank;
    GenerateSink sink = {job, take_token, take_end};
    GenerateReport report;
    Error error = {0};
    bool ok = generate(e, job->prompt, job->count, &job->rule, job->limit, &sink, &report, &error);
    expect(ok, "%s", error.text);
    job->routed[rank] = e->run.stats.routed_tokens / max_i64(e->model.moe_layers, 1);
    expect(e->run.cache.used == job->plan.arenas.cache && e->run.cache.peak == e->run.cache.used,
           "cache: %lld bytes, %lld planned", (long long)e->run.cache.used, (long long)job->plan.arenas.cache);
    expect(report.cache_bytes == e->run.cache.used &&
               report.cache_bytes == e->decoder.cache.tokens * report.cache_bytes_per_token,
           "cache: %lld bytes told", (long long)report.cache_bytes);
    if (rank == 0) job->report = report;
}

static void compare_greedy(Engine *e, Job *job) {
    generate_all(e, job);
    for (int64_t i = 0; i < job->count; i++) {
        int32_t made[LENGTH];
        int64_t n = whole_greedy(e, &job->prompt[i], job->rule.new_tokens, job->rule.eos, made);
        expect(n == job->n[i] && !memcmp(made, job->made[i], (size_t)n * sizeof *made),
               "%s prompt %d: %d tokens, %d by whole forwards", job->fixture, (int)i, (int)job->n[i], (int)n);
        expect(job->end[i] == (n < job->rule.new_tokens ? ENDED_EOS : ENDED_LENGTH), "prompt %d ended by %d", (int)i,
               job->end[i]);
    }
}

static int32_t text[PROMPTS][LENGTH];
static Prompt prompt[PROMPTS];

/* Lengths on both sides of where attention is expanded, one of a single token. */
static void make_prompts(void) {
    static const int64_t length[PROMPTS] = {5, 17, 1, 31, 40, 26, 3, 9, 2};
    for (int i = 0; i < PROMPTS; i++) {
        text_of(text[i], length[i], 10 + (uint64_t)i);
        prompt[i] = (Prompt){.ids = text[i], .n = length[i]};
    }
}

static Job greedy_job(const char *fixture, int ranks, int ep, void (*body)(Engine *, Job *)) {
    Job job = job_of(fixture, ranks, ep, body);
    make_prompts();
    job.prompt = prompt, job.count = PROMPTS;
    job.rule = (SampleRule){.choice = {.top_p = 1}, .new_tokens = 20, .eos = -1};
    return job;
}

/* An eos that comes somewhere: what the third prompt says fifth. */
static void greedy_is_whole(void) {
    for (int f = 0; f < 3; f++) {
        Job job = greedy_job(fixtures[f], 1, 1, compare_greedy);
        run_job(&job);
        Job ends = greedy_job(fixtures[f], 1, 1, compare_greedy);
        ends.rule.eos = job.made[2][4];
        ends.cache.block = 11; /* nothing is expanded, prompts take several blocks */
        run_job(&ends);
        expect(ends.end[2] == ENDED_EOS && ends.n[2] <= 4, "%s: eos did not come", fixtures[f]);
    }
}

/* A prompt, then what was made of it and a few tokens more: only those are computed. */
static void go_on(Engine *e, Job *job) {
    int32_t longer[LENGTH];
    int64_t made = job->rule.new_tokens, n = job->prompt->n;
    generate_all(e, job);
    memcpy(longer, job->prompt->ids, (size_t)n * sizeof *longer);
    memcpy(longer + n, job->made[0], (size_t)made * sizeof *longer);
    text_of(longer + n + made, 3, 5);
    Prompt next = {.ids = longer, .n = n + made + 3, .kept = n + made - 1};
    job->prompt = &next, job->n[0] = 0;
    compare_greedy(e, job);
    expect(job->report.prompt_tokens == 4, "%d tokens read", (int)job->report.prompt_tokens);
}

static void goes_on(void) {
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 4; i++) {
            Job job = greedy_job(fixtures[f], 1, 1, go_on);
            job.prompt = &prompt[i], job.count = 1;
            job.rule.new_tokens = 14;
            run_job(&job);
        }
}

static void compare_jobs(const Job *job, const Job *one, const char *what) {
    for (int64_t i = 0; i < one->count; i++)
        expect(job->n[i] == one->n[i] && job->end[i] == one->end[i] &&
                   !memcmp(job->made[i], one->made[i], (size_t)one->n[i] * sizeof *one->made[i]),
               "%s %s, %d ranks, ep %d, prompt %d: %d tokens and %d, ended %d and %d", job->fixture, what, job->ranks,
               job->ep, (int)i, (int)job->n[i], (int)one->n[i], job->end[i], one->end[i]);
}

static Job sampled_job(const char *fixture, int ranks, int ep) {
    Job job = greedy_job(fixture, ranks, ep, generate_all);
    job.rule = (SampleRule){
        .choice = {.temperature = 0.9, .top_p = 0.9, .top_k = 50}, .seed = 4, .new_tokens = 20, .eos = 7};
    job.stop_at = 6;
    job.limit = 200;
    return job;
}

/* Forwards compute what is needed and nothing for those that ended. */
static void expect_no_waste(const Job *job) {
    int64_t needed = 0, routed = 0;
    for (int64_t i = 0; i < job->count; i++)
        needed += job->prompt[i].n + job->n[i] - (job->end[i] == ENDED_EOS ? 0 : 1);
    for (int r = 0; r < job->ranks; r++) routed += job->routed[r];
    expect(routed == needed, "%d tokens computed, %d needed", (int)routed, (int)needed);
}

/* Every layout, little room, and one prompt at a time give what one rank with all the room gives. */
static void layouts(void) {
    static const int layout[][2] = {{1, 1}, {2, 1}, {2, 2}, {4, 1}, {4, 2}, {4, 4}};
    for (int f = 0; f < 3; f++) {
        Job one = sampled_job(fixtures[f], 1, 1);
        one.cache = (CacheUse){PROMPTS, LENGTH, PROMPTS * LENGTH, LENGTH};
        run_job(&one);
        expect(one.together > PROMPTS / 2, "%d prompts together", (int)one.together);
        expect(one.end[1] == ENDED_STOPPED && one.n[1] == 6, "prompt 1: %d tokens", (int)one.n[1]);
        for (int64_t i = 0; i < one.count; i++)
            for (int64_t k = 0; k < one.n[i]; k++) expect(one.made[i][k] < 200, "id %d", one.made[i][k]);
        expect_no_waste(&one);
        for (size_t l = 0; l < sizeof layout / sizeof *layout; l++) {
            Job many = sampled_job(fixtures[f], layout[l][0], layout[l][1]), tight = many, alone = many;
            run_job(&many);
            compare_jobs(&many, &one, "with room for 4");
            expect(many.together > 1 && many.together <= 4 * many.ranks, "%d prompts together", (int)many.together);
            expect_no_waste(&many);
            tight.cache = (CacheUse){3, LENGTH, 100, LENGTH}; /* rows for one or two */
            run_job(&tight);
            compare_jobs(&tight, &one, "with 100 rows");
            alone.cache = (CacheUse){1, LENGTH, LENGTH, 9};
            run_job(&alone);
            compare_jobs(&alone, &one, "one by one, in blocks of 9");
        }
    }
}

static void others_do_not_matter(void) {
    for (int f = 0; f < 3; f++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            Job job = job_of(fixtures[f], 1, 1, compare_together);
            if (bf16) job.dtype = "bf16";
            run_job(&job);
        }
}

/* The draw of another seed, and of another place in the list, is another one. */
static void seeds(void) {
    Job one = sampled_job("tiny-v2", 1, 1), other = one;
    prompt[8] = prompt[0], one.rule.eos = other.rule.eos = -1, other.rule.seed = 5;
    run_job(&one);
    run_job(&other);
    expect(memcmp(one.made[0], other.made[0], sizeof one.made[0]), "another seed draws the same");
    expect(memcmp(one.made[0], one.made[8], sizeof one.made[0]), "two equal prompts draw the same");
}

/* -- room ------------------------------------------------------------------------------------------------------ */

static void refuse(Engine *e, Job *job) {
    static int32_t ids[1000];
    static const struct {
        int64_t n, new_tokens;
        const char *says;
    } cases[] = {{640, 1, "leaves no room in max_position_embeddings 640"},
                 {600, 41, "lower max_new_tokens to 40"},
                 {50, 15, "there is room for 64"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Prompt p = {.ids = ids, .n = cases[i].n};
        SampleRule rule = {.new_tokens = cases[i].new_tokens};
        GenerateReport report;
        Error error = {0};
        GenerateSink sink = {job, take_token, take_end};
        expect(!generate(e, &p, 1, &rule, VOCAB, &sink, &report, &error) && strstr(error.text, cases[i].says), "%s",
               error.text);
    }
}

static void too_long(void) {
    Job job = job_of("tiny-lite-yarn", 1, 1, refuse);
    run_job(&job);
}

static void cache_bytes(void) {
    static const struct {
        const char *file, *dtype;
        int64_t bytes;
    } cases[] = {{"configs/v2-lite.yaml", "dtype=bf16", 31104},
                 {"configs/v2-lite.yaml", "dtype=fp32", 62208},
                 {"configs/v2.yaml", "dtype=bf16", 69120}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c;
        Plan plan;
        Error error = {0};
        char *warnings = NULL;
        check(config_load(&c, cases[i].file, &cases[i].dtype, 1, 0, &warnings, &error), "%s", error.text);
        free(warnings);
        expect(cache_bytes_per_token(&c) == cases[i].bytes, "%s: %lld", cases[i].file,
               (long long)cache_bytes_per_token(&c));
        EngineUse use = {.cache = {.sequences = 2, .length = 1000, .tokens = 1984, .block = 512}};
        check(engine_plan(&plan, &c, (int)c.ep, use, &error), "%s", error.text);
        expect(plan.arenas.cache == 1984 * cases[i].bytes, "%s: %lld planned", cases[i].file,
               (long long)plan.arenas.cache);
        config_free(&c);
    }
}

/* Room for any of the prompts at once, and no more than that. */
static void use_of_prompts(void) {
    make_prompts();
    CacheUse all = generate_use(prompt, PROMPTS, 20, 100, 1), two = generate_use(prompt, PROMPTS, 20, 4, 2);
    expect(all.sequences == PROMPTS && all.length == 60 && all.tokens == 134 + 9 * 20 && all.block == 40,
           "%d sequences, length %d, %d tokens, block %d", (int)all.sequences, (int)all.length, (int)all.tokens,
           (int)all.block);
    expect(two.sequences == 2 && two.tokens == 120, "%d sequences, %d tokens", (int)two.sequences, (int)two.tokens);
}

const TestCase generate_tests[] = {{"logits in blocks of any size", logits_by_block},
                                   {"greedy is whole forwards", greedy_is_whole},
                                   {"a conversation goes on in the cache", goes_on},
                                   {"layouts, little room, one by one", layouts},
                                   {"others do not matter, to the bit", others_do_not_matter},
                                   {"seeds and numbers", seeds},
                                   {"prompts that are too long", too_long},
                                   {"bytes of the cache", cache_bytes},
                                   {"room for prompts", use_of_prompts},
                                   {0}};
