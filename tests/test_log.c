/* test_log.c - what a run writes down: content of its files, cutting back on resume, the console's row. */
#include "data/disk.h"
#include "tests/test.h"
#include "train/log.h"
#include "train/log_metrics.h"
#include "train/run_folder.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const StepLine sample = {.step = 7,
                                .stage = "sft",
                                .tokens = 14336,
                                .loss = 1.9304123456789013,
                                .balance_expert = 1.25,
                                .balance_device = NAN,
                                .balance_communication = NAN,
                                .grad_norm = 0.1,
                                .learning_rate = 4.2e-05,
                                .tokens_per_second = 22910.5,
                                .step_ms = 89.25,
                                .percent_of_peak = NAN,
                                .max_load = 3.61,
                                .dead_experts = 2,
                                .dropped = 5,
                                .vectors_sent = 3.875,
                                .extra_rounds = 1,
                                .memory_bytes = (int64_t)5 << 30,
                                .max_load_layer = 3,
                                .eta_seconds = 185};

static char *read_text(const char *file) {
    char path[300], *text = must_alloc(1 << 16, 1);
    snprintf(path, sizeof path, "%s/%s", test_folder(), file);
    FILE *f = fopen(path, "r");
    check(f, "%s is missing", path);
    text[fread(text, 1, (1 << 16) - 1, f)] = 0;
    fclose(f);
    return text;
}

static void write_text(const char *file, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", test_folder(), file);
    FILE *f = fopen(path, "w");
    check(f && fputs(text, f) >= 0 && fclose(f) == 0, "cannot write %s", path);
}

static void expect_file(const char *file, const char *want) {
    char *text = read_text(file);
    expect(strcmp(text, want) == 0, "%s holds\n%snot\n%s", file, text, want);
    free(text);
}

/* The console is not part of these tests: what goes there is thrown away. */
static int quiet(void) {
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    check(freopen("/dev/null", "w", stdout), "no /dev/null");
    return kept;
}
static void loud(int kept) {
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
}

static void run_steps(int64_t from, int64_t to, int64_t resume) {
    Error error = {0};
    LogOptions options = {.folder = test_folder(), .resume_step = resume};
    int kept = quiet();
    Log *log = log_open(&options, &error);
    check(log, "%s", error.text);
    for (StepLine s = sample; from <= to; from++) {
        s.step = from;
        log_step(log, &s);
        if (from == 2) log_eval(log, 2, (EvalFigure[]){{.set = "law", .loss = 1.5}, {.set = "code", .loss = NAN}}, 2);
    }
    log_close(log);
    loud(kept);
}

/* -- content ------------------------------------------------------------------------------------------- */

static void json_row(void) {
    char *line = metrics_json(&sample);
    const char *want =
        "{\"step\":7,\"stage\":\"sft\",\"tokens\":14336,\"loss\":1.9304123456789013,\"balance_expert\":1.25,"
        "\"balance_device\":null,\"balance_communication\":null,\"grad_norm\":0.1,\"learning_rate\":4.2e-05,"
        "\"tokens_per_second\":22910.5,\"step_ms\":89.25,\"percent_of_peak\":null,\"max_load\":3.61,\"dead_experts\":2,"
        "\"dropped\":5,\"vectors_sent\":3.875,\"extra_rounds\":1,\"memory_bytes\":5368709120,\"skipped\":0}\n";
    expect(strcmp(line, want) == 0, "%s", line);
    free(line);
}

static void csv_row(void) {
    char *line = metrics_csv(&sample), *header = metrics_csv_header();
    const char *want =
        "7,\"sft\",14336,1.9304123456789013,1.25,nan,nan,0.1,4.2e-05,22910.5,89.25,nan,3.61,2,5,3.875,1,5368709120,0\n";
    expect(strcmp(line, want) == 0, "%s", line);
    int fields = 0, names = 0;
    for (const char *p = line; *p; p++) fields += *p == ',';
    for (const char *p = header; *p; p++) names += *p == ',';
    expect(fields == names, "%d fields under %d names", fields, names);
    free(line);
    free(header);
}

static void reals_read_back(void) {
    for (uint64_t i = 0; i < 20000; i++) {
        union {
            uint64_t bits;
            double real;
        } v = {random_bits(1, 2, i)};
        if (!isfinite(v.real)) continue;
        char text[32];
        real_text(text, v.real);
        expect(strtod(text, NULL) == v.real, "%s is not %a", text, v.real);
    }
}

static void console_row(void) {
    const struct {
        int columns;
        const char *titles, *row;
    } cases[] = {
        {0, "  step  tokens    loss  bal/a   gnorm       lr     tok/s %peak  max/mean dead  sent/6   GiB    eta",
         "     7   14.3k  1.9304  1.250     0.1 4.20e-05    22,911     -  3.61 L03    2    3.88  5.00   3m05"},
        {80, "  step  tokens    loss  bal/a   gnorm       lr     tok/s  max/mean    eta",
         "     7   14.3k  1.9304  1.250     0.1 4.20e-05    22,911  3.61 L03   3m05"},
        {40, "  step  tokens    loss     tok/s    eta", "     7   14.3k  1.9304    22,911   3m05"},
        {10, "  step    loss", "     7  1.9304"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char titles[256], row[256];
        metrics_columns(titles, cases[i].columns, NULL, 6);
        metrics_columns(row, cases[i].columns, &sample, 6);
        expect(strcmp(titles, cases[i].titles) == 0, "%d columns: %s", cases[i].columns, titles);
        expect(strcmp(row, cases[i].row) == 0, "%d columns: %s", cases[i].columns, row);
    }
}

/* -- resume --------------------------------------------------------------------------------------------- */

static void resume_cuts_back(void) {
    run_steps(1, 3, 0);
    char *json = read_text("log.jsonl"), *csv = read_text("metrics.csv");
    run_steps(4, 9, 3);
    run_steps(4, 3, 3); /* back to 3 and no step more: as it was */
    expect_file("log.jsonl", json);
    expect_file("metrics.csv", csv);
    run_steps(1, 3, 0); /* from the beginning */
    expect_file("log.jsonl", json);
    expect_file("metrics.csv", csv);
    free(json);
    free(csv);
}

static void evaluation_line(void) {
    run_steps(2, 2, 0);
    char *json = read_text("log.jsonl");
    const char *line = strchr(json, '\n') + 1;
    expect(strcmp(line, "{\"step\":2,\"eval_loss\":{\"law\":1.5,\"code\":null}}\n") == 0, "%s", line);
    free(json);
}

/* Tasks with right answers have groups of their own; a figure that is none is null, one that a kind lacks is absent. */
static void answers_line(void) {
    Error error = {0};
    LogOptions options = {.folder = test_folder()};
    const EvalFigure figure[] = {
        {.set = "mmlu", .answers = true, .accuracy = 0.5, .plain = 0.25, .error = 0.125},
        {.set = "law", .loss = 2},
        {.set = "qa", .answers = true, .accuracy = NAN, .plain = NAN, .error = 0},
    };
    int kept = quiet();
    Log *log = log_open(&options, &error);
    log_eval(log, 1, figure, 3);
    log_close(log);
    loud(kept);
    expect_file("log.jsonl", "{\"step\":1,\"eval_loss\":{\"law\":2},\"eval_accuracy\":{\"mmlu\":0.5,\"qa\":null},"
                             "\"eval_accuracy_plain\":{\"mmlu\":0.25},\"eval_error\":{\"mmlu\":0.125,\"qa\":0}}\n");
}

static void torn_lines_go(void) {
    write_text(
        "log.jsonl",
        "{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo\n\n{\"step\":3,\"loss\":1}\n{\"step\":4,\"loss\":1}\n{\"step\":5,");
    char *header = metrics_csv_header();
    char *csv = must_format("%s1,a\n2,b\n3,", header);
    write_text("metrics.csv", csv);
    run_steps(5, 4, 4);
    expect_file("log.jsonl", "{\"step\":1,\"loss\":2}\n{\"step\":3,\"loss\":1}\n{\"step\":4,\"loss\":1}\n");
    free(csv);
    csv = must_format("%s1,a\n2,b\n", header);
    expect_file("metrics.csv", csv);
    write_text("metrics.csv", "step,other\n1,2\n"); /* columns of another version: rows would be misread */
    run_steps(5, 4, 4);
    expect_file("metrics.csv", header);
    free(csv);
    free(header);
}

/* A full disk (here: a limit on the size of files) costs lines of the log, never the run. */
static void full_disk_is_a_warning(void) {
    fflush(stdout);
    const char *folder = test_folder();
    pid_t child = fork();
    if (child == 0) {
        char errors[300];
        snprintf(errors, sizeof errors, "%s/errors", folder);
        check(freopen(errors, "w", stderr), "no %s", errors);
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {1000, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
        run_steps(1, 20, 0);
        fflush(stderr);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    char *errors = read_text("errors"), *first = strstr(errors, "training goes on");
    expect(first && strstr(first, "metrics.csv") && !strstr(strstr(first, "metrics.csv"), "log.jsonl"), "said: %s",
           errors);
    free(errors);
    run_steps(21, 22, 20); /* and the file is whole again after the next start */
    char *json = read_text("log.jsonl");
    expect(strstr(json, "\n{\"step\":21,") && strstr(json, "\n{\"step\":22,"), "%s", json);
    free(json);
}

/* -- links that somebody laid ------------------------------------------------------------------------------ */

static void lay_link(const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    unlink(path);
    check(!symlink("victim", path), "cannot link %s", path);
}

static void links_lead_nowhere(void) {
    static const char *const ours[] = {"log.jsonl", "metrics.csv"};
    RunFolder folder = {.lock = -1};
    LogOptions options = {.folder = test_folder(), .resume_step = 4};
    Error error = {0};
    snprintf(folder.path, sizeof folder.path, "%s", test_folder());
    write_text("victim", "precious\n");
    run_steps(1, 6, 0);
    lay_link("log.jsonl.tmp"), lay_link("metrics.csv.tmp"), lay_link(".config.yaml.tmp"), lay_link("config.yaml");
    run_steps(5, 6, 4);
    expect(run_folder_write(&folder, "config.yaml", "steps: 1\n", &error), "%s", error.text);
    expect_file("config.yaml", "steps: 1\n");
    for (int i = 0; i < 2; i++) {
        run_steps(1, 2, 0);
        lay_link(ours[i]);
        Log *log = log_open(&options, &error);
        expect(!log && strstr(error.text, ours[i]) && strstr(error.text, "is a symbolic link"), "%s", error.text);
        expect(error.code == EXIT_USAGE, "code %d", error.code);
        char path[300];
        snprintf(path, sizeof path, "%s/%s", test_folder(), ours[i]);
        expect(!unlink(path), "%s is gone", path);
    }
    expect_file("victim", "precious\n");
}

/* A checkpoint in the making is removed by name, and so may be a link of that name. */
static void links_are_removed_themselves(void) {
    char folder[300], link[300], file[320];
    Error error;
    snprintf(folder, sizeof folder, "%s/elsewhere", test_folder());
    snprintf(link, sizeof link, "%s/.tmp-step-00000001", test_folder());
    snprintf(file, sizeof file, "%s/victim", link);
    for (int own = 0; own < 2; own++) {
        check(disk_make_folder(folder, &error) && !symlink("elsewhere", link), "cannot lay %s", link);
        check(disk_exists(file) || disk_write_file(file, "precious", 8, &error), "%s", error.text);
        expect(own ? disk_own_folder(link, &error) : disk_remove_folder(link, &error), "%s", error.text);
        expect(disk_exists(link) == own && !disk_exists(file), "the link is still there");
        expect_file("elsewhere/victim", "precious");
    }
}

/* -- numbers as people read them -------------------------------------------------------------------------- */

static void numbers(void) {
    char t[32];
    const struct {
        double value;
        const char *bytes, *count, *duration;
    } cases[] = {
        {0, "0 B", "0", "0s"},
        {59, "59 B", "59", "59s"},
        {999.6, "1000 B", "1.00k", "16m40"},
        {1536, "1.50 KiB", "1.54k", "25m36"},
        {2097152, "2.00 MiB", "2.10M", "24d06"},
        {20e9, "18.6 GiB", "20.0B", "231481d11"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect(strcmp(format_bytes(t, cases[i].value), cases[i].bytes) == 0, "%g: %s", cases[i].value, t);
        expect(strcmp(format_count(t, cases[i].value), cases[i].count) == 0, "%g: %s", cases[i].value, t);
        expect(strcmp(format_duration(t, cases[i].value), cases[i].duration) == 0, "%g: %s", cases[i].value, t);
    }
    expect(strcmp(format_duration(t, NAN), "-") == 0, "%s", t);
    expect(strcmp(format_commas(t, 2097152), "2,097,152") == 0, "%s", t);
    expect(strcmp(format_commas(t, -100), "-100") == 0 && strcmp(format_commas(t, -1234), "-1234") != 0, "%s", t);
    expect(strcmp(format_commas(t, INT64_MIN), "-9,223,372,036,854,775,808") == 0, "%s", t);
}

const TestCase log_tests[] = {
    {"a row of log.jsonl", json_row},
    {"a row of metrics.csv", csv_row},
    {"numbers are written so that they read back", reals_read_back},
    {"the console's row, narrow and wide", console_row},
    {"resume cuts back to its step", resume_cuts_back},
    {"an evaluation's line", evaluation_line},
    {"evaluations with right answers", answers_line},
    {"torn and foreign lines go", torn_lines_go},
    {"a full disk is a warning", full_disk_is_a_warning},
    {"links lead nowhere", links_lead_nowhere},
    {"links are removed themselves", links_are_removed_themselves},
    {"numbers as people read them", numbers},
    {0},
};
