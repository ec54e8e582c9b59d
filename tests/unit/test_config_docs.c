/* SPDX-License-Identifier: Apache-2.0 */
/* The documents made from the table: the example loads, the reference knows every key, the JSON Schema is JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <yyjson.h>

#include "config/config.h"
#include "config/schema.h"

static const char *no_variable(void *user, const char *name)
{
	(void)user;
	(void)name;
	return NULL;
}

static enum rl_err no_secret(void *user, const char *path, struct rl_buf *out)
{
	(void)user;
	(void)path;
	(void)out;
	return RL_ERR_NOT_FOUND;
}

static const struct rl_schema_hooks hooks = {.variable = no_variable, .read_secret = no_secret};

static void expect_load(rl_str text, const char *wanted, unsigned findings)
{
	struct rl_config *config;
	struct rl_buf report;

	rl_buf_init(&report, 65536);
	enum rl_err err = rl_config_parse_with(text, "example", NULL, &hooks, &report, &config);

	rl_buf_byte(&report, '\0');
	assert_non_null(strstr(report.p, wanted));
	for (const char *line = report.p; (line = strchr(line, '\n')); line++)
		findings--;
	assert_int_equal(findings, 0);
	assert_int_equal(err, RL_OK);
	rl_config_free(config);
	rl_buf_fini(&report);
}

static void test_example_loads(void **state)
{
	struct rl_buf example;

	(void)state;
	rl_buf_init(&example, 1 << 20);
	rl_config_example(&example);
	assert_true(rl_buf_ok(&example));
	expect_load(rl_buf_str(&example), "warning: providers.openai.api_key: variable OPENAI_API_KEY is not set", 1);
	rl_buf_fini(&example);
}

/* Takes the comment sign from every "# key: value" line: then every key with its default is really read. */
static void uncomment(rl_str text, struct rl_buf *out)
{
	while (text.p) {
		rl_str line = rl_str_cut(&text, '\n');
		size_t sign = rl_str_find(line, '#');
		rl_str rest = rl_str_sub(line, sign, line.n);
		size_t space = rl_str_find(rl_str_sub(rest, 2, rest.n), ' ');
		size_t colon = rl_str_find(rl_str_sub(rest, 2, rest.n), ':');

		/* A sentence has a space before its first colon; `keys` excludes the api_key above it. */
		if (rl_str_starts(rest, RL_STR("# ")) && colon != SIZE_MAX && colon < space && rest.p[2] != ' ' &&
		    !rl_str_starts(rest, RL_STR("# keys:"))) {
			rl_buf_add(out, rl_str_sub(line, 0, sign));
			rl_buf_add(out, rl_str_sub(rest, 2, rest.n));
		} else {
			rl_buf_add(out, line);
		}
		rl_buf_byte(out, '\n');
	}
}

static void test_defaults_in_the_example_load(void **state)
{
	struct rl_buf example, text;

	(void)state;
	rl_buf_init(&example, 1 << 20);
	rl_buf_init(&text, 1 << 20);
	rl_config_example(&example);
	/* Below the heading. */
	rl_str body = rl_buf_str(&example);

	uncomment(rl_str_sub(body, (size_t)((char *)memmem(body.p, body.n, "\n\n", 2) - body.p), body.n), &text);
	assert_non_null(memmem(text.p, text.n, "\n  workers: auto\n", 17));
	assert_non_null(memmem(text.p, text.n, "\n    max_fails: 3\n", 18));
	/* The other: server.tls is there, and no listener of the example's uses it. */
	expect_load(rl_buf_str(&text), "warning: providers.openai.api_key", 2);
	rl_buf_fini(&text);
	rl_buf_fini(&example);
}

/* In the example listeners stand in their short form. */
static bool of_a_listener(const char *key)
{
	static const char *const keys[] = {"address", "enabled", "mode", "proxy_protocol"};

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

/* Every property of the schema at any depth stands in the reference as `key`, and in the example. */
static void check_properties(yyjson_val *node, const char *reference, const char *example, size_t *n)
{
	yyjson_obj_iter members;
	yyjson_val *key, *properties = yyjson_obj_get(node, "properties"), *value;
	yyjson_arr_iter items;

	if (yyjson_is_arr(node)) {
		yyjson_arr_iter_init(node, &items);
		while ((value = yyjson_arr_iter_next(&items)))
			check_properties(value, reference, example, n);
		return;
	}
	if (!yyjson_is_obj(node))
		return;
	if (properties) {
		yyjson_obj_iter_init(properties, &members);
		while ((key = yyjson_obj_iter_next(&members))) {
			char row[96], line[96];
			const char *text = yyjson_get_str(yyjson_obj_get(yyjson_obj_iter_get_val(key), "description"));

			snprintf(row, sizeof row, "\n| `%s` | ", yyjson_get_str(key));
			snprintf(line, sizeof line, " %s:", yyjson_get_str(key));
			assert_non_null(strstr(reference, row));
			assert_true(text && *text);
			if (!of_a_listener(yyjson_get_str(key)))
				assert_true(strstr(example, line) || strstr(example, line + 1));
			++*n;
		}
		assert_false(yyjson_get_bool(yyjson_obj_get(node, "additionalProperties")));
	}
	yyjson_obj_iter_init(node, &members);
	while ((key = yyjson_obj_iter_next(&members)))
		check_properties(yyjson_obj_iter_get_val(key), reference, example, n);
}

static void test_schema_and_reference(void **state)
{
	struct rl_buf schema, reference, example;
	size_t n = 0;

	(void)state;
	rl_buf_init(&schema, 1 << 20);
	rl_buf_init(&reference, 1 << 20);
	rl_buf_init(&example, 1 << 20);
	rl_config_json_schema(&schema);
	rl_config_reference(&reference);
	rl_config_example(&example);
	rl_buf_byte(&reference, '\0');
	rl_buf_byte(&example, '\0');
	assert_true(rl_buf_ok(&schema) && rl_buf_ok(&reference) && rl_buf_ok(&example));
	yyjson_doc *doc = yyjson_read(schema.p, schema.n, 0);

	assert_non_null(doc);
	assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "$schema")),
			    "https://json-schema.org/draft/2020-12/schema");
	check_properties(yyjson_doc_get_root(doc), reference.p, example.p, &n);
	assert_true(n > 60);
	yyjson_val *keepalive = yyjson_ptr_get(yyjson_doc_get_root(doc), "/properties/server/properties/keepalive");

	assert_string_equal(yyjson_get_str(yyjson_obj_get(keepalive, "default")), "120s");
	assert_non_null(strstr(reference.p, "| `weight` | integer, 1 to 1000000 | `1` | "));
	assert_non_null(strstr(reference.p, "\n### `models.<name>.targets[]`\n"));
	yyjson_doc_free(doc);
	rl_buf_fini(&schema);
	rl_buf_fini(&reference);
	rl_buf_fini(&example);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example_loads),
		cmocka_unit_test(test_defaults_in_the_example_load),
		cmocka_unit_test(test_schema_and_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
