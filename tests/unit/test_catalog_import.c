/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts of money read exactly; other people's tables of models and our own file read, good and bad. */
#include "policy_kit.h"

#include "catalog/amount.h"
#include "catalog/import.h"

static void amount(const char *text, int scale, enum rl_err want, int64_t value)
{
	int64_t got = -7;
	enum rl_err err = rl_amount_parse(rl_str_of(text), scale, INT64_MAX, &got);

	if (err != want || got != (want ? -7 : value))
		fail_msg("%s: %s, %lld", text, rl_err_name(err), (long long)got);
}

static void test_amounts(void **state)
{
	int64_t got;

	(void)state;
	amount("0", 9, RL_OK, 0);
	amount("-0", 9, RL_OK, 0);
	amount("0.000", 0, RL_OK, 0);
	amount("0e99999999999999999999", 9, RL_OK, 0);
	amount("3e-06", 9, RL_OK, 3000);
	amount("3.75e-6", 9, RL_OK, 3750);
	amount("0.00000375", 9, RL_OK, 3750);
	amount("0.0000000010", 9, RL_OK, 1);
	amount("1.5E+1", 3, RL_OK, 15000);
	amount("0.1", 3, RL_OK, 100); /* no double holds it */
	amount("1.005", 3, RL_OK, 1005);
	amount("100", 0, RL_OK, 100);
	amount("1000000000000000000000e-21", 0, RL_OK, 1);
	amount("0.10000000000000000000000000", 1, RL_OK, 1);
	amount("999999999999999999", 0, RL_OK, 999999999999999999);
	amount("1e18", 0, RL_OK, 1000000000000000000);
	amount("1e19", 0, RL_ERR_RANGE, 0);
	amount("10e18", 0, RL_ERR_RANGE, 0);
	amount("1e400", 0, RL_ERR_RANGE, 0);
	amount("1e999999999999999999999", 0, RL_ERR_RANGE, 0);
	amount("1234567890123456789012", 0, RL_ERR_RANGE, 0);
	amount("-1", 9, RL_ERR_RANGE, 0);
	amount("-1e-400", 9, RL_ERR_RANGE, 0);
	amount("2.8e-9", 9, RL_ERR_UNSUPPORTED, 0);
	amount("0.0375", 3, RL_ERR_UNSUPPORTED, 0);
	amount("1e-999999999999999999999", 9, RL_ERR_UNSUPPORTED, 0);
	amount("", 9, RL_ERR_SYNTAX, 0);
	amount("-", 9, RL_ERR_SYNTAX, 0);
	amount(".", 9, RL_ERR_SYNTAX, 0);
	amount("e5", 9, RL_ERR_SYNTAX, 0);
	amount("1e", 9, RL_ERR_SYNTAX, 0);
	amount("1e+", 9, RL_ERR_SYNTAX, 0);
	amount("1x", 9, RL_ERR_SYNTAX, 0);
	amount("1.2.3", 9, RL_ERR_SYNTAX, 0);
	amount("NaN", 9, RL_ERR_SYNTAX, 0);
	assert_int_equal(rl_amount_parse(RL_STR("1001"), 0, 1000, &got), RL_ERR_RANGE);
	assert_int_equal(rl_amount_parse(RL_STR("1e3"), 0, 1000, &got), RL_OK);
	assert_int_equal(rl_amount_parse(RL_STR("1e4"), 0, 1000, &got), RL_ERR_RANGE);
}

struct fixture {
	struct rl_arena arena;
	struct rl_cards cards;
	struct rl_import import;
	const char *why;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	rl_arena_init(&f->arena, 64u << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rl_arena_fini(&f->arena);
	free(f);
	return 0;
}

static enum rl_err import(struct fixture *f, const char *text)
{
	f->why = NULL;
	f->cards = (struct rl_cards){.list = NULL};
	enum rl_err err = rl_import(rl_str_of(text), RL_STR("2026-11-25"), &f->arena, &f->cards, &f->import, &f->why);

	assert_true(!err || f->why != NULL);
	return err;
}

static const struct rl_card *card(struct fixture *f, const char *id)
{
	const struct rl_card *found = rl_cards_exact(&f->cards, rl_str_of(id));

	if (!found)
		fail_msg("no card '%s'", id);
	return found;
}

static void assert_prices(const struct rl_card *c, int64_t in, int64_t out, int64_t cached, int64_t write)
{
	assert_int_equal(c->price_nusd[RL_PRICE_INPUT], in);
	assert_int_equal(c->price_nusd[RL_PRICE_OUTPUT], out);
	assert_int_equal(c->price_nusd[RL_PRICE_CACHED_INPUT], cached);
	assert_int_equal(c->price_nusd[RL_PRICE_CACHE_WRITE], write);
}

static void test_litellm(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		import(f,
		       "{\"sample_spec\":{\"max_tokens\":\"words\",\"litellm_provider\":\"one of\",\"mode\":\"one of\"},"
		       "\"z/claude-x\":{\"litellm_provider\":\"z\",\"mode\":\"chat\",\"max_input_tokens\":200000,"
		       "\"max_output_tokens\":64000,\"input_cost_per_token\":3e-06,\"output_cost_per_token\":0.000015,"
		       "\"cache_read_input_token_cost\":3e-07,\"cache_creation_input_token_cost\":3.75e-06,"
		       "\"supports_function_calling\":true,\"supports_vision\":false,\"supports_reasoning\":null},"
		       "\"free\":{\"litellm_provider\":\"z\",\"input_cost_per_token\":0,\"output_cost_per_token\":0.0},"
		       "\"fine\":{\"litellm_provider\":\"z\",\"mode\":\"chat\",\"input_cost_per_token\":2.8e-09},"
		       "\"picture\":{\"litellm_provider\":\"z\",\"mode\":\"image_generation\"},"
		       "\"negative\":{\"litellm_provider\":\"z\",\"input_cost_per_token\":-1e-06},"
		       "\"huge\":{\"litellm_provider\":\"z\",\"max_input_tokens\":1e300},"
		       "\"word\":{\"litellm_provider\":\"z\",\"max_output_tokens\":\"many\"},"
		       "\"ability\":{\"litellm_provider\":\"z\",\"supports_vision\":1},"
		       "\"array\":[],\"nobody\":{},\"a b\":{\"litellm_provider\":\"z\"},"
		       "\"free\":{\"litellm_provider\":\"z\",\"input_cost_per_token\":1}}"),
		RL_OK);
	assert_int_equal(f->import.format, RL_IMPORT_LITELLM);
	assert_int_equal(f->import.taken, 3);
	assert_int_equal(f->cards.n, 3);
	assert_int_equal(f->import.fine, 1);
	assert_int_equal(f->import.skipped[RL_SKIP_NOT_TEXT], 1);
	assert_int_equal(f->import.skipped[RL_SKIP_MALFORMED], 5);
	assert_int_equal(f->import.skipped[RL_SKIP_NAME], 2);
	assert_int_equal(f->import.skipped[RL_SKIP_TWICE], 1);
	const struct rl_card *c = card(f, "z/claude-x");

	assert_str(c->maker, "z");
	assert_int_equal(c->context_tokens, 200000);
	assert_int_equal(c->max_output_tokens, 64000);
	assert_int_equal(c->can, 1u << RL_ABILITY_TOOLS);
	assert_int_equal(c->cannot, 1u << RL_ABILITY_IMAGES);
	assert_prices(c, 3000, 15000, 300, 3750);
	assert_prices(card(f, "free"), 0, 0, RL_CARD_UNKNOWN, RL_CARD_UNKNOWN);
	assert_prices(card(f, "fine"), RL_CARD_UNKNOWN, RL_CARD_UNKNOWN, RL_CARD_UNKNOWN, RL_CARD_UNKNOWN);
}

static void test_genai_prices(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		import(f,
		       "[{\"id\":\"anthropic\",\"models\":[{\"id\":\"old\",\"context_window\":200000,\"prices\":{"
		       "\"input_mtok\":0.8,\"cache_write_mtok\":1,\"cache_read_mtok\":0.08,\"output_mtok\":4}},"
		       "{\"id\":\"tiered\",\"prices\":{\"input_mtok\":{\"base\":3,\"tiers\":[{\"start\":200000,"
		       "\"price\":6}]}}},"
		       "{\"id\":\"dated\",\"prices\":[{\"prices\":{\"input_mtok\":5}},{\"constraint\":{\"start_date\":"
		       "\"2026-03-13\"},\"prices\":{\"input_mtok\":4}},{\"constraint\":{\"start_date\":\"2027-01-01\"},"
		       "\"prices\":{\"input_mtok\":3}},{\"constraint\":{\"start_time\":\"16:30:00Z\"},\"prices\":{"
		       "\"input_mtok\":2}}]},{\"id\":\"bad\",\"prices\":{\"input_mtok\":[1]}},7]},"
		       "{\"id\":\"groq\",\"models\":[{\"id\":\"a/b\",\"prices\":{}}]},{\"id\":\"none\"},[],null]"),
		RL_OK);
	assert_int_equal(f->import.format, RL_IMPORT_GENAI_PRICES);
	assert_int_equal(f->import.taken, 4);
	assert_int_equal(f->import.skipped[RL_SKIP_MALFORMED], 2);
	assert_prices(card(f, "old"), 800, 4000, 80, 1000);
	assert_int_equal(card(f, "old")->context_tokens, 200000);
	assert_int_equal(card(f, "tiered")->price_nusd[RL_PRICE_INPUT], 3000);
	assert_int_equal(card(f, "dated")->price_nusd[RL_PRICE_INPUT], 4000);
	assert_str(card(f, "groq/a/b")->maker, "groq");
}

static void test_models_dev(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		import(f,
		       "{\"empty\":{},\"xai\":{\"id\":\"xai\",\"models\":{\"grok\":{\"tool_call\":true,\"reasoning\":false,"
		       "\"modalities\":{\"input\":[\"text\",\"image\"],\"output\":[\"text\"]},\"cost\":{\"input\":1.25,"
		       "\"output\":2.5,\"cache_read\":0.2},\"limit\":{\"context\":1000000,\"output\":30000}},"
		       "\"film\":{\"modalities\":{\"output\":[\"video\"]}},\"odd\":{\"limit\":{\"context\":{}}},\"no\":1}},"
		       "\"other\":{\"models\":{\"grok\":{\"limit\":{\"context\":0,\"output\":0}}}}}"),
		RL_OK);
	assert_int_equal(f->import.format, RL_IMPORT_MODELS_DEV);
	assert_int_equal(f->import.taken, 2);
	assert_int_equal(f->import.skipped[RL_SKIP_NOT_TEXT], 1);
	assert_int_equal(f->import.skipped[RL_SKIP_MALFORMED], 2);
	const struct rl_card *c = card(f, "grok");

	assert_prices(c, 1250, 2500, 200, RL_CARD_UNKNOWN);
	assert_int_equal(c->can, 1u << RL_ABILITY_TOOLS | 1u << RL_ABILITY_IMAGES);
	assert_int_equal(c->cannot, 1u << RL_ABILITY_REASONING | 1u << RL_ABILITY_DOCUMENTS | 1u << RL_ABILITY_AUDIO |
					    1u << RL_ABILITY_VIDEO);
	assert_int_equal(card(f, "other/grok")->context_tokens, RL_CARD_UNKNOWN);
}

static void test_no_table(void **state)
{
	static const char *const texts[] = {"",
					    "{",
					    "[",
					    "null",
					    "7",
					    "\"x\"",
					    "{}",
					    "[]",
					    "[[]]",
					    "[{\"models\":{}}]",
					    "{\"a\":1}",
					    "nul",
					    "{\"a\":{\"models\":[]}}",
					    "\xff",
					    "{\"a\":{\"models\":{"};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (import(*state, texts[i]) != RL_ERR_SYNTAX)
			fail_msg("taken: %s", texts[i]);
}

/* Every beginning of a good text is refused, and nothing is read outside it. */
static void test_truncated(void **state)
{
	struct fixture *f = *state;
	static const char text[] =
		"{\"relais_catalog\":1,\"models\":[{\"id\":\"a\",\"maker\":\"b\",\"abilities\":{\"tools\":true},"
		"\"nusd_per_token\":{\"input\":1}}]}";

	for (size_t n = 0; n <= sizeof text - 1; n++) {
		char *copy = malloc(n ? n : 1);

		memcpy(copy, text, n);
		enum rl_err err = rl_catalog_read(rl_str_make(copy, n), &f->arena, &f->cards, &f->why);

		free(copy);
		assert_int_equal(err, n == sizeof text - 1 ? RL_OK : RL_ERR_SYNTAX);
	}
	assert_int_equal(f->cards.n, 1);
	assert_str(card(f, "a")->maker, "b");
}

static void test_own_file_is_read_strictly(void **state)
{
	static const char *const models[] = {
		"7",
		"{}",
		"{'id':'a'}",
		"{'id':'','maker':'b'}",
		"{'id':['a'],'maker':'b'}",
		"{'id':{'x':1},'maker':{'y':2}}",
		"{'id':'a b','maker':'b'}",
		"{'id':'a','maker':'b','context_tokens':0}",
		"{'id':'a','maker':'b','context_tokens':-1}",
		"{'id':'a','maker':'b','context_tokens':1.5}",
		"{'id':'a','maker':'b','max_output_tokens':1e10}",
		"{'id':'a','maker':'b','max_output_tokens':'7'}",
		"{'id':'a','maker':'b','abilities':[]}",
		"{'id':'a','maker':'b','abilities':{'tools':1}}",
		"{'id':'a','maker':'b','nusd_per_token':{'input':-1}}",
		"{'id':'a','maker':'b','nusd_per_token':{'input':0.5}}",
		"{'id':'a','maker':'b','nusd_per_token':{'input':1e13}}",
		"{'id':'a','maker':'b','nusd_per_token':{'input':1e99999999999}}",
		"{'id':'a','maker':'b'},{'id':'c','maker':'b'},{'id':'a','maker':'b'}",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
		char text[512];
		int n = snprintf(text, sizeof text, "{\"relais_catalog\":1,\"models\":[%s]}", models[i]);

		for (char *p = text; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		f->why = NULL;
		if (rl_catalog_read(rl_str_make(text, (size_t)n), &f->arena, &f->cards, &f->why) != RL_ERR_SYNTAX)
			fail_msg("taken: %s", models[i]);
		assert_non_null(f->why);
	}
	assert_int_equal(rl_catalog_read(RL_STR("{\"relais_catalog\":2,\"models\":[]}"), &f->arena, &f->cards, &f->why),
			 RL_ERR_SYNTAX);
	assert_int_equal(rl_catalog_read(RL_STR("{\"models\":[]}"), &f->arena, &f->cards, &f->why), RL_ERR_SYNTAX);
}

/* What import makes is read back as it was; it goes before the built-in facts, which stay below. */
static void test_round(void **state)
{
	struct fixture *f = *state;
	struct rl_cards back;
	struct rl_buf text;

	assert_int_equal(
		import(f, "{\"openai\":{\"models\":{\"gpt-4o\":{\"limit\":{\"output\":7}}}},"
			  "\"mine\":{\"models\":{\"gpt-4.1\":{\"limit\":{\"output\":8},\"cost\":{\"input\":0}}}}}"),
		RL_OK);
	rl_buf_init(&text, 1u << 20);
	rl_catalog_write(&f->cards, &text);
	assert_int_equal(rl_catalog_read(rl_buf_str(&text), &f->arena, &back, &f->why), RL_OK);
	rl_buf_fini(&text);
	assert_int_equal(back.n, 2);
	assert_prices(rl_cards_exact(&back, RL_STR("mine/gpt-4.1")), 0, RL_CARD_UNKNOWN, RL_CARD_UNKNOWN,
		      RL_CARD_UNKNOWN);
	assert_int_equal(rl_cards_find(&back, RL_STR("gpt-4o"))->max_output_tokens, 7);
	assert_int_equal(rl_cards_find(&back, RL_STR("gpt-4.1"))->max_output_tokens, 32768);
	assert_int_equal(rl_cards_find_at(&back, RL_STR("mine"), RL_STR("gpt-4.1"))->max_output_tokens, 8);
	assert_int_equal(rl_cards_find_at(&back, RL_STR("mine"), RL_STR("gpt-4.1-2025-04-14"))->max_output_tokens, 8);
	assert_int_equal(rl_cards_find_at(&back, RL_STR("other"), RL_STR("gpt-4.1"))->max_output_tokens, 32768);
	assert_null(rl_cards_find_at(&back, RL_STR("mine"), RL_STR("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_amounts),
		cmocka_unit_test_setup_teardown(test_litellm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_genai_prices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_models_dev, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_file_is_read_strictly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_round, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
