/* safetensors_write.c - one .safetensors file, atomically. Data lie in the order given; the header is
 * padded with blanks so that they begin at a multiple of 8 bytes. */
#include "data/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/disk.h"

static const char *st_name(Dtype dtype) {
    switch (dtype) {
    case F32: return "F32";
    case BF16: return "BF16";
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

static char *header_text(const StOut *tensors, int n) {
    char *text = NULL;
    size_t bytes = 0;
    int64_t offset = 0;
    FILE *f = open_memstream(&text, &bytes);
    check(f, "out of memory for a header");
    for (int i = 0; i < n; i++) {
        const StOut *o = &tensors[i];
        check_out(o);
        fprintf(f, "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? ',' : '{', o->name, st_name(o->t.dtype));
        for (int d = 0; d < o->ndim; d++) fprintf(f, "%s%lld", d ? "," : "", (long long)o->dim[d]);
        fprintf(f, "],\"data_offsets\":[%lld,", (long long)offset);
        offset += tensor_bytes(o->t);
        fprintf(f, "%lld]}", (long long)offset);
    }
    fputs(n ? "}" : "{}", f);
    for (long at = ftell(f); at % 8; at++) fputc(' ', f);
    check(fclose(f) == 0, "out of memory for a header");
    return text;
}

static bool write_all(int fd, const char *file, const StOut *tensors, int n, Error *error) {
    char *header = header_text(tensors, n);
    int64_t length = (int64_t)strlen(header), offset = 8 + length;
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)(length >> 8 * i);
    bool ok = disk_write(fd, prefix, 8, 0, file, error) && disk_write(fd, header, length, 8, file, error);
    free(header);
    for (int i = 0; ok && i < n; i++) {
        ok = disk_write(fd, tensors[i].t.data, tensor_bytes(tensors[i].t), offset, file, error);
        offset += tensor_bytes(tensors[i].t);
    }
    return ok;
}

bool safetensors_write(const char *file, const StOut *tensors, int n, Error *error) {
    char *temporary = must_format("%s.tmp", file);
    unlink(temporary); /* left by an interrupted run */
    int fd = disk_create(temporary, error);
    bool ok = fd >= 0 && disk_finish(fd, write_all(fd, temporary, tensors, n, error), temporary, error) &&
              disk_rename(temporary, file, error);
    if (!ok) unlink(temporary);
    free(temporary);
    return ok;
}
