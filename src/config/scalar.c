/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of single values, one per type of the table, with the messages that a
 * wrong value earns. Messages show the text of the file only: what came from a
 * variable or a secret's file is never repeated.
 */
#include "config/schema_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define VALUE_MAX_BYTES 65536u /* of one value after its variables, and of a secret's file */
#define JSON_DEPTH_MAX 64u

static const char *const types[] = {
#define X(id, text) [RL_SCHEMA_##id] = text,
	RL_SCHEMA_TYPES(X)
#undef X
};

/* With its article, for "expected ...". */
static const char *expected(const struct rl_schema_row *row)
{
	switch (row->type) {
	case RL_SCHEMA_BOOL:
		return "true or false";
	case RL_SCHEMA_INT:
		return row->flags & RL_SCHEMA_AUTO ? "an integer or 'auto'" : "an integer";
	case RL_SCHEMA_RATIO:
		return "a number";
	case RL_SCHEMA_ENUM:
	case RL_SCHEMA_WORD:
		return "a word";
	case RL_SCHEMA_DURATION:
		return "a duration with its unit, such as 250ms, 5s, 2m or 1h";
	case RL_SCHEMA_SIZE:
		return row->flags & RL_SCHEMA_AUTO ? "a size such as 65536, 64KiB or 10MiB, or 'auto'"
						   : "a size such as 65536, 64KiB or 10MiB";
	case RL_SCHEMA_STRINGS:
	case RL_SCHEMA_LIST:
		return "a list";
	case RL_SCHEMA_SECTION:
	case RL_SCHEMA_MAP:
		return "a map";
	case RL_SCHEMA_NONE:
	case RL_SCHEMA_STRING:
	case RL_SCHEMA_SECRET:
	case RL_SCHEMA_CUSTOM:
	case RL_SCHEMA_JSON:
		break;
	}
	return "a string";
}

const char *rl_schema_type_text(enum rl_schema_type type)
{
	return types[type];
}

void rl_schema_fail_expected(struct rl_schema_cx *cx, const struct value *v)
{
	static const char *const kinds[] = {"a plain value", "a map", "a list"};
	const struct rl_schema_row *row = v->row;
	/* An item of a list or map was expected to be what that is made of. */
	bool element = !v->object && row->child;

	rl_schema_fail_value(cx, v, "expected %s, got %s",
			     element                                        ? "a map"
			     : row->type == RL_SCHEMA_STRINGS && !v->object ? "a string"
									    : expected(row),
			     kinds[v->node->kind]);
}

static bool hidden(const struct rl_schema_row *row)
{
	return row->type == RL_SCHEMA_SECRET || (row->flags & RL_SCHEMA_HIDDEN);
}

/* "expected <what>, got '<as written>'", or without the second half for what must not be shown. */
static void fail_text(struct rl_schema_cx *cx, const struct value *v, const char *what)
{
	if (hidden(v->row))
		rl_schema_fail_value(cx, v, "expected %s", what);
	else
		rl_schema_fail_value(cx, v, "expected %s, got '%.*s'", what,
				     RL_STR_ARG(rl_diags_printable(&cx->scratch, v->node->text)));
}

static void fail_unset(struct rl_schema_cx *cx, const struct value *v, rl_str name)
{
	if (v->row->flags & RL_SCHEMA_MAY_LACK) {
		rl_str kept = rl_arena_dup(cx->arena, name);

		if (!kept.p)
			rl_schema_nomem(cx);
		memcpy(v->object + v->row->missing_at, &kept, sizeof kept);
		return;
	}
	rl_schema_fail_value(cx, v, "variable %.*s is not set (give it a default with ${%.*s:-...})", RL_STR_ARG(name),
			     RL_STR_ARG(name));
}

/* `text` with its variables replaced, in scratch. False when that failed, which is then said. */
static bool expand(struct rl_schema_cx *cx, const struct value *v, rl_str *text)
{
	struct rl_buf out;
	rl_str unset;

	rl_buf_init(&out, VALUE_MAX_BYTES);
	enum value_vars found = rl_value_expand(*text, cx->hooks, &out, &unset);

	if (found == VARS_SYNTAX)
		rl_schema_fail_value(cx, v,
				     "malformed variable: write ${NAME} or ${NAME:-default}, and $${ for a plain ${");
	else if (found == VARS_LIMIT)
		rl_schema_fail_value(cx, v, "longer than 64 KiB with its variables");
	else if (found == VARS_UNSET)
		fail_unset(cx, v, unset);
	else if (found == VARS_DONE)
		*text = rl_arena_dup(&cx->scratch, rl_buf_str(&out));
	rl_buf_fini(&out);
	if (!text->p)
		rl_schema_nomem(cx);
	if (found == VARS_DONE && text->p && !rl_yaml_text_ok(*text)) {
		rl_schema_fail_value(cx, v, "not UTF-8 text with its variables");
		return false;
	}
	/* A key whose variable is set to nothing is as good as unset. */
	if (found == VARS_DONE && text->p && !text->n && (v->row->flags & RL_SCHEMA_MAY_LACK)) {
		rl_str inside = rl_str_sub(v->node->text, rl_str_find(v->node->text, '{') + 1, SIZE_MAX);

		inside = rl_str_sub(inside, 0, rl_str_find(inside, '}'));
		if (rl_str_find(inside, ':') == SIZE_MAX) {
			fail_unset(cx, v, inside);
			return false;
		}
	}
	return (found == VARS_NONE || found == VARS_DONE) && text->p;
}

/* The text of a scalar, with its variables. */
static bool scalar_text(struct rl_schema_cx *cx, const struct value *v, rl_str *text)
{
	if (v->node->kind != YAML_SCALAR) {
		rl_schema_fail_expected(cx, v);
		return false;
	}
	if (rl_yaml_is_null(v->node)) {
		rl_schema_fail_value(cx, v, "no value is given");
		return false;
	}
	*text = v->node->text;
	return expand(cx, v, text);
}

/* --- numbers --- */

void rl_schema_format_number(const struct rl_schema_row *row, uint64_t v, struct rl_buf *out)
{
	static const struct {
		uint64_t factor;
		const char *unit;
	} durations[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}},
	  sizes[] = {{1073741824, "GiB"}, {1048576, "MiB"}, {1024, "KiB"}, {1, ""}};
	bool duration = row->type == RL_SCHEMA_DURATION;

	rl_buf_u64(out, 0);
	out->n--;
	for (size_t i = 0; i < 4; i++) {
		uint64_t factor = duration ? durations[i].factor : sizes[i].factor;

		if ((duration || row->type == RL_SCHEMA_SIZE) && (v % factor || !v) && factor > 1)
			continue;
		if (!duration && row->type != RL_SCHEMA_SIZE)
			factor = 1;
		rl_buf_u64(out, v / factor);
		if (duration || row->type == RL_SCHEMA_SIZE)
			rl_buf_add(out, rl_str_of(duration ? durations[i].unit : sizes[i].unit));
		return;
	}
}

static void fail_range(struct rl_schema_cx *cx, const struct value *v)
{
	struct rl_buf low, high;

	rl_buf_init(&low, 64);
	rl_buf_init(&high, 64);
	rl_schema_format_number(v->row, v->row->min, &low);
	rl_schema_format_number(v->row, v->row->max, &high);
	rl_str shown = rl_diags_printable(&cx->scratch, v->node->text);

	if (v->row->max)
		rl_schema_fail_value(cx, v, "must be between %.*s and %.*s, got '%.*s'", RL_STR_ARG(rl_buf_str(&low)),
				     RL_STR_ARG(rl_buf_str(&high)), RL_STR_ARG(shown));
	else
		rl_schema_fail_value(cx, v, "must be at least %.*s, got '%.*s'", RL_STR_ARG(rl_buf_str(&low)),
				     RL_STR_ARG(shown));
	rl_buf_fini(&low);
	rl_buf_fini(&high);
}

static void store_u64(struct rl_schema_cx *cx, const struct value *v, uint64_t n)
{
	const struct rl_schema_row *row = v->row;
	uint32_t narrow = (uint32_t)n;

	assert(row->size == sizeof n || (row->size == sizeof narrow && row->max && row->max <= UINT32_MAX));
	if (n < row->min || (row->max && n > row->max)) {
		fail_range(cx, v);
		return;
	}
	if (row->size == sizeof n)
		memcpy(v->object + row->at, &n, sizeof n);
	else
		memcpy(v->object + row->at, &narrow, sizeof narrow);
}

static void read_number(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	const struct rl_schema_row *row = v->row;
	uint64_t n = 0;

	if ((row->flags & RL_SCHEMA_AUTO) && rl_str_eq(text, RL_STR("auto"))) {
		memset(v->object + row->at, 0, row->size);
		return;
	}
	bool ok = row->type == RL_SCHEMA_INT        ? rl_value_u64(text, &n)
		  : row->type == RL_SCHEMA_DURATION ? rl_value_duration(text, &n)
						    : rl_value_size(text, &n);

	if (ok)
		store_u64(cx, v, n);
	else
		fail_text(cx, v, expected(row));
}

static void read_ratio(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	double n;

	assert(v->row->size == sizeof n);
	if (!rl_value_ratio(text, &n))
		fail_text(cx, v, expected(v->row));
	else if (n < (double)v->row->min || (v->row->max && n > (double)v->row->max))
		fail_range(cx, v);
	else
		memcpy(v->object + v->row->at, &n, sizeof n);
}

/* --- words and strings --- */

static void fail_word(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	rl_str names[32];
	size_t n = 0;
	struct rl_buf all;

	rl_buf_init(&all, 512);
	for (; v->row->words[n]; n++) {
		assert(n < 32);
		names[n] = rl_str_of(v->row->words[n]);
		rl_buf_printf(&all, "%s%s", !n ? "" : v->row->words[n + 1] ? ", " : " or ", v->row->words[n]);
	}
	/* Only what stands in the file may be repeated, and be resembled. */
	rl_str near = rl_str_eq(text, v->node->text) ? rl_schema_nearest(text, names, n) : rl_str_of(NULL);
	rl_str shown = rl_diags_printable(&cx->scratch, v->node->text);

	if (near.p)
		rl_schema_fail_value(cx, v, "expected %.*s, got '%.*s', did you mean '%.*s'?",
				     RL_STR_ARG(rl_buf_str(&all)), RL_STR_ARG(shown), RL_STR_ARG(near));
	else
		rl_schema_fail_value(cx, v, "expected %.*s, got '%.*s'", RL_STR_ARG(rl_buf_str(&all)),
				     RL_STR_ARG(shown));
	rl_buf_fini(&all);
}

static void read_word(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	for (unsigned i = 0; v->row->words[i]; i++) {
		rl_str word = rl_str_of(v->row->words[i]);

		if (!rl_str_eq(text, word))
			continue;
		/* The table's own words live for ever. */
		if (v->row->type == RL_SCHEMA_WORD)
			memcpy(v->object + v->row->at, &word, sizeof word);
		else
			memcpy(v->object + v->row->at, &i, sizeof i);
		return;
	}
	fail_word(cx, v, text);
}

static bool keep_string(struct rl_schema_cx *cx, const struct value *v, rl_str text, rl_str *out)
{
	/* The bounds of STRINGS count entries; each of them must not be empty. */
	uint64_t min = v->row->type == RL_SCHEMA_STRINGS ? 1 : v->row->min;
	uint64_t max = v->row->type == RL_SCHEMA_STRINGS ? 0 : v->row->max;
	const char *wrong = NULL;

	if (text.n < min)
		wrong = text.n ? "too short" : "must not be empty";
	else if (max && text.n > max)
		wrong = "too long";
	else if (text.n && v->row->check)
		wrong = v->row->check(text);
	if (wrong) {
		rl_schema_fail_value(cx, v, "%s", wrong);
		return false;
	}
	/* The table's own default lives for ever. */
	*out = text.p == v->row->initial ? text : rl_arena_dup(cx->arena, text);
	if (!out->p)
		rl_schema_nomem(cx);
	return out->p;
}

bool rl_schema_read_string(struct rl_schema_cx *cx, const struct value *v, rl_str *out)
{
	rl_str text;

	return scalar_text(cx, v, &text) && keep_string(cx, v, text, out);
}

static void read_string(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	rl_str kept;

	if (keep_string(cx, v, text, &kept))
		memcpy(v->object + v->row->at, &kept, sizeof kept);
}

static void read_custom(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	const char *wrong = v->row->parse(cx->arena, text, v->object + v->row->at);

	if (wrong)
		rl_schema_fail_value(cx, v, "%s", wrong);
}

/* --- secrets --- */

static const char *system_variable(void *user, const char *name)
{
	(void)user;
	return getenv(name);
}

static enum rl_err system_read_secret(void *user, const char *path, struct rl_buf *out)
{
	enum rl_err err = RL_ERR_IO;
	struct stat st;
	/* Not to hang on a pipe that nobody writes. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	(void)user;
	if (fd < 0)
		return rl_err_from_errno(errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		goto out;
	for (;;) {
		char *at = rl_buf_reserve(out, 4096);
		ssize_t n = at ? read(fd, at, 4096) : -1;

		if (n < 0)
			goto out;
		if (n == 0)
			break;
		out->n += (size_t)n;
	}
	err = RL_OK;
out:
	close(fd);
	return err;
}

const struct rl_schema_hooks rl_schema_system = {
	.variable = system_variable,
	.read_secret = system_read_secret,
};

/* Replaces "file:/path" by the file's content, its line end stripped. */
static bool secret_from_file(struct rl_schema_cx *cx, const struct value *v, rl_str *text)
{
	struct rl_buf content;
	rl_str path = rl_arena_dup(&cx->scratch, rl_str_sub(*text, strlen("file:"), text->n));

	/* A block is read at a time, so the buffer has room for one beyond the limit. */
	rl_buf_init(&content, VALUE_MAX_BYTES + 4096);
	enum rl_err err = path.p ? cx->hooks->read_secret(cx->hooks->user, path.p, &content) : RL_ERR_NOMEM;
	rl_str found = rl_buf_str(&content);

	while (found.n && (found.p[found.n - 1] == '\n' || found.p[found.n - 1] == '\r'))
		found.n--;
	if (err != RL_OK || found.n > VALUE_MAX_BYTES)
		rl_schema_fail_value(cx, v, "the file it names cannot be read (%s)",
				     err == RL_OK || !rl_buf_ok(&content) ? "larger than 64 KiB" : rl_err_text(err));
	else if (!found.n)
		rl_schema_fail_value(cx, v, "the file it names is empty");
	else
		*text = rl_arena_dup(cx->arena, found);
	rl_buf_fini(&content);
	if (!text->p)
		rl_schema_nomem(cx);
	return !v->node->failed && text->p;
}

static void read_secret(struct rl_schema_cx *cx, const struct value *v, rl_str text)
{
	if (rl_str_starts(text, RL_STR("file:"))) {
		if (!secret_from_file(cx, v, &text))
			return;
	}
	if (text.n < v->row->min) {
		rl_schema_fail_value(cx, v, "must not be empty");
		return;
	}
	for (size_t i = 0; i < text.n; i++) {
		if ((unsigned char)text.p[i] > 0x20 && text.p[i] != 0x7F)
			continue;
		rl_schema_fail_value(cx, v, "a secret holds no spaces, line ends or control characters");
		return;
	}
	text = rl_arena_dup(cx->arena, text);
	if (!text.p) {
		rl_schema_nomem(cx);
		return;
	}
	struct rl_secret secret = rl_secret_make(text);

	assert(v->row->size == sizeof secret);
	memcpy(v->object + v->row->at, &secret, sizeof secret);
}

void rl_schema_read_scalar(struct rl_schema_cx *cx, const struct value *v)
{
	rl_str text;
	bool yes;

	if (!scalar_text(cx, v, &text))
		return;
	switch (v->row->type) {
	case RL_SCHEMA_BOOL:
		if (rl_value_bool(text, &yes))
			memcpy(v->object + v->row->at, &yes, sizeof yes);
		else
			fail_text(cx, v, expected(v->row));
		break;
	case RL_SCHEMA_INT:
	case RL_SCHEMA_DURATION:
	case RL_SCHEMA_SIZE:
		read_number(cx, v, text);
		break;
	case RL_SCHEMA_RATIO:
		read_ratio(cx, v, text);
		break;
	case RL_SCHEMA_ENUM:
	case RL_SCHEMA_WORD:
		read_word(cx, v, text);
		break;
	case RL_SCHEMA_SECRET:
		read_secret(cx, v, text);
		break;
	case RL_SCHEMA_CUSTOM:
		read_custom(cx, v, text);
		break;
	case RL_SCHEMA_STRING:
		read_string(cx, v, text);
		break;
	case RL_SCHEMA_NONE:
	case RL_SCHEMA_JSON:
	case RL_SCHEMA_STRINGS:
	case RL_SCHEMA_SECTION:
	case RL_SCHEMA_LIST:
	case RL_SCHEMA_MAP:
		assert(v->row->type == RL_SCHEMA_STRING);
	}
}

/* --- any value, as JSON --- */

static void write_json(struct rl_schema_cx *cx, const struct value *v, struct yaml_node *node, unsigned depth,
		       struct rl_buf *out)
{
	bool map = node->kind == YAML_MAP;

	if (cx->stop || v->node->failed)
		return;
	/* Aliases can nest deeper than the text does, and multiply: the buffer's maximum ends that. */
	if (depth > JSON_DEPTH_MAX || !rl_buf_ok(out)) {
		rl_schema_fail_value(cx, v, depth > JSON_DEPTH_MAX ? "nested too deeply" : "longer than 64 KiB");
		return;
	}
	if (node->kind == YAML_SCALAR) {
		struct value scalar = {v->row, node, v->where, v->object};
		rl_str text = node->text;

		if (expand(cx, &scalar, &text))
			rl_value_scalar_json(text, node->plain, out);
		return;
	}
	rl_buf_byte(out, map ? '{' : '[');
	for (size_t i = 0; i < node->n; i++) {
		if (i)
			rl_buf_byte(out, ',');
		if (map) {
			rl_buf_json(out, node->entries[i].key);
			rl_buf_byte(out, ':');
		}
		write_json(cx, v, node->entries[i].value, depth + 1, out);
	}
	rl_buf_byte(out, map ? '}' : ']');
}

void rl_schema_read_json(struct rl_schema_cx *cx, const struct value *v)
{
	struct rl_buf out;

	rl_buf_init(&out, VALUE_MAX_BYTES);
	write_json(cx, v, v->node, 0, &out);
	if (!rl_buf_ok(&out) && !v->node->failed)
		rl_schema_fail_value(cx, v, "longer than 64 KiB");
	if (!v->node->failed) {
		rl_str kept = rl_arena_dup(cx->arena, rl_buf_str(&out));

		if (!kept.p)
			rl_schema_nomem(cx);
		memcpy(v->object + v->row->at, &kept, sizeof kept);
	}
	rl_buf_fini(&out);
}
