/* SPDX-License-Identifier: Apache-2.0 */
/* Whole bodies of the Responses API to messages and back, and from and to OpenAI's other dialect. */
#include "test_dialect_help.h"

static const struct rl_dialect *responses(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("responses"));

	assert_non_null(d);
	return d;
}

static struct rl_chat_request parsed(void **state, const struct rl_dialect *dialect, rl_str body)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.status = 0};

	if (dialect->parse_request(RL_OP_CHAT, body, *state, &request, &fault) != RL_OK)
		fail_msg("%.*s\n%.*s", RL_STR_ARG(fault.message), RL_STR_ARG(body));
	return request;
}

static rl_str kept(void **state, struct rl_buf *out)
{
	assert_true(rl_buf_ok(out));
	rl_str copy = rl_arena_dup(*state, rl_buf_str(out));

	rl_buf_fini(out);
	return copy;
}

static rl_str written(void **state, const struct rl_dialect *dialect, const struct rl_chat_request *request,
		      struct rl_translation *t)
{
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	dialect->write_request(RL_OP_CHAT, request, t, &out);
	return kept(state, &out);
}

static void requests_go_round(void **state)
{
	static const char *const bodies[] = {
		"{\"model\":\"m\",\"input\":\"Hi\"}",
		"{\"model\":\"m\",\"input\":[]}",
		"{\"model\":\"m\",\"instructions\":\"Be brief.\",\"input\":\"Hi \\u00e9\\n\\u0000\"}",
		"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Ho\"},"
		"{\"role\":\"developer\",\"content\":\"x\"},{\"role\":\"system\",\"content\":\"y\"},"
		"{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"}]}]}",
		"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"What?\","
		"\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}},"
		"{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":\"https://x.test/a.png\"},"
		"{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,iVBOR/+=\"},"
		"{\"type\":\"input_image\",\"detail\":\"low\",\"file_id\":\"file-1\"},"
		"{\"type\":\"input_file\",\"file_data\":\"data:application/pdf;base64,JVBE\",\"filename\":\"a.pdf\"},"
		"{\"type\":\"input_file\",\"file_data\":\"JVBE\",\"filename\":\"a.pdf\"},"
		"{\"type\":\"input_file\",\"file_url\":\"https://x.test/a.pdf\"},"
		"{\"type\":\"input_file\",\"file_id\":\"file-2\"},"
		"{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklG\",\"format\":\"wav\"}},"
		"{\"type\":\"input_hologram\",\"x\":1}]}]}",
		/* An answer as it is sent back: thoughts, words, calls, results. */
		"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"Weather?\"},"
		"{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"one\"},"
		"{\"type\":\"summary_text\",\"text\":\"two\"}],\"encrypted_content\":\"gAAA\"},"
		"{\"id\":\"rs_2\",\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"raw\"}],"
		"\"status\":\"completed\"},"
		"{\"id\":\"rs_3\",\"type\":\"reasoning\",\"summary\":[]},"
		"{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"phase\":\"commentary\",\"role\":\"assistant\","
		"\"content\":[{\"type\":\"output_text\",\"annotations\":[{\"type\":\"url_citation\",\"start_index\":0,"
		"\"end_index\":3,\"url\":\"https://x.test\",\"title\":\"X\"}],\"text\":\"Let me see\"}]},"
		"{\"id\":\"msg_2\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\","
		"\"content\":[{\"type\":\"refusal\",\"refusal\":\"No.\"}]},"
		"{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"arguments\":\"{\\\"a\\\":1}\","
		"\"call_id\":\"call_1\",\"name\":\"f\"},"
		"{\"type\":\"custom_tool_call\",\"call_id\":\"call_2\",\"name\":\"g\",\"input\":\"free text\"},"
		"{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"},"
		"{\"type\":\"function_call_output\",\"call_id\":\"call_1\",\"output\":\"71\"},"
		"{\"type\":\"custom_tool_call_output\",\"id\":\"o\",\"call_id\":\"call_2\",\"output\":[{\"type\":\"input_text\","
		"\"text\":\"a\"},{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":\"https://x.test/a.png\"}]},"
		"{\"type\":\"compaction\",\"encrypted_content\":\"x\"},"
		"{\"role\":\"user\",\"content\":\"And now?\"}]}",
		"{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"\","
		"\"strict\":true,\"parameters\":{\"type\":\"object\",\"minimum\":1.50}},"
		"{\"type\":\"custom\",\"name\":\"g\",\"format\":{\"type\":\"text\"}},"
		"{\"type\":\"custom\",\"name\":\"h\",\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":\"x\"}},"
		"{\"type\":\"function\",\"name\":\"i\",\"defer_loading\":true},"
		"{\"type\":\"web_search\",\"limit\":3}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false}",
		"{\"model\":\"m\",\"input\":\"x\",\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}}",
		"{\"model\":\"m\",\"input\":\"x\",\"tool_choice\":{\"type\":\"custom\",\"name\":\"g\"}}",
		"{\"model\":\"m\",\"input\":\"x\",\"tool_choice\":{\"type\":\"mcp\",\"server_label\":\"s\",\"name\":\"t\"}}",
		"{\"model\":\"m\",\"input\":\"x\",\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"auto\",\"tools\":["
		"{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"mcp\",\"server_label\":\"s\"}]}}",
		"{\"model\":\"m\",\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"s\","
		"\"description\":\"d\",\"strict\":false,\"schema\":{\"type\":\"object\"}},\"verbosity\":\"low\"}}",
		"{\"model\":\"m\",\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_object\"}}}",
		"{\"model\":\"m\",\"input\":\"x\",\"text\":{\"format\":{\"type\":\"other\",\"x\":1}}}",
		"{\"model\":\"m\",\"input\":\"x\",\"reasoning\":{\"effort\":\"low\",\"summary\":\"detailed\",\"context\":\"auto\"}}",
		"{\"model\":\"m\",\"input\":\"x\",\"temperature\":0.1,\"top_p\":1e-1,\"top_logprobs\":3,\"max_output_tokens\":5,"
		"\"include\":[\"reasoning.encrypted_content\",\"message.output_text.logprobs\"],\"store\":false,"
		"\"stream\":true,\"stream_options\":{\"include_obfuscation\":false},\"user\":\"u\",\"metadata\":{\"a\":\"b\"},"
		"\"max_tool_calls\":4,\"service_tier\":\"flex\",\"truncation\":\"auto\"}",
		"{\"model\":\"m\",\"input\":\"x\",\"store\":true,\"include\":[\"file_search_call.results\"]}",
	};

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct rl_chat_request request = parsed(state, responses(), rl_str_of(bodies[i]));

		assert_true(
			json_same(written(state, responses(), &request, plain_reader(*state)), rl_str_of(bodies[i])));
	}
}

static void items_are_turns(void **state)
{
	struct rl_chat_request r = parsed(
		state, responses(),
		RL_STR("{\"model\":\"m\",\"instructions\":\"Be brief.\",\"input\":[{\"role\":\"user\",\"content\":\"Hi\"},"
		       "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"s\"}],"
		       "\"encrypted_content\":\"gAAA\"},"
		       "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"t\"}]},"
		       "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
		       "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"ok\"}],\"store\":false,"
		       "\"include\":[\"reasoning.encrypted_content\"],\"reasoning\":{\"summary\":\"auto\"}}"));

	assert_text(r.dialect, "responses");
	assert_int_equal(r.n_messages, 4);
	assert_true(r.instructions);
	assert_int_equal(r.messages[0].role, RL_ROLE_SYSTEM);
	assert_int_equal(r.messages[2].role, RL_ROLE_ASSISTANT);
	assert_int_equal(r.messages[2].n_parts, 3);
	const struct rl_reasoning *thought = &r.messages[2].parts[0].reasoning;

	assert_text(thought->text, "s");
	assert_text(thought->signature, "gAAA");
	assert_text(thought->family, "openai");
	assert_true(thought->summary);
	assert_int_equal(r.messages[2].parts[2].kind, RL_PART_TOOL_CALL);
	assert_int_equal(r.messages[3].role, RL_ROLE_TOOL);
	assert_text(r.messages[3].parts[0].result.call_id, "c");
	assert_true(r.no_store && r.reasoning_sealed == RL_YES && r.reasoning_shown == RL_YES && r.include_usage);
	assert_int_equal(r.extras.n, 0);
}

static void other_families_seals_come_back(void **state)
{
	struct rl_chat_request r = parsed(
		state, responses(),
		RL_STR("{\"model\":\"m\",\"input\":[{\"type\":\"reasoning\",\"id\":\"a\",\"summary\":[{\"type\":\"summary_text\","
		       "\"text\":\"s\"}],\"encrypted_content\":\"relais.anthropic.Eq=\"},{\"type\":\"reasoning\",\"id\":\"b\","
		       "\"summary\":[],\"encrypted_content\":\"relais.anthropic.redacted:Zm==\"}]}"));
	const struct rl_part *parts = r.messages[0].parts;
	struct rl_translation *t = plain_reader(*state);

	assert_int_equal(r.messages[0].n_parts, 2);
	assert_text(parts[0].reasoning.signature, "Eq=");
	assert_text(parts[0].reasoning.family, "anthropic");
	assert_text(parts[1].reasoning.redacted, "Zm==");
	/* No provider of this API can read them. */
	assert_false(text_has(written(state, responses(), &r, t), "reasoning"));
	assert_int_equal(t->n_dropped, 1);
	assert_text(t->dropped[0], "messages[0].reasoning");
}

static void refused_requests(void **state)
{
	static const struct {
		const char *body, *param;
	} bad[] = {
		{"[]", ""},
		{"{\"input\":\"x\"}", "model"},
		{"{\"model\":\"m\"}", "input"},
		{"{\"model\":\"m\",\"input\":{}}", "input"},
		{"{\"model\":\"m\",\"input\":[1]}", "input[0]"},
		{"{\"model\":\"m\",\"input\":[{\"role\":\"king\",\"content\":\"x\"}]}", "input[0].role"},
		{"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":1}]}", "input[0].content"},
		{"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}]}",
		 "input[0].content[0]"},
		{"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}",
		 "input[0].content[0]"},
		{"{\"model\":\"m\",\"input\":[{\"type\":\"function_call\",\"arguments\":1}]}", "input[0].arguments"},
		{"{\"model\":\"m\",\"input\":\"x\",\"instructions\":1}", "instructions"},
		{"{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"function\"}]}", "tools[0]"},
		{"{\"model\":\"m\",\"input\":\"x\",\"text\":{\"format\":1}}", "text.format"},
		{"{\"model\":\"m\",\"input\":\"x\",\"reasoning\":{\"effort\":1}}", "reasoning.effort"},
		{"{\"model\":\"m\",\"input\":\"x\",\"include\":1}", "include"},
		{"{\"model\":\"m\",\"input\":\"x\",\"store\":1}", "store"},
		/* What hangs on state. */
		{"{\"model\":\"m\",\"input\":\"x\",\"previous_response_id\":\"resp_1\"}", "previous_response_id"},
		{"{\"model\":\"m\",\"input\":\"x\",\"conversation\":{\"id\":\"conv_1\"}}", "conversation"},
		{"{\"model\":\"m\",\"input\":\"x\",\"prompt\":{\"id\":\"pmpt_1\"}}", "prompt"},
		{"{\"model\":\"m\",\"input\":\"x\",\"background\":true}", "background"},
		{"{\"model\":\"m\",\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]}", "input[0]"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct rl_chat_request request;
		struct rl_fault fault = {.status = 0};

		if (responses()->parse_request(RL_OP_CHAT, rl_str_of(bad[i].body), *state, &request, &fault) !=
		    RL_ERR_SYNTAX)
			fail_msg("accepted: %s", bad[i].body);
		assert_int_equal(fault.status, 400);
		assert_text(fault.param, bad[i].param);
		assert_true(fault.message.n > 10);
	}
}

static void what_hangs_on_state_is_seen(void **state)
{
	static const struct {
		const char *body;
		bool stateful;
	} cases[] = {
		{"{\"model\":\"m\",\"input\":\"x\"}", false},
		{"{\"model\":\"m\",\"input\":\"item_reference\",\"previous_response_id\":null,\"background\":false}",
		 false},
		{"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"item_reference\"}]}", false},
		{"{\"model\":\"m\",\"input\":\"x\",\"previous_response_id\":\"r\"}", true},
		{"{\"model\":\"m\",\"input\":\"x\",\"conversation\":\"c\"}", true},
		{"{\"model\":\"m\",\"input\":\"x\",\"background\":true}", true},
		{"{\"prompt\":{\"id\":\"p\"}}", true},
		{"{\"model\":\"m\",\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", true},
	};
	struct rl_envelope env;
	struct rl_fault fault;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(responses()->read_envelope(RL_OP_CHAT, rl_str_of(cases[i].body), *state, &env, &fault),
				 RL_OK);
		if (env.stateful != cases[i].stateful)
			fail_msg("%s", cases[i].body);
	}
	assert_int_equal(responses()->read_envelope(RL_OP_CHAT, RL_STR("{\"model\":\"m\",\"stream\":true,\"input\":1}"),
						    *state, &env, &fault),
			 RL_ERR_SYNTAX);
	assert_text(fault.param, "input");
	assert_int_equal(responses()->read_envelope(RL_OP_CHAT, RL_STR("{\"model\":\"m\",\"Store\":1,\"store\":1}"),
						    *state, &env, &fault),
			 RL_ERR_DUPLICATE);
}

/* --- from and to chat completions --- */

static void chat_becomes_items(void **state)
{
	struct rl_chat_request r = parsed(
		state, openai(),
		RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
		       "{\"role\":\"user\",\"name\":\"ann\",\"content\":[{\"type\":\"text\",\"text\":\"What?\"},"
		       "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}},"
		       "{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,JVBE\"}}]},"
		       "{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"Hm\",\"tool_calls\":["
		       "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
		       "{\"id\":\"c2\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"x\"}}]},"
		       "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"1\"},"
		       "{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"h\",\"arguments\":\"\"}},"
		       "{\"role\":\"function\",\"name\":\"h\",\"content\":\"2\"}],"
		       "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"custom\",\"custom\":"
		       "{\"name\":\"g\",\"format\":{\"type\":\"grammar\",\"grammar\":{\"syntax\":\"lark\",\"definition\":\"x\"}}}}],"
		       "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},\"parallel_tool_calls\":false,"
		       "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"s\",\"schema\":{}}},"
		       "\"reasoning_effort\":\"low\",\"max_completion_tokens\":100,\"max_tokens\":3,\"temperature\":0.5,"
		       "\"stop\":\"x\",\"seed\":1,\"logit_bias\":{\"5\":1},\"logprobs\":true,\"top_logprobs\":2,\"user\":\"u\","
		       "\"metadata\":{\"a\":\"b\"},\"verbosity\":\"low\"}"));
	struct rl_translation *t = plain_reader(*state);

	assert_true(json_same(
		written(state, responses(), &r, t),
		RL_STR("{\"model\":\"m\",\"input\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
		       "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"What?\"},"
		       "{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":\"data:image/png;base64,AAAA\"},"
		       "{\"type\":\"input_file\",\"file_data\":\"data:application/pdf;base64,JVBE\","
		       "\"filename\":\"document.pdf\"}]},"
		       "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"
		       "{\"type\":\"custom_tool_call\",\"call_id\":\"c2\",\"name\":\"g\",\"input\":\"x\"},"
		       "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"1\"},"
		       "{\"type\":\"function_call\",\"call_id\":\"call_1\",\"name\":\"h\",\"arguments\":\"{}\"},"
		       "{\"type\":\"function_call_output\",\"call_id\":\"call_1\",\"output\":\"2\"}],"
		       "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{}},"
		       "\"strict\":false},{\"type\":\"custom\",\"name\":\"g\",\"format\":{\"type\":\"grammar\","
		       "\"syntax\":\"lark\",\"definition\":\"x\"}}],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},"
		       "\"parallel_tool_calls\":false,\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"s\","
		       "\"schema\":{}},\"verbosity\":\"low\"},\"reasoning\":{\"effort\":\"low\"},\"max_output_tokens\":16,"
		       "\"temperature\":0.5,\"top_logprobs\":2,\"include\":[\"reasoning.encrypted_content\","
		       "\"message.output_text.logprobs\"],\"store\":false,\"user\":\"u\",\"metadata\":{\"a\":\"b\"}}")));
	assert_int_equal(t->err, RL_OK);
	assert_text(rl_dropped_text(t, *state),
		    "messages[1].name, messages[2].reasoning, max_tokens, stop, seed, logit_bias");
}

static void what_would_change_the_meaning_is_refused(void **state)
{
	static const struct {
		const char *body, *param;
	} bad[] = {
		{"{\"model\":\"m\",\"messages\":[],\"n\":2}", "n"},
		{"{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"web_search\"}]}", "tools[0]"},
		{"{\"model\":\"m\",\"messages\":[],\"tool_choice\":\"any\"}", "tool_choice"},
		{"{\"model\":\"m\",\"messages\":[],\"response_format\":{\"type\":\"grammar\"}}", "response_format"},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":"
		 "{\"data\":\"x\",\"format\":\"wav\"}}]}]}",
		 "messages[0].content[0]"},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"video_url\"}]}]}",
		 "messages[0].content[0]"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct rl_chat_request r = parsed(state, openai(), rl_str_of(bad[i].body));
		struct rl_translation *t = plain_reader(*state);

		written(state, responses(), &r, t);
		if (t->err != RL_ERR_UNSUPPORTED)
			fail_msg("taken: %s", bad[i].body);
		assert_text(t->fault.param, bad[i].param);
	}
	/* Files of another family's provider. */
	struct rl_part part = {.kind = RL_PART_IMAGE, .media = {.source = RL_MEDIA_FILE, .data = RL_STR("f")}};
	struct rl_message message = {.role = RL_ROLE_USER, .parts = &part, .n_parts = 1};
	struct rl_chat_request r;
	struct rl_translation *t = plain_reader(*state);

	rl_chat_request_init(&r);
	r.dialect = RL_STR("anthropic");
	r.model = RL_STR("m");
	r.messages = &message;
	r.n_messages = 1;
	written(state, responses(), &r, t);
	assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
}

static void items_become_chat(void **state)
{
	struct rl_chat_request r = parsed(
		state, responses(),
		RL_STR("{\"model\":\"m\",\"instructions\":\"Be brief.\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":"
		       "\"input_text\",\"text\":\"What?\"},{\"type\":\"input_image\",\"detail\":\"auto\",\"image_url\":"
		       "\"https://x.test/a.png\"}]},"
		       "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"
		       "{\"type\":\"function_call\",\"id\":\"fc_2\",\"call_id\":\"c2\",\"name\":\"f\",\"arguments\":\"{}\"},"
		       "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"1\"},"
		       "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"2\"}],\"max_output_tokens\":99,"
		       "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{},\"strict\":true}],"
		       "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"store\":false,"
		       "\"text\":{\"format\":{\"type\":\"json_object\"}},\"reasoning\":{\"effort\":\"low\"}}"));
	rl_str text = written(state, openai(), &r, plain_reader(*state));

	/* Only what is ours to say: how the other dialect says it is tested there. */
	assert_true(text_has(text, "Be brief."));
	assert_true(text_has(text, "\"url\":\"https://x.test/a.png\""));
	assert_true(text_has(text, "\"tool_calls\":[{\"id\":\"c1\""));
	assert_true(text_has(text, "{\"id\":\"c2\""));
	assert_true(text_has(text, "\"tool_call_id\":\"c2\""));
	assert_true(text_has(text, "\"json_object\""));
	assert_true(text_has(text, "99"));
}

static void counting_takes_what_counts(void **state)
{
	struct rl_chat_request r = parsed(
		state, responses(),
		RL_STR("{\"model\":\"m\",\"input\":\"x\",\"stream\":true,\"max_output_tokens\":20,\"instructions\":\"y\"}"));
	struct rl_chat_response response;
	struct rl_buf out;

	rl_buf_init(&out, 4096);
	responses()->write_request(RL_OP_COUNT_TOKENS, &r, plain_reader(*state), &out);
	assert_true(json_same(kept(state, &out), RL_STR("{\"model\":\"m\",\"input\":\"x\",\"instructions\":\"y\"}")));
	assert_int_equal(
		responses()->parse_response(RL_OP_COUNT_TOKENS,
					    RL_STR("{\"object\":\"response.input_tokens\",\"input_tokens\":7}"), *state,
					    &response),
		RL_OK);
	assert_int_equal(response.usage.prompt_tokens, 7);
	rl_buf_init(&out, 4096);
	responses()->write_response(RL_OP_COUNT_TOKENS, &response, plain_reader(*state), &out);
	assert_text(kept(state, &out), "{\"object\":\"response.input_tokens\",\"input_tokens\":7}");
	assert_int_equal(responses()->parse_response(RL_OP_COUNT_TOKENS, RL_STR("{}"), *state, &response),
			 RL_ERR_SYNTAX);
}

/* --- answers --- */

static const char answer[] =
	"{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":7,\"status\":\"completed\",\"error\":null,"
	"\"incomplete_details\":null,\"instructions\":null,\"model\":\"m\",\"output\":["
	"{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"s\"}],"
	"\"encrypted_content\":\"gAAA\"},"
	"{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":["
	"{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"Hi\"},"
	"{\"type\":\"refusal\",\"refusal\":\"No\"}]},"
	"{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"arguments\":\"{}\",\"call_id\":\"c1\","
	"\"name\":\"f\"},{\"type\":\"web_search_call\",\"id\":\"ws_1\"}],\"temperature\":1.0,\"service_tier\":\"default\","
	"\"tools\":[],\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":5,"
	"\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":15},\"user\":null,\"metadata\":{}}";

static void answers_go_round(void **state)
{
	struct rl_chat_response response;
	struct rl_buf out;

	assert_int_equal(responses()->parse_response(RL_OP_CHAT, rl_str_of(answer), *state, &response), RL_OK);
	assert_int_equal(response.n_choices, 1);
	assert_int_equal(response.choices[0].finish, RL_FINISH_TOOL_CALLS);
	assert_int_equal(response.choices[0].message.n_parts, 5);
	assert_int_equal(response.usage.prompt_tokens, 10);
	assert_int_equal(response.usage.cached_tokens, 4);
	assert_int_equal(response.usage.reasoning_tokens, 2);
	assert_int_equal(response.extras.n, 1); /* the tier; the rest repeats the request */
	rl_buf_init(&out, 1 << 16);
	responses()->write_response(RL_OP_CHAT, &response, plain_reader(*state), &out);
	assert_true(json_same(kept(state, &out), rl_str_of(answer)));
}

static void finishes(void **state)
{
	static const struct {
		const char *members;
		enum rl_finish finish;
	} cases[] = {
		{"\"status\":\"completed\"", RL_FINISH_STOP},
		{"\"x\":1", RL_FINISH_STOP},
		{"\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}",
		 RL_FINISH_LENGTH},
		{"\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"}",
		 RL_FINISH_CONTENT_FILTER},
		{"\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"steered\"}", RL_FINISH_OTHER},
		{"\"status\":\"incomplete\",\"incomplete_details\":null", RL_FINISH_LENGTH},
		{"\"status\":\"cancelled\"", RL_FINISH_OTHER},
		{"\"status\":\"failed\"", RL_FINISH_ERROR},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		rl_str body = rl_arena_printf(*state, "{\"output\":[],%s}", cases[i].members), again;
		struct rl_chat_response response, second;
		struct rl_buf out;

		assert_int_equal(responses()->parse_response(RL_OP_CHAT, body, *state, &response), RL_OK);
		assert_int_equal(response.choices[0].finish, cases[i].finish);
		rl_buf_init(&out, 1 << 16);
		responses()->write_response(RL_OP_CHAT, &response, plain_reader(*state), &out);
		again = kept(state, &out);
		assert_int_equal(responses()->parse_response(RL_OP_CHAT, again, *state, &second), RL_OK);
		assert_int_equal(second.choices[0].finish, cases[i].finish);
		assert_true(rl_str_eq(second.choices[0].finish_word, response.choices[0].finish_word));
	}
}

static void chat_answers_become_responses(void **state)
{
	struct rl_chat_response response;
	struct rl_chat_request request = parsed(
		state, responses(),
		RL_STR("{\"model\":\"alias\",\"instructions\":\"Be brief.\",\"input\":\"x\",\"temperature\":0.5,\"tools\":["
		       "{\"type\":\"function\",\"name\":\"f\",\"parameters\":{},\"strict\":true}],\"metadata\":{\"a\":\"b\"},"
		       "\"text\":{\"verbosity\":\"low\"},\"max_output_tokens\":50}"));
	struct rl_buf out;

	assert_int_equal(
		openai()->parse_response(
			RL_OP_CHAT,
			RL_STR("{\"id\":\"chatcmpl-1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{"
			       "\"role\":\"assistant\",\"content\":\"Hi\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
			       "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"length\"}],"
			       "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}"),
			*state, &response),
		RL_OK);
	response.request = &request;
	rl_buf_init(&out, 1 << 16);
	responses()->write_response(RL_OP_CHAT, &response, plain_reader(*state), &out);
	rl_str text = kept(state, &out);

	assert_true(text_has(text, "\"id\":\"chatcmpl-1\",\"object\":\"response\",\"created_at\":7"));
	assert_true(text_has(text, "\"status\":\"incomplete\""));
	assert_true(text_has(text, "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"));
	assert_true(text_has(text, "\"content\":[{\"type\":\"output_text\",\"text\":\"Hi\",\"annotations\":[],"
				   "\"logprobs\":[]}]"));
	assert_true(text_has(text, "\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\""));
	assert_true(text_has(text, "\"instructions\":\"Be brief.\""));
	assert_true(
		text_has(text, "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{},\"strict\":true}]"));
	assert_true(text_has(text, "\"text\":{\"format\":{\"type\":\"text\"},\"verbosity\":\"low\"}"));
	assert_true(text_has(text, "\"metadata\":{\"a\":\"b\"}"));
	assert_true(text_has(text, "\"max_output_tokens\":50"));
	assert_true(text_has(text, "\"input_tokens\":3"));
	assert_true(text_has(text, "\"total_tokens\":5"));
}

static void seals_of_others_are_marked(void **state)
{
	struct rl_part parts[] = {
		{.kind = RL_PART_REASONING,
		 .reasoning = {.text = RL_STR("think"), .signature = RL_STR("Eq="), .family = RL_STR("anthropic")}},
		{.kind = RL_PART_REASONING, .reasoning = {.redacted = RL_STR("Zm="), .family = RL_STR("anthropic")}},
		{.kind = RL_PART_TEXT, .text = RL_STR("Hi")},
	};
	struct rl_choice choice = {.finish = RL_FINISH_STOP,
				   .message = {.role = RL_ROLE_ASSISTANT, .parts = parts, .n_parts = 3}};
	struct rl_chat_response response = {.dialect = RL_STR("anthropic"),
					    .id = RL_STR("msg_1"),
					    .choices = &choice,
					    .n_choices = 1};
	struct rl_chat_response again;
	struct rl_buf out;

	rl_buf_init(&out, 1 << 16);
	responses()->write_response(RL_OP_CHAT, &response, plain_reader(*state), &out);
	rl_str text = kept(state, &out);

	assert_true(text_has(text, "\"summary\":[{\"type\":\"summary_text\",\"text\":\"think\"}],"
				   "\"encrypted_content\":\"relais.anthropic.Eq=\""));
	assert_true(text_has(text, "\"encrypted_content\":\"relais.anthropic.redacted:Zm=\""));
	assert_int_equal(responses()->parse_response(RL_OP_CHAT, text, *state, &again), RL_OK);
	assert_text(again.choices[0].message.parts[0].reasoning.signature, "Eq=");
	assert_text(again.choices[0].message.parts[1].reasoning.redacted, "Zm=");
	assert_text(again.choices[0].message.parts[1].reasoning.family, "anthropic");
}

static void bad_answers(void **state)
{
	static const char *const bad[] = {"",
					  "[]",
					  "{}",
					  "{\"output\":{}}",
					  "{\"output\":[1]}",
					  "{\"output\":[{\"type\":\"message\",\"content\":1}]}"};
	struct rl_chat_response response;
	struct rl_glance glance;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(responses()->parse_response(RL_OP_CHAT, rl_str_of(bad[i]), *state, &response),
				 RL_ERR_SYNTAX);
	assert_int_equal(responses()->glance_answer(RL_OP_CHAT, rl_str_of(answer), &glance), RL_OK);
	assert_true(glance.content && glance.finish && glance.usage.known && !glance.error);
	assert_int_equal(glance.usage.prompt_tokens, 10);
	assert_int_equal(responses()->glance_answer(
				 RL_OP_CHAT, RL_STR("{\"error\":{\"code\":\"insufficient_quota\"},\"output\":[]}"),
				 &glance),
			 RL_OK);
	assert_true(glance.error);
	assert_int_equal(glance.fault_class, RL_FAULT_QUOTA);
	assert_int_equal(responses()->glance_answer(RL_OP_CHAT, RL_STR("{}"), &glance), RL_ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(requests_go_round),
		arena_test(items_are_turns),
		arena_test(other_families_seals_come_back),
		arena_test(refused_requests),
		arena_test(what_hangs_on_state_is_seen),
		arena_test(chat_becomes_items),
		arena_test(what_would_change_the_meaning_is_refused),
		arena_test(items_become_chat),
		arena_test(counting_takes_what_counts),
		arena_test(answers_go_round),
		arena_test(finishes),
		arena_test(chat_answers_become_responses),
		arena_test(seals_of_others_are_marked),
		arena_test(bad_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
