/* SPDX-License-Identifier: Apache-2.0 */
/* Whole OpenAI bodies to messages and back: requests, answers, embeddings. */
#include "test_dialect_help.h"

static struct rl_chat_request parsed(void **state, enum rl_operation op, rl_str body)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.status = 0};

	if (openai()->parse_request(op, body, *state, &request, &fault) != RL_OK)
		fail_msg("%.*s\n%.*s", RL_STR_ARG(fault.message), RL_STR_ARG(body));
	return request;
}

/* Parsed and written again, the body is the same as values. */
static void goes_round(void **state, enum rl_operation op, const char *body)
{
	struct rl_chat_request request = parsed(state, op, rl_str_of(body));
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	openai()->write_request(op, &request, plain_reader(*state), &out);
	assert_true(rl_buf_ok(&out));
	assert_true(json_same(rl_buf_str(&out), rl_str_of(body)));
	rl_buf_fini(&out);
}

static void requests_go_round(void **state)
{
	static const char *const chats[] = {
		"{\"model\":\"m\",\"messages\":[]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"Be brief.\"},"
		"{\"role\":\"user\",\"name\":\"ann\",\"content\":\"Hi \\u00e9\\n\\u0000\"}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What?\"},"
		"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBOR/+=\",\"detail\":\"low\"}},"
		"{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/a.png\",\"format\":\"png\"}},"
		"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:text/plain,hello;base64\"}},"
		"{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklG\",\"format\":\"wav\"}},"
		"{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}},"
		"{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,JVBE\",\"filename\":\"a.pdf\"}},"
		"{\"type\":\"video_url\",\"video_url\":{\"url\":\"x\"}}]}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"cached\","
		"\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}}]}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
		"{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},"
		"{\"id\":\"call_2\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"free text\"}},"
		"{\"id\":\"call_3\",\"type\":\"other\",\"other\":{}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"1\"},"
		"{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
		"{\"type\":\"text\",\"text\":\"b\"}]}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"Sure\",\"reasoning_content\":\"Hm\"},"
		"{\"role\":\"assistant\",\"content\":\"\",\"reasoning\":\"Hm\",\"reasoning_details\":[{\"type\":\"x\"}]},"
		"{\"role\":\"assistant\",\"content\":null,\"refusal\":\"No.\",\"audio\":{\"id\":\"a\"}}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\","
		"\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"1\"}],"
		"\"functions\":[{\"name\":\"f\",\"parameters\":{}}],\"function_call\":{\"name\":\"f\"}}",
		"{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
		"\"description\":\"\",\"strict\":true,\"parameters\":{\"type\":\"object\",\"minimum\":1.50}}},"
		"{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"format\":{\"type\":\"text\"}}},"
		"{\"type\":\"function\",\"function\":{\"name\":\"h\",\"x\":1},\"cache_control\":{\"type\":\"ephemeral\"}},"
		"{\"type\":\"web_search\",\"limit\":3}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false}",
		"{\"model\":\"m\",\"messages\":[],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
		"{\"model\":\"m\",\"messages\":[],\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}}",
		"{\"model\":\"m\",\"messages\":[],\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":"
		"{\"mode\":\"auto\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}}}",
		"{\"model\":\"m\",\"messages\":[],\"tool_choice\":\"any\"}",
		"{\"model\":\"m\",\"messages\":[],\"function_call\":\"auto\"}",
		"{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"json_object\"}}",
		"{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
		"\"s\",\"description\":\"d\",\"strict\":false,\"schema\":{\"type\":\"object\"}}}}",
		"{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"json_object\",\"schema\":{}}}",
		"{\"model\":\"m\",\"messages\":[],\"temperature\":0.1,\"top_p\":1e-1,\"top_k\":40,\"seed\":-7,\"n\":2,"
		"\"frequency_penalty\":-2.0,\"presence_penalty\":0,\"max_tokens\":5,\"max_completion_tokens\":6,"
		"\"stop\":[\"a\",\"b\"],\"logprobs\":true,\"top_logprobs\":3,\"reasoning_effort\":\"low\",\"user\":\"u\","
		"\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false}}",
		"{\"model\":\"m\",\"messages\":[],\"stop\":\"x\",\"logit_bias\":{\"5\":-100},\"metadata\":{\"a\":\"b\"},"
		"\"store\":null,\"service_tier\":\"flex\",\"modalities\":[\"text\"],\"verbosity\":\"low\",\"\\u0061\":1}",
	};
	static const char *const completions[] = {
		"{\"model\":\"m\",\"prompt\":\"once\",\"echo\":true,\"suffix\":\"x\",\"best_of\":2,\"logprobs\":0}",
		"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"max_tokens\":0}",
		"{\"model\":\"m\",\"prompt\":[1,2,3]}",
		"{\"model\":\"m\",\"prompt\":[[1],[2,3],\"x\"]}",
		"{\"model\":\"m\",\"prompt\":[]}",
		"{\"model\":\"m\"}",
	};
	static const char *const embeddings[] = {
		"{\"model\":\"m\",\"input\":\"x\",\"encoding_format\":\"base64\",\"dimensions\":256,\"user\":\"u\"}",
		"{\"model\":\"m\",\"input\":[\"x\",\"y\"],\"encoding_format\":\"float\",\"input_type\":\"query\"}",
		"{\"model\":\"m\",\"input\":[7]}",
	};

	for (size_t i = 0; i < sizeof chats / sizeof chats[0]; i++)
		goes_round(state, RL_OP_CHAT, chats[i]);
	for (size_t i = 0; i < sizeof completions / sizeof completions[0]; i++)
		goes_round(state, RL_OP_COMPLETION, completions[i]);
	for (size_t i = 0; i < sizeof embeddings / sizeof embeddings[0]; i++)
		goes_round(state, RL_OP_EMBEDDING, embeddings[i]);
}

static void fields_have_their_meaning(void **state)
{
	struct rl_chat_request r = parsed(
		state, RL_OP_CHAT,
		RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
		       "\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}},{\"type\":\"input_audio\",\"input_audio\":"
		       "{\"data\":\"x\",\"format\":\"mp3\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"ok\"}],"
		       "\"tool_choice\":\"none\",\"parallel_tool_calls\":false,\"temperature\":null,\"best\":1}"));

	assert_text(r.dialect, "openai");
	assert_int_equal(r.n_messages, 2);
	const struct rl_part *image = &r.messages[0].parts[0];

	assert_int_equal(image->kind, RL_PART_IMAGE);
	assert_int_equal(image->media.source, RL_MEDIA_BASE64);
	assert_text(image->media.mime, "image/png");
	assert_text(image->media.data, "AAAA");
	assert_text(r.messages[0].parts[1].media.mime, "audio/mp3");
	assert_int_equal(r.messages[1].role, RL_ROLE_TOOL);
	const struct rl_part *result = &r.messages[1].parts[0];

	assert_int_equal(result->kind, RL_PART_TOOL_RESULT);
	assert_text(result->result.call_id, "c");
	assert_text(result->result.parts[0].text, "ok");
	assert_int_equal(r.tool_choice.mode, RL_TOOL_CHOICE_NONE);
	assert_int_equal(r.parallel_tool_calls, RL_NO);
	assert_int_equal(r.temperature.n, 0);
	assert_int_equal(r.max_tokens, RL_UNSET);
	assert_int_equal(r.extras.n, 1);
	assert_text(r.extras.v[0].key, "\"best\"");
}

static void refused_requests(void **state)
{
	static const struct {
		enum rl_operation op;
		const char *body, *param;
	} bad[] = {
		{RL_OP_CHAT, "[]", ""},
		{RL_OP_CHAT, "{\"messages\":[]}", "model"},
		{RL_OP_CHAT, "{\"model\":\"m\"}", "messages"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":{}}", "messages"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[1]}", "messages[0]"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"king\"}]}", "messages[0].role"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":1}]}",
		 "messages[0].content"},
		{RL_OP_CHAT,
		 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]}",
		 "messages[0].content[0].text"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
		 "messages[0].content[0]"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":{}}]}",
		 "messages[0].tool_calls"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\\udc00\"}]}",
		 "messages[0].content"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"temperature\":\"hot\"}", "temperature"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":-1}", "max_tokens"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"stop\":[1]}", "stop[0]"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{}}]}",
		 "tools[0]"},
		{RL_OP_CHAT, "{\"model\":\"m\",\"messages\":[],\"tool_choice\":1}", "tool_choice"},
		{RL_OP_COMPLETION, "{\"model\":\"m\",\"prompt\":[1,\"x\"]}", "prompt"},
		{RL_OP_EMBEDDING, "{\"model\":\"m\"}", "input"},
		{RL_OP_EMBEDDING, "{\"model\":\"m\",\"input\":\"x\",\"encoding_format\":\"int8\"}", "encoding_format"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct rl_chat_request request;
		struct rl_fault fault = {.status = 0};

		if (openai()->parse_request(bad[i].op, rl_str_of(bad[i].body), *state, &request, &fault) == RL_OK)
			fail_msg("accepted: %s", bad[i].body);
		assert_int_equal(fault.status, 400);
		assert_text(fault.param, bad[i].param);
		assert_true(fault.message.n > 0);
	}
}

/* What another dialect left behind is not written, and named. */
static void foreign_extras_stay_out(void **state)
{
	struct rl_chat_request r = parsed(
		state, RL_OP_CHAT,
		RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"x\":1}],"
		       "\"y\":2}],\"z\":3,\"nothing\":[]}"));
	struct rl_translation *t = plain_reader(*state);
	struct rl_buf out;

	r.dialect = RL_STR("other");
	rl_buf_init(&out, 4096);
	openai()->write_request(RL_OP_CHAT, &r, t, &out);
	assert_true(json_same(rl_buf_str(&out),
			      RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}")));
	assert_text(rl_dropped_text(t, *state), "messages[0].content[0].x, messages[0].y, z");
	rl_buf_fini(&out);
}

/* A user turn that holds results and text becomes a message for each result, then the rest. */
static void mixed_results_are_split(void **state)
{
	struct rl_part inner = {.kind = RL_PART_TEXT, .text = RL_STR("42")};
	struct rl_part parts[] = {
		{.kind = RL_PART_TEXT, .text = RL_STR("and now?")},
		{.kind = RL_PART_TOOL_RESULT,
		 .result = {.call_id = RL_STR("c1"), .parts = &inner, .n_parts = 1, .kind = RL_TOOL_KIND_FUNCTION}},
		{.kind = RL_PART_TOOL_RESULT, .result = {.call_id = RL_STR("c2"), .kind = RL_TOOL_KIND_FUNCTION}},
	};
	struct rl_message message = {.role = RL_ROLE_USER, .parts = parts, .n_parts = 3};
	struct rl_chat_request r = parsed(state, RL_OP_CHAT, RL_STR("{\"model\":\"m\",\"messages\":[]}"));
	struct rl_buf out;

	r.messages = &message;
	r.n_messages = 1;
	rl_buf_init(&out, 4096);
	openai()->write_request(RL_OP_CHAT, &r, plain_reader(*state), &out);
	assert_true(json_same(
		rl_buf_str(&out),
		RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"},"
		       "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"\"},"
		       "{\"role\":\"user\",\"content\":\"and now?\"}]}")));
	rl_buf_fini(&out);
}

static void answer_round(void **state, enum rl_operation op, const char *body, enum rl_encoding encoding,
			 const char *wanted)
{
	struct rl_chat_response response;
	struct rl_buf out;

	assert_int_equal(openai()->parse_response(op, rl_str_of(body), *state, &response), RL_OK);
	response.encoding = encoding;
	rl_buf_init(&out, 1 << 20);
	openai()->write_response(op, &response, plain_reader(*state), &out);
	assert_true(rl_buf_ok(&out));
	assert_true(json_same(rl_buf_str(&out), rl_str_of(wanted)));
	rl_buf_fini(&out);
}

static void answers_go_round(void **state)
{
	static const char chat[] =
		"{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":5,\"model\":\"m\",\"service_tier\":\"default\",\"choices\":["
		"{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\",\"refusal\":null,\"annotations\":[]},"
		"\"logprobs\":{\"content\":[]},\"finish_reason\":\"stop\"},"
		"{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"t\","
		"\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"logprobs\":null,"
		"\"finish_reason\":\"tool_calls\"},"
		"{\"index\":2,\"message\":{\"role\":\"assistant\",\"content\":\"x\",\"refusal\":\"no\"},\"logprobs\":null,"
		"\"finish_reason\":\"eos_token\",\"extra\":1}],"
		"\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3,\"vendor\":{\"a\":1}}}";
	static const char completion[] =
		"{\"id\":\"c\",\"object\":\"text_completion\",\"created\":5,\"model\":\"m\",\"choices\":[{\"text\":\"a\",\"index\":0,"
		"\"logprobs\":null,\"finish_reason\":\"length\"}]}";

	answer_round(state, RL_OP_CHAT, chat, RL_ENCODING_UNSAID, chat);
	answer_round(state, RL_OP_COMPLETION, completion, RL_ENCODING_UNSAID, completion);
}

static void loose_answers(void **state)
{
	struct rl_chat_response r;

	/* No role, a fraction in the time, calls that "stop": vendors do all of it. */
	assert_int_equal(
		openai()->parse_response(
			RL_OP_CHAT,
			RL_STR("{\"created\":5.75,\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],"
			       "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},"
			       "\"finish_reason\":\"stop\"}]}"),
			*state, &r),
		RL_OK);
	assert_int_equal(r.created, 5);
	assert_int_equal(r.choices[0].finish, RL_FINISH_TOOL_CALLS);
	assert_int_equal(r.choices[0].message.role, RL_ROLE_ASSISTANT);
	assert_text(r.choices[0].message.parts[1].call.arguments, "{\"a\":1}");
	assert_false(r.usage.known);
	assert_int_equal(openai()->parse_response(RL_OP_CHAT, RL_STR("{\"choices\":[]}"), *state, &r), RL_ERR_SYNTAX);
	assert_int_equal(openai()->parse_response(RL_OP_CHAT, RL_STR("{\"choices\":{}}"), *state, &r), RL_ERR_SYNTAX);
	assert_int_equal(openai()->parse_response(RL_OP_CHAT, RL_STR("x"), *state, &r), RL_ERR_SYNTAX);
	assert_int_equal(openai()->parse_response(RL_OP_EMBEDDING, RL_STR("{\"data\":[{}]}"), *state, &r),
			 RL_ERR_SYNTAX);
}

static void embeddings_change_their_form(void **state)
{
	/* 1, -2.5, 0.1 as float32, little-endian. */
	static const char floats[] =
		"{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[1,-2.5,0.100000001]}],"
		"\"model\":\"m\",\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}";
	static const char base64[] =
		"{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"AACAPwAAIMDNzMw9\"}],"
		"\"model\":\"m\",\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}";
	static const char *const tails[] = {"AACAPw==", "AACAPwAAIMA="};
	struct rl_chat_response r;
	char body[200];

	answer_round(state, RL_OP_EMBEDDING, floats, RL_ENCODING_BASE64, base64);
	answer_round(state, RL_OP_EMBEDDING, floats, RL_ENCODING_FLOAT, floats);
	answer_round(state, RL_OP_EMBEDDING, base64, RL_ENCODING_UNSAID, base64);
	/* Numbers read as integers and as reals differ in yyjson: compared as text. */
	assert_int_equal(openai()->parse_response(RL_OP_EMBEDDING, rl_str_of(base64), *state, &r), RL_OK);
	struct rl_buf out;

	rl_buf_init(&out, 4096);
	r.encoding = RL_ENCODING_FLOAT;
	openai()->write_response(RL_OP_EMBEDDING, &r, plain_reader(*state), &out);
	assert_true(text_has(rl_buf_str(&out), "\"embedding\":[1,-2.5,0.100000001]"));
	for (size_t i = 0; i < 2; i++) {
		snprintf(body, sizeof body, "{\"data\":[{\"embedding\":[1%s]}]}", i ? ", -25e-1 " : "");
		assert_int_equal(openai()->parse_response(RL_OP_EMBEDDING, rl_str_of(body), *state, &r), RL_OK);
		rl_buf_reset(&out);
		r.encoding = RL_ENCODING_BASE64;
		openai()->write_response(RL_OP_EMBEDDING, &r, plain_reader(*state), &out);
		assert_true(text_has(rl_buf_str(&out), tails[i]));
	}
	rl_buf_fini(&out);
}

static void full_arena(void **state)
{
	rl_str body =
		RL_STR("{\"model\":\"\\u006d\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"extra\":1}");

	(void)state;
	for (size_t limit = 1; limit < 4096; limit += 61) {
		struct rl_chat_request request;
		struct rl_fault fault;
		struct rl_arena tiny;

		rl_arena_init(&tiny, limit);
		enum rl_err err = openai()->parse_request(RL_OP_CHAT, body, &tiny, &request, &fault);
		assert_true(err == RL_OK || err == RL_ERR_NOMEM);
		if (err)
			assert_int_equal(fault.status, 500);
		rl_arena_fini(&tiny);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(requests_go_round),
		arena_test(fields_have_their_meaning),
		arena_test(refused_requests),
		arena_test(foreign_extras_stay_out),
		arena_test(mixed_results_are_split),
		arena_test(answers_go_round),
		arena_test(loose_answers),
		arena_test(embeddings_change_their_form),
		arena_test(full_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
