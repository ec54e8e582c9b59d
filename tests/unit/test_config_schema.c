/* SPDX-License-Identifier: Apache-2.0 */
/* The engine with a table of another file than relais.yaml (as the simulator has one), and the readers of values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/schema.h"
#include "config/value_priv.h"

struct step {
	rl_str name;
	uint64_t wait_ms;
	double rate;
	unsigned line, column;
};

struct script {
	enum { CALM, WILD } mood;
	double rate;
	uint64_t seed;
	uint32_t small;
	char letter;
	rl_str extra;
	struct step *steps;
	size_t n_steps;
	rl_str *words;
	size_t n_words;
};

static const char *parse_letter(struct rl_arena *arena, rl_str text, void *field)
{
	(void)arena;
	if (text.n != 1)
		return "expected one letter";
	*(char *)field = text.p[0];
	return NULL;
}

static void check_script(struct rl_schema_cx *cx, void *object)
{
	const struct script *script = object;

	assert_ptr_equal(rl_schema_root(cx), object);
	if (rl_schema_written(cx, "seed") && script->seed == *(const uint64_t *)rl_schema_user(cx))
		rl_schema_fail(cx, "seed", "may not be %d", 13);
	if (script->n_words > 2)
		rl_schema_warn(cx, "words[2]", "more than two");
}

static const char *const moods[] = {"calm", "wild", NULL};

static const struct rl_schema_row step_rows[] = {
	{.key = "wait",
	 .type = RL_SCHEMA_DURATION,
	 RL_SCHEMA_FIELD(struct step, wait_ms),
	 .max = 60000,
	 .doc = "How long."},
	{.key = "rate",
	 .type = RL_SCHEMA_RATIO,
	 RL_SCHEMA_FIELD(struct step, rate),
	 .initial = "0.25",
	 .max = 1,
	 .doc = "How often."},
};
static const struct rl_schema step_schema = {
	.size = sizeof(struct step),
	.name_at = 1 + offsetof(struct step, name),
	.position_at = 1 + offsetof(struct step, line),
	.rows = step_rows,
	.n_rows = 2,
	.scalar = "wait",
	.doc = "A step.",
};
static const struct rl_schema_row script_rows[] = {
	{.key = "mood",
	 .type = RL_SCHEMA_ENUM,
	 RL_SCHEMA_FIELD(struct script, mood),
	 .words = moods,
	 .initial = "wild",
	 .doc = "How."},
	{.key = "rate",
	 .type = RL_SCHEMA_RATIO,
	 RL_SCHEMA_FIELD(struct script, rate),
	 .initial = "50%",
	 .max = 1,
	 .doc = "How often."},
	{.key = "seed", .type = RL_SCHEMA_INT, RL_SCHEMA_FIELD(struct script, seed), .initial = "7", .doc = "Seed."},
	{.key = "small",
	 .type = RL_SCHEMA_INT,
	 RL_SCHEMA_FIELD(struct script, small),
	 .min = 2,
	 .max = 4294967295,
	 .doc = "Small."},
	{.key = "letter",
	 .type = RL_SCHEMA_CUSTOM,
	 RL_SCHEMA_FIELD(struct script, letter),
	 .parse = parse_letter,
	 .doc = "A letter."},
	{.key = "extra", .type = RL_SCHEMA_JSON, RL_SCHEMA_FIELD(struct script, extra), .doc = "Anything."},
	{.key = "steps",
	 .type = RL_SCHEMA_MAP,
	 RL_SCHEMA_MANY(struct script, steps, n_steps),
	 .child = &step_schema,
	 .example = "first",
	 .doc = "Steps."},
	{.key = "words",
	 .type = RL_SCHEMA_STRINGS,
	 RL_SCHEMA_MANY(struct script, words, n_words),
	 .flags = RL_SCHEMA_ONE_OR_MANY,
	 .initial = "[a, b]",
	 .doc = "Words."},
};
static const struct rl_schema script_schema = {.rows = script_rows,
					       .n_rows = 8,
					       .check = check_script,
					       .doc = "A script."};

static const uint64_t unlucky = 13;

static enum rl_err parse(struct rl_arena *arena, const char *text, struct script *script, const char *wanted)
{
	struct rl_buf report;

	rl_buf_init(&report, 65536);
	*script = (struct script){.letter = 0};
	enum rl_err err = rl_schema_parse(&script_schema, rl_str_of(text), "s", NULL, &unlucky, arena, script, &report);

	rl_buf_byte(&report, '\0');
	assert_string_equal(report.p, wanted);
	rl_buf_fini(&report);
	return err;
}

static void test_own_table(void **state)
{
	struct rl_arena arena;
	struct script s;

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	assert_int_equal(parse(&arena, "", &s, ""), RL_OK);
	assert_true(s.mood == WILD && s.rate == 0.5 && s.seed == 7 && s.n_steps == 0);
	assert_int_equal(s.n_words, 2);
	assert_int_equal(parse(&arena,
			       "mood: calm\nrate: 0.125\nsmall: 4294967295\nletter: x\nextra: {a: [b, 1]}\nwords: one\n"
			       "steps:\n  a: {rate: 5%}\n  b: 3s\n  c:\n",
			       &s, ""),
			 RL_OK);
	assert_true(s.mood == CALM && s.rate == 0.125 && s.small == UINT32_MAX && s.letter == 'x');
	assert_true(rl_str_eq(s.extra, RL_STR("{\"a\":[\"b\",1]}")));
	assert_true(s.n_words == 1 && rl_str_eq(s.words[0], RL_STR("one")));
	assert_int_equal(s.n_steps, 3);
	assert_true(s.steps[0].rate == 0.05 && s.steps[0].wait_ms == 0);
	/* The short form leaves the others at their defaults. */
	assert_true(s.steps[1].wait_ms == 3000 && s.steps[1].rate == 0.25 && s.steps[1].line == 9);
	assert_true(rl_str_eq(s.steps[2].name, RL_STR("c")) && s.steps[2].rate == 0.25);
	rl_arena_fini(&arena);
}

static void test_own_errors(void **state)
{
	struct rl_arena arena;
	struct script s;

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	assert_int_equal(parse(&arena,
			       "mood: mild\nrate: 101%\nseed: 13\nsmall: 4294967296\nletter: xy\n"
			       "steps: {a: 2m, b: [], c: {rate: often}}\nwords: [x, y, z]\n",
			       &s,
			       "s:1:7: mood: expected calm or wild, got 'mild', did you mean 'wild'?\n"
			       "s:2:7: rate: must be between 0 and 1, got '101%'\n"
			       "s:3:7: seed: may not be 13\n"
			       "s:4:8: small: must be between 2 and 4294967295, got '4294967296'\n"
			       "s:5:9: letter: expected one letter\n"
			       "s:6:12: steps.a: must be between 0ms and 1m, got '2m'\n"
			       "s:6:19: steps.b: expected a map, got a list\n"
			       "s:6:33: steps.c.rate: expected a number, got 'often'\n"
			       "s:7:15: warning: words[2]: more than two\n"),
			 RL_ERR_SYNTAX);
	rl_arena_fini(&arena);
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"0", 0},        {"0s", 0},        {"250ms", 250},     {"5s", 5000},   {"2m", 120000},
		    {"1h", 3600000}, {"1d", 86400000}, {"1h30m", 5400000}, {"1.5s", 1500}, {"0.25h", 900000}};
	static const char *const bad[] = {"",
					  "5",
					  "s",
					  "5 s",
					  "-5s",
					  "5S",
					  "1.s",
					  ".5s",
					  "0.5ms",
					  "1s5",
					  "1.0000001s",
					  "0x5s",
					  "99999999999999999999s",
					  "18446744073709551615h"};
	uint64_t ms = 1;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(rl_value_duration(rl_str_of(good[i].text), &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(rl_value_duration(rl_str_of(bad[i]), &ms));
}

static void test_sizes_and_ratios(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
		    {"65536", 65536},
		    {"1B", 1},
		    {"64KiB", 65536},
		    {"1MB", 1000000},
		    {"10MiB", 10485760},
		    {"0.5GiB", 536870912},
		    {"2GB", 2000000000},
		    {"1KB", 1000}};
	static const char *const bad[] = {"",    "KiB", "1kib",  "1KiB1KiB",
					  "1.5", "-1",  "1 KiB", "99999999999999999999GiB"};
	static const char *const no_ratio[] = {"", "%", "-1", "nan", "inf", "0x1", "1e999", "1 ", "+1", "1.2.3"};
	uint64_t bytes = 1;
	double ratio = 7;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(rl_value_size(rl_str_of(good[i].text), &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(rl_value_size(rl_str_of(bad[i]), &bytes));
	assert_true(rl_value_ratio(RL_STR("25%"), &ratio) && ratio == 0.25);
	assert_true(rl_value_ratio(RL_STR("1.5e1"), &ratio) && ratio == 15);
	for (size_t i = 0; i < sizeof no_ratio / sizeof no_ratio[0]; i++)
		assert_false(rl_value_ratio(rl_str_of(no_ratio[i]), &ratio));
}

static void test_nearest(void **state)
{
	static const rl_str names[] = {RL_STR_INIT("weight"), RL_STR_INIT("model"), RL_STR_INIT("provider"),
				       RL_STR_INIT("a")};

	(void)state;
	assert_true(rl_str_eq(rl_schema_nearest(RL_STR("wieght"), names, 4), names[0]));
	assert_true(rl_str_eq(rl_schema_nearest(RL_STR("modle"), names, 4), names[1]));
	assert_true(rl_str_eq(rl_schema_nearest(RL_STR("providers"), names, 4), names[2]));
	assert_null(rl_schema_nearest(RL_STR("b"), names, 4).p);
	assert_null(rl_schema_nearest(RL_STR(""), names, 4).p);
	assert_null(rl_schema_nearest(RL_STR("strategy"), names, 4).p);
	assert_null(rl_schema_nearest(RL_STR("model"), names, 0).p);
}

static void test_utf8(void **state)
{
	static const char *const bad[] = {"\x80",
					  "\xC0\x80",
					  "\xC3",
					  "\xE0\x9F\xBF",
					  "\xED\xA0\x80",
					  "\xF0\x8F\xBF\xBF",
					  "\xF4\x90\x80\x80",
					  "\xF5\x80\x80\x80",
					  "a\xE2\x82"};

	(void)state;
	assert_true(rl_yaml_text_ok(RL_STR("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xED\x9F\xBF\xF4\x8F\xBF\xBF")));
	assert_true(rl_yaml_text_ok(rl_str_of(NULL)));
	assert_false(rl_yaml_text_ok(rl_str_make("a\0b", 3)));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(rl_yaml_text_ok(rl_str_of(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_table), cmocka_unit_test(test_own_errors),
		cmocka_unit_test(test_durations), cmocka_unit_test(test_sizes_and_ratios),
		cmocka_unit_test(test_nearest),   cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
