/* text.c - what people write: plain text, documents a line, questions. */
#include <string.h>

#include "data/documents.h"
#include "data/questions.h"
#include "tests/fuzz/fuzz.h"

/* What a tokenizer relies on: pieces of whole UTF-8 characters without NUL. */
static bool take_text(void *own, const char *text, int64_t bytes, Error *error) {
    bool cut;
    (void)own, (void)error;
    check(bytes > 0 && utf8_prefix(text, bytes, &cut) == bytes, "a piece that is not UTF-8");
    return true;
}

static bool take_end(void *own, Error *error) {
    (void)error;
    ++*(int64_t *)own;
    return true;
}

static void take_progress(void *own, int64_t bytes) { (void)own, (void)bytes; }

static bool read_documents(const char *name, const uint8_t *data, int64_t bytes) {
    int64_t documents = 0;
    DocumentFile file = {.file = fuzz_file(name, data, bytes), .field = "text"};
    DocumentCounts counts = {0};
    Error error = {0};
    DocumentSink sink = {.own = &documents, .text = take_text, .end = take_end, .progress = take_progress};
    bool ok = documents_read(&file, &sink, &counts, &error);
    check(documents + counts.skipped <= bytes + 1, "%lld documents in %lld bytes", (long long)documents,
          (long long)bytes);
    return fuzz_verdict(ok, &error);
}

/* Both as plain text and as JSON lines; what begins like the latter is meant to be it. */
bool fuzz_documents(const uint8_t *data, int64_t bytes) {
    bool text = read_documents("fuzz.txt", data, bytes), lines = read_documents("fuzz.jsonl", data, bytes);
    return bytes && memchr("{[", *data, 2) ? lines : text;
}

static bool read_questions(const char *path, LinesKind kind, Error *error) {
    bool ok, found = true;
    Questions *questions = questions_open(path, kind, error);
    for (ok = questions != NULL; ok && found;) {
        Question q = {0};
        ok = questions_next(questions, &q, &found, error);
        if (ok && found)
            check(q.question && q.choices > 0 && q.choices <= CHOICES_MOST && q.answer >= 0 && q.answer < q.choices,
                  "answer %d of %d choices", q.answer, q.choices);
        question_free(&q);
    }
    questions_close(questions);
    return ok;
}

bool fuzz_questions(const uint8_t *data, int64_t bytes) {
    Error error = {0};
    LinesKind kind;
    const char *path = fuzz_file("fuzz.jsonl", data, bytes);
    bool ok = questions_recognise(path, &kind, &error) && (kind == LINES_TEXT || read_questions(path, kind, &error));
    return fuzz_verdict(ok, &error);
}
