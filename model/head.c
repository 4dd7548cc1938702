#include "model/head.h"

enum { CHUNK_ELEMENTS = 1 << 23, CHUNK_MOST = 2048, CHUNK_LEAST = 64 };

void head_init(Head *h, Params *params, Run *run) {
    const Config *c = run->config;
    h->norm = (Norm){param_add(params, run, PARAM_VECTOR, AXIS_DP, -1, "model.norm.weight", 0, 1, 1, c->hidden_size),
                     c->rms_norm_eps};
    h->out.p =
        param_add(params, run, PARAM_MATRIX, AXIS_DP, -1, "lm_head.weight", 0, 1, c->vocab_size, c->hidden_size);
    h->chunk = max_i64(min_i64(CHUNK_ELEMENTS / c->vocab_size, CHUNK_MOST), CHUNK_LEAST);
}

static Tensor rows_1d(Tensor t, int64_t first, int64_t n) { /* a slice of a vector */
    return tensor_1d((char *)t.data + first * dtype_bytes(t.dtype), t.dtype, n);
}

/* One chunk of normalised rows h: loss, and with dh also the gradients. */
static void chunk_loss(HeadOut out, const Head *head, Tensor dh, Tensor h, Tensor label, Tensor weight, Tensor loss,
                       Run *run) {
    int64_t n = tensor_rows(h), v = head->out.p->rows, mark = arena_mark(&run->scratch);
    Tensor logits = arena_2d(&run->scratch, run_stat_dtype(run), n, v), dlogits = {0};
    if (!tensor_none(dh)) dlogits = run->dtype == logits.dtype ? logits : scratch_2d(run, n, v);
    linear_forward(logits, &head->out, h, run);
    run->k->cross_entropy(run->device, loss, dlogits, logits, label, weight);
    run->k->dot(run->device, out.loss_sum, loss, weight);
    if (!tensor_none(dh)) {
        linear_backward_input(dh, &head->out, dlogits, false, run);
        linear_backward_weight(&head->out, dlogits, h, run);
    }
    arena_rewind(&run->scratch, mark);
}

void head_loss(HeadOut out, const Head *head, Tensor x, const Batch *b, Run *run) {
    int64_t n = tensor_rows(x), d = tensor_cols(x), mark = arena_mark(&run->scratch);
    bool backward = !tensor_none(out.dx);
    Tensor h = scratch_2d(run, n, d), rstd = arena_1d(&run->scratch, run_stat_dtype(run), n), dh = {0};
    Tensor loss = tensor_none(out.token_loss) ? arena_1d(&run->scratch, run_stat_dtype(run), n) : out.token_loss;
    if (backward) dh = scratch_2d(run, n, d);
    norm_forward(h, rstd, &head->norm, x, run);
    for (int64_t first = 0; first < n; first += head->chunk) {
        int64_t rows = min_i64(head->chunk, n - first);
        Tensor dh_part = backward ? tensor_rows_view(dh, first, rows) : dh;
        chunk_loss(out, head, dh_part, tensor_rows_view(h, first, rows), rows_1d(b->label, first, rows),
                   rows_1d(b->weight, first, rows), rows_1d(loss, first, rows), run);
    }
    if (backward) {
        norm_backward_input(out.dx, &head->norm, dh, x, rstd, false, run);
        norm_backward_weight(&head->norm, dh, x, rstd, run);
    }
    arena_rewind(&run->scratch, mark);
}

void head_logits(Tensor logits, const Head *head, Tensor x, Run *run) {
    int64_t n = tensor_rows(x), mark = arena_mark(&run->scratch);
    Tensor h = scratch_2d(run, n, tensor_cols(x)), rstd = arena_1d(&run->scratch, run_stat_dtype(run), n);
    norm_forward(h, rstd, &head->norm, x, run);
    linear_forward(logits, &head->out, h, run);
    arena_rewind(&run->scratch, mark);
}
