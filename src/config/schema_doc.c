/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents that a table of rows tells by itself: a reference in Markdown and an
 * example file (schema_json.c makes the JSON Schema). Nothing here is on the way
 * of a load.
 */
#include "config/schema_priv.h"

#include <stdio.h>

#define WRAP_COLUMNS 100u
#define PATH_BYTES 256u

/* --- reference --- */

static void write_bound(const struct rl_schema_row *row, uint64_t v, struct rl_buf *out)
{
	rl_schema_format_number(row, v, out);
}

static bool is_number(const struct rl_schema_row *row)
{
	return row->type == RL_SCHEMA_INT || row->type == RL_SCHEMA_RATIO || row->type == RL_SCHEMA_DURATION ||
	       row->type == RL_SCHEMA_SIZE;
}

static void write_type(const struct rl_schema_row *row, struct rl_buf *out)
{
	if (row->type_text) {
		rl_buf_add(out, rl_str_of(row->type_text));
		return;
	}
	for (size_t i = 0; row->words && row->words[i]; i++)
		rl_buf_printf(out, "%s`%s`", !i ? "" : row->words[i + 1] ? ", " : " or ", row->words[i]);
	if (row->words)
		return;
	rl_buf_add(out, rl_str_of(rl_schema_type_text(row->type)));
	if (is_number(row) && row->max) {
		RL_BUF_LIT(out, ", ");
		write_bound(row, row->min, out);
		RL_BUF_LIT(out, " to ");
		write_bound(row, row->max, out);
	}
	if (row->flags & RL_SCHEMA_AUTO)
		RL_BUF_LIT(out, ", or `auto`");
}

/* A row whose parts have a table of their own. */
static bool has_parts(const struct rl_schema_row *row)
{
	return row->child && !row->child->scalar_only;
}

static void write_row(const struct rl_schema_row *row, struct rl_buf *out)
{
	rl_buf_printf(out, "| `%s` | ", row->key);
	write_type(row, out);
	if (row->flags & RL_SCHEMA_REQUIRED)
		RL_BUF_LIT(out, " | *required*");
	else if (row->initial)
		rl_buf_printf(out, " | `%s`", row->initial);
	else
		RL_BUF_LIT(out, " | ");
	rl_buf_printf(out, " | %s |\n", row->doc);
}

static void reference_section(const struct rl_schema *schema, const char *path, unsigned level, struct rl_buf *out)
{
	if (*path) {
		rl_buf_byte(out, '\n');
		for (unsigned i = 0; i < level; i++)
			rl_buf_byte(out, '#');
		rl_buf_printf(out, " `%s`\n\n", path);
	}
	rl_buf_printf(out, "%s\n\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n", schema->doc);
	for (size_t i = 0; i < schema->n_rows; i++)
		write_row(&schema->rows[i], out);
	for (size_t i = 0; i < schema->n_rows; i++) {
		const struct rl_schema_row *row = &schema->rows[i];
		char below[PATH_BYTES];

		if (!has_parts(row))
			continue;
		snprintf(below, sizeof below, "%s%s%s%s", path, *path ? "." : "", row->key,
			 row->type == RL_SCHEMA_LIST  ? "[]"
			 : row->type == RL_SCHEMA_MAP ? ".<name>"
						      : "");
		reference_section(row->child, below, *path ? 3 : 2, out);
	}
}

void rl_schema_reference(const struct rl_schema *root, struct rl_buf *out)
{
	reference_section(root, "", 2, out);
}

/* --- example --- */

/* Where a line of the example begins: at `indent`, commented out from column `aside` on (SIZE_MAX: not). */
struct margin {
	size_t indent, aside;
};

static void spaces(struct rl_buf *out, size_t n)
{
	while (n--)
		rl_buf_byte(out, ' ');
}

static void margin_write(struct margin m, struct rl_buf *out)
{
	if (m.aside == SIZE_MAX) {
		spaces(out, m.indent);
		return;
	}
	spaces(out, m.aside);
	RL_BUF_LIT(out, "# ");
	spaces(out, m.indent - m.aside);
}

/* The row's sentence as comment lines. */
static void comment_write(struct margin m, const char *text, struct rl_buf *out)
{
	rl_str rest = rl_str_of(text);

	while (rest.n) {
		size_t n = rest.n;

		if (n > WRAP_COLUMNS) {
			for (n = WRAP_COLUMNS; n && rest.p[n] != ' ';)
				n--;
			n = n ? n : WRAP_COLUMNS;
		}
		margin_write(m, out);
		RL_BUF_LIT(out, "# ");
		rl_buf_add(out, rl_str_sub(rest, 0, n));
		rl_buf_byte(out, '\n');
		rest = rl_str_trim(rl_str_sub(rest, n, rest.n));
	}
}

static void example_section(const struct rl_schema *schema, struct margin m, struct rl_buf *out);

static const char *placeholder(const struct rl_schema_row *row)
{
	if (row->example)
		return row->example;
	if (row->initial)
		return row->initial;
	return row->type == RL_SCHEMA_STRINGS || row->type == RL_SCHEMA_LIST ? "[]"
	       : row->type == RL_SCHEMA_MAP                                  ? "{}"
									     : "\"\"";
}

/* A row that is shown with its parts, not as one value. */
static bool shown_in_parts(const struct rl_schema_row *row)
{
	return has_parts(row) && !row->initial;
}

static void example_row(const struct rl_schema_row *row, struct margin m, struct rl_buf *out)
{
	bool parts = shown_in_parts(row);
	bool aside = (row->flags & RL_SCHEMA_ASIDE) || (!parts && !row->example);

	comment_write(m, row->doc, out);
	/* Never commented out twice: the whole block becomes right when one sign is taken away. */
	if (aside && m.aside == SIZE_MAX)
		m.aside = m.indent;
	margin_write(m, out);
	if (!parts) {
		rl_buf_printf(out, "%s: %s\n", row->key, placeholder(row));
		return;
	}
	rl_buf_printf(out, "%s:\n", row->key);
	m.indent += 2;
	if (row->type != RL_SCHEMA_SECTION) {
		margin_write(m, out);
		if (row->type == RL_SCHEMA_MAP)
			rl_buf_printf(out, "%s:\n", row->example);
		else
			RL_BUF_LIT(out, "-\n");
		m.indent += 2;
	}
	example_section(row->child, m, out);
}

static void example_section(const struct rl_schema *schema, struct margin m, struct rl_buf *out)
{
	for (size_t i = 0; i < schema->n_rows; i++) {
		if (!m.indent && i)
			rl_buf_byte(out, '\n');
		example_row(&schema->rows[i], m, out);
	}
}

void rl_schema_example(const struct rl_schema *root, struct rl_buf *out)
{
	example_section(root, (struct margin){0, SIZE_MAX}, out);
}
