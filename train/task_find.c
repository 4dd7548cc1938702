/* task_find.c - which evaluation a path stands for, and the shard for one that is a text. */
#include <glob.h>
#include <string.h>

#include "data/disk.h"
#include "data/prepare.h"
#include "data/questions.h"
#include "train/task.h"

enum { TEXT_SHARD_TOKENS = 500000000 }; /* as the default of data.NAME.shard_tokens */

/* Prepared shards: a file, FOLDER/train or FOLDER/validation, or the folder (what it holds out, else all of it). */
static bool find_shard(Task *task, const char *path) {
    static const char *const suffixes[] = {"", "/validation", "/train"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char stem[PATH_MAX];
        disk_path(stem, "%s%s", path, suffixes[i]);
        if (tokens_exist(stem)) {
            disk_path(task->path, "%s", stem);
            return true;
        }
    }
    return false;
}

/* One file of questions; any other file, folder or pattern is text. */
static bool find_lines(Task *task, const Config *c, const char *path, Error *error) {
    LinesKind lines = LINES_TEXT;
    bool one = disk_ends_with(path, ".jsonl") && disk_exists(path) && !disk_is_folder(path);
    if (one && !questions_recognise(path, &lines, error)) return false;
    task->kind = lines == LINES_CHOICE ? TASK_CHOICE : lines == LINES_ANSWER ? TASK_ANSWER : TASK_LOSS;
    if (task->kind == TASK_LOSS)
        task->text = (DataSet){
            .name = "eval", .path = path, .format = "text", .field = "text", .shard_tokens = TEXT_SHARD_TOKENS};
    else
        disk_path(task->path, "%s", path);
    task->shots = task->kind == TASK_LOSS ? 0 : c->eval_shots;
    return true;
}

/* "needle" or "needle:TEXT"; a file of that name comes first. */
static bool find_needle(Task *task, const char *word) {
    static const char needle[] = "needle";
    size_t n = strlen(needle);
    if (strncmp(word, needle, n) || (word[n] && word[n] != ':') || disk_exists(word)) return false;
    disk_path(task->path, "%s", word[n] ? word + n + 1 : "");
    return true;
}

static bool is_there(const char *pattern) {
    glob_t found = {0};
    bool there = disk_exists(pattern) || !glob(pattern, 0, NULL, &found);
    globfree(&found);
    return there;
}

bool task_of_word(Task *task, const Config *c, const char *word, Error *error) {
    *task = (Task){.name = word, .config = c, .kind = TASK_NEEDLE};
    if (find_needle(task, word)) return true;
    task->kind = TASK_LOSS;
    if (find_shard(task, word)) return true;
    if (!is_there(word)) return fail(error, "%s: there is no such file, folder or prepared set", word);
    return find_lines(task, c, word, error);
}

void task_of_set(Task *task, const Config *c, const EvalSet *set) {
    char path[PATH_MAX];
    const char *slash = set->path[0] == '/' ? NULL : strrchr(c->file, '/');
    *task = (Task){.name = set->name, .config = c, .kind = task_kind(set->format)};
    disk_path(path, "%.*s%s", slash ? (int)(slash + 1 - c->file) : 0, c->file, set->path);
    if (!*set->path || !disk_exists(path)) disk_path(path, "%s", set->path);
    disk_path(task->path, "%s", path);
    if (task->kind == TASK_LOSS && !find_shard(task, path))
        task->text = (DataSet){.name = set->name,
                               .path = set->path,
                               .format = "text",
                               .field = "text",
                               .shard_tokens = TEXT_SHARD_TOKENS};
    if (task->kind == TASK_CHOICE || task->kind == TASK_ANSWER)
        task->shots = set->shots >= 0 ? set->shots : c->eval_shots;
}

bool task_prepare(Task *task, const Tokenizer *t, const char *folder, Error *error) {
    Prepared p;
    if (!task->text.path) return true;
    if (!prepare_set(&p, task->config, &task->text, t, folder, NULL, error)) return false;
    disk_path(task->path, "%s", p.validation[0] || task->held_out ? p.validation : p.train);
    return true;
}
