/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of the Responses API to events. Everything is said up to four times here
 * (delta, .done of the part, .done of the item, the whole response at the end), and
 * servers leave out now this and now that: what was told once is not told again, and
 * what no delta told is taken from the first event that has it (DIALECTS 2.11, traps
 * 11 and 17). Items are known by output_index, since some servers change their ids
 * with every event.
 */
#include "responses/responses_priv.h"

#include "base/map.h"

#include <assert.h>

#define ITEMS_MAX 128
#define ID_MAX_BYTES 80

/* Numbers of the parts of an item in the order of their coming: summaries first, then content. */
#define SUB_CONTENT 0x10000u

enum item_kind { ITEM_OTHER, ITEM_TEXT, ITEM_CALL, ITEM_REASONING };

struct item {
	uint32_t wire; /* output_index */
	uint32_t tool; /* CALL that is started: its number */
	uint32_t told; /* the last part of which text was sent; 0: none */
	uint8_t kind;
	bool started; /* CALL: START is sent */
	bool told_arguments, cited, closed;
};

struct state {
	struct item items[ITEMS_MAX];
	uint32_t n_items;
	uint32_t part;     /* number of the part that is being sent, counted from 1 */
	uint64_t part_key; /* of what it is */
	uint32_t id_n;
	char id[ID_MAX_BYTES]; /* of the thought that was announced last */
};

_Static_assert(sizeof(struct state) <= RL_RESPONSES_DECODER_BYTES, "the vtable says how much is needed");

struct decode {
	struct rl_reader reader;
	struct rl_decoder *codec;
	struct state *state;
	rl_event_f emit;
	void *user;
};

/* An index that a server may leave out. */
struct index {
	bool said;
	uint32_t n;
};

/* The members of an event. */
struct said {
	rl_str type, delta, text, refusal, arguments, input;
	rl_str response, item, annotation, logprobs; /* raw */
	struct index output, content, summary;
};

static void send(struct decode *d, struct rl_event *event)
{
	event->dialect = RL_STR(RL_RESPONSES_NAME);
	if (!d->reader.err)
		d->reader.err = d->emit(d->user, event);
}

static void read_word(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, at, value, field);
}

static void read_index(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct index *index = field;
	uint64_t n;

	(void)p, (void)at;
	if (rl_json_u64(value, &n) && n < SUB_CONTENT - 1)
		*index = (struct index){true, (uint32_t)n};
}

/* --- items --- */

/* NULL beyond the limit, which is noted. */
static struct item *add_item(struct decode *d, uint32_t wire, enum item_kind kind)
{
	struct state *s = d->state;

	if (s->n_items == ITEMS_MAX) {
		if (!d->reader.err)
			d->reader.err = RL_ERR_LIMIT;
		return NULL;
	}
	s->items[s->n_items] = (struct item){.wire = wire, .kind = (uint8_t)kind};
	return &s->items[s->n_items++];
}

static struct item *find_item(struct state *s, uint32_t wire)
{
	for (uint32_t i = s->n_items; i-- > 0;)
		if (s->items[i].wire == wire)
			return &s->items[i];
	return NULL;
}

/* The one that an event is about: by its index, or the newest; made when nothing announced it. */
static struct item *item_of(struct decode *d, const struct said *said, enum item_kind kind)
{
	struct state *s = d->state;
	struct item *item = NULL;

	if (said->output.said)
		item = find_item(s, said->output.n);
	else if (s->n_items)
		item = &s->items[s->n_items - 1];
	return item ? item : add_item(d, said->output.n, kind);
}

/* The number of this part: another one than the last, if it is another part. */
static uint32_t part_of(struct state *s, const struct item *item, uint32_t sub)
{
	uint64_t key = ((uint64_t)item->wire << 32 | sub) + 1;

	if (s->part_key != key) {
		s->part_key = key;
		s->part++;
	}
	return s->part - 1;
}

static bool was_told(const struct item *item, uint32_t sub)
{
	return sub <= item->told;
}

static void send_text(struct decode *d, struct item *item, enum rl_event_kind kind, uint32_t sub, rl_str text,
		      rl_str logprobs)
{
	if (!text.n)
		return;
	struct rl_event event = {.kind = kind, .text = text, .part = part_of(d->state, item, sub)};

	if (rl_json_type_of(logprobs) == RL_JSON_ARRAY && rl_table_count(logprobs))
		event.logprobs = logprobs;
	if (item->told < sub)
		item->told = sub;
	send(d, &event);
}

static void send_thought(struct decode *d, struct item *item, uint32_t sub, rl_str text)
{
	struct state *s = d->state;

	if (!text.n)
		return;
	struct rl_event event = {.kind = RL_EVENT_REASONING,
				 .text = text,
				 .part = part_of(s, item, sub),
				 .summary = sub < SUB_CONTENT,
				 .id = rl_str_make(s->id, s->id_n)};

	if (item->told < sub)
		item->told = sub;
	send(d, &event);
}

static void send_extra(struct decode *d, enum rl_extra_scope scope, const char *raw_key, rl_str json)
{
	struct rl_extra extra = {rl_str_of(raw_key), json};
	struct rl_event event = {.kind = RL_EVENT_EXTRA, .extra_scope = scope, .extras = {&extra, 1}};

	send(d, &event);
}

static void send_citations(struct decode *d, struct item *item, const struct rl_citation *citations, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rl_event event = {.kind = RL_EVENT_CITATION,
					 .part = d->state->part ? d->state->part - 1 : 0,
					 .citation = &citations[i]};

		item->cited = true;
		send(d, &event);
	}
}

static void start_call(struct decode *d, struct item *item, const struct rl_tool_call *call)
{
	struct rl_decoder *codec = d->codec;
	uint64_t hash = call->id.n ? rl_hash(call->id) | 1 : 0;

	if (item->started || !call->name.n)
		return;
	if (codec->n_tools == RL_CODEC_TOOLS_MAX) {
		if (!d->reader.err)
			d->reader.err = RL_ERR_LIMIT;
		return;
	}
	item->kind = ITEM_CALL;
	item->started = true;
	item->tool = (uint32_t)codec->n_tools;
	codec->tools[codec->n_tools++] =
		(struct rl_codec_tool){.wire = item->wire, .tool = item->tool, .id_hash = hash};
	rl_codec_mark(codec->tool_called, 0);
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_START,
				 .tool = item->tool,
				 .tool_kind = call->kind,
				 .id = call->id,
				 .name = call->name};

	send(d, &event);
}

static void send_arguments(struct decode *d, struct item *item, enum rl_tool_kind kind, rl_str text)
{
	if (!item->started || !text.n)
		return;
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
				 .tool = item->tool,
				 .tool_kind = kind,
				 .text = text};

	item->told_arguments = true;
	send(d, &event);
}

/* --- whole items: their announcement, their end, and the list in the last event --- */

static void keep_id(struct state *s, rl_str id)
{
	s->id_n = (uint32_t)(id.n <= ID_MAX_BYTES ? id.n : 0);
	if (s->id_n)
		memcpy(s->id, id.p, s->id_n);
}

static enum item_kind kind_of(rl_str item)
{
	static const char *const types[] = {"message", "function_call", "custom_tool_call", "reasoning"};
	static const enum item_kind kinds[] = {ITEM_OTHER, ITEM_TEXT, ITEM_CALL, ITEM_CALL, ITEM_REASONING};

	return kinds[rl_table_word(rl_table_type(item), types, RL_N_FIELDS(types))];
}

static void on_item_added(struct decode *d, const struct said *said)
{
	struct item *item;
	size_t n;

	if (rl_json_type_of(said->item) != RL_JSON_OBJECT || (said->output.said && find_item(d->state, said->output.n)))
		return;
	enum item_kind kind = kind_of(said->item);

	item = add_item(d, said->output.said ? said->output.n : d->state->n_items, kind);
	if (!item)
		return;
	if (kind == ITEM_CALL) {
		const struct rl_part *part = rl_responses_read_item(&d->reader, said->item, &n);

		if (!d->reader.err && n)
			start_call(d, item, &part->call);
	} else if (kind == ITEM_REASONING) {
		rl_str id = {NULL, 0};

		if (rl_json_unescape(rl_responses_member(said->item, RL_STR("id")), d->reader.arena, &id))
			id = rl_str_make(NULL, 0);
		keep_id(d->state, id);
	} else if (kind == ITEM_TEXT) {
		rl_str phase = rl_responses_member(said->item, RL_STR("phase"));

		if (rl_json_type_of(phase) == RL_JSON_STRING)
			send_extra(d, RL_EXTRA_DELTA, "\"phase\"", phase);
	}
}

/* The seal is known only now; it belongs to what was sent last of this item. */
static void send_seal(struct decode *d, const struct item *item, const struct rl_reasoning *thought)
{
	struct state *s = d->state;
	struct rl_event event = {.kind = RL_EVENT_REASONING,
				 .signature = thought->signature,
				 .redacted = thought->redacted,
				 .family = thought->family,
				 .id = thought->id};

	if (!thought->signature.n && !thought->redacted.n)
		return;
	event.part = part_of(s, item, item->told && !thought->redacted.n ? item->told : SUB_CONTENT - 1);
	event.summary = item->told < SUB_CONTENT;
	send(d, &event);
}

static void finish_thoughts(struct decode *d, struct item *item, const struct rl_part *parts, size_t n)
{
	uint32_t before = item->told;
	uint32_t summaries = 0, contents = 0;

	keep_id(d->state, n ? parts->reasoning.id : rl_str_make(NULL, 0));
	for (size_t i = 0; i < n; i++) {
		const struct rl_reasoning *thought = &parts[i].reasoning;
		uint32_t sub = thought->summary ? ++summaries : SUB_CONTENT + ++contents;

		if (!before)
			send_thought(d, item, sub, thought->text);
	}
	if (n)
		send_seal(d, item, &parts[n - 1].reasoning);
}

static void finish_text(struct decode *d, struct item *item, const struct rl_part *parts, size_t n)
{
	uint32_t before = item->told;
	bool cited = item->cited;

	for (size_t i = 0; i < n; i++) {
		bool refusal = parts[i].kind == RL_PART_REFUSAL;

		if (!refusal && parts[i].kind != RL_PART_TEXT)
			continue;
		if (!before)
			send_text(d, item, refusal ? RL_EVENT_REFUSAL : RL_EVENT_TEXT, (uint32_t)i + 1, parts[i].text,
				  rl_str_make(NULL, 0));
		if (!cited)
			send_citations(d, item, parts[i].citations, parts[i].n_citations);
	}
}

static void on_item_done(struct decode *d, const struct said *said)
{
	enum item_kind kind;
	struct item *item;
	size_t n;

	if (rl_json_type_of(said->item) != RL_JSON_OBJECT)
		return;
	kind = kind_of(said->item);
	item = item_of(d, said, kind);
	if (!item || item->closed)
		return;
	const struct rl_part *parts = rl_responses_read_item(&d->reader, said->item, &n);

	if (d->reader.err)
		return;
	item->closed = true;
	switch (kind) {
	case ITEM_TEXT:
		finish_text(d, item, parts, n);
		break;
	case ITEM_REASONING:
		finish_thoughts(d, item, parts, n);
		break;
	case ITEM_CALL:
		start_call(d, item, &parts->call);
		if (!item->told_arguments)
			send_arguments(d, item, parts->call.kind, parts->call.arguments);
		break;
	default:
		/* A tool that ran at the provider, and whatever else: there for who knows it. */
		send_extra(d, RL_EXTRA_DELTA, "\"output_item\"", said->item);
	}
}

/* --- pieces --- */

static void on_text(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_TEXT);

	if (item)
		send_text(d, item, RL_EVENT_TEXT, said->content.n + 1, said->delta, said->logprobs);
}

static void on_text_done(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_TEXT);

	if (item && !was_told(item, said->content.n + 1))
		send_text(d, item, RL_EVENT_TEXT, said->content.n + 1, said->text, said->logprobs);
}

static void on_refusal(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_TEXT);

	if (item)
		send_text(d, item, RL_EVENT_REFUSAL, said->content.n + 1, said->delta, rl_str_make(NULL, 0));
}

static void on_refusal_done(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_TEXT);

	if (item && !was_told(item, said->content.n + 1))
		send_text(d, item, RL_EVENT_REFUSAL, said->content.n + 1, said->refusal, rl_str_make(NULL, 0));
}

static void on_citation(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_TEXT);
	struct rl_citation citation;

	if (!item || rl_json_type_of(said->annotation) != RL_JSON_OBJECT)
		return;
	rl_responses_read_citation(&d->reader, said->annotation, &citation);
	send_citations(d, item, &citation, 1);
}

static void on_summary(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_REASONING);

	if (item)
		send_thought(d, item, said->summary.n + 1, said->delta);
}

static void on_summary_done(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_REASONING);

	if (item && !was_told(item, said->summary.n + 1))
		send_thought(d, item, said->summary.n + 1, said->text);
}

static void on_thought(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_REASONING);

	if (item)
		send_thought(d, item, SUB_CONTENT + said->content.n + 1, said->delta);
}

static void on_thought_done(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_REASONING);

	if (item && !was_told(item, SUB_CONTENT + said->content.n + 1))
		send_thought(d, item, SUB_CONTENT + said->content.n + 1, said->text);
}

static void on_arguments(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_CALL);

	/* Of a call that was not announced the name comes with its end, and all its arguments again. */
	if (item)
		send_arguments(d, item, RL_TOOL_KIND_FUNCTION, said->delta);
}

static void on_arguments_done(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_CALL);

	if (item && !item->told_arguments)
		send_arguments(d, item, RL_TOOL_KIND_FUNCTION, said->arguments);
}

static void on_input(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_CALL);

	if (item)
		send_arguments(d, item, RL_TOOL_KIND_CUSTOM, said->delta);
}

static void on_input_done(struct decode *d, const struct said *said)
{
	struct item *item = item_of(d, said, ITEM_CALL);

	if (item && !item->told_arguments)
		send_arguments(d, item, RL_TOOL_KIND_CUSTOM, said->input);
}

/* --- the response around it --- */

struct response {
	rl_str id, model;
	int64_t created;
	rl_str output, status, details, usage; /* raw */
	struct rl_extras rest;
};

static void read_response(struct decode *d, rl_str raw, struct response *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct response, id, "id", read_word),
		RL_FIELD(struct response, model, "model", read_word),
		RL_FIELD(struct response, created, "created_at", rl_read_time),
		RL_FIELD(struct response, output, "output", rl_read_raw),
		RL_FIELD(struct response, status, "status", rl_read_raw),
		RL_FIELD(struct response, details, "incomplete_details", rl_read_raw),
		RL_FIELD(struct response, usage, "usage", rl_read_raw),
		RL_WHOLE("object", rl_read_nothing),
		RL_WHOLE("error", rl_read_nothing),
	};

	*out = (struct response){.created = 0};
	if (rl_json_type_of(raw) == RL_JSON_OBJECT)
		rl_table_read(&d->reader, NULL, raw, fields, RL_N_FIELDS(fields), out, &out->rest);
}

static void start(struct decode *d, const struct response *response)
{
	struct rl_event event = {.kind = RL_EVENT_START,
				 .id = response->id,
				 .name = response->model,
				 .created = response->created,
				 .extras = response->rest};

	if (d->codec->started)
		return;
	d->codec->started = true;
	send(d, &event);
}

/* Items that no event told of: only in a stream that left them out, or whose list is longer than what was told. */
static void take_output(struct decode *d, rl_str output)
{
	struct said said = {.type = {NULL, 0}};
	bool nothing = d->state->n_items == 0;
	struct rl_json_iter iter;
	rl_str item;

	rl_json_iter_array(&iter, output);
	for (uint32_t i = 0; !d->reader.err && i < ITEMS_MAX && rl_json_iter_next(&iter, &item); i++) {
		rl_str id = rl_responses_member(item, RL_STR("call_id")), text = {NULL, 0};
		bool known = !nothing && (kind_of(item) != ITEM_CALL || find_item(d->state, i));

		if (rl_json_type_of(id) == RL_JSON_STRING && rl_json_unescape(id, d->reader.arena, &text) == RL_OK)
			for (size_t k = 0; k < d->codec->n_tools; k++)
				known |= d->codec->tools[k].id_hash == (rl_hash(text) | 1);
		said.item = item;
		said.output = (struct index){true, i};
		if (!known)
			on_item_done(d, &said);
	}
}

static void finish(struct decode *d, const struct response *response)
{
	struct rl_event extra = {.kind = RL_EVENT_EXTRA, .extra_scope = RL_EXTRA_ANSWER, .extras = response->rest};
	struct rl_event end = {.kind = RL_EVENT_FINISH}, usage = {.kind = RL_EVENT_USAGE};
	struct rl_event done = {.kind = RL_EVENT_DONE};

	if (response->rest.n)
		send(d, &extra);
	end.finish = rl_responses_finish(response->status, response->details, &end.finish_word);
	/* A call that stopped for no reason of its own stopped for the call. */
	if (end.finish == RL_FINISH_STOP && rl_codec_marked(d->codec->tool_called, 0))
		end.finish = RL_FINISH_TOOL_CALLS;
	send(d, &end);
	if (rl_json_type_of(response->usage) == RL_JSON_OBJECT) {
		rl_responses_read_usage(response->usage, &usage.usage);
		usage.usage_json = response->usage;
		if (usage.usage.known)
			send(d, &usage);
	}
	d->codec->done = true;
	send(d, &done);
}

static void on_completed(struct decode *d, const struct said *said)
{
	struct response response;

	read_response(d, said->response, &response);
	take_output(d, response.output);
	if (!response.status.n && rl_str_eq(said->type, RL_STR("response.incomplete")))
		response.status = RL_STR("\"incomplete\"");
	if (!d->reader.err)
		finish(d, &response);
}

static void fail(struct decode *d, rl_str object)
{
	struct rl_fault fault;
	struct rl_event event = {.kind = RL_EVENT_ERROR, .fault = &fault};

	rl_responses_read_error(object, d->reader.arena, &fault);
	d->codec->done = true;
	send(d, &event);
}

static void on_failed(struct decode *d, const struct said *said)
{
	fail(d, said->response);
}

static const struct {
	rl_str type;
	void (*take)(struct decode *d, const struct said *said);
} handlers[] = {
	{RL_STR_INIT("response.output_text.delta"), on_text},
	{RL_STR_INIT("response.function_call_arguments.delta"), on_arguments},
	{RL_STR_INIT("response.reasoning_summary_text.delta"), on_summary},
	{RL_STR_INIT("response.reasoning_text.delta"), on_thought},
	{RL_STR_INIT("response.custom_tool_call_input.delta"), on_input},
	{RL_STR_INIT("response.refusal.delta"), on_refusal},
	{RL_STR_INIT("response.output_item.added"), on_item_added},
	{RL_STR_INIT("response.output_item.done"), on_item_done},
	{RL_STR_INIT("response.output_text.done"), on_text_done},
	{RL_STR_INIT("response.output_text.annotation.added"), on_citation},
	{RL_STR_INIT("response.refusal.done"), on_refusal_done},
	{RL_STR_INIT("response.reasoning_summary_text.done"), on_summary_done},
	{RL_STR_INIT("response.reasoning_text.done"), on_thought_done},
	{RL_STR_INIT("response.function_call_arguments.done"), on_arguments_done},
	{RL_STR_INIT("response.custom_tool_call_input.done"), on_input_done},
	{RL_STR_INIT("response.completed"), on_completed},
	{RL_STR_INIT("response.incomplete"), on_completed},
	{RL_STR_INIT("response.failed"), on_failed},
};

/* Whichever event comes first starts the answer, with what it knows of it. */
static void take(struct decode *d, const struct said *said)
{
	size_t i = 0;

	while (i < RL_N_FIELDS(handlers) && !rl_str_eq(said->type, handlers[i].type))
		i++;
	if (!d->codec->started && !rl_str_eq(said->type, RL_STR("response.failed")) &&
	    (said->response.n || i < RL_N_FIELDS(handlers))) {
		struct response response;

		read_response(d, said->response, &response);
		if (!d->reader.err)
			start(d, &response);
	}
	if (!d->reader.err && i < RL_N_FIELDS(handlers))
		handlers[i].take(d, said);
}

enum rl_err rl_responses_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				      struct rl_arena *arena, rl_event_f emit, void *user)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct said, type, "type", read_word),
		RL_FIELD(struct said, delta, "delta", read_word),
		RL_FIELD(struct said, text, "text", read_word),
		RL_FIELD(struct said, refusal, "refusal", read_word),
		RL_FIELD(struct said, arguments, "arguments", read_word),
		RL_FIELD(struct said, input, "input", read_word),
		RL_FIELD(struct said, response, "response", rl_read_raw),
		RL_FIELD(struct said, item, "item", rl_read_raw),
		RL_FIELD(struct said, annotation, "annotation", rl_read_raw),
		RL_FIELD(struct said, logprobs, "logprobs", rl_read_raw),
		RL_FIELD(struct said, output, "output_index", read_index),
		RL_FIELD(struct said, content, "content_index", read_index),
		RL_FIELD(struct said, summary, "summary_index", read_index),
	};
	struct decode d = {.reader = {.arena = arena}, .codec = codec, .state = codec->own, .emit = emit, .user = user};
	struct said said = {.type = {NULL, 0}};

	(void)op;
	assert(codec->own);
	if (codec->done)
		return RL_OK;
	if (rl_str_eq(data, RL_STR("[DONE]"))) { /* of a server that thinks of another API */
		struct rl_event event = {.kind = RL_EVENT_DONE};

		codec->done = true;
		send(&d, &event);
		return d.reader.err;
	}
	if (rl_json_scan(data, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	if (rl_json_type_of(data) != RL_JSON_OBJECT)
		return RL_OK;
	rl_table_read(&d.reader, NULL, data, fields, RL_N_FIELDS(fields), &said, NULL);
	if (d.reader.err)
		return d.reader.err;
	if (!said.type.n)
		said.type = event_name;
	if (rl_str_eq(said.type, RL_STR("error")) ||
	    rl_json_type_of(rl_responses_member(data, RL_STR("error"))) == RL_JSON_OBJECT)
		fail(&d, data);
	else
		take(&d, &said);
	return d.reader.err;
}
