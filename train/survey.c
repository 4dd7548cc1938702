#include "train/survey.h"

#include <stdio.h>
#include <string.h>

#include "train/log.h"
#include "train/render.h"

static double percent(int64_t part, int64_t whole) { return whole ? 100 * (double)part / (double)whole : 0; }

static void print_rows(const Survey *s, const Tokenizer *t) {
    for (int r = 0; r < SURVEY_ROWS; r++) {
        Render render;
        if (!s->row_tokens[r]) continue;
        printf("  row        ");
        render_open(&render, stdout, t, false, false);
        render_ids(&render, s->row[r], s->row_tokens[r]);
        render_close(&render);
        puts(s->row_tokens[r] == SURVEY_ROW_TOKENS ? " ..." : "");
    }
}

static void print_left_out(const SourceCounts *c, const char bad[BAD_NAMED][BAD_TEXT]) {
    printf("  left out   %lld too short, %lld without text, %lld bad lines\n", (long long)c->too_short,
           (long long)c->skipped, (long long)c->bad_lines);
    for (int i = 0; i < BAD_NAMED && bad[i][0]; i++) printf("  bad        %s\n", bad[i]);
}

static void print_duplicates(const Survey *s, const DataSet *set) {
    printf("  duplicates %.3f%% (%lld of %lld documents", percent(s->duplicates, s->compared),
           (long long)s->duplicates, (long long)s->compared);
    if (s->compared_share > 1) printf(", a sample of 1 in %lld by their hash", (long long)s->compared_share);
    printf("); %s\n", set->deduplicate ? "dropped" : "kept, as deduplicate is false");
}

static void print_survey(const Survey *s, const DataSet *set, const Tokenizer *t) {
    char documents[32], tokens[32], longest[32], bytes[32], read[32];
    printf("%s: %lld file%s, %s", set->name, (long long)s->files, s->files == 1 ? "" : "s",
           format_bytes(bytes, (double)s->bytes));
    if (s->bytes_read < s->bytes)
        printf("; the figures are of %s in parts spread evenly over it", format_bytes(read, (double)s->bytes_read));
    printf("\n  documents  %s, the longest of %s tokens\n", format_commas(documents, s->documents),
           format_commas(longest, s->longest));
    printf("  tokens     %s, %.3f bytes each\n", format_commas(tokens, s->tokens),
           s->tokens ? (double)s->source.bytes / (double)s->tokens : 0);
    if (s->characters)
        printf("  U+FFFD     %.4f%% of characters (they stand for what was lost before)\n",
               percent(s->replaced, s->characters));
    print_duplicates(s, set);
    print_left_out(&s->source, s->bad);
    print_rows(s, t);
}

/* -- shards that are there ---------------------------------------------------------------------------------- */

static bool longest_document(TokenShard *shard, int64_t *longest, Error *error) {
    int64_t first = 0, next;
    *longest = 0;
    for (int64_t i = 1; i <= tokens_info(shard)->documents; i++, first = next) {
        if (!tokens_document(shard, i, &next, error)) return false;
        *longest = max_i64(*longest, next - first);
    }
    return true;
}

/* The beginnings of the first document, of one in the middle and of the last. */
static bool read_rows(TokenShard *shard, Survey *s, Error *error) {
    int64_t n = s->documents, shown[SURVEY_ROWS] = {0, n / 2, n - 1}, first, end;
    for (int r = 0; r < SURVEY_ROWS; r++) {
        if (r && shown[r] == shown[r - 1]) continue;
        if (!tokens_document(shard, shown[r], &first, error) || !tokens_document(shard, shown[r] + 1, &end, error))
            return false;
        s->row_tokens[r] = min_i64(end - first, SURVEY_ROW_TOKENS);
        if (!tokens_read(shard, first, s->row_tokens[r], s->row[r], error)) return false;
    }
    return true;
}

static bool print_shards(const DataSet *set, const Tokenizer *t, const char *path, Error *error) {
    Survey s = {0};
    char documents[32], tokens[32], longest[32];
    TokenShard *shard = tokens_open(path, error);
    if (!shard) return false;
    s.documents = tokens_info(shard)->documents;
    bool ok = longest_document(shard, &s.longest, error) && read_rows(shard, &s, error);
    if (ok) {
        printf("%s: shards %s\n  documents  %s, the longest of %s tokens\n  tokens     %s\n", set->name, path,
               format_commas(documents, s.documents), format_commas(longest, s.longest),
               format_commas(tokens, tokens_info(shard)->tokens));
        print_rows(&s, t);
    }
    tokens_close(shard);
    return ok;
}

/* What the real run will refuse, where all documents were looked at. */
static bool leaves_some(const Survey *s, const DataSet *set, Error *error) {
    bool all = s->bytes_read >= s->bytes && s->compared_share <= 1;
    int64_t documents = s->documents - (set->deduplicate ? s->duplicates : 0);
    if (!all || set->validation < 1 || set->validation < (double)documents) return true;
    return fail(error, "data.%s.validation: %g of %lld documents leaves none to train on; lower it", set->name,
                set->validation, (long long)documents);
}

bool survey_print(const Config *c, const DataSet *set, const Tokenizer *t, Comm *world, Error *error) {
    if (!strcmp(set->format, "tokens")) {
        Prepared p;
        bool ok = prepare_set(&p, c, set, t, "", world, error);
        return ok && (world->rank > 0 || print_shards(set, t, p.train, error));
    }
    Survey s;
    if (!survey_set(&s, c, set, t, SURVEY_BYTES, world, error)) return false;
    if (world->rank == 0) print_survey(&s, set, t);
    if (s.source.bad_lines > set->bad_lines)
        return fail(error, "data.%s: %lld bad lines, where bad_lines allows %lld; the first: %s", set->name,
                    (long long)s.source.bad_lines, (long long)set->bad_lines, s.bad[0]);
    return leaves_some(&s, set, error);
}
