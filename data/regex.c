#include "data/regex_own.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Far above what an honest text needs; a hostile one ends here instead of never. */
enum { MATCH_LIMIT = 50000000, DEPTH_LIMIT = 100000, STACK_FIRST = 32 << 10, STACK_MOST = 8 << 20 };

struct Regex {
    pcre2_code *code;
};
struct RegexScratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* -- translation ---------------------------------------------------------------------------------- */

typedef struct {
    const char *from;
    FILE *to;
    bool in_class;
    const char *pattern;
} Translation;

static bool unknown(const Translation *t, const char *what, Error *error) {
    return fail(error, "the expression %.200s uses %s, which is not known here", t->pattern, what);
}

static pcre2_code *compile(const char *pattern, int *code, size_t *at) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                                  code, at, context);
    pcre2_compile_context_free(context);
    return c;
}

static bool compiles(const char *pattern) {
    int code;
    size_t at;
    pcre2_code *c = compile(pattern, &code, &at);
    pcre2_code_free(c);
    return c != NULL;
}

/* A set of characters, as a class of its own or as a part of one: `items` and the newer characters of the property. */
static bool write_set(Translation *t, bool negated, const char *items, const char *property, int n, Error *error) {
    bool alone = !t->in_class, newer = regex_assigned(NULL, property, n) > 0;
    if (negated && t->in_class && newer) return unknown(t, "a complement within a class", error);
    if (alone) fputs(negated ? "[^" : "[", t->to);
    fputs(items, t->to);
    regex_assigned(t->to, property, n);
    if (alone) fputc(']', t->to);
    return true;
}

/* \p{Han}: PCRE2 would take characters that Han shares with other scripts too. */
static bool translate_property(Translation *t, Error *error) {
    bool negated = t->from[1] == 'P', braces = t->from[2] == '{';
    const char *name = t->from + 2 + braces, *close = braces ? strchr(name, '}') : name + 1; /* \p{L}, \pL */
    if (!t->from[2] || !close) return unknown(t, "an unfinished \\p", error);
    if (*name == '^') negated = !negated, name++;
    int n = (int)(close - name);
    char *script = must_format("\\p{sc:%.*s}", n, name);
    char *plain = must_format("\\%c{%.*s}", negated && t->in_class ? 'P' : 'p', n, name);
    bool is_script = n > 2 && compiles(script);
    bool ok = is_script && negated && t->in_class ? unknown(t, "a complement within a class", error)
                                                  : write_set(t, negated, is_script ? script : plain, name, n, error);
    free(script);
    free(plain);
    t->from = close + braces;
    return ok;
}

/* Oniguruma's words have the numbers of Latin-1 too, but not where they are part of a class. */
static bool translate_word(Translation *t, bool negated, Error *error) {
    static const char word[] = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}", numbers[] = "\\xb2\\xb3\\xb9\\xbc-\\xbe";
    static const char *const newer[] = {"L", "M", "Nd"};
    if (negated && t->in_class) return unknown(t, "a complement within a class", error);
    if (!t->in_class) fputs(negated ? "[^" : "[", t->to);
    fprintf(t->to, "%s%s", word, t->in_class ? "" : numbers);
    for (int i = 0; i < 3; i++) regex_assigned(t->to, newer[i], (int)strlen(newer[i]));
    if (!t->in_class) fputc(']', t->to);
    return true;
}

static bool translate_escape(Translation *t, Error *error) {
    char c = t->from[1], what[4] = {'\\', c, 0};
    const char *close = c == 'x' && t->from[2] == '{' ? strchr(t->from, '}') : NULL; /* \x{e9} */
    int length = close ? (int)(close + 1 - t->from) : 2;
    bool ok = true;
    if (c == 'p' || c == 'P') return translate_property(t, error);
    if (c == 's' || c == 'S')
        fprintf(t->to, "\\%c{wspace}", c == 's' ? 'p' : 'P');
    else if (c == 'w' || c == 'W')
        ok = translate_word(t, c == 'W', error);
    else if (c == 'd' || c == 'D')
        ok = write_set(t, c == 'D', "\\p{Nd}", "Nd", 2, error);
    else if (strchr("hHbBGkgRXKyYOKNzZA", c)) /* also the NUL that ends the pattern */
        ok = unknown(t, c ? what : "a \\ at its end", error);
    else
        fprintf(t->to, "%.*s", length, t->from);
    t->from += length;
    return ok;
}

/* {n}, {n,}, {,n}, {n,m}; other braces are characters. */
static bool translate_brace(Translation *t, Error *error) {
    static const char digits[] = "0123456789";
    const char *low = t->from + 1, *end = low + strspn(low, digits);
    bool comma = *end == ',', zero = comma && end == low;
    if (comma) end += 1 + strspn(end + 1, digits);
    if (*end != '}' || end == low + comma) {
        fputs("\\{", t->to);
        t->from++;
        return true;
    }
    /* Oniguruma repeats what is repeated, or makes it optional, where PCRE2 never takes back, or takes the least. */
    if (end[1] == '+' || (end[1] == '?' && !comma))
        return unknown(t, end[1] == '+' ? "+ after a number of times" : "? after one number of times", error);
    fprintf(t->to, "{%s%.*s", zero ? "0" : "", (int)(end + 1 - low), low);
    t->from = end + 1;
    return true;
}

/* (?i) and its like: in Oniguruma m lets a dot be a newline, and after something else (?i) opens a group up to where the
 * group around it ends, alternatives and all. */
static bool translate_parenthesis(Translation *t, Error *error) {
    const char *options = t->from + 2, *end = options + strspn(options, "imx-");
    if (t->from[1] == '*') return unknown(t, "(*", error);
    fputc(*t->from++, t->to);
    if (*t->from != '?' || end == options || (*end != ':' && *end != ')')) return true;
    if (*end == ')' && t->from != t->pattern + 1) return unknown(t, "an option that begins in its midst", error);
    for (; t->from < end; t->from++) fputc(*t->from == 'm' ? 's' : *t->from, t->to);
    return true;
}

static bool translate_next(Translation *t, Error *error) {
    if (*t->from == '\\') return translate_escape(t, error);
    if (*t->from == '{' && !t->in_class) return translate_brace(t, error);
    if (*t->from == '(' && !t->in_class) return translate_parenthesis(t, error);
    if (t->in_class && *t->from == '[') return unknown(t, "a class within a class", error);
    if (t->in_class && !strncmp(t->from, "&&", 2)) return unknown(t, "an intersection of classes", error);
    bool opens = *t->from == '[' && !t->in_class;
    if (t->in_class && *t->from == ']') t->in_class = false;
    if (opens) t->in_class = true;
    fputc(*t->from++, t->to);
    if (opens && *t->from == '^') fputc(*t->from++, t->to);
    if (opens && *t->from == ']') return unknown(t, "an empty class", error);
    return true;
}

/* malloc'd, NULL + message. */
static char *translate(const char *pattern, Error *error) {
    char *to = NULL;
    size_t bytes;
    /* Tried from every place of a long run of spaces it would take quadratic time. A match that begins inside a run
     * also fits from the run's beginning, or from where the last match ended. */
    if (!strcmp(pattern, "\\s+$")) return must_strdup("(?:\\G|(?<!\\p{wspace}))\\p{wspace}+$");
    Translation t = {.from = pattern, .to = open_memstream(&to, &bytes), .pattern = pattern};
    bool ok = true;
    while (ok && *t.from) ok = translate_next(&t, error);
    fclose(t.to);
    if (ok) return to;
    free(to);
    return NULL;
}

/* -- matching ------------------------------------------------------------------------------------- */

RegexScratch *regex_scratch_open(void) {
    RegexScratch *s = must_alloc(1, sizeof *s);
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MOST, NULL);
    check(s->match && s->context, "no memory for matching");
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_depth_limit(s->context, DEPTH_LIMIT);
    if (s->stack) pcre2_jit_stack_assign(s->context, NULL, s->stack);
    return s;
}

void regex_scratch_close(RegexScratch *s) {
    if (!s) return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    if (s->stack) pcre2_jit_stack_free(s->stack);
    free(s);
}

int regex_find(const Regex *r, RegexScratch *s, const char *text, int64_t bytes, int64_t from, int64_t *begin,
               int64_t *end) {
    int n = pcre2_match(r->code, (PCRE2_SPTR)text, (size_t)bytes, (size_t)from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                        s->match, s->context);
    if (n == PCRE2_ERROR_NOMATCH) return 0;
    if (n < 0) return -1;
    const size_t *place = pcre2_get_ovector_pointer(s->match);
    *begin = (int64_t)place[0];
    *end = (int64_t)place[1];
    return 1;
}

static bool can_match_empty(const pcre2_code *code) {
    uint32_t can = 0;
    return pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &can) || can;
}

Regex *regex_open(const char *pattern, Error *error) {
    char *ours = translate(pattern, error), why[128] = "";
    int code;
    size_t at;
    if (!ours) return NULL;
    pcre2_code *c = compile(ours, &code, &at);
    free(ours);
    if (!c) {
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return fail(error, "the expression %.200s cannot be read: %s", pattern, why), NULL;
    }
    if (can_match_empty(c)) {
        pcre2_code_free(c);
        return fail(error, "the expression %.200s can match an empty text, which is not known here", pattern), NULL;
    }
    pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* where there is no JIT it is interpreted: slower, the same matches */
    Regex *r = must_alloc(1, sizeof *r);
    r->code = c;
    return r;
}

void regex_close(Regex *r) {
    if (r) pcre2_code_free(r->code);
    free(r);
}
