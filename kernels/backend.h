/* backend.h - what a backend brings to device_open: its name, its kernels and its memory.
 *
 * A new backend is a row in the table of kernels.c and a folder beside ref. */
#pragma once
#include "kernels/kernels.h"

typedef struct {
    const char *name;
    const Kernels *kernels;
    const DeviceOps *ops;
    int64_t (*workspace_bytes)(int threads); /* NULL: none */
    void (*open)(Device *);                  /* sets device->own; NULL: nothing to set up; ops->close undoes it */
} Backend;

/* Devices whose memory is the host's (ref, cpu): reserve maps pages, copies are memcpy, nothing is
 * asynchronous. A backend with state of its own brings its own close beside the others. */
extern const DeviceOps host_device_ops, plan_device_ops;
void *host_reserve(Device *, int64_t bytes, Space);
void host_release(Device *, void *, int64_t bytes, Space);
void host_to_host(Device *, void *host, const void *device, int64_t bytes);
void host_to_device(Device *, void *device, const void *host, int64_t bytes);
void host_sync(Device *);
void host_close(Device *);
