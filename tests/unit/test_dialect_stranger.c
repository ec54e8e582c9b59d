/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAI dialect as a partner in translation: requests and answers of a dialect that it does not know, written
 * for its providers and its clients: what is said, what is named as dropped, what is refused; and thoughts, whose
 * seals must come back as they went out. The stranger is made of an OpenAI body that says it was of another dialect.
 */
#include "test_dialect_help.h"

struct reader {
	struct rl_facts facts;
	struct rl_translation t;
};

static void meet(struct reader *reader, void **state, unsigned quirks, const enum rl_quirk *which)
{
	reader->facts = (struct rl_facts){.provider = RL_STR("p"), .model = RL_STR("m")};
	for (unsigned i = 0; i < quirks; i++)
		reader->facts.quirks |= (uint64_t)1 << which[i];
	rl_translation_init(&reader->t, *state, &reader->facts, false);
}

static struct rl_chat_request parsed(void **state, const char *body)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.status = 0};

	if (openai()->parse_request(RL_OP_CHAT, rl_str_of(body), *state, &request, &fault) != RL_OK)
		fail_msg("%.*s\n%s", RL_STR_ARG(fault.message), body);
	return request;
}

/* A request as written for a reader with quirks, as values, and what was dropped. */
static void writes(void **state, struct reader *reader, const struct rl_chat_request *request, const char *wanted,
		   const char *dropped)
{
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	openai()->write_request(RL_OP_CHAT, request, &reader->t, &out);
	if (reader->t.err)
		fail_msg("refused: %.*s", RL_STR_ARG(reader->t.fault.message));
	assert_true(rl_buf_ok(&out));
	assert_true(json_same(rl_buf_str(&out), rl_str_of(wanted)));
	assert_text(rl_dropped_text(&reader->t, *state), dropped);
	rl_buf_fini(&out);
}

#define USER "{\"role\":\"user\",\"content\":\"q\"}"
#define BODY(rest) "{\"model\":\"m\",\"messages\":[" USER "]" rest "}"

static void refuses(void **state, struct rl_chat_request *request, const char *param)
{
	struct reader reader;
	struct rl_buf out;

	meet(&reader, state, 0, NULL);
	rl_buf_init(&out, 1 << 20);
	openai()->write_request(RL_OP_CHAT, request, &reader.t, &out);
	assert_int_equal(reader.t.err, RL_ERR_UNSUPPORTED);
	assert_int_equal(reader.t.fault.status, 400);
	assert_text(reader.t.fault.code, "unsupported_by_target");
	assert_text(reader.t.fault.param, param);
	assert_true(reader.t.fault.message.n > 20);
	rl_buf_fini(&out);
}

static void refuses_part(void **state, struct rl_part part, enum rl_role role)
{
	struct rl_message message = {.role = role, .parts = &part, .n_parts = 1};
	struct rl_chat_request request = parsed(state, BODY());

	request.dialect = RL_STR("other");
	request.messages = &message;
	request.n_messages = 1;
	refuses(state, &request, "messages[0].content[0]");
}

static void what_changes_the_meaning_is_refused(void **state)
{
	static const rl_str hosted = RL_STR_INIT("{\"type\":\"web_search\"}");
	struct rl_tool tool = {.kind = RL_TOOL_KIND_HOSTED, .json = hosted};
	struct rl_chat_request request = parsed(state, BODY());

#define MEDIA(k, s)                                                                          \
	(struct rl_part)                                                                     \
	{                                                                                    \
		.kind = RL_PART_##k, .media = {.source = RL_MEDIA_##s, .data = RL_STR("x") } \
	}
	refuses_part(state, MEDIA(IMAGE, FILE), RL_ROLE_USER);
	refuses_part(state, MEDIA(IMAGE, URL), RL_ROLE_ASSISTANT);
	refuses_part(state, MEDIA(IMAGE, BASE64), RL_ROLE_SYSTEM);
	refuses_part(state, MEDIA(DOCUMENT, URL), RL_ROLE_USER);
	refuses_part(state, MEDIA(DOCUMENT, FILE), RL_ROLE_USER);
	refuses_part(state, MEDIA(AUDIO, URL), RL_ROLE_USER);
	refuses_part(state, MEDIA(VIDEO, BASE64), RL_ROLE_USER);
	refuses_part(state, (struct rl_part){.kind = RL_PART_RAW, .json = hosted}, RL_ROLE_USER);
	request.dialect = RL_STR("other");
	request.tools = &tool;
	request.n_tools = 1;
	refuses(state, &request, "tools[0]");
	request = parsed(
		state,
		BODY(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"odd\""));
	request.dialect = RL_STR("other");
	refuses(state, &request, "tool_choice");
	request = parsed(state, BODY(",\"response_format\":{\"type\":\"odd\"}"));
	request.dialect = RL_STR("other");
	refuses(state, &request, "response_format");
}

static void what_cannot_be_said_is_named(void **state)
{
	static const rl_str raw = RL_STR_INIT("{\"type\":\"server_tool_use\"}");
	struct rl_citation citation = {.url = RL_STR("u"), .start = RL_UNSET, .end = RL_UNSET};
	struct rl_part turn[] = {
		{.kind = RL_PART_RAW, .json = raw},
		{.kind = RL_PART_TEXT, .text = RL_STR("a"), .citations = &citation, .n_citations = 1},
	};
	struct rl_part inner = {.kind = RL_PART_TEXT, .text = RL_STR("broken")};
	struct rl_part result[] = {
		{.kind = RL_PART_TOOL_RESULT,
		 .result = {.call_id = RL_STR("c"),
			    .parts = &inner,
			    .n_parts = 1,
			    .is_error = true,
			    .kind = RL_TOOL_KIND_FUNCTION}},
		{.kind = RL_PART_DOCUMENT,
		 .media = {.source = RL_MEDIA_TEXT, .data = RL_STR("text"), .name = RL_STR("t")},
		 .cache = {.set = true, .ttl = RL_STR("1h")}},
	};
	struct rl_message messages[] = {
		{.role = RL_ROLE_ASSISTANT, .parts = turn, .n_parts = 2},
		{.role = RL_ROLE_USER, .parts = result, .n_parts = 2},
	};
	struct rl_chat_request request = parsed(state, BODY(",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"],\"top_k\":4"));
	struct reader reader;

	request.dialect = RL_STR("other");
	request.messages = messages;
	request.n_messages = 2;
	meet(&reader, state, 0, NULL);
	writes(state, &reader, &request,
	       "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"},"
	       "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"broken\"},{\"role\":\"user\",\"content\":\"text\"}],"
	       "\"stop\":[\"1\",\"2\",\"3\",\"4\"]}",
	       "messages[0].content[0], messages[0].content[1].citations, messages[1].content[0].is_error, "
	       "messages[1].content[1].title, messages[1].cache_control, top_k, stop[4]");
	/* The same for one that wants nothing dropped. */
	struct rl_buf out;

	rl_translation_init(&reader.t, *state, &reader.facts, true);
	rl_buf_init(&out, 1 << 16);
	openai()->write_request(RL_OP_CHAT, &request, &reader.t, &out);
	assert_int_equal(reader.t.err, RL_ERR_UNSUPPORTED);
	rl_buf_fini(&out);
}

/* Calls without ids get one from their place, and the results the same. */
static void ids_are_made(void **state)
{
	struct rl_part calls[] = {
		{.kind = RL_PART_TOOL_CALL, .call = {.kind = RL_TOOL_KIND_FUNCTION, .name = RL_STR("f")}},
		{.kind = RL_PART_TOOL_CALL, .call = {.kind = RL_TOOL_KIND_FUNCTION, .name = RL_STR("g")}},
	};
	struct rl_part one = {.kind = RL_PART_TOOL_RESULT, .result = {.kind = RL_TOOL_KIND_FUNCTION}}, two = one;
	struct rl_message messages[] = {
		{.role = RL_ROLE_USER},
		{.role = RL_ROLE_ASSISTANT, .parts = calls, .n_parts = 2},
		{.role = RL_ROLE_USER, .parts = &one, .n_parts = 1},
		{.role = RL_ROLE_USER, .parts = &two, .n_parts = 1},
	};
	struct rl_chat_request request = parsed(state, BODY());
	struct reader reader;

	request.dialect = RL_STR("other");
	request.messages = messages;
	request.n_messages = 4;
	meet(&reader, state, 0, NULL);
	writes(state, &reader, &request,
	       "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
	       "{\"id\":\"call_1_0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
	       "{\"id\":\"call_1_1\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},"
	       "{\"role\":\"tool\",\"tool_call_id\":\"call_1_0\",\"content\":\"\"},"
	       "{\"role\":\"tool\",\"tool_call_id\":\"call_1_1\",\"content\":\"\"}]}",
	       "");
}

#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

static void quirks_are_obeyed(void **state)
{
	static const struct {
		enum rl_quirk quirk;
		const char *in, *out, *dropped;
	} cases[] = {
		{RL_QUIRK_MAX_TOKENS, BODY(",\"max_completion_tokens\":5"), BODY(",\"max_tokens\":5"), ""},
		{RL_QUIRK_MAX_COMPLETION, BODY(",\"max_tokens\":5,\"max_completion_tokens\":3"),
		 BODY(",\"max_completion_tokens\":3"), ""},
		{RL_QUIRK_NO_N, BODY(",\"n\":1"), BODY(), ""},
		{RL_QUIRK_NO_SEED, BODY(",\"seed\":1"), BODY(), "seed"},
		{RL_QUIRK_RANDOM_SEED, BODY(",\"seed\":1"), BODY(",\"random_seed\":1"), ""},
		{RL_QUIRK_NO_LOGPROBS, BODY(",\"logprobs\":true,\"top_logprobs\":2"), BODY(), "logprobs"},
		{RL_QUIRK_NO_SAMPLING, BODY(",\"temperature\":1,\"top_p\":0.5"), BODY(), "temperature, top_p"},
		{RL_QUIRK_NO_EFFORT, BODY(",\"reasoning_effort\":\"low\""), BODY(), "reasoning_effort"},
		{RL_QUIRK_NO_STREAM_OPTIONS, BODY(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"),
		 BODY(",\"stream\":true"), ""},
		{RL_QUIRK_TOOL_CHOICE_ANY, BODY("," TOOLS ",\"tool_choice\":\"required\""),
		 BODY("," TOOLS ",\"tool_choice\":\"any\""), ""},
		{RL_QUIRK_NO_TOOL_CHOICE, BODY("," TOOLS ",\"tool_choice\":\"auto\""), BODY("," TOOLS), ""},
		{RL_QUIRK_NO_TOOL_CHOICE, BODY("," TOOLS ",\"tool_choice\":\"none\""), BODY(), ""},
		{RL_QUIRK_JSON_OBJECT_SCHEMA,
		 BODY(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"s\",\"schema\":{}}}"),
		 BODY(",\"response_format\":{\"type\":\"json_object\",\"schema\":{}}"), ""},
		{RL_QUIRK_NO_DEVELOPER, "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"x\"}]}",
		 "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}", ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_chat_request request = parsed(state, cases[i].in);
		struct reader reader;

		meet(&reader, state, 1, &cases[i].quirk);
		writes(state, &reader, &request, cases[i].out, cases[i].dropped);
	}
}

static void quirks_that_refuse(void **state)
{
	static const struct {
		enum rl_quirk quirk;
		const char *in, *param;
	} cases[] = {
		{RL_QUIRK_NO_N, BODY(",\"n\":2"), "n"},
		{RL_QUIRK_NO_SCHEMA,
		 BODY(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"s\",\"schema\":{}}}"),
		 "response_format"},
		{RL_QUIRK_NO_TOOL_CHOICE, BODY("," TOOLS ",\"tool_choice\":\"required\""), "tool_choice"},
		{RL_QUIRK_NO_IMAGE_URL,
		 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/\"}}]}]}",
		 "messages[0].content[0]"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_chat_request request = parsed(state, cases[i].in);
		struct reader reader;
		struct rl_buf out;

		meet(&reader, state, 1, &cases[i].quirk);
		rl_buf_init(&out, 1 << 16);
		openai()->write_request(RL_OP_CHAT, &request, &reader.t, &out);
		assert_int_equal(reader.t.err, RL_ERR_UNSUPPORTED);
		assert_text(reader.t.fault.param, cases[i].param);
		rl_buf_fini(&out);
	}
}

/* Any id becomes nine letters and digits, the same in the call and its result; one that is so already stays. */
static void short_ids(void **state)
{
	static const char *const body =
		"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
		"{\"id\":\"call_long_one\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
		"{\"id\":\"abcDEF123\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"call_long_one\",\"content\":\"1\"},"
		"{\"role\":\"tool\",\"tool_call_id\":\"abcDEF123\",\"content\":\"2\"}]}";
	static const enum rl_quirk quirk = RL_QUIRK_SHORT_TOOL_IDS;
	struct rl_chat_request request = parsed(state, body);
	struct reader reader;
	struct rl_buf out;

	meet(&reader, state, 1, &quirk);
	rl_buf_init(&out, 1 << 16);
	openai()->write_request(RL_OP_CHAT, &request, &reader.t, &out);
	struct rl_str_pair {
		rl_str call, result;
	} ids;
	struct rl_chat_request again;
	struct rl_fault fault;

	assert_int_equal(openai()->parse_request(RL_OP_CHAT, rl_buf_str(&out), *state, &again, &fault), RL_OK);
	ids.call = again.messages[0].parts[0].call.id;
	ids.result = again.messages[1].parts[0].result.call_id;
	assert_int_equal(ids.call.n, 9);
	assert_true(rl_str_eq(ids.call, ids.result));
	assert_text(again.messages[0].parts[1].call.id, "abcDEF123");
	assert_text(again.messages[2].parts[0].result.call_id, "abcDEF123");
	rl_buf_fini(&out);
}

static void budgets_are_efforts(void **state)
{
	static const struct {
		int64_t budget;
		enum rl_choice3 wanted;
		const char *out;
	} cases[] = {
		{1024, RL_YES, BODY(",\"reasoning_effort\":\"low\"")},
		{8192, RL_UNSAID, BODY(",\"reasoning_effort\":\"medium\"")},
		{30000, RL_YES, BODY(",\"reasoning_effort\":\"high\"")},
		{RL_BUDGET_AUTO, RL_YES, BODY()},
		{RL_UNSET, RL_NO, BODY(",\"reasoning_effort\":\"none\"")},
		{RL_UNSET, RL_UNSAID, BODY()},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_chat_request request = parsed(state, BODY());
		struct reader reader;

		request.dialect = RL_STR("other");
		request.reasoning_budget = cases[i].budget;
		request.reasoning = cases[i].wanted;
		meet(&reader, state, 0, NULL);
		writes(state, &reader, &request, cases[i].out, "");
	}
}

static void marks_of_caches(void **state)
{
	static const char *const own[] = {
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}]}",
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\",\"ttl\":\"30m\"}}]}]}",
	};
	static const enum rl_quirk takes[] = {RL_QUIRK_CACHE_CONTROL, RL_QUIRK_CACHE_BREAKPOINT};
	struct reader reader;

	for (size_t i = 0; i < 2; i++) {
		struct rl_chat_request request = parsed(state, own[i]);

		assert_true(request.messages[0].parts[0].cache.set);
		assert_text(request.messages[0].parts[0].cache.ttl, i ? "30m" : "1h");
		meet(&reader, state, 0, NULL);
		writes(state, &reader, &request, own[i], "");
	}
	struct rl_chat_request request = parsed(state, own[0]);

	request.dialect = RL_STR("other");
	meet(&reader, state, 1, &takes[0]);
	writes(state, &reader, &request, own[0], "");
	meet(&reader, state, 1, &takes[1]);
	writes(state, &reader, &request,
	       "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\","
	       "\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}}]}]}",
	       "");
	meet(&reader, state, 0, NULL);
	writes(state, &reader, &request, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
	       "messages[0].cache_control");
}

/* --- answers --- */

static rl_str answered(void **state, const struct rl_chat_response *response, struct rl_translation *t)
{
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	openai()->write_response(RL_OP_CHAT, response, t, &out);
	assert_true(rl_buf_ok(&out));
	assert_int_equal(t->err, RL_OK);
	rl_str copy = rl_arena_dup(*state, rl_buf_str(&out));

	rl_buf_fini(&out);
	return copy;
}

static void answers_of_others(void **state)
{
	struct rl_citation cites[] = {
		{.url = RL_STR("https://x.test/"), .title = RL_STR("X"), .start = 0, .end = 1, .document = RL_UNSET},
		{.title = RL_STR("a document"), .start = RL_UNSET, .end = RL_UNSET, .document = 0},
	};
	struct rl_extra extra = {RL_STR("\"modelVersion\""), RL_STR("\"v\"")};
	struct rl_part parts[] = {
		{.kind = RL_PART_TEXT, .text = RL_STR("\xC3\xA9 ")},
		{.kind = RL_PART_TEXT, .text = RL_STR("b"), .citations = cites, .n_citations = 2},
		{.kind = RL_PART_RAW, .json = RL_STR("{}")},
	};
	struct rl_choice choice = {.finish = RL_FINISH_OTHER,
				   .finish_word = RL_STR("PAUSED"),
				   .stop_sequence = RL_STR("END"),
				   .message = {.role = RL_ROLE_ASSISTANT, .parts = parts, .n_parts = 3}};
	struct rl_chat_response response = {
		.dialect = RL_STR("other"),
		.id = RL_STR("i"),
		.model = RL_STR("m"),
		.choices = &choice,
		.n_choices = 1,
		.usage = {.known = true, .prompt_tokens = 9, .cached_tokens = 4, .cache_write_tokens = 2},
		.usage_json = RL_STR("{\"theirs\":1}"),
		.extras = {&extra, 1}};
	struct rl_translation *t = plain_reader(*state);
	rl_str is = answered(state, &response, t);

	assert_true(json_same(
		is,
		RL_STR("{\"id\":\"i\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"m\",\"choices\":[{\"index\":0,"
		       "\"message\":{\"role\":\"assistant\",\"content\":\"\xC3\xA9 b\",\"refusal\":null,\"annotations\":[{"
		       "\"type\":\"url_citation\",\"url_citation\":{\"url\":\"https://x.test/\",\"title\":\"X\","
		       "\"start_index\":2,\"end_index\":3}}]},\"logprobs\":null,\"finish_reason\":\"stop\","
		       "\"native_finish_reason\":\"PAUSED\",\"stop_reason\":\"END\"}],\"usage\":{\"prompt_tokens\":9,"
		       "\"completion_tokens\":0,\"total_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":4,"
		       "\"cache_write_tokens\":2},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}")));
	assert_text(rl_dropped_text(t, *state), "answer.raw, answer.citations, answer.modelVersion");
	/* And read again: the stop sequence and the citation are ours. */
	struct rl_chat_response again;

	assert_int_equal(openai()->parse_response(RL_OP_CHAT, is, *state, &again), RL_OK);
	assert_text(again.choices[0].stop_sequence, "END");
	assert_int_equal(again.choices[0].message.parts[0].n_citations, 1);
	assert_text(again.choices[0].message.parts[0].citations[0].url, "https://x.test/");
}

/* --- thoughts --- */

static void same_thought(const struct rl_part *a, const struct rl_part *b)
{
	assert_int_equal(a->kind, RL_PART_REASONING);
	assert_int_equal(b->kind, RL_PART_REASONING);
	assert_true(rl_str_eq(a->reasoning.text, b->reasoning.text));
	assert_true(rl_str_eq(a->reasoning.signature, b->reasoning.signature));
	assert_true(rl_str_eq(a->reasoning.redacted, b->reasoning.redacted));
	assert_true(rl_str_eq(a->reasoning.family, b->reasoning.family));
	assert_int_equal(a->reasoning.summary, b->reasoning.summary);
}

#define THOUGHT(...)                                                    \
	{                                                               \
		.kind = RL_PART_REASONING, .reasoning = { __VA_ARGS__ } \
	}
#define CALL(i)                                    \
	{                                          \
		.kind = RL_PART_TOOL_CALL, .call = \
		{.kind = RL_TOOL_KIND_FUNCTION,    \
		 .id = RL_STR(i),                  \
		 .name = RL_STR("f"),              \
		 .arguments = RL_STR("{}") }       \
	}

/* The answer's message as the client sends it back in its next request. */
static struct rl_message sent_back(void **state, rl_str answer)
{
	yyjson_doc *doc = yyjson_read(answer.p, answer.n, 0);
	yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "choices"));
	size_t n;
	char *message = yyjson_val_write(yyjson_obj_get(choice, "message"), 0, &n);
	rl_str body = rl_arena_printf(*state, "{\"model\":\"m\",\"messages\":[%s]}", message);
	struct rl_chat_request request;
	struct rl_fault fault;

	free(message);
	yyjson_doc_free(doc);
	assert_int_equal(openai()->parse_request(RL_OP_CHAT, body, *state, &request, &fault), RL_OK);
	return request.messages[0];
}

static void seals_come_back(void **state)
{
	struct rl_part parts[] = {
		THOUGHT(.text = RL_STR("Hm. "), .signature = RL_STR("s1"), .family = RL_STR("anthropic")),
		THOUGHT(.redacted = RL_STR("r1"), .family = RL_STR("anthropic")),
		THOUGHT(.text = RL_STR(""), .signature = RL_STR("s2"), .family = RL_STR("anthropic")),
		THOUGHT(.text = RL_STR("sum"), .summary = true, .signature = RL_STR("e1"), .id = RL_STR("rs_1"),
			.family = RL_STR("openai")),
		{.kind = RL_PART_TEXT, .text = RL_STR("answer")},
		CALL("c1"),
		THOUGHT(.signature = RL_STR("g1"), .family = RL_STR("gemini")),
		CALL("c2"),
	};
	struct rl_choice choice = {.finish = RL_FINISH_TOOL_CALLS,
				   .message = {.role = RL_ROLE_ASSISTANT, .parts = parts, .n_parts = 8}};
	struct rl_chat_response response = {.dialect = RL_STR("other"), .choices = &choice, .n_choices = 1};
	struct rl_translation *t = plain_reader(*state);
	rl_str answer = answered(state, &response, t);

	assert_int_equal(t->n_dropped, 0);
	assert_true(text_has(answer, "\"reasoning_content\":\"Hm. sum\""));
	assert_true(text_has(answer, "\"relais.anthropic.s1\""));
	assert_true(text_has(answer, "\"data\":\"e1\"")); /* of this family: as it is */
	struct rl_message back = sent_back(state, answer);

	assert_int_equal(back.n_parts, 8);
	for (size_t i = 0; i < 4; i++)
		same_thought(&back.parts[i], &parts[i]);
	assert_text(back.parts[3].reasoning.id, "rs_1");
	assert_int_equal(back.parts[4].kind, RL_PART_TEXT);
	assert_text(back.parts[5].call.id, "c1");
	same_thought(&back.parts[6], &parts[6]);
	assert_text(back.parts[7].call.id, "c2");
	/* A provider of this dialect gets its own family's, and none of the marked ones. */
	struct rl_chat_request request = parsed(state, BODY());
	struct reader reader;
	struct rl_buf out;

	request.messages = &back;
	request.n_messages = 1;
	meet(&reader, state, 0, NULL);
	rl_buf_init(&out, 1 << 16);
	openai()->write_request(RL_OP_CHAT, &request, &reader.t, &out);
	assert_text(rl_dropped_text(&reader.t, *state), "messages[0].reasoning");
	assert_false(text_has(rl_buf_str(&out), "relais."));
	assert_true(text_has(rl_buf_str(&out), "\"data\":\"e1\""));
	rl_buf_fini(&out);
}

/* The forms that clients of other gateways send: read, and written to this dialect as they were. */
static void forms_of_thoughts(void **state)
{
	static const struct {
		const char *members;
		const char *text, *signature, *redacted, *family;
	} forms[] = {
		{"\"reasoning_content\":\"a\"", "a", "", "", ""},
		{"\"reasoning\":\"a\"", "a", "", "", ""},
		{"\"reasoning\":\"a\",\"reasoning_content\":\"a\"", "a", "", "", ""},
		{"\"reasoning_content\":\"a\",\"reasoning\":\"b\"", "a", "", "", ""},
		{"\"reasoning_content\":\"a\",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"s\"}]",
		 "a", "s", "", "anthropic"},
		{"\"thinking_blocks\":[{\"type\":\"redacted_thinking\",\"data\":\"d\"}]", "", "", "d", "anthropic"},
		{"\"reasoning\":\"a\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"a\",\"signature\":\"s\",\"id\":null,\"index\":0}]",
		 "a", "s", "", "openai"},
		{"\"reasoning\":\"ab\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"a\",\"index\":0},"
		 "{\"type\":\"reasoning.text\",\"text\":\"b\",\"index\":0},{\"type\":\"reasoning.text\",\"signature\":\"s\",\"index\":0}]",
		 "ab", "s", "", "openai"},
		{"\"reasoning_content\":\"a\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"\",\"signature\":\"s\"}]",
		 "a", "s", "", "openai"},
		{"\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"d\"}]", "", "", "d", "openai"},
	};

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		rl_str body = rl_arena_printf(
			*state, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",%s}]}",
			forms[i].members);
		struct rl_chat_request request = parsed(state, body.p);
		struct reader reader;
		const struct rl_reasoning *r = &request.messages[0].parts[0].reasoning;

		assert_int_equal(request.messages[0].parts[0].kind, RL_PART_REASONING);
		assert_text(r->text, forms[i].text);
		assert_text(r->signature, forms[i].signature);
		assert_text(r->redacted, forms[i].redacted);
		assert_text(r->family, forms[i].family);
		assert_int_equal(request.messages[0].n_parts, i == 3 ? 3 : 2);
		meet(&reader, state, 0, NULL);
		writes(state, &reader, &request, rl_arena_dup(*state, body).p, "");
	}
}

static void seals_on_calls(void **state)
{
	static const char *const body =
		"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
		"\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"g\"}}}]}]}";
	struct rl_chat_request request = parsed(state, body);
	struct reader reader;

	assert_int_equal(request.messages[0].n_parts, 2);
	assert_text(request.messages[0].parts[0].reasoning.signature, "g");
	assert_text(request.messages[0].parts[0].reasoning.family, "gemini");
	meet(&reader, state, 0, NULL);
	writes(state, &reader, &request, body, "");
}

static void thoughts_go_back_where_they_must(void **state)
{
	static const enum rl_quirk back[] = {RL_QUIRK_REASONING_BACK, RL_QUIRK_REASONING_FIELD};
	struct rl_part parts[] = {THOUGHT(.text = RL_STR("Hm"), .signature = RL_STR("s"),
					  .family = RL_STR("anthropic")),
				  CALL("c")};
	struct rl_message message = {.role = RL_ROLE_ASSISTANT, .parts = parts, .n_parts = 2};
	struct rl_chat_request request = parsed(state, BODY());
	struct reader reader;

#define TURN(thought)                                                                                     \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null," thought                \
	"\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":" \
	"\"{}\"}}]}]}"
	request.dialect = RL_STR("other");
	request.messages = &message;
	request.n_messages = 1;
	meet(&reader, state, 0, NULL);
	writes(state, &reader, &request, TURN(), "messages[0].reasoning");
	meet(&reader, state, 1, back);
	writes(state, &reader, &request, TURN("\"reasoning_content\":\"Hm\","), "messages[0].reasoning");
	meet(&reader, state, 2, back);
	writes(state, &reader, &request, TURN("\"reasoning\":\"Hm\","), "messages[0].reasoning");
}

/* A stream of another dialect, collected as a client does and sent back. */
static void streamed_seals_come_back(void **state)
{
	static const struct rl_event events[] = {
		{.kind = RL_EVENT_START, .id = RL_STR_INIT("i"), .name = RL_STR_INIT("m")},
		{.kind = RL_EVENT_REASONING, .text = RL_STR_INIT("a"), .family = RL_STR_INIT("anthropic")},
		{.kind = RL_EVENT_REASONING, .text = RL_STR_INIT("b"), .family = RL_STR_INIT("anthropic")},
		{.kind = RL_EVENT_REASONING, .signature = RL_STR_INIT("s1"), .family = RL_STR_INIT("anthropic")},
		{.kind = RL_EVENT_REASONING, .signature = RL_STR_INIT("s2"), .family = RL_STR_INIT("anthropic")},
		{.kind = RL_EVENT_REASONING,
		 .part = 1,
		 .redacted = RL_STR_INIT("r"),
		 .family = RL_STR_INIT("anthropic")},
		{.kind = RL_EVENT_REASONING, .part = 2, .signature = RL_STR_INIT("g"), .family = RL_STR_INIT("gemini")},
		{.kind = RL_EVENT_TOOL_CALL_START,
		 .part = 3,
		 .id = RL_STR_INIT("c"),
		 .name = RL_STR_INIT("f"),
		 .tool_kind = RL_TOOL_KIND_FUNCTION},
		{.kind = RL_EVENT_FINISH, .finish = RL_FINISH_TOOL_CALLS},
		{.kind = RL_EVENT_DONE},
	};
	struct rl_encoder codec;
	struct rl_buf out, details;
	rl_str rest, line;

	rl_buf_init(&out, 1 << 16);
	rl_buf_init(&details, 1 << 16);
	rl_encoder_init(&codec, RL_OP_CHAT, false);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		openai()->encode_event(&codec, &events[i], &out);
	assert_true(rl_buf_ok(&out));
	assert_int_equal(codec.n_lost, 0);
	assert_true(text_has(rl_buf_str(&out), "\"reasoning_content\":\"a\""));
	/* The pieces side by side, as a client may keep them. */
	rest = rl_buf_str(&out);
	while (rest.p) {
		line = rl_str_cut(&rest, '\n');
		const char *at = line.n ? memmem(line.p, line.n, "\"reasoning_details\":[", 21) : NULL;

		if (!at)
			continue;
		const char *end = memmem(at, (size_t)(line.p + line.n - at), "}]", 2);

		if (details.n)
			RL_BUF_LIT(&details, ",");
		rl_buf_add(&details, rl_str_make(at + 21, (size_t)(end + 1 - at - 21)));
	}
	rl_str body = rl_arena_printf(
		*state,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"ab\","
		"\"reasoning_details\":[%.*s],\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
		"{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}",
		RL_STR_ARG(rl_buf_str(&details)));
	struct rl_chat_request request = parsed(state, body.p);
	const struct rl_message *m = &request.messages[0];

	assert_int_equal(m->n_parts, 4);
	assert_text(m->parts[0].reasoning.text, "ab");
	assert_text(m->parts[0].reasoning.signature, "s1s2");
	assert_text(m->parts[0].reasoning.family, "anthropic");
	assert_text(m->parts[1].reasoning.redacted, "r");
	assert_text(m->parts[2].reasoning.signature, "g");
	assert_text(m->parts[2].reasoning.family, "gemini");
	assert_int_equal(m->parts[3].kind, RL_PART_TOOL_CALL);
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
	rl_buf_fini(&details);
}

static void streamed_answers_of_others(void **state)
{
	struct rl_citation cite = {.url = RL_STR("u"), .start = RL_UNSET, .end = RL_UNSET}, bare = {.start = RL_UNSET};
	struct rl_extra extra = {RL_STR("\"x\""), RL_STR("1")};
	struct rl_event events[] = {
		{.kind = RL_EVENT_START, .id = RL_STR("i"), .name = RL_STR("m")},
		{.kind = RL_EVENT_CITATION, .citation = &cite},
		{.kind = RL_EVENT_CITATION, .citation = &bare},
		{.kind = RL_EVENT_EXTRA, .extras = {&extra, 1}},
		{.kind = RL_EVENT_TEXT, .text = RL_STR("t"), .logprobs = RL_STR("{}")},
		{.kind = RL_EVENT_FINISH,
		 .finish = RL_FINISH_OTHER,
		 .finish_word = RL_STR("ODD"),
		 .stop_sequence = RL_STR("END")},
		{.kind = RL_EVENT_DONE},
	};
	struct rl_encoder codec;
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 1 << 16);
	rl_encoder_init(&codec, RL_OP_CHAT, false);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		openai()->encode_event(&codec, &events[i], &out);
	assert_true(text_has(rl_buf_str(&out),
			     "\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"u\","));
	assert_true(text_has(rl_buf_str(&out),
			     "\"finish_reason\":\"stop\",\"native_finish_reason\":\"ODD\",\"stop_reason\":\"END\""));
	assert_int_equal(codec.n_lost, 3);
	assert_string_equal(codec.lost[0], "answer.citations");
	assert_string_equal(codec.lost[1], "answer.extras");
	assert_string_equal(codec.lost[2], "answer.logprobs");
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(what_changes_the_meaning_is_refused),
		arena_test(what_cannot_be_said_is_named),
		arena_test(ids_are_made),
		arena_test(quirks_are_obeyed),
		arena_test(quirks_that_refuse),
		arena_test(short_ids),
		arena_test(budgets_are_efforts),
		arena_test(marks_of_caches),
		arena_test(answers_of_others),
		arena_test(seals_come_back),
		arena_test(forms_of_thoughts),
		arena_test(seals_on_calls),
		arena_test(thoughts_go_back_where_they_must),
		arena_test(streamed_seals_come_back),
		arena_test(streamed_answers_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
