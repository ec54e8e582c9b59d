/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI streams to events and back: exact chunks out, every vendor's chunks in. */
#include "test_dialect_help.h"

/* --- encoding --- */

static void encode(struct rl_encoder *codec, struct rl_buf *out, struct rl_event event)
{
	openai()->encode_event(codec, &event, out);
}

#define HEAD \
	"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":["
#define TAIL ",\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"

static void chunks_in_order(void **state)
{
	struct rl_encoder codec;
	struct rl_buf out;
	struct rl_usage usage = {.known = true, .prompt_tokens = 3, .completion_tokens = 2};

	(void)state;
	rl_buf_init(&out, 1 << 16);
	rl_encoder_init(&codec, RL_OP_CHAT, true);
	encode(&codec, &out,
	       (struct rl_event){
		       .kind = RL_EVENT_START, .id = RL_STR("chatcmpl-1"), .name = RL_STR("m"), .created = 7});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_TEXT, .text = RL_STR("H\"i")});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_USAGE, .usage = {.known = true, .prompt_tokens = 1}});
	encode(&codec, &out,
	       (struct rl_event){.kind = RL_EVENT_TOOL_CALL_START,
				 .id = RL_STR("c1"),
				 .name = RL_STR("f"),
				 .tool_kind = RL_TOOL_KIND_FUNCTION});
	encode(&codec, &out,
	       (struct rl_event){.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
				 .text = RL_STR("{}"),
				 .tool_kind = RL_TOOL_KIND_FUNCTION});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_FINISH, .finish = RL_FINISH_TOOL_CALLS});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_USAGE, .usage = usage});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_DONE});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_TEXT, .text = RL_STR("too late")});
	assert_text(
		rl_buf_str(&out), HEAD
		"{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}" TAIL HEAD
		"{\"index\":0,\"delta\":{\"content\":\"H\\\"i\"}" TAIL HEAD
		"{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
		"\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}" TAIL HEAD
		"{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}" TAIL HEAD
		"{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}],\"usage\":null}\n\n" HEAD
		"],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"
		"\"prompt_tokens_details\":{\"cached_tokens\":0},"
		"\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n"
		"data: [DONE]\n\n");
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
}

static void completion_chunks(void **state)
{
	struct rl_encoder codec;
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 1 << 16);
	rl_encoder_init(&codec, RL_OP_COMPLETION, false);
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_START, .id = RL_STR("c"), .name = RL_STR("m")});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_TEXT, .choice = 1, .text = RL_STR("a")});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_REASONING, .text = RL_STR("has no place")});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_FINISH, .choice = 1, .finish = RL_FINISH_LENGTH});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_USAGE, .usage = {.known = true}});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_DONE});
	assert_text(rl_buf_str(&out),
		    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":0,\"model\":\"m\",\"choices\":["
		    "{\"text\":\"a\",\"index\":1,\"logprobs\":null,\"finish_reason\":null}]}\n\n"
		    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":0,\"model\":\"m\",\"choices\":["
		    "{\"text\":\"\",\"index\":1,\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n"
		    "data: [DONE]\n\n");
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
}

static void errors_end_the_stream(void **state)
{
	struct rl_fault fault = {.status = 502, .message = RL_STR("gone")};
	struct rl_encoder codec;
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 4096);
	rl_encoder_init(&codec, RL_OP_CHAT, false);
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_ERROR, .fault = &fault});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_DONE});
	assert_text(
		rl_buf_str(&out),
		"data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n");
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
}

static void each_choice_opens_once(void **state)
{
	struct rl_encoder codec;
	struct rl_buf out;

	(void)state;
	rl_buf_init(&out, 1 << 16);
	rl_encoder_init(&codec, RL_OP_CHAT, false);
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_START});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_TEXT, .choice = 1, .text = RL_STR("b")});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_TEXT, .choice = 1, .text = RL_STR("c")});
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_TEXT, .choice = 0, .text = RL_STR("a")});
	size_t roles = 0;

	for (size_t i = 0; i + 6 < out.n; i++)
		roles += memcmp(out.p + i, "\"role\"", 6) == 0;
	assert_int_equal(roles, 2);
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
}

static void long_names_fail_loudly(void **state)
{
	struct rl_encoder codec;
	struct rl_buf out;
	char *name = calloc(1, 9000);

	(void)state;
	memset(name, 'n', 8999);
	rl_buf_init(&out, 1 << 20);
	rl_encoder_init(&codec, RL_OP_CHAT, false);
	encode(&codec, &out, (struct rl_event){.kind = RL_EVENT_START, .id = rl_str_of(name), .name = RL_STR("m")});
	assert_false(rl_buf_ok(&out));
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
	free(name);
}

/* --- decoding: events are written as one line of text each, which the tests compare --- */

struct log {
	struct rl_buf text;
	size_t stop_at, n;
};

static enum rl_err note(void *user, const struct rl_event *e)
{
	struct log *log = user;
	struct rl_buf *out = &log->text;

	if (++log->n == log->stop_at)
		return RL_ERR_CANCELLED;
	rl_buf_printf(out, "%s", rl_event_kind_name(e->kind));
	switch (e->kind) {
	case RL_EVENT_START:
		rl_buf_printf(out, " %.*s %.*s %lld", RL_STR_ARG(e->id), RL_STR_ARG(e->name), (long long)e->created);
		break;
	case RL_EVENT_TOOL_CALL_START:
		rl_buf_printf(out, " %u/%u %s %.*s %.*s", e->choice, e->tool, rl_tool_kind_name(e->tool_kind),
			      RL_STR_ARG(e->id), RL_STR_ARG(e->name));
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		rl_buf_printf(out, " %u/%u %.*s", e->choice, e->tool, RL_STR_ARG(e->text));
		break;
	case RL_EVENT_FINISH:
		rl_buf_printf(out, " %u %s %.*s", e->choice, rl_finish_name(e->finish), RL_STR_ARG(e->finish_word));
		break;
	case RL_EVENT_USAGE:
		rl_buf_printf(out, " %llu %llu", (unsigned long long)e->usage.prompt_tokens,
			      (unsigned long long)e->usage.completion_tokens);
		break;
	case RL_EVENT_ERROR:
		rl_buf_printf(out, " %s %u %.*s", rl_fault_class_name(e->fault->cls), e->fault->status,
			      RL_STR_ARG(e->fault->message));
		break;
	case RL_EVENT_EXTRA:
		rl_buf_printf(out, " %d", e->extra_scope);
		for (size_t i = 0; i < e->extras.n; i++)
			rl_buf_printf(out, " %.*s=%.*s", RL_STR_ARG(e->extras.v[i].key),
				      RL_STR_ARG(e->extras.v[i].json));
		break;
	default:
		rl_buf_printf(out, " %u %.*s%.*s", e->choice, RL_STR_ARG(e->text), RL_STR_ARG(e->logprobs));
	}
	rl_buf_byte(out, '\n');
	return RL_OK;
}

static void decodes(void **state, const char *const *chunks, const char *wanted)
{
	struct rl_decoder codec;
	struct log log = {.n = 0};

	rl_buf_init(&log.text, 1 << 16);
	rl_decoder_init(&codec);
	for (; *chunks; chunks++)
		if (openai()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), rl_str_of(*chunks), *state, note, &log))
			fail_msg("%s", *chunks);
	assert_text(rl_buf_str(&log.text), wanted);
	rl_buf_fini(&log.text);
}

static void decodes_openai(void **state)
{
	static const char *const chunks[] = {
		"{\"id\":\"i\",\"created\":7,\"model\":\"m\",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,\"delta\":"
		"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],"
		"\"usage\":null,\"obfuscation\":\"xx\"}",
		"{\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\\u0069\"},\"logprobs\":{\"content\":[1]}}]}",
		"{\"id\":\"i\",\"choices\":[{\"index\":1,\"delta\":{\"refusal\":\"no\"}},{\"index\":0,\"delta\":{\"content\":\"!\"}}]}",
		"{\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
		"{\"id\":\"i\",\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}",
		"[DONE]",
		"{\"choices\":[{\"delta\":{\"content\":\"after the end\"}}]}",
		NULL};

	decodes(state, chunks,
		"start i m 7\ntext 0 Hi{\"content\":[1]}\nrefusal 1 no\ntext 0 !\nfinish 0 stop \nusage 4 2\ndone 0 \n");
}

static void decodes_azure_and_vendors(void **state)
{
	static const char *const chunks[] = {
		"{\"choices\":[],\"id\":\"\",\"model\":\"\",\"created\":0,\"prompt_filter_results\":[{\"prompt_index\":0}]}",
		"{\"id\":\"i\",\"model\":\"m\",\"created\":1.5,\"choices\":[{\"index\":0,\"content_filter_results\":{},\"delta\":"
		"{\"reasoning_content\":\"Hm\",\"content\":\"\",\"index\":0}}]}",
		"{\"choices\":[{\"index\":0,\"content_filter_results\":{\"hate\":1},\"delta\":{\"reasoning\":\"m\","
		"\"audio\":{\"id\":\"a\"}}}]}",
		"{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\","
		"\"text\":\"deep\"}]},{\"type\":\"text\",\"text\":\"said\"}]}}]}",
		"{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"reference\","
		"\"ids\":[1]}]}}]}",
		"{\"choices\":[{\"index\":0,\"delta\":{\"content\":null},\"finish_reason\":\"odd\",\"usage\":"
		"{\"prompt_tokens\":1,\"completion_tokens\":1}}],\"x_groq\":{\"id\":\"r\"}}",
		NULL};

	decodes(state, chunks,
		"extra 0 \"prompt_filter_results\"=[{\"prompt_index\":0}]\n"
		"start i m 1\nreasoning 0 Hm\nreasoning 0 m\nextra 2 \"audio\"={\"id\":\"a\"}\n"
		"extra 1 \"content_filter_results\"={\"hate\":1}\nreasoning 0 deep\ntext 0 said\n"
		"extra 2 \"content\"=[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"reference\",\"ids\":[1]}]\n"
		"extra 0 \"x_groq\"={\"id\":\"r\"}\nfinish 0 other odd\nusage 1 1\n");
}

#define CALLS(json) "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[" json "]}}]}"

static void decodes_tool_calls(void **state)
{
	static const char *const normal[] = {
		CALLS("{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"),
		CALLS("{\"index\":1,\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}"),
		CALLS("{\"index\":0,\"function\":{\"arguments\":\"1\"}},{\"index\":1,\"function\":{\"arguments\":\"}\"}}"),
		"{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}", NULL};
	/* One number for all, told apart by their ids; and numbers that begin at 1. */
	static const char *const shared[] = {
		CALLS("{\"index\":1,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}}"),
		CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"2\"}}"),
		CALLS("{\"index\":1,\"function\":{\"arguments\":\"3\"}}"), NULL};
	/* Mistral: "null" and an empty name later; others repeat id and name. */
	static const char *const repeated[] = {
		CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}}"),
		CALLS("{\"index\":0,\"id\":\"null\",\"function\":{\"name\":\"\",\"arguments\":\"2\"}}"),
		CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"3\"}}"),
		CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"4\"}}"), NULL};
	/* No numbers, no ids (Gemini's compatible endpoint); arguments as an object. */
	static const char *const bare[] = {CALLS("{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}"),
					   CALLS("{\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}"), NULL};
	static const char *const legacy[] = {
		"{\"choices\":[{\"delta\":{\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}}]}",
		"{\"choices\":[{\"delta\":{\"function_call\":{\"arguments\":\"{}\"}},\"finish_reason\":\"function_call\"}]}",
		NULL};
	static const char *const custom[] = {
		CALLS("{\"index\":0,\"id\":\"a\",\"type\":\"custom\",\"custom\":{\"name\":\"f\",\"input\":\"free\"}}"),
		NULL};

	decodes(state, normal,
		"start   0\ntool_call_start 0/0 function a f\ntool_call_start 0/1 function b g\n"
		"tool_call_arguments 0/1 {\ntool_call_arguments 0/0 1\ntool_call_arguments 0/1 }\nfinish 0 tool_calls \n");
	decodes(state, shared,
		"start   0\ntool_call_start 0/0 function a f\ntool_call_arguments 0/0 1\n"
		"tool_call_start 0/1 function b f\ntool_call_arguments 0/1 2\ntool_call_arguments 0/1 3\n");
	decodes(state, repeated,
		"start   0\ntool_call_start 0/0 function a f\ntool_call_arguments 0/0 1\ntool_call_arguments 0/0 2\n"
		"tool_call_arguments 0/0 3\ntool_call_arguments 0/0 4\n");
	decodes(state, bare,
		"start   0\ntool_call_start 0/0 function  f\ntool_call_arguments 0/0 {\"a\":1}\n"
		"tool_call_start 0/1 function  g\ntool_call_arguments 0/1 {}\n");
	decodes(state, legacy,
		"start   0\ntool_call_start 0/0 legacy  f\ntool_call_arguments 0/0 {}\nfinish 0 function_call \n");
	decodes(state, custom, "start   0\ntool_call_start 0/0 custom a f\ntool_call_arguments 0/0 free\n");
}

static void decodes_errors(void **state)
{
	static const char *const chunks[] = {"{\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}",
					     "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", NULL};
	static const char *const broken[] = {"{",
					     "{\"choices\":{}}",
					     "{\"choices\":[1]}",
					     "{\"choices\":[{\"index\":-1,\"delta\":{}}]}",
					     "{\"choices\":[{\"delta\":{\"tool_calls\":[1]}}]}",
					     "{\"choices\":[{\"delta\":{\"content\":\"\\ud800\"}}]}"};

	decodes(state, chunks, "error overloaded 503 Overloaded\n");
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		struct log log = {.n = 0};
		struct rl_decoder codec;

		rl_buf_init(&log.text, 4096);
		rl_decoder_init(&codec);
		if (openai()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), rl_str_of(broken[i]), *state, note, &log) !=
		    RL_ERR_SYNTAX)
			fail_msg("%s", broken[i]);
		rl_buf_fini(&log.text);
	}
}

static void bounds(void **state)
{
	struct log log = {.n = 0};
	struct rl_decoder codec;
	char chunk[200];
	enum rl_err err = RL_OK;
	int i;

	rl_buf_init(&log.text, 1 << 20);
	rl_decoder_init(&codec);
	for (i = 0; !err && i <= RL_CODEC_TOOLS_MAX; i++) {
		snprintf(chunk, sizeof chunk, CALLS("{\"index\":%d,\"id\":\"i%d\",\"function\":{\"name\":\"f\"}}"), i,
			 i);
		err = openai()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), rl_str_of(chunk), *state, note, &log);
	}
	assert_int_equal(err, RL_ERR_LIMIT);
	assert_int_equal(i, RL_CODEC_TOOLS_MAX + 1);
	rl_decoder_init(&codec);
	assert_int_equal(openai()->decode_event(RL_OP_CHAT, &codec, RL_STR(""),
						RL_STR("{\"choices\":[{\"index\":128,\"delta\":{}}]}"), *state, note,
						&log),
			 RL_ERR_LIMIT);
	/* The receiver's refusal comes back. */
	rl_decoder_init(&codec);
	log.stop_at = log.n + 2;
	assert_int_equal(openai()->decode_event(RL_OP_CHAT, &codec, RL_STR(""),
						RL_STR("{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}"), *state, note,
						&log),
			 RL_ERR_CANCELLED);
	rl_buf_fini(&log.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_in_order),
		cmocka_unit_test(completion_chunks),
		cmocka_unit_test(errors_end_the_stream),
		cmocka_unit_test(each_choice_opens_once),
		cmocka_unit_test(long_names_fail_loudly),
		arena_test(decodes_openai),
		arena_test(decodes_azure_and_vendors),
		arena_test(decodes_tool_calls),
		arena_test(decodes_errors),
		arena_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
