#include "train/reply.h"

#include <stdlib.h>
#include <string.h>

#include "data/documents.h"
#include "train/sample.h"

typedef struct {
    char *text;
    int64_t bytes;
} Collector;

static void take_text(void *own, const char *text, int64_t bytes) {
    Collector *c = own;
    memcpy(c->text + c->bytes, text, (size_t)bytes);
    c->bytes += bytes;
}

void replies(const Exam *exam, const Prompt *prompt, int64_t count, int64_t new_tokens, char **reply,
             int64_t *tokens) {
    SampleRule rule = {.top_p = 1, .new_tokens = new_tokens, .eos = (int32_t)exam->engine->run.config->eos_token_id};
    for (int64_t i = 0; i < count; i++) {
        Collector c = {.text = must_alloc(new_tokens * tokenizer_max_bytes(exam->tokenizer) + 1, 1)};
        sample_text(exam->engine, exam->tokenizer, prompt[i].ids, prompt[i].n, rule, take_text, &c);
        c.text[strcspn(c.text, "\n")] = 0;
        reply[i] = c.text;
        *tokens += prompt[i].n + new_tokens;
    }
}

int64_t reply_cut(const Config *c, int64_t n, int64_t new_tokens) {
    return max_i64(n + new_tokens - c->sequence_length, 0);
}

json_t *reply_json(const char *reply) {
    static const char unknown[] = "\xef\xbf\xbd";
    int64_t left = (int64_t)strlen(reply), n = 0;
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
