/* regex_unicode.c - the characters of Unicode 15 and 16, by category and script.
 *
 * Published tokenizers are run with tables of Unicode 16. PCRE2 10.42 has those of Unicode 14, in which these
 * characters are unassigned, so expressions name them beside its own classes. */
#include "data/regex_own.h"

#include <string.h>

typedef struct {
    uint32_t from, to;
    char category[3];
    const char *script;
} Assigned;

static const Assigned assigned[] = {
    {0x897, 0x897, "Mn", "Arabic"},
    {0xcf3, 0xcf3, "Mc", "Kannada"},
    {0xece, 0xece, "Mn", "Lao"},
    {0x1b4e, 0x1b4f, "Po", "Balinese"},
    {0x1b7f, 0x1b7f, "Po", "Balinese"},
    {0x1c89, 0x1c89, "Lu", "Cyrillic"},
    {0x1c8a, 0x1c8a, "Ll", "Cyrillic"},
    {0x2427, 0x2429, "So", "Common"},
    {0x2ffc, 0x2fff, "So", "Common"},
    {0x31e4, 0x31e5, "So", "Common"},
    {0x31ef, 0x31ef, "So", "Common"},
    {0xa7cb, 0xa7cc, "Lu", "Latin"},
    {0xa7cd, 0xa7cd, "Ll", "Latin"},
    {0xa7da, 0xa7da, "Lu", "Latin"},
    {0xa7db, 0xa7db, "Ll", "Latin"},
    {0xa7dc, 0xa7dc, "Lu", "Latin"},
    {0x105c0, 0x105f3, "Lo", "Todhri"},
    {0x10d40, 0x10d49, "Nd", "Garay"},
    {0x10d4a, 0x10d4d, "Lo", "Garay"},
    {0x10d4e, 0x10d4e, "Lm", "Garay"},
    {0x10d4f, 0x10d4f, "Lo", "Garay"},
    {0x10d50, 0x10d65, "Lu", "Garay"},
    {0x10d69, 0x10d6d, "Mn", "Garay"},
    {0x10d6e, 0x10d6e, "Pd", "Garay"},
    {0x10d6f, 0x10d6f, "Lm", "Garay"},
    {0x10d70, 0x10d85, "Ll", "Garay"},
    {0x10d8e, 0x10d8f, "Sm", "Garay"},
    {0x10ec2, 0x10ec4, "Lo", "Arabic"},
    {0x10efc, 0x10eff, "Mn", "Arabic"},
    {0x1123f, 0x11240, "Lo", "Khojki"},
    {0x11241, 0x11241, "Mn", "Khojki"},
    {0x11380, 0x11389, "Lo", "Tulu_Tigalari"},
    {0x1138b, 0x1138b, "Lo", "Tulu_Tigalari"},
    {0x1138e, 0x1138e, "Lo", "Tulu_Tigalari"},
    {0x11390, 0x113b5, "Lo", "Tulu_Tigalari"},
    {0x113b7, 0x113b7, "Lo", "Tulu_Tigalari"},
    {0x113b8, 0x113ba, "Mc", "Tulu_Tigalari"},
    {0x113bb, 0x113c0, "Mn", "Tulu_Tigalari"},
    {0x113c2, 0x113c2, "Mc", "Tulu_Tigalari"},
    {0x113c5, 0x113c5, "Mc", "Tulu_Tigalari"},
    {0x113c7, 0x113ca, "Mc", "Tulu_Tigalari"},
    {0x113cc, 0x113cd, "Mc", "Tulu_Tigalari"},
    {0x113ce, 0x113ce, "Mn", "Tulu_Tigalari"},
    {0x113cf, 0x113cf, "Mc", "Tulu_Tigalari"},
    {0x113d0, 0x113d0, "Mn", "Tulu_Tigalari"},
    {0x113d1, 0x113d1, "Lo", "Tulu_Tigalari"},
    {0x113d2, 0x113d2, "Mn", "Tulu_Tigalari"},
    {0x113d3, 0x113d3, "Lo", "Tulu_Tigalari"},
    {0x113d4, 0x113d5, "Po", "Tulu_Tigalari"},
    {0x113d7, 0x113d8, "Po", "Tulu_Tigalari"},
    {0x113e1, 0x113e2, "Mn", "Tulu_Tigalari"},
    {0x116d0, 0x116e3, "Nd", "Myanmar"},
    {0x11b00, 0x11b09, "Po", "Devanagari"},
    {0x11bc0, 0x11be0, "Lo", "Sunuwar"},
    {0x11be1, 0x11be1, "Po", "Sunuwar"},
    {0x11bf0, 0x11bf9, "Nd", "Sunuwar"},
    {0x11f00, 0x11f01, "Mn", "Kawi"},
    {0x11f02, 0x11f02, "Lo", "Kawi"},
    {0x11f03, 0x11f03, "Mc", "Kawi"},
    {0x11f04, 0x11f10, "Lo", "Kawi"},
    {0x11f12, 0x11f33, "Lo", "Kawi"},
    {0x11f34, 0x11f35, "Mc", "Kawi"},
    {0x11f36, 0x11f3a, "Mn", "Kawi"},
    {0x11f3e, 0x11f3f, "Mc", "Kawi"},
    {0x11f40, 0x11f40, "Mn", "Kawi"},
    {0x11f41, 0x11f41, "Mc", "Kawi"},
    {0x11f42, 0x11f42, "Mn", "Kawi"},
    {0x11f43, 0x11f4f, "Po", "Kawi"},
    {0x11f50, 0x11f59, "Nd", "Kawi"},
    {0x11f5a, 0x11f5a, "Mn", "Kawi"},
    {0x1342f, 0x1342f, "Lo", "Egyptian_Hieroglyphs"},
    {0x13439, 0x1343f, "Cf", "Egyptian_Hieroglyphs"},
    {0x13440, 0x13440, "Mn", "Egyptian_Hieroglyphs"},
    {0x13441, 0x13446, "Lo", "Egyptian_Hieroglyphs"},
    {0x13447, 0x13455, "Mn", "Egyptian_Hieroglyphs"},
    {0x13460, 0x143fa, "Lo", "Egyptian_Hieroglyphs"},
    {0x16100, 0x1611d, "Lo", "Gurung_Khema"},
    {0x1611e, 0x16129, "Mn", "Gurung_Khema"},
    {0x1612a, 0x1612c, "Mc", "Gurung_Khema"},
    {0x1612d, 0x1612f, "Mn", "Gurung_Khema"},
    {0x16130, 0x16139, "Nd", "Gurung_Khema"},
    {0x16d40, 0x16d42, "Lm", "Kirat_Rai"},
    {0x16d43, 0x16d6a, "Lo", "Kirat_Rai"},
    {0x16d6b, 0x16d6c, "Lm", "Kirat_Rai"},
    {0x16d6d, 0x16d6f, "Po", "Kirat_Rai"},
    {0x16d70, 0x16d79, "Nd", "Kirat_Rai"},
    {0x18cff, 0x18cff, "Lo", "Khitan_Small_Script"},
    {0x1b132, 0x1b132, "Lo", "Hiragana"},
    {0x1b155, 0x1b155, "Lo", "Katakana"},
    {0x1cc00, 0x1ccef, "So", "Common"},
    {0x1ccf0, 0x1ccf9, "Nd", "Common"},
    {0x1cd00, 0x1ceb3, "So", "Common"},
    {0x1d2c0, 0x1d2d3, "No", "Common"},
    {0x1df25, 0x1df2a, "Ll", "Latin"},
    {0x1e030, 0x1e06d, "Lm", "Cyrillic"},
    {0x1e08f, 0x1e08f, "Mn", "Cyrillic"},
    {0x1e4d0, 0x1e4ea, "Lo", "Nag_Mundari"},
    {0x1e4eb, 0x1e4eb, "Lm", "Nag_Mundari"},
    {0x1e4ec, 0x1e4ef, "Mn", "Nag_Mundari"},
    {0x1e4f0, 0x1e4f9, "Nd", "Nag_Mundari"},
    {0x1e5d0, 0x1e5ed, "Lo", "Ol_Onal"},
    {0x1e5ee, 0x1e5ef, "Mn", "Ol_Onal"},
    {0x1e5f0, 0x1e5f0, "Lo", "Ol_Onal"},
    {0x1e5f1, 0x1e5fa, "Nd", "Ol_Onal"},
    {0x1e5ff, 0x1e5ff, "Po", "Ol_Onal"},
    {0x1f6dc, 0x1f6dc, "So", "Common"},
    {0x1f774, 0x1f776, "So", "Common"},
    {0x1f77b, 0x1f77f, "So", "Common"},
    {0x1f7d9, 0x1f7d9, "So", "Common"},
    {0x1f8b2, 0x1f8bb, "So", "Common"},
    {0x1f8c0, 0x1f8c1, "So", "Common"},
    {0x1fa75, 0x1fa77, "So", "Common"},
    {0x1fa87, 0x1fa89, "So", "Common"},
    {0x1fa8f, 0x1fa8f, "So", "Common"},
    {0x1faad, 0x1faaf, "So", "Common"},
    {0x1fabb, 0x1fabf, "So", "Common"},
    {0x1fac6, 0x1fac6, "So", "Common"},
    {0x1face, 0x1facf, "So", "Common"},
    {0x1fada, 0x1fadc, "So", "Common"},
    {0x1fadf, 0x1fadf, "So", "Common"},
    {0x1fae8, 0x1fae9, "So", "Common"},
    {0x1faf7, 0x1faf8, "So", "Common"},
    {0x1fbcb, 0x1fbef, "So", "Common"},
    {0x2b739, 0x2b739, "Lo", "Han"},
    {0x2ebf0, 0x2ee5d, "Lo", "Han"},
    {0x31350, 0x323af, "Lo", "Han"},
};

/* name: a category (Lu), its group (L), cased letters (L&), or a script. */
static bool has(const Assigned *a, const char *name, int n) {
    bool cased = a->category[0] == 'L' && strchr("ult", a->category[1]);
    if (n <= 2) return !strncmp(a->category, name, (size_t)n) || (n == 2 && !strncmp(name, "L&", 2) && cased);
    return (int)strlen(a->script) == n && !strncmp(a->script, name, (size_t)n);
}

int regex_assigned(FILE *to, const char *name, int n) {
    enum { ROWS = sizeof assigned / sizeof *assigned };
    int ranges = 0;
    for (int i = 0; i < ROWS; i++) {
        uint32_t from = assigned[i].from;
        if (!has(&assigned[i], name, n)) continue;
        while (i + 1 < ROWS && assigned[i + 1].from == assigned[i].to + 1 && has(&assigned[i + 1], name, n)) i++;
        if (to) fprintf(to, "\\x{%x}-\\x{%x}", from, assigned[i].to);
        ranges++;
    }
    return ranges;
}
