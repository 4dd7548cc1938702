/* chat.c - `dsv2 chat MODEL`: a conversation on the terminal, one question, or the conversations of a file.
 *
 * Rank 0 reads and writes. Before each turn it tells the others what was said, and after it what the answer was, so
 * that all of them have the same conversation and make the same calls. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/utf8.h"
#include "launch/agree.h"
#include "launch/launcher.h"
#include "launch/signals.h"
#include "launch/watchdog.h"
#include "train/setup.h"
#include "train/talk.h"

enum { MOST_SAID = 16 << 20 };

/* -- messages -------------------------------------------------------------------------------------------- */

void talk_add(Talk *t, const char *role, const char *content, int64_t bytes) {
    if (t->count == t->room) t->message = must_realloc(t->message, t->room = 2 * t->room + 8, sizeof *t->message);
    t->message[t->count++] = (ChatMessage){role, must_format("%.*s", (int)bytes, content)};
}

void talk_drop(Talk *t, int64_t count) {
    while (t->count > count) free((char *)(uintptr_t)t->message[--t->count].content);
}

void talk_free(Talk *t) {
    talk_drop(t, 0);
    free(t->message);
    *t = (Talk){0};
}

bool chat_prompt(const Chat *c, const Talk *t, Prompt *prompt, Error *error) {
    int32_t *ids;
    bool ok = chat_encode(c->template, c->tokenizer, t->message, t->count, true, &ids, &prompt->n, NULL, error);
    prompt->ids = ids;
    return ok;
}

/* -- lines that people type --------------------------------------------------------------------------------- */

typedef struct {
    char *text;
    int64_t bytes, room, line; /* line: bytes of the one that was given out last, with its newline */
    bool ended;
} Input;

/* More of standard input; false when a signal came first. */
static bool read_more(Input *in, Error *error) {
    if (!signals_wait_input(error)) return false;
    if (in->bytes + 65536 > in->room) in->text = must_realloc(in->text, in->room = 2 * in->room + 65537, 1);
    ssize_t n = read(STDIN_FILENO, in->text + in->bytes, 65536);
    if (n < 0 && errno != EINTR) return fail(error, "standard input cannot be read: %s", strerror(errno));
    in->ended = n == 0;
    in->bytes += max_i64(n, 0);
    return true;
}

/* The next line without its end, NULL at the end of the input. */
static bool next_line(Input *in, char **line, Error *error) {
    char *newline;
    memmove(in->text, in->text + in->line, (size_t)(in->bytes - in->line));
    in->bytes -= in->line;
    in->line = 0;
    while (!(newline = in->bytes ? memchr(in->text, '\n', (size_t)in->bytes) : NULL) && !in->ended) {
        if (in->bytes > MOST_SAID) return fail(error, "a line of more than %d MiB", MOST_SAID >> 20);
        if (!read_more(in, error)) return false;
    }
    *line = NULL;
    if (!newline && !in->bytes) return true;
    if (!newline) newline = in->text + in->bytes++; /* the last line has no end; there is room for one */
    *newline = 0;
    *line = in->text;
    in->line = newline + 1 - in->text;
    if (newline > in->text && newline[-1] == '\r') newline[-1] = 0;
    return true;
}

/* -- an answer ----------------------------------------------------------------------------------------------- */

typedef struct {
    Chat *chat;
    DecodeStream stream;
    char *piece, *text; /* text: the answer so far */
    int64_t bytes, room;
    PromptEnd end;
} Answer;

/* The space that the template puts before an answer is the model's first; it is not shown. */
static void show(Answer *a, const char *text, int64_t bytes) {
    bool space = a->bytes == 0 && bytes > 0 && *text == ' ' && chat_answer_begins_with_space(a->chat->template);
    if (a->bytes + bytes + 1 > a->room) a->text = must_realloc(a->text, a->room = 2 * (a->bytes + bytes) + 256, 1);
    memcpy(a->text + a->bytes, text, (size_t)bytes);
    a->bytes += bytes;
    a->text[a->bytes] = 0;
    fwrite(text + space, 1, (size_t)(bytes - space), stdout);
    fflush(stdout);
}

static bool take_token(void *own, int64_t prompt, int32_t id) {
    Answer *a = own;
    (void)prompt;
    a->chat->heard[a->chat->n_heard++] = id;
    show(a, a->piece, tokenizer_stream_next(a->chat->tokenizer, &a->stream, a->piece, id));
    return !ferror(stdout);
}

static void take_end(void *own, int64_t prompt, PromptEnd end) {
    Answer *a = own;
    (void)prompt;
    show(a, a->piece, tokenizer_stream_end(&a->stream, a->piece));
    fputc('\n', stdout);
    fflush(stdout);
    a->end = end;
}

/* What rank 0 has, on every rank: malloc'd. */
static char *share_text(Comm *world, const char *text, int64_t bytes) {
    world->ops->host_broadcast(world, &bytes, sizeof bytes, 0);
    char *shared = must_alloc(bytes + 1, 1);
    if (world->rank == 0) memcpy(shared, text, (size_t)bytes);
    world->ops->host_broadcast(world, shared, bytes, 0);
    return shared;
}

static int tell_end(const Chat *c, PromptEnd end, int64_t new_tokens, Error *error) {
    if (end == ENDED_NAN) return fail(error, "the model's logits are not numbers"), EXIT_NUMERIC;
    if (ferror(stdout)) return launch_output_lost(error);
    if (end == ENDED_STOPPED) return signals_stopped(error, ""), EXIT_RETRY;
    if (end == ENDED_LENGTH && base_rank == 0)
        fprintf(c->notes, "(cut after %lld tokens: %s)\n", (long long)new_tokens,
                new_tokens == c->config.max_new_tokens ? "max_new_tokens" : "the conversation is full");
    return EXIT_DONE;
}

/* How many ids the prompt and the cache begin alike with; the last is always read, for what follows it. The cache then
 * holds the prompt. */
static int64_t hear(Chat *c, const Prompt *p) {
    int64_t kept = 0;
    while (kept < min_i64(c->n_heard, p->n - 1) && c->heard[kept] == p->ids[kept]) kept++;
    memcpy(c->heard, p->ids, (size_t)p->n * sizeof *c->heard);
    c->n_heard = p->n;
    c->session.world->ops->host_broadcast(c->session.world, &kept, sizeof kept, 0);
    return kept;
}

/* The answer to the conversation becomes its last message. turn: how many answers there were before. */
static int answer(Chat *c, Talk *t, Prompt prompt, int64_t turn, Error *error) {
    Answer a = {.chat = c, .piece = must_alloc(tokenizer_stream_room(c->tokenizer), 1), .text = must_alloc(1, 1)};
    GenerateSink sink = {&a, take_token, take_end};
    GenerateReport report;
    Comm *world = c->session.world;
    SampleRule rule = sample_rule(&c->config);
    rule.seed += (uint64_t)turn; /* the same question twice may have two answers */
    rule.new_tokens = min_i64(rule.new_tokens, c->context - prompt.n);
    prompt.kept = hear(c, &prompt);
    bool ok = generate(&c->session.engine, &prompt, 1, &rule, tokenizer_size(c->tokenizer), &sink, &report, error);
    int code = EXIT_INPUT;
    if (!ok || a.end == ENDED_STOPPED || a.end == ENDED_NAN) c->n_heard = 0;
    if (ok) {
        world->ops->host_broadcast(world, &a.end, sizeof a.end, 0);
        c->n_heard -= a.end == ENDED_LENGTH && c->n_heard > prompt.n; /* the last was not computed any more */
        char *said = share_text(world, a.text, a.bytes);
        int64_t skip = *said == ' ' && chat_answer_begins_with_space(c->template);
        talk_add(t, "assistant", said + skip, (int64_t)strlen(said + skip));
        free(said);
        code = tell_end(c, a.end, rule.new_tokens, error);
    }
    free(a.piece);
    free(a.text);
    return code;
}

/* -- turns ------------------------------------------------------------------------------------------------- */

static void begin(const Chat *c, Talk *t) {
    talk_drop(t, 0);
    if (c->line->system) talk_add(t, "system", c->line->system, (int64_t)strlen(c->line->system));
}

/* A question is asked when it and the conversation leave room for an answer; else it is as if it was not. */
static int turn(Chat *c, Talk *t, const char *question, int64_t number, Error *error) {
    Prompt prompt = {0};
    int64_t before = t->count;
    talk_add(t, "user", question, (int64_t)strlen(question));
    if (!chat_prompt(c, t, &prompt, error)) {
        talk_drop(t, before);
        return EXIT_INPUT;
    }
    int code = EXIT_USAGE;
    if (prompt.n < c->context)
        code = answer(c, t, prompt, number, error);
    else
        fail(error, "the conversation is full: with this question it has %lld tokens of %lld; /new begins another",
             (long long)prompt.n, (long long)c->context);
    if (code != EXIT_DONE) talk_drop(t, before);
    free((int32_t *)(uintptr_t)prompt.ids);
    return code;
}

static int one_question(Chat *c, Error *error) {
    Talk t = {0};
    begin(c, &t);
    int code = turn(c, &t, c->line->input[1], 0, error);
    talk_free(&t);
    return code == EXIT_USAGE ? EXIT_INPUT : code;
}

typedef enum { SAY, BEGIN_ANEW, STOP, FAILED } Wish;

static const char help[] =
    "/new begins another conversation, /exit or ctrl-D ends; anything else is said to the model\n";

/* What is wished for next, on rank 0; *line: what is said. */
static Wish next_wish(const Chat *c, Input *in, bool terminal, char **line, Error *error) {
    for (;;) {
        if (terminal) fputs("> ", stdout), fflush(stdout);
        if (!next_line(in, line, error)) return FAILED;
        if (!*line || !strcmp(*line, "/exit") || !strcmp(*line, "/quit")) return STOP;
        if (!strcmp(*line, "/new")) return BEGIN_ANEW;
        if (!(*line)[strspn(*line, " \t")]) continue;
        if (**line != '/') return SAY;
        fputs(help, c->notes);
    }
}

/* One wish, the same on every rank. *over: no more are to come. */
static int follow(Chat *c, Talk *t, Input *in, bool terminal, int64_t *number, bool *over, Error *error) {
    Comm *world = c->session.world;
    char *line = NULL;
    watchdog_section(SECTION_TYPING);
    Wish wish = world->rank == 0 ? next_wish(c, in, terminal, &line, error) : SAY;
    world->ops->host_broadcast(world, &wish, sizeof wish, 0);
    watchdog_section(SECTION_START);
    *over = wish == STOP || wish == FAILED;
    if (!agree(world, wish != FAILED || world->rank, error)) return error_code(error, EXIT_IO);
    if (wish == BEGIN_ANEW) begin(c, t);
    if (wish != SAY) return EXIT_DONE;
    char *said = share_text(world, line, line ? (int64_t)strlen(line) : 0);
    int code = turn(c, t, said, (*number)++, error);
    free(said);
    bool carry_on = code == EXIT_USAGE || code == EXIT_INPUT; /* a question that cannot be asked ends nothing */
    if (carry_on && base_rank == 0) fprintf(c->notes, "dsv2: %s\n", error->text);
    *over |= !carry_on && code != EXIT_DONE;
    return carry_on ? EXIT_DONE : code;
}

static int conversation(Chat *c, Error *error) {
    Talk t = {0};
    Input in = {.text = must_alloc(1, 1), .room = 1};
    bool terminal = launch_input_is_typed() && launch_terminal_columns() > 0, over = false;
    int64_t number = 0;
    int code = EXIT_DONE;
    begin(c, &t);
    if (terminal) c->notes = stdout; /* where answers go: mpirun does not keep the order of two ways */
    if (terminal && base_rank == 0) fputs(help, stdout);
    while (!over) code = follow(c, &t, &in, terminal, &number, &over, error);
    if (terminal && base_rank == 0) fputc('\n', stdout);
    talk_free(&t);
    free(in.text);
    return code;
}

/* -- the command ----------------------------------------------------------------------------------------------- */

static bool configure(Chat *c, int *code, Error *error) {
    const CommandLine *line = c->line;
    char *warnings = NULL;
    *code = line->n_override ? EXIT_USAGE : EXIT_INPUT;
    bool ok = model_config(&c->config, &c->model, line->override, line->n_override, line->ranks, &warnings, error);
    if (ok) *code = EXIT_INPUT;
    ok = ok && setup_tokenizer(&c->config, &c->tokenizer, error);
    if (ok && warnings && base_rank == 0) fprintf(stderr, "%s", warnings);
    free(warnings);
    if (!ok) return false;
    c->template = chat_template(c->config.tokenizer, c->config.chat_template, error);
    c->context = c->config.context_length;
    if (!c->context || c->context > c->config.max_position_embeddings) c->context = c->config.max_position_embeddings;
    return c->template != NULL;
}

static bool open_model(Chat *c, Error *error) {
    EngineUse use = {.cache = {.sequences = 1,
                               .length = c->context,
                               .tokens = c->context,
                               .block = min_i64(GENERATE_BLOCK, c->context)}};
    c->heard = must_alloc(c->context, sizeof *c->heard);
    return session_open(&c->session, &c->config, use, error) && session_load(&c->session, &c->model, NULL, error);
}

static int run(Chat *c, Error *error) {
    int code;
    if (!session_find(&c->session, c->line->input[0], &c->model, &code, error)) return code;
    bool mine = configure(c, &code, error);
    if (!session_join(&c->session, mine, &code, error)) return code;
    setup_warn_of_bytes(&c->config);
    if (c->line->messages) return chat_file(c, error);
    if (!open_model(c, error)) return EXIT_INPUT;
    signals_open();
    return c->line->n_input > 1 ? one_question(c, error) : conversation(c, error);
}

int command_chat(const CommandLine *line) {
    static Chat c;
    Error error = {0};
    c.line = line;
    c.notes = stderr;
    int code = run(&c, &error);
    if (code != EXIT_DONE && base_rank == 0) fprintf(stderr, "dsv2: %s\n", error.text);
    session_close(&c.session);
    if (c.tokenizer) tokenizer_close(c.tokenizer);
    free(c.heard);
    config_free(&c.config);
    return code;
}
