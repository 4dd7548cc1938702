/* config.h - one resolved configuration, and the way from what people type to it.
 *
 * Order of strength, weakest first: defaults, config.json of init_from, base, file, stage or
 * variant, command line. Every value remembers where it came from ("tiny.yaml:7", "cli",
 * "config.json", "default"). Parsing returns a message, never exits. */
#pragma once
#include "kernels/base.h"

enum { CONFIG_MAX_LIST = 64, CONFIG_MAX_SETS = 64 };

/* A list of numbers (names are NULL), numbers by name, or names alone (values are 0: all of each). */
typedef struct {
    int count;
    double value[CONFIG_MAX_LIST];
    const char *name[CONFIG_MAX_LIST];
} RealList;

typedef int64_t config_INT, config_COUNT;
typedef double config_REAL;
typedef bool config_BOOL;
typedef const char *config_STRING, *config_PATH, *config_CHOICE;
typedef RealList config_REALS; /* a list of numbers, or numbers by name (mix) */

typedef struct { /* one set under `data:` */
    const char *name;
#define DATA_KEY(field, type, ...) config_##type field;
#include "configs/keys.def"
#undef DATA_KEY
} DataSet;

typedef struct { /* one evaluation under `eval:` */
    const char *name;
#define EVAL_KEY(field, type, ...) config_##type field;
#include "configs/keys.def"
#undef EVAL_KEY
} EvalSet;

typedef struct Config {
#define KEY(field, type, ...) config_##type field;
#include "configs/keys.def"
#undef KEY
    DataSet data[CONFIG_MAX_SETS];
    EvalSet eval[CONFIG_MAX_SETS];
    int n_data, n_eval;
    const char *file;        /* the YAML file, "" when there was none */
    const char *stage;       /* "" = the file's top level */
    const char *folder;      /* where relative paths begin, an absolute path; "" = not known */
    const char *stand_in;    /* checkpoint to go on from where init_from is not there any more, else "" */
    struct Origins *origins; /* where each value came from, for the dump and messages */
} Config;

/* Reads a YAML file (with its base:), applies `key=value` overrides (n of them), takes the model
 * from init_from's config.json where there is one, fills what is derived, validates. `ranks` is
 * the number of MPI ranks, for rules about layout (0: as many as layout.ep asks for). Warnings are printed to stderr once by the
 * caller from *warnings (malloc'd text, may be empty). */
bool config_load(Config *, const char *file, const char *const *overrides, int n, int ranks, char **warnings,
                 Error *);

/* False + message where init_from is not there: only a run that goes on can do without it. */
bool config_can_begin(const Config *, Error *);

/* Defaults plus a Hugging Face config.json (path of the file or of its folder) plus overrides, for
 * `verify` and `generate`; validated like a run, but init and output_dir need not be said. */
bool config_from_hf(Config *, const char *path, const char *const *overrides, int n, int ranks, char **warnings,
                    Error *);

/* Defaults plus overrides, for commands without a model; each key's own range is checked. */
bool config_from_overrides(Config *, const char *const *overrides, int n, Error *);

/* Each `key=value` names one of the keys, or a key of one of the sections, that stand in `keys` with spaces between.
 * False + a message that names the first which does not and the command. */
bool config_words_mean(const char *const *overrides, int n, const char *keys, const char *command, Error *);

/* Whether one of the words sets the key of this path, by its path, its name or its section. */
bool config_words_set(const char *const *overrides, int n, const char *path);

/* Parses a dump made by config_dump (a checkpoint carries one). */
bool config_parse_dump(Config *, const char *text, Error *);
/* The same with key=value on top and a layout for `ranks`, to compute with a checkpoint. tokenizer: a folder whose
 * tokenizer stands in for the one that the dump names, which may no longer be there; NULL = none. */
bool config_from_dump(Config *, const char *text, const char *tokenizer, const char *const *overrides, int n,
                      int ranks, char **warnings, Error *);

/* The text of a config.json that describes the model of a Config. source: that of the config.json it came from, whose
 * other fields and spelling stay as they are, NULL = it began here; so does what source says the same of. dtype: of the
 * weights ("bfloat16", "float32", "float16"), NULL = as source has it. malloc'd; NULL + message. */
char *config_to_hf(const Config *, const char *source, const char *dtype, Error *);
/* The model of a config.json's text alone: shapes and maths, as for a model that is only read. path: for messages. */
bool config_from_hf_text(Config *, const char *text, const char *path, Error *);

/* Where a config differs from the published model of its shape, a line each (malloc'd, "" when nowhere); *name becomes
 * that model's name, NULL when it has the shape of none. */
char *config_published_notes(const Config *, const char **name);

/* YAML that config_load reads back to the same Config; with `origins`, comments say where each line came from and in
 * which folder relative paths begin. malloc'd. */
char *config_dump(const Config *, bool origins);
void config_free(Config *);

/* Where a value came from: "tiny.yaml:7", "cli", "config.json" or "default". */
const char *config_origin(const Config *, const char *path);
/* What has another value than without the command line, a line each: "learning_rate 5e-6 -> 1e-5 (cli)"; "" when nothing
 * has. */
const char *config_changed(const Config *);

/* What differs between a run's config and the one it resumes: false + message for a FIXED key;
 * CHANGEABLE ones are listed "key old -> new" in *changes (malloc'd, "" when none). Paths are compared as what they name.
 * written: the dump in the run's folder, which says where the run's relative paths begin; NULL = there is none. */
bool config_resume_check(const Config *old, const Config *written, const Config *now, char **changes, Error *);

/* Hash of all MODEL and FIXED keys' values (checkpoints carry it). */
uint64_t config_hash(const Config *);

/* Text of `dsv2 help KEY` (NULL when there is no such key), and the README's reference table. */
char *config_help_key(const char *word);
char *config_reference(void);

/* Rules across keys (validate.c). Also fills derived values. */
bool config_validate(Config *, int ranks, char **warnings, Error *);

/* Facts that follow from the keys. */
int64_t config_parameters(const Config *); /* SEMANTICS section 1 */
int64_t config_parameters_activated(const Config *);
bool config_layer_is_moe(const Config *, int layer);
int config_moe_layers(const Config *);
/* Whether training reads the data set: it is in mix, or what it holds out is evaluated (in format tokens only the shards
 * know whether anything is). */
bool config_set_in_mix(const Config *, int set);
bool config_set_is_used(const Config *, int set);

/* Schedules that follow from the batch ramp. Sequences of the step that starts when `tokens_done`
 * tokens of the stage are done, and optimizer steps of the whole stage, whichever of steps, tokens
 * and epochs says how long it is (sequences_per_epoch matters only for epochs). */
int64_t config_batch_at(const Config *, int64_t tokens_done);
int64_t config_steps(const Config *, int64_t sequences_per_epoch);
int64_t config_tokens(const Config *, int64_t steps); /* of the stage's first steps */
