/* SPDX-License-Identifier: Apache-2.0 */
/* See yaml_priv.h. */
#include "config/yaml_priv.h"

#include "base/map.h"

#include <assert.h>
#include <libfyaml.h>

/* A map or list that is still open. */
struct frame {
	struct yaml_node *node;
	struct yaml_entry *entries; /* grown by doubling in the arena */
	size_t n, cap;
	rl_str anchor; /* set on completion, so that no alias can reach into its own anchor */
	bool want_value;
	struct yaml_entry entry; /* whose value is awaited */
};

struct builder {
	struct rl_arena *arena;
	struct diags *diags;
	struct rl_map anchors;
	struct frame stack[YAML_DEPTH_MAX];
	size_t depth;
	size_t n_entries;
	struct yaml_node *root;
	struct rl_buf text; /* of one token */
	bool done;          /* the document has ended */
	bool stop;          /* no use to go on: no tree */
};

bool rl_yaml_text_ok(rl_str s)
{
	const unsigned char *p = (const unsigned char *)s.p, *end = s.n ? p + s.n : p;

	while (p < end) {
		unsigned char c = *p++;
		unsigned more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
		uint32_t code = more ? c & (0x3Fu >> more) : c;

		if (!c || (c >= 0x80 && c < 0xC2) || c > 0xF4 || (size_t)(end - p) < more)
			return false;
		for (unsigned i = 0; i < more; i++, p++) {
			if ((*p & 0xC0) != 0x80)
				return false;
			code = code << 6 | (*p & 0x3F);
		}
		/* Overlong forms, surrogates and what is beyond Unicode. */
		if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) || code > 0x10FFFF ||
		    (code >= 0xD800 && code <= 0xDFFF))
			return false;
	}
	return true;
}

bool rl_yaml_is_null(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && node->plain &&
	       (!node->text.n || rl_str_eq(node->text, RL_STR("~")) || rl_str_eq(node->text, RL_STR("null")));
}

static void fail(struct builder *b, unsigned line, unsigned column, const char *what)
{
	rl_diags_add(b->diags, false, line, column, rl_str_of(""), rl_str_of(what));
}

static void fatal(struct builder *b, unsigned line, unsigned column, const char *what)
{
	fail(b, line, column, what);
	b->stop = true;
}

static void nomem(struct builder *b)
{
	b->diags->nomem = true;
	b->stop = true;
}

/* Where a token stands, counted from 1. libfyaml's mark of quoted text and of an alias is one behind its sign. */
static void place(struct fy_token *token, unsigned *line, unsigned *column)
{
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

	if (!mark)
		return;
	enum fy_scalar_style style = fy_token_scalar_style(token);
	bool quoted = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;

	*line = (unsigned)mark->line + 1;
	*column = (unsigned)mark->column + 1;
	if (quoted && *column > 1)
		(*column)--;
}

/* Whether a token has any text at all: libfyaml's iterator reads through NULL when there is none. */
static bool is_empty(struct fy_token *token)
{
	const struct fy_mark *start = token ? fy_token_start_mark(token) : NULL;
	const struct fy_mark *end = token ? fy_token_end_mark(token) : NULL;

	return !start || !end || start->input_pos >= end->input_pos;
}

/*
 * Appends a token's text. By iterator, because fy_token_get_text() of the versions up to 2026
 * leaks memory for each text with more than a few escapes or lines (libfyaml issue 233).
 */
static bool append_text(struct fy_token *token, struct rl_buf *out)
{
	struct fy_token_iter *iter = fy_token_iter_create(token);
	const struct fy_iter_chunk *chunk = NULL;
	int failed = 0;

	if (!iter)
		return false;
	while ((chunk = fy_token_iter_chunk_next(iter, chunk, &failed)))
		rl_buf_add(out, rl_str_make(chunk->str, chunk->len));
	fy_token_iter_destroy(iter);
	return !failed && rl_buf_ok(out);
}

/* A copy of a token's text, p NULL on error. */
static rl_str text_of(struct builder *b, struct fy_token *token, unsigned line, unsigned column)
{
	struct rl_buf *text = &b->text;
	rl_str copy = {NULL, 0};

	rl_buf_reset(text);
	if (!is_empty(token) && !append_text(token, text)) {
		nomem(b);
		return copy;
	}
	if (!rl_yaml_text_ok(rl_buf_str(text))) {
		fatal(b, line, column, "text that is not UTF-8, or that holds a NUL byte");
		return copy;
	}
	copy = rl_arena_dup(b->arena, rl_buf_str(text));
	if (!copy.p)
		nomem(b);
	return copy;
}

static bool frame_push(struct builder *b, struct frame *f, struct yaml_entry entry)
{
	if (b->n_entries >= YAML_ENTRIES_MAX) {
		fatal(b, entry.line, entry.column, "too many values in one file");
		return false;
	}
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 8;
		struct yaml_entry *entries = RL_NEW_ARRAY(b->arena, struct yaml_entry, cap);

		if (!entries) {
			nomem(b);
			return false;
		}
		if (f->n)
			memcpy(entries, f->entries, f->n * sizeof *entries);
		f->entries = entries;
		f->cap = cap;
	}
	b->n_entries++;
	f->entries[f->n++] = entry;
	return true;
}

static bool anchor_set(struct builder *b, rl_str anchor, struct yaml_node *node)
{
	if (anchor.n && rl_map_put(&b->anchors, anchor, node) != RL_OK) {
		nomem(b);
		return false;
	}
	return true;
}

/* A finished node takes its place in what is open around it. */
static void deliver(struct builder *b, struct yaml_node *node)
{
	if (!b->depth) {
		assert(!b->root);
		b->root = node;
		return;
	}
	struct frame *f = &b->stack[b->depth - 1];

	/* An absent value has no mark of its own: its key's, or that of the list. */
	if (!node->line && f->want_value)
		node->line = f->entry.line, node->column = f->entry.column;
	else if (!node->line)
		node->line = f->node->line, node->column = f->node->column;
	if (f->node->kind == YAML_LIST) {
		frame_push(b, f, (struct yaml_entry){.line = node->line, .column = node->column, .value = node});
		return;
	}
	if (!f->want_value) {
		if (node->kind != YAML_SCALAR) {
			fatal(b, node->line, node->column, "a key must be a plain name");
			return;
		}
		f->entry = (struct yaml_entry){.key = node->text, .line = node->line, .column = node->column};
		f->want_value = true;
		return;
	}
	f->want_value = false;
	f->entry.value = node;
	frame_push(b, f, f->entry);
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, struct fy_token *token)
{
	struct yaml_node *node = RL_NEW(b->arena, struct yaml_node);

	if (!node) {
		nomem(b);
		return NULL;
	}
	node->kind = kind;
	place(token, &node->line, &node->column);
	return node;
}

static rl_str anchor_of(struct builder *b, struct fy_token *anchor)
{
	return anchor ? text_of(b, anchor, 0, 0) : rl_str_of("");
}

static void refuse_tag(struct builder *b, struct fy_token *tag)
{
	unsigned line = 0, column = 0;

	if (!tag)
		return;
	place(tag, &line, &column);
	fail(b, line, column, "tags (!) are not supported");
}

static void on_scalar(struct builder *b, const struct fy_event_scalar_data *data)
{
	struct yaml_node *node = node_new(b, YAML_SCALAR, data->value);

	if (!node)
		return;
	refuse_tag(b, data->tag);
	node->plain = !data->value || fy_token_scalar_style(data->value) == FYSS_PLAIN;
	if (node->plain && is_empty(data->value)) /* since 0.8 it is marked where the next token stands */
		node->line = node->column = 0;
	node->text = text_of(b, data->value, node->line, node->column);
	rl_str anchor = anchor_of(b, data->anchor);

	if (!b->stop && anchor_set(b, anchor, node))
		deliver(b, node);
}

static void on_alias(struct builder *b, struct fy_token *token)
{
	unsigned line = 0, column = 0;

	place(token, &line, &column);
	if (column > 1)
		column--;
	rl_str name = text_of(b, token, line, column);

	if (b->stop)
		return;
	struct yaml_node *node = rl_map_get(&b->anchors, name);

	if (!node) {
		rl_str what = rl_arena_printf(b->arena, "alias '%.*s' names no finished anchor before it",
					      RL_STR_ARG(rl_diags_printable(b->arena, name)));

		fatal(b, line, column, what.p ? what.p : "unknown alias");
		return;
	}
	deliver(b, node);
}

static void on_open(struct builder *b, enum yaml_kind kind, struct fy_token *start, struct fy_token *anchor,
		    struct fy_token *tag)
{
	struct yaml_node *node = node_new(b, kind, start);

	if (!node)
		return;
	refuse_tag(b, tag);
	if (b->depth == YAML_DEPTH_MAX) {
		fatal(b, node->line, node->column, "nested too deeply");
		return;
	}
	b->stack[b->depth++] = (struct frame){.node = node, .anchor = anchor_of(b, anchor)};
}

static const struct yaml_entry *find(const struct rl_map *seen, rl_str key)
{
	return rl_map_get(seen, key);
}

/* Reports keys written twice; the first stays. `seen` maps a key to its entry. */
static bool check_twice(struct builder *b, struct frame *f, struct rl_map *seen)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct yaml_entry *entry = &f->entries[i];
		const struct yaml_entry *first = find(seen, entry->key);

		if (first) {
			rl_str what =
				rl_arena_printf(b->arena, "key '%.*s' is written twice, first in line %u",
						RL_STR_ARG(rl_diags_printable(b->arena, entry->key)), first->line);

			fail(b, entry->line, entry->column, what.p ? what.p : "a key is written twice");
			continue;
		}
		f->entries[n] = *entry;
		if (rl_map_put(seen, entry->key, &f->entries[n]) != RL_OK) {
			nomem(b);
			return false;
		}
		n++;
	}
	f->n = n;
	return true;
}

/* Adds the entries of `from` whose keys f does not have: a map's own keys go before merged ones. */
static void merge_map(struct builder *b, struct frame *f, struct rl_map *seen, const struct yaml_node *from)
{
	for (size_t i = 0; i < from->n && !b->stop; i++) {
		if (find(seen, from->entries[i].key))
			continue;
		if (!frame_push(b, f, from->entries[i]))
			return;
		/* Any entry will do as a mark: the array may move when it grows. */
		if (rl_map_put(seen, from->entries[i].key, &from->entries[i]) != RL_OK)
			nomem(b);
	}
}

/* Takes the merge key out of f and puts in what it names (YAML 1.1 type repository, "merge"). */
static void merge(struct builder *b, struct frame *f, struct rl_map *seen)
{
	const struct yaml_node *from = NULL;

	for (size_t i = 0; i < f->n; i++) {
		if (!rl_str_eq(f->entries[i].key, RL_STR("<<")))
			continue;
		from = f->entries[i].value;
		memmove(&f->entries[i], &f->entries[i + 1], (f->n - i - 1) * sizeof f->entries[0]);
		f->n--;
		break;
	}
	if (!from)
		return;
	bool list = from->kind == YAML_LIST;

	for (size_t i = 0; i < (list ? from->n : 1) && !b->stop; i++) {
		const struct yaml_node *one = list ? from->entries[i].value : from;

		if (one->kind != YAML_MAP)
			fail(b, one->line, one->column, "<< merges a map or a list of maps");
		else
			merge_map(b, f, seen, one);
	}
}

static void on_close(struct builder *b)
{
	assert(b->depth > 0);
	struct frame *f = &b->stack[b->depth - 1];

	if (f->node->kind == YAML_MAP) {
		struct rl_map seen;

		rl_map_init(&seen);
		if (check_twice(b, f, &seen))
			merge(b, f, &seen);
		rl_map_fini(&seen);
	}
	f->node->entries = f->entries;
	f->node->n = f->n;
	b->depth--;
	if (!b->stop && anchor_set(b, f->anchor, f->node))
		deliver(b, f->node);
}

static void on_event(struct builder *b, struct fy_event *event)
{
	unsigned line = 0, column = 0;

	switch (event->type) {
	case FYET_SCALAR:
		on_scalar(b, &event->scalar);
		break;
	case FYET_ALIAS:
		on_alias(b, event->alias.anchor);
		break;
	case FYET_MAPPING_START:
		on_open(b, YAML_MAP, event->mapping_start.mapping_start, event->mapping_start.anchor,
			event->mapping_start.tag);
		break;
	case FYET_SEQUENCE_START:
		on_open(b, YAML_LIST, event->sequence_start.sequence_start, event->sequence_start.anchor,
			event->sequence_start.tag);
		break;
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		on_close(b);
		break;
	case FYET_DOCUMENT_START:
		if (!b->done)
			break;
		place(event->document_start.document_start, &line, &column);
		fatal(b, line, column, "a second document begins here: one file holds one");
		break;
	case FYET_DOCUMENT_END:
		b->done = true;
		break;
	case FYET_NONE:
	case FYET_STREAM_START:
	case FYET_STREAM_END:
		break;
	}
}

/* What the scanner found wrong: the grammar's word, never the text itself. */
static void scanner_errors(struct builder *b, struct fy_diag *diag)
{
	struct fy_diag_error *error;
	void *at = NULL;
	bool any = false;

	while ((error = fy_diag_errors_iterate(diag, &at))) {
		fail(b, error->line > 0 ? (unsigned)error->line : 1, error->column > 0 ? (unsigned)error->column : 1,
		     error->msg);
		any = true;
	}
	if (!any)
		fail(b, 1, 1, "not YAML");
	b->stop = true;
}

static void parse_events(struct builder *b, struct fy_parser *parser, struct fy_diag *diag)
{
	while (!b->stop) {
		struct fy_event *event = fy_parser_parse(parser);

		if (!event)
			break;
		on_event(b, event);
		fy_parser_event_free(parser, event);
	}
	if (!b->stop && fy_parser_get_stream_error(parser))
		scanner_errors(b, diag);
}

static void run_parser(struct builder *b, rl_str text)
{
	struct fy_diag_cfg diag_cfg;
	struct fy_diag *diag;
	struct fy_parser *parser = NULL;

	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag = fy_diag_create(&diag_cfg);
	if (diag) {
		struct fy_parse_cfg cfg = {
			.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
			.diag = diag,
		};

		fy_diag_set_collect_errors(diag, true);
		parser = fy_parser_create(&cfg);
	}
	if (parser && fy_parser_set_string(parser, text.p, text.n) == 0)
		parse_events(b, parser, diag);
	else
		nomem(b);
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
}

struct yaml_node *rl_yaml_parse(rl_str text, struct rl_arena *arena, struct diags *diags)
{
	struct builder *b = RL_NEW(arena, struct builder);

	if (!b) {
		diags->nomem = true;
		return NULL;
	}
	b->arena = arena;
	b->diags = diags;
	rl_map_init(&b->anchors);
	/* An escape is never shorter than what it stands for, so no text is longer than the file's. */
	rl_buf_init(&b->text, 2 * YAML_TEXT_MAX);
	if (rl_str_starts(text, RL_STR("\xEF\xBB\xBF")))
		text = rl_str_sub(text, 3, text.n);
	if (text.n > YAML_TEXT_MAX)
		fatal(b, 0, 0, "larger than 1 MiB");
	else if (!rl_yaml_text_ok(text))
		fatal(b, 0, 0, "not UTF-8 text");
	else if (text.n)
		run_parser(b, text);
	if (!b->root && !b->stop) {
		b->root = node_new(b, YAML_SCALAR, NULL);
		if (b->root)
			b->root->plain = true;
	}
	rl_map_fini(&b->anchors);
	rl_buf_fini(&b->text);
	return b->stop ? NULL : b->root;
}
