/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of the Responses API to events and back: the exact order of its events out, every server's oddities in. */
#include "test_dialect_help.h"

static const struct rl_dialect *responses(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("responses"));

	assert_non_null(d);
	return d;
}

/* --- encoding --- */

struct sink {
	struct rl_encoder codec;
	struct rl_buf out;
};

static void open_sink(struct sink *sink, const struct rl_chat_request *request)
{
	rl_encoder_init(&sink->codec, RL_OP_CHAT, true);
	sink->codec.request = request;
	sink->codec.own = calloc(1, responses()->encoder_bytes);
	assert_non_null(sink->codec.own);
	rl_buf_init(&sink->out, 64 << 20);
}

static void close_sink(struct sink *sink)
{
	responses()->encoder_fini(&sink->codec);
	rl_encoder_fini(&sink->codec);
	free(sink->codec.own);
	rl_buf_fini(&sink->out);
}

static void put(struct sink *sink, struct rl_event event)
{
	responses()->encode_event(&sink->codec, &event, &sink->out);
}

/* The next event's data; its name and its `type` are the same, and its number is the next. */
static rl_str next_event(rl_str *rest, int *number)
{
	static const rl_str keys[] = {RL_STR_INIT("type"), RL_STR_INIT("sequence_number")};
	struct rl_json_span spans[2];
	uint64_t n = 0;
	rl_str name = rl_str_cut(rest, '\n'), data = rl_str_cut(rest, '\n'), blank = rl_str_cut(rest, '\n');

	assert_true(rl_str_starts(name, RL_STR("event: ")) && rl_str_starts(data, RL_STR("data: ")) && !blank.n);
	data = rl_str_sub(data, 6, SIZE_MAX);
	assert_int_equal(rl_json_scan(data, keys, 2, RL_JSON_LAX, spans, NULL), RL_OK);
	assert_true(rl_json_string_is(rl_json_span_text(data, &spans[0]), rl_str_sub(name, 7, SIZE_MAX)));
	assert_true(rl_json_u64(rl_json_span_text(data, &spans[1]), &n) && n == (uint64_t)*number);
	++*number;
	return data;
}

static rl_str member(rl_str object, const char *key)
{
	rl_str name = rl_str_of(key);
	struct rl_json_span span;

	rl_json_find(object, &name, 1, &span);
	return rl_json_span_text(object, &span);
}

/* The types of all events, one a line, "response." left out. */
static void assert_types(rl_str text, const char *wanted)
{
	struct rl_buf types;
	int number = 0;

	rl_buf_init(&types, 1 << 16);
	while (text.p && text.n) {
		rl_str type = member(next_event(&text, &number), "type");

		type = rl_str_sub(type, 1, type.n - 2);
		if (rl_str_starts(type, RL_STR("response.")))
			type = rl_str_sub(type, 9, SIZE_MAX);
		rl_buf_add(&types, type);
		rl_buf_byte(&types, '\n');
	}
	assert_text(rl_buf_str(&types), wanted);
	rl_buf_fini(&types);
}

static rl_str last_response(rl_str text)
{
	rl_str data = {NULL, 0};
	int number = 0;

	while (text.p && text.n)
		data = next_event(&text, &number);
	return member(data, "response");
}

#define START "created\nin_progress\n"
#define MESSAGE "output_item.added\ncontent_part.added\noutput_text.delta\n"
#define MESSAGE_END "output_text.done\ncontent_part.done\noutput_item.done\n"

static void text_in_order(void **state)
{
	struct sink sink;
	int number = 0;

	(void)state;
	open_sink(&sink, NULL);
	put(&sink,
	    (struct rl_event){.kind = RL_EVENT_START, .id = RL_STR("resp_1"), .name = RL_STR("m"), .created = 7});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .text = RL_STR("H\"i")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .text = RL_STR(" you")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_FINISH, .finish = RL_FINISH_STOP});
	put(&sink, (struct rl_event){.kind = RL_EVENT_USAGE,
				     .usage = {.known = true, .prompt_tokens = 3, .completion_tokens = 2}});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .text = RL_STR("too late")});
	rl_str text = rl_buf_str(&sink.out), rest = text;

	assert_types(text, START MESSAGE "output_text.delta\n" MESSAGE_END "completed\n");
	for (int i = 0; i < 4; i++)
		next_event(&rest, &number);
	rl_str delta = next_event(&rest, &number);

	assert_text(member(delta, "delta"), "\"H\\\"i\"");
	assert_text(member(delta, "output_index"), "0");
	assert_text(member(delta, "content_index"), "0");
	next_event(&rest, &number);
	assert_text(member(next_event(&rest, &number), "text"), "\"H\\\"i you\"");
	rl_str response = last_response(text);

	assert_text(member(response, "id"), "\"resp_1\"");
	assert_text(member(response, "status"), "\"completed\"");
	assert_true(text_has(member(response, "output"), "\"text\":\"H\\\"i you\""));
	assert_text(member(member(response, "usage"), "total_tokens"), "5");
	close_sink(&sink);
}

static void thoughts_calls_and_text(void **state)
{
	struct sink sink;

	(void)state;
	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_START, .id = RL_STR("a"), .dialect = RL_STR("anthropic")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_REASONING, .text = RL_STR("Hm")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_REASONING, .text = RL_STR("m")});
	put(&sink,
	    (struct rl_event){.kind = RL_EVENT_REASONING, .signature = RL_STR("Eq"), .family = RL_STR("anthropic")});
	put(&sink,
	    (struct rl_event){.kind = RL_EVENT_REASONING, .signature = RL_STR("=="), .family = RL_STR("anthropic")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_REASONING,
				     .part = 1,
				     .redacted = RL_STR("Zm="),
				     .family = RL_STR("anthropic")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .part = 2, .text = RL_STR("T")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_START,
				     .id = RL_STR("c1"),
				     .name = RL_STR("f"),
				     .tool_kind = RL_TOOL_KIND_FUNCTION});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_ARGUMENTS, .text = RL_STR("{\"a\":")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_ARGUMENTS, .text = RL_STR("1}")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_START,
				     .tool = 1,
				     .name = RL_STR("g"),
				     .tool_kind = RL_TOOL_KIND_CUSTOM});
	put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
				     .tool = 1,
				     .tool_kind = RL_TOOL_KIND_CUSTOM,
				     .text = RL_STR("free")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_FINISH, .finish = RL_FINISH_TOOL_CALLS});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	assert_types(rl_buf_str(&sink.out),
		     START "output_item.added\nreasoning_summary_part.added\nreasoning_summary_text.delta\n"
			   "reasoning_summary_text.delta\nreasoning_summary_text.done\nreasoning_summary_part.done\n"
			   "output_item.done\noutput_item.added\noutput_item.done\n" MESSAGE MESSAGE_END
			   "output_item.added\nfunction_call_arguments.delta\nfunction_call_arguments.delta\n"
			   "function_call_arguments.done\noutput_item.done\n"
			   "output_item.added\ncustom_tool_call_input.delta\ncustom_tool_call_input.done\n"
			   "output_item.done\ncompleted\n");
	rl_str output = member(last_response(rl_buf_str(&sink.out)), "output");

	assert_true(text_has(output, "\"summary\":[{\"type\":\"summary_text\",\"text\":\"Hmm\"}],"
				     "\"encrypted_content\":\"relais.anthropic.Eq==\""));
	assert_true(text_has(output, "\"encrypted_content\":\"relais.anthropic.redacted:Zm=\""));
	assert_true(text_has(output, "\"arguments\":\"{\\\"a\\\":1}\",\"call_id\":\"c1\",\"name\":\"f\""));
	assert_true(text_has(output, "\"input\":\"free\",\"call_id\":\"call_"));
	close_sink(&sink);
}

/* Two calls told in turns are one item each, and end in their order. */
static void calls_told_in_turns(void **state)
{
	struct sink sink;

	(void)state;
	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_START, .id = RL_STR("a")});
	for (uint32_t i = 0; i < 2; i++)
		put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_START,
					     .tool = i,
					     .id = i ? RL_STR("c2") : RL_STR("c1"),
					     .name = RL_STR("f"),
					     .tool_kind = RL_TOOL_KIND_FUNCTION});
	for (uint32_t i = 0; i < 4; i++)
		put(&sink, (struct rl_event){.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
					     .tool = i % 2,
					     .text = i < 2 ? RL_STR("{") : RL_STR("}")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_FINISH, .finish = RL_FINISH_TOOL_CALLS});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	rl_str output = member(last_response(rl_buf_str(&sink.out)), "output");
	struct rl_json_iter iter;
	rl_str item;

	rl_json_iter_array(&iter, output);
	for (int i = 0; i < 2; i++) {
		assert_true(rl_json_iter_next(&iter, &item));
		assert_text(member(item, "call_id"), i ? "\"c2\"" : "\"c1\"");
		assert_text(member(item, "arguments"), "\"{}\"");
	}
	assert_int_equal(sink.codec.n_lost, 0);
	close_sink(&sink);
}

static void ends_other_than_well(void **state)
{
	struct rl_fault fault = {.cls = RL_FAULT_RATE_LIMIT, .status = 429, .message = RL_STR("slow")};
	struct sink sink;

	(void)state;
	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .text = RL_STR("x")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_FINISH, .finish = RL_FINISH_LENGTH});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	assert_types(rl_buf_str(&sink.out), START MESSAGE MESSAGE_END "incomplete\n");
	assert_text(member(member(last_response(rl_buf_str(&sink.out)), "incomplete_details"), "reason"),
		    "\"max_output_tokens\"");
	close_sink(&sink);

	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_REFUSAL, .text = RL_STR("No")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_ERROR, .fault = &fault});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	assert_types(rl_buf_str(&sink.out),
		     START "output_item.added\ncontent_part.added\nrefusal.delta\nerror\nfailed\n");
	assert_text(member(member(last_response(rl_buf_str(&sink.out)), "error"), "code"), "\"rate_limit_exceeded\"");
	close_sink(&sink);

	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_ERROR, .fault = &fault});
	assert_types(rl_buf_str(&sink.out), "error\n");
	close_sink(&sink);

	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_FINISH, .finish = RL_FINISH_ERROR});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	assert_types(rl_buf_str(&sink.out), START "failed\n");
	close_sink(&sink);
}

static void what_is_kept_has_a_bound(void **state)
{
	struct sink sink;
	size_t n = 1 << 20;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', n);
	open_sink(&sink, NULL);
	for (int i = 0; i < 12 && !sink.codec.ended; i++)
		put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .text = rl_str_make(text, n)});
	assert_true(sink.codec.ended);
	assert_true(text_has(rl_str_sub(rl_buf_str(&sink.out), sink.out.n - 4096, SIZE_MAX), "response.failed"));
	free(text);
	close_sink(&sink);
}

static void the_request_is_repeated(void **state)
{
	struct rl_chat_request request;
	struct rl_fault fault;
	struct sink sink;

	assert_int_equal(
		responses()->parse_request(
			RL_OP_CHAT,
			RL_STR("{\"model\":\"m\",\"instructions\":\"Be brief.\",\"input\":\"x\",\"top_p\":0.25,"
			       "\"tool_choice\":\"required\",\"tools\":[{\"type\":\"web_search\"}],"
			       "\"reasoning\":{\"effort\":\"low\"}}"),
			*state, &request, &fault),
		RL_OK);
	open_sink(&sink, &request);
	put(&sink, (struct rl_event){.kind = RL_EVENT_START, .id = RL_STR("a"), .name = RL_STR("m")});
	put(&sink, (struct rl_event){.kind = RL_EVENT_DONE});
	rl_str response = last_response(rl_buf_str(&sink.out));

	assert_text(member(response, "instructions"), "\"Be brief.\"");
	assert_text(member(response, "top_p"), "0.25");
	assert_text(member(response, "tool_choice"), "\"required\"");
	assert_text(member(response, "tools"), "[{\"type\":\"web_search\"}]");
	assert_text(member(member(response, "reasoning"), "effort"), "\"low\"");
	close_sink(&sink);
}

static void second_answers_have_no_place(void **state)
{
	struct sink sink;

	(void)state;
	open_sink(&sink, NULL);
	put(&sink, (struct rl_event){.kind = RL_EVENT_TEXT, .choice = 1, .text = RL_STR("x")});
	assert_int_equal(sink.codec.n_lost, 1);
	assert_string_equal(sink.codec.lost[0], "answer.choices");
	close_sink(&sink);
}

/* --- decoding: events are written as one line of text each, which the tests compare --- */

struct log {
	struct rl_buf text;
};

static enum rl_err note(void *user, const struct rl_event *e)
{
	struct rl_buf *out = &((struct log *)user)->text;

	assert_text(e->dialect, "responses");
	rl_buf_printf(out, "%s", rl_event_kind_name(e->kind));
	switch (e->kind) {
	case RL_EVENT_START:
		rl_buf_printf(out, " %.*s %.*s %lld", RL_STR_ARG(e->id), RL_STR_ARG(e->name), (long long)e->created);
		break;
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
		rl_buf_printf(out, " %u %.*s", e->part, RL_STR_ARG(e->text));
		break;
	case RL_EVENT_REASONING:
		rl_buf_printf(out, " %u %s %.*s", e->part, e->summary ? "summary" : "raw", RL_STR_ARG(e->text));
		if (e->signature.n)
			rl_buf_printf(out, " seal %.*s of %.*s", RL_STR_ARG(e->signature), RL_STR_ARG(e->family));
		break;
	case RL_EVENT_TOOL_CALL_START:
		rl_buf_printf(out, " %u %s %.*s %.*s", e->tool, rl_tool_kind_name(e->tool_kind), RL_STR_ARG(e->id),
			      RL_STR_ARG(e->name));
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		rl_buf_printf(out, " %u %.*s", e->tool, RL_STR_ARG(e->text));
		break;
	case RL_EVENT_CITATION:
		rl_buf_printf(out, " %.*s %lld-%lld", RL_STR_ARG(e->citation->url), (long long)e->citation->start,
			      (long long)e->citation->end);
		break;
	case RL_EVENT_FINISH:
		rl_buf_printf(out, " %s %.*s", rl_finish_name(e->finish), RL_STR_ARG(e->finish_word));
		break;
	case RL_EVENT_USAGE:
		rl_buf_printf(out, " %llu %llu %llu", (unsigned long long)e->usage.prompt_tokens,
			      (unsigned long long)e->usage.completion_tokens,
			      (unsigned long long)e->usage.reasoning_tokens);
		break;
	case RL_EVENT_ERROR:
		rl_buf_printf(out, " %s %.*s", rl_fault_class_name(e->fault->cls), RL_STR_ARG(e->fault->message));
		break;
	case RL_EVENT_EXTRA:
		for (size_t i = 0; i < e->extras.n; i++)
			rl_buf_printf(out, " %.*s", RL_STR_ARG(e->extras.v[i].key));
		break;
	default:
		break;
	}
	rl_buf_byte(out, '\n');
	return RL_OK;
}

/* Every line of `lines` is an event's data. */
static void decodes_to(void **state, const char *lines, const char *wanted)
{
	rl_str rest = rl_str_of(lines);
	struct rl_decoder codec;
	struct log log;

	rl_decoder_init(&codec);
	codec.own = calloc(1, responses()->decoder_bytes);
	assert_non_null(codec.own);
	rl_buf_init(&log.text, 1 << 16);
	while (rest.p) {
		rl_str data = rl_str_cut(&rest, '\n');

		if (data.n &&
		    responses()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, *state, note, &log) != RL_OK)
			fail_msg("%.*s", RL_STR_ARG(data));
	}
	assert_text(rl_buf_str(&log.text), wanted);
	rl_buf_fini(&log.text);
	free(codec.own);
}

#define CREATED \
	"{\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"created_at\":7,\"model\":\"m\",\"output\":[]}}\n"
#define COMPLETED \
	"{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n"

static void whole_streams(void **state)
{
	decodes_to(
		state,
		CREATED
		"{\"type\":\"response.in_progress\",\"response\":{\"id\":\"r\"}}\n"
		"{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\","
		"\"encrypted_content\":\"early\",\"summary\":[]}}\n"
		"{\"type\":\"response.reasoning_summary_part.added\",\"output_index\":0,\"summary_index\":0}\n"
		"{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,\"summary_index\":0,\"delta\":\"a\"}\n"
		"{\"type\":\"response.reasoning_summary_text.done\",\"output_index\":0,\"summary_index\":0,\"text\":\"a\"}\n"
		"{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,\"summary_index\":1,\"delta\":\"b\"}\n"
		"{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\","
		"\"encrypted_content\":\"gAA\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"a\"},"
		"{\"type\":\"summary_text\",\"text\":\"b\"}]}}\n"
		"{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"id\":\"msg_1\",\"type\":\"message\","
		"\"phase\":\"final_answer\",\"content\":[]}}\n"
		"{\"type\":\"response.output_text.delta\",\"output_index\":1,\"content_index\":0,\"delta\":\"H\"}\n"
		"{\"type\":\"response.output_text.delta\",\"output_index\":1,\"content_index\":0,\"delta\":\"i\"}\n"
		"{\"type\":\"response.output_text.annotation.added\",\"output_index\":1,\"content_index\":0,\"annotation\":"
		"{\"type\":\"url_citation\",\"url\":\"https://x.test\",\"start_index\":0,\"end_index\":2}}\n"
		"{\"type\":\"response.output_text.done\",\"output_index\":1,\"content_index\":0,\"text\":\"Hi\"}\n"
		"{\"type\":\"response.refusal.delta\",\"output_index\":1,\"content_index\":1,\"delta\":\"No\"}\n"
		"{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"id\":\"msg_1\",\"type\":\"message\","
		"\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hi\"}]}}\n"
		"{\"type\":\"response.output_item.added\",\"output_index\":2,\"item\":{\"type\":\"function_call\",\"id\":\"fc\","
		"\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"\"}}\n"
		"{\"type\":\"response.function_call_arguments.delta\",\"output_index\":2,\"delta\":\"{}\"}\n"
		"{\"type\":\"response.function_call_arguments.done\",\"output_index\":2,\"arguments\":\"{}\"}\n"
		"{\"type\":\"response.output_item.done\",\"output_index\":2,\"item\":{\"type\":\"function_call\",\"id\":\"fc\","
		"\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"}}\n"
		"{\"type\":\"response.output_item.done\",\"output_index\":3,\"item\":{\"type\":\"web_search_call\"}}\n"
		"{\"type\":\"response.brand_new\",\"x\":1}\n"
		"{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[],\"tier\":1,"
		"\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\n"
		"{\"type\":\"response.output_text.delta\",\"delta\":\"behind the end\"}\n",
		"start r m 7\n"
		"reasoning 0 summary a\n"
		"reasoning 1 summary b\n"
		"reasoning 1 summary  seal gAA of openai\n"
		"extra \"phase\"\n"
		"text 2 H\n"
		"text 2 i\n"
		"citation https://x.test 0-2\n"
		"refusal 3 No\n"
		"tool_call_start 0 function c1 f\n"
		"tool_call_arguments 0 {}\n"
		"extra \"output_item\"\n"
		"extra \"tier\"\n"
		"finish tool_calls \n"
		"usage 3 4 2\n"
		"done\n");
}

static void what_servers_leave_out(void **state)
{
	/* No deltas at all (LM Studio's calls); nothing announced; nothing but the end; a word for [DONE]. */
	decodes_to(state,
		   CREATED
		   "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"function_call\","
		   "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"\"}}\n"
		   "{\"type\":\"response.function_call_arguments.done\",\"output_index\":0,\"arguments\":\"{}\"}\n"
		   "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"function_call\","
		   "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}}\n" COMPLETED,
		   "start r m 7\ntool_call_start 0 function c f\ntool_call_arguments 0 {}\nfinish tool_calls \ndone\n");
	decodes_to(state,
		   CREATED
		   "{\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,\"delta\":\"{}\"}\n"
		   "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"function_call\","
		   "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}}\n" COMPLETED,
		   "start r m 7\ntool_call_start 0 function c f\ntool_call_arguments 0 {}\nfinish tool_calls \ndone\n");
	decodes_to(state,
		   "{\"type\":\"response.output_text.delta\",\"delta\":\"H\"}\n"
		   "{\"type\":\"response.output_text.delta\",\"item_id\":\"other\",\"delta\":\"i\"}\n" COMPLETED,
		   "start   0\ntext 0 H\ntext 0 i\nfinish stop \ndone\n");
	decodes_to(state,
		   CREATED "{\"type\":\"response.output_text.done\",\"output_index\":0,\"text\":\"Hi\"}\n"
			   "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"message\","
			   "\"content\":[{\"type\":\"output_text\",\"text\":\"Hi\"}]}}\n" COMPLETED,
		   "start r m 7\ntext 0 Hi\nfinish stop \ndone\n");
	decodes_to(state,
		   "{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"model\":\"m\",\"output\":["
		   "{\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"t\"}]},"
		   "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hi\"}]},"
		   "{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"g\",\"input\":\"x\"}]}}\n",
		   "start r m 0\nreasoning 0 raw t\ntext 1 Hi\ntool_call_start 0 custom c g\n"
		   "tool_call_arguments 0 x\nfinish tool_calls \ndone\n");
	/* A call that only the last event has, and one that it repeats. */
	decodes_to(state,
		   CREATED
		   "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"function_call\","
		   "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}}\n"
		   "{\"type\":\"response.completed\",\"response\":{\"output\":[{\"type\":\"function_call\","
		   "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call\","
		   "\"call_id\":\"d\",\"name\":\"f\",\"arguments\":\"{}\"}]}}\n",
		   "start r m 7\ntool_call_start 0 function c f\ntool_call_arguments 0 {}\n"
		   "tool_call_start 1 function d f\ntool_call_arguments 1 {}\nfinish tool_calls \ndone\n");
	decodes_to(state, CREATED "[DONE]\n" COMPLETED, "start r m 7\ndone\n");
	/* Numbers, nulls and the like where words should be. */
	decodes_to(state,
		   CREATED "{\"type\":5}\n{}\n1\nnull\n{\"type\":\"response.output_text.delta\",\"delta\":null}\n"
			   "{\"type\":\"response.output_item.added\",\"output_index\":-1,\"item\":[]}\n"
			   "{\"type\":\"response.output_item.done\",\"item\":null}\n"
			   "{\"type\":\"response.output_text.annotation.added\",\"annotation\":3}\n" COMPLETED,
		   "start r m 7\nfinish stop \ndone\n");
}

static void ends_and_errors(void **state)
{
	decodes_to(state,
		   CREATED "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
			   "\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[]}}\n",
		   "start r m 7\nfinish length \ndone\n");
	decodes_to(state,
		   CREATED
		   "{\"type\":\"error\",\"sequence_number\":2,\"error\":{\"type\":\"insufficient_quota\","
		   "\"code\":\"insufficient_quota\",\"message\":\"No money\",\"param\":null}}\n"
		   "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"x\"}}}\n",
		   "start r m 7\nerror quota_exhausted No money\n");
	decodes_to(state,
		   CREATED
		   "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"Slow\",\"param\":null}\n",
		   "start r m 7\nerror rate_limit Slow\n");
	decodes_to(state,
		   CREATED "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":"
			   "\"server_error\",\"message\":\"Sorry\"}}}\n",
		   "start r m 7\nerror server_error Sorry\n");
	decodes_to(state, "{\"error\":{\"message\":\"Early\"}}\n", "error server_error Early\n");
}

static void bad_data(void **state)
{
	static const char *const bad[] = {"", "{", "{\"type\":}", "x"};
	struct rl_decoder codec;
	struct log log;

	rl_decoder_init(&codec);
	codec.own = calloc(1, responses()->decoder_bytes);
	rl_buf_init(&log.text, 1024);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(responses()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), rl_str_of(bad[i]), *state,
							   note, &log),
				 RL_ERR_SYNTAX);
	/* More items than anyone sends. */
	enum rl_err err = RL_OK;

	for (int i = 0; i < 1000 && !err; i++) {
		rl_str data =
			rl_arena_printf(*state,
					"{\"type\":\"response.output_text.delta\",\"output_index\":%d,\"delta\":\"x\"}",
					i);

		err = responses()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, *state, note, &log);
	}
	assert_int_equal(err, RL_ERR_LIMIT);
	rl_buf_fini(&log.text);
	free(codec.own);
}

/* --- what passes --- */

static void glances(void **state)
{
	static const struct {
		const char *data;
		bool content, finish, done, error;
	} cases[] = {
		{"{\"type\":\"response.created\",\"response\":{}}", false, false, false, false},
		{"{\"type\":\"response.output_text.delta\",\"delta\":\"x\"}", true, false, false, false},
		{"{\"type\":\"response.output_item.done\",\"item\":{}}", true, false, false, false},
		{"{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1}}}", false, true, true,
		 false},
		{"{\"type\":\"response.incomplete\",\"response\":{}}", false, true, true, false},
		{"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"}}}", false, false,
		 false, true},
		{"{\"type\":\"error\",\"code\":\"server_error\"}", false, false, false, true},
		{"[DONE]", false, false, true, false},
	};
	struct rl_json_form form = {.n_strings = 0};
	struct rl_glance glance;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(responses()->glance_event(RL_OP_CHAT, RL_STR(""), rl_str_of(cases[i].data), &form,
							   &glance),
				 RL_OK);
		if (glance.content != cases[i].content || glance.finish != cases[i].finish ||
		    glance.done != cases[i].done || glance.error != cases[i].error)
			fail_msg("%s", cases[i].data);
	}
	assert_int_equal(responses()->glance_event(RL_OP_CHAT, RL_STR(""), RL_STR("{"), &form, &glance), RL_ERR_SYNTAX);
}

static void broken_streams_say_so(void **state)
{
	struct rl_fault fault = {.cls = RL_FAULT_OVERLOADED, .status = 503, .message = RL_STR("gone")};
	struct rl_buf out;
	int number = 0;

	(void)state;
	rl_buf_init(&out, 4096);
	responses()->write_stream_error(&fault, &out);
	rl_str rest = rl_buf_str(&out), data = next_event(&rest, &number);

	/* As the types say, and as the wire has it. */
	assert_text(member(data, "message"), "\"gone\"");
	assert_text(member(member(data, "error"), "message"), "\"gone\"");
	rl_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(text_in_order),
		arena_test(thoughts_calls_and_text),
		arena_test(calls_told_in_turns),
		arena_test(ends_other_than_well),
		arena_test(what_is_kept_has_a_bound),
		arena_test(the_request_is_repeated),
		arena_test(second_answers_have_no_place),
		arena_test(whole_streams),
		arena_test(what_servers_leave_out),
		arena_test(ends_and_errors),
		arena_test(bad_data),
		arena_test(glances),
		arena_test(broken_streams_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
