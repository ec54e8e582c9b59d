/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of Ollama's dialect, both ways. A stream is lines of the same form as a
 * whole answer: pieces of the message, then one with `done` and the counts.
 */
#include "dialects/ollama_priv.h"

#include "base/clock.h"
#include "base/map.h"

#include <assert.h>

/* A call's arguments are held until they are whole. */
#define CALL_BYTES ((size_t)4 << 20)
#define TAIL_BYTES 65536u

/* --- time --- */

/* Two or four digits at `at`; -1: they are none. */
static int64_t digits(rl_str text, size_t at, size_t n)
{
	unsigned value;

	return rl_str_number(rl_str_sub(text, at, n), 9999, &value) && at + n <= text.n ? (int64_t)value : -1;
}

/* Seconds since 1970 of an RFC 3339 time, parts of seconds left out; 0 for anything else. */
static int64_t unix_time(rl_str text)
{
	static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	int64_t year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
	int64_t hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);

	if (year < 1970 || month < 1 || month > 12 || day < 1 || hour < 0 || minute < 0 || second < 0)
		return 0;
	int64_t past = month > 2 ? year : year - 1; /* the last year whose leap day may lie behind us */
	int64_t days = (year - 1970) * 365 + past / 4 - past / 100 + past / 400 - 477 + before[month - 1] + day - 1;
	int64_t time = ((days * 24 + hour) * 60 + minute) * 60 + second;

	/* "+02:00" is ahead of UTC. */
	if (text.n >= 25 && text.p[text.n - 3] == ':' && (text.p[text.n - 6] == '+' || text.p[text.n - 6] == '-')) {
		int64_t ahead = digits(text, text.n - 5, 2) * 3600 + digits(text, text.n - 2, 2) * 60;

		time -= text.p[text.n - 6] == '+' ? ahead : -ahead;
	}
	return time;
}

static void write_time(int64_t created, struct rl_buf *out)
{
	char when[RL_CLOCK_RFC3339_LEN + 1];

	rl_clock_rfc3339((uint64_t)(created > 0 && created < INT32_MAX ? created : 0) * 1000000u, when);
	rl_build_text(out, "created_at", rl_str_of(when));
}

/* --- reading --- */

/* A line, or a whole answer. */
struct line {
	rl_str model, created, message, reason, logprobs, embeddings; /* all but model and created raw */
	bool done;
	struct rl_extras extras;
};

static void read_line(struct rl_reader *p, rl_str text, struct line *line)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct line, model, "model", rl_read_text),
		RL_FIELD(struct line, created, "created_at", rl_read_text),
		RL_FIELD(struct line, message, "message", rl_read_raw),
		RL_FIELD(struct line, done, "done", rl_read_bool),
		RL_FIELD(struct line, reason, "done_reason", rl_read_raw),
		RL_FIELD(struct line, logprobs, "logprobs", rl_read_raw),
		RL_FIELD(struct line, embeddings, "embeddings", rl_read_raw),
		RL_WHOLE("prompt_eval_count", rl_read_nothing),
		RL_WHOLE("eval_count", rl_read_nothing),
	};

	rl_table_read(p, NULL, text, fields, RL_N_FIELDS(fields), line, &line->extras);
}

static bool has_call(const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_TOOL_CALL)
			return true;
	return false;
}

/* Ids of calls that have none must differ between the answers of a conversation. */
static uint64_t seed_of(const struct line *line)
{
	return rl_hash(line->created);
}

static void read_embeddings(struct rl_reader *p, rl_str list, struct rl_chat_response *out)
{
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(list) != RL_JSON_ARRAY) {
		rl_table_fail(p, NULL, "must be an array");
		return;
	}
	out->embeddings = rl_table_make(p, rl_table_count(list), sizeof *out->embeddings);
	rl_json_iter_array(&iter, list);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_embedding *embedding = &out->embeddings[out->n_embeddings];

		if (rl_json_type_of(element) != RL_JSON_ARRAY)
			rl_table_fail(p, NULL, "must be an array of arrays");
		*embedding = (struct rl_embedding){.index = (uint32_t)out->n_embeddings++,
						   .encoding = RL_ENCODING_FLOAT,
						   .data = element};
	}
}

enum rl_err rl_ollama_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_response *out)
{
	struct rl_reader p = {.arena = arena};
	struct line line = {.done = false};

	*out = (struct rl_chat_response){.dialect = RL_STR(RL_OLLAMA_NAME)};
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	read_line(&p, body, &line);
	if (p.err)
		return p.err;
	out->model = line.model;
	out->created = unix_time(line.created);
	out->extras = line.extras;
	rl_ollama_read_usage(body, &out->usage);
	if (op == RL_OP_EMBEDDING) {
		read_embeddings(&p, line.embeddings, out);
		return p.err;
	}
	if (rl_json_type_of(line.message) != RL_JSON_OBJECT)
		return RL_ERR_SYNTAX;
	struct rl_choice *choice = rl_table_make(&p, 1, sizeof *choice);

	if (!choice)
		return p.err;
	out->choices = choice;
	out->n_choices = 1;
	choice->logprobs = line.logprobs;
	rl_ollama_read_message(&p, NULL, line.message, seed_of(&line), &choice->message);
	choice->finish = rl_ollama_finish(line.reason, has_call(&choice->message));
	return p.err;
}

/* --- reading streams --- */

struct decode {
	struct rl_decoder *codec;
	rl_event_f emit;
	void *user;
	enum rl_err err;
};

static void send(struct decode *d, struct rl_event *event)
{
	event->dialect = RL_STR(RL_OLLAMA_NAME);
	if (!d->err)
		d->err = d->emit(d->user, event);
}

static void send_call(struct decode *d, const struct rl_tool_call *call)
{
	if (d->codec->n_tools == RL_CODEC_TOOLS_MAX) {
		d->err = RL_ERR_LIMIT;
		return;
	}
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_START,
				 .tool = (uint32_t)d->codec->n_tools++,
				 .tool_kind = RL_TOOL_KIND_FUNCTION,
				 .id = call->id,
				 .name = call->name};

	rl_codec_mark(d->codec->tool_called, 0);
	send(d, &event);
	event.kind = RL_EVENT_TOOL_CALL_ARGUMENTS;
	event.id = event.name = rl_str_make(NULL, 0);
	event.text = call->arguments;
	send(d, &event);
}

static void send_message(struct decode *d, const struct rl_message *message, rl_str logprobs)
{
	for (size_t i = 0; i < message->n_parts && !d->err; i++) {
		const struct rl_part *part = &message->parts[i];
		struct rl_event event = {.kind = RL_EVENT_TEXT, .text = part->text, .logprobs = logprobs};

		if (part->kind == RL_PART_TOOL_CALL) {
			send_call(d, &part->call);
			continue;
		}
		if (part->kind == RL_PART_REASONING)
			event = (struct rl_event){.kind = RL_EVENT_REASONING, .text = part->reasoning.text};
		if (part->kind == RL_PART_REASONING || part->kind == RL_PART_TEXT)
			send(d, &event);
	}
	if (message->extras.n) {
		struct rl_event event = {.kind = RL_EVENT_EXTRA,
					 .extra_scope = RL_EXTRA_DELTA,
					 .extras = message->extras};

		send(d, &event);
	}
}

static void send_end(struct decode *d, rl_str data, const struct line *line)
{
	bool called = rl_codec_marked(d->codec->tool_called, 0);
	struct rl_event finish = {.kind = RL_EVENT_FINISH, .finish = rl_ollama_finish(line->reason, called)};
	struct rl_event usage = {.kind = RL_EVENT_USAGE}, done = {.kind = RL_EVENT_DONE};

	rl_ollama_read_usage(data, &usage.usage);
	send(d, &finish);
	if (usage.usage.known)
		send(d, &usage);
	d->codec->done = true;
	send(d, &done);
}

static enum rl_err take_error(struct decode *d, rl_str data, struct rl_arena *arena)
{
	struct rl_fault fault;
	struct rl_event event = {.kind = RL_EVENT_ERROR, .fault = &fault};

	rl_ollama_read_error(data, arena, &fault);
	d->codec->done = true;
	send(d, &event);
	return d->err;
}

enum rl_err rl_ollama_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				   struct rl_arena *arena, rl_event_f emit, void *user)
{
	static const rl_str error_key = RL_STR_INIT("error");
	struct decode d = {.codec = codec, .emit = emit, .user = user};
	struct rl_reader p = {.arena = arena};
	struct rl_message message = {.n_parts = 0};
	struct line line = {.done = false};
	struct rl_json_span error;

	(void)op, (void)event_name;
	if (codec->done)
		return RL_OK;
	if (rl_json_scan(data, &error_key, 1, RL_JSON_LAX, &error, NULL) || rl_json_type_of(data) != RL_JSON_OBJECT)
		return RL_ERR_SYNTAX;
	if (error.type > RL_JSON_NULL)
		return take_error(&d, data, arena);
	read_line(&p, data, &line);
	if (!p.err && line.message.p)
		rl_ollama_read_message(&p, NULL, line.message, seed_of(&line) + codec->n_tools, &message);
	if (p.err)
		return p.err;
	if (!codec->started) {
		struct rl_event event = {.kind = RL_EVENT_START,
					 .name = line.model,
					 .created = unix_time(line.created)};

		codec->started = true;
		send(&d, &event);
	}
	send_message(&d, &message, line.logprobs);
	if (line.extras.n) {
		struct rl_event event = {.kind = RL_EVENT_EXTRA, .extra_scope = RL_EXTRA_ANSWER, .extras = line.extras};

		send(&d, &event);
	}
	if (line.done)
		send_end(&d, data, &line);
	return d.err;
}

/* --- writing --- */

static void write_counts(const struct rl_usage *usage, struct rl_buf *out)
{
	if (!usage->known)
		return;
	rl_build_key(out, "prompt_eval_count");
	rl_buf_u64(out, usage->prompt_tokens);
	rl_build_key(out, "eval_count");
	rl_buf_u64(out, usage->completion_tokens);
}

static void write_end(enum rl_finish finish, struct rl_buf *out)
{
	rl_build_text(out, "done_reason", finish == RL_FINISH_LENGTH ? RL_STR("length") : RL_STR("stop"));
	rl_build_raw(out, "done", RL_STR("true"));
}

/* Text, refusals among it, in one piece. */
static void write_text(const struct rl_message *message, enum rl_part_kind kind, const char *key, struct rl_buf *out)
{
	const struct rl_part *only = NULL;
	struct rl_buf joined;
	size_t n = 0;

	rl_buf_init(&joined, out->max_bytes);
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];
		bool refusal = part->kind == RL_PART_REFUSAL && kind == RL_PART_TEXT;

		if (part->kind != kind && !refusal)
			continue;
		only = part;
		n++;
		rl_buf_add(&joined, kind == RL_PART_REASONING ? part->reasoning.text : part->text);
	}
	if (n || kind == RL_PART_TEXT)
		rl_build_text(out, key,
			      n != 1                      ? rl_buf_str(&joined)
			      : kind == RL_PART_REASONING ? only->reasoning.text
							  : only->text);
	if (!rl_buf_ok(&joined))
		out->failed = true;
	rl_buf_fini(&joined);
}

static void open_call(rl_str id, uint32_t index, rl_str name, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	if (id.n)
		rl_build_text(out, "id", id);
	rl_build_key(out, "function");
	RL_BUF_LIT(out, "{");
	rl_build_int(out, "index", index);
	rl_build_text(out, "name", name);
	rl_build_key(out, "arguments");
}

static void write_message(const struct rl_message *message, bool ours, struct rl_translation *t, struct rl_buf *out)
{
	uint32_t calls = 0;

	RL_BUF_LIT(out, ",\"message\":{\"role\":\"assistant\"");
	write_text(message, RL_PART_TEXT, "content", out);
	write_text(message, RL_PART_REASONING, "thinking", out);
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind == RL_PART_REASONING && (part->reasoning.signature.n || part->reasoning.redacted.n))
			rl_drop(t, "answer.reasoning_signature");
		if (part->n_citations)
			rl_drop(t, "answer.citations");
		if (part->kind == RL_PART_RAW || part->kind == RL_PART_AUDIO || part->kind == RL_PART_IMAGE)
			rl_drop(t, "answer.%s", rl_part_kind_name(part->kind));
		if (part->kind != RL_PART_TOOL_CALL)
			continue;
		if (!calls) {
			rl_build_key(out, "tool_calls");
			RL_BUF_LIT(out, "[");
		}
		rl_build_comma(out);
		open_call(part->call.id, calls++, part->call.name, out);
		rl_ollama_write_arguments(part->call.arguments, out);
		if (ours)
			rl_build_extras(out, part->call.extras);
		RL_BUF_LIT(out, "}");
		if (ours)
			rl_build_extras(out, part->extras);
		RL_BUF_LIT(out, "}");
	}
	if (calls)
		RL_BUF_LIT(out, "]");
	if (ours)
		rl_build_extras(out, message->extras);
	RL_BUF_LIT(out, "}");
}

static void write_embeddings(const struct rl_chat_response *response, struct rl_translation *t, struct rl_buf *out)
{
	rl_build_key(out, "embeddings");
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < response->n_embeddings; i++) {
		/* Numbers were asked for; a server that packed them all the same is not understood here. */
		if (response->embeddings[i].encoding != RL_ENCODING_FLOAT)
			rl_refuse(t, RL_STR("embeddings"),
				  "The provider sent packed numbers, which Ollama's API lacks.");
		rl_build_comma(out);
		rl_buf_add(out, response->embeddings[i].data);
	}
	RL_BUF_LIT(out, "]");
}

void rl_ollama_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out)
{
	bool ours = rl_str_eq(response->dialect, RL_STR(RL_OLLAMA_NAME));

	RL_BUF_LIT(out, "{");
	rl_build_text(out, "model", response->model);
	if (op == RL_OP_EMBEDDING) {
		write_embeddings(response, t, out);
	} else {
		assert(response->n_choices);
		const struct rl_choice *choice = &response->choices[0];

		write_time(response->created, out);
		write_message(&choice->message, ours, t, out);
		write_end(choice->finish, out);
		if (choice->finish == RL_FINISH_CONTENT_FILTER)
			rl_drop(t, "answer.finish_reason");
		if (choice->logprobs.n && ours)
			rl_build_raw(out, "logprobs", choice->logprobs);
		else if (choice->logprobs.n)
			rl_drop(t, "answer.logprobs");
		if (response->n_choices > 1)
			rl_drop(t, "answer.choices");
	}
	write_counts(&response->usage, out);
	if (ours)
		rl_build_extras(out, response->extras);
	RL_BUF_LIT(out, "}");
}

/* --- writing streams --- */

/* What each line begins with, up to the end of the message's role. */
static void open_line(struct rl_encoder *codec, struct rl_buf *out)
{
	if (!codec->head.n) {
		RL_BUF_LIT(&codec->head, "{\"model\":\"\"");
		write_time(0, &codec->head);
	}
	rl_buf_add(out, rl_buf_str(&codec->head));
	RL_BUF_LIT(out, ",\"message\":{\"role\":\"assistant\"");
	if (!rl_buf_ok(&codec->head))
		out->failed = true;
}

static void write_piece(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	bool thought = event->kind == RL_EVENT_REASONING;
	bool ours = rl_str_eq(event->dialect, RL_STR(RL_OLLAMA_NAME));

	if (event->signature.n || event->redacted.n)
		rl_encoder_lose(codec, "answer.reasoning_signature");
	if (event->logprobs.n && !ours)
		rl_encoder_lose(codec, "answer.logprobs");
	if (!event->text.n)
		return;
	open_line(codec, out);
	rl_build_text(out, "content", thought ? RL_STR("") : event->text);
	if (thought)
		rl_build_text(out, "thinking", event->text);
	RL_BUF_LIT(out, "},\"done\":false");
	if (event->logprobs.n && ours)
		rl_build_raw(out, "logprobs", event->logprobs);
	RL_BUF_LIT(out, "}\n");
}

static void take_call(struct rl_ollama_encoder *own, const struct rl_event *event, struct rl_buf *out)
{
	if (event->tool >= RL_CODEC_TOOLS_MAX) {
		out->failed = true;
		return;
	}
	struct rl_buf *call = &own->calls[event->tool];

	if (event->kind == RL_EVENT_TOOL_CALL_START && !own->arguments_at[event->tool]) {
		rl_buf_init(call, CALL_BYTES);
		open_call(event->id, event->tool, event->name, call);
		own->arguments_at[event->tool] = call->n;
	}
	if (own->arguments_at[event->tool])
		rl_buf_add(call, event->text);
	out->failed |= call->failed;
}

/* All calls in one line, as the server sends them. */
static void write_calls(struct rl_encoder *codec, struct rl_buf *out)
{
	struct rl_ollama_encoder *own = codec->own;
	bool open = false;

	for (size_t i = 0; i < RL_CODEC_TOOLS_MAX; i++) {
		rl_str text = rl_buf_str(&own->calls[i]);
		size_t at = own->arguments_at[i];

		if (!at)
			continue;
		if (!open) {
			open_line(codec, out);
			RL_BUF_LIT(out, ",\"content\":\"\",\"tool_calls\":[");
		}
		open = true;
		rl_build_comma(out);
		rl_buf_add(out, rl_str_sub(text, 0, at));
		rl_ollama_write_arguments(rl_str_sub(text, at, SIZE_MAX), out);
		RL_BUF_LIT(out, "}}");
		rl_buf_fini(&own->calls[i]);
		own->arguments_at[i] = 0;
	}
	if (open)
		RL_BUF_LIT(out, "]},\"done\":false}\n");
}

static void write_done(struct rl_encoder *codec, struct rl_buf *out)
{
	struct rl_ollama_encoder *own = codec->own;

	write_calls(codec, out);
	open_line(codec, out);
	RL_BUF_LIT(out, ",\"content\":\"\"}");
	write_end(own->finish, out);
	write_counts(&own->usage, out);
	rl_buf_add(out, rl_buf_str(&own->tail));
	RL_BUF_LIT(out, "}\n");
	codec->ended = true;
}

static void keep_extras(struct rl_encoder *codec, const struct rl_event *event)
{
	struct rl_ollama_encoder *own = codec->own;

	if (event->extra_scope != RL_EXTRA_ANSWER || !rl_str_eq(event->dialect, RL_STR(RL_OLLAMA_NAME)))
		return;
	if (!own->tail.max_bytes)
		rl_buf_init(&own->tail, TAIL_BYTES);
	for (size_t i = 0; i < event->extras.n; i++) {
		RL_BUF_LIT(&own->tail, ",");
		rl_buf_add(&own->tail, event->extras.v[i].key);
		RL_BUF_LIT(&own->tail, ":");
		rl_buf_add(&own->tail, event->extras.v[i].json);
	}
}

void rl_ollama_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct rl_ollama_encoder *own = codec->own;

	assert(own);
	if (codec->ended)
		return;
	if (event->choice && event->kind != RL_EVENT_DONE) {
		rl_encoder_lose(codec, "answer.choices");
		return;
	}
	switch (event->kind) {
	case RL_EVENT_START:
		rl_buf_reset(&codec->head);
		RL_BUF_LIT(&codec->head, "{");
		rl_build_text(&codec->head, "model", event->name);
		write_time(event->created, &codec->head);
		break;
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
	case RL_EVENT_REASONING:
		write_piece(codec, event, out);
		break;
	case RL_EVENT_TOOL_CALL_START:
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		take_call(own, event, out);
		break;
	case RL_EVENT_FINISH:
		own->finish = event->finish;
		if (event->finish == RL_FINISH_CONTENT_FILTER)
			rl_encoder_lose(codec, "answer.finish_reason");
		break;
	case RL_EVENT_USAGE:
		own->usage = event->usage;
		break;
	case RL_EVENT_DONE:
		write_done(codec, out);
		break;
	case RL_EVENT_ERROR:
		rl_ollama_write_error(event->fault, out);
		RL_BUF_LIT(out, "\n");
		codec->ended = true;
		break;
	case RL_EVENT_CITATION:
		rl_encoder_lose(codec, "answer.citations");
		break;
	case RL_EVENT_EXTRA:
		keep_extras(codec, event);
		break;
	case RL_EVENT_NONE:
	case RL_EVENT_COUNT:
		assert(event->kind != RL_EVENT_NONE);
	}
}

void rl_ollama_encoder_fini(struct rl_encoder *codec)
{
	struct rl_ollama_encoder *own = codec->own;

	for (size_t i = 0; own && i < RL_CODEC_TOOLS_MAX; i++)
		rl_buf_fini(&own->calls[i]);
	if (own)
		rl_buf_fini(&own->tail);
}
