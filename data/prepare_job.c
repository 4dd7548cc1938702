/* prepare_job.c - what a set is made of: its ids, files, parts, and the key that it is cached under. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/prepare_own.h"

enum { PREPARE_VERSION = 3 }; /* rises when the same input gives other tokens */

static bool choose_ids(Encoding *e, const Config *c, Error *error) {
    const Tokenizer *t = e->tokenizer;
    int64_t bos = c->bos_token_id >= 0 ? c->bos_token_id : tokenizer_bos(t);
    int64_t eos = c->eos_token_id >= 0 ? c->eos_token_id : tokenizer_eos(t);
    if (!tokenizer_adds_bos(t)) bos = -1;
    if (eos < 0) return fail(error, "model.eos_token_id: documents need an id between them; the tokenizer has none");
    e->bos = (int32_t)bos, e->eos = (int32_t)eos;
    e->vocab_size = max_i64(tokenizer_size(t), max_i64(bos, eos) + 1);
    return true;
}

static char *ids_settings(const Encoding *e) {
    return must_format("%d %d %016llx %d %d %lld %lld\n%s\n%s", PREPARE_VERSION, TOKENS_VERSION,
                       (unsigned long long)tokenizer_hash(e->tokenizer), e->bos, e->eos, (long long)e->vocab_size,
                       (long long)e->set->min_tokens, e->set->format, e->set->field);
}

/* What the shards depend on. */
static uint64_t set_key(const Job *job) {
    const DataSet *set = job->e.set;
    char *text = must_format("%s\n%.17g %d %lld %lld\n%s", job->settings, set->validation, set->deduplicate,
                             (long long)set->shard_tokens, (long long)set->bad_lines, set->path);
    uint64_t key = hash_string(text);
    for (int64_t i = 0; i < job->parts.count; i++) {
        uint64_t both[] = {key, job->parts.part[i].key};
        key = hash_bytes(both, sizeof both);
    }
    free(text);
    return key;
}

/* Ranks that see other files would make other parts of them. */
static bool agree_on_key(Comm *world, uint64_t key, Error *error) {
    int64_t most = (int64_t)key, least = most;
    comm_reduce_i64(world, &most, 1, REDUCE_MAX);
    comm_reduce_i64(world, &least, 1, REDUCE_MIN);
    return most == least || fail(error, "the ranks do not see the same source files (names, sizes, times); all must "
                                        "read them from one file system");
}

static bool list_files(Job *job, const char *config_file, Error *error) {
    const DataSet *set = job->e.set;
    if (!source_list(&job->source, set, config_file, error)) return false;
    error->text[0] = 0;
    return strcmp(set->format, "megatron") || source_keep_megatron(&job->source, set, error);
}

static void name_places(Job *job, const char *folder) {
    const char *name = job->e.set->name;
    unsigned long long key = set_key(job);
    job->folder = must_strdup(folder);
    job->final = must_format("%s/%s-%016llx", folder, name, key);
    job->making = must_format("%s/.making-%s", folder, name);
    job->shards = must_format("%s/%016llx", job->making, key);
}

bool job_open(Job *job, Prepared *out, const Config *config, const DataSet *set, const Tokenizer *tokenizer,
              const char *folder, Comm *world, Error *error) {
    *job = (Job){.out = out, .world = world, .e = {.set = set, .tokenizer = tokenizer}};
    job->has_keys = set >= config->data && set < config->data + config->n_data;
    job->e.source = &job->source;
    job->e.parts = &job->parts;
    bool ok = choose_ids(&job->e, config, error) && list_files(job, config->file, error);
    if (ok) {
        job->settings = ids_settings(&job->e);
        parts_make(&job->parts, &job->source, !strcmp(set->format, "megatron"), job->settings);
        name_places(job, folder);
    }
    return ok;
}

bool job_agrees(Job *job, Error *error) { return agree_on_key(job->world, set_key(job), error); }

void job_close(Job *job) {
    source_free(&job->source);
    parts_free(&job->parts);
    free(job->settings);
    free(job->folder);
    free(job->final);
    free(job->making);
    free(job->shards);
}
