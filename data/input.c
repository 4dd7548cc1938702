/* input.c - see input.h. A gzip file may have several members, a zstd file several frames. */
#include "data/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "data/disk.h"

enum { PACKED_BYTES = 1 << 18, WINDOW_LOG_MOST = 27 };

struct Input {
    char *file;
    int fd;
    bool (*unpack)(Input *, char *to, int64_t room, int64_t *written, Error *); /* NULL: not packed */
    char *packed;
    int64_t first, end, taken; /* of packed: not yet unpacked; of the file */
    bool ended, within;        /* the file has no more; a member or frame has begun and not ended */
    bool whole_member;         /* of gzip: there was one */
    z_stream gzip;
    ZSTD_DStream *zstd;
};

/* -- names ------------------------------------------------------------------------------------------ */

static bool ends(const char *text, size_t n, const char *end) {
    size_t m = strlen(end);
    return n > m && !memcmp(text + n - m, end, m);
}

/* Length of the name without what says how it is packed; *packing "" when nothing does. */
static size_t plain_length(const char *file, const char **packing) {
    static const char *const endings[] = {".gz", ".zst", ".zstd"};
    size_t n = strlen(file);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends(file, n, endings[i])) return *packing = endings[i], n - strlen(endings[i]);
    *packing = "";
    return n;
}

bool input_is_packed(const char *file) {
    const char *packing;
    plain_length(file, &packing);
    return *packing;
}

bool input_ends_with(const char *file, const char *end) {
    const char *packing;
    return ends(file, plain_length(file, &packing), end);
}

/* -- unpacking: takes from packed[first, end), writes at most room bytes ------------------------------- */

static bool only_zeros(const Input *in) {
    for (int64_t i = in->first; i < in->end; i++)
        if (in->packed[i]) return false;
    return true;
}

static bool unpack_gzip(Input *in, char *to, int64_t room, int64_t *written, Error *error) {
    z_stream *z = &in->gzip;
    if (!in->within && in->whole_member && only_zeros(in)) { /* which tapes and some tools put behind the last */
        in->first = in->end;
        return true;
    }
    if (!in->within) inflateReset(z);
    in->within = true;
    z->next_in = (Bytef *)in->packed + in->first;
    z->avail_in = (uInt)(in->end - in->first);
    z->next_out = (Bytef *)to;
    z->avail_out = (uInt)room;
    int status = inflate(z, Z_NO_FLUSH);
    in->first = in->end - z->avail_in;
    *written = room - z->avail_out;
    if (status == Z_STREAM_END) in->within = false, in->whole_member = true;
    if (status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR) return true;
    return fail(error, "%s: damaged gzip data before byte %lld: %s", in->file,
                (long long)(in->taken - (in->end - in->first)), z->msg ? z->msg : "it cannot be unpacked");
}

static bool unpack_zstd(Input *in, char *to, int64_t room, int64_t *written, Error *error) {
    ZSTD_inBuffer from = {in->packed + in->first, (size_t)(in->end - in->first), 0};
    ZSTD_outBuffer out = {to, (size_t)room, 0};
    size_t left = ZSTD_decompressStream(in->zstd, &out, &from);
    in->first += (int64_t)from.pos;
    *written = (int64_t)out.pos;
    if (ZSTD_isError(left))
        return fail(error, "%s: damaged zstd data before byte %lld: %s", in->file,
                    (long long)(in->taken - (in->end - in->first)), ZSTD_getErrorName(left));
    in->within = left != 0;
    return true;
}

static void choose_unpacking(Input *in) {
    const char *packing;
    plain_length(in->file, &packing);
    if (!*packing) return;
    in->packed = must_alloc(PACKED_BYTES, 1);
    if (!strcmp(packing, ".gz")) {
        in->unpack = unpack_gzip;
        check(inflateInit2(&in->gzip, 15 + 16) == Z_OK, "out of memory for zlib");
    } else {
        in->unpack = unpack_zstd;
        in->zstd = ZSTD_createDStream();
        check(in->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(in->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MOST)),
              "out of memory for zstd");
    }
}

/* -- reading ----------------------------------------------------------------------------------------- */

Input *input_open(const char *file, Error *error) {
    int64_t bytes;
    int fd = disk_open(file, &bytes, error);
    if (fd < 0) return NULL;
    Input *in = must_alloc(1, sizeof *in);
    in->file = must_strdup(file);
    in->fd = fd;
    choose_unpacking(in);
    if (in->unpack && bytes == 0) {
        fail(error, "%s: is empty, which no packed file is; was it cut off?", file);
        input_close(in);
        return NULL;
    }
    return in;
}

void input_close(Input *in) {
    if (!in) return;
    if (in->unpack == unpack_gzip) inflateEnd(&in->gzip);
    ZSTD_freeDStream(in->zstd);
    close(in->fd);
    free(in->packed);
    free(in->file);
    free(in);
}

bool input_seek(Input *in, int64_t offset, Error *error) {
    check(!in->unpack, "%s: a place in a packed file", in->file);
    return lseek(in->fd, (off_t)offset, SEEK_SET) == offset ||
           fail(error, "%s: cannot go to byte %lld: %s", in->file, (long long)offset, strerror(errno));
}

int64_t input_taken(const Input *in) { return in->taken; }

static int64_t read_some(Input *in, char *to, int64_t bytes, Error *error) {
    ssize_t n;
    do n = read(in->fd, to, (size_t)min_i64(bytes, 1 << 30));
    while (n < 0 && errno == EINTR);
    if (n < 0) return disk_fail(error, in->file, "read"), -1;
    in->taken += n;
    in->ended = n == 0;
    return n;
}

/* Unpacks what is at hand, or else reads more to unpack. */
static bool unpack_some(Input *in, char *to, int64_t room, int64_t *written, Error *error) {
    *written = 0;
    int64_t before = in->first;
    if (in->first < in->end || in->within) {
        if (!in->unpack(in, to, room, written, error)) return false;
        if (*written || in->first > before) return true;
    }
    int64_t left = in->end - in->first;
    memmove(in->packed, in->packed + in->first, (size_t)left);
    in->first = 0;
    in->end = left;
    int64_t n = read_some(in, in->packed + left, PACKED_BYTES - left, error);
    if (n < 0) return false;
    in->end += n;
    return !in->ended || (!in->within && !left) ||
           fail(error, "%s: ends within its packed data at byte %lld; it was cut off", in->file,
                (long long)in->taken);
}

int64_t input_read(Input *in, void *to, int64_t bytes, Error *error) {
    int64_t done = 0;
    while (done < bytes && !in->ended) {
        int64_t n;
        if (!in->unpack)
            n = read_some(in, (char *)to + done, bytes - done, error);
        else if (!unpack_some(in, (char *)to + done, min_i64(bytes - done, 1 << 30), &n, error))
            n = -1;
        if (n < 0) return -1;
        done += n;
    }
    return done;
}
