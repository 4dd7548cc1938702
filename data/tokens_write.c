/* tokens_write.c - token shards, written in one pass through a bounded buffer.
 *
 * HDF5 only lays the file out; the data go to their offsets by our own pwrite. The hashes of the data
 * are attributes, known last: the same declarations are laid out twice, first with empty hashes for
 * the offsets, then with the real ones for the metadata. Values do not move offsets (checked). */
#include "data/tokens.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/disk.h"
#include "data/h5.h"

enum { BUFFER_BYTES = 1 << 20 };

/* One dataset on its way to the disk. */
typedef struct {
    XXH3_state_t *hash;
    char *buffer;
    int64_t held, offset, count; /* bytes in the buffer, where they go, elements so far */
    int64_t element;             /* bytes of one */
} Stream;

struct TokenWriter {
    char *file, *temporary, *source;
    int fd;
    ShardInfo info;
    Stream tokens, documents;
};

typedef struct {
    H5Writer *h5;
    int tokens, documents;
} Layout;

static void hex(char to[17], uint64_t value) { snprintf(to, 17, "%016llx", (unsigned long long)value); }

static void declare(Layout *l, const TokenWriter *w, uint64_t tokens_hash, uint64_t documents_hash) {
    const ShardInfo *info = &w->info;
    char text[17];
    l->h5 = h5_create();
    l->tokens = h5_dataset(l->h5, "tokens", tokens_stored_type(info->vocab_size), 1, &info->tokens);
    l->documents = h5_dataset(l->h5, "documents", I64, 1, (int64_t[]){info->documents + 1});
    hex(text, tokens_hash);
    h5_attr_text(l->h5, "tokens", "xxh3", text);
    hex(text, documents_hash);
    h5_attr_text(l->h5, "documents", "xxh3", text);
    h5_attr_text(l->h5, "/", "format", TOKENS_FORMAT);
    h5_attr_int(l->h5, "/", "format_version", TOKENS_VERSION);
    h5_attr_text(l->h5, "/", "tokenizer", info->tokenizer);
    hex(text, info->tokenizer_hash);
    h5_attr_text(l->h5, "/", "tokenizer_hash", text);
    h5_attr_int(l->h5, "/", "vocab_size", info->vocab_size);
    h5_attr_int(l->h5, "/", "tokens", info->tokens);
    h5_attr_int(l->h5, "/", "documents", info->documents);
    h5_attr_int(l->h5, "/", "shard", info->shard);
    h5_attr_int(l->h5, "/", "shards", max_i64(info->shards, 1));
    h5_attr_int(l->h5, "/", "source_bytes", info->source_counts.bytes);
    h5_attr_int(l->h5, "/", "skipped", info->source_counts.skipped);
    h5_attr_int(l->h5, "/", "bad_lines", info->source_counts.bad_lines);
    h5_attr_int(l->h5, "/", "duplicates", info->source_counts.duplicates);
    h5_attr_int(l->h5, "/", "too_short", info->source_counts.too_short);
    h5_attr_text(l->h5, "/", "source", info->source);
}

static bool lay_out(Layout *l, TokenWriter *w, uint64_t tokens_hash, uint64_t documents_hash, Error *error) {
    Error why;
    declare(l, w, tokens_hash, documents_hash);
    return h5_layout(l->h5, &why) || fail(error, "%s: %s", w->file, why.text);
}

static void stream_open(Stream *s, int64_t element) {
    *s = (Stream){.hash = XXH3_createState(), .buffer = must_alloc(BUFFER_BYTES, 1), .element = element};
    check(s->hash, "out of memory for a hash");
    XXH3_64bits_reset(s->hash);
}

static void stream_close(Stream *s) {
    XXH3_freeState(s->hash);
    free(s->buffer);
}

static bool stream_flush(Stream *s, TokenWriter *w, Error *error) {
    XXH3_64bits_update(s->hash, s->buffer, (size_t)s->held);
    if (!disk_write(w->fd, s->buffer, s->held, s->offset, w->temporary, error)) return false;
    s->offset += s->held;
    s->held = 0;
    return true;
}

static bool stream_put(Stream *s, TokenWriter *w, const void *values, int64_t count, Error *error) {
    const char *from = values;
    s->count += count;
    for (int64_t left = count * s->element; left > 0;) {
        int64_t n = min_i64(left, BUFFER_BYTES - s->held);
        memcpy(s->buffer + s->held, from, (size_t)n);
        s->held += n, from += n, left -= n;
        if (s->held == BUFFER_BYTES && !stream_flush(s, w, error)) return false;
    }
    return true;
}

static void writer_free(TokenWriter *w) {
    stream_close(&w->tokens);
    stream_close(&w->documents);
    free(w->file);
    free(w->temporary);
    free(w->source);
    free(w);
}

void tokens_abandon(TokenWriter *w) {
    close(w->fd);
    unlink(w->temporary);
    writer_free(w);
}

static TokenWriter *writer_new(const char *file, const ShardInfo *info) {
    TokenWriter *w = must_alloc(1, sizeof *w);
    w->file = must_strdup(file);
    w->temporary = must_format("%s.tmp", file);
    w->info = *info;
    w->info.source = w->source = must_strdup(info->source ? info->source : "");
    stream_open(&w->tokens, tokens_stored_bytes(info->vocab_size));
    stream_open(&w->documents, 8);
    return w;
}

/* A leftover of an interrupted run under the temporary name is replaced. */
static bool writer_start(TokenWriter *w, Error *error) {
    Layout l;
    unlink(w->temporary);
    w->fd = disk_create(w->temporary, error);
    if (w->fd < 0) return false;
    bool ok = lay_out(&l, w, 0, 0, error);
    if (ok) {
        w->tokens.offset = h5_offset(l.h5, l.tokens);
        w->documents.offset = h5_offset(l.h5, l.documents);
    }
    h5_destroy(l.h5);
    if (ok) ok = stream_put(&w->documents, w, &(int64_t){0}, 1, error);
    if (ok) return true;
    close(w->fd);
    unlink(w->temporary);
    return false;
}

TokenWriter *tokens_create(const char *file, const ShardInfo *info, Error *error) {
    check(info->tokens > 0 && info->documents > 0 && info->vocab_size > 0, "an empty token shard %s", file);
    TokenWriter *w = writer_new(file, info);
    if (writer_start(w, error)) return w;
    writer_free(w);
    return NULL;
}

/* The largest of the tokens as they are stored; one below 0 counts as large. */
static uint32_t highest(const void *tokens, int64_t count, int64_t element) {
    const uint16_t *narrow = tokens;
    const uint32_t *wide = tokens;
    uint32_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t token = element == 2 ? narrow[i] : wide[i];
        most = token > most ? token : most;
    }
    return most;
}

bool tokens_append_stored(TokenWriter *w, const void *tokens, int64_t count, Error *error) {
    uint32_t most = highest(tokens, count, w->tokens.element);
    check(most < w->info.vocab_size, "token %u in a vocabulary of %lld", most, (long long)w->info.vocab_size);
    return stream_put(&w->tokens, w, tokens, count, error);
}

bool tokens_append(TokenWriter *w, const int32_t *tokens, int64_t count, Error *error) {
    enum { AT_ONCE = 4096 };
    uint16_t narrow[AT_ONCE];
    if (w->tokens.element == 4) return tokens_append_stored(w, tokens, count, error);
    for (int64_t done = 0, n; done < count; done += n) {
        n = min_i64(count - done, AT_ONCE);
        uint32_t most = highest(tokens + done, n, 4);
        check(most < w->info.vocab_size, "token %u in a vocabulary of %lld", most, (long long)w->info.vocab_size);
        for (int64_t i = 0; i < n; i++) narrow[i] = (uint16_t)tokens[done + i];
        if (!stream_put(&w->tokens, w, narrow, n, error)) return false;
    }
    return true;
}

bool tokens_end_document(TokenWriter *w, int64_t end, Error *error) {
    return stream_put(&w->documents, w, &end, 1, error);
}

typedef struct {
    TokenWriter *w;
    Error *error;
} PutMetadata;

static bool put_metadata(void *own, int64_t offset, const void *bytes, int64_t count) {
    PutMetadata *p = own;
    return disk_write(p->w->fd, bytes, count, offset, p->w->temporary, p->error);
}

static bool write_metadata(TokenWriter *w, Error *error) {
    Layout l;
    int64_t tokens_end = w->tokens.offset, documents_end = w->documents.offset;
    bool ok = lay_out(&l, w, XXH3_64bits_digest(w->tokens.hash), XXH3_64bits_digest(w->documents.hash), error);
    if (ok) {
        check(h5_offset(l.h5, l.tokens) + w->info.tokens * w->tokens.element == tokens_end &&
                  h5_offset(l.h5, l.documents) + (w->info.documents + 1) * 8 == documents_end,
              "%s: the layout of a shard moved between its two passes", w->file);
        ok = h5_metadata(l.h5, put_metadata, &(PutMetadata){w, error});
    }
    if (ok && ftruncate(w->fd, (off_t)h5_file_bytes(l.h5))) ok = disk_fail(error, w->temporary, "set its size");
    h5_destroy(l.h5);
    return ok;
}

bool tokens_finish(TokenWriter *w, Error *error) {
    check(w->tokens.count == w->info.tokens && w->documents.count == w->info.documents + 1,
          "%s: %lld tokens in %lld documents were announced, %lld in %lld came", w->file, (long long)w->info.tokens,
          (long long)w->info.documents, (long long)w->tokens.count, (long long)w->documents.count - 1);
    bool ok = stream_flush(&w->tokens, w, error) && stream_flush(&w->documents, w, error) && write_metadata(w, error);
    ok = disk_finish(w->fd, ok, w->temporary, error) && disk_rename(w->temporary, w->file, error);
    if (!ok) unlink(w->temporary);
    writer_free(w);
    return ok;
}

bool tokens_write(const char *file, const int32_t *tokens, const int64_t *documents, int64_t n_documents,
                  const ShardInfo *info, Error *error) {
    ShardInfo counted = *info;
    counted.documents = n_documents;
    counted.tokens = documents[n_documents];
    TokenWriter *w = tokens_create(file, &counted, error);
    bool ok = w != NULL;
    for (int64_t i = 0; ok && i < n_documents; i++)
        ok = tokens_append(w, tokens + documents[i], documents[i + 1] - documents[i], error) &&
             tokens_end_document(w, documents[i + 1], error);
    if (ok) return tokens_finish(w, error);
    if (w) tokens_abandon(w);
    return false;
}
