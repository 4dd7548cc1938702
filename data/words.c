#include "data/words.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "data/documents.h"

enum { FIRST_SLOTS = 1 << 12, BATCH_BYTES = 16 << 20, CHUNK_BYTES = 128 << 10 };

/* -- the table ------------------------------------------------------------------------------------------ */

void words_open(Words *w) {
    *w = (Words){.mask = FIRST_SLOTS - 1};
    w->slot = must_alloc(FIRST_SLOTS, sizeof *w->slot);
    memset(w->slot, 0xff, FIRST_SLOTS * sizeof *w->slot);
}

void words_free(Words *w) {
    free(w->word);
    free(w->text);
    free(w->slot);
    *w = (Words){0};
}

static void grow_slots(Words *w) {
    w->mask = 2 * w->mask + 1;
    w->slot = must_realloc(w->slot, (int64_t)w->mask + 1, sizeof *w->slot);
    memset(w->slot, 0xff, (w->mask + 1) * sizeof *w->slot);
    for (int64_t i = 0; i < w->words; i++) {
        uint64_t at = hash_bytes(w->text + w->word[i].from, w->word[i].bytes) & w->mask;
        while (w->slot[at] >= 0) at = (at + 1) & w->mask;
        w->slot[at] = (int32_t)i;
    }
}

static int32_t new_word(Words *w, const char *piece, int64_t bytes) {
    if (w->words == w->room) w->word = must_realloc(w->word, w->room = 2 * w->room + 1024, sizeof *w->word);
    if (w->text_bytes + bytes > w->text_room)
        w->text = must_realloc(w->text, w->text_room = 2 * (w->text_bytes + bytes), 1);
    memcpy(w->text + w->text_bytes, piece, (size_t)bytes);
    w->word[w->words] = (Word){.from = w->text_bytes, .bytes = (int32_t)bytes};
    w->text_bytes += bytes;
    return (int32_t)w->words++;
}

void words_add(Words *w, const char *piece, int64_t bytes, int64_t count) {
    uint64_t at = hash_bytes(piece, bytes) & w->mask;
    for (; w->slot[at] >= 0; at = (at + 1) & w->mask) {
        Word *known = &w->word[w->slot[at]];
        if (known->bytes != bytes || memcmp(w->text + known->from, piece, (size_t)bytes)) continue;
        known->count += count;
        return;
    }
    int32_t i = w->slot[at] = new_word(w, piece, bytes);
    w->word[i].count = count;
    if (2 * (uint64_t)w->words > w->mask) grow_slots(w);
}

void words_join(Words *to, const Words *from) {
    for (int64_t i = 0; i < from->words; i++)
        words_add(to, from->text + from->word[i].from, from->word[i].bytes, from->word[i].count);
    to->pieces += from->pieces;
    to->left_out += from->left_out;
}

/* -- counting ------------------------------------------------------------------------------------------- */

typedef struct {
    Words words;
    RegexScratch *regex;
} Counter; /* of a thread */

typedef struct {
    WordCount *count;
    Counter *counter;
    int threads;
    char *batch;
    int64_t bytes, room;
    int64_t *end; /* of the chunks of the batch */
    int64_t chunks, chunk_room;
} Counting;

static bool count_piece(void *own, const char *piece, int64_t bytes) {
    Words *w = own;
    w->pieces++;
    w->left_out += bytes > WORD_BYTES;
    if (bytes <= WORD_BYTES) words_add(w, piece, bytes, 1);
    return true;
}

/* A chunk is whole lines, or what is left of a document. */
static void add_chunk(Counting *c, int64_t end) {
    if (c->chunks == c->chunk_room)
        c->end = must_realloc(c->end, c->chunk_room = 2 * c->chunk_room + 256, sizeof *c->end);
    c->end[c->chunks++] = end;
}

static bool count_batch(Counting *c, Error *error) {
    bool ok = true;
#pragma omp parallel for schedule(dynamic, 1) num_threads(c->threads) reduction(&& : ok)
    for (int64_t i = 0; i < c->chunks; i++) {
        Counter *mine = &c->counter[omp_get_thread_num()];
        int64_t from = i ? c->end[i - 1] : 0;
        ok = ok && pretokenizer_split(c->count->pretokenizer, mine->regex, c->batch + from, c->end[i] - from,
                                      count_piece, &mine->words);
    }
    c->bytes = c->chunks = 0;
    if (!ok) return fail(error, "a text took the pre-tokenizer's expressions beyond their limits");
    for (int t = 0; t < c->threads; t++)
        if (c->counter[t].words.words > c->count->most_words)
            return fail(error, "the corpus has more than %lld different words; give less of it, or raise max_words",
                        (long long)c->count->most_words);
    return true;
}

static bool take_text(void *own, const char *text, int64_t bytes, Error *error) {
    Counting *c = own;
    c->count->bytes += bytes;
    if (c->bytes + bytes > c->room) c->batch = must_realloc(c->batch, c->room = c->bytes + bytes, 1);
    memcpy(c->batch + c->bytes, text, (size_t)bytes);
    for (int64_t at = 0; at < bytes;) {
        int64_t least = min_i64(at + CHUNK_BYTES, bytes);
        const char *newline = memchr(text + least - 1, '\n', (size_t)(bytes - least + 1));
        at = newline ? newline + 1 - text : bytes;
        add_chunk(c, c->bytes + at);
    }
    c->bytes += bytes;
    return c->bytes < BATCH_BYTES || count_batch(c, error);
}

static bool end_document(void *own, Error *error) {
    Counting *c = own;
    (void)error;
    c->count->documents++;
    return true;
}

static void on_progress(void *own, int64_t bytes) {
    const WordCount *count = ((Counting *)own)->count;
    if (count->progress) count->progress(count->own, bytes);
}

static void close_counting(Counting *c) {
    for (int t = 0; t < c->threads; t++) {
        words_free(&c->counter[t].words);
        regex_scratch_close(c->counter[t].regex);
    }
    free(c->counter);
    free(c->batch);
    free(c->end);
}

bool words_count(Words *w, WordCount *count, const char *const *files, int64_t n, Error *error) {
    Counting c = {.count = count, .threads = omp_get_max_threads()};
    DocumentSink sink = {.own = &c, .text = take_text, .end = end_document, .progress = on_progress};
    DocumentCounts left_out = {0};
    bool ok = true;
    c.counter = must_alloc(c.threads, sizeof *c.counter);
    for (int t = 0; t < c.threads; t++) {
        words_open(&c.counter[t].words);
        c.counter[t].regex = regex_scratch_open();
    }
    for (int64_t i = 0; ok && i < n; i++)
        ok = documents_read(&(DocumentFile){.file = files[i], .field = count->field}, &sink, &left_out, error);
    count->skipped = left_out.skipped;
    ok = ok && count_batch(&c, error);
    for (int t = 0; ok && t < c.threads; t++) words_join(w, &c.counter[t].words);
    close_counting(&c);
    if (ok && w->words > count->most_words)
        return fail(error, "the corpus has %lld different words; give less of it, or raise max_words to that",
                    (long long)w->words);
    return ok;
}
