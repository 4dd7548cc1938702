/* manifest.c - the MANIFEST of a checkpoint, without its last line, whose hash no random bytes would meet. */
#include "train/manifest.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

bool fuzz_manifest(const uint8_t *data, int64_t bytes) {
    Manifest m;
    Error error = {0};
    if (!manifest_parse(&m, fuzz_text(data, bytes), "fuzz", &error)) return fuzz_verdict(false, &error);
    check(m.step >= 0 && m.ranks >= 1 && m.ep <= m.ranks, "step %lld, %d ranks, ep %d", (long long)m.step, m.ranks,
          m.ep);
    for (int i = 0; i < m.files; i++) check(!strchr(m.file[i].name, '/'), "a file elsewhere: %s", m.file[i].name);
    for (int i = 0; i < m.datasets; i++) {
        const ManifestDataset *d = &m.dataset[i];
        check(d->rank >= 0 && d->rank < m.ranks && d->ndim >= 1 && d->ndim <= 2, "rank %d", d->rank);
        check(manifest_dataset(&m, d->path) == d, "%s is not found", d->path);
    }
    manifest_free(&m);
    return true;
}
