#include "train/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/config.h"
#include "configs/keys.h"
#include "data/tokens.h"
#include "train/prompts.h"

static bool check_config(const CommandLine *line, Error *error) {
    static Config config;
    char *warnings = NULL;
    /* without a number of ranks the config is checked for as few as it can have */
    int ranks = command_find(line->command)->ranks == RANKS_MPI || line->ranks_said ? line->ranks : 0;
    bool good = config_load(&config, line->input[0], line->override, line->n_override, ranks, &warnings, error);
    free(warnings); /* the command itself prints them */
    bool read = good;
    if (read && line->fresh) good = config_can_begin(&config, error);
    if (read) config_free(&config);
    return good;
}

/* For a command that any number of ranks may share, whatever the layout. */
static bool check_config_alone(const CommandLine *line, Error *error) {
    CommandLine alone = *line;
    alone.command = "plan";
    alone.ranks_said = false;
    return check_config(&alone, error);
}

static bool check_files(const CommandLine *line, Error *error) {
    for (int i = 0; i < line->n_input; i++)
        if (access(line->input[i], R_OK) != 0)
            return fail(error, "%s: no such file or folder, or not readable", line->input[i]);
    return true;
}

/* A row of shards has a name that is no file's. */
static bool check_shards(const CommandLine *line, Error *error) {
    CommandLine one = *line;
    one.n_input = 1;
    for (int i = 0; i < line->n_input; i++) {
        one.input[0] = line->input[i];
        if (!tokens_exist(line->input[i]) && !check_files(&one, error)) return false;
    }
    return true;
}

static bool check_first_file(const CommandLine *line, Error *error) {
    CommandLine first = *line;
    first.n_input = 1;
    return check_files(&first, error);
}

static bool check_chat(const CommandLine *line, Error *error) {
    if (line->messages && line->n_input > 1) return fail(error, "give one of QUESTION and --messages");
    if (line->out && !line->messages) return fail(error, "-o goes with --messages");
    if (line->messages && access(line->messages, R_OK))
        return fail(error, "%s: no such file, or not readable", line->messages);
    return check_first_file(line, error);
}

static bool check_generate(const CommandLine *line, Error *error) {
    return check_first_file(line, error) && prompts_check(line, error);
}

/* What a model that is only read can be told. */
#define READS_MODEL "model tokenizer backend threads layout dtype watchdog_seconds "

const Command commands[] = {
    {"prepare", command_prepare, RANKS_MPI, TAKES_KEYS | TAKES_DRY_RUN, 1, 1, "CONFIG",
     "text, JSONL or Megatron ids -> token shards",
     "Prepares every data set that CONFIG names, with any number of ranks. Shards are kept and used again while source\n"
     "and tokenizer stay the same; `train` prepares what it uses and is missing. A run that was interrupted goes on where\n"
     "it was. --dry-run shows rows and counts and writes nothing.\n",
     check_config_alone, NULL},
    {"train", command_train, RANKS_MPI, TAKES_KEYS | TAKES_DRY_RUN | TAKES_FRESH, 1, 1, "CONFIG",
     "train what a config describes; resumes by itself",
     "Goes on from the newest whole checkpoint of output_dir. --fresh renames the old run folder and starts over.\n"
     "--dry-run checks config, tokenizer, data paths, evaluations, output_dir and whether the run may go on there, prints\n"
     "what would run, and stops; nothing is made, and free memory and disk are not looked at.\n"
     "SIGUSR1, SIGTERM or ctrl-C stop at the next step, save, and end with code 75; SIGUSR2 prints where every rank is.\n"
     "The console shows at most a line a second; log.jsonl and metrics.csv hold every step.\n"
     "Exit codes: 0 done, 2 usage or config, 65 bad input, 70 NaN or infinity, 74 disk, 75 try again.\n",
     check_config, NULL},
    {"eval", command_eval, RANKS_MPI, TAKES_KEYS | TAKES_OUT, 2, COMMAND_INPUTS, "MODEL DATA ...",
     "loss on texts, questions answered right, numbers found in long texts",
     "MODEL is a Hugging Face folder, a run folder (its newest checkpoint) or a checkpoint. Each DATA gives a line:\n"
     "  text      what a data set's path can be: a file, folder or glob, plain or .jsonl with the field text; or shards\n"
     "            made by prepare (their folder, FOLDER/train, FOLDER/validation). Loss and perplexity a token, and the\n"
     "            loss in bits over the bytes that the scored tokens decode to (special tokens are scored and have none).\n"
     "  choice    .jsonl with question, choices and answer (its text, its letter, or its number from 0). Every choice is\n"
     "            put behind the prompt; normalised takes the one of highest log-likelihood a byte of the choice, plain\n"
     "            the one of highest log-likelihood.\n"
     "  answer    .jsonl with question and answer (or a list of right ones). What the model says behind the prompt, the\n"
     "            likeliest token each time, up to the end of the line or eval_answer_tokens, must equal it but for space\n"
     "            around it (and case, with eval_ignore_case).\n"
     "  needle    or needle:FILE. Numbers hidden in sentences made here, or in the text of FILE: eval_needles at every\n"
     "            depth, in contexts of sequence_length tokens, half, a quarter and an eighth.\n"
     "  CONFIG    what a .yaml trains beside: the held-out part of its data sets, and what stands under eval:.\n"
     "The prompt is `Question: ...` and, on the next line, `Answer:`; a space and the answer follow. Before it stand\n"
     "eval_shots solved questions in the same form, a blank line after each: the first of the file other than the one\n"
     "asked. A prompt that does not fit sequence_length loses its beginning, and that is said. (+-) is a standard error.\n"
     "-o writes a line of JSON a question. Texts are prepared in TMPDIR (on several machines: one that all of them see).\n",
     check_first_file,
     READS_MODEL
     "seed packing sequence_length micro_batch_size eval_tokens eval_shots eval_answer_tokens eval_ignore_case "
     "eval_needles"},
    {"generate", command_generate, RANKS_MPI, TAKES_KEYS | TAKES_OUT | TAKES_PROMPTS, 1, 2, "MODEL [PROMPT]",
     "text from a model",
     "Continues PROMPT (none: the beginning of a document; after -- it may look like a setting or an option), written while\n"
     "it grows. Instead of PROMPT:\n"
     "  --token-ids IDS                   ids in, ids out, the prompt's first; needs no tokenizer\n"
     "  --prompts FILE                    a prompt a line, or .jsonl with prompt or text; a line of JSON for each, in order:\n"
     "                                    prompt, text, prompt_tokens, new_tokens, ended (eos, length)\n"
     "  --prefix TEXT --suffix TEXT       fills the gap between them (models with tokens for that, such as Coder-V2)\n"
     "-o writes such lines of JSON to OUT for any of them.\n"
     "temperature=0 takes the likeliest token each time.\n"
     "What is chosen follows from seed, the prompt's number in the file and the place in the text: not from the ranks,\n"
     "nor from the other prompts. Standard error ends with the bytes of the cache and the speed.\n",
     check_generate, READS_MODEL "seed generate"},
    {"chat", command_chat, RANKS_MPI, TAKES_KEYS | TAKES_OUT | TAKES_CHAT | READS_INPUT, 1, 2, "MODEL [QUESTION]",
     "a conversation with a model",
     "Answers QUESTION; without one, a line of standard input is a turn: /new begins another conversation, /exit or the end\n"
     "of the input ends. What was said is kept until context_length tokens are full, and then that is said.\n"
     "  --messages FILE  .jsonl with messages (role and content): each line comes back, in order, with answer,\n"
     "                   prompt_tokens, new_tokens and ended (eos, length), on standard output or in OUT (-o)\n"
     "  --system TEXT    what the system says before all else\n"
     "The template is recognised by the text of the model's tokenizer_config.json, or named with chat_template. Whatever\n"
     "messages spell is text, never a control token.\n",
     check_chat, READS_MODEL "seed generate chat chat_template"},
    {"import", command_import, RANKS_ONE, NEEDS_OUT, 1, 1, "MODEL", "a Hugging Face folder -> a checkpoint",
     "MODEL is a folder as published: config.json, safetensors (one file, or several with an index), tokenizer files.\n"
     "OUT becomes a checkpoint without optimizer state, for init_from, generate, eval, export: the tensors bit for bit in\n"
     "the dtype they have (bf16, fp16 or fp32), config.json, generation_config.json and tokenizer files as they are.\n"
     "Every tensor is looked through for NaN. Prints the config as it was understood, and where it differs from that of\n"
     "the published model of this shape. OUT appears whole or not at all; memory does not grow with the model.\n"
     "Training can begin from the folder itself: init_from takes it without import.\n",
     check_files, NULL},
    {"export", command_export, RANKS_ONE, TAKES_KEYS | NEEDS_OUT, 1, 1, "MODEL", "any model -> a Hugging Face folder",
     "MODEL is a run folder (its newest checkpoint), a checkpoint of any layout, or a Hugging Face folder. OUT gets\n"
     "config.json, safetensors (with an index when they are several), generation_config.json and tokenizer files; fields\n"
     "of config.json that have no meaning here are as they came. Each tensor has the dtype it is stored in, so that import\n"
     "and export give the same bytes; dtype=bf16 or dtype=fp32 converts, where fp32 takes the masters of a run in bf16.\n"
     "max_shard_size=500M says how large a file may be (5B). OUT appears whole or not at all.\n",
     check_files, "model tokenizer dtype export"},
    {"tokenize", command_tokenize, RANKS_ONE, TAKES_DECODE | USES_THREADS, 1, 1, "TOKENIZER",
     "ids of texts, from JSONL to JSONL",
     "Reads JSONL from standard input and writes it to standard output, with `ids` added to every object that has `text`;\n"
     "--decode adds `text` to objects with `ids`. Neither bos nor eos is added; special ids decode to nothing. TOKENIZER\n"
     "is a tokenizer.json, a folder that holds one, or bytes.\n",
     NULL, NULL},
    {"train-tokenizer", command_train_tokenizer, RANKS_ONE, TAKES_KEYS | TAKES_OUT | USES_THREADS, 1, COMMAND_INPUTS,
     "CORPUS ...", "a byte-level BPE tokenizer from texts",
     "CORPUS is a file, folder or glob: texts, or .jsonl with the field text_field. Writes tokenizer.json and\n"
     "tokenizer_config.json to FOLDER (-o), which dsv2 and Hugging Face read: the pre-tokenizer of DeepSeek-V2, 256 bytes,\n"
     "the merges, bos and eos. vocab_size is 8192 where it is not said.\n"
     "The result depends on nothing but the texts and these keys: the pair that occurs most often is merged, of equal ones\n"
     "that of the lower left id, then the lower right one. Pieces of more than 1024 bytes are left out.\n",
     NULL, "model.vocab_size train_tokenizer threads"},
    {"plan", command_plan, RANKS_COUNT, TAKES_KEYS, 1, 1, "CONFIG", "memory, FLOPs and traffic without running",
     "-n RANKS says how many ranks to plan for (default: as few as the layout allows); nothing is started.\n"
     "device_memory_gib=G says what a rank may use.\n",
     check_config, NULL},
    {"verify", command_verify, RANKS_MPI, TAKES_KEYS, 1, 2, "MODEL REFERENCE.safetensors | CHECKPOINT | SHARD.h5",
     "compare with another implementation, or check hashes",
     "With a reference: input_ids, labels, logits, loss, layer.K.output, grad.NAME, grad_balanced.NAME are compared.\n"
     "With a checkpoint, a token shard or a prepared set alone, its hashes are checked. Ends with 0 only when all pass.\n",
     check_shards, NULL},
    {"inspect", command_inspect, RANKS_ONE, TAKES_DOCUMENT, 1, COMMAND_INPUTS, "PATH ...",
     "what is in a file or folder",
     "PATH is a checkpoint, a run folder, a token shard or another HDF5 file, a safetensors file, a Hugging Face folder,\n"
     "or a set that prepare made: its folder, FOLDER/train or FOLDER/validation. --document N shows document N (from 0) of\n"
     "the latter with a | before each token, control tokens by name and control characters as \\n, \\x1b, \\u{200f}.\n"
     "The tokenizer is the one that the shards name, or --tokenizer, which must give the same ids.\n",
     check_shards, NULL},
    {"bench", command_bench, RANKS_ONE, TAKES_KEYS | USES_THREADS, 0, 2, "[WORD | CONFIG.yaml | TOKENIZER [TEXT]]",
     "speed of every kernel, of a step, or of a tokenizer",
     "One row per kernel: size, time, GFLOP/s or GB/s, share of what this machine was measured to reach. WORD picks\n"
     "kernels whose name contains it. With a config: the training steps of its model, on random tokens, and a decoded\n"
     "token at several context lengths. With a tokenizer.json, or a folder that holds one: MB/s of encoding and decoding\n"
     "TEXT (a file, folder or glob; default data/sample/*.txt), and 20,000 random strings there and back.\n",
     NULL, NULL},
    {"doctor", command_doctor, RANKS_ONE, 0, 0, 1, "[FOLDER]", "check the environment and name the fix",
     "FOLDER is where runs will be written (default: the working folder).\n", NULL, NULL},
    {"help", command_help, RANKS_ONE, TAKES_MARKDOWN, 0, 1, "[COMMAND | KEY]", "explain a command or a key",
     "--markdown prints the reference of all keys.\n", NULL, NULL},
    {0},
};

const Command *command_find(const char *name) {
    for (const Command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

/* -- options: one row each ------------------------------------------------------------------------ */

typedef struct {
    const char *name, *usage;
    const char *value; /* what the next word is; NULL: the option stands alone. Only TEXT may be empty */
    unsigned takes;    /* what a command must take; 0 = any */
    size_t field;      /* of CommandLine: a bool, or a string when there is a value */
} Option;

static const char TEXT[] = "text";
static const Option options[] = {
    {"-o", " [-o OUT]", "a file or folder to write", TAKES_OUT, offsetof(CommandLine, out)},
    {"--dry-run", " [--dry-run]", NULL, TAKES_DRY_RUN, offsetof(CommandLine, dry_run)},
    {"--fresh", " [--fresh]", NULL, TAKES_FRESH, offsetof(CommandLine, fresh)},
    {"--markdown", " [--markdown]", NULL, TAKES_MARKDOWN, offsetof(CommandLine, markdown)},
    {"--decode", " [--decode]", NULL, TAKES_DECODE, offsetof(CommandLine, decode)},
    {"--token-ids", " [--token-ids IDS]", "ids, as in \"1 2 3\"", TAKES_PROMPTS, offsetof(CommandLine, token_ids)},
    {"--prompts", " [--prompts FILE]", "a file of prompts", TAKES_PROMPTS, offsetof(CommandLine, prompts)},
    {"--prefix", " [--prefix TEXT", TEXT, TAKES_PROMPTS, offsetof(CommandLine, prefix)},
    {"--suffix", " --suffix TEXT]", TEXT, TAKES_PROMPTS, offsetof(CommandLine, suffix)},
    {"--messages", " [--messages FILE]", "a file of conversations", TAKES_CHAT, offsetof(CommandLine, messages)},
    {"--system", " [--system TEXT]", TEXT, TAKES_CHAT, offsetof(CommandLine, system)},
    {"--document", " [--document N]", "the number of a document, from 0", TAKES_DOCUMENT,
     offsetof(CommandLine, document)},
    {"--tokenizer", " [--tokenizer TOKENIZER]", "a tokenizer", TAKES_DOCUMENT, offsetof(CommandLine, tokenizer)},
    {"--help", "", NULL, 0, offsetof(CommandLine, help)},
    {"-h", "", NULL, 0, offsetof(CommandLine, help)},
    {"--version", "", NULL, 0, offsetof(CommandLine, version)},
    {0},
};

static void *option_field(const Option *option, CommandLine *line) { return (char *)line + option->field; }

static bool option_given(const Option *o, CommandLine *line) {
    return o->value ? *(const char **)option_field(o, line) != NULL : *(bool *)option_field(o, line);
}

char *command_usage(const Command *c) {
    char flags[256] = "";
    for (const Option *o = options; o->name; o++) {
        bool needed = o->takes == TAKES_OUT && (c->takes & NEEDS_OUT) == NEEDS_OUT;
        if (c->takes & o->takes) strncat(flags, needed ? " -o OUT" : o->usage, sizeof flags - strlen(flags) - 1);
    }
    return must_format("dsv2 %s%s %s%s%s", c->ranks == RANKS_ONE ? "" : "[-n RANKS] ", c->name, c->inputs, flags,
                       c->takes & TAKES_KEYS ? " [key=value ...]" : "");
}

/* -- parsing -------------------------------------------------------------------------------------- */

static bool is_override(const char *word) {
    if (!isalpha((unsigned char)*word) && *word != '_') return false;
    size_t name = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return word[name] == '=';
}

static bool unknown_option(const char *word, Error *error) {
    const char *bare = word + strspn(word, "-");
    if (is_override(bare)) return fail(error, "unknown option '%s'; settings have no dashes: %s", word, bare);
    Nearest nearest = {.word = word};
    for (const Option *o = options; o->name; o++) nearest_offer(&nearest, o->name);
    if (nearest.best) return fail(error, "unknown option '%s'; did you mean %s?", word, nearest.best);
    return fail(error, "unknown option '%s'; `dsv2 help COMMAND` lists those of a command", word);
}

static bool unknown_command(const char *word, Error *error) {
    Nearest nearest = {.word = word};
    for (const Command *c = commands; c->name; c++) nearest_offer(&nearest, c->name);
    if (nearest.best) return fail(error, "unknown command '%s'; did you mean %s?", word, nearest.best);
    if (is_override(word)) return fail(error, "'%s' comes after a command: dsv2 train CONFIG %s", word, word);
    return fail(error, "unknown command '%s'; `dsv2 help` lists them", word);
}

static bool parse_ranks(CommandLine *line, const char *word, Error *error) {
    enum { MOST_RANKS = 1000000 };
    char *end = NULL;
    long n = word ? strtol(word, &end, 10) : 0;
    if (!word || end == word || *end || n < 1 || n > MOST_RANKS)
        return fail(error, "-n takes a number of ranks from 1 to %d, not '%s'", MOST_RANKS, word ? word : "");
    if (line->ranks_said) return fail(error, "-n is given twice");
    line->ranks = (int)n;
    line->ranks_said = true;
    return true;
}

/* Takes an option, and the word after it where it has a value; *used says how many words that were. */
static bool parse_option(CommandLine *line, const char *word, const char *next, int *used, Error *error) {
    const Option *o = options;
    while (o->name && strcmp(o->name, word)) o++;
    if (!o->name) return unknown_option(word, error);
    *used = o->value ? 2 : 1;
    if (option_given(o, line)) return fail(error, "%s is given twice", word);
    if (!o->value) return *(bool *)option_field(o, line) = true;
    if (!next) return fail(error, "%s takes %s", word, o->value);
    if (!*next && o->value != TEXT)
        return fail(error, "%s takes %s, not an empty word; is a variable of the shell not set?", word, o->value);
    *(const char **)option_field(o, line) = next;
    return true;
}

static bool parse_word(CommandLine *line, const char *word, Error *error) {
    if (!*word && !line->plain)
        return fail(error, "an empty word on the command line; is a variable of the shell not set?");
    if (!line->command) {
        line->command = word;
        return command_find(word) || unknown_command(word, error);
    }
    if (!line->plain && is_override(word)) {
        if (line->n_override == COMMAND_OVERRIDES)
            return fail(error, "more than %d settings; use a file", COMMAND_OVERRIDES);
        line->override[line->n_override++] = word;
        return true;
    }
    if (!line->plain && *word == '=')
        return fail(error, "'%s': settings are written without spaces: key=value", word);
    if (line->n_input == COMMAND_INPUTS) return fail(error, "more than %d inputs", COMMAND_INPUTS);
    line->input[line->n_input++] = word;
    return true;
}

/* -- what the command takes ----------------------------------------------------------------------- */

static bool check_taken(const Command *c, CommandLine *line, Error *error) {
    if (line->ranks_said && c->ranks == RANKS_ONE)
        return fail(error, "%s runs in one process; leave -n out", c->name);
    for (const Option *o = options; o->name; o++)
        if (o->takes && !(c->takes & o->takes) && option_given(o, line))
            return fail(error, "%s does not take %s", c->name, o->name);
    if ((c->takes & NEEDS_OUT) == NEEDS_OUT && !line->out)
        return fail(error, "%s needs -o and the folder to make", c->name);
    if (line->n_override && !(c->takes & TAKES_KEYS))
        return fail(error, "%s takes no settings such as %s", c->name, line->override[0]);
    return !c->keys || config_words_mean(line->override, line->n_override, c->keys, c->name, error);
}

static bool check_inputs(const Command *c, const CommandLine *line, Error *error) {
    char *usage = command_usage(c);
    bool good = true;
    if (line->n_input < c->min_inputs) good = fail(error, "%s needs %s; usage: %s", c->name, c->inputs, usage);
    if (line->n_input > c->max_inputs)
        good = fail(error, "'%s' is one input too many for %s (settings are written key=value); usage: %s",
                    line->input[c->max_inputs], c->name, usage);
    free(usage);
    return good;
}

/* The word at argv[i], or an option and its value: how many words were taken, 0 on error. */
static int parse_next(CommandLine *line, int i, int argc, const char *const *argv, Error *error) {
    const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
    int used = 1;
    if (line->plain) return parse_word(line, word, error) ? 1 : 0;
    if (strcmp(word, "--") == 0) return line->plain = true, 1;
    if (strcmp(word, "-n") == 0) return parse_ranks(line, next, error) ? 2 : 0;
    bool good =
        *word == '-' && word[1] ? parse_option(line, word, next, &used, error) : parse_word(line, word, error);
    return good ? used : 0;
}

bool commandline_parse(CommandLine *line, int argc, const char *const *argv, Error *error) {
    *line = (CommandLine){.ranks = 1};
    for (int i = 1, used; i < argc; i += used)
        if (!(used = parse_next(line, i, argc, argv, error))) return false;
    if (line->help || line->version) return true;
    if (!line->command) return fail(error, "name a command; `dsv2 help` lists them");
    const Command *c = command_find(line->command);
    return check_taken(c, line, error) && check_inputs(c, line, error);
}
