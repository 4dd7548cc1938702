/* test_base.c - random numbers, bf16, tensors, arenas, checks. */
#include "kernels/backend.h"
#include "kernels/kernels.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The known answers of Philox4x32-10 that its authors publish with Random123. */
static void test_philox(void) {
    static const struct {
        uint64_t seed, stream, index, bits;
    } cases[] = {
        {0, 0, 0, 0x6627e8d5e169c58d},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0x408f276d41c83b0e},
        {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, 0xd16cfe0994fdcceb},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint64_t bits = random_bits(cases[c].seed, cases[c].stream, cases[c].index);
        expect(bits == cases[c].bits, "case %zu: %016llx", c, (unsigned long long)bits);
    }
}

/* Moments of n draws lie within five standard errors of the distribution's. */
static void test_random_statistics(void) {
    enum { N = 200000 };
    double uniform = 0, square = 0, gauss = 0, gauss2 = 0, gauss4 = 0, serial = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = random_uniform(3, 5, i) - 0.5, g = random_gauss(3, 6, i);
        uniform += u, square += u * u;
        gauss += g, gauss2 += g * g, gauss4 += g * g * g * g;
        serial += g * last, last = g;
        if (u < -0.5 || u >= 0.5) expect(false, "uniform %g at %llu", u + 0.5, (unsigned long long)i);
    }
    const struct {
        const char *name;
        double sum, mean, deviation;
    } moments[] = {
        {"mean of uniform", uniform, 0, sqrt(1 / 12.0)},
        {"variance of uniform", square, 1 / 12.0, sqrt(1 / 180.0)},
        {"mean of gauss", gauss, 0, 1},
        {"variance of gauss", gauss2, 1, sqrt(2)},
        {"fourth moment of gauss", gauss4, 3, sqrt(96)},
        {"product of neighbours", serial, 0, 1},
    };
    for (size_t m = 0; m < sizeof moments / sizeof *moments; m++)
        expect(fabs(moments[m].sum / N - moments[m].mean) < 5 * moments[m].deviation / sqrt(N), "%s is %g",
               moments[m].name, moments[m].sum / N);
}

static void test_streams_differ(void) {
    int equal = 0;
    for (uint64_t i = 0; i < 1000; i++)
        equal += random_bits(1, 2, i) == random_bits(1, 3, i) || random_bits(1, 2, i) == random_bits(2, 2, i);
    expect(equal == 0, "%d of 1000 draws are shared by two streams", equal);
}

static void test_bf16(void) {
    static const struct {
        float value;
        uint16_t bits;
    } cases[] = {
        {1.0f, 0x3f80},          {-2.0f, 0xc000},         {0x1.01p0f, 0x3f80},
        {0x1.03p0f, 0x3f82}, /* ties to even */
        {0x1.010002p0f, 0x3f81}, {0x1.00fffep0f, 0x3f80}, {0x1.fffffep127f, 0x7f80},
        {INFINITY, 0x7f80},      {-0.0f, 0x8000},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        expect(float_to_bf16(cases[c].value) == cases[c].bits, "%a gives %04x", (double)cases[c].value,
               float_to_bf16(cases[c].value));
    int changed = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = bf16_to_float((uint16_t)h);
        changed += isnan(f) ? !isnan(bf16_to_float(float_to_bf16(f))) : float_to_bf16(f) != h;
    }
    expect(changed == 0, "%d of 65536 values do not survive a round trip", changed);
}

static void test_fail(void) {
    Error error;
    expect(!fail(&error, "%s: %d", "a\x1b[2J\nb\x7f", 7), "fail is false");
    expect(!strcmp(error.text, "a?[2J b?: 7"), "%s", error.text);
    expect(!fail(NULL, "nobody listens"), "fail is false");
}

static void test_median(void) {
    double one[] = {3}, odd[] = {5, -1, 2}, even[] = {4, 1, 3, 2};
    expect(median(one, 1) == 3 && median(odd, 3) == 2 && median(even, 4) == 3, "median");
}

static void test_tensor(void) {
    float memory[60];
    Tensor t = tensor_3d(memory, F32, 3, 4, 5);
    expect(tensor_rows(t) == 12 && tensor_cols(t) == 5 && tensor_count(t) == 60 && tensor_bytes(t) == 240, "3d");
    Tensor columns = tensor_cols_view(t, 2, 3), rows = tensor_rows_view(columns, 4, 2);
    expect(columns.data == memory + 2 && columns.row_stride == 5 && !tensor_contiguous(columns), "columns");
    expect(rows.data == memory + 22 && tensor_rows(rows) == 2 && tensor_cols(rows) == 3, "rows of columns");
    Tensor flat = tensor_reshape(t, 6, 10), one = tensor_1d(memory, F32, 7);
    expect(tensor_rows(flat) == 6 && flat.row_stride == 10, "reshape");
    expect(tensor_rows(one) == 1 && tensor_cols(one) == 7 && !tensor_none(one) && tensor_none((Tensor){0}), "1d");
}

static void test_arena(void) {
    Error error;
    Arena a;
    Device *device = device_open("ref", NULL);
    expect(arena_open(&a, "test", device, MEM_DEVICE, 1000, &error), "%s", error.text);
    Tensor x = arena_2d(&a, F32, 3, 5);
    int64_t mark = arena_mark(&a);
    Tensor y = arena_1d(&a, BF16, 1);
    expect((uintptr_t)x.data % 64 == 0 && (uintptr_t)y.data % 64 == 0, "alignment");
    expect((char *)y.data - (char *)x.data == 64 && a.used == 128 && a.peak == 128, "used %lld", (long long)a.used);
    arena_rewind(&a, mark);
    Tensor again = arena_1d(&a, F32, 2);
    expect(again.data == y.data && a.peak == 128, "rewind gives the same place");
    arena_rewind(&a, mark);
    arena_poison(&a);
    expect(isnan(((float *)again.data)[0]), "poison");
    arena_close(&a);
    device_close(device);
}

/* A fork of a rank with many GiB would take seconds to copy what maps them. */
static void test_children_have_no_arenas(void) {
    enum { BYTES = 1 << 20 };
    Device *device = device_open("cpu", NULL);
    char *p = host_reserve(device, BYTES, MEM_DEVICE);
    check(p, "no memory");
    pid_t child = fork();
    unsigned char resident[BYTES / 4096];
    if (!child) _exit(mincore(p, BYTES, resident) == 0);
    int status = 0;
    waitpid(child, &status, 0);
    expect(!mincore(p, BYTES, resident) && WIFEXITED(status) && !WEXITSTATUS(status), "the child has it too");
    host_release(device, p, BYTES, MEM_DEVICE);
    device_close(device);
}

/* A child that breaks a promise must die with the message, not go on. */
static void test_check_ends_the_job(void) {
    pid_t child = fork();
    if (!child) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        Device *device = device_open("ref", NULL);
        float memory[12] = {0};
        Tensor x = tensor_2d(memory, F32, 3, 4);
        device->kernels->linear_forward(device, x, x, x);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %d", status);
}

const TestCase base_tests[] = {
    {"philox known answers", test_philox},
    {"random statistics", test_random_statistics},
    {"random streams differ", test_streams_differ},
    {"bf16 rounding", test_bf16},
    {"a message is one line", test_fail},
    {"median", test_median},
    {"tensor views", test_tensor},
    {"arena", test_arena},
    {"children have no arenas", test_children_have_no_arenas},
    {"a broken check ends the job", test_check_ends_the_job},
    {0},
};
