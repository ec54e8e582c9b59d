/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI streams to events: one chunk gives any number of them. The traps of real
 * providers are handled here: usage in the last chunk or in a choice, content as a
 * list, tool calls that share one index or start at 1, ids that are missing,
 * repeated or the word "null" (DIALECTS 2.11).
 */
#include "dialect/openai_priv.h"
#include "dialect/table.h"

#include "base/map.h"

struct decode {
	struct rl_reader reader;
	struct rl_decoder *codec;
	rl_event_f emit;
	void *user;
};

/* The members of a chunk, of one of its choices, of that one's delta. */
struct chunk {
	rl_str id, model, choices, usage; /* choices and usage raw */
	int64_t created;
	struct rl_extras extras;
};

struct chunk_choice {
	uint32_t index;
	rl_str delta, message, logprobs, usage; /* raw */
	rl_str text, finish;
	struct rl_extras extras;
};

struct delta {
	rl_str content, tool_calls, function_call; /* raw */
	rl_str refusal, reasoning_content, reasoning, reasoning_signature;
	struct rl_extras extras;
};

/* A piece of a tool call: of an element of tool_calls, or of the deprecated function_call. */
struct call_piece {
	enum rl_tool_kind kind;
	bool indexed;
	uint32_t index;
	rl_str id, name, arguments;
};

static void send(struct decode *d, struct rl_event *event)
{
	event->dialect = RL_STR(RL_OPENAI_NAME);
	if (!d->reader.err)
		d->reader.err = d->emit(d->user, event);
}

static void send_text(struct decode *d, enum rl_event_kind kind, uint32_t choice, rl_str text)
{
	struct rl_event event = {.kind = kind, .choice = choice, .text = text};

	if (text.n)
		send(d, &event);
}

/* null, "", [] and {} say nothing. */
static bool says_nothing(rl_str json)
{
	return rl_json_type_of(json) == RL_JSON_NULL || (json.n == 2 && rl_json_type_of(json) != RL_JSON_NUMBER);
}

/* Members that no event models, without those that say nothing. */
static void send_extras(struct decode *d, enum rl_extra_scope scope, uint32_t choice, struct rl_extras extras)
{
	size_t n = 0;

	for (size_t i = 0; i < extras.n; i++)
		n += !says_nothing(extras.v[i].json);
	if (!n)
		return;
	struct rl_extra *kept = rl_table_make(&d->reader, n, sizeof *kept);

	if (!kept)
		return;
	n = 0;
	for (size_t i = 0; i < extras.n; i++)
		if (!says_nothing(extras.v[i].json))
			kept[n++] = extras.v[i];
	struct rl_event event = {.kind = RL_EVENT_EXTRA, .choice = choice, .extra_scope = scope, .extras = {kept, n}};

	send(d, &event);
}

/* Vendors send text here and there as something else: then it is not text. */
static void read_if_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, at, value, field);
}

/* --- tool calls --- */

static void read_arguments(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	/* Mistral may send the object itself. */
	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		rl_read_raw(p, at, value, field);
	else
		rl_read_text(p, at, value, field);
}

static void read_call_function(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct call_piece, name, "name", rl_read_text),
		RL_FIELD(struct call_piece, arguments, "arguments", read_arguments),
	};
	struct call_piece *piece = field;

	piece->kind = RL_TOOL_KIND_FUNCTION;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), piece, NULL);
}

static void read_call_custom(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct call_piece, name, "name", rl_read_text),
		RL_FIELD(struct call_piece, arguments, "input", rl_read_text),
	};
	struct call_piece *piece = field;

	piece->kind = RL_TOOL_KIND_CUSTOM;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), piece, NULL);
}

static void read_call_index(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct call_piece *piece = field;

	piece->indexed = true;
	rl_read_u32(p, at, value, &piece->index);
}

/* The newest call of a choice, or the newest with this number of the provider; NULL if there is none. */
static struct rl_codec_tool *find_call(struct rl_decoder *codec, uint32_t choice, const struct call_piece *piece)
{
	for (size_t i = codec->n_tools; i-- > 0;) {
		struct rl_codec_tool *tool = &codec->tools[i];
		if (tool->choice == choice && (!piece->indexed || tool->wire == piece->index))
			return tool;
	}
	return NULL;
}

/*
 * Whether this piece begins another call than `open`. Some servers give all calls one
 * number, so a new id with a name begins one (trap 4); some repeat id and name in
 * every piece, and Mistral's later pieces have the id "null" and an empty name.
 */
static bool begins(const struct call_piece *piece, const struct rl_codec_tool *open, uint64_t id_hash)
{
	if (!open)
		return true;
	if (!piece->name.n)
		return false;
	if (id_hash)
		return id_hash != open->id_hash;
	return !piece->indexed;
}

static void start_call(struct decode *d, uint32_t choice, const struct call_piece *piece, uint64_t id_hash)
{
	struct rl_decoder *codec = d->codec;
	uint32_t n = 0;

	if (codec->n_tools == RL_CODEC_TOOLS_MAX) {
		d->reader.err = RL_ERR_LIMIT;
		return;
	}
	for (size_t i = 0; i < codec->n_tools; i++)
		n += codec->tools[i].choice == choice;
	codec->tools[codec->n_tools++] =
		(struct rl_codec_tool){.choice = choice, .wire = piece->index, .tool = n, .id_hash = id_hash};
	rl_codec_mark(codec->tool_called, choice);
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_START,
				 .choice = choice,
				 .tool = n,
				 .tool_kind = piece->kind,
				 .id = id_hash ? piece->id : rl_str_make(NULL, 0),
				 .name = piece->name};

	send(d, &event);
}

static void take_call(struct decode *d, uint32_t choice, const struct call_piece *piece)
{
	bool named = piece->id.n && !rl_str_eq(piece->id, RL_STR("null"));
	uint64_t id_hash = named ? rl_hash(piece->id) | 1 : 0;
	struct rl_codec_tool *open = find_call(d->codec, choice, piece);

	if (begins(piece, open, id_hash)) {
		start_call(d, choice, piece, id_hash);
		open = find_call(d->codec, choice, piece);
	}
	if (d->reader.err || !piece->arguments.n)
		return;
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
				 .choice = choice,
				 .tool = open->tool,
				 .tool_kind = piece->kind,
				 .text = piece->arguments};

	send(d, &event);
}

static void take_calls(struct decode *d, uint32_t choice, const struct delta *delta)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("index", read_call_index),
		RL_FIELD(struct call_piece, id, "id", read_if_text),
		RL_WHOLE("function", read_call_function),
		RL_WHOLE("custom", read_call_custom),
	};
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, delta->tool_calls);
	while (!d->reader.err && rl_json_iter_next(&iter, &element)) {
		struct call_piece piece = {.kind = RL_TOOL_KIND_FUNCTION};

		rl_table_read(&d->reader, NULL, element, fields, RL_N_FIELDS(fields), &piece, NULL);
		if (!d->reader.err)
			take_call(d, choice, &piece);
	}
	if (!delta->function_call.n || d->reader.err)
		return;
	/* One call at most, in pieces without a number: the first has the name. */
	struct call_piece legacy = {.kind = RL_TOOL_KIND_NONE, .indexed = true};

	read_call_function(&d->reader, NULL, delta->function_call, &legacy);
	legacy.kind = RL_TOOL_KIND_LEGACY;
	if (!d->reader.err)
		take_call(d, choice, &legacy);
}

/* --- text --- */

/* Mistral's {"type":"thinking","thinking":[{"type":"text","text":"..."}]} and {"type":"text","text":"..."}. */
struct content_piece {
	rl_str text, thinking;
	struct rl_extras extras;
};

static const struct rl_field content_fields[] = {
	RL_WHOLE("type", rl_read_nothing),
	RL_WHOLE("closed", rl_read_nothing),
	RL_FIELD(struct content_piece, text, "text", rl_read_text),
	RL_FIELD(struct content_piece, thinking, "thinking", rl_read_raw),
};

/* Sends a list's texts as events of `kind`; false if something in it is no text. With dry, only looks. */
static bool take_content_list(struct decode *d, uint32_t choice, rl_str list, enum rl_event_kind kind, bool dry)
{
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	while (!d->reader.err && rl_json_iter_next(&iter, &element)) {
		struct content_piece piece = {.text = {NULL, 0}};

		if (rl_json_type_of(element) != RL_JSON_OBJECT)
			return false;
		rl_table_read(&d->reader, NULL, element, content_fields, RL_N_FIELDS(content_fields), &piece,
			      &piece.extras);
		bool nested = kind == RL_EVENT_TEXT && rl_json_type_of(piece.thinking) == RL_JSON_ARRAY;

		if (piece.extras.n || (!piece.text.p && !nested))
			return false;
		if (nested && !take_content_list(d, choice, piece.thinking, RL_EVENT_REASONING, dry))
			return false;
		if (!dry)
			send_text(d, kind, choice, piece.text);
	}
	return true;
}

static void take_content(struct decode *d, uint32_t choice, rl_str content, rl_str logprobs)
{
	struct rl_event event = {.kind = RL_EVENT_TEXT, .choice = choice, .logprobs = logprobs};
	struct rl_extra whole = {RL_STR("\"content\""), content};

	switch (rl_json_type_of(content)) {
	case RL_JSON_STRING:
		rl_read_text(&d->reader, NULL, content, &event.text);
		break;
	case RL_JSON_ARRAY:
		/* Looked at first, so that a list is sent as text or as it is, but not half and half. */
		if (take_content_list(d, choice, content, RL_EVENT_TEXT, true))
			take_content_list(d, choice, content, RL_EVENT_TEXT, false);
		else
			send_extras(d, RL_EXTRA_DELTA, choice, (struct rl_extras){&whole, 1});
		break;
	default:
		break;
	}
	if (event.text.n || logprobs.n)
		send(d, &event);
}

static void take_reasoning(struct decode *d, uint32_t choice, const struct delta *delta)
{
	rl_str older = delta->reasoning_content, newer = delta->reasoning;
	bool both = older.n && newer.n;
	struct rl_event event = {
		.kind = RL_EVENT_REASONING,
		.choice = choice,
		.text = older.n ? older : newer,
		.signature = delta->reasoning_signature,
		.spelling = both && rl_str_eq(older, newer) ? RL_STR("both")
			    : older.n                       ? rl_str_make(NULL, 0)
							    : RL_STR("reasoning"),
	};

	if (event.signature.n)
		event.family = rl_seal_open(&event.signature, RL_STR(RL_OPENAI_NAME));
	if (event.text.n || event.signature.n)
		send(d, &event);
	/* The same said twice is one thought; two different ones are two. */
	if (!both || rl_str_eq(older, newer))
		return;
	event.text = newer;
	event.signature = event.family = rl_str_make(NULL, 0);
	event.spelling = RL_STR("reasoning");
	send(d, &event);
}

/* `annotations`, if all of them are of the kind that is known: else they are an extra, as they were. */
static void take_annotations(struct decode *d, uint32_t choice, struct rl_extras *extras)
{
	static const rl_str key = RL_STR_INIT("\"annotations\"");
	struct rl_citation citation;
	struct rl_json_iter iter;
	rl_str list = rl_table_find(*extras, key), element;

	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element))
		if (!rl_openai_read_citation(&d->reader, element, &citation))
			return;
	if (rl_table_count(list))
		rl_table_take(extras, key);
	rl_json_iter_array(&iter, list);
	while (!d->reader.err && rl_json_iter_next(&iter, &element) &&
	       rl_openai_read_citation(&d->reader, element, &citation)) {
		struct rl_event event = {.kind = RL_EVENT_CITATION, .choice = choice, .citation = &citation};

		send(d, &event);
	}
}

static void take_delta(struct decode *d, uint32_t choice, rl_str raw, rl_str logprobs)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("role", rl_read_nothing),
		RL_WHOLE("index", rl_read_nothing), /* of the choice, once more (seen with GLM) */
		RL_FIELD(struct delta, content, "content", rl_read_raw),
		RL_FIELD(struct delta, tool_calls, "tool_calls", rl_read_raw),
		RL_FIELD(struct delta, function_call, "function_call", rl_read_raw),
		RL_FIELD(struct delta, refusal, "refusal", read_if_text),
		RL_FIELD(struct delta, reasoning_content, "reasoning_content", read_if_text),
		RL_FIELD(struct delta, reasoning, "reasoning", read_if_text),
		RL_FIELD(struct delta, reasoning_signature, "reasoning_signature", read_if_text),
	};
	struct delta delta = {.content = {NULL, 0}};

	rl_table_read(&d->reader, NULL, raw, fields, RL_N_FIELDS(fields), &delta, &delta.extras);
	if (d->reader.err)
		return;
	take_reasoning(d, choice, &delta);
	take_content(d, choice, delta.content, logprobs);
	send_text(d, RL_EVENT_REFUSAL, choice, delta.refusal);
	take_calls(d, choice, &delta);
	if (delta.extras.n)
		take_annotations(d, choice, &delta.extras);
	send_extras(d, RL_EXTRA_DELTA, choice, delta.extras);
}

/* --- choices and chunks --- */

static void send_finish(struct decode *d, uint32_t choice, rl_str word)
{
	struct rl_event event = {.kind = RL_EVENT_FINISH, .choice = choice, .finish = rl_finish_parse(word)};

	if (!word.n)
		return;
	/* A call that stopped for no reason of its own stopped for the call. */
	if (event.finish == RL_FINISH_STOP && rl_codec_marked(d->codec->tool_called, choice))
		event.finish = RL_FINISH_TOOL_CALLS;
	if (event.finish == RL_FINISH_OTHER)
		event.finish_word = word;
	send(d, &event);
}

static void send_usage(struct decode *d, rl_str usage)
{
	struct rl_event event = {.kind = RL_EVENT_USAGE, .usage_json = usage};

	if (rl_json_type_of(usage) != RL_JSON_OBJECT)
		return;
	rl_openai_read_usage(usage, &event.usage);
	if (event.usage.known)
		send(d, &event);
}

static void take_choice(struct decode *d, rl_str raw)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct chunk_choice, index, "index", rl_read_u32),
		RL_FIELD(struct chunk_choice, delta, "delta", rl_read_raw),
		RL_FIELD(struct chunk_choice, message, "message", rl_read_raw),
		RL_FIELD(struct chunk_choice, logprobs, "logprobs", rl_read_raw),
		RL_FIELD(struct chunk_choice, usage, "usage", rl_read_raw),
		RL_FIELD(struct chunk_choice, text, "text", read_if_text),
		RL_FIELD(struct chunk_choice, finish, "finish_reason", read_if_text),
	};
	struct chunk_choice choice = {.index = 0};

	rl_table_read(&d->reader, NULL, raw, fields, RL_N_FIELDS(fields), &choice, &choice.extras);
	if (!d->reader.err && choice.index >= RL_CODEC_CHOICES_MAX)
		d->reader.err = RL_ERR_LIMIT;
	if (d->reader.err)
		return;
	if (choice.delta.p || choice.message.p) {
		/* A server that could not stream sends the message in one piece. */
		take_delta(d, choice.index, choice.delta.p ? choice.delta : choice.message, choice.logprobs);
	} else {
		struct rl_event event = {.kind = RL_EVENT_TEXT,
					 .choice = choice.index,
					 .text = choice.text,
					 .logprobs = choice.logprobs};
		if (choice.text.n || choice.logprobs.n)
			send(d, &event);
	}
	send_extras(d, RL_EXTRA_CHOICE, choice.index, choice.extras);
	send_finish(d, choice.index, choice.finish);
	send_usage(d, choice.usage);
}

/* What vendors and OpenAI repeat in every chunk: said once, with START. */
static bool repeats(rl_str key)
{
	static const rl_str keys[] = {RL_STR_INIT("\"system_fingerprint\""), RL_STR_INIT("\"service_tier\""),
				      RL_STR_INIT("\"provider\"")};

	for (size_t i = 0; i < RL_N_FIELDS(keys); i++)
		if (rl_str_eq(key, keys[i]))
			return true;
	return false;
}

/* Those that repeat and those that do not, without the ones that say nothing. */
static void part_extras(struct decode *d, struct rl_extras all, struct rl_extras *repeated, struct rl_extras *rest)
{
	struct rl_extra *v = rl_table_make(&d->reader, 2 * all.n, sizeof *v);
	size_t front = 0, back = all.n;

	for (size_t i = 0; v && i < all.n; i++) {
		if (says_nothing(all.v[i].json))
			continue;
		v[repeats(all.v[i].key) ? front++ : back++] = all.v[i];
	}
	*repeated = (struct rl_extras){v, front};
	*rest = (struct rl_extras){v ? v + all.n : NULL, back - all.n};
}

static void take_chunk(struct decode *d, const struct chunk *chunk)
{
	struct rl_extras repeated = {.n = 0}, rest = {.n = 0};
	struct rl_json_iter iter;
	rl_str element;

	if (chunk->extras.n)
		part_extras(d, chunk->extras, &repeated, &rest);
	/* Azure's first chunk has neither choices nor an id: the answer starts with the second. */
	if (!d->codec->started && rl_table_count(chunk->choices)) {
		struct rl_event event = {.kind = RL_EVENT_START,
					 .id = chunk->id,
					 .name = chunk->model,
					 .created = chunk->created,
					 .extras = repeated};
		d->codec->started = true;
		send(d, &event);
	}
	send_extras(d, RL_EXTRA_ANSWER, 0, rest);
	rl_json_iter_array(&iter, chunk->choices);
	while (!d->reader.err && rl_json_iter_next(&iter, &element))
		take_choice(d, element);
	send_usage(d, chunk->usage);
}

static enum rl_err take_error(struct decode *d, rl_str data)
{
	struct rl_fault fault;
	struct rl_event event = {.kind = RL_EVENT_ERROR, .fault = &fault};

	rl_openai_read_error(data, d->reader.arena, &fault);
	d->codec->done = true;
	send(d, &event);
	return d->reader.err;
}

enum rl_err rl_openai_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				   struct rl_arena *arena, rl_event_f emit, void *user)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct chunk, id, "id", read_if_text),
		RL_FIELD(struct chunk, model, "model", read_if_text),
		RL_FIELD(struct chunk, created, "created", rl_read_time),
		RL_FIELD(struct chunk, choices, "choices", rl_read_raw),
		RL_FIELD(struct chunk, usage, "usage", rl_read_raw),
		RL_WHOLE("object", rl_read_nothing),
		RL_WHOLE("error", rl_read_nothing),
		RL_WHOLE("obfuscation", rl_read_nothing), /* padding against traffic analysis */
	};
	static const rl_str error_key = RL_STR_INIT("error");
	struct decode d = {.reader = {.arena = arena}, .codec = codec, .emit = emit, .user = user};
	struct chunk chunk = {.id = {NULL, 0}};
	struct rl_json_span error;

	(void)op; /* chat and completion chunks differ in members that do not meet */
	if (codec->done)
		return RL_OK; /* as the official clients do: nothing counts behind the end */
	if (rl_str_eq(data, RL_STR("[DONE]"))) {
		struct rl_event event = {.kind = RL_EVENT_DONE};

		codec->done = true;
		send(&d, &event);
		return d.reader.err;
	}
	if (rl_json_scan(data, &error_key, 1, RL_JSON_LAX, &error, NULL))
		return RL_ERR_SYNTAX;
	if (rl_openai_truthy(rl_json_span_text(data, &error)) || rl_str_eq(event_name, RL_STR("error")))
		return take_error(&d, data);
	if (rl_json_type_of(data) != RL_JSON_OBJECT)
		return RL_OK;
	rl_table_read(&d.reader, NULL, data, fields, RL_N_FIELDS(fields), &chunk, &chunk.extras);
	if (!d.reader.err && chunk.choices.p && rl_json_type_of(chunk.choices) != RL_JSON_ARRAY)
		d.reader.err = RL_ERR_SYNTAX;
	if (!d.reader.err)
		take_chunk(&d, &chunk);
	return d.reader.err;
}
