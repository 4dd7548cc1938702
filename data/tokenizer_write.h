/* tokenizer_write.h - what was learned, as the files that Hugging Face and dsv2 read. */
#pragma once
#include "data/bpe_train.h"

/* Control tokens behind the learned ones, in this order: bos, eos, and for filling in the middle hole, begin, end. */
enum { CONTROL_TOKENS = 2, CONTROL_TOKENS_FIM = 5 };

/* FOLDER with tokenizer.json and tokenizer_config.json: made under another name, read back, then renamed, so it is
 * there whole or not at all. It must not exist. controls: the first so many of the control tokens. */
bool tokenizer_write(const char *folder, const Learned *, int controls, Error *);
