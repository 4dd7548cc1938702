/* verify.c - numbers of this program beside those of another implementation: logits, loss, layer
 * outputs and gradients of a reference file, computed as training computes them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "launch/agree.h"
#include "train/commands.h"
#include "train/session.h"
#include "train/verify.h"

typedef struct { /* one reference tensor, summed over the parts that ranks compare */
    const StTensor *ref;
    const char *name;
    double limit;
    bool joint;                               /* has no limit of its own: judged with others as one vector */
    double diff2, ref2, worst, worst_at, bad; /* bad: NaN or infinite elements of ours */
    double compared, wanted;                  /* elements */
} Compared;

typedef struct {
    Session session;
    Config config;
    ModelPath model;
    Safetensors *reference;
    const StTensor *ids, *labels;
    int64_t batch, length;
    Compared *tensors;
    int count;
    bool balanced; /* the pass with balance losses */
} Verify;

/* -- limits ------------------------------------------------------------------------------------ */

/* bf16: what another implementation's bf16 run shows on random small models is logits 9e-2, gradients 2.3e-1. It
 * tells a broken kernel from a working one; that the maths is right is shown in fp32. */
static double limit_of(const char *name, bool bf16) {
    static const struct {
        const char *prefix;
        double fp32, bf16;
    } limits[] = {{"loss", 1e-5, 1e-2}, {"logits", 1e-5, 1e-1}, {"layer.", 1e-5, 1e-1}, {"grad", 2e-5, 3e-1}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (!strncmp(name, limits[i].prefix, strlen(limits[i].prefix))) return bf16 ? limits[i].bf16 : limits[i].fp32;
    return 0;
}

/* In bf16 a near tie of a router may fall the other way, and an expert of few tokens then has quite another
 * gradient though nothing is wrong: those of routers and experts are judged as one vector. */
static const double JOINT_LIMIT = 2e-1;
static bool is_routed_gradient(const char *name) {
    return !strncmp(name, "grad", 4) && (strstr(name, ".mlp.experts.") || strstr(name, ".mlp.gate."));
}

static void compare(Compared *c, const double *ours, int64_t first, int64_t n, Error *error) {
    double *ref = must_alloc(n, sizeof *ref);
    check(safetensors_read(c->ref, F64, first, n, ref, error), "%s", error->text);
    for (int64_t i = 0; i < n; i++) {
        double diff = fabs(ours[i] - ref[i]);
        if (!isfinite(ours[i]))
            c->bad++;
        else
            c->diff2 += diff * diff;
        c->ref2 += ref[i] * ref[i];
        if (diff > c->worst) c->worst = diff, c->worst_at = (double)(first + i);
    }
    c->compared += (double)n;
    free(ref);
}

static Compared *find(Verify *v, const char *name) {
    for (int i = 0; i < v->count; i++)
        if (!strcmp(v->tensors[i].ref->name, name)) return &v->tensors[i];
    return NULL;
}

/* -- what the reference holds --------------------------------------------------------------------- */

static bool shaped(const StTensor *t, int ndim, int64_t a, int64_t b, int64_t c, Error *error) {
    int64_t want[3] = {a, b, c};
    bool ok = t->ndim == ndim;
    for (int i = 0; ok && i < ndim; i++) ok = t->dim[i] == want[i];
    return ok || fail(error, "%s: %s has not the shape that this model and input_ids give it", t->file, t->name);
}

static bool read_inputs(Verify *v, const char *path, Error *error) {
    v->reference = safetensors_open(path, error);
    if (!v->reference) return false;
    v->ids = safetensors_find(v->reference, "input_ids");
    v->labels = safetensors_find(v->reference, "labels");
    if (!v->ids || v->ids->ndim != 2 || v->ids->count == 0)
        return fail(error, "%s: no input_ids of shape (batch, length); nothing can be computed without it", path);
    v->batch = v->ids->dim[0];
    v->length = v->ids->dim[1];
    return !v->labels || shaped(v->labels, 2, v->batch, v->length, 0, error);
}

static bool known_shape(const Verify *v, const StTensor *t, Error *error) {
    const Config *c = &v->config;
    int layer;
    if (t->dtype > ST_F16) return fail(error, "%s: %s does not hold F64, F32, BF16 or F16 numbers", t->file, t->name);
    if (!strcmp(t->name, "logits")) return shaped(t, 3, v->batch, v->length, c->vocab_size, error);
    if (!strcmp(t->name, "loss")) return t->count == 1 || fail(error, "%s: loss is one number", t->file);
    if (sscanf(t->name, "layer.%d.output", &layer) == 1)
        return layer >= 0 && layer < c->num_hidden_layers ? shaped(t, 3, v->batch, v->length, c->hidden_size, error)
                                                          : fail(error, "%s: %s: no such layer", t->file, t->name);
    if (!strncmp(t->name, "grad.", 5) || !strncmp(t->name, "grad_balanced.", 14)) return true; /* by param, later */
    return fail(error,
                "%s: %s is nothing that can be compared (logits, loss, layer.K.output, grad.NAME, "
                "grad_balanced.NAME)",
                t->file, t->name);
}

/* Ids of the vocabulary; a label may also be -100, which is not trained on. */
static bool check_ids(const Verify *v, const StTensor *t, bool is_label, Error *error) {
    int32_t id;
    for (int64_t i = 0; i < t->count; i++) {
        if (!safetensors_read(t, I32, i, 1, &id, error)) return false;
        if ((id < 0 || id >= v->config.vocab_size) && !(is_label && id == -100))
            return fail(error, "%s: %s holds %d at sequence %lld, place %lld; the vocabulary has %lld%s", t->file,
                        t->name, id, (long long)(i / v->length), (long long)(i % v->length),
                        (long long)v->config.vocab_size, is_label ? ", and -100 is ignored" : "");
    }
    return true;
}

static bool list_tensors(Verify *v, Error *error) {
    int64_t n = safetensors_count(v->reference);
    if (!check_ids(v, v->ids, false, error) || (v->labels && !check_ids(v, v->labels, true, error))) return false;
    v->tensors = must_alloc(n, sizeof *v->tensors);
    for (int64_t i = 0; i < n; i++) {
        const StTensor *t = safetensors_at(v->reference, i);
        if (t == v->ids || t == v->labels) continue;
        if (!known_shape(v, t, error)) return false;
        if (!v->labels && (!strcmp(t->name, "loss") || !strncmp(t->name, "grad", 4)))
            return fail(error, "%s: %s needs labels, which the file does not hold", t->file, t->name);
        bool bf16 = !strcmp(v->config.dtype, "bf16");
        v->tensors[v->count++] = (Compared){.ref = t,
                                            .name = t->name,
                                            .limit = limit_of(t->name, bf16),
                                            .joint = bf16 && is_routed_gradient(t->name),
                                            .wanted = (double)t->count};
    }
    if (!v->count) return fail(error, "%s: holds input_ids and nothing to compare (logits, loss, ...)", v->ids->file);
    return true;
}

/* -- computing -------------------------------------------------------------------------------------- */

static bool fill_row(void *own, int64_t number, StepRow row, Error *error) {
    Verify *v = own;
    int64_t t = v->length, first = number * t;
    if (!safetensors_read(v->ids, I32, first, t, row.ids, error)) return false;
    for (int64_t i = 0; i < t; i++) {
        row.position[i] = (int32_t)i;
        row.first[i] = 0;
        row.label[i] = -100;
    }
    /* unshifted in the file: the label of a place is the next one's */
    return !v->labels || t < 2 || safetensors_read(v->labels, I32, first + 1, t - 1, row.label, error);
}

/* Layer outputs and logits of one micro-batch against their rows of the reference. */
static void compare_forward(Verify *v, int64_t micro, Batch b, Error *error) {
    Engine *e = &v->session.engine;
    int64_t d = v->config.hidden_size, vocab = v->config.vocab_size, t = v->length;
    double *host = must_alloc(t * max_i64(d, vocab), sizeof *host);
    for (int64_t s = 0; s < b.sequences; s++) {
        int64_t number = e->data.number[micro * e->data.micro + s];
        for (int l = 0; l < e->model.layers; l++) {
            char name[64];
            snprintf(name, sizeof name, "layer.%d.output", l);
            Compared *c = find(v, name);
            if (!c) continue;
            tensor_to_doubles(host, tensor_rows_view(e->acts.x[l + 1], s * t, t), &e->run);
            compare(c, host, number * t * d, t * d, error);
        }
        Compared *c = find(v, "logits");
        if (!c) continue;
        head_logits(e->logits, &e->model.head, tensor_rows_view(e->acts.x[e->model.layers], s * t, t), &e->run);
        tensor_to_doubles(host, e->logits, &e->run);
        compare(c, host, number * t * vocab, t * vocab, error);
    }
    free(host);
}

static void forward_pass(Verify *v, Error *error) {
    Engine *e = &v->session.engine;
    for (int64_t i = 0; i < e->data.micros; i++) {
        Batch b = stepdata_batch(&e->data, &e->run, i);
        model_forward(&e->model, &e->acts, &b, &e->run);
        compare_forward(v, i, b, error);
        model_forget(&e->acts, &e->run);
    }
}

/* Each tensor is compared by one of the ranks that hold it. */
static bool compare_gradients(Verify *v, const char *prefix, Error *error) {
    Engine *e = &v->session.engine;
    bool ok = true;
    for (int i = 0; ok && i < e->model.params.count; i++) {
        Param *p = &e->model.params.list[i];
        if (mesh_rank(&e->run.mesh, p->sum_axis) != 0) continue;
        double *host = must_alloc(p->rows * p->cols, sizeof *host);
        for (int64_t u = 0; u < p->units; u++) {
            char name[256], unit[192];
            param_unit_name(p, u, unit);
            snprintf(name, sizeof name, "%s%s", prefix, unit);
            Compared *c = find(v, name);
            if (!c) continue;
            int64_t first = p->is_vector ? p->cols : p->rows;
            ok = shaped(c->ref, p->is_vector ? 1 : 2, first, p->cols, 0, error);
            if (!ok) break;
            tensor_to_doubles(host, param_unit(p, p->dw, u), &e->run);
            compare(c, host, 0, c->ref->count, error);
        }
        free(host);
    }
    return agree(v->session.world, ok, error);
}

static bool wants(const Verify *v, const char *prefix) {
    for (int i = 0; i < v->count; i++)
        if (!strncmp(v->tensors[i].ref->name, prefix, strlen(prefix))) return true;
    return false;
}

/* One training step's gradients with these alphas, against the tensors with this prefix. */
static bool gradient_pass(Verify *v, const char *prefix, bool balanced, Error *error) {
    Engine *e = &v->session.engine;
    Config saved = v->config;
    if (!balanced) v->config.aux_loss_alpha = v->config.device_loss_alpha = v->config.communication_loss_alpha = 0;
    StepResult result = engine_gradients(e);
    v->config = saved;
    Compared *loss = find(v, "loss");
    if (loss && !balanced && e->run.mesh.world->rank == 0) compare(loss, &result.loss, 0, 1, error);
    return compare_gradients(v, prefix, error);
}

/* Sums over ranks; the worst element is the worst rank's. */
static void gather(Verify *v) {
    Comm *world = v->session.world;
    for (int i = 0; i < v->count; i++) {
        Compared *c = &v->tensors[i];
        double sums[4] = {c->diff2, c->ref2, c->bad, c->compared}, worst = c->worst, at;
        comm_reduce_f64(world, sums, 4, REDUCE_SUM);
        comm_reduce_f64(world, &worst, 1, REDUCE_MAX);
        at = c->worst == worst ? c->worst_at : 0;
        comm_reduce_f64(world, &at, 1, REDUCE_MAX);
        c->diff2 = sums[0], c->ref2 = sums[1], c->bad = sums[2], c->compared = sums[3];
        c->worst = worst, c->worst_at = at;
    }
}

/* -- report ---------------------------------------------------------------------------------------- */

static bool print_row(const Compared *c) {
    double relative = c->ref2 > 0 ? sqrt(c->diff2 / c->ref2) : sqrt(c->diff2);
    bool whole = c->compared == c->wanted, pass = whole && !c->bad && (c->joint || relative <= c->limit);
    char limit[16] = "joint";
    if (!c->joint) snprintf(limit, sizeof limit, "%.0e", c->limit);
    printf("%-58s %10.2e %10.2e %9.0f %8s %s", c->name, relative, c->worst, c->worst_at, limit,
           pass ? "PASS" : "FAIL");
    if (!whole) printf("  no such tensor in this model");
    if (c->bad) printf("  %.0f NaN or infinite", c->bad);
    printf("\n");
    return pass;
}

/* The rows without a limit of their own whose names begin with prefix, as one vector. */
static Compared join(const Verify *v, const char *prefix, const char *name) {
    Compared all = {.name = name, .limit = JOINT_LIMIT};
    for (int i = 0; i < v->count; i++) {
        const Compared *c = &v->tensors[i];
        if (!c->joint || strncmp(c->name, prefix, strlen(prefix))) continue;
        all.diff2 += c->diff2, all.ref2 += c->ref2, all.bad += c->bad;
        all.compared += c->compared, all.wanted += c->wanted;
        all.worst = fmax(all.worst, c->worst);
    }
    return all;
}

static bool report(const Verify *v) {
    int passed = 0, rows = v->count;
    printf("%-58s %10s %10s %9s %8s\n", "tensor", "rel. L2", "worst", "at", "limit");
    for (int i = 0; i < v->count; i++) passed += print_row(&v->tensors[i]);
    Compared joint[] = {join(v, "grad.", "grad. of routers and experts, as one vector"),
                        join(v, "grad_balanced.", "grad_balanced. of routers and experts, as one vector")};
    for (int i = 0; i < 2; i++)
        if (joint[i].wanted > 0) rows++, passed += print_row(&joint[i]);
    printf("%d of %d tensors pass\n", passed, rows);
    return passed == rows;
}

static bool compute(Verify *v, Error *error) {
    Engine *e = &v->session.engine;
    bool filled = stepdata_fill(&e->data, &e->run, 0, v->batch, fill_row, v, error);
    if (!agree(v->session.world, filled, error)) return false;
    stepdata_count(&e->data, &e->run);
    forward_pass(v, error);
    if ((wants(v, "grad.") || wants(v, "loss")) && !gradient_pass(v, "grad.", false, error)) return false;
    return !wants(v, "grad_balanced.") || gradient_pass(v, "grad_balanced.", true, error);
}

static bool given(const CommandLine *line, const char *key) {
    for (int i = 0; i < line->n_override; i++)
        if (strstr(line->override[i], key)) return true;
    return false;
}

/* What the reference's gradients with balance losses were made with, where no key says so: the paper's
 * coefficients; the communication loss only where tokens are limited to groups. */
static void default_alphas(Verify *v, const CommandLine *line) {
    Config *c = &v->config;
    if (!c->n_routed_experts || given(line, "alpha") || given(line, "balance_groups")) return;
    c->aux_loss_alpha = 0.003;
    c->device_loss_alpha = 0.05;
    c->communication_loss_alpha = c->n_group > 1 ? 0.02 : 0;
    c->balance_groups = c->n_group > 1 ? c->n_group : c->n_routed_experts % 4 ? 1 : 4;
}

static bool configure(Verify *v, const CommandLine *line, int *code, Error *error) {
    const char *override[COMMAND_OVERRIDES + 3];
    char *warnings = NULL, shape[3][64];
    snprintf(shape[0], 64, "sequence_length=%lld", (long long)v->length);
    snprintf(shape[1], 64, "global_batch_size=%lld", (long long)v->batch);
    snprintf(shape[2], 64, "micro_batch_size=%lld", (long long)ceil_div(v->batch, line->ranks));
    *code = EXIT_USAGE;
    if (given(line, "sequence_length=") || given(line, "global_batch_size="))
        return fail(error, "sequence_length and global_batch_size have no effect here: input_ids of %s gives them",
                    line->input[1]);
    int n = given(line, "micro_batch_size=") ? 2 : 3;
    for (int i = 0; i < n; i++) override[i] = shape[i];
    for (int i = 0; i < line->n_override; i++) override[n++] = line->override[i];
    if (!line->n_override) *code = EXIT_INPUT;
    bool ok = model_config(&v->config, &v->model, override, n, line->ranks, &warnings, error);
    if (ok) *code = EXIT_INPUT;
    if (ok && warnings && *warnings && base_rank == 0) fprintf(stderr, "%s\n", warnings);
    free(warnings);
    return ok;
}

/* Collective. The reference comes first: it says how long sequences are. */
static bool begin(Verify *v, const CommandLine *line, int *code, Error *error) {
    *code = EXIT_INPUT;
    if (!session_join(&v->session, read_inputs(v, line->input[1], error), code, error) ||
        !session_find(&v->session, line->input[0], &v->model, code, error))
        return false;
    bool mine = configure(v, line, code, error);
    if (mine) default_alphas(v, line);
    return session_join(&v->session, mine && list_tensors(v, error), code, error);
}

static bool run(Verify *v, const CommandLine *line, Error *error) {
    EngineUse use = {.training = true, .sequence_length = v->length, .sequences = v->batch};
    use.micro = v->config.micro_batch_size;
    use.logits_rows = v->length;
    if (!session_open(&v->session, &v->config, use, error)) return false;
    if (base_rank == 0)
        printf("%s beside %s: %lld x %lld tokens, %s, backend %s, %d ranks, ep %lld\n", line->input[0],
               line->input[1], (long long)v->batch, (long long)v->length, v->config.dtype, v->config.backend,
               line->ranks, (long long)v->config.ep);
    if (base_rank == 0 && wants(v, "grad_balanced."))
        printf("grad_balanced: expert %g, device %g, communication %g, %lld groups, per %s\n",
               v->config.aux_loss_alpha, v->config.device_loss_alpha, v->config.communication_loss_alpha,
               (long long)v->config.balance_groups, v->config.seq_aux ? "sequence" : "micro-batch");
    if (!session_load(&v->session, &v->model, NULL, error) || !compute(v, error)) return false;
    gather(v);
    return true;
}

int verify_reference(const CommandLine *line) {
    Verify v = {0};
    Error error = {0};
    int code;
    bool ok = begin(&v, line, &code, &error) && run(&v, line, &error);
    if (!ok && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    if (ok) {
        bool pass = true;
        if (base_rank == 0) pass = report(&v);
        pass = comm_all_agree(v.session.world, pass);
        code = pass ? EXIT_DONE : EXIT_NUMERIC;
    }
    session_close(&v.session);
    config_free(&v.config);
    safetensors_close(v.reference);
    free(v.tensors);
    return code;
}
