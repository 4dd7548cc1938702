/* decoder.h - one forward over new tokens of several sequences, and the token that follows each: the host's lists, their
 * way to the device, the cache. Part of an Engine; generator.h decides what is computed when.
 *
 * decoder_begin, decoder_add for each piece of a sequence (those that decoder_expands first), decoder_run. */
#pragma once
#include "model/model.h"

typedef struct {       /* what is asked of a rank; none where sequences is 0 */
    int64_t sequences; /* continued at once, at most */
    int64_t length;    /* tokens of one, prompt and answer, at most */
    int64_t tokens;    /* of all at once: rows of the cache */
    int64_t block;     /* prompt tokens computed at once */
} CacheUse;

/* What serves both. */
void cache_use_more(CacheUse *, CacheUse other);

typedef struct {
    CacheUse use;
    Cache cache;
    int64_t rows, pieces, wanted;          /* of the forward in the making */
    int64_t most;                          /* rows of a forward: max(block, sequences) */
    int32_t *ids, *position, *row, *range; /* (most), range (most, 2); host */
    TokenSpan *piece;                      /* (most) */
    int32_t *last, *chosen;                /* (sequences) row whose next token is wanted; that token */
    double *draw;                          /* (sequences) */
    Tensor d_ids, d_position, d_row, d_range, d_last, d_chosen, d_draw;
} Decoder;

/* Takes memory from run->cache, run->host and run->state. */
void decoder_open(Decoder *, Run *, const CacheUse *);

void decoder_begin(Decoder *);
bool decoder_expands(const Model *, int64_t rows);
/* The next n tokens of the sequence that lies in the cache from row `first` on and has `before` tokens there. draw: for
 * choosing the token behind them; below 0 = none is wanted. */
void decoder_add(Decoder *, const int32_t *ids, int64_t n, int64_t first, int64_t before, double draw);
/* Collective. chosen[i]: behind the i-th piece that wanted one, of the ids below `limit`; -1 where the logits are no
 * numbers. */
void decoder_run(Decoder *, Model *, ChoiceRule, int64_t limit, Run *);

/* Everything that decoder_run can take, for a plan. */
void decoder_walk(Decoder *, Model *, Run *);
