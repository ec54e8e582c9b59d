/* SPDX-License-Identifier: Apache-2.0 */
/* Forms: what is found in them, whatever the cuts, and which are refused (FAULTS 43). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "message/multipart.h"

#define TYPE "multipart/form-data; boundary=XyZ"
#define PART(name) "--XyZ\r\nContent-Disposition: form-data; name=" name "\r\n\r\n"
#define END "--XyZ--\r\n"

/* The form in pieces that end at `one` and `two`. */
static enum rl_err run(struct rl_multipart *m, rl_str form, size_t one, size_t two)
{
	assert_true(rl_multipart_init(m, RL_STR(TYPE), RL_STR("model")));
	enum rl_err err = rl_multipart_feed(m, rl_str_sub(form, 0, one));

	if (!err)
		err = rl_multipart_feed(m, rl_str_sub(form, one, two - one));
	if (!err)
		err = rl_multipart_feed(m, rl_str_sub(form, two, SIZE_MAX));
	return err ? err : rl_multipart_finish(m);
}

static void test_good(void **state)
{
	static const struct {
		const char *form, *model;
	} table[] = {
		{PART("\"model\"") "gpt\r\n" END, "gpt"},
		{PART("model") "gpt\r\n" END, "gpt"},
		{PART("\"file\"; filename=\"a\\\"b\"\r\nContent-Type: x/y") "\r\n--Xy\r\n--XyA\r\r\n-\r\n" PART(
			 "\"model\"") "w\r\n-\r\n" END,
		 "w\r\n-"},
		{PART("\"a\"") "\r\n" PART("\"model\"") "\r\n" END, ""},
		{PART("\"model\"") "\r\n\r\n" PART("\"b\"; filename=\"../x\"; filename*=UTF-8''y") "\r\n" END, "\r\n"},
		{PART("\"other\"") "x\r\n--XyZ--", NULL},
		{"--XyZ\r\nX-A: b\r\ncontent-DISPOSITION:form-data ; NAME=\"model\"\r\nX-B: c\r\n\r\nv\r\n" END, "v"},
	};
	struct rl_multipart m;

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		rl_str form = rl_str_of(table[i].form);

		for (size_t one = 0; one <= form.n; one++) {
			for (size_t two = one; two <= form.n; two++) {
				if (run(&m, form, one, two))
					fail_msg("form %zu cut at %zu and %zu: %s", i, one, two, m.what);
				assert_int_equal(m.found, table[i].model != NULL);
				if (!table[i].model)
					continue;
				assert_true(rl_str_eq(rl_multipart_value(&m), rl_str_of(table[i].model)));
				assert_true(rl_str_eq(rl_str_sub(form, (size_t)m.value_at, m.value_n),
						      rl_multipart_value(&m)));
			}
		}
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *form;
		enum rl_err err;
	} table[] = {
		{"", RL_ERR_SYNTAX},
		{"x", RL_ERR_SYNTAX},
		{"\r\n" END, RL_ERR_SYNTAX},
		{END, RL_ERR_SYNTAX},
		{"--XyZ", RL_ERR_SYNTAX},
		{"--XyZ\r\n\r\nx\r\n" END, RL_ERR_SYNTAX},
		{"--XyZ\n" PART("a") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a") "x" END, RL_ERR_SYNTAX},
		{PART("a") "x\r\n--XyZ-", RL_ERR_SYNTAX},
		{PART("a") "x\r\n--XyZ-x", RL_ERR_SYNTAX},
		{PART("a") "x\r\n--XyZ \r\n" END, RL_ERR_SYNTAX},
		{PART("a") "x\r\n" END "x", RL_ERR_SYNTAX},
		{PART("a") "x\r\n" END "\r\n", RL_ERR_SYNTAX},
		{PART("a") "x\r\n--XyZ--\r", RL_ERR_SYNTAX},
		{PART("\"a") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a; x") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a; name=b") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a; name*=b") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("\"a%22\"") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("\"a\\b\"") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("model; filename=b") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a\nX: y") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a\r\nX") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a\r\n X: y") "x\r\n" END, RL_ERR_SYNTAX},
		{PART("a\r\nContent-Disposition: form-data; name=b") "x\r\n" END, RL_ERR_SYNTAX},
		{"--XyZ\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n" END, RL_ERR_SYNTAX},
		{PART("model") "x\r\n" PART("model") "y\r\n" END, RL_ERR_DUPLICATE},
		{PART("Model") "x\r\n" END, RL_ERR_DUPLICATE},
		{PART("\" model\"") "x\r\n" END, RL_ERR_DUPLICATE},
	};
	struct rl_multipart m;

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		rl_str form = rl_str_of(table[i].form);

		for (size_t cut = 0; cut <= form.n; cut++) {
			if (run(&m, form, cut, cut) != table[i].err)
				fail_msg("form %zu cut at %zu", i, cut);
			assert_non_null(m.what);
		}
	}
}

static void test_bounds(void **state)
{
	static char text[8192];
	struct rl_multipart m;

	(void)state;
	snprintf(text, sizeof text, "%s%0*d\r\n" END, PART("model"), (int)RL_MULTIPART_VALUE_MAX, 1);
	assert_int_equal(run(&m, rl_str_of(text), 9, 99), RL_OK);
	snprintf(text, sizeof text, "%s%0*d\r\n" END, PART("model"), (int)RL_MULTIPART_VALUE_MAX + 1, 1);
	assert_int_equal(run(&m, rl_str_of(text), 9, 99), RL_ERR_LIMIT);
	snprintf(text, sizeof text, "%s%0*d\r\n\r\nx\r\n" END, "--XyZ\r\nX: ", (int)RL_MULTIPART_HEADER_MAX, 1);
	assert_int_equal(run(&m, rl_str_of(text), 9, 99), RL_ERR_LIMIT);
	assert_true(rl_multipart_init(&m, RL_STR(TYPE), RL_STR("model")));
	for (unsigned i = 0; i < RL_MULTIPART_PARTS_MAX; i++)
		assert_int_equal(rl_multipart_feed(&m, RL_STR(PART("a") "x\r\n")), RL_OK);
	assert_int_equal(rl_multipart_feed(&m, RL_STR(PART("a") "x\r\n")), RL_ERR_LIMIT);
}

static void test_types(void **state)
{
	static const char *const good[] = {"multipart/form-data; boundary=a", "Multipart/Form-Data;BOUNDARY=\"a b\"",
					   "multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundaryX"};
	static const char *const bad[] = {"",
					  "multipart/form-data",
					  "multipart/mixed; boundary=a",
					  "multipart/form-data; boundary",
					  "multipart/form-data; boundary=",
					  "multipart/form-data; boundary=\"\"",
					  "multipart/form-data; boundary=\"a",
					  "multipart/form-data; boundary=\"a \"",
					  "multipart/form-data; boundary=a;",
					  "multipart/form-data; boundary=a b",
					  "multipart/form-data; boundary=a; boundary=b",
					  "multipart/form-data; boundary=a<b",
					  "multipart/form-data, boundary=a",
					  ("multipart/form-data; boundary="
					   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")};
	struct rl_multipart m;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(rl_multipart_init(&m, rl_str_of(good[i]), RL_STR("model")));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (rl_multipart_init(&m, rl_str_of(bad[i]), RL_STR("model")) || !m.what)
			fail_msg("taken: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
					   cmocka_unit_test(test_bounds), cmocka_unit_test(test_types)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
