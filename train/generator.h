/* generator.h - continues prompts with a latent cache (DeepSeek-V2, section 2.1.2 and appendix C).
 *
 * A prompt is read in blocks, then one token of every unfinished prompt is computed at a time. The cache holds the
 * normalised latent and the rotated shared key: kv_lora_rank + qk_rope_head_dim values a token and layer. Prompts are
 * shared out over the ranks; a prompt that has ended leaves the batch, so the others do not pay for it. */
#pragma once
#include "train/engine.h"
#include "train/sample.h"

typedef struct {
    const int32_t *ids;
    int64_t n; /* at least 1 */
} Prompt;

typedef enum { ENDED_EOS, ENDED_LENGTH, ENDED_STOPPED } PromptEnd; /* stopped: by the sink or by a signal */

/* Called on rank 0, for each prompt in order of its tokens. token: false stops that prompt. */
typedef struct {
    void *own;
    bool (*token)(void *own, int64_t prompt, int32_t id);
    void (*end)(void *own, int64_t prompt, PromptEnd);
} GenerateSink;

typedef struct {
    int64_t cache_bytes_per_token, cache_bytes; /* of all layers; of this rank's cache as allocated */
    int64_t prompt_tokens, new_tokens;          /* all ranks */
    double prefill_seconds, decode_seconds;
} GenerateReport;

/* Collective; every rank has the same prompts. The engine was opened with use.cache_sequences and use.cache_length;
 * more prompts than there is room for wait their turn. A prompt that with rule.new_tokens does not fit cache_length
 * is an error. `limit`: ids from here on are never chosen (the tokenizer's size; padding rows of the embedding are
 * above it). The result does not depend on the ranks or on which other prompts are in the batch. */
bool generate(Engine *, const Prompt *, int64_t count, const SampleRule *, int64_t limit, const GenerateSink *,
              GenerateReport *, Error *);
