/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini streams, both ways. Every piece of a stream is a whole answer with some of
 * its parts, and the connection's end is the only terminator: the decoder gives no
 * DONE. Calls come whole from the Gemini API; Vertex may send their arguments as
 * values with a path each, which become JSON text here as they come.
 *
 * The encoder holds what this format cannot send in pieces: a call until something
 * else follows, a seal until what it seals, and the finish until the usage is known.
 */
#include "dialects/gemini_priv.h"

#include <assert.h>

/* --- Vertex: arguments by their paths --- */

#define STEPS_MAX 24u
#define KEYS_MAX_BYTES 1024u

/* One step of a path: a member by its key, or an element. */
struct step {
	bool element;
	uint16_t at, n; /* of the key, in `keys` */
	uint32_t index;
};

struct way {
	struct step steps[STEPS_MAX];
	unsigned n;
	uint16_t keys_n;
	char keys[KEYS_MAX_BYTES];
};

/* A call whose arguments are still to come; of those there is one at a time. */
struct partial {
	bool open, in_string;
	uint32_t choice, tool;
	struct way way; /* to the value that was written last; none: nothing was */
};

static_assert(sizeof(struct partial) <= RL_GEMINI_DECODER_BYTES, "the decoder's own must fit");

static bool add_step(struct way *way, rl_str key, bool element, uint32_t index)
{
	if (way->n == STEPS_MAX || key.n > KEYS_MAX_BYTES - way->keys_n)
		return false;
	if (key.n)
		memcpy(way->keys + way->keys_n, key.p, key.n);
	way->steps[way->n++] = (struct step){element, way->keys_n, (uint16_t)key.n, index};
	way->keys_n = (uint16_t)(way->keys_n + key.n);
	return true;
}

/* What stands in brackets: a number, or a key in quotes. */
static bool read_bracket(rl_str *rest, struct way *way)
{
	char quote = rest->n > 1 ? rest->p[1] : '\0';
	unsigned index = 0;

	if (quote == '\'' || quote == '"') {
		rl_str key = rl_str_sub(*rest, 2, SIZE_MAX);
		size_t end = rl_str_find(key, quote);

		if (end == SIZE_MAX || end + 1 >= key.n || key.p[end + 1] != ']')
			return false;
		*rest = rl_str_sub(key, end + 2, SIZE_MAX);
		return add_step(way, rl_str_sub(key, 0, end), false, 0);
	}
	size_t end = rl_str_find(*rest, ']');

	if (end == SIZE_MAX || !rl_str_number(rl_str_sub(*rest, 1, end - 1), UINT32_MAX, &index))
		return false;
	*rest = rl_str_sub(*rest, end + 1, SIZE_MAX);
	return add_step(way, rl_str_make(NULL, 0), true, index);
}

/* "$.operations[0].action" (RFC 9535's plain forms). */
static bool read_way(rl_str path, struct way *way)
{
	way->n = 0;
	way->keys_n = 0;
	if (!path.n || path.p[0] != '$')
		return false;
	path = rl_str_sub(path, 1, SIZE_MAX);
	while (path.n) {
		if (path.p[0] == '[') {
			if (!read_bracket(&path, way))
				return false;
			continue;
		}
		size_t n = 1;

		while (n < path.n && path.p[n] != '.' && path.p[n] != '[')
			n++;
		if (path.p[0] != '.' || n == 1 || !add_step(way, rl_str_sub(path, 1, n - 1), false, 0))
			return false;
		path = rl_str_sub(path, n, SIZE_MAX);
	}
	return way->n > 0 && !way->steps[0].element;
}

static bool same_step(const struct way *a, const struct way *b, unsigned i)
{
	const struct step *x = &a->steps[i], *y = &b->steps[i];

	return x->element == y->element && x->index == y->index && x->n == y->n &&
	       memcmp(a->keys + x->at, b->keys + y->at, x->n) == 0;
}

/* Steps that two ways share from the start. */
static unsigned common(const struct way *a, const struct way *b)
{
	unsigned i = 0;

	while (i < a->n && i < b->n && same_step(a, b, i))
		i++;
	return i;
}

/* Ends what is open below step `to`. */
static void close_way(struct partial *partial, unsigned to, struct rl_buf *out)
{
	if (partial->in_string)
		RL_BUF_LIT(out, "\"");
	partial->in_string = false;
	for (unsigned i = partial->way.n; i-- > to;)
		rl_buf_byte(out, partial->way.steps[i].element ? ']' : '}');
}

static void add_inside(struct rl_buf *out, rl_str text)
{
	struct rl_buf quoted;

	rl_buf_init(&quoted, 6 * text.n + 2);
	rl_buf_json(&quoted, text);
	if (rl_buf_ok(&quoted))
		rl_buf_add(out, rl_str_make(quoted.p + 1, quoted.n - 2));
	else
		out->failed = true;
	rl_buf_fini(&quoted);
}

/* From where the last value ended to where the next one stands. False: no JSON text goes that way. */
static bool walk(struct partial *partial, const struct way *to, struct rl_buf *out)
{
	unsigned shared = common(&partial->way, to), at = shared;

	if (partial->way.n) {
		/* One value cannot hold another, and a place has one value. */
		if (shared == to->n || shared == partial->way.n ||
		    to->steps[shared].element != partial->way.steps[shared].element)
			return false;
		close_way(partial, shared + 1, out);
		RL_BUF_LIT(out, ",");
	} else {
		RL_BUF_LIT(out, "{");
	}
	for (; at < to->n; at++) {
		const struct step *step = &to->steps[at];

		if (at > shared)
			rl_buf_byte(out, step->element ? '[' : '{');
		if (step->element)
			continue;
		rl_buf_json(out, rl_str_make(to->keys + step->at, step->n));
		RL_BUF_LIT(out, ":");
	}
	partial->way = *to;
	return true;
}

static bool truth(rl_str object, const char *camel, const char *snake)
{
	bool value = false;
	rl_str member = rl_gemini_member(object, camel);

	rl_json_bool(member.n ? member : rl_gemini_member(object, snake), &value);
	return value;
}

static rl_str either(rl_str object, const char *camel, const char *snake)
{
	rl_str member = rl_gemini_member(object, camel);

	return member.n ? member : rl_gemini_member(object, snake);
}

/* One of partialArgs as JSON text. */
static enum rl_err add_argument(struct partial *partial, rl_str argument, struct rl_arena *arena, struct rl_buf *out)
{
	rl_str text = {NULL, 0}, path = {NULL, 0}, raw = either(argument, "stringValue", "string_value");
	struct way way;
	enum rl_err err = rl_json_unescape(either(argument, "jsonPath", "json_path"), arena, &path);

	if (!err && raw.n)
		err = rl_json_unescape(raw, arena, &text);
	if (err || !read_way(path, &way))
		return err == RL_ERR_NOMEM ? err : RL_ERR_SYNTAX;
	bool same = partial->in_string && way.n == partial->way.n && common(&way, &partial->way) == way.n;

	if (!same && !walk(partial, &way, out))
		return RL_ERR_SYNTAX;
	if (raw.n) {
		if (!same)
			RL_BUF_LIT(out, "\"");
		add_inside(out, text);
		partial->in_string = truth(argument, "willContinue", "will_continue");
		if (!partial->in_string)
			RL_BUF_LIT(out, "\"");
		return RL_OK;
	}
	if (same)
		return RL_ERR_SYNTAX;
	raw = either(argument, "numberValue", "number_value");
	if (!raw.n)
		raw = either(argument, "boolValue", "bool_value");
	/* JSON has no NaN and no infinity, which come as text here. */
	bool scalar = rl_json_type_of(raw) == RL_JSON_NUMBER || rl_json_type_of(raw) == RL_JSON_TRUE ||
		      rl_json_type_of(raw) == RL_JSON_FALSE;

	rl_buf_add(out, scalar ? raw : RL_STR("null"));
	return RL_OK;
}

/* --- pieces to events --- */

struct decode {
	struct rl_reader reader;
	struct rl_decoder *codec;
	struct partial *partial;
	rl_str id; /* of the answer */
	rl_event_f emit;
	void *user;
};

static void send(struct decode *d, struct rl_event *event)
{
	event->dialect = RL_STR(RL_GEMINI_NAME);
	if (!d->reader.err)
		d->reader.err = d->emit(d->user, event);
}

static void send_arguments(struct decode *d, uint32_t choice, uint32_t tool, rl_str text)
{
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_ARGUMENTS,
				 .choice = choice,
				 .tool = tool,
				 .tool_kind = RL_TOOL_KIND_FUNCTION,
				 .text = text};

	if (text.n)
		send(d, &event);
}

static void end_partial(struct decode *d)
{
	struct partial *partial = d->partial;
	struct rl_buf rest;

	if (!partial->open)
		return;
	rl_buf_init(&rest, 4 * STEPS_MAX);
	if (!partial->way.n)
		RL_BUF_LIT(&rest, "{}");
	close_way(partial, 0, &rest);
	partial->open = false;
	send_arguments(d, partial->choice, partial->tool, rl_buf_str(&rest));
	rl_buf_fini(&rest);
}

static rl_str extra_of(struct rl_extras extras, const char *camel, const char *snake)
{
	for (size_t i = 0; i < extras.n; i++)
		if (rl_json_string_is(extras.v[i].key, rl_str_of(camel)) ||
		    rl_json_string_is(extras.v[i].key, rl_str_of(snake)))
			return extras.v[i].json;
	return rl_str_make(NULL, 0);
}

static void continue_call(struct decode *d, uint32_t choice, const struct rl_tool_call *call, bool more)
{
	rl_str list = extra_of(call->extras, "partialArgs", "partial_args"), argument;
	struct partial *partial = d->partial;
	struct rl_json_iter iter;
	struct rl_buf text;

	/* The end of a call that has ended already. */
	if (!partial->open || partial->choice != choice)
		return;
	rl_buf_init(&text, 8 * list.n + 256);
	rl_json_iter_array(&iter, list);
	while (!d->reader.err && rl_json_iter_next(&iter, &argument))
		d->reader.err = add_argument(partial, argument, d->reader.arena, &text);
	if (!d->reader.err && !rl_buf_ok(&text))
		d->reader.err = RL_ERR_LIMIT;
	send_arguments(d, partial->choice, partial->tool, rl_buf_str(&text));
	rl_buf_fini(&text);
	if (!more)
		end_partial(d);
}

static void start_call(struct decode *d, uint32_t choice, const struct rl_tool_call *call, bool more)
{
	struct rl_gemini_calls calls = {.seed = d->id, .choice = choice};
	struct rl_event event = {.kind = RL_EVENT_TOOL_CALL_START,
				 .choice = choice,
				 .tool_kind = RL_TOOL_KIND_FUNCTION,
				 .id = call->id,
				 .name = call->name};

	if (d->codec->n_tools == RL_CODEC_TOOLS_MAX) {
		d->reader.err = RL_ERR_LIMIT;
		return;
	}
	for (size_t i = 0; i < d->codec->n_tools; i++)
		event.tool += d->codec->tools[i].choice == choice;
	calls.n = event.tool;
	/* The number within the stream, not within this piece. */
	if (rl_str_starts(event.id, RL_STR(RL_GEMINI_ID)))
		event.id = rl_gemini_make_id(&calls, call->name, d->reader.arena);
	d->codec->tools[d->codec->n_tools++] = (struct rl_codec_tool){.choice = choice, .tool = event.tool};
	rl_codec_mark(d->codec->tool_called, choice);
	send(d, &event);
	if (!more) {
		send_arguments(d, choice, event.tool, call->arguments);
		return;
	}
	*d->partial = (struct partial){.open = true, .choice = choice, .tool = event.tool};
	if (extra_of(call->extras, "partialArgs", "partial_args").n)
		continue_call(d, choice, call, true);
}

static void take_call(struct decode *d, uint32_t choice, const struct rl_tool_call *call)
{
	bool more = false;

	rl_json_bool(extra_of(call->extras, "willContinue", "will_continue"), &more);
	if (!call->name.n) {
		continue_call(d, choice, call, more);
		return;
	}
	end_partial(d);
	start_call(d, choice, call, more || extra_of(call->extras, "partialArgs", "partial_args").n);
	if (!more)
		end_partial(d);
}

/* Parts that no event models go as they are. */
static void send_raw(struct decode *d, uint32_t choice, rl_str part)
{
	struct rl_extra extra = {RL_STR("\"part\""), part};
	struct rl_event event = {.kind = RL_EVENT_EXTRA,
				 .choice = choice,
				 .extra_scope = RL_EXTRA_DELTA,
				 .extras = {&extra, 1}};

	send(d, &event);
}

/* `raw` is the part as it stood, of which a seal and what it seals are two of ours. */
static void take_part(struct decode *d, uint32_t choice, const struct rl_part *part, rl_str raw, rl_str *logprobs)
{
	struct rl_event event = {.choice = choice};

	switch (part->kind) {
	case RL_PART_TEXT:
		event.kind = RL_EVENT_TEXT;
		event.text = part->text;
		event.logprobs = *logprobs;
		if (part->text.n || logprobs->n)
			send(d, &event);
		*logprobs = rl_str_make(NULL, 0);
		break;
	case RL_PART_REASONING:
		event.kind = RL_EVENT_REASONING;
		event.text = part->reasoning.text;
		event.signature = part->reasoning.signature;
		event.redacted = part->reasoning.redacted;
		event.spelling = part->reasoning.spelling;
		event.family = part->reasoning.family;
		if (event.text.n || event.signature.n || event.redacted.n)
			send(d, &event);
		break;
	case RL_PART_TOOL_CALL:
		take_call(d, choice, &part->call);
		break;
	default:
		send_raw(d, choice, raw);
	}
}

static void take_parts(struct decode *d, uint32_t choice, rl_str list, rl_str logprobs)
{
	struct rl_gemini_calls calls = {.seed = d->id, .choice = choice};
	struct rl_event rest = {.kind = RL_EVENT_TEXT, .choice = choice};
	struct rl_part two[2];
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	while (!d->reader.err && rl_json_iter_next(&iter, &element)) {
		struct rl_message message = {.role = RL_ROLE_ASSISTANT, .parts = two};

		memset(two, 0, sizeof two);
		rl_gemini_read_part(&d->reader, NULL, element, &calls, &message);
		for (size_t i = 0; !d->reader.err && i < message.n_parts; i++)
			take_part(d, choice, &two[i], element, &logprobs);
	}
	rest.logprobs = logprobs;
	if (logprobs.n)
		send(d, &rest);
}

static void send_extras(struct decode *d, enum rl_extra_scope scope, uint32_t choice, struct rl_extras extras)
{
	struct rl_event event = {.kind = RL_EVENT_EXTRA, .choice = choice, .extra_scope = scope, .extras = extras};

	if (extras.n)
		send(d, &event);
}

static void send_finish(struct decode *d, uint32_t choice, rl_str word)
{
	struct rl_event event = {.kind = RL_EVENT_FINISH,
				 .choice = choice,
				 .finish = rl_gemini_finish(word),
				 .finish_word = word};

	if (!event.finish)
		return;
	end_partial(d);
	/* This API has no word of its own for having called a tool. */
	if (event.finish == RL_FINISH_STOP && rl_codec_marked(d->codec->tool_called, choice))
		event.finish = RL_FINISH_TOOL_CALLS;
	send(d, &event);
}

static void take_candidate(struct decode *d, rl_str value)
{
	struct rl_gemini_candidate raw = {.index = 0};

	rl_gemini_read_candidate(&d->reader, NULL, value, &raw);
	if (!d->reader.err && raw.index >= RL_CODEC_CHOICES_MAX)
		d->reader.err = RL_ERR_LIMIT;
	if (d->reader.err)
		return;
	uint32_t choice = (uint32_t)raw.index;
	rl_str logprobs = {NULL, 0};

	if (raw.logprobs.n)
		logprobs = rl_gemini_read_logprobs(&d->reader, raw.logprobs);
	take_parts(d, choice, rl_gemini_member(raw.content, "parts"), logprobs);
	send_extras(d, RL_EXTRA_CHOICE, choice, raw.extras);
	send_finish(d, choice, raw.finish);
}

static void take_answer(struct decode *d, const struct rl_gemini_answer *raw)
{
	struct rl_event start = {.kind = RL_EVENT_START,
				 .id = raw->id,
				 .name = raw->model,
				 .created = rl_gemini_time(raw->created)};
	struct rl_event usage = {.kind = RL_EVENT_USAGE, .usage_json = raw->usage};
	struct rl_json_iter iter;
	rl_str element;

	d->id = raw->id.p ? raw->id : RL_STR("");
	if (!d->codec->started)
		send(d, &start);
	d->codec->started = true;
	send_extras(d, RL_EXTRA_ANSWER, 0, raw->extras);
	rl_json_iter_array(&iter, raw->candidates);
	while (!d->reader.err && rl_json_iter_next(&iter, &element))
		take_candidate(d, element);
	if (!rl_table_count(raw->candidates) && rl_gemini_block_reason(raw->extras).n) {
		struct rl_event blocked = {.kind = RL_EVENT_FINISH, .finish = RL_FINISH_CONTENT_FILTER};

		send(d, &blocked);
	}
	if (rl_json_type_of(raw->usage) == RL_JSON_OBJECT)
		rl_gemini_read_usage(raw->usage, &usage.usage);
	if (usage.usage.known)
		send(d, &usage);
}

enum rl_err rl_gemini_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				   struct rl_arena *arena, rl_event_f emit, void *user)
{
	static const rl_str error_key = RL_STR_INIT("error");
	struct decode d = {
		.reader = {.arena = arena}, .codec = codec, .partial = codec->own, .emit = emit, .user = user};
	struct rl_gemini_answer raw = {.candidates = {NULL, 0}};
	struct rl_json_span error;

	assert(codec->own);
	(void)op, (void)event_name;
	if (rl_json_scan(data, &error_key, 1, RL_JSON_LAX, &error, NULL) || rl_json_type_of(data) != RL_JSON_OBJECT)
		return RL_ERR_SYNTAX;
	if (error.type == RL_JSON_OBJECT) {
		struct rl_fault fault;
		struct rl_event event = {.kind = RL_EVENT_ERROR, .fault = &fault};

		rl_gemini_read_error(data, arena, &fault);
		codec->done = true;
		send(&d, &event);
		return d.reader.err;
	}
	rl_gemini_read_answer(&d.reader, data, &raw);
	if (!d.reader.err)
		take_answer(&d, &raw);
	return d.reader.err;
}

/* --- events to pieces --- */

#define HELD_MAX 48u
#define SEAL_MAX_BYTES ((size_t)256 << 10)
#define ARGS_MAX_BYTES ((size_t)4 << 20)

/* A call that is not out yet. */
struct held {
	uint32_t choice, tool;
	struct rl_buf head, args; /* all before the arguments, and they */
};

struct encode {
	struct held calls[HELD_MAX];
	unsigned n_calls;
	rl_str finish[RL_CODEC_CHOICES_MAX]; /* static words; p == NULL: not finished */
	struct rl_buf seal;                  /* that is not out yet, for what comes next in seal_choice */
	uint32_t seal_choice;
	bool seal_redacted, seal_alone, some;
	char family[32];
	size_t family_n;
};

static_assert(sizeof(struct encode) <= RL_GEMINI_ENCODER_BYTES, "the encoder's own must fit");

static bool ours(const struct rl_event *event)
{
	return rl_str_eq(event->dialect, RL_STR(RL_GEMINI_NAME));
}

/* What comes before a piece in either form of the stream. */
static void open_piece(struct rl_encoder *codec, struct rl_buf *out)
{
	struct encode *e = codec->own;

	if (!codec->array)
		RL_BUF_LIT(out, "data: {");
	else if (e->some)
		RL_BUF_LIT(out, ",\r\n{");
	else
		RL_BUF_LIT(out, "[{");
	e->some = true;
}

/* The members that every piece ends with. */
static void close_piece(struct rl_encoder *codec, struct rl_buf *out)
{
	if (codec->usage.n) {
		rl_build_key(out, "usageMetadata");
		rl_buf_add(out, rl_buf_str(&codec->usage));
	}
	if (codec->head.n) {
		rl_build_comma(out);
		rl_buf_add(out, rl_buf_str(&codec->head));
	}
	rl_buf_add(out, codec->array ? RL_STR("}") : RL_STR("}\r\n\r\n"));
	if (!rl_buf_ok(&codec->head))
		out->failed = true;
}

static void open_parts(struct rl_encoder *codec, struct rl_buf *out)
{
	open_piece(codec, out);
	RL_BUF_LIT(out, "\"candidates\":[{\"content\":{\"parts\":[");
}

static void close_parts(struct rl_encoder *codec, uint32_t choice, rl_str logprobs, struct rl_buf *out)
{
	RL_BUF_LIT(out, "],\"role\":\"model\"}");
	rl_build_int(out, "index", choice);
	if (logprobs.n) {
		rl_build_key(out, "logprobsResult");
		rl_gemini_write_logprobs(logprobs, out);
	}
	RL_BUF_LIT(out, "}]");
	close_piece(codec, out);
}

static bool own_seal(const struct encode *e)
{
	return !e->family_n || rl_str_eq(rl_str_make(e->family, e->family_n), RL_STR(RL_GEMINI_NAME));
}

/* The held seal as a member of a part; foreign ones are wrapped. */
static void add_seal(struct encode *e, struct rl_buf *out)
{
	struct rl_arena arena;
	rl_str seal = rl_buf_str(&e->seal);

	if (!seal.n)
		return;
	if (own_seal(e)) {
		rl_build_text(out, "thoughtSignature", seal);
	} else {
		rl_str none = {NULL, 0};

		rl_arena_init(&arena, 8 * SEAL_MAX_BYTES);
		rl_str wrapped = rl_gemini_wrap_seal(e->seal_redacted ? none : seal, e->seal_redacted ? seal : none,
						     rl_str_make(e->family, e->family_n), &arena);

		rl_build_text(out, "thoughtSignature", wrapped);
		if (!wrapped.n)
			out->failed = true;
		rl_arena_fini(&arena);
	}
	rl_buf_reset(&e->seal);
	e->seal_alone = false;
}

/* A seal that goes on no other part: of a thought that came before, or at the end. */
static void flush_seal(struct rl_encoder *codec, struct rl_buf *out)
{
	struct encode *e = codec->own;
	bool thought = !own_seal(e);

	if (!e->seal.n)
		return;
	open_parts(codec, out);
	RL_BUF_LIT(out, "{\"text\":\"\"");
	if (thought)
		rl_build_raw(out, "thought", RL_STR("true"));
	add_seal(e, out);
	RL_BUF_LIT(out, "}");
	close_parts(codec, e->seal_choice, rl_str_make(NULL, 0), out);
}

/* A seal that the next part of this choice cannot take goes out. */
static void settle_seal(struct rl_encoder *codec, uint32_t choice, struct rl_buf *out)
{
	struct encode *e = codec->own;

	if (e->seal.n && (e->seal_choice != choice || e->seal_alone || !own_seal(e)))
		flush_seal(codec, out);
}

static void free_held(struct held *held)
{
	rl_buf_fini(&held->head);
	rl_buf_fini(&held->args);
}

static void flush_call(struct rl_encoder *codec, unsigned at, struct rl_buf *out)
{
	struct encode *e = codec->own;
	struct held *held = &e->calls[at];

	open_parts(codec, out);
	rl_buf_add(out, rl_buf_str(&held->head));
	rl_gemini_write_args(rl_buf_str(&held->args), out);
	RL_BUF_LIT(out, "}}");
	close_parts(codec, held->choice, rl_str_make(NULL, 0), out);
	/* Half a call would be another call. */
	if (!rl_buf_ok(&held->head) || !rl_buf_ok(&held->args))
		out->failed = true;
	free_held(held);
	memmove(held, held + 1, (--e->n_calls - at) * sizeof *held);
}

static void flush_calls(struct rl_encoder *codec, uint32_t choice, struct rl_buf *out)
{
	struct encode *e = codec->own;

	for (unsigned i = 0; i < e->n_calls;) {
		if (e->calls[i].choice == choice)
			flush_call(codec, i, out);
		else
			i++;
	}
}

static void encode_start(struct rl_encoder *codec, const struct rl_event *event)
{
	rl_buf_reset(&codec->head);
	if (event->name.n)
		rl_build_text(&codec->head, "modelVersion", event->name);
	if (event->id.n)
		rl_build_text(&codec->head, "responseId", event->id);
}

static void encode_text(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct encode *e = codec->own;

	flush_calls(codec, event->choice, out);
	settle_seal(codec, event->choice, out);
	open_parts(codec, out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "text", event->text);
	add_seal(e, out);
	RL_BUF_LIT(out, "}");
	close_parts(codec, event->choice, event->logprobs, out);
}

static void hold_seal(struct encode *e, const struct rl_event *event)
{
	rl_str family = rl_str_sub(event->family, 0, sizeof e->family);

	if (!e->seal.max_bytes)
		rl_buf_init(&e->seal, SEAL_MAX_BYTES);
	e->seal_choice = event->choice;
	e->seal_redacted = event->redacted.n > 0;
	e->seal_alone = rl_str_eq(event->spelling, RL_STR(RL_GEMINI_ALONE));
	if (family.n)
		memcpy(e->family, family.p, family.n);
	e->family_n = family.n;
	rl_buf_add(&e->seal, event->redacted.n ? event->redacted : event->signature);
}

static void encode_reasoning(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct encode *e = codec->own;
	bool sealed = event->signature.n || event->redacted.n;
	bool own = rl_str_eq(event->family, RL_STR(RL_GEMINI_NAME));

	flush_calls(codec, event->choice, out);
	/* Pieces of one seal are joined; what begins anew, or comes whole, ends the one before. */
	if (e->seal.n && (event->text.n || event->redacted.n || own || e->seal_redacted ||
			  e->seal_choice != event->choice || own_seal(e)))
		flush_seal(codec, out);
	if (event->text.n) {
		open_parts(codec, out);
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "text", event->text);
		RL_BUF_LIT(out, ",\"thought\":true");
		if (sealed && own) {
			hold_seal(e, event);
			add_seal(e, out);
		}
		RL_BUF_LIT(out, "}");
		close_parts(codec, event->choice, rl_str_make(NULL, 0), out);
	}
	if (sealed && !(event->text.n && own))
		hold_seal(e, event);
	if (e->seal.failed)
		out->failed = true;
}

static void encode_call(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct encode *e = codec->own;

	settle_seal(codec, event->choice, out);
	if (e->n_calls == HELD_MAX)
		flush_call(codec, 0, out);
	struct held *held = &e->calls[e->n_calls++];

	held->choice = event->choice;
	held->tool = event->tool;
	rl_buf_init(&held->head, 2 * SEAL_MAX_BYTES);
	rl_buf_init(&held->args, ARGS_MAX_BYTES);
	RL_BUF_LIT(&held->head, "{");
	add_seal(e, &held->head);
	rl_build_key(&held->head, "functionCall");
	RL_BUF_LIT(&held->head, "{");
	/* An id that was made for others is none to this API. */
	if (event->id.n && !rl_str_starts(event->id, RL_STR(RL_GEMINI_ID)))
		rl_build_text(&held->head, "id", event->id);
	rl_build_text(&held->head, "name", event->name);
	rl_build_key(&held->head, "args");
}

static void encode_arguments(struct encode *e, const struct rl_event *event)
{
	for (unsigned i = e->n_calls; i-- > 0;)
		if (e->calls[i].choice == event->choice && e->calls[i].tool == event->tool) {
			rl_buf_add(&e->calls[i].args, event->text);
			return;
		}
}

/* Parts and members of ours as they were; of others there are none that this format has. */
static void encode_extra(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	if (!ours(event)) {
		rl_encoder_lose(codec, "answer.extras");
		return;
	}
	if (event->extra_scope == RL_EXTRA_DELTA) {
		flush_calls(codec, event->choice, out);
		flush_seal(codec, out);
		open_parts(codec, out);
		for (size_t i = 0; i < event->extras.n; i++) {
			rl_build_comma(out);
			rl_buf_add(out, event->extras.v[i].json);
		}
		close_parts(codec, event->choice, rl_str_make(NULL, 0), out);
		return;
	}
	open_piece(codec, out);
	if (event->extra_scope == RL_EXTRA_CHOICE) {
		RL_BUF_LIT(out, "\"candidates\":[{");
		rl_build_int(out, "index", event->choice);
		rl_build_extras(out, event->extras);
		RL_BUF_LIT(out, "}]");
	} else {
		rl_build_extras(out, event->extras);
	}
	close_piece(codec, out);
}

static void encode_finish(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct encode *e = codec->own;

	flush_calls(codec, event->choice, out);
	if (e->seal_choice == event->choice)
		flush_seal(codec, out);
	if (event->choice < RL_CODEC_CHOICES_MAX)
		e->finish[event->choice] =
			rl_gemini_finish_word(event->finish, rl_gemini_known_word(ours(event) ? event->finish_word
											      : rl_str_make(NULL, 0)));
}

static void keep_usage(struct rl_encoder *codec, const struct rl_event *event)
{
	if (!event->usage.known)
		return;
	rl_buf_reset(&codec->usage);
	if (event->usage_json.n && ours(event))
		rl_buf_add(&codec->usage, event->usage_json);
	/* Also when a provider's object is too large to be kept. */
	if (!codec->usage.n) {
		rl_buf_reset(&codec->usage);
		rl_gemini_write_usage(&event->usage, &codec->usage);
	}
}

/* The last piece: how each choice ended, and what all of it has used. */
static void encode_done(struct rl_encoder *codec, struct rl_buf *out)
{
	struct encode *e = codec->own;

	for (uint32_t i = 0; i < RL_CODEC_CHOICES_MAX && e->n_calls; i++)
		flush_calls(codec, i, out);
	flush_seal(codec, out);
	open_piece(codec, out);
	RL_BUF_LIT(out, "\"candidates\":[");
	for (uint32_t i = 0; i < RL_CODEC_CHOICES_MAX; i++) {
		if (!e->finish[i].p)
			continue;
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}");
		rl_build_text(out, "finishReason", e->finish[i]);
		rl_build_int(out, "index", i);
		RL_BUF_LIT(out, "}");
	}
	RL_BUF_LIT(out, "]");
	close_piece(codec, out);
	if (codec->array)
		RL_BUF_LIT(out, "]");
	codec->ended = true;
}

static void encode_error(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	struct encode *e = codec->own;

	if (!codec->array) {
		RL_BUF_LIT(out, "data: ");
		rl_gemini_write_error(event->fault, out);
		RL_BUF_LIT(out, "\r\n\r\n");
	} else {
		rl_buf_add(out, e->some ? RL_STR(",\r\n") : RL_STR("["));
		rl_gemini_write_error(event->fault, out);
		RL_BUF_LIT(out, "]");
	}
	codec->ended = true;
}

void rl_gemini_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out)
{
	assert(codec->own);
	if (codec->ended)
		return;
	switch (event->kind) {
	case RL_EVENT_START:
		encode_start(codec, event);
		break;
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
		encode_text(codec, event, out);
		break;
	case RL_EVENT_REASONING:
		encode_reasoning(codec, event, out);
		break;
	case RL_EVENT_TOOL_CALL_START:
		encode_call(codec, event, out);
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		encode_arguments(codec->own, event);
		break;
	case RL_EVENT_EXTRA:
		encode_extra(codec, event, out);
		break;
	case RL_EVENT_FINISH:
		encode_finish(codec, event, out);
		break;
	case RL_EVENT_USAGE:
		keep_usage(codec, event);
		break;
	case RL_EVENT_DONE:
		encode_done(codec, out);
		break;
	case RL_EVENT_ERROR:
		encode_error(codec, event, out);
		break;
	case RL_EVENT_CITATION:
		rl_encoder_lose(codec, "answer.citations");
		break;
	case RL_EVENT_NONE:
	case RL_EVENT_COUNT:
		assert(event->kind != RL_EVENT_NONE);
	}
}

void rl_gemini_encoder_fini(struct rl_encoder *codec)
{
	struct encode *e = codec->own;

	if (!e)
		return;
	for (unsigned i = 0; i < e->n_calls; i++)
		free_held(&e->calls[i]);
	e->n_calls = 0;
	rl_buf_fini(&e->seal);
}
