/* test_configs.h - what the configuration tests share: files in the test folder, and loading them. */
#pragma once
#include "configs/config.h"
#include "tests/test.h"

/* Writes a file into the test's folder; the path stays valid until the next call. */
const char *write_config(const char *name, const char *text);
/* A small model with everything a run needs, as good.yaml in the test's folder. */
void write_good(void);
/* Loads base good.yaml plus these lines, as bad.yaml ("extra" starts at its line 2). override may be NULL. */
bool load_extra(Config *c, const char *extra, const char *override, int ranks, char **warnings, Error *error);

extern const char good_json[];
/* good_json with one field replaced (value: JSON text; NULL removes it), as config.json. Returns its path. */
const char *write_json(const char *field, const char *value);

void bad_yaml_is_refused(void);
void bad_keys_are_refused(void);
void bad_overrides_are_refused(void);
void bad_json_is_refused(void);
void cut_characters_end(void);
void damaged_files_never_crash(void);

void words_change_values(void);
void mixtures_remember_words(void);
void paths_are_compared(void);
