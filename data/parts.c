/* parts.c - see parts.h. */
#include "data/parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/documents.h"
#include "data/input.h"

/* Parts are a power of two of bytes, about 256 of them, so that a small source too can be shared. */
enum { LEAST_BYTES = 1 << 18, MOST_BYTES = 1 << 25, ABOUT = 256 };

static int64_t part_bytes(int64_t total) {
    int64_t bytes = LEAST_BYTES;
    while (bytes < MOST_BYTES && bytes * ABOUT < total) bytes *= 2;
    return bytes;
}

static void add_piece(Parts *p, Piece piece, int64_t most) {
    Part *last = p->count ? &p->part[p->count - 1] : NULL;
    if ((p->pieces & (p->pieces - 1)) == 0) /* room doubles */
        p->piece = must_realloc(p->piece, p->pieces ? 2 * p->pieces : 1, sizeof *p->piece);
    p->piece[p->pieces] = piece;
    if (!last || last->bytes >= most) {
        if ((p->count & (p->count - 1)) == 0)
            p->part = must_realloc(p->part, p->count ? 2 * p->count : 1, sizeof *p->part);
        last = &p->part[p->count++];
        *last = (Part){.first = p->pieces};
    }
    last->count++;
    last->bytes += piece.end - piece.from;
    p->pieces++;
}

static void add_file(Parts *p, const SourceFiles *s, int64_t i, bool megatron, int64_t most) {
    int64_t bytes = s->file[i].bytes;
    bool divisible = megatron || (documents_are_lines(s->file[i].path) && !input_is_packed(s->file[i].path));
    if (!divisible || bytes <= most) {
        add_piece(p, (Piece){i, 0, bytes, true}, most);
        return;
    }
    for (int64_t from = 0; from < bytes; from += most)
        add_piece(p, (Piece){i, from, min_i64(from + most, bytes), false}, most);
}

static uint64_t part_key(const Parts *p, const Part *part, const SourceFiles *s, const char *settings) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for a key");
    fprintf(f, "%s\n", settings);
    for (int64_t i = part->first; i < part->first + part->count; i++) {
        const Piece *piece = &p->piece[i];
        const SourceFile *file = &s->file[piece->file];
        fprintf(f, "%s\n%lld %lld %lld %lld\n", file->path, (long long)file->bytes, (long long)file->state,
                (long long)piece->from, (long long)piece->end);
    }
    check(fclose(f) == 0, "out of memory for a key");
    uint64_t key = hash_bytes(text, (int64_t)bytes);
    free(text);
    return key;
}

void parts_make(Parts *p, const SourceFiles *s, bool megatron, const char *settings) {
    *p = (Parts){.bytes = s->bytes};
    for (int64_t i = 0; i < s->count; i++) add_file(p, s, i, megatron, part_bytes(s->bytes));
    for (int64_t i = 0; i < p->count; i++) p->part[i].key = part_key(p, &p->part[i], s, settings);
}

void parts_free(Parts *p) {
    free(p->piece);
    free(p->part);
    *p = (Parts){0};
}

typedef struct {
    int64_t part, weight;
} Turn;

static int by_weight(const void *a, const void *b) {
    const Turn *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

int64_t *parts_order(const Parts *p) {
    Turn *turn = must_alloc(p->count, sizeof *turn);
    int64_t *order = must_alloc(p->count, sizeof *order), usual = part_bytes(p->bytes);
    for (int64_t i = 0; i < p->count; i++) turn[i] = (Turn){i, p->part[i].bytes / (2 * usual)};
    qsort(turn, (size_t)p->count, sizeof *turn, by_weight);
    for (int64_t i = 0; i < p->count; i++) order[i] = turn[i].part;
    free(turn);
    return order;
}
