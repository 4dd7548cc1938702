#include "train/log.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/log_file.h"
#include "train/log_metrics.h"

enum { EVAL_SETS = 128, TITLES_EVERY = 40, LINE = 256 };
#define CONSOLE_SECONDS 1.0 /* at most one line of steps in that time */

struct Log {
    LogOptions o;
    LogFile json, csv;
    struct {
        char *set;
        double value;
    } before[EVAL_SETS]; /* the evaluation before: loss, or share of right answers */
    int n_before;
    bool evaluated;    /* at resume_step */
    double shown;      /* when a step was last on the console */
    bool same_columns; /* metrics.csv has the columns of today */
    int lines;         /* of steps since the titles */
};

/* -- evaluations remember the one before, also over a resume ---------------------------------------- */

static double *value_before(Log *log, const char *set) {
    for (int i = 0; i < log->n_before; i++)
        if (strcmp(log->before[i].set, set) == 0) return &log->before[i].value;
    if (log->n_before == EVAL_SETS) return NULL;
    log->before[log->n_before].set = must_strdup(set);
    log->before[log->n_before].value = NAN;
    return &log->before[log->n_before++].value;
}

static void remember_eval(Log *log, const char *line) {
    static const char *const groups[] = {"eval_loss", "eval_accuracy"};
    json_t *root = json_loads(line, 0, NULL), *value;
    const char *set;
    for (int i = 0; i < 2; i++) json_object_foreach(json_object_get(root, groups[i]), set, value) {
            double *before = value_before(log, set);
            if (before && json_is_number(value)) *before = json_number_value(value);
        }
    json_decref(root);
}

/* -- cutting back ----------------------------------------------------------------------------------- */

static bool keep_json(void *own, const char *line, int64_t length) {
    Log *log = own;
    long long step;
    if (sscanf(line, "{\"step\":%lld,", &step) != 1 || step > log->o.resume_step) return false;
    if (length < 3 || line[length - 2] != '}') return false; /* a line that a full disk cut short */
    if (strstr(line, "\"eval_")) {
        remember_eval(log, line);
        log->evaluated |= step == log->o.resume_step;
    }
    return true;
}

/* Rows under other columns would be misread: then the file starts anew (log.jsonl has it all). */
static bool keep_csv(void *own, const char *line, int64_t length) {
    Log *log = own;
    long long step;
    (void)length;
    if (sscanf(line, "%lld,", &step) == 1) return log->same_columns && step <= log->o.resume_step;
    char *header = metrics_csv_header();
    log->same_columns = strcmp(line, header) == 0;
    free(header);
    return log->same_columns;
}

static bool open_files(Log *log, Error *error) {
    char *json = must_format("%s/log.jsonl", log->o.folder), *csv = must_format("%s/metrics.csv", log->o.folder);
    bool good = log_file_cut(json, keep_json, log, error) && log_file_cut(csv, keep_csv, log, error) &&
                log_file_open(&log->json, json, error) && log_file_open(&log->csv, csv, error);
    free(json);
    free(csv);
    if (good && log_file_empty(&log->csv)) {
        char *header = metrics_csv_header();
        log_file_write(&log->csv, header);
        free(header);
    }
    return good;
}

Log *log_open(const LogOptions *options, Error *error) {
    Log *log = must_alloc(1, sizeof *log);
    *log = (Log){.o = *options, .json = {.file = -1}, .csv = {.file = -1}, .lines = TITLES_EVERY};
    if (!options->folder || open_files(log, error)) return log;
    log_close(log);
    return NULL;
}

bool log_evaluated(const Log *log) { return log && log->evaluated; }

void log_close(Log *log) {
    if (!log) return;
    log_file_close(&log->json);
    log_file_close(&log->csv);
    for (int i = 0; i < log->n_before; i++) free(log->before[i].set);
    free(log);
}

/* -- steps ------------------------------------------------------------------------------------------ */

static void show_titles(Log *log) {
    char titles[LINE];
    metrics_columns(titles, log->o.columns, NULL, log->o.vectors_bound);
    puts(titles);
    log->lines = 0;
}

void log_stage(Log *log, int index, int count, const char *name) {
    if (!log) return;
    if (count > 1 || *name) {
        char head[LINE];
        int n = snprintf(head, sizeof head, "stage %d/%d %s ", index, count, name);
        int width = log->o.columns ? log->o.columns : 100;
        for (; n < width && n < 100; n++) head[n] = '-';
        head[n] = 0;
        puts(head);
    }
    log->lines = TITLES_EVERY;
    log->shown = 0;
}

static void show_step(Log *log, const StepLine *s) {
    double now = clock_seconds();
    if (!s->show && now - log->shown < CONSOLE_SECONDS) return;
    if (log->lines++ >= TITLES_EVERY) show_titles(log);
    char row[LINE];
    metrics_columns(row, log->o.columns, s, log->o.vectors_bound);
    puts(row);
    fflush(stdout);
    log->shown = now;
}

void log_step(Log *log, const StepLine *s) {
    if (!log) return;
    char *json = metrics_json(s), *csv = metrics_csv(s);
    log_file_write(&log->json, json);
    log_file_write(&log->csv, csv);
    free(json);
    free(csv);
    show_step(log, s);
}

/* -- what happens between steps ---------------------------------------------------------------------- */

/* "name":{"set":value,...} of the evaluations that have such a value; nothing at all when none has. */
static void write_group(FILE *to, const char *name, bool answers, size_t field, const EvalFigure *eval, int n) {
    const char *before = "";
    for (int i = 0; i < n; i++) {
        double value = *(const double *)((const char *)&eval[i] + field);
        char set[512], number[32] = "null";
        if (eval[i].answers != answers || (field == offsetof(EvalFigure, plain) && isnan(value))) continue;
        quote_text(set, eval[i].set);
        if (isfinite(value)) real_text(number, value);
        if (!*before) fprintf(to, ",\"%s\":{", name);
        fprintf(to, "%s%s:%s", before, set, number);
        before = ",";
    }
    if (*before) putc('}', to);
}

static void write_eval(Log *log, int64_t step, const EvalFigure *eval, int n) {
    char *line = NULL;
    size_t bytes;
    FILE *to = open_memstream(&line, &bytes);
    fprintf(to, "{\"step\":%lld", (long long)step);
    write_group(to, "eval_loss", false, offsetof(EvalFigure, loss), eval, n);
    write_group(to, "eval_accuracy", true, offsetof(EvalFigure, accuracy), eval, n);
    write_group(to, "eval_accuracy_plain", true, offsetof(EvalFigure, plain), eval, n);
    write_group(to, "eval_error", true, offsetof(EvalFigure, error), eval, n);
    fputs("}\n", to);
    fclose(to);
    log_file_write(&log->json, line);
    free(line);
}

static void show_eval(const EvalFigure *e, const double *before) {
    bool known = before && !isnan(*before);
    if (!e->answers) {
        printf("  %s %.4f", e->set, e->loss);
        if (known) printf(" (%+.4f)", e->loss - *before);
        return;
    }
    printf("  %s %.1f%% (", e->set, 100 * e->accuracy);
    if (known) printf("%+.1f, ", 100 * (e->accuracy - *before));
    printf("+-%.1f)", 100 * e->error);
}

void log_eval(Log *log, int64_t step, const EvalFigure *eval, int n) {
    if (!log) return;
    write_eval(log, step, eval, n);
    printf(" eval %lld ", (long long)step);
    for (int i = 0; i < n; i++) {
        double *before = value_before(log, eval[i].set);
        show_eval(&eval[i], before);
        if (before) *before = eval[i].answers ? eval[i].accuracy : eval[i].loss;
    }
    putchar('\n');
    fflush(stdout);
}

void log_note(Log *log, const char *label, const char *format, ...) {
    if (!log) return;
    va_list args;
    va_start(args, format);
    printf(" ! %s  ", label);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void log_saved(Log *log, int64_t step, int64_t bytes, double seconds, double percent_of_time) {
    if (!log) return;
    char size[32];
    printf(" saved step-%08lld  %s in %.1f s behind training (%.1f%% of step time)\n", (long long)step,
           format_bytes(size, (double)bytes), seconds, percent_of_time);
    fflush(stdout);
}

/* Length of the well-formed UTF-8 character at p, 0 when it is none. */
static int utf8_length(const unsigned char *p) {
    int n = *p < 0x80                 ? 1
            : *p >= 0xC2 && *p < 0xE0 ? 2
            : *p >= 0xE0 && *p < 0xF0 ? 3
            : *p >= 0xF0 && *p < 0xF5 ? 4
                                      : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return n;
}

void log_sample(Log *log, int64_t step, const char *text) {
    if (!log) return;
    printf(" sample %lld  ", (long long)step);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        int n = utf8_length(p);
        if (*p == '\n')
            fputs("\n    ", stdout);
        else if (n == 0 || *p < 0x20 || *p == 0x7F || (n == 2 && *p == 0xC2 && p[1] < 0xA0))
            putchar('?');
        else
            fwrite(p, 1, (size_t)n, stdout);
        p += n ? n : 1;
    }
    putchar('\n');
    fflush(stdout);
}
