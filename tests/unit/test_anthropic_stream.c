/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the Anthropic dialect, whole and as streams, both ways; errors and models. */
#include "test_anthropic_help.h"

#define FRAME(type, members) "event: " type "\ndata: {\"type\":\"" type "\"" members "}\n\n"
#define USAGE(in, out)          \
	"{\"input_tokens\":" in \
	",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":" out "}"
#define START(id, usage)                                                                                     \
	FRAME("message_start",                                                                               \
	      ",\"message\":{\"id\":\"" id "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\"," \
	      "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":" usage "}")
#define BLOCK(at, block) FRAME("content_block_start", ",\"index\":" at ",\"content_block\":" block)
#define TEXT_BLOCK(at) BLOCK(at, "{\"type\":\"text\",\"text\":\"\"}")
#define DELTA(at, delta) FRAME("content_block_delta", ",\"index\":" at ",\"delta\":" delta)
#define TEXT_DELTA(at, text) DELTA(at, "{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define JSON_DELTA(at, text) DELTA(at, "{\"type\":\"input_json_delta\",\"partial_json\":\"" text "\"}")
#define CALL(at, id, name) BLOCK(at, "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}}")
#define STOP(at) FRAME("content_block_stop", ",\"index\":" at)
#define PING FRAME("ping", "")
#define END(reason, usage)                                                                                            \
	FRAME("message_delta", ",\"delta\":{\"stop_reason\":\"" reason "\",\"stop_sequence\":null},\"usage\":" usage) \
	FRAME("message_stop", "")

struct codec {
	const struct rl_dialect *from, *to;
	struct rl_decoder decoder;
	struct rl_encoder encoder;
	struct rl_buf out;
	enum rl_err err;
};

static void *own_of(size_t bytes)
{
	void *own = bytes ? calloc(1, bytes) : NULL;

	assert_true(own || !bytes);
	return own;
}

static void open_codec(struct codec *c, const struct rl_dialect *from, const struct rl_dialect *to)
{
	*c = (struct codec){.from = from, .to = to};
	rl_decoder_init(&c->decoder);
	c->decoder.own = own_of(from->decoder_bytes);
	rl_encoder_init(&c->encoder, RL_OP_CHAT, true);
	c->encoder.own = own_of(to->encoder_bytes);
	rl_buf_init(&c->out, 8 << 20);
}

static void close_codec(struct codec *c)
{
	if (c->to->encoder_fini)
		c->to->encoder_fini(&c->encoder);
	rl_encoder_fini(&c->encoder);
	free(c->encoder.own);
	free(c->decoder.own);
	rl_buf_fini(&c->out);
}

static enum rl_err pass_on(void *user, const struct rl_event *event)
{
	struct codec *c = user;

	c->to->encode_event(&c->encoder, event, &c->out);
	return RL_OK;
}

/* The stream of one dialect as another's, cut into its events by the shared room. */
static rl_str passed(void **state, const struct rl_dialect *from, const struct rl_dialect *to, const char *stream,
		     struct codec *c)
{
	struct rl_frames frames;
	struct rl_sse_event event;

	open_codec(c, from, to);
	rl_frames_init(&frames, RL_FRAMING_SSE, 1 << 20);
	rl_frames_feed(&frames, rl_str_of(stream));
	while (!c->err && rl_frames_next(&frames, &event) == RL_OK)
		if (event.has_data)
			c->err =
				from->decode_event(RL_OP_CHAT, &c->decoder, event.name, event.data, *state, pass_on, c);
	rl_frames_fini(&frames);
	assert_true(rl_buf_ok(&c->out));
	rl_str out = rl_arena_dup(*state, rl_buf_str(&c->out));

	close_codec(c);
	return out;
}

static void streams_go_round(void **state)
{
	static const char *const streams[] = {
		START("i", USAGE("3", "1")) TEXT_BLOCK("0") PING TEXT_DELTA("0", "a\\n") TEXT_DELTA("0", "b") STOP("0")
			END("end_turn", USAGE("3", "5")),
		START("i", USAGE("3", "1")) BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
			PING DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"Hm\"}")
				DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"c2ln+/=\"}") STOP("0")
					BLOCK("1", "{\"type\":\"redacted_thinking\",\"data\":\"r==\"}") STOP("1")
						CALL("2", "toolu_1", "f") JSON_DELTA("2", "{\\\"a\\\":")
							JSON_DELTA("2", "1}") STOP("2") CALL("3", "toolu_2", "g")
								JSON_DELTA("3", "{}") STOP("3")
									END("tool_use", USAGE("3", "5")),
		START("i", USAGE("3", "1")) BLOCK(
			"0", "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}")
			PING JSON_DELTA("0", "{\\\"query\\\":1}") STOP(
				"0") BLOCK("1",
					   "{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"s\",\"content\":[]}")
				STOP("1") BLOCK("2", "{\"type\":\"text\",\"text\":\"\",\"citations\":[]}") DELTA(
					"2",
					"{\"type\":\"citations_delta\",\"citation\":{\"type\":\"x\",\"url\":\"u\"}}")
					TEXT_DELTA("2", "t") STOP("2") END("pause_turn", USAGE("3", "5")),
		START("i", USAGE("3", "1"))
			FRAME("message_delta", ",\"delta\":{\"stop_details\":{\"type\":\"refusal\"},\"stop_reason\":"
					       "\"refusal\",\"stop_sequence\":null},\"usage\":" USAGE("3", "5"))
				FRAME("message_stop", ""),
	};

	for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
		struct codec c;
		rl_str out = passed(state, anthropic(), anthropic(), streams[i], &c);

		assert_int_equal(c.err, RL_OK);
		assert_text(out, streams[i]);
	}
}

#define CHUNK(delta) "data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define FINISH(word)                                                                                           \
	"data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" word \
	"\"}]}\n\n"
#define TOTAL                                                                                               \
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":14," \
	"\"prompt_tokens_details\":{\"cached_tokens\":6}}}\n\ndata: [DONE]\n\n"
#define NO_USAGE USAGE("0", "0")
#define LATE "{\"input_tokens\":3,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":6,\"output_tokens\":5}"
#define CALL_CHUNK(at, id, name)                                \
	CHUNK("{\"tool_calls\":[{\"index\":" at ",\"id\":\"" id \
	      "\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":\"\"}}]}")
#define ARGUMENTS(at, text) CHUNK("{\"tool_calls\":[{\"index\":" at ",\"function\":{\"arguments\":\"" text "\"}}]}")

static void strangers_are_told_in_its_order(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{CHUNK("{\"role\":\"assistant\",\"content\":\"\"}") CHUNK("{\"content\":\"a\"}")
			 CHUNK("{\"content\":\"b\"}") FINISH("stop") TOTAL,
		 START("i", NO_USAGE) TEXT_BLOCK("0") PING TEXT_DELTA("0", "a") TEXT_DELTA("0", "b") STOP("0")
			 END("end_turn", LATE)},
		/* calls one after the other are written as they come */
		{CHUNK("{\"content\":\"a\"}") CALL_CHUNK("0", "c0", "f") ARGUMENTS("0", "{\\\"x\\\":\\\"}\\\\\\\"\\\"")
			 ARGUMENTS("0", "}") CALL_CHUNK("1", "c1", "g") ARGUMENTS("1", "{}") FINISH("stop") TOTAL,
		 START("i", NO_USAGE) TEXT_BLOCK("0") PING TEXT_DELTA("0", "a") STOP("0") CALL("1", "c0", "f")
			 JSON_DELTA("1", "{\\\"x\\\":\\\"}\\\\\\\"\\\"") JSON_DELTA("1", "}") STOP("1")
				 CALL("2", "c1", "g") JSON_DELTA("2", "{}") STOP("2") END("tool_use", LATE)},
		/* calls at the same time wait for one another */
		{CALL_CHUNK("0", "c0", "f") CALL_CHUNK("1", "c1", "g") ARGUMENTS("1", "{\\\"b\\\":")
			 ARGUMENTS("0", "{\\\"a\\\":") ARGUMENTS("1", "2}") ARGUMENTS("0", "1}") FINISH("tool_calls")
				 TOTAL,
		 START("i", NO_USAGE) CALL("0", "c0", "f") PING JSON_DELTA("0", "{\\\"a\\\":") JSON_DELTA("0", "1}")
			 STOP("0") CALL("1", "c1", "g") JSON_DELTA("1", "{\\\"b\\\":") JSON_DELTA("1", "2}") STOP("1")
				 END("tool_use", LATE)},
		/* a call cut off by the limit is not a finished one */
		{CALL_CHUNK("0", "c0", "f") ARGUMENTS("0", "{\\\"a") CALL_CHUNK("1", "", "g") FINISH("length") TOTAL,
		 START("i", NO_USAGE) CALL("0", "c0", "f") PING JSON_DELTA("0", "{\\\"a") STOP("0")
			 CALL("1", "toolu_relais_0_1", "g") STOP("1") END("max_tokens", LATE)},
		{CHUNK("{\"reasoning_content\":\"Hm\"}") CHUNK("{\"refusal\":\"No.\"}") FINISH("stop") TOTAL,
		 START("i", NO_USAGE) BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
			 PING DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"Hm\"}") STOP("0") TEXT_BLOCK("1")
				 TEXT_DELTA("1", "No.") STOP("1") END("refusal", LATE)},
		{FINISH("content_filter") TOTAL, START("i", NO_USAGE) END("refusal", LATE)},
		{"data: [DONE]\n\n",
		 FRAME("message_start",
		       ",\"message\":{\"id\":\"msg_relais\",\"type\":\"message\",\"role\":\"assistant\","
		       "\"model\":\"\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":" NO_USAGE
		       "}") END("end_turn", NO_USAGE)},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct codec c;
		rl_str out = passed(state, openai(), anthropic(), cases[i].in, &c);

		assert_int_equal(c.err, RL_OK);
		assert_text(out, cases[i].out);
	}
}

static void late_pieces_end_the_stream(void **state)
{
	struct codec c;
	rl_str out = passed(state, openai(), anthropic(),
			    CALL_CHUNK("0", "c0", "f") ARGUMENTS("0", "{") CHUNK("{\"content\":\"a\"}")
				    ARGUMENTS("0", "}") FINISH("stop") TOTAL,
			    &c);

	assert_true(text_has(out, "event: error\n"));
	assert_false(text_has(out, "message_stop"));
}

static void a_seal_is_marked_once(void **state)
{
	static const struct rl_event events[] = {
		{.kind = RL_EVENT_REASONING, .text = RL_STR_INIT("Hm"), .family = RL_STR_INIT("gemini")},
		{.kind = RL_EVENT_REASONING, .signature = RL_STR_INIT("ab"), .family = RL_STR_INIT("gemini")},
		{.kind = RL_EVENT_REASONING, .signature = RL_STR_INIT("cd"), .family = RL_STR_INIT("gemini")},
		{.kind = RL_EVENT_REASONING, .part = 1, .redacted = RL_STR_INIT("r"), .family = RL_STR_INIT("openai")},
		{.kind = RL_EVENT_DONE},
	};
	struct codec c;

	(void)state;
	open_codec(&c, anthropic(), anthropic());
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		anthropic()->encode_event(&c.encoder, &events[i], &c.out);
	rl_str out = rl_buf_str(&c.out);

	assert_true(text_has(out, "\"signature\":\"relais.gemini.ab\""));
	assert_true(text_has(out, "\"signature\":\"cd\""));
	assert_true(text_has(out, "\"data\":\"relais.openai.r\""));
	close_codec(&c);
}

static void odd_streams_are_read(void **state)
{
	static const struct {
		const char *in, *out; /* of the text of the answer; NULL: not a stream of this dialect */
	} cases[] = {
		/* no start, no index, an unknown event, unknown members, null everywhere */
		{"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"},\"new\":1}\n\n"
		 "event: brand_new\ndata: {\"type\":\"brand_new\"}\n\n: comment\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n"
		 "data: {\"type\":\"message_delta\",\"delta\":null,\"usage\":null}\n\ndata: {\"type\":\"message_stop\"}\n\n"
		 "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"late\"}}\n\n",
		 "a"},
		/* the kind only as the event's name; the same message begun twice, before anything came of it */
		{START("i", NO_USAGE)
			 START("i", NO_USAGE) "event: content_block_delta\ndata: {\"index\":0,\"delta\":{\"text\":"
					      "\"a\"}}\n\nevent: message_stop\ndata: {}\n\n",
		 "a"},
		/* a call without a name */
		{START("i", NO_USAGE) TEXT_DELTA("0", "a") CALL("1", "t", "") STOP("1") FRAME("message_stop", ""), "a"},
		{START("i", NO_USAGE) TEXT_DELTA("0", "a") START("j", NO_USAGE), NULL},
		{START("i", NO_USAGE) "data: {\"type\":\"content_block_start\",\"index\":-1}\n\n", NULL},
		{START("i", NO_USAGE) "data: {\"type\":\"content_block_delta\",\"index\":0}\n\n", NULL},
		{START("i", NO_USAGE) "data: {\"type\":\"content_bl\n\n", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct codec c;
		rl_str out = passed(state, anthropic(), openai(), cases[i].in, &c);

		if (c.err != (cases[i].out ? RL_OK : RL_ERR_SYNTAX))
			fail_msg("case %zu: %d", i, (int)c.err);
		if (!cases[i].out)
			continue;
		assert_true(text_has(out, "\"content\":\"a\""));
		assert_true(text_has(out, "[DONE]"));
		assert_false(text_has(out, "late"));
	}
}

static void errors_come_in_streams(void **state)
{
	struct codec c;
	rl_str out = passed(
		state, anthropic(), openai(),
		START("i", NO_USAGE) "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
				     "\"message\":\"Overloaded\"}}\n\n",
		&c);

	assert_int_equal(c.err, RL_OK);
	assert_true(text_has(out, "\"message\":\"Overloaded\""));
	assert_false(text_has(out, "[DONE]"));
	struct rl_json_form form = {.n_strings = 0};
	struct rl_glance glance;

	assert_int_equal(
		anthropic()->glance_event(RL_OP_CHAT, RL_STR("error"),
					  RL_STR("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}"),
					  &form, &glance),
		RL_OK);
	assert_true(glance.error);
	assert_int_equal(glance.fault_class, RL_FAULT_OVERLOADED);
}

static void calls_reach_a_stranger(void **state)
{
	struct codec c;
	rl_str out = passed(state, anthropic(), openai(),
			    START("i", USAGE("3", "1")) CALL("0", "t1", "f") JSON_DELTA("0", "") STOP("0")
				    CALL("1", "t2", "g") JSON_DELTA("1", "{\\\"a\\\":1}") STOP("1")
					    END("end_turn", USAGE("3", "5")),
			    &c);

	assert_true(text_has(out, "\"index\":0,\"id\":\"t1\""));
	assert_true(text_has(out, "\"arguments\":\"{}\""));
	assert_true(text_has(out, "\"index\":1,\"id\":\"t2\""));
	assert_true(text_has(out, "\"finish_reason\":\"tool_calls\""));
	assert_true(text_has(out, "\"prompt_tokens\":3,\"completion_tokens\":5"));
}

/* Usage comes in two halves, and compatible servers leave out what they said, or say it late. */
static void usage_is_added_up(void **state)
{
	static const struct {
		const char *start, *end;
		uint64_t prompt, cached, completion;
	} cases[] = {
		{"{\"input_tokens\":10,\"cache_read_input_tokens\":1000,\"output_tokens\":1}", "{\"output_tokens\":30}",
		 1010, 1000, 30},
		{"{\"input_tokens\":10,\"cache_read_input_tokens\":1000,\"output_tokens\":1}",
		 "{\"input_tokens\":10,\"output_tokens\":30}", 1010, 1000, 30},
		{"{\"input_tokens\":0,\"output_tokens\":0}", "{\"input_tokens\":12,\"output_tokens\":30}", 12, 0, 30},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_json_form form = {.n_strings = 0};
		struct rl_usage total = {.known = false};
		struct rl_glance glance;
		struct rl_buf text;

		rl_buf_init(&text, 4096);
		rl_buf_printf(&text, "{\"type\":\"message_start\",\"message\":{\"usage\":%s}}", cases[i].start);
		assert_int_equal(anthropic()->glance_event(RL_OP_CHAT, RL_STR(""), rl_buf_str(&text), &form, &glance),
				 RL_OK);
		rl_usage_take(&total, &glance.usage);
		rl_buf_reset(&text);
		rl_buf_printf(&text,
			      "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":%s}",
			      cases[i].end);
		assert_int_equal(anthropic()->glance_event(RL_OP_CHAT, RL_STR(""), rl_buf_str(&text), &form, &glance),
				 RL_OK);
		assert_true(glance.finish);
		rl_usage_take(&total, &glance.usage);
		assert_int_equal(total.prompt_tokens, cases[i].prompt);
		assert_int_equal(total.cached_tokens, cases[i].cached);
		assert_int_equal(total.completion_tokens, cases[i].completion);
		rl_buf_fini(&text);
	}
	(void)state;
}

static void events_are_glanced_at(void **state)
{
	static const struct {
		const char *data;
		bool content, finish, done;
	} cases[] = {
		{"{\"type\":\"ping\"}", false, false, false},
		{"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
		 false, false, false},
		{"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\"}}",
		 true, false, false},
		{"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}",
		 true, false, false},
		{"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"bc\"}}",
		 true, false, false},
		{"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}",
		 false, false, false},
		{"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{}}", false, false, false},
		{"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}", false, true, false},
		{"{\"type\":\"message_stop\"}", false, false, true},
	};
	struct rl_json_form form = {.n_strings = 0};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_glance glance;

		assert_int_equal(anthropic()->glance_event(RL_OP_CHAT, RL_STR(""), rl_str_of(cases[i].data), &form,
							   &glance),
				 RL_OK);
		assert_int_equal(glance.content, cases[i].content);
		assert_int_equal(glance.finish, cases[i].finish);
		assert_int_equal(glance.done, cases[i].done);
	}
}

static const char answer[] =
	"{\"id\":\"i\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":["
	"{\"type\":\"thinking\",\"thinking\":\"Hm\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"a\"},"
	"{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1.0}}],\"stop_reason\":\"tool_use\","
	"\"stop_sequence\":null,\"usage\":{\"input_tokens\":1,\"cache_creation_input_tokens\":4,"
	"\"cache_read_input_tokens\":2,\"cache_creation\":{\"ephemeral_5m_input_tokens\":1,"
	"\"ephemeral_1h_input_tokens\":3},\"output_tokens\":5,\"service_tier\":\"standard\"},\"container\":{\"id\":\"c\"}}";

static rl_str answer_of(void **state, const struct rl_dialect *from, const struct rl_dialect *to, const char *body,
			struct rl_translation *t)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	struct rl_chat_response response;
	struct rl_buf out;

	assert_int_equal(from->parse_response(RL_OP_CHAT, rl_str_of(body), *state, &response), RL_OK);
	rl_translation_init(t, *state, &facts, false);
	rl_buf_init(&out, 1 << 20);
	to->write_response(RL_OP_CHAT, &response, t, &out);
	return keep_text(state, &out);
}

static void answers_go_round(void **state)
{
	struct rl_chat_response response;
	struct rl_translation t;

	assert_true(json_same(answer_of(state, anthropic(), anthropic(), answer, &t), rl_str_of(answer)));
	assert_int_equal(anthropic()->parse_response(RL_OP_CHAT, rl_str_of(answer), *state, &response), RL_OK);
	assert_int_equal(response.usage.prompt_tokens, 7);
	assert_int_equal(response.usage.cached_tokens, 2);
	assert_int_equal(response.usage.cache_write_tokens, 4);
	assert_int_equal(response.usage.cache_write_1h_tokens, 3);
	assert_int_equal(response.choices[0].finish, RL_FINISH_TOOL_CALLS);
	rl_str stranger = answer_of(state, anthropic(), openai(), answer, &t);

	assert_true(text_has(stranger, "\"content\":\"a\""));
	assert_true(text_has(stranger, "\"arguments\":\"{\\\"a\\\":1.0}\""));
	assert_true(text_has(stranger, "\"finish_reason\":\"tool_calls\""));
	assert_true(text_has(stranger, "\"prompt_tokens\":7"));
}

static void answers_of_strangers_are_written(void **state)
{
	static const char body[] =
		"{\"id\":\"i\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"
		"\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"Hm\",\"tool_calls\":["
		"{\"id\":\"t\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},"
		"{\"id\":\"u\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{bad\"}}]},"
		"\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":14,"
		"\"completion_tokens_details\":{\"reasoning_tokens\":2}}}";
	struct rl_translation t;
	rl_str out = answer_of(state, openai(), anthropic(), body, &t);

	assert_true(json_same(
		out,
		RL_STR("{\"id\":\"i\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":["
		       "{\"type\":\"thinking\",\"thinking\":\"Hm\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"a\"},"
		       "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}},"
		       "{\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"g\",\"input\":{\"arguments\":\"{bad\"}}],"
		       "\"stop_reason\":\"tool_use\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,"
		       "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":5,"
		       "\"output_tokens_details\":{\"thinking_tokens\":2}}}")));
	assert_text(rl_dropped_text(&t, *state), "answer.content[3].arguments");
}

static void reasons_have_their_meaning(void **state)
{
	static const struct {
		const char *word, *meaning;
		enum rl_finish finish;
	} cases[] = {
		{"end_turn", "stop", RL_FINISH_STOP},
		{"stop_sequence", "stop", RL_FINISH_STOP},
		{"pause_turn", "stop", RL_FINISH_STOP},
		{"max_tokens", "length", RL_FINISH_LENGTH},
		{"model_context_window_exceeded", "length", RL_FINISH_LENGTH},
		{"tool_use", "tool_calls", RL_FINISH_TOOL_CALLS},
		{"refusal", "content_filter", RL_FINISH_CONTENT_FILTER},
		{"compaction", "stop", RL_FINISH_OTHER},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_chat_response response;
		struct rl_translation t;
		char body[256], wanted[64];

		snprintf(
			body, sizeof body,
			"{\"type\":\"message\",\"content\":[],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":{}}",
			cases[i].word);
		assert_int_equal(anthropic()->parse_response(RL_OP_CHAT, rl_str_of(body), *state, &response), RL_OK);
		assert_int_equal(response.choices[0].finish, cases[i].finish);
		snprintf(wanted, sizeof wanted, "\"finish_reason\":\"%s\"", cases[i].meaning);
		assert_true(text_has(answer_of(state, anthropic(), openai(), body, &t), wanted));
		snprintf(wanted, sizeof wanted, "\"stop_reason\":\"%s\"", cases[i].word);
		assert_true(text_has(answer_of(state, anthropic(), anthropic(), body, &t), wanted));
	}
}

static void errors_are_judged(void **state)
{
	static const struct {
		uint16_t status;
		const char *body;
		enum rl_fault_class cls;
	} cases[] = {
		{429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"x\"}}",
		 RL_FAULT_RATE_LIMIT},
		{429,
		 "{\"error\":{\"type\":\"rate_limit_error\",\"details\":{\"error_code\":\"enforced_spend_limit_reached\"}}}",
		 RL_FAULT_QUOTA},
		{429,
		 "{\"error\":{\"type\":\"rate_limit_error\",\"details\":{\"error_code\":\"ramp_limit_exceeded\"}}}",
		 RL_FAULT_RATE_LIMIT},
		{402, "{\"error\":{\"type\":\"billing_error\"}}", RL_FAULT_QUOTA},
		{400,
		 "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is too low to access\"}}",
		 RL_FAULT_QUOTA},
		{400,
		 "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}",
		 RL_FAULT_CONTEXT_LENGTH},
		{400,
		 "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input length and `max_tokens` exceed context "
		 "limit: 1 + 2 > 2\"}}",
		 RL_FAULT_CONTEXT_LENGTH},
		{400,
		 "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Output blocked by content filtering policy\"}}",
		 RL_FAULT_CONTENT_FILTER},
		{400, "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"max_tokens: Field required\"}}",
		 RL_FAULT_BAD_REQUEST},
		{401, "{\"error\":{\"type\":\"authentication_error\"}}", RL_FAULT_AUTH},
		{403, "{\"error\":{\"type\":\"permission_error\"}}", RL_FAULT_AUTH},
		{404, "{\"error\":{\"type\":\"not_found_error\",\"message\":\"model: x\"}}", RL_FAULT_NOT_FOUND},
		{413, "<html><title>413 Request Entity Too Large</title></html>", RL_FAULT_CONTEXT_LENGTH},
		{500, "{\"error\":{\"type\":\"api_error\"}}", RL_FAULT_SERVER_ERROR},
		{504, "{\"error\":{\"type\":\"timeout_error\"}}", RL_FAULT_TIMEOUT},
		{529, "{\"error\":{\"type\":\"overloaded_error\"}}", RL_FAULT_OVERLOADED},
		{529, "", RL_FAULT_OVERLOADED},
		{200, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"}}", RL_FAULT_BAD_REQUEST},
		{200, "{\"type\":\"error\",\"error\":{}}", RL_FAULT_SERVER_ERROR},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum rl_fault_class cls = anthropic()->classify(cases[i].status, rl_str_of(cases[i].body));

		if (cls != cases[i].cls)
			fail_msg("%u %s: %s", cases[i].status, cases[i].body, rl_fault_class_name(cls));
	}
	assert_text(anthropic()->error_text(rl_str_of(cases[11].body), *state), "model: x");
	assert_text(anthropic()->error_text(rl_str_of(cases[12].body), *state), "413 Request Entity Too Large");
}

static void errors_are_written(void **state)
{
	static const struct {
		uint16_t status;
		const char *type;
	} cases[] = {
		{400, "invalid_request_error"},
		{401, "authentication_error"},
		{404, "not_found_error"},
		{413, "request_too_large"},
		{429, "rate_limit_error"},
		{500, "api_error"},
		{502, "api_error"},
		{503, "overloaded_error"},
		{504, "timeout_error"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_fault fault = {.status = cases[i].status,
					 .code = RL_STR("c"),
					 .param = RL_STR("p"),
					 .message = RL_STR("It \"failed\".")};
		char wanted[256];
		struct rl_buf out;

		rl_buf_init(&out, 4096);
		anthropic()->write_error(&fault, &out);
		snprintf(
			wanted, sizeof wanted,
			"{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"It \\\"failed\\\".\",\"details\":{"
			"\"error_code\":\"c\",\"param\":\"p\"}},\"request_id\":null}",
			cases[i].type);
		assert_text(rl_buf_str(&out), wanted);
		rl_buf_reset(&out);
		anthropic()->write_stream_error(&fault, &out);
		assert_true(rl_str_starts(rl_buf_str(&out), RL_STR("event: error\ndata: {")));
		rl_buf_fini(&out);
	}
}

static void models_are_listed(void **state)
{
	static const struct rl_model_line models[] = {
		{RL_STR_INIT("a"), RL_STR_INIT("o"), 1700000000},
		{RL_STR_INIT("b"), RL_STR_INIT("o"), 0},
	};
	struct rl_buf out;
	rl_str *ids;
	size_t n;

	rl_buf_init(&out, 4096);
	anthropic()->write_models(models, 2, &out);
	assert_true(json_same(
		rl_buf_str(&out),
		RL_STR("{\"data\":[{\"type\":\"model\",\"id\":\"a\",\"display_name\":\"a\",\"created_at\":"
		       "\"2023-11-14T22:13:20.000Z\"},{\"type\":\"model\",\"id\":\"b\",\"display_name\":\"b\","
		       "\"created_at\":\"1970-01-01T00:00:00.000Z\"}],\"has_more\":false,\"first_id\":\"a\","
		       "\"last_id\":\"b\"}")));
	assert_int_equal(anthropic()->read_models(rl_buf_str(&out), *state, &ids, &n), RL_OK);
	assert_int_equal(n, 2);
	assert_text(ids[1], "b");
	rl_buf_reset(&out);
	anthropic()->write_models(NULL, 0, &out);
	assert_text(rl_buf_str(&out), "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
	rl_buf_fini(&out);
}

static void bodies_pass_the_border(void **state)
{
	static const struct {
		const char *body, *param;
		bool stateful;
	} cases[] = {
		{"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[],\"stream\":true}", NULL, false},
		{"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"container\":\"container_1\"}", NULL, true},
		{"{\"model\":\"m\",\"messages\":[],\"stream\":true,\"container\":{\"skills\":[]}}", NULL, false},
		{"{\"messages\":[]}", "model", false},
		{"{\"model\":\"m\"}", "messages", false},
		{"{\"model\":\"m\",\"messages\":\"x\"}", "messages", false},
		{"{\"model\":\"m\",\"messages\":[],\"stream\":1}", "stream", false},
		{"{\"model\":\"m\",\"messages\":[],\"Model\":\"n\"}", "model", false},
		{"[]", "", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_envelope env;
		struct rl_fault fault;
		enum rl_err err =
			anthropic()->read_envelope(RL_OP_CHAT, rl_str_of(cases[i].body), *state, &env, &fault);

		assert_int_equal(err != RL_OK, cases[i].param != NULL);
		if (err) {
			assert_text(fault.param, cases[i].param);
			continue;
		}
		assert_text(env.model, "m");
		assert_true(env.stream && env.usage_asked);
		assert_int_equal(env.stateful, cases[i].stateful);
		struct rl_edit edit = {.model = RL_STR("n"), .want_usage = true};
		rl_str parts[RL_BODY_PARTS_MAX];
		size_t n = 0;

		assert_int_equal(anthropic()->edit_body(rl_str_of(cases[i].body), &env, &edit, *state, parts, &n),
				 RL_OK);
		rl_str whole = parts[0];

		for (size_t k = 1; k < n; k++)
			whole = rl_arena_printf(*state, "%.*s%.*s", RL_STR_ARG(whole), RL_STR_ARG(parts[k]));
		assert_true(rl_str_starts(whole, RL_STR("{\"model\":\"n\",")));
		assert_int_equal(whole.n, strlen(cases[i].body));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(streams_go_round),
		arena_test(strangers_are_told_in_its_order),
		arena_test(late_pieces_end_the_stream),
		arena_test(a_seal_is_marked_once),
		arena_test(odd_streams_are_read),
		arena_test(errors_come_in_streams),
		arena_test(calls_reach_a_stranger),
		arena_test(usage_is_added_up),
		arena_test(events_are_glanced_at),
		arena_test(answers_go_round),
		arena_test(answers_of_strangers_are_written),
		arena_test(reasons_have_their_meaning),
		arena_test(errors_are_judged),
		arena_test(errors_are_written),
		arena_test(models_are_listed),
		arena_test(bodies_pass_the_border),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
