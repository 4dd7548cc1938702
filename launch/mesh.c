#include "launch/mesh.h"

#include <stdlib.h>

static Comm *part(Comm *world, int first, int stride, int n) {
    int *ranks = must_alloc(n, sizeof *ranks);
    for (int i = 0; i < n; i++) ranks[i] = first + i * stride;
    Comm *c = world->ops->part(world, ranks, n);
    free(ranks);
    return c;
}

void mesh_open(Mesh *m, Comm *world, int ep) {
    check(ep >= 1 && world->size % ep == 0, "ep %d does not divide %d ranks", ep, world->size);
    int rank = world->rank, edp = world->size / ep;
    m->world = world;
    m->axis[AXIS_PP] = part(world, rank, 1, 1);
    m->axis[AXIS_DP] = part(world, 0, 1, world->size);
    m->axis[AXIS_EP] = part(world, rank / ep * ep, 1, ep);
    m->axis[AXIS_EDP] = part(world, rank % ep, ep, edp);
}

void mesh_close(Mesh *m) {
    for (int a = 0; a < AXES; a++)
        if (m->axis[a]) m->axis[a]->ops->close(m->axis[a]);
    *m = (Mesh){0};
}
