#include "launch/run.h"

#include <string.h>

static bool open_arenas(Run *run, ArenaBytes b, Error *error) {
    Device *d = run->device;
    return arena_open(&run->state, "state", d, MEM_DEVICE, b.state, error) &&
           arena_open(&run->acts, "acts", d, MEM_DEVICE, b.acts, error) &&
           arena_open(&run->scratch, "scratch", d, MEM_DEVICE, b.scratch, error) &&
           arena_open(&run->cache, "cache", d, MEM_DEVICE, b.cache, error) &&
           arena_open(&run->comm, "comm", d, MEM_COMM, b.comm, error) &&
           arena_open(&run->host, "host", d, MEM_HOST, b.host, error);
}

bool run_open(Run *run, const Config *config, Device *device, Comm *world, ArenaBytes bytes, Error *error) {
    *run = (Run){.config = config, .k = device->kernels, .device = device};
    run->plan = !strcmp(device->backend, "plan");
    run->dtype = !strcmp(config->dtype, "bf16") ? BF16 : F32;
    if (!open_arenas(run, bytes, error)) {
        run_close(run);
        return false;
    }
    mesh_open(&run->mesh, world, (int)config->ep);
    return true;
}

void run_close(Run *run) {
    Arena *arenas[] = {&run->state, &run->acts, &run->scratch, &run->cache, &run->comm, &run->host};
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++) arena_close(arenas[i]);
    if (run->mesh.world) mesh_close(&run->mesh);
}

ArenaBytes run_peaks(const Run *run) {
    return (ArenaBytes){.state = run->state.peak,
                        .acts = run->acts.peak,
                        .scratch = run->scratch.peak,
                        .cache = run->cache.peak,
                        .comm = run->comm.peak,
                        .host = run->host.peak};
}

Dtype run_stat_dtype(const Run *run) { return run->dtype == F64 ? F64 : F32; }
