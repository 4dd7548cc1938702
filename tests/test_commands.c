/* test_commands.c - the command line: what is accepted, and the sentence for each mistake. */
#include "tests/test.h"
#include "train/commands.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = 8 };

static bool parse(CommandLine *line, const char *const words[WORDS], Error *error) {
    const char *argv[WORDS + 1] = {"dsv2"};
    int n = 1;
    for (; n <= WORDS && words[n - 1]; n++) argv[n] = words[n - 1];
    *error = (Error){0};
    return commandline_parse(line, n, argv, error);
}

static void mistakes(void) {
    const struct {
        const char *words[WORDS], *says;
    } cases[] = {
        {{NULL}, "name a command"},
        {{"trian", "a.yaml"}, "unknown command 'trian'; did you mean train?"},
        {{"fly", "a.yaml"}, "unknown command 'fly'"},
        {{"steps=3", "train"}, "comes after a command"},
        {{"train"}, "train needs CONFIG; usage: dsv2 [-n RANKS] train CONFIG [--dry-run] [--fresh] [key=value ...]"},
        {{"train", "a.yaml", "b.yaml"}, "'b.yaml' is one input too many for train"},
        {{"train", "a.yaml", "steps", "3"}, "settings are written key=value"},
        {{"train", "a.yaml", "=3"}, "without spaces: key=value"},
        {{"train", "a.yaml", "--learning_rate=1e-5"}, "settings have no dashes: learning_rate=1e-5"},
        {{"train", "a.yaml", "--dryrun"}, "unknown option '--dryrun'; did you mean --dry-run?"},
        {{"train", "a.yaml", "--optimizer-offload"},
         "unknown option '--optimizer-offload'; `dsv2 help COMMAND` lists"},
        {{"train", "a.yaml", "-x"}, "unknown option '-x'"},
        {{"train", "a.yaml", "--markdown"}, "train does not take --markdown"},
        {{"train", "a.yaml", ""}, "an empty word"},
        {{"import", "a", "-o", ""},
         "-o takes a file or folder to write, not an empty word; is a variable of the shell not set?"},
        {{"-n", "2", "eval", "a", "b", "-o", ""}, "-o takes a file or folder to write, not an empty"},
        {{"chat", "a", "--messages", ""}, "--messages takes a file of conversations, not an empty word"},
        {{"generate", "a", "--prompts", ""}, "--prompts takes a file of prompts, not an empty word"},
        {{"generate", "a", "--token-ids", ""}, "not an empty word"},
        {{"inspect", "a", "--document", ""}, "not an empty word"},
        {{"inspect", "a", "--tokenizer", ""}, "--tokenizer takes a tokenizer, not an empty word"},
        {{"train", "--", "a.yaml", "steps=3"}, "'steps=3' is one input too many"},
        {{"plan", "a.yaml", "--fresh"}, "plan does not take --fresh"},
        {{"generate", "m", "--dry-run"}, "generate does not take --dry-run"},
        {{"-n", "0", "train", "a.yaml"}, "-n takes a number of ranks from 1"},
        {{"-n", "-2", "train", "a.yaml"}, "not '-2'"},
        {{"-n", "two", "train", "a.yaml"}, "not 'two'"},
        {{"-n", "2x", "train", "a.yaml"}, "not '2x'"},
        {{"-n", "99999999999999999999", "train", "a.yaml"}, "-n takes a number"},
        {{"train", "a.yaml", "-n"}, "-n takes a number of ranks from 1 to 1000000, not ''"},
        {{"-n", "2", "-n", "2", "train", "a.yaml"}, "-n is given twice"},
        {{"-n2", "train", "a.yaml"}, "unknown option '-n2'"},
        {{"-n", "2", "inspect", "a"}, "inspect runs in one process"},
        {{"inspect"}, "inspect needs PATH"},
        {{"inspect", "a", "steps=3"}, "inspect takes no settings such as steps=3"},
        {{"generate", "a", "b", "steps=3"}, "steps means nothing to generate; `dsv2 help generate` lists"},
        {{"export", "a", "-o", "b", "seed=3"}, "seed means nothing to export"},
        {{"chat", "a", "data.law.path=b"}, "data.law.path means nothing to chat"},
        {{"eval", "a", "b", "eval_shot=1"}, "did you mean eval_shots?"},
        {{"train-tokenizer", "a", "hidden_size=4"}, "model.hidden_size means nothing to train-tokenizer"},
        {{"verify", "a", "b", "c"}, "'c' is one input too many for verify"},
        {{"eval"}, "eval needs MODEL"},
        {{"help", "train", "plan"}, "'plan' is one input too many for help"},
        {{"doctor", "lr=1"}, "doctor takes no settings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CommandLine line;
        Error error;
        bool good = parse(&line, cases[i].words, &error);
        expect(!good, "case %zu (%s) was accepted", i, cases[i].says);
        expect(strstr(error.text, cases[i].says) && !strchr(error.text, '\n'), "case %zu: %s", i, error.text);
    }
}

static void accepted(void) {
    const struct {
        const char *words[WORDS];
        int inputs, overrides, ranks;
    } cases[] = {
        {{"train", "a.yaml"}, 1, 0, 1},
        {{"-n", "8", "train", "my.yaml", "stages.sft.learning_rate=1e-5"}, 1, 1, 8},
        {{"train", "steps=3", "-n", "4", "a.yaml", "--fresh", "--dry-run"}, 1, 1, 4},
        {{"plan", "configs/v2.yaml", "-n", "128"}, 1, 0, 128},
        {{"verify", "model", "reference.safetensors", "balance_groups=2"}, 2, 1, 1},
        {{"inspect", "a", "b", "./c=d"}, 3, 0, 1},
        {{"train", "a.yaml", "mix={law: 0.5, code: 0.5}", "data.law.path=x/*.txt"}, 1, 2, 1},
        {{"train", "a.yaml", "sample_prompt=In the = beginning"}, 1, 1, 1},
        {{"generate", "m", "top_k=5", "--", "1 + 1 ="}, 2, 1, 1},
        {{"generate", "m", "--", "x=1"}, 2, 0, 1},
        {{"generate", "m", "--prefix", "", "--suffix", ""}, 1, 0, 1},
        {{"chat", "m", "--system", ""}, 1, 0, 1},
        {{"-n", "2", "generate", "m", "--", "-n"}, 2, 0, 2},
        {{"generate", "m", "--", "--"}, 2, 0, 1},
        {{"doctor"}, 0, 0, 1},
        {{"train", "--help"}, 0, 0, 1},
        {{"--help"}, 0, 0, 1},
        {{"--version"}, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CommandLine line;
        Error error;
        bool good = parse(&line, cases[i].words, &error);
        expect(good, "case %zu: %s", i, error.text);
        expect(line.n_input == cases[i].inputs && line.n_override == cases[i].overrides &&
                   line.ranks == cases[i].ranks,
               "case %zu: %d inputs, %d overrides, %d ranks", i, line.n_input, line.n_override, line.ranks);
    }
}

static void too_many(void) {
    const char *argv[COMMAND_OVERRIDES + 8] = {"dsv2", "train", "a.yaml"};
    for (int i = 3; i < COMMAND_OVERRIDES + 8; i++) argv[i] = "steps=3";
    CommandLine line;
    Error error;
    expect(!commandline_parse(&line, COMMAND_OVERRIDES + 8, argv, &error), "accepted");
    expect(strstr(error.text, "more than 128 settings"), "%s", error.text);
    argv[1] = "inspect";
    for (int i = 2; i < 40; i++) argv[i] = "file";
    expect(!commandline_parse(&line, 40, argv, &error), "accepted");
    expect(strstr(error.text, "more than 16 inputs"), "%s", error.text);
}

/* Every command has what its help needs, and says what it takes. */
static void table(void) {
    for (const Command *c = commands; c->name; c++) {
        char *usage = command_usage(c);
        expect(c->run && *c->summary && *c->help && c->help[strlen(c->help) - 1] == '\n', "%s", c->name);
        expect(c->min_inputs <= c->max_inputs && c->max_inputs <= COMMAND_INPUTS, "%s", c->name);
        expect(strstr(usage, c->name) && !!strstr(usage, "-n RANKS") == (c->ranks != RANKS_ONE), "%s", usage);
        expect(command_find(c->name) == c, "%s is there twice", c->name);
        free(usage);
    }
    expect(!command_find("") && !command_find("Train"), "found what is not there");
}

const TestCase commands_tests[] = {
    {"each mistake has its sentence", mistakes},
    {"what people type", accepted},
    {"more words than there is room for", too_many},
    {"the table of commands", table},
    {0},
};
