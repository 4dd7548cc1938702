#include "train/stepdata.h"

static int64_t micros_of(int64_t sequences, int64_t micro, int64_t ranks) {
    return ceil_div(ceil_div(sequences, micro), ranks);
}

static int32_t *host_ints(Run *run, int64_t n) { return arena_alloc(&run->host, n * (int64_t)sizeof(int32_t)); }

static void open_device(StepData *d, Run *run) {
    int64_t n = d->micro * d->sequence_length;
    d->batch.ids = arena_1d(&run->state, I32, n);
    d->batch.label = arena_1d(&run->state, I32, n);
    d->batch.position = arena_1d(&run->state, I32, n);
    d->batch.range = arena_2d(&run->state, I32, n, 2);
    d->batch.weight = arena_1d(&run->state, run_stat_dtype(run), n);
    d->batch.protect = arena_1d(&run->state, I32, d->micro);
    d->batch.sequence_length = d->sequence_length;
}

void stepdata_open(StepData *d, Run *run, int64_t sequence_length, int64_t micro, int64_t sequences) {
    *d = (StepData){.sequence_length = sequence_length, .micro = micro};
    d->capacity = micros_of(sequences, micro, mesh_size(&run->mesh, AXIS_DP)) * micro;
    int64_t n = d->capacity * sequence_length, one = micro * sequence_length;
    d->ids = host_ints(run, n);
    d->label = host_ints(run, n);
    d->position = host_ints(run, n);
    d->first = host_ints(run, n);
    d->number = arena_alloc(&run->host, d->capacity * (int64_t)sizeof *d->number);
    d->range = host_ints(run, 2 * one);
    d->protect = host_ints(run, micro);
    d->weight = arena_alloc(&run->host, one * (int64_t)sizeof *d->weight);
    d->weight_f64 = arena_alloc(&run->host, one * (int64_t)sizeof *d->weight_f64);
    open_device(d, run);
}

bool stepdata_fill(StepData *d, Run *run, int64_t first, int64_t sequences, StepFill fill, void *own, Error *error) {
    int64_t rank = mesh_rank(&run->mesh, AXIS_DP), ranks = mesh_size(&run->mesh, AXIS_DP), t = d->sequence_length;
    d->count = 0;
    d->global_sequences = sequences;
    d->micros = micros_of(sequences, d->micro, ranks);
    for (int64_t j = rank; j * d->micro < sequences; j += ranks)
        for (int64_t s = j * d->micro; s < min_i64((j + 1) * d->micro, sequences); s++) {
            int64_t at = d->count++ * t;
            check(d->count <= d->capacity, "%lld sequences in a step, %lld planned", (long long)d->count,
                  (long long)d->capacity);
            d->number[d->count - 1] = first + s;
            StepRow row = {d->ids + at, d->label + at, d->position + at, d->first + at};
            if (!fill(own, first + s, row, error)) return false;
        }
    return true;
}

void stepdata_count(StepData *d, Run *run) {
    d->global_tokens = 0;
    for (int64_t i = 0; i < d->count * d->sequence_length; i++) d->global_tokens += d->label[i] >= 0;
    comm_reduce_i64(run->mesh.axis[AXIS_DP], &d->global_tokens, 1, REDUCE_SUM);
}

/* Rows a token attends to, its share of the loss, and which sequences are spared from dropping. */
static void stage(StepData *d, Run *run, int64_t first, int64_t sequences) {
    int64_t t = d->sequence_length;
    double share = d->global_tokens ? 1.0 / (double)d->global_tokens : 0;
    for (int64_t i = 0; i < sequences * t; i++) {
        int64_t at = first * t + i, row = i / t * t;
        d->range[2 * i] = (int32_t)(row + d->first[at]);
        d->range[2 * i + 1] = (int32_t)(i + 1);
        d->weight_f64[i] = d->label[at] >= 0 ? share : 0;
        d->weight[i] = (float)d->weight_f64[i];
    }
    for (int64_t s = 0; s < sequences; s++) {
        uint64_t number = (uint64_t)d->number[first + s];
        double u = random_uniform((uint64_t)run->config->seed, hash_string("protected sequences"), number);
        d->protect[s] = u < run->config->protected_sequences;
    }
}

static void put(Tensor *t, const void *from, int64_t n, int64_t cols, Run *run) {
    t->dim[0] = cols > 1 ? n / cols : n;
    if (t->ndim == 1) t->row_stride = n;
    run->device->ops->to_device(run->device, t->data, from, n * dtype_bytes(t->dtype));
}

Batch stepdata_batch(StepData *d, Run *run, int64_t i) {
    int64_t first = min_i64(i * d->micro, d->count), sequences = min_i64(d->micro, d->count - first);
    int64_t n = sequences * d->sequence_length, at = first * d->sequence_length;
    Batch b = d->batch;
    stage(d, run, first, sequences);
    put(&b.ids, d->ids + at, n, 1, run);
    put(&b.label, d->label + at, n, 1, run);
    put(&b.position, d->position + at, n, 1, run);
    put(&b.range, d->range, 2 * n, 2, run);
    put(&b.weight, b.weight.dtype == F64 ? (void *)d->weight_f64 : (void *)d->weight, n, 1, run);
    put(&b.protect, d->protect, sequences, 1, run);
    b.sequences = sequences;
    b.global_sequences = d->global_sequences;
    b.global_tokens = d->global_tokens;
    return b;
}
