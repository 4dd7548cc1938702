#include "train/render.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/utf8.h"

void render_open(Render *r, FILE *to, const Tokenizer *t, bool borders, bool lines) {
    *r = (Render){.to = to, .tokenizer = t, .borders = borders, .lines = lines};
    r->text = must_alloc(tokenizer_max_bytes(t) + 4, 1);
}

static void put_byte(Render *r, unsigned char c) {
    switch (c) {
    case '\n': fputs(r->lines ? "\\n\n" : "\\n", r->to); break;
    case '\t': fputs("\\t", r->to); break;
    case '\r': fputs("\\r", r->to); break;
    case '\\': fputs("\\\\", r->to); break;
    case '|': fputs(r->borders ? "\\|" : "|", r->to); break;
    default:
        if (c < ' ' || c >= 0x7f)
            fprintf(r->to, "\\x%02x", c);
        else
            putc(c, r->to);
    }
}

/* Nothing that moves the cursor, hides, or turns the direction of writing. */
static bool shows(utf8proc_int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

/* Returns the bytes of the character put; a byte that is no part of one is put alone. */
static int64_t put_character(Render *r, const char *text, int64_t bytes) {
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, bytes, &c);
    if (n <= 1) {
        put_byte(r, (unsigned char)*text);
        return 1;
    }
    if (shows(c))
        fwrite(text, 1, (size_t)n, r->to);
    else
        fprintf(r->to, "\\u{%x}", (unsigned)c);
    return n;
}

static void put_text(Render *r, const char *text, int64_t bytes) {
    for (int64_t i = 0; i < bytes;) i += put_character(r, text + i, bytes - i);
}

/* What is left of an unfinished character. */
static void flush(Render *r) {
    put_text(r, r->held, r->n);
    r->n = 0;
}

static void put_id(Render *r, int32_t id) {
    char name[64];
    if (r->borders) putc('|', r->to);
    const char *special = tokenizer_special_name(r->tokenizer, id, name);
    if (special) {
        flush(r);
        put_text(r, special, (int64_t)strlen(special));
        return;
    }
    memcpy(r->text, r->held, (size_t)r->n);
    int64_t bytes = r->n + tokenizer_decode(r->tokenizer, r->text + r->n, &id, 1);
    bool cut = false;
    int64_t whole = r->borders ? bytes : 0;
    while (!r->borders && whole < bytes) { /* a NUL or a byte that is no text is put as it is */
        whole += utf8_prefix(r->text + whole, bytes - whole, &cut);
        if (cut) break;
        whole += whole < bytes;
    }
    put_text(r, r->text, whole);
    r->n = (int)(bytes - whole);
    memcpy(r->held, r->text + whole, (size_t)r->n);
}

void render_ids(Render *r, const int32_t *ids, int64_t n) {
    for (int64_t i = 0; i < n; i++) put_id(r, ids[i]);
}

void render_close(Render *r) {
    flush(r);
    if (r->borders) putc('|', r->to);
    free(r->text);
}
