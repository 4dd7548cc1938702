/* megatron.c - see megatron.h. */
#include "data/megatron.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"

enum { HEADER = 34, HEADER_OLD = 26, BLOCK = 4096 };

/* -- the header ------------------------------------------------------------------------------------------- */

/* Little endian, as all that this program writes. */
static int64_t number(const void *p, int bytes) {
    int64_t value = 0;
    memcpy(&value, p, (size_t)bytes);
    return value;
}

static bool read_dtype(Megatron *m, int code, Error *error) {
    static const int bytes[] = {0, 1, 1, 2, 4, 8, 0, 0, 2};
    if (code == 6 || code == 7) return fail(error, "%s: its ids are floating point numbers (dtype %d)", m->idx, code);
    if (code < 1 || code > 8)
        return fail(error, "%s: dtype %d is not known; 1 to 5 and 8 are (uint8, int8, int16, int32, int64, uint16)",
                    m->idx, code);
    m->element = bytes[code];
    m->is_signed = code >= 2 && code <= 5;
    return true;
}

/* With n sequences (4 + 8 bytes each), d entries of documents (8) and perhaps a mode for each sequence (1). Counts have
 * no sign in the file: one of 2^63 or more is below 0 here, which is refused, and told as it stands there. */
static bool read_counts(Megatron *m, const unsigned char *head, int64_t bytes, Error *error) {
    int64_t n = m->sequences = number(head + 18, 8);
    if (n < 1 || n > (bytes - HEADER_OLD) / 12)
        return fail(error, "%s: %" PRIu64 " sequences do not fit its %" PRId64 " bytes", m->idx, (uint64_t)n, bytes);
    m->sizes_at = HEADER_OLD;
    m->documents = n;
    if (bytes == HEADER_OLD + 12 * n) {
        m->places_at = m->sizes_at + 4 * n;
        return true;
    }
    int64_t d = bytes >= HEADER ? number(head + HEADER_OLD, 8) : 0, left = bytes - HEADER - 12 * n;
    m->sizes_at = HEADER;
    m->places_at = m->sizes_at + 4 * n;
    m->documents_at = m->places_at + 8 * n;
    if (d < 2 || d > left / 8 || (left != 8 * d && left != 8 * d + n))
        return fail(error,
                    "%s: has %" PRId64 " bytes, which %" PRId64 " sequences and %" PRIu64
                    " document borders do not make up; was it cut off?",
                    m->idx, bytes, n, (uint64_t)d);
    m->documents = d - 1;
    return true;
}

static bool read_header(Megatron *m, int64_t bytes, Error *error) {
    unsigned char head[HEADER] = {0};
    if (bytes < HEADER_OLD) return fail(error, "%s: %" PRId64 " bytes are no Megatron index", m->idx, bytes);
    if (!disk_read(m->idx_fd, head, min_i64(bytes, HEADER), 0, m->idx, error)) return false;
    if (!memcmp(head, "TNTIDX\0\0", 8))
        return fail(error, "%s: is in the older TNTIDX format; write it anew with --dataset-impl mmap", m->idx);
    if (memcmp(head, "MMIDIDX\0\0", 9)) return fail(error, "%s: is no Megatron index (wrong first bytes)", m->idx);
    uint64_t version = (uint64_t)number(head + 9, 8);
    if (version != 1)
        return fail(error, "%s: index of version %" PRIu64 "; only version 1 is known", m->idx, version);
    return read_dtype(m, head[17], error) && read_counts(m, head, bytes, error);
}

bool megatron_open(Megatron *m, const char *bin, Error *error) {
    int64_t bytes;
    size_t n = strlen(bin);
    *m = (Megatron){.bin = must_strdup(bin), .bin_fd = -1, .idx_fd = -1};
    m->idx = must_format("%.*s.idx", n > 4 && !strcmp(bin + n - 4, ".bin") ? (int)n - 4 : (int)n, bin);
    m->bin_fd = disk_open(m->bin, &m->bin_bytes, error);
    if (m->bin_fd >= 0) m->idx_fd = disk_open(m->idx, &bytes, error);
    if (m->idx_fd >= 0 && read_header(m, bytes, error)) return true;
    megatron_close(m);
    return false;
}

void megatron_close(Megatron *m) {
    if (m->bin_fd >= 0) close(m->bin_fd);
    if (m->idx_fd >= 0) close(m->idx_fd);
    free(m->bin);
    free(m->idx);
    *m = (Megatron){.bin_fd = -1, .idx_fd = -1};
}

/* -- the index --------------------------------------------------------------------------------------------- */

static bool read_sizes(const Megatron *m, int64_t first, int64_t n, int32_t *to, Error *error) {
    return disk_read(m->idx_fd, to, 4 * n, m->sizes_at + 4 * first, m->idx, error);
}

static bool read_places(const Megatron *m, int64_t first, int64_t n, int64_t *to, Error *error) {
    return disk_read(m->idx_fd, to, 8 * n, m->places_at + 8 * first, m->idx, error);
}

/* Sequence i begins where the last one ended. */
static bool check_sequences(const Megatron *m, Error *error) {
    int32_t size[BLOCK];
    int64_t place[BLOCK], at = 0;
    for (int64_t first = 0; first < m->sequences; first += BLOCK) {
        int64_t n = min_i64(BLOCK, m->sequences - first);
        if (!read_sizes(m, first, n, size, error) || !read_places(m, first, n, place, error)) return false;
        for (int64_t i = 0; i < n; i++) {
            if (place[i] != at)
                return fail(error,
                            "%s: sequence %" PRId64 " lies at byte %" PRId64 ", the one before ends at %" PRId64,
                            m->idx, first + i, place[i], at);
            if (size[i] < 0 || size[i] > (m->bin_bytes - at) / m->element)
                return fail(error,
                            "%s: sequence %" PRId64 " has %d ids, which do not fit the %" PRId64 " bytes of %s",
                            m->idx, first + i, size[i], m->bin_bytes, m->bin);
            at += size[i] * m->element;
        }
    }
    return at == m->bin_bytes ||
           fail(error, "%s: describes %" PRId64 " bytes of ids, %s has %" PRId64, m->idx, at, m->bin, m->bin_bytes);
}

/* The sequence that document i begins with; i may be the number of documents. */
static bool first_sequence(const Megatron *m, int64_t i, int64_t *sequence, Error *error) {
    *sequence = i;
    if (!m->documents_at) return true;
    if (!disk_read(m->idx_fd, sequence, 8, m->documents_at + 8 * i, m->idx, error)) return false;
    return (*sequence >= 0 && *sequence <= m->sequences) ||
           fail(error, "%s: document %" PRId64 " begins with sequence %" PRId64 " of %" PRId64, m->idx, i, *sequence,
                m->sequences);
}

static bool check_documents(const Megatron *m, Error *error) {
    int64_t border[BLOCK], last = 0;
    for (int64_t first = 0; m->documents_at && first <= m->documents; first += BLOCK) {
        int64_t n = min_i64(BLOCK, m->documents + 1 - first);
        if (!disk_read(m->idx_fd, border, 8 * n, m->documents_at + 8 * first, m->idx, error)) return false;
        for (int64_t i = 0; i < n; i++) {
            bool ok = border[i] >= last && border[i] <= m->sequences && (first + i > 0 || border[i] == 0) &&
                      (first + i < m->documents || border[i] == m->sequences);
            if (!ok)
                return fail(error,
                            "%s: document border %" PRId64 " is sequence %" PRId64 " after %" PRId64
                            "; borders rise from 0 to %" PRId64,
                            m->idx, first + i, border[i], last, m->sequences);
            last = border[i];
        }
    }
    return true;
}

bool megatron_check(const Megatron *m, Error *error) {
    return check_sequences(m, error) && check_documents(m, error);
}

/* Where document i begins in the .bin; its end for i = documents. */
static bool document_place(const Megatron *m, int64_t i, int64_t *place, Error *error) {
    int64_t sequence;
    if (!first_sequence(m, i, &sequence, error)) return false;
    *place = m->bin_bytes;
    if (sequence < m->sequences && !read_places(m, sequence, 1, place, error)) return false;
    return (*place >= 0 && *place <= m->bin_bytes && *place % m->element == 0) ||
           fail(error, "%s: document %" PRId64 " lies at byte %" PRId64 " of %" PRId64, m->idx, i, *place,
                m->bin_bytes);
}

/* The first document that begins at `from` or later. */
static bool first_document(const Megatron *m, int64_t from, int64_t *document, Error *error) {
    int64_t low = 0, high = m->documents, place;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (!document_place(m, middle, &place, error)) return false;
        if (place < from)
            low = middle + 1;
        else
            high = middle;
    }
    *document = low;
    return true;
}

/* -- ids ---------------------------------------------------------------------------------------------------- */

static bool widen(const Megatron *m, int32_t *to, const char *raw, int64_t n, int64_t vocab_size, int64_t document,
                  Error *error) {
    int64_t sign = m->is_signed && m->element < 8 ? (int64_t)1 << (8 * m->element - 1) : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t id = number(raw + i * m->element, (int)m->element);
        id = (id ^ sign) - sign;
        if (id < 0 || id >= vocab_size)
            return fail(error, "%s: document %" PRId64 " holds id %" PRId64 ", outside the tokenizer's %" PRId64,
                        m->bin, document, id, vocab_size);
        to[i] = (int32_t)id;
    }
    return true;
}

typedef struct {
    const MegatronSink *sink;
    int64_t vocab_size;
    int32_t *ids;
    char *raw;
} Reader;

static bool pass_document(const Megatron *m, Reader *r, int64_t document, int64_t place, int64_t end, Error *error) {
    for (int64_t n; place < end; place += n * m->element) {
        n = min_i64((end - place) / m->element, MEGATRON_IDS_AT_ONCE);
        if (!disk_read(m->bin_fd, r->raw, n * m->element, place, m->bin, error) ||
            !widen(m, r->ids, r->raw, n, r->vocab_size, document, error) ||
            !r->sink->ids(r->sink->own, r->ids, n, error))
            return false;
        r->sink->progress(r->sink->own, n * m->element);
    }
    return r->sink->end(r->sink->own, error);
}

static bool pass_documents(const Megatron *m, Reader *r, int64_t from, int64_t end, int64_t *empty, Error *error) {
    int64_t i, place, next;
    if (!first_document(m, from, &i, error) || !document_place(m, i, &place, error)) return false;
    for (; i < m->documents && place < end; i++, place = next) {
        if (!document_place(m, i + 1, &next, error)) return false;
        if (next < place) return fail(error, "%s: document %" PRId64 " ends before it begins", m->idx, i);
        if (next == place)
            ++*empty;
        else if (!pass_document(m, r, i, place, next, error))
            return false;
    }
    return true;
}

bool megatron_read(const Megatron *m, int64_t from, int64_t end, int64_t vocab_size, const MegatronSink *sink,
                   int64_t *empty, Error *error) {
    Reader r = {sink, vocab_size, must_alloc(MEGATRON_IDS_AT_ONCE, sizeof *r.ids),
                must_alloc(MEGATRON_IDS_AT_ONCE, 8)};
    bool ok = pass_documents(m, &r, from, end, empty, error);
    free(r.ids);
    free(r.raw);
    return ok;
}
