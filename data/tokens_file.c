/* tokens_file.c - see tokens_file.h. Of the document offsets only each BLOCK-th stays in memory; the others come a
 * block at a time. */
#include "data/tokens_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/h5.h"

enum { BLOCK = 4096 };

struct TokenFile {
    H5Reader *h5;
    char *file;
    ShardInfo info;
    Dtype dtype;
    int64_t *coarse;                        /* offsets 0, BLOCK, 2 BLOCK, ...; NULL until documents are asked for */
    int64_t *block, block_first, block_end; /* offsets [block_first, block_end) */
};

const ShardInfo *token_file_info(const TokenFile *s) { return &s->info; }
const char *token_file_name(const TokenFile *s) { return s->file; }

static bool read_hex(TokenFile *s, const char *object, const char *name, uint64_t *value, Error *error) {
    char *text, *end;
    if (!h5_read_attr_text(s->h5, object, name, &text, error)) return false;
    *value = strtoull(text, &end, 16);
    bool ok = strlen(text) == 16 && *end == 0;
    if (!ok) fail(error, "%s: attribute %s of %s is '%.40s', not 16 hexadecimal digits", s->file, name, object, text);
    free(text);
    return ok;
}

static bool read_count(TokenFile *s, const char *name, int64_t lowest, int64_t highest, int64_t *value,
                       Error *error) {
    if (!h5_read_attr_int(s->h5, "/", name, value, error)) return false;
    return (*value >= lowest && *value <= highest) ||
           fail(error, "%s: attribute %s is %lld, allowed are %lld to %lld", s->file, name, (long long)*value,
                (long long)lowest, (long long)highest);
}

static bool read_format(TokenFile *s, Error *error) {
    char *format;
    int64_t version;
    if (!h5_read_attr_text(s->h5, "/", "format", &format, error)) return false;
    bool ok = strcmp(format, TOKENS_FORMAT) == 0;
    free(format);
    if (!ok) return fail(error, "%s: is no token shard (its format is not '%s')", s->file, TOKENS_FORMAT);
    if (!h5_read_attr_int(s->h5, "/", "format_version", &version, error)) return false;
    return version == TOKENS_VERSION ||
           fail(error, "%s: token shard of version %lld, this program reads version %d; prepare it again", s->file,
                (long long)version, TOKENS_VERSION);
}

static bool read_tokenizer(TokenFile *s, Error *error) {
    char *name;
    if (!h5_read_attr_text(s->h5, "/", "tokenizer", &name, error)) return false;
    int length = snprintf(s->info.tokenizer, sizeof s->info.tokenizer, "%s", name);
    free(name);
    return (length >= 0 && length < (int)sizeof s->info.tokenizer) ||
           fail(error, "%s: the name of the tokenizer is longer than %zu bytes", s->file,
                sizeof s->info.tokenizer - 1);
}

static bool read_source(TokenFile *s, Error *error) {
    SourceCounts *c = &s->info.source_counts;
    const struct {
        const char *name;
        int64_t *value;
    } counts[] = {{"source_bytes", &c->bytes},
                  {"skipped", &c->skipped},
                  {"bad_lines", &c->bad_lines},
                  {"duplicates", &c->duplicates},
                  {"too_short", &c->too_short}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!read_count(s, counts[i].name, 0, INT64_MAX, counts[i].value, error)) return false;
    return true;
}

static bool read_content(TokenFile *s, Error *error) {
    uint64_t tokens, documents;
    if (!read_hex(s, "tokens", "xxh3", &tokens, error) || !read_hex(s, "documents", "xxh3", &documents, error))
        return false;
    s->info.content = hash_pair(tokens, documents);
    return true;
}

static bool read_info(TokenFile *s, Error *error) {
    ShardInfo *i = &s->info;
    int64_t most = INT64_MAX / 16; /* products with the size of an element cannot overflow */
    return read_format(s, error) && read_tokenizer(s, error) &&
           read_hex(s, "/", "tokenizer_hash", &i->tokenizer_hash, error) &&
           read_count(s, "vocab_size", 1, INT32_MAX, &i->vocab_size, error) &&
           read_count(s, "tokens", 1, most, &i->tokens, error) &&
           read_count(s, "documents", 1, i->tokens, &i->documents, error) &&
           read_count(s, "shards", 1, TOKENS_SHARDS_MOST, &i->shards, error) &&
           read_count(s, "shard", 0, i->shards - 1, &i->shard, error) && read_source(s, error) &&
           read_content(s, error) && h5_read_attr_text(s->h5, "/", "source", &i->source, error);
}

static bool check_shape(TokenFile *s, const char *path, int64_t count, Dtype *dtype, Error *error) {
    int64_t dim[4];
    int ndim;
    if (!h5_shape(s->h5, path, dtype, &ndim, dim, error)) return false;
    return (ndim == 1 && dim[0] == count) ||
           fail(error, "%s: dataset %s has %d dims and %lld elements, its attributes say one dim and %lld", s->file,
                path, ndim, ndim ? (long long)dim[0] : 1, (long long)count);
}

static bool check_shapes(TokenFile *s, Error *error) {
    Dtype documents;
    if (!check_shape(s, "tokens", s->info.tokens, &s->dtype, error)) return false;
    if (!check_shape(s, "documents", s->info.documents + 1, &documents, error)) return false;
    if (s->dtype != U16 && s->dtype != I32)
        return fail(error, "%s: tokens are %s, allowed are u16 and i32", s->file, dtype_name(s->dtype));
    return documents == I64 || fail(error, "%s: documents are %s, must be i64", s->file, dtype_name(documents));
}

static bool load_block(TokenFile *s, int64_t block, Error *error) {
    int64_t first = block * BLOCK, end = min_i64(first + BLOCK, s->info.documents + 1);
    if (s->block_first == first && s->block_end == end) return true;
    s->block_end = s->block_first = 0;
    if (!s->block) s->block = must_alloc(BLOCK, sizeof *s->block);
    if (!h5_read(s->h5, "documents", I64, first, end - first, s->block, error)) return false;
    s->block_first = first, s->block_end = end;
    return true;
}

/* Offsets rise from 0 to the number of tokens. */
static bool check_block(TokenFile *s, int64_t *previous, Error *error) {
    for (int64_t i = s->block_first; i < s->block_end; i++) {
        int64_t offset = s->block[i - s->block_first];
        bool ok = i == 0 ? offset == 0 : offset > *previous && offset <= s->info.tokens;
        if (i == s->info.documents) ok = ok && offset == s->info.tokens;
        if (!ok)
            return fail(error, "%s: documents[%lld] is %lld after %lld; offsets must rise from 0 to %lld", s->file,
                        (long long)i, (long long)offset, (long long)*previous, (long long)s->info.tokens);
        *previous = offset;
    }
    return true;
}

static bool index_documents(TokenFile *s, Error *error) {
    if (s->coarse) return true;
    int64_t blocks = ceil_div(s->info.documents + 1, BLOCK), previous = 0;
    int64_t *coarse = must_alloc(blocks, sizeof *coarse);
    for (int64_t b = 0; b < blocks; b++) {
        if (!load_block(s, b, error) || !check_block(s, &previous, error)) return free(coarse), false;
        coarse[b] = s->block[0];
    }
    s->coarse = coarse;
    return true;
}

TokenFile *token_file_open(const char *file, Error *error) {
    H5Reader *h5 = h5_open(file, error);
    if (!h5) return NULL;
    TokenFile *s = must_alloc(1, sizeof *s);
    s->h5 = h5;
    s->file = must_strdup(file);
    if (read_info(s, error) && check_shapes(s, error)) return s;
    token_file_close(s);
    return NULL;
}

void token_file_rest(TokenFile *s) {
    h5_rest(s->h5);
    free(s->block);
    s->block = NULL;
    s->block_first = s->block_end = 0;
}

bool token_file_wake(TokenFile *s, Error *error) { return h5_wake(s->h5, error); }

void token_file_close(TokenFile *s) {
    if (!s) return;
    h5_close(s->h5);
    free(s->block);
    free(s->info.source);
    free(s->coarse);
    free(s->file);
    free(s);
}

/* u16 come into the upper half of `to`, so that widening forwards overtakes none that is still needed. */
static void widen(int32_t *to, int64_t count) {
    const char *narrow = (const char *)to + 2 * count;
    for (int64_t i = 0; i < count; i++) {
        uint16_t token;
        memcpy(&token, narrow + 2 * i, 2);
        to[i] = token;
    }
}

bool token_file_read(TokenFile *s, int64_t first, int64_t count, int32_t *to, Error *error) {
    check(first >= 0 && count >= 0 && first <= s->info.tokens - count, "tokens %lld + %lld of a shard of %lld",
          (long long)first, (long long)count, (long long)s->info.tokens);
    void *into = s->dtype == U16 ? (char *)to + 2 * count : (char *)to;
    if (!h5_read(s->h5, "tokens", s->dtype, first, count, into, error)) return false;
    if (s->dtype == U16) widen(to, count);
    for (int64_t i = 0; i < count; i++)
        if (to[i] < 0 || to[i] >= s->info.vocab_size)
            return fail(error, "%s: token %lld is %d, outside its vocabulary of %lld", s->file,
                        (long long)(first + i), to[i], (long long)s->info.vocab_size);
    return true;
}

bool token_file_document(TokenFile *s, int64_t i, int64_t *first, Error *error) {
    check(i >= 0 && i <= s->info.documents, "document %lld of %lld", (long long)i, (long long)s->info.documents);
    if (!index_documents(s, error) || !load_block(s, i / BLOCK, error)) return false;
    *first = s->block[i % BLOCK];
    return true;
}

/* The last of n rising values that is not above x. */
static int64_t bisect(const int64_t *values, int64_t n, int64_t x) {
    int64_t low = 0, high = n;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (values[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool token_file_document_of(TokenFile *s, int64_t token, int64_t *document, Error *error) {
    check(token >= 0 && token < s->info.tokens, "token %lld of %lld", (long long)token, (long long)s->info.tokens);
    if (!index_documents(s, error)) return false;
    int64_t block = bisect(s->coarse, ceil_div(s->info.documents + 1, BLOCK), token);
    if (!load_block(s, block, error)) return false;
    *document = s->block_first + bisect(s->block, s->block_end - s->block_first, token);
    return true;
}

static bool verify_dataset(TokenFile *s, const char *path, Dtype dtype, int64_t count, Error *error) {
    int64_t step = 1 << 20;
    uint64_t stored;
    if (!read_hex(s, path, "xxh3", &stored, error)) return false;
    XXH3_state_t *hash = XXH3_createState();
    void *buffer = must_alloc(step, dtype_bytes(dtype));
    XXH3_64bits_reset(hash);
    bool ok = true;
    for (int64_t first = 0; ok && first < count; first += step) {
        int64_t n = min_i64(step, count - first);
        ok = h5_read(s->h5, path, dtype, first, n, buffer, error);
        if (ok) XXH3_64bits_update(hash, buffer, (size_t)(n * dtype_bytes(dtype)));
    }
    uint64_t found = XXH3_64bits_digest(hash);
    if (ok && found != stored)
        ok = fail(error, "%s: dataset %s is damaged: its XXH3 is %016" PRIx64 ", stored is %016" PRIx64, s->file,
                  path, found, stored);
    XXH3_freeState(hash);
    free(buffer);
    return ok;
}

static bool verify_tokens(TokenFile *s, Error *error) {
    int64_t step = 1 << 20;
    int32_t *tokens = must_alloc(step, sizeof *tokens);
    bool ok = true;
    for (int64_t first = 0; ok && first < s->info.tokens; first += step)
        ok = token_file_read(s, first, min_i64(step, s->info.tokens - first), tokens, error);
    free(tokens);
    return ok;
}

bool token_file_verify(TokenFile *s, Error *error) {
    return index_documents(s, error) && verify_dataset(s, "documents", I64, s->info.documents + 1, error) &&
           verify_dataset(s, "tokens", s->dtype, s->info.tokens, error) && verify_tokens(s, error);
}
