/* spool.h - the documents of one part on their way from a source to shards: ids as shards store them, and a record of
 * each document, in two files KEY.tokens and KEY.records.
 *
 * How documents are split depends on all of them, and a shard's layout on its counts, so parts come first. The name of
 * the records appears last, when the part is complete; both files carry hashes, so that after a crash or a power cut
 * nothing half-made is taken for whole. Making the temporary file of records claims the part: other ranks pass it by. */
#pragma once
#include "data/encode.h"

typedef struct Spool Spool;

/* Ends the file of records. */
typedef struct {
    uint64_t magic, key;
    int64_t documents, tokens, token_bytes; /* of one */
    PartCounts counts;
    uint64_t tokens_hash, records_hash, hash; /* hash: of what stands before it */
} SpoolEnd;

/* NULL + *claimed false when another rank works on the part or has made it; NULL + message. */
Spool *spool_claim(const char *folder, uint64_t key, int64_t vocab_size, bool *claimed, Error *);
IdSink spool_sink(Spool *); /* without progress */
/* Either frees it. */
bool spool_finish(Spool *, const PartCounts *, Error *);
void spool_abandon(Spool *);

char *spool_file(const char *folder, uint64_t key, const char *ending); /* malloc'd */
/* Whether the part is there and every byte of it as it was written. */
bool spool_is_whole(const char *folder, uint64_t key);
bool spool_read_end(const char *folder, uint64_t key, SpoolEnd *, Error *);
