/* host_device.c - device memory that is host memory. */
#include "kernels/backend.h"

#include <string.h>
#include <sys/mman.h>

void *host_reserve(Device *device, int64_t bytes, Space space) {
    (void)device, (void)space;
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, (size_t)bytes, MADV_DONTFORK); /* a child that lists a file has no use for it */
    madvise(p, (size_t)bytes, MADV_HUGEPAGE); /* a wish: matrices walked by columns need few TLB entries then */
    return p;
}

void host_release(Device *device, void *p, int64_t bytes, Space space) {
    (void)device, (void)space;
    check(!munmap(p, (size_t)bytes), "cannot release %lld bytes", (long long)bytes);
}

void host_to_host(Device *device, void *host, const void *from, int64_t bytes) {
    (void)device;
    if (bytes) memcpy(host, from, (size_t)bytes);
}

void host_to_device(Device *device, void *to, const void *host, int64_t bytes) {
    (void)device;
    if (bytes) memcpy(to, host, (size_t)bytes);
}

void host_sync(Device *device) { (void)device; }
void host_close(Device *device) { (void)device; }

const DeviceOps host_device_ops = {.reserve = host_reserve,
                                   .release = host_release,
                                   .to_host = host_to_host,
                                   .to_device = host_to_device,
                                   .sync = host_sync,
                                   .close = host_close};
