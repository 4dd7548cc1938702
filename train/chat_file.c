/* chat_file.c - the conversations of a JSONL file: a line with `messages` becomes the same line with `answer`. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/documents.h"
#include "launch/agree.h"
#include "launch/signals.h"
#include "train/outfile.h"
#include "train/reply.h"
#include "train/talk.h"

typedef struct {
    Chat *chat;
    json_t **object; /* of each conversation */
    Prompt *prompt;
    int32_t **ids; /* of each answer, while it grows */
    int64_t *made, count, told, line;
    PromptEnd *end;
    bool *ended;
    OutFile out;
    int64_t nan, stopped;
} Lines;

/* -- reading ---------------------------------------------------------------------------------------------- */

static bool read_message(Talk *t, const json_t *json, size_t number, Error *error) {
    const json_t *role = json_object_get(json, "role"), *content = json_object_get(json, "content");
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *name = json_string_value(role);
    if (!name || !json_is_string(content))
        return fail(error, "messages[%zu] has no role or no content that is text", number);
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, roles[i]))
            return talk_add(t, roles[i], json_string_value(content), (int64_t)json_string_length(content)), true;
    return fail(error, "messages[%zu] has the role '%.40s'; system, user and assistant are known", number, name);
}

static bool read_messages(const Chat *c, Talk *t, const json_t *object, Error *error) {
    const json_t *messages = json_object_get(object, "messages");
    size_t n = json_array_size(messages);
    if (!n) return fail(error, "the object has no messages");
    const char *first = json_string_value(json_object_get(json_array_get(messages, 0), "role"));
    if (c->line->system && !(first && !strcmp(first, "system")))
        talk_add(t, "system", c->line->system, (int64_t)strlen(c->line->system));
    for (size_t i = 0; i < n; i++)
        if (!read_message(t, json_array_get(messages, i), i, error)) return false;
    return true;
}

static bool fits(const Chat *c, const Prompt *p, Error *error) {
    int64_t left = c->context - p->n;
    if (left >= c->config.max_new_tokens) return true;
    return fail(
        error, "the conversation has %lld tokens, which leaves %lld of context_length %lld for max_new_tokens %lld",
        (long long)p->n, (long long)max_i64(left, 0), (long long)c->context, (long long)c->config.max_new_tokens);
}

/* Takes the object. */
static bool add_conversation(Lines *l, json_t *object, Error *error) {
    Talk t = {0};
    Prompt p = {0};
    bool ok = read_messages(l->chat, &t, object, error) && chat_prompt(l->chat, &t, &p, error);
    talk_free(&t);
    l->object = must_realloc(l->object, l->count + 1, sizeof *l->object);
    l->prompt = must_realloc(l->prompt, l->count + 1, sizeof *l->prompt);
    l->object[l->count] = object;
    l->prompt[l->count++] = p;
    return ok && fits(l->chat, &p, error);
}

static bool add_line(Lines *l, const char *text, int64_t bytes, Error *error) {
    Error why;
    json_error_t json_why;
    if (bytes > LINE_LIMIT)
        return fail(error, "%s:%lld: a line of more than %d MiB", l->chat->line->messages, (long long)l->line,
                    LINE_LIMIT >> 20);
    if (!text[strspn(text, " \t\r\n")] && (int64_t)strlen(text) == bytes) return true;
    json_t *object = json_text(text, bytes, JSON_REJECT_DUPLICATES, &json_why);
    if (!object)
        return fail(error, "%s:%lld: not JSON: %.200s", l->chat->line->messages, (long long)l->line, json_why.text);
    return add_conversation(l, object, &why) ||
           fail(error, "%s:%lld: %.1000s", l->chat->line->messages, (long long)l->line, why.text);
}

static bool read_lines(Lines *l, Error *error) {
    const char *file = l->chat->line->messages;
    char *text = NULL;
    size_t room = 0;
    ssize_t bytes;
    FILE *from = fopen(file, "r");
    if (!from) return fail(error, "%s: cannot open: %s", file, strerror(errno));
    bool ok = true;
    while (ok && (bytes = getline(&text, &room, from)) >= 0) {
        int64_t mark = ++l->line == 1 ? text_mark(text, bytes) : 0;
        ok = add_line(l, text + mark, bytes - mark, error);
    }
    if (ok && ferror(from)) ok = fail(error, "%s: cannot read: %s", file, strerror(errno));
    if (ok && !l->count) ok = fail(error, "%s: holds no conversation", file);
    free(text);
    fclose(from);
    return ok;
}

/* -- answers ---------------------------------------------------------------------------------------------- */

static bool take_token(void *own, int64_t prompt, int32_t id) {
    Lines *l = own;
    if (!l->ids[prompt]) l->ids[prompt] = must_alloc(l->chat->config.max_new_tokens, sizeof **l->ids);
    l->ids[prompt][l->made[prompt]++] = id;
    return true;
}

static json_t *answer_json(const Lines *l, int64_t i) {
    const Tokenizer *t = l->chat->tokenizer;
    char *text = must_alloc(l->made[i] * tokenizer_max_bytes(t) + 1, 1);
    int64_t bytes = tokenizer_decode(t, text, l->ids[i], l->made[i]);
    int64_t skip = bytes > 0 && *text == ' ' && chat_answer_begins_with_space(l->chat->template);
    json_t *json = reply_json(text + skip, bytes - skip);
    free(text);
    return json;
}

static void write_line(Lines *l, int64_t i) {
    static const char *const names[] = {[ENDED_EOS] = "eos", [ENDED_LENGTH] = "length", [ENDED_NAN] = "nan"};
    FILE *to = l->out.file ? l->out.file : stdout;
    json_t *object = l->object[i];
    json_object_set_new(object, "answer", answer_json(l, i));
    json_object_set_new(object, "prompt_tokens", json_integer(l->prompt[i].n));
    json_object_set_new(object, "new_tokens", json_integer(l->made[i]));
    json_object_set_new(object, "ended", json_string(names[l->end[i]]));
    json_dumpf(object, to, JSON_COMPACT);
    putc('\n', to); /* errors show when the file is closed */
    fflush(to);
    free(l->ids[i]);
    l->ids[i] = NULL;
}

static void take_end(void *own, int64_t prompt, PromptEnd end) {
    Lines *l = own;
    l->end[prompt] = end;
    l->ended[prompt] = true;
    l->nan += end == ENDED_NAN;
    l->stopped += end == ENDED_STOPPED;
    if (l->stopped) return; /* what is not whole is no line */
    for (; l->told < l->count && l->ended[l->told]; l->told++) write_line(l, l->told);
}

static void open_answers(Lines *l) {
    l->ids = must_alloc(l->count, sizeof *l->ids);
    l->made = must_alloc(l->count, sizeof *l->made);
    l->end = must_alloc(l->count, sizeof *l->end);
    l->ended = must_alloc(l->count, sizeof *l->ended);
}

static bool open_model(Lines *l, int *code, Error *error) {
    Chat *c = l->chat;
    EngineUse use = {.cache = generate_use(l->prompt, l->count, c->config.max_new_tokens, c->config.prompts_at_once,
                                           c->line->ranks)};
    if (!session_open(&c->session, &c->config, use, error) || !session_load(&c->session, &c->model, NULL, error))
        return false;
    *code = EXIT_IO;
    bool mine = base_rank || !c->line->out || outfile_open(&l->out, c->line->out, error);
    return agree(c->session.world, mine, error);
}

static int finish(Lines *l, Error *error) {
    Comm *world = l->chat->session.world;
    int64_t counts[2] = {l->nan, l->stopped};
    comm_reduce_i64(world, counts, 2, REDUCE_SUM);
    if (counts[1]) return signals_stopped(error, l->chat->line->out ? NOTHING_WRITTEN : ""), EXIT_RETRY;
    if (!agree(world, outfile_keep(&l->out, error), error)) return EXIT_IO;
    return counts[0] ? (fail(error, "the model's logits are not numbers"), EXIT_NUMERIC) : EXIT_DONE;
}

static int answer_all(Lines *l, Error *error) {
    Chat *c = l->chat;
    GenerateSink sink = {l, take_token, take_end};
    GenerateReport report;
    SampleRule rule = sample_rule(&c->config);
    int code = EXIT_INPUT;
    if (!session_join(&c->session, read_lines(l, error), &code, error)) return code;
    signals_open();
    if (!open_model(l, &code, error)) return code;
    open_answers(l);
    if (!generate(&c->session.engine, l->prompt, l->count, &rule, tokenizer_size(c->tokenizer), &sink, &report,
                  error))
        return EXIT_INPUT;
    return finish(l, error);
}

int chat_file(Chat *c, Error *error) {
    Lines l = {.chat = c};
    int code = answer_all(&l, error);
    outfile_drop(&l.out);
    for (int64_t i = 0; i < l.count; i++) {
        json_decref(l.object[i]);
        free((int32_t *)(uintptr_t)l.prompt[i].ids);
        if (l.ids) free(l.ids[i]);
    }
    free(l.object);
    free(l.prompt);
    free(l.ids);
    free(l.made);
    free(l.end);
    free(l.ended);
    return code;
}
