/* tree.c - nodes: making, finding, merging, naming their place; and the pool they live in. */
#include "configs/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct PoolBlock {
    struct PoolBlock *next;
    max_align_t data[];
};

void *pool_alloc(Pool *pool, int64_t bytes) {
    struct PoolBlock *block = must_alloc(1, (int64_t)sizeof *block + bytes);
    block->next = pool->blocks;
    pool->blocks = block;
    return block->data;
}

char *pool_format(Pool *pool, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = must_format_args(format, args);
    va_end(args);
    size_t bytes = strlen(text) + 1;
    char *copy = memcpy(pool_alloc(pool, (int64_t)bytes), text, bytes);
    free(text);
    return copy;
}

void pool_free(Pool *pool) {
    for (struct PoolBlock *block = pool->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    pool->blocks = NULL;
}

Node *node_new(Pool *pool, NodeKind kind, const char *key, const Node *origin) {
    Node *node = pool_alloc(pool, sizeof *node);
    node->kind = kind;
    node->key = key;
    if (origin) {
        node->file = origin->file;
        node->line = origin->line;
        node->override = origin->override;
    }
    return node;
}

Node *node_scalar(Pool *pool, const char *key, const char *text, bool plain, const Node *origin) {
    Node *node = node_new(pool, NODE_SCALAR, key, origin);
    node->text = text;
    node->plain = plain;
    return node;
}

void node_append(Node *parent, Node *child) {
    Node **end = &parent->child;
    while (*end) end = &(*end)->next;
    *end = child;
}

Node *node_find(const Node *map, const char *key) {
    if (!map || map->kind != NODE_MAP) return NULL;
    for (Node *child = map->child; child; child = child->next)
        if (!strcmp(child->key, key)) return child;
    return NULL;
}

Node *node_at(const Node *root, const char *path) {
    char key[256];
    for (;;) {
        size_t length = strcspn(path, ".");
        if (length >= sizeof key) return NULL;
        memcpy(key, path, length);
        key[length] = 0;
        Node *node = node_find(root, key);
        if (!node || !path[length]) return node;
        root = node;
        path += length + 1;
    }
}

bool node_is_null(const Node *node) {
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != NODE_SCALAR || !node->plain) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(node->text, words[i])) return true;
    return false;
}

const char *node_place(const Node *node, char to[256]) {
    if (!node->file)
        snprintf(to, 256, "command line");
    else if (node->line)
        snprintf(to, 256, "%.200s:%d", node->file, node->line);
    else
        snprintf(to, 256, "%.200s", node->file);
    return to;
}

static void remove_child(Node *map, const Node *child) {
    Node **at = &map->child;
    while (*at && *at != child) at = &(*at)->next;
    if (*at) *at = child->next;
}

static void merge_child(Pool *pool, Node *under, const Node *child) {
    Node *old = node_find(under, child->key);
    if (node_is_null(child)) {
        if (old) remove_child(under, old);
        return;
    }
    bool into_old = old && old->kind == NODE_MAP && child->kind == NODE_MAP;
    if (!old) node_append(under, old = node_new(pool, child->kind, child->key, child));
    if (!into_old) { /* replaced where it stands, so that the order stays */
        Node *next = old->next;
        *old = *child;
        old->next = next;
        if (child->kind == NODE_MAP) old->child = NULL;
    }
    if (into_old && child->child) /* a mapping comes from where it was changed last */
        old->file = child->file, old->line = child->line, old->override = child->override;
    if (child->kind == NODE_MAP) node_merge(pool, old, child);
}

void node_merge(Pool *pool, Node *under, const Node *over) {
    for (const Node *child = over->child; child; child = child->next) merge_child(pool, under, child);
}
