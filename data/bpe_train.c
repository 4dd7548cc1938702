/* bpe_train.c - see bpe_train.h.
 *
 * A pair knows how often it occurs and in which words. Making it changes only those words, and the counts of the pairs
 * beside it. The queue is lazy: a count that fell since it was put there is put back with the new one. */
#include "data/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "data/bpe.h"

typedef struct {
    int32_t left, right;
    int64_t count;
    int32_t *word; /* in which it occurs, or did */
    int32_t words, room;
    bool waits; /* to be queued */
} Pair;
typedef struct {
    int64_t count;
    int32_t left, right, pair;
} Queued;

typedef struct {
    Learned *out;
    const Words *words;
    int32_t *symbol; /* ids of all words, one after the other; those of word i from word[i].from on */
    int32_t *length; /* of each word, in symbols */
    Pair *pair;
    int64_t pairs, pair_room;
    int32_t *slot; /* pairs by their ids, -1 = empty */
    uint64_t mask;
    Queued *queue;
    int64_t queued, queue_room;
    int32_t *fresh; /* pairs that wait */
    int64_t fresh_count, fresh_room, text_room;
    int32_t *known; /* tokens by the hash of their bytes, -1 = empty */
    uint64_t known_mask;
} Learning;

/* -- pairs -------------------------------------------------------------------------------------------------- */

static uint64_t pair_slot(int32_t left, int32_t right) {
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

static void grow_pairs(Learning *l) {
    l->mask = 2 * l->mask + 1;
    l->slot = must_realloc(l->slot, (int64_t)l->mask + 1, sizeof *l->slot);
    memset(l->slot, 0xff, (l->mask + 1) * sizeof *l->slot);
    for (int64_t i = 0; i < l->pairs; i++) {
        uint64_t at = pair_slot(l->pair[i].left, l->pair[i].right) & l->mask;
        while (l->slot[at] >= 0) at = (at + 1) & l->mask;
        l->slot[at] = (int32_t)i;
    }
}

static int32_t pair_of(Learning *l, int32_t left, int32_t right) {
    uint64_t at = pair_slot(left, right) & l->mask;
    for (; l->slot[at] >= 0; at = (at + 1) & l->mask) {
        const Pair *p = &l->pair[l->slot[at]];
        if (p->left == left && p->right == right) return l->slot[at];
    }
    if (l->pairs == l->pair_room) l->pair = must_realloc(l->pair, l->pair_room *= 2, sizeof *l->pair);
    int32_t i = l->slot[at] = (int32_t)l->pairs++;
    l->pair[i] = (Pair){.left = left, .right = right};
    if (2 * (uint64_t)l->pairs > l->mask) grow_pairs(l);
    return i;
}

static void pair_comes(Learning *l, int32_t left, int32_t right, int32_t word) {
    int32_t i = pair_of(l, left, right);
    Pair *p = &l->pair[i];
    p->count += l->words->word[word].count;
    if (!p->words || p->word[p->words - 1] != word) {
        if (p->words == p->room) p->word = must_realloc(p->word, p->room = 2 * p->room + 2, sizeof *p->word);
        p->word[p->words++] = word;
    }
    if (p->waits) return;
    p->waits = true;
    if (l->fresh_count == l->fresh_room)
        l->fresh = must_realloc(l->fresh, l->fresh_room = 2 * l->fresh_room + 256, sizeof *l->fresh);
    l->fresh[l->fresh_count++] = i;
}

static void pair_goes(Learning *l, int32_t left, int32_t right, int32_t word) {
    l->pair[pair_of(l, left, right)].count -= l->words->word[word].count;
}

/* -- the queue ------------------------------------------------------------------------------------------------ */

static bool sooner(const Queued *a, const Queued *b) {
    if (a->count != b->count) return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static void queue_put(Learning *l, int32_t pair) {
    const Pair *p = &l->pair[pair];
    Queued q = {p->count, p->left, p->right, pair};
    if (l->queued == l->queue_room)
        l->queue = must_realloc(l->queue, l->queue_room = 2 * l->queue_room + 1024, sizeof *l->queue);
    int64_t i = l->queued++;
    for (; i > 0 && sooner(&q, &l->queue[(i - 1) / 2]); i = (i - 1) / 2) l->queue[i] = l->queue[(i - 1) / 2];
    l->queue[i] = q;
}

static Queued queue_take(Learning *l) {
    Queued top = l->queue[0], last = l->queue[--l->queued];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < l->queued; i = child) {
        if (child + 1 < l->queued && sooner(&l->queue[child + 1], &l->queue[child])) child++;
        if (!sooner(&l->queue[child], &last)) break;
        l->queue[i] = l->queue[child];
    }
    l->queue[i] = last;
    return top;
}

static void queue_fresh(Learning *l) {
    for (int64_t i = 0; i < l->fresh_count; i++) {
        l->pair[l->fresh[i]].waits = false;
        if (l->pair[l->fresh[i]].count > 0) queue_put(l, l->fresh[i]);
    }
    l->fresh_count = 0;
}

/* The pair that occurs most often, -1 when none occurs `least` times. */
static int32_t best_pair(Learning *l, int64_t least) {
    while (l->queued) {
        Queued top = queue_take(l);
        int64_t count = l->pair[top.pair].count;
        if (count == top.count && count >= least) return top.pair;
        if (count < top.count && count >= least) queue_put(l, top.pair);
    }
    return -1;
}

/* -- tokens --------------------------------------------------------------------------------------------------- */

static const char *token_text(const Learned *o, int32_t id, int64_t *bytes) {
    int64_t from = id ? o->end[id - 1] : 0;
    *bytes = o->end[id] - from;
    return o->text + from;
}

/* The id of the token of text[0, bytes), which stands behind the others; a new one when there is none. */
static int32_t token_of(Learning *l, int64_t bytes) {
    Learned *o = l->out;
    int64_t from = o->tokens ? o->end[o->tokens - 1] : 0, n;
    uint64_t at = hash_bytes(o->text + from, bytes) & l->known_mask;
    for (; l->known[at] >= 0; at = (at + 1) & l->known_mask) {
        const char *text = token_text(o, l->known[at], &n);
        if (n == bytes && !memcmp(text, o->text + from, (size_t)bytes)) return l->known[at];
    }
    o->end[o->tokens] = from + bytes;
    return l->known[at] = (int32_t)o->tokens++;
}

static int32_t merged_token(Learning *l, int32_t left, int32_t right) {
    Learned *o = l->out;
    int64_t at = o->end[o->tokens - 1], a, b;
    token_text(o, left, &a);
    token_text(o, right, &b);
    if (at + a + b > l->text_room) o->text = must_realloc(o->text, l->text_room = 2 * (at + a + b), 1);
    const char *first = token_text(o, left, &a), *second = token_text(o, right, &b);
    memcpy(o->text + at, first, (size_t)a);
    memcpy(o->text + at + a, second, (size_t)b);
    return token_of(l, a + b);
}

/* -- words ---------------------------------------------------------------------------------------------------- */

/* Makes `id` of every left, right in the word; the pairs around it change. */
static void merge_in_word(Learning *l, int32_t word, int32_t left, int32_t right, int32_t id) {
    int32_t *s = l->symbol + l->words->word[word].from, n = l->length[word], to = 0;
    for (int32_t i = 0; i < n; i++, to++) {
        s[to] = s[i];
        if (i + 1 == n || s[i] != left || s[i + 1] != right) continue;
        if (to > 0) {
            pair_goes(l, s[to - 1], left, word);
            pair_comes(l, s[to - 1], id, word);
        }
        s[to] = id;
        i++;
        if (i + 1 < n) {
            pair_goes(l, right, s[i + 1], word);
            pair_comes(l, id, s[i + 1], word);
        }
    }
    l->length[word] = to;
}

static void merge_pair(Learning *l, int32_t pair) {
    Pair p = l->pair[pair];
    int32_t id = merged_token(l, p.left, p.right);
    l->pair[pair].word = NULL;
    l->pair[pair].words = l->pair[pair].room = 0;
    for (int32_t i = 0; i < p.words; i++) merge_in_word(l, p.word[i], p.left, p.right, id);
    l->pair[pair].count = 0;
    free(p.word);
    l->out->merge[l->out->merges++] = (LearnedMerge){p.left, p.right, id};
    queue_fresh(l);
}

/* -- all of it ------------------------------------------------------------------------------------------------- */

/* Ids of the bytes: in the order of the characters that files write them as. */
static void add_bytes(Learning *l, int32_t of_byte[256]) {
    for (int32_t c = 0; c < 0x200; c++) {
        int byte = bpe_byte_of(c);
        if (byte < 0) continue;
        int64_t from = l->out->tokens ? l->out->end[l->out->tokens - 1] : 0;
        l->out->text[from] = (char)byte;
        of_byte[byte] = token_of(l, 1);
    }
}

static void add_words(Learning *l, const int32_t of_byte[256]) {
    const Words *w = l->words;
    for (int64_t i = 0; i < w->text_bytes; i++) l->symbol[i] = of_byte[(unsigned char)w->text[i]];
    for (int64_t i = 0; i < w->words; i++) {
        const int32_t *s = l->symbol + w->word[i].from;
        l->length[i] = w->word[i].bytes;
        for (int32_t k = 0; k + 1 < l->length[i]; k++) pair_comes(l, s[k], s[k + 1], (int32_t)i);
    }
    queue_fresh(l);
}

static void open_learning(Learning *l, int64_t tokens) {
    l->pair_room = 1 << 12;
    l->mask = (1 << 13) - 1;
    l->pair = must_alloc(l->pair_room, sizeof *l->pair);
    l->slot = must_alloc((int64_t)l->mask + 1, sizeof *l->slot);
    memset(l->slot, 0xff, (l->mask + 1) * sizeof *l->slot);
    l->known_mask = 1023;
    while (l->known_mask < 2 * (uint64_t)tokens) l->known_mask = 2 * l->known_mask + 1;
    l->known = must_alloc((int64_t)l->known_mask + 1, sizeof *l->known);
    memset(l->known, 0xff, (l->known_mask + 1) * sizeof *l->known);
    l->symbol = must_alloc(l->words->text_bytes + 1, sizeof *l->symbol);
    l->length = must_alloc(l->words->words + 1, sizeof *l->length);
    l->out->text = must_alloc(l->text_room = 1 << 16, 1);
    l->out->end = must_alloc(tokens + 256, sizeof *l->out->end);
}

static void close_learning(Learning *l) {
    for (int64_t i = 0; i < l->pairs; i++) free(l->pair[i].word);
    free(l->pair);
    free(l->slot);
    free(l->queue);
    free(l->fresh);
    free(l->known);
    free(l->symbol);
    free(l->length);
}

void bpe_learn(Learned *out, const Words *words, int64_t tokens, int64_t min_frequency,
               void (*progress)(void *own, int64_t tokens), void *own) {
    Learning l = {.out = out, .words = words};
    int32_t of_byte[256], pair;
    *out = (Learned){0};
    open_learning(&l, tokens);
    add_bytes(&l, of_byte);
    add_words(&l, of_byte);
    int64_t room = 0;
    while (out->tokens < tokens && (pair = best_pair(&l, max_i64(min_frequency, 1))) >= 0) {
        if (out->merges == room) out->merge = must_realloc(out->merge, room = 2 * room + 1024, sizeof *out->merge);
        merge_pair(&l, pair);
        if (progress) progress(own, out->tokens);
    }
    for (int64_t i = 0; i < words->words; i++) out->corpus_tokens += l.length[i] * words->word[i].count;
    close_learning(&l);
}

void bpe_learned_free(Learned *l) {
    free(l->merge);
    free(l->text);
    free(l->end);
    *l = (Learned){0};
}
