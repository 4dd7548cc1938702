#include "train/log_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 32, LINE = 256 };

/* -- columns of the console: one function each ---------------------------------------------------- */

static void show_real(char text[TEXT], const char *format, double value) {
    if (isnan(value))
        snprintf(text, TEXT, "-");
    else
        snprintf(text, TEXT, format, value);
}

static void show_step(char text[TEXT], const StepLine *s) { snprintf(text, TEXT, "%lld", (long long)s->step); }
static void show_tokens(char text[TEXT], const StepLine *s) { format_count(text, (double)s->tokens); }
static void show_loss(char text[TEXT], const StepLine *s) { snprintf(text, TEXT, "%.4f", s->loss); }
static void show_balance(char text[TEXT], const StepLine *s) { show_real(text, "%.3f", s->balance_expert); }
static void show_norm(char text[TEXT], const StepLine *s) { show_real(text, "%.3g", s->grad_norm); }
static void show_rate(char text[TEXT], const StepLine *s) { show_real(text, "%.2e", s->learning_rate); }
static void show_speed(char text[TEXT], const StepLine *s) { format_commas(text, llround(s->tokens_per_second)); }
static void show_peak(char text[TEXT], const StepLine *s) { show_real(text, "%.1f", s->percent_of_peak); }
static void show_dead(char text[TEXT], const StepLine *s) {
    snprintf(text, TEXT, "%lld", (long long)s->dead_experts);
}
static void show_sent(char text[TEXT], const StepLine *s) { show_real(text, "%.2f", s->vectors_sent); }
static void show_eta(char text[TEXT], const StepLine *s) { format_duration(text, s->eta_seconds); }

static void show_load(char text[TEXT], const StepLine *s) {
    if (isnan(s->max_load))
        snprintf(text, TEXT, "-");
    else
        snprintf(text, TEXT, "%.2f L%02d", s->max_load, s->max_load_layer);
}

static void show_memory(char text[TEXT], const StepLine *s) {
    double gib = (double)s->memory_bytes / (1 << 30);
    snprintf(text, TEXT, gib < 10 ? "%.2f" : "%.1f", gib);
}

#define FIELD(name) offsetof(StepLine, name)
const Metric metrics[] = {
    {"step", METRIC_INT, FIELD(step), "step", 6, 0, show_step},
    {"stage", METRIC_TEXT, FIELD(stage), NULL, 0, 0, NULL},
    {"tokens", METRIC_INT, FIELD(tokens), "tokens", 7, 1, show_tokens},
    {"loss", METRIC_REAL, FIELD(loss), "loss", 7, 0, show_loss},
    {"balance_expert", METRIC_REAL, FIELD(balance_expert), "bal/a", 6, 4, show_balance},
    {"balance_device", METRIC_REAL, FIELD(balance_device), NULL, 0, 0, NULL},
    {"balance_communication", METRIC_REAL, FIELD(balance_communication), NULL, 0, 0, NULL},
    {"grad_norm", METRIC_REAL, FIELD(grad_norm), "gnorm", 7, 5, show_norm},
    {"learning_rate", METRIC_REAL, FIELD(learning_rate), "lr", 8, 7, show_rate},
    {"tokens_per_second", METRIC_REAL, FIELD(tokens_per_second), "tok/s", 9, 3, show_speed},
    {"step_ms", METRIC_REAL, FIELD(step_ms), NULL, 0, 0, NULL},
    {"percent_of_peak", METRIC_REAL, FIELD(percent_of_peak), "%peak", 5, 9, show_peak},
    {"max_load", METRIC_REAL, FIELD(max_load), "max/mean", 9, 6, show_load},
    {"dead_experts", METRIC_INT, FIELD(dead_experts), "dead", 4, 10, show_dead},
    {"dropped", METRIC_INT, FIELD(dropped), NULL, 0, 0, NULL},
    {"vectors_sent", METRIC_REAL, FIELD(vectors_sent), "sent/", 7, 8, show_sent},
    {"extra_rounds", METRIC_INT, FIELD(extra_rounds), NULL, 0, 0, NULL},
    {"memory_bytes", METRIC_INT, FIELD(memory_bytes), "GiB", 5, 11, show_memory},
    {"skipped", METRIC_INT, FIELD(skipped), NULL, 0, 0, NULL},
    {NULL, METRIC_REAL, FIELD(eta_seconds), "eta", 6, 2, show_eta},
    {0},
};

static bool is_last(const Metric *m) { return !m->name && !m->title; }

/* -- values as text ------------------------------------------------------------------------------- */

void real_text(char to[TEXT], double value) {
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(to, TEXT, "%.*g", digits, value);
        if (strtod(to, NULL) == value) return;
    }
}

void quote_text(char to[512], const char *text) {
    char *p = to;
    *p++ = '"';
    for (; *text && p < to + 500; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') *p++ = '\\';
        if (c < 0x20)
            p += snprintf(p, 8, "\\u%04x", c);
        else
            *p++ = (char)c;
    }
    *p++ = '"';
    *p = 0;
}

/* A number that is none is null in JSON and nan in CSV. */
static void value_text(char to[512], const Metric *m, const StepLine *s, const char *none) {
    const void *field = (const char *)s + m->field;
    if (m->kind == METRIC_TEXT) {
        const char *text = *(const char *const *)field;
        quote_text(to, text ? text : "");
        return;
    }
    if (m->kind == METRIC_INT) {
        snprintf(to, TEXT, "%lld", (long long)*(const int64_t *)field);
        return;
    }
    double value = *(const double *)field;
    if (isfinite(value))
        real_text(to, value);
    else
        snprintf(to, TEXT, "%s", none);
}

static char *join(const StepLine *s, const char *open, const char *close, const char *none, bool names) {
    char *line = must_strdup(open), value[512];
    for (const Metric *m = metrics; !is_last(m); m++) {
        if (!m->name) continue;
        value_text(value, m, s, none);
        char *longer = names ? must_format("%s%s\"%s\":%s", line, m == metrics ? "" : ",", m->name, value)
                             : must_format("%s%s%s", line, m == metrics ? "" : ",", value);
        free(line);
        line = longer;
    }
    char *whole = must_format("%s%s\n", line, close);
    free(line);
    return whole;
}

char *metrics_json(const StepLine *s) { return join(s, "{", "}", "null", true); }
char *metrics_csv(const StepLine *s) { return join(s, "", "", "nan", false); }

char *metrics_csv_header(void) {
    char line[1024] = "";
    for (const Metric *m = metrics; !is_last(m); m++)
        if (m->name) {
            if (*line) strcat(line, ",");
            strcat(line, m->name);
        }
    return must_format("%s\n", line);
}

/* -- the console's row ---------------------------------------------------------------------------- */

/* Columns with a higher drop number are left out, so that the rest fits. */
static int highest_drop(int columns) {
    int limit = 99;
    for (; columns > 0 && limit > 0; limit--) {
        int width = 0;
        for (const Metric *m = metrics; !is_last(m); m++)
            if (m->title && m->drop <= limit) width += m->width + 1;
        if (width <= columns) break;
    }
    return limit;
}

void metrics_columns(char to[LINE], int columns, const StepLine *s, int vectors_bound) {
    int limit = highest_drop(columns), n = 0;
    *to = 0;
    for (const Metric *m = metrics; !is_last(m); m++) {
        char text[TEXT];
        if (!m->title || m->drop > limit) continue;
        if (s)
            m->show(text, s);
        else if (m->title[strlen(m->title) - 1] == '/')
            snprintf(text, TEXT, "%s%d", m->title, vectors_bound);
        else
            snprintf(text, TEXT, "%s", m->title);
        n += snprintf(to + n, (size_t)(LINE - n), "%*s ", m->width, text);
    }
    if (n > 0) to[n - 1] = 0;
}
