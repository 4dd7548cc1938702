/* kernels.c - the table of backends: the only place that knows which are built in. */
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL(name, args) .name = ref_##name,
const Kernels ref_kernels = {
#include "kernels/kernels.def"
};
#undef KERNEL

#define KERNEL(name, args) .name = plan_##name,
const Kernels plan_kernels = {
#include "kernels/kernels.def"
};
#undef KERNEL

static const Backend backends[] = {
    {.name = "ref", .kernels = &ref_kernels, .ops = &host_device_ops},
    {.name = "cpu",
     .kernels = &cpu_kernels,
     .ops = &cpu_device_ops,
     .workspace_bytes = cpu_workspace_bytes,
     .open = cpu_open},
    {.name = "plan", .kernels = &plan_kernels, .ops = &plan_device_ops},
};
enum { BACKENDS = sizeof backends / sizeof backends[0] };

static const Backend *find_backend(const char *name) {
    for (int i = 0; i < BACKENDS; i++)
        if (!strcmp(backends[i].name, name)) return &backends[i];
    return NULL;
}

/* Kernels cut sums by the number of threads and count on each of them: no fewer may come, whatever OMP_DYNAMIC and
 * OMP_THREAD_LIMIT say. */
static int whole_team(void) {
    omp_set_dynamic(0);
    return (int)min_i64(omp_get_max_threads(), omp_get_thread_limit());
}

Device *device_open(const char *backend, const char *plan_for) {
    const Backend *found = find_backend(backend);
    const Backend *sized = plan_for ? find_backend(plan_for) : found; /* whose workspace to count */
    if (!found || !sized) return NULL;
    Device *device = must_alloc(1, sizeof *device);
    device->ops = found->ops;
    device->kernels = found->kernels;
    device->backend = found->name;
    device->threads = whole_team();
    device->workspace_bytes = sized->workspace_bytes ? sized->workspace_bytes(device->threads) : 0;
    if (found->open) found->open(device);
    return device;
}

void device_close(Device *device) {
    device->ops->close(device);
    free(device);
}

const char *device_backends(void) {
    static char names[64];
    size_t used = 0;
    for (int i = 0; i < BACKENDS; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? " " : "", backends[i].name);
    return names;
}
