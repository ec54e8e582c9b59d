/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splicing, see splice.h. The one difficulty is the commas. A removed member takes
 * the comma behind it along, and what stands between that and the next key; a run of
 * removed members at the object's end takes the comma in front of the run instead.
 * Added members go behind the last member that stays.
 */
#include "json/splice.h"

#include <assert.h>

#include "base/buf.h"
#include "json/text_priv.h"

#define ADDED SIZE_MAX

/* Where the list of slices is written. */
struct parts {
	rl_str *list;
	size_t n, bytes;
};

void rl_json_splice_init(struct rl_json_splice *splice, rl_str text, struct rl_arena *arena)
{
	splice->text = text;
	splice->arena = arena;
	splice->n_edits = 0;
	splice->err = rl_json_type_of(text) == RL_JSON_OBJECT ? RL_OK : RL_ERR_SYNTAX;
}

/* The edit of the same member, or a new one; NULL when there are too many. */
static struct rl_json_edit *edit_of(struct rl_json_splice *splice, size_t key_off, rl_str key)
{
	for (size_t i = 0; i < splice->n_edits; i++) {
		struct rl_json_edit *edit = &splice->edits[i];
		if (edit->key_off == key_off && (key_off != ADDED || rl_str_eq(edit->key, key)))
			return edit;
	}
	if (splice->n_edits == RL_JSON_EDITS_MAX) {
		splice->err = RL_ERR_LIMIT;
		return NULL;
	}
	return &splice->edits[splice->n_edits++];
}

static void check_span(const struct rl_json_splice *splice, const struct rl_json_span *span)
{
	assert(span->key_off < span->off && span->off < splice->text.n);
	assert(span->n > 0 && span->n < splice->text.n - span->off);
}

void rl_json_splice_set(struct rl_json_splice *splice, const struct rl_json_span *span, rl_str key, rl_str value)
{
	assert(value.n > 0);
	if (splice->err)
		return;
	struct rl_json_edit *edit = edit_of(splice, span->type ? span->key_off : ADDED, key);

	if (!edit)
		return;
	if (span->type) {
		check_span(splice, span);
		*edit = (struct rl_json_edit){.key_off = span->key_off,
					      .off = span->off,
					      .end = span->off + span->n,
					      .value = value};
	} else {
		*edit = (struct rl_json_edit){.key_off = ADDED, .key = key, .value = value};
	}
}

/* Behind the comma and the white space that follow the value ending at `at`; `at` when no comma does. */
static size_t behind_comma(rl_str text, size_t at)
{
	const char *end = text.p + text.n, *p = rl_json_skip_space(text.p + at, end);

	if (p == end || *p != ',')
		return at;
	return (size_t)(rl_json_skip_space(p + 1, end) - text.p);
}

void rl_json_splice_remove(struct rl_json_splice *splice, const struct rl_json_span *span)
{
	if (splice->err || !span->type)
		return;
	struct rl_json_edit *edit = edit_of(splice, span->key_off, rl_str_make(NULL, 0));

	if (!edit)
		return;
	check_span(splice, span);
	*edit = (struct rl_json_edit){.key_off = span->key_off,
				      .off = span->key_off,
				      .end = behind_comma(splice->text, span->off + span->n)};
}

/* By place; added members last, in the order they were given. There are few. */
static void sort(struct rl_json_splice *splice)
{
	for (size_t i = 1; i < splice->n_edits; i++) {
		struct rl_json_edit edit = splice->edits[i];
		size_t at = i;

		for (; at > 0 && splice->edits[at - 1].key_off > edit.key_off; at--)
			splice->edits[at] = splice->edits[at - 1];
		splice->edits[at] = edit;
	}
}

/* Index of the last byte before `at` that is no white space. There is one: a brace at least. */
static size_t before_space(rl_str text, size_t at)
{
	do
		at--;
	while (at > 0 && rl_json_is_space(text.p[at]));
	return at;
}

/* How the object ends once the edits are made. */
struct ending {
	size_t n_edits;    /* edits of old members in front of it */
	size_t stop, rest; /* between them stand removed members; added ones go here */
	bool comma;        /* some old member stays: an added one needs a comma */
};

/* A run of removals that reaches the object's end belongs to the ending, with the comma in front of it. */
static struct ending find_ending(const struct rl_json_splice *splice, size_t n_old)
{
	rl_str text = splice->text;
	size_t brace = before_space(text, text.n), tail = before_space(text, brace) + 1, front;
	struct ending ending = {.n_edits = n_old, .stop = tail, .rest = tail};

	assert(text.p[brace] == '}');
	while (ending.n_edits) {
		const struct rl_json_edit *last = &splice->edits[ending.n_edits - 1];
		if (last->value.p || last->end != ending.stop)
			break;
		ending.stop = last->off;
		ending.n_edits--;
	}
	if (ending.stop == tail) {
		ending.comma = text.p[tail - 1] != '{';
		return ending;
	}
	front = before_space(text, ending.stop);
	ending.comma = text.p[front] == ',';
	if (ending.comma)
		ending.stop = front;
	return ending;
}

static void put(struct parts *parts, rl_str piece)
{
	if (!piece.n)
		return;
	assert(parts->n < RL_JSON_PARTS_MAX);
	parts->list[parts->n++] = piece;
	parts->bytes += piece.n;
}

/* `,"key":` for a key that needs escapes; p == NULL without memory. */
static rl_str escaped_lead(struct rl_arena *arena, rl_str key, bool comma)
{
	struct rl_buf buf;
	rl_str made = {NULL, 0};

	/* An escaped byte takes six at most, an invalid one three. */
	rl_buf_init(&buf, key.n * 6 + 8);
	if (comma)
		rl_buf_byte(&buf, ',');
	rl_buf_json(&buf, key);
	rl_buf_byte(&buf, ':');
	if (rl_buf_ok(&buf))
		made = rl_arena_dup(arena, rl_buf_str(&buf));
	rl_buf_fini(&buf);
	return made;
}

/* The same for any key; most are plain and need no second copy. */
static rl_str lead_in(struct rl_arena *arena, rl_str key, bool comma)
{
	if (rl_json_plain_run(key.p, key.p + key.n) != key.p + key.n)
		return escaped_lead(arena, key, comma);
	char *made = rl_arena_alloc(arena, key.n + 4), *p = made;

	if (!made)
		return rl_str_make(NULL, 0);
	if (comma)
		*p++ = ',';
	*p++ = '"';
	memcpy(p, key.p, key.n);
	p += key.n;
	*p++ = '"';
	*p++ = ':';
	return rl_str_make(made, (size_t)(p - made));
}

static enum rl_err put_added(struct parts *parts, struct rl_arena *arena, const struct rl_json_edit *edit, bool comma)
{
	rl_str lead = lead_in(arena, edit->key, comma);

	if (!lead.p)
		return RL_ERR_NOMEM;
	put(parts, lead);
	put(parts, edit->value);
	return RL_OK;
}

enum rl_err rl_json_splice_parts(struct rl_json_splice *splice, rl_str *parts, size_t *n_parts, size_t *total_bytes)
{
	struct parts out = {.list = parts};
	const struct rl_json_edit *edits = splice->edits;
	size_t at = 0, n_old = 0;

	if (splice->err)
		return splice->err;
	sort(splice);
	while (n_old < splice->n_edits && edits[n_old].key_off != ADDED)
		n_old++;
	struct ending ending = find_ending(splice, n_old);

	for (size_t i = 0; i < ending.n_edits; i++) {
		put(&out, rl_str_make(splice->text.p + at, edits[i].off - at));
		put(&out, edits[i].value);
		at = edits[i].end;
	}
	assert(at <= ending.stop);
	put(&out, rl_str_make(splice->text.p + at, ending.stop - at));
	for (size_t i = n_old; i < splice->n_edits; i++) {
		enum rl_err err = put_added(&out, splice->arena, &edits[i], ending.comma || i > n_old);
		if (err)
			return err;
	}
	put(&out, rl_str_sub(splice->text, ending.rest, SIZE_MAX));
	*n_parts = out.n;
	if (total_bytes)
		*total_bytes = out.bytes;
	return RL_OK;
}

enum rl_err rl_json_splice_join(struct rl_json_splice *splice, rl_str *out)
{
	rl_str parts[RL_JSON_PARTS_MAX];
	size_t n_parts, total_bytes, at = 0;
	enum rl_err err = rl_json_splice_parts(splice, parts, &n_parts, &total_bytes);

	if (err)
		return err;
	char *text = rl_arena_alloc(splice->arena, total_bytes);

	if (!text)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < n_parts; i++) {
		memcpy(text + at, parts[i].p, parts[i].n);
		at += parts[i].n;
	}
	*out = rl_str_make(text, total_bytes);
	return RL_OK;
}
