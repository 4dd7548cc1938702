/* keys.h - the key table of keys.def as data, and values to and from text. Used inside configs/ only. */
#pragma once
#include "configs/config.h"
#include "configs/tree.h"

typedef enum { TYPE_INT, TYPE_REAL, TYPE_BOOL, TYPE_STRING, TYPE_PATH, TYPE_CHOICE, TYPE_COUNT, TYPE_REALS } KeyType;
typedef enum { SCOPE_MODEL, SCOPE_RUN, SCOPE_STAGE } KeyScope;
typedef enum { RESUME_FREE, RESUME_CHANGEABLE, RESUME_FIXED } KeyResume;

typedef struct {
    KeyType type;
    const char *path, *fallback, *range;
    KeyScope scope;
    KeyResume resume;
    const char *also, *help;
    size_t offset; /* of the value in Config, DataSet or EvalSet */
} Key;

enum {
#define KEY(...) +1
    KEY_COUNT = 0
#include "configs/keys.def"
#undef KEY
    ,
#define DATA_KEY(...) +1
    DATA_KEY_COUNT = 0
#include "configs/keys.def"
#undef DATA_KEY
    ,
#define EVAL_KEY(...) +1
    EVAL_KEY_COUNT = 0
#include "configs/keys.def"
#undef EVAL_KEY
};
extern const Key config_keys[KEY_COUNT];

/* The sections in which people give the names: `data:` and `eval:`. */
typedef struct {
    const char *section, *entry; /* "data", "a data set" */
    const Key *key;
    int keys;
    size_t first, bytes, count; /* of Config: where the entries lie, bytes of one, where their number lies */
} Named;
enum { NAMED_DATA, NAMED_EVAL, NAMED_COUNT };
enum { NAMED_KEYS_MOST = DATA_KEY_COUNT > EVAL_KEY_COUNT ? DATA_KEY_COUNT : EVAL_KEY_COUNT };
extern const Named named[NAMED_COUNT];

const Named *named_find(const char *path); /* of "data", "data.law", "data.law.path"; NULL */
const Key *named_key(const Named *, const char *name);

/* Where the values of a Config came from; NULL nodes are defaults. Owns all texts. */
struct Origins {
    Pool pool;
    const Node *key[KEY_COUNT];
    const Node *named[NAMED_COUNT][CONFIG_MAX_SETS][NAMED_KEYS_MOST];
    const char *changed;
};

/* Room for one value of any type. */
typedef union {
    int64_t integer;
    double real;
    bool boolean;
    const char *text;
    RealList list;
} Value;

const Key *key_find(const char *path);                 /* NULL when there is none */
const char *key_name(const Key *);                     /* the last word of its path */
bool key_is_section(const char *path);                 /* "model", "model.rope_scaling", "data" */
bool word_in_list(const char *word, const char *list); /* of words with spaces between */

/* Always false, with a message that names the right key when there is one near. section: "" = top level. */
bool key_unknown(const Node *at, const char *section, const char *word, Error *);

/* The nearest of the words offered: within edit distance 3, and half of a short word. */
typedef struct {
    const char *word, *best;
    int distance;
} Nearest;
bool nearest_offer(Nearest *, const char *candidate); /* true when it is the nearest so far */

/* Reads a node as a value of the key, checks its range. slot: the place in Config or a Value. */
bool value_parse(const Key *, const Node *, void *slot, Error *);
/* The default of a key. */
void value_default(const Key *, void *slot, Pool *);
/* As YAML; "" for a text or choice that is not set. malloc'd. */
char *value_format(const Key *, const void *slot);
/* What the key takes: "a whole number from 1 to 65536". */
const char *key_takes(const Key *, char to[256]);
size_t key_bytes(KeyType);

/* Whether a key of the type holds text. */
static inline bool type_is_text(KeyType type) {
    return type == TYPE_STRING || type == TYPE_PATH || type == TYPE_CHOICE;
}

/* What a path names from a folder ("" = the working folder): absolute, without "." and "..", whether or not it is there.
 * malloc'd. */
char *path_absolute(const char *folder, const char *path);

/* The folder that a dump with origins names; "" when it names none. */
const char *dump_read_folder(Pool *, const char *text);

/* As YAML in double quotes, whatever is in it. malloc'd. */
char *text_quoted(const char *text);
/* Puts a formatted piece behind *text (malloc'd, may be NULL at first). */
void text_add(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The shortest text that reads back to the same bits. */
void text_add_real(char **text, double value);

/* The same place in every Config. */
static inline void *key_slot(const Key *key, void *owner) { return (char *)owner + key->offset; }
static inline const void *key_value(const Key *key, const void *owner) { return (const char *)owner + key->offset; }

/* The entries of a named section in a Config; each begins with its name. */
static inline int named_entries(const Named *n, const Config *c) {
    return *(const int *)((const char *)c + n->count);
}
static inline const void *named_entry(const Named *n, const Config *c, int i) {
    return (const char *)c + n->first + (size_t)i * n->bytes;
}
static inline const char *named_name(const Named *n, const Config *c, int i) {
    return *(const char *const *)named_entry(n, c, i);
}

/* config.json of a Hugging Face model as `model:` of a configuration (hf.c): the file, or its text, where path is for
 * messages. NULL + message. */
Node *hf_read_config(Pool *, const char *path, char **warnings, Error *);
Node *hf_parse_config(Pool *, const char *text, int64_t bytes, const char *path, char **warnings, Error *);

/* The parts of config_validate: shapes and maths alone, as for a model that is only read; and all of it. */
bool validate_model(Config *, char **warnings, Error *);
bool validate_layout(Config *, int ranks, Error *);
