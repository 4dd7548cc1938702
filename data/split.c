/* split.c - see split.h. */
#include "data/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGIT_BITS = 16, DIGITS = 1 << DIGIT_BITS };

/* The k-th smallest hash (k from 1), found digit by digit: four passes, whatever the number. */
static uint64_t select_hash(const Record *r, int64_t n, int64_t k) {
    int64_t *count = must_alloc(DIGITS, sizeof *count);
    uint64_t prefix = 0;
    for (int shift = 64 - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        uint64_t known = shift == 64 - DIGIT_BITS ? 0 : ~(uint64_t)0 << (shift + DIGIT_BITS);
        memset(count, 0, DIGITS * sizeof *count);
        for (int64_t i = 0; i < n; i++)
            if ((r[i].hash & known) == prefix) count[r[i].hash >> shift & (DIGITS - 1)]++;
        uint64_t digit = 0;
        while (k > count[digit]) k -= count[digit++];
        prefix |= digit << shift;
    }
    free(count);
    return prefix;
}

static bool all_held_out(const Record *r, int64_t n, uint64_t threshold) {
    for (int64_t i = 0; i < n; i++)
        if (r[i].hash > threshold) return false;
    return true;
}

bool split_choose(Split *s, double validation, const Record *r, int64_t documents, const char *set, Error *error) {
    *s = (Split){0};
    if (validation == 0) return true;
    if (validation < 1 && documents < SPLIT_LEAST_DOCUMENTS) {
        *s = (Split){.tails = true, .share = validation};
        return true;
    }
    int64_t held = validation < 1 ? max_i64(1, llround(validation * (double)documents)) : llround(validation);
    if (validation >= 1 && (double)held != validation)
        return fail(error, "data.%s.validation: %g is neither a share below 1 nor a whole number of documents", set,
                    validation);
    if (held < documents) s->threshold = select_hash(r, documents, held);
    if (held >= documents || all_held_out(r, documents, s->threshold))
        return fail(error,
                    "data.%s.validation: %g of %lld documents (copies counted once) leaves none to train on; "
                    "write a smaller number, or a share below 1",
                    set, validation, (long long)documents);
    s->documents = true;
    return true;
}

static int64_t tail_tokens(const Split *s, const Record *r) {
    return min_i64(llround(s->share * (double)r->text_tokens), r->text_tokens - 1);
}

Part split_part(const Split *s, const Record *r, bool validation) {
    Part all = {.count = r->tokens}, none = {0};
    if (s->documents) return (r->hash <= s->threshold) == validation ? all : none;
    if (!s->tails) return validation ? none : all;
    int64_t held = tail_tokens(s, r);
    if (held <= 0) return validation ? none : all;
    if (validation) return (Part){.from = r->tokens - 1 - held, .count = held + 1};
    return (Part){.count = r->tokens - 1 - held, .eos = true};
}
