/* log_format.c - numbers as people read them, and the lines above and below the table of steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/log.h"

enum { TEXT = 32 };

const char *format_bytes(char text[TEXT], double bytes) {
    const char *unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int u = 0;
    for (; bytes >= 1000 && u < 5; u++) bytes /= 1024;
    snprintf(text, TEXT, u == 0 || bytes >= 100 ? "%.0f %s" : bytes >= 10 ? "%.1f %s" : "%.2f %s", bytes, unit[u]);
    return text;
}

const char *format_count(char text[TEXT], double count) {
    const char *unit[] = {"", "k", "M", "B", "T"};
    int u = 0;
    for (; count >= 999.5 && u < 4; u++) count /= 1000;
    snprintf(text, TEXT, u == 0 || count >= 100 ? "%.0f%s" : count >= 10 ? "%.1f%s" : "%.2f%s", count, unit[u]);
    return text;
}

const char *format_commas(char text[TEXT], int64_t count) {
    char digits[TEXT];
    int n = snprintf(digits, TEXT, "%lld", (long long)count), put = 0;
    for (int i = 0; i < n && put < TEXT - 2; i++) {
        text[put++] = digits[i];
        int left = n - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') text[put++] = ',';
    }
    text[put] = 0;
    return text;
}

const char *format_duration(char text[TEXT], double seconds) {
    if (!isfinite(seconds)) return strcpy(text, "-");
    int64_t s = llround(seconds);
    if (s < 60)
        snprintf(text, TEXT, "%llds", (long long)s);
    else if (s < 3600)
        snprintf(text, TEXT, "%lldm%02lld", (long long)s / 60, (long long)s % 60);
    else if (s < 86400)
        snprintf(text, TEXT, "%lldh%02lld", (long long)s / 3600, (long long)s / 60 % 60);
    else
        snprintf(text, TEXT, "%lldd%02lld", (long long)s / 86400, (long long)s / 3600 % 24);
    return text;
}

void log_line(const char *label, const char *format, ...) {
    if (base_rank != 0) return;
    va_list args;
    va_start(args, format);
    printf("%-10s ", label);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}
