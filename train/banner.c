#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

double model_flops_per_token(const Config *c) {
    double weights = (double)(config_parameters_activated(c) - c->vocab_size * c->hidden_size);
    double dims = (double)(c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim);
    double attention =
        (double)(c->num_hidden_layers * c->num_attention_heads) * dims * (double)c->sequence_length / 2;
    return 6 * (weights + attention);
}

static void print_changes(const Config *c) {
    char *text = must_strdup(config_changed(c)), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) log_line("changed", "%s", line);
    free(text);
}

static void print_model(const Trainer *t) {
    const Config *c = &t->config;
    char total[32], activated[32];
    log_line("model", "%s: %s parameters, %s activated%s", *c->init_from ? c->init_from : "random",
             format_commas(total, config_parameters(c)), format_commas(activated, config_parameters_activated(c)),
             strcmp(c->rope_type, "yarn") ? "" : "; YaRN");
    int experts = config_moe_layers(c), ranks = t->session.world->size;
    if (!experts)
        log_line("layout", "dp %d; a dense model", ranks);
    else
        log_line("layout", "dp %d, ep %lld (%lld experts a rank and layer)", ranks, (long long)c->ep,
                 (long long)(c->n_routed_experts / c->ep));
    if (!experts) return;
    log_line("balance", "expert %g, device %g, communication %g per %s; dropping %s", c->aux_loss_alpha,
             c->device_loss_alpha, c->communication_loss_alpha, c->seq_aux ? "sequence" : "micro-batch",
             c->token_dropping ? "on" : "off");
}

void banner_memory(const Plan *p) {
    const double gib = 0x1p30;
    const ArenaBytes *a = &p->arenas;
    int64_t other = a->state - p->weights - p->gradients - p->optimizer;
    log_line(
        "memory",
        "GiB/rank: weights %.3f grads %.3f adam %.3f other %.3f acts %.3f scratch %.3f cache %.3f exchange %.3f host "
        "%.3f = %.3f",
        (double)p->weights / gib, (double)p->gradients / gib, (double)p->optimizer / gib, (double)other / gib,
        (double)a->acts / gib, (double)(a->scratch + p->workspace) / gib, (double)a->cache / gib,
        (double)a->comm / gib, (double)a->host / gib, (double)plan_total(p) / gib);
}

static void print_disk(const Trainer *t) {
    char one[32], all[32], there[32];
    struct statvfs st;
    double bytes = (double)checkpoint_bytes(&t->session.engine.model.params, &t->session.engine.run, NULL);
    if (!t->checkpoints || statvfs(t->folder.path, &st)) return;
    log_line("disk", "a checkpoint is %s; keep %lld = %s of %s free", format_bytes(one, bytes),
             (long long)t->config.save_total_limit, format_bytes(all, bytes * (double)t->config.save_total_limit),
             format_bytes(there, (double)st.f_bavail * (double)st.f_frsize));
}

static void print_data(const Trainer *t) {
    const Config *c = &t->config;
    char text[512] = "synthetic tokens", tokens[32], all[32], first[64] = "";
    size_t used = 0;
    for (int i = 0; i < c->mix.count && !c->synthetic_data; i++) {
        double passes = loader_passes(t->data.loader, i, t->tokens / c->sequence_length);
        char share[32] = "";
        if (c->mix.value[i] > 0) snprintf(share, sizeof share, " %.2f", c->mix.value[i]);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s (%.1f passes)", i ? ", " : "",
                                 c->mix.name[i], share, passes);
        if (used >= sizeof text) break;
        if (passes > 4)
            fprintf(stderr,
                    "dsv2: warning: set %s is read %.1f times; beyond 4 passes repeated text teaches little\n",
                    c->mix.name[i], passes);
    }
    if (c->batch_ramp_start)
        snprintf(first, sizeof first, "%lld to ", (long long)(c->batch_ramp_start * c->sequence_length));
    log_line("data", "%s; %lld steps x %s%s tokens = %s", text, (long long)t->steps, first,
             format_commas(tokens, c->global_batch_size * c->sequence_length), format_count(all, (double)t->tokens));
}

void banner_print(const Trainer *t, const CommandLine *line) {
    const Config *c = &t->config;
    char host[128] = "";
    if (base_rank) return;
    gethostname(host, sizeof host - 1);
    printf("dsv2 %s  train %s  %d ranks, %s, %s x %d threads, %s\n", DSV2_VERSION, line->input[0],
           t->session.world->size, host, c->backend, t->session.device->threads, c->dtype);
    print_changes(c);
    print_model(t);
    banner_memory(&t->session.plan);
    print_disk(t);
    print_data(t);
}
