/* plan.c - `dsv2 plan CONFIG -n N`: what a run takes, without running it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/launcher.h"
#include "launch/threads.h"
#include "train/commands.h"
#include "train/engine.h"
#include "train/log.h"
#include "train/setup.h"
#include "train/trainer.h"

static void print_bytes(const char *label, int64_t bytes) {
    char text[32];
    printf("  %-22s %18s bytes  %9.3f GiB\n", label, format_commas(text, bytes), (double)bytes / 0x1p30);
}

static void print_memory(const Plan *p) {
    const ArenaBytes *a = &p->arenas;
    printf("memory of a rank\n");
    print_bytes("state", a->state);
    print_bytes("  weights", p->weights);
    print_bytes("  gradients", p->gradients);
    print_bytes("  optimizer", p->optimizer);
    print_bytes("acts", a->acts);
    print_bytes("scratch", a->scratch);
    if (a->cache) print_bytes("cache", a->cache);
    print_bytes("comm", a->comm);
    print_bytes("host", a->host);
    print_bytes("workspace of kernels", p->workspace);
    print_bytes("total", plan_total(p));
}

static void print_work(const Plan *p, const Config *c, int ranks) {
    char text[32];
    double tokens = (double)(c->global_batch_size * c->sequence_length);
    printf("work of a step (%s tokens)\n", format_commas(text, c->global_batch_size * c->sequence_length));
    printf("  model FLOPs a token    %.4g\n", model_flops_per_token(c));
    printf("  FLOPs of a rank        %.4g (all kernels; model FLOPs of its share %.4g)\n", p->flops,
           model_flops_per_token(c) * tokens / ranks);
    printf("  exchange of a rank     %.4g bytes to other ranks, at balanced routing\n", p->exchange_bytes);
    printf("  gradient sums          %.4g bytes to other ranks\n", p->sync_bytes);
}

static Plan plan_with(const Config *c, int ranks) {
    Plan p;
    Error error;
    check(engine_plan(&p, c, ranks, engine_use_training(c), &error), "%s", error.text);
    return p;
}

typedef struct {
    char what[96];
    int64_t total;
} Change;

static void try_change(Change *list, int *n, const Config *changed, int ranks, const char *what) {
    Plan p = plan_with(changed, ranks);
    snprintf(list[*n].what, sizeof list[*n].what, "%s", what);
    list[(*n)++].total = plan_total(&p);
}

/* Each change alone, cheapest for the run first; the ones that would fit are marked. */
static void print_changes(const Config *c, int ranks, double there) {
    Change list[8];
    int n = 0;
    char what[96];
    if (c->micro_batch_size > 1) {
        Config changed = *c;
        changed.micro_batch_size = 1;
        try_change(list, &n, &changed, ranks, "micro_batch_size=1");
    }
    if (strcmp(c->recompute, "block")) {
        Config changed = *c;
        changed.recompute = "block";
        try_change(list, &n, &changed, ranks, "recompute=block");
        changed.micro_batch_size = 1;
        try_change(list, &n, &changed, ranks, "recompute=block micro_batch_size=1");
    }
    if (strcmp(c->dtype, "bf16")) {
        Config changed = *c;
        changed.dtype = "bf16";
        try_change(list, &n, &changed, ranks, "dtype=bf16");
    }
    for (int64_t ep = 2 * c->ep; c->n_routed_experts && ep <= ranks; ep *= 2) {
        if (ranks % ep || c->n_routed_experts % ep) continue;
        Config changed = *c;
        changed.ep = ep;
        snprintf(what, sizeof what, "layout.ep=%lld", (long long)ep);
        if (n < 8) try_change(list, &n, &changed, ranks, what);
    }
    for (int i = 0; i < n; i++)
        printf("  %-38s %9.3f GiB a rank%s\n", list[i].what, (double)list[i].total / 0x1p30,
               (double)list[i].total <= there ? "  fits" : "");
}

static void print_fit(const Plan *p, const Config *c, int ranks) {
    double there = c->device_memory_gib * 0x1p30, total = (double)plan_total(p);
    if (c->device_memory_gib <= 0) {
        printf("say layout.device_memory_gib=N to see whether it fits, and what to change when not\n");
        return;
    }
    printf("%s: %.3f GiB of %.3f GiB\n", total <= there ? "fits" : "does not fit", total / 0x1p30, there / 0x1p30);
    if (total <= there) return;
    print_changes(c, ranks, there);
    double state = (double)p->arenas.state;
    if (state > there)
        printf(
            "  the state alone (weights, gradients, optimizer) needs %.3f GiB a rank: more ranks with a larger ep, or a "
            "sharded optimizer or a pipeline, which this version does not have\n",
            state / 0x1p30);
}

static void print_plan(const Plan *p, const Config *c, int ranks) {
    char total[32], activated[32];
    printf("model  %s parameters, %s activated\n", format_commas(total, p->parameters),
           format_commas(activated, p->activated));
    printf("layout %d ranks, ep %lld, %s, micro-batch %lld x %lld tokens, recompute %s\n", ranks, (long long)c->ep,
           c->dtype, (long long)c->micro_batch_size, (long long)c->sequence_length, c->recompute);
    printf("cache  %s bytes a token when it generates: %lld values a layer\n",
           format_commas(total, cache_bytes_per_token(c)), (long long)(c->kv_lora_rank + c->qk_rope_head_dim));
    print_memory(p);
    print_work(p, c, ranks);
    print_fit(p, c, ranks);
}

int command_plan(const CommandLine *line) {
    Config c = {0};
    Plan plan;
    Error error = {0};
    Tokenizer *tokenizer = NULL;
    char *warnings = NULL;
    int ranks = line->ranks_said ? line->ranks : 0;
    bool ok = config_load(&c, line->input[0], line->override, line->n_override, ranks, &warnings, &error) &&
              setup_tokenizer(&c, &tokenizer, &error);
    if (!ranks && ok) ranks = (int)c.ep;
    int64_t share = max_i64(launch_node_cpus() / max_i64(ranks, 1), 1); /* as -n does */
    if (ok) launch_threads((int)(c.threads ? c.threads : launch_number("OMP_NUM_THREADS", share)));
    ok = ok && engine_plan(&plan, &c, ranks, engine_use_training(&c), &error);
    if (ok && *warnings) fprintf(stderr, "%s", warnings);
    if (ok)
        print_plan(&plan, &c, ranks);
    else
        fprintf(stderr, "dsv2: %s\n", error.text);
    free(warnings);
    if (tokenizer) tokenizer_close(tokenizer);
    config_free(&c);
    return ok ? EXIT_DONE : EXIT_USAGE;
}
