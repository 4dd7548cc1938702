/* source.c - see source.h. */
#include "data/source.h"

#include <errno.h>
#include <fts.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/disk.h"

void source_free(SourceFiles *s) {
    for (int64_t i = 0; i < s->count; i++) free(s->file[i].path);
    free(s->file);
    *s = (SourceFiles){0};
}

/* Only ever compared, so times beyond the year 2262 may wrap. */
static int64_t modified(const struct stat *info) {
    return (int64_t)((uint64_t)info->st_mtim.tv_sec * 1000000000u + (uint64_t)info->st_mtim.tv_nsec);
}

static void add(SourceFiles *s, const char *path, const struct stat *info) {
    if ((s->count & (s->count - 1)) == 0) /* room doubles */
        s->file = must_realloc(s->file, s->count ? 2 * s->count : 1, sizeof *s->file);
    s->file[s->count++] = (SourceFile){must_strdup(path), info->st_size, modified(info), modified(info)};
    s->bytes += info->st_size;
}

bool source_unchanged(const SourceFile *f, Error *error) {
    struct stat now;
    if (stat(f->path, &now)) return fail(error, "%s: cannot read: %s", f->path, strerror(errno));
    return (now.st_size == f->bytes && modified(&now) == f->modified) ||
           fail(error, "%s: changed while it was read (it had %lld bytes and now has %lld)", f->path,
                (long long)f->bytes, (long long)now.st_size);
}

bool source_keep_megatron(SourceFiles *s, const DataSet *set, Error *error) {
    int64_t kept = 0;
    s->bytes = 0;
    for (int64_t i = 0; i < s->count; i++) {
        SourceFile f = s->file[i];
        if (!disk_ends_with(f.path, ".bin")) {
            free(f.path);
            continue;
        }
        struct stat info;
        char *idx = must_format("%.*s.idx", (int)strlen(f.path) - 4, f.path);
        if (!stat(idx, &info))
            f.state = (int64_t)((uint64_t)f.state + (uint64_t)modified(&info) + (uint64_t)info.st_size);
        else if (!error->text[0])
            fail(error, "%s: cannot read: %s; a .bin is read with the .idx beside it", idx, strerror(errno));
        free(idx);
        s->file[kept++] = f;
        s->bytes += f.bytes;
    }
    s->count = kept;
    if (error->text[0]) return false;
    return kept || fail(error, "data.%s: %s names no .bin file, which format megatron needs", set->name, set->path);
}

/* Links are followed; one that leads back up is an error, not an endless walk, and one that leads nowhere is text that
 * would be missing. */
static bool add_folder(SourceFiles *s, const char *path, Error *error) {
    char *roots[] = {(char *)(uintptr_t)path, NULL};
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    if (!walk) return fail(error, "%s: cannot read this folder: %s", path, strerror(errno));
    bool ok = true;
    for (FTSENT *e; ok && (e = fts_read(walk));) {
        bool hidden = e->fts_level > 0 && e->fts_name[0] == '.';
        if (hidden)
            fts_set(walk, e, FTS_SKIP);
        else if (e->fts_info == FTS_F)
            add(s, e->fts_path, e->fts_statp);
        else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
            ok = fail(error, "%s: cannot read: %s", e->fts_path, strerror(e->fts_errno));
        else if (e->fts_info == FTS_DC)
            ok = fail(error, "%s: this link leads back to a folder above it", e->fts_path);
        else if (e->fts_info == FTS_SLNONE)
            ok = fail(error, "%s: this link leads to nothing; mend it, or remove it", e->fts_path);
    }
    fts_close(walk);
    return ok;
}

static bool add_path(SourceFiles *s, const char *path, Error *error) {
    struct stat info;
    if (disk_is_folder(path)) return add_folder(s, path, error);
    if (stat(path, &info)) return fail(error, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return fail(error, "%s: is not a plain file", path);
    add(s, path, &info);
    return true;
}

static int unreadable(const char *path, int cause) {
    (void)path;
    return cause != ENOENT && cause != ENOTDIR;
}

static bool add_pattern(SourceFiles *s, const char *pattern, Error *error) {
    glob_t found;
    bool ok = true;
    if (disk_exists(pattern)) return add_path(s, pattern, error); /* a name with [ or * of its own */
    int status = glob(pattern, 0, unreadable, &found);
    if (status != 0 && status != GLOB_NOMATCH) return fail(error, "%s: cannot read: %s", pattern, strerror(errno));
    for (size_t i = 0; ok && status == 0 && i < found.gl_pathc; i++) ok = add_path(s, found.gl_pathv[i], error);
    if (status == 0) globfree(&found);
    return ok;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const SourceFile *)a)->path, ((const SourceFile *)b)->path);
}

bool source_list(SourceFiles *s, const DataSet *set, const char *config_file, Error *error) {
    *s = (SourceFiles){0};
    if (!set->path || !*set->path) return fail(error, "data.%s: no path; name a file, a glob or a folder", set->name);
    const char *slash = config_file && set->path[0] != '/' ? strrchr(config_file, '/') : NULL;
    bool ok = true;
    if (slash) {
        char *beside = must_format("%.*s%s", (int)(slash + 1 - config_file), config_file, set->path);
        ok = add_pattern(s, beside, error);
        free(beside);
    }
    if (ok && s->count == 0) ok = add_pattern(s, set->path, error);
    if (ok && s->count == 0)
        ok = fail(error, "data.%s: no file matches %s%s", set->name, set->path,
                  slash ? ", neither beside the config file nor in the working folder" : "");
    if (!ok) source_free(s);
    if (ok) qsort(s->file, (size_t)s->count, sizeof *s->file, by_path);
    return ok;
}
