#include "train/decoder.h"

#include <string.h>

enum { CACHE_STEP = 64 }; /* rows of the cache come in multiples: its bytes are then those of the arena */

void cache_use_more(CacheUse *use, CacheUse other) {
    use->sequences = max_i64(use->sequences, other.sequences);
    use->length = max_i64(use->length, other.length);
    use->tokens = max_i64(use->tokens, other.tokens);
    use->block = max_i64(use->block, other.block);
}

static void *host(Run *run, int64_t count, int64_t size) { return arena_alloc(&run->host, count * size); }

void decoder_open(Decoder *d, Run *run, const CacheUse *use) {
    int64_t most = max_i64(use->block, use->sequences);
    *d = (Decoder){.use = *use, .most = most};
    d->use.tokens = round_up(use->tokens, CACHE_STEP);
    cache_open(&d->cache, run, d->use.tokens);
    d->ids = host(run, most, sizeof *d->ids);
    d->position = host(run, most, sizeof *d->position);
    d->row = host(run, most, sizeof *d->row);
    d->range = host(run, 2 * most, sizeof *d->range);
    d->piece = host(run, most, sizeof *d->piece);
    d->last = host(run, use->sequences, sizeof *d->last);
    d->chosen = host(run, use->sequences, sizeof *d->chosen);
    d->draw = host(run, use->sequences, sizeof *d->draw);
    d->d_ids = arena_1d(&run->state, I32, most);
    d->d_position = arena_1d(&run->state, I32, most);
    d->d_row = arena_1d(&run->state, I32, most);
    d->d_range = arena_2d(&run->state, I32, most, 2);
    d->d_last = arena_1d(&run->state, I32, use->sequences);
    d->d_chosen = arena_1d(&run->state, I32, use->sequences);
    d->d_draw = arena_1d(&run->state, F64, use->sequences);
}

void decoder_begin(Decoder *d) { d->rows = d->pieces = d->wanted = 0; }

bool decoder_expands(const Model *m, int64_t rows) { return mla_expands(&m->blocks[0].mla, rows); }

void decoder_add(Decoder *d, const int32_t *ids, int64_t n, int64_t first, int64_t before, double draw) {
    check(d->rows + n <= d->most && d->pieces < d->most, "%lld tokens in a forward, %lld planned",
          (long long)(d->rows + n), (long long)d->most);
    check(first >= 0 && first + before + n <= d->cache.tokens && before + n <= d->use.length,
          "tokens %lld to %lld of a sequence at row %lld of a cache of %lld", (long long)before,
          (long long)(before + n), (long long)first, (long long)d->cache.tokens);
    d->piece[d->pieces++] = (TokenSpan){.rows = n, .first = first, .before = before};
    for (int64_t i = 0; i < n; i++, d->rows++) {
        d->ids[d->rows] = ids[i];
        d->position[d->rows] = (int32_t)(before + i);
        d->row[d->rows] = (int32_t)(first + before + i);
        d->range[2 * d->rows] = (int32_t)first;
        d->range[2 * d->rows + 1] = d->row[d->rows] + 1;
    }
    if (draw < 0) return;
    check(d->wanted < d->use.sequences, "more than %lld tokens wanted", (long long)d->use.sequences);
    d->last[d->wanted] = (int32_t)d->rows - 1;
    d->draw[d->wanted++] = draw;
}

/* The first `rows` rows of a table, filled from the host. */
static Tensor put(Tensor to, const void *from, int64_t rows, Run *run) {
    Tensor t = to.ndim == 1 ? tensor_1d(to.data, to.dtype, rows) : tensor_rows_view(to, 0, rows);
    run->device->ops->to_device(run->device, t.data, from, tensor_bytes(t));
    return t;
}

/* Logits of the rows that want a token, a chunk at a time, and what follows. */
static void choose(Decoder *d, const Model *m, Tensor x, ChoiceRule rule, int64_t limit, Run *run) {
    int64_t mark = arena_mark(&run->scratch);
    for (int64_t first = 0; first < d->wanted; first += m->head.chunk) {
        int64_t n = min_i64(m->head.chunk, d->wanted - first);
        Tensor rows = scratch_2d(run, n, tensor_cols(x));
        Tensor logits = arena_2d(&run->scratch, run_stat_dtype(run), n, m->head.out.p->rows);
        run->k->gather_rows(run->device, rows, x, put(d->d_last, d->last + first, n, run));
        head_logits(logits, &m->head, rows, run);
        Tensor id = tensor_1d(d->d_chosen.data, I32, n);
        run->k->choose_tokens(run->device, id, tensor_cols_view(logits, 0, limit),
                              put(d->d_draw, d->draw + first, n, run), rule);
        run->device->ops->to_host(run->device, d->chosen + first, id.data, tensor_bytes(id));
        arena_rewind(&run->scratch, mark);
    }
}

void decoder_run(Decoder *d, Model *m, ChoiceRule rule, int64_t limit, Run *run) {
    int64_t mark = arena_mark(&run->scratch);
    NewTokens t = {.ids = put(d->d_ids, d->ids, d->rows, run),
                   .position = put(d->d_position, d->position, d->rows, run),
                   .row = put(d->d_row, d->row, d->rows, run),
                   .range = put(d->d_range, d->range, d->rows, run),
                   .piece = d->piece,
                   .pieces = d->pieces};
    Tensor x = scratch_2d(run, d->rows, m->embedding->cols);
    run->device->few_rows = true;
    model_decode(x, m, &d->cache, &t, run);
    choose(d, m, x, rule, limit, run);
    run->device->few_rows = false;
    arena_rewind(&run->scratch, mark);
}

/* Rows in pieces of `each`, as far into a sequence as they can be; a token is wanted behind as many as there can be. */
static void walk(Decoder *d, Model *m, int64_t rows, int64_t each, Run *run) {
    decoder_begin(d);
    for (int64_t left = rows; left > 0; left -= each) {
        int64_t n = min_i64(each, left), room = min_i64(d->use.length, d->cache.tokens);
        d->piece[d->pieces++] = (TokenSpan){.rows = n, .before = max_i64(room - n, 0)};
        d->rows += n;
        if (d->wanted < d->use.sequences) d->last[d->wanted] = 0, d->draw[d->wanted++] = 0;
    }
    decoder_run(d, m, (ChoiceRule){.temperature = 1, .top_p = 1}, m->head.out.p->rows, run);
}

void decoder_walk(Decoder *d, Model *m, Run *run) {
    walk(d, m, d->use.block, d->use.block, run);
    walk(d, m, d->most, 1, run);
}
