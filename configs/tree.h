/* tree.h - what a configuration file says before it means anything: scalars, lists and mappings
 * that know their file and line. Used inside configs/ only.
 *
 * Nodes and texts live in a Pool, which the Config owns; nothing is freed one by one. */
#pragma once
#include "kernels/base.h"

typedef struct Pool {
    struct PoolBlock *blocks;
} Pool;
void *pool_alloc(Pool *, int64_t bytes); /* zeroed */
char *pool_format(Pool *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pool_free(Pool *);

typedef enum { NODE_SCALAR, NODE_LIST, NODE_MAP } NodeKind;
typedef struct Node {
    NodeKind kind;
    bool plain;       /* a scalar without quotes: only these can be null, numbers, true */
    const char *key;  /* in a mapping */
    const char *text; /* of a scalar */
    const char *file; /* NULL = the command line */
    int line;         /* 0 = the file has none to offer (config.json) */
    int override;     /* which override of the command line, from 1; 0 = none */
    struct Node *child, *next;
} Node;

enum { TREE_MAX_BYTES = 1 << 20, TREE_MAX_DEPTH = 32, TREE_MAX_NODES = 10000 };

/* Reads YAML: one document, no anchors, aliases, tags or merge keys, every key once. `file` is for
 * messages. NULL + message. */
Node *yaml_parse(Pool *, const char *text, int64_t bytes, const char *file, Error *);
/* The bytes of a file of at most TREE_MAX_BYTES, ended by a NUL. NULL + message. */
char *file_read(Pool *, const char *file, int64_t *bytes, Error *);

Node *node_new(Pool *, NodeKind, const char *key, const Node *origin);
Node *node_scalar(Pool *, const char *key, const char *text, bool plain, const Node *origin);
void node_append(Node *parent, Node *child);
Node *node_find(const Node *map, const char *key); /* NULL when absent */
Node *node_at(const Node *root, const char *path); /* "model.rope_scaling.factor" */
bool node_is_null(const Node *);
/* "tiny.yaml:7", with the path as it was given, or "command line" */
const char *node_place(const Node *, char to[256]);

/* Lays `over` on `under`: mappings key by key, anything else replaces, null removes. Copies nodes; a mapping comes from
 * where it was changed last. */
void node_merge(Pool *, Node *under, const Node *over);
