/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI request bodies to ours: tools, formats, sampling, inputs. Messages are read in openai_message.c. */
#include "dialect/openai_priv.h"
#include "dialect/table.h"

#include <assert.h>

static void read_messages(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be an array");
		return;
	}
	request->messages = rl_table_make(p, rl_table_count(value), sizeof *request->messages);
	request->n_messages = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, request->n_messages};
		rl_openai_read_message(p, &here, element, RL_ROLE_NONE, &request->messages[request->n_messages++]);
	}
}

/* --- tools --- */

static const struct rl_field function_fields[] = {
	RL_FIELD(struct rl_tool, name, "name", rl_read_text),
	RL_FIELD(struct rl_tool, description, "description", rl_read_text),
	RL_FIELD(struct rl_tool, schema, "parameters", rl_read_raw),
	RL_FIELD(struct rl_tool, strict, "strict", rl_read_choice3),
};

static const struct rl_field custom_fields[] = {
	RL_FIELD(struct rl_tool, name, "name", rl_read_text),
	RL_FIELD(struct rl_tool, description, "description", rl_read_text),
	RL_FIELD(struct rl_tool, format, "format", rl_read_raw),
};

static void read_function(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_tool *tool = field;

	rl_table_read(p, at, value, function_fields, RL_N_FIELDS(function_fields), tool, &tool->inner);
}

static void read_custom(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_tool *tool = field;

	rl_table_read(p, at, value, custom_fields, RL_N_FIELDS(custom_fields), tool, &tool->inner);
}

static void read_tool(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_tool *tool)
{
	static const struct rl_field function[] = {RL_WHOLE("function", read_function),
						   RL_WHOLE("type", rl_read_nothing)};
	static const struct rl_field custom[] = {RL_WHOLE("custom", read_custom), RL_WHOLE("type", rl_read_nothing)};
	static const char *const kinds[] = {"function", "custom"};

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	tool->kind = (enum rl_tool_kind)rl_table_word(rl_table_type(value), kinds, 2);
	if (!tool->kind) {
		tool->kind = RL_TOOL_KIND_HOSTED;
		tool->json = value;
		return;
	}
	rl_table_read(p, at, value, tool->kind == RL_TOOL_KIND_FUNCTION ? function : custom, 2, tool, &tool->extras);
	if (tool->extras.n)
		rl_openai_take_mark(p, &tool->extras, &tool->cache);
	if (!tool->name.n)
		rl_table_fail(p, at, "has no name");
}

/* The modern list and the deprecated one land in the same place; nobody sends both. */
static void read_tool_list(struct rl_reader *p, const struct rl_place *at, rl_str value,
			   struct rl_chat_request *request, bool legacy)
{
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be an array");
		return;
	}
	if (request->n_tools) {
		rl_table_fail(p, at, "cannot be given together with the other list of tools");
		return;
	}
	request->tools = rl_table_make(p, rl_table_count(value), sizeof *request->tools);
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, request->n_tools};
		struct rl_tool *tool = &request->tools[request->n_tools++];

		if (!legacy) {
			read_tool(p, &here, element, tool);
			continue;
		}
		tool->kind = RL_TOOL_KIND_LEGACY;
		read_function(p, &here, element, tool);
	}
}

static void read_tools(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	read_tool_list(p, at, value, field, false);
}

static void read_functions(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	read_tool_list(p, at, value, field, true);
}

/* {"function":{"name":"x"}} or {"custom":{"name":"x"}}: the name; empty when there is none. */
static rl_str name_inside(struct rl_reader *p, rl_str object, enum rl_tool_kind *kind)
{
	static const rl_str keys[] = {RL_STR_INIT("function"), RL_STR_INIT("custom")};
	static const rl_str name_key = RL_STR_INIT("name");
	struct rl_json_span spans[2], name;
	rl_str text = {NULL, 0};

	rl_json_find(object, keys, 2, spans);
	size_t which = spans[0].type ? 0 : 1;
	rl_str inner = rl_json_span_text(object, &spans[which]);

	rl_json_find(inner, &name_key, 1, &name);
	*kind = which ? RL_TOOL_KIND_CUSTOM : RL_TOOL_KIND_FUNCTION;
	if (name.type == RL_JSON_STRING && rl_json_unescape(rl_json_span_text(inner, &name), p->arena, &text))
		text = rl_str_make(NULL, 0);
	return text;
}

static enum rl_tool_choice_mode choice_mode(rl_str word)
{
	static const char *const words[] = {"none", "auto", "required"};

	return (enum rl_tool_choice_mode)rl_table_word(word, words, RL_N_FIELDS(words));
}

/* {"type":"allowed_tools","allowed_tools":{"mode":...,"tools":[...]}}; RAW unless all of it is understood. */
static void read_allowed(struct rl_reader *p, rl_str object, struct rl_tool_choice *choice)
{
	static const rl_str outer_key = RL_STR_INIT("allowed_tools");
	static const rl_str keys[] = {RL_STR_INIT("mode"), RL_STR_INIT("tools")};
	struct rl_json_span outer, spans[2];
	struct rl_json_iter iter;
	rl_str element;

	rl_json_find(object, &outer_key, 1, &outer);
	rl_str inner = rl_json_span_text(object, &outer);

	rl_json_find(inner, keys, 2, spans);
	rl_str tools = rl_json_span_text(inner, &spans[1]);
	rl_str *names = rl_table_make(p, rl_table_count(tools), sizeof *names);
	size_t n = 0;

	choice->json = object;
	choice->mode = choice_mode(rl_json_span_text(inner, &spans[0]));
	if (choice->mode != RL_TOOL_CHOICE_AUTO && choice->mode != RL_TOOL_CHOICE_REQUIRED)
		choice->mode = RL_TOOL_CHOICE_RAW;
	rl_json_iter_array(&iter, tools);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		enum rl_tool_kind kind;

		names[n] = name_inside(p, element, &kind);
		if (!names[n++].n)
			choice->mode = RL_TOOL_CHOICE_RAW;
	}
	choice->names = names;
	choice->n_names = n;
}

static void set_named(struct rl_reader *p, rl_str name, enum rl_tool_kind kind, struct rl_tool_choice *choice)
{
	rl_str *names = rl_table_make(p, 1, sizeof *names);

	if (!names)
		return;
	names[0] = name;
	choice->mode = RL_TOOL_CHOICE_NAMED;
	choice->kind = kind;
	choice->names = names;
	choice->n_names = 1;
}

static void read_tool_choice(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_tool_choice *choice = field;
	enum rl_tool_kind kind;
	rl_str name;

	if (rl_json_type_of(value) != RL_JSON_STRING && rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be a string or an object");
		return;
	}
	choice->mode = choice_mode(value);
	if (choice->mode)
		return;
	if (rl_json_string_is(rl_table_type(value), RL_STR("allowed_tools"))) {
		read_allowed(p, value, choice);
		return;
	}
	name = name_inside(p, value, &kind);
	if (name.n) {
		set_named(p, name, kind, choice);
		return;
	}
	choice->mode = RL_TOOL_CHOICE_RAW;
	choice->json = value;
}

/* The deprecated form: "none", "auto" or {"name":"x"}. */
static void read_legacy_choice(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {RL_WHOLE("name", rl_read_text)};
	struct rl_tool_choice *choice = field;
	rl_str name = {NULL, 0};

	if (rl_json_type_of(value) == RL_JSON_OBJECT) {
		rl_table_read(p, at, value, fields, 1, &name, NULL);
		set_named(p, name, RL_TOOL_KIND_LEGACY, choice);
		return;
	}
	choice->kind = RL_TOOL_KIND_LEGACY;
	choice->mode = choice_mode(value);
	if (!choice->mode)
		rl_table_fail(p, at, "must be none, auto or an object with a name");
}

/* --- the rest of a request --- */

static void read_schema(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_format, name, "name", rl_read_text),
		RL_FIELD(struct rl_format, description, "description", rl_read_text),
		RL_FIELD(struct rl_format, schema, "schema", rl_read_raw),
		RL_FIELD(struct rl_format, strict, "strict", rl_read_choice3),
	};
	struct rl_format *format = field;

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), format, &format->extras);
}

static void read_format(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {RL_WHOLE("json_schema", read_schema),
						 RL_WHOLE("type", rl_read_nothing)};
	static const char *const kinds[] = {"text", "json_object", "json_schema"};
	struct rl_format *format = field;
	struct rl_extras others;

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	format->kind = (enum rl_format_kind)rl_table_word(rl_table_type(value), kinds, RL_N_FIELDS(kinds));
	rl_table_read(p, at, value, fields, 2, format, &others);
	/* llama.cpp and others put a schema in other places: theirs, not ours. */
	if (format->kind && !others.n && (format->kind != RL_FORMAT_SCHEMA || format->schema.p))
		return;
	*format = (struct rl_format){.kind = RL_FORMAT_RAW, .json = value};
}

static void read_stop(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str element;

	request->stop = rl_table_make(p, 1 + rl_table_count(value), sizeof *request->stop);
	request->n_stop = 0;
	if (!request->stop)
		return;
	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_read_text(p, at, value, &request->stop[request->n_stop++]);
		return;
	}
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, request->n_stop};
		rl_read_text(p, &here, element, &request->stop[request->n_stop++]);
	}
}

static void read_stream_options(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_chat_request, include_usage, "include_usage", rl_read_bool),
	};
	struct rl_chat_request *request = field;

	rl_table_read(p, at, value, fields, 1, request, &request->stream_extras);
}

/* One prompt: text, or numbers that are tokens. */
static void read_one_input(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_input *input)
{
	struct rl_json_iter iter;
	rl_str token;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_read_text(p, at, value, &input->text);
		return;
	}
	input->is_tokens = true;
	input->text = value;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &token))
		if (rl_json_type_of(token) != RL_JSON_NUMBER)
			rl_table_fail(p, at, "must be text or a list of tokens");
}

static void read_inputs(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str first = {NULL, 0};

	request->inputs = rl_table_make(p, 1 + rl_table_count(value), sizeof *request->inputs);
	request->n_inputs = 0;
	if (!request->inputs)
		return;
	rl_json_iter_array(&iter, value);
	bool some = rl_json_iter_next(&iter, &first);

	request->single_input = rl_json_type_of(value) == RL_JSON_STRING || rl_json_type_of(first) == RL_JSON_NUMBER;
	if (request->single_input || rl_json_type_of(value) != RL_JSON_ARRAY) {
		read_one_input(p, at, value, &request->inputs[request->n_inputs++]);
		return;
	}
	for (; some && !p->err; some = rl_json_iter_next(&iter, &first)) {
		struct rl_place here = {at, NULL, request->n_inputs};
		read_one_input(p, &here, first, &request->inputs[request->n_inputs++]);
	}
}

static void read_encoding(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const char *const words[] = {"float", "base64"};
	enum rl_encoding *encoding = field;

	*encoding = (enum rl_encoding)rl_table_word(value, words, RL_N_FIELDS(words));
	if (!*encoding)
		rl_table_fail(p, at, "must be float or base64");
}

#define REQUEST(member, name, read) RL_FIELD(struct rl_chat_request, member, name, read)

#define SAMPLING_FIELDS                                                                                               \
	REQUEST(model, "model", rl_read_text), REQUEST(max_tokens, "max_tokens", rl_read_int),                        \
		REQUEST(n, "n", rl_read_int), REQUEST(temperature, "temperature", rl_read_number),                    \
		REQUEST(top_p, "top_p", rl_read_number), REQUEST(top_k, "top_k", rl_read_number),                     \
		REQUEST(frequency_penalty, "frequency_penalty", rl_read_number),                                      \
		REQUEST(presence_penalty, "presence_penalty", rl_read_number), REQUEST(seed, "seed", rl_read_number), \
		RL_WHOLE("stop", read_stop), REQUEST(stream, "stream", rl_read_bool),                                 \
		RL_WHOLE("stream_options", read_stream_options), REQUEST(user, "user", rl_read_text)

static const struct rl_field chat_fields[] = {
	SAMPLING_FIELDS,
	RL_WHOLE("messages", read_messages),
	RL_WHOLE("tools", read_tools),
	RL_WHOLE("functions", read_functions),
	REQUEST(tool_choice, "tool_choice", read_tool_choice),
	REQUEST(tool_choice, "function_call", read_legacy_choice),
	REQUEST(parallel_tool_calls, "parallel_tool_calls", rl_read_choice3),
	REQUEST(format, "response_format", read_format),
	REQUEST(effort, "reasoning_effort", rl_read_text),
	REQUEST(max_completion_tokens, "max_completion_tokens", rl_read_int),
	REQUEST(logprobs, "logprobs", rl_read_choice3),
	REQUEST(top_logprobs, "top_logprobs", rl_read_int),
};

static const struct rl_field completion_fields[] = {
	SAMPLING_FIELDS,
	RL_WHOLE("prompt", read_inputs),
	REQUEST(top_logprobs, "logprobs", rl_read_int),
};

static const struct rl_field embedding_fields[] = {
	REQUEST(model, "model", rl_read_text),
	RL_WHOLE("input", read_inputs),
	REQUEST(dimensions, "dimensions", rl_read_int),
	REQUEST(encoding, "encoding_format", read_encoding),
	REQUEST(user, "user", rl_read_text),
};

static void read_request(struct rl_reader *p, enum rl_operation op, rl_str body, struct rl_chat_request *out)
{
	switch (op) {
	case RL_OP_CHAT:
		rl_table_read(p, NULL, body, chat_fields, RL_N_FIELDS(chat_fields), out, &out->extras);
		break;
	case RL_OP_COMPLETION:
		rl_table_read(p, NULL, body, completion_fields, RL_N_FIELDS(completion_fields), out, &out->extras);
		break;
	case RL_OP_EMBEDDING:
		rl_table_read(p, NULL, body, embedding_fields, RL_N_FIELDS(embedding_fields), out, &out->extras);
		break;
	case RL_OP_NONE:
	case RL_OP_MODELS:
	case RL_OP_MODERATION:
	case RL_OP_IMAGE:
	case RL_OP_SPEECH:
	case RL_OP_RESPONSE:
	case RL_OP_IMAGE_EDIT:
	case RL_OP_IMAGE_VARIATION:
	case RL_OP_TRANSCRIPTION:
	case RL_OP_TRANSLATION:
	case RL_OP_PASS:
	case RL_OP_COUNT_TOKENS:
	case RL_OP_COUNT:
		assert(op == RL_OP_CHAT); /* the others have no message */
	}
}

static void check_needed(struct rl_reader *p, enum rl_operation op, const struct rl_chat_request *request)
{
	static const struct rl_place model = {NULL, "model", 0}, messages = {NULL, "messages", 0},
				     input = {NULL, "input", 0};

	if (!request->model.n)
		rl_table_fail(p, &model, "is missing");
	if (op == RL_OP_CHAT && !request->messages)
		rl_table_fail(p, &messages, "is missing");
	if (op == RL_OP_EMBEDDING && !request->inputs)
		rl_table_fail(p, &input, "is missing");
}

enum rl_err rl_openai_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				    struct rl_chat_request *out, struct rl_fault *fault)
{
	struct rl_reader p = {.arena = arena, .fault = fault};
	struct rl_json_error error;

	rl_chat_request_init(out);
	out->dialect = RL_STR(RL_OPENAI_NAME);
	enum rl_err err = rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	read_request(&p, op, body, out);
	if (!p.err)
		check_needed(&p, op, out);
	if (p.err == RL_ERR_NOMEM)
		*fault = (struct rl_fault){.cls = RL_FAULT_INTERNAL,
					   .status = 500,
					   .message = RL_STR("The gateway is out of memory for this request."),
					   .retry_after_s = -1};
	return p.err;
}
