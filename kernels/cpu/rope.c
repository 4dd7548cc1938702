/* rope.c - rotary positions, in place. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"
#include "kernels/shapes.h"

void cpu_rope_table(Device *device, Tensor table, const double *frequency, double amplitude) {
    ref_rope_table(device, table, frequency, amplitude); /* once a run */
}

/* Turns the pairs of x by the table's cos, sin; sign -1 turns back. */
static LOOP void turn(float *restrict x, const float *restrict table, float sign, int64_t n) {
    for (int64_t i = 0; i + 1 < n; i += 2) {
        float a = x[i], b = x[i + 1], c = table[i], s = sign * table[i + 1];
        x[i] = a * c - b * s;
        x[i + 1] = b * c + a * s;
    }
}

static void turn_row(Tensor x, int64_t row, const float *table, float sign) {
    float buffer[PIECE];
    for (int64_t col = 0; col < tensor_cols(x); col += PIECE) {
        int64_t n = min_i64(PIECE, tensor_cols(x) - col);
        float *piece = piece_out(x, row, col, buffer);
        if (piece == buffer) floats_load(buffer, element(x, row, col), x.dtype, n);
        turn(piece, table + col, sign, n);
        piece_done(x, row, col, n, piece);
    }
}

void cpu_rope(Device *device, Tensor x, Tensor table, Tensor position, int heads, bool inverse) {
    shape_rope(device, x, table, position, heads);
    if (cpu_leaves(x)) {
        ref_rope(device, x, table, position, heads, inverse);
        return;
    }
    position = tensor_flat(position);
#pragma omp parallel for num_threads(device->threads) schedule(static)
    for (int64_t token = 0; token < tensor_count(position); token++) {
        int64_t at = id_of(position, 0, token);
        check(at >= 0 && at < tensor_rows(table), "position %lld of token %lld is outside a table of %lld",
              (long long)at, (long long)token, (long long)tensor_rows(table));
        for (int h = 0; h < heads; h++) turn_row(x, token * heads + h, element(table, at, 0), inverse ? -1 : 1);
    }
}
