/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of models: the built-in table, its spellings, its JSON, and what a writer of a dialect learns of it. */
#include "policy_kit.h"

#include "catalog/cards.h"
#include "json/scan.h"

static void means(const char *name, const char *id)
{
	const struct rl_card *card = rl_cards_find(rl_cards_builtin(), rl_str_of(name));

	if (!card && id)
		fail_msg("'%s' was not found", name);
	if (card && !id)
		fail_msg("'%s' was taken for '%.*s'", name, RL_STR_ARG(card->id));
	if (card)
		assert_str(card->id, id);
}

/* Found by halves, so in order; and nothing in it that no model has. */
static void test_table(void **state)
{
	const struct rl_cards *cards = rl_cards_builtin();

	(void)state;
	assert_true(cards->n > 100);
	for (size_t i = 0; i < cards->n; i++) {
		const struct rl_card *card = &cards->list[i];

		if (i && strcmp(card[-1].id.p, card->id.p) >= 0)
			fail_msg("%s must stand before %s", card->id.p, card[-1].id.p);
		assert_ptr_equal(rl_cards_exact(cards, card->id), card);
		assert_ptr_equal(rl_cards_find(cards, card->id), card);
		assert_true(card->maker.n > 0);
		assert_int_equal(card->can & card->cannot, 0);
		assert_int_equal((card->can | card->cannot) >> RL_ABILITY_COUNT, 0);
		assert_true(card->context_tokens >= 1000 && card->context_tokens <= 100000000);
		assert_true(card->max_output_tokens == RL_CARD_UNKNOWN ||
			    (card->max_output_tokens >= 1000 && card->max_output_tokens <= card->context_tokens));
		for (unsigned p = 0; p < RL_PRICE_COUNT; p++)
			assert_in_range(card->price_nusd[p] - RL_CARD_UNKNOWN, 0, 1000001);
	}
}

static void test_spellings(void **state)
{
	(void)state;
	means("gpt-4o", "gpt-4o");
	means("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"); /* has a card of its own: other prices */
	means("gpt-5-2025-08-07", "gpt-5");
	means("claude-sonnet-4-5-20250929", "claude-sonnet-4-5");
	means("claude-sonnet-4-5@20250929", "claude-sonnet-4-5");
	means("claude-opus-4-1-latest", "claude-opus-4-1");
	means("models/gemini-2.5-pro", "gemini-2.5-pro");
	means("openai/gpt-4.1", "gpt-4.1");
	means("openrouter/anthropic/claude-sonnet-4-5-20250929", "claude-sonnet-4-5");
	means("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5");
	means("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307");
}

static void test_no_such_model(void **state)
{
	char long_name[1024];

	(void)state;
	memset(long_name, '/', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	means(long_name, NULL);
	static const char *const names[] = {"",
					    "/",
					    "models/",
					    "-latest",
					    "-20250929",
					    "-v1:0",
					    "gpt",
					    "gpt-4o-",
					    "gpt-4o-2024",
					    "xgpt-4o",
					    "GPT-4O",
					    "gpt-4o/",
					    "gpt-4o-2024-0x-13",
					    "ft:gpt-4o:org::id",
					    ".gpt-4o",
					    "US.gpt-4o",
					    "gpt-4.1.gpt-4o"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		means(names[i], NULL);
	assert_null(rl_cards_find(rl_cards_builtin(), rl_str_make(NULL, 0)));
}

/* Not NUL-terminated, and cut: a slice's length is all that counts. */
static void test_slices(void **state)
{
	(void)state;
	const struct rl_card *card = rl_cards_find(rl_cards_builtin(), rl_str_sub(RL_STR("gpt-4o-mini"), 0, 6));

	assert_non_null(card);
	assert_str(card->id, "gpt-4o");
}

static void test_json(void **state)
{
	struct rl_card card = {.id = RL_STR("a \"b\""),
			       .maker = RL_STR("m"),
			       .context_tokens = RL_CARD_UNKNOWN,
			       .max_output_tokens = 7,
			       .can = 1u << RL_ABILITY_TOOLS,
			       .cannot = 1u << RL_ABILITY_VIDEO,
			       .price_nusd = {0, INT64_MAX, RL_CARD_UNKNOWN, 1}};
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 4096);
	rl_card_write(&card, &out);
	assert_true(rl_buf_ok(&out));
	assert_str(rl_buf_str(&out),
		   "{\"id\":\"a \\\"b\\\"\",\"maker\":\"m\",\"context_tokens\":null,\"max_output_tokens\":7,"
		   "\"abilities\":{\"tools\":true,\"json_schema\":null,\"reasoning\":null,\"images\":null,"
		   "\"documents\":null,\"audio\":null,\"video\":false},\"nusd_per_token\":{\"input\":0,"
		   "\"output\":9223372036854775807,\"cached_input\":null,\"cache_write\":1}}");
	assert_int_equal(rl_json_scan(rl_buf_str(&out), NULL, 0, RL_JSON_LAX, NULL, NULL), RL_OK);
	rl_buf_fini(&out);
}

static void test_facts_of_a_target(void **state)
{
	struct rl_provider provider = {.name = RL_STR("claude"), .cards = rl_cards_builtin()};
	struct rl_facts facts;

	(void)state;
	rl_provider_facts(&provider, RL_STR("claude-sonnet-4-5-20250929"), &facts);
	assert_str(facts.provider, "claude");
	assert_str(facts.model, "claude-sonnet-4-5-20250929");
	assert_int_equal(facts.max_output_tokens, 64000);
	rl_provider_facts(&provider, RL_STR("my-own"), &facts);
	assert_int_equal(facts.max_output_tokens, 0);
	rl_provider_facts(&provider, RL_STR("text-embedding-3-small"), &facts); /* has a card, without a limit */
	assert_int_equal(facts.max_output_tokens, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),         cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_no_such_model), cmocka_unit_test(test_slices),
		cmocka_unit_test(test_json),          cmocka_unit_test(test_facts_of_a_target),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
