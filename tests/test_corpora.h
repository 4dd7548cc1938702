/* test_corpora.h - what the tests of prepare at scale share: made-up sources, and what came out of them. */
#pragma once
#include "data/prepare.h"
#include "tests/test_data.h"

/* A set named "set" of this path; format text, field text, shards as large as they come. */
DataSet corpus_set(const char *path);
/* Prepares it with bytes into a folder of the test's, on `ranks` ranks; that it works is checked. */
Prepared corpus_prepare(DataSet set, const char *out, int ranks);
bool corpus_try(Prepared *, DataSet set, const char *out, Error *); /* on one */
/* The text of a side with '|' for eos; malloc'd. */
char *corpus_text(const char *stem);
/* Hash over names and bytes of all files in a folder. */
uint64_t corpus_hash(const char *folder);
uint64_t corpus_hash_of(const Prepared *); /* of the set's folder */
/* Some megabytes in files of every kind below "in"; parts of ranges, of whole files and of several. */
DataSet corpus_mixed(void);
/* `count` lines of JSON: document i is `word` and i, as many times as make up about `bytes`; written plain, or packed as
 * the name says, in several members or frames. */
const char *corpus_lines(const char *name, const char *word, int count, int bytes);
/* Writes text packed as the name says, in pieces of `piece` bytes. */
const char *corpus_pack(const char *name, const char *text, int64_t bytes, int64_t piece);

/* test_corpora_input.c, test_corpora_resume.c, test_megatron.c, test_survey.c */
void packed_equals_plain(void);
void packed_cut_off(void);
void packed_damaged(void);
void lines_by_range(void);
void line_without_end(void);
void ranges_read_once(void);
void json_lines(void);
void bad_lines_are_counted(void);
void bad_line_in_a_late_part(void);
void bad_lines_of_text(void);
void unfit_at_its_end(void);
void broken_disk(void);
void long_texts(void);
void killed_runs_go_on(void);
void damaged_part_is_made_again(void);
void stopped_behind_the_parts(void);
void finished_parts_are_passed_by(void);
void megatron_good(void);
void megatron_parts(void);
void megatron_broken(void);
void megatron_ids(void);
void survey_figures(void);
void survey_ranks(void);
void survey_samples(void);
void render_escapes(void);
