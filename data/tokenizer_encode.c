#include "data/tokenizer_encode.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"

/* -- what was found before: one slot a hash, the newest piece stays ---------------------------------- */

enum { KNOWN_BYTES = 29, KNOWN_IDS = 8, KNOWN_SLOTS = 1 << 14 };

typedef struct {
    uint8_t bytes, step, n; /* bytes 0: empty */
    char text[KNOWN_BYTES];
    int32_t id[KNOWN_IDS];
} Known;

typedef struct Scratch {
    RegexScratch *regex;
    BpeScratch *bpe;
    Known *known;
    struct Scratch *next;
} Scratch;

struct TextEncoder {
    const TokenizerFile *file;
    int steps;
    bool cuts; /* a line's end before a word is a place to cut at */
    pthread_mutex_t lock;
    Scratch *idle;
};

static Scratch *take_scratch(TextEncoder *e) {
    pthread_mutex_lock(&e->lock);
    Scratch *s = e->idle;
    if (s) e->idle = s->next;
    pthread_mutex_unlock(&e->lock);
    if (s) return s;
    s = must_alloc(1, sizeof *s);
    *s = (Scratch){regex_scratch_open(), bpe_scratch_open(), must_alloc(KNOWN_SLOTS, sizeof(Known)), NULL};
    return s;
}

static void give_scratch(TextEncoder *e, Scratch *s) {
    pthread_mutex_lock(&e->lock);
    s->next = e->idle;
    e->idle = s;
    pthread_mutex_unlock(&e->lock);
}

/* -- pieces ------------------------------------------------------------------------------------------ */

typedef struct {
    TextEncoder *e;
    Scratch *scratch;
    int32_t *to;
    int64_t n;
} Output;

typedef struct {
    Output *out;
    int step; /* the next one for this piece */
} Piece;

static Known *known_slot(Scratch *s, const char *text, int64_t bytes, int step) {
    return &s->known[(hash_bytes(text, bytes) + (uint64_t)step) % KNOWN_SLOTS];
}

static bool is_known(const Known *k, const char *text, int64_t bytes, int step) {
    return k->bytes == bytes && k->step == step && !memcmp(k->text, text, (size_t)bytes);
}

static void remember(Known *k, const char *text, int64_t bytes, int step, const int32_t *id, int64_t n) {
    if (n > KNOWN_IDS) return;
    k->bytes = (uint8_t)bytes;
    k->step = (uint8_t)step;
    k->n = (uint8_t)n;
    memcpy(k->text, text, (size_t)bytes);
    memcpy(k->id, id, (size_t)n * sizeof *id);
}

static bool encode_piece(void *own, const char *text, int64_t bytes);

static bool encode_unknown(Output *out, int step, const char *text, int64_t bytes) {
    Piece rest = {out, step + 1};
    if (step < out->e->steps)
        return pretokenizer_step(out->e->file->pretokenizer, step, out->scratch->regex, text, bytes, encode_piece,
                                 &rest);
    out->n += bpe_encode(out->e->file->bpe, out->scratch->bpe, out->to + out->n, text, bytes);
    return true;
}

static bool encode_piece(void *own, const char *text, int64_t bytes) {
    const Piece *p = own;
    Output *out = p->out;
    if (bytes > KNOWN_BYTES) return encode_unknown(out, p->step, text, bytes);
    Known *k = known_slot(out->scratch, text, bytes, p->step);
    if (is_known(k, text, bytes, p->step)) {
        memcpy(out->to + out->n, k->id, k->n * sizeof *k->id);
        out->n += k->n;
        return true;
    }
    int64_t before = out->n;
    if (!encode_unknown(out, p->step, text, bytes)) return false;
    remember(k, text, bytes, p->step, out->to + before, out->n - before);
    return true;
}

/* -- normalisation and added tokens ------------------------------------------------------------------- */

static bool plain_text(Output *out, const char *text, int64_t bytes) {
    Piece whole = {out, 0};
    return bytes == 0 || encode_piece(&whole, text, bytes);
}

/* Between added tokens of one kind; `inner` takes what lies between. */
typedef bool (*Between)(Output *, const char *text, int64_t bytes, Specials);

static bool split_added(Output *out, bool normalized, const char *text, int64_t bytes, Specials specials,
                        Between inner) {
    AddedPlace p = {0};
    while (added_tokens_next(&out->e->file->added, normalized, specials == SPECIALS_MATCH, text, bytes, &p)) {
        if (!inner(out, text + p.from, p.begin - p.from, specials)) return false;
        out->to[out->n++] = p.token->id;
    }
    return inner(out, text + p.end, bytes - p.end, specials);
}

static bool without_tokens(Output *out, const char *text, int64_t bytes, Specials specials) {
    (void)specials;
    return plain_text(out, text, bytes);
}

static bool normalized_text(Output *out, const char *text, int64_t bytes, Specials specials) {
    Normalizer n = out->e->file->normalizer;
    if (n == NORMALIZE_NOT) return split_added(out, true, text, bytes, specials, without_tokens);
    if (bytes == 0) return true;
    int64_t size;
    char *normal = normalize(n, text, bytes, &size);
    bool ok = normal && split_added(out, true, normal, size, specials, without_tokens);
    free(normal);
    return ok;
}

int64_t text_encode(TextEncoder *e, int32_t *to, const char *text, int64_t bytes, Specials specials) {
    if (!utf8_valid(text, bytes)) return -1;
    Output out = {.e = e, .scratch = take_scratch(e), .to = to};
    bool ok = split_added(&out, false, text, bytes, specials, normalized_text);
    give_scratch(e, out.scratch);
    return ok ? out.n : -1;
}

int64_t text_room(const TextEncoder *e, int64_t bytes) { return bytes * normalize_growth(e->file->normalizer) + 1; }

/* -- where a text can be cut ------------------------------------------------------------------------------ */

/* Every pre-tokenizer in use ends a piece at the end of a line with no white space on either side of it. Whether this
 * one does is tried with characters of every kind that expressions tell apart. */
typedef struct {
    int64_t end[64], n; /* where pieces end */
} Ends;

static bool note_end(void *own, const char *piece, int64_t bytes) {
    Ends *e = own;
    (void)piece;
    e->end[e->n] = (e->n ? e->end[e->n - 1] : 0) + bytes;
    return ++e->n < 64;
}

/* The pieces of both together are the pieces of each. */
static bool cuts_at(TextEncoder *e, RegexScratch *s, const char *left, const char *right) {
    char both[64];
    Ends whole = {0}, parts = {0};
    const Pretokenizer *p = e->file->pretokenizer;
    int n = snprintf(both, sizeof both, "%s%s", left, right);
    return pretokenizer_split(p, s, both, n, note_end, &whole) &&
           pretokenizer_split(p, s, left, (int64_t)strlen(left), note_end, &parts) &&
           pretokenizer_split(p, s, right, (int64_t)strlen(right), note_end, &parts) && whole.n == parts.n &&
           !memcmp(whole.end, parts.end, (size_t)whole.n * sizeof *whole.end);
}

static bool cuts_everywhere(TextEncoder *e) {
    static const char *const left[] = {"a\n", "1\n",        ".\n",   "字\n", "é\n",
                                       "’\n", "a \u0301\n", "  b\n", "'\n",  "\n;\n"};
    static const char *const right[] = {"a",  "Z1",  "1",  "99 a", ".",       "'s",         "\"a", "(b)", "_",
                                        "字", "。a", "éa", "’s",   "\u0301a", "\U0001f600", "-\n", "#!",  "{\n"};
    enum { LEFT = sizeof left / sizeof *left, RIGHT = sizeof right / sizeof *right };
    RegexScratch *s = regex_scratch_open();
    bool cuts = true;
    for (int i = 0; cuts && i < LEFT * RIGHT; i++) cuts = cuts_at(e, s, left[i / RIGHT], right[i % RIGHT]);
    regex_scratch_close(s);
    return cuts;
}

static bool added_across_lines(const AddedTokens *added) {
    for (int64_t i = 0; i < added->count; i++)
        if (strchr(added->token[i].text, '\n')) return true;
    return added->any_strips;
}

static bool space_before(const char *text, int64_t at) {
    int64_t begin = at - 1;
    while (begin > 0 && at - begin < 4 && ((unsigned char)text[begin] & 0xc0) == 0x80) begin--;
    return utf8_is_space(text + begin, at - begin);
}

int64_t text_cut(TextEncoder *e, const char *text, int64_t bytes) {
    if (!e->cuts) return 0;
    for (int64_t i = bytes - 4; i > 1; i--) /* at least one whole character follows */
        if (text[i - 1] == '\n' && !space_before(text, i - 1) && !utf8_is_space(text + i, bytes - i)) return i;
    return 0;
}

TextEncoder *text_encoder_open(const TokenizerFile *file) {
    TextEncoder *e = must_alloc(1, sizeof *e);
    e->file = file;
    e->steps = pretokenizer_steps(file->pretokenizer);
    pthread_mutex_init(&e->lock, NULL);
    e->cuts = !added_across_lines(&file->added) && cuts_everywhere(e);
    return e;
}

void text_encoder_close(TextEncoder *e) {
    if (!e) return;
    for (Scratch *s = e->idle, *next; s; s = next) {
        next = s->next;
        regex_scratch_close(s->regex);
        bpe_scratch_close(s->bpe);
        free(s->known);
        free(s);
    }
    pthread_mutex_destroy(&e->lock);
    free(e);
}
