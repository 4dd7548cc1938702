/* base.h - what every file may use: checks, clock, counter-based random numbers, hashing.
 *
 * check() is for what must hold inside the program; it names rank, file and line and ends the
 * whole job. Whatever reads a human's or a stranger's input returns false with a message
 * (struct Error) instead, so that tests can read it. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes of the program (DESIGN section 9). */
enum { EXIT_DONE = 0, EXIT_USAGE = 2, EXIT_INPUT = 65, EXIT_NUMERIC = 70, EXIT_IO = 74, EXIT_RETRY = 75 };

#define check(condition, ...) ((condition) ? (void)0 : die(__FILE__, __LINE__, __VA_ARGS__))

/* Prints "rank R: file:line: message" and ends every rank with EXIT_NUMERIC's neighbour 1. */
void die(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));

/* Ends the job in an orderly way for a reason that is no bug: prints the message once, exits with code. */
void stop_job(int code, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* launch/run.c sets these: the rank to name, and how to end all ranks (MPI_Abort). */
extern int base_rank;
extern void (*base_abort)(int code);

/* The message of something that failed on somebody's input: file, place, cause, what to do. */
typedef struct {
    char text[1024];
    int code; /* the exit code that fits where the cause decides it (EXIT_IO: a full or broken disk); 0: the caller's */
} Error;

/* Sets the message, in one line without control characters; always returns false, so that `return fail(error, ...)`
 * reads well. */
bool fail(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline int error_code(const Error *error, int otherwise) { return error->code ? error->code : otherwise; }

double clock_seconds(void); /* monotonic */

/* Counter-based random numbers (Philox4x32-10): the same (seed, stream, index) gives the same
 * bits on every rank, thread and layout. */
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0, 1) */
double random_gauss(uint64_t seed, uint64_t stream, uint64_t index);   /* N(0, 1) */

uint64_t hash_bytes(const void *data, int64_t bytes); /* XXH3, 64 bits */
uint64_t hash_string(const char *text);
uint64_t hash_pair(uint64_t, uint64_t); /* of what two hashes stand for, in this order */

/* Memory for set-up code (tables, lists, parsers): never returns NULL. Tensors live in arenas. */
void *must_alloc(int64_t count, int64_t size); /* zeroed */
void *must_realloc(void *p, int64_t count, int64_t size);
char *must_strdup(const char *text);
char *must_format(const char *format, ...) __attribute__((format(printf, 1, 2))); /* malloc'd */
char *must_format_args(const char *format, va_list) __attribute__((format(printf, 1, 0)));

double median(double *x, int n); /* sorts x */

static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }
