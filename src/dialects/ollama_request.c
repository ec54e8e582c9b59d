/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of Ollama's dialect, both ways. */
#include "dialects/ollama_priv.h"

#include "dialect/border.h"

#include <assert.h>
#include <stdio.h>

/* --- reading: messages --- */

/* Pictures come without a type: their first bytes tell it. */
static rl_str sniff(rl_str base64)
{
	static const struct {
		rl_str first, mime;
	} known[] = {
		{RL_STR_INIT("/9j/"), RL_STR_INIT("image/jpeg")},
		{RL_STR_INIT("iVBORw0KGgo"), RL_STR_INIT("image/png")},
		{RL_STR_INIT("R0lGOD"), RL_STR_INIT("image/gif")},
		{RL_STR_INIT("UklGR"), RL_STR_INIT("image/webp")},
	};

	for (size_t i = 0; i < RL_N_FIELDS(known); i++)
		if (rl_str_starts(base64, known[i].first))
			return known[i].mime;
	return rl_str_make(NULL, 0);
}

struct members {
	rl_str role, images, calls; /* raw */
	rl_str content, thinking, tool_name, tool_call_id;
	struct rl_extras extras;
};

static void read_images(struct rl_reader *p, const struct rl_place *at, rl_str list, struct rl_part *parts, size_t *n)
{
	struct rl_place images = {at, "images", 0};
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {&images, NULL, i};
		struct rl_part *part = &parts[(*n)++];

		part->kind = RL_PART_IMAGE;
		part->media.source = RL_MEDIA_BASE64;
		rl_read_text(p, &here, element, &part->media.data);
		part->media.mime = sniff(part->media.data);
	}
}

static void read_call_function(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_tool_call, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool_call, arguments, "arguments", rl_read_raw),
		RL_WHOLE("index", rl_read_nothing), /* its place in the list, once more */
	};
	struct rl_tool_call *call = field;

	call->kind = RL_TOOL_KIND_FUNCTION;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), call, &call->extras);
}

static void read_calls(struct rl_reader *p, const struct rl_place *at, rl_str list, uint64_t nth, struct rl_part *parts,
		       size_t *n)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_part, call.id, "id", rl_read_text),
		RL_FIELD(struct rl_part, call, "function", read_call_function),
		RL_WHOLE("type", rl_read_nothing),
	};
	struct rl_place calls = {at, "tool_calls", 0};
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {&calls, NULL, i};
		struct rl_part *part = &parts[(*n)++];

		part->kind = RL_PART_TOOL_CALL;
		rl_table_read(p, &here, element, fields, RL_N_FIELDS(fields), part, &part->extras);
		if (!p->err && !part->call.name.n)
			rl_table_fail(p, &here, "has no function with a name");
		if (!part->call.arguments.p)
			part->call.arguments = RL_STR("{}");
		/* Older servers give calls no ids, but everybody else pairs results by them. */
		if (!part->call.id.n)
			part->call.id = rl_arena_printf(p->arena, "call_%08x%zu", (unsigned)(nth & 0xFFFFFFFF), i);
		if (!part->call.id.p)
			rl_table_nomem(p);
	}
}

static void read_result(struct rl_reader *p, const struct rl_place *at, const struct members *m, struct rl_message *out)
{
	struct rl_part *part = rl_table_make(p, 1, sizeof *part);
	struct rl_part *inner = rl_table_make(p, 1 + rl_table_count(m->images), sizeof *inner);
	size_t n = 0;

	if (!part || !inner)
		return;
	if (m->content.p)
		inner[n++] = (struct rl_part){.kind = RL_PART_TEXT, .text = m->content};
	read_images(p, at, m->images, inner, &n);
	part->kind = RL_PART_TOOL_RESULT;
	part->result = (struct rl_tool_result){.call_id = m->tool_call_id,
					       .name = m->tool_name,
					       .parts = inner,
					       .n_parts = n,
					       .kind = RL_TOOL_KIND_FUNCTION};
	out->parts = part;
	out->n_parts = 1;
}

void rl_ollama_read_message(struct rl_reader *p, const struct rl_place *at, rl_str value, uint64_t nth,
			    struct rl_message *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct members, role, "role", rl_read_raw),
		RL_FIELD(struct members, content, "content", rl_read_text),
		RL_FIELD(struct members, thinking, "thinking", rl_read_text),
		RL_FIELD(struct members, images, "images", rl_read_raw),
		RL_FIELD(struct members, calls, "tool_calls", rl_read_raw),
		RL_FIELD(struct members, tool_name, "tool_name", rl_read_text),
		RL_FIELD(struct members, tool_call_id, "tool_call_id", rl_read_text),
	};
	static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
	struct rl_place role = {at, "role", 0};
	struct members m = {.role = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &m, &m.extras);
	if (p->err)
		return;
	out->role = (enum rl_role)rl_table_word(m.role, roles, RL_N_FIELDS(roles));
	out->extras = m.extras;
	if (!out->role) {
		rl_table_fail(p, &role, "must be one of system, user, assistant, tool");
		return;
	}
	if (out->role == RL_ROLE_TOOL) {
		read_result(p, at, &m, out);
		return;
	}
	out->parts = rl_table_make(p, 2 + rl_table_count(m.images) + rl_table_count(m.calls), sizeof *out->parts);
	if (!out->parts)
		return;
	if (m.thinking.n)
		out->parts[out->n_parts++] =
			(struct rl_part){.kind = RL_PART_REASONING, .reasoning = {.text = m.thinking}};
	if (m.content.n)
		out->parts[out->n_parts++] = (struct rl_part){.kind = RL_PART_TEXT, .text = m.content};
	read_images(p, at, m.images, out->parts, &out->n_parts);
	read_calls(p, at, m.calls, nth, out->parts, &out->n_parts);
}

/* The call that a result without an id answers: the first before it that is not answered, of its name if it has one. */
static const struct rl_tool_call *open_call(const struct rl_chat_request *request, size_t upto, rl_str name)
{
	for (size_t i = 0; i < upto; i++) {
		for (size_t k = 0; k < request->messages[i].n_parts; k++) {
			const struct rl_part *call = &request->messages[i].parts[k];
			bool answered = false;

			if (call->kind != RL_PART_TOOL_CALL || (name.n && !rl_str_eq(name, call->call.name)))
				continue;
			for (size_t j = i; j < upto && !answered; j++)
				answered = request->messages[j].role == RL_ROLE_TOOL && request->messages[j].n_parts &&
					   rl_str_eq(request->messages[j].parts[0].result.call_id, call->call.id);
			if (!answered)
				return &call->call;
		}
	}
	return NULL;
}

static void read_messages(struct rl_reader *p, rl_str value, struct rl_chat_request *request)
{
	static const struct rl_place at = {NULL, "messages", 0};
	struct rl_json_iter iter;
	rl_str element;
	unsigned searches = 0;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, &at, value.p ? "must be an array" : "is missing");
		return;
	}
	request->messages = rl_table_make(p, rl_table_count(value), sizeof *request->messages);
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {&at, NULL, request->n_messages};
		struct rl_message *message = &request->messages[request->n_messages];

		rl_ollama_read_message(p, &here, element, request->n_messages++, message);
		if (p->err || message->role != RL_ROLE_TOOL || message->parts[0].result.call_id.n)
			continue;
		/* A search walks the history: bounded, for a history of nothing but results is nobody's. */
		const struct rl_tool_call *call =
			searches++ < 1000 ? open_call(request, request->n_messages - 1, message->parts[0].result.name)
					  : NULL;
		if (call)
			message->parts[0].result.call_id = call->id;
	}
}

/* --- reading: the rest --- */

static void read_function(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_tool, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool, description, "description", rl_read_text),
		RL_FIELD(struct rl_tool, schema, "parameters", rl_read_raw),
	};
	struct rl_tool *tool = field;

	tool->kind = RL_TOOL_KIND_FUNCTION;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), tool, &tool->inner);
}

static void read_tools(struct rl_reader *p, rl_str value, struct rl_chat_request *request)
{
	static const struct rl_field fields[] = {RL_WHOLE("type", rl_read_nothing),
						 RL_WHOLE("function", read_function)};
	static const struct rl_place at = {NULL, "tools", 0};
	struct rl_json_iter iter;
	rl_str element;

	if (value.p && rl_json_type_of(value) != RL_JSON_ARRAY)
		rl_table_fail(p, &at, "must be an array");
	request->tools = rl_table_make(p, rl_table_count(value), sizeof *request->tools);
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {&at, NULL, request->n_tools};
		struct rl_tool *tool = &request->tools[request->n_tools++];

		rl_table_read(p, &here, element, fields, RL_N_FIELDS(fields), tool, &tool->extras);
		if (!p->err && !tool->name.n)
			rl_table_fail(p, &here, "has no function with a name");
	}
}

static void read_stop(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str element;

	request->stop = rl_table_make(p, 1 + rl_table_count(value), sizeof *request->stop);
	request->n_stop = 0;
	if (request->stop && rl_json_type_of(value) != RL_JSON_ARRAY)
		rl_read_text(p, at, value, &request->stop[request->n_stop++]);
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element))
		rl_read_text(p, at, element, &request->stop[request->n_stop++]);
}

/* Minus one and minus two are as many as there is room for: as if nothing were said. */
static void read_limit(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_NUMBER && value.p[0] == '-')
		return;
	rl_read_int(p, at, value, field);
}

#define REQUEST(member, name, read) RL_FIELD(struct rl_chat_request, member, name, read)

/* What the body's members say, before it is known what they mean. */
struct body {
	struct rl_chat_request request;
	rl_str messages, tools, options, think, format; /* raw */
	enum rl_choice3 stream;
};

/* Options that the message lacks stay extras, under a name that tells where they stood. */
static void read_options(struct rl_reader *p, struct body *body)
{
	static const struct rl_field fields[] = {
		REQUEST(max_tokens, "num_predict", read_limit),
		REQUEST(temperature, "temperature", rl_read_number),
		REQUEST(top_p, "top_p", rl_read_number),
		REQUEST(top_k, "top_k", rl_read_number),
		REQUEST(seed, "seed", rl_read_number),
		REQUEST(frequency_penalty, "frequency_penalty", rl_read_number),
		REQUEST(presence_penalty, "presence_penalty", rl_read_number),
		RL_WHOLE("stop", read_stop),
	};
	static const struct rl_place at = {NULL, "options", 0};
	struct rl_chat_request *request = &body->request;
	struct rl_extras own = request->extras, inner = {.n = 0};

	if (!body->options.p)
		return;
	rl_table_read(p, &at, body->options, fields, RL_N_FIELDS(fields), request, &inner);
	struct rl_extra *all = rl_table_make(p, own.n + inner.n, sizeof *all);

	if (p->err)
		return;
	if (own.n)
		memcpy(all, own.v, own.n * sizeof *all);
	for (size_t i = 0; i < inner.n; i++) {
		rl_str key = rl_str_sub(inner.v[i].key, 1, SIZE_MAX);

		all[own.n + i] = (struct rl_extra){rl_arena_printf(p->arena, RL_OLLAMA_OPTION "%.*s", RL_STR_ARG(key)),
						   inner.v[i].json};
		if (!all[own.n + i].key.p)
			rl_table_nomem(p);
	}
	request->extras = (struct rl_extras){all, own.n + inner.n};
}

static void read_think(struct rl_reader *p, rl_str value, struct rl_chat_request *request)
{
	static const struct rl_place at = {NULL, "think", 0};

	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, &at, value, &request->effort);
	else if (value.p)
		rl_read_choice3(p, &at, value, &request->reasoning);
}

static void read_format(rl_str value, struct rl_format *format)
{
	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		*format = (struct rl_format){.kind = RL_FORMAT_SCHEMA, .schema = value};
	else if (rl_json_string_is(value, RL_STR("json")))
		format->kind = RL_FORMAT_JSON;
	else if (value.p && !rl_json_string_is(value, RL_STR("")))
		*format = (struct rl_format){.kind = RL_FORMAT_RAW, .json = value};
}

static void read_chat(struct rl_reader *p, rl_str text, struct rl_chat_request *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct body, request.model, "model", rl_read_text),
		RL_FIELD(struct body, request.logprobs, "logprobs", rl_read_choice3),
		RL_FIELD(struct body, request.top_logprobs, "top_logprobs", rl_read_int),
		RL_FIELD(struct body, messages, "messages", rl_read_raw),
		RL_FIELD(struct body, tools, "tools", rl_read_raw),
		RL_FIELD(struct body, options, "options", rl_read_raw),
		RL_FIELD(struct body, think, "think", rl_read_raw),
		RL_FIELD(struct body, format, "format", rl_read_raw),
		RL_FIELD(struct body, stream, "stream", rl_read_choice3),
	};
	struct body body = {.request = *out};

	rl_table_read(p, NULL, text, fields, RL_N_FIELDS(fields), &body, &body.request.extras);
	if (!p->err)
		read_messages(p, body.messages, &body.request);
	if (!p->err)
		read_tools(p, body.tools, &body.request);
	if (!p->err)
		read_options(p, &body);
	if (!p->err)
		read_think(p, body.think, &body.request);
	read_format(body.format, &body.request.format);
	body.request.stream = body.stream != RL_NO;
	body.request.include_usage = true;
	*out = body.request;
}

static void read_inputs(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str element;

	request->inputs = rl_table_make(p, 1 + rl_table_count(value), sizeof *request->inputs);
	request->n_inputs = 0;
	if (!request->inputs)
		return;
	request->single_input = rl_json_type_of(value) != RL_JSON_ARRAY;
	if (request->single_input)
		rl_read_text(p, at, value, &request->inputs[request->n_inputs++].text);
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, request->n_inputs};
		rl_read_text(p, &here, element, &request->inputs[request->n_inputs++].text);
	}
}

static const struct rl_field embed_fields[] = {
	REQUEST(model, "model", rl_read_text),
	RL_WHOLE("input", read_inputs),
	REQUEST(dimensions, "dimensions", rl_read_int),
};

enum rl_err rl_ollama_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				    struct rl_chat_request *out, struct rl_fault *fault)
{
	static const struct rl_place model = {NULL, "model", 0}, input = {NULL, "input", 0};
	struct rl_reader p = {.arena = arena, .fault = fault};
	struct rl_json_error error;

	assert(op == RL_OP_CHAT || op == RL_OP_EMBEDDING); /* the others have no message */
	rl_chat_request_init(out);
	out->dialect = RL_STR(RL_OLLAMA_NAME);
	enum rl_err err = rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	if (op == RL_OP_CHAT)
		read_chat(&p, body, out);
	else
		rl_table_read(&p, NULL, body, embed_fields, RL_N_FIELDS(embed_fields), out, &out->extras);
	if (!p.err && !out->model.n)
		rl_table_fail(&p, &model, "is missing");
	if (!p.err && op == RL_OP_EMBEDDING && !out->inputs)
		rl_table_fail(&p, &input, "is missing");
	return p.err == RL_ERR_NOMEM ? rl_border_nomem(fault) : p.err;
}

/* --- writing --- */

struct writer {
	struct rl_buf *out;
	struct rl_translation *t;
	const struct rl_chat_request *request;
	bool ours; /* raw members and parts are in our words */
};

static void extras(const struct writer *w, const char *place, struct rl_extras list)
{
	if (w->ours)
		rl_build_extras(w->out, list);
	else
		rl_drop_extras(w->t, place, list);
}

void rl_ollama_write_arguments(rl_str arguments, struct rl_buf *out)
{
	bool json = !rl_json_scan(arguments, NULL, 0, RL_JSON_LAX, NULL, NULL);

	if (json && rl_json_type_of(arguments) == RL_JSON_OBJECT) {
		rl_buf_add(out, arguments);
		return;
	}
	/* What a model wrote wrong stays readable, in an object as the server wants one. */
	RL_BUF_LIT(out, "{");
	if (arguments.n)
		rl_build_text(out, "input", arguments);
	RL_BUF_LIT(out, "}");
}

static void refuse_part(const struct writer *w, size_t message, const struct rl_part *part)
{
	rl_str param = rl_arena_printf(w->t->arena, "messages[%zu].content", message);

	rl_refuse(w->t, param,
		  "messages[%zu] holds a part of the kind '%s' in a form that Ollama cannot take: it takes text, and "
		  "pictures as base64. Leave it out, or use another target.",
		  message, rl_part_kind_name(part->kind));
}

/* All text as one, a line break between pieces. Pictures go apart; all else is refused, but for what others write. */
static void write_content(const struct writer *w, size_t at, const struct rl_part *parts, size_t n)
{
	struct rl_buf text;
	size_t count = 0;
	rl_str only = {NULL, 0};

	rl_buf_init(&text, SIZE_MAX / 2);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].kind != RL_PART_TEXT && parts[i].kind != RL_PART_REFUSAL)
			continue;
		if (count == 1)
			rl_buf_add(&text, only);
		if (count)
			rl_buf_byte(&text, '\n');
		if (count++)
			rl_buf_add(&text, parts[i].text);
		only = parts[i].text;
	}
	rl_build_text(w->out, "content", count > 1 ? rl_buf_str(&text) : only);
	if (!rl_buf_ok(&text))
		rl_translation_nomem(w->t);
	rl_buf_fini(&text);
	for (size_t i = 0; i < n && !w->ours; i++) {
		char place[48];

		snprintf(place, sizeof place, "messages[%zu].content[%zu]", at, i);
		rl_drop_extras(w->t, place, parts[i].extras);
		if (parts[i].cache.set)
			rl_drop(w->t, "%s.cache_control", place);
		if (parts[i].n_citations)
			rl_drop(w->t, "%s.citations", place);
	}
}

static void write_images(const struct writer *w, size_t at, const struct rl_part *parts, size_t n)
{
	bool open = false;

	for (size_t i = 0; i < n; i++) {
		switch (parts[i].kind) {
		case RL_PART_IMAGE:
			if (parts[i].media.source != RL_MEDIA_BASE64) {
				refuse_part(w, at, &parts[i]);
				return;
			}
			if (parts[i].media.detail.n)
				rl_drop(w->t, "messages[%zu].content[%zu].detail", at, i);
			if (!open) {
				rl_build_key(w->out, "images");
				RL_BUF_LIT(w->out, "[");
			}
			open = true;
			rl_build_comma(w->out);
			rl_buf_json(w->out, parts[i].media.data);
			break;
		case RL_PART_AUDIO:
		case RL_PART_VIDEO:
		case RL_PART_DOCUMENT:
		case RL_PART_RAW:
			refuse_part(w, at, &parts[i]);
			return;
		default:
			break;
		}
	}
	if (open)
		RL_BUF_LIT(w->out, "]");
}

static void write_thoughts(const struct writer *w, size_t at, const struct rl_message *message)
{
	bool said = false;

	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_reasoning *thought = &message->parts[i].reasoning;

		if (message->parts[i].kind != RL_PART_REASONING)
			continue;
		/* A sealed thought is worth something to whoever sealed it. One field: of several the first. */
		if (thought->signature.n || thought->redacted.n || said)
			rl_drop(w->t, "messages[%zu].reasoning", at);
		else if ((said = thought->text.n > 0))
			rl_build_text(w->out, "thinking", thought->text);
	}
}

static void write_calls(const struct writer *w, size_t at, const struct rl_message *message)
{
	struct rl_buf *out = w->out;
	size_t n = 0;
	char place[48];

	snprintf(place, sizeof place, "messages[%zu].tool_calls", at);
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind != RL_PART_TOOL_CALL)
			continue;
		if (part->call.kind == RL_TOOL_KIND_HOSTED) {
			rl_refuse(w->t, RL_STR("messages"), "%s holds a call of a tool that runs at its provider.",
				  place);
			return;
		}
		if (!n++) {
			rl_build_key(out, "tool_calls");
			RL_BUF_LIT(out, "[");
		}
		rl_build_comma(out);
		RL_BUF_LIT(out, "{");
		if (part->call.id.n)
			rl_build_text(out, "id", part->call.id);
		rl_build_key(out, "function");
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "name", part->call.name);
		rl_build_key(out, "arguments");
		rl_ollama_write_arguments(part->call.arguments, out);
		extras(w, place, part->call.extras);
		RL_BUF_LIT(out, "}");
		extras(w, place, part->extras);
		RL_BUF_LIT(out, "}");
	}
	if (n)
		RL_BUF_LIT(out, "]");
}

/* The name of the tool that a result is of: its own, or that of its call in the history. */
static rl_str name_of_result(const struct rl_chat_request *request, const struct rl_tool_result *result)
{
	for (size_t i = request->n_messages; !result->name.n && i-- > 0;)
		for (size_t k = 0; k < request->messages[i].n_parts; k++) {
			const struct rl_part *part = &request->messages[i].parts[k];

			if (part->kind == RL_PART_TOOL_CALL && result->call_id.n &&
			    rl_str_eq(part->call.id, result->call_id))
				return part->call.name;
		}
	return result->name;
}

static void write_result(const struct writer *w, size_t at, const struct rl_tool_result *result)
{
	rl_str name = name_of_result(w->request, result);

	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{\"role\":\"tool\"");
	write_content(w, at, result->parts, result->n_parts);
	write_images(w, at, result->parts, result->n_parts);
	if (name.n)
		rl_build_text(w->out, "tool_name", name);
	if (result->call_id.n)
		rl_build_text(w->out, "tool_call_id", result->call_id);
	if (result->is_error)
		rl_drop(w->t, "messages[%zu].is_error", at);
}

/* Results first, each a message of its own. */
static void write_message(const struct writer *w, size_t at, const struct rl_message *message)
{
	enum rl_role role = message->role == RL_ROLE_DEVELOPER ? RL_ROLE_SYSTEM : message->role;
	size_t results = 0;
	char place[32];

	snprintf(place, sizeof place, "messages[%zu]", at);
	for (size_t i = 0; i < message->n_parts; i++) {
		if (message->parts[i].kind != RL_PART_TOOL_RESULT)
			continue;
		write_result(w, at, &message->parts[i].result);
		if (role == RL_ROLE_TOOL)
			extras(w, place, message->extras);
		RL_BUF_LIT(w->out, "}");
		results++;
	}
	if (role == RL_ROLE_TOOL || (results && results == message->n_parts))
		return;
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	rl_build_text(w->out, "role", rl_str_of(rl_role_name(role)));
	write_content(w, at, message->parts, message->n_parts);
	write_thoughts(w, at, message);
	write_images(w, at, message->parts, message->n_parts);
	write_calls(w, at, message);
	if (message->name.n)
		rl_drop(w->t, "%s.name", place);
	extras(w, place, message->extras);
	RL_BUF_LIT(w->out, "}");
}

/* Whether the choice allows this tool. */
static bool allowed(const struct rl_tool_choice *choice, rl_str name)
{
	if (choice->mode != RL_TOOL_CHOICE_AUTO || !choice->n_names)
		return choice->mode != RL_TOOL_CHOICE_NONE;
	for (size_t i = 0; i < choice->n_names; i++)
		if (rl_str_eq(choice->names[i], name))
			return true;
	return false;
}

static void write_tool(const struct writer *w, size_t at, const struct rl_tool *tool)
{
	struct rl_buf *out = w->out;
	char place[32];

	snprintf(place, sizeof place, "tools[%zu]", at);
	rl_build_comma(out);
	RL_BUF_LIT(out, "{\"type\":\"function\",\"function\":{");
	rl_build_text(out, "name", tool->name);
	if (tool->description.p)
		rl_build_text(out, "description", tool->description);
	if (tool->schema.n)
		rl_build_raw(out, "parameters", tool->schema);
	else if (!w->ours)
		rl_build_raw(out, "parameters", RL_STR("{\"type\":\"object\",\"properties\":{}}"));
	extras(w, place, tool->inner);
	RL_BUF_LIT(out, "}");
	extras(w, place, tool->extras);
	RL_BUF_LIT(out, "}");
	if (tool->strict == RL_YES)
		rl_drop(w->t, "%s.strict", place);
	if (tool->cache.set)
		rl_drop(w->t, "%s.cache_control", place);
}

static void write_tools(const struct writer *w, const struct rl_chat_request *request)
{
	const struct rl_tool_choice *choice = &request->tool_choice;
	size_t n = 0;

	if (choice->mode >= RL_TOOL_CHOICE_REQUIRED)
		rl_refuse(w->t, RL_STR("tool_choice"),
			  "Ollama cannot be told to use a tool: it decides itself. Use 'auto', or another target.");
	for (size_t i = 0; i < request->n_tools; i++) {
		const struct rl_tool *tool = &request->tools[i];

		if (tool->kind == RL_TOOL_KIND_CUSTOM || tool->kind == RL_TOOL_KIND_HOSTED) {
			rl_refuse(w->t, RL_STR("tools"), "tools[%zu] is of the kind '%s'; Ollama takes functions only.",
				  i, rl_tool_kind_name(tool->kind));
			return;
		}
		if (!allowed(choice, tool->name))
			continue;
		if (!n++) {
			rl_build_key(w->out, "tools");
			RL_BUF_LIT(w->out, "[");
		}
		write_tool(w, i, tool);
	}
	if (n)
		RL_BUF_LIT(w->out, "]");
	if (request->parallel_tool_calls == RL_NO)
		rl_drop(w->t, "parallel_tool_calls");
}

static void write_format(const struct writer *w, const struct rl_format *format)
{
	if (format->kind == RL_FORMAT_JSON)
		rl_build_text(w->out, "format", RL_STR("json"));
	else if (format->kind == RL_FORMAT_SCHEMA)
		rl_build_raw(w->out, "format", format->schema.n ? format->schema : RL_STR("\"json\""));
	else if (format->kind == RL_FORMAT_RAW && w->ours)
		rl_build_raw(w->out, "format", format->json);
	else if (format->kind == RL_FORMAT_RAW)
		rl_refuse(w->t, RL_STR("response_format"), "Ollama does not have this form of answer.");
	if (format->description.n)
		rl_drop(w->t, "response_format.description");
	rl_drop_extras(w->t, "response_format", format->extras);
}

/* Levels are low, medium, high and max; the others go to the nearest. */
static void write_think(const struct writer *w, const struct rl_chat_request *request)
{
	rl_str effort = request->effort;
	bool off = rl_str_eq(effort, RL_STR("none")) || request->reasoning == RL_NO || request->reasoning_budget == 0;

	if (!w->ours && rl_str_eq(effort, RL_STR("minimal")))
		effort = RL_STR("low");
	else if (!w->ours && rl_str_eq(effort, RL_STR("xhigh")))
		effort = RL_STR("max");
	if (off)
		rl_build_raw(w->out, "think", RL_STR("false"));
	else if (effort.n)
		rl_build_text(w->out, "think", effort);
	else if (request->reasoning == RL_YES || request->reasoning_budget != RL_UNSET)
		rl_build_raw(w->out, "think", RL_STR("true"));
	if (request->reasoning_budget > 0)
		rl_drop(w->t, "reasoning_budget");
}

static void number(struct rl_buf *out, const char *key, rl_str raw)
{
	if (raw.n)
		rl_build_raw(out, key, raw);
}

static void write_options(const struct writer *w, const struct rl_chat_request *request)
{
	int64_t limit = request->max_tokens, other = request->max_completion_tokens;
	struct rl_buf *out = w->out;

	if (limit == RL_UNSET || (other != RL_UNSET && other < limit))
		limit = other;
	rl_build_key(out, "options");
	RL_BUF_LIT(out, "{");
	size_t empty = out->n;

	if (limit != RL_UNSET)
		rl_build_int(out, "num_predict", limit);
	number(out, "temperature", request->temperature);
	number(out, "top_p", request->top_p);
	number(out, "top_k", request->top_k);
	number(out, "seed", request->seed);
	number(out, "frequency_penalty", request->frequency_penalty);
	number(out, "presence_penalty", request->presence_penalty);
	if (request->n_stop) {
		rl_build_key(out, "stop");
		RL_BUF_LIT(out, "[");
		for (size_t i = 0; i < request->n_stop; i++) {
			rl_build_comma(out);
			rl_buf_json(out, request->stop[i]);
		}
		RL_BUF_LIT(out, "]");
	}
	for (size_t i = 0; w->ours && i < request->extras.n; i++) {
		const struct rl_extra *extra = &request->extras.v[i];

		if (!rl_str_starts(extra->key, RL_STR(RL_OLLAMA_OPTION)))
			continue;
		rl_build_comma(out);
		rl_buf_byte(out, '"');
		rl_buf_add(out, rl_str_sub(extra->key, sizeof RL_OLLAMA_OPTION - 1, SIZE_MAX));
		rl_buf_byte(out, ':');
		rl_buf_add(out, extra->json);
	}
	/* Nothing in it: the key goes again, with its comma. */
	if (rl_buf_ok(out) && out->n == empty)
		out->n -= sizeof ",\"options\":{" - 1;
	else
		RL_BUF_LIT(out, "}");
}

static void write_extras(const struct writer *w, const struct rl_chat_request *request)
{
	if (!w->ours) {
		rl_drop_extras(w->t, "", request->extras);
		rl_drop_extras(w->t, "stream_options", request->stream_extras);
		return;
	}
	for (size_t i = 0; i < request->extras.n; i++)
		if (!rl_str_starts(request->extras.v[i].key, RL_STR(RL_OLLAMA_OPTION)))
			rl_build_extras(w->out, (struct rl_extras){&request->extras.v[i], 1});
}

static void write_chat(const struct writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;

	rl_build_key(out, "messages");
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_messages; i++)
		write_message(w, i, &request->messages[i]);
	RL_BUF_LIT(out, "]");
	write_tools(w, request);
	write_format(w, &request->format);
	write_think(w, request);
	write_options(w, request);
	if (request->logprobs != RL_UNSAID)
		rl_build_raw(out, "logprobs", request->logprobs == RL_YES ? RL_STR("true") : RL_STR("false"));
	if (request->top_logprobs != RL_UNSET)
		rl_build_int(out, "top_logprobs", request->top_logprobs);
	/* Said always: what is not said streams. */
	rl_build_raw(out, "stream", request->stream ? RL_STR("true") : RL_STR("false"));
	if (request->n > 1)
		rl_refuse(w->t, RL_STR("n"), "Ollama gives one choice a request. Send the request several times.");
	if (request->cache.set)
		rl_drop(w->t, "cache_control");
}

static void write_embed(const struct writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;

	rl_build_key(out, "input");
	if (!request->single_input)
		RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_inputs; i++) {
		if (request->inputs[i].is_tokens)
			rl_refuse(w->t, RL_STR("input"), "Ollama takes text to embed, not tokens.");
		rl_build_comma(out);
		rl_buf_json(out, request->inputs[i].text);
	}
	if (!request->single_input)
		RL_BUF_LIT(out, "]");
	if (request->dimensions != RL_UNSET)
		rl_build_int(out, "dimensions", request->dimensions);
	if (request->purpose.n)
		rl_drop(w->t, "input_type");
}

void rl_ollama_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out)
{
	struct writer w = {out, t, request, rl_str_eq(request->dialect, RL_STR(RL_OLLAMA_NAME))};

	assert(op == RL_OP_CHAT || op == RL_OP_EMBEDDING);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "model", request->model);
	if (op == RL_OP_CHAT)
		write_chat(&w, request);
	else
		write_embed(&w, request);
	if (request->user.n)
		rl_drop(t, "user");
	write_extras(&w, request);
	RL_BUF_LIT(out, "}");
}
