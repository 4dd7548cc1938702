/* shapes.c - the checks of shapes.h. A set of dtypes is a mask of 1 << dtype. */
#include "kernels/shapes.h"

enum { FLOATS = 1 << F64 | 1 << F32 | 1 << BF16, STATS = 1 << F64 | 1 << F32, IDS = 1 << I32 };

static int same(Tensor t) { return 1 << t.dtype; }
static int stat(Tensor t) { return t.dtype == F64 ? 1 << F64 : 1 << F32; }

typedef struct {
    const char *backend, *function;
} Where;

/* "shape_linear_forward" -> "linear_forward" */
static const char *kernel_name(Where at) { return at.function + sizeof "shape_" - 1; }

static void demand_dtype(Where at, const char *name, Tensor t, int dtypes) {
    check(1 << t.dtype & dtypes, "%s %s: dtype of %s cannot be %s here", at.backend, kernel_name(at), name,
          dtype_name(t.dtype));
    check(t.data || !tensor_count(t), "%s %s: %s has no memory", at.backend, kernel_name(at), name);
}

static void demand_matrix(Where at, const char *name, Tensor t, int64_t rows, int64_t cols, int dtypes) {
    check(tensor_rows(t) == rows && tensor_cols(t) == cols, "%s %s: %s is (%lld, %lld), wanted (%lld, %lld)",
          at.backend, kernel_name(at), name, (long long)tensor_rows(t), (long long)tensor_cols(t), (long long)rows,
          (long long)cols);
    check(t.row_stride >= cols || rows <= 1, "%s %s: rows of %s overlap", at.backend, kernel_name(at), name);
    demand_dtype(at, name, t, dtypes);
}

static void demand_vector(Where at, const char *name, Tensor t, int64_t count, int dtypes) {
    check(t.ndim && tensor_count(t) == count && tensor_contiguous(t),
          "%s %s: %s has %lld elements (contiguous: %d), wanted %lld", at.backend, kernel_name(at), name,
          (long long)tensor_count(t), tensor_contiguous(t), (long long)count);
    demand_dtype(at, name, t, dtypes);
}

static void demand(Where at, bool holds, const char *rule) {
    check(holds, "%s %s: %s", at.backend, kernel_name(at), rule);
}

#define AT ((Where){device->backend, __func__})
#define MATRIX(t, rows, cols, dtypes) demand_matrix(AT, #t, t, rows, cols, dtypes)
#define VECTOR(t, count, dtypes) demand_vector(AT, #t, t, count, dtypes)
#define DEMAND(rule) demand(AT, rule, #rule)
#define LIKE(t, other, dtypes) MATRIX(t, tensor_rows(other), tensor_cols(other), dtypes)

/* -- fill, convert, random -- */

void shape_fill(const Device *device, Tensor y) { LIKE(y, y, FLOATS | IDS); }
void shape_convert(const Device *device, Tensor y, Tensor x) {
    LIKE(x, x, FLOATS);
    LIKE(y, x, FLOATS);
}
void shape_add(const Device *device, Tensor y, Tensor x) {
    LIKE(x, x, FLOATS);
    LIKE(y, x, FLOATS);
}
void shape_scale(const Device *device, Tensor y) { LIKE(y, y, FLOATS); }
void shape_random_normal(const Device *device, Tensor y) { LIKE(y, y, FLOATS); }

/* -- linear -- */

void shape_linear_forward(const Device *device, Tensor y, Tensor x, Tensor w) {
    LIKE(x, x, FLOATS);
    MATRIX(w, tensor_rows(w), tensor_cols(x), same(x));
    MATRIX(y, tensor_rows(x), tensor_rows(w), same(x) | stat(x));
}

void shape_linear_backward_input(const Device *device, Tensor dx, Tensor dy, Tensor w) {
    LIKE(dy, dy, FLOATS);
    MATRIX(w, tensor_cols(dy), tensor_cols(w), same(dy));
    MATRIX(dx, tensor_rows(dy), tensor_cols(w), same(dy) | stat(dy));
}

void shape_linear_backward_weight(const Device *device, Tensor dw, Tensor dy, Tensor x) {
    LIKE(x, x, FLOATS);
    MATRIX(dy, tensor_rows(x), tensor_cols(dy), same(x));
    MATRIX(dw, tensor_cols(dy), tensor_cols(x), stat(x));
}

/* Groups cover the first rows of a buffer; what lies behind the last group is left alone. */
static void demand_groups(Where at, Groups groups, Tensor rows_of, Tensor w) {
    demand(at, groups.count > 0 && groups.first && groups.first[0] == 0, "groups.first[0] == 0");
    for (int64_t g = 0; g < groups.count; g++)
        demand(at, groups.first[g] <= groups.first[g + 1], "groups.first does not decrease");
    demand(at, groups.first[groups.count] <= tensor_rows(rows_of), "groups end within the rows");
    demand_vector(at, "groups.device", groups.device, groups.count + 1, 1 << I64);
    demand(at, tensor_rows(w) % groups.count == 0, "rows of the weight divide by the groups");
}

void shape_grouped_linear_forward(const Device *device, Tensor y, Tensor x, Tensor w, Groups groups) {
    demand_groups(AT, groups, x, w);
    LIKE(x, x, FLOATS);
    MATRIX(w, tensor_rows(w), tensor_cols(x), same(x));
    MATRIX(y, tensor_rows(x), tensor_rows(w) / groups.count, same(x) | stat(x));
}

void shape_grouped_linear_backward_input(const Device *device, Tensor dx, Tensor dy, Tensor w, Groups groups) {
    demand_groups(AT, groups, dy, w);
    LIKE(dy, dy, FLOATS);
    MATRIX(w, tensor_cols(dy) * groups.count, tensor_cols(w), same(dy));
    MATRIX(dx, tensor_rows(dy), tensor_cols(w), same(dy) | stat(dy));
}

void shape_grouped_linear_backward_weight(const Device *device, Tensor dw, Tensor dy, Tensor x, Groups groups) {
    demand_groups(AT, groups, x, dw);
    LIKE(x, x, FLOATS);
    MATRIX(dy, tensor_rows(x), tensor_cols(dy), same(x));
    MATRIX(dw, tensor_cols(dy) * groups.count, tensor_cols(x), stat(x));
}

/* -- RMSNorm -- */

void shape_rmsnorm_forward(const Device *device, Tensor y, Tensor rstd, Tensor x, Tensor w) {
    LIKE(x, x, FLOATS);
    LIKE(y, x, same(x));
    VECTOR(rstd, tensor_rows(x), stat(x));
    VECTOR(w, tensor_cols(x), same(x));
}

void shape_rmsnorm_backward_input(const Device *device, Tensor dx, Tensor dy, Tensor x, Tensor w, Tensor rstd) {
    LIKE(x, x, FLOATS);
    LIKE(dx, x, same(x));
    LIKE(dy, x, same(x));
    VECTOR(w, tensor_cols(x), same(x));
    VECTOR(rstd, tensor_rows(x), stat(x));
}

void shape_rmsnorm_backward_weight(const Device *device, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
    LIKE(x, x, FLOATS);
    LIKE(dy, x, same(x));
    VECTOR(dw, tensor_cols(x), stat(x));
    VECTOR(rstd, tensor_rows(x), stat(x));
}

void shape_add_rmsnorm_forward(const Device *device, Tensor sum, Tensor y, Tensor rstd, Tensor x, Tensor delta,
                               Tensor w) {
    LIKE(x, x, FLOATS);
    LIKE(delta, x, same(x));
    LIKE(sum, x, same(x));
    LIKE(y, x, same(x));
    VECTOR(rstd, tensor_rows(x), stat(x));
    VECTOR(w, tensor_cols(x), same(x));
}

/* -- rotary positions -- */

void shape_rope_table(const Device *device, Tensor table) {
    LIKE(table, table, STATS);
    DEMAND(tensor_cols(table) % 2 == 0);
}

void shape_rope(const Device *device, Tensor x, Tensor table, Tensor position, int heads) {
    DEMAND(heads > 0 && tensor_rows(x) % heads == 0);
    DEMAND(tensor_cols(x) % 2 == 0);
    LIKE(x, x, FLOATS);
    MATRIX(table, tensor_rows(table), tensor_cols(x), stat(x));
    VECTOR(position, tensor_rows(x) / heads, IDS);
}

/* -- attention -- */

HeadDims attention_dims(Tensor q, Tensor kv, Tensor k_pe, int heads) {
    HeadDims dims = {.rope = tensor_cols(k_pe)};
    dims.nope = tensor_cols(q) / heads - dims.rope;
    dims.value = tensor_cols(kv) / heads - dims.nope;
    return dims;
}

void shape_attention_forward(const Device *device, Tensor out, Tensor lse, Tensor q, Tensor kv, Tensor k_pe,
                             Tensor range, int heads) {
    DEMAND(heads > 0 && tensor_cols(q) % heads == 0 && tensor_cols(kv) % heads == 0);
    HeadDims dims = attention_dims(q, kv, k_pe, heads);
    DEMAND(dims.nope > 0 && dims.rope > 0 && dims.value > 0);
    LIKE(q, q, FLOATS);
    LIKE(kv, kv, same(q));
    MATRIX(k_pe, tensor_rows(kv), dims.rope, same(q));
    MATRIX(range, tensor_rows(q), 2, IDS);
    MATRIX(out, tensor_rows(q), heads * dims.value, same(q));
    MATRIX(lse, tensor_rows(q), heads, stat(q));
}

void shape_attention_backward(const Device *device, Tensor dq, Tensor dkv, Tensor dk_pe, Tensor dout, Tensor out,
                              Tensor lse, Tensor q, Tensor kv, Tensor k_pe, Tensor range, int heads) {
    shape_attention_forward(device, out, lse, q, kv, k_pe, range, heads);
    LIKE(dout, out, same(q));
    LIKE(dq, q, same(q));
    LIKE(dkv, kv, same(q));
    LIKE(dk_pe, k_pe, same(q));
}

/* -- attention over latents -- */

LatentDims absorb_queries_dims(Tensor y, Tensor q, Tensor w, int heads) {
    LatentDims dims = {.latent = tensor_cols(w)};
    dims.rope = tensor_cols(y) / heads - dims.latent;
    dims.nope = tensor_cols(q) / heads - dims.rope;
    dims.value = tensor_rows(w) / heads - dims.nope;
    return dims;
}

LatentDims absorb_values_dims(Tensor y, Tensor w, int heads) {
    LatentDims dims = {.latent = tensor_cols(w), .value = tensor_cols(y) / heads};
    dims.nope = tensor_rows(w) / heads - dims.value;
    return dims;
}

void shape_absorb_queries(const Device *device, Tensor y, Tensor q, Tensor w, int heads) {
    DEMAND(heads > 0 && tensor_cols(q) % heads == 0 && tensor_cols(y) % heads == 0 && tensor_rows(w) % heads == 0);
    LatentDims dims = absorb_queries_dims(y, q, w, heads);
    DEMAND(dims.nope > 0 && dims.rope > 0 && dims.value > 0);
    LIKE(q, q, FLOATS);
    LIKE(w, w, same(q));
    MATRIX(y, tensor_rows(q), heads * (dims.latent + dims.rope), same(q));
}

void shape_absorb_values(const Device *device, Tensor y, Tensor x, Tensor w, int heads) {
    DEMAND(heads > 0 && tensor_cols(y) % heads == 0 && tensor_rows(w) % heads == 0);
    LatentDims dims = absorb_values_dims(y, w, heads);
    DEMAND(dims.nope > 0 && dims.value > 0);
    LIKE(w, w, FLOATS);
    MATRIX(x, tensor_rows(y), heads * dims.latent, same(w));
    MATRIX(y, tensor_rows(y), heads * dims.value, same(w));
}

int64_t attention_latent_parts(const Device *device, int64_t n, int heads) {
    return LATENT_SPLITS * heads * min_i64(n, device->threads * attention_latent_tile(heads));
}

void shape_attention_latent(const Device *device, Tensor out, Tensor parts, Tensor q, Tensor cache, Tensor range,
                            int heads) {
    DEMAND(heads > 0 && tensor_cols(out) % heads == 0);
    int64_t latent = tensor_cols(out) / heads, rows = attention_latent_parts(device, tensor_rows(q), heads);
    DEMAND(tensor_cols(cache) > latent);
    LIKE(cache, cache, FLOATS);
    MATRIX(q, tensor_rows(q), heads * tensor_cols(cache), same(cache));
    MATRIX(out, tensor_rows(q), heads * latent, same(cache));
    MATRIX(range, tensor_rows(q), 2, IDS);
    MATRIX(parts, rows, latent + 2, stat(cache));
}

void shape_merge_attention(const Device *device, Tensor sum, Tensor lse, Tensor part, Tensor part_lse) {
    DEMAND(tensor_cols(lse) > 0 && tensor_cols(sum) % tensor_cols(lse) == 0);
    LIKE(part, part, FLOATS);
    LIKE(sum, part, stat(part));
    MATRIX(lse, tensor_rows(part), tensor_cols(lse), stat(part));
    LIKE(part_lse, lse, stat(part));
}

/* -- SwiGLU -- */

void shape_swiglu_forward(const Device *device, Tensor h, Tensor gu) {
    LIKE(gu, gu, FLOATS);
    DEMAND(tensor_cols(gu) % 2 == 0);
    MATRIX(h, tensor_rows(gu), tensor_cols(gu) / 2, same(gu));
}

void shape_swiglu_backward(const Device *device, Tensor dgu, Tensor h, Tensor dh, Tensor gu) {
    shape_swiglu_forward(device, h, gu);
    LIKE(dh, h, same(gu));
    LIKE(dgu, gu, same(gu));
}

void shape_swiglu_weighted_forward(const Device *device, Tensor h, Tensor gu, Tensor weight) {
    shape_swiglu_forward(device, h, gu);
    VECTOR(weight, tensor_rows(gu), stat(gu));
}

void shape_swiglu_weighted_backward(const Device *device, Tensor dgu, Tensor dweight, Tensor h, Tensor dh, Tensor gu,
                                    Tensor weight) {
    shape_swiglu_backward(device, dgu, h, dh, gu);
    VECTOR(weight, tensor_rows(gu), stat(gu));
    VECTOR(dweight, tensor_rows(gu), stat(gu));
}

/* -- rows by index -- */

void shape_gather_rows(const Device *device, Tensor y, Tensor x, Tensor index) {
    LIKE(x, x, FLOATS);
    VECTOR(index, tensor_rows(y), IDS);
    MATRIX(y, tensor_rows(y), tensor_cols(x), FLOATS);
}

void shape_put_rows(const Device *device, Tensor y, Tensor x, Tensor index) {
    LIKE(x, x, FLOATS);
    VECTOR(index, tensor_rows(x), IDS);
    MATRIX(y, tensor_rows(y), tensor_cols(x), FLOATS);
}

void shape_gather_sum_rows(const Device *device, Tensor y, Tensor x, Tensor index) {
    LIKE(x, x, FLOATS);
    MATRIX(index, tensor_rows(y), tensor_cols(index), IDS);
    MATRIX(y, tensor_rows(y), tensor_cols(x), FLOATS);
}

/* -- router -- */

static void demand_router_rule(Where at, RouterRule rule, int64_t experts, int64_t top_k) {
    demand(at, rule.n_group > 0 && experts % rule.n_group == 0, "n_group divides the experts");
    demand(at, rule.topk_group > 0 && rule.topk_group <= rule.n_group, "0 < topk_group <= n_group");
    demand(at, top_k > 0 && top_k <= rule.topk_group * (experts / rule.n_group),
           "the chosen groups hold at least top-k experts");
}

void shape_router_forward(const Device *device, Tensor score, Tensor expert, Tensor weight, Tensor logits,
                          RouterRule rule) {
    LIKE(logits, logits, STATS);
    LIKE(score, logits, same(logits));
    MATRIX(expert, tensor_rows(logits), tensor_cols(expert), IDS);
    LIKE(weight, expert, same(logits));
    demand_router_rule(AT, rule, tensor_cols(logits), tensor_cols(expert));
}

/* Pools share the rows evenly. */
static void demand_pools(Where at, int64_t pools, int64_t rows) {
    demand(at, pools > 0 ? rows % pools == 0 : rows == 0, "pools divide the rows");
}

void shape_router_backward(const Device *device, Tensor dlogits, Tensor dweight, Tensor score, Tensor expert,
                           Tensor weight, Tensor slope, RouterRule rule) {
    shape_router_forward(device, score, expert, weight, dlogits, rule);
    LIKE(dweight, weight, same(weight));
    if (tensor_none(slope)) return;
    MATRIX(slope, tensor_rows(slope), tensor_cols(score), same(score));
    demand_pools(AT, tensor_rows(slope), tensor_rows(score));
}

void shape_balance_forward(const Device *device, Tensor loss, Tensor slope, Tensor score, Tensor expert,
                           BalanceRule rule) {
    LIKE(score, score, STATS);
    MATRIX(expert, tensor_rows(score), tensor_cols(expert), IDS);
    VECTOR(loss, 3, 1 << F64);
    MATRIX(slope, tensor_rows(slope), tensor_cols(score), same(score));
    demand_pools(AT, tensor_rows(slope), tensor_rows(score));
    DEMAND(rule.groups > 0 && tensor_cols(score) % rule.groups == 0);
    DEMAND(rule.topk_group > 0 && rule.topk_group <= rule.groups);
}

void shape_drop_tokens(const Device *device, Tensor kept, Tensor expert, Tensor score, Tensor protect, int groups,
                       int64_t budget) {
    LIKE(score, score, STATS);
    MATRIX(expert, tensor_rows(score), tensor_cols(expert), IDS);
    LIKE(kept, expert, IDS);
    VECTOR(protect, tensor_count(protect), IDS);
    demand_pools(AT, tensor_count(protect), tensor_rows(score));
    DEMAND(groups > 0 && tensor_cols(score) % groups == 0);
    DEMAND(budget >= 0);
}

void shape_read_experts(const Device *device, Tensor expert, int64_t n_experts, RouterRule rule) {
    LIKE(expert, expert, IDS);
    DEMAND(n_experts > 0);
    demand_router_rule(AT, rule, n_experts, tensor_cols(expert));
}

/* -- embedding and loss -- */

void shape_embedding_forward(const Device *device, Tensor y, Tensor w, Tensor ids) {
    LIKE(w, w, FLOATS);
    VECTOR(ids, tensor_count(ids), IDS);
    MATRIX(y, tensor_count(ids), tensor_cols(w), same(w));
}

void shape_embedding_backward(const Device *device, Tensor dw, Tensor dy, Tensor ids) {
    LIKE(dy, dy, FLOATS);
    VECTOR(ids, tensor_rows(dy), IDS);
    MATRIX(dw, tensor_rows(dw), tensor_cols(dy), stat(dy));
}

void shape_cross_entropy(const Device *device, Tensor loss, Tensor dlogits, Tensor logits, Tensor label,
                         Tensor weight) {
    LIKE(logits, logits, FLOATS);
    VECTOR(label, tensor_rows(logits), IDS);
    VECTOR(loss, tensor_rows(logits), stat(logits));
    if (tensor_none(dlogits)) return;
    LIKE(dlogits, logits, FLOATS);
    VECTOR(weight, tensor_rows(logits), stat(logits));
}

void shape_choose_tokens(const Device *device, Tensor id, Tensor logits, Tensor draw, ChoiceRule rule) {
    LIKE(logits, logits, STATS);
    DEMAND(tensor_cols(logits) > 0);
    VECTOR(id, tensor_rows(logits), IDS);
    VECTOR(draw, tensor_rows(logits), 1 << F64);
    DEMAND(rule.temperature >= 0 && rule.top_p >= 0 && rule.top_k >= 0);
}

void shape_dot(const Device *device, Tensor out, Tensor a, Tensor b) {
    LIKE(a, a, FLOATS);
    LIKE(b, a, FLOATS);
    VECTOR(out, 1, 1 << F64);
}

/* -- optimizer -- */

void shape_sum_squares(const Device *device, Tensor out, Tensor x) {
    LIKE(x, x, FLOATS);
    VECTOR(out, 1, 1 << F64);
}

void shape_adamw(const Device *device, Tensor w, Tensor master, Tensor m, Tensor v, Tensor dw, AdamwRule rule) {
    LIKE(master, master, STATS);
    LIKE(w, master, FLOATS);
    LIKE(m, master, same(master));
    LIKE(v, master, same(master));
    LIKE(dw, master, FLOATS);
    DEMAND(rule.correction1 > 0 && rule.correction2 > 0);
}
