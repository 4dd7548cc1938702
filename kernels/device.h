/* device.h - where tensors live and how work on them is ordered.
 *
 * Kernels on one Device run in the order they were called and may be asynchronous; the host sees
 * results after a copy to host memory or a sync. `plan` devices hand out addresses that fault
 * when touched, so a step that runs on one proves that no host code peeks. */
#pragma once
#include "kernels/tensor.h"

typedef enum { MEM_DEVICE, MEM_HOST, MEM_COMM } Space;
typedef struct Device Device;
typedef struct Kernels Kernels;

typedef struct {
    void *(*reserve)(Device *, int64_t bytes, Space); /* page-aligned; NULL when there is no memory */
    void (*release)(Device *, void *, int64_t bytes, Space);
    void (*to_host)(Device *, void *host, const void *device, int64_t bytes);   /* complete on return */
    void (*to_device)(Device *, void *device, const void *host, int64_t bytes); /* host reusable on return */
    void (*sync)(Device *);
    void (*close)(Device *);
} DeviceOps;

/* What a plan device counts while it computes nothing. */
typedef struct {
    double flops, bytes;
} Work;

struct Device {
    const DeviceOps *ops;
    const Kernels *kernels;
    const char *backend;     /* "ref" "cpu" "plan" "cuda" */
    void *own;               /* the backend's state */
    int64_t workspace_bytes; /* held by the backend for its kernels' temporary blocks */
    int threads;
    bool few_rows; /* products of a few rows give a row the bits it has alone, and read each weight once: decoding.
                           * Else they are computed as those of many are, so that layouts of ranks, which cut rows
                           * differently, differ by a last bit here and there: training */
    Work work;     /* plan only */
    int64_t latent_bytes; /* of caches that attention_latent has read so far */
};

/* Opens the backend of that name; a plan device stands in for `plan_for`. Returns NULL for a
 * name that is not in the table of backends. */
Device *device_open(const char *backend, const char *plan_for);
void device_close(Device *);
const char *device_backends(void); /* "ref cpu plan" */
