/* fuzz.h - the parsers of strangers' files, each as a function over bytes.
 *
 * libfuzzer.c feeds them random bytes (`make fuzz`); tests/test_fuzz.c replays corpus/NAME, where a file
 * called ok-* must be taken and one called bad-* refused. A target checks what must hold of anything that
 * its parser takes; a parser that refuses leaves a message. */
#pragma once
#include "kernels/base.h"

typedef struct {
    const char *name;
    bool (*run)(const uint8_t *data, int64_t bytes); /* whether the parser took it */
} FuzzTarget;
extern const FuzzTarget fuzz_targets[]; /* ended by {0} */

/* Writes the bytes to this name in a folder of our own, for parsers that take a file; the path. */
const char *fuzz_file(const char *name, const uint8_t *data, int64_t bytes);
char *fuzz_text(const uint8_t *data, int64_t bytes); /* ended by a NUL, malloc'd */
/* Returns `taken`; of what was refused there must be a message. */
bool fuzz_verdict(bool taken, const Error *);

bool fuzz_safetensors(const uint8_t *data, int64_t bytes);
bool fuzz_index(const uint8_t *data, int64_t bytes);
bool fuzz_hf_config(const uint8_t *data, int64_t bytes);
bool fuzz_config(const uint8_t *data, int64_t bytes);
bool fuzz_manifest(const uint8_t *data, int64_t bytes);
bool fuzz_documents(const uint8_t *data, int64_t bytes);
bool fuzz_packed(const uint8_t *data, int64_t bytes);
bool fuzz_json_line(const uint8_t *data, int64_t bytes);
bool fuzz_megatron(const uint8_t *data, int64_t bytes);
bool fuzz_questions(const uint8_t *data, int64_t bytes);
bool fuzz_tokenizer(const uint8_t *data, int64_t bytes);
bool fuzz_encode(const uint8_t *data, int64_t bytes);
bool fuzz_commandline(const uint8_t *data, int64_t bytes);
