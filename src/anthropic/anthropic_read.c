/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic bodies to ours. A block that only this API has (server tools, search
 * results, documents made of blocks) stays RAW, whole; members that the message does
 * not model stay extras, so that a body written again says what it said.
 */
#include "dialect/table.h"
#include "anthropic/anthropic_priv.h"

#include <assert.h>

static void nothing(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	rl_read_nothing(p, at, value, field);
}

/* {"type":"ephemeral","ttl":"1h"} */
static void read_cache(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		RL_FIELD(struct rl_cache_mark, ttl, "ttl", rl_read_text),
	};
	struct rl_cache_mark *mark = field;

	mark->set = true;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), mark, NULL);
}

/* --- blocks --- */

/* The members of any block, before its type says what they mean; raw where they are not plain text. */
struct block {
	rl_str text, thinking, signature, data, id, name, tool_use_id, title; /* text */
	rl_str source, input, content, citations;                             /* raw */
	bool is_error;
	struct rl_cache_mark cache;
	struct rl_extras extras;
};

#define BLOCK(member, read) RL_FIELD(struct block, member, #member, read)

void rl_anthropic_read_citation(struct rl_reader *p, rl_str value, struct rl_citation *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_citation, url, "url", rl_read_text),
		RL_FIELD(struct rl_citation, title, "title", rl_read_text),
		RL_FIELD(struct rl_citation, title, "document_title", rl_read_text),
		RL_FIELD(struct rl_citation, quoted, "cited_text", rl_read_text),
		RL_FIELD(struct rl_citation, document, "document_index", rl_read_int),
	};
	struct rl_extras others;

	/* Where in the text it stands is not said: it holds for its whole block. */
	*out = (struct rl_citation){.start = RL_UNSET, .end = RL_UNSET, .document = RL_UNSET, .json = value};
	rl_table_read(p, NULL, value, fields, RL_N_FIELDS(fields), out, &others);
}

static void read_citations(struct rl_reader *p, rl_str list, struct rl_part *part)
{
	struct rl_json_iter iter;
	rl_str element;
	struct rl_citation *v = rl_table_make(p, rl_table_count(list), sizeof *v);

	rl_json_iter_array(&iter, list);
	while (v && !p->err && rl_json_iter_next(&iter, &element))
		rl_anthropic_read_citation(p, element, &v[part->n_citations++]);
	part->citations = v;
}

static void read_text_block(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		BLOCK(text, rl_read_text),
		BLOCK(citations, rl_read_raw),
		RL_FIELD(struct block, cache, "cache_control", read_cache),
	};
	struct block b = {.text = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &b, &b.extras);
	if (!p->err && !b.text.p)
		rl_table_fail(p, at, "has no text");
	part->kind = RL_PART_TEXT;
	part->text = b.text;
	part->cache = b.cache;
	part->extras = b.extras;
	if (rl_json_type_of(b.citations) == RL_JSON_ARRAY && b.citations.n > 2)
		read_citations(p, b.citations, part);
}

static void read_thinking(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		BLOCK(thinking, rl_read_text),
		BLOCK(signature, rl_read_text),
		BLOCK(data, rl_read_text),
	};
	struct block b = {.text = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &b, &b.extras);
	part->kind = RL_PART_REASONING;
	part->reasoning = (struct rl_reasoning){.text = b.thinking, .signature = b.signature, .redacted = b.data};
	rl_str *seal = b.data.n ? &part->reasoning.redacted : &part->reasoning.signature;

	if (seal->n)
		part->reasoning.family = rl_seal_open(seal, RL_STR(RL_ANTHROPIC_FAMILY));
	part->extras = b.extras;
}

static void read_call(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		BLOCK(id, rl_read_text),
		BLOCK(name, rl_read_text),
		BLOCK(input, rl_read_raw),
		RL_FIELD(struct block, cache, "cache_control", read_cache),
	};
	struct block b = {.input = RL_STR_INIT("{}")};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &b, &b.extras);
	/* A name may be missing: models do that, and clients give back what they were given. */
	part->kind = RL_PART_TOOL_CALL;
	part->call =
		(struct rl_tool_call){.kind = RL_TOOL_KIND_FUNCTION, .id = b.id, .name = b.name, .arguments = b.input};
	part->cache = b.cache;
	part->extras = b.extras;
}

/* Text or a list of blocks, as parts of its own. */
static struct rl_part *read_content(struct rl_reader *p, const struct rl_place *at, rl_str content, size_t *n)
{
	struct rl_part *parts = rl_table_make(p, 1 + rl_table_count(content), sizeof *parts);
	struct rl_json_iter iter;
	rl_str element;

	*n = 0;
	if (!parts)
		return NULL;
	if (rl_json_type_of(content) == RL_JSON_STRING) {
		parts[0].kind = RL_PART_TEXT;
		rl_read_text(p, at, content, &parts[0].text);
		*n = 1;
		return parts;
	}
	if (rl_json_type_of(content) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be a string or an array");
		return parts;
	}
	rl_json_iter_array(&iter, content);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, *n};
		rl_anthropic_read_block(p, &here, element, &parts[(*n)++]);
	}
	return parts;
}

static void read_result(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		BLOCK(tool_use_id, rl_read_text),
		BLOCK(content, rl_read_raw),
		BLOCK(is_error, rl_read_bool),
		RL_FIELD(struct block, cache, "cache_control", read_cache),
	};
	struct block b = {.text = {NULL, 0}};
	struct rl_place inside = {at, "content", 0};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &b, &b.extras);
	if (!p->err && !b.tool_use_id.n)
		rl_table_fail(p, at, "has no tool_use_id");
	part->kind = RL_PART_TOOL_RESULT;
	part->result = (struct rl_tool_result){.call_id = b.tool_use_id,
					       .is_error = b.is_error,
					       .kind = RL_TOOL_KIND_FUNCTION};
	part->cache = b.cache;
	part->extras = b.extras;
	if (!p->err && b.content.p)
		part->result.parts = read_content(p, &inside, b.content, &part->result.n_parts);
}

/* Where the bytes are. */
struct source {
	rl_str type, media_type, data, url, file_id;
	struct rl_extras extras;
};

/* False: a kind of source that the message does not know (a document made of blocks). */
static bool read_source(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_media *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct source, type, "type", rl_read_raw),
		RL_FIELD(struct source, media_type, "media_type", rl_read_text),
		RL_FIELD(struct source, data, "data", rl_read_text),
		RL_FIELD(struct source, url, "url", rl_read_text),
		RL_FIELD(struct source, file_id, "file_id", rl_read_text),
	};
	static const char *const kinds[] = {"base64", "url", "file", "text"};
	struct source s = {.type = {NULL, 0}};
	struct rl_place here = {at, "source", 0};

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, &here, "must be an object");
		return true;
	}
	rl_table_read(p, &here, rl_json_type_of(value) == RL_JSON_OBJECT ? value : RL_STR("{}"), fields,
		      RL_N_FIELDS(fields), &s, &s.extras);
	out->source = (enum rl_media_source)rl_table_word(s.type, kinds, RL_N_FIELDS(kinds));
	out->data = out->source == RL_MEDIA_URL ? s.url : out->source == RL_MEDIA_FILE ? s.file_id : s.data;
	out->mime = s.media_type;
	out->extras = s.extras;
	if (p->err || !out->source)
		return false;
	if (!out->data.p)
		rl_table_fail(p, &here, "lacks the member that its type names");
	return true;
}

static void read_media(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part,
		       enum rl_part_kind kind)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		BLOCK(source, rl_read_raw),
		BLOCK(title, rl_read_text),
		RL_FIELD(struct block, cache, "cache_control", read_cache),
	};
	struct block b = {.text = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &b, &b.extras);
	part->kind = kind;
	if (p->err)
		return;
	if (!read_source(p, at, b.source, &part->media)) {
		*part = (struct rl_part){.kind = RL_PART_RAW, .json = value};
		return;
	}
	part->media.name = b.title;
	part->cache = b.cache;
	part->extras = b.extras;
}

void rl_anthropic_read_block(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	enum { TEXT = 1, TOOL_USE, TOOL_RESULT, THINKING, REDACTED, IMAGE, DOCUMENT };
	static const char *const types[] = {"text",  "tool_use", "tool_result", "thinking", "redacted_thinking",
					    "image", "document"};

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	switch (rl_table_word(rl_table_type(value), types, RL_N_FIELDS(types))) {
	case TEXT:
		read_text_block(p, at, value, part);
		break;
	case TOOL_USE:
		read_call(p, at, value, part);
		break;
	case TOOL_RESULT:
		read_result(p, at, value, part);
		break;
	case THINKING:
	case REDACTED:
		read_thinking(p, at, value, part);
		break;
	case IMAGE:
		read_media(p, at, value, part, RL_PART_IMAGE);
		break;
	case DOCUMENT:
		read_media(p, at, value, part, RL_PART_DOCUMENT);
		break;
	default:
		*part = (struct rl_part){.kind = RL_PART_RAW, .json = value};
	}
}

/* --- messages --- */

struct message {
	rl_str role, content; /* raw */
};

static void read_message(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_message *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct message, role, "role", rl_read_raw),
		RL_FIELD(struct message, content, "content", rl_read_raw),
	};
	static const char *const roles[] = {"system", "developer", "user", "assistant"};
	struct rl_place role = {at, "role", 0}, content = {at, "content", 0};
	struct message m = {.role = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &m, &out->extras);
	if (p->err)
		return;
	out->role = (enum rl_role)rl_table_word(m.role, roles, RL_N_FIELDS(roles));
	if (out->role == RL_ROLE_NONE || out->role == RL_ROLE_DEVELOPER) {
		rl_table_fail(p, &role, "must be one of user, assistant, system");
		return;
	}
	if (!m.content.p)
		rl_table_fail(p, &content, "is missing");
	else
		out->parts = read_content(p, &content, m.content, &out->n_parts);
}

/* What needs more than one member, or comes in another order than it is written in. */
struct body {
	struct rl_chat_request request; /* first: readers of several of its members are given the whole */
	rl_str instructions, messages, metadata, thinking; /* raw */
};

static void read_messages(struct rl_reader *p, struct body *body)
{
	static const struct rl_place at = {NULL, "messages", 0}, first_place = {NULL, "system", 0};
	struct rl_chat_request *out = &body->request;
	struct rl_json_iter iter;
	rl_str element;
	size_t i = 0;

	if (rl_json_type_of(body->messages) != RL_JSON_ARRAY) {
		rl_table_fail(p, &at, body->messages.p ? "must be an array" : "is missing");
		return;
	}
	out->messages = rl_table_make(p, 1 + rl_table_count(body->messages), sizeof *out->messages);
	if (!out->messages)
		return;
	if (body->instructions.p) {
		struct rl_message *first = &out->messages[out->n_messages++];

		first->role = RL_ROLE_SYSTEM;
		first->parts = read_content(p, &first_place, body->instructions, &first->n_parts);
	}
	rl_json_iter_array(&iter, body->messages);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {&at, NULL, i++};
		read_message(p, &here, element, &out->messages[out->n_messages++]);
	}
}

/* --- tools --- */

static void read_tool(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_tool *tool)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		RL_FIELD(struct rl_tool, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool, description, "description", rl_read_text),
		RL_FIELD(struct rl_tool, schema, "input_schema", rl_read_raw),
		RL_FIELD(struct rl_tool, strict, "strict", rl_read_choice3),
		RL_FIELD(struct rl_tool, cache, "cache_control", read_cache),
	};

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	rl_str type = rl_table_type(value);

	if (rl_json_type_of(type) == RL_JSON_STRING && !rl_json_string_is(type, RL_STR("custom"))) {
		tool->kind = RL_TOOL_KIND_HOSTED;
		tool->json = value;
		return;
	}
	tool->kind = RL_TOOL_KIND_FUNCTION;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), tool, &tool->extras);
	if (!tool->name.n)
		rl_table_fail(p, at, "has no name");
}

static void read_tools(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be an array");
		return;
	}
	request->tools = rl_table_make(p, rl_table_count(value), sizeof *request->tools);
	request->n_tools = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, request->n_tools};
		read_tool(p, &here, element, &request->tools[request->n_tools++]);
	}
}

struct choice {
	rl_str type, name;
	enum rl_choice3 disable_parallel;
};

static void read_tool_choice(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct choice, type, "type", rl_read_raw),
		RL_FIELD(struct choice, name, "name", rl_read_text),
		RL_FIELD(struct choice, disable_parallel, "disable_parallel_tool_use", rl_read_choice3),
	};
	static const char *const words[] = {"none", "auto", "any", "tool"};
	struct rl_chat_request *request = field;
	struct rl_tool_choice *choice = &request->tool_choice;
	struct choice c = {.type = {NULL, 0}};
	struct rl_extras others;

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &c, &others);
	if (p->err)
		return;
	choice->mode = (enum rl_tool_choice_mode)rl_table_word(c.type, words, RL_N_FIELDS(words));
	if (c.disable_parallel)
		request->parallel_tool_calls = c.disable_parallel == RL_YES ? RL_NO : RL_YES;
	if (choice->mode == RL_TOOL_CHOICE_UNSAID) {
		choice->mode = RL_TOOL_CHOICE_RAW;
		choice->json = value;
	}
	if (choice->mode != RL_TOOL_CHOICE_NAMED)
		return;
	rl_str *name = rl_table_make(p, 1, sizeof *name);

	if (!c.name.n)
		rl_table_fail(p, at, "names no tool");
	if (!name)
		return;
	*name = c.name;
	choice->kind = RL_TOOL_KIND_FUNCTION;
	choice->names = name;
	choice->n_names = 1;
}

/* --- the rest of a request --- */

static void read_stop(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be an array");
		return;
	}
	request->stop = rl_table_make(p, rl_table_count(value), sizeof *request->stop);
	request->n_stop = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, request->n_stop};
		rl_read_text(p, &here, element, &request->stop[request->n_stop++]);
	}
}

static void read_format(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", nothing),
		RL_FIELD(struct rl_format, schema, "schema", rl_read_raw),
	};
	struct rl_format *format = field;
	struct rl_extras others;

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), format, &others);
	format->kind = RL_FORMAT_SCHEMA;
	if (!others.n && format->schema.p && rl_json_string_is(rl_table_type(value), RL_STR("json_schema")))
		return;
	format->kind = RL_FORMAT_RAW;
	format->json = value;
}

static void read_output_config(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_chat_request, effort, "effort", rl_read_text),
		RL_FIELD(struct rl_chat_request, format, "format", read_format),
	};
	struct rl_chat_request *request = field;

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), request, &request->format.extras);
}

struct thinking {
	rl_str type, display; /* raw */
	int64_t budget;
};

/* False: a way of thinking that the message does not know. */
static bool read_thinking_config(struct rl_reader *p, rl_str value, struct rl_chat_request *request)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct thinking, type, "type", rl_read_raw),
		RL_FIELD(struct thinking, display, "display", rl_read_raw),
		RL_FIELD(struct thinking, budget, "budget_tokens", rl_read_int),
	};
	static const char *const types[] = {"disabled", "enabled", "adaptive"}, *const displays[] = {"omitted",
												     "summarized"};
	static const struct rl_place at = {NULL, "thinking", 0};
	struct thinking t = {.budget = RL_UNSET};
	struct rl_extras others = {.n = 0};

	rl_table_read(p, &at, value, fields, RL_N_FIELDS(fields), &t, &others);
	unsigned type = rl_table_word(t.type, types, RL_N_FIELDS(types));
	unsigned display = rl_table_word(t.display, displays, RL_N_FIELDS(displays));

	if (p->err || others.n || !type || (t.display.p && !display))
		return false;
	request->reasoning = type == 1 ? RL_NO : RL_YES;
	request->reasoning_shown = (enum rl_choice3)display;
	request->reasoning_budget = type == 3 ? RL_BUDGET_AUTO : type == 2 ? t.budget : RL_UNSET;
	return true;
}

/* {"user_id":"..."}; false: there is more in it. */
static bool read_metadata(struct rl_reader *p, rl_str value, struct rl_chat_request *request)
{
	static const struct rl_field fields[] = {RL_FIELD(struct rl_chat_request, user, "user_id", rl_read_text)};
	static const struct rl_place at = {NULL, "metadata", 0};
	struct rl_extras others = {.n = 0};

	rl_table_read(p, &at, value, fields, RL_N_FIELDS(fields), request, &others);
	if (!others.n)
		return true;
	request->user = rl_str_make(NULL, 0);
	return false;
}

/* What turned out to be more than the message holds stays whole. */
static void keep_extra(struct rl_reader *p, struct rl_extras *extras, rl_str key, rl_str json)
{
	struct rl_extra *v = rl_table_make(p, extras->n + 1, sizeof *v);

	if (!v)
		return;
	if (extras->n)
		memcpy(v, extras->v, extras->n * sizeof *v);
	v[extras->n] = (struct rl_extra){key, json};
	*extras = (struct rl_extras){v, extras->n + 1};
}

#define REQUEST(member, name, read) RL_FIELD(struct body, request.member, name, read)

static void read_request(struct rl_reader *p, rl_str text, struct rl_chat_request *out)
{
	static const struct rl_field fields[] = {
		REQUEST(model, "model", rl_read_text),
		RL_FIELD(struct body, messages, "messages", rl_read_raw),
		RL_FIELD(struct body, instructions, "system", rl_read_raw),
		RL_FIELD(struct body, metadata, "metadata", rl_read_raw),
		RL_FIELD(struct body, thinking, "thinking", rl_read_raw),
		REQUEST(max_completion_tokens, "max_tokens", rl_read_int),
		RL_WHOLE("tools", read_tools),
		RL_WHOLE("tool_choice", read_tool_choice),
		RL_WHOLE("output_config", read_output_config),
		REQUEST(format, "output_format", read_format), /* the beta's place */
		RL_WHOLE("stop_sequences", read_stop),
		REQUEST(temperature, "temperature", rl_read_number),
		REQUEST(top_p, "top_p", rl_read_number),
		REQUEST(top_k, "top_k", rl_read_number),
		REQUEST(stream, "stream", rl_read_bool),
		REQUEST(cache, "cache_control", read_cache),
	};
	struct body body = {.request = *out};
	struct rl_chat_request *request = &body.request;

	rl_table_read(p, NULL, text, fields, RL_N_FIELDS(fields), &body, &request->extras);
	if (!p->err && body.thinking.p && !read_thinking_config(p, body.thinking, request))
		keep_extra(p, &request->extras, RL_STR("\"thinking\""), body.thinking);
	if (!p->err && body.metadata.p && !read_metadata(p, body.metadata, request))
		keep_extra(p, &request->extras, RL_STR("\"metadata\""), body.metadata);
	if (!p->err)
		read_messages(p, &body);
	*out = body.request;
}

enum rl_err rl_anthropic_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				       struct rl_chat_request *out, struct rl_fault *fault)
{
	static const struct rl_place model = {NULL, "model", 0}, limit = {NULL, "max_tokens", 0};
	struct rl_reader p = {.arena = arena, .fault = fault};
	struct rl_json_error error;

	assert(op == RL_OP_CHAT || op == RL_OP_COUNT_TOKENS);
	rl_chat_request_init(out);
	out->dialect = RL_STR(RL_ANTHROPIC_NAME);
	out->include_usage = true; /* its streams always tell */
	enum rl_err err = rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	read_request(&p, body, out);
	if (!p.err && !out->model.n)
		rl_table_fail(&p, &model, "is missing");
	if (!p.err && op == RL_OP_CHAT && out->max_completion_tokens == RL_UNSET)
		rl_table_fail(&p, &limit, "is missing");
	return p.err == RL_ERR_NOMEM ? rl_border_nomem(fault) : p.err;
}

/* --- answers --- */

enum rl_finish rl_anthropic_finish(rl_str reason, bool called, rl_str *word)
{
	static const struct {
		rl_str reason;
		enum rl_finish finish;
		bool more; /* the word says more than the meaning */
	} reasons[] = {
		{RL_STR_INIT("end_turn"), RL_FINISH_STOP, false},
		{RL_STR_INIT("stop_sequence"), RL_FINISH_STOP, true},
		{RL_STR_INIT("tool_use"), RL_FINISH_TOOL_CALLS, false},
		{RL_STR_INIT("max_tokens"), RL_FINISH_LENGTH, false},
		{RL_STR_INIT("model_context_window_exceeded"), RL_FINISH_LENGTH, true},
		{RL_STR_INIT("refusal"), RL_FINISH_CONTENT_FILTER, false},
		{RL_STR_INIT("pause_turn"), RL_FINISH_STOP, true}, /* "continue me": others have no word for it */
	};

	*word = rl_str_make(NULL, 0);
	for (size_t i = 0; i < RL_N_FIELDS(reasons); i++) {
		if (!rl_str_eq(reason, reasons[i].reason))
			continue;
		if (reasons[i].more)
			*word = reason;
		/* A call that stopped for no reason of its own stopped for the call. */
		return called && reasons[i].finish == RL_FINISH_STOP ? RL_FINISH_TOOL_CALLS : reasons[i].finish;
	}
	*word = reason;
	return reason.n ? RL_FINISH_OTHER : RL_FINISH_NONE;
}

struct answer {
	struct rl_chat_response response;
	rl_str content, type, usage; /* raw */
	rl_str stop_reason, stop_sequence;
};

static bool called(const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_TOOL_CALL)
			return true;
	return false;
}

static void read_answer(struct rl_reader *p, rl_str body, struct rl_chat_response *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct answer, response.id, "id", rl_read_text),
		RL_FIELD(struct answer, response.model, "model", rl_read_text),
		RL_FIELD(struct answer, type, "type", rl_read_raw),
		RL_WHOLE("role", nothing),
		RL_FIELD(struct answer, content, "content", rl_read_raw),
		RL_FIELD(struct answer, stop_reason, "stop_reason", rl_read_text),
		RL_FIELD(struct answer, stop_sequence, "stop_sequence", rl_read_text),
		RL_FIELD(struct answer, usage, "usage", rl_read_raw),
	};
	struct answer a = {.response = *out};
	struct rl_anthropic_usage counts = {0};
	struct rl_choice *choice = rl_table_make(p, 1, sizeof *choice);

	rl_table_read(p, NULL, body, fields, RL_N_FIELDS(fields), &a, &a.response.extras);
	if (!p->err && (rl_json_string_is(a.type, RL_STR("error")) || rl_json_type_of(a.content) != RL_JSON_ARRAY))
		rl_table_fail(p, NULL, "is no message");
	if (p->err)
		return;
	*out = a.response;
	choice->message.role = RL_ROLE_ASSISTANT;
	choice->message.parts = read_content(p, NULL, a.content, &choice->message.n_parts);
	choice->finish = rl_anthropic_finish(a.stop_reason, called(&choice->message), &choice->finish_word);
	choice->stop_sequence = a.stop_sequence;
	out->choices = choice;
	out->n_choices = 1;
	if (!a.usage.p || !rl_anthropic_count(a.usage, &counts))
		return;
	out->usage = rl_anthropic_usage(&counts);
	out->usage_json = a.usage;
}

/* {"input_tokens":17} */
static void read_count(struct rl_reader *p, rl_str body, struct rl_chat_response *out)
{
	static const struct rl_field fields[] = {RL_WHOLE("input_tokens", rl_read_int)};
	int64_t tokens = RL_UNSET;

	rl_table_read(p, NULL, body, fields, RL_N_FIELDS(fields), &tokens, &out->extras);
	if (!p->err && tokens < 0)
		rl_table_fail(p, NULL, "has no number");
	if (p->err)
		return;
	out->usage.known = true;
	out->usage.prompt_tokens = (uint64_t)tokens;
}

enum rl_err rl_anthropic_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
					struct rl_chat_response *out)
{
	struct rl_reader p = {.arena = arena};

	assert(op == RL_OP_CHAT || op == RL_OP_COUNT_TOKENS);
	*out = (struct rl_chat_response){.dialect = RL_STR(RL_ANTHROPIC_NAME)};
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	if (op == RL_OP_COUNT_TOKENS)
		read_count(&p, body, out);
	else
		read_answer(&p, body, out);
	return p.err;
}
