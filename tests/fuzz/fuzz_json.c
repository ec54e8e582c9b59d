/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON room against yyjson. For every text both must agree on whether it is
 * JSON (differences by design: depth, and lone surrogates without
 * RL_JSON_WHOLE_SURROGATES); spans, elements and strings must be what yyjson reads
 * there; a spliced text must read as the same edits made on yyjson's tree. Texts
 * that nobody accepted are given to the readers all the same: they must survive.
 */
#include <stdio.h>
#include <stdlib.h>

#include "json/doc.h"
#include "json/form.h"
#include "json/scan.h"
#include "json/splice.h"

#define CHECK(what)                                                                \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                   \
		}                                                                  \
	} while (0)

static const rl_str keys[] = {RL_STR_INIT("model"), RL_STR_INIT("a"), RL_STR_INIT("b"), RL_STR_INIT("is")};
#define N_KEYS (sizeof keys / sizeof keys[0])

static struct rl_arena arena;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static rl_str written(yyjson_val *value)
{
	size_t n;
	char *text = yyjson_val_write(value, 0, &n);

	CHECK(text);
	rl_str copy = rl_arena_dup(&arena, rl_str_make(text, n));

	free(text);
	CHECK(copy.p);
	return copy;
}

static yyjson_doc *parse(rl_str text)
{
	yyjson_read_err why;

	return yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, &why);
}

/* The raw text of a value must read as `value`. */
static void check_same(rl_str raw, yyjson_val *value)
{
	yyjson_doc *doc = parse(raw);

	CHECK(doc);
	CHECK(rl_str_eq(written(yyjson_doc_get_root(doc)), written(value)));
	yyjson_doc_free(doc);
}

static void check_scalar(rl_str raw, yyjson_val *value)
{
	uint64_t number = 0;
	bool yes = false;
	rl_str text;

	CHECK(rl_json_u64(raw, &number) == yyjson_is_uint(value));
	CHECK(!yyjson_is_uint(value) || number == yyjson_get_uint(value));
	CHECK(rl_json_bool(raw, &yes) == yyjson_is_bool(value));
	CHECK(yes == yyjson_get_bool(value));
	if (!yyjson_is_str(value)) {
		CHECK(rl_json_unescape(raw, &arena, &text) == RL_ERR_SYNTAX);
		return;
	}
	CHECK(rl_json_unescape(raw, &arena, &text) == RL_OK);
	CHECK(rl_str_eq(text, rl_json_doc_str(value)));
	CHECK(rl_json_string_is(raw, text));
	CHECK(!rl_json_string_is(raw, rl_arena_printf(&arena, "%.*s!", RL_STR_ARG(text))) || memchr(text.p, 0, text.n));
	if (text.n)
		CHECK(!rl_json_string_is(raw, rl_str_sub(text, 0, text.n - 1)));
}

static bool type_agrees(enum rl_json_type type, yyjson_val *value)
{
	switch (type) {
	case RL_JSON_NULL:
		return yyjson_is_null(value);
	case RL_JSON_FALSE:
		return yyjson_is_false(value);
	case RL_JSON_TRUE:
		return yyjson_is_true(value);
	case RL_JSON_NUMBER:
		return yyjson_is_num(value) || yyjson_is_raw(value);
	case RL_JSON_STRING:
		return yyjson_is_str(value);
	case RL_JSON_OBJECT:
		return yyjson_is_obj(value);
	case RL_JSON_ARRAY:
		return yyjson_is_arr(value);
	default:
		return !value;
	}
}

/* Every value of the tree, by both ways; depth is bounded by the scanner. */
static void check_tree(rl_str raw, yyjson_val *value)
{
	struct rl_json_iter iter;
	rl_str key, element;
	yyjson_arr_iter elements;
	yyjson_obj_iter members;

	CHECK(type_agrees(rl_json_type_of(raw), value));
	check_scalar(raw, value);
	yyjson_arr_iter_init(value, &elements);
	rl_json_iter_array(&iter, raw);
	while (rl_json_iter_next(&iter, &element))
		check_tree(element, yyjson_arr_iter_next(&elements));
	CHECK(!yyjson_arr_iter_next(&elements));
	yyjson_obj_iter_init(value, &members);
	rl_json_iter_object(&iter, raw);
	while (rl_json_iter_member(&iter, &key, &element)) {
		yyjson_val *name = yyjson_obj_iter_next(&members);
		CHECK(name);
		check_scalar(key, name);
		check_tree(element, yyjson_obj_iter_get_val(name));
	}
	CHECK(!yyjson_obj_iter_next(&members));
}

static yyjson_val *last_member(yyjson_val *object, rl_str key)
{
	yyjson_val *found = NULL, *name, *value;
	size_t i, n;

	yyjson_obj_foreach(object, i, n, name, value)
	{
		if (rl_str_eq(rl_json_doc_str(name), key))
			found = value;
	}
	return found;
}

static void check_spans(rl_str text, yyjson_val *root, const struct rl_json_span *spans)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		yyjson_val *value = last_member(root, keys[i]);
		rl_str name = rl_str_sub(text, spans[i].key_off, spans[i].off - spans[i].key_off);

		CHECK(type_agrees(spans[i].type, value));
		if (!value)
			continue;
		check_same(rl_json_span_text(text, &spans[i]), value);
		while (name.n && name.p[name.n - 1] != '"')
			name.n--;
		CHECK(rl_json_string_is(name, keys[i]));
	}
}

/* A second opinion on look-alikes, from the unescaped key: folds ASCII and the four letters one by one. */
static bool looks_like(rl_str name, rl_str wanted)
{
	static const struct {
		rl_str from;
		char to;
	} folds[] = {{RL_STR_INIT("\xe2\x84\xaa"), 'k'},
		     {RL_STR_INIT("\xc5\xbf"), 's'},
		     {RL_STR_INIT("\xc4\xb0"), 'i'},
		     {RL_STR_INIT("\xc4\xb1"), 'i'}};
	char folded[16];
	size_t n = 0;

	while (name.n && n < sizeof folded && *name.p) {
		size_t step = 1;

		folded[n] = *name.p;
		for (size_t i = 0; i < 4; i++) {
			if (!rl_str_starts(name, folds[i].from))
				continue;
			folded[n] = folds[i].to;
			step = folds[i].from.n;
		}
		n++;
		name = rl_str_sub(name, step, SIZE_MAX);
	}
	return (!name.n || !*name.p) && rl_str_ieq(rl_str_make(folded, n), wanted);
}

static void check_unambiguous(yyjson_val *root)
{
	yyjson_val *name, *value;
	size_t i, n;

	for (size_t k = 0; k < N_KEYS; k++) {
		unsigned seen = 0;

		yyjson_obj_foreach(root, i, n, name, value)
		{
			if (!looks_like(rl_json_doc_str(name), keys[k]))
				continue;
			CHECK(rl_str_eq(rl_json_doc_str(name), keys[k]));
			seen++;
		}
		CHECK(seen <= 1);
	}
}

/* The same edits on yyjson's tree, in the order in which the splice writes them. */
static rl_str edited_tree(yyjson_doc *doc, const unsigned *order, const unsigned *what,
			  const struct rl_json_span *spans)
{
	yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
	yyjson_mut_val *root = yyjson_mut_doc_get_root(copy);
	size_t n;

	for (size_t i = 0; i < N_KEYS; i++) {
		unsigned k = order[i];
		yyjson_mut_val *name = yyjson_mut_strn(copy, keys[k].p, keys[k].n);

		if (what[k] == 1)
			yyjson_mut_obj_remove(root, name);
		else if (what[k] == 2 && spans[k].type)
			yyjson_mut_obj_replace(root, name, yyjson_mut_uint(copy, k));
		else if (what[k] == 2)
			yyjson_mut_obj_add(root, name, yyjson_mut_uint(copy, k));
	}
	char *text = yyjson_mut_write(copy, 0, &n);

	CHECK(text);
	rl_str result = rl_arena_dup(&arena, rl_str_make(text, n));

	free(text);
	yyjson_mut_doc_free(copy);
	return result;
}

static void check_splice(rl_str text, yyjson_doc *doc, const struct rl_json_span *spans, unsigned dice)
{
	static const rl_str values[N_KEYS] = {RL_STR_INIT("0"), RL_STR_INIT("1"), RL_STR_INIT("2"), RL_STR_INIT("3")};
	struct rl_json_splice splice;
	unsigned what[N_KEYS], order[N_KEYS], first = dice % N_KEYS;
	rl_str result;

	rl_json_splice_init(&splice, text, &arena);
	for (size_t i = 0; i < N_KEYS; i++) {
		unsigned k = order[i] = (unsigned)((first + i * (dice & 4 ? 3 : 1)) % N_KEYS);

		what[k] = dice >> (3 + 2 * k) & 3;
		if (what[k] == 3)
			continue; /* touched twice below */
		if (what[k] == 1)
			rl_json_splice_remove(&splice, &spans[k]);
		else if (what[k] == 2)
			rl_json_splice_set(&splice, &spans[k], keys[k], values[k]);
	}
	for (unsigned k = 0; k < N_KEYS; k++) {
		if (what[k] != 3 || !spans[k].type)
			continue;
		rl_json_splice_set(&splice, &spans[k], keys[k], values[k]);
		rl_json_splice_remove(&splice, &spans[k]);
		what[k] = 1;
	}
	CHECK(rl_json_splice_join(&splice, &result) == RL_OK);
	CHECK(rl_json_scan(result, NULL, 0, RL_JSON_WHOLE_SURROGATES, NULL, NULL) == RL_OK);
	yyjson_doc *edited = parse(result);

	CHECK(edited);
	CHECK(rl_str_eq(written(yyjson_doc_get_root(edited)), edited_tree(doc, order, what, spans)));
	yyjson_doc_free(edited);
}

/* On whatever text: no check but the sanitizers'. */
static void survive(rl_str text)
{
	struct rl_json_span spans[N_KEYS];
	struct rl_json_iter iter;
	rl_str key, value;
	uint64_t number;
	size_t n = 0;

	rl_json_find(text, keys, N_KEYS, spans);
	for (size_t i = 0; i < N_KEYS; i++)
		CHECK(!spans[i].type || (spans[i].off <= text.n && spans[i].n <= text.n - spans[i].off));
	rl_json_iter_array(&iter, text);
	while (rl_json_iter_next(&iter, &value))
		CHECK(n++ <= text.n && value.p >= text.p && value.n <= text.n);
	rl_json_iter_object(&iter, text);
	while (rl_json_iter_member(&iter, &key, &value))
		(void)rl_json_string_is(key, keys[0]);
	(void)rl_json_string_is(text, keys[0]);
	(void)rl_json_u64(text, &number);
	CHECK(rl_json_unescape(text, &arena, &value) != RL_ERR_NOMEM);
}

/* A text of the form of a valid one is valid, and its wanted members are where they were, moved by the lengths of strings. */
static void check_form(rl_str text, const struct rl_json_span *spans, unsigned dice)
{
	struct rl_json_form form = {.n_strings = 0};
	struct rl_json_span again[N_KEYS];
	rl_str open[2];
	size_t n = 0, i;
	char *other;

	for (i = 0; i < N_KEYS && n < 2; i++)
		if (spans[i].type == RL_JSON_STRING && spans[i].n > 2)
			open[n++] = rl_json_span_text(text, &spans[i]);
	if (n == 2 && open[1].p < open[0].p) {
		rl_str first = open[1];

		open[1] = open[0];
		open[0] = first;
	}
	rl_json_form_keep(&form, text, open, n);
	CHECK(rl_json_form_fits(&form, text) == (form.n_strings > 0));
	if (!form.n_strings)
		return;
	other = malloc(text.n);
	CHECK(other);
	memcpy(other, text.p, text.n);
	for (unsigned round = 0; round < 3; round++) {
		other[(dice >> (8 * round)) % text.n] = "\"{}[],: 0tn\\"[(dice >> (4 * round)) % 13];
		rl_str changed = rl_str_make(other, dice & 1 ? text.n : (dice >> 8) % text.n);

		if (!rl_json_form_fits(&form, changed))
			continue;
		CHECK(rl_json_scan(changed, keys, N_KEYS, RL_JSON_LAX, again, NULL) == RL_OK);
		for (i = 0; i < N_KEYS; i++)
			CHECK(again[i].type == spans[i].type);
	}
	free(other);
}

static void check_accepted(rl_str text, yyjson_doc *doc, const struct rl_json_span *spans, unsigned dice)
{
	struct rl_json_span again[N_KEYS];
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct rl_json_error error;
	enum rl_err err = rl_json_scan(text, keys, N_KEYS, RL_JSON_STRICT_KEYS, again, &error);

	check_spans(text, root, spans);
	check_tree(text, root);
	if (err == RL_OK) {
		CHECK(memcmp(again, spans, sizeof again) == 0);
		check_unambiguous(root);
		if (yyjson_is_obj(root))
			check_splice(text, doc, spans, dice);
	} else {
		CHECK(err == RL_ERR_DUPLICATE && error.key.n && text.p[error.offset] == '"');
	}
	check_form(text, spans, dice);
	rl_json_find(text, keys, N_KEYS, again);
	CHECK(memcmp(again, spans, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rl_str text = rl_str_make(data, size);
	struct rl_json_span spans[N_KEYS];
	struct rl_json_error error = {0};
	yyjson_doc *doc = parse(text), *ours = NULL;
	unsigned dice = 2166136261u;

	rl_arena_init(&arena, 64 << 20);
	for (size_t i = 0; i < size; i++)
		dice = (dice ^ data[i]) * 16777619u;
	survive(text);
	enum rl_err lax = rl_json_scan(text, keys, N_KEYS, RL_JSON_LAX, spans, &error);
	enum rl_err whole = rl_json_scan(text, NULL, 0, RL_JSON_WHOLE_SURROGATES, NULL, NULL);
	enum rl_err read = rl_json_doc_read(text, RL_JSON_DOC_PLAIN, &arena, &ours, NULL);

	CHECK(read == whole && (read == RL_OK) == (ours != NULL));
	if (whole != RL_ERR_LIMIT)
		CHECK((whole == RL_OK) == (doc != NULL));
	if (lax == RL_OK) {
		CHECK(error.lone_surrogate == (whole != RL_OK));
	} else {
		CHECK(whole != RL_OK && error.offset <= size && error.line >= 1 && error.column >= 1 && error.what);
		CHECK(error.line - 1 + error.column - 1 <= error.offset);
	}
	if (whole == RL_OK)
		check_accepted(text, doc, spans, dice ^ dice >> 15);
	yyjson_doc_free(doc);
	rl_arena_fini(&arena);
	return 0;
}
