/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splicing: the exact text for the cases that commas make hard, then all
 * combinations of edits over objects of different sizes and spacing, judged by
 * yyjson.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/buf.h"
#include "json/splice.h"

#define T(lit) RL_STR_INIT(lit)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const rl_str keys[] = {T("a"), T("b"), T("c"), T("d")};
#define N_KEYS COUNT(keys)

static struct rl_arena arena;

static int set_up(void **state)
{
	(void)state;
	rl_arena_init(&arena, 1 << 24);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rl_arena_fini(&arena);
	return 0;
}

/* Edits are written as letters: "-a" removes, "=a" sets to 9, each in turn. */
static rl_str edit(rl_str text, const char *edits)
{
	struct rl_json_span spans[N_KEYS];
	struct rl_json_splice splice;
	rl_str result;

	assert_int_equal(rl_json_scan(text, keys, N_KEYS, RL_JSON_STRICT_KEYS, spans, NULL), RL_OK);
	rl_json_splice_init(&splice, text, &arena);
	for (; *edits; edits += 2) {
		int k = edits[1] - 'a';

		if (edits[0] == '-')
			rl_json_splice_remove(&splice, &spans[k]);
		else
			rl_json_splice_set(&splice, &spans[k], keys[k], RL_STR("9"));
	}
	assert_int_equal(rl_json_splice_join(&splice, &result), RL_OK);
	return result;
}

static void test_exact_texts(void **state)
{
	static const struct {
		rl_str text;
		const char *edits, *result;
	} cases[] = {
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "", "{\"a\":1,\"b\":2,\"c\":3}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "=b", "{\"a\":1,\"b\":9,\"c\":3}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-a", "{\"b\":2,\"c\":3}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-b", "{\"a\":1,\"c\":3}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-c", "{\"a\":1,\"b\":2}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-a-b", "{\"c\":3}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-c-b", "{\"a\":1}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-c-a", "{\"b\":2}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-b-c-a", "{}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "-b-c-a=d", "{\"d\":9}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "=d", "{\"a\":1,\"b\":2,\"c\":3,\"d\":9}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "=d-c=b", "{\"a\":1,\"b\":9,\"d\":9}"},
		{T("{\"a\":1,\"b\":2,\"c\":3}"), "=c=d", "{\"a\":1,\"b\":2,\"c\":9,\"d\":9}"},
		{T("{\"a\":1}"), "-a", "{}"},
		{T("{\"a\":1}"), "-a-a=d", "{\"d\":9}"},
		{T("{\"a\":1}"), "-a=a", "{\"a\":9}"},
		{T("{\"a\":1}"), "=a-a", "{}"},
		{T("{\"a\":1}"), "-b", "{\"a\":1}"},
		{T("{}"), "", "{}"},
		{T("{}"), "-a", "{}"},
		{T("{}"), "=a=b=a", "{\"a\":9,\"b\":9}"},
		{T(" { \n } "), "=a", " {\"a\":9 \n } "},
		{T(" { \"a\" : 1 , \"b\" : 2 } "), "-a", " { \"b\" : 2 } "},
		{T(" { \"a\" : 1 , \"b\" : 2 } "), "-b", " { \"a\" : 1  } "},
		{T(" { \"a\" : 1 , \"b\" : 2 } "), "-a-b", " {  } "},
		{T(" { \"a\" : 1 , \"b\" : 2 } "), "-b=c", " { \"a\" : 1 ,\"c\":9 } "},
		{T(" { \"a\" : 1 , \"b\" : 2 } "), "=c", " { \"a\" : 1 , \"b\" : 2,\"c\":9 } "},
		{T("{\"x\":{\"a\":\",\"},\"a\":\"},{\"}"), "-a", "{\"x\":{\"a\":\",\"}}"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		rl_str result = edit(cases[i].text, cases[i].edits);
		if (!rl_str_eq(result, rl_str_of(cases[i].result)))
			fail_msg("%.*s %s: %.*s", RL_STR_ARG(cases[i].text), cases[i].edits, RL_STR_ARG(result));
	}
}

/* The object whose members are the digits of `shape` in base 6 (0: none, 5: one with another key). */
static rl_str make_object(unsigned shape, const char *gap)
{
	struct rl_buf buf;
	bool used[N_KEYS] = {false}, first = true;

	rl_buf_init(&buf, 4096);
	rl_buf_printf(&buf, "%s{", gap);
	for (unsigned i = 0; i < 4; i++, shape /= 6) {
		unsigned digit = shape % 6;

		if (!digit || (digit < 5 && used[digit - 1]))
			continue;
		if (digit < 5)
			used[digit - 1] = true;
		rl_buf_printf(&buf, "%s%s\"%c\"%s:%s{\"a\":[%u,\"}\"]}%s", first ? "" : ",", gap,
			      digit < 5 ? 'a' + (int)digit - 1 : 'z', gap, gap, i, gap);
		first = false;
	}
	rl_buf_printf(&buf, "%s}%s", gap, gap);
	rl_str text = rl_arena_dup(&arena, rl_buf_str(&buf));

	rl_buf_fini(&buf);
	return text;
}

/* What yyjson makes of the same edits; `edits` has the digits of base 3: nothing, remove, set. */
static char *expected(rl_str text, unsigned edits)
{
	yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
	yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
	yyjson_mut_val *root = yyjson_mut_doc_get_root(copy);

	for (size_t k = 0; k < N_KEYS; k++, edits /= 3) {
		yyjson_mut_val *key = yyjson_mut_strn(copy, keys[k].p, keys[k].n);

		if (edits % 3 == 1)
			yyjson_mut_obj_remove(root, key);
		else if (edits % 3 == 2 && !yyjson_mut_obj_replace(root, key, yyjson_mut_uint(copy, k)))
			yyjson_mut_obj_add(root, key, yyjson_mut_uint(copy, k));
	}
	char *result = yyjson_mut_write(copy, 0, NULL);

	yyjson_mut_doc_free(copy);
	yyjson_doc_free(doc);
	return result;
}

static rl_str spliced(rl_str text, unsigned edits, bool backwards)
{
	static const rl_str values[N_KEYS] = {T("0"), T("1"), T("2"), T("3")};
	static const unsigned power[N_KEYS] = {1, 3, 9, 27};
	struct rl_json_span spans[N_KEYS];
	struct rl_json_splice splice;
	rl_str result;

	assert_int_equal(rl_json_scan(text, keys, N_KEYS, RL_JSON_STRICT_KEYS, spans, NULL), RL_OK);
	rl_json_splice_init(&splice, text, &arena);
	for (size_t i = 0; i < N_KEYS; i++) {
		/* Added members keep the order in which they are given, so only edits of old ones go backwards. */
		size_t k = backwards ? N_KEYS - 1 - i : i;
		unsigned what = edits / power[k] % 3;

		if (what == 1)
			rl_json_splice_remove(&splice, &spans[k]);
		else if (what == 2 && (spans[k].type || !backwards))
			rl_json_splice_set(&splice, &spans[k], keys[k], values[k]);
	}
	for (size_t k = 0; backwards && k < N_KEYS; k++)
		if (edits / power[k] % 3 == 2 && !spans[k].type)
			rl_json_splice_set(&splice, &spans[k], keys[k], values[k]);
	assert_int_equal(rl_json_splice_join(&splice, &result), RL_OK);
	return result;
}

static void check_combination(rl_str text, unsigned edits)
{
	char *wanted = expected(text, edits);

	assert_non_null(wanted);
	for (int backwards = 0; backwards < 2; backwards++) {
		rl_str got = spliced(text, edits, backwards);
		yyjson_doc *doc = yyjson_read(got.p, got.n, 0);
		char *compact = yyjson_write(doc, 0, NULL);

		if (!compact || strcmp(compact, wanted) != 0)
			fail_msg("%.*s edits %u: %.*s", RL_STR_ARG(text), edits, RL_STR_ARG(got));
		free(compact);
		yyjson_doc_free(doc);
	}
	free(wanted);
}

static void test_all_combinations(void **state)
{
	static const char *const gaps[] = {"", " ", "\n\t"};

	(void)state;
	for (unsigned shape = 0; shape < 6 * 6 * 6 * 6; shape += 1 + shape % 3) {
		rl_str text = make_object(shape, gaps[shape % 3]);

		for (unsigned edits = 0; edits < 81; edits++)
			check_combination(text, edits);
		rl_arena_reset(&arena);
	}
}

static void test_parts_are_borrowed(void **state)
{
	rl_str text = RL_STR("{\"a\":1,\"b\":2,\"c\":3}"), value = RL_STR("\"new\""), parts[RL_JSON_PARTS_MAX];
	struct rl_json_span spans[N_KEYS];
	struct rl_json_splice splice;
	size_t n, total;

	(void)state;
	assert_int_equal(rl_json_scan(text, keys, N_KEYS, 0, spans, NULL), RL_OK);
	rl_json_splice_init(&splice, text, &arena);
	rl_json_splice_set(&splice, &spans[1], keys[1], value);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(rl_json_splice_parts(&splice, parts, &n, &total), RL_OK);
		assert_int_equal(n, 4);
		assert_ptr_equal(parts[0].p, text.p);
		assert_ptr_equal(parts[1].p, value.p);
		assert_int_equal(total, text.n - 1 + value.n);
	}
	assert_int_equal(arena.used_bytes, 0);
}

/* The second time the same, also when a run of removals reaches the end. */
static void test_parts_can_be_taken_twice(void **state)
{
	rl_str text = RL_STR("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"), first, second;
	struct rl_json_span spans[N_KEYS];
	struct rl_json_splice splice;

	(void)state;
	assert_int_equal(rl_json_scan(text, keys, N_KEYS, 0, spans, NULL), RL_OK);
	rl_json_splice_init(&splice, text, &arena);
	rl_json_splice_remove(&splice, &spans[3]);
	rl_json_splice_remove(&splice, &spans[1]);
	rl_json_splice_remove(&splice, &spans[2]);
	assert_int_equal(rl_json_splice_join(&splice, &first), RL_OK);
	assert_int_equal(rl_json_splice_join(&splice, &second), RL_OK);
	assert_true(rl_str_eq(first, RL_STR("{\"a\":1}")));
	assert_true(rl_str_eq(first, second));
}

static void test_added_keys_are_escaped(void **state)
{
	static const struct rl_json_span absent;
	struct rl_json_splice splice;
	rl_str result;

	(void)state;
	rl_json_splice_init(&splice, RL_STR("{\"x\":0}"), &arena);
	rl_json_splice_set(&splice, &absent, RL_STR("q\"\\\n"), RL_STR("1"));
	rl_json_splice_set(&splice, &absent, RL_STR(""), RL_STR("2"));
	rl_json_splice_set(&splice, &absent, RL_STR("\xff"), RL_STR("3"));
	assert_int_equal(rl_json_splice_join(&splice, &result), RL_OK);
	assert_int_equal(rl_json_scan(result, NULL, 0, 0, NULL, NULL), RL_OK);
	assert_true(rl_str_eq(result, RL_STR("{\"x\":0,\"q\\\"\\\\\\n\":1,\"\":2,\"\xef\xbf\xbd\":3}")));
}

static void test_bounds(void **state)
{
	static const struct rl_json_span absent;
	struct rl_json_splice splice;
	rl_str parts[RL_JSON_PARTS_MAX], result;
	size_t n;

	(void)state;
	rl_json_splice_init(&splice, RL_STR("{\"x\":0}"), &arena);
	for (int i = 0; i < RL_JSON_EDITS_MAX; i++)
		rl_json_splice_set(&splice, &absent, rl_arena_printf(&arena, "k%d", i), RL_STR("1"));
	assert_int_equal(rl_json_splice_parts(&splice, parts, &n, NULL), RL_OK);
	assert_true(n <= RL_JSON_PARTS_MAX);
	rl_json_splice_set(&splice, &absent, RL_STR("k0"), RL_STR("2")); /* a known one */
	assert_int_equal(rl_json_splice_parts(&splice, parts, &n, NULL), RL_OK);
	rl_json_splice_set(&splice, &absent, RL_STR("one more"), RL_STR("1"));
	assert_int_equal(rl_json_splice_parts(&splice, parts, &n, NULL), RL_ERR_LIMIT);
	assert_int_equal(rl_json_splice_join(&splice, &result), RL_ERR_LIMIT);

	rl_json_splice_init(&splice, RL_STR("[1]"), &arena);
	rl_json_splice_set(&splice, &absent, RL_STR("k"), RL_STR("1"));
	assert_int_equal(rl_json_splice_parts(&splice, parts, &n, NULL), RL_ERR_SYNTAX);
}

static void test_without_memory(void **state)
{
	static const struct rl_json_span absent;
	struct rl_json_splice splice;
	struct rl_arena tiny;
	rl_str result;

	(void)state;
	rl_arena_init(&tiny, 16);
	rl_json_splice_init(&splice, RL_STR("{\"x\":0}"), &tiny);
	assert_int_equal(rl_json_splice_join(&splice, &result), RL_OK);
	rl_json_splice_set(&splice, &absent, RL_STR("a key of some length"), RL_STR("1"));
	assert_int_equal(rl_json_splice_join(&splice, &result), RL_ERR_NOMEM);
	rl_arena_fini(&tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exact_texts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_combinations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parts_are_borrowed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parts_can_be_taken_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_added_keys_are_escaped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
