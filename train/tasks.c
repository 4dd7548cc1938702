#include "train/tasks.h"

#include <math.h>
#include <stdlib.h>

#include "data/disk.h"
#include "data/source.h"
#include "launch/agree.h"
#include "launch/watchdog.h"

static void add_held_out(Tasks *t, const Config *c, const Data *data) {
    for (int i = 0; i < c->n_data && !c->synthetic_data; i++) {
        if (!data->sets[i].validation[0]) continue;
        Task *task = &t->task[t->count++];
        *task = (Task){.name = c->data[i].name, .kind = TASK_LOSS, .config = c};
        disk_path(task->path, "%s", data->sets[i].validation);
    }
}

static bool prepare(Tasks *t, const Config *c, const Tokenizer *tokenizer, Error *error) {
    char *folder = setup_data_folder(c);
    bool ok = true;
    for (int i = 0; ok && i < t->count; i++)
        ok = task_prepare(&t->task[i], tokenizer, folder, error) && task_check(&t->task[i], c, tokenizer, error);
    free(folder);
    return ok;
}

/* A text becomes a shard when a run begins. */
static bool is_there(const Task *task, const Config *c, const Tokenizer *tokenizer, Error *error) {
    SourceFiles files;
    if (!task->text.path) return task_check(task, c, tokenizer, error);
    if (!source_list(&files, &task->text, c->file, error)) return false;
    source_free(&files);
    return true;
}

bool tasks_are_there(const Config *c, const Tokenizer *tokenizer, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < c->n_eval; i++) {
        Task task;
        task_of_set(&task, c, &c->eval[i]);
        ok = is_there(&task, c, tokenizer, error);
    }
    return ok;
}

bool tasks_open(Tasks *t, const Config *c, const Data *data, Comm *world, Error *error) {
    *t = (Tasks){.task = must_alloc(c->n_data + c->n_eval, sizeof *t->task)};
    add_held_out(t, c, data);
    for (int i = 0; i < c->n_eval; i++) task_of_set(&t->task[t->count++], c, &c->eval[i]);
    watchdog_section(SECTION_PREPARE); /* the others wait for rank 0, however much text there is */
    bool ok = agree(world, world->rank > 0 || prepare(t, c, data->tokenizer, error), error);
    for (int i = 0; ok && i < t->count; i++)
        world->ops->host_broadcast(world, t->task[i].path, (int64_t)sizeof t->task[i].path, 0);
    watchdog_section(SECTION_START);
    return ok;
}

void tasks_close(Tasks *t) {
    free(t->task);
    *t = (Tasks){0};
}

static EvalFigure figure_of(const Task *task, const TaskResult *r) {
    return (EvalFigure){.set = task->name,
                        .loss = r->loss,
                        .answers = r->kind != TASK_LOSS,
                        .accuracy = r->finite ? r->accuracy : NAN,
                        .plain = r->kind == TASK_CHOICE && r->finite ? r->plain : NAN,
                        .error = task_error(r->accuracy, r->items)};
}

bool tasks_run(Tasks *t, const Exam *exam, EvalFigure *figure, bool *stopped, Error *error) {
    *stopped = false;
    for (int i = 0; i < t->count && !*stopped; i++) {
        TaskResult r;
        if (!task_run(&t->task[i], exam, &r, error)) return false;
        figure[i] = figure_of(&t->task[i], &r);
        *stopped = r.stopped;
        if (!t->warned) task_warn(&t->task[i], &r, exam->engine->run.config);
    }
    t->warned = true;
    return true;
}
