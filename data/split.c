/* split.c - see split.h. */
#include "data/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGIT_BITS = 16, DIGITS = 1 << DIGIT_BITS };

/* The next document that is not dropped. */
static bool next_kept(Corpus *c, Document *d, bool *found, Error *error) {
    do
        if (!corpus_next(c, d, found, error)) return false;
    while (*found && d->dropped);
    return true;
}

/* -- which documents ---------------------------------------------------------------------------------------- */

static bool count_digits(Corpus *c, uint64_t prefix, uint64_t known, int shift, int64_t *count, Error *error) {
    Document d;
    bool found;
    corpus_go(c, (Spot){0});
    memset(count, 0, DIGITS * sizeof *count);
    for (;;) {
        if (!next_kept(c, &d, &found, error)) return false;
        if (!found) return true;
        if ((d.record.hash[0] & known) == prefix) count[d.record.hash[0] >> shift & (DIGITS - 1)]++;
    }
}

/* The k-th smallest hash (k from 1), found digit by digit: four passes, whatever the number. `above`: hashes above it. */
static bool select_hash(Corpus *c, int64_t k, uint64_t *hash, int64_t documents, int64_t *above, Error *error) {
    int64_t *count = must_alloc(DIGITS, sizeof *count), up_to = 0;
    bool ok = true;
    *hash = 0;
    for (int shift = 64 - DIGIT_BITS; ok && shift >= 0; shift -= DIGIT_BITS) {
        uint64_t known = shift == 64 - DIGIT_BITS ? 0 : ~(uint64_t)0 << (shift + DIGIT_BITS), digit = 0;
        ok = count_digits(c, *hash, known, shift, count, error);
        while (ok && k > count[digit]) up_to += count[digit], k -= count[digit++];
        *hash |= digit << shift;
        if (shift == 0) up_to += count[digit];
    }
    *above = documents - up_to;
    free(count);
    return ok;
}

bool split_choose(Split *s, double validation, int32_t bos, Corpus *c, int64_t documents, const char *set,
                  Error *error) {
    *s = (Split){.bos = bos};
    if (validation == 0) return true;
    if (validation < 1 && documents < SPLIT_LEAST_DOCUMENTS) {
        s->tails = true;
        s->share = validation;
        return true;
    }
    int64_t held = validation < 1 ? max_i64(1, llround(validation * (double)documents)) : llround(validation),
            left = 0;
    if (validation >= 1 && (double)held != validation)
        return fail(error, "data.%s.validation: %g is neither a share below 1 nor a whole number of documents", set,
                    validation);
    if (held < documents && !select_hash(c, held, &s->threshold, documents, &left, error)) return false;
    if (left <= 0)
        return fail(error,
                    "data.%s.validation: %g of %lld documents (copies counted once) leaves none to train on; "
                    "write a smaller number, or a share below 1",
                    set, validation, (long long)documents);
    s->documents = true;
    return true;
}

static int64_t tail_tokens(const Split *s, const Record *r) {
    int64_t tokens = record_text_tokens(r, s->bos);
    return min_i64(llround(s->share * (double)tokens), tokens - 1);
}

Side split_side(const Split *s, const Document *d, bool validation) {
    const Record *r = &d->record;
    Side all = {.count = r->tokens}, none = {0};
    if (d->dropped) return none;
    if (s->documents) return (r->hash[0] <= s->threshold) == validation ? all : none;
    if (!s->tails) return validation ? none : all;
    int64_t held = tail_tokens(s, r);
    if (held <= 0) return validation ? none : all;
    if (validation) return (Side){.from = r->tokens - 1 - held, .count = held + 1};
    return (Side){.count = r->tokens - 1 - held, .eos = true};
}

/* -- which shard --------------------------------------------------------------------------------------------- */

typedef struct {
    ShardPlan *shard;
    int64_t n, room, most;
    int64_t last[2], count[2]; /* of each side: its last shard, and how many */
} Planning;

static void add_document(Planning *p, const Document *d, bool validation, int64_t tokens) {
    ShardPlan *s = p->count[validation] ? &p->shard[p->last[validation]] : NULL;
    if (!s || s->tokens + tokens > p->most) {
        if (p->n == p->room) {
            p->room = p->room ? 2 * p->room : 16;
            p->shard = must_realloc(p->shard, p->room, sizeof *p->shard);
        }
        s = &p->shard[p->last[validation] = p->n++];
        *s = (ShardPlan){.validation = validation, .shard = p->count[validation]++, .from = d->spot};
    }
    s->tokens += tokens;
    s->documents++;
}

static bool plan_documents(Planning *p, const Split *s, Corpus *c, Error *error) {
    Document d;
    bool found;
    corpus_go(c, (Spot){0});
    while (p->count[0] <= TOKENS_SHARDS_MOST) {
        if (!next_kept(c, &d, &found, error)) return false;
        if (!found) break;
        for (int validation = 0; validation < 2; validation++) {
            Side side = split_side(s, &d, validation);
            if (side.count) add_document(p, &d, validation, side.count + side.eos);
        }
    }
    return true;
}

bool split_shards(const Split *s, Corpus *c, int64_t shard_tokens, const char *set, ShardPlan **shards, int64_t *n,
                  Error *error) {
    Planning p = {.most = shard_tokens};
    bool ok = plan_documents(&p, s, c, error);
    if (ok && max_i64(p.count[0], p.count[1]) > TOKENS_SHARDS_MOST)
        ok = fail(error, "data.%s.shard_tokens: %lld makes more than %d shards; write a larger number", set,
                  (long long)shard_tokens, TOKENS_SHARDS_MOST);
    for (int64_t i = 0; i < p.n; i++) p.shard[i].shards = p.count[p.shard[i].validation];
    *shards = p.shard;
    *n = p.n;
    return ok;
}
