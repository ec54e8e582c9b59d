/* SPDX-License-Identifier: Apache-2.0 */
/* yyjson on arenas: same acceptance as the scanner, memory from the arena alone, failures told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json/doc.h"

static struct rl_arena arena;

static int set_up(void **state)
{
	(void)state;
	rl_arena_init(&arena, 1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rl_arena_fini(&arena);
	return 0;
}

static void test_read(void **state)
{
	yyjson_doc *doc;

	(void)state;
	assert_int_equal(rl_json_doc_read(RL_STR(" {\"a\":[1,\"x\\n\"]} "), RL_JSON_DOC_PLAIN, &arena, &doc, NULL),
			 RL_OK);
	yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "a");

	assert_int_equal(yyjson_arr_size(list), 2);
	assert_true(rl_str_eq(rl_json_doc_str(yyjson_arr_get(list, 1)), RL_STR("x\n")));
	assert_null(rl_json_doc_str(yyjson_arr_get(list, 0)).p);
	assert_null(rl_json_doc_str(NULL).p);
}

static void test_read_refuses(void **state)
{
	struct rl_json_error error;
	yyjson_doc *doc;
	char deep[2 * (RL_JSON_DEPTH_MAX + 1)];

	(void)state;
	assert_int_equal(rl_json_doc_read(RL_STR("{\n\"a\":}"), 0, &arena, &doc, &error), RL_ERR_SYNTAX);
	assert_null(doc);
	assert_int_equal(error.line, 2);
	assert_int_equal(error.column, 5);
	assert_int_equal(rl_json_doc_read(RL_STR("\"\\ud800\""), 0, &arena, &doc, &error), RL_ERR_SYNTAX);
	assert_string_equal(error.what, "surrogate escape without its partner");
	assert_int_equal(rl_json_doc_read(RL_STR(""), 0, &arena, &doc, NULL), RL_ERR_SYNTAX);
	memset(deep, '[', sizeof deep / 2);
	memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
	assert_int_equal(rl_json_doc_read(rl_str_make(deep, sizeof deep), 0, &arena, &doc, NULL), RL_ERR_LIMIT);
	assert_int_equal(rl_json_doc_read(rl_str_make(deep + 1, sizeof deep - 2), 0, &arena, &doc, NULL), RL_OK);
}

static void check_round_trip(rl_str text, unsigned flags, const char *wanted)
{
	yyjson_doc *doc;
	rl_str written;

	assert_int_equal(rl_json_doc_read(text, flags, &arena, &doc, NULL), RL_OK);
	yyjson_mut_doc *copy = rl_json_doc_copy(doc, &arena);

	assert_non_null(copy);
	assert_int_equal(rl_json_doc_write(copy, &arena, &written), RL_OK);
	assert_string_equal(written.p, wanted);
	assert_int_equal(written.n, strlen(wanted));
}

static void test_numbers(void **state)
{
	(void)state;
	check_round_trip(RL_STR("[1e400, 1.0, 1E2, -0, 123456789012345678901234567890, 9007199254740993]"),
			 RL_JSON_DOC_RAW_NUMBERS, "[1e400,1.0,1E2,-0,123456789012345678901234567890,9007199254740993]");
	/* As values, numbers keep their value only: how one was written, and the sign of -0, is lost. */
	check_round_trip(RL_STR("[1e400, 1.0, 1E2, 123456789012345678901234567890, 9007199254740993]"),
			 RL_JSON_DOC_PLAIN, "[1e400,1.0,100.0,123456789012345678901234567890,9007199254740993]");
}

static void test_build(void **state)
{
	yyjson_mut_doc *doc = rl_json_doc_new(&arena);
	rl_str text;

	(void)state;
	assert_non_null(doc);
	assert_int_equal(rl_json_doc_write(doc, &arena, &text), RL_ERR_SYNTAX); /* no root yet */
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list = yyjson_mut_arr(doc);

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strn(doc, root, "text", "a\"b", 3);
	for (int i = 0; i < 2000; i++)
		yyjson_mut_arr_add_int(doc, list, i);
	yyjson_mut_obj_add_val(doc, root, "list", list);
	assert_int_equal(rl_json_doc_write(doc, &arena, &text), RL_OK);
	assert_true(rl_str_starts(text, RL_STR("{\"text\":\"a\\\"b\",\"list\":[0,1,2,")));
	assert_true(rl_str_ends(text, RL_STR(",1999]}")));
	assert_int_equal(rl_json_scan(text, NULL, 0, 0, NULL, NULL), RL_OK);
}

static void test_the_limit_of_the_arena_holds(void **state)
{
	struct rl_arena tiny;
	yyjson_doc *doc;
	rl_str text;

	(void)state;
	rl_arena_init(&tiny, 64);
	assert_int_equal(rl_json_doc_read(RL_STR("[1,2,3,4,5,6,7,8,9,10,11,12,13]"), 0, &tiny, &doc, NULL),
			 RL_ERR_NOMEM);
	assert_null(doc);
	assert_null(rl_json_doc_new(&tiny));
	assert_int_equal(rl_json_doc_read(RL_STR("[1,2,3]"), 0, &arena, &doc, NULL), RL_OK);
	assert_null(rl_json_doc_copy(doc, &tiny));
	yyjson_mut_doc *copy = rl_json_doc_copy(doc, &arena);

	assert_non_null(copy);
	rl_arena_reset(&tiny);
	tiny.limit_bytes = 16;
	assert_int_equal(rl_json_doc_write(copy, &tiny, &text), RL_ERR_NOMEM);
	assert_null(text.p);
	rl_arena_fini(&tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_refuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_build, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_limit_of_the_arena_holds, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
