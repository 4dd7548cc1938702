/* sgemm.c - see sgemm.h.
 *
 * A panel holds `width` rows of a or columns of b, one k after the other, so that the tile reads both in order: a panel
 * of b stays in the L1 cache, a block of a in the L2 cache, a block of b in the L3 cache. */
#include "kernels/cpu/sgemm.h"
#include "kernels/cpu/lanes.h"

enum { ROWS = 6, COLS = PANEL };                       /* of a tile: 12 of the 16 registers of AVX2 */
enum { IN_PLACE_COLS = 128 };                          /* of c, at most, where a is not packed */
enum { K_BLOCK = 256, M_BLOCK = 144, N_BLOCK = 1536 }; /* terms, rows of a, columns of b in panels at once */
enum { A_FLOATS = M_BLOCK * K_BLOCK + LANES, B_FLOATS = N_BLOCK * K_BLOCK };
enum { WIDE_FLOATS = CPU_SCRATCH_BYTES / 4 - A_FLOATS - B_FLOATS }; /* of c before it is narrowed */

/* -- panels ----------------------------------------------------------------------------------------- */

/* A matrix as panels see it: element (line, k), where line is a row of a or a column of b. */
typedef struct {
    const char *data;
    int64_t ld;
    bool bf16, by_k; /* by_k: lines lie side by side for each k; else the k of a line */
} Operand;

INLINE const char *at(Operand o, int64_t line, int64_t k) {
    return o.data + (o.by_k ? k * o.ld + line : line * o.ld + k) * (o.bf16 ? 2 : 4);
}

/* Some lines that lie side by side: whole panels, and zeros behind the last line. */
INLINE void pack_side_by_side(float *to, Operand o, int64_t line, int64_t lines, int64_t k, int64_t terms,
                              int width) {
    enum { TOGETHER = 6 * 16 }; /* lines of a row read at once: a multiple of both widths */
    float row[TOGETHER] = {0};
    for (int64_t first = 0; first < lines; first += TOGETHER) {
        int64_t n = min_i64(TOGETHER, lines - first);
        for (int64_t i = 0; i < terms; i++) {
            const float *from = (const float *)at(o, line + first, k + i);
            if (o.bf16 || n < TOGETHER) {
                for (int64_t j = 0; j < n; j++)
                    row[j] = o.bf16 ? widen_bits(((const uint16_t *)(const void *)from)[j]) : from[j];
                from = row;
            }
            for (int64_t p = 0; p < ceil_div(n, width); p++)
                memcpy(to + (first + p * width) * terms + i * width, from + p * width, (size_t)width * sizeof *to);
        }
        memset(row, 0, sizeof row);
    }
}

INLINE void transpose(Lanes v[LANES]) {
    Lanes x[LANES], y[LANES];
    for (int i = 0; i < LANES; i += 2) {
        x[i] = __builtin_shufflevector(v[i], v[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        x[i + 1] = __builtin_shufflevector(v[i], v[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            y[i + 2 * j] = __builtin_shufflevector(x[i + j], x[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
            y[i + 2 * j + 1] = __builtin_shufflevector(x[i + j], x[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        v[i] = __builtin_shufflevector(y[i], y[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        v[i + 4] = __builtin_shufflevector(y[i], y[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* Up to eight lines, a column of the panel each, eight k at a time; `there` and `room` are constants where all lines
 * are there. */
INLINE void pack_block(float *to, Operand o, int64_t line, int64_t there, int64_t k, int64_t n, int width) {
    Lanes v[LANES];
    for (int j = 0; j < LANES; j++) {
        if (j >= there)
            v[j] = (Lanes){0};
        else if (n == LANES)
            take(&v[j], at(o, line + j, k), o.bf16);
        else
            take_some(&v[j], at(o, line + j, k), o.bf16, n);
    }
    transpose(v);
    for (int64_t j = 0; j < n; j++) *(Loose *)(to + j * width) = v[j];
}

INLINE void pack_lines(float *to, Operand o, int64_t line, int64_t lines, int64_t k, int64_t terms, int width,
                       int room) {
    int64_t i = 0;
    for (; lines >= room && i + LANES <= terms; i += LANES)
        pack_block(to + i * width, o, line, room, k + i, LANES, width);
    for (; i < terms; i += LANES)
        pack_block(to + i * width, o, line, min_i64(lines, room), k + i, min_i64(LANES, terms - i), width);
}

INLINE void pack(float *to, Operand o, int64_t line, int64_t lines, int64_t k, int64_t terms, int width) {
    if (o.by_k) {
        pack_side_by_side(to, o, line, lines, k, terms, width);
        return;
    }
    for (int64_t first = 0; first < lines; first += width, to += width * terms) {
        pack_lines(to, o, line + first, lines - first, k, terms, width, width < LANES ? width : LANES);
        if (width > LANES)
            pack_lines(to + LANES, o, line + first + LANES, lines - first - LANES, k, terms, width, LANES);
    }
}

/* -- tiles ------------------------------------------------------------------------------------------ */

/* Rows of a as a tile reads them: packed, or where they lie. One of the steps is a constant where it is called. */
typedef struct {
    const float *data;
    int64_t row, k; /* steps from an element to that of the next row, of the next k */
} Left;

/* The first rows of a tile of c = or += a times a panel of b; rows is a constant where it is called. */
INLINE void rows_tile(float *c, int64_t ldc, Left a, const float *b, int64_t terms, bool add, int rows) {
    Lanes sum[ROWS][2], left, right;
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = (Lanes){0};
        __builtin_prefetch(c + i * ldc, 1); /* there when the sums are */
        __builtin_prefetch(c + i * ldc + COLS - 1, 1);
    }
    for (int64_t k = 0; k < terms; k++, a.data += a.k, b += COLS) {
        take(&left, b, false);
        take(&right, b + LANES, false);
        for (int i = 0; i < rows; i++) {
            sum[i][0] += a.data[i * a.row] * left;
            sum[i][1] += a.data[i * a.row] * right;
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++) {
            Loose *to = (Loose *)(c + i * ldc + j * LANES);
            if (add) sum[i][j] += *to;
            *to = sum[i][j];
        }
}

INLINE void tile(float *c, int64_t ldc, Left a, const float *b, int64_t terms, bool add, int64_t rows) {
    switch (rows) {
    case 1: rows_tile(c, ldc, a, b, terms, add, 1); break;
    case 2: rows_tile(c, ldc, a, b, terms, add, 2); break;
    case 3: rows_tile(c, ldc, a, b, terms, add, 3); break;
    case 4: rows_tile(c, ldc, a, b, terms, add, 4); break;
    case 5: rows_tile(c, ldc, a, b, terms, add, 5); break;
    default: rows_tile(c, ldc, a, b, terms, add, ROWS); break;
    }
}

INLINE void any_tile(float *c, int64_t ldc, Left a, const float *b, int64_t terms, bool add, int64_t rows) {
    if (a.k == ROWS && a.row == 1)
        tile(c, ldc, (Left){a.data, 1, ROWS}, b, terms, add, rows);
    else if (a.k == 1)
        tile(c, ldc, (Left){a.data, a.row, 1}, b, terms, add, rows);
    else
        tile(c, ldc, (Left){a.data, 1, a.k}, b, terms, add, rows);
}

/* The same where c has fewer columns. */
INLINE void narrow_tile(float *c, int64_t ldc, Left a, const float *b, int64_t terms, bool add, int64_t rows,
                        int64_t cols) {
    float sums[ROWS * COLS];
    any_tile(sums, COLS, a, b, terms, false, rows);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * ldc + j] = add ? c[i * ldc + j] + sums[i * COLS + j] : sums[i * COLS + j];
}

typedef struct {
    float *a, *b, *wide;
} Room;

LOOP static void pack_b(float *to, Operand b, int64_t col, int64_t cols, int64_t k, int64_t terms) {
    pack(to, b, col, cols, k, terms, COLS);
}

/* Some terms of a product. */
typedef struct {
    float *c;
    int64_t ldc, cols, k, terms; /* k: the first of them in a */
    Operand a;
    Panels b;
    bool add;
} Slab;

/* Packing rows of a pays where many panels of b read them. */
INLINE bool is_read_in_place(const Slab *s) { return s->cols <= IN_PLACE_COLS && !s->a.bf16; }

/* Rows of c from rows of a and all panels of b. */
LOOP static void block(Room r, const Slab *s, int64_t row, int64_t rows) {
    enum { LINE = 64 / sizeof(float) };
    int64_t terms = s->terms, ahead = ceil_div(COLS * terms, LINE * ceil_div(rows, ROWS)) * LINE; /* of b, a tile */
    bool in_place = is_read_in_place(s);
    Left a = {r.a, 1, ROWS};
    if (in_place)
        a = (Left){(const float *)at(s->a, row, s->k), s->a.by_k ? 1 : s->a.ld, s->a.by_k ? s->a.ld : 1};
    else
        pack(r.a, s->a, row, rows, s->k, terms, ROWS);
    int64_t step = in_place ? a.row : terms; /* times the first row of a strip: where it begins */
    for (int64_t j = 0; j < s->cols; j += COLS) {
        const float *with = s->b.data + j * s->b.depth, *next = with + COLS * s->b.depth;
        for (int64_t i = 0; i < rows; i += ROWS, next += ahead) {
            float *to = s->c + (row + i) * s->ldc + j;
            int64_t tile_rows = min_i64(ROWS, rows - i);
            Left strip = {a.data + i * step, a.row, a.k};
            for (int64_t f = 0; f < ahead; f += LINE) __builtin_prefetch(next + f, 0, 2);
            if (s->cols - j >= COLS)
                any_tile(to, s->ldc, strip, with, terms, s->add, tile_rows);
            else
                narrow_tile(to, s->ldc, strip, with, terms, s->add, tile_rows, s->cols - j);
        }
    }
}

/* -- the product ------------------------------------------------------------------------------------ */

static void clear(Gemm g, float *c) {
    for (int64_t i = 0; i < g.m; i++) memset(c + i * g.ldc, 0, (size_t)g.n * sizeof *c);
}

/* b is packed: rows of c stay in the L2 cache from their first term to the last. */
static void packed_product(Room r, Gemm g, float *c, Operand a, Panels b) {
    for (int64_t row = 0; row < g.m; row += M_BLOCK)
        for (int64_t k = 0; k < g.k; k += K_BLOCK) {
            int64_t terms = min_i64(K_BLOCK, g.k - k);
            Slab s = {c, g.ldc, g.n, k, terms, a, panels_at(b, k, 0), k || g.flags & ACCUMULATE};
            block(r, &s, row, min_i64(M_BLOCK, g.m - row));
        }
}

/* b is packed piece by piece. */
static void unpacked_product(Room r, Gemm g, float *c, Operand a, Operand b) {
    for (int64_t col = 0; col < g.n; col += N_BLOCK)
        for (int64_t k = 0; k < g.k; k += K_BLOCK) {
            int64_t cols = min_i64(N_BLOCK, g.n - col), terms = min_i64(K_BLOCK, g.k - k);
            pack_b(r.b, b, col, cols, k, terms);
            Slab s = {c + col, g.ldc, cols, k, terms, a, {r.b, terms}, k || g.flags & ACCUMULATE};
            for (int64_t row = 0; row < g.m; row += M_BLOCK) block(r, &s, row, min_i64(M_BLOCK, g.m - row));
        }
}

/* A right operand, and its panels if it is packed whole. */
typedef struct {
    Operand from;
    Panels panels;
} RightOperand;

static void product(Room r, Gemm g, float *c, Operand a, RightOperand b) {
    if (!g.k && !(g.flags & ACCUMULATE))
        clear(g, c);
    else if (b.panels.data)
        packed_product(r, g, c, a, b.panels);
    else
        unpacked_product(r, g, c, a, b.from);
}

/* A bf16 c is summed in fp32, some rows and columns at a time, and rounded once. */
static void narrowed(Room r, Gemm g, uint16_t *c, Operand a, RightOperand b) {
    int64_t cols = min_i64(g.n, N_BLOCK), rows = WIDE_FLOATS / cols;
    for (int64_t col = 0; col < g.n; col += cols)
        for (int64_t row = 0; row < g.m; row += rows) {
            Gemm part = g;
            part.m = min_i64(rows, g.m - row), part.n = min_i64(cols, g.n - col), part.ldc = part.n;
            uint16_t *to = c + row * g.ldc + col;
            for (int64_t i = 0; g.flags & ACCUMULATE && i < part.m; i++)
                floats_load(r.wide + i * part.n, to + i * g.ldc, BF16, part.n);
            Operand a_part = a;
            RightOperand b_part = b;
            a_part.data = at(a, row, 0), b_part.from.data = at(b.from, col, 0);
            if (b.panels.data) b_part.panels = panels_at(b.panels, 0, col);
            product(r, part, r.wide, a_part, b_part);
            for (int64_t i = 0; i < part.m; i++) floats_store(to + i * g.ldc, BF16, r.wide + i * part.n, part.n);
        }
}

static Room room_of(char *scratch) {
    Room r = {.a = (float *)scratch};
    r.b = r.a + A_FLOATS;
    r.wide = r.b + B_FLOATS;
    return r;
}

static Operand left_operand(Gemm g, const void *a) {
    return (Operand){a, g.lda, g.flags & IN_BF16, g.flags & A_TRANSPOSED};
}

static Operand right_operand(const void *b, int64_t ldb, int64_t flags) {
    return (Operand){b, ldb, flags & IN_BF16, !(flags & B_TRANSPOSED)};
}

void sgemm(char *scratch, Gemm g, void *c, const void *a, const void *b) {
    if (!g.m || !g.n) return;
    Room r = room_of(scratch);
    Operand left = left_operand(g, a);
    RightOperand right = {right_operand(b, g.ldb, g.flags), {NULL, g.k}};
    if (panels_floats(g.k, g.n) <= B_FLOATS) {
        right.panels.data = r.b;
        pack_b(r.b, right.from, 0, g.n, 0, g.k);
    }
    if (g.flags & OUT_BF16)
        narrowed(r, g, c, left, right);
    else
        product(r, g, c, left, right);
}

void panels_pack(Panels to, int64_t k, int64_t n, const void *b, int64_t ldb, int64_t flags) {
    check(to.depth == k, "panels of %lld terms for %lld", (long long)to.depth, (long long)k);
    pack_b(to.data, right_operand(b, ldb, flags), 0, n, 0, k);
}

void sgemm_panels(char *scratch, Gemm g, float *c, const void *a, Panels b) {
    product(room_of(scratch), g, c, left_operand(g, a), (RightOperand){.panels = b});
}
