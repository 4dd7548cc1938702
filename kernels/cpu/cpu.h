/* cpu.h - the fast CPU backend: the ref table with the rows replaced that gain from it.
 *
 * Matrix products go to oneDNN or, without AVX-512, to sgemm.h, the rest is plain C that the
 * compiler vectorises (vector.h); OpenMP splits the work over device->threads.
 * Every kernel takes F32 and BF16 and computes in fp32; a call with F64 tensors goes to ref as a
 * whole. Results do not depend on timing: work is split by fixed rules and sums have a fixed order
 * for a given thread count.
 *
 * A thread's workspace is allocated when the device opens and nothing after, except the products'
 * plans, which are few: see gemm.h. */
#pragma once
#include "kernels/backend.h"

extern const Kernels cpu_kernels;
extern const DeviceOps cpu_device_ops;
int64_t cpu_workspace_bytes(int threads);
void cpu_open(Device *);

#define KERNEL(name, args) void cpu_##name args;
#include "kernels/kernels.def"
#undef KERNEL

/* True when the kernel has to leave the call to ref. */
static inline bool cpu_leaves(Tensor t) { return t.dtype == F64; }

/* What a thread owns: memory for its tiles, and its plans of matrix products. */
enum { CPU_SCRATCH_BYTES = 4 << 20, CPU_TILE_BYTES = 5 << 20 };
typedef struct CpuThread {
    char *scratch, *tiles; /* of products, of the kernels; both 64-byte aligned */
    struct GemmPlans *plans;
} CpuThread;

/* The calling thread's own, inside a parallel region of device->threads. Also keeps oneDNN from
 * starting threads of its own. */
CpuThread *cpu_thread(Device *);
