#include "train/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/validate.h"
#include "data/disk.h"
#include "data/source.h"
#include "launch/watchdog.h"
#include "launch/agree.h"

/* A published model was trained with a tokenizer; bytes mean other things to it, unless it has no more ids than they. */
void setup_warn_of_bytes(const Config *c) {
    if (base_rank || c->synthetic_data || strcmp(c->tokenizer, "bytes") ||
        strcmp(config_origin(c, "tokenizer"), "default"))
        return;
    if (strcmp(config_origin(c, "model.vocab_size"), "config.json") || c->vocab_size <= TOKENIZER_BYTES_SIZE) return;
    fprintf(
        stderr,
        "dsv2: warning: no tokenizer.json lies beside config.json: bytes are taken for the model's %lld tokens; name "
        "its tokenizer with tokenizer=FOLDER\n",
        (long long)c->vocab_size);
}

const char *setup_tokenizer_place(const Config *c) {
    char file[PATH_MAX];
    if (!*c->stand_in || !strcmp(c->tokenizer, "bytes") || disk_exists(c->tokenizer)) return c->tokenizer;
    disk_path(file, "%s/tokenizer.json", c->stand_in);
    return disk_exists(file) ? c->stand_in : c->tokenizer;
}

bool setup_tokenizer(Config *c, Tokenizer **tokenizer, Error *error) {
    *tokenizer = tokenizer_open(setup_tokenizer_place(c), error);
    if (!*tokenizer) return false;
    int64_t size = tokenizer_size(*tokenizer);
    if (!c->vocab_size) c->vocab_size = size;
    if (c->vocab_size < size && c->synthetic_data) return true; /* made-up tokens have no bounds */
    if (c->bos_token_id < 0) c->bos_token_id = tokenizer_bos(*tokenizer);
    if (c->eos_token_id < 0) c->eos_token_id = tokenizer_eos(*tokenizer);
    if (c->vocab_size >= size) return true;
    return fail(error, "model.vocab_size is %lld and tokenizer %s has %lld tokens; make it at least that",
                (long long)c->vocab_size, c->tokenizer, (long long)size);
}

char *setup_data_folder(const Config *c) { return must_format("%s/data", *c->output_dir ? c->output_dir : "."); }

static bool prepare_all(Data *d, const Config *c, Comm *world, Error *error) {
    bool ok = true;
    char *folder = setup_data_folder(c);
    for (int i = 0; ok && i < c->n_data; i++) {
        if (!config_set_is_used(c, i)) continue;
        ok = prepare_set(&d->sets[i], c, &c->data[i], d->tokenizer, folder, world, error);
        d->stopped = d->sets[i].stopped;
    }
    free(folder);
    return ok;
}

static bool set_is_there(const Config *c, const DataSet *set, const Tokenizer *tokenizer, Error *error) {
    Prepared ignored = {0};
    SourceFiles files;
    if (!strcmp(set->format, "tokens")) return prepare_set(&ignored, c, set, tokenizer, "", NULL, error);
    if (!source_list(&files, set, c->file, error)) return false;
    bool ok = strcmp(set->format, "megatron") || source_keep_megatron(&files, set, error);
    source_free(&files);
    return ok;
}

bool setup_data_is_there(const Config *c, const Tokenizer *tokenizer, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < c->n_data; i++)
        ok = !config_set_is_used(c, i) || set_is_there(c, &c->data[i], tokenizer, error);
    return ok;
}

static int set_index(const Config *c, const char *name) {
    for (int i = 0; i < c->n_data; i++)
        if (!strcmp(c->data[i].name, name)) return i;
    check(false, "mix names the set %s, which validate should have refused", name);
    return -1;
}

bool setup_data(Data *d, const Config *c, Comm *world, Error *error) {
    const char *files[CONFIG_MAX_LIST];
    int n = 0;
    watchdog_section(SECTION_PREPARE);
    if (!prepare_all(d, c, world, error)) return false;
    for (; n < c->mix.count && !c->synthetic_data; n++) files[n] = d->sets[set_index(c, c->mix.name[n])].train;
    watchdog_section(SECTION_START);
    d->loader = loader_open(c, files, n, c->vocab_size, error);
    return agree(world, d->loader != NULL, error);
}

void setup_data_close(Data *d) {
    if (d->loader) loader_close(d->loader);
    if (d->tokenizer) tokenizer_close(d->tokenizer);
    d->loader = NULL;
    d->tokenizer = NULL;
}
