/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events to streams of the Responses API. Each item is announced, told in pieces,
 * told whole, and told once more in the last event with all others; so this encoder
 * is the one that has to keep what it wrote. There is a bound to that, behind which
 * the stream ends with an error.
 *
 * One message or one thought is open at a time. Calls may be told in turns: they
 * stay open until their arguments are whole JSON, and close in their order.
 */
#include "responses/responses_priv.h"

#include <assert.h>

/* Of an answer, in its JSON; the longest answers of today's models are below one MiB. */
#define KEPT_MAX_BYTES ((size_t)8 << 20)
#define OPEN_CALLS_MAX 8
#define PHASE_MAX_BYTES 64

enum open_kind { OPEN_NONE, OPEN_MESSAGE, OPEN_REASONING };
enum part_kind { PART_NONE, PART_TEXT, PART_REFUSAL, PART_SUMMARY, PART_THOUGHT };

struct call {
	uint32_t tool, index; /* the event's number, and output_index */
	bool custom;
	size_t id_n;
	struct rl_buf names; /* its id, then the name of the tool */
	struct rl_buf arguments;
};

struct state {
	bool ready, started;
	uint32_t sequence, n_items; /* of the next event, and item */
	size_t id_n;                /* codec->head: the id of the answer, then the model */
	int64_t created;
	struct rl_buf output;   /* items that are told, with commas */
	struct rl_buf echo;     /* members that the provider's own response has */
	struct rl_buf parts;    /* of the open item: its content; of a thought, its summary */
	struct rl_buf thoughts; /* of an open thought: its content */
	struct rl_buf text;     /* of the open part */
	struct rl_buf annotations, logprobs;
	struct rl_buf seal, id; /* of the open thought */
	struct rl_buf phase;    /* of the next message: raw */
	enum open_kind open;
	enum part_kind part;
	uint32_t index;      /* of the open item */
	uint32_t wire_part;  /* the event's number of the open part */
	uint32_t n_parts;    /* of the open item that were begun; of a thought, summaries */
	uint32_t n_thoughts; /* of an open thought: contents that were begun */
	uint32_t n_annotations;
	struct call calls[OPEN_CALLS_MAX];
	size_t n_calls;
	bool finished;
	enum rl_finish finish;
	char word[PHASE_MAX_BYTES]; /* of a finish that is none of ours */
	size_t word_n;
};

_Static_assert(sizeof(struct state) <= RL_RESPONSES_ENCODER_BYTES, "the vtable says how much is needed");

struct encode {
	struct rl_encoder *codec;
	struct state *s;
	struct rl_buf *out;
	bool ours; /* the event is in our words */
};

#define EACH_BUF(s)                                                                                                   \
	{                                                                                                             \
		&(s)->output, &(s)->echo, &(s)->parts, &(s)->thoughts, &(s)->text, &(s)->annotations, &(s)->logprobs, \
			&(s)->seal, &(s)->id, &(s)->phase                                                             \
	}

static void prepare(struct state *s)
{
	struct rl_buf *bufs[] = EACH_BUF(s);

	if (s->ready)
		return;
	for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
		rl_buf_init(bufs[i], KEPT_MAX_BYTES);
	s->ready = true;
}

static bool fits(struct state *s)
{
	struct rl_buf *bufs[] = EACH_BUF(s);

	for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
		if (!rl_buf_ok(bufs[i]))
			return false;
	for (size_t i = 0; i < s->n_calls; i++)
		if (!rl_buf_ok(&s->calls[i].arguments) || !rl_buf_ok(&s->calls[i].names))
			return false;
	return true;
}

static void drop_call(struct call *call)
{
	rl_buf_fini(&call->names);
	rl_buf_fini(&call->arguments);
}

void rl_responses_encoder_fini(struct rl_encoder *codec)
{
	struct state *s = codec ? codec->own : NULL;

	if (!s || !s->ready)
		return;
	struct rl_buf *bufs[] = EACH_BUF(s);

	for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
		rl_buf_fini(bufs[i]);
	for (size_t i = 0; i < s->n_calls; i++)
		drop_call(&s->calls[i]);
	s->n_calls = 0;
	s->ready = false;
}

/* --- events --- */

static void open_event(struct encode *e, const char *type)
{
	RL_BUF_LIT(e->out, "event: ");
	rl_buf_add(e->out, rl_str_of(type));
	RL_BUF_LIT(e->out, "\ndata: {");
	rl_build_text(e->out, "type", rl_str_of(type));
	rl_build_int(e->out, "sequence_number", e->s->sequence++);
}

static void close_event(struct encode *e)
{
	RL_BUF_LIT(e->out, "}\n\n");
}

static rl_str answer_id(const struct encode *e)
{
	return rl_str_sub(rl_buf_str(&e->codec->head), 0, e->s->id_n);
}

static rl_str item_id(const struct encode *e, char room[64], const char *prefix, uint32_t index)
{
	return rl_responses_item_id(room, prefix, answer_id(e), index);
}

/* The open item's. */
static rl_str open_id(const struct encode *e, char room[64])
{
	if (e->s->open == OPEN_REASONING)
		return e->s->id.n ? rl_buf_str(&e->s->id) : item_id(e, room, "rs", e->s->index);
	return item_id(e, room, "msg", e->s->index);
}

static void write_shell(struct encode *e, const char *status, rl_str reason, const struct rl_fault *fault)
{
	struct state *s = e->s;
	struct rl_responses_shell shell = {
		.id = answer_id(e),
		.model = rl_str_sub(rl_buf_str(&e->codec->head), s->id_n, SIZE_MAX),
		.created = s->created,
		.status = status,
		.reason = reason,
		.fault = fault,
		.output = rl_buf_str(&s->output),
		.usage = rl_buf_str(&e->codec->usage),
		.echo = rl_buf_str(&s->echo),
	};

	rl_build_key(e->out, "response");
	rl_responses_write_shell(&shell, e->out);
}

static void keep_echo(struct encode *e, struct rl_extras extras)
{
	rl_buf_reset(&e->s->echo);
	for (size_t i = 0; i < extras.n; i++)
		if (!rl_json_string_is(extras.v[i].key, RL_STR("error")) &&
		    !rl_json_string_is(extras.v[i].key, RL_STR("incomplete_details")))
			rl_build_extras(&e->s->echo, (struct rl_extras){&extras.v[i], 1});
}

static void start(struct encode *e, const struct rl_event *event)
{
	static const struct rl_event nameless = {.kind = RL_EVENT_START};
	struct state *s = e->s;

	if (s->started)
		return;
	s->started = true;
	if (!event)
		event = &nameless;
	rl_buf_reset(&e->codec->head);
	rl_buf_add(&e->codec->head, event->id);
	rl_buf_add(&e->codec->head, event->name);
	if (!rl_buf_ok(&e->codec->head))
		e->out->failed = true;
	s->id_n = event->id.n;
	s->created = event->created;
	if (e->ours)
		keep_echo(e, event->extras);
	if (!s->echo.n)
		rl_responses_write_echo(e->codec->request, &s->echo);
	open_event(e, "response.created");
	write_shell(e, "in_progress", rl_str_make(NULL, 0), NULL);
	close_event(e);
	open_event(e, "response.in_progress");
	write_shell(e, "in_progress", rl_str_make(NULL, 0), NULL);
	close_event(e);
}

/* --- parts --- */

static uint32_t part_index(const struct state *s)
{
	return (s->part == PART_THOUGHT ? s->n_thoughts : s->n_parts) - 1;
}

/* What an event about the open part begins with. */
static void open_part_event(struct encode *e, const char *type)
{
	char room[64];

	open_event(e, type);
	rl_build_text(e->out, "item_id", open_id(e, room));
	rl_build_int(e->out, "output_index", e->s->index);
	rl_build_int(e->out, e->s->part == PART_SUMMARY ? "summary_index" : "content_index", part_index(e->s));
}

/* The open part as it is so far: an element of the item's content. */
static void write_part(struct encode *e, struct rl_buf *out)
{
	struct state *s = e->s;
	rl_str text = rl_buf_str(&s->text);

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	switch (s->part) {
	case PART_TEXT:
		rl_build_text(out, "type", RL_STR("output_text"));
		RL_BUF_LIT(out, ",\"annotations\":[");
		rl_buf_add(out, rl_buf_str(&s->annotations));
		RL_BUF_LIT(out, "],\"logprobs\":[");
		rl_buf_add(out, rl_buf_str(&s->logprobs));
		RL_BUF_LIT(out, "]");
		rl_build_text(out, "text", text);
		break;
	case PART_REFUSAL:
		rl_build_text(out, "type", RL_STR("refusal"));
		rl_build_text(out, "refusal", text);
		break;
	default:
		rl_build_text(out, "type", s->part == PART_SUMMARY ? RL_STR("summary_text") : RL_STR("reasoning_text"));
		rl_build_text(out, "text", text);
	}
	RL_BUF_LIT(out, "}");
}

static const struct {
	const char *added, *delta, *text_done, *done, *text_key;
} part_words[] = {
	[PART_NONE] = {"", "", "", "", ""},
	[PART_TEXT] = {"response.content_part.added", "response.output_text.delta", "response.output_text.done",
		       "response.content_part.done", "text"},
	[PART_REFUSAL] = {"response.content_part.added", "response.refusal.delta", "response.refusal.done",
			  "response.content_part.done", "refusal"},
	[PART_SUMMARY] = {"response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
			  "response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "text"},
	[PART_THOUGHT] = {"response.content_part.added", "response.reasoning_text.delta",
			  "response.reasoning_text.done", "response.content_part.done", "text"},
};

static void open_part(struct encode *e, enum part_kind kind, uint32_t number)
{
	struct state *s = e->s;

	assert(s->part == PART_NONE && s->open);
	s->part = kind;
	s->wire_part = number;
	s->n_annotations = 0;
	*(kind == PART_THOUGHT ? &s->n_thoughts : &s->n_parts) += 1;
	rl_buf_reset(&s->text);
	rl_buf_reset(&s->annotations);
	rl_buf_reset(&s->logprobs);
	open_part_event(e, part_words[kind].added);
	rl_build_key(e->out, "part");
	write_part(e, e->out);
	close_event(e);
}

static void close_part(struct encode *e)
{
	struct state *s = e->s;

	if (!s->part)
		return;
	open_part_event(e, part_words[s->part].text_done);
	rl_build_text(e->out, part_words[s->part].text_key, rl_buf_str(&s->text));
	if (s->part == PART_TEXT) {
		RL_BUF_LIT(e->out, ",\"logprobs\":[");
		rl_buf_add(e->out, rl_buf_str(&s->logprobs));
		RL_BUF_LIT(e->out, "]");
	}
	close_event(e);
	open_part_event(e, part_words[s->part].done);
	rl_build_key(e->out, "part");
	write_part(e, e->out);
	close_event(e);
	write_part(e, s->part == PART_THOUGHT ? &s->thoughts : &s->parts);
	s->part = PART_NONE;
}

static void add_piece(struct encode *e, rl_str text, rl_str logprobs)
{
	struct state *s = e->s;

	open_part_event(e, part_words[s->part].delta);
	rl_build_text(e->out, "delta", text);
	if (s->part == PART_TEXT)
		rl_build_raw(e->out, "logprobs", logprobs.n ? logprobs : RL_STR("[]"));
	close_event(e);
	rl_buf_add(&s->text, text);
	if (logprobs.n <= 2)
		return;
	if (s->logprobs.n)
		rl_buf_byte(&s->logprobs, ',');
	rl_buf_add(&s->logprobs, rl_str_sub(logprobs, 1, logprobs.n - 2));
}

/* --- messages and thoughts --- */

/* The open item, as it is so far or as it has ended. */
static void write_open_item(struct encode *e, bool done, struct rl_buf *out)
{
	struct state *s = e->s;
	char room[64];

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "id", open_id(e, room));
	if (s->open == OPEN_REASONING) {
		rl_build_text(out, "type", RL_STR("reasoning"));
		RL_BUF_LIT(out, ",\"summary\":[");
		rl_buf_add(out, rl_buf_str(&s->parts));
		RL_BUF_LIT(out, "]");
		if (s->thoughts.n) {
			RL_BUF_LIT(out, ",\"content\":[");
			rl_buf_add(out, rl_buf_str(&s->thoughts));
			RL_BUF_LIT(out, "]");
		}
		if (done && s->seal.n)
			rl_build_text(out, "encrypted_content", rl_buf_str(&s->seal));
	} else {
		rl_build_text(out, "type", RL_STR("message"));
		rl_build_text(out, "status", done ? RL_STR("completed") : RL_STR("in_progress"));
		RL_BUF_LIT(out, ",\"content\":[");
		rl_buf_add(out, rl_buf_str(&s->parts));
		RL_BUF_LIT(out, "]");
		rl_build_text(out, "role", RL_STR("assistant"));
		if (s->phase.n)
			rl_build_raw(out, "phase", rl_buf_str(&s->phase));
	}
	RL_BUF_LIT(out, "}");
}

static void open_item_event(struct encode *e, const char *type, uint32_t index)
{
	open_event(e, type);
	rl_build_int(e->out, "output_index", index);
	rl_build_key(e->out, "item");
}

static void close_item(struct encode *e)
{
	struct state *s = e->s;

	if (!s->open)
		return;
	close_part(e);
	open_item_event(e, "response.output_item.done", s->index);
	write_open_item(e, true, e->out);
	close_event(e);
	write_open_item(e, true, &s->output);
	if (s->open == OPEN_MESSAGE)
		rl_buf_reset(&s->phase);
	s->open = OPEN_NONE;
}

static void close_calls(struct encode *e, bool all);

static void open_item(struct encode *e, enum open_kind kind)
{
	struct state *s = e->s;

	if (s->open == kind)
		return;
	close_item(e);
	close_calls(e, true);
	s->open = kind;
	s->index = s->n_items++;
	s->n_parts = s->n_thoughts = 0;
	rl_buf_reset(&s->parts);
	rl_buf_reset(&s->thoughts);
	rl_buf_reset(&s->seal);
	if (kind == OPEN_MESSAGE) {
		rl_buf_reset(&s->id);
		open_item_event(e, "response.output_item.added", s->index);
		write_open_item(e, false, e->out);
		close_event(e);
	}
}

/* A thought is announced when its id is known. */
static void open_thought(struct encode *e, rl_str id)
{
	struct state *s = e->s;

	if (s->open == OPEN_REASONING)
		return;
	open_item(e, OPEN_REASONING);
	rl_buf_reset(&s->id);
	rl_buf_add(&s->id, id);
	open_item_event(e, "response.output_item.added", s->index);
	write_open_item(e, false, e->out);
	close_event(e);
}

static void encode_text(struct encode *e, const struct rl_event *event)
{
	struct state *s = e->s;
	enum part_kind kind = event->kind == RL_EVENT_REFUSAL ? PART_REFUSAL : PART_TEXT;
	rl_str logprobs = rl_responses_logprobs(event->logprobs, event->dialect);

	if (event->logprobs.n && !logprobs.n)
		rl_encoder_lose(e->codec, "answer.logprobs");
	if (!event->text.n && !logprobs.n)
		return;
	open_item(e, OPEN_MESSAGE);
	if (s->part != kind || s->wire_part != event->part) {
		close_part(e);
		open_part(e, kind, event->part);
	}
	add_piece(e, event->text, logprobs);
}

static void encode_citation(struct encode *e, const struct rl_event *event)
{
	struct state *s = e->s;

	if (!event->citation || s->part != PART_TEXT || (!e->ours && !event->citation->url.n)) {
		rl_encoder_lose(e->codec, "answer.citations");
		return;
	}
	open_part_event(e, "response.output_text.annotation.added");
	rl_build_int(e->out, "annotation_index", s->n_annotations++);
	rl_build_key(e->out, "annotation");
	rl_responses_write_annotation(event->citation, e->ours, e->out);
	close_event(e);
	rl_responses_write_annotation(event->citation, e->ours, &s->annotations);
}

/* The next piece of a seal; the first one of another family's has its mark in front. */
static void add_seal(struct encode *e, rl_str seal, rl_str family)
{
	struct state *s = e->s;
	struct rl_arena arena;

	if (s->seal.n) {
		rl_buf_add(&s->seal, seal);
		return;
	}
	rl_arena_init(&arena, KEPT_MAX_BYTES);
	rl_str wrapped = rl_seal_wrap(seal, family, RL_STR(RL_RESPONSES_FAMILY), &arena);

	if (wrapped.p || !seal.n)
		rl_buf_add(&s->seal, wrapped);
	else
		s->seal.failed = true;
	rl_arena_fini(&arena);
}

static void encode_redacted(struct encode *e, const struct rl_event *event)
{
	close_item(e);
	open_thought(e, event->id);
	if (!rl_str_eq(event->family, RL_STR(RL_RESPONSES_FAMILY)))
		add_seal(e, RL_STR(RL_RESPONSES_REDACTED), event->family);
	add_seal(e, event->redacted, event->family);
	close_item(e);
}

/* Whether a piece belongs to the open thought: to the same block, which the provider names or numbers. */
static bool same_thought(const struct state *s, const struct rl_event *event)
{
	if (s->open != OPEN_REASONING)
		return false;
	if (event->id.n && s->id.n)
		return rl_str_eq(event->id, rl_buf_str(&s->id));
	return s->wire_part == event->part;
}

static void encode_reasoning(struct encode *e, const struct rl_event *event)
{
	struct state *s = e->s;
	/* To a client a thought of another dialect is what it can show: a summary. */
	enum part_kind kind = e->ours && !event->summary ? PART_THOUGHT : PART_SUMMARY;

	if (event->redacted.n) {
		encode_redacted(e, event);
		return;
	}
	if (!event->text.n && !event->signature.n)
		return;
	if (!same_thought(s, event))
		close_item(e);
	open_thought(e, event->id);
	s->wire_part = s->part ? s->wire_part : event->part;
	if (event->text.n) {
		if (s->part != kind || s->wire_part != event->part) {
			close_part(e);
			open_part(e, kind, event->part);
		}
		add_piece(e, event->text, rl_str_make(NULL, 0));
	}
	if (event->signature.n)
		add_seal(e, event->signature, event->family);
}

/* --- calls --- */

static rl_str call_prefix(const struct call *call)
{
	return call->custom ? RL_STR("ctc") : RL_STR("fc");
}

static void write_call(struct encode *e, const struct call *call, bool done, struct rl_buf *out)
{
	rl_str names = rl_buf_str(&call->names);
	rl_str arguments = rl_buf_str(&call->arguments);
	char room[64];

	if (!arguments.n && !call->custom && done)
		arguments = RL_STR("{}");
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "id", item_id(e, room, call_prefix(call).p, call->index));
	rl_build_text(out, "type", call->custom ? RL_STR("custom_tool_call") : RL_STR("function_call"));
	rl_build_text(out, "status", done ? RL_STR("completed") : RL_STR("in_progress"));
	rl_build_text(out, call->custom ? "input" : "arguments", done ? arguments : RL_STR(""));
	if (call->id_n)
		rl_build_text(out, "call_id", rl_str_sub(names, 0, call->id_n));
	else
		rl_build_text(out, "call_id", item_id(e, room, "call", call->index));
	rl_build_text(out, "name", rl_str_sub(names, call->id_n, SIZE_MAX));
	RL_BUF_LIT(out, "}");
}

static void open_call_event(struct encode *e, const struct call *call, const char *type)
{
	char room[64];

	open_event(e, type);
	rl_build_text(e->out, "item_id", item_id(e, room, call_prefix(call).p, call->index));
	rl_build_int(e->out, "output_index", call->index);
}

static void close_call(struct encode *e, struct call *call)
{
	rl_str arguments = rl_buf_str(&call->arguments), names = rl_buf_str(&call->names);

	if (call->custom) {
		open_call_event(e, call, "response.custom_tool_call_input.done");
		rl_build_text(e->out, "input", arguments);
	} else {
		open_call_event(e, call, "response.function_call_arguments.done");
		rl_build_text(e->out, "name", rl_str_sub(names, call->id_n, SIZE_MAX));
		rl_build_text(e->out, "arguments", arguments.n ? arguments : RL_STR("{}"));
	}
	close_event(e);
	open_item_event(e, "response.output_item.done", call->index);
	write_call(e, call, true, e->out);
	close_event(e);
	write_call(e, call, true, &e->s->output);
	drop_call(call);
}

/* Nothing more can come for it: its arguments are one whole object. Free text has no such end. */
static bool is_whole(const struct call *call)
{
	rl_str arguments = rl_buf_str(&call->arguments);

	return call->custom || (arguments.n && arguments.p[arguments.n - 1] == '}' &&
				rl_json_scan(arguments, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK);
}

/* The first calls that are whole, or all of them. */
static void close_calls(struct encode *e, bool all)
{
	struct state *s = e->s;
	size_t n = 0;

	while (n < s->n_calls && (all || is_whole(&s->calls[n])))
		close_call(e, &s->calls[n++]);
	s->n_calls -= n;
	memmove(s->calls, s->calls + n, s->n_calls * sizeof s->calls[0]);
}

static void start_call(struct encode *e, const struct rl_event *event)
{
	struct state *s = e->s;

	close_item(e);
	close_calls(e, s->n_calls == OPEN_CALLS_MAX);
	if (s->n_calls == OPEN_CALLS_MAX)
		close_calls(e, true);
	struct call *call = &s->calls[s->n_calls++];

	*call = (struct call){.tool = event->tool,
			      .index = s->n_items++,
			      .custom = event->tool_kind == RL_TOOL_KIND_CUSTOM,
			      .id_n = event->id.n};
	rl_buf_init(&call->names, KEPT_MAX_BYTES);
	rl_buf_init(&call->arguments, KEPT_MAX_BYTES);
	rl_buf_add(&call->names, event->id);
	rl_buf_add(&call->names, event->name);
	open_item_event(e, "response.output_item.added", call->index);
	write_call(e, call, false, e->out);
	close_event(e);
}

static void add_arguments(struct encode *e, const struct rl_event *event)
{
	struct state *s = e->s;
	size_t i = 0;

	if (!event->text.n)
		return;
	while (i < s->n_calls && s->calls[i].tool != event->tool)
		i++;
	if (i == s->n_calls) { /* behind the end of its call */
		rl_encoder_lose(e->codec, "answer.tool_calls");
		return;
	}
	open_call_event(e, &s->calls[i],
			s->calls[i].custom ? "response.custom_tool_call_input.delta"
					   : "response.function_call_arguments.delta");
	rl_build_text(e->out, "delta", event->text);
	close_event(e);
	rl_buf_add(&s->calls[i].arguments, event->text);
}

/* --- the rest --- */

static void close_all(struct encode *e)
{
	close_item(e);
	close_calls(e, true);
}

/* An item that this API alone has, whole. */
static void write_own_item(struct encode *e, rl_str item)
{
	struct state *s = e->s;
	uint32_t index;

	close_all(e);
	index = s->n_items++;
	open_item_event(e, "response.output_item.added", index);
	rl_buf_add(e->out, item);
	close_event(e);
	open_item_event(e, "response.output_item.done", index);
	rl_buf_add(e->out, item);
	close_event(e);
	rl_build_comma(&s->output);
	rl_buf_add(&s->output, item);
}

static void encode_extra(struct encode *e, const struct rl_event *event)
{
	if (!e->ours) {
		rl_encoder_lose(e->codec, "answer.extras");
		return;
	}
	if (event->extra_scope == RL_EXTRA_ANSWER) {
		keep_echo(e, event->extras);
		return;
	}
	for (size_t i = 0; i < event->extras.n; i++) {
		if (rl_json_string_is(event->extras.v[i].key, RL_STR("output_item"))) {
			write_own_item(e, event->extras.v[i].json);
		} else if (rl_json_string_is(event->extras.v[i].key, RL_STR("phase"))) {
			close_item(e); /* another message begins */
			rl_buf_reset(&e->s->phase);
			rl_buf_add(&e->s->phase, event->extras.v[i].json);
		}
	}
}

static void keep_usage(struct encode *e, const struct rl_event *event)
{
	struct rl_buf *usage = &e->codec->usage;

	if (!event->usage.known)
		return;
	rl_buf_reset(usage);
	if (event->usage_json.n && e->ours)
		rl_buf_add(usage, event->usage_json);
	/* Also when a vendor's object is too large to be kept. */
	if (!usage->n) {
		rl_buf_reset(usage);
		rl_responses_write_usage(&event->usage, usage);
	}
}

static void encode_error(struct encode *e, const struct rl_fault *fault)
{
	rl_str code = rl_responses_error_code(fault);

	open_event(e, "error");
	rl_build_text(e->out, "code", code);
	rl_build_text(e->out, "message", fault->message);
	rl_build_text_or_null(e->out, "param", fault->param);
	RL_BUF_LIT(e->out, ",\"error\":{");
	rl_build_text(e->out, "type", fault->type.n ? fault->type : code);
	rl_build_text(e->out, "code", code);
	rl_build_text(e->out, "message", fault->message);
	rl_build_text_or_null(e->out, "param", fault->param);
	RL_BUF_LIT(e->out, "}");
	close_event(e);
	if (e->s->started) {
		open_event(e, "response.failed");
		write_shell(e, "failed", rl_str_make(NULL, 0), fault);
		close_event(e);
	}
	e->codec->ended = true;
}

static void encode_done(struct encode *e)
{
	struct rl_fault failed = {.message = RL_STR("The model failed to answer.")};
	struct state *s = e->s;
	const char *status, *type;
	rl_str reason;

	close_all(e);
	status = rl_responses_status(s->finish, &reason);
	if (s->word_n) {
		status = "incomplete";
		reason = rl_str_make(s->word, s->word_n);
	}
	type = strcmp(status, "incomplete") == 0 ? "response.incomplete"
	       : strcmp(status, "failed") == 0   ? "response.failed"
						 : "response.completed";
	open_event(e, type);
	write_shell(e, status, reason, s->finish == RL_FINISH_ERROR ? &failed : NULL);
	close_event(e);
	e->codec->ended = true;
}

static void keep_finish(struct encode *e, const struct rl_event *event)
{
	struct state *s = e->s;

	close_all(e);
	s->finish = event->finish;
	s->word_n = 0;
	if (event->finish != RL_FINISH_OTHER || !e->ours || event->finish_word.n > sizeof s->word)
		return;
	s->word_n = event->finish_word.n;
	if (s->word_n)
		memcpy(s->word, event->finish_word.p, s->word_n);
}

static void encode(struct encode *e, const struct rl_event *event)
{
	switch (event->kind) {
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
		encode_text(e, event);
		break;
	case RL_EVENT_REASONING:
		encode_reasoning(e, event);
		break;
	case RL_EVENT_CITATION:
		encode_citation(e, event);
		break;
	case RL_EVENT_TOOL_CALL_START:
		start_call(e, event);
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		add_arguments(e, event);
		break;
	case RL_EVENT_EXTRA:
		encode_extra(e, event);
		break;
	case RL_EVENT_FINISH:
		keep_finish(e, event);
		break;
	case RL_EVENT_USAGE:
		keep_usage(e, event);
		break;
	case RL_EVENT_DONE:
		encode_done(e);
		break;
	default:
		assert(event->kind == RL_EVENT_START); /* which is out already */
	}
}

void rl_responses_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	static const struct rl_fault too_long = {
		.cls = RL_FAULT_INTERNAL,
		.status = 502,
		.message = RL_STR_INIT("The answer is longer than the gateway can repeat at its end."),
		.retry_after_s = -1,
	};
	struct encode e = {codec, codec->own, out, rl_responses_ours(event->dialect)};

	assert(e.s);
	if (codec->ended)
		return;
	prepare(e.s);
	if (event->kind == RL_EVENT_ERROR) {
		encode_error(&e, event->fault);
		return;
	}
	start(&e, event->kind == RL_EVENT_START ? event : NULL);
	if (event->choice) { /* there is one answer in this API */
		rl_encoder_lose(codec, "answer.choices");
		return;
	}
	encode(&e, event);
	if (!codec->ended && !fits(e.s))
		encode_error(&e, &too_long);
}
