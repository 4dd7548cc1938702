/* device.c - the cpu backend's table and what its threads own. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

#include <omp.h>
#include <stdlib.h>

#define KERNEL(name, args) .name = cpu_##name,
const Kernels cpu_kernels = {
#include "kernels/kernels.def"
};
#undef KERNEL

int64_t cpu_workspace_bytes(int threads) { return threads * (int64_t)(CPU_SCRATCH_BYTES + CPU_TILE_BYTES); }

typedef struct {
    char *memory;
    CpuThread thread[];
} CpuState;

void cpu_open(Device *device) {
    CpuState *state = must_alloc(1, (int64_t)sizeof *state + device->threads * (int64_t)sizeof *state->thread);
    state->memory = host_reserve(device, device->workspace_bytes, MEM_HOST);
    check(state->memory, "no memory for a workspace of %lld bytes", (long long)device->workspace_bytes);
    for (int i = 0; i < device->threads; i++) {
        char *own = state->memory + i * (int64_t)(CPU_SCRATCH_BYTES + CPU_TILE_BYTES);
        state->thread[i] = (CpuThread){own, own + CPU_SCRATCH_BYTES, gemm_plans_open()};
    }
    device->own = state;
}

static void cpu_close(Device *device) {
    CpuState *state = device->own;
    for (int i = 0; i < device->threads; i++) gemm_plans_close(state->thread[i].plans);
    host_release(device, state->memory, device->workspace_bytes, MEM_HOST);
    free(state);
}

const DeviceOps cpu_device_ops = {.reserve = host_reserve,
                                  .release = host_release,
                                  .to_host = host_to_host,
                                  .to_device = host_to_device,
                                  .sync = host_sync,
                                  .close = cpu_close};

CpuThread *cpu_thread(Device *device) {
    CpuState *state = device->own;
    check(omp_get_num_threads() == device->threads, "%d of %d threads", omp_get_num_threads(), device->threads);
    omp_set_num_threads(1);
    return &state->thread[omp_get_thread_num()];
}
