/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walk over a tree (schema.c), the readers of single values (scalar.c)
 * and the documents (schema_doc.c) share. Private to this room.
 */
#ifndef RL_CONFIG_SCHEMA_PRIV_H
#define RL_CONFIG_SCHEMA_PRIV_H

#include "config/schema.h"
#include "config/value_priv.h"

/* A step of the path to a value; kept in scratch, so that a late check still knows its path. */
struct where {
	const struct where *up;
	rl_str name;
	size_t index; /* of a list's item; SIZE_MAX: by name */
};

/* A section whose check runs after all was read. */
struct pending {
	struct pending *next;
	const struct rl_schema *schema;
	void *object;
	const struct yaml_node *node; /* NULL: the section is not written */
	const struct where *where;
	unsigned line, column;
	uint64_t written; /* bit i: row i stands in the file */
};

struct rl_schema_cx {
	struct rl_arena *arena;  /* for the object */
	struct rl_arena scratch; /* tree, paths, findings: gone after the load */
	const struct rl_schema_hooks *hooks;
	const void *user;
	void *root;
	struct diags diags;
	size_t visits; /* values read; bounds what aliases can multiply */
	bool stop;
	struct pending *first, **tail;
	const struct pending *current; /* during its check */
};

/* A value about to be read. */
struct value {
	const struct rl_schema_row *row;
	struct yaml_node *node;
	const struct where *where;
	char *object; /* the struct that row->at counts from */
};

/* Both report once per node and mark it as failed. */
void rl_schema_fail_value(struct rl_schema_cx *cx, const struct value *v, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void rl_schema_fail_expected(struct rl_schema_cx *cx, const struct value *v);
void rl_schema_nomem(struct rl_schema_cx *cx);
/* Reads a value of a type that has no parts. */
void rl_schema_read_scalar(struct rl_schema_cx *cx, const struct value *v);
void rl_schema_read_json(struct rl_schema_cx *cx, const struct value *v);
/* One element of STRINGS. */
bool rl_schema_read_string(struct rl_schema_cx *cx, const struct value *v, rl_str *out);

const char *rl_schema_type_text(enum rl_schema_type type);
/* "5s", "10MiB": the shortest exact form, in scratch or any arena. */
void rl_schema_format_number(const struct rl_schema_row *row, uint64_t v, struct rl_buf *out);

#endif
