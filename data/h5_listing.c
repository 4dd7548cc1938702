/* h5_listing.c - what is in a file of which nothing is proven. A child process asks the library and writes a list of
 * entries; where it crashes, the file is damaged. */
#include "data/apart.h"
#include "data/h5_internal.h"

#include <stdlib.h>
#include <string.h>

/* DATASET: at place; BAD_DATASET: text says why. NUMBER and TEXT: attributes; BAD_ATTRIBUTE: text says why it is no
 * text. FAULT: text says what is wrong in the file; REFUSED: why nothing of it is read. */
typedef enum { DATASET, BAD_DATASET, NUMBER, TEXT, BAD_ATTRIBUTE, FAULT, REFUSED } EntryKind;

typedef struct {
    EntryKind kind;
    const char *object, *name, *text; /* name: of an attribute, "" = the object itself */
    int64_t number;
    H5Place place;
} Entry;

struct H5Listing {
    const char *file;
    int64_t bytes;
    char *list; /* owns the texts */
    Entry *entry;
    int64_t entries, last; /* last: found; what is asked for next mostly comes behind it */
};

/* -- the child's part: entries written ---------------------------------------------------------- */
typedef struct {
    const H5Listing *listing;
    H5Library library;
    FILE *out;
} Writing;

static void put_text(FILE *out, const char *text) {
    int64_t length = (int64_t)strlen(text);
    fwrite(&length, sizeof length, 1, out);
    fwrite(text, 1, (size_t)length + 1, out);
}

static void put(const Writing *w, Entry e) {
    const char *texts[] = {e.object, e.name, e.text};
    fwrite(&e.kind, sizeof e.kind, 1, w->out);
    fwrite(&e.number, sizeof e.number, 1, w->out);
    fwrite(&e.place, sizeof e.place, 1, w->out);
    for (int i = 0; i < 3; i++) put_text(w->out, texts[i] ? texts[i] : "");
}

static void put_attribute(void *own, const char *object, const char *name) {
    const Writing *w = own;
    Error error;
    Entry e = {.kind = NUMBER, .object = object, .name = name};
    char *text = NULL;
    if (!library_int(&w->library, object, name, &e.number, &error)) {
        e.kind = library_text(&w->library, object, name, &text, &error) ? TEXT : BAD_ATTRIBUTE;
        e.text = text ? text : error.text;
    }
    put(w, e);
    free(text);
}

static bool put_dataset(void *own, const char *path) {
    Writing *w = own;
    Error error;
    Entry e = {.kind = DATASET, .object = path};
    if (!library_place(&w->library, path, &e.place, &error)) e.kind = BAD_DATASET, e.text = error.text;
    put(w, e);
    library_attributes(&w->library, path, put_attribute, w);
    return true;
}

static void put_file(void *own, FILE *out) {
    Writing w = {.listing = own, .out = out};
    Error error;
    if (!library_open(&w.library, w.listing->file, w.listing->bytes, &error)) {
        put(&w, (Entry){.kind = REFUSED, .text = error.text});
        return;
    }
    library_attributes(&w.library, "/", put_attribute, &w);
    if (!library_each(&w.library, put_dataset, &w, &error)) put(&w, (Entry){.kind = FAULT, .text = error.text});
}

/* -- the parent's: entries read, and none of it believed ------------------------------------------ */
typedef struct {
    const char *at;
    int64_t left;
} Rest;

static bool take(Rest *r, void *to, size_t bytes) {
    if (r->left < (int64_t)bytes) return false;
    memcpy(to, r->at, bytes);
    r->at += bytes, r->left -= (int64_t)bytes;
    return true;
}

static bool take_text(Rest *r, const char **text) {
    int64_t length;
    if (!take(r, &length, sizeof length) || length < 0 || length >= r->left || r->at[length]) return false;
    *text = r->at;
    r->at += length + 1, r->left -= length + 1;
    return true;
}

static bool sound(const H5Listing *l, Entry *e) {
    H5Place *p = &e->place;
    if (e->kind != DATASET) return (unsigned)e->kind <= REFUSED;
    return (unsigned)p->dtype <= F16 && p->ndim >= 1 && p->ndim <= H5_DIMS && h5_place_count(p) &&
           h5_place_fits(p, l->bytes);
}

static bool take_entry(const H5Listing *l, Rest *r, Entry *e) {
    return take(r, &e->kind, sizeof e->kind) && take(r, &e->number, sizeof e->number) &&
           take(r, &e->place, sizeof e->place) && take_text(r, &e->object) && take_text(r, &e->name) &&
           take_text(r, &e->text) && sound(l, e);
}

static bool read_entries(H5Listing *l, int64_t bytes, Error *error) {
    Rest rest = {l->list, bytes};
    for (int64_t room = 0; rest.left > 0; l->entries++) {
        if (l->entries == room) l->entry = must_realloc(l->entry, room = 2 * room + 16, sizeof *l->entry);
        Entry *e = &l->entry[l->entries];
        if (!take_entry(l, &rest, e)) return fail(error, "%s: damaged: it is listed as what cannot be", l->file);
        if (e->kind == REFUSED) return fail(error, "%s", e->text);
    }
    return true;
}

H5Listing *listing_make(const char *name, int64_t bytes, Error *error) {
    H5Listing *l = must_alloc(1, sizeof *l);
    int64_t count = 0;
    *l = (H5Listing){.file = name, .bytes = bytes};
    h5_start(); /* once here, and not in every child */
    l->list = apart(put_file, l, name, &count, error);
    if (l->list && read_entries(l, count, error)) return l;
    listing_close(l);
    return NULL;
}

void listing_close(H5Listing *l) {
    if (!l) return;
    free(l->entry);
    free(l->list);
    free(l);
}

/* -- what it says --------------------------------------------------------------------------------- */
static const Entry *find(H5Listing *l, const char *object, const char *name) {
    if (!*object) return NULL; /* a fault's */
    for (int64_t n = 0; n < l->entries; n++) {
        int64_t i = (l->last + n) % l->entries;
        const Entry *e = &l->entry[i];
        if (!strcmp(e->object, object) && !strcmp(e->name, name)) return l->last = i, e;
    }
    return NULL;
}

/* Datasets are listed, and so are the groups that hold any. */
static bool is_group(const H5Listing *l, const char *path) {
    size_t n = strlen(path);
    for (int64_t i = 0; n && i < l->entries; i++)
        if (!strncmp(l->entry[i].object, path, n) && l->entry[i].object[n] == '/') return true;
    return false;
}

bool listing_has(H5Listing *l, const char *path) { return find(l, path, "") || is_group(l, path); }

bool listing_place(H5Listing *l, const char *path, H5Place *place, Error *error) {
    const Entry *e = find(l, path, "");
    if (!e && is_group(l, path)) return fail(error, "%s: %s is a group, no dataset", l->file, path);
    if (!e) return fail(error, "%s: has no dataset %s", l->file, path);
    if (e->kind != DATASET) return fail(error, "%s", e->text);
    *place = e->place;
    return true;
}

static const Entry *find_attribute(H5Listing *l, const char *object, const char *name, Error *error) {
    const Entry *e = find(l, object, name);
    if (!e) fail(error, "%s: has no attribute %s of %s", l->file, name, object);
    return e;
}

bool listing_text(H5Listing *l, const char *object, const char *name, char **value, Error *error) {
    const Entry *e = find_attribute(l, object, name, error);
    if (!e) return false;
    if (e->kind == TEXT) return *value = must_strdup(e->text), true;
    return e->kind == BAD_ATTRIBUTE
               ? fail(error, "%s", e->text)
               : fail(error, "%s: attribute %s of %s is not a plain text", l->file, name, object);
}

bool listing_int(H5Listing *l, const char *object, const char *name, int64_t *value, Error *error) {
    const Entry *e = find_attribute(l, object, name, error);
    if (!e) return false;
    if (e->kind == NUMBER) return *value = e->number, true;
    return fail(error, "%s: attribute %s of %s is not a 64-bit integer", l->file, name, object);
}

bool listing_each(H5Listing *l, bool (*see)(void *own, const char *path), void *own, Error *error) {
    for (int64_t i = 0; i < l->entries; i++)
        if (l->entry[i].kind == FAULT) return fail(error, "%s", l->entry[i].text);
    for (int64_t i = 0; i < l->entries; i++) {
        const Entry *e = &l->entry[i];
        if ((e->kind == DATASET || e->kind == BAD_DATASET) && !see(own, e->object)) return false;
    }
    return true;
}
