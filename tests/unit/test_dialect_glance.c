/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI border on the way back: what an event or an answer is, its usage, its errors. */
#include "test_dialect_help.h"

static struct rl_json_form form; /* one for all: no event may be judged by those before it */

static struct rl_glance event(const char *data)
{
	struct rl_glance glance;

	if (openai()->glance_event(RL_OP_CHAT, RL_STR(""), rl_str_of(data), &form, &glance) != RL_OK)
		fail_msg("not accepted: %s", data);
	return glance;
}

static void content_or_not(void **state)
{
	static const struct {
		bool content;
		const char *delta;
	} deltas[] = {
		{false, "{}"},
		{false, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"},
		{false, "{\"role\":\"assistant\",\"content\":null,\"annotations\":[]}"},
		{false, "{\"content\":\"\",\"tool_calls\":null}"},
		{false, "{\"content\":[],\"tool_calls\":[],\"audio\":{}}"},
		{false, "{\"index\":0,\"content\":\"\"}"},
		{false, "{\"unknown\":\"some text\"}"},
		{true, "{\"content\":\" \"}"},
		{true, "{\"cont\\u0065nt\":\"x\"}"},
		{true, "{\"tool_calls\":[{\"index\":0}]}"},
		{true, "{\"function_call\":{\"name\":\"f\"}}"},
		{true, "{\"refusal\":\"No.\"}"},
		{true, "{\"content\":\"\",\"reasoning_content\":\"Hm\"}"},
		{true, "{\"reasoning\":\"Hm\"}"},
		{true, "{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\"}]}"},
		{true, "{\"audio\":{\"id\":\"a\"}}"},
		{true, "{\"content\":[{\"type\":\"thinking\"}]}"},
	};
	char data[400];

	(void)state;
	for (size_t i = 0; i < sizeof deltas / sizeof deltas[0]; i++) {
		snprintf(data, sizeof data,
			 "{\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":null}],\"usage\":null}",
			 deltas[i].delta);
		struct rl_glance glance = event(data);
		if (glance.content != deltas[i].content)
			fail_msg("%s", data);
		assert_false(glance.finish || glance.done || glance.usage_only || glance.error || glance.usage.known);
	}
	/* The second choice counts too; so does a completion's text. */
	assert_true(event("{\"choices\":[{\"delta\":{}},{\"delta\":{\"content\":\"x\"}}]}").content);
	assert_true(event("{\"choices\":[{\"text\":\"x\",\"index\":0}]}").content);
	assert_false(event("{\"choices\":[{\"text\":\"\",\"index\":0}]}").content);
}

static void ends(void **state)
{
	(void)state;
	assert_true(event("[DONE]").done);
	struct rl_glance glance = event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}");
	assert_true(glance.finish);
	assert_false(glance.content);
	assert_int_equal(glance.finish_reason, RL_FINISH_LENGTH);
	assert_int_equal(event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"eos\"}]}").finish_reason,
			 RL_FINISH_OTHER);
	assert_false(event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"\"}]}").finish);
}

/* Events of one form are told apart by what they say all the same. */
static void events_of_one_form(void **state)
{
	static const char padded[] =
		"{\"choices\":[{\"delta\":{\"content\":\"%s\"},\"finish_reason\":%s}],\"obfuscation\":\"%s\"}";
	char data[200];

	(void)state;
	for (int i = 0; i < 3; i++) {
		snprintf(data, sizeof data, padded, i ? "b" : "a", "null", i ? "yz" : "x");
		assert_true(event(data).content);
		assert_int_equal(form.n_strings, 2);
	}
	snprintf(data, sizeof data, padded, "", "null", "yz");
	assert_false(event(data).content);
	snprintf(data, sizeof data, padded, "a", "\"stop\"", "yz");
	assert_true(event(data).finish);
	snprintf(data, sizeof data, padded, "a", "\"length\"", "yz");
	assert_int_equal(event(data).finish_reason, RL_FINISH_LENGTH);
	snprintf(data, sizeof data, padded, "a", "null", "yz");
	assert_true(event(data).content);
	struct rl_glance glance;

	assert_int_equal(openai()->glance_event(RL_OP_CHAT, RL_STR("error"), rl_str_of(data), &form, &glance), RL_OK);
	assert_true(glance.error);
	snprintf(data, sizeof data, padded, "\\x", "null", "yz");
	assert_int_equal(openai()->glance_event(RL_OP_CHAT, RL_STR(""), rl_str_of(data), &form, &glance),
			 RL_ERR_SYNTAX);
	/* Whichever of two choices says something. */
	assert_true(event("{\"choices\":[{\"text\":\"a\"},{\"text\":\"b\"}]}").content);
	assert_false(event("{\"choices\":[{\"text\":\"\"},{\"text\":\"\"}]}").content);
}

static void usage_of_all_kinds(void **state)
{
	struct rl_glance g;

	(void)state;
	g = event("{\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"
		  "\"prompt_tokens_details\":{\"cached_tokens\":4,\"cache_write_tokens\":3},"
		  "\"completion_tokens_details\":{\"reasoning_tokens\":2}}}");
	assert_true(g.usage_only && g.usage.known);
	assert_int_equal(g.usage.prompt_tokens, 10);
	assert_int_equal(g.usage.completion_tokens, 5);
	assert_int_equal(g.usage.cached_tokens, 4);
	assert_int_equal(g.usage.cache_write_tokens, 3);
	assert_int_equal(g.usage.reasoning_tokens, 2);
	/* DeepSeek, Groq: in the last chunk that has a choice. */
	g = event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,"
		  "\"completion_tokens\":1,\"prompt_cache_hit_tokens\":6,\"prompt_cache_miss_tokens\":1}}");
	assert_true(g.usage.known && g.finish && !g.usage_only);
	assert_int_equal(g.usage.cached_tokens, 6);
	/* Moonshot: in the choice. */
	g = event("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":7,"
		  "\"completion_tokens\":1,\"cached_tokens\":2}}]}");
	assert_true(g.usage.known && !g.usage_only);
	assert_int_equal(g.usage.cached_tokens, 2);
	/* xAI: reasoning beside the completion, which the total shows. */
	g = event("{\"choices\":[],\"usage\":{\"prompt_tokens\":291,\"completion_tokens\":26,\"total_tokens\":513,"
		  "\"completion_tokens_details\":{\"reasoning_tokens\":196}}}");
	assert_int_equal(g.usage.completion_tokens, 222);
	/* Nonsense is no usage, but its chunk still serves no other purpose. */
	g = event("{\"choices\":[],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1.5}}");
	assert_true(g.usage_only && !g.usage.known);
	g = event("{\"choices\":[{\"delta\":{}}],\"usage\":null}");
	assert_false(g.usage.known || g.usage_only);
}

static void strange_events_pass(void **state)
{
	static const char *const strange[] = {
		"{\"choices\":[],\"id\":\"\",\"prompt_filter_results\":[{}]}", /* Azure's first */
		"{\"choices\":null}",
		"{}",
		"[]",
		"7",
		"\"text\"",
		"{\"type\":\"ping\"}",
		"{\"choices\":[{\"delta\":null}]}",
		"{\"choices\":[{\"delta\":[1]}]}",
		"{\"choices\":[{}],\"error\":null}",
		"{\"choices\":[{}],\"error\":\"\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
		struct rl_glance g = event(strange[i]);
		if (g.content || g.finish || g.done || g.usage_only || g.error)
			fail_msg("%s", strange[i]);
	}
}

static void broken_events(void **state)
{
	static const char *const broken[] = {
		"",
		"{\"choices\":[}",
		"[DONE",
		"{\"choices\":{}}",
		"{\"choices\":\"x\"}",
		"{\"choices\":[1]}",
		"{\"choices\":[[{}]]}",
		"<html>",
		"{\"choices\":[]} {\"choices\":[]}",
	};
	struct rl_glance g;

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
		if (openai()->glance_event(RL_OP_CHAT, RL_STR(""), rl_str_of(broken[i]), &form, &g) != RL_ERR_SYNTAX)
			fail_msg("%s", broken[i]);
}

static void errors_in_events(void **state)
{
	struct rl_glance g;

	(void)state;
	g = event("{\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}");
	assert_true(g.error && !g.content);
	assert_int_equal(g.fault_class, RL_FAULT_OVERLOADED);
	assert_int_equal(event("{\"error\":{\"code\":429,\"message\":\"slow\"}}").fault_class, RL_FAULT_RATE_LIMIT);
	assert_int_equal(event("{\"error\":{\"code\":\"insufficient_quota\"}}").fault_class, RL_FAULT_QUOTA);
	assert_int_equal(event("{\"error\":\"model runner has unexpectedly stopped\"}").fault_class,
			 RL_FAULT_SERVER_ERROR);
	assert_int_equal(event("{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"x\"}}").fault_class,
			 RL_FAULT_BAD_REQUEST);
	assert_int_equal(openai()->glance_event(RL_OP_CHAT, RL_STR("error"), RL_STR("{\"code\":503,\"message\":\"x\"}"),
						&form, &g),
			 RL_OK);
	assert_true(g.error);
	assert_int_equal(g.fault_class, RL_FAULT_OVERLOADED);
}

static enum rl_err answer(enum rl_operation op, const char *body, struct rl_glance *g)
{
	return openai()->glance_answer(op, rl_str_of(body), g);
}

static void answers(void **state)
{
	struct rl_glance g;

	(void)state;
	assert_int_equal(
		answer(RL_OP_CHAT,
		       "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
		       "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}",
		       &g),
		RL_OK);
	assert_true(g.content && g.finish && g.usage.known && !g.error);
	assert_int_equal(g.finish_reason, RL_FINISH_STOP);
	assert_int_equal(g.usage.prompt_tokens, 3);
	assert_int_equal(answer(RL_OP_COMPLETION, "{\"choices\":[{\"text\":\"x\"}]}", &g), RL_OK);
	assert_true(g.content);
	assert_int_equal(
		answer(RL_OP_EMBEDDING,
		       "{\"data\":[{\"embedding\":\"AAAA\"}],\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}", &g),
		RL_OK);
	assert_int_equal(g.usage.prompt_tokens, 2);
	assert_int_equal(answer(RL_OP_CHAT, "{\"error\":{\"code\":502,\"message\":\"upstream\"}}", &g), RL_OK);
	assert_true(g.error);
	assert_int_equal(g.fault_class, RL_FAULT_SERVER_ERROR);
	assert_int_equal(answer(RL_OP_CHAT, "{\"choices\":[{\"message\":{}}],\"error\":null}", &g), RL_OK);
	assert_false(g.error || g.content);
}

static void broken_answers(void **state)
{
	static const struct {
		enum rl_operation op;
		const char *body;
	} broken[] = {
		{RL_OP_CHAT, ""},
		{RL_OP_CHAT, "<html><body>502</body></html>"},
		{RL_OP_CHAT, "{}"},
		{RL_OP_CHAT, "null"},
		{RL_OP_CHAT, "{\"choices\":[]}"},
		{RL_OP_CHAT, "{\"choices\":null}"},
		{RL_OP_CHAT, "{\"choices\":{}}"},
		{RL_OP_CHAT, "{\"choices\":[\"x\"]}"},
		{RL_OP_CHAT, "{\"choices\":[{}]"},
		{RL_OP_COMPLETION, "{\"data\":[]}"},
		{RL_OP_EMBEDDING, "{\"choices\":[{}]}"},
		{RL_OP_EMBEDDING, "{\"data\":{}}"},
	};
	struct rl_glance g;

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
		if (answer(broken[i].op, broken[i].body, &g) != RL_ERR_SYNTAX)
			fail_msg("%s", broken[i].body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_or_not),      cmocka_unit_test(ends),
		cmocka_unit_test(events_of_one_form),  cmocka_unit_test(usage_of_all_kinds),
		cmocka_unit_test(strange_events_pass), cmocka_unit_test(broken_events),
		cmocka_unit_test(errors_in_events),    cmocka_unit_test(answers),
		cmocka_unit_test(broken_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
