/* exchange.h - tokens to the ranks of their experts and back (DeepSeek-V2, section 2.2.2-2.2.3).
 *
 * A token goes once to each rank that holds any of its experts, however many they are; that rank
 * computes, weights and adds its own experts' outputs and returns one vector; exchange_bound says how
 * many vectors a token can cost. What exceeds a rank's buffers goes in further rounds through the
 * same buffers.
 *
 * N tokens here, K experts a token, e experts on this rank, V vectors received in a round, P pairs
 * (vector, expert) computed in a round. Tables hold I32 indices in device memory; -1 = nothing.
 * Host lists live in run->host until the caller rewinds it. */
#pragma once
#include "launch/run.h"

typedef struct {            /* sizes that hold for a whole run; made by exchange_shape        */
    int64_t tokens;         /* of one micro-batch, at most                                    */
    int64_t vectors, pairs; /* received and computed in one round, at most                    */
    int64_t worst_vectors;  /* received in all rounds, at most                                */
    int64_t max_rounds;     /* 1 where the buffers hold the worst case                        */
    int64_t top_k, experts, local_experts;
    int64_t home_cols; /* ranks a token can go to, at most: exchange_bound               */
    int64_t pair_cols; /* experts of a token on one rank: min(K, e)                      */
} ExchangeShape;

typedef struct {                      /* tables of one round                                            */
    int64_t *send_count, *recv_count; /* (ep) vectors to and from each rank; host                  */
    int64_t sent, received, pairs;
    int64_t send_most;
    int64_t first;       /* token of the first vector: with ep 1 a round is a run of tokens        */
    Tensor send_token;   /* (sent) token of each vector sent, by rank, then by token       */
    Tensor home;         /* (N, home_cols) rows of the returned vectors that are a token's */
    Tensor pair_vector;  /* (pairs) received vector of a pair; pairs lie by expert         */
    Tensor pair_slot;    /* (pairs) vector * K + k: where a pair's weight is               */
    Tensor vector_pairs; /* (received, pair_cols) pairs of a received vector               */
    Tensor slot_pair;    /* (received * K, 1) pair of a slot                               */
    Groups groups;       /* rows of pairs by local expert                                  */
    int64_t comm_mark;   /* of the exchange in flight                                      */
    Tensor returned;     /* (sent, C), between combine_start and combine_finish            */
} Round;

typedef struct { /* host lists of one layer and micro-batch                        */
    const ExchangeShape *shape;
    int64_t tokens;
    int rounds;
    int32_t *ids;        /* (N, K) expert of each slot, -1 = dropped                       */
    int64_t *send_first; /* (ep + 1) into send_token                                       */
    int32_t *send_token;
    int64_t *recv_first; /* (ep + 1) into recv_ids                                         */
    int32_t *recv_ids;   /* (received, K) local experts, -1 = on another rank              */
    int64_t *send_round; /* (ep, max_rounds) vectors to a rank in each round               */
    int64_t *recv_round; /* (ep, max_rounds) vectors from a rank in each round             */
} Route;

/* Vectors of a token, layer and direction, at most: min(K, ep, topk_group * ranks that a group of
 * experts lies on), the last only for group_limited_greedy. What stays at home is counted. */
int64_t exchange_bound(const Config *, int ep);
ExchangeShape exchange_shape(const Config *, int64_t tokens, int ep);

/* Reads the experts (N, K) on the host - the one host read of forward and backward -, agrees with
 * the other ranks of the axis on who sends what in which round. Collective over AXIS_EP. */
void exchange_plan(Route *, const ExchangeShape *, Tensor expert, RouterRule, Run *);
/* The host part of the tables that outlives the lists of exchange_plan: take it before them. */
void round_open(Round *, const ExchangeShape *, Run *);
/* Builds the tables of one round in `tables`. */
void round_build(Round *, const Route *, int round, Arena *tables, Run *);

/* Rows x (N, C) to the ranks of their experts: returns (received, C); those are rows of x itself when ep is
 * 1, else of `to`, which holds shape->vectors rows. One exchange at a time. Adjoint: combine. */
void dispatch_start(Round *, Tensor to, Tensor x, Run *);
Tensor dispatch_finish(Round *, Tensor to, Tensor x, Run *);
/* Rows y (received, C) home: out (N, C) += the sum of each token's returned rows, in rank order.
 * Adjoint: dispatch. When ep is 1 the caller adds pairs itself to the rows of out that round_rows gives. */
void combine_start(Round *, Tensor y, Run *);
void combine_finish(Round *, Tensor out, Run *);
bool exchange_local(const Run *);
Tensor round_rows(const Round *, Tensor x);
