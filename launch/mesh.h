/* mesh.h - a rank's place on the named axes.
 *
 * dp = all ranks (data parallel); ep = blocks of `ep` consecutive ranks that share the experts of
 * a layer; edp = the ranks that hold the same experts (dp / ep of them); pp = 1 until there is a
 * pipeline. rank = edp index * ep + ep index. */
#pragma once
#include "launch/comm.h"

typedef enum { AXIS_PP, AXIS_DP, AXIS_EP, AXIS_EDP, AXES } Axis;

typedef struct {
    Comm *world;
    Comm *axis[AXES]; /* the ranks that differ from us on this axis only */
} Mesh;

/* ep must divide world->size (validate has checked the same for the experts). */
void mesh_open(Mesh *, Comm *world, int ep);
void mesh_close(Mesh *);
static inline int mesh_rank(const Mesh *m, Axis a) { return m->axis[a]->rank; }
static inline int mesh_size(const Mesh *m, Axis a) { return m->axis[a]->size; }
