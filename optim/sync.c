#include "optim/sync.h"

#include <math.h>

void grads_sync(Params *params, Run *run) {
    for (int i = 0; i < params->count; i++) {
        Param *p = &params->list[i];
        comm_sum(run->mesh.axis[p->sum_axis], p->dw, &run->comm);
    }
}

static double sum_squares(const Params *params, Axis axis, Tensor sum, Run *run) {
    double host;
    run->k->fill(run->device, sum, 0);
    for (int i = 0; i < params->count; i++)
        if (params->list[i].sum_axis == axis) run->k->sum_squares(run->device, sum, params->list[i].dw);
    run->device->ops->to_host(run->device, &host, sum.data, sizeof host);
    return host;
}

double grads_norm(const Params *params, Tensor sum, Run *run) {
    double experts = sum_squares(params, AXIS_EDP, sum, run);
    comm_reduce_f64(run->mesh.axis[AXIS_EP], &experts, 1, REDUCE_SUM);
    return sqrt(experts + sum_squares(params, AXIS_DP, sum, run));
}
