/* checkpoint_pieces.c - which tensors make a checkpoint, and which rank writes them.
 *
 * A parameter's replicas share the writing: every published tensor goes, whole and in all its kinds,
 * to the replica that has least to write so far. All replicas come to the same answer because they
 * walk the same list. */
#include "train/checkpoint_internal.h"

#include <stdlib.h>
#include <string.h>

const char *const kind_names[KINDS] = {"model", "master", "adam_m", "adam_v"};

/* The tensor of that kind; none where there is none or where it shares w's memory. */
static Tensor param_kind(const Param *p, Kind kind) {
    bool own_master = !tensor_none(p->master) && p->master.data != p->w.data;
    switch (kind) {
    case KIND_MODEL: return p->w;
    case KIND_MASTER: return own_master ? p->master : (Tensor){0};
    case KIND_ADAM_M: return p->m;
    case KIND_ADAM_V: return p->v;
    case KINDS: break;
    }
    check(false, "%d is no kind of tensor", (int)kind);
}

static int64_t unit_bytes(const Param *p) {
    int64_t bytes = 0;
    for (Kind k = 0; k < KINDS; k++) {
        Tensor t = param_kind(p, k);
        if (!tensor_none(t)) bytes += p->rows * p->cols * dtype_bytes(t.dtype);
    }
    return bytes;
}

/* Bytes given to each replica so far, by axis. */
typedef struct {
    int64_t *given[AXES];
    const Mesh *mesh;
} Share;

static Share share_open(const Run *run) {
    Share s = {.mesh = &run->mesh};
    for (Axis a = 0; a < AXES; a++) s.given[a] = must_alloc(mesh_size(s.mesh, a), sizeof(int64_t));
    return s;
}
static void share_close(Share *s) {
    for (Axis a = 0; a < AXES; a++) free(s->given[a]);
}

/* Gives the next unit to a replica; true when that is this rank. */
static bool share_take(Share *s, const Param *p) {
    int64_t *given = s->given[p->sum_axis];
    int least = 0;
    for (int r = 1; r < mesh_size(s->mesh, p->sum_axis); r++)
        if (given[r] < given[least]) least = r;
    given[least] += unit_bytes(p);
    return least == mesh_rank(s->mesh, p->sum_axis);
}

static int add_unit(Piece *list, const Params *params, int param, int64_t unit) {
    const Param *p = &params->list[param];
    char name[192];
    int n = 0;
    param_unit_name(p, unit, name);
    for (Kind k = 0; k < KINDS; k++) {
        Tensor t = param_kind(p, k);
        if (tensor_none(t)) continue;
        check(tensor_contiguous(t), "%s is not contiguous", name);
        Piece piece = {.kind = k, .data = param_unit(p, t, unit), .is_vector = p->is_vector, .param = param};
        piece.path = must_format("%s/%s", kind_names[k], name);
        piece.name = strchr(piece.path, '/') + 1;
        list[n++] = piece;
    }
    return n;
}

int pieces_list(Piece **list, const Params *params, const Run *run, Choice choice) {
    int64_t units = 0;
    int n = 0;
    for (int i = 0; i < params->count; i++) units += params->list[i].units;
    *list = must_alloc(units * KINDS, sizeof **list);
    Share share = share_open(run);
    for (int i = 0; i < params->count; i++)
        for (int64_t u = 0; u < params->list[i].units; u++)
            if (share_take(&share, &params->list[i]) || choice == PIECES_HELD) n += add_unit(*list + n, params, i, u);
    share_close(&share);
    return n;
}

void pieces_free(Piece *list, int n) {
    for (int i = 0; i < n; i++) free(list[i].path);
    free(list);
}

int64_t checkpoint_bytes(const Params *params, const Run *run, int64_t *mine) {
    int64_t total = 0, own = 0;
    Share share = share_open(run);
    for (int i = 0; i < params->count; i++) {
        const Param *p = &params->list[i];
        int64_t copies = p->sum_axis == AXIS_EDP ? mesh_size(&run->mesh, AXIS_EP) : 1, bytes = unit_bytes(p);
        total += copies * p->units * bytes;
        for (int64_t u = 0; u < p->units; u++)
            if (share_take(&share, p)) own += bytes;
    }
    share_close(&share);
    if (mine) *mine = own;
    return total;
}
