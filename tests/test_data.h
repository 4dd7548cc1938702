/* test_data.h - tests of data/ that live in files of their own; test_data.c lists them all. */
#pragma once
#include "tests/test.h"

/* test_data_input.c: what strangers' files can do to us */
void broken_safetensors(void);
void sound_safetensors(void);
void broken_index(void);
void broken_shard_folders(void);
void broken_jsonl(void);
void broken_text(void);
void flipped_safetensors(void);

/* test_data_shards.c */
void broken_token_shards(void);
void flipped_token_shard(void);
void work_apart(void);

/* test_prepare.c: from text to shards */
void prepare_splits_tails(void);
void prepare_splits_documents(void);
void prepare_counts_documents(void);
void prepare_caches(void);
void prepare_interrupted(void);
void prepare_refuses(void);
void prepare_uses_shards(void);
void prepare_reads_folders(void);

/* A file of the test folder (the path is valid until the next 64 calls), written whole. */
const char *test_path(const char *name);
const char *test_file(const char *name, const void *bytes, int64_t count);
void expect_message(bool ok, const Error *, const char *words, const char *name);
