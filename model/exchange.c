#include "model/exchange.h"

#include <string.h>

int64_t exchange_bound(const Config *c, int ep) {
    int64_t bound = min_i64(c->num_experts_per_tok, ep);
    if (strcmp(c->topk_method, "group_limited_greedy")) return bound;
    int64_t group = c->n_routed_experts / c->n_group, local = c->n_routed_experts / ep;
    int64_t ranks = local % group == 0 ? 1 : group % local == 0 ? group / local : ceil_div(group - 1, local) + 1;
    return min_i64(bound, c->topk_group * ranks);
}

/* factor times the balanced share, not more than the worst case */
static int64_t capacity(int64_t balanced, double factor, int64_t worst, int64_t least) {
    double wanted = (double)balanced * factor;
    return max_i64(wanted < (double)worst ? (int64_t)wanted : worst, least);
}

ExchangeShape exchange_shape(const Config *c, int64_t tokens, int ep) {
    int64_t k = c->num_experts_per_tok, e = c->n_routed_experts / ep, worst_pairs = tokens * ep * min_i64(k, e);
    double factor = c->expert_capacity_factor > 0 ? c->expert_capacity_factor : ep <= 4 ? 1e9 : 2.0;
    int64_t sent = exchange_bound(c, ep);
    ExchangeShape s = {.tokens = tokens,
                       .top_k = k,
                       .experts = c->n_routed_experts,
                       .local_experts = e,
                       .home_cols = sent,
                       .pair_cols = min_i64(k, e),
                       .worst_vectors = tokens * ep};
    s.vectors = capacity(tokens * sent, factor, s.worst_vectors, 1);
    s.pairs = capacity(tokens * k, factor, worst_pairs, s.pair_cols); /* one vector always fits */
    bool holds_all = s.vectors >= s.worst_vectors && s.pairs >= worst_pairs;
    s.max_rounds =
        holds_all ? 1 : ceil_div(s.worst_vectors, s.vectors) + ceil_div(worst_pairs, s.pairs - s.pair_cols + 1) + 1;
    return s;
}

bool exchange_local(const Run *run) { return mesh_size(&run->mesh, AXIS_EP) == 1; }

/* -- who sends what ------------------------------------------------------------------------------ */

static void *host(Run *run, int64_t count, int64_t size) { return arena_alloc(&run->host, count * size); }

/* Whether slot k is the first of token t's slots that goes to its rank. */
static bool first_of_rank(const int32_t *slots, int64_t k, int64_t local) {
    if (slots[k] < 0) return false;
    for (int64_t j = 0; j < k; j++)
        if (slots[j] >= 0 && slots[j] / local == slots[k] / local) return false;
    return true;
}

/* One rank has all experts: every token stays, in order, the ones that lost all their experts too. */
static void list_all(Route *r) {
    r->send_first[0] = 0;
    r->send_first[1] = r->tokens;
    for (int64_t t = 0; t < r->tokens; t++) r->send_token[t] = (int32_t)t;
}

static void list_sends(Route *r, int ep) {
    int64_t k_all = r->shape->top_k, local = r->shape->local_experts, count[ep];
    memset(count, 0, sizeof count);
    for (int64_t i = 0; i < r->tokens * k_all; i++) /* i = t * K + k */
        if (first_of_rank(r->ids + i / k_all * k_all, i % k_all, local)) count[r->ids[i] / local]++;
    r->send_first[0] = 0;
    for (int d = 0; d < ep; d++) {
        r->send_first[d + 1] = r->send_first[d] + count[d];
        count[d] = r->send_first[d];
    }
    for (int64_t i = 0; i < r->tokens * k_all; i++)
        if (first_of_rank(r->ids + i / k_all * k_all, i % k_all, local))
            r->send_token[count[r->ids[i] / local]++] = (int32_t)(i / k_all);
}

/* The slots of each vector as its destination counts experts. */
static void list_slots(int32_t *slots, const Route *r, int ep) {
    int64_t k_all = r->shape->top_k, local = r->shape->local_experts;
    for (int d = 0; d < ep; d++)
        for (int64_t v = r->send_first[d]; v < r->send_first[d + 1]; v++)
            for (int64_t k = 0; k < k_all; k++) {
                int32_t id = r->ids[r->send_token[v] * k_all + k];
                *slots++ = id >= 0 && id / local == d ? (int32_t)(id % local) : -1;
            }
}

static void exchange_slots(Route *r, Run *run, int ep) {
    Comm *c = run->mesh.axis[AXIS_EP];
    int64_t k_all = r->shape->top_k, one[ep], send[ep], recv[ep];
    for (int d = 0; d < ep; d++) one[d] = sizeof(int64_t), send[d] = r->send_first[d + 1] - r->send_first[d];
    c->ops->host_exchange(c, recv, one, send, one);
    r->recv_first[0] = 0;
    for (int s = 0; s < ep; s++) r->recv_first[s + 1] = r->recv_first[s] + recv[s];
    int32_t *slots = host(run, r->shape->tokens * r->shape->home_cols * k_all, sizeof *slots);
    list_slots(slots, r, ep);
    for (int d = 0; d < ep; d++) send[d] *= k_all * (int64_t)sizeof *slots, recv[d] *= k_all * (int64_t)sizeof *slots;
    c->ops->host_exchange(c, r->recv_ids, recv, slots, send);
}

/* Cuts the received vectors, in order, into rounds that fit the buffers; returns their number. */
static int cut_rounds(Route *r, int ep) {
    const ExchangeShape *s = r->shape;
    int round = 0;
    int64_t vectors = 0, pairs = 0;
    memset(r->recv_round, 0, (size_t)(ep * s->max_rounds) * sizeof *r->recv_round);
    for (int from = 0; from < ep; from++)
        for (int64_t v = r->recv_first[from]; v < r->recv_first[from + 1]; v++) {
            int64_t mine = 0;
            for (int64_t k = 0; k < s->top_k; k++) mine += r->recv_ids[v * s->top_k + k] >= 0;
            if (vectors + 1 > s->vectors || pairs + mine > s->pairs) round++, vectors = pairs = 0;
            vectors++, pairs += mine;
            r->recv_round[from * s->max_rounds + round]++;
        }
    return round + 1;
}

static void agree_rounds(Route *r, Run *run, int ep) {
    Comm *c = run->mesh.axis[AXIS_EP];
    int64_t rounds = cut_rounds(r, ep), bytes[ep];
    if (r->shape->max_rounds > 1) {
        comm_reduce_i64(c, &rounds, 1, REDUCE_MAX);
        if (run->plan) rounds = max_i64(rounds, 2); /* so that a plan measures the path of later rounds */
    }
    for (int d = 0; d < ep; d++) bytes[d] = r->shape->max_rounds * (int64_t)sizeof(int64_t);
    c->ops->host_exchange(c, r->send_round, bytes, r->recv_round, bytes);
    r->rounds = (int)rounds;
}

void exchange_plan(Route *r, const ExchangeShape *s, Tensor expert, RouterRule rule, Run *run) {
    int ep = mesh_size(&run->mesh, AXIS_EP);
    *r = (Route){.shape = s, .tokens = tensor_rows(expert)};
    check(r->tokens <= s->tokens, "%lld tokens in a micro-batch, %lld planned", (long long)r->tokens,
          (long long)s->tokens);
    r->ids = host(run, s->tokens * s->top_k, sizeof *r->ids);
    r->send_first = host(run, ep + 1, sizeof *r->send_first);
    r->recv_first = host(run, ep + 1, sizeof *r->recv_first);
    r->send_token = host(run, s->tokens * s->home_cols, sizeof *r->send_token);
    r->recv_ids = host(run, s->worst_vectors * s->top_k, sizeof *r->recv_ids);
    r->send_round = host(run, ep * s->max_rounds, sizeof *r->send_round);
    r->recv_round = host(run, ep * s->max_rounds, sizeof *r->recv_round);
    run->k->read_experts(run->device, r->ids, expert, s->experts, rule);
    if (ep == 1)
        list_all(r);
    else
        list_sends(r, ep);
    exchange_slots(r, run, ep);
    agree_rounds(r, run, ep);
}

/* -- tables of one round --------------------------------------------------------------------------- */

void round_open(Round *round, const ExchangeShape *s, Run *run) {
    int ep = mesh_size(&run->mesh, AXIS_EP);
    *round = (Round){.send_most = s->tokens * s->home_cols,
                     .send_count = host(run, ep, sizeof(int64_t)),
                     .recv_count = host(run, ep, sizeof(int64_t))};
    round->groups.count = s->local_experts;
    round->groups.first = host(run, s->local_experts + 1, sizeof(int64_t));
}

/* A table of `count` of at most `most` indices: built by the host, then handed to the device. */
static Tensor upload(const int32_t *from, int64_t rows, int64_t cols, int64_t most, Arena *tables, Run *run) {
    Tensor t = arena_2d(tables, I32, most, cols);
    t = tensor_rows_view(t, 0, rows);
    run->device->ops->to_device(run->device, t.data, from, tensor_bytes(t));
    return t;
}

static int64_t rounds_before(const int64_t *per_round, int round) {
    int64_t n = 0;
    for (int i = 0; i < round; i++) n += per_round[i];
    return n;
}

/* Sender's side: which tokens go out in this round, and where their answers will lie. */
static void build_sends(Round *out, const Route *r, int round, Arena *tables, Run *run, int ep) {
    const ExchangeShape *s = r->shape;
    int64_t mark = arena_mark(&run->host), most = s->tokens * s->home_cols;
    int32_t *token = host(run, most, sizeof *token), *home = host(run, most, sizeof *home);
    memset(home, 0xff, (size_t)(r->tokens * s->home_cols) * sizeof *home);
    out->sent = 0;
    for (int d = 0; d < ep; d++) {
        const int64_t *per_round = r->send_round + d * s->max_rounds;
        int64_t first = r->send_first[d] + rounds_before(per_round, round);
        out->send_count[d] = per_round[round];
        if (d == 0) out->first = first;
        for (int64_t v = first; v < first + per_round[round]; v++) {
            int32_t *slot = home + r->send_token[v] * s->home_cols;
            while (*slot >= 0) slot++;
            *slot = (int32_t)out->sent;
            token[out->sent++] = r->send_token[v];
        }
    }
    Tensor list = upload(token, out->sent, 1, most, tables, run);
    out->send_token = tensor_1d(list.data, I32, out->sent);
    out->home = upload(home, r->tokens, s->home_cols, s->tokens, tables, run);
    arena_rewind(&run->host, mark);
}

/* The received slots of this round, sources one after the other. */
static int32_t *round_slots(Round *out, const Route *r, int round, Run *run, int ep) {
    const ExchangeShape *s = r->shape;
    int32_t *slots = host(run, s->vectors * s->top_k, sizeof *slots);
    out->received = 0;
    for (int from = 0; from < ep; from++) {
        const int64_t *per_round = r->recv_round + from * s->max_rounds;
        int64_t first = r->recv_first[from] + rounds_before(per_round, round), n = per_round[round];
        memcpy(slots + out->received * s->top_k, r->recv_ids + first * s->top_k,
               (size_t)(n * s->top_k) * sizeof *slots);
        out->recv_count[from] = n;
        out->received += n;
    }
    return slots;
}

/* Counts slots by expert and turns the counts into the first row of each group. */
static void group_rows(Round *out, const int32_t *slots, const ExchangeShape *s) {
    int64_t *first = (int64_t *)out->groups.first;
    memset(first, 0, (size_t)(s->local_experts + 1) * sizeof *first);
    for (int64_t i = 0; i < out->received * s->top_k; i++)
        if (slots[i] >= 0) first[slots[i] + 1]++;
    for (int64_t e = 0; e < s->local_experts; e++) first[e + 1] += first[e];
    out->pairs = first[s->local_experts];
}

/* Receiver's side: pairs by expert, and the ways between vectors, slots and pairs. */
static void build_pairs(Round *out, const Route *r, int round, Arena *tables, Run *run, int ep) {
    const ExchangeShape *s = r->shape;
    int64_t mark = arena_mark(&run->host), slots_most = s->vectors * s->top_k;
    int32_t *slots = round_slots(out, r, round, run, ep);
    int32_t *vector = host(run, s->pairs, sizeof *vector), *slot = host(run, s->pairs, sizeof *slot);
    int32_t *of_vector = host(run, s->vectors * s->pair_cols, sizeof *of_vector);
    int32_t *of_slot = host(run, slots_most, sizeof *of_slot);
    int64_t *next = host(run, s->local_experts, sizeof *next);
    group_rows(out, slots, s);
    memcpy(next, out->groups.first, (size_t)s->local_experts * sizeof *next);
    memset(of_vector, 0xff, (size_t)(out->received * s->pair_cols) * sizeof *of_vector);
    for (int64_t i = 0; i < out->received * s->top_k; i++) {
        of_slot[i] = slots[i] < 0 ? -1 : (int32_t)next[slots[i]]++;
        if (slots[i] < 0) continue;
        int32_t *pairs = of_vector + i / s->top_k * s->pair_cols;
        while (*pairs >= 0) pairs++;
        *pairs = of_slot[i];
        vector[of_slot[i]] = (int32_t)(i / s->top_k);
        slot[of_slot[i]] = (int32_t)i;
    }
    Tensor t = upload(vector, out->pairs, 1, s->pairs, tables, run);
    out->pair_vector = tensor_1d(t.data, I32, out->pairs);
    t = upload(slot, out->pairs, 1, s->pairs, tables, run);
    out->pair_slot = tensor_1d(t.data, I32, out->pairs);
    out->vector_pairs = upload(of_vector, out->received, s->pair_cols, s->vectors, tables, run);
    t = upload(of_slot, out->received * s->top_k, 1, slots_most, tables, run);
    out->slot_pair = tensor_1d(t.data, I32, out->received * s->top_k);
    out->groups.device = arena_1d(tables, I64, s->local_experts + 1);
    run->device->ops->to_device(run->device, out->groups.device.data, out->groups.first,
                                tensor_bytes(out->groups.device));
    arena_rewind(&run->host, mark);
}

void round_build(Round *out, const Route *r, int round, Arena *tables, Run *run) {
    int ep = mesh_size(&run->mesh, AXIS_EP);
    build_sends(out, r, round, tables, run, ep);
    build_pairs(out, r, round, tables, run, ep);
}

/* -- the way out and the way home ------------------------------------------------------------------ */

Tensor round_rows(const Round *r, Tensor x) { return tensor_rows_view(x, r->first, r->received); }

static void row_bytes(int64_t *bytes, const int64_t *count, int ep, Tensor x) {
    for (int i = 0; i < ep; i++) bytes[i] = count[i] * tensor_cols(x) * dtype_bytes(x.dtype);
}

static void count_traffic(const int64_t *bytes, Run *run, int ep) {
    for (int i = 0; i < ep; i++)
        if (i != mesh_rank(&run->mesh, AXIS_EP)) run->stats.bytes_sent += bytes[i];
}

/* Room for what one token after the other sends or gets back, the most that it can be. */
static Tensor comm_rows(const Round *r, Tensor like, Run *run) {
    return tensor_rows_view(arena_2d(&run->comm, like.dtype, r->send_most, tensor_cols(like)), 0, r->sent);
}

void dispatch_start(Round *r, Tensor to, Tensor x, Run *run) {
    if (exchange_local(run)) return;
    Comm *c = run->mesh.axis[AXIS_EP];
    int64_t send[c->size], recv[c->size];
    row_bytes(send, r->send_count, c->size, x);
    row_bytes(recv, r->recv_count, c->size, x);
    count_traffic(send, run, c->size);
    r->comm_mark = arena_mark(&run->comm);
    Tensor out = comm_rows(r, x, run);
    run->k->gather_rows(run->device, out, x, r->send_token);
    c->ops->exchange_start(c, to.data, recv, out.data, send);
}

Tensor dispatch_finish(Round *r, Tensor to, Tensor x, Run *run) {
    if (exchange_local(run)) return round_rows(r, x);
    Comm *c = run->mesh.axis[AXIS_EP];
    c->ops->exchange_finish(c);
    arena_rewind(&run->comm, r->comm_mark);
    return tensor_rows_view(to, 0, r->received);
}

void combine_start(Round *r, Tensor y, Run *run) {
    Comm *c = run->mesh.axis[AXIS_EP];
    int64_t send[c->size], recv[c->size];
    row_bytes(send, r->recv_count, c->size, y);
    row_bytes(recv, r->send_count, c->size, y);
    count_traffic(send, run, c->size);
    r->comm_mark = arena_mark(&run->comm);
    r->returned = comm_rows(r, y, run);
    c->ops->exchange_start(c, r->returned.data, recv, y.data, send);
}

void combine_finish(Round *r, Tensor out, Run *run) {
    Comm *c = run->mesh.axis[AXIS_EP];
    c->ops->exchange_finish(c);
    run->k->gather_sum_rows(run->device, out, r->returned, r->home, true);
    arena_rewind(&run->comm, r->comm_mark);
}
