/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner's grammar, bounds, spans and policy keys. Each text is scanned from a
 * heap copy of exactly its size, so that AddressSanitizer sees a read behind the
 * end, and at several distances from it, so that both the wide and the bytewise
 * steps meet every case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json/scan.h"

/* A text with its length, so that it may hold NUL. */
#define T(lit) RL_STR_INIT(lit)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static enum rl_err scan_exact(rl_str text, unsigned flags, struct rl_json_error *error)
{
	char *copy = malloc(text.n ? text.n : 1);

	assert_non_null(copy);
	memcpy(copy, text.p, text.n);
	enum rl_err err = rl_json_scan(rl_str_make(copy, text.n), NULL, 0, flags, NULL, error);

	free(copy);
	return err;
}

/* `pad` spaces in front, `pad` behind. */
static enum rl_err scan_padded(rl_str text, size_t pad)
{
	size_t n = text.n + 2 * pad;
	char *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	memset(copy, ' ', n);
	memcpy(copy + pad, text.p, text.n);
	enum rl_err err = rl_json_scan(rl_str_make(copy, n), NULL, 0, RL_JSON_LAX, NULL, NULL);

	free(copy);
	return err;
}

static void expect(rl_str text, enum rl_err wanted)
{
	static const size_t pads[] = {0, 1, 7, 8, 15, 16, 17, 40};

	for (size_t i = 0; i < COUNT(pads); i++) {
		enum rl_err err = scan_padded(text, pads[i]);
		if (err != wanted)
			fail_msg("pad %zu: %.*s: %s", pads[i], RL_STR_ARG(text), rl_err_name(err));
	}
}

static void expect_all(const rl_str *texts, size_t n, enum rl_err wanted)
{
	for (size_t i = 0; i < n; i++)
		expect(texts[i], wanted);
}

static void test_structure(void **state)
{
	static const rl_str good[] = {
		T("{}"),
		T("[]"),
		T("[[]]"),
		T("[{}]"),
		T("{\"a\":{}}"),
		T("[[],[]]"),
		T("[[] ]"),
		T("{\"a\":[]}"),
		T("[1]"),
		T("[1,2]"),
		T("[ 1 , 2 ]"),
		T("[\n1\t,\r2]"),
		T("{\"a\":1}"),
		T("{\"a\":1,\"b\":2}"),
		T("{ \"a\" : 1 , \"b\" : 2 }"),
		T("{\"\":0}"),
		T("{\"a\":1,\"a\":1}"),
		T("null"),
		T("true"),
		T("false"),
		T("1"),
		T("\"\""),
		T("[null]"),
		T("[true,false,null]"),
		T("[1,null,null,null,2]"),
		T("{\"a\":[{\"b\":[{\"c\":null}]}]}"),
		T("[\"a\"]"),
		T("[\"a\",\"b\"]"),
		T("\t\r\n 1 \n\r\t"),
		T("[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]"),
	};
	static const rl_str bad[] = {
		T(""),
		T("["),
		T("]"),
		T("{"),
		T("}"),
		T("[1"),
		T("[1,"),
		T("[,"),
		T("[,1]"),
		T("[1,]"),
		T("[1,,2]"),
		T("[1,,]"),
		T("[,]"),
		T("[1]]"),
		T("[[1]"),
		T("[1}"),
		T("{1}"),
		T("{\"a\"}"),
		T("{\"a\":}"),
		T("{\"a\":1,}"),
		T("{\"a\":1,,}"),
		T("{,\"a\":1}"),
		T("{\"a\":1]"),
		T("{\"a\" 1}"),
		T("{\"a\"::1}"),
		T("{\"a\",1}"),
		T("{\"a\":1:2}"),
		T("{\"a\":1 \"b\":2}"),
		T("{a:1}"),
		T("{'a':1}"),
		T("{1:1}"),
		T("{null:1}"),
		T("{[]:1}"),
		T("{\"a\":1}}"),
		T("{\"a\":1}{"),
		T("{\"a\":1} x"),
		T("[1 2]"),
		T("[1:2]"),
		T("1 2"),
		T("[]{}"),
		T("[] []"),
		T("{}[]"),
		T("\"a\" \"b\""),
		T("{\"a\":1}//"),
		T("{\"a\":1}/**/"),
		T("/**/1"),
		T("//\n1"),
		T("#\n1"),
		T("{\"a\":/*c*/1}"),
		T("<a>"),
		T("[\"a\",\n4\n,1,"),
		T("[1\f]"),
		T("[\v1]"),
		T("\f1"),
		T("1\v"),
		T("[\xc2\xa0]"),
		T("[\xe2\x81\xa0]"),
		T("[*]"),
		T("[\\u000a\"\"]"),
		T("[undefined]"),
		T("{\"x\",null}"),
		T("{\"x\":true,:1}"),
		T("{\"a\":\"b\",\"c\"}"),
		T(":"),
		T(","),
		T("{\"a\":1,2}"),
		T("{\"a\":1,null}"),
		T("[\"a\":1]"),
		T("{[\"a\",1]}"),
		T("[][" /* cut */),
	};

	(void)state;
	expect_all(good, COUNT(good), RL_OK);
	expect_all(bad, COUNT(bad), RL_ERR_SYNTAX);
}

static void test_literals(void **state)
{
	static const rl_str bad[] = {
		T("nul"),      T("nulll"),     T("NULL"),   T("Null"),    T("tru"),     T("truee"),
		T("True"),     T("TRUE"),      T("fals"),   T("False"),   T("FALSE"),   T("[nul]"),
		T("[tru]"),    T("[fals]"),    T("nan"),    T("NaN"),     T("[NaN]"),   T("inf"),
		T("Infinity"), T("-Infinity"), T("[-NaN]"), T("[a]"),     T("n"),       T("t"),
		T("f"),        T("truefalse"), T("nullx"),  T("[true1]"), T("[truth]"), T("[\xef\xbd\x94rue]"),
	};

	(void)state;
	expect_all(bad, COUNT(bad), RL_ERR_SYNTAX);
}

static void test_numbers(void **state)
{
	static const rl_str good[] = {
		T("0"),
		T("-0"),
		T("-1"),
		T("10"),
		T("123456789012345678901234567890"),
		T("0.0"),
		T("-0.0"),
		T("0.5"),
		T("1.25"),
		T("0e0"),
		T("0E+1"),
		T("0e-1"),
		T("1e1"),
		T("1E1"),
		T("1e+1"),
		T("1e-1"),
		T("1e01"),
		T("1.5e10"),
		T("-1.5E-10"),
		T("1e400"),
		T("-1e400"),
		T("1e-400"),
		T("1e1000000"),
		T("1e99999999999999999999"),
		T("9007199254740993"),
		T("9223372036854775808"),
		T("18446744073709551616"),
		T("0.000000000000000000001"),
		T("12345678"),
		T("1234567"),
		T("123456789"),
		T("1.2345678901234567e-12345678"),
	};
	static const rl_str bad[] = {
		T("-"),
		T("+1"),
		T("+"),
		T("01"),
		T("-01"),
		T("00"),
		T("-00"),
		T("012"),
		T("1."),
		T("-1."),
		T("0."),
		T(".5"),
		T("-.5"),
		T("."),
		T("1.e1"),
		T("0.e1"),
		T(".e1"),
		T("1e"),
		T("1e+"),
		T("1e-"),
		T("1E"),
		T("0e"),
		T("0E+"),
		T("1e1.5"),
		T("1ee1"),
		T("1e+-1"),
		T("1.2.3"),
		T("1+1"),
		T("1-1"),
		T("--1"),
		T("-a"),
		T("- 1"),
		T("1 000"),
		T("1_000"),
		T("0x1"),
		T("0x"),
		T("1a"),
		T("1.5f"),
		T("1,5"),
		T("0b1"),
		T("1e0x1"),
		T("-+1"),
		T("++1"),
		T("1.0e"),
		T("1/2"),
		T("1e 1"),
		T("\xef\xbc\x91"),
		T("12345678/"),
		T("1234567:"),
		T("12345678901234567x"),
		T("1234567\xfa\x31"),
	};
	char wrapped[96];

	(void)state;
	expect_all(good, COUNT(good), RL_OK);
	expect_all(bad, COUNT(bad), RL_ERR_SYNTAX);
	for (size_t i = 0; i < COUNT(bad); i++) {
		int n = snprintf(wrapped, sizeof wrapped, "{\"a\":[%.*s]}", RL_STR_ARG(bad[i]));
		/* "1,5" is two elements in an array; all others stay wrong. */
		bool list = rl_str_eq(bad[i], RL_STR("1,5"));
		expect(rl_str_make(wrapped, (size_t)n), list ? RL_OK : RL_ERR_SYNTAX);
	}
}

static void test_a_million_digits(void **state)
{
	size_t n = 1000000;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, '7', n);
	assert_int_equal(rl_json_scan(rl_str_make(text, n), NULL, 0, 0, NULL, NULL), RL_OK);
	text[1] = '.';
	assert_int_equal(rl_json_scan(rl_str_make(text, n), NULL, 0, 0, NULL, NULL), RL_OK);
	text[n - 1] = 'e';
	assert_int_equal(rl_json_scan(rl_str_make(text, n), NULL, 0, 0, NULL, NULL), RL_ERR_SYNTAX);
	text[n - 1] = '.';
	assert_int_equal(rl_json_scan(rl_str_make(text, n), NULL, 0, 0, NULL, NULL), RL_ERR_SYNTAX);
	free(text);
}

static void test_strings(void **state)
{
	static const rl_str good[] = {
		T("\"a\""),
		T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
		T("\"\\u0000\""),
		T("\"\\u0041\\u00e9\\u20AC\\uFFFF\""),
		T("\"\\ud83d\\ude00\""),
		T("\"\\uDBFF\\uDFFF\""),
		T("\"/\""),
		T("\"'\""),
		T("\"\x7f\""),
		T("\"a\\\\\""),
		T("\"\\\\\\\\\""),
		T("\"\\\\u0000\""),
		T("\"\\\\a\""),
		T("\"\\u005C\""),
		T("\"\\u0022\""),
		T("\"// no comment\""),
		T("\"0123456789abcdef0123456789abcdef\""),
		T("\"0123456789abcde\\n0123456789abcdef\""),
		T("\"{[,:]}\""),
	};
	static const rl_str bad[] = {
		T("\""),
		T("\"a"),
		T("a\""),
		T("'a'"),
		T("\"\\\""),
		T("\"\\"),
		T("\"\\x41\""),
		T("\"\\a\""),
		T("\"\\'\""),
		T("\"\\0\""),
		T("\"\\U0041\""),
		T("\"\\u\""),
		T("\"\\u0\""),
		T("\"\\u00\""),
		T("\"\\u004\""),
		T("\"\\u004g\""),
		T("\"\\u-041\""),
		T("\"\\u+041\""),
		T("\"\\u 041\""),
		T("\"\\ud83d\\u\""),
		T("\"\\ud83d\\ude0\""),
		T("\"\\ud83d\\x\""),
		T("\"\\ud83d\\"),
		T("\"\\u00"),
		T("\"\\\n\""),
		T("\"\\\t\""),
		T("\"\\ \""),
		T("\"a\nb\""),
		T("\"\t\""),
		T("\"\r\""),
		T("\"\x1f\""),
		T("\"\x01\""),
		T("\"\0\""),
		T("\"a\0b\""),
		T("\"\"\""),
		T("\"a\"b"),
		T("\"\\\xc3\xa9\""),
		T("\"\\u00\xc3\xa9\""),
		T("\xe2\x80\x9c"
		  "a\xe2\x80\x9d"),
		T("\"\\\\\\\""),
		T("\"0123456789abcdef0123456789abcd\x19"
		  "f\""),
		T("\"0123456\n\""),
	};

	(void)state;
	expect_all(good, COUNT(good), RL_OK);
	expect_all(bad, COUNT(bad), RL_ERR_SYNTAX);
}

/* Every control character, at every place of a wide step. */
/* Whatever stands in a long string is seen at each place of a wide step: a short escape comes first, which begins them. */
static void test_long_strings(void **state)
{
	static const struct {
		rl_str part;
		size_t bad; /* where in it; SIZE_MAX: nothing is wrong */
	} parts[] = {
		{T("\\n"), SIZE_MAX},
		{T("\\\\"), SIZE_MAX},
		{T("\\\""), SIZE_MAX},
		{T("\\\\\\\\\\\""), SIZE_MAX},
		{T("\\n\\\\\\t"), SIZE_MAX},
		{T("\\u00e9"), SIZE_MAX},
		{T("\xc3\xa9"), SIZE_MAX},
		{T("\\x"), 0},
		{T("\x01"), 0},
		{T("\\\\\x1f"), 2},
		{T("\\\xc3\xa9"), 0},
		{T("\xff"), 0},
		{T("\\\\\\q"), 2},
		{T("\\u12g4"), 0},
		{T("\\n\\t\\\"\\n\\t\\\"n\\nt\\t"), SIZE_MAX},
		{T("\\n\\t\\\"n\\qt"), 7},
		{T("\\n\\n\x1f"), 4},
		{T("\\n\\t\\\n"), 4},
	};
	struct rl_json_error error;
	char text[400];

	(void)state;
	for (size_t i = 0; i < COUNT(parts); i++) {
		for (size_t at = 0; at < 200; at++) {
			size_t n = (size_t)snprintf(text, sizeof text, "\"\\n%*s", (int)at, "");
			memcpy(text + n, parts[i].part.p, parts[i].part.n);
			size_t begin = n;
			n += parts[i].part.n;
			n += (size_t)snprintf(text + n, sizeof text - n, "%*s\"", (int)(at % 2 ? 3 : 150), "");
			enum rl_err err = scan_exact(rl_str_make(text, n), RL_JSON_LAX, &error);

			if (parts[i].bad == SIZE_MAX) {
				assert_int_equal(err, RL_OK);
				assert_int_equal(scan_exact(rl_str_make(text, n - 1), RL_JSON_LAX, &error),
						 RL_ERR_SYNTAX);
			} else {
				assert_int_equal(err, RL_ERR_SYNTAX);
				assert_int_equal(error.offset, begin + parts[i].bad);
			}
		}
	}
}

static void test_control_characters(void **state)
{
	char text[42];

	(void)state;
	for (size_t at = 1; at < 41; at++) {
		for (int c = 0; c < 0x20; c++) {
			memset(text, 'x', sizeof text);
			text[0] = text[41] = '"';
			text[at] = (char)c;
			assert_int_equal(scan_exact(rl_str_make(text, sizeof text), 0, NULL), RL_ERR_SYNTAX);
		}
	}
}

static void test_utf8_classes(void **state)
{
	static const rl_str good[] = {
		T("\"\xc2\x80\""),
		T("\"\xdf\xbf\""),
		T("\"\xe0\xa0\x80\""),
		T("\"\xec\xbf\xbf\""),
		T("\"\xed\x9f\xbf\""),
		T("\"\xee\x80\x80\""),
		T("\"\xef\xbf\xbf\""),
		T("\"\xf0\x90\x80\x80\""),
		T("\"\xf3\xbf\xbf\xbf\""),
		T("\"\xf4\x8f\xbf\xbf\""),
		T("\"\xe2\x80\xa8\xe2\x80\xa9\""),
		T("\"\xef\xbb\xbf\""),
		T("{\"\xc3\xa9\":1}"),
	};
	static const rl_str bad[] = {
		/* trail without lead */
		T("\"\x80\""),
		T("\"\xbf\""),
		T("\"a\x80\""),
		T("\"\xc3\xa9\xa9\""),
		/* overlong */
		T("\"\xc0\x80\""),
		T("\"\xc0\xaf\""),
		T("\"\xc1\xbf\""),
		T("\"\xe0\x80\x80\""),
		T("\"\xe0\x9f\xbf\""),
		T("\"\xf0\x80\x80\x80\""),
		T("\"\xf0\x8f\xbf\xbf\""),
		T("\"\xf8\x88\x80\x80\x80\""),
		T("\"\xfc\x84\x80\x80\x80\x80\""),
		/* surrogates, beyond Unicode, bytes that never occur */
		T("\"\xed\xa0\x80\""),
		T("\"\xed\xbf\xbf\""),
		T("\"\xed\xa0\xbd\xed\xb8\x80\""),
		T("\"\xf4\x90\x80\x80\""),
		T("\"\xf5\x80\x80\x80\""),
		T("\"\xf7\xbf\xbf\xbf\""),
		T("\"\xfe\""),
		T("\"\xff\""),
		T("\"\xfe\xff\""),
		/* cut short */
		T("\"\xc3\""),
		T("\"\xe2\x82\""),
		T("\"\xe2\""),
		T("\"\xf0\x9f\x98\""),
		T("\"\xf0\x9f\""),
		T("\"\xf0\""),
		T("\"\xc3"),
		T("\"\xe2\x82"),
		T("\"\xf0\x9f\x98"),
		T("\"\xf0\x9f\x98\x80"),
		/* lead where a trail is due */
		T("\"\xc3\xc3\xa9\""),
		T("\"\xe2\xc2\x80\""),
		T("\"\xe2\x82\xe2\x82\xac\""),
		T("\"\xf0\x9f\x98x\""),
		/* Latin-1, UTF-16 */
		T("\"caf\xe9\""),
		T("\"\xe9\x74\xe9\""),
		T("\"\0a\0\"\0"),
		T("\xff\xfe[\0]\0"),
		T("[\0]\0"),
		T("\0[\0]"),
		/* outside of strings */
		T("\xc3\xa9"),
		T("[\xff]"),
		T("{\xc3\xa9:1}"),
		T("{\"\xff\":1}"),
		T("1\xff"),
	};

	(void)state;
	expect_all(good, COUNT(good), RL_OK);
	expect_all(bad, COUNT(bad), RL_ERR_SYNTAX);
}

/* All two-byte starts followed by two good trail bytes, against the ranges of the standard written out once more. */
static void test_utf8_every_start(void **state)
{
	(void)state;
	for (unsigned a = 0x80; a < 0x100; a++) {
		for (unsigned b = 0; b < 0x100; b++) {
			bool trail = b >= 0x80 && b <= 0xbf;
			unsigned n = a >= 0xc2 && a <= 0xdf   ? 2
				     : a >= 0xe0 && a <= 0xef ? 3
				     : a >= 0xf0 && a <= 0xf4 ? 4
							      : 0;
			bool good = n && trail && !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b > 0x9f) &&
				    !(a == 0xf0 && b < 0x90) && !(a == 0xf4 && b > 0x8f);
			char text[6] = {'"', (char)a, (char)b, (char)0x80, (char)0xbf, '"'};

			text[n ? n + 1 : 3] = '"';
			enum rl_err err = scan_exact(rl_str_make(text, n ? n + 2 : 4), 0, NULL);
			assert_int_equal(err, good ? RL_OK : RL_ERR_SYNTAX);
		}
	}
}

static void test_marks_and_nul(void **state)
{
	struct rl_json_error error;

	(void)state;
	assert_int_equal(scan_exact(RL_STR("\xef\xbb\xbf{}"), 0, &error), RL_ERR_SYNTAX);
	assert_string_equal(error.what, "byte order mark");
	assert_int_equal(scan_exact(RL_STR("\xef\xbb\xbf"), 0, NULL), RL_ERR_SYNTAX);
	assert_int_equal(scan_exact(RL_STR("{}\xef\xbb\xbf"), 0, NULL), RL_ERR_SYNTAX);
	assert_int_equal(scan_exact(RL_STR("{}\0"), 0, NULL), RL_ERR_SYNTAX);
	assert_int_equal(scan_exact(RL_STR("\0{}"), 0, NULL), RL_ERR_SYNTAX);
	assert_int_equal(scan_exact(RL_STR("[1\0]"), 0, NULL), RL_ERR_SYNTAX);
	assert_int_equal(rl_json_scan(rl_str_make(NULL, 0), NULL, 0, 0, NULL, &error), RL_ERR_SYNTAX);
	assert_string_equal(error.what, "unexpected end");
}

static void test_lone_surrogates(void **state)
{
	static const rl_str lone[] = {
		T("\"\\ud800\""),
		T("\"\\udc00\""),
		T("\"\\udfffx\""),
		T("\"\\ud800x\""),
		T("\"\\ud800\\n\""),
		T("\"\\ud800\\u0041\""),
		T("\"\\ud800\\ud800\\udc00\""),
		T("\"\\udc00\\ud800\""),
		T("{\"\\uDBFF\":1}"),
		T("\"\\ud800\\ue000\""),
		T("\"\\udc00\\udc00\""),
	};
	struct rl_json_error error;

	(void)state;
	for (size_t i = 0; i < COUNT(lone); i++) {
		assert_int_equal(scan_exact(lone[i], RL_JSON_LAX, &error), RL_OK);
		assert_true(error.lone_surrogate);
		assert_int_equal(scan_exact(lone[i], RL_JSON_WHOLE_SURROGATES, &error), RL_ERR_SYNTAX);
	}
	assert_int_equal(scan_exact(RL_STR("\"\\ud83d\\ude00 \\u00e9\""), RL_JSON_WHOLE_SURROGATES, &error), RL_OK);
	assert_false(error.lone_surrogate);
}

/* `n` opening brackets (of arrays, or of objects with a member), and the closing ones when whole. */
static enum rl_err scan_nested(size_t n, bool objects, bool whole, struct rl_json_error *error)
{
	size_t step = objects ? 5 : 1, at = 0;
	char *text = malloc(n * (step + 1));

	assert_non_null(text);
	for (size_t i = 0; i < n; i++, at += step)
		memcpy(text + at, objects ? "{\"a\":" : "[", step);
	if (objects)
		at -= 4; /* the innermost one is empty */
	for (size_t i = 0; whole && i < n; i++)
		text[at++] = objects ? '}' : ']';
	enum rl_err err = rl_json_scan(rl_str_make(text, at), NULL, 0, 0, NULL, error);

	free(text);
	return err;
}

static void test_depth(void **state)
{
	struct rl_json_error error;

	(void)state;
	for (int objects = 0; objects < 2; objects++) {
		assert_int_equal(scan_nested(1, objects, true, NULL), RL_OK);
		assert_int_equal(scan_nested(128, objects, true, NULL), RL_OK);
		assert_int_equal(scan_nested(129, objects, true, &error), RL_ERR_LIMIT);
		assert_int_equal(error.offset, objects ? 128 * 5 : 128);
		assert_string_equal(error.what, "nested too deep");
		assert_int_equal(scan_nested(128, objects, false, NULL), RL_ERR_SYNTAX);
		assert_int_equal(scan_nested(100000, objects, true, NULL), RL_ERR_LIMIT);
		assert_int_equal(scan_nested(100000, objects, false, NULL), RL_ERR_LIMIT);
	}
}

/* Depth counts what is open at once, not what there is. */
static void test_wide_is_not_deep(void **state)
{
	static char text[3 * 10000 + 2];
	size_t at = 0;

	(void)state;
	text[at++] = '[';
	for (int i = 0; i < 10000; i++) {
		memcpy(text + at, i ? ",{}" : " []", 3);
		at += 3;
	}
	text[at++] = ']';
	assert_int_equal(rl_json_scan(rl_str_make(text, at), NULL, 0, 0, NULL, NULL), RL_OK);
}

static const char sample[] =
	"{\"model\":\"gpt\",\"n\":-1.5e+10,\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 "
	"\xe4\xbd\xa0\\n\"},{},[]],\n \"stream\" : true,\"x\":[null,false,0]}";

static void test_every_truncation_is_refused(void **state)
{
	struct rl_json_error error;

	(void)state;
	for (size_t n = 0; n < sizeof sample - 1; n++) {
		assert_int_equal(scan_exact(rl_str_make(sample, n), 0, &error), RL_ERR_SYNTAX);
		assert_true(error.offset <= n);
	}
	assert_int_equal(scan_exact(RL_STR(sample), 0, &error), RL_OK);
}

static void check_error(rl_str text, size_t offset, unsigned line, unsigned column, const char *what)
{
	struct rl_json_error error;

	assert_int_equal(scan_exact(text, 0, &error), RL_ERR_SYNTAX);
	assert_string_equal(error.what, what);
	assert_int_equal(error.offset, offset);
	assert_int_equal(error.line, line);
	assert_int_equal(error.column, column);
	assert_int_equal(error.key.n, 0);
}

static void test_errors_say_where(void **state)
{
	(void)state;
	check_error(RL_STR(""), 0, 1, 1, "unexpected end");
	check_error(RL_STR("{\"a\":1 \"b\":2}"), 7, 1, 8, "expected ',' or '}'");
	check_error(RL_STR("{\n  \"a\": 1,\n  b\n}"), 14, 3, 3, "expected a key");
	check_error(RL_STR("{\n\"a\" 1}"), 6, 2, 5, "expected ':'");
	check_error(RL_STR("[1\n2]"), 3, 2, 1, "expected ',' or ']'");
	check_error(RL_STR("[1]\n]"), 4, 2, 1, "unexpected text behind the value");
	check_error(RL_STR("[1,"), 3, 1, 4, "unexpected end");
	check_error(RL_STR("[\"ab"), 4, 1, 5, "unterminated string");
	check_error(RL_STR("[\"ab\\"), 5, 1, 6, "unterminated string");
	check_error(RL_STR("[\"a\tb\"]"), 3, 1, 4, "control character in string");
	check_error(RL_STR("[\"a\\qb\"]"), 3, 1, 4, "unknown escape in string");
	check_error(RL_STR("[\"a\\u12\"]"), 3, 1, 4, "expected four hex digits after \\u");
	check_error(RL_STR("[\"a\xff\"]"), 3, 1, 4, "not UTF-8");
	check_error(RL_STR("[01]"), 1, 1, 2, "number with a leading zero");
	check_error(RL_STR("[1.]"), 3, 1, 4, "expected a digit");
	check_error(RL_STR("[-"), 2, 1, 3, "unexpected end");
	check_error(RL_STR("[nope]"), 1, 1, 2, "expected a value");
}

static const rl_str keys[] = {T("model"), T("stream"), T("messages"), T("max_tokens"), T("n"), T("tools")};
#define N_KEYS COUNT(keys)

static void check_value(rl_str text, const struct rl_json_span *span, enum rl_json_type type, const char *value)
{
	rl_str raw = rl_json_span_text(text, span);

	assert_int_equal(span->type, type);
	assert_int_equal(raw.n, strlen(value));
	assert_memory_equal(raw.p, value, raw.n);
	assert_int_equal(text.p[span->key_off], '"');
}

static void test_spans(void **state)
{
	rl_str text =
		RL_STR(" { \"x\":{\"model\":1},\"model\" : \"a\\\"b\" ,\"messages\":[ {\"n\":[]} ] , \"stream\":true\n,"
		       "\"n\":-1e5 , \"tools\":{ } } ");
	struct rl_json_span spans[N_KEYS];

	(void)state;
	assert_int_equal(rl_json_scan(text, keys, N_KEYS, RL_JSON_STRICT_KEYS, spans, NULL), RL_OK);
	check_value(text, &spans[0], RL_JSON_STRING, "\"a\\\"b\"");
	check_value(text, &spans[1], RL_JSON_TRUE, "true");
	check_value(text, &spans[2], RL_JSON_ARRAY, "[ {\"n\":[]} ]");
	assert_int_equal(spans[3].type, RL_JSON_NONE);
	assert_null(rl_json_span_text(text, &spans[3]).p);
	check_value(text, &spans[4], RL_JSON_NUMBER, "-1e5");
	check_value(text, &spans[5], RL_JSON_OBJECT, "{ }");
	assert_memory_equal(text.p + spans[4].key_off, "\"n\"", 3);
}

static void test_spans_of_other_values(void **state)
{
	static const rl_str texts[] = {T("[]"),
				       T("{}"),
				       T("1"),
				       T("\"model\""),
				       T("[{\"model\":1}]"),
				       T("{\"model\":1"),
				       T("{\"model\":nope}"),
				       T("{\"model\":1}x")};
	struct rl_json_span spans[N_KEYS], none[N_KEYS] = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		memset(spans, 0xff, sizeof spans);
		assert_int_equal(rl_json_scan(texts[i], keys, N_KEYS, 0, spans, NULL), i < 5 ? RL_OK : RL_ERR_SYNTAX);
		assert_memory_equal(spans, none, sizeof spans);
	}
}

static void test_lax_keys(void **state)
{
	rl_str text =
		RL_STR("{\"model\":1,\"Model\":2,\"\\u006dodel\":3,\"stream\":4,\"stream\":[5],\"mode\\u212a\":6}");
	struct rl_json_span spans[N_KEYS];

	(void)state;
	assert_int_equal(rl_json_scan(text, keys, N_KEYS, RL_JSON_LAX, spans, NULL), RL_OK);
	check_value(text, &spans[0], RL_JSON_NUMBER, "3");
	check_value(text, &spans[1], RL_JSON_ARRAY, "[5]");
}

static void expect_key(rl_str text, enum rl_err wanted, const char *what, const char *key)
{
	struct rl_json_span spans[N_KEYS], none[N_KEYS] = {0};
	struct rl_json_error error = {0};
	enum rl_err err = rl_json_scan(text, keys, N_KEYS, RL_JSON_STRICT_KEYS, spans, &error);

	if (err != wanted)
		fail_msg("%.*s: %s", RL_STR_ARG(text), rl_err_name(err));
	if (!err)
		return;
	assert_string_equal(error.what, what);
	assert_true(rl_str_eq(error.key, rl_str_of(key)));
	assert_int_equal(text.p[error.offset], '"');
	assert_memory_equal(spans, none, sizeof spans);
}

static void test_duplicate_keys(void **state)
{
	(void)state;
	expect_key(RL_STR("{\"model\":1,\"model\":1}"), RL_ERR_DUPLICATE, "duplicate key", "model");
	expect_key(RL_STR("{\"n\":1,\"x\":2,\"n\":null}"), RL_ERR_DUPLICATE, "duplicate key", "n");
	expect_key(RL_STR("{\"x\":1,\"x\":2}"), RL_OK, NULL, NULL);
	expect_key(RL_STR("{\"x\":{\"model\":1,\"model\":2,\"Model\":3},\"model\":1}"), RL_OK, NULL, NULL);
	expect_key(RL_STR("[{\"model\":1,\"model\":2}]"), RL_OK, NULL, NULL);
}

static void test_look_alike_keys(void **state)
{
	static const struct {
		rl_str text;
		const char *key;
	} cases[] = {
		{T("{\"Model\":1}"), "model"},
		{T("{\"MODEL\":1,\"model\":2}"), "model"},
		{T("{\"model\":2,\"modeL\":1}"), "model"},
		{T("{\"\\u006dodel\":1}"), "model"},
		{T("{\"mode\\u006c\":1}"), "model"},
		{T("{\"\\u004dodel\":1}"), "model"},
		{T("{\"N\":1}"), "n"},
		{T("{\"\\u006E\":1}"), "n"},
		{T("{\"max_to\xe2\x84\xaa"
		   "ens\":1}"),
		 "max_tokens"},
		{T("{\"max_to\\u212aens\":1}"), "max_tokens"},
		{T("{\"MAX_TO\\u212AENS\":1}"), "max_tokens"},
		{T("{\"\xc5\xbftream\":1}"), "stream"},
		{T("{\"\\u017Ftream\":1}"), "stream"},
		{T("{\"me\xc5\xbf\xc5\xbf"
		   "ages\":1}"),
		 "messages"},
		{T("{\"tool\\u017f\":1}"), "tools"},
		{T("{\"model\\u0000\":1}"), "model"},
		{T("{\"model\\u0000x\":1}"), "model"},
		{T("{\"max\\u005ftokens\":1}"), "max_tokens"},
	};
	static const rl_str fine[] = {
		T("{\"models\":1}"),
		T("{\"mode\":1}"),
		T("{\"m\xc3\xb6"
		  "del\":1}"),
		T("{\"model\xcc\x81\":1}"),
		T("{\"\xef\xbd\x8dodel\":1}"),
		T("{\"mod\\u0065ls\":1}"),
		T("{\"\":1}"),
		T("{\"\\u0000model\":1}"),
		T("{\"mod\\u0000el\":1}"),
		T("{\"maxtokens\":1}"),
		T("{\"max-tokens\":1}"),
		T("{\"toold\":1}"),
		T("{\"\xf0\x9f\x98\x80\":1}"),
		T("{\"\\ud83d\\ude00\":1}"),
		T("{\"\\ud800\":1}"),
		T("{\".\":1}"),
		T("{\"model\":1,\"stream\":2}"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		expect_key(cases[i].text, RL_ERR_DUPLICATE, "look-alike of a policy key", cases[i].key);
	for (size_t i = 0; i < COUNT(fine); i++)
		expect_key(fine[i], RL_OK, NULL, NULL);
}

/* The dots of i belong to the policy as well: İ and ı. */
static void test_dotted_i(void **state)
{
	static const rl_str wanted[] = {T("input")};
	struct rl_json_span span;

	(void)state;
	assert_int_equal(rl_json_scan(RL_STR("{\"\xc4\xb1nput\":1}"), wanted, 1, RL_JSON_STRICT_KEYS, &span, NULL),
			 RL_ERR_DUPLICATE);
	assert_int_equal(rl_json_scan(RL_STR("{\"\\u0130NPUT\":1}"), wanted, 1, RL_JSON_STRICT_KEYS, &span, NULL),
			 RL_ERR_DUPLICATE);
}

static void test_type_names(void **state)
{
	(void)state;
	assert_string_equal(rl_json_type_name(RL_JSON_ARRAY), "array");
	assert_string_equal(rl_json_type_name(RL_JSON_NULL), "null");
	assert_string_equal(rl_json_type_name((enum rl_json_type)99), "nothing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_literals),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_a_million_digits),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_long_strings),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_utf8_classes),
		cmocka_unit_test(test_utf8_every_start),
		cmocka_unit_test(test_marks_and_nul),
		cmocka_unit_test(test_lone_surrogates),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_wide_is_not_deep),
		cmocka_unit_test(test_every_truncation_is_refused),
		cmocka_unit_test(test_errors_say_where),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_spans_of_other_values),
		cmocka_unit_test(test_lax_keys),
		cmocka_unit_test(test_duplicate_keys),
		cmocka_unit_test(test_look_alike_keys),
		cmocka_unit_test(test_dotted_i),
		cmocka_unit_test(test_type_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
