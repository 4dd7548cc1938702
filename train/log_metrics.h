/* log_metrics.h - the table of metrics: what a step's line holds, in log.jsonl, metrics.csv and on the console. */
#pragma once
#include "train/log.h"

typedef enum { METRIC_INT, METRIC_REAL, METRIC_TEXT } MetricKind;

typedef struct {
    const char *name; /* in the files; NULL = console only */
    MetricKind kind;
    size_t field;      /* of StepLine */
    const char *title; /* of the console's column, NULL = none; one that ends in / gets the bound of vectors_sent */
    int width;
    int drop; /* columns that a narrow terminal drops first have the highest number; 0 = never */
    void (*show)(char text[32], const StepLine *);
} Metric;

extern const Metric metrics[]; /* ended by a row without name and title */

/* malloc'd, with a newline. Reals have as many digits as it takes to read back the same number. */
char *metrics_json(const StepLine *);
char *metrics_csv(const StepLine *);
char *metrics_csv_header(void);
/* The console's row, or with NULL its titles; as many columns as fit (columns = 0: all). */
void metrics_columns(char to[256], int columns, const StepLine *, int vectors_bound);

void real_text(char to[32], double value);       /* shortest that reads back the same */
void quote_text(char to[512], const char *text); /* quoted and escaped */
