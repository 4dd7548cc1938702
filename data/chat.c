/* chat.c - see chat.h. A template is a row: what stands around what each role says. */
#include "data/chat.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "configs/json_text.h"
#include "data/disk.h"
#include "data/utf8.h"

enum { MOST_CONFIG = 4 << 20 };

/* Control tokens by their names (NULL: none), plain text otherwise. */
typedef struct {
    const char *token, *before, *after;
} Frame;

struct ChatTemplate {
    const char *name;
    const char *text; /* chat_template as published; NULL: goes by its name alone */
    Frame user, system;
    Frame answer;      /* before: between where the assistant begins to speak and its first word */
    const char *cue;   /* where it begins to speak, behind answer.token */
    bool system_first; /* what the system says stands before all else, wherever it came */
};

const char chat_template_v2[] =
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bo"
    "s_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['cont"
    "ent'] + '\n\n' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eo"
    "s_token }}{% elif message['role'] == 'system' %}{{ message['content'] + '\n\n' }}{% endif %}{% endfo"
    "r %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

static const ChatTemplate templates[] = {
    {.name = "deepseek-v2", /* V2-Chat, V2-Lite-Chat, Coder-V2-Instruct, and DeepSeek LLM before them */
     .text = chat_template_v2,
     .user = {NULL, "User: ", "\n\n"},
     .system = {NULL, "", "\n\n"},
     .answer = {NULL, " ", ""},
     .cue = "Assistant:"},
    {.name = "deepseek-v2.5",
     .user = {"<｜User｜>", "", ""},
     .system = {NULL, "", ""},
     .answer = {"<｜Assistant｜>", "", ""},
     .cue = "",
     .system_first = true},
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

/* -- which one ---------------------------------------------------------------------------------------- */

static const char set_it[] = "set chat_template to one of deepseek-v2, deepseek-v2.5";

static const ChatTemplate *by_name(const char *name, Error *error) {
    for (int i = 0; i < TEMPLATES; i++)
        if (!strcmp(templates[i].name, name)) return &templates[i];
    return fail(error, "chat_template is '%.80s', which is not known here; %s", name, set_it), NULL;
}

/* A template as it is compared, malloc'd: white space at its end is no part of it, and \n in its strings is a newline
 * however it is written. */
static char *plain_template(const char *text) {
    char *to = must_alloc((int64_t)strlen(text) + 1, 1);
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        bool newline = p[0] == '\\' && p[1] == 'n';
        to[n++] = newline ? '\n' : *p;
        p += newline;
    }
    while (n > 0 && strchr(" \t\r\n", to[n - 1])) n--;
    to[n] = 0;
    return to;
}

static const ChatTemplate *by_text(const char *text, const char *file, Error *error) {
    const ChatTemplate *found = NULL;
    char *plain = plain_template(text);
    for (int i = 0; i < TEMPLATES && !found; i++)
        if (templates[i].text && !strcmp(templates[i].text, plain)) found = &templates[i];
    free(plain);
    if (!found) fail(error, "%s: its chat_template is not known here (none is interpreted); %s", file, set_it);
    return found;
}

/* The text of "chat_template": a string, or a list of named ones, of which the default counts. */
static const char *template_text(const json_t *config) {
    const json_t *value = json_object_get(config, "chat_template");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && !strcmp(name, "default")) return json_string_value(json_object_get(one, "template"));
    }
    return json_string_value(value);
}

static const ChatTemplate *from_config(const char *path, bool *found, Error *error) {
    int64_t bytes;
    json_error_t why;
    const ChatTemplate *t = NULL;
    *found = true;
    char *text = disk_read_file(path, MOST_CONFIG, &bytes, error);
    if (!text) return NULL;
    json_t *json = json_text(text, bytes, JSON_REJECT_DUPLICATES, &why);
    const char *wanted = template_text(json);
    if (!json)
        fail(error, "%s:%d: not JSON: %.160s", path, why.line, why.text);
    else if (wanted)
        t = by_text(wanted, path, error);
    else
        *found = false;
    json_decref(json);
    free(text);
    return t;
}

static const ChatTemplate *from_jinja(const char *path, Error *error) {
    int64_t bytes;
    char *text = disk_read_file(path, MOST_CONFIG, &bytes, error);
    const ChatTemplate *t = text ? by_text(text, path, error) : NULL;
    free(text);
    return t;
}

static const ChatTemplate *recognise(const char *tokenizer, Error *error) {
    const char *slash = strrchr(tokenizer, '/');
    char *folder = disk_is_folder(tokenizer)
                       ? must_format("%s/", tokenizer)
                       : must_format("%.*s", slash ? (int)(slash + 1 - tokenizer) : 0, tokenizer);
    char *config = must_format("%stokenizer_config.json", folder),
         *jinja = must_format("%schat_template.jinja", folder);
    bool found = false;
    const ChatTemplate *t = NULL;
    if (disk_exists(jinja)) /* newer files have it beside the configuration; it counts before what stands there */
        found = true, t = from_jinja(jinja, error);
    else if (disk_exists(config))
        t = from_config(config, &found, error);
    if (!found) fail(error, "%s: there is no chat_template; %s", config, set_it);
    free(folder);
    free(config);
    free(jinja);
    return t;
}

const ChatTemplate *chat_template(const char *tokenizer, const char *forced, Error *error) {
    if (*forced) return by_name(forced, error);
    if (strcmp(tokenizer, "bytes")) return recognise(tokenizer, error);
    return fail(error, "the tokenizer 'bytes' has no chat_template; %s", set_it), NULL;
}

const char *chat_template_name(const ChatTemplate *t) { return t->name; }
bool chat_answer_begins_with_space(const ChatTemplate *t) { return *t->answer.before == ' '; }

/* -- ids ------------------------------------------------------------------------------------------------ */

/* Text between two control tokens is encoded at once, as plain text: where tokens end inside it is the tokenizer's
 * matter. Bytes [from, to) of it are the assistant's. */
typedef struct {
    int64_t from, to;
} Span;

typedef struct {
    const ChatTemplate *template;
    const Tokenizer *tokenizer;
    Error *error;
    char *text;
    int64_t bytes, room;
    Span *span;
    int64_t spans, span_room;
    int32_t *ids;
    bool *trained;
    int64_t n, id_room;
} Writer;

static void write_text(Writer *w, const char *text) {
    int64_t n = (int64_t)strlen(text);
    if (n == 0) return;
    if (w->bytes + n > w->room) w->text = must_realloc(w->text, w->room = 2 * (w->bytes + n), 1);
    memcpy(w->text + w->bytes, text, (size_t)n);
    w->bytes += n;
}

static void make_room(Writer *w, int64_t more) {
    if (w->n + more <= w->id_room) return;
    w->id_room = 2 * (w->n + more);
    w->ids = must_realloc(w->ids, w->id_room, sizeof *w->ids);
    w->trained = must_realloc(w->trained, w->id_room, sizeof *w->trained);
}

/* Marks the ids that have a byte of a span: which bytes an id stands for is what it decodes to. */
static bool mark_spans(Writer *w, int64_t first) {
    char *piece = must_alloc(tokenizer_max_bytes(w->tokenizer), 1);
    int64_t at = 0, s = 0;
    bool same = true;
    for (int64_t i = first; same && i < w->n; i++) {
        int64_t end = at + tokenizer_decode(w->tokenizer, piece, &w->ids[i], 1);
        same = end <= w->bytes && !memcmp(piece, w->text + at, (size_t)(end - at));
        while (s < w->spans && w->span[s].to <= at) s++;
        w->trained[i] = s < w->spans && w->span[s].from < end;
        at = end;
    }
    free(piece);
    return (same && at == w->bytes) ||
           fail(w->error,
                "the tokenizer changes texts (it normalises them), so what the assistant said cannot be found "
                "among the tokens");
}

static bool flush_text(Writer *w) {
    int64_t first = w->n;
    if (w->bytes == 0) return true;
    make_room(w, tokenizer_room(w->tokenizer, w->bytes));
    int64_t n = tokenizer_encode(w->tokenizer, w->ids + w->n, w->text, w->bytes, SPECIALS_PLAIN);
    if (n < 0) return fail(w->error, "the messages took the tokenizer's expressions beyond their limits");
    w->n += n;
    memset(w->trained + first, 0, (size_t)n);
    bool ok = !w->spans || mark_spans(w, first);
    w->bytes = w->spans = 0;
    return ok;
}

static bool write_id(Writer *w, int32_t id, bool trained) {
    if (!flush_text(w)) return false;
    make_room(w, 1);
    w->ids[w->n] = id;
    w->trained[w->n++] = trained;
    return true;
}

static bool write_control(Writer *w, const char *name) {
    int32_t id = name ? tokenizer_id(w->tokenizer, name) : -1;
    if (!name) return true;
    if (id >= 0) return write_id(w, id, false);
    return fail(w->error, "the template %s needs the token %s, which the tokenizer %s does not have",
                w->template->name, name, tokenizer_name(w->tokenizer));
}

static bool write_said(Writer *w, const Frame *frame, const char *content) {
    if (!write_control(w, frame->token)) return false;
    write_text(w, frame->before);
    write_text(w, content);
    write_text(w, frame->after);
    return true;
}

static void begin_answer_span(Writer *w) {
    if (w->spans == w->span_room)
        w->span = must_realloc(w->span, w->span_room = 2 * w->span_room + 8, sizeof *w->span);
    w->span[w->spans++].from = w->bytes;
}

static bool write_cue(Writer *w) {
    if (!write_control(w, w->template->answer.token)) return false;
    write_text(w, w->template->cue);
    return true;
}

/* The space before the first word is the assistant's: it speaks from the cue on. */
static bool write_answer(Writer *w, const char *content) {
    if (!write_cue(w)) return false;
    begin_answer_span(w);
    write_text(w, w->template->answer.before);
    write_text(w, content);
    w->span[w->spans - 1].to = w->bytes;
    return write_id(w, tokenizer_eos(w->tokenizer), true);
}

static bool write_message(Writer *w, const ChatMessage *m) {
    const ChatTemplate *t = w->template;
    if (!strcmp(m->role, "user")) return write_said(w, &t->user, m->content);
    if (!strcmp(m->role, "assistant")) return write_answer(w, m->content);
    return t->system_first || write_said(w, &t->system, m->content);
}

static bool check_message(const ChatMessage *m, int64_t number, Error *error) {
    static const char *const roles[] = {"system", "user", "assistant"};
    for (int i = 0; i < 3 && m->role; i++) {
        if (strcmp(m->role, roles[i])) continue;
        if (!m->content) return fail(error, "message %lld has no content", (long long)number);
        return utf8_valid(m->content, (int64_t)strlen(m->content)) ||
               fail(error, "message %lld is not UTF-8 text", (long long)number);
    }
    return fail(error, "message %lld has the role '%.40s'; system, user and assistant are known", (long long)number,
                m->role ? m->role : "");
}

static bool check_messages(const ChatTemplate *t, const ChatMessage *messages, int64_t count, Error *error) {
    int64_t systems = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!check_message(&messages[i], i + 1, error)) return false;
        systems += !strcmp(messages[i].role, "system");
    }
    if (t->system_first && systems > 1)
        return fail(error, "there are %lld system messages; the template %s has one", (long long)systems, t->name);
    return true;
}

static bool write_all(Writer *w, const ChatMessage *messages, int64_t count, bool answer) {
    if (!write_id(w, tokenizer_bos(w->tokenizer), false)) return false;
    for (int64_t i = 0; w->template->system_first && i < count; i++)
        if (!strcmp(messages[i].role, "system") && !write_said(w, &w->template->system, messages[i].content))
            return false;
    for (int64_t i = 0; i < count; i++)
        if (!write_message(w, &messages[i])) return false;
    return (!answer || write_cue(w)) && flush_text(w);
}

bool chat_encode(const ChatTemplate *t, const Tokenizer *tokenizer, const ChatMessage *messages, int64_t count,
                 bool answer, int32_t **ids, int64_t *n, bool **trained, Error *error) {
    Writer w = {.template = t, .tokenizer = tokenizer, .error = error};
    *ids = NULL;
    *n = 0;
    if (trained) *trained = NULL;
    if (!check_messages(t, messages, count, error)) return false;
    if (tokenizer_bos(tokenizer) < 0 || tokenizer_eos(tokenizer) < 0)
        return fail(error, "the tokenizer %s has no bos or no eos, which a conversation needs",
                    tokenizer_name(tokenizer));
    bool ok = write_all(&w, messages, count, answer);
    free(w.text);
    free(w.span);
    if (ok) {
        *ids = w.ids;
        *n = w.n;
    } else {
        free(w.ids);
    }
    if (ok && trained)
        *trained = w.trained;
    else
        free(w.trained);
    return ok;
}
