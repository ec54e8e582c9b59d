/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded buffers: the maximum, the sticky failure, numbers, and JSON strings made of any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/buf.h"

static void assert_holds(const struct rl_buf *buf, const char *text)
{
	rl_str s = rl_buf_str(buf);

	if (!rl_str_eq(s, rl_str_of(text)))
		fail_msg("holds '%.*s', not '%s'", RL_STR_ARG(s), text);
}

static void maximum_is_exact(void **state)
{
	struct rl_buf buf;

	(void)state;
	rl_buf_init(&buf, 8);
	RL_BUF_LIT(&buf, "1234567");
	rl_buf_byte(&buf, '8');
	assert_true(rl_buf_ok(&buf));
	assert_holds(&buf, "12345678");
	rl_buf_byte(&buf, '9');
	assert_false(rl_buf_ok(&buf));
	assert_holds(&buf, "12345678");
	rl_buf_fini(&buf);
}

static void failure_sticks_and_keeps_content(void **state)
{
	struct rl_buf buf;

	(void)state;
	rl_buf_init(&buf, 10);
	RL_BUF_LIT(&buf, "12345");
	RL_BUF_LIT(&buf, "too long by one");
	assert_holds(&buf, "12345");
	assert_false(rl_buf_ok(&buf));
	RL_BUF_LIT(&buf, "6");
	rl_buf_byte(&buf, '7');
	rl_buf_printf(&buf, "%d", 8);
	assert_null(rl_buf_reserve(&buf, 1));
	assert_holds(&buf, "12345");
	assert_false(rl_buf_ok(&buf));
	rl_buf_reset(&buf);
	assert_true(rl_buf_ok(&buf));
	assert_int_equal(buf.n, 0);
	RL_BUF_LIT(&buf, "fits");
	assert_true(rl_buf_ok(&buf));
	assert_holds(&buf, "fits");
	rl_buf_fini(&buf);
	rl_buf_fini(&buf);
	rl_buf_fini(NULL);
}

static void growth_stops_at_maximum(void **state)
{
	struct rl_buf buf;
	size_t max = 100000;

	(void)state;
	rl_buf_init(&buf, max);
	for (size_t i = 0; i < max; i++)
		rl_buf_byte(&buf, (char)('a' + i % 26));
	assert_true(rl_buf_ok(&buf));
	assert_int_equal(buf.n, max);
	assert_true(buf.cap <= max);
	for (size_t i = 0; i < max; i++)
		assert_int_equal(buf.p[i], 'a' + (int)(i % 26));
	rl_buf_byte(&buf, 'x');
	assert_false(rl_buf_ok(&buf));
	rl_buf_fini(&buf);
}

static void reserving(void **state)
{
	struct rl_buf buf;

	(void)state;
	rl_buf_init(&buf, 1000);
	char *at = rl_buf_reserve(&buf, 1000);

	assert_non_null(at);
	memset(at, 'r', 1000);
	buf.n = 1000;
	assert_null(rl_buf_reserve(&buf, 1));
	assert_false(rl_buf_ok(&buf));
	rl_buf_reset(&buf);
	assert_null(rl_buf_reserve(&buf, SIZE_MAX));
	rl_buf_reset(&buf);
	assert_non_null(rl_buf_reserve(&buf, 0));
	rl_buf_fini(&buf);
}

static void numbers(void **state)
{
	struct rl_buf buf;

	(void)state;
	rl_buf_init(&buf, 1000);
	rl_buf_u64(&buf, 0);
	rl_buf_byte(&buf, ' ');
	rl_buf_u64(&buf, UINT64_MAX);
	rl_buf_byte(&buf, ' ');
	rl_buf_i64(&buf, INT64_MIN);
	rl_buf_byte(&buf, ' ');
	rl_buf_i64(&buf, INT64_MAX);
	rl_buf_byte(&buf, ' ');
	rl_buf_i64(&buf, -1);
	assert_holds(&buf, "0 18446744073709551615 -9223372036854775808 9223372036854775807 -1");
	rl_buf_fini(&buf);
}

static void printing(void **state)
{
	struct rl_buf buf;
	char wide[600];

	(void)state;
	for (size_t n = 505; n <= 520; n++) {
		memset(wide, 'w', n);
		wide[n] = '\0';
		rl_buf_init(&buf, n + 3);
		RL_BUF_LIT(&buf, "<");
		rl_buf_printf(&buf, "%s", wide);
		RL_BUF_LIT(&buf, ">");
		assert_true(rl_buf_ok(&buf));
		assert_int_equal(buf.n, n + 2);
		assert_int_equal(buf.p[n + 1], '>');
		rl_buf_fini(&buf);
	}
	rl_buf_init(&buf, 4);
	rl_buf_printf(&buf, "%d", 12345);
	assert_false(rl_buf_ok(&buf));
	assert_int_equal(buf.n, 0);
	rl_buf_fini(&buf);
}

static void consuming(void **state)
{
	struct rl_buf buf;

	(void)state;
	rl_buf_init(&buf, 100);
	RL_BUF_LIT(&buf, "0123456789");
	rl_buf_consume(&buf, 0);
	assert_holds(&buf, "0123456789");
	rl_buf_consume(&buf, 4);
	assert_holds(&buf, "456789");
	rl_buf_consume(&buf, 6);
	assert_int_equal(buf.n, 0);
	rl_buf_fini(&buf);
}

static void json_escapes(void **state)
{
	static const struct {
		rl_str in;
		const char *out;
	} cases[] = {
		{RL_STR_INIT(""), "\"\""},
		{RL_STR_INIT("plain"), "\"plain\""},
		{RL_STR_INIT("\"\\/"), "\"\\\"\\\\/\""},
		{RL_STR_INIT("\n\r\t"), "\"\\n\\r\\t\""},
		{RL_STR_INIT("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\\u007f\""},
		{RL_STR_INIT("h\xC3\xA9llo"), "\"h\xC3\xA9llo\""},
		{RL_STR_INIT("\xF0\x9F\x90\x8E"), "\"\xF0\x9F\x90\x8E\""},
		{RL_STR_INIT("a\xE2\x80\xA8z\xE2\x80\xA9"), "\"a\\u2028z\\u2029\""},
		/* Neighbours of the separators stay. */
		{RL_STR_INIT("\xE2\x80\xA7\xE2\x80\xAA"), "\"\xE2\x80\xA7\xE2\x80\xAA\""},
		/* Not UTF-8: a lone continuation, a cut sequence, overlong, a surrogate, beyond U+10FFFF. */
		{RL_STR_INIT("a\x80z"), "\"a\xEF\xBF\xBDz\""},
		{RL_STR_INIT("\xE2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
		{RL_STR_INIT("\xC0\xAF"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
		{RL_STR_INIT("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
		{RL_STR_INIT("\xF4\x90\x80\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
		{RL_STR_INIT("\xF5z\xFF"), "\"\xEF\xBF\xBDz\xEF\xBF\xBD\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_buf buf;

		rl_buf_init(&buf, 200);
		rl_buf_json(&buf, cases[i].in);
		assert_true(rl_buf_ok(&buf));
		assert_holds(&buf, cases[i].out);
		rl_buf_fini(&buf);
	}
}

/* Every pair of bytes gives a string that yyjson accepts, and valid text comes back as it was. */
static void json_is_always_valid(void **state)
{
	struct rl_buf buf;

	(void)state;
	rl_buf_init(&buf, 200);
	for (unsigned pair = 0; pair < 65536; pair++) {
		char in[4] = {'x', (char)(pair >> 8), (char)(pair & 0xff), 'y'};

		rl_buf_reset(&buf);
		rl_buf_json(&buf, rl_str_make(in, 4));
		yyjson_doc *doc = yyjson_read(buf.p, buf.n, 0);

		assert_non_null(doc);
		yyjson_val *root = yyjson_doc_get_root(doc);

		if (((unsigned char)in[1] | (unsigned char)in[2]) < 0x80)
			assert_true(
				rl_str_eq(rl_str_make(yyjson_get_str(root), yyjson_get_len(root)), rl_str_make(in, 4)));
		yyjson_doc_free(doc);
	}
	rl_buf_fini(&buf);
}

/* Cut at every maximum: never more than it, and a failure unless the whole fits. */
static void json_respects_maximum(void **state)
{
	rl_str in = RL_STR("a\"\n\xFF\xE2\x80\xA8");
	const size_t whole = 1 + 1 + 2 + 2 + 3 + 6 + 1;

	(void)state;
	for (size_t max = 1; max <= whole + 1; max++) {
		struct rl_buf buf;

		rl_buf_init(&buf, max);
		rl_buf_json(&buf, in);
		assert_int_equal(rl_buf_ok(&buf), max >= whole);
		assert_true(buf.n <= max);
		rl_buf_fini(&buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maximum_is_exact),
		cmocka_unit_test(failure_sticks_and_keeps_content),
		cmocka_unit_test(growth_stops_at_maximum),
		cmocka_unit_test(reserving),
		cmocka_unit_test(numbers),
		cmocka_unit_test(printing),
		cmocka_unit_test(consuming),
		cmocka_unit_test(json_escapes),
		cmocka_unit_test(json_is_always_valid),
		cmocka_unit_test(json_respects_maximum),
	};

	return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
