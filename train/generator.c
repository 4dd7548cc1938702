/* generator.c - who is continued when. Every rank keeps the desks of all ranks: what is chosen is the only thing that the
 * others have to be told, so all agree on who leaves and who comes. */
#include "train/generator.h"

#include <stdlib.h>
#include <string.h>

#include "launch/signals.h"
#include "launch/watchdog.h"

typedef struct {         /* a prompt that has room in a cache */
    int64_t prompt;      /* its number */
    int64_t first, room; /* rows of the cache */
    int64_t cached;      /* of its tokens */
    int64_t made;        /* new tokens so far */
    int32_t newest;
    int64_t now; /* tokens that the forward in the making takes */
    bool left;
} Sequence;

typedef struct { /* a rank's, in order of their rows */
    Sequence *list;
    int64_t count;
} Desk;

typedef struct {
    Engine *engine;
    Comm *world;
    const Prompt *prompt;
    int64_t count, next; /* prompts; the first that has not had its turn */
    const SampleRule *rule;
    int64_t limit;
    const GenerateSink *sink;
    GenerateReport *report;
    Desk *desk;      /* (ranks) */
    int32_t *chosen; /* (ranks, most + 1): of each sequence in the order of its desk, then whether a signal came */
    bool *stop;      /* (ranks, most) */
    int64_t most;    /* sequences of a rank */
    bool signalled;
} Generator;

CacheUse generate_use(const Prompt *prompt, int64_t count, int64_t new_tokens, int64_t at_once, int ranks) {
    CacheUse use = {.sequences = max_i64(1, ceil_div(min_i64(count, at_once), ranks)), .block = 1};
    int64_t all = 0, longest = 1;
    for (int64_t i = 0; i < count; i++) {
        use.length = max_i64(use.length, prompt[i].n + new_tokens);
        longest = max_i64(longest, prompt[i].n);
        all += prompt[i].n + new_tokens;
    }
    use.block = min_i64(GENERATE_BLOCK, longest);
    use.tokens = min_i64(all, use.sequences * use.length);
    return use;
}

/* -- who comes and who leaves ------------------------------------------------------------------------ */

static int64_t room_of(const Generator *g, int64_t prompt) { return g->prompt[prompt].n + g->rule->new_tokens; }

/* Where on a desk a sequence of so many rows finds room; false when it does not. */
static bool find_room(const Generator *g, const Desk *d, int64_t room, int64_t *at, int64_t *first) {
    int64_t tokens = g->engine->decoder.cache.tokens;
    *first = 0;
    if (d->count == g->most) return false;
    for (*at = 0; *at < d->count; ++*at) {
        if (d->list[*at].first - *first >= room) return true;
        *first = d->list[*at].first + d->list[*at].room;
    }
    return tokens - *first >= room;
}

static bool seat(Generator *g, int64_t prompt) {
    Desk *best = NULL;
    int64_t at = 0, first = 0, room = room_of(g, prompt);
    for (int r = 0; r < g->world->size; r++) {
        int64_t a, f;
        Desk *d = &g->desk[r];
        if ((!best || d->count < best->count) && find_room(g, d, room, &a, &f)) best = d, at = a, first = f;
    }
    if (!best) return false;
    memmove(&best->list[at + 1], &best->list[at], (size_t)(best->count++ - at) * sizeof *best->list);
    best->list[at] = (Sequence){.prompt = prompt, .first = first, .room = room, .cached = g->prompt[prompt].kept};
    return true;
}

static void clear_seats(Desk *d) {
    int64_t kept = 0;
    for (int64_t i = 0; i < d->count; i++)
        if (!d->list[i].left) d->list[kept++] = d->list[i];
    d->count = kept;
}

static void tell_end(Generator *g, Sequence *s, PromptEnd end) {
    s->left = true;
    if (g->world->rank == 0 && g->sink->end) g->sink->end(g->sink->own, s->prompt, end);
}

/* -- one forward ------------------------------------------------------------------------------------- */

/* The next piece of one prompt, or a few short ones. A prompt is cut from its beginning, and products of more than
 * TOGETHER rows round by how many they are; so what is computed for a prompt does not depend on who stands beside it. */
enum { TOGETHER = 16 };
static int64_t mark_reading(const Generator *g, Desk *d) {
    int64_t block = g->engine->decoder.use.block, rows = 0;
    for (int64_t i = 0; i < d->count; i++) {
        Sequence *s = &d->list[i];
        int64_t piece = min_i64(block, g->prompt[s->prompt].n - s->cached);
        s->now = piece > 0 && (!rows || rows + piece <= min_i64(TOGETHER, block)) ? piece : 0;
        rows += s->now;
    }
    return rows;
}

static int64_t mark_writing(const Generator *g, Desk *d) {
    int64_t rows = 0;
    for (int64_t i = 0; i < d->count; i++) {
        d->list[i].now = d->list[i].cached >= g->prompt[d->list[i].prompt].n;
        rows += d->list[i].now;
    }
    return rows;
}

static bool wants(const Generator *g, const Sequence *s) {
    return s->now && s->cached + s->now == g->prompt[s->prompt].n + s->made;
}

static void add_sequence(Generator *g, const Sequence *s) {
    const Prompt *p = &g->prompt[s->prompt];
    uint64_t stream = hash_string("sample") + (uint64_t)s->prompt;
    double draw = wants(g, s) ? random_uniform(g->rule->seed, stream, (uint64_t)(p->n + s->made)) : -1;
    const int32_t *ids = s->cached < p->n ? p->ids + s->cached : &s->newest;
    decoder_add(&g->engine->decoder, ids, s->now, s->first, s->cached, draw);
}

/* This rank's pieces, those that are expanded first; what was chosen, by place at the desk. */
static void compute(Generator *g) {
    Engine *e = g->engine;
    Desk *d = &g->desk[g->world->rank];
    int32_t *mine = g->chosen + g->world->rank * (g->most + 1);
    int64_t place[g->most], wanted = 0;
    decoder_begin(&e->decoder);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < d->count; i++) {
            const Sequence *s = &d->list[i];
            if (!s->now || decoder_expands(&e->model, s->now) != (pass == 0)) continue;
            if (wants(g, s)) place[wanted++] = i;
            add_sequence(g, s);
        }
    decoder_run(&e->decoder, &e->model, g->rule->choice, g->limit, &e->run);
    for (int64_t i = 0; i < wanted; i++) mine[place[i]] = e->decoder.chosen[i];
    mine[g->most] = signals_pending();
}

/* -- what came out ------------------------------------------------------------------------------------ */

static void take_token(Generator *g, Sequence *s, int32_t id, bool *stop) {
    const SampleRule *rule = g->rule;
    g->report->new_tokens++;
    g->report->decoded_tokens += s->made > 0;
    if (id < 0 || id == rule->eos) {
        tell_end(g, s, id < 0 ? ENDED_NAN : ENDED_EOS);
        return;
    }
    s->newest = id;
    s->made++;
    *stop = g->world->rank == 0 && g->sink->token && !g->sink->token(g->sink->own, s->prompt, id);
}

/* Rank 0 has heard the sink and tells the others whom it stopped. */
static void take_tokens(Generator *g) {
    Comm *world = g->world;
    int64_t bytes = (g->most + 1) * (int64_t)sizeof *g->chosen;
    int32_t *mine = must_alloc(g->most + 1, sizeof *mine);
    memcpy(mine, g->chosen + world->rank * (g->most + 1), (size_t)bytes);
    world->ops->host_gather_all(world, g->chosen, mine, bytes);
    free(mine);
    memset(g->stop, 0, (size_t)(world->size * g->most) * sizeof *g->stop);
    for (int r = 0; r < world->size; r++) {
        const int32_t *ids = g->chosen + r * (g->most + 1);
        for (int64_t i = 0; i < g->desk[r].count; i++) {
            Sequence *s = &g->desk[r].list[i];
            bool wanted = wants(g, s);
            if (wanted) take_token(g, s, ids[i], &g->stop[r * g->most + i]);
        }
        g->signalled |= ids[g->most] != 0;
    }
    world->ops->host_broadcast(world, g->stop, world->size * g->most * (int64_t)sizeof *g->stop, 0);
}

/* The forward's tokens are cached; who was stopped or is long enough leaves. */
static void settle(Generator *g) {
    for (int r = 0; r < g->world->size; r++) {
        Desk *d = &g->desk[r];
        for (int64_t i = 0; i < d->count; i++) {
            Sequence *s = &d->list[i];
            s->cached += s->now;
            s->now = 0;
            if (s->left) continue;
            if (g->stop[r * g->most + i])
                tell_end(g, s, ENDED_STOPPED);
            else if (s->made == g->rule->new_tokens)
                tell_end(g, s, ENDED_LENGTH);
        }
        clear_seats(d);
    }
}

/* One forward of all ranks, when any has something to do. */
static void step(Generator *g, int64_t (*mark)(const Generator *, Desk *), double *seconds) {
    double begin = clock_seconds();
    int64_t rows = 0;
    for (int r = 0; r < g->world->size; r++) rows += mark(g, &g->desk[r]);
    if (!rows) return;
    compute(g);
    take_tokens(g);
    settle(g);
    *seconds += clock_seconds() - begin;
}

static void end_all(Generator *g) {
    for (int r = 0; r < g->world->size; r++)
        for (int64_t i = 0; i < g->desk[r].count; i++) tell_end(g, &g->desk[r].list[i], ENDED_STOPPED);
    for (; g->next < g->count; g->next++) tell_end(g, &(Sequence){.prompt = g->next}, ENDED_STOPPED);
}

static bool anybody(const Generator *g) {
    for (int r = 0; r < g->world->size; r++)
        if (g->desk[r].count) return true;
    return false;
}

/* -- all prompts ------------------------------------------------------------------------------------- */

bool generate_fits(const Config *c, const Prompt *p, int64_t number, int64_t new_tokens, Error *error) {
    long long n = p->n, new = new_tokens, positions = c->max_position_embeddings;
    check(n > 0 && new > 0, "prompt %lld has %lld tokens and %lld are wanted", (long long)number, n, new);
    if (n + new <= positions) return true;
    if (n < positions)
        return fail(
            error,
            "prompt %lld has %lld tokens and max_new_tokens is %lld, together more than max_position_embeddings "
            "%lld; lower max_new_tokens to %lld, or shorten the prompt",
            (long long)number + 1, n, new, positions, positions - n);
    return fail(error,
                "prompt %lld has %lld tokens, which leaves no room in max_position_embeddings %lld; shorten it",
                (long long)number + 1, n, positions);
}

static bool check_prompts(const Generator *g, Error *error) {
    const CacheUse *use = &g->engine->decoder.use;
    int64_t new = g->rule->new_tokens, room = min_i64(use->length, use->tokens);
    for (int64_t i = 0; i < g->count; i++) {
        check(g->prompt[i].kept == 0 || (g->count == 1 && g->prompt[i].kept < g->prompt[i].n),
              "prompt %lld has %lld of %lld tokens in the cache", (long long)i, (long long)g->prompt[i].kept,
              (long long)g->prompt[i].n);
        if (!generate_fits(g->engine->run.config, &g->prompt[i], i, new, error)) return false;
        if (g->prompt[i].n + new > room)
            return fail(error, "prompt %lld with %lld new tokens takes %lld tokens, and there is room for %lld",
                        (long long)i + 1, (long long)new, (long long)(g->prompt[i].n + new), (long long)room);
    }
    return true;
}

static void generator_open(Generator *g) {
    int size = g->world->size;
    g->most = g->engine->decoder.use.sequences;
    g->desk = must_alloc(size, sizeof *g->desk);
    for (int r = 0; r < size; r++) g->desk[r].list = must_alloc(g->most, sizeof(Sequence));
    g->chosen = must_alloc(size * (g->most + 1), sizeof *g->chosen);
    g->stop = must_alloc(size * g->most, sizeof *g->stop);
}

static void generator_close(Generator *g) {
    for (int r = 0; r < g->world->size; r++) free(g->desk[r].list);
    free(g->desk);
    free(g->chosen);
    free(g->stop);
}

static void run_all(Generator *g) {
    while (!g->signalled) {
        for (; g->next < g->count && seat(g, g->next); g->next++)
            g->report->prompt_tokens += g->prompt[g->next].n - g->prompt[g->next].kept;
        if (!anybody(g)) break;
        step(g, mark_reading, &g->report->prefill_seconds);
        step(g, mark_writing, &g->report->decode_seconds);
    }
    end_all(g);
}

bool generate(Engine *e, const Prompt *prompt, int64_t count, const SampleRule *rule, int64_t limit,
              const GenerateSink *sink, GenerateReport *report, Error *error) {
    Generator g = {.engine = e,
                   .world = e->run.mesh.world,
                   .prompt = prompt,
                   .count = count,
                   .rule = rule,
                   .limit = min_i64(limit, e->run.config->vocab_size),
                   .sink = sink,
                   .report = report};
    check(e->use.cache.sequences, "generating was not planned for");
    *report = (GenerateReport){.cache_bytes_per_token = cache_bytes_per_token(e->run.config),
                               .cache_bytes = e->run.cache.used};
    if (!check_prompts(&g, error)) return false;
    generator_open(&g);
    watchdog_section(SECTION_GENERATE);
    run_all(&g);
    generator_close(&g);
    return true;
}
