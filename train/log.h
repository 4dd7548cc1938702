/* log.h - what a run says: the console, log.jsonl and metrics.csv of the run folder.
 *
 * One table (log_metrics.c) drives all three: a metric = a field of StepLine and a row there.
 * Only rank 0 has a Log; every function accepts NULL and does nothing. A file that cannot be
 * written is a warning, once, and not the end of training. */
#pragma once
#include "kernels/base.h"

typedef struct {
    int64_t step;      /* over all stages, 1 = the first */
    const char *stage; /* "" when the config has none */
    int64_t tokens;    /* trained on so far */
    double loss;
    double balance_expert, balance_device, balance_communication; /* L / alpha, mean over layers; NaN = off */
    double grad_norm, learning_rate, tokens_per_second, step_ms;
    double percent_of_peak; /* NaN = not known */
    double max_load;        /* max / mean tokens of an expert in the worst layer; NaN = a dense model */
    int64_t dead_experts;   /* without a token in this step, all layers */
    int64_t dropped;        /* pairs */
    double vectors_sent;    /* a token and layer; NaN = a dense model */
    int64_t extra_rounds;   /* of the exchange, beyond the first */
    int64_t memory_bytes;   /* a rank */
    int64_t skipped;        /* steps so far */
    /* shown only on the console */
    int max_load_layer;
    double eta_seconds; /* NaN = not known */
    bool show;          /* on the console even when the last line is less than a second old */
} StepLine;

typedef struct {
    const char *set;
    double loss;
    bool answers;                  /* it has right answers: no loss, but */
    double accuracy, plain, error; /* share that is right, another way to count it (NaN = none), standard error */
} EvalFigure;

typedef struct {
    const char *folder;  /* run folder; NULL = console only */
    int64_t resume_step; /* lines of later steps are cut off; 0 = a new run */
    int vectors_bound;   /* of vectors_sent, for the column's name; 0 = none */
    int columns;         /* of the terminal, 0 = no terminal (launch_terminal_columns) */
} LogOptions;

typedef struct Log Log;

/* Cuts log.jsonl and metrics.csv back to resume_step (new file, then rename) and opens them to append. */
Log *log_open(const LogOptions *, Error *);
bool log_evaluated(const Log *); /* log.jsonl has the evaluation of resume_step */
void log_close(Log *);

/* "model      V2-Lite ...": the lines above the table and below it; rank 0 prints, others do not. */
void log_line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

void log_stage(Log *, int index, int count, const char *name); /* "stage 1/3 continue ---" and column names */
void log_step(Log *, const StepLine *);
/* " eval 200   law 1.688 (-0.214)  mmlu 41.8% (+2.1, +-1.9)": difference to the evaluation before. */
void log_eval(Log *, int64_t step, const EvalFigure *, int n);
/* " ! routing  L03 expert 17: no token for 50 steps" */
void log_note(Log *, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* " saved step-00000200  205 GiB in 62 s behind training (0.4% of step time)" */
void log_saved(Log *, int64_t step, int64_t bytes, double seconds, double percent_of_time);
/* " sample 200  In the beginning ...": control characters are not passed on to the terminal. */
void log_sample(Log *, int64_t step, const char *text);

/* Numbers as people read them; the buffer is returned. */
const char *format_bytes(char text[32], double bytes);      /* "205 GiB" */
const char *format_count(char text[32], double count);      /* "2.10M" */
const char *format_commas(char text[32], int64_t count);    /* "2,097,152" */
const char *format_duration(char text[32], double seconds); /* "42s" "3m05" "4h40" "2d03h" */
