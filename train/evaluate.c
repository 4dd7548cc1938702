#include "train/evaluate.h"

#include "launch/signals.h"
#include "launch/watchdog.h"
#include "launch/agree.h"

typedef struct {
    TokenShard *shard;
    const Config *config;
} Source;

static bool fill(void *own, int64_t number, StepRow row, Error *error) {
    Source *s = own;
    return eval_sequence(s->shard, s->config, number, (Sequence){row.ids, row.label, row.position, row.first}, error);
}

/* A job that is being ended has no time for the rest. */
static bool stop_wanted(Evaluation *v, Engine *e) {
    int64_t number = signals_pending();
    comm_reduce_i64(e->run.mesh.world, &number, 1, REDUCE_MAX);
    return v->stopped = number != 0;
}

static bool evaluate(Evaluation *v, Engine *e, Source *s, int64_t limit, Error *error) {
    int64_t n = eval_sequences(s->shard, e->use.sequence_length), batch = e->use.sequences;
    double sum = 0, begin = clock_seconds();
    if (limit > 0) n = min_i64(n, max_i64(limit / e->use.sequence_length, 1));
    for (int64_t first = 0; first < n && !stop_wanted(v, e); first += batch) {
        bool ok = stepdata_fill(&e->data, &e->run, first, min_i64(batch, n - first), fill, s, error);
        if (!agree(e->run.mesh.world, ok, error)) return false;
        stepdata_count(&e->data, &e->run);
        sum += engine_evaluate(e);
        v->tokens += e->data.global_tokens;
        v->sequences += e->data.global_sequences;
    }
    v->seconds = clock_seconds() - begin;
    v->loss = v->tokens ? sum / (double)v->tokens : 0;
    if (!v->tokens && !v->stopped)
        return fail(error, "the evaluation data is shorter than one sequence of %lld tokens",
                    (long long)e->use.sequence_length);
    return true;
}

bool evaluate_shard(Evaluation *v, Engine *e, const char *shard, int64_t limit, Error *error) {
    Source s = {tokens_open(shard, error), e->run.config};
    *v = (Evaluation){0};
    bool ok = agree(e->run.mesh.world, s.shard != NULL, error);
    watchdog_section("eval", 600);
    ok = ok && evaluate(v, e, &s, limit, error);
    if (s.shard) tokens_close(s.shard);
    return ok;
}
