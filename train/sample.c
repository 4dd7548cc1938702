#include "train/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double p;
    int32_t id;
} Candidate;

static int by_probability(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id); /* the same order on every machine */
}

static int32_t likeliest(const double *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* How many of the sorted candidates may be chosen, and their total probability. */
static int64_t cut(const Candidate *c, int64_t n, const SampleRule *rule, double *total) {
    int64_t most = rule->top_k > 0 ? min_i64(rule->top_k, n) : n, kept = 0;
    double all = 0, taken = 0;
    for (int64_t i = 0; i < n; i++) all += c[i].p;
    while (kept < most && (kept == 0 || taken < rule->top_p * all)) taken += c[kept++].p;
    *total = taken;
    return kept;
}

int32_t sample_choose(double *logits, int64_t n, const SampleRule *rule, uint64_t index) {
    int32_t best = likeliest(logits, n);
    if (rule->temperature <= 0) return best;
    Candidate *c = must_alloc(n, sizeof *c);
    double top = logits[best], total;
    for (int64_t i = 0; i < n; i++) c[i] = (Candidate){exp((logits[i] - top) / rule->temperature), (int32_t)i};
    qsort(c, (size_t)n, sizeof *c, by_probability);
    int64_t kept = cut(c, n, rule, &total), at = 0;
    double left = random_uniform(rule->seed, hash_string("sample"), index) * total;
    while (at + 1 < kept && (left -= c[at].p) >= 0) at++;
    int32_t id = c[at].id;
    free(c);
    return id;
}

bool sample_prompt(const Tokenizer *t, const char *prompt, int32_t **ids, int64_t *n, Error *error) {
    int64_t bytes = (int64_t)strlen(prompt);
    *ids = must_alloc(tokenizer_room(t, bytes) + 1, sizeof **ids);
    *n = tokenizer_encode(t, *ids, prompt, bytes, SPECIALS_MATCH);
    if (*n == 0) (*ids)[(*n)++] = tokenizer_eos(t);
    if (*n > 0 && **ids >= 0) return true;
    free(*ids);
    return fail(error, *n < 0
                           ? "the prompt is not UTF-8 text, or takes the tokenizer's expressions beyond their limits"
                           : "the prompt is empty, and the tokenizer has no token for the end of a document");
}

typedef struct {
    const int32_t *context;
    int64_t n;
} Context;

static bool fill_context(void *own, int64_t number, StepRow row, Error *error) {
    const Context *c = own;
    (void)number, (void)error;
    for (int64_t i = 0; i < c->n; i++) row.ids[i] = c->context[i];
    return true;
}

/* The rest of the sequence is never looked at by what stands before it. */
static void clear_rows(StepData *d) {
    int64_t n = d->capacity * d->sequence_length;
    for (int64_t i = 0; i < n; i++) {
        d->ids[i] = 0;
        d->label[i] = -1;
        d->position[i] = (int32_t)(i % d->sequence_length);
        d->first[i] = 0;
    }
}

static int32_t next_token(Engine *e, const Context *c, int64_t vocabulary, const SampleRule *rule, uint64_t index,
                          double *logits) {
    Error error;
    int32_t id = 0;
    Comm *world = e->run.mesh.world;
    stepdata_fill(&e->data, &e->run, 0, 1, fill_context, (void *)c, &error);
    e->data.global_tokens = 0;
    engine_logits(e, c->n - 1, 1, logits);
    if (world->rank == 0) id = sample_choose(logits, vocabulary, rule, index);
    world->ops->host_broadcast(world, &id, sizeof id, 0);
    return id;
}

void sample_text(Engine *e, const Tokenizer *t, const int32_t *prompt, int64_t n, SampleRule rule, SampleText text,
                 void *own) {
    int64_t length = e->use.sequence_length, vocabulary = min_i64(tokenizer_size(t), e->run.config->vocab_size);
    int32_t *ids = must_alloc(n + rule.new_tokens, sizeof *ids);
    double *logits = must_alloc(e->run.config->vocab_size, sizeof *logits);
    char *piece = must_alloc(tokenizer_max_bytes(t), 1);
    memcpy(ids, prompt, (size_t)n * sizeof *ids);
    clear_rows(&e->data);
    for (int64_t i = 0; i < rule.new_tokens; i++) {
        int64_t kept = min_i64(n, length);
        Context context = {ids + n - kept, kept};
        int32_t id = next_token(e, &context, vocabulary, &rule, (uint64_t)i, logits);
        if (id == rule.eos) break;
        ids[n++] = id;
        if (e->run.mesh.world->rank == 0) text(own, piece, tokenizer_decode(t, piece, &id, 1));
    }
    free(piece);
    free(logits);
    free(ids);
}
