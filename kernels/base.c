#include "kernels/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

int base_rank = 0;
static void plain_exit(int code) { _Exit(code); }
void (*base_abort)(int code) = plain_exit;

void die(const char *file, int line, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "dsv2: rank %d: %s:%d: %s\n", base_rank, file, line, text);
    fflush(stderr);
    base_abort(1);
    abort();
}

void stop_job(int code, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "dsv2: %s\n", text);
    fflush(stderr);
    base_abort(code);
    abort();
}

/* Messages quote what a stranger wrote: it shall neither steer a terminal nor look like a line of ours. */
static void make_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = *text == '\n' ? ' ' : '?';
}

bool fail(Error *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (error) {
        vsnprintf(error->text, sizeof error->text, format, args);
        make_one_line(error->text);
        error->code = 0;
    }
    va_end(args);
    return false;
}

double clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Philox4x32-10 (Salmon et al., SC11): ten rounds of multiply and xor over a 128-bit counter. */
static void philox(uint32_t counter[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * counter[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * counter[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ counter[1] ^ key0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ counter[3] ^ key1, (uint32_t)a};
        memcpy(counter, next, sizeof next);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

static void philox_block(uint32_t out[4], uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    philox(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
    memcpy(out, counter, sizeof counter);
}

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t block[4];
    philox_block(block, seed, stream, index);
    return (uint64_t)block[0] << 32 | block[1];
}

static double unit_interval(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

double random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return unit_interval(random_bits(seed, stream, index));
}

double random_gauss(uint64_t seed, uint64_t stream, uint64_t index) { /* Box-Muller */
    uint32_t b[4];
    philox_block(b, seed, stream, index);
    double u = 1.0 - unit_interval((uint64_t)b[0] << 32 | b[1]); /* (0, 1]: the logarithm is finite */
    double v = unit_interval((uint64_t)b[2] << 32 | b[3]);
    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

uint64_t hash_bytes(const void *data, int64_t bytes) { return XXH3_64bits(data, (size_t)bytes); }
uint64_t hash_pair(uint64_t first, uint64_t second) { return hash_bytes((uint64_t[]){first, second}, 16); }
uint64_t hash_string(const char *text) { return XXH3_64bits(text, strlen(text)); }

void *must_alloc(int64_t count, int64_t size) {
    void *p = calloc((size_t)max_i64(count, 1), (size_t)max_i64(size, 1));
    check(p, "out of memory for %lld x %lld bytes", (long long)count, (long long)size);
    return p;
}

void *must_realloc(void *p, int64_t count, int64_t size) {
    void *q = realloc(p, (size_t)max_i64(count * size, 1));
    check(q, "out of memory for %lld x %lld bytes", (long long)count, (long long)size);
    return q;
}

char *must_strdup(const char *text) {
    char *copy = strdup(text);
    check(copy, "out of memory for a string");
    return copy;
}

char *must_format_args(const char *format, va_list args) {
    char *text = NULL;
    int length = vasprintf(&text, format, args);
    check(length >= 0, "out of memory for a string");
    return text;
}

char *must_format(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = must_format_args(format, args);
    va_end(args);
    return text;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return x[n / 2];
}
