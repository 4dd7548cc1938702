#include "launch/cgroups.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number behind a word in a file of a folder, or the first one when the word is ""; `otherwise` when there is none
 * ("max"). */
static double number_of(const char *folder, const char *file, const char *word, double otherwise) {
    char line[256], *path = must_format("%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    double value = otherwise;
    size_t skip = strlen(word);
    free(path);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, word, skip) == 0 && sscanf(line + skip, "%lf", &value) == 1) break;
    if (f) fclose(f);
    return value;
}

/* The smallest `left` of a group and those above it. Inside a container the path may be the host's: what is not there
 * sets no limit. */
static double least_of_group(const char *mount, const char *group, double (*left)(const char *folder)) {
    char *path = must_format("%s%s", mount, group);
    double least = left(path);
    for (char *slash; (slash = strrchr(path, '/')) && slash >= path + strlen(mount);) {
        *slash = '\0';
        least = fmin(least, left(path));
    }
    free(path);
    return least;
}

/* A line is "0::/group" in version 2, "4:cpu,cpuacct:/group" in version 1. */
static double least(const char *groups, const char *root, const char *controller,
                    double (*left)(const char *folder)) {
    char line[4096];
    double found = INFINITY;
    FILE *f = fopen(groups, "re");
    while (f && fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0', names++;
        group[strcspn(group, "\n")] = '\0';
        if (*names && !strstr(names, controller)) continue;
        char *mount = must_format("%s%s%s", root, *names ? "/" : "", names);
        found = fmin(found, least_of_group(mount, group, left));
        free(mount);
    }
    if (f) fclose(f);
    return found;
}

/* Version 2: "max 100000" or "150000 100000" microseconds in each 100000. */
static double cpus_of(const char *folder) {
    char *path = must_format("%s/cpu.max", folder);
    double quota = -1, period = -1;
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%lf %lf", &quota, &period) != 2) quota = -1;
    if (f) fclose(f);
    free(path);
    if (!f) quota = number_of(folder, "cpu.cfs_quota_us", "", -1);
    if (!f) period = number_of(folder, "cpu.cfs_period_us", "", -1);
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

int cgroups_cpus(const char *groups, const char *root) {
    double cpus = least(groups, root, "cpu", cpus_of);
    return !(cpus < 1e6) ? 0 : cpus < 1 ? 1 : (int)cpus;
}

static double memory_of(const char *folder) {
    double limit = number_of(folder, "memory.max", "", -1), used = number_of(folder, "memory.current", "", 0);
    double files = number_of(folder, "memory.stat", "inactive_file ", 0);
    if (limit < 0) {
        limit = number_of(folder, "memory.limit_in_bytes", "", INFINITY);
        used = number_of(folder, "memory.usage_in_bytes", "", used);
        files = number_of(folder, "memory.stat", "total_inactive_file ", files);
    }
    return fmax(0, limit - used + fmin(files, used));
}

int64_t cgroups_memory(const char *groups, const char *root) {
    double left = least(groups, root, "memory", memory_of);
    return left < 0x1p60 ? (int64_t)left : INT64_MAX;
}
