/* SPDX-License-Identifier: Apache-2.0 */
/* Reading accepted text: nested members, elements, numbers, strings; and that other text is survived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "json/scan.h"

#define T(lit) RL_STR_INIT(lit)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void same(rl_str got, const char *wanted)
{
	assert_int_equal(got.n, strlen(wanted));
	assert_memory_equal(got.p, wanted, got.n);
}

static void test_type_of(void **state)
{
	static const struct {
		rl_str value;
		enum rl_json_type type;
	} cases[] = {
		{T("{}"), RL_JSON_OBJECT}, {T(" [1] "), RL_JSON_ARRAY}, {T("\"\""), RL_JSON_STRING},
		{T("-1"), RL_JSON_NUMBER}, {T("0"), RL_JSON_NUMBER},    {T("9"), RL_JSON_NUMBER},
		{T("true"), RL_JSON_TRUE}, {T("false"), RL_JSON_FALSE}, {T("\n\t null\r"), RL_JSON_NULL},
		{T(""), RL_JSON_NONE},     {T("  "), RL_JSON_NONE},     {T("x"), RL_JSON_NONE},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(rl_json_type_of(cases[i].value), cases[i].type);
	assert_int_equal(rl_json_type_of(rl_str_make(NULL, 0)), RL_JSON_NONE);
}

static void test_find(void **state)
{
	static const rl_str keys[] = {T("usage"), T("id"), T("total")};
	rl_str text = RL_STR(
		"{\"a\":{\"id\":[\"}\\\"]\",{\"x\":[]}], \"\\u0075sage\" :{\"total\":12} ,\"id\":null,\"z\":1e5}}");
	rl_str outer_key = RL_STR("a");
	struct rl_json_span outer, spans[3];

	(void)state;
	assert_int_equal(rl_json_scan(text, &outer_key, 1, 0, &outer, NULL), RL_OK);
	rl_str object = rl_json_span_text(text, &outer);

	rl_json_find(object, keys, 3, spans);
	same(rl_json_span_text(object, &spans[0]), "{\"total\":12}");
	assert_int_equal(spans[0].type, RL_JSON_OBJECT);
	assert_memory_equal(object.p + spans[0].key_off, "\"\\u0075sage\"", 12);
	assert_int_equal(spans[1].type, RL_JSON_NULL); /* the last one */
	assert_int_equal(spans[2].type, RL_JSON_NONE); /* one level further down */
	rl_json_find(rl_json_span_text(object, &spans[0]), keys, 3, spans);
	assert_int_equal(spans[2].type, RL_JSON_NUMBER);
	rl_json_find(RL_STR("[{\"id\":1}]"), keys, 3, spans);
	assert_int_equal(spans[1].type, RL_JSON_NONE);
}

static void check_elements(rl_str array, const char *const *wanted, size_t n)
{
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, array);
	for (size_t i = 0; i < n; i++) {
		assert_true(rl_json_iter_next(&iter, &element));
		same(element, wanted[i]);
	}
	assert_false(rl_json_iter_next(&iter, &element));
	assert_false(rl_json_iter_next(&iter, &element));
}

static void test_arrays(void **state)
{
	static const char *const mixed[] = {"1", "\"a,]\\\"\"", "[ 2, [3] ]", "{\"x\":[\"]\"]}", "null", "-1.5e3"};
	static const char *const one[] = {
		"\"the long string that needs more than one wide step, \\\\ and [brackets]\""};

	(void)state;
	check_elements(RL_STR(" [1 ,\"a,]\\\"\" , [ 2, [3] ],{\"x\":[\"]\"]},null\n, -1.5e3 ] "), mixed, COUNT(mixed));
	check_elements(RL_STR("[\"the long string that needs more than one wide step, \\\\ and [brackets]\"]"), one, 1);
	check_elements(RL_STR("[]"), NULL, 0);
	check_elements(RL_STR("[ \n ]"), NULL, 0);
	check_elements(RL_STR("{\"a\":1}"), NULL, 0);
	check_elements(RL_STR("\"[1]\""), NULL, 0);
	check_elements(RL_STR("1"), NULL, 0);
	check_elements(rl_str_make(NULL, 0), NULL, 0);
}

static void test_members(void **state)
{
	struct rl_json_iter iter;
	rl_str key, value;

	(void)state;
	rl_json_iter_object(&iter, RL_STR(" { \"a\" : 1 ,\"b\\\"\":{\"c\":[]}, \"\":\"x\" } "));
	assert_true(rl_json_iter_member(&iter, &key, &value));
	same(key, "\"a\"");
	same(value, "1");
	assert_true(rl_json_iter_member(&iter, &key, &value));
	same(key, "\"b\\\"\"");
	same(value, "{\"c\":[]}");
	assert_true(rl_json_iter_member(&iter, &key, &value));
	same(key, "\"\"");
	same(value, "\"x\"");
	assert_false(rl_json_iter_member(&iter, &key, &value));
	rl_json_iter_object(&iter, RL_STR("[\"a\"]"));
	assert_false(rl_json_iter_member(&iter, &key, &value));
}

/* Elements that are objects, walked in place: what enter and leave see is what next would have given. */
static void test_enter(void **state)
{
	static const struct {
		const char *text, *seen;
		bool whole; /* ended at the array's end */
	} rows[] = {
		{"[]", "", true},
		{"[{}]", ";", true},
		{" [ { \"a\" : 1 , \"b\" : {\"c\":[2,\"}\"]} } , {} ] ", "\"a\"1\"b\"{\"c\":[2,\"}\"]};;", true},
		{"[{\"a\":\"]\"},3]", "\"a\"\"]\";", false},
		{"[3,{\"a\":1}]", "", false},
		{"{\"a\":1}", "", true}, /* no array: no elements */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct rl_json_iter iter, members;
		rl_str key, value;
		struct rl_buf seen;

		rl_buf_init(&seen, 1024);
		rl_json_iter_array(&iter, rl_str_of(rows[i].text));
		while (rl_json_iter_enter(&iter, &members)) {
			while (rl_json_iter_member(&members, &key, &value)) {
				rl_buf_add(&seen, key);
				rl_buf_add(&seen, value);
			}
			rl_json_iter_leave(&iter, &members);
			rl_buf_byte(&seen, ';');
		}
		if (!rl_str_eq(rl_buf_str(&seen), rl_str_of(rows[i].seen)) ||
		    rl_json_iter_at_end(&iter) != rows[i].whole)
			fail_msg("%s: %.*s", rows[i].text, RL_STR_ARG(rl_buf_str(&seen)));
		rl_buf_fini(&seen);
	}
}

static void test_u64(void **state)
{
	static const struct {
		rl_str value;
		bool ok;
		uint64_t number;
	} cases[] = {
		{T("0"), true, 0},
		{T(" 42 "), true, 42},
		{T("18446744073709551615"), true, UINT64_MAX},
		{T("18446744073709551616"), false, 0},
		{T("99999999999999999999999"), false, 0},
		{T("-0"), false, 0},
		{T("-1"), false, 0},
		{T("1.0"), false, 0},
		{T("1e3"), false, 0},
		{T("\"1\""), false, 0},
		{T("null"), false, 0},
		{T(""), false, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t number = 0;
		assert_int_equal(rl_json_u64(cases[i].value, &number), cases[i].ok);
		assert_true(number == cases[i].number);
	}
}

static void test_bool(void **state)
{
	bool yes = false;

	(void)state;
	assert_true(rl_json_bool(RL_STR(" true"), &yes));
	assert_true(yes);
	assert_false(rl_json_bool(RL_STR("\"false\""), &yes));
	assert_false(rl_json_bool(RL_STR("0"), &yes));
	assert_true(yes);
	assert_true(rl_json_bool(RL_STR("false"), &yes));
	assert_false(yes);
}

static void test_string_is(void **state)
{
	(void)state;
	assert_true(rl_json_string_is(RL_STR("\"stop\""), RL_STR("stop")));
	assert_true(rl_json_string_is(RL_STR(" \"st\\u006fp\" "), RL_STR("stop")));
	assert_true(rl_json_string_is(RL_STR("\"\""), RL_STR("")));
	assert_true(rl_json_string_is(RL_STR("\"a\\/b\\n\""), RL_STR("a/b\n")));
	assert_true(rl_json_string_is(RL_STR("\"\\ud83d\\ude00\""), RL_STR("\xf0\x9f\x98\x80")));
	assert_true(rl_json_string_is(RL_STR("\"\\u0000\""), RL_STR("\0")));
	assert_false(rl_json_string_is(RL_STR("\"stop\""), RL_STR("sto")));
	assert_false(rl_json_string_is(RL_STR("\"sto\""), RL_STR("stop")));
	assert_false(rl_json_string_is(RL_STR("\"Stop\""), RL_STR("stop")));
	assert_false(rl_json_string_is(RL_STR("\"\\n\""), RL_STR("\\n")));
	assert_false(rl_json_string_is(RL_STR("\"\\\\n\""), RL_STR("\n")));
	assert_false(rl_json_string_is(RL_STR("\"\\ud800\""), RL_STR("\xf0\x9f\x98\x80")));
	assert_false(rl_json_string_is(RL_STR("stop"), RL_STR("stop")));
	assert_false(rl_json_string_is(RL_STR("null"), RL_STR("")));
	assert_false(rl_json_string_is(RL_STR("\""), RL_STR("")));
}

static void test_unescape(void **state)
{
	static const struct {
		rl_str value, text;
	} cases[] = {
		{T("\"\""), T("")},
		{T("\"plain\""), T("plain")},
		{T(" \"sp\" "), T("sp")},
		{T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), T("\"\\/\b\f\n\r\t")},
		{T("\"a\\u0041z\""), T("aAz")},
		{T("\"\\u00e9\\u20AC\""), T("\xc3\xa9\xe2\x82\xac")},
		{T("\"x\\ud83d\\uDE00y\""), T("x\xf0\x9f\x98\x80y")},
		{T("\"\\udbff\\udfff\""), T("\xf4\x8f\xbf\xbf")},
		{T("\"\\uffff\\u07ff\\u0800\\u007f\\u0080\""), T("\xef\xbf\xbf\xdf\xbf\xe0\xa0\x80\x7f\xc2\x80")},
		{T("\"a\\u0000b\""), T("a\0b")},
		{T("\"\\\\u0041\""), T("\\u0041")},
		{T("\"\xe4\xbd\xa0\\n\xe5\xa5\xbd\""), T("\xe4\xbd\xa0\n\xe5\xa5\xbd")},
	};
	struct rl_arena arena;
	rl_str text;

	(void)state;
	rl_arena_init(&arena, 4096);
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(rl_json_unescape(cases[i].value, &arena, &text), RL_OK);
		assert_true(rl_str_eq(text, cases[i].text));
	}
	rl_arena_fini(&arena);
}

static void test_unescape_copies_only_escapes(void **state)
{
	rl_str plain = RL_STR("\"no escape\""), text;
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 16);
	assert_int_equal(rl_json_unescape(plain, &arena, &text), RL_OK);
	assert_ptr_equal(text.p, plain.p + 1);
	assert_int_equal(arena.used_bytes, 0);
	assert_int_equal(rl_json_unescape(RL_STR("\"a string too long for this arena\\n\""), &arena, &text),
			 RL_ERR_NOMEM);
	rl_arena_fini(&arena);
}

static void test_unescape_refuses(void **state)
{
	static const rl_str bad[] = {T("\"\\ud800\""),
				     T("\"\\udc00\""),
				     T("\"\\ud800\\ud800\""),
				     T("\"\\ud800\\u0041\""),
				     T("\"x\\udfffy\""),
				     T("1"),
				     T("null"),
				     T(""),
				     T("\""),
				     T("[\"a\"]")};
	struct rl_arena arena;
	rl_str text;

	(void)state;
	rl_arena_init(&arena, 4096);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(rl_json_unescape(bad[i], &arena, &text), RL_ERR_SYNTAX);
	rl_arena_fini(&arena);
}

/* Every part of a text, at exact size: wrong answers are fine, wrong accesses and endless walks are not. */
static void test_other_text_is_survived(void **state)
{
	static const char whole[] =
		"{\"a\":[1,\"b\\u00e9\\\\\",{\"c\":null}],\"\\ud83d\\ude00\":\"long enough for a wide step\"}";
	static const rl_str keys[] = {T("a"), T("c")};
	struct rl_json_span spans[2];
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	for (size_t from = 0; from < sizeof whole - 1; from++) {
		for (size_t n = 1; n <= sizeof whole - 1 - from; n++) {
			char *copy = malloc(n);
			rl_str part = rl_str_make(copy, n), key, value;
			struct rl_json_iter iter;
			size_t steps = 0;

			assert_non_null(copy);
			memcpy(copy, whole + from, n);
			rl_json_find(part, keys, 2, spans);
			rl_json_iter_array(&iter, part);
			while (rl_json_iter_next(&iter, &value))
				assert_true(steps++ <= n);
			rl_json_iter_object(&iter, part);
			while (rl_json_iter_member(&iter, &key, &value))
				assert_true(steps++ <= 2 * n);
			assert_false(rl_json_string_is(part, RL_STR("nothing of this")));
			enum rl_err err = rl_json_unescape(part, &arena, &value);
			assert_true(err == RL_OK || err == RL_ERR_SYNTAX);
			free(copy);
		}
	}
	rl_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_type_of),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_enter),
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_string_is),
		cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_unescape_copies_only_escapes),
		cmocka_unit_test(test_unescape_refuses),
		cmocka_unit_test(test_other_text_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
