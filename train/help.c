/* help.c - `dsv2 help`, help of a command or key, --version, and the README's key reference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/config.h"
#include "configs/keys.h"
#include "train/commands.h"

static int help_overview(void) {
    printf("dsv2 " DSV2_VERSION " trains and fine-tunes models of the DeepSeek-V2 family on MPI ranks.\n\n"
           "  dsv2 [-n RANKS] COMMAND INPUT... [key=value ...]\n\n");
    for (const Command *c = commands; c->name; c++) printf("  %-9s %s\n", c->name, c->summary);
    printf("\nMODEL means a Hugging Face folder, a run folder (its newest checkpoint), or a checkpoint.\n"
           "`dsv2 help COMMAND` and `dsv2 help KEY` say more; start with: dsv2 -n 2 train configs/tiny.yaml\n");
    return EXIT_DONE;
}

/* .* behind a section: all of its keys. */
static void help_keys(const char *keys) {
    printf("Keys it reads:");
    for (const char *at = keys; *at; at += strspn(at, " ")) {
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, " "), at);
        printf(" %s%s", word, key_is_section(word) ? ".*" : "");
        at += strlen(word);
    }
    printf("\n");
}

static int help_command(const Command *c) {
    char *usage = command_usage(c);
    printf("%s - %s\n\n  %s\n\n%s", c->name, c->summary, usage, c->help);
    if (c->keys) help_keys(c->keys);
    free(usage);
    return EXIT_DONE;
}

static int help_word(const char *word) {
    const Command *command = command_find(word);
    if (command) return help_command(command);
    char *text = config_help_key(word);
    if (text) {
        printf("%s", text);
        free(text);
        return EXIT_DONE;
    }
    Nearest nearest = {.word = word};
    for (const Command *c = commands; c->name; c++) nearest_offer(&nearest, c->name);
    for (int i = 0; i < KEY_COUNT; i++) nearest_offer(&nearest, key_name(&config_keys[i]));
    fprintf(stderr, "dsv2: there is no command and no key '%s'%s%s%s\n", word,
            nearest.best ? "; did you mean " : "; `dsv2 help` lists the commands, `dsv2 help --markdown` all keys",
            nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    return EXIT_USAGE;
}

static int help_markdown(void) {
    char *text = config_reference();
    printf("%s", text);
    free(text);
    return EXIT_DONE;
}

int command_help(const CommandLine *line) {
    bool asked = line->command && strcmp(line->command, "help") == 0;
    const char *word = !asked ? line->command : line->n_input ? line->input[0] : NULL;
    if (line->version) return printf("dsv2 " DSV2_VERSION "\n"), EXIT_DONE;
    if (line->markdown) return help_markdown();
    return word ? help_word(word) : help_overview();
}
