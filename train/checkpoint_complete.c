/* checkpoint_complete.c - what one rank adds when all have written: companions, the master and MANIFEST. */
#include "train/checkpoint_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/disk.h"

/* Every dataset of every rank file under the same path. */
static H5Writer *master_layout(const Manifest *m, const FolderState *state) {
    H5Writer *w = h5_create();
    for (int i = 0; i < m->datasets; i++) {
        const ManifestDataset *d = &m->dataset[i];
        char source[32];
        rank_file_name(source, d->rank);
        h5_virtual_source(w, h5_virtual_dataset(w, d->path, d->dtype, d->ndim, d->dim), source, d->path, 0,
                          d->dim[0]);
    }
    state_put(w, &state->progress, state->config_text);
    return w;
}

static bool write_master(const char *temp, const Manifest *m, const FolderState *state, ManifestFile *made,
                         Error *error) {
    char file[PATH_MAX];
    disk_path(file, "%s/" MASTER_NAME, temp);
    H5Writer *layout = master_layout(m, state);
    FileContent content = {.layout = layout};
    bool ok = h5_layout(layout, error) && content_write(&content, file, &made->hash, NULL, error);
    if (ok) made->bytes = h5_file_bytes(layout);
    h5_destroy(layout);
    return ok;
}

static bool write_manifest(const char *temp, const char *lines, const Companions *companions,
                           const ManifestFile *master, Error *error) {
    char file[PATH_MAX], *text;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for MANIFEST");
    fputs(lines, f);
    for (int i = 0; i < companions->n; i++) {
        const Companion *c = &companions->list[i];
        manifest_put_file(f, c->name, c->count, hash_bytes(c->bytes, c->count));
    }
    manifest_put_file(f, MASTER_NAME, master->bytes, master->hash);
    fflush(f);
    manifest_put_end(f, text, (int64_t)bytes);
    check(fclose(f) == 0, "out of memory for MANIFEST");
    disk_path(file, "%s/" MANIFEST_NAME, temp);
    bool ok = disk_write_file(file, text, (int64_t)bytes, error);
    free(text);
    return ok;
}

bool folder_complete(const char *temp, const char *lines, const FolderState *state, Error *error) {
    Manifest m;
    ManifestFile master;
    if (!manifest_parse(&m, must_strdup(lines), "the new " MANIFEST_NAME, error)) return false;
    bool ok = companions_write(state->companions, temp, error) && write_master(temp, &m, state, &master, error) &&
              write_manifest(temp, lines, state->companions, &master, error);
    manifest_free(&m);
    return ok;
}
