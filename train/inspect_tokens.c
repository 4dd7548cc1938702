#include "train/inspect_tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokens.h"
#include "train/log.h"
#include "train/render.h"

/* The tokenizer that made the shards: the one that was named, or the one that they name. NULL + message. */
static Tokenizer *find_tokenizer(const TokenShard *shard, const char *named, Error *error) {
    const ShardInfo *info = tokens_info(shard);
    Error why;
    Tokenizer *t = tokenizer_open(named ? named : info->tokenizer, &why);
    if (!t && named) return *error = why, NULL;
    if (!t) return fail(error, "%s; say where the tokenizer is with --tokenizer", why.text), NULL;
    if (tokenizer_hash(t) == info->tokenizer_hash) return t;
    fail(error, "%s: was made with another tokenizer than %s is now (hash %016llx, not %016llx)%s",
         tokens_file(shard), tokenizer_name(t), (unsigned long long)info->tokenizer_hash,
         (unsigned long long)tokenizer_hash(t), named ? "" : "; name the right one with --tokenizer");
    tokenizer_close(t);
    return NULL;
}

/* -- a document ------------------------------------------------------------------------------------------- */

/* To nowhere first, so that nothing is printed of a document that cannot be read to its end. */
static bool each_ids(TokenShard *shard, int64_t first, int64_t end, Render *to, Error *error) {
    enum { AT_ONCE = 4096 };
    int32_t ids[AT_ONCE];
    for (int64_t n; first < end; first += n) {
        n = min_i64(AT_ONCE, end - first);
        if (!tokens_read(shard, first, n, ids, error)) return false;
        if (to) render_ids(to, ids, n);
    }
    return true;
}

static bool print_ids(TokenShard *shard, const Tokenizer *t, int64_t first, int64_t end, Error *error) {
    Render r;
    render_open(&r, stdout, t, true, true);
    bool ok = each_ids(shard, first, end, &r, error);
    render_close(&r);
    putchar('\n');
    return ok;
}

static bool read_number(const char *text, int64_t below, const char *path, int64_t *number, Error *error) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return fail(error, "--document takes the number of a document, not '%s'", text);
    *number = n;
    return n < below ||
           fail(error, "%s: has documents 0 to %lld, not %lld", path, (long long)below - 1, (long long)n);
}

static bool print_document(TokenShard *shard, const CommandLine *line, Error *error) {
    const ShardInfo *info = tokens_info(shard);
    int64_t number = 0, first, end;
    if (!read_number(line->document, info->documents, tokens_file(shard), &number, error) ||
        !tokens_document(shard, number, &first, error) || !tokens_document(shard, number + 1, &end, error) ||
        !each_ids(shard, first, end, NULL, error))
        return false;
    Tokenizer *t = find_tokenizer(shard, line->tokenizer, error);
    if (!t) return false;
    char from[32], tokens[32];
    printf("%s: document %lld of %lld, %s tokens from token %s\n", tokens_file(shard), (long long)number,
           (long long)info->documents, format_commas(tokens, end - first), format_commas(from, first));
    bool ok = print_ids(shard, t, first, end, error);
    tokenizer_close(t);
    return ok;
}

/* -- the whole ---------------------------------------------------------------------------------------------- */

static void print_info(const char *path, const ShardInfo *i) {
    char tokens[32], documents[32], bytes[32];
    const SourceCounts *c = &i->source_counts;
    size_t n = strlen(path);
    if (n > 3 && !strcmp(path + n - 3, ".h5"))
        printf("%s: token shard %lld of %lld\n", path, (long long)i->shard, (long long)i->shards);
    else
        printf("%s: %lld token shard%s\n", path, (long long)i->shards, i->shards == 1 ? "" : "s");
    printf("source     %s, %s of text\n", i->source, format_bytes(bytes, (double)c->bytes));
    printf("left out   %lld duplicates, %lld too short, %lld without text, %lld bad lines\n",
           (long long)c->duplicates, (long long)c->too_short, (long long)c->skipped, (long long)c->bad_lines);
    printf("tokens     %s in %s documents\n", format_commas(tokens, i->tokens),
           format_commas(documents, i->documents));
    printf("tokenizer  %s, %lld ids, hash %016llx\n", i->tokenizer, (long long)i->vocab_size,
           (unsigned long long)i->tokenizer_hash);
}

/* The first tokens, in one line. */
static void print_beginning(const Tokenizer *t, const int32_t *ids, int64_t n) {
    Render r;
    printf("begins     ");
    render_open(&r, stdout, t, false, false);
    render_ids(&r, ids, n);
    render_close(&r);
    putchar('\n');
}

/* All is read before anything is printed. A tokenizer that was not named may be gone. */
static bool print_shard(const char *path, TokenShard *shard, const char *named, Error *error) {
    enum { SHOWN = 64 };
    Error why;
    int32_t ids[SHOWN];
    int64_t n = min_i64(tokens_info(shard)->tokens, SHOWN);
    Tokenizer *t = find_tokenizer(shard, named, &why);
    if (!t && named) return *error = why, false;
    bool ok = !t || tokens_read(shard, 0, n, ids, error);
    if (ok) print_info(path, tokens_info(shard));
    if (ok && t) print_beginning(t, ids, n);
    if (t) tokenizer_close(t);
    return ok;
}

bool inspect_tokens(const char *path, const CommandLine *line, Error *error) {
    TokenShard *shard = tokens_open(path, error);
    if (!shard) return false;
    bool ok = line && line->document ? print_document(shard, line, error)
                                     : print_shard(path, shard, line ? line->tokenizer : NULL, error);
    tokens_close(shard);
    return ok;
}
