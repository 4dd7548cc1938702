#include "train/score.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const Engine *engine;
    const Scored *item;
    const int64_t *first; /* of each row, the first item; one more for the end */
} Packing;

int64_t score_cut(const Engine *e, int64_t n) { return max_i64(n - 1 - e->use.sequence_length, 0); }

/* Places of a row that an item takes: its last token is only a label. */
static int64_t places(const Engine *e, const Scored *s) { return s->n - 1 - score_cut(e, s->n); }

/* Fills rows with whole items in their order; returns the number of rows. */
static int64_t pack(const Engine *e, const Scored *item, int64_t count, int64_t *first) {
    int64_t rows = 0, left = 0;
    for (int64_t i = 0; i < count; i++) {
        check(item[i].from >= 1 && item[i].from < item[i].n && item[i].n - item[i].from <= e->use.sequence_length,
              "item %lld: tokens %lld to %lld", (long long)i, (long long)item[i].from, (long long)item[i].n);
        int64_t taken = places(e, &item[i]);
        if (taken > left) {
            first[rows++] = i;
            left = e->use.sequence_length;
        }
        left -= taken;
    }
    first[rows] = count;
    return rows;
}

/* Puts `count` places at `at` that attend from there on. */
static void mark(StepRow row, int64_t at, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        row.position[at + i] = (int32_t)i;
        row.first[at + i] = (int32_t)at;
    }
}

static bool fill(void *own, int64_t number, StepRow row, Error *error) {
    const Packing *p = own;
    int64_t at = 0, length = p->engine->use.sequence_length;
    (void)error;
    for (int64_t i = p->first[number]; i < p->first[number + 1]; i++) {
        const Scored *s = &p->item[i];
        int64_t cut = score_cut(p->engine, s->n), n = places(p->engine, s);
        memcpy(row.ids + at, s->ids + cut, (size_t)n * sizeof *row.ids);
        for (int64_t k = 0; k < n; k++) row.label[at + k] = cut + k + 1 >= s->from ? s->ids[cut + k + 1] : -1;
        mark(row, at, n);
        at += n;
    }
    mark(row, at, length - at);
    for (; at < length; at++) row.ids[at] = 0, row.label[at] = -1;
    return true;
}

/* Sums of this rank's rows; items of other ranks' rows stay 0. */
static void read_rows(Engine *e, const Packing *p, Scored *item, const double *loss) {
    for (int64_t r = 0; r < e->data.count; r++) {
        int64_t row = e->data.number[r];
        const double *at = loss + r * e->use.sequence_length;
        for (int64_t i = p->first[row]; i < p->first[row + 1]; i++)
            for (int64_t k = places(e, &item[i]); k > 0; k--) item[i].log_likelihood -= *at++;
    }
}

/* Every item is in one row of one rank, so that the sum over ranks is exact. */
static void share(Engine *e, Scored *item, int64_t count) {
    double *sum = must_alloc(count, sizeof *sum);
    for (int64_t i = 0; i < count; i++) sum[i] = item[i].log_likelihood;
    comm_reduce_f64(e->run.mesh.axis[AXIS_DP], sum, (int)count, REDUCE_SUM);
    for (int64_t i = 0; i < count; i++) item[i].log_likelihood = sum[i];
    free(sum);
}

void score(Engine *e, Scored *item, int64_t count) {
    int64_t *first = must_alloc(count + 1, sizeof *first), rows = pack(e, item, count, first);
    double *loss = must_alloc(e->data.capacity * e->use.sequence_length, sizeof *loss);
    Packing p = {e, item, first};
    Error ignored;
    for (int64_t i = 0; i < count; i++) item[i].log_likelihood = 0;
    for (int64_t row = 0; row < rows; row += e->use.sequences) {
        int64_t n = min_i64(e->use.sequences, rows - row);
        stepdata_fill(&e->data, &e->run, row, n, fill, &p, &ignored); /* fill cannot fail */
        stepdata_count(&e->data, &e->run);
        engine_score(e, loss);
        read_rows(e, &p, item, loss);
        share(e, item + first[row], first[row + n] - first[row]);
    }
    free(loss);
    free(first);
}
