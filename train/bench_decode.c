#include "train/bench_decode.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/shapes.h"
#include "train/session.h"

enum { LONGEST = 16384, MOST = 8, RUNS = 9, COPIED = 1 << 24 };
static const int64_t lengths[] = {256, 1024, 4096, LONGEST};

typedef struct {
    Engine *engine;
    Tensor from, to; /* what is copied: COPIED floats */
    Arena copy;
} DecodeBench;

/* The next token of n sequences that have length - 1 tokens in the cache. */
static void decode(Engine *e, int64_t n, int64_t length) {
    Decoder *d = &e->decoder;
    const int32_t id = 1;
    decoder_begin(d);
    for (int64_t i = 0; i < n; i++) decoder_add(d, &id, 1, i * length, length - 1, 0.5);
    decoder_run(d, &e->model, (ChoiceRule){.temperature = 1, .top_p = 0.95}, e->run.config->vocab_size, &e->run);
}

/* The attention of one layer in it. */
static void attend(Engine *e, int64_t n, int64_t length) {
    (void)length; /* as decode left it on the device */
    Run *run = &e->run;
    const Mla *m = &e->model.blocks[0].mla;
    int64_t mark = arena_mark(&run->scratch), latent = m->kv_b.p->cols;
    Tensor q = scratch_2d(run, n, m->heads * (latent + m->rope_dim)), out = scratch_2d(run, n, m->heads * latent);
    Tensor parts = arena_2d(&run->scratch, F32, attention_latent_parts(run->device, n, m->heads), latent + 2);
    run->k->fill(run->device, q, 0.125);
    run->k->attention_latent(run->device, out, parts, q, cache_layer(&e->decoder.cache, 0),
                             tensor_rows_view(e->decoder.d_range, 0, n), m->heads, m->scale);
    arena_rewind(&run->scratch, mark);
}

static double timed(Engine *e, void (*what)(Engine *, int64_t, int64_t), int64_t n, int64_t length) {
    double begin = clock_seconds();
    what(e, n, length);
    e->run.device->ops->sync(e->run.device);
    return clock_seconds() - begin;
}

static double timed_copy(DecodeBench *b) {
    Run *run = &b->engine->run;
    double begin = clock_seconds();
    run->k->convert(run->device, b->to, b->from);
    run->device->ops->sync(run->device);
    return clock_seconds() - begin;
}

static void row(DecodeBench *b, int64_t n, int64_t length) {
    Engine *e = b->engine;
    const Config *c = e->run.config;
    double token[RUNS], attention[RUNS], copy[RUNS];
    decode(e, n, length);
    int64_t before = e->run.device->latent_bytes;
    decode(e, n, length);
    double read = (double)(e->run.device->latent_bytes - before) / (double)n;
    for (int i = 0; i < RUNS; i++) {
        token[i] = timed(e, decode, n, length);
        attention[i] = timed(e, attend, n, length);
        copy[i] = timed_copy(b);
    }
    double bound = (double)(cache_bytes_per_token(c) * length), seconds = median(token, RUNS);
    double attending = median(attention, RUNS) * (double)c->num_hidden_layers;
    double rate = (double)n * read / attending, copied = 2.0 * 4 * COPIED / median(copy, RUNS);
    printf(
        "decode %s %lld at once, context %6lld: %9.3f ms  %8.1f tok/s  attention %4.1f%%  cache read a token %.0f bytes "
        "(bound %.0f)  %6.2f GB/s, %5.1f%% of a copy\n",
        c->dtype, (long long)n, (long long)length, seconds * 1e3, (double)n / seconds, 100 * attending / seconds,
        read, bound, rate * 1e-9, 100 * rate / copied);
}

static bool open_copy(DecodeBench *b, Device *device, Error *error) {
    if (!arena_open(&b->copy, "copy", device, MEM_DEVICE, INT64_C(2) * 4 * COPIED + 64, error)) return false;
    b->from = arena_2d(&b->copy, F32, COPIED >> 12, 1 << 12);
    b->to = arena_2d(&b->copy, F32, COPIED >> 12, 1 << 12);
    device->kernels->fill(device, b->from, 1);
    return true;
}

bool bench_decode(const Config *config, Error *error) {
    Session s = {0};
    Config c = *config;
    c.max_position_embeddings = max_i64(c.max_position_embeddings, LONGEST);
    EngineUse use = {.cache = {.sequences = MOST, .length = LONGEST, .tokens = MOST * LONGEST, .block = 1}};
    bool ok = session_open(&s, &c, use, error);
    DecodeBench b = {.engine = &s.engine};
    if (ok) ok = open_copy(&b, s.device, error);
    if (ok) {
        Run *run = &s.engine.run;
        params_init_random(&s.engine.model.params, run);
        run->k->random_normal(run->device, s.engine.decoder.cache.rows, 1, 1, 1, 0);
        for (int n = 1; n <= MOST; n += MOST - 1)
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) row(&b, n, lengths[i]);
        arena_close(&b.copy);
    }
    session_close(&s);
    return ok;
}
