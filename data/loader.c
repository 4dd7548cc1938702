/* loader.c - see loader.h. */
#include "data/loader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CYCLE = 65536, FEISTEL_ROUNDS = 8 };

/* Streams of random numbers that the order of data and synthetic tokens draw from. */
static const uint64_t STREAM_ORDER = 0x6f72646572, STREAM_SYNTHETIC = 0x73796e7468;

typedef struct {
    TokenShard *shard;
    int64_t windows, first_window; /* of the mixture as a list */
    int64_t in_cycle;              /* sequences of a cycle, when mixed by shares */
    uint64_t stream;
} Set;

struct Loader {
    const Config *config;
    Set *set;
    int sets;
    int64_t windows, vocab_size;
    bool shares;
    uint8_t *dealt;   /* set of each place of the cycle */
    int32_t *ordinal; /* how many places before it have the same set */
};

/* -- order -------------------------------------------------------------------------------------- */

/* A Feistel network permutes the next larger power of four; results beyond n are permuted again until
 * they fall below it (cycle walking), which keeps it a bijection of 0 .. n - 1. */
static uint64_t feistel(uint64_t key, int half, uint64_t x) {
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (int round = 0; round < FEISTEL_ROUNDS; round++) {
        uint64_t next = left ^ (random_bits(key, (uint64_t)round, right) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

int64_t loader_permute(uint64_t key, int64_t n, int64_t i) {
    check(i >= 0 && i < n, "place %lld of a permutation of %lld", (long long)i, (long long)n);
    int half = 1;
    while (half < 31 && (int64_t)1 << 2 * half < n) half++;
    uint64_t x = (uint64_t)i;
    do x = feistel(key, half, x);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

/* Deals the places of a cycle: each goes to the set that is furthest behind its share. */
static void deal(Loader *l) {
    int64_t *used = must_alloc(l->sets, sizeof *used);
    for (int64_t place = 0; place < CYCLE; place++) {
        int best = 0;
        int64_t furthest = INT64_MIN;
        for (int k = 0; k < l->sets; k++) {
            int64_t behind = l->set[k].in_cycle * (place + 1) - used[k] * CYCLE;
            if (behind > furthest) furthest = behind, best = k;
        }
        l->dealt[place] = (uint8_t)best;
        l->ordinal[place] = (int32_t)used[best]++;
    }
    free(used);
}

/* Shares as whole places of the cycle, by largest remainder. */
static bool round_shares(Loader *l, Error *error) {
    const RealList *mix = &l->config->mix;
    double sum = 0;
    int64_t left = CYCLE;
    for (int k = 0; k < l->sets; k++) sum += mix->value[k];
    for (int k = 0; k < l->sets; k++) left -= l->set[k].in_cycle = (int64_t)floor(mix->value[k] / sum * CYCLE);
    while (left-- > 0) {
        int best = 0;
        double most = -1;
        for (int k = 0; k < l->sets; k++) {
            double lacks = mix->value[k] / sum * CYCLE - (double)l->set[k].in_cycle;
            if (lacks > most) most = lacks, best = k;
        }
        l->set[best].in_cycle++;
    }
    for (int k = 0; k < l->sets; k++)
        if (l->set[k].in_cycle == 0)
            return fail(error, "mix.%s: a share of %g is too small; at least 1/%d of the sum of shares is needed",
                        mix->name[k], mix->value[k], CYCLE);
    return true;
}

static bool mix_by_shares(Loader *l, Error *error) {
    l->dealt = must_alloc(CYCLE, sizeof *l->dealt);
    l->ordinal = must_alloc(CYCLE, sizeof *l->ordinal);
    if (!round_shares(l, error)) return false;
    deal(l);
    return true;
}

static Place place_by_share(const Loader *l, int64_t index) {
    int64_t slot = index % CYCLE;
    int k = l->dealt[slot];
    const Set *s = &l->set[k];
    int64_t nth = index / CYCLE * s->in_cycle + l->ordinal[slot], epoch = nth / s->windows;
    uint64_t key = random_bits((uint64_t)l->config->seed, s->stream, (uint64_t)epoch);
    return (Place){k, loader_permute(key, s->windows, nth % s->windows)};
}

static Place place_in_list(const Loader *l, int64_t index) {
    uint64_t key = random_bits((uint64_t)l->config->seed, STREAM_ORDER, (uint64_t)(index / l->windows));
    int64_t window = loader_permute(key, l->windows, index % l->windows);
    int k = l->sets - 1;
    while (window < l->set[k].first_window) k--;
    return (Place){k, window - l->set[k].first_window};
}

Place loader_place(const Loader *l, int64_t index) {
    check(l->sets > 0 && index >= 0, "sequence %lld of %d sets", (long long)index, l->sets);
    return l->shares ? place_by_share(l, index) : place_in_list(l, index);
}

/* -- sequences ---------------------------------------------------------------------------------- */

static void mark_plain(Sequence to, int64_t from, int64_t length) {
    for (int64_t t = from; t < length; t++) {
        to.position[t] = (int32_t)t;
        to.first[t] = 0;
    }
}

static bool mark_documents(TokenShard *shard, const Config *c, int64_t start, int64_t count, Sequence to,
                           Error *error) {
    bool own = !strcmp(c->attend, "document"), restart = !strcmp(c->positions, "restart");
    int64_t document, next, begin = 0;
    if (!tokens_document_of(shard, start, &document, error)) return false;
    if (!tokens_document(shard, document + 1, &next, error)) return false;
    for (int64_t t = 0; t < count; t++) {
        if (start + t == next) {
            begin = t;
            if (!tokens_document(shard, ++document + 1, &next, error)) return false;
        }
        to.first[t] = (int32_t)(own ? begin : 0);
        to.position[t] = (int32_t)(restart ? t - begin : t);
    }
    return true;
}

/* The last window of an evaluation may be short: what lies behind it is not scored. */
static bool read_window(TokenShard *shard, const Config *c, int64_t window, Sequence to, Error *error) {
    int64_t length = c->sequence_length, start = window * length;
    int64_t count = min_i64(length, tokens_info(shard)->tokens - 1 - start);
    if (!tokens_read(shard, start, count, to.ids, error)) return false;
    memcpy(to.label, to.ids + 1, (size_t)(count - 1) * sizeof *to.label);
    if (!tokens_read(shard, start + count, 1, to.label + count - 1, error)) return false;
    for (int64_t t = count; t < length; t++) to.ids[t] = 0, to.label[t] = -1;
    bool by_document = !strcmp(c->attend, "document") || !strcmp(c->positions, "restart");
    mark_plain(to, by_document ? count : 0, length);
    return !by_document || mark_documents(shard, c, start, count, to, error);
}

static void synthesize(const Loader *l, int64_t index, Sequence to) {
    int64_t length = l->config->sequence_length;
    for (int64_t t = 0; t <= length; t++) {
        uint64_t bits =
            random_bits((uint64_t)l->config->seed, STREAM_SYNTHETIC, (uint64_t)(index * (length + 1) + t));
        int32_t token = (int32_t)(bits % (uint64_t)l->vocab_size);
        if (t < length) to.ids[t] = token;
        if (t > 0) to.label[t - 1] = token;
    }
    mark_plain(to, 0, length);
}

bool loader_sequence(Loader *l, int64_t index, Sequence to, Error *error) {
    if (l->config->synthetic_data) {
        synthesize(l, index, to);
        return true;
    }
    Place p = loader_place(l, index);
    return read_window(l->set[p.set].shard, l->config, p.window, to, error);
}

int64_t eval_sequences(const TokenShard *s, int64_t sequence_length) {
    return ceil_div(tokens_info(s)->tokens - 1, sequence_length);
}

bool eval_sequence(TokenShard *s, const Config *c, int64_t index, Sequence to, Error *error) {
    return read_window(s, c, index, to, error);
}

/* -- open and count ----------------------------------------------------------------------------- */

static bool set_open(Loader *l, int k, const char *file, Error *error) {
    Set *s = &l->set[k];
    const char *name = l->config->mix.name[k];
    s->shard = tokens_open(file, error);
    if (!s->shard) return false;
    const ShardInfo *info = tokens_info(s->shard);
    if (info->vocab_size > l->vocab_size)
        return fail(error, "%s: set %s has a vocabulary of %lld, the model one of %lld; set model.vocab_size", file,
                    name, (long long)info->vocab_size, (long long)l->vocab_size);
    s->windows = (info->tokens - 1) / l->config->sequence_length;
    if (s->windows == 0)
        return fail(error, "%s: set %s has %lld tokens, a sequence takes sequence_length + 1 = %lld", file, name,
                    (long long)info->tokens, (long long)l->config->sequence_length + 1);
    s->first_window = l->windows;
    s->stream = STREAM_ORDER ^ hash_string(name);
    l->windows += s->windows;
    return true;
}

/* A list has no numbers; shares are numbers above 0. */
static bool read_mix(Loader *l, int n, Error *error) {
    const RealList *mix = &l->config->mix;
    if (mix->count == 0) return fail(error, "mix: name the data sets to train on");
    check(n == mix->count, "%d shards for a mixture of %d sets", n, mix->count);
    for (int k = 0; k < n; k++) l->shares = l->shares || mix->value[k] != 0;
    for (int k = 0; k < n; k++)
        if (l->shares && !(mix->value[k] > 0))
            return fail(error, "mix.%s: a share must be above 0; leave the set out instead", mix->name[k]);
    return true;
}

Loader *loader_open(const Config *config, const char *const *files, int n, int64_t vocab_size, Error *error) {
    Loader *l = must_alloc(1, sizeof *l);
    *l = (Loader){.config = config, .vocab_size = vocab_size, .set = must_alloc(n, sizeof *l->set)};
    if (config->synthetic_data) return l;
    bool ok = read_mix(l, n, error);
    for (int k = 0; ok && k < n; k++) {
        l->sets++;
        ok = set_open(l, k, files[k], error);
    }
    if (ok && l->shares) ok = mix_by_shares(l, error);
    if (ok) return l;
    loader_close(l);
    return NULL;
}

void loader_close(Loader *l) {
    if (!l) return;
    for (int k = 0; k < l->sets; k++) tokens_close(l->set[k].shard);
    free(l->set);
    free(l->dealt);
    free(l->ordinal);
    free(l);
}

int64_t loader_sequences_per_epoch(const Loader *l) { return l->windows; }

uint64_t loader_content(const Loader *l) {
    uint64_t content = 0;
    for (int k = 0; k < l->sets; k++) content = hash_pair(content, tokens_info(l->set[k].shard)->content);
    return content;
}

double loader_passes(const Loader *l, int k, int64_t sequences) {
    check(k >= 0 && k < l->sets, "set %d of %d", k, l->sets);
    const Set *s = &l->set[k];
    if (!l->shares) return (double)sequences / (double)l->windows;
    int64_t count = sequences / CYCLE * s->in_cycle;
    for (int64_t slot = 0; slot < sequences % CYCLE; slot++) count += l->dealt[slot] == k;
    return (double)count / (double)s->windows;
}
