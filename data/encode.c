/* encode.c - see encode.h. */
#include "data/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/megatron.h"

enum { WINDOW = 1 << 20, WINDOW_MOST = 16 << 20 };

typedef struct {
    const Encoding *e;
    const IdSink *sink;
    PartCounts *counts;
    XXH3_state_t *hash;
    Record record;             /* of the document that is being encoded */
    int32_t last;              /* its last id */
    char *text;                /* of it, not yet encoded */
    int64_t held, room, tried; /* tried: so many of held are known to have no place to cut at */
    int32_t *ids;
    int64_t ids_room;
    char *decoded; /* of ids, to count its bytes */
    bool unfit;    /* the text that was refused last is one that the tokenizer cannot take */
} Encoder;

static bool put(Encoder *x, const int32_t *ids, int64_t n, Error *error) {
    if (n == 0) return true;
    x->record.tokens += n;
    x->last = ids[n - 1];
    return x->sink->put(x->sink->own, ids, n, error);
}

static bool put_bos(Encoder *x, Error *error) {
    return x->record.tokens > 0 || x->e->bos < 0 || put(x, &x->e->bos, 1, error);
}

static void start_document(Encoder *x) {
    XXH3_128bits_reset(x->hash);
    x->record = (Record){0};
    x->held = x->tried = 0;
    x->last = -1;
}

/* -- text ---------------------------------------------------------------------------------------------- */

static bool encode(Encoder *x, const char *text, int64_t bytes, Error *error) {
    int64_t room = tokenizer_room(x->e->tokenizer, bytes);
    if (room > x->ids_room) {
        x->ids_room = room;
        free(x->ids);
        x->ids = must_alloc(room, sizeof *x->ids);
    }
    int64_t n = tokenizer_encode(x->e->tokenizer, x->ids, text, bytes, SPECIALS_MATCH);
    if (n >= 0) return put(x, x->ids, n, error);
    x->unfit = true;
    return fail(error, "a text of %lld bytes takes the tokenizer's expressions beyond their limits",
                (long long)bytes);
}

/* What is held when it is next looked for a place to cut at: more than now, or else no window would ever be full. */
static int64_t window(const Encoder *x) { return min_i64(max_i64(WINDOW, 2 * x->tried), WINDOW_MOST); }

/* The cut was the last place, so what is left has none; it may be longer than the smallest window. */
static void keep_text(Encoder *x, int64_t used) {
    memmove(x->text, x->text + used, (size_t)(x->held - used));
    x->held -= used;
    x->tried = x->held < WINDOW ? 0 : x->held;
}

/* The last line's end, or else the last character's beginning. */
static int64_t cut_anywhere(const Encoder *x) {
    const char *newline = memrchr(x->text, '\n', (size_t)x->held);
    int64_t at = newline ? newline + 1 - x->text : x->held;
    while (!newline && at > 0 && ((unsigned char)x->text[at - 1] & 0xc0) == 0x80) at--;
    return newline || at <= 1 ? at : at - 1;
}

/* Encodes what can be, once a window is full. */
static bool encode_window(Encoder *x, Error *error) {
    if (x->held < window(x)) return true;
    int64_t cut = tokenizer_cut(x->e->tokenizer, x->text, x->held);
    if (cut == 0 && x->held >= WINDOW_MOST) cut = cut_anywhere(x);
    if (cut == 0) {
        x->tried = x->held;
        return true;
    }
    if (!encode(x, x->text, cut, error)) return false;
    keep_text(x, cut);
    return true;
}

/* Adds at most what fills a window, so that windows do not depend on the pieces that come. */
static int64_t hold_text(Encoder *x, const char *text, int64_t bytes) {
    int64_t full = window(x), n = min_i64(bytes, full - x->held);
    check(n > 0, "a window of %lld bytes holds %lld", (long long)full, (long long)x->held);
    if (x->room < x->held + n) {
        x->room = min_i64(full, max_i64(2 * x->room, x->held + n));
        x->text = must_realloc(x->text, x->room, 1);
    }
    memcpy(x->text + x->held, text, (size_t)n);
    x->held += n;
    return n;
}

static bool on_text(void *own, const char *text, int64_t bytes, Error *error) {
    Encoder *x = own;
    if (!put_bos(x, error)) return false;
    XXH3_128bits_update(x->hash, text, (size_t)bytes);
    x->record.bytes += bytes;
    if (x->sink->text) x->sink->text(x->sink->own, text, bytes);
    for (int64_t n; bytes > 0; text += n, bytes -= n) {
        n = hold_text(x, text, bytes);
        if (!encode_window(x, error)) return false;
    }
    return true;
}

/* -- ids ------------------------------------------------------------------------------------------------ */

/* The document may have its bos already. */
static bool on_ids(void *own, const int32_t *ids, int64_t n, Error *error) {
    Encoder *x = own;
    if (ids[0] != x->e->bos && !put_bos(x, error)) return false;
    XXH3_128bits_update(x->hash, ids, (size_t)n * sizeof *ids);
    x->record.bytes += tokenizer_decode(x->e->tokenizer, x->decoded, ids, n);
    return put(x, ids, n, error);
}

/* -- the end of a document ------------------------------------------------------------------------------- */

static void drop(void *own) {
    Encoder *x = own;
    x->sink->drop(x->sink->own);
    start_document(x);
}

static bool finish(Encoder *x, Error *error) {
    if (x->held > 0 && !encode(x, x->text, x->held, error)) return false;
    bool has_eos = x->decoded && x->last == x->e->eos; /* of what came as ids */
    return has_eos || put(x, &x->e->eos, 1, error);
}

static bool on_end(void *own, Error *error) {
    Encoder *x = own;
    if (!finish(x, error)) return false;
    XXH128_hash_t hash = XXH3_128bits_digest(x->hash);
    x->record.hash[0] = hash.low64, x->record.hash[1] = hash.high64;
    x->counts->counts.bytes += x->record.bytes;
    if (record_text_tokens(&x->record, x->e->bos) < x->e->set->min_tokens) {
        x->counts->counts.too_short++;
        drop(x);
        return true;
    }
    if (!x->sink->end(x->sink->own, &x->record, error)) return false;
    start_document(x);
    return true;
}

void counts_add(SourceCounts *to, char bad[BAD_NAMED][BAD_TEXT], const PartCounts *part) {
    const SourceCounts *c = &part->counts;
    for (int64_t i = 0; i < min_i64(BAD_NAMED, c->bad_lines); i++)
        if (to->bad_lines + i < BAD_NAMED) memcpy(bad[to->bad_lines + i], part->bad[i], BAD_TEXT);
    to->bytes += c->bytes;
    to->skipped += c->skipped;
    to->bad_lines += c->bad_lines;
    to->too_short += c->too_short;
}

/* -- files ------------------------------------------------------------------------------------------------ */

static void on_progress(void *own, int64_t bytes) {
    const IdSink *sink = ((Encoder *)own)->sink;
    sink->progress(sink->own, bytes);
}

static bool read_text(Encoder *x, const Piece *piece, const char *path, int64_t bad_most, DocumentCounts *counts,
                      Error *error) {
    DocumentSink sink = {x, on_text, on_end, on_progress, &x->unfit, drop};
    DocumentFile file = {.file = path,
                         .field = x->e->set->field,
                         .from = piece->from,
                         .end = piece->whole ? 0 : piece->end,
                         .bad_most = bad_most};
    return documents_read(&file, &sink, counts, error);
}

static bool read_ids(Encoder *x, const Piece *piece, const char *path, int64_t *empty, Error *error) {
    Megatron m;
    if (!megatron_open(&m, path, error)) return false;
    if (!x->decoded) x->decoded = must_alloc(MEGATRON_IDS_AT_ONCE, tokenizer_max_bytes(x->e->tokenizer));
    MegatronSink sink = {x, on_ids, on_end, on_progress};
    bool ok = megatron_read(&m, piece->from, piece->end, x->e->vocab_size, &sink, empty, error);
    megatron_close(&m);
    return ok;
}

static bool read_pieces(Encoder *x, const Part *part, int64_t bad_most, DocumentCounts *counts, Error *error) {
    bool megatron = !strcmp(x->e->set->format, "megatron"), ok = true;
    for (int64_t i = part->first; ok && i < part->first + part->count; i++) {
        const Piece *piece = &x->e->parts->piece[i];
        const SourceFile *file = &x->e->source->file[piece->file];
        ok = megatron ? read_ids(x, piece, file->path, &counts->skipped, error)
                      : read_text(x, piece, file->path, bad_most, counts, error);
        ok = ok && source_unchanged(file, error);
    }
    return ok;
}

bool encode_part(const Encoding *e, const Part *part, int64_t bad_most, const IdSink *sink, PartCounts *to,
                 Error *error) {
    DocumentCounts counts = {0};
    Encoder x = {.e = e, .sink = sink, .counts = to, .hash = XXH3_createState()};
    check(x.hash, "out of memory for a hash");
    *to = (PartCounts){0};
    start_document(&x);
    bool ok = read_pieces(&x, part, bad_most, &counts, error);
    to->counts.skipped = counts.skipped;
    to->counts.bad_lines = counts.bad_lines;
    memcpy(to->bad, counts.bad, sizeof to->bad);
    XXH3_freeState(x.hash);
    free(x.text);
    free(x.ids);
    free(x.decoded);
    return ok;
}
