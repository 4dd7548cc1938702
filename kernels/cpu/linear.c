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
 * Weight gradients: tasks are slices of rows of dw, each summed over all rows of its group by one
 * thread, in a tile that is then added to dw in one go. When a group's rows are no multiple of
 * GEMM_STEP, the last block starts that much earlier, with zeros in the place of the surplus rows
 * of dy. */
#include "kernels/cpu/dots.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

#include <omp.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { BLOCK_ROWS = 512, SLICE_ROWS = 256, BLOCK_TERMS = 1024, MIN_ROWS = 64, COLUMN_STEP = 64 };
enum { PARTS = 4 };            /* of rows a thread, at most */
enum { TILE_BYTES = 1 << 20 }; /* of a slice of dw: stays in the L2 cache */

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
    for (; row < end; row += BLOCK_ROWS) {
        int64_t rows = min_i64(BLOCK_ROWS, end - row), rounded = round_up(rows, GEMM_STEP);
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

/* A few parts a thread where each has whole blocks, handed out as threads get done: one may be slower than another. */
static void row_products(Device *device, const RowProduct *p) {
    int64_t rows = p->groups.first[p->groups.count], cols = tensor_cols(p->c), threads = device->threads;
    int64_t row_parts = max_i64(1, min_i64(threads, rows / MIN_ROWS)), col_parts = threads / row_parts;
    if (!rows || !cols) return;
    if (row_parts == threads) row_parts = max_i64(1, min_i64(PARTS, rows / BLOCK_ROWS / threads)) * threads;
#pragma omp parallel for num_threads(device->threads) schedule(dynamic)
    for (int64_t part = 0; part < row_parts * col_parts; part++) {
        CpuThread *thread = cpu_thread(device);
        Span own = share_of(rows, part % row_parts, row_parts, GEMM_STEP);
        Span col = share_of(cols, part / row_parts, col_parts, COLUMN_STEP);
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
    int64_t slice; /* rows of dw a task */
    bool tiled;    /* a slice is summed in a tile that goes to dw at the end */
    bool accumulate;
} WeightProduct;

/* Where a slice is summed: rows of dw or a tile, and which columns of dy it takes. */
typedef struct {
    float *sum;
    int64_t stride, col, rows;
    int64_t flags; /* ACCUMULATE, but not for the first product into a tile */
} Slice;

/* sum += dy^T x over rows first .. first + terms - 1 of x; dy points at its first row. */
static void terms_product(CpuThread *thread, const WeightProduct *p, Slice *s, int64_t first, int64_t terms,
                          const void *dy, int64_t dy_stride) {
    Gemm g = {s->rows,
              tensor_cols(p->x),
              terms,
              dy_stride,
              p->x.row_stride,
              s->stride,
              gemm_flags(p->x, p->dw) | A_TRANSPOSED | s->flags};
    if (!terms) return;
    gemm(thread, g, s->sum, dy, element(p->x, first, 0));
    s->flags = ACCUMULATE;
}

/* A copy of some columns of dy's rows, with zeros for rows that are not to be kept. */
static const void *masked_copy(char *to, Tensor dy, Span rows, Span kept, int64_t col, int64_t cols) {
    size_t bytes = (size_t)(cols * dtype_bytes(dy.dtype));
    for (int64_t row = rows.first; row < rows.end; row++, to += bytes) {
        if (row >= kept.first && row < kept.end)
            memcpy(to, element(dy, row, col), bytes);
        else
            memset(to, 0, bytes);
    }
    return to - (rows.end - rows.first) * (int64_t)bytes;
}

static void slice_terms(CpuThread *thread, const WeightProduct *p, Slice *s, Span terms) {
    int64_t count = terms.end - terms.first, rounded = round_up(count, GEMM_STEP);
    int64_t valid = p->groups.first[p->groups.count], first = max_i64(0, terms.end - rounded);
    if (count == rounded || first + rounded > valid) {
        int64_t even = count / GEMM_STEP * GEMM_STEP, rest = terms.first + even;
        terms_product(thread, p, s, terms.first, even, element(p->dy, terms.first, s->col), p->dy.row_stride);
        terms_product(thread, p, s, rest, count - even, element(p->dy, rest, s->col), p->dy.row_stride);
        return;
    }
    Span rows = {first, first + rounded};
    const void *dy = masked_copy(thread->tiles + TILE_BYTES, p->dy, rows, terms, s->col, s->rows);
    terms_product(thread, p, s, first, rounded, dy, s->rows);
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

/* A finished row of a slice; NULL stands for zeros: no row of x belonged to its group. */
static void put_row(float *dw, const float *sum, int64_t cols, bool accumulate) {
    if (accumulate && sum)
        floats_add(dw, sum, cols);
    else if (!accumulate && sum)
        stream(dw, sum, cols);
    else if (!accumulate)
        memset(dw, 0, (size_t)cols * sizeof *dw);
}

static void slice_product(CpuThread *thread, const WeightProduct *p, int64_t task) {
    int64_t rows = tensor_cols(p->dy), slices = ceil_div(rows, p->slice), group = task / slices;
    int64_t col = task % slices * p->slice, cols = tensor_cols(p->x), end = p->groups.first[group + 1];
    float *dw = element(p->dw, group * rows + col, 0);
    Slice s = {dw, p->dw.row_stride, col, min_i64(p->slice, rows - col), p->accumulate ? ACCUMULATE : 0};
    if (p->tiled) s.sum = (float *)thread->tiles, s.stride = cols, s.flags = 0;
    for (int64_t first = p->groups.first[group]; first < end; first += BLOCK_TERMS)
        slice_terms(thread, p, &s, (Span){first, min_i64(first + BLOCK_TERMS, end)});
    for (int64_t i = 0; i < s.rows && (p->tiled || !s.flags); i++)
        put_row(dw + i * p->dw.row_stride, s.flags ? s.sum + i * cols : NULL, cols, p->accumulate);
    stream_end();
}

/* Slices as large as a tile allows, and as many as keep all threads busy when groups are few. */
static void weight_products(Device *device, Tensor dw, Tensor dy, Tensor x, Groups groups, bool accumulate) {
    int64_t rows = tensor_cols(dy), cols = tensor_cols(x), most = TILE_BYTES / 4 / max_i64(cols, 1);
    WeightProduct p = {
        .dw = dw, .dy = dy, .x = x, .groups = groups, .tiled = most >= MIN_ROWS, .accumulate = accumulate};
    if (!rows || !cols) return;
    int64_t slices = ceil_div(rows, p.tiled ? min_i64(most, SLICE_ROWS) / GEMM_STEP * GEMM_STEP : SLICE_ROWS);
    if (groups.count < 4 * device->threads) slices = round_up(slices, device->threads);
    p.slice = round_up(ceil_div(rows, slices), GEMM_STEP);
    int64_t tasks = groups.count * ceil_div(rows, p.slice);
#pragma omp parallel num_threads(device->threads)
    {
        CpuThread *thread = cpu_thread(device);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++) slice_product(thread, &p, task);
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
