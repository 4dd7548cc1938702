/* tokens.c - a row of shards read as one stream: which file, and where in it. */
#include "data/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"
#include "data/tokens_file.h"

enum { OPEN_MOST = 32 };

struct TokenShard {
    char *name;
    ShardInfo info; /* source points into the first file's */
    int64_t files, open, clock;
    TokenFile **file;
    int64_t *token, *document; /* first ones of each file, and the totals behind the last */
    int64_t *used;             /* clock of the last use; 0 = at rest */
};

const ShardInfo *tokens_info(const TokenShard *s) { return &s->info; }
const char *tokens_file(const TokenShard *s) { return s->name; }

/* -- which files ---------------------------------------------------------------------------------------- */

static bool is_file_name(const char *path) {
    size_t n = strlen(path);
    return n > 3 && !strcmp(path + n - 3, ".h5");
}

bool tokens_exist(const char *path) {
    char *first = must_format(TOKENS_NAME, path, 0);
    bool there = disk_exists(is_file_name(path) ? path : first);
    free(first);
    return there;
}

/* Puts the file that was not used for longest to rest when too many are open. */
static void make_room(TokenShard *s) {
    if (s->open < OPEN_MOST) return;
    int64_t oldest = -1;
    for (int64_t i = 0; i < s->files; i++)
        if (s->used[i] && (oldest < 0 || s->used[i] < s->used[oldest])) oldest = i;
    token_file_rest(s->file[oldest]);
    s->used[oldest] = 0;
    s->open--;
}

static TokenFile *file_at(TokenShard *s, int64_t i, Error *error) {
    if (!s->used[i]) {
        make_room(s);
        if (!token_file_wake(s->file[i], error)) return NULL;
        s->open++;
    }
    s->used[i] = ++s->clock;
    return s->file[i];
}

/* -- open and close ------------------------------------------------------------------------------------- */

static bool belongs(const ShardInfo *first, const TokenFile *f, int64_t place, Error *error) {
    const ShardInfo *i = token_file_info(f);
    if (i->shard != place || i->shards != first->shards)
        return fail(error, "%s: is shard %lld of %lld, where shard %lld of %lld should be", token_file_name(f),
                    (long long)i->shard, (long long)i->shards, (long long)place, (long long)first->shards);
    if (i->tokenizer_hash != first->tokenizer_hash || i->vocab_size != first->vocab_size)
        return fail(error, "%s: was made with another tokenizer than shard 0 of its row", token_file_name(f));
    return true;
}

static bool add_file(TokenShard *s, int64_t i, const char *name, Error *error) {
    make_room(s);
    TokenFile *f = s->file[i] = token_file_open(name, error);
    if (!f) return false;
    s->used[i] = ++s->clock;
    s->open++;
    const ShardInfo *info = token_file_info(f);
    if (i > 0 && !belongs(token_file_info(s->file[0]), f, i, error)) return false;
    if (s->token[i] > INT64_MAX / 16 - info->tokens)
        return fail(error, "%s: its row of shards has too many tokens", name);
    s->token[i + 1] = s->token[i] + info->tokens;
    s->document[i + 1] = s->document[i] + info->documents;
    s->info.content = hash_pair(s->info.content, info->content);
    return true;
}

static TokenShard *row_new(const char *name) {
    TokenShard *s = must_alloc(1, sizeof *s);
    s->name = must_strdup(name);
    return s;
}

static void row_room(TokenShard *s, int64_t files) {
    s->file = must_realloc(s->file, files, sizeof *s->file);
    s->used = must_realloc(s->used, files, sizeof *s->used);
    s->token = must_realloc(s->token, files + 1, sizeof *s->token);
    s->document = must_realloc(s->document, files + 1, sizeof *s->document);
    for (int64_t i = s->files; i < files; i++) s->file[i] = NULL, s->used[i] = 0;
    if (!s->files) s->token[0] = s->document[0] = 0;
    s->files = files;
}

static bool open_row(TokenShard *s, Error *error) {
    bool alone = is_file_name(s->name), ok = true;
    row_room(s, 1);
    for (int64_t i = 0; ok && i < s->files; i++) {
        char *name = alone ? must_strdup(s->name) : must_format(TOKENS_NAME, s->name, (int)i);
        ok = add_file(s, i, name, error);
        free(name);
        if (!ok || i || alone) continue;
        ok = belongs(token_file_info(s->file[0]), s->file[0], 0, error);
        if (ok) row_room(s, token_file_info(s->file[0])->shards);
    }
    return ok;
}

TokenShard *tokens_open(const char *path, Error *error) {
    TokenShard *s = row_new(path);
    if (open_row(s, error)) {
        uint64_t content = s->info.content;
        s->info = *token_file_info(s->file[0]);
        s->info.content = content;
        s->info.tokens = s->token[s->files];
        s->info.documents = s->document[s->files];
        return s;
    }
    tokens_close(s);
    return NULL;
}

void tokens_close(TokenShard *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->files; i++) token_file_close(s->file[i]);
    free(s->file);
    free(s->used);
    free(s->token);
    free(s->document);
    free(s->name);
    free(s);
}

/* -- reading -------------------------------------------------------------------------------------------- */

/* The file whose range holds x; first: where ranges begin, and the total. */
static int64_t find(const TokenShard *s, const int64_t *first, int64_t x) {
    int64_t low = 0, high = s->files;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (first[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool tokens_read(TokenShard *s, int64_t first, int64_t count, int32_t *to, Error *error) {
    check(first >= 0 && count >= 0 && first <= s->info.tokens - count, "tokens %lld + %lld of a shard of %lld",
          (long long)first, (long long)count, (long long)s->info.tokens);
    for (int64_t i = find(s, s->token, first), n; count > 0; i++, first += n, count -= n, to += n) {
        TokenFile *f = file_at(s, i, error);
        n = min_i64(count, s->token[i + 1] - first);
        if (!f || !token_file_read(f, first - s->token[i], n, to, error)) return false;
    }
    return true;
}

bool tokens_document(TokenShard *s, int64_t i, int64_t *first, Error *error) {
    check(i >= 0 && i <= s->info.documents, "document %lld of %lld", (long long)i, (long long)s->info.documents);
    int64_t k = find(s, s->document, i);
    TokenFile *f = file_at(s, k, error);
    if (!f || !token_file_document(f, i - s->document[k], first, error)) return false;
    *first += s->token[k];
    return true;
}

bool tokens_document_of(TokenShard *s, int64_t token, int64_t *document, Error *error) {
    check(token >= 0 && token < s->info.tokens, "token %lld of %lld", (long long)token, (long long)s->info.tokens);
    int64_t k = find(s, s->token, token);
    TokenFile *f = file_at(s, k, error);
    if (!f || !token_file_document_of(f, token - s->token[k], document, error)) return false;
    *document += s->document[k];
    return true;
}

bool tokens_verify(const char *path, Error *error) {
    TokenShard *s = tokens_open(path, error);
    bool ok = s != NULL;
    for (int64_t i = 0; ok && i < s->files; i++) {
        TokenFile *f = file_at(s, i, error);
        ok = f && token_file_verify(f, error);
    }
    tokens_close(s);
    return ok;
}
