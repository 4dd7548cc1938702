/* linear.c - products with weights, for one matrix and for groups of rows with a weight each.
 *
 * Rows by weight: a part is a range of rows (and, when rows are few, of columns), which a thread
 * walks in blocks. A block at the end of a group is rounded up to GEMM_STEP rows, so that few sizes
 * occur: the surplus rows belong to the next groups of the same part, whose thread writes them right
 * afterwards. Only the end of a part has odd sizes.
 *
 * Few rows, where the device asks for them as decoding does: dots.h. A row's result then depends neither on the number
 * of rows nor on threads.
 *
 * Weight gradients: tasks are tiles of dw, each summed over all rows of its group by one thread, apart from dw, to which
 * it then goes in one go. Of a square tile least has to be packed for its products. When a group's rows are no multiple
 * of GEMM_STEP, the last block starts that much earlier, with zeros in the place of the surplus rows of dy. */
#include "kernels/cpu/dots.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <omp.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { PART_ROWS = 512, BLOCK_TERMS = 1024, MIN_ROWS = 64, COLUMN_STEP = 64 };
enum { ROUNDS = 4 };                               /* parts of rows a thread, at most */
enum { SIDE = 512, TILE_BYTES = SIDE * SIDE * 4 }; /* of a tile of dw at most */
_Static_assert(TILE_BYTES + BLOCK_TERMS * SIDE * 4 <= CPU_TILE_BYTES, "no room for a tile and masked rows of dy");

/* c's row i = a's row i times the group's block of b. */
typedef struct {
    Tensor c, a, b;
    Groups groups;
    int64_t b_rows; /* rows of b a group */
    Gemm gemm;      /* n, k, strides, flags; m is filled in */
    bool few;       /* few rows by dot products */
} RowProduct;

static Groups one_group(int64_t bound[2], int64_t rows) {
    bound[0] = 0, bound[1] = rows;
    return (Groups){.count = 1, .first = bound};
}

static void block_product(CpuThread *thread, const RowProduct *p, int64_t group, int64_t row, int64_t rows,
                          int64_t col, int64_t cols) {
    Gemm g = p->gemm;
    g.m = rows, g.n = cols;
    bool transposed = g.flags & B_TRANSPOSED;
    int64_t first = group * p->b_rows;
    const void *b = transposed ? element(p->b, first + col, 0) : element(p->b, first, col);
    gemm(thread, g, element(p->c, row, col), element(p->a, row, 0), b);
}

/* -- few rows: bound by reading the weights, each of which is read once -- */

enum { FEW_COLS = 8 };

static bool is_few(const RowProduct *p, int64_t rows) {
    return p->few && rows <= FEW_ROWS && p->gemm.k * (FEW_ROWS + FEW_COLS) * 4 <= CPU_TILE_BYTES / 2;
}

static void few_product(CpuThread *thread, const RowProduct *p, int64_t group, int64_t row, int64_t rows, int64_t col,
                        int64_t cols) {
    Dots d = {.m = rows, .k = p->gemm.k, .ldc = FEW_COLS};
    float result[FEW_ROWS * FEW_COLS], *wide_a = (float *)thread->tiles, *wide_b = wide_a + FEW_ROWS * d.k;
    const float *a = block_widened(wide_a, p->a, row, rows, 0, d.k, &d.lda);
    for (int64_t end = col + cols; col < end; col += FEW_COLS) {
        int64_t weight = group * p->b_rows + col;
        d.n = min_i64(FEW_COLS, end - col), d.ldb = p->b.row_stride;
        if (rows > 2) /* widening each weight once pays */
            dots(d, result, a, block_widened(wide_b, p->b, weight, d.n, 0, d.k, &d.ldb), F32);
        else
            dots(d, result, a, element(p->b, weight, 0), p->b.dtype);
        for (int64_t i = 0; i < rows; i++)
            floats_store(element(p->c, row + i, col), p->c.dtype, result + i * FEW_COLS, d.n);
    }
}

/* Rows `row` .. `end` - 1 of one group; up to `limit` rows may be written that come later. */
static void group_product(CpuThread *thread, const RowProduct *p, int64_t group, int64_t row, int64_t end,
                          int64_t limit, int64_t col, int64_t cols) {
    if (row >= end) return;
    if (is_few(p, end - row)) {
        few_product(thread, p, group, row, end - row, col, cols);
        return;
    }
    int64_t block = gemm_rows();
    for (; row < end; row += block) {
        int64_t rows = min_i64(block, end - row), rounded = round_up(rows, GEMM_STEP);
        if (row + rounded <= limit && !(p->gemm.flags & ACCUMULATE)) {
            block_product(thread, p, group, row, rounded, col, cols);
            continue;
        }
        int64_t even = rows / GEMM_STEP * GEMM_STEP;
        block_product(thread, p, group, row, even, col, cols);
        block_product(thread, p, group, row + even, rows - even, col, cols);
    }
}

typedef struct {
    int64_t first, end;
} Span;
static Span share_of(int64_t count, int64_t part, int64_t parts, int64_t step) {
    int64_t units = ceil_div(count, step);
    return (Span){min_i64(count, units * part / parts * step), min_i64(count, units * (part + 1) / parts * step)};
}

/* A part of the rows: a round has one for each thread, half as long as in the round before; the last two are equal. */
static Span rows_of_part(int64_t rows, int64_t part, int64_t threads, int64_t rounds) {
    int64_t round = part / threads, scale = (int64_t)1 << (rounds - 1), done = scale - (scale >> round);
    int64_t length = round == rounds - 1 ? 1 : scale >> (round + 1), units = done * threads + part % threads * length;
    int64_t steps = ceil_div(rows, GEMM_STEP), all = scale * threads;
    return (Span){min_i64(rows, steps * units / all * GEMM_STEP),
                  min_i64(rows, steps * (units + length) / all * GEMM_STEP)};
}

/* Long parts first, handed out as threads get done: one may be slower than another. */
static void row_products(Device *device, const RowProduct *p) {
    int64_t rows = p->groups.first[p->groups.count], cols = tensor_cols(p->c), threads = device->threads;
    int64_t row_parts = max_i64(1, min_i64(threads, rows / MIN_ROWS)), col_parts = threads / row_parts;
    if (!rows || !cols) return;
    int64_t rounds = row_parts < threads ? 1 : max_i64(1, min_i64(ROUNDS, rows / PART_ROWS / threads));
#pragma omp parallel for num_threads(device->threads) schedule(dynamic)
    for (int64_t part = 0; part < row_parts * rounds * col_parts; part++) {
        CpuThread *thread = cpu_thread(device);
        Span own = rows_of_part(rows, part % (row_parts * rounds), row_parts, rounds);
        Span col = share_of(cols, part / (row_parts * rounds), col_parts, COLUMN_STEP);
        for (int64_t g = 0; g < p->groups.count && col.first < col.end; g++) {
            int64_t row = max_i64(own.first, p->groups.first[g]), end = min_i64(own.end, p->groups.first[g + 1]);
            group_product(thread, p, g, row, end, own.end, col.first, col.end - col.first);
        }
    }
}

static RowProduct forward_of(const Device *device, Tensor y, Tensor x, Tensor w, Groups groups) {
    return (RowProduct){y,
                        x,
                        w,
                        groups,
                        tensor_rows(w) / groups.count,
                        {.k = tensor_cols(x),
                         .lda = x.row_stride,
                         .ldb = w.row_stride,
                         .ldc = y.row_stride,
                         .flags = gemm_flags(x, y) | B_TRANSPOSED},
                        device->few_rows};
}

static RowProduct backward_of(const Device *device, Tensor dx, Tensor dy, Tensor w, Groups groups, bool accumulate) {
    RowProduct p = forward_of(device, dx, dy, w, groups);
    p.few = false;
    p.gemm.flags = gemm_flags(dy, dx) | (accumulate ? ACCUMULATE : 0);
    return p;
}

void cpu_linear_forward(Device *device, Tensor y, Tensor x, Tensor w) {
    shape_linear_forward(device, y, x, w);
    int64_t bound[2];
    RowProduct p = forward_of(device, y, x, w, one_group(bound, tensor_rows(x)));
    if (cpu_leaves(x))
        ref_linear_forward(device, y, x, w);
    else
        row_products(device, &p);
}

void cpu_linear_backward_input(Device *device, Tensor dx, Tensor dy, Tensor w, bool accumulate) {
    shape_linear_backward_input(device, dx, dy, w);
    int64_t bound[2];
    RowProduct p = backward_of(device, dx, dy, w, one_group(bound, tensor_rows(dy)), accumulate);
    if (cpu_leaves(dy))
        ref_linear_backward_input(device, dx, dy, w, accumulate);
    else
        row_products(device, &p);
}

void cpu_grouped_linear_forward(Device *device, Tensor y, Tensor x, Tensor w, Groups groups) {
    shape_grouped_linear_forward(device, y, x, w, groups);
    RowProduct p = forward_of(device, y, x, w, groups);
    if (cpu_leaves(x))
        ref_grouped_linear_forward(device, y, x, w, groups);
    else
        row_products(device, &p);
}

void cpu_grouped_linear_backward_input(Device *device, Tensor dx, Tensor dy, Tensor w, Groups groups) {
    shape_grouped_linear_backward_input(device, dx, dy, w, groups);
    RowProduct p = backward_of(device, dx, dy, w, groups, false);
    if (cpu_leaves(dy))
        ref_grouped_linear_backward_input(device, dx, dy, w, groups);
    else
        row_products(device, &p);
}

/* dw's block of each group = or += dy^T x over the group's rows. */
typedef struct {
    Tensor dw, dy, x;
    Groups groups;
    int64_t rows, cols; /* of a tile */
    bool accumulate;
} WeightProduct;

/* What a task sums before it goes to dw in one go: some rows, columns of dy, by some columns, of x. */
typedef struct {
    Span row, col;
    float *sum;
    bool begun; /* the first product writes the tile, the others add */
} Tile;
static int64_t length(Span s) { return s.end - s.first; }

/* sum += dy^T x over rows first .. first + terms - 1 of x; dy points at its first row. */
static void terms_product(CpuThread *thread, const WeightProduct *p, Tile *s, int64_t first, int64_t terms,
                          const void *dy, int64_t dy_stride) {
    Gemm g = {length(s->row),
              length(s->col),
              terms,
              dy_stride,
              p->x.row_stride,
              length(s->col),
              gemm_flags(p->x, p->dw) | A_TRANSPOSED | (s->begun ? ACCUMULATE : 0)};
    if (!terms) return;
    gemm(thread, g, s->sum, dy, element(p->x, first, s->col.first));
    s->begun = true;
}

/* A copy of some columns of dy's rows, with zeros for rows that are not to be kept. */
static const void *masked_copy(char *to, Tensor dy, Span rows, Span kept, Span cols) {
    size_t bytes = (size_t)(length(cols) * dtype_bytes(dy.dtype));
    for (int64_t row = rows.first; row < rows.end; row++, to += bytes) {
        if (row >= kept.first && row < kept.end)
            memcpy(to, element(dy, row, cols.first), bytes);
        else
            memset(to, 0, bytes);
    }
    return to - length(rows) * (int64_t)bytes;
}

static void tile_terms(CpuThread *thread, const WeightProduct *p, Tile *s, Span terms) {
    int64_t count = length(terms), rounded = round_up(count, GEMM_STEP);
    int64_t valid = p->groups.first[p->groups.count], first = max_i64(0, terms.end - rounded);
    if (count == rounded || first + rounded > valid) {
        int64_t even = count / GEMM_STEP * GEMM_STEP, rest = terms.first + even;
        terms_product(thread, p, s, terms.first, even, element(p->dy, terms.first, s->row.first), p->dy.row_stride);
        terms_product(thread, p, s, rest, count - even, element(p->dy, rest, s->row.first), p->dy.row_stride);
        return;
    }
    const void *dy = masked_copy(thread->tiles + TILE_BYTES, p->dy, (Span){first, first + rounded}, terms, s->row);
    terms_product(thread, p, s, first, rounded, dy, length(s->row));
}

/* Like memcpy, but past the caches: reading a line first only to overwrite it costs as much as writing it. */
static void stream(float *to, const float *from, int64_t n) {
#ifdef __SSE2__
    if ((uintptr_t)to % 16 == 0 && n % 4 == 0) {
        for (int64_t i = 0; i < n; i += 4) _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
        return;
    }
#endif
    memcpy(to, from, (size_t)n * sizeof *to);
}
static void stream_end(void) {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

/* A finished row of a tile; one not begun is zeros: no row of x belonged to its group. */
static void put_row(float *dw, const float *sum, int64_t cols, bool begun, bool accumulate) {
    if (accumulate && begun)
        floats_add(dw, sum, cols);
    else if (!accumulate && begun)
        stream(dw, sum, cols);
    else if (!accumulate)
        memset(dw, 0, (size_t)cols * sizeof *dw);
}

static void tile_product(CpuThread *thread, const WeightProduct *p, int64_t group, Span row, Span col) {
    int64_t end = p->groups.first[group + 1], cols = length(col);
    Tile s = {row, col, (float *)thread->tiles, false};
    for (int64_t first = p->groups.first[group]; first < end; first += BLOCK_TERMS)
        tile_terms(thread, p, &s, (Span){first, min_i64(first + BLOCK_TERMS, end)});
    float *dw = element(p->dw, group * tensor_cols(p->dy) + row.first, col.first);
    for (int64_t i = 0; i < length(row); i++, dw += p->dw.row_stride)
        put_row(dw, s.sum + i * cols, cols, s.begun, p->accumulate);
    stream_end();
}

/* As many tiles as keep all threads busy where groups are few. */
static void weight_products(Device *device, Tensor dw, Tensor dy, Tensor x, Groups groups, bool accumulate) {
    int64_t rows = tensor_cols(dy), cols = tensor_cols(x);
    if (!rows || !cols) return;
    int64_t across = ceil_div(cols, SIDE), down = ceil_div(rows, SIDE);
    if (groups.count * across < 4 * device->threads) down = round_up(down, device->threads);
    WeightProduct p = {.dw = dw, .dy = dy, .x = x, .groups = groups, .accumulate = accumulate};
    p.rows = round_up(ceil_div(rows, down), GEMM_STEP), p.cols = round_up(ceil_div(cols, across), GEMM_STEP);
    down = ceil_div(rows, p.rows), across = ceil_div(cols, p.cols);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < groups.count * down * across; task++) {
            int64_t row = task / across % down * p.rows, col = task % across * p.cols;
            tile_product(thread, &p, task / across / down, (Span){row, min_i64(rows, row + p.rows)},
                         (Span){col, min_i64(cols, col + p.cols)});
        }
    }
}

void cpu_linear_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, bool accumulate) {
    shape_linear_backward_weight(device, dw, dy, x);
    int64_t bound[2];
    if (cpu_leaves(x))
        ref_linear_backward_weight(device, dw, dy, x, accumulate);
    else
        weight_products(device, dw, dy, x, one_group(bound, tensor_rows(x)), accumulate);
}

void cpu_grouped_linear_backward_weight(Device *device, Tensor dw, Tensor dy, Tensor x, Groups groups,
                                        bool accumulate) {
    shape_grouped_linear_backward_weight(device, dw, dy, x, groups);
    if (cpu_leaves(x))
        ref_grouped_linear_backward_weight(device, dw, dy, x, groups, accumulate);
    else
        weight_products(device, dw, dy, x, groups, accumulate);
}
