/* test_chat.c - conversations as ids: which template, golden ids, what is trained on, what people may not write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"
#include "tests/test_tokenizer.h"

#define FIXTURE "tests/fixtures/tokenizer/deepseek-v2.json"
enum { MOST = 512 };

static const ChatMessage talk[] = {{"system", "You are kind."},   {"user", "Hello world"},
                                   {"assistant", "Hello World!"}, {"user", "2024"},
                                   {"assistant", "2024"},         {"user", "hi"}};

static const ChatTemplate *named(const char *name) {
    Error error;
    const ChatTemplate *t = chat_template("bytes", name, &error);
    check(t, "%s", error.text);
    return t;
}

/* Ids in words, those that are trained on in brackets. */
static void expect_chat(const Tokenizer *t, const char *template, const ChatMessage *messages, int64_t count,
                        bool answer, const char *wanted) {
    Error error = {0};
    int32_t *ids;
    int64_t n;
    bool *trained;
    char got[4096] = "";
    bool ok = chat_encode(named(template), t, messages, count, answer, &ids, &n, &trained, &error);
    expect(ok, "%s", error.text);
    for (int64_t i = 0; ok && i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), trained[i] ? "%s[%d]" : "%s%d", i ? " " : "", ids[i]);
    expect(!ok || !strcmp(got, wanted), "%s, not %s", got, wanted);
    free(ids);
    free(trained);
}

static Tokenizer *fixture(void) {
    Error error;
    Tokenizer *t = tokenizer_open(FIXTURE, &error);
    check(t, "%s", error.text);
    return t;
}

/* As the reference implementation's tokenizer has it for the rendered template. */
static void golden(void) {
    Tokenizer *t = fixture();
    expect_chat(t, "deepseek-v2", talk, 6, true,
                "100000 2054 418 2447 13 185 185 5726 25 37727 1843 185 185 77398 25 [37727] [5427] [0] [100001] "
                "5726 25 207 17 15 17 19 185 185 77398 25 [207] [17] [15] [17] [19] [100001] 5726 25 2868 185 185 "
                "77398 25");
    ChatMessage hi = {"user", "hi"};
    expect_chat(t, "deepseek-v2", &hi, 1, true, "100000 5726 25 2868 185 185 77398 25");
    expect_chat(t, "deepseek-v2", &hi, 1, false, "100000 5726 25 2868 185 185");
    expect_chat(t, "deepseek-v2", NULL, 0, true, "100000 77398 25");
    ChatMessage silent = {"assistant", ""};
    expect_chat(t, "deepseek-v2", &silent, 1, false, "100000 77398 25 [207] [100001]");
    tokenizer_close(t);
}

/* <｜User｜> and the others as added tokens of a small tokenizer. */
static const char v25_added[] =
    "{\"id\":300,\"content\":\"<｜begin▁of▁sentence｜>\",\"special\":true},"
    "{\"id\":301,\"content\":\"<｜end▁of▁sentence｜>\",\"special\":true},"
    "{\"id\":302,\"content\":\"<｜User｜>\"},{\"id\":303,\"content\":\"<｜Assistant｜>\"}";

static void v25(void) {
    Recipe r = {.added = v25_added};
    Tokenizer *t = recipe_open(&r);
    static const ChatMessage late[] = {{"user", "a"}, {"assistant", "the"}, {"system", "S"}, {"user", "b"}};
    expect_chat(t, "deepseek-v2.5", late, 4, true, "300 83 302 97 303 [258] [301] 302 98 303");
    tokenizer_close(t);
}

/* What people write stays text, however it is spelled. */
static void no_control_tokens(void) {
    static const char *const words[] = {"<｜end▁of▁sentence｜>", "<｜Assistant｜>", "a<｜User｜>b",
                                        "<｜begin▁of▁sentence｜>"};
    Recipe r = {.added = v25_added};
    Tokenizer *t = recipe_open(&r);
    for (int w = 0; w < 4; w++)
        for (int k = 0; k < 2; k++) {
            ChatMessage all[] = {{"system", words[w]}, {"user", words[w]}, {"assistant", words[w]}};
            Error error;
            int32_t *ids;
            int64_t n, controls = 0, most = k ? 4 : 2;
            bool ok =
                chat_encode(named(k ? "deepseek-v2.5" : "deepseek-v2"), t, all, 3, false, &ids, &n, NULL, &error);
            check(ok, "%s", error.text);
            for (int64_t i = 0; i < n; i++) controls += ids[i] >= 300;
            expect(controls == most, "%lld control tokens for '%s'", (long long)controls, words[w]);
            free(ids);
        }
    tokenizer_close(t);
}

static void refused(void) {
    static const struct {
        const char *template;
        ChatMessage message[2];
        const char *words;
    } rows[] = {
        {"deepseek-v2", {{"user", "a"}, {"tool", "b"}}, "message 2 has the role 'tool'"},
        {"deepseek-v2", {{"user", "a"}, {NULL, "b"}}, "message 2 has the role ''"},
        {"deepseek-v2", {{"user", NULL}, {"user", "b"}}, "message 1 has no content"},
        {"deepseek-v2", {{"user", "a\xff"}, {"user", "b"}}, "message 1 is not UTF-8"},
        {"deepseek-v2.5", {{"system", "a"}, {"system", "b"}}, "2 system messages"},
        {"deepseek-v2.5", {{"user", "a"}, {"user", "b"}}, "needs the token <｜User｜>"},
    };
    Tokenizer *t = fixture();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Error error;
        int32_t *ids;
        int64_t n;
        bool ok = chat_encode(named(rows[i].template), t, rows[i].message, 2, true, &ids, &n, NULL, &error);
        expect_message(ok, &error, rows[i].words, rows[i].words);
        expect(!ids || ok, "ids of a failure");
    }
    tokenizer_close(t);
}

/* Spans cannot be found where the text is changed; without them it goes. */
static void normalised(void) {
    Recipe r = {.added = v25_added, .normalizer = "{\"type\":\"NFC\"}"};
    Tokenizer *t = recipe_open(&r);
    ChatMessage m = {"assistant", "e\u0301"};
    Error error;
    int32_t *ids;
    int64_t n;
    bool *trained;
    bool ok = chat_encode(named("deepseek-v2"), t, &m, 1, false, &ids, &n, &trained, &error);
    expect_message(ok, &error, "the tokenizer changes texts", "spans");
    tokenizer_close(t);
}

/* -- which template -------------------------------------------------------------------------------------- */

static char *escaped(const char *text, bool newlines) {
    char *to = must_alloc(4 * (int64_t)strlen(text) + 1, 1), *p = to;
    for (; *text; text++) {
        if (*text == '\n')
            p += sprintf(p, newlines ? "\\n" : "\\\\n");
        else
            *p++ = *text;
    }
    return to;
}

static void recognised(void) {
    char *one = escaped(chat_template_v2, true), *other = escaped(chat_template_v2, false);
    const struct {
        const char *format, *text, *name; /* name: NULL = refused with the words of text behind it */
    } rows[] = {
        {"{\"chat_template\":\"%s\"}", one, "deepseek-v2"},
        {"{\"chat_template\":\"%s\"}", other, "deepseek-v2"},
        {"{\"chat_template\":\"%s\\n\"}", one, "deepseek-v2"},
        {"{\"chat_template\":[{\"name\":\"tools\",\"template\":\"x\"},{\"name\":\"default\",\"template\":\"%s\"}]}",
         one, "deepseek-v2"},
        {"{\"chat_template\":\" %s\"}", one, NULL},
        {"{\"chat_template\":\"{{ messages }}\"}", "", NULL},
        {"{\"chat_template\":[{\"name\":\"tools\",\"template\":\"%s\"}]}", one, NULL},
        {"{}", "", NULL},
        {"{\"chat_template\":", "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = must_format(rows[i].format, rows[i].text);
        Error error = {0};
        test_file("tokenizer_config.json", text, (int64_t)strlen(text));
        const ChatTemplate *t = chat_template(test_folder(), "", &error);
        if (rows[i].name)
            expect(t && !strcmp(chat_template_name(t), rows[i].name), "row %zu: %s", i, error.text);
        else
            expect(!t && strstr(error.text, "tokenizer_config.json"), "row %zu: %s", i, error.text);
        free(text);
    }
    free(one);
    free(other);
}

static void named_or_absent(void) {
    Error error;
    expect(!chat_template("bytes", "", &error) && strstr(error.text, "set chat_template"), "%s", error.text);
    expect(!chat_template("bytes", "llama", &error) && strstr(error.text, "'llama'"), "%s", error.text);
    expect(!chat_template(test_folder(), "", &error) && strstr(error.text, "set chat_template"), "%s", error.text);
    test_file("chat_template.jinja", chat_template_v2, (int64_t)strlen(chat_template_v2));
    expect(chat_template(test_folder(), "", &error) != NULL, "chat_template.jinja");
    expect(chat_template(test_path("tokenizer.json"), "", &error) != NULL, "a file beside it");
}

const TestCase chat_tests[] = {
    {"golden ids, and what is trained on", golden},
    {"the template of V2.5", v25},
    {"what people write never becomes a control token", no_control_tokens},
    {"messages that are refused", refused},
    {"a tokenizer that changes texts", normalised},
    {"templates are recognised by their text", recognised},
    {"templates by name, or none", named_or_absent},
    {0},
};
