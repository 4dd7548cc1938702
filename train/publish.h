/* publish.h - what goes with the weights of a model when it is saved or exported. */
#pragma once
#include "configs/config.h"
#include "train/companions.h"

/* Fills companions (empty at first) for a model of config c: the files of `folder`, the Hugging Face folder or
 * checkpoint that it came from (NULL: it began here); the tokenizer that c names; config.json as the model is now, with
 * this dtype where it is not NULL ("bf16", "fp32"); a generation_config.json for a model that began here. */
bool publish_companions(Companions *, const Config *c, const char *folder, const char *dtype, Error *);
/* "bf16" -> "bfloat16": as config.json has it. */
const char *publish_dtype(const char *dtype);
/* The byte tokenizer as tokenizer.json and tokenizer_config.json, for a model that was trained with it. */
void publish_bytes(Companions *);
