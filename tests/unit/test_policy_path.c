/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that are refused before anybody looks what they might mean (FAULTS 75), and those that are not. */
#include "policy_kit.h"

#include "policy/path_rule.h"

static void test_paths(void **state)
{
	static const char *const good[] = {
		"/",
		"/v1",
		"/v1/",
		"/v1/files/file-abc_1.2~x",
		"/v1/fine_tuning/jobs/ft:gpt-4o:org::id",
		"/v1/files/a@b!$&'()*+,=",
		"/v1/files/a%20b%3A%40",
		"/v1/files/%C3%A9%e2%82%ac%F0%9F%98%80",
		"/v1/files/...",
		"/v1/files/.a",
		"/V1/files",
	};
	static const char *const bad[] = {
		"",
		"v1",
		"*",
		"//",
		"//v1/files",
		"/v1//files",
		"/v1/./files",
		"/v1/../files",
		"/v1/files/..",
		"/v1/files/.",
		"/v1/files/%2e%2e/x",
		"/v1/files/%2E",
		"/v1/files/a%2fb",
		"/v1/files/a%2Fb",
		"/v1/files/a%5cb",
		"/v1/files/a\\b",
		"/v1/files/a%00",
		"/v1/files/a%0d%0a",
		"/v1/files/a%7f",
		"/v1/files/a;b",
		"/v1/files/a%3bb",
		"/v1/files/a%252e",
		"/v1/files/a%25",
		"/v1/files/%41",
		"/v1/files/%7e",
		"/v1/files/%",
		"/v1/files/%4",
		"/v1/files/%zz",
		"/v1/files/a%4/",
		"/v1/files/%c3",
		"/v1/files/%c3%28",
		"/v1/files/%c0%af",
		"/v1/files/%ed%a0%80",
		"/v1/files/%f4%90%80%80",
		"/v1/files/%ff",
		"/v1/files/\xc3\xa9",
		"/v1/files/a b",
		"/v1/files/a\tb",
		"/v1/files/\"<>^`{|}",
		"/v1/files/a?b",
		"/v1/files/a#b",
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (rl_path_refused(rl_str_of(good[i])))
			fail_msg("%s: %s", good[i], rl_path_refused(rl_str_of(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!rl_path_refused(rl_str_of(bad[i])))
			fail_msg("%s is taken", bad[i]);
	assert_non_null(rl_path_refused(rl_str_make("/a\0b", 4)));
}

static void test_queries(void **state)
{
	(void)state;
	assert_null(rl_query_refused(rl_str_of("")));
	assert_null(rl_query_refused(rl_str_of("a=b&include[]=c;d%00/../?")));
	assert_non_null(rl_query_refused(rl_str_of("a b")));
	assert_non_null(rl_query_refused(rl_str_of("a\r\nb")));
	assert_non_null(rl_query_refused(rl_str_of("a#b")));
	assert_non_null(rl_query_refused(rl_str_of("a\x7f")));
	assert_non_null(rl_query_refused(rl_str_of("\xff")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_queries)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
