/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a file's tree along a table of rows (see schema.h): sections,
 * lists and maps, defaults, unknown and missing keys, and the checks at the end.
 * Recursion is bounded by the table's own depth, work by VISITS_MAX.
 */
#include "config/schema_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define VISITS_MAX 200000u
#define SCRATCH_MAX_BYTES (128u * 1024 * 1024)
#define KNOWN_LISTED_MAX 10u /* keys named when none is near an unknown one */
#define MESSAGE_MAX_BYTES 1024u

static void read_value(struct rl_schema_cx *cx, const struct value *v);

void rl_schema_nomem(struct rl_schema_cx *cx)
{
	cx->diags.nomem = true;
	cx->stop = true;
}

static void path_write(struct rl_schema_cx *cx, const struct where *where, struct rl_buf *out)
{
	if (!where)
		return;
	path_write(cx, where->up, out);
	if (where->index != SIZE_MAX) {
		rl_buf_printf(out, "[%zu]", where->index);
		return;
	}
	if (out->n)
		rl_buf_byte(out, '.');
	rl_buf_add(out, rl_diags_printable(&cx->scratch, where->name));
}

__attribute__((format(printf, 7, 0))) static void report(struct rl_schema_cx *cx, bool warning, unsigned line,
							 unsigned column, const struct where *where, const char *key,
							 const char *format, va_list ap)
{
	char what[MESSAGE_MAX_BYTES];
	struct rl_buf path;

	rl_buf_init(&path, MESSAGE_MAX_BYTES);
	path_write(cx, where, &path);
	if (key)
		rl_buf_printf(&path, "%s%s", path.n ? "." : "", key);
	vsnprintf(what, sizeof what, format, ap);
	rl_diags_add(&cx->diags, warning, line, column, rl_buf_str(&path), rl_str_of(what));
	rl_buf_fini(&path);
}

__attribute__((format(printf, 5, 6))) static void fail_at(struct rl_schema_cx *cx, unsigned line, unsigned column,
							  const struct where *where, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report(cx, false, line, column, where, NULL, format, ap);
	va_end(ap);
}

void rl_schema_fail_value(struct rl_schema_cx *cx, const struct value *v, const char *format, ...)
{
	va_list ap;

	v->node->failed = true;
	va_start(ap, format);
	report(cx, false, v->node->line, v->node->column, v->where, NULL, format, ap);
	va_end(ap);
}

static const struct where *step(struct rl_schema_cx *cx, const struct where *up, rl_str name, size_t index)
{
	struct where *where = RL_NEW(&cx->scratch, struct where);

	if (!where) {
		rl_schema_nomem(cx);
		return up;
	}
	*where = (struct where){.up = up, .name = name, .index = index};
	return where;
}

/* --- slips of the pen --- */

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edit distance with swaps of neighbours as one step (optimal string alignment). */
static size_t distance(rl_str a, rl_str b)
{
	enum { LONGEST = 40 };
	size_t rows[3][LONGEST + 1];
	size_t *before = rows[0], *last = rows[1], *now = rows[2];

	if (a.n > LONGEST || b.n > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.n; j++)
		last[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t cost = a.p[i - 1] != b.p[j - 1];

			now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
				now[j] = smallest(now[j], before[j - 2] + 1, SIZE_MAX);
		}
		size_t *spare = before;

		before = last;
		last = now;
		now = spare;
	}
	return last[b.n];
}

rl_str rl_schema_nearest(rl_str to, const rl_str *names, size_t n_names)
{
	rl_str best = {NULL, 0};
	size_t least = to.n / 3 + 1;

	for (size_t i = 0; i < n_names; i++) {
		size_t d = distance(to, names[i]);

		if (d < least || (d == least && !best.p && d < names[i].n)) {
			best = names[i];
			least = d;
		}
	}
	return best;
}

/* --- sections --- */

static const struct rl_schema_row *row_find(const struct rl_schema *schema, rl_str key)
{
	for (size_t i = 0; i < schema->n_rows; i++)
		if (rl_str_eq(key, rl_str_of(schema->rows[i].key)))
			return &schema->rows[i];
	return NULL;
}

static void fail_unknown_key(struct rl_schema_cx *cx, const struct rl_schema *schema, const struct yaml_entry *entry,
			     const struct where *where)
{
	rl_str names[64];
	struct rl_buf known;

	assert(schema->n_rows <= 64);
	for (size_t i = 0; i < schema->n_rows; i++)
		names[i] = rl_str_of(schema->rows[i].key);
	rl_str near = rl_schema_nearest(entry->key, names, schema->n_rows);

	if (near.p) {
		fail_at(cx, entry->line, entry->column, where, "unknown key, did you mean '%.*s'?", RL_STR_ARG(near));
		return;
	}
	rl_buf_init(&known, MESSAGE_MAX_BYTES);
	for (size_t i = 0; i < schema->n_rows && schema->n_rows <= KNOWN_LISTED_MAX; i++)
		rl_buf_printf(&known, "%s%s", i ? ", " : ", known here: ", schema->rows[i].key);
	fail_at(cx, entry->line, entry->column, where, "unknown key%.*s", RL_STR_ARG(rl_buf_str(&known)));
	rl_buf_fini(&known);
}

/* A default of several values: read as YAML, standing nowhere in the file. */
static void read_default_list(struct rl_schema_cx *cx, const struct rl_schema_row *row, void *object)
{
	struct yaml_node *node = rl_yaml_parse(rl_str_of(row->initial), &cx->scratch, &cx->diags);

	if (!node) {
		rl_schema_nomem(cx);
		return;
	}
	node->line = node->column = 0;
	for (size_t i = 0; i < node->n; i++)
		node->entries[i].value->line = node->entries[i].value->column = 0;
	read_value(cx, &(struct value){row, node, step(cx, NULL, rl_str_of(row->key), SIZE_MAX), object});
}

/* Takes no memory for a single value (rl_schema_defaults relies on it). */
static void read_default(struct rl_schema_cx *cx, const struct rl_schema_row *row, void *object)
{
	struct yaml_node node = {.text = rl_str_of(row->initial)};
	struct where where = {.name = rl_str_of(row->key), .index = SIZE_MAX};

	if (!row->initial)
		return;
	if (row->type == RL_SCHEMA_LIST || row->type == RL_SCHEMA_STRINGS)
		read_default_list(cx, row, object);
	else
		read_value(cx, &(struct value){row, &node, &where, object});
}

void rl_schema_defaults(const struct rl_schema *schema, void *object)
{
	struct rl_schema_cx cx = {.hooks = &rl_schema_system, .root = object};

	rl_arena_init(&cx.scratch, SCRATCH_MAX_BYTES);
	rl_diags_init(&cx.diags, &cx.scratch);
	for (size_t i = 0; i < schema->n_rows; i++) {
		const struct rl_schema_row *row = &schema->rows[i];

		assert(!row->initial || (row->type != RL_SCHEMA_LIST && row->type != RL_SCHEMA_STRINGS));
		if (row->type == RL_SCHEMA_SECTION)
			rl_schema_defaults(row->child, (char *)object + row->at);
		else
			read_default(&cx, row, object);
	}
	/* A table whose own defaults are wrong is a mistake in the program. */
	assert(!cx.diags.n && !cx.scratch.used_bytes);
	rl_arena_fini(&cx.scratch);
}

static void add_pending(struct rl_schema_cx *cx, struct pending found)
{
	struct pending *pending;

	if (!found.schema->check)
		return;
	pending = RL_NEW(&cx->scratch, struct pending);
	if (!pending) {
		rl_schema_nomem(cx);
		return;
	}
	*pending = found;
	*cx->tail = pending;
	cx->tail = &pending->next;
}

static uint64_t read_entries(struct rl_schema_cx *cx, struct pending *section)
{
	const struct rl_schema *schema = section->schema;
	uint64_t written = 0;

	for (size_t i = 0; section->node && i < section->node->n && !cx->stop; i++) {
		const struct yaml_entry *entry = &section->node->entries[i];
		const struct rl_schema_row *row = row_find(schema, entry->key);
		const struct where *where = step(cx, section->where, entry->key, SIZE_MAX);

		if (row) {
			written |= UINT64_C(1) << (row - schema->rows);
			/* The key is where a section that lacks something is to be mended. */
			if (row->type == RL_SCHEMA_SECTION && entry->value->kind == YAML_MAP)
				entry->value->line = entry->line, entry->value->column = entry->column;
			read_value(cx, &(struct value){row, entry->value, where, section->object});
		} else if (!schema->extensions || !rl_str_starts(entry->key, RL_STR("x-"))) {
			fail_unknown_key(cx, schema, entry, where);
		}
	}
	return written;
}

/* Reads a map of keys; section->node NULL leaves everything at its default. */
static void read_section(struct rl_schema_cx *cx, struct pending section)
{
	const struct rl_schema *schema = section.schema;

	assert(schema->n_rows <= 64);
	for (size_t i = 0; i < schema->n_rows; i++)
		read_default(cx, &schema->rows[i], section.object);
	section.written = read_entries(cx, &section);
	for (size_t i = 0; i < schema->n_rows && !cx->stop; i++) {
		const struct rl_schema_row *row = &schema->rows[i];

		if (section.written & UINT64_C(1) << i)
			continue;
		if (row->type == RL_SCHEMA_SECTION)
			read_section(cx,
				     (struct pending){.schema = row->child,
						      .object = (char *)section.object + row->at,
						      .where = step(cx, section.where, rl_str_of(row->key), SIZE_MAX)});
		else if ((row->flags & RL_SCHEMA_REQUIRED) && section.node)
			fail_at(cx, section.line, section.column, section.where, "missing key '%s'", row->key);
	}
	add_pending(cx, section);
}

/* A section as a value, an item or an entry: also in its short form, a value alone. */
static void read_section_value(struct rl_schema_cx *cx, const struct value *v, const struct rl_schema *schema,
			       void *object)
{
	struct pending section = {
		.schema = schema,
		.object = object,
		.where = v->where,
		.line = v->node->line,
		.column = v->node->column,
	};
	const struct rl_schema_row *row = schema->scalar ? row_find(schema, rl_str_of(schema->scalar)) : NULL;

	if (schema->position_at) {
		unsigned at[2] = {v->node->line, v->node->column};

		memcpy((char *)object + schema->position_at - 1, at, sizeof at);
	}
	if (row && (schema->scalar_only || (v->node->kind == YAML_SCALAR && !rl_yaml_is_null(v->node)))) {
		for (size_t i = 0; i < schema->n_rows; i++)
			read_default(cx, &schema->rows[i], object);
		section.written = UINT64_C(1) << (row - schema->rows);
		read_value(cx, &(struct value){row, v->node, v->where, object});
		add_pending(cx, section);
	} else if (v->node->kind == YAML_MAP || rl_yaml_is_null(v->node)) {
		section.node = v->node;
		read_section(cx, section);
	} else {
		rl_schema_fail_expected(cx, v);
	}
}

/* --- lists and maps --- */

/* Memory for n elements behind the row's pointer, and n in its count. */
static char *make_array(struct rl_schema_cx *cx, const struct value *v, size_t n, size_t size)
{
	char *array = n ? rl_schema_alloc(cx, n, size) : NULL;

	assert(v->row->size == sizeof array);
	if (n && !array)
		n = 0;
	memcpy(v->object + v->row->at, &array, sizeof array);
	memcpy(v->object + v->row->count_at, &n, sizeof n);
	return array;
}

static bool count_ok(struct rl_schema_cx *cx, const struct value *v, size_t n)
{
	if (n < v->row->min)
		rl_schema_fail_value(cx, v, "needs at least %s", v->row->min == 1 ? "one entry" : "more entries");
	else if (v->row->max && n > v->row->max)
		rl_schema_fail_value(cx, v, "holds at most %llu entries", (unsigned long long)v->row->max);
	else
		return true;
	return false;
}

static void read_element(struct rl_schema_cx *cx, const struct value *v, char *array, size_t i)
{
	const struct rl_schema *child = v->row->child;

	if (child)
		read_section_value(cx, v, child, array + i * child->size);
	else if (!rl_schema_read_string(cx, v, (rl_str *)(void *)array + i))
		((rl_str *)(void *)array)[i] = rl_str_of("");
}

static void read_list(struct rl_schema_cx *cx, const struct value *v)
{
	size_t element = v->row->child ? v->row->child->size : sizeof(rl_str);
	bool one = v->node->kind != YAML_LIST;

	if (one && rl_yaml_is_null(v->node)) {
		if (v->row->min)
			count_ok(cx, v, 0);
		return;
	}
	if (one && !(v->row->flags & RL_SCHEMA_ONE_OR_MANY)) {
		rl_schema_fail_expected(cx, v);
		return;
	}
	size_t n = one ? 1 : v->node->n;

	if (!count_ok(cx, v, n))
		return;
	char *array = make_array(cx, v, n, element);

	for (size_t i = 0; array && i < n && !cx->stop; i++) {
		if (one) {
			read_element(cx, v, array, i);
			continue;
		}
		struct value item = {v->row, v->node->entries[i].value, step(cx, v->where, rl_str_of(""), i), NULL};

		read_element(cx, &item, array, i);
	}
}

static void read_map(struct rl_schema_cx *cx, const struct value *v)
{
	const struct rl_schema *child = v->row->child;

	if (rl_yaml_is_null(v->node))
		return;
	if (v->node->kind != YAML_MAP) {
		rl_schema_fail_expected(cx, v);
		return;
	}
	if (!count_ok(cx, v, v->node->n))
		return;
	char *array = make_array(cx, v, v->node->n, child->size);

	for (size_t i = 0; array && i < v->node->n && !cx->stop; i++) {
		const struct yaml_entry *entry = &v->node->entries[i];
		char *object = array + i * child->size;
		rl_str name = rl_arena_dup(cx->arena, entry->key);
		struct value item = {v->row, entry->value, step(cx, v->where, entry->key, SIZE_MAX), NULL};
		const char *wrong = child->check_name ? child->check_name(entry->key) : NULL;

		if (!name.p) {
			rl_schema_nomem(cx);
			return;
		}
		if (wrong)
			fail_at(cx, entry->line, entry->column, item.where, "%s", wrong);
		memcpy(object + child->name_at - 1, &name, sizeof name);
		if (!child->scalar_only && entry->value->kind == YAML_MAP)
			entry->value->line = entry->line, entry->value->column = entry->column;
		read_section_value(cx, &item, child, object);
	}
}

static void read_value(struct rl_schema_cx *cx, const struct value *v)
{
	if (++cx->visits > VISITS_MAX && !cx->stop) {
		cx->stop = true;
		rl_schema_fail_value(cx, v, "the file holds too many values (do aliases multiply them?)");
	}
	if (cx->stop)
		return;
	switch (v->row->type) {
	case RL_SCHEMA_SECTION:
		read_section_value(cx, v, v->row->child, v->object + v->row->at);
		return;
	case RL_SCHEMA_LIST:
	case RL_SCHEMA_STRINGS:
		read_list(cx, v);
		return;
	case RL_SCHEMA_MAP:
		read_map(cx, v);
		return;
	case RL_SCHEMA_JSON:
		rl_schema_read_json(cx, v);
		return;
	case RL_SCHEMA_NONE:
	case RL_SCHEMA_BOOL:
	case RL_SCHEMA_INT:
	case RL_SCHEMA_RATIO:
	case RL_SCHEMA_STRING:
	case RL_SCHEMA_ENUM:
	case RL_SCHEMA_WORD:
	case RL_SCHEMA_DURATION:
	case RL_SCHEMA_SIZE:
	case RL_SCHEMA_SECRET:
	case RL_SCHEMA_CUSTOM:
		break;
	}
	rl_schema_read_scalar(cx, v);
}

/* --- for the checks --- */

/* The entry that "key" or "key[3]" names in the section under check; NULL when it is not written. */
static struct yaml_node *locate(const struct rl_schema_cx *cx, const char *key)
{
	const struct yaml_node *section = cx->current->node;
	rl_str rest = rl_str_of(key), name = rl_str_cut(&rest, '[');
	uint64_t index;

	for (size_t i = 0; section && i < section->n; i++) {
		struct yaml_node *node = section->entries[i].value;

		if (!rl_str_eq(section->entries[i].key, name))
			continue;
		rest = rl_str_sub(rest, 0, rl_str_find(rest, ']'));
		if (rest.p && rl_value_u64(rest, &index) && node->kind == YAML_LIST && index < node->n)
			return node->entries[index].value;
		return node;
	}
	return NULL;
}

__attribute__((format(printf, 4, 0))) static void report_key(struct rl_schema_cx *cx, bool warning, const char *key,
							     const char *format, va_list ap)
{
	struct yaml_node *node = key ? locate(cx, key) : NULL;

	if (node && node->failed)
		return;
	if (node && !warning)
		node->failed = true;
	report(cx, warning, node ? node->line : cx->current->line, node ? node->column : cx->current->column,
	       cx->current->where, key, format, ap);
}

void rl_schema_fail(struct rl_schema_cx *cx, const char *key, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report_key(cx, false, key, format, ap);
	va_end(ap);
}

void rl_schema_warn(struct rl_schema_cx *cx, const char *key, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report_key(cx, true, key, format, ap);
	va_end(ap);
}

void rl_schema_fail_unknown(struct rl_schema_cx *cx, const char *key, const char *what, const rl_str *names,
			    size_t n_names)
{
	const struct yaml_node *node = locate(cx, key);
	rl_str text = node ? node->text : rl_str_of("");
	rl_str near = rl_schema_nearest(text, names, n_names);
	rl_str shown = rl_diags_printable(&cx->scratch, text);

	if (near.p)
		rl_schema_fail(cx, key, "unknown %s '%.*s', did you mean '%.*s'?", what, RL_STR_ARG(shown),
			       RL_STR_ARG(near));
	else
		rl_schema_fail(cx, key, "unknown %s '%.*s'", what, RL_STR_ARG(shown));
}

void rl_schema_position(const struct rl_schema_cx *cx, const char *key, unsigned *line, unsigned *column)
{
	const struct yaml_node *node = locate(cx, key);

	*line = node ? node->line : 0;
	*column = node ? node->column : 0;
}

bool rl_schema_written(const struct rl_schema_cx *cx, const char *key)
{
	const struct rl_schema_row *row = row_find(cx->current->schema, rl_str_of(key));

	assert(row);
	return cx->current->written & UINT64_C(1) << (row - cx->current->schema->rows);
}

const void *rl_schema_user(const struct rl_schema_cx *cx)
{
	return cx->user;
}

void *rl_schema_root(const struct rl_schema_cx *cx)
{
	return cx->root;
}

void *rl_schema_alloc(struct rl_schema_cx *cx, size_t count, size_t size)
{
	void *piece = rl_arena_zalloc(cx->arena, count, size);

	if (!piece)
		rl_schema_nomem(cx);
	return piece;
}

static void run_checks(struct rl_schema_cx *cx)
{
	for (cx->current = cx->first; cx->current && !cx->stop; cx->current = cx->current->next)
		cx->current->schema->check(cx, cx->current->object);
}

enum rl_err rl_schema_parse(const struct rl_schema *root, rl_str text, const char *name,
			    const struct rl_schema_hooks *hooks, const void *user, struct rl_arena *arena, void *object,
			    struct rl_buf *report_to)
{
	struct rl_schema_cx cx = {.arena = arena,
				  .hooks = hooks ? hooks : &rl_schema_system,
				  .user = user,
				  .root = object};
	enum rl_err err = RL_OK;

	cx.tail = &cx.first;
	rl_arena_init(&cx.scratch, SCRATCH_MAX_BYTES);
	rl_diags_init(&cx.diags, &cx.scratch);
	struct yaml_node *node = rl_yaml_parse(text, &cx.scratch, &cx.diags);

	if (node) {
		struct value whole = {&(struct rl_schema_row){.type = RL_SCHEMA_SECTION, .child = root}, node, NULL,
				      object};

		read_value(&cx, &whole);
		run_checks(&cx);
	}
	if (cx.diags.n_errors)
		err = RL_ERR_SYNTAX;
	if (cx.diags.nomem) {
		rl_diags_add(&cx.diags, false, 0, 0, rl_str_of(""),
			     RL_STR("needs more memory than a configuration may take"));
		err = RL_ERR_NOMEM;
	}
	rl_diags_write(&cx.diags, name, report_to);
	rl_arena_fini(&cx.scratch);
	return err;
}
