/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's dialect: requests, answers and streams, to itself and to and from OpenAI's. */
#include "test_dialect_help.h"

static const struct rl_dialect *ollama(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("ollama"));

	assert_non_null(d);
	return d;
}

/* What `to` makes of a request of `from`; the drops stay in *t. */
static rl_str translate(const struct rl_dialect *from, const struct rl_dialect *to, enum rl_operation op,
			const char *body, struct rl_arena *arena, struct rl_translation **t)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.message = {NULL, 0}};
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	if (from->parse_request(op, rl_str_of(body), arena, &request, &fault))
		fail_msg("%.*s", RL_STR_ARG(fault.message));
	*t = plain_reader(arena);
	to->write_request(op, &request, *t, &out);
	assert_true(rl_buf_ok(&out));
	rl_str copy = rl_arena_dup(arena, rl_buf_str(&out));

	rl_buf_fini(&out);
	return copy;
}

static void same_request(struct rl_arena *arena, enum rl_operation op, const char *body)
{
	struct rl_translation *t;

	assert_true(json_same(translate(ollama(), ollama(), op, body, arena, &t), rl_str_of(body)));
	assert_int_equal(t->err, RL_OK);
	assert_int_equal(t->n_dropped, 0);
}

static void requests_round(void **state)
{
	same_request(*state, RL_OP_CHAT,
		     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}");
	same_request(
		*state, RL_OP_CHAT,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
		"{\"role\":\"user\",\"content\":\"q\",\"images\":[\"/9j/AA==\",\"iVBORw0KGgoA\"],\"x\":1},"
		"{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\",\"tool_calls\":[{\"id\":\"c1\",\"function\":"
		"{\"name\":\"f\",\"arguments\":{\"a\":[1,{}]}}}]},"
		"{\"role\":\"tool\",\"content\":\"r\",\"tool_name\":\"f\",\"tool_call_id\":\"c1\"}],"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
		"\"parameters\":{\"type\":\"object\"}}}],\"format\":{\"type\":\"object\"},\"think\":\"high\","
		"\"options\":{\"num_ctx\":4096,\"num_predict\":5,\"temperature\":0.10,\"top_p\":0.9,\"top_k\":4,\"seed\":7,"
		"\"stop\":[\"a\",\"b\"],\"frequency_penalty\":0.1,\"presence_penalty\":0.2,\"min_p\":0.05},"
		"\"keep_alive\":\"5m\",\"logprobs\":true,\"top_logprobs\":2,\"stream\":false}");
	same_request(*state, RL_OP_CHAT,
		     "{\"model\":\"m\",\"messages\":[],\"format\":\"json\",\"think\":false,\"stream\":true}");
	same_request(*state, RL_OP_EMBEDDING,
		     "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"dimensions\":3,\"truncate\":false}");
	same_request(*state, RL_OP_EMBEDDING, "{\"model\":\"m\",\"input\":\"a\"}");
}

/* As many tokens as there is room for is what everybody else means by saying nothing. */
static void to_openai(void **state)
{
	struct rl_translation *t;
	rl_str made = translate(
		ollama(), openai(), RL_OP_CHAT,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\",\"images\":[\"iVBORw0KGgoA\"]},"
		"{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}},"
		"{\"function\":{\"name\":\"g\",\"arguments\":{\"x\":1}}}]},"
		"{\"role\":\"tool\",\"content\":\"2\",\"tool_name\":\"g\"},{\"role\":\"tool\",\"content\":\"1\"}],"
		"\"options\":{\"num_predict\":-1,\"stop\":\"x\",\"num_ctx\":10},\"stream\":false}",
		*state, &t);

	assert_true(json_same(
		made,
		RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"},"
		       "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgoA\"}}]},"
		       "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_000000010\",\"type\":"
		       "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"call_000000011\",\"type\":"
		       "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"x\\\":1}\"}}]},"
		       "{\"role\":\"tool\",\"tool_call_id\":\"call_000000011\",\"content\":\"2\"},"
		       "{\"role\":\"tool\",\"tool_call_id\":\"call_000000010\",\"content\":\"1\"}],\"stop\":\"x\"}")));
	assert_int_equal(t->n_dropped, 1);
	assert_text(t->dropped[0], "options.num_ctx");
}

static void from_openai(void **state)
{
	struct rl_translation *t;
	rl_str made = translate(
		openai(), ollama(), RL_OP_CHAT,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"d\",\"name\":\"n\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"},"
		"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QQ==\",\"detail\":\"low\"}}]},"
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
		"{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"d\",\"type\":\"function\",\"function\":"
		"{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"r\"}],"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true}},"
		"{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\"}}}],"
		"\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":"
		"\"function\",\"function\":{\"name\":\"f\"}}]}},\"max_completion_tokens\":9,\"max_tokens\":12,"
		"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{\"type\":\"object\"}}},"
		"\"reasoning_effort\":\"xhigh\",\"logit_bias\":{\"1\":2},\"user\":\"u\",\"parallel_tool_calls\":false}",
		*state, &t);

	assert_int_equal(t->err, RL_OK);
	assert_true(json_same(
		made,
		RL_STR("{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"d\"},{\"role\":\"user\","
		       "\"content\":\"a\\nb\",\"images\":[\"QQ==\"]},{\"role\":\"assistant\",\"content\":\"\","
		       "\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}},"
		       "{\"id\":\"d\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]},{\"role\":\"tool\",\"content\":"
		       "\"r\",\"tool_name\":\"f\",\"tool_call_id\":\"c\"}],\"tools\":[{\"type\":\"function\","
		       "\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],"
		       "\"format\":{\"type\":\"object\"},\"think\":\"max\",\"options\":{\"num_predict\":9},"
		       "\"stream\":false}")));
	rl_str dropped = rl_dropped_text(t, *state);

	assert_text(dropped, "messages[0].name, messages[1].content[2].detail, tools[0].strict, parallel_tool_calls, "
			     "user, logit_bias");
}

static void refusals(void **state)
{
	static const char *const members[][2] = {
		{"\"tool_choice\":\"required\",\"tools\":[]", "tool_choice"},
		{"\"n\":2", "n"},
		{"\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}]", "tools"},
		{"\"response_format\":{\"type\":\"grammar\"}", "response_format"},
		{"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
		 "\"https://a.example/x.png\"}}]}]",
		 "messages[0].content"},
		{"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]",
		 "messages[0].content"},
		{"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"\","
		 "\"format\":\"wav\"}}]}]",
		 "messages[0].content"},
	};

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		bool messages = strstr(members[i][0], "\"messages\"") != NULL;
		rl_str body = rl_arena_printf(*state, "{\"model\":\"m\",%s%s}", messages ? "" : "\"messages\":[],",
					      members[i][0]);
		struct rl_translation *t;

		translate(openai(), ollama(), RL_OP_CHAT, body.p, *state, &t);
		assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
		assert_text(t->fault.param, members[i][1]);
		assert_true(t->fault.message.n > 10);
	}
	/* No tools at all is what "none" comes to. */
	struct rl_translation *t;
	rl_str made =
		translate(openai(), ollama(), RL_OP_CHAT,
			  "{\"model\":\"m\",\"messages\":[],\"tool_choice\":\"none\",\"tools\":[{\"type\":\"function\","
			  "\"function\":{\"name\":\"f\"}}]}",
			  *state, &t);

	assert_int_equal(t->err, RL_OK);
	assert_false(text_has(made, "tools"));
}

static void bad_requests(void **state)
{
	static const char *const bodies[][2] = {
		{"{\"messages\":[]}", "model"},
		{"{\"model\":\"m\"}", "messages"},
		{"{\"model\":\"m\",\"messages\":{}}", "messages"},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"bot\"}]}", "messages[0].role"},
		{"{\"model\":\"m\",\"messages\":[],\"options\":{\"num_predict\":\"x\"}}", "options.num_predict"},
		{"{\"model\":\"m\",\"messages\":[],\"tools\":[{}]}", "tools[0]"},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"images\":[1]}]}", "messages[0].images[0]"},
		{"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",
		 "messages[0].tool_calls[0]"},
		{"{\"model\":\"m\",\"messages\":[],\"think\":1}", "think"},
	};

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct rl_chat_request request;
		struct rl_fault fault = {.status = 0};

		assert_int_equal(ollama()->parse_request(RL_OP_CHAT, rl_str_of(bodies[i][0]), *state, &request, &fault),
				 RL_ERR_SYNTAX);
		assert_int_equal(fault.status, 400);
		assert_text(fault.param, bodies[i][1]);
	}
}

static void envelopes(void **state)
{
	struct rl_envelope env;
	struct rl_fault fault;
	rl_str body = RL_STR("{\"model\":\"m\",\"messages\":[]}");

	/* What is not said streams. */
	assert_int_equal(ollama()->read_envelope(RL_OP_CHAT, body, *state, &env, &fault), RL_OK);
	assert_true(env.stream && env.usage_asked);
	assert_text(env.model, "m");
	body = RL_STR("{\"model\":\"m\",\"messages\":[],\"stream\":false}");
	assert_int_equal(ollama()->read_envelope(RL_OP_CHAT, body, *state, &env, &fault), RL_OK);
	assert_false(env.stream);
	body = RL_STR("{\"model\":\"m\",\"input\":\"x\"}");
	assert_int_equal(ollama()->read_envelope(RL_OP_EMBEDDING, body, *state, &env, &fault), RL_OK);
	assert_false(env.stream);
	static const char *const bad[] = {"[]",
					  "{",
					  "{\"model\":\"m\"}",
					  "{\"messages\":[]}",
					  "{\"model\":\"m\",\"messages\":[],\"stream\":1}",
					  "{\"model\":\"m\",\"Model\":\"n\",\"messages\":[]}"};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_not_equal(ollama()->read_envelope(RL_OP_CHAT, rl_str_of(bad[i]), *state, &env, &fault),
				     RL_OK);
		assert_int_equal(fault.status, 400);
	}
}

/* --- answers --- */

#define ANSWER                                                                                                          \
	"{\"model\":\"m\",\"created_at\":\"2026-02-28T23:59:59.5+02:00\",\"message\":{\"role\":\"assistant\","          \
	"\"content\":\"x\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":" \
	"{\"a\":1}}}]},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":5,\"prompt_eval_count\":7,"            \
	"\"eval_count\":3}"

static rl_str write_answer(const struct rl_dialect *to, enum rl_operation op, const struct rl_chat_response *response,
			   struct rl_arena *arena)
{
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	to->write_response(op, response, plain_reader(arena), &out);
	assert_true(rl_buf_ok(&out));
	rl_str copy = rl_arena_dup(arena, rl_buf_str(&out));

	rl_buf_fini(&out);
	return copy;
}

static void answers(void **state)
{
	struct rl_chat_response response;
	rl_str id;

	assert_int_equal(ollama()->parse_response(RL_OP_CHAT, RL_STR(ANSWER), *state, &response), RL_OK);
	assert_int_equal(response.created, 1772315999);
	assert_int_equal(response.choices[0].finish, RL_FINISH_TOOL_CALLS);
	assert_int_equal(response.usage.prompt_tokens, 7);
	assert_int_equal(response.usage.completion_tokens, 3);
	id = response.choices[0].message.parts[2].call.id;
	assert_true(id.n > 5);
	rl_str made = write_answer(ollama(), RL_OP_CHAT, &response, *state);

	assert_true(json_same(
		made,
		rl_arena_printf(*state,
				"{\"model\":\"m\",\"created_at\":\"2026-02-28T21:59:59.000Z\",\"message\":{\"role\":"
				"\"assistant\",\"content\":\"x\",\"thinking\":\"t\",\"tool_calls\":[{\"id\":\"%.*s\","
				"\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"a\":1}}}]},\"done_reason\":"
				"\"stop\",\"done\":true,\"prompt_eval_count\":7,\"eval_count\":3,\"total_duration\":5}",
				RL_STR_ARG(id))));
	made = write_answer(openai(), RL_OP_CHAT, &response, *state);
	assert_true(text_has(made, "\"finish_reason\":\"tool_calls\""));
	assert_true(text_has(made, "\"arguments\":\"{\\\"a\\\":1}\""));
	assert_true(text_has(made, "\"total_tokens\":10"));
	assert_int_equal(ollama()->parse_response(RL_OP_CHAT, RL_STR("{\"model\":\"m\"}"), *state, &response),
			 RL_ERR_SYNTAX);
	assert_int_equal(ollama()->parse_response(RL_OP_CHAT, RL_STR("[1]"), *state, &response), RL_ERR_SYNTAX);
}

static void embeddings(void **state)
{
	struct rl_chat_response response;
	rl_str body = RL_STR("{\"model\":\"m\",\"embeddings\":[[0.5,-1],[2,3]],\"prompt_eval_count\":4}");

	assert_int_equal(ollama()->parse_response(RL_OP_EMBEDDING, body, *state, &response), RL_OK);
	assert_int_equal(response.n_embeddings, 2);
	assert_true(json_same(write_answer(ollama(), RL_OP_EMBEDDING, &response, *state),
			      RL_STR("{\"model\":\"m\",\"embeddings\":[[0.5,-1],[2,3]],\"prompt_eval_count\":4,"
				     "\"eval_count\":0}")));
	assert_true(text_has(write_answer(openai(), RL_OP_EMBEDDING, &response, *state), "\"embedding\":[2,3]"));
	body = RL_STR("{\"model\":\"m\",\"embeddings\":[1]}");
	assert_int_equal(ollama()->parse_response(RL_OP_EMBEDDING, body, *state, &response), RL_ERR_SYNTAX);
	body = RL_STR("{\"model\":\"m\"}");
	assert_int_equal(ollama()->parse_response(RL_OP_EMBEDDING, body, *state, &response), RL_ERR_SYNTAX);
}

/* --- streams --- */

struct pass {
	const struct rl_dialect *to;
	struct rl_encoder codec;
	struct rl_buf out;
	char kinds[64];
	size_t n;
};

static enum rl_err pass_on(void *user, const struct rl_event *event)
{
	static const char letters[RL_EVENT_COUNT] = {
		[RL_EVENT_START] = 'S',           [RL_EVENT_TEXT] = 't',
		[RL_EVENT_REASONING] = 'r',       [RL_EVENT_EXTRA] = 'x',
		[RL_EVENT_TOOL_CALL_START] = 'c', [RL_EVENT_TOOL_CALL_ARGUMENTS] = 'a',
		[RL_EVENT_USAGE] = 'U',           [RL_EVENT_FINISH] = 'F',
		[RL_EVENT_ERROR] = 'E',           [RL_EVENT_DONE] = 'D'};
	struct pass *pass = user;

	assert_true(pass->n < sizeof pass->kinds - 1);
	pass->kinds[pass->n++] = letters[event->kind];
	pass->to->encode_event(&pass->codec, event, &pass->out);
	return RL_OK;
}

/* Decodes a stream of `from`, cut in pieces, and encodes it for `to`. */
static rl_str pass_stream(const struct rl_dialect *from, const struct rl_dialect *to, const char *text, size_t cut,
			  struct rl_arena *arena, struct pass *pass)
{
	struct rl_decoder decoder;
	struct rl_frames frames;
	struct rl_sse_event event;
	rl_str rest = rl_str_of(text);
	enum rl_err err = RL_OK;

	*pass = (struct pass){.to = to};
	rl_decoder_init(&decoder);
	rl_encoder_init(&pass->codec, RL_OP_CHAT, true);
	pass->codec.own = to->encoder_bytes ? rl_arena_zalloc(arena, 1, to->encoder_bytes) : NULL;
	rl_buf_init(&pass->out, 1 << 20);
	rl_frames_init(&frames, from->framing, 1 << 16);
	while (rest.n && !err) {
		rl_frames_feed(&frames, rl_str_sub(rest, 0, cut));
		rest = rl_str_sub(rest, rl_str_sub(rest, 0, cut).n, SIZE_MAX);
		while (!err && rl_frames_next(&frames, &event) == RL_OK)
			if (event.has_data)
				err = from->decode_event(RL_OP_CHAT, &decoder, event.name, event.data, arena, pass_on,
							 pass);
	}
	assert_int_equal(err, RL_OK);
	rl_str copy = rl_arena_dup(arena, rl_buf_str(&pass->out));

	if (to->encoder_fini)
		to->encoder_fini(&pass->codec);
	rl_encoder_fini(&pass->codec);
	rl_buf_fini(&pass->out);
	rl_frames_fini(&frames);
	return copy;
}

#define LINE(members) \
	"{\"model\":\"m\",\"created_at\":\"1970-01-01T00:00:07.000Z\",\"message\":{\"role\":\"assistant\"," members
#define STREAM                                                                                                            \
	LINE("\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n")                                                   \
	LINE("\"content\":\"H\\\"i\"},\"done\":false}\n")                                                                 \
	LINE("\"content\":\"\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":"     \
	     "{\"x\":1}}},{\"id\":\"b\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":{}}}]},\"done\":false}\n") \
	LINE("\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"prompt_eval_count\":7,\"eval_count\":3,"         \
	     "\"total_duration\":9}\n")

static void streams_round(void **state)
{
	struct pass pass;

	for (size_t cut = 1; cut < sizeof STREAM; cut += cut < 40 ? 1 : 97) {
		assert_text(pass_stream(ollama(), ollama(), STREAM, cut, *state, &pass), STREAM);
		assert_string_equal(pass.kinds, "SrtcacaxFUD");
	}
}

static void streams_to_openai(void **state)
{
	struct pass pass;
	rl_str made = pass_stream(ollama(), openai(), STREAM, 1000, *state, &pass);

	assert_true(text_has(made, "\"created\":7,\"model\":\"m\""));
	assert_true(text_has(made, "\"reasoning_content\":\"hm\""));
	assert_true(text_has(made, "\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"type\":\"function\""));
	assert_true(text_has(made, "\"finish_reason\":\"tool_calls\""));
	assert_true(text_has(made, "\"prompt_tokens\":7,\"completion_tokens\":3"));
	assert_true(rl_str_ends(made, RL_STR("data: [DONE]\n\n")));
	made = pass_stream(openai(), ollama(), made.p, 1000, *state, &pass);
	assert_text(made,
		    LINE("\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n")
			    LINE("\"content\":\"H\\\"i\"},\"done\":false}\n") LINE(
				    "\"content\":\"\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"index\":0,"
				    "\"name\":\"f\",\"arguments\":{\"x\":1}}},{\"id\":\"b\",\"function\":{\"index\":1,"
				    "\"name\":\"g\",\"arguments\":{}}}]},\"done\":false}\n")
				    LINE("\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,"
					 "\"prompt_eval_count\":7,\"eval_count\":3}\n"));
}

static void broken_streams(void **state)
{
	struct pass pass;
	struct rl_decoder decoder;
	rl_str made = pass_stream(ollama(), ollama(),
				  LINE("\"content\":\"a\"},\"done\":false}\n") "{\"error\":\"it \\\"broke\\\"\"}\n"
									       "{\"error\":\"again\"}\n",
				  1000, *state, &pass);

	assert_text(made, LINE("\"content\":\"a\"},\"done\":false}\n") "{\"error\":\"it \\\"broke\\\"\"}\n");
	assert_string_equal(pass.kinds, "StE");
	/* A call whose arguments are no object is passed on as what can be read of it. */
	made = pass_stream(
		openai(), ollama(),
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":"
		"{\"name\":\"f\",\"arguments\":\"{\\\"x\"}}]}}]}\n\ndata: [DONE]\n\n",
		1000, *state, &pass);
	assert_true(text_has(made, "\"arguments\":{\"input\":\"{\\\"x\"}"));
	static const char *const bad[] = {"",
					  "x",
					  "[]",
					  "1",
					  "{\"message\":1}",
					  "{\"done\":1}",
					  "{\"message\":{\"role\":\"assistant\",\"content\":1}}",
					  "{\"message\":{\"role\":\"assistant\",\"tool_calls\":[1]}}"};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		rl_decoder_init(&decoder);
		assert_int_equal(ollama()->decode_event(RL_OP_CHAT, &decoder, RL_STR(""), rl_str_of(bad[i]), *state,
							pass_on, &pass),
				 RL_ERR_SYNTAX);
	}
}

/* --- the border --- */

static void glances(void **state)
{
	struct rl_json_form form = {.n_strings = 0};
	struct rl_glance g;

	(void)state;
	assert_int_equal(ollama()->glance_event(RL_OP_CHAT, RL_STR(""),
						RL_STR("{\"message\":{\"content\":\"x\"},\"done\":false}"), &form, &g),
			 RL_OK);
	assert_true(g.content && !g.finish && !g.done);
	assert_int_equal(ollama()->glance_event(RL_OP_CHAT, RL_STR(""),
						RL_STR("{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":"
						       "\"length\",\"eval_count\":3}"),
						&form, &g),
			 RL_OK);
	assert_true(!g.content && g.finish && g.done && g.usage.known);
	assert_int_equal(g.finish_reason, RL_FINISH_LENGTH);
	assert_int_equal(ollama()->glance_event(RL_OP_CHAT, RL_STR(""), RL_STR("{\"error\":\"no\"}"), &form, &g),
			 RL_OK);
	assert_true(g.error);
	assert_int_equal(g.fault_class, RL_FAULT_SERVER_ERROR);
	assert_int_equal(ollama()->glance_event(RL_OP_CHAT, RL_STR(""), RL_STR("{\"a\""), &form, &g), RL_ERR_SYNTAX);
	assert_int_equal(ollama()->glance_answer(RL_OP_CHAT, RL_STR(ANSWER), &g), RL_OK);
	assert_true(g.content && g.finish && g.usage.prompt_tokens == 7);
	assert_int_equal(g.finish_reason, RL_FINISH_TOOL_CALLS);
	assert_int_equal(ollama()->glance_answer(RL_OP_CHAT, RL_STR("{\"model\":\"m\"}"), &g), RL_ERR_SYNTAX);
	assert_int_equal(ollama()->glance_answer(RL_OP_EMBEDDING, RL_STR("{\"embeddings\":[[1]]}"), &g), RL_OK);
}

static void errors(void **state)
{
	static const struct {
		uint16_t status;
		const char *body;
		enum rl_fault_class cls;
		const char *text;
	} cases[] = {
		{404, "{\"error\":\"model 'x' not found\"}", RL_FAULT_NOT_FOUND, "model 'x' not found"},
		{400, "{\"error\":\"the input exceeds the available context size\"}", RL_FAULT_CONTEXT_LENGTH,
		 "the input exceeds the available context size"},
		{400, "{\"error\":\"\\\"m\\\" does not support tools\"}", RL_FAULT_BAD_REQUEST,
		 "\"m\" does not support tools"},
		{503, "{\"error\":\"server busy\"}", RL_FAULT_OVERLOADED, "server busy"},
		{500, "{\"error\":{\"message\":\"m\"}}", RL_FAULT_SERVER_ERROR, "m"},
		{401, "", RL_FAULT_AUTH, ""},
		{404, "404 page not found", RL_FAULT_NOT_FOUND, "404 page not found"},
		{502, "<html><title>Bad gateway</title>", RL_FAULT_SERVER_ERROR, "Bad gateway"},
	};
	struct rl_fault fault = {.message = RL_STR("a \"b\"")};
	struct rl_buf out;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(ollama()->classify(cases[i].status, rl_str_of(cases[i].body)), cases[i].cls);
		assert_text(ollama()->error_text(rl_str_of(cases[i].body), *state), cases[i].text);
	}
	rl_buf_init(&out, 4096);
	ollama()->write_stream_error(&fault, &out);
	assert_text(rl_buf_str(&out), "{\"error\":\"a \\\"b\\\"\"}\n");
	rl_buf_fini(&out);
}

static void models(void **state)
{
	struct rl_model_line lines[] = {{RL_STR("a"), RL_STR("p"), 7}, {RL_STR("b:7b"), RL_STR("p"), 8}};
	struct rl_buf out;
	rl_str *ids;
	size_t n;

	rl_buf_init(&out, 4096);
	ollama()->write_models(lines, 2, &out);
	assert_int_equal(ollama()->read_models(rl_buf_str(&out), *state, &ids, &n), RL_OK);
	assert_int_equal(n, 2);
	assert_text(ids[1], "b:7b");
	assert_true(text_has(rl_buf_str(&out), "\"modified_at\":\"1970-01-01T00:00:07.000Z\""));
	assert_int_equal(ollama()->read_models(RL_STR("{}"), *state, &ids, &n), RL_ERR_SYNTAX);
	rl_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(requests_round),
		arena_test(to_openai),
		arena_test(from_openai),
		arena_test(refusals),
		arena_test(bad_requests),
		arena_test(envelopes),
		arena_test(answers),
		arena_test(embeddings),
		arena_test(streams_round),
		arena_test(glances),
		arena_test(streams_to_openai),
		arena_test(broken_streams),
		arena_test(errors),
		arena_test(models),
	};

	return cmocka_run_group_tests_name("dialect/ollama", tests, NULL, NULL);
}
