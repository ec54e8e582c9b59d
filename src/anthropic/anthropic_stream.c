/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic streams to events and back. Blocks come one after the other, each between
 * its start and its stop; usage is told in pieces, at both ends. Coming in, anything
 * may be missing or repeated but the message itself: a second one in the middle of the
 * first cannot be told from the first any more, and is no valid stream (DIALECTS 2.11,
 * trap 16). Going out, calls that a provider sends at the same time are put in order
 * (trap 5): the later ones wait until the open one is whole.
 */
#include "dialect/table.h"
#include "anthropic/anthropic_priv.h"

#include <assert.h>

/* What may wait for the end of a call. */
#define HELD_MAX_BYTES ((size_t)1 << 20)
#define PIECE_MAX_BYTES ((size_t)64 << 10)

/* --- streams in --- */

struct decode {
	struct rl_reader reader;
	struct rl_decoder *codec;
	struct rl_anthropic_decoder *own;
	rl_event_f emit;
	void *user;
};

/* The members of any event; raw where not text. */
struct top {
	rl_str type, message, block, delta, usage;
	uint32_t index;
};

/* Those of message_start's message. */
struct head {
	rl_str id, model;      /* text */
	rl_str usage, content; /* raw */
	struct rl_extras extras;
};

/* Those of message_delta's delta. */
struct ending {
	rl_str reason, sequence;
	struct rl_extras extras;
};

static void nothing(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	rl_read_nothing(p, at, value, field);
}

static void send(struct decode *d, struct rl_event *event)
{
	event->dialect = RL_STR(RL_ANTHROPIC_NAME);
	if (!d->reader.err)
		d->reader.err = d->emit(d->user, event);
}

static void start(struct decode *d, const struct head *head)
{
	struct rl_event event = {.kind = RL_EVENT_START, .id = head->id, .name = head->model, .extras = head->extras};

	d->codec->started = true;
	send(d, &event);
}

/* Some servers forget to begin. */
static void ensure_started(struct decode *d)
{
	static const struct head none = {.id = {NULL, 0}};

	if (!d->codec->started)
		start(d, &none);
}

static void send_usage(struct decode *d, rl_str usage)
{
	struct rl_event event = {.kind = RL_EVENT_USAGE, .usage_json = usage};

	if (rl_json_type_of(usage) != RL_JSON_OBJECT || !rl_anthropic_count(usage, &d->own->counts))
		return;
	event.usage = rl_anthropic_usage(&d->own->counts);
	send(d, &event);
}

/* Something that only this dialect has, under the name that the encoder knows. */
static void send_extra(struct decode *d, enum rl_extra_scope scope, uint32_t part, struct rl_extras extras)
{
	struct rl_event event = {.kind = RL_EVENT_EXTRA, .part = part, .extra_scope = scope, .extras = extras};

	if (extras.n)
		send(d, &event);
}

static void send_raw(struct decode *d, uint32_t part, const char *key, rl_str json)
{
	struct rl_extra extra = {rl_str_of(key), json};

	send_extra(d, RL_EXTRA_DELTA, part, (struct rl_extras){&extra, 1});
}

#define RAW_START "\"content_block\""
#define RAW_DELTA "\"content_block_delta\""

/* --- blocks --- */

static struct rl_codec_tool *find_tool(struct rl_decoder *codec, uint32_t block)
{
	for (size_t i = codec->n_tools; i-- > 0;)
		if (codec->tools[i].wire == block)
			return &codec->tools[i];
	return NULL;
}

static void send_arguments(struct decode *d, struct rl_codec_tool *tool, rl_str text)
{
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
				 .part = tool->wire,
				 .tool = tool->tool,
				 .tool_kind = RL_TOOL_KIND_FUNCTION,
				 .text = text};

	if (!text.n)
		return;
	tool->id_hash = 1; /* some have come */
	send(d, &event);
}

static void start_call(struct decode *d, uint32_t block, const struct rl_tool_call *call)
{
	struct rl_decoder *codec = d->codec;

	if (codec->n_tools == RL_CODEC_TOOLS_MAX) {
		d->reader.err = RL_ERR_LIMIT;
		return;
	}
	struct rl_codec_tool *tool = &codec->tools[codec->n_tools];

	*tool = (struct rl_codec_tool){.wire = block, .tool = (uint32_t)codec->n_tools++};
	rl_codec_mark(codec->tool_called, 0);
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_START,
				 .part = block,
				 .tool = tool->tool,
				 .tool_kind = RL_TOOL_KIND_FUNCTION,
				 .id = call->id,
				 .name = call->name};

	send(d, &event);
	/* Nearly always {} here, and the arguments follow; a server that does not stream sends them at once. */
	struct rl_json_iter iter;
	rl_str key, value;

	rl_json_iter_object(&iter, call->arguments);
	if (rl_json_iter_member(&iter, &key, &value))
		send_arguments(d, tool, call->arguments);
}

static void send_thought(struct decode *d, uint32_t block, const struct rl_reasoning *r)
{
	struct rl_event event = {.kind = RL_EVENT_REASONING,
				 .part = block,
				 .text = r->text,
				 .signature = r->signature,
				 .redacted = r->redacted,
				 .family = r->family};

	if (r->text.n || r->signature.n || r->redacted.n)
		send(d, &event);
}

static void start_block(struct decode *d, uint32_t index, rl_str block)
{
	struct rl_part part = {.kind = RL_PART_NONE};
	struct rl_event text = {.kind = RL_EVENT_TEXT, .part = index};

	rl_anthropic_read_block(&d->reader, NULL, block, &part);
	if (d->reader.err)
		return;
	d->own->any_block = true;
	switch (part.kind) {
	case RL_PART_TEXT:
		text.text = part.text;
		if (text.text.n)
			send(d, &text);
		break;
	case RL_PART_REASONING:
		send_thought(d, index, &part.reasoning);
		break;
	case RL_PART_TOOL_CALL:
		start_call(d, index, &part.call);
		break;
	default:
		send_raw(d, index, RAW_START, block);
	}
}

static void stop_block(struct decode *d, uint32_t index)
{
	struct rl_codec_tool *tool = find_tool(d->codec, index);

	/* A call without arguments is a call with none. */
	if (tool && !tool->id_hash)
		send_arguments(d, tool, RL_STR("{}"));
}

struct delta {
	rl_str text, json, thinking, signature; /* text */
	rl_str citation;                        /* raw */
};

static void send_citation(struct decode *d, uint32_t block, rl_str json)
{
	struct rl_citation citation;
	struct rl_event event = {.kind = RL_EVENT_CITATION, .part = block, .citation = &citation};

	rl_anthropic_read_citation(&d->reader, json, &citation);
	send(d, &event);
}

static void take_delta(struct decode *d, uint32_t block, rl_str raw)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		RL_FIELD(struct delta, text, "text", rl_read_text),
		RL_FIELD(struct delta, json, "partial_json", rl_read_text),
		RL_FIELD(struct delta, thinking, "thinking", rl_read_text),
		RL_FIELD(struct delta, signature, "signature", rl_read_text),
		RL_FIELD(struct delta, citation, "citation", rl_read_raw),
	};
	struct rl_codec_tool *tool = find_tool(d->codec, block);
	struct delta delta = {.text = {NULL, 0}};

	rl_table_read(&d->reader, NULL, raw, fields, RL_N_FIELDS(fields), &delta, NULL);
	if (d->reader.err)
		return;
	d->own->any_block = true;
	if (delta.text.n) {
		struct rl_event event = {.kind = RL_EVENT_TEXT, .part = block, .text = delta.text};

		send(d, &event);
	} else if (delta.thinking.n || delta.signature.n) {
		struct rl_reasoning r = {.text = delta.thinking, .signature = delta.signature};

		if (r.signature.n)
			r.family = rl_seal_open(&r.signature, RL_STR(RL_ANTHROPIC_FAMILY));
		send_thought(d, block, &r);
	} else if (delta.citation.p) {
		send_citation(d, block, delta.citation);
	} else if (delta.json.p && tool) {
		send_arguments(d, tool, delta.json);
	} else if (!delta.text.p && !delta.thinking.p && !delta.signature.p) {
		send_raw(d, block, RAW_DELTA, raw); /* of a server tool's call, or of a kind that is not known yet */
	}
}

/* --- events --- */

static void take_message(struct decode *d, rl_str message)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct head, id, "id", rl_read_text),
		RL_FIELD(struct head, model, "model", rl_read_text),
		RL_FIELD(struct head, usage, "usage", rl_read_raw),
		RL_FIELD(struct head, content, "content", rl_read_raw),
		RL_WHOLE("type", nothing),
		RL_WHOLE("role", nothing),
		RL_WHOLE("stop_reason", nothing),
		RL_WHOLE("stop_sequence", nothing),
	};
	struct head head = {.id = {NULL, 0}};
	struct rl_json_iter iter;
	rl_str block;
	uint32_t index = 0;

	if (d->codec->started) {
		/* Sent twice by flaky servers; harmless only as long as nothing has come of the first. */
		if (d->own->any_block)
			d->reader.err = RL_ERR_SYNTAX;
		return;
	}
	rl_table_read(&d->reader, NULL, message, fields, RL_N_FIELDS(fields), &head, &head.extras);
	if (d->reader.err)
		return;
	size_t n = 0;
	struct rl_extra *said = rl_table_make(&d->reader, head.extras.n, sizeof *said);

	for (size_t i = 0; said && i < head.extras.n; i++)
		if (rl_json_type_of(head.extras.v[i].json) != RL_JSON_NULL)
			said[n++] = head.extras.v[i];
	head.extras = (struct rl_extras){said, n};
	start(d, &head);
	send_usage(d, head.usage);
	rl_json_iter_array(&iter, head.content);
	while (!d->reader.err && rl_json_iter_next(&iter, &block)) {
		start_block(d, index, block);
		stop_block(d, index++);
	}
}

static void take_ending(struct decode *d, const struct top *top)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct ending, reason, "stop_reason", rl_read_text),
		RL_FIELD(struct ending, sequence, "stop_sequence", rl_read_text),
	};
	struct ending ending = {.reason = {NULL, 0}};
	struct rl_event event = {.kind = RL_EVENT_FINISH};

	rl_table_read(&d->reader, NULL, top->delta.p ? top->delta : RL_STR("{}"), fields, RL_N_FIELDS(fields), &ending,
		      &ending.extras);
	if (d->reader.err)
		return;
	for (size_t i = 0; i < ending.extras.n; i++)
		if (rl_json_type_of(ending.extras.v[i].json) != RL_JSON_NULL)
			send_extra(d, RL_EXTRA_CHOICE, 0, (struct rl_extras){&ending.extras.v[i], 1});
	if (ending.reason.n) {
		event.finish = rl_anthropic_finish(ending.reason, rl_codec_marked(d->codec->tool_called, 0),
						   &event.finish_word);
		event.stop_sequence = ending.sequence;
		send(d, &event);
	}
	send_usage(d, top->usage);
}

static void take_error(struct decode *d, rl_str data)
{
	struct rl_fault fault;
	struct rl_event event = {.kind = RL_EVENT_ERROR, .fault = &fault};

	rl_anthropic_read_error(data, d->reader.arena, &fault);
	d->codec->done = true;
	send(d, &event);
}

enum event_type {
	EVENT_OTHER,
	MESSAGE_START,
	BLOCK_START,
	BLOCK_DELTA,
	BLOCK_STOP,
	MESSAGE_DELTA,
	MESSAGE_STOP,
	EVENT_ERROR,
};

static enum event_type type_of(const struct top *top, rl_str event_name)
{
	static const rl_str names[] = {
		RL_STR_INIT("message_start"),
		RL_STR_INIT("content_block_start"),
		RL_STR_INIT("content_block_delta"),
		RL_STR_INIT("content_block_stop"),
		RL_STR_INIT("message_delta"),
		RL_STR_INIT("message_stop"),
		RL_STR_INIT("error"),
	};
	rl_str name = top->type.n ? top->type : event_name;

	for (size_t i = 0; i < RL_N_FIELDS(names); i++)
		if (rl_str_eq(name, names[i]))
			return (enum event_type)(i + 1);
	return EVENT_OTHER; /* a ping, or something newer than this */
}

static void take_event(struct decode *d, enum event_type type, const struct top *top, rl_str data)
{
	struct rl_event done = {.kind = RL_EVENT_DONE};

	if (type != EVENT_OTHER && type != MESSAGE_START && type != EVENT_ERROR)
		ensure_started(d);
	switch (type) {
	case MESSAGE_START:
		take_message(d, top->message);
		break;
	case BLOCK_START:
		start_block(d, top->index, top->block);
		break;
	case BLOCK_DELTA:
		take_delta(d, top->index, top->delta);
		break;
	case BLOCK_STOP:
		stop_block(d, top->index);
		break;
	case MESSAGE_DELTA:
		take_ending(d, top);
		break;
	case MESSAGE_STOP:
		d->codec->done = true;
		send(d, &done);
		break;
	case EVENT_ERROR:
		take_error(d, data);
		break;
	case EVENT_OTHER:
		break;
	}
}

enum rl_err rl_anthropic_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				      struct rl_arena *arena, rl_event_f emit, void *user)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct top, type, "type", rl_read_text),
		RL_FIELD(struct top, index, "index", rl_read_u32),
		RL_FIELD(struct top, delta, "delta", rl_read_raw),
		RL_FIELD(struct top, block, "content_block", rl_read_raw),
		RL_FIELD(struct top, message, "message", rl_read_raw),
		RL_FIELD(struct top, usage, "usage", rl_read_raw),
	};
	struct decode d = {.reader = {.arena = arena}, .codec = codec, .own = codec->own, .emit = emit, .user = user};
	struct top top = {.index = 0};

	(void)op;
	assert(d.own);
	if (codec->done || rl_str_eq(data, RL_STR("[DONE]"))) /* another dialect's end, which some servers add */
		return RL_OK;
	if (rl_json_scan(data, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	if (rl_json_type_of(data) != RL_JSON_OBJECT)
		return RL_OK;
	rl_table_read(&d.reader, NULL, data, fields, RL_N_FIELDS(fields), &top, NULL);
	if (!d.reader.err)
		take_event(&d, type_of(&top, event_name), &top, data);
	return d.reader.err;
}

/* --- streams out --- */

static bool ours(const struct rl_event *event)
{
	return rl_str_eq(event->dialect, RL_STR(RL_ANTHROPIC_NAME));
}

#define FRAME(out, type) RL_BUF_LIT(out, "event: " type "\ndata: {\"type\":\"" type "\"")

static void end_frame(struct rl_buf *out)
{
	RL_BUF_LIT(out, "}\n\n");
}

void rl_anthropic_write_stream_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "event: error\ndata: ");
	rl_anthropic_write_error(fault, out);
	RL_BUF_LIT(out, "\n\n");
}

/* The stream cannot go on: it says so and ends. */
static void break_off(struct rl_encoder *codec, const char *why, struct rl_buf *out)
{
	struct rl_fault fault = {.cls = RL_FAULT_INVALID_RESPONSE,
				 .status = 502,
				 .message = rl_str_of(why),
				 .retry_after_s = -1};

	rl_anthropic_write_stream_error(&fault, out);
	codec->ended = true;
}

/* The message as far as it is known, without its usage and its end. */
static void write_head(const struct rl_event *start, struct rl_buf *out)
{
	rl_build_text(out, "id", start->id.n ? start->id : RL_STR("msg_relais"));
	RL_BUF_LIT(out, ",\"type\":\"message\",\"role\":\"assistant\"");
	rl_build_text(out, "model", start->name);
	RL_BUF_LIT(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null");
	if (ours(start))
		rl_build_extras(out, start->extras);
}

static void write_usage(const struct rl_event *event, struct rl_buf *out)
{
	if (event->usage_json.n && ours(event))
		rl_buf_add(out, event->usage_json);
	else
		rl_anthropic_write_usage(&event->usage, out);
}

/* message_start, with what is known of the usage. */
static void begin(struct rl_encoder *codec, const struct rl_event *usage, struct rl_buf *out)
{
	static const struct rl_event nameless = {.kind = RL_EVENT_START}, unknown = {.kind = RL_EVENT_USAGE};
	struct rl_anthropic_encoder *own = codec->own;

	if (own->started)
		return;
	own->started = true;
	FRAME(out, "message_start");
	RL_BUF_LIT(out, ",\"message\":{");
	if (codec->head.n)
		rl_buf_add(out, rl_buf_str(&codec->head));
	else
		write_head(&nameless, out);
	rl_build_key(out, "usage");
	write_usage(usage ? usage : &unknown, out);
	RL_BUF_LIT(out, "}");
	end_frame(out);
}

static void on_start(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (own->started || codec->head.n)
		return;
	write_head(event, &codec->head);
	if (!rl_buf_ok(&codec->head))
		rl_buf_reset(&codec->head);
	/* Its own decoder gives the first usage next; of other dialects it comes last, and nobody waits for it. */
	if (!ours(event))
		begin(codec, NULL, out);
}

static void on_usage(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (!event->usage.known)
		return;
	if (!own->started && codec->head.n)
		begin(codec, event, out);
	rl_buf_reset(&codec->usage);
	write_usage(event, &codec->usage);
	if (rl_buf_ok(&codec->usage))
		return;
	rl_buf_reset(&codec->usage);
	rl_anthropic_write_usage(&event->usage, &codec->usage);
}

/* --- blocks --- */

static void close_block(struct rl_encoder *codec, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (own->open == RL_PART_NONE)
		return;
	if (own->open == RL_PART_TOOL_CALL)
		rl_codec_mark(own->closed, own->tool);
	FRAME(out, "content_block_stop");
	rl_build_int(out, "index", own->blocks - 1);
	end_frame(out);
	own->open = RL_PART_NONE;
}

/* The start of a block up to its braces, which the caller fills; then end_start. */
static void begin_block(struct rl_encoder *codec, enum rl_part_kind kind, uint32_t part, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	begin(codec, NULL, out);
	close_block(codec, out);
	own->open = kind;
	own->part = part;
	own->sealed = false;
	FRAME(out, "content_block_start");
	rl_build_int(out, "index", own->blocks++);
	RL_BUF_LIT(out, ",\"content_block\":");
}

static void end_start(struct rl_encoder *codec, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	end_frame(out);
	if (own->pinged)
		return;
	own->pinged = true;
	FRAME(out, "ping");
	end_frame(out);
}

static bool is_open(const struct rl_anthropic_encoder *own, enum rl_part_kind kind, uint32_t part)
{
	return own->open == kind && own->part == part;
}

static void begin_delta(const struct rl_anthropic_encoder *own, struct rl_buf *out)
{
	FRAME(out, "content_block_delta");
	rl_build_int(out, "index", own->blocks - 1);
	RL_BUF_LIT(out, ",\"delta\":");
}

static void write_text(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (event->logprobs.n && rl_json_type_of(event->logprobs) != RL_JSON_NULL && !ours(event))
		rl_encoder_lose(codec, "answer.logprobs");
	if (!event->text.n)
		return;
	own->refused |= event->kind == RL_EVENT_REFUSAL;
	if (!is_open(own, RL_PART_TEXT, event->part)) {
		begin_block(codec, RL_PART_TEXT, event->part, out);
		RL_BUF_LIT(out, "{\"type\":\"text\",\"text\":\"\"}");
		end_start(codec, out);
	}
	begin_delta(own, out);
	RL_BUF_LIT(out, "{\"type\":\"text_delta\"");
	rl_build_text(out, "text", event->text);
	RL_BUF_LIT(out, "}");
	end_frame(out);
}

static void write_citation(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (!ours(event)) {
		rl_encoder_lose(codec, "answer.citations");
		return;
	}
	if (!is_open(own, RL_PART_TEXT, event->part)) {
		begin_block(codec, RL_PART_TEXT, event->part, out);
		RL_BUF_LIT(out, "{\"type\":\"text\",\"text\":\"\",\"citations\":[]}");
		end_start(codec, out);
	}
	begin_delta(own, out);
	RL_BUF_LIT(out, "{\"type\":\"citations_delta\"");
	rl_build_raw(out, "citation", event->citation->json);
	RL_BUF_LIT(out, "}");
	end_frame(out);
}

/* A seal as rl_seal_wrap makes it, without memory: its mark stands before the first piece only. */
static void add_seal(struct rl_buf *out, const char *key, rl_str seal, rl_str family, bool first)
{
	rl_build_key(out, key);
	RL_BUF_LIT(out, "\"");
	if (first && family.n && !rl_str_eq(family, RL_STR(RL_ANTHROPIC_FAMILY))) {
		RL_BUF_LIT(out, "relais.");
		rl_anthropic_add_inside(out, family);
		RL_BUF_LIT(out, ".");
	}
	rl_anthropic_add_inside(out, seal);
	RL_BUF_LIT(out, "\"");
}

static void write_thought(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (event->redacted.n) {
		begin_block(codec, RL_PART_REASONING, event->part, out);
		RL_BUF_LIT(out, "{\"type\":\"redacted_thinking\"");
		add_seal(out, "data", event->redacted, event->family, true);
		RL_BUF_LIT(out, "}");
		end_start(codec, out);
		close_block(codec, out);
		return;
	}
	if (!event->text.n && !event->signature.n)
		return;
	/* A seal ends its thought: text behind it is another one. */
	if (!is_open(own, RL_PART_REASONING, event->part) || (own->sealed && event->text.n)) {
		begin_block(codec, RL_PART_REASONING, event->part, out);
		RL_BUF_LIT(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
		end_start(codec, out);
	}
	if (event->text.n) {
		begin_delta(own, out);
		RL_BUF_LIT(out, "{\"type\":\"thinking_delta\"");
		rl_build_text(out, "thinking", event->text);
		RL_BUF_LIT(out, "}");
		end_frame(out);
	}
	if (event->signature.n) {
		begin_delta(own, out);
		RL_BUF_LIT(out, "{\"type\":\"signature_delta\"");
		add_seal(out, "signature", event->signature, event->family, !own->sealed);
		RL_BUF_LIT(out, "}");
		end_frame(out);
		own->sealed = true;
	}
}

/* --- calls --- */

/* Follows the brackets of the open call's arguments, so that their end is known. */
static void follow(struct rl_anthropic_encoder *own, rl_str piece)
{
	for (size_t i = 0; i < piece.n; i++) {
		char c = piece.p[i];

		if (own->in_string) {
			if (own->escaped)
				own->escaped = false;
			else if (c == '\\')
				own->escaped = true;
			else if (c == '"')
				own->in_string = false;
			continue;
		}
		if (c == '"')
			own->in_string = true;
		else if (c == '{' || c == '[')
			own->begun = true, own->depth++;
		else if ((c == '}' || c == ']') && own->depth)
			own->depth--;
	}
}

static bool is_whole(const struct rl_anthropic_encoder *own)
{
	return own->begun && !own->depth && !own->in_string;
}

static void open_call(struct rl_encoder *codec, uint32_t part, uint32_t tool, rl_str id, rl_str name,
		      struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	begin_block(codec, RL_PART_TOOL_CALL, part, out);
	own->tool = tool;
	own->depth = 0;
	own->in_string = own->escaped = own->begun = false;
	RL_BUF_LIT(out, "{\"type\":\"tool_use\"");
	if (id.n) {
		rl_build_text(out, "id", id);
	} else {
		rl_build_key(out, "id");
		rl_buf_printf(out, "\"toolu_relais_0_%u\"", tool);
	}
	rl_build_text(out, "name", name);
	RL_BUF_LIT(out, ",\"input\":{}}");
	end_start(codec, out);
}

static void add_arguments(struct rl_encoder *codec, rl_str piece, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	follow(own, piece);
	begin_delta(own, out);
	RL_BUF_LIT(out, "{\"type\":\"input_json_delta\"");
	rl_build_text(out, "partial_json", piece);
	RL_BUF_LIT(out, "}");
	end_frame(out);
}

/* A piece that waits: its header, then its bytes. */
struct held {
	uint32_t tool, part;
	uint32_t id_n, name_n, text_n; /* of a start: id and name; else text */
	bool start, done;
};

/* Notes a piece of a call that cannot be written yet. False: there is too much of it. */
static bool hold(struct rl_encoder *codec, const struct rl_event *event)
{
	struct rl_anthropic_encoder *own = codec->own;
	bool start = event->kind == RL_EVENT_TOOL_CALL_START;
	struct held held = {.tool = event->tool,
			    .part = event->part,
			    .id_n = start ? (uint32_t)event->id.n : 0,
			    .name_n = start ? (uint32_t)event->name.n : 0,
			    .text_n = start ? 0 : (uint32_t)event->text.n,
			    .start = start};

	if (event->id.n > PIECE_MAX_BYTES || event->name.n > PIECE_MAX_BYTES || event->text.n > HELD_MAX_BYTES)
		return false;
	if (!own->held.max_bytes)
		rl_buf_init(&own->held, HELD_MAX_BYTES);
	rl_buf_add(&own->held, rl_str_make(&held, sizeof held));
	if (start) {
		rl_buf_add(&own->held, event->id);
		rl_buf_add(&own->held, event->name);
	} else {
		rl_buf_add(&own->held, event->text);
	}
	return rl_buf_ok(&own->held);
}

static struct held held_at(const struct rl_buf *buf, size_t at)
{
	struct held held;

	assert(at + sizeof held <= buf->n);
	memcpy(&held, buf->p + at, sizeof held);
	return held;
}

static size_t held_size(const struct held *held)
{
	return sizeof *held + held->id_n + held->name_n + held->text_n;
}

/* Writes what waits of one call, its start first; the pieces are then done. */
static void write_held(struct rl_encoder *codec, uint32_t tool, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;
	struct held held;

	for (size_t at = 0; at < own->held.n; at += held_size(&held)) {
		held = held_at(&own->held, at);
		const char *text = own->held.p + at + sizeof held;

		if (held.done || held.tool != tool)
			continue;
		if (held.start)
			open_call(codec, held.part, tool, rl_str_make(text, held.id_n),
				  rl_str_make(text + held.id_n, held.name_n), out);
		else
			add_arguments(codec, rl_str_make(text, held.text_n), out);
		held.done = true;
		memcpy(own->held.p + at, &held, sizeof held);
	}
}

/* The next call that waits; false: none does. */
static bool next_held(struct rl_anthropic_encoder *own, uint32_t *tool)
{
	struct held held;

	for (size_t at = 0; at < own->held.n; at += held_size(&held)) {
		held = held_at(&own->held, at);
		if (held.done)
			continue;
		*tool = held.tool;
		return true;
	}
	if (own->held.n)
		rl_buf_reset(&own->held);
	return false;
}

/* Goes on with calls that wait as long as the open one is whole; `all`: whether or not it is. */
static void release(struct rl_encoder *codec, bool all, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;
	uint32_t tool;

	while (own->held.n && (all || own->open != RL_PART_TOOL_CALL || is_whole(own)) && next_held(own, &tool))
		write_held(codec, tool, out);
}

static void write_call(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;
	bool start = event->kind == RL_EVENT_TOOL_CALL_START;
	bool open = own->open == RL_PART_TOOL_CALL;

	own->called = true;
	if (event->tool >= RL_CODEC_TOOLS_MAX || (!start && rl_codec_marked(own->closed, event->tool))) {
		break_off(codec, "The provider mixed its tool calls in a way that this API has no form for.", out);
		return;
	}
	if (open && own->tool == event->tool && !start) {
		if (event->text.n)
			add_arguments(codec, event->text, out);
	} else if (start && !own->held.n && (!open || is_whole(own) || ours(event))) {
		open_call(codec, event->part, event->tool, event->id, event->name, out);
	} else if (!hold(codec, event)) {
		break_off(codec, "The provider sent more tool calls at once than can be put in order.", out);
		return;
	}
	release(codec, false, out);
}

/* --- the rest --- */

static void write_extra(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (!ours(event)) {
		rl_encoder_lose(codec, "answer.extensions");
		return;
	}
	for (size_t i = 0; i < event->extras.n; i++) {
		const struct rl_extra *extra = &event->extras.v[i];

		if (event->extra_scope == RL_EXTRA_CHOICE) {
			rl_build_extras(&own->ending, (struct rl_extras){extra, 1});
		} else if (rl_str_eq(extra->key, RL_STR(RAW_START))) {
			begin_block(codec, RL_PART_RAW, event->part, out);
			rl_buf_add(out, extra->json);
			end_start(codec, out);
		} else if (own->open != RL_PART_NONE) {
			begin_delta(own, out);
			rl_buf_add(out, extra->json);
			end_frame(out);
		}
	}
}

static void on_finish(struct rl_encoder *codec, const struct rl_event *event)
{
	struct rl_anthropic_encoder *own = codec->own;
	struct rl_buf *ending = &own->ending;

	enum rl_finish finish = event->finish;

	if (own->finished)
		return;
	own->finished = true;
	/* A call that stopped for no reason of its own stopped for the call. */
	if (finish == RL_FINISH_STOP && own->called)
		finish = RL_FINISH_TOOL_CALLS;
	rl_build_text(ending, "stop_reason",
		      rl_anthropic_stop_reason(finish, ours(event) ? event->finish_word : RL_STR(""),
					       event->stop_sequence.p != NULL, own->refused));
	rl_build_key(ending, "stop_sequence");
	if (event->stop_sequence.p)
		rl_buf_json(ending, event->stop_sequence);
	else
		RL_BUF_LIT(ending, "null");
}

static void on_done(struct rl_encoder *codec, struct rl_buf *out)
{
	static const struct rl_event stop = {.kind = RL_EVENT_FINISH, .finish = RL_FINISH_STOP};
	static const struct rl_usage unknown = {.known = false};
	struct rl_anthropic_encoder *own = codec->own;

	begin(codec, NULL, out);
	release(codec, true, out);
	close_block(codec, out);
	on_finish(codec, &stop);
	FRAME(out, "message_delta");
	RL_BUF_LIT(out, ",\"delta\":{");
	rl_buf_add(out, rl_buf_str(&own->ending));
	RL_BUF_LIT(out, "},\"usage\":");
	if (codec->usage.n)
		rl_buf_add(out, rl_buf_str(&codec->usage));
	else
		rl_anthropic_write_usage(&unknown, out);
	end_frame(out);
	FRAME(out, "message_stop");
	end_frame(out);
	codec->ended = true;
	if (!rl_buf_ok(&own->ending))
		out->failed = true;
}

static void encode_piece(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (event->choice) {
		rl_encoder_lose(codec, "answer.choices");
		return;
	}
	switch (event->kind) {
	case RL_EVENT_TOOL_CALL_START:
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		write_call(codec, event, out);
		return;
	case RL_EVENT_FINISH:
		on_finish(codec, event);
		return;
	case RL_EVENT_EXTRA:
		write_extra(codec, event, out);
		return;
	default:
		break;
	}
	release(codec, true, out); /* what follows the calls comes behind them */
	if (event->kind == RL_EVENT_REASONING)
		write_thought(codec, event, out);
	else if (event->kind == RL_EVENT_CITATION)
		write_citation(codec, event, out);
	else
		write_text(codec, event, out);
}

void rl_anthropic_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_anthropic_encoder *own = codec->own;

	assert(own);
	if (codec->ended)
		return;
	if (!own->ending.max_bytes)
		rl_buf_init(&own->ending, PIECE_MAX_BYTES);
	switch (event->kind) {
	case RL_EVENT_START:
		on_start(codec, event, out);
		break;
	case RL_EVENT_USAGE:
		on_usage(codec, event, out);
		break;
	case RL_EVENT_DONE:
		on_done(codec, out);
		break;
	case RL_EVENT_ERROR:
		rl_anthropic_write_stream_error(event->fault, out);
		codec->ended = true;
		break;
	case RL_EVENT_NONE:
	case RL_EVENT_COUNT:
		assert(event->kind != RL_EVENT_NONE);
		break;
	default:
		encode_piece(codec, event, out);
	}
}

void rl_anthropic_encoder_fini(struct rl_encoder *codec)
{
	struct rl_anthropic_encoder *own = codec->own;

	if (!own)
		return;
	rl_buf_fini(&own->ending);
	rl_buf_fini(&own->held);
}
