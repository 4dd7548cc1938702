/* gemm.c - matrix products planned once and kept; see gemm.h. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/sgemm.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 13, OPERANDS = 4 };

/* One that needs more scratch than there is has no primitive. */
typedef struct {
    Gemm gemm;
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[OPERANDS]; /* a, b, c, scratch */
} Plan;

typedef struct GemmPlans {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    Plan *slot[SLOTS];
    int used;
} GemmPlans;

static void dnnl_check(dnnl_status_t status, const char *what) {
    check(status == dnnl_success, "oneDNN: %s failed with status %d", what, (int)status);
}

static Products chosen;
void gemm_choose(Products products) { chosen = products; }

static int64_t whole_most = INT64_MAX;
void gemm_halve(int64_t elements) { whole_most = elements; }

bool gemm_is_own(void) {
    int isa = (int)dnnl_get_effective_cpu_isa(), core = (int)dnnl_cpu_isa_avx512_core;
    return chosen == PRODUCTS_OWN || (chosen == PRODUCTS_BY_CPU && (isa & core) != core);
}

int64_t gemm_rows(void) { return gemm_is_own() ? INT64_MAX / 2 : 512; }

GemmPlans *gemm_plans_open(void) {
    GemmPlans *plans = must_alloc(1, sizeof *plans);
    dnnl_check(dnnl_engine_create(&plans->engine, dnnl_cpu, 0), "engine");
    dnnl_check(dnnl_stream_create(&plans->stream, plans->engine, dnnl_stream_default_flags), "stream");
    return plans;
}

static void plan_free(Plan *plan) {
    for (int i = 0; i < OPERANDS; i++)
        if (plan->memory[i]) dnnl_memory_destroy(plan->memory[i]);
    if (plan->primitive) dnnl_primitive_destroy(plan->primitive);
    free(plan);
}

static void forget_plans(GemmPlans *plans) {
    for (int i = 0; i < SLOTS; i++) {
        if (plans->slot[i]) plan_free(plans->slot[i]);
        plans->slot[i] = NULL;
    }
    plans->used = 0;
}

void gemm_plans_close(GemmPlans *plans) {
    forget_plans(plans);
    dnnl_stream_destroy(plans->stream);
    dnnl_engine_destroy(plans->engine);
    free(plans);
}

static dnnl_memory_desc_t describe(int64_t rows, int64_t cols, int64_t stride, bool transposed, bool bf16) {
    dnnl_memory_desc_t desc;
    dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : stride, transposed ? stride : 1};
    dnnl_check(dnnl_memory_desc_init_by_strides(&desc, 2, dims, bf16 ? dnnl_bf16 : dnnl_f32, strides), "layout");
    return desc;
}

static dnnl_primitive_attr_t attributes(bool accumulate) {
    dnnl_primitive_attr_t attr;
    dnnl_check(dnnl_primitive_attr_create(&attr), "attributes");
    dnnl_check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "scratchpad mode");
    if (!accumulate) return attr;
    dnnl_post_ops_t sum;
    dnnl_check(dnnl_post_ops_create(&sum), "post-op");
    dnnl_check(dnnl_post_ops_append_sum(sum, 1.0f), "post-op");
    dnnl_check(dnnl_primitive_attr_set_post_ops(attr, sum), "post-op");
    dnnl_post_ops_destroy(sum);
    return attr;
}

static void plan_build(Plan *plan, dnnl_engine_t engine, const dnnl_memory_desc_t desc[3],
                       dnnl_primitive_desc_t made) {
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(made, dnnl_query_scratchpad_md, 0);
    bool fits = dnnl_memory_desc_get_size(scratch) <= CPU_SCRATCH_BYTES;
    if (!fits || plan->gemm.m * plan->gemm.n > whole_most) return;
    dnnl_check(dnnl_primitive_create(&plan->primitive, made), "primitive");
    for (int i = 0; i < OPERANDS; i++)
        dnnl_check(dnnl_memory_create(&plan->memory[i], i < 3 ? &desc[i] : scratch, engine, DNNL_MEMORY_NONE),
                   "memory");
}

static Plan *plan_make(GemmPlans *plans, Gemm g) {
    Plan *plan = must_alloc(1, sizeof *plan);
    plan->gemm = g;
    bool in = g.flags & IN_BF16, out = g.flags & OUT_BF16;
    dnnl_memory_desc_t desc[3] = {describe(g.m, g.k, g.lda, g.flags & A_TRANSPOSED, in),
                                  describe(g.k, g.n, g.ldb, g.flags & B_TRANSPOSED, in),
                                  describe(g.m, g.n, g.ldc, false, out)};
    dnnl_matmul_desc_t matmul;
    dnnl_check(dnnl_matmul_desc_init(&matmul, &desc[0], &desc[1], NULL, &desc[2]), "matmul");
    dnnl_primitive_attr_t attr = attributes(g.flags & ACCUMULATE);
    dnnl_primitive_desc_t made;
    dnnl_check(dnnl_primitive_desc_create(&made, &matmul, attr, plans->engine, NULL), "matmul");
    dnnl_primitive_attr_destroy(attr);
    plan_build(plan, plans->engine, desc, made);
    dnnl_primitive_desc_destroy(made);
    return plan;
}

/* Training uses a few hundred plans; whoever comes with thousands starts over now and then. */
static const Plan *plan_find(GemmPlans *plans, Gemm g) {
    if (plans->used > SLOTS / 2) forget_plans(plans);
    uint64_t at = hash_bytes(&g, sizeof g) % SLOTS;
    while (plans->slot[at] && memcmp(&plans->slot[at]->gemm, &g, sizeof g)) at = (at + 1) % SLOTS;
    if (!plans->slot[at]) {
        plans->slot[at] = plan_make(plans, g);
        plans->used++;
    }
    return plans->slot[at];
}

static void plan_run(const Plan *plan, CpuThread *thread, void *c, const void *a, const void *b) {
    static const int name[OPERANDS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    void *data[OPERANDS] = {(void *)(uintptr_t)a, (void *)(uintptr_t)b, c, thread->scratch};
    dnnl_exec_arg_t arg[OPERANDS];
    for (int i = 0; i < OPERANDS; i++) {
        arg[i] = (dnnl_exec_arg_t){name[i], plan->memory[i]};
        dnnl_check(dnnl_memory_set_data_handle(plan->memory[i], data[i]), "operand");
    }
    dnnl_check(dnnl_primitive_execute(plan->primitive, thread->plans->stream, OPERANDS, arg), "execute");
}

static const char *operand(const void *p, int64_t elements, bool bf16) {
    return (const char *)p + elements * (bf16 ? 2 : 4);
}

/* The same product as two halves of the longer side of c. */
static void gemm_halves(CpuThread *thread, Gemm g, char *c, const void *a, const void *b) {
    bool in = g.flags & IN_BF16, out = g.flags & OUT_BF16, rows = g.m >= g.n;
    int64_t size = rows ? g.m : g.n, half = size > 2 * GEMM_STEP ? round_up(size / 2, GEMM_STEP) : size / 2;
    check(half > 0, "a product of %lld terms does not fit the scratch memory", (long long)g.k);
    Gemm first = g, rest = g;
    *(rows ? &first.m : &first.n) = half;
    *(rows ? &rest.m : &rest.n) = size - half;
    gemm(thread, first, c, a, b);
    if (rows)
        a = operand(a, g.flags & A_TRANSPOSED ? half : half * g.lda, in);
    else
        b = operand(b, g.flags & B_TRANSPOSED ? half * g.ldb : half, in);
    gemm(thread, rest, c + (rows ? half * g.ldc : half) * (out ? 2 : 4), a, b);
}

void gemm(CpuThread *thread, Gemm g, void *c, const void *a, const void *b) {
    if (!g.m || !g.n) return;
    const Plan *plan = gemm_is_own() ? NULL : plan_find(thread->plans, g);
    if (!plan)
        sgemm(thread->scratch, g, c, a, b);
    else if (plan->primitive)
        plan_run(plan, thread, c, a, b);
    else
        gemm_halves(thread, g, c, a, b);
}

/* -- a shared right operand -- */

_Static_assert(GEMM_STEP % PANEL == 0, "a part that a caller may ask for begins within a panel");

int64_t right_bytes(int64_t k, int64_t n) { return gemm_is_own() ? panels_floats(k, n) * 4 : 0; }

Right right_make(void *room, int64_t k, int64_t n, const void *b, int64_t ld, int64_t flags) {
    Right r = {b, ld, flags, NULL, k};
    if (!gemm_is_own()) return r;
    r.panels = room;
    panels_pack((Panels){r.panels, k}, k, n, b, ld, flags);
    return r;
}

void gemm_right(CpuThread *thread, Gemm g, float *c, const void *a, const Right *b, int64_t k, int64_t col) {
    if (b->panels) {
        sgemm_panels(thread->scratch, g, c, a, panels_at((Panels){b->panels, b->depth}, k, col));
        return;
    }
    check((g.flags & IN_BF16) == (b->flags & IN_BF16), "a product of two types");
    g.ldb = b->ld, g.flags |= b->flags;
    gemm(thread, g, c, a,
         operand(b->b, b->flags & B_TRANSPOSED ? col * b->ld + k : k * b->ld + col, b->flags & IN_BF16));
}
