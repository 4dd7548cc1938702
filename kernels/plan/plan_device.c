/* plan_device.c - memory that is only addresses. Device and exchange memory faults when touched;
 * host memory is real but costs nothing until it is, since host code writes it. What a plan device
 * gives the host to read is zeros. */
#include "kernels/backend.h"

#include <string.h>
#include <sys/mman.h>

static void *plan_reserve(Device *device, int64_t bytes, Space space) {
    (void)device;
    int protection = space == MEM_HOST ? PROT_READ | PROT_WRITE : PROT_NONE;
    void *p = mmap(NULL, (size_t)bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void plan_to_host(Device *device, void *host, const void *from, int64_t bytes) {
    (void)device, (void)from;
    if (bytes) memset(host, 0, (size_t)bytes);
}

static void plan_to_device(Device *device, void *to, const void *host, int64_t bytes) {
    (void)device, (void)to, (void)host, (void)bytes;
}

const DeviceOps plan_device_ops = {.reserve = plan_reserve,
                                   .release = host_release,
                                   .to_host = plan_to_host,
                                   .to_device = plan_to_device,
                                   .sync = host_sync,
                                   .close = host_close};
