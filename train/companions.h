/* companions.h - the small files of a published model beside its weights: config.json, generation_config.json, the
 * tokenizer's, code that config.json may name, the licence. They travel with a checkpoint, so that it can be exported
 * and its text read wherever it lies. Held in memory; sorted by name. */
#pragma once
#include "kernels/base.h"

typedef struct {
    char *name, *bytes; /* ended by a NUL that count leaves out */
    int64_t count;
} Companion;
typedef struct {
    Companion *list;
    int n;
} Companions;

typedef enum { COMPANION_NONE, COMPANION_TOKENIZER, COMPANION_OTHER } CompanionKind;
CompanionKind companion_kind(const char *name); /* NONE: a file of that name does not travel */

/* Adds those of a kind that lie in a folder, in place of ones of the same name. Links are followed: the cache of
 * published models consists of them. NONE: of any kind. */
bool companions_read(Companions *, const char *folder, CompanionKind, Error *);
void companions_put(Companions *, const char *name, const char *bytes, int64_t count);
void companions_remove(Companions *, CompanionKind);
const Companion *companions_find(const Companions *, const char *name); /* NULL when absent */
bool companions_write(const Companions *, const char *folder, Error *); /* new files, fsynced */
void companions_free(Companions *);
