/* rope.c - rotary positions on interleaved pairs: pair i of a row at position p turns by the angle
 * p * frequency[i]. The backward is the turn by the opposite angle with the same amplitude. */
#include "kernels/ref/ref.h"

#include <math.h>

void ref_rope_table(Device *device, Tensor table, const double *frequency, double amplitude) {
    shape_rope_table(device, table);
    for (int64_t p = 0; p < tensor_rows(table); p++)
        for (int64_t i = 0; i < tensor_cols(table) / 2; i++) {
            double angle = (double)p * frequency[i];
            put(table, p, 2 * i, amplitude * cos(angle));
            put(table, p, 2 * i + 1, amplitude * sin(angle));
        }
}

void ref_rope(Device *device, Tensor x, Tensor table, Tensor position, int heads, bool inverse) {
    shape_rope(device, x, table, position, heads);
    for (int64_t row = 0; row < tensor_rows(x); row++) {
        int64_t p = id_at(position, 0, row / heads);
        check(p >= 0 && p < tensor_rows(table), "position %lld of row %lld is outside a table of %lld", (long long)p,
              (long long)row, (long long)tensor_rows(table));
        for (int64_t i = 0; i < tensor_cols(x); i += 2) {
            double a = get(x, row, i), b = get(x, row, i + 1);
            double c = get(table, p, i), s = inverse ? -get(table, p, i + 1) : get(table, p, i + 1);
            put(x, row, i, a * c - b * s);
            put(x, row, i + 1, b * c + a * s);
        }
    }
}
