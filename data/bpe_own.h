/* bpe_own.h - what a Bpe consists of; for bpe.c and bpe_read.c. */
#pragma once
#include "data/bpe.h"

typedef struct {
    int32_t left, right, id; /* id < 0: an empty slot */
    uint32_t rank;
} Merge;
typedef struct {
    int64_t from;
    int32_t bytes; /* 0: there is no such id */
    bool plain;    /* not written in the alphabet of bytes */
} Token;

struct Bpe {
    char *text; /* bytes of all tokens, one after the other */
    Token *token;
    int64_t size, text_bytes;
    Merge *merge; /* open addressing */
    uint64_t merge_mask;
    int32_t *word; /* ids by the hash of their bytes, -1 = empty; for ignore_merges */
    uint64_t word_mask;
    bool ignore_merges; /* a piece that is a token is that token, however it could be merged */
    int32_t of_byte[256];
};

static inline uint64_t merge_slot(int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= 0x9e3779b97f4a7c15u;
    return key ^ key >> 32;
}
