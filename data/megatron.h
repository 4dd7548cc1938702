/* megatron.h - token files of Megatron-LM: ids in NAME.bin, described by NAME.idx (MMIDIDX, version 1).
 *
 * An index holds the dtype of ids, the length and place of each sequence, and, but for the oldest files, which sequences
 * begin documents (without that each is one). Both files are strangers': every count and place is checked against
 * their sizes, every id against the vocabulary. Sequences lie in the .bin one behind the other, without a gap. */
#pragma once
#include "kernels/base.h"

typedef struct {
    char *bin, *idx;
    int bin_fd, idx_fd;
    int64_t bin_bytes, element; /* bytes of an id */
    bool is_signed;
    int64_t sequences, documents;
    int64_t sizes_at, places_at, documents_at; /* in the .idx; documents_at 0: each sequence is a document */
} Megatron;

/* The header, and that the sizes of both files fit it. */
bool megatron_open(Megatron *, const char *bin, Error *);
void megatron_close(Megatron *);
/* All of the index; reads it once from end to end. */
bool megatron_check(const Megatron *, Error *);

enum { MEGATRON_IDS_AT_ONCE = 1 << 16 }; /* at most */

typedef struct {
    void *own;
    bool (*ids)(void *own, const int32_t *ids, int64_t n, Error *); /* the next ids of a document */
    bool (*end)(void *own, Error *);
    void (*progress)(void *own, int64_t bytes);
} MegatronSink;

/* The documents that begin in bytes [from, end) of the .bin; *empty counts those without an id. */
bool megatron_read(const Megatron *, int64_t from, int64_t end, int64_t vocab_size, const MegatronSink *,
                   int64_t *empty, Error *);
