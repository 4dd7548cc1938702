#include "train/reply.h"

#include <stdlib.h>
#include <string.h>

#include "data/documents.h"

typedef struct {
    const Tokenizer *tokenizer;
    char **text;
    int64_t *bytes;
    bool finite;
} Collector;

/* A line is all that is wanted. */
static bool take_token(void *own, int64_t prompt, int32_t id) {
    Collector *c = own;
    char *end = c->text[prompt] + c->bytes[prompt];
    int64_t bytes = tokenizer_decode(c->tokenizer, end, &id, 1);
    c->bytes[prompt] += bytes;
    return !memchr(end, '\n', (size_t)bytes) && !memchr(end, 0, (size_t)bytes);
}

static void take_end(void *own, int64_t prompt, PromptEnd end) {
    Collector *c = own;
    c->text[prompt][c->bytes[prompt]] = 0;
    c->text[prompt][strcspn(c->text[prompt], "\n")] = 0;
    c->finite &= end != ENDED_NAN;
}

bool replies(const Exam *exam, const Prompt *prompt, int64_t count, int64_t new_tokens, char **reply, TaskResult *r,
             Error *error) {
    Engine *e = exam->engine;
    const Tokenizer *t = exam->tokenizer;
    SampleRule rule = {.choice = {.top_p = 1}, .new_tokens = new_tokens, .eos = (int32_t)e->run.config->eos_token_id};
    Collector c = {t, reply, must_alloc(count, sizeof *c.bytes), true};
    GenerateSink sink = {&c, take_token, take_end};
    GenerateReport report;
    for (int64_t i = 0; i < count; i++) reply[i] = must_alloc(new_tokens * tokenizer_max_bytes(t) + 1, 1);
    bool ok = generate(e, prompt, count, &rule, tokenizer_size(t), &sink, &report, error);
    free(c.bytes);
    e->run.mesh.world->ops->host_broadcast(e->run.mesh.world, &c.finite, sizeof c.finite, 0);
    r->finite &= c.finite;
    r->tokens += report.prompt_tokens + report.new_tokens;
    return ok;
}

void reply_use(const Config *c, EngineUse *use) {
    enum { AT_ONCE = 16, TOKENS = 16384 };
    int64_t length = c->sequence_length;
    cache_use_more(&use->cache, (CacheUse){.sequences = AT_ONCE,
                                           .length = length,
                                           .tokens = max_i64(length, min_i64(AT_ONCE * length, TOKENS)),
                                           .block = min_i64(GENERATE_BLOCK, length)});
}

int64_t reply_cut(const Config *c, int64_t n, int64_t new_tokens) {
    return max_i64(n + new_tokens - c->sequence_length, 0);
}

json_t *reply_json(const char *reply, int64_t left) {
    static const char unknown[] = "\xef\xbf\xbd";
    int64_t n = 0;
    char *text = must_alloc(3 * left + 1, 1);
    while (left > 0) {
        bool cut;
        int64_t good = utf8_prefix(reply, left, &cut);
        memcpy(text + n, reply, (size_t)good);
        n += good, reply += good, left -= good;
        if (!left) break;
        memcpy(text + n, unknown, 3);
        n += 3, reply++, left--;
    }
    json_t *json = json_stringn(text, (size_t)n);
    free(text);
    return json;
}
