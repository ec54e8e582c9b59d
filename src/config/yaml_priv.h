/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML document as a tree of nodes that know where they stand in the file.
 * Private to this room. libfyaml scans and parses; the tree, anchors, aliases and
 * merge keys (<<) are done here from its events, because its own document builder
 * stops at the first duplicate key, marks only scalars, and copies what an alias
 * names (an alias bomb takes all memory). Here an alias is a pointer to the node
 * it names, so a tree is never larger than its text; only merges copy, and they
 * are counted. A tree may therefore be a graph, but never with a cycle.
 */
#ifndef RL_CONFIG_YAML_H
#define RL_CONFIG_YAML_H

#include "config/diag_priv.h"

#define YAML_TEXT_MAX (1024u * 1024u) /* bytes of a file */
#define YAML_DEPTH_MAX 64u            /* nesting as written; through aliases it can be deeper */
#define YAML_ENTRIES_MAX 200000u      /* of all maps and lists together, merged ones included */

enum yaml_kind { YAML_SCALAR = 0, YAML_MAP, YAML_LIST };

struct yaml_node {
	enum yaml_kind kind;
	bool plain;  /* a scalar without quotes: may be null, a number, true or false */
	bool failed; /* an error was already reported for it */
	unsigned line, column;
	rl_str text;                /* of a scalar: UTF-8, without NUL bytes */
	struct yaml_entry *entries; /* of a map or list */
	size_t n;
};

struct yaml_entry {
	rl_str key;            /* empty in a list */
	unsigned line, column; /* of the key; in a list, of the item */
	struct yaml_node *value;
};

/*
 * Parses one document. All errors go to `diags`. NULL when there is no tree: broken
 * syntax, a bound exceeded, or no memory (diags->nomem). A key written twice or a tag
 * is an error too, but leaves a tree, so that the rest can be checked in the same pass.
 * An empty file gives a plain empty scalar (null).
 */
struct yaml_node *rl_yaml_parse(rl_str text, struct rl_arena *arena, struct diags *diags);
/* Nothing, ~ or null, without quotes. */
bool rl_yaml_is_null(const struct yaml_node *node);
/* Whether s is UTF-8 (RFC 3629) without NUL bytes. */
bool rl_yaml_text_ok(rl_str s);

#endif
