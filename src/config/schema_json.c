/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON Schema (draft 2020-12) of a table of rows, for editors. It is a little
 * stricter than the loader where YAML is lenient (a quoted number), and knows that
 * any scalar may be a variable. Names, ranges and words come from the rows.
 */
#include "config/schema_priv.h"

#include <assert.h>

/* Writes JSON with two spaces of indentation a level. */
struct writer {
	struct rl_buf *out;
	unsigned depth;
	bool first; /* nothing stands yet between the last opened bracket and here */
	bool named; /* a member's name was just written: its value follows on the line */
};

static void next(struct writer *w)
{
	if (w->named) {
		w->named = false;
		return;
	}
	if (!w->first)
		rl_buf_byte(w->out, ',');
	if (w->depth)
		rl_buf_byte(w->out, '\n');
	for (unsigned i = 0; i < w->depth; i++)
		RL_BUF_LIT(w->out, "  ");
	w->first = false;
}

static void open(struct writer *w, char bracket)
{
	next(w);
	rl_buf_byte(w->out, bracket);
	w->depth++;
	w->first = true;
}

static void close(struct writer *w, char bracket)
{
	bool empty = w->first;

	w->depth--;
	if (!empty) {
		rl_buf_byte(w->out, '\n');
		for (unsigned i = 0; i < w->depth; i++)
			RL_BUF_LIT(w->out, "  ");
	}
	rl_buf_byte(w->out, bracket);
	w->first = false;
}

static void name(struct writer *w, const char *text)
{
	next(w);
	rl_buf_json(w->out, rl_str_of(text));
	RL_BUF_LIT(w->out, ": ");
	w->named = true;
}

static void string(struct writer *w, const char *text)
{
	next(w);
	rl_buf_json(w->out, rl_str_of(text));
}

static void raw(struct writer *w, const char *text)
{
	next(w);
	rl_buf_add(w->out, rl_str_of(text));
}

static void member(struct writer *w, const char *key, const char *text)
{
	name(w, key);
	string(w, text);
}

static void number(struct writer *w, const char *key, uint64_t v)
{
	name(w, key);
	next(w);
	rl_buf_u64(w->out, v);
}

/* {"type": "string", "pattern": ...} */
static void pattern(struct writer *w, const char *text)
{
	open(w, '{');
	member(w, "type", "string");
	member(w, "pattern", text);
	close(w, '}');
}

#define VARIABLE "\\$\\{"

static void schema_section(struct writer *w, const struct rl_schema *schema);

static void number_form(struct writer *w, const struct rl_schema_row *row, const char *type)
{
	open(w, '{');
	member(w, "type", type);
	number(w, "minimum", row->min);
	if (row->max)
		number(w, "maximum", row->max);
	close(w, '}');
}

static void words_form(struct writer *w, const struct rl_schema_row *row)
{
	open(w, '{');
	name(w, "enum");
	open(w, '[');
	for (size_t i = 0; row->words[i]; i++)
		string(w, row->words[i]);
	close(w, ']');
	close(w, '}');
}

static void const_form(struct writer *w, const char *value)
{
	open(w, '{');
	name(w, "const");
	raw(w, value);
	close(w, '}');
}

/* The forms that a scalar may take, inside "anyOf". */
static void scalar_forms(struct writer *w, const struct rl_schema_row *row)
{
	switch (row->type) {
	case RL_SCHEMA_BOOL:
		open(w, '{');
		member(w, "type", "boolean");
		close(w, '}');
		break;
	case RL_SCHEMA_INT:
		number_form(w, row, "integer");
		break;
	case RL_SCHEMA_RATIO:
		number_form(w, row, "number");
		pattern(w, "^[0-9]+(\\.[0-9]+)?%$");
		break;
	case RL_SCHEMA_ENUM:
	case RL_SCHEMA_WORD:
		words_form(w, row);
		break;
	case RL_SCHEMA_DURATION:
		pattern(w, "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$");
		if (!row->min)
			const_form(w, "0");
		break;
	case RL_SCHEMA_SIZE:
		number_form(w, row, "integer");
		pattern(w, "^[0-9]+(\\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)?$");
		break;
	case RL_SCHEMA_NONE:
	case RL_SCHEMA_STRING:
	case RL_SCHEMA_SECRET:
	case RL_SCHEMA_CUSTOM:
	case RL_SCHEMA_JSON:
	case RL_SCHEMA_STRINGS:
	case RL_SCHEMA_SECTION:
	case RL_SCHEMA_LIST:
	case RL_SCHEMA_MAP:
		assert(row->type == RL_SCHEMA_BOOL);
	}
	if (row->flags & RL_SCHEMA_AUTO)
		const_form(w, "\"auto\"");
	pattern(w, VARIABLE);
}

/* YAML takes a bare 4.1 or true for something else than text; the loader does not mind. */
static void text_type(struct writer *w)
{
	name(w, "type");
	open(w, '[');
	string(w, "string");
	string(w, "number");
	string(w, "boolean");
	close(w, ']');
}

/* What an element of a list or an entry of a map looks like. */
static void element_form(struct writer *w, const struct rl_schema_row *row)
{
	const struct rl_schema *child = row->child;

	open(w, '{');
	if (!child) {
		text_type(w);
		number(w, "minLength", 1);
	} else if (child->scalar_only) {
		if (child->rows[0].type != RL_SCHEMA_JSON)
			text_type(w);
	} else if (child->scalar) {
		name(w, "anyOf");
		open(w, '[');
		open(w, '{');
		member(w, "type", "string");
		close(w, '}');
		open(w, '{');
		schema_section(w, child);
		close(w, '}');
		close(w, ']');
	} else {
		schema_section(w, child);
	}
	close(w, '}');
}

static void list_members(struct writer *w, const struct rl_schema_row *row)
{
	name(w, "type");
	if (row->min) {
		string(w, "array");
	} else {
		open(w, '[');
		string(w, "array");
		string(w, "null");
		close(w, ']');
	}
	name(w, "items");
	element_form(w, row);
	if (row->min)
		number(w, "minItems", row->min);
	if (row->max)
		number(w, "maxItems", row->max);
}

/* A default of several values is written in YAML's flow style: read it, and write it as JSON. */
static void default_list(struct writer *w, const char *initial)
{
	struct rl_arena scratch;
	struct diags diags;

	rl_arena_init(&scratch, 65536);
	rl_diags_init(&diags, &scratch);
	const struct yaml_node *node = rl_yaml_parse(rl_str_of(initial), &scratch, &diags);

	open(w, '[');
	for (size_t i = 0; node && i < node->n; i++)
		string(w, rl_arena_dup(&scratch, node->entries[i].value->text).p);
	close(w, ']');
	rl_arena_fini(&scratch);
}

static void default_member(struct writer *w, const struct rl_schema_row *row)
{
	if (!row->initial)
		return;
	name(w, "default");
	if (row->type == RL_SCHEMA_LIST || row->type == RL_SCHEMA_STRINGS) {
		default_list(w, row->initial);
		return;
	}
	next(w);
	rl_value_scalar_json(rl_str_of(row->initial),
			     row->type == RL_SCHEMA_INT || row->type == RL_SCHEMA_BOOL || row->type == RL_SCHEMA_RATIO,
			     w->out);
}

static void list_forms(struct writer *w, const struct rl_schema_row *row)
{
	if (!(row->flags & RL_SCHEMA_ONE_OR_MANY)) {
		list_members(w, row);
		return;
	}
	name(w, "anyOf");
	open(w, '[');
	element_form(w, row);
	open(w, '{');
	list_members(w, row);
	close(w, '}');
	close(w, ']');
}

static void map_members(struct writer *w, const struct rl_schema_row *row)
{
	name(w, "type");
	open(w, '[');
	string(w, "object");
	string(w, "null");
	close(w, ']');
	name(w, "additionalProperties");
	element_form(w, row);
	if (row->max)
		number(w, "maxProperties", row->max);
}

static void string_members(struct writer *w, const struct rl_schema_row *row)
{
	if (row->type == RL_SCHEMA_STRING)
		text_type(w);
	else
		member(w, "type", "string");
	if (row->type == RL_SCHEMA_STRING && row->min)
		number(w, "minLength", row->min);
}

static void schema_row(struct writer *w, const struct rl_schema_row *row)
{
	name(w, row->key);
	open(w, '{');
	member(w, "description", row->doc);
	default_member(w, row);
	switch (row->type) {
	case RL_SCHEMA_SECTION:
		schema_section(w, row->child);
		break;
	case RL_SCHEMA_LIST:
	case RL_SCHEMA_STRINGS:
		list_forms(w, row);
		break;
	case RL_SCHEMA_MAP:
		map_members(w, row);
		break;
	case RL_SCHEMA_STRING:
	case RL_SCHEMA_SECRET:
	case RL_SCHEMA_CUSTOM:
		string_members(w, row);
		break;
	case RL_SCHEMA_NONE:
	case RL_SCHEMA_JSON:
		break;
	case RL_SCHEMA_BOOL:
	case RL_SCHEMA_INT:
	case RL_SCHEMA_RATIO:
	case RL_SCHEMA_ENUM:
	case RL_SCHEMA_WORD:
	case RL_SCHEMA_DURATION:
	case RL_SCHEMA_SIZE:
		name(w, "anyOf");
		open(w, '[');
		scalar_forms(w, row);
		close(w, ']');
		break;
	}
	close(w, '}');
}

/* The members that describe a map of keys; the caller wrote the bracket. */
static void schema_section(struct writer *w, const struct rl_schema *schema)
{
	bool required = false;

	name(w, "type");
	open(w, '[');
	string(w, "object");
	string(w, "null");
	close(w, ']');
	name(w, "additionalProperties");
	raw(w, "false");
	if (schema->extensions) {
		name(w, "patternProperties");
		open(w, '{');
		name(w, "^x-");
		raw(w, "true");
		close(w, '}');
	}
	name(w, "properties");
	open(w, '{');
	for (size_t i = 0; i < schema->n_rows; i++) {
		schema_row(w, &schema->rows[i]);
		required |= schema->rows[i].flags & RL_SCHEMA_REQUIRED;
	}
	close(w, '}');
	if (!required)
		return;
	name(w, "required");
	open(w, '[');
	for (size_t i = 0; i < schema->n_rows; i++)
		if (schema->rows[i].flags & RL_SCHEMA_REQUIRED)
			string(w, schema->rows[i].key);
	close(w, ']');
}

void rl_schema_json(const struct rl_schema *root, const char *title, struct rl_buf *out)
{
	struct writer w = {.out = out, .first = true};

	open(&w, '{');
	member(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
	member(&w, "title", title);
	member(&w, "description", root->doc);
	schema_section(&w, root);
	close(&w, '}');
	rl_buf_byte(out, '\n');
}
