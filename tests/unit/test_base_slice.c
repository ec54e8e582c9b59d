/* SPDX-License-Identifier: Apache-2.0 */
/* Slices: equality, ends, parts and cutting, with the empty and the NULL slice at every border. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/slice.h"

static const rl_str none = {NULL, 0};

static void equality(void **state)
{
	(void)state;
	assert_true(rl_str_eq(RL_STR("abc"), RL_STR("abc")));
	assert_false(rl_str_eq(RL_STR("abc"), RL_STR("abd")));
	assert_false(rl_str_eq(RL_STR("abc"), RL_STR("ab")));
	assert_false(rl_str_eq(RL_STR("Abc"), RL_STR("abc")));
	assert_true(rl_str_eq(none, RL_STR("")));
	assert_true(rl_str_eq(none, none));
	assert_true(rl_str_eq(RL_STR("a\0b"), RL_STR("a\0b")));
	assert_false(rl_str_eq(RL_STR("a\0b"), RL_STR("a\0c")));

	assert_true(rl_str_ieq(RL_STR("Content-Length"), RL_STR("content-LENGTH")));
	assert_false(rl_str_ieq(RL_STR("content-length"), RL_STR("content_length")));
	/* The Kelvin sign and other look-alikes are not ASCII letters. */
	assert_false(rl_str_ieq(RL_STR("\xE2\x84\xAA"), RL_STR("k")));
	assert_true(rl_str_ieq(none, none));
}

static void made_of(void **state)
{
	(void)state;
	assert_int_equal(rl_str_of(NULL).n, 0);
	assert_null(rl_str_of(NULL).p);
	assert_int_equal(rl_str_of("four").n, 4);
	assert_int_equal(rl_str_make("four", 2).n, 2);

	static const rl_str fixed = RL_STR_INIT("fixed");
	assert_true(rl_str_eq(fixed, RL_STR("fixed")));
}

static void starts_and_ends(void **state)
{
	(void)state;
	assert_true(rl_str_starts(RL_STR("data: x"), RL_STR("data:")));
	assert_true(rl_str_starts(RL_STR("x"), none));
	assert_true(rl_str_starts(none, none));
	assert_false(rl_str_starts(RL_STR("dat"), RL_STR("data")));
	assert_false(rl_str_starts(none, RL_STR("d")));
	assert_true(rl_str_ends(RL_STR("a.yaml"), RL_STR(".yaml")));
	assert_true(rl_str_ends(RL_STR("a"), none));
	assert_false(rl_str_ends(RL_STR("aml"), RL_STR("yaml")));
	assert_false(rl_str_ends(none, RL_STR("l")));
}

static void parts(void **state)
{
	rl_str s = RL_STR("0123456789");

	(void)state;
	assert_true(rl_str_eq(rl_str_sub(s, 2, 3), RL_STR("234")));
	assert_true(rl_str_eq(rl_str_sub(s, 8, 100), RL_STR("89")));
	assert_true(rl_str_eq(rl_str_sub(s, 10, 1), RL_STR("")));
	assert_true(rl_str_eq(rl_str_sub(s, 11, 1), RL_STR("")));
	assert_true(rl_str_eq(rl_str_sub(s, SIZE_MAX, SIZE_MAX), RL_STR("")));
	assert_true(rl_str_eq(rl_str_sub(s, 1, SIZE_MAX), RL_STR("123456789")));
	assert_null(rl_str_sub(none, 3, 3).p);
}

static void finding(void **state)
{
	(void)state;
	assert_int_equal(rl_str_find(RL_STR("a/b/c"), '/'), 1);
	assert_int_equal(rl_str_find(RL_STR("/"), '/'), 0);
	assert_int_equal(rl_str_find(RL_STR("abc"), 'c'), 2);
	assert_true(rl_str_find(RL_STR("abc"), '/') == SIZE_MAX);
	assert_true(rl_str_find(none, '/') == SIZE_MAX);
	assert_int_equal(rl_str_find(RL_STR("a\0b"), 'b'), 2);
}

static void trimming(void **state)
{
	(void)state;
	assert_true(rl_str_eq(rl_str_trim(RL_STR(" \t a b\t ")), RL_STR("a b")));
	assert_true(rl_str_eq(rl_str_trim(RL_STR("a")), RL_STR("a")));
	assert_int_equal(rl_str_trim(RL_STR(" \t ")).n, 0);
	assert_int_equal(rl_str_trim(none).n, 0);
	/* OWS is spaces and tabs only. */
	assert_true(rl_str_eq(rl_str_trim(RL_STR("\r\na\n")), RL_STR("\r\na\n")));
}

static void cutting(void **state)
{
	static const struct {
		const char *text, *parts[4];
	} cases[] = {
		{"a,b,c", {"a", "b", "c"}}, {"a", {"a"}},           {"", {""}}, {",", {"", ""}},
		{"a,", {"a", ""}},          {",,b", {"", "", "b"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		rl_str rest = rl_str_of(cases[i].text);
		size_t n = 0;

		while (rest.p) {
			rl_str part = rl_str_cut(&rest, ',');

			assert_true(n < 4 && cases[i].parts[n]);
			assert_true(rl_str_eq(part, rl_str_of(cases[i].parts[n])));
			n++;
		}
		assert_true(n == 4 || !cases[i].parts[n]);
	}
}

/* From and to memory of exactly that size. */
static void short_copies(void **state)
{
	(void)state;
	for (size_t n = 0; n < 80; n++) {
		char *from = malloc(n + 1), *to = malloc(n + 2);

		assert_true(from && to);
		for (size_t i = 0; i < n; i++)
			from[i] = (char)(i + 1);
		memset(to, -1, n + 2);
		rl_copy_short(to + 1, from, n);
		assert_memory_equal(to + 1, from, n);
		assert_true(to[0] == -1 && to[n + 1] == -1);
		free(from);
		free(to);
		from = memset(malloc(n ? n : 1), 'x', n ? n : 1);
		to = malloc(n ? n : 1);
		rl_copy_short(to, from, n);
		assert_memory_equal(to, from, n);
		free(from);
		free(to);
	}
	rl_copy_short(NULL, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equality), cmocka_unit_test(made_of),      cmocka_unit_test(starts_and_ends),
		cmocka_unit_test(parts),    cmocka_unit_test(finding),      cmocka_unit_test(trimming),
		cmocka_unit_test(cutting),  cmocka_unit_test(short_copies),
	};

	return cmocka_run_group_tests_name("base/slice", tests, NULL, NULL);
}
