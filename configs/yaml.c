/* yaml.c - YAML text to nodes through libyaml's events, with what a stranger's file may cost capped.
 *
 * Events and not the document API: a limit holds while the text is read (nested brackets cost
 * libyaml quadratic time), and duplicate keys, which YAML forbids and libyaml lets pass, are seen. */
#include "configs/tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "configs/json_text.h"

typedef struct {
    yaml_parser_t parser;
    Pool *pool;
    const char *file;
    int nodes, depth;
    Error *error;
} Reader;

static bool build(Reader *, const yaml_event_t *, Node **);

static const char *place(const Reader *r, size_t line, char to[256]) {
    Node here = {.file = r->file, .line = (int)line + 1};
    return node_place(&here, to);
}

static bool next_event(Reader *r, yaml_event_t *event) {
    if (yaml_parser_parse(&r->parser, event)) return true;
    char buffer[256];
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not readable";
    if (p->error == YAML_READER_ERROR)
        return fail(r->error, "%s: not valid UTF-8 text: %s at byte %zu", r->file ? r->file : "command line", problem,
                    p->problem_offset);
    return fail(r->error, "%s: not valid YAML: %s%s%s", place(r, p->problem_mark.line, buffer), problem,
                p->context ? ", " : "", p->context ? p->context : "");
}

/* The next event as a node; *item stays NULL when the event is the `end` of the list or mapping. */
static bool read_item(Reader *r, yaml_event_type_t end, Node **item) {
    yaml_event_t event;
    *item = NULL;
    if (!next_event(r, &event)) return false;
    bool ok = event.type == end || build(r, &event, item);
    yaml_event_delete(&event);
    return ok;
}

static bool build_list(Reader *r, Node *list) {
    for (Node *item;;) {
        if (!read_item(r, YAML_SEQUENCE_END_EVENT, &item)) return false;
        if (!item) return true;
        node_append(list, item);
    }
}

static bool key_is_usable(Reader *r, const Node *map, const Node *key) {
    char at[256], before[256];
    node_place(key, at);
    if (key->kind != NODE_SCALAR) return fail(r->error, "%s: a key must be a word, not a list or mapping", at);
    if (key->plain && !strcmp(key->text, "<<"))
        return fail(r->error, "%s: merge keys (<<) are not read; write the values out, or use base:", at);
    const Node *old = node_find(map, key->text);
    if (old)
        return fail(r->error, "%s: '%s' is given twice, first at %s; keep one of them", at, key->text,
                    node_place(old, before));
    return true;
}

static bool build_map(Reader *r, Node *map) {
    for (Node *key, *value;;) {
        if (!read_item(r, YAML_MAPPING_END_EVENT, &key)) return false;
        if (!key) return true;
        if (!key_is_usable(r, map, key)) return false;
        if (!read_item(r, YAML_NO_EVENT, &value)) return false;
        value->key = key->text;
        value->line = key->line;
        node_append(map, value);
    }
}

static bool build_scalar(Reader *r, const yaml_event_t *event, Node *node) {
    const char *text = (const char *)event->data.scalar.value;
    char at[256];
    if (strlen(text) != event->data.scalar.length)
        return fail(r->error, "%s: a value holds a NUL character; remove it", node_place(node, at));
    node->text = pool_format(r->pool, "%s", text);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return true;
}

/* Anchors, aliases and tags make a file mean something else than it shows; nothing here needs them. */
static bool is_plain_yaml(Reader *r, const yaml_event_t *event) {
    char at[256];
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) anchor = event->data.scalar.anchor, tag = event->data.scalar.tag;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor, tag = event->data.sequence_start.tag;
    if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor, tag = event->data.mapping_start.tag;
    place(r, event->start_mark.line, at);
    if (event->type == YAML_ALIAS_EVENT || anchor)
        return fail(r->error,
                    "%s: anchors and aliases (& and *) are not read; write the value out, or put it in "
                    "quotes when it starts with & or *",
                    at);
    if (tag)
        return fail(r->error, "%s: tags (%.60s) are not read; write the plain value, or put it in quotes", at,
                    (const char *)tag);
    return true;
}

static bool build_nested(Reader *r, const yaml_event_t *event, Node *node) {
    char at[256];
    if (++r->depth > TREE_MAX_DEPTH)
        return fail(r->error, "%s: nested more than %d deep", node_place(node, at), TREE_MAX_DEPTH);
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    node->kind = is_list ? NODE_LIST : NODE_MAP;
    bool ok = is_list ? build_list(r, node) : build_map(r, node);
    r->depth--;
    return ok;
}

static bool build(Reader *r, const yaml_event_t *event, Node **item) {
    if (!is_plain_yaml(r, event)) return false;
    Node origin = {.file = r->file, .line = (int)event->start_mark.line + 1};
    Node *node = *item = node_new(r->pool, NODE_SCALAR, NULL, &origin);
    char at[256];
    if (++r->nodes > TREE_MAX_NODES)
        return fail(r->error, "%s: more than %d values; a configuration has no use for them", node_place(node, at),
                    TREE_MAX_NODES);
    return event->type == YAML_SCALAR_EVENT ? build_scalar(r, event, node) : build_nested(r, event, node);
}

static bool expect_event(Reader *r, yaml_event_type_t type, const char *otherwise) {
    yaml_event_t event;
    if (!next_event(r, &event)) return false;
    char at[256];
    bool ok = event.type == type;
    if (!ok) fail(r->error, "%s: %s", place(r, event.start_mark.line, at), otherwise);
    yaml_event_delete(&event);
    return ok;
}

Node *yaml_parse(Pool *pool, const char *text, int64_t bytes, const char *file, Error *error) {
    Reader r = {.pool = pool, .file = file, .error = error};
    Node *root = NULL;
    check(yaml_parser_initialize(&r.parser), "out of memory for the YAML reader");
    int64_t mark = text_mark(text, bytes); /* libyaml would count it as a column */
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text + mark, (size_t)(bytes - mark));
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    bool ok = expect_event(&r, YAML_STREAM_START_EVENT, "no YAML here") &&
              expect_event(&r, YAML_DOCUMENT_START_EVENT, "nothing is written here; `dsv2 help` lists the keys") &&
              read_item(&r, YAML_NO_EVENT, &root) &&
              expect_event(&r, YAML_DOCUMENT_END_EVENT, "text after the end") &&
              expect_event(&r, YAML_STREAM_END_EVENT, "a second document (---) starts here; keep one");
    yaml_parser_delete(&r.parser);
    return ok ? root : NULL;
}

char *file_read(Pool *pool, const char *file, int64_t *bytes, Error *error) {
    FILE *f = fopen(file, "rb");
    if (!f) {
        fail(error, "%s: cannot be opened: %s", file, strerror(errno));
        return NULL;
    }
    char *text = pool_alloc(pool, TREE_MAX_BYTES + 2);
    *bytes = (int64_t)fread(text, 1, TREE_MAX_BYTES + 1, f);
    if (ferror(f)) {
        fail(error, "%s: cannot be read: %s", file, strerror(errno));
        text = NULL;
    } else if (*bytes > TREE_MAX_BYTES) {
        fail(error, "%s: larger than %d KiB; this is no configuration", file, TREE_MAX_BYTES >> 10);
        text = NULL;
    }
    fclose(f);
    return text;
}
