/* train_tokenizer.c - `dsv2 train-tokenizer CORPUS... -o FOLDER`: a vocabulary from texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/config.h"
#include "data/disk.h"
#include "data/source.h"
#include "data/tokenizer_write.h"
#include "launch/threads.h"
#include "launch/signals.h"
#include "train/commands.h"
#include "train/log.h"

enum { DEFAULT_SIZE = 8192, BYTE_TOKENS = 256 };

typedef struct {
    Config config;
    const char **file;
    int64_t files, bytes, size; /* size: ids that there are to be */
    int controls;
    Words words;
    WordCount count;
    Learned learned;
    double begin, counted, learnt; /* seconds */
    bool terminal;
    double shown;
    int64_t read;
} Job;

/* -- what people ask for ------------------------------------------------------------------------------ */

static bool read_keys(Job *j, const CommandLine *line, Error *error) {
    if (!config_from_overrides(&j->config, line->override, line->n_override, error)) return false;
    j->controls = j->config.fim_tokens ? CONTROL_TOKENS_FIM : CONTROL_TOKENS;
    j->size = j->config.vocab_size ? j->config.vocab_size : DEFAULT_SIZE;
    if (j->size < BYTE_TOKENS + j->controls)
        return fail(error, "vocab_size=%lld is too small: 256 bytes and %d control tokens come first",
                    (long long)j->size, j->controls);
    if (!line->out) return fail(error, "train-tokenizer needs -o FOLDER, where the tokenizer goes");
    if (disk_exists(line->out)) return fail(error, "%s is there already; name a new folder", line->out);
    return true;
}

static bool find_files(Job *j, const CommandLine *line, Error *error) {
    for (int i = 0; i < line->n_input; i++) {
        DataSet set = {.name = "train-tokenizer", .path = line->input[i]};
        SourceFiles found;
        if (!source_list(&found, &set, NULL, error)) return false;
        j->file = must_realloc(j->file, j->files + found.count, sizeof *j->file);
        for (int64_t k = 0; k < found.count; k++) j->file[j->files++] = must_strdup(found.file[k].path);
        j->bytes += found.bytes;
        source_free(&found);
    }
    return true;
}

/* -- progress ------------------------------------------------------------------------------------------- */

static bool due(Job *j) {
    double now = clock_seconds();
    if (!j->terminal || now - j->shown < 0.2) return false;
    j->shown = now;
    return true;
}

static void on_read(void *own, int64_t bytes) {
    Job *j = own;
    j->read += bytes;
    if (!due(j)) return;
    double rate = (double)j->read / (j->shown - j->begin + 1e-3);
    fprintf(stderr, "\rwords: %.1f of %.1f MB, %.1f MB/s, %.0f s left  ", (double)j->read / 1e6,
            (double)j->bytes / 1e6, rate / 1e6, (double)max_i64(j->bytes - j->read, 0) / rate);
}

static void on_token(void *own, int64_t tokens) {
    Job *j = own;
    if (due(j))
        fprintf(stderr, "\rtokens: %lld of %lld                              ", (long long)tokens,
                (long long)(j->size - j->controls));
}

/* -- training ------------------------------------------------------------------------------------------- */

static bool learn(Job *j, Error *error) {
    bpe_learn(&j->learned, &j->words, j->size - j->controls, j->config.min_frequency, on_token, j);
    j->learnt = clock_seconds();
    if (j->terminal) fprintf(stderr, "\r%60s\r", "");
    if (j->learned.tokens == j->size - j->controls) return true;
    return fail(error,
                "the corpus (%lld bytes of text, %lld different words) is too small for vocab_size=%lld: %lld merges "
                "occur %lld times or more and %lld are needed; write vocab_size=%lld or give more text",
                (long long)j->count.bytes, (long long)j->words.words, (long long)j->size,
                (long long)j->learned.merges, (long long)j->config.min_frequency,
                (long long)(j->size - j->controls - BYTE_TOKENS), (long long)(j->learned.tokens + j->controls));
}

static bool count_words(Job *j, Error *error) {
    Error inner;
    json_t *json = json_loads(pretokenizer_deepseek_v2, 0, NULL);
    Pretokenizer *p = pretokenizer_open(json, &inner);
    check(p, "%s", inner.text);
    json_decref(json);
    j->count = (WordCount){.pretokenizer = p,
                           .field = j->config.tokenizer_field,
                           .most_words = j->config.max_words,
                           .progress = on_read,
                           .own = j};
    words_open(&j->words);
    bool ok = words_count(&j->words, &j->count, j->file, j->files, error);
    j->counted = clock_seconds();
    pretokenizer_close(p);
    return ok;
}

static void report(const Job *j, const char *folder) {
    char bytes[32], words[32];
    printf("corpus     %lld files, %lld documents, %s bytes of text, %s different words; read in %.1f s\n",
           (long long)j->files, (long long)j->count.documents, format_commas(bytes, j->count.bytes),
           format_commas(words, j->words.words), j->counted - j->begin);
    if (j->words.left_out)
        printf("left out   %lld pieces of more than %d bytes\n", (long long)j->words.left_out, WORD_BYTES);
    printf("tokenizer  %lld ids: 256 bytes, %lld merges, %d control tokens; %.1f s\n", (long long)j->size,
           (long long)j->learned.merges, j->controls, j->learnt - j->counted);
    printf("a token    %.3f bytes of the corpus\n",
           (double)j->count.bytes / (double)max_i64(j->learned.corpus_tokens, 1));
    printf("written    %s (in a config: tokenizer: %s)\n", folder, folder);
}

static void close_job(Job *j) {
    for (int64_t i = 0; i < j->files; i++) free((char *)j->file[i]);
    free(j->file);
    words_free(&j->words);
    bpe_learned_free(&j->learned);
    config_free(&j->config);
}

int command_train_tokenizer(const CommandLine *line) {
    Job j = {.begin = clock_seconds(), .terminal = isatty(STDERR_FILENO)};
    Error error = {0};
    int code = EXIT_USAGE;
    if (read_keys(&j, line, &error)) {
        launch_threads((int)j.config.threads);
        bool ok = find_files(&j, line, &error) && count_words(&j, &error) && learn(&j, &error);
        signals_open(); /* what takes so little time is finished */
        ok = ok && tokenizer_write(line->out, &j.learned, j.controls, &error);
        if (ok) report(&j, line->out);
        code = ok ? EXIT_DONE : error_code(&error, EXIT_INPUT);
    }
    if (code != EXIT_DONE) fprintf(stderr, "%sdsv2: %s\n", j.terminal ? "\n" : "", error.text);
    close_job(&j);
    return code;
}
