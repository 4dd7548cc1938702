#include "train/evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "launch/signals.h"
#include "launch/watchdog.h"
#include "launch/agree.h"

typedef struct {
    TokenShard *shard;
    const Config *config;
    const Tokenizer *tokenizer;
    char *text;    /* room for one token */
    int64_t bytes; /* of this rank's labels so far */
} Source;

/* The model may have its own bos and eos beside the tokenizer's. */
static int64_t text_bytes(const Source *s, int32_t label) {
    if (label < 0 || label == s->config->bos_token_id || label == s->config->eos_token_id) return 0;
    return tokenizer_decode(s->tokenizer, s->text, &label, 1);
}

static bool fill(void *own, int64_t number, StepRow row, Error *error) {
    Source *s = own;
    Sequence to = {row.ids, row.label, row.position, row.first};
    if (!eval_sequence(s->shard, s->config, number, to, error)) return false;
    for (int64_t i = 0; i < s->config->sequence_length; i++) s->bytes += text_bytes(s, row.label[i]);
    return true;
}

bool evaluation_stopped(Engine *e) {
    int64_t number = signals_pending();
    comm_reduce_i64(e->run.mesh.world, &number, 1, REDUCE_MAX);
    return number != 0;
}

double evaluation_bits_per_byte(const Evaluation *v) {
    return v->bytes ? v->loss * (double)v->tokens / M_LN2 / (double)v->bytes : NAN;
}

static bool evaluate(Evaluation *v, Engine *e, Source *s, int64_t limit, Error *error) {
    int64_t n = eval_sequences(s->shard, e->use.sequence_length), batch = e->use.sequences;
    double sum = 0, begin = clock_seconds();
    if (limit > 0) n = min_i64(n, max_i64(limit / e->use.sequence_length, 1));
    for (int64_t first = 0; first < n && !(v->stopped = evaluation_stopped(e)); first += batch) {
        bool ok = stepdata_fill(&e->data, &e->run, first, min_i64(batch, n - first), fill, s, error);
        if (!agree(e->run.mesh.world, ok, error)) return false;
        stepdata_count(&e->data, &e->run);
        sum += engine_evaluate(e);
        v->tokens += e->data.global_tokens;
        v->sequences += e->data.global_sequences;
    }
    comm_reduce_i64(e->run.mesh.axis[AXIS_DP], &s->bytes, 1, REDUCE_SUM);
    v->bytes = s->bytes;
    v->seconds = clock_seconds() - begin;
    v->loss = v->tokens ? sum / (double)v->tokens : 0;
    return v->tokens || v->stopped || fail(error, "%s: one token alone cannot be predicted", tokens_file(s->shard));
}

bool evaluation_fits(const TokenShard *shard, const Config *c, const Tokenizer *t, Error *error) {
    const ShardInfo *info = tokens_info(shard);
    if (info->tokenizer_hash != tokenizer_hash(t))
        return fail(error, "%s: made with the tokenizer '%s', the model uses '%s'; prepare it again",
                    tokens_file(shard), info->tokenizer, tokenizer_name(t));
    return info->vocab_size <= c->vocab_size ||
           fail(error, "%s: has a vocabulary of %lld, the model one of %lld", tokens_file(shard),
                (long long)info->vocab_size, (long long)c->vocab_size);
}

bool evaluate_shard(Evaluation *v, Engine *e, const char *shard, const Tokenizer *tokenizer, int64_t limit,
                    Error *error) {
    Source s = {
        .config = e->run.config, .tokenizer = tokenizer, .text = must_alloc(tokenizer_max_bytes(tokenizer), 1)};
    *v = (Evaluation){0};
    watchdog_section(SECTION_EVAL);
    s.shard = tokens_open(shard, error);
    bool ok = agree(e->run.mesh.world, s.shard && evaluation_fits(s.shard, s.config, tokenizer, error), error);
    ok = ok && evaluate(v, e, &s, limit, error);
    if (s.shard) tokens_close(s.shard);
    free(s.text);
    return ok;
}
