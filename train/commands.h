/* commands.h - what people type, parsed once, and the table of commands that take it.
 *
 * A command is a row of the table in commands.c and a function that returns the exit code
 * (kernels/base.h). When the function starts, the command line has been checked, and for commands
 * with a config so has the config; under MPI every rank calls it. */
#pragma once
#include "kernels/base.h"

enum { COMMAND_INPUTS = 16, COMMAND_OVERRIDES = 128 };

typedef struct {
    const char *command;
    const char *input[COMMAND_INPUTS]; /* CONFIG, MODEL, files: in the order typed */
    int n_input;
    const char *override[COMMAND_OVERRIDES]; /* key=value */
    int n_override;
    int ranks; /* -n; else how many ranks mpirun or srun started; else 1 */
    bool ranks_said;
    bool dry_run, fresh, markdown, decode, help, version;
    bool plain;                  /* after "--": every word is an input, whatever it looks like */
    const char *out;             /* -o: where the result goes */
    const char *token_ids;       /* "1 2 3" in place of a prompt */
    const char *prompts;         /* file of prompts */
    const char *prefix, *suffix; /* fill in what stands between them */
    const char *messages;        /* file of conversations */
    const char *system;          /* what the system says first */
    const char *document;        /* number of one to show */
    const char *tokenizer;       /* to show it with */
} CommandLine;                   /* options that were not given are NULL */

typedef enum {
    RANKS_ONE,  /* one process; -n is refused */
    RANKS_MPI,  /* -n N starts N ranks */
    RANKS_COUNT /* -n N is only a number (plan) */
} RankUse;

enum {
    TAKES_KEYS = 1,
    TAKES_DRY_RUN = 2,
    TAKES_FRESH = 4,
    TAKES_MARKDOWN = 8,
    TAKES_OUT = 16,
    TAKES_DECODE = 32,
    TAKES_PROMPTS = 64,          /* --token-ids, --prompts, --prefix, --suffix */
    NEEDS_OUT = 128 | TAKES_OUT, /* -o must be given */
    TAKES_DOCUMENT = 256,        /* --document, --tokenizer */
    TAKES_CHAT = 512,            /* --messages, --system */
    READS_INPUT = 1024,          /* standard input, on rank 0 */
    USES_THREADS = 2048          /* of OpenMP; those with RANKS_MPI do */
};

typedef struct {
    const char *name;
    int (*run)(const CommandLine *);
    RankUse ranks;
    unsigned takes;
    int min_inputs, max_inputs;
    const char *inputs;                                /* as in the usage line: "CONFIG" */
    const char *summary;                               /* one line */
    const char *help;                                  /* the rest of `dsv2 help COMMAND` */
    bool (*check_input)(const CommandLine *, Error *); /* before ranks start; may be NULL */
    const char *keys; /* the keys and sections it reads, with spaces between; NULL: all (TAKES_KEYS) */
} Command;

extern const Command commands[]; /* ended by a row without a name */
const Command *command_find(const char *name);

/* False + one sentence that says what to write instead. argv[0] is skipped. */
bool commandline_parse(CommandLine *, int argc, const char *const *argv, Error *);
/* The words of the usage line: "dsv2 [-n RANKS] train CONFIG [key=value ...]". malloc'd. */
char *command_usage(const Command *);

int command_prepare(const CommandLine *);
int command_train(const CommandLine *);
int command_import(const CommandLine *);
int command_export(const CommandLine *);
int command_eval(const CommandLine *);
int command_chat(const CommandLine *);
int command_tokenize(const CommandLine *);
int command_train_tokenizer(const CommandLine *);
int command_generate(const CommandLine *);
int command_plan(const CommandLine *);
int command_inspect(const CommandLine *);
int command_verify(const CommandLine *);
int command_bench(const CommandLine *);
int command_doctor(const CommandLine *);
int command_help(const CommandLine *);

#define DSV2_VERSION "0.1"
