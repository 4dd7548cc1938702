/* survey.h - `prepare --dry-run`: figures and some rows of every set; nothing is written. */
#pragma once
#include "data/survey.h"

/* Collective; rank 0 prints. */
bool survey_print(const Config *, const DataSet *, const Tokenizer *, Comm *world, Error *);
