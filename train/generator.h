/* generator.h - continues prompts with a latent cache (DeepSeek-V2, section 2.1.2 and appendix C).
 *
 * A prompt is read in blocks, then one token of every unfinished prompt is computed at a time. The cache holds the
 * normalised latent and the rotated shared key: kv_lora_rank + qk_rope_head_dim values a token and layer. Prompts are
 * shared out over the ranks; one that has ended leaves the batch, so the others do not pay for it, and its room is
 * the next one's. */
#pragma once
#include "train/engine.h"
#include "train/sample.h"

typedef struct {
    const int32_t *ids;
    int64_t n;    /* at least 1 */
    int64_t kept; /* its first tokens that the cache still holds from the generate before; below n, and 0 unless both
                   * were asked for one prompt alone */
} Prompt;

/* stopped: by the sink or by a signal; nan: the model's logits were no numbers */
typedef enum { ENDED_EOS, ENDED_LENGTH, ENDED_STOPPED, ENDED_NAN } PromptEnd;

/* Called on rank 0, for each prompt in order of its tokens; eos is not among them. token: false stops that prompt. */
typedef struct {
    void *own;
    bool (*token)(void *own, int64_t prompt, int32_t id);
    void (*end)(void *own, int64_t prompt, PromptEnd);
} GenerateSink;

typedef struct {
    int64_t cache_bytes_per_token, cache_bytes; /* of all layers; of this rank's cache as allocated */
    int64_t prompt_tokens, new_tokens;          /* computed, all ranks */
    int64_t decoded_tokens;                     /* new tokens but each prompt's first, which comes with reading it */
    double prefill_seconds, decode_seconds;
} GenerateReport;

enum { GENERATE_BLOCK = 512 }; /* prompt tokens that are computed at once, where nobody asks for less */

/* What an engine needs for these prompts: use.cache. at_once: prompts that are continued at the same time, all ranks
 * together, at most. */
CacheUse generate_use(const Prompt *, int64_t count, int64_t new_tokens, int64_t at_once, int ranks);

/* Whether prompt `number` (from 0) and its answer are within the model's positions; else a sentence. */
bool generate_fits(const Config *, const Prompt *, int64_t number, int64_t new_tokens, Error *);

/* Collective; every rank has the same prompts. More of them than use.cache has room for wait their turn. A prompt that
 * with rule.new_tokens does not fit use.cache.length or the model's positions is an error. `limit`: ids from here on are
 * never chosen (the tokenizer's size; padding rows of the embedding are above it). What is chosen depends on the prompt,
 * its number and the rule, not on which other prompts are in the batch: with up to 16 at once on a rank to the bit, and
 * with more, or on another number of ranks, but for rounding. */
bool generate(Engine *, const Prompt *, int64_t count, const SampleRule *, int64_t limit, const GenerateSink *,
              GenerateReport *, Error *);
