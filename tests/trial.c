#include "tests/trial.h"

#include "kernels/ref/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Guards read as NaN, so that a kernel that reads them shows it too. */
enum { GUARD_BYTES = 128, GUARD = 0xff, GAP = 3, SEED = 20 };

void trial_open(Trial *t, Device *device, Dtype dtype, bool strided) {
    Error error;
    *t = (Trial){.device = device, .k = device->kernels, .dtype = dtype, .strided = strided};
    t->stat = dtype == F64 ? F64 : F32;
    check(arena_open(&t->arena, "trial", device, MEM_DEVICE, INT64_C(256) << 20, &error), "%s", error.text);
}

void trial_close(Trial *t) { arena_close(&t->arena); }

/* Bytes of a tensor's rows with the gaps, guards left out. */
static int64_t span_bytes(Tensor t) { return tensor_rows(t) * t.row_stride * dtype_bytes(t.dtype); }

/* A host copy of the tensor inside its guards: starts full of guard bytes. */
static char *guarded_host(Tensor t, Tensor *inside) {
    int64_t bytes = span_bytes(t) + 2 * GUARD_BYTES;
    char *block = must_alloc(bytes, 1);
    memset(block, GUARD, (size_t)bytes);
    *inside = t;
    inside->data = block + GUARD_BYTES;
    return block;
}

Tensor trial_place(Trial *t, Dtype dtype, int64_t rows, int64_t cols, const double *values) {
    Tensor made = rows == VECTOR ? tensor_1d(NULL, dtype, cols) : tensor_2d(NULL, dtype, rows, cols), host;
    if (t->strided && rows != VECTOR) made.row_stride += GAP;
    char *block = guarded_host(made, &host);
    for (int64_t i = 0; i < tensor_count(made); i++) put(host, i / cols, i % cols, values[i]);
    char *device = arena_alloc(&t->arena, span_bytes(made) + 2 * GUARD_BYTES);
    t->device->ops->to_device(t->device, device, block, span_bytes(made) + 2 * GUARD_BYTES);
    made.data = device + GUARD_BYTES;
    t->made++;
    free(block);
    return made;
}

static int64_t count_of(int64_t rows, int64_t cols) { return rows == VECTOR ? cols : rows * cols; }

Tensor trial_random(Trial *t, Dtype dtype, int64_t rows, int64_t cols) {
    int64_t count = count_of(rows, cols);
    double *values = must_alloc(count, sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = random_gauss(SEED, t->made, (uint64_t)i);
    Tensor made = trial_place(t, dtype, rows, cols, values);
    free(values);
    return made;
}

Tensor trial_ids(Trial *t, int64_t rows, int64_t cols, int64_t low, int64_t end) {
    int64_t count = count_of(rows, cols);
    double *values = must_alloc(count, sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = (double)low + floor(random_uniform(SEED, t->made, (uint64_t)i) * (double)(end - low));
    Tensor made = trial_place(t, I32, rows, cols, values);
    free(values);
    return made;
}

Tensor trial_poisoned(Trial *t, Dtype dtype, int64_t rows, int64_t cols) {
    int64_t count = count_of(rows, cols);
    double *values = must_alloc(count, sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = dtype == I32 ? INT32_MAX : NAN;
    Tensor made = trial_place(t, dtype, rows, cols, values);
    free(values);
    return made;
}

Tensor trial_watch(Trial *t, Tensor watched) {
    check(t->count < WATCHED, "more than %d watched tensors", WATCHED);
    t->watched[t->count++] = watched;
    return watched;
}

Groups trial_groups(Trial *t, const int64_t *sizes, int64_t count) {
    check(count <= GROUPS, "%lld groups", (long long)count);
    for (int64_t g = 0; g < count; g++) t->first[g + 1] = t->first[g] + sizes[g];
    Tensor device = arena_1d(&t->arena, I64, count + 1);
    t->device->ops->to_device(t->device, device.data, t->first, tensor_bytes(device));
    return (Groups){.count = count, .first = t->first, .device = device};
}

static char *read_guarded(const Trial *t, Tensor from, Tensor *inside) {
    char *block = guarded_host(from, inside);
    t->device->ops->to_host(t->device, block, (char *)from.data - GUARD_BYTES, span_bytes(from) + 2 * GUARD_BYTES);
    return block;
}

double *trial_read(const Trial *t, Tensor from) {
    Tensor host;
    char *block = read_guarded(t, from, &host);
    double *values = must_alloc(tensor_count(from), sizeof *values);
    for (int64_t i = 0; i < tensor_count(from); i++)
        values[i] = get(host, i / tensor_cols(from), i % tensor_cols(from));
    free(block);
    return values;
}

static bool all_guard(const char *bytes, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if ((unsigned char)bytes[i] != GUARD) return false;
    return true;
}

bool trial_guards_hold(const Trial *t, Tensor of) {
    Tensor host;
    char *block = read_guarded(t, of, &host);
    int64_t size = dtype_bytes(of.dtype), used = tensor_cols(of) * size, stride = of.row_stride * size;
    bool hold = all_guard(block, GUARD_BYTES) && all_guard(block + GUARD_BYTES + span_bytes(of), GUARD_BYTES);
    for (int64_t row = 0; row < tensor_rows(of); row++)
        hold = hold && all_guard(block + GUARD_BYTES + row * stride + used, stride - used);
    free(block);
    return hold;
}

/* Infinities of the same sign agree (the log-sum-exp of no keys). */
Difference difference(const double *a, const double *b, int64_t count) {
    Difference d = {0};
    double error2 = 0, norm2 = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        double off = a[i] == b[i] ? 0 : fabs(a[i] - b[i]);
        if (isnan(off)) {
            d.nans++;
            d.worst_at = i;
            continue;
        }
        if (off > d.worst) d.worst = off, d.worst_at = i;
        error2 += off * off;
        if (isinf(b[i])) continue;
        norm2 += b[i] * b[i];
        largest = fmax(largest, fabs(b[i]));
    }
    d.relative = error2 > 0 ? sqrt(error2 / fmax(norm2, 1e-300)) : 0;
    d.worst = d.worst > 0 ? d.worst / fmax(largest, 1e-300) : 0;
    return d;
}
