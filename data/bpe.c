/* bpe.c - merging. Reading a vocabulary is in bpe_read.c. */
#include "data/bpe_own.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_PIECE = 48 };

typedef struct { /* a token of a long piece, with its neighbours */
    int32_t id, before, after;
} Symbol;
typedef struct {
    uint32_t rank;
    int32_t at, left, right, merged; /* valid as long as symbols `at` and its neighbour still have these ids */
} Candidate;

struct BpeScratch {
    Symbol *symbol;
    Candidate *heap;
    int64_t symbol_room, heap_room, n;
};

BpeScratch *bpe_scratch_open(void) { return must_alloc(1, sizeof(BpeScratch)); }
void bpe_scratch_close(BpeScratch *s) {
    if (!s) return;
    free(s->symbol);
    free(s->heap);
    free(s);
}

static inline const Merge *merge_of(const Bpe *b, int32_t left, int32_t right) {
    for (uint64_t i = merge_slot(left, right) & b->merge_mask;; i = (i + 1) & b->merge_mask) {
        const Merge *m = &b->merge[i];
        if (m->id < 0) return NULL;
        if (m->left == left && m->right == right) return m;
    }
}

/* -- short pieces: look at all pairs each time ----------------------------------------------------- */

static int64_t encode_short(const Bpe *b, int32_t *id, int64_t n) {
    const Merge *pair[SHORT_PIECE];
    for (int64_t i = 0; i + 1 < n; i++) pair[i] = merge_of(b, id[i], id[i + 1]);
    for (;;) {
        int64_t best = -1;
        for (int64_t i = 0; i + 1 < n; i++)
            if (pair[i] && (best < 0 || pair[i]->rank < pair[best]->rank)) best = i;
        if (best < 0) return n;
        id[best] = pair[best]->id;
        n--;
        memmove(id + best + 1, id + best + 2, (size_t)(n - best - 1) * sizeof *id);
        if (best + 2 < n) memmove(pair + best + 1, pair + best + 2, (size_t)(n - best - 2) * sizeof *pair);
        if (best > 0) pair[best - 1] = merge_of(b, id[best - 1], id[best]);
        if (best + 1 < n) pair[best] = merge_of(b, id[best], id[best + 1]);
    }
}

/* -- long pieces: a heap of candidates over linked symbols ------------------------------------------- */

static bool earlier(const Candidate *a, const Candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(BpeScratch *s, Candidate c) {
    int64_t i = s->n++;
    while (i > 0 && earlier(&c, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = c;
}

static Candidate heap_pop(BpeScratch *s) {
    Candidate top = s->heap[0], last = s->heap[--s->n];
    int64_t i = 0, child;
    while ((child = 2 * i + 1) < s->n) {
        if (child + 1 < s->n && earlier(&s->heap[child + 1], &s->heap[child])) child++;
        if (!earlier(&s->heap[child], &last)) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static void offer(const Bpe *b, BpeScratch *s, int32_t at) {
    if (at < 0 || s->symbol[at].after < 0) return;
    int32_t left = s->symbol[at].id, right = s->symbol[s->symbol[at].after].id;
    const Merge *m = merge_of(b, left, right);
    if (m) heap_push(s, (Candidate){m->rank, at, left, right, m->id});
}

/* Each merge takes one symbol away and offers two candidates, so 3 n are enough. */
static void make_room(BpeScratch *s, int64_t n) {
    if (n <= s->symbol_room) return;
    s->symbol = must_realloc(s->symbol, n, sizeof *s->symbol);
    s->heap = must_realloc(s->heap, 3 * n, sizeof *s->heap);
    s->symbol_room = n;
}

static void merge_symbols(const Bpe *b, BpeScratch *s, Candidate c) {
    Symbol *left = &s->symbol[c.at];
    if (left->id != c.left || left->after < 0 || s->symbol[left->after].id != c.right) return; /* gone meanwhile */
    Symbol *right = &s->symbol[left->after];
    left->id = c.merged;
    left->after = right->after;
    right->id = -1;
    if (left->after >= 0) s->symbol[left->after].before = c.at;
    offer(b, s, left->before);
    offer(b, s, c.at);
}

static int64_t encode_long(const Bpe *b, BpeScratch *s, int32_t *id, int64_t n) {
    make_room(s, n);
    s->n = 0;
    for (int64_t i = 0; i < n; i++) s->symbol[i] = (Symbol){id[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
    for (int64_t i = 0; i + 1 < n; i++) offer(b, s, (int32_t)i);
    while (s->n) merge_symbols(b, s, heap_pop(s));
    int64_t count = 0;
    for (int32_t i = 0; i >= 0; i = s->symbol[i].after) id[count++] = s->symbol[i].id;
    return count;
}

static int32_t whole_piece(const Bpe *b, const char *piece, int64_t bytes) {
    for (uint64_t i = hash_bytes(piece, bytes) & b->word_mask; b->word[i] >= 0; i = (i + 1) & b->word_mask) {
        const Token *t = &b->token[b->word[i]];
        if (t->bytes == bytes && !memcmp(b->text + t->from, piece, (size_t)bytes)) return b->word[i];
    }
    return -1;
}

int64_t bpe_encode(const Bpe *b, BpeScratch *s, int32_t *to, const char *piece, int64_t bytes) {
    if (b->ignore_merges && (to[0] = whole_piece(b, piece, bytes)) >= 0) return 1;
    for (int64_t i = 0; i < bytes; i++) to[i] = b->of_byte[(unsigned char)piece[i]];
    if (bytes == 1) return 1;
    return bytes <= SHORT_PIECE ? encode_short(b, to, bytes) : encode_long(b, s, to, bytes);
}

int64_t bpe_size(const Bpe *b) { return b->size; }

const char *bpe_token(const Bpe *b, int32_t id, int64_t *bytes) {
    if (id < 0 || id >= b->size || b->token[id].bytes == 0) return NULL;
    *bytes = b->token[id].bytes;
    return b->text + b->token[id].from;
}
