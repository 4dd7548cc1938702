/* safetensors_write.c - one .safetensors file. Data lie in the order given; the header is padded with
 * blanks so that they begin at a multiple of 8 bytes. */
#include "data/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"

enum { PART = 8 << 20 }; /* bytes on their way at once */

static const char *st_name(Dtype dtype) {
    switch (dtype) {
    case F32: return "F32";
    case BF16: return "BF16";
    case F16: return "F16";
    case I32: return "I32";
    case I64: return "I64";
    default: check(false, "safetensors are not written from %s", dtype_name(dtype)); return "";
    }
}

static void check_out(const StOut *o) {
    int64_t count = 1;
    for (int i = 0; i < o->ndim; i++) count *= o->dim[i];
    check(tensor_contiguous(o->t) && count == tensor_count(o->t), "tensor %s: its shape has %lld elements, it %lld",
          o->name, (long long)count, (long long)tensor_count(o->t));
    for (const char *c = o->name; *c; c++)
        check(*c >= 0x20 && *c < 0x7f && *c != '"' && *c != '\\', "tensor %s: a name that JSON would escape",
              o->name);
}

static char *header_text(const StOut *tensors, int64_t n) {
    char *text = NULL;
    size_t bytes = 0;
    int64_t offset = 0;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for a header");
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", f); /* some readers ask for it */
    for (int64_t i = 0; i < n; i++) {
        const StOut *o = &tensors[i];
        check_out(o);
        fprintf(f, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", o->name, st_name(o->t.dtype));
        for (int d = 0; d < o->ndim; d++) fprintf(f, "%s%lld", d ? "," : "", (long long)o->dim[d]);
        fprintf(f, "],\"data_offsets\":[%lld,", (long long)offset);
        offset += tensor_bytes(o->t);
        fprintf(f, "%lld]}", (long long)offset);
    }
    fputc('}', f);
    for (long at = ftell(f); at % 8; at++) fputc(' ', f);
    check(fclose(f) == 0, "out of memory for a header");
    return text;
}

/* 8 bytes of length, and the text. malloc'd. */
static char *header_bytes(const StOut *tensors, int64_t n, int64_t *bytes) {
    char *text = header_text(tensors, n);
    int64_t length = (int64_t)strlen(text);
    char *header = must_alloc(8 + length, 1);
    for (int i = 0; i < 8; i++) header[i] = (char)(length >> 8 * i);
    memcpy(header + 8, text, (size_t)length);
    free(text);
    *bytes = 8 + length;
    return header;
}

typedef struct {
    const char *file;
    int fd;
    int64_t at;
    char *buffer;
    StRead *read;
    void *own;
    Error *error;
} Stream;

static bool put_tensor(Stream *s, int64_t tensor, int64_t bytes) {
    for (int64_t done = 0, part; done < bytes; done += part) {
        part = min_i64(bytes - done, PART);
        if (!s->read(s->own, tensor, done, part, s->buffer, s->error) ||
            !disk_write(s->fd, s->buffer, part, s->at, s->file, s->error))
            return false;
        s->at += part;
    }
    return true;
}

static bool put_all(Stream *s, const StOut *tensors, int64_t n) {
    int64_t length, total;
    char *header = header_bytes(tensors, n, &length);
    total = length;
    for (int64_t i = 0; i < n; i++) total += tensor_bytes(tensors[i].t);
    bool ok =
        disk_reserve(s->fd, total, s->file, s->error) && disk_write(s->fd, header, length, 0, s->file, s->error);
    s->at = length;
    free(header);
    for (int64_t i = 0; ok && i < n; i++) ok = put_tensor(s, i, tensor_bytes(tensors[i].t));
    return ok;
}

bool safetensors_stream(const char *file, const StOut *tensors, int64_t n, StRead *read, void *own, Error *error) {
    Stream s = {.file = file, .fd = disk_create(file, error), .read = read, .own = own, .error = error};
    if (s.fd < 0) return false;
    s.buffer = must_alloc(PART, 1);
    bool ok = disk_finish(s.fd, put_all(&s, tensors, n), file, error);
    free(s.buffer);
    return ok;
}

static bool read_memory(void *own, int64_t tensor, int64_t first, int64_t count, void *to, Error *error) {
    (void)error;
    memcpy(to, (const char *)((const StOut *)own)[tensor].t.data + first, (size_t)count);
    return true;
}

bool safetensors_write(const char *file, const StOut *tensors, int64_t n, Error *error) {
    char *temporary = must_format("%s.tmp", file);
    unlink(temporary); /* left by an interrupted run */
    bool ok = safetensors_stream(temporary, tensors, n, read_memory, (void *)(uintptr_t)tensors, error) &&
              disk_rename(temporary, file, error);
    if (!ok) unlink(temporary);
    free(temporary);
    return ok;
}
