/* doctor.c - looks at the machine and the environment, and names the fix for what would hurt a run.
 *
 * One row of the table is one look. GOOD is a fact worth knowing, WARN costs speed or safety, FIX
 * stops a run. The command ends with 0 when there is nothing to fix. */
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/h5.h"
#include "launch/cgroups.h"
#include "launch/threads.h"
#include "train/commands.h"
#include "train/log.h"

typedef enum { GOOD, WARN, FIX } Level;
typedef struct {
    Level level;
    char text[512];
} Finding;

static Finding say(Level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
static Finding say(Level level, const char *format, ...) {
    Finding f = {.level = level};
    va_list args;
    va_start(args, format);
    vsnprintf(f.text, sizeof f.text, format, args);
    va_end(args);
    return f;
}

/* The first number in a file of /proc or /sys, -1 when there is none ("max" = no limit). */
static int64_t number_in(const char *file, const char *after) {
    char line[256];
    long long value = -1;
    size_t skip = strlen(after);
    FILE *f = fopen(file, "re");
    while (f && value < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, after, skip) == 0) sscanf(line + skip, " %lld", &value);
    if (f) fclose(f);
    return value;
}

/* -- processors ----------------------------------------------------------------------------------- */

static Finding look_cpus(const char *folder) {
    (void)folder;
    int mine = launch_node_cpus(), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (mine < all && mine == cgroups_cpus(CGROUPS, CGROUPS_ROOT))
        return say(GOOD, "the time of %d of %d (a limit of the container or control group)", mine, all);
    if (mine < all) return say(GOOD, "%d of %d (taskset, a scheduler or a container keeps the rest)", mine, all);
    return say(GOOD, "%d", mine);
}

static Finding look_threads(const char *folder) {
    (void)folder;
    const char *threads = getenv("OMP_NUM_THREADS"), *bind = getenv("OMP_PROC_BIND");
    if (threads && atoi(threads) > launch_node_cpus())
        return say(WARN, "OMP_NUM_THREADS=%s is more than there are CPUs; unset it", threads);
    if (bind && strcmp(bind, "false") != 0)
        return say(WARN, "OMP_PROC_BIND=%s puts the threads of all ranks on the same CPUs; unset it", bind);
    return say(GOOD, "OMP_NUM_THREADS %s; one rank would use %d", threads ? threads : "not set", launch_threads(0));
}

static const char *isa_name(dnnl_cpu_isa_t isa) {
    switch ((int)isa) {
    case dnnl_cpu_isa_sse41: return "SSE4.1";
    case dnnl_cpu_isa_avx: return "AVX";
    case dnnl_cpu_isa_avx2: return "AVX2";
    case dnnl_cpu_isa_avx512_core: return "AVX-512";
    case dnnl_cpu_isa_avx512_core_vnni: return "AVX-512 VNNI";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX-512 with bf16";
    case dnnl_cpu_isa_avx512_core_amx: return "AMX";
    }
    return "unknown";
}

static Finding look_dnnl(const char *folder) {
    (void)folder;
    const dnnl_version_t *v = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *limit = getenv("DNNL_MAX_CPU_ISA");
    if (limit) return say(WARN, "%s: DNNL_MAX_CPU_ISA=%s holds it back; unset it", isa_name(isa), limit);
    return say(GOOD, "%d.%d.%d uses %s%s", v->major, v->minor, v->patch, isa_name(isa),
               isa == dnnl_cpu_isa_avx512_core_bf16 || isa == dnnl_cpu_isa_avx512_core_amx
                   ? ""
                   : "; bf16 has no instructions of its own here, fp32 may be as fast");
}

/* -- ranks ---------------------------------------------------------------------------------------- */

static Finding look_mpi(const char *folder) {
    (void)folder;
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int n;
    MPI_Get_library_version(version, &n);
    version[strcspn(version, ",")] = 0;
    if (system("mpirun --version >/dev/null 2>&1") != 0)
        return say(FIX, "%s, but mpirun is not in PATH; `make setup` installs openmpi-bin", version);
    if (!strstr(version, "Open MPI")) return say(WARN, "%s: only Open MPI is tested", version);
    return say(GOOD, "%s%s", version, geteuid() == 0 ? "; as root: dsv2 -n N sets what mpirun asks for" : "");
}

/* Ranks of one machine read large messages straight from each other's memory; containers often forbid it. */
static Finding look_single_copy(const char *folder) {
    (void)folder;
    static char here[64], there[64] = "theirs";
    int gate[2];
    if (pipe(gate) != 0) return say(WARN, "cannot test: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(gate[1]);
        char c;
        _exit(read(gate[0], &c, 1) != 0); /* until the parent is done */
    }
    close(gate[0]);
    struct iovec local = {here, sizeof here}, remote = {there, sizeof there};
    bool copies = process_vm_readv(child, &local, 1, &remote, 1, 0) == sizeof here;
    int why = errno;
    close(gate[1]);
    waitpid(child, NULL, 0);
    if (copies) return say(GOOD, "ranks may read each other's memory");
    return say(
        WARN,
        "ranks may not read each other's memory (%s): set OMPI_MCA_btl_vader_single_copy_mechanism=none, or start "
        "the container with --cap-add SYS_PTRACE",
        strerror(why));
}

static Finding look_shm(const char *folder) {
    (void)folder;
    struct statvfs s;
    char text[32];
    if (access("/dev/shm", W_OK) != 0 || statvfs("/dev/shm", &s) != 0)
        return say(FIX, "/dev/shm cannot be written (%s); MPI and the watchdog need it", strerror(errno));
    double free_bytes = (double)s.f_bavail * (double)s.f_frsize;
    format_bytes(text, free_bytes);
    if (free_bytes < 64e6) return say(WARN, "/dev/shm has %s left; start the container with --shm-size=1g", text);
    return say(GOOD, "/dev/shm has %s free", text);
}

/* -- memory and limits ---------------------------------------------------------------------------- */

static Finding look_memory(const char *folder) {
    (void)folder;
    char available[32], limit[32];
    int64_t free_kib = number_in("/proc/meminfo", "MemAvailable:"), left = cgroups_memory(CGROUPS, CGROUPS_ROOT);
    format_bytes(available, (double)free_kib * 1024);
    if (left < free_kib * 1024)
        return say(GOOD, "%s, what the container or control group has left; the machine has %s available",
                   format_bytes(limit, (double)left), available);
    return say(GOOD, "%s available", available);
}

static Finding look_limits(const char *folder) {
    (void)folder;
    struct rlimit files, memory;
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_AS, &memory);
    if (files.rlim_cur < 256)
        return say(FIX, "only %llu open files; ulimit -n 1024", (unsigned long long)files.rlim_cur);
    if (memory.rlim_cur != RLIM_INFINITY)
        return say(WARN, "address space is limited to %llu KiB; ulimit -v unlimited",
                   (unsigned long long)memory.rlim_cur / 1024);
    return say(GOOD, "%llu open files", (unsigned long long)files.rlim_cur);
}

/* -- files ---------------------------------------------------------------------------------------- */

static Finding look_hdf5(const char *folder) {
    (void)folder;
    const char *meddling[] = {"HDF5_VDS_PREFIX", "HDF5_EXTFILE_PREFIX", "HDF5_PLUGIN_PATH", "HDF5_DRIVER"};
    for (int i = 0; i < 4; i++)
        if (getenv(meddling[i]))
            return say(WARN, "%s: %s is set; dsv2 ignores it, h5dump does not", h5_version(), meddling[i]);
    return say(GOOD, "%s", h5_version());
}

/* What a checkpoint does, in small: write, fsync, rename, fsync of the folder. */
static const char *rehearse_save(const char *folder) {
    char *first = must_format("%s/.dsv2-doctor-%d", folder, (int)getpid()), *second = must_format("%s.new", first);
    const char *failed = NULL;
    int file = open(first, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644),
        place = open(folder, O_RDONLY | O_DIRECTORY);
    if (file < 0)
        failed = "create a file";
    else if (write(file, first, 16) != 16)
        failed = "write";
    else if (fsync(file) != 0)
        failed = "fsync a file";
    else if (rename(first, second) != 0)
        failed = "rename";
    else if (place < 0 || fsync(place) != 0)
        failed = "fsync a folder";
    int why = errno;
    if (file >= 0) close(file);
    if (place >= 0) close(place);
    unlink(first);
    unlink(second);
    free(first);
    free(second);
    errno = why;
    return failed;
}

static Finding look_folder(const char *folder) {
    double began = clock_seconds();
    const char *failed = rehearse_save(folder);
    double ms = (clock_seconds() - began) * 1e3;
    if (failed) return say(FIX, "%s: cannot %s: %s; choose another output_dir", folder, failed, strerror(errno));
    struct statvfs s;
    char text[32];
    if (statvfs(folder, &s) != 0) return say(FIX, "%s: %s", folder, strerror(errno));
    double free_bytes = (double)s.f_bavail * (double)s.f_frsize;
    format_bytes(text, free_bytes);
    if (free_bytes < 1e9) return say(WARN, "%s has only %s free", folder, text);
    return say(GOOD, "%s: %s free; create, fsync, rename and fsync of the folder in %.1f ms", folder, text, ms);
}

static const struct {
    const char *name;
    Finding (*look)(const char *folder);
} looks[] = {
    {"cpus", look_cpus},          {"threads", look_threads}, {"onednn", look_dnnl},   {"mpi", look_mpi},
    {"copies", look_single_copy}, {"shm", look_shm},         {"memory", look_memory}, {"limits", look_limits},
    {"hdf5", look_hdf5},          {"folder", look_folder},
};

int command_doctor(const CommandLine *line) {
    const char *folder = line->n_input ? line->input[0] : ".";
    const char *mark[] = {"ok", "WARN", "FIX"};
    int count[3] = {0};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        Finding f = looks[i].look(folder);
        printf("%-5s %-8s %s\n", mark[f.level], looks[i].name, f.text);
        count[f.level]++;
    }
    printf("%d fine, %d worth a look, %d to fix\n", count[GOOD], count[WARN], count[FIX]);
    return count[FIX] ? EXIT_USAGE : EXIT_DONE;
}
