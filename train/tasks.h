/* tasks.h - the evaluations that a config asks for: what its data sets hold out, then those under `eval:`. */
#pragma once
#include "train/log.h"
#include "train/setup.h"
#include "train/task.h"

typedef struct {
    Task *task;
    int count;
    bool warned; /* once a run is enough */
} Tasks;

/* Whether what stands under `eval:` is there and can be read; nothing is prepared. */
bool tasks_are_there(const Config *, const Tokenizer *, Error *);
/* Collective. Rank 0 prepares texts and reads all questions, so that a mistake is told now. Borrows the config. */
bool tasks_open(Tasks *, const Config *, const Data *, Comm *world, Error *);
void tasks_close(Tasks *);
/* Collective. figure: room for count of them; *stopped by a signal: figures are missing. */
bool tasks_run(Tasks *, const Exam *, EvalFigure *figure, bool *stopped, Error *);
