/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini request bodies to ours: contents and their parts, tools, configuration,
 * counts and embeddings. The model and whether to stream stand in the path and are
 * set by whoever read it.
 */
#include "dialects/gemini_priv.h"

#include <assert.h>
#include <stdio.h>

/* --- seals and ids --- */

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Both alphabets of RFC 4648. */
rl_str rl_gemini_decode64(rl_str text, struct rl_arena *arena)
{
	char *made = rl_arena_alloc(arena, text.n / 4 * 3 + 3);
	uint32_t bits = 0;
	unsigned held = 0;
	size_t n = 0;

	for (size_t i = 0; made && i < text.n && text.p[i] != '='; i++) {
		int value = base64_value(text.p[i]);

		if (value < 0)
			return rl_str_make(NULL, 0);
		bits = bits << 6 | (uint32_t)value;
		held += 6;
		if (held >= 8) {
			held -= 8;
			made[n++] = (char)(bits >> held & 0xFF);
		}
	}
	return rl_str_make(made, made ? n : 0);
}

/* The first six bytes of a wrapped seal, encoded: no seal of Google's begins like a word of ours. */
#define WRAPPED_BEGIN "cmVsYWlz"

static void open_seal(struct rl_reader *p, rl_str text, struct rl_reasoning *out)
{
	out->signature = text;
	out->family = RL_STR(RL_GEMINI_NAME);
	if (!rl_str_starts(text, RL_STR(WRAPPED_BEGIN)))
		return;
	rl_str inner = rl_gemini_decode64(text, p->arena);
	rl_str family = rl_seal_open(&inner, RL_STR(RL_GEMINI_NAME));

	if (rl_str_eq(family, RL_STR(RL_GEMINI_NAME)))
		return;
	out->family = family;
	out->signature = inner;
	if (inner.n && inner.p[0] == '~') {
		out->signature = rl_str_make(NULL, 0);
		out->redacted = rl_str_sub(inner, 1, SIZE_MAX);
	}
}

/* FNV-1a: the same in every process, since ids outlive one. */
static uint64_t hash_text(uint64_t hash, rl_str text)
{
	for (size_t i = 0; i < text.n; i++)
		hash = (hash ^ (unsigned char)text.p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

rl_str rl_gemini_make_id(struct rl_gemini_calls *calls, rl_str name, struct rl_arena *arena)
{
	uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), calls->seed);

	if (!calls->seed.p)
		return rl_arena_printf(arena, RL_GEMINI_ID "%zu", calls->n);
	return rl_arena_printf(arena, RL_GEMINI_ID "%016llx_%u_%zu", (unsigned long long)hash_text(hash, name),
			       calls->choice, calls->n);
}

static void note_call(struct rl_reader *p, struct rl_gemini_calls *calls, rl_str id, rl_str name)
{
	if (calls->n_open == calls->cap) {
		size_t cap = calls->cap ? calls->cap * 2 : 8;
		struct rl_gemini_call *grown = rl_table_make(p, cap, sizeof *grown);

		if (!grown)
			return;
		if (calls->n_open)
			memcpy(grown, calls->open, calls->n_open * sizeof *grown);
		calls->open = grown;
		calls->cap = cap;
	}
	calls->open[calls->n_open++] = (struct rl_gemini_call){id, name, false};
}

/* The id of the call that a result answers: its own, or that of the first unanswered call of the tool. */
static rl_str answered_id(struct rl_gemini_calls *calls, rl_str id, rl_str name)
{
	while (calls->first < calls->n_open && calls->open[calls->first].answered)
		calls->first++;
	for (size_t i = calls->first; i < calls->n_open; i++) {
		struct rl_gemini_call *call = &calls->open[i];

		if (call->answered || !(id.n ? rl_str_eq(call->id, id) : rl_str_eq(call->name, name)))
			continue;
		call->answered = true;
		return call->id;
	}
	return id;
}

/* --- parts --- */

struct raw_part {
	rl_str text, signature;
	rl_str inline_data, file_data, call, result; /* raw objects */
	bool thought;
	struct rl_extras extras;
};

static const struct rl_field part_fields[] = {
	RL_FIELD(struct raw_part, text, "text", rl_read_text),
	RL_FIELD(struct raw_part, thought, "thought", rl_read_bool),
	RL_GEMINI_FIELD(struct raw_part, signature, "thoughtSignature", "thought_signature", rl_read_text),
	RL_GEMINI_FIELD(struct raw_part, call, "functionCall", "function_call", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_part, result, "functionResponse", "function_response", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_part, inline_data, "inlineData", "inline_data", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_part, file_data, "fileData", "file_data", rl_read_raw),
};

static enum rl_part_kind kind_of_mime(rl_str mime)
{
	if (rl_str_starts(mime, RL_STR("image/")))
		return RL_PART_IMAGE;
	if (rl_str_starts(mime, RL_STR("audio/")))
		return RL_PART_AUDIO;
	return rl_str_starts(mime, RL_STR("video/")) ? RL_PART_VIDEO : RL_PART_DOCUMENT;
}

/* inlineData or fileData. Files of Google's own stores are known to it alone; other addresses anybody can read. */
static void read_media(struct rl_reader *p, const struct rl_place *at, const struct raw_part *raw, struct rl_part *out)
{
	static const struct rl_field fields[] = {
		RL_GEMINI_FIELD(struct rl_media, mime, "mimeType", "mime_type", rl_read_text),
		RL_GEMINI_FIELD(struct rl_media, name, "displayName", "display_name", rl_read_text),
		RL_GEMINI_FIELD(struct rl_media, data, "fileUri", "file_uri", rl_read_text),
		RL_FIELD(struct rl_media, data, "data", rl_read_text),
	};
	struct rl_media *media = &out->media;
	bool file = raw->file_data.n > 0;

	*media = (struct rl_media){.source = RL_MEDIA_BASE64};
	rl_table_read(p, at, file ? raw->file_data : raw->inline_data, fields, RL_N_FIELDS(fields), media,
		      &media->extras);
	if (file) {
		bool own = !rl_str_starts(media->data, RL_STR("http")) ||
			   rl_str_starts(media->data, RL_STR("https://generativelanguage.googleapis.com/"));

		media->source = own ? RL_MEDIA_FILE : RL_MEDIA_URL;
	}
	out->kind = kind_of_mime(media->mime);
	/* The one kind of address that Google takes without a media type is a video's on YouTube. */
	if (file && !media->mime.n)
		out->kind = RL_PART_VIDEO;
}

struct raw_call {
	rl_str id, name, args;
	struct rl_extras extras;
};

static void read_call(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_gemini_calls *calls,
		      struct rl_part *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct raw_call, id, "id", rl_read_text),
		RL_FIELD(struct raw_call, name, "name", rl_read_text),
		RL_FIELD(struct raw_call, args, "args", rl_read_raw),
	};
	struct raw_call raw = {.id = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &raw, &raw.extras);
	if (p->err)
		return;
	if (!raw.id.n) {
		raw.id = rl_gemini_make_id(calls, raw.name, p->arena);
		if (!raw.id.p)
			rl_table_nomem(p);
	}
	calls->n++;
	out->kind = RL_PART_TOOL_CALL;
	out->call = (struct rl_tool_call){
		.kind = RL_TOOL_KIND_FUNCTION,
		.id = raw.id,
		.name = raw.name,
		.arguments = raw.args.n ? raw.args : RL_STR("{}"),
		.extras = raw.extras,
	};
	if (!calls->seed.p)
		note_call(p, calls, raw.id, raw.name);
}

struct raw_result {
	rl_str id, name, response, parts;
	struct rl_extras extras;
};

/* The only member of an object, if it is a string by this name. */
static bool only_text(rl_str object, rl_str name, struct rl_arena *arena, rl_str *out)
{
	struct rl_json_iter iter;
	rl_str key, value, other;

	rl_json_iter_object(&iter, object);
	if (!rl_json_iter_member(&iter, &key, &value) || !rl_json_string_is(key, name) ||
	    rl_json_type_of(value) != RL_JSON_STRING || rl_json_iter_member(&iter, &other, &other))
		return false;
	/* A text that is itself an object would not be told from one on the way back. */
	return rl_json_unescape(value, arena, out) == RL_OK && !(out->n && out->p[0] == '{');
}

/* What a tool said is the object; {"output":"..."} and {"error":"..."} are how this API carries plain text. */
static void read_result_parts(struct rl_reader *p, const struct rl_place *at, const struct raw_result *raw,
			      struct rl_tool_result *out)
{
	size_t room = 1 + rl_table_count(raw->parts);
	struct rl_part *parts = rl_table_make(p, room, sizeof *parts);
	struct rl_json_iter iter;
	rl_str element;

	if (!parts)
		return;
	parts[0].kind = RL_PART_TEXT;
	if (!only_text(raw->response, RL_STR("output"), p->arena, &parts[0].text)) {
		out->is_error = only_text(raw->response, RL_STR("error"), p->arena, &parts[0].text);
		if (!out->is_error)
			parts[0].text = raw->response.n ? raw->response : RL_STR("{}");
	}
	out->parts = parts;
	out->n_parts = 1;
	rl_json_iter_array(&iter, raw->parts);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct raw_part inner = {.text = {NULL, 0}};
		struct rl_part *part = &parts[out->n_parts++];

		rl_table_read(p, at, element, part_fields, RL_N_FIELDS(part_fields), &inner, &part->extras);
		if (inner.inline_data.n || inner.file_data.n)
			read_media(p, at, &inner, part);
		else
			*part = (struct rl_part){.kind = RL_PART_RAW, .json = element};
	}
}

static void read_result(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_gemini_calls *calls,
			struct rl_part *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct raw_result, id, "id", rl_read_text),
		RL_FIELD(struct raw_result, name, "name", rl_read_text),
		RL_FIELD(struct raw_result, response, "response", rl_read_raw),
		RL_FIELD(struct raw_result, parts, "parts", rl_read_raw),
	};
	struct raw_result raw = {.id = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &raw, &raw.extras);
	if (p->err)
		return;
	out->kind = RL_PART_TOOL_RESULT;
	out->result = (struct rl_tool_result){.call_id = answered_id(calls, raw.id, raw.name),
					      .name = raw.name,
					      .kind = RL_TOOL_KIND_FUNCTION};
	out->extras = raw.extras;
	read_result_parts(p, at, &raw, &out->result);
}

static void add_seal(struct rl_reader *p, rl_str signature, bool alone, struct rl_message *out)
{
	struct rl_part *part = &out->parts[out->n_parts++];

	part->kind = RL_PART_REASONING;
	open_seal(p, signature, &part->reasoning);
	if (alone)
		part->reasoning.spelling = RL_STR(RL_GEMINI_ALONE);
}

static void read_thought(struct rl_reader *p, const struct raw_part *raw, struct rl_part *out)
{
	out->kind = RL_PART_REASONING;
	out->reasoning.family = RL_STR(RL_GEMINI_NAME);
	if (raw->signature.n)
		open_seal(p, raw->signature, &out->reasoning);
	out->reasoning.text = raw->text;
	out->extras = raw->extras;
}

/* A seal comes before what it seals: so it stands in the list, and so others can carry it. */
void rl_gemini_read_part(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_gemini_calls *calls,
			 struct rl_message *out)
{
	struct raw_part raw = {.text = {NULL, 0}};

	rl_table_read(p, at, value, part_fields, RL_N_FIELDS(part_fields), &raw, &raw.extras);
	if (p->err)
		return;
	bool data = raw.call.n || raw.result.n || raw.inline_data.n || raw.file_data.n;

	if (raw.thought && !data && raw.text.p) {
		read_thought(p, &raw, &out->parts[out->n_parts++]);
		return;
	}
	if (!data && raw.text.p && !raw.text.n && raw.signature.n) {
		add_seal(p, raw.signature, true, out);
		return;
	}
	if (raw.thought || (!data && !raw.text.p)) {
		out->parts[out->n_parts++] = (struct rl_part){.kind = RL_PART_RAW, .json = value};
		return;
	}
	if (raw.signature.n)
		add_seal(p, raw.signature, false, out);
	struct rl_part *part = &out->parts[out->n_parts++];

	part->extras = raw.extras;
	if (raw.call.n)
		read_call(p, at, raw.call, calls, part);
	else if (raw.result.n)
		read_result(p, at, raw.result, calls, part);
	else if (data)
		read_media(p, at, &raw, part);
	else
		*part = (struct rl_part){.kind = RL_PART_TEXT, .text = raw.text, .extras = raw.extras};
}

size_t rl_gemini_count_parts(rl_str list)
{
	return 2 * rl_table_count(list);
}

void rl_gemini_read_parts(struct rl_reader *p, const struct rl_place *at, rl_str list, struct rl_gemini_calls *calls,
			  struct rl_message *out)
{
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {at, NULL, i};

		rl_gemini_read_part(p, &here, element, calls, out);
	}
}

/* --- contents --- */

struct raw_content {
	rl_str role, parts;
	struct rl_extras extras;
};

/* One content, or a text in its place, which some clients send as an instruction. */
static void read_content(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_gemini_calls *calls,
			 struct rl_message *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct raw_content, role, "role", rl_read_raw),
		RL_FIELD(struct raw_content, parts, "parts", rl_read_raw),
	};
	static const char *const words[] = {"user", "model", "function"};
	struct raw_content raw = {.role = {NULL, 0}};
	struct rl_place role = {at, "role", 0}, parts = {at, "parts", 0};

	/* An instruction's role says nothing, and goes back as it came. */
	size_t first = out->role ? 1 : 0;

	rl_table_read(p, at, value, fields + first, RL_N_FIELDS(fields) - first, &raw, &raw.extras);
	if (p->err)
		return;
	unsigned word = raw.role.n > 2 ? rl_table_word(raw.role, words, 3) : 1;

	if (!word && !out->role)
		rl_table_fail(p, &role, "must be user or model");
	if (raw.parts.n && rl_json_type_of(raw.parts) != RL_JSON_ARRAY && rl_json_type_of(raw.parts) != RL_JSON_OBJECT)
		rl_table_fail(p, &parts, "must be an array");
	if (!out->role)
		out->role = word == 2 ? RL_ROLE_ASSISTANT : RL_ROLE_USER;
	out->extras = raw.extras;
	/* Only the last turn's calls are open for results. */
	if (out->role == RL_ROLE_ASSISTANT)
		calls->n_open = calls->first = 0;
	/* The JSON form takes one element for a list of one. */
	bool single = rl_json_type_of(raw.parts) == RL_JSON_OBJECT;

	out->parts = rl_table_make(p, single ? 2 : rl_gemini_count_parts(raw.parts), sizeof *out->parts);
	if (p->err)
		return;
	if (single)
		rl_gemini_read_part(p, &parts, raw.parts, calls, out);
	else
		rl_gemini_read_parts(p, &parts, raw.parts, calls, out);
}

/* What is read of a request before it is put together. */
struct raw_request {
	rl_str contents, instruction, tools, tool_config, config; /* raw */
	rl_str inner;                                             /* generateContentRequest, of a count */
	struct rl_extras extras;
};

static const struct rl_field request_fields[] = {
	RL_FIELD(struct raw_request, contents, "contents", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_request, instruction, "systemInstruction", "system_instruction", rl_read_raw),
	RL_FIELD(struct raw_request, tools, "tools", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_request, tool_config, "toolConfig", "tool_config", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_request, config, "generationConfig", "generation_config", rl_read_raw),
	RL_GEMINI_FIELD(struct raw_request, inner, "generateContentRequest", "generate_content_request", rl_read_raw),
	RL_WHOLE("model", rl_read_nothing), /* stands in the path */
};

static void read_contents(struct rl_reader *p, const struct raw_request *raw, struct rl_chat_request *out)
{
	static const struct rl_place system_at = {NULL, "systemInstruction", 0}, at = {NULL, "contents", 0};
	struct rl_gemini_calls calls = {.n = 0};
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(raw->contents) != RL_JSON_ARRAY) {
		rl_table_fail(p, &at, raw->contents.n ? "must be an array" : "is missing");
		return;
	}
	out->messages = rl_table_make(p, 1 + rl_table_count(raw->contents), sizeof *out->messages);
	if (!out->messages)
		return;
	if (raw->instruction.n) {
		out->messages[out->n_messages].role = RL_ROLE_SYSTEM;
		read_content(p, &system_at, raw->instruction, &calls, &out->messages[out->n_messages++]);
	}
	rl_json_iter_array(&iter, raw->contents);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {&at, NULL, i};

		read_content(p, &here, element, &calls, &out->messages[out->n_messages++]);
	}
}

/* --- tools --- */

struct raw_function {
	rl_str name, description, schema, older;
	struct rl_extras extras;
};

static void read_function(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_tool *tool)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct raw_function, name, "name", rl_read_text),
		RL_FIELD(struct raw_function, description, "description", rl_read_text),
		RL_GEMINI_FIELD(struct raw_function, schema, "parametersJsonSchema", "parameters_json_schema",
				rl_read_raw),
		RL_FIELD(struct raw_function, older, "parameters", rl_read_raw),
	};
	struct raw_function raw = {.name = {NULL, 0}};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &raw, &raw.extras);
	if (p->err)
		return;
	if (!raw.name.n)
		rl_table_fail(p, at, "has no name");
	*tool = (struct rl_tool){
		.kind = RL_TOOL_KIND_FUNCTION,
		.name = raw.name,
		.description = raw.description,
		.schema = raw.schema,
		.json = value, /* as its own dialect writes it again */
		.inner = raw.extras,
	};
	if (raw.schema.n || !raw.older.n)
		return;
	tool->schema = rl_gemini_json_schema(raw.older, p->arena);
	if (!tool->schema.n)
		rl_table_nomem(p);
}

/* {"googleSearch":{}}: one tool that runs at Google. */
static void read_hosted(struct rl_reader *p, rl_str key, rl_str value, struct rl_tool *tool)
{
	rl_str json = rl_arena_printf(p->arena, "{%.*s:%.*s}", RL_STR_ARG(key), RL_STR_ARG(value));

	if (!json.p)
		rl_table_nomem(p);
	*tool = (struct rl_tool){.kind = RL_TOOL_KIND_HOSTED,
				 .name = rl_str_sub(key, 1, key.n > 1 ? key.n - 2 : 0),
				 .json = json};
}

static bool is_declarations(rl_str key)
{
	return rl_json_string_is(key, RL_STR("functionDeclarations")) ||
	       rl_json_string_is(key, RL_STR("function_declarations"));
}

static size_t count_tools(rl_str list)
{
	struct rl_json_iter iter, members;
	rl_str element, key, value;
	size_t n = 0;

	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element)) {
		rl_json_iter_object(&members, element);
		while (rl_json_iter_member(&members, &key, &value))
			n += is_declarations(key) ? rl_table_count(value) : 1;
	}
	return n;
}

static void read_tool(struct rl_reader *p, const struct rl_place *at, rl_str element, struct rl_chat_request *out)
{
	struct rl_json_iter members, functions;
	rl_str key, value, function;

	rl_json_iter_object(&members, element);
	while (!p->err && rl_json_iter_member(&members, &key, &value)) {
		struct rl_place declarations = {at, "functionDeclarations", 0};

		if (rl_json_type_of(value) == RL_JSON_NULL)
			continue;
		if (!is_declarations(key)) {
			read_hosted(p, key, value, &out->tools[out->n_tools++]);
			continue;
		}
		rl_json_iter_array(&functions, value);
		for (size_t i = 0; !p->err && rl_json_iter_next(&functions, &function); i++) {
			struct rl_place here = {&declarations, NULL, i};

			read_function(p, &here, function, &out->tools[out->n_tools++]);
		}
	}
}

static void read_tools(struct rl_reader *p, rl_str list, struct rl_chat_request *out)
{
	static const struct rl_place at = {NULL, "tools", 0};
	struct rl_json_iter iter;
	rl_str element;

	if (!list.n)
		return;
	if (rl_json_type_of(list) != RL_JSON_ARRAY) {
		rl_table_fail(p, &at, "must be an array");
		return;
	}
	out->tools = rl_table_make(p, count_tools(list), sizeof *out->tools);
	rl_json_iter_array(&iter, list);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {&at, NULL, i};

		read_tool(p, &here, element, out);
	}
}

static void keep_below(struct rl_reader *p, const char *prefix, struct rl_extras below, struct rl_extras *all)
{
	struct rl_extra *v;

	if (!below.n || p->err)
		return;
	v = rl_table_make(p, all->n + below.n, sizeof *v);
	if (!v)
		return;
	if (all->n)
		memcpy(v, all->v, all->n * sizeof *v);
	for (size_t i = 0; i < below.n; i++) {
		rl_str key = below.v[i].key;
		rl_str name = rl_arena_printf(p->arena, "\"%s%.*s\"", prefix, (int)(key.n - 2), key.p + 1);

		if (!name.p)
			rl_table_nomem(p);
		v[all->n + i] = (struct rl_extra){name, below.v[i].json};
	}
	*all = (struct rl_extras){v, all->n + below.n};
}

static void read_names(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_tool_choice *choice = field;
	rl_str *names = rl_table_make(p, rl_table_count(value), sizeof *names);
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, choice->n_names};

		rl_read_text(p, &here, element, &names[choice->n_names++]);
	}
	choice->names = names;
}

static void read_mode(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const char *const words[] = {"NONE", "AUTO", "ANY"};
	struct rl_tool_choice *choice = field;

	(void)p, (void)at;
	choice->mode = (enum rl_tool_choice_mode)rl_table_word(value, words, 3);
	/* VALIDATED: free to call or not, but by the schema. Others have that as a strict tool, not as a mode. */
	if (!choice->mode && !rl_json_string_is(value, RL_STR("MODE_UNSPECIFIED")))
		choice->mode = RL_TOOL_CHOICE_RAW;
}

static void read_tool_config(struct rl_reader *p, rl_str value, struct rl_chat_request *out)
{
	static const struct rl_field outer[] = {
		RL_GEMINI_WHOLE("functionCallingConfig", "function_calling_config", rl_read_raw),
	};
	static const struct rl_field fields[] = {
		RL_WHOLE("mode", read_mode),
		RL_GEMINI_WHOLE("allowedFunctionNames", "allowed_function_names", read_names),
	};
	static const struct rl_place at = {NULL, "toolConfig", 0}, inner_at = {&at, "functionCallingConfig", 0};
	struct rl_tool_choice *choice = &out->tool_choice;
	struct rl_extras around = {.n = 0}, inside = {.n = 0};
	rl_str calling = {NULL, 0};

	if (!value.n)
		return;
	rl_table_read(p, &at, value, outer, RL_N_FIELDS(outer), &calling, &around);
	if (!p->err && calling.n)
		rl_table_read(p, &inner_at, calling, fields, RL_N_FIELDS(fields), choice, &inside);
	choice->kind = RL_TOOL_KIND_FUNCTION;
	if (choice->mode)
		choice->json = calling;
	if (choice->mode == RL_TOOL_CHOICE_REQUIRED && choice->n_names == 1)
		choice->mode = RL_TOOL_CHOICE_NAMED;
	/* Without a mode that others know the whole goes as it is, so nothing of it is an extra. */
	if (choice->mode != RL_TOOL_CHOICE_RAW)
		keep_below(p, "toolConfig.functionCallingConfig.", inside, &out->extras);
	keep_below(p, "toolConfig.", around, &out->extras);
}

/* --- generationConfig --- */

#define CONFIG(member, name, read)                                                \
	{                                                                         \
		RL_STR_INIT(name), read, offsetof(struct rl_chat_request, member) \
	}
#define CONFIG2(member, camel, snake, read) CONFIG(member, camel, read), CONFIG(member, snake, read)

static void read_stop(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *out = field;
	struct rl_json_iter iter;
	rl_str element;

	out->stop = rl_table_make(p, rl_table_count(value), sizeof *out->stop);
	out->n_stop = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, out->n_stop};

		rl_read_text(p, &here, element, &out->stop[out->n_stop++]);
	}
}

static void read_budget(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *out = field;

	if (rl_str_eq(value, RL_STR("-1")))
		out->reasoning_budget = RL_BUDGET_AUTO;
	else
		rl_read_int(p, at, value, &out->reasoning_budget);
	out->reasoning = out->reasoning_budget == 0 ? RL_NO : RL_YES;
}

static void read_level(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const char *const words[] = {"MINIMAL", "LOW", "MEDIUM", "HIGH"};
	static const char *const lower[] = {"minimal", "low", "medium", "high"};
	struct rl_chat_request *out = field;
	rl_str text = {NULL, 0};

	rl_read_text(p, at, value, &text);
	for (size_t i = 0; i < 4; i++)
		if (rl_str_ieq(text, rl_str_of(words[i])))
			out->effort = rl_str_of(lower[i]);
	if (!p->err && !out->effort.n && !rl_str_eq(text, RL_STR("THINKING_LEVEL_UNSPECIFIED")))
		rl_table_fail(p, at, "must be MINIMAL, LOW, MEDIUM or HIGH");
}

static void read_thinking(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		CONFIG2(reasoning_shown, "includeThoughts", "include_thoughts", rl_read_choice3),
		RL_GEMINI_WHOLE("thinkingBudget", "thinking_budget", read_budget),
		RL_GEMINI_WHOLE("thinkingLevel", "thinking_level", read_level),
	};
	struct rl_chat_request *out = field;
	struct rl_extras extras = {.n = 0};

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), out, &extras);
	keep_below(p, "generationConfig.thinkingConfig.", extras, &out->extras);
}

static void read_mime(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *out = field;
	rl_str mime = {NULL, 0};

	rl_read_text(p, at, value, &mime);
	if (rl_str_eq(mime, RL_STR("application/json"))) {
		if (!out->format.kind)
			out->format.kind = RL_FORMAT_JSON;
	} else if (!mime.n || rl_str_eq(mime, RL_STR("text/plain"))) {
		out->format.kind = mime.n ? RL_FORMAT_TEXT : RL_FORMAT_UNSAID;
	} else {
		out->format.kind = RL_FORMAT_RAW; /* text/x.enum */
	}
	out->format.name = out->format.kind == RL_FORMAT_RAW ? value : rl_str_make(NULL, 0);
}

static void read_schema(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *out = field;

	(void)p, (void)at;
	if (out->format.kind != RL_FORMAT_RAW)
		out->format.kind = RL_FORMAT_SCHEMA;
	out->format.schema = value;
}

/* The same in OpenAPI's subset; the original goes back to Google. */
static void read_older_schema(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *out = field;

	read_schema(p, at, value, field);
	out->format.json = value;
	out->format.schema = rl_gemini_json_schema(value, p->arena);
	if (!out->format.schema.n)
		rl_table_nomem(p);
}

static void read_config(struct rl_reader *p, rl_str value, struct rl_chat_request *out)
{
	static const struct rl_field fields[] = {
		CONFIG(temperature, "temperature", rl_read_number),
		CONFIG2(top_p, "topP", "top_p", rl_read_number),
		CONFIG2(top_k, "topK", "top_k", rl_read_number),
		CONFIG2(n, "candidateCount", "candidate_count", rl_read_int),
		CONFIG2(max_completion_tokens, "maxOutputTokens", "max_output_tokens", rl_read_int),
		CONFIG(seed, "seed", rl_read_number),
		CONFIG2(presence_penalty, "presencePenalty", "presence_penalty", rl_read_number),
		CONFIG2(frequency_penalty, "frequencyPenalty", "frequency_penalty", rl_read_number),
		CONFIG2(logprobs, "responseLogprobs", "response_logprobs", rl_read_choice3),
		CONFIG(top_logprobs, "logprobs", rl_read_int),
		RL_GEMINI_WHOLE("stopSequences", "stop_sequences", read_stop),
		RL_GEMINI_WHOLE("thinkingConfig", "thinking_config", read_thinking),
		RL_GEMINI_WHOLE("responseMimeType", "response_mime_type", read_mime),
		RL_GEMINI_WHOLE("responseJsonSchema", "response_json_schema", read_schema),
		RL_GEMINI_WHOLE("responseSchema", "response_schema", read_older_schema),
	};
	static const struct rl_place at = {NULL, "generationConfig", 0};
	struct rl_extras extras = {.n = 0};

	if (!value.n)
		return;
	rl_table_read(p, &at, value, fields, RL_N_FIELDS(fields), out, &extras);
	keep_below(p, "generationConfig.", extras, &out->extras);
}

/* --- whole requests --- */

static void read_chat(struct rl_reader *p, enum rl_operation op, rl_str body, struct rl_chat_request *out)
{
	struct raw_request raw = {.contents = {NULL, 0}};

	rl_table_read(p, NULL, body, request_fields, RL_N_FIELDS(request_fields), &raw, &raw.extras);
	/* A count asks about contents, or about a whole request inside. */
	if (!p->err && op == RL_OP_COUNT_TOKENS && raw.inner.n) {
		rl_str inner = raw.inner;

		raw = (struct raw_request){.contents = {NULL, 0}};
		rl_table_read(p, NULL, inner, request_fields, RL_N_FIELDS(request_fields), &raw, &raw.extras);
	}
	if (p->err)
		return;
	out->extras = raw.extras;
	read_contents(p, &raw, out);
	read_tools(p, raw.tools, out);
	read_tool_config(p, raw.tool_config, out);
	read_config(p, raw.config, out);
}

/* One embedding's request. */
struct raw_input {
	rl_str content, purpose;
	int64_t dimensions;
	struct rl_extras extras;
};

static const struct {
	rl_str word, purpose;
} purposes[] = {
	{RL_STR_INIT("RETRIEVAL_QUERY"), RL_STR_INIT("query")},
	{RL_STR_INIT("RETRIEVAL_DOCUMENT"), RL_STR_INIT("document")},
	{RL_STR_INIT("CLASSIFICATION"), RL_STR_INIT("classification")},
	{RL_STR_INIT("CLUSTERING"), RL_STR_INIT("clustering")},
};

static void read_purpose(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	rl_str word = {NULL, 0};

	rl_read_text(p, at, value, &word);
	*(rl_str *)field = word; /* others have no name for the rest, and say so */
	for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++)
		if (rl_str_eq(word, purposes[i].word))
			*(rl_str *)field = purposes[i].purpose;
}

/* The texts of a content's parts, joined: an embedding is of one text. */
static void read_input_text(struct rl_reader *p, const struct rl_place *at, const struct raw_input *raw,
			    struct rl_input *out)
{
	rl_str parts = rl_gemini_member(raw->content, "parts"), element;
	struct rl_json_iter iter;
	bool some = false;

	if (rl_json_type_of(parts) != RL_JSON_ARRAY)
		rl_table_fail(p, at, "has no parts");
	rl_json_iter_array(&iter, parts);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		rl_str raw_text = rl_gemini_member(element, "text"), text = {NULL, 0};

		if (!raw_text.n) {
			rl_table_fail(p, at, "holds something else than text, which cannot be translated");
			return;
		}
		rl_read_text(p, at, raw_text, &text);
		if (!p->err && some)
			text = rl_arena_printf(p->arena, "%.*s\n%.*s", RL_STR_ARG(out->text), RL_STR_ARG(text));
		if (!text.p)
			rl_table_nomem(p);
		out->text = text;
		some = true;
	}
}

static void read_input(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_chat_request *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct raw_input, content, "content", rl_read_raw),
		RL_GEMINI_FIELD(struct raw_input, purpose, "taskType", "task_type", read_purpose),
		RL_GEMINI_FIELD(struct raw_input, dimensions, "outputDimensionality", "output_dimensionality",
				rl_read_int),
		RL_WHOLE("model", rl_read_nothing),
	};
	struct raw_input raw = {.dimensions = RL_UNSET};
	bool first = out->n_inputs == 0;

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &raw, &raw.extras);
	if (p->err)
		return;
	if (!first && (!rl_str_eq(out->purpose, raw.purpose) || out->dimensions != raw.dimensions)) {
		rl_table_fail(p, at, "asks for another kind of embedding than the first, which cannot be translated");
		return;
	}
	out->purpose = raw.purpose;
	out->dimensions = raw.dimensions;
	if (first)
		out->extras = raw.extras;
	read_input_text(p, at, &raw, &out->inputs[out->n_inputs++]);
}

static void read_embedding(struct rl_reader *p, rl_str body, struct rl_chat_request *out)
{
	static const struct rl_place at = {NULL, "requests", 0}, content = {NULL, "content", 0};
	rl_str list = rl_gemini_member(body, "requests"), element;
	struct rl_json_iter iter;

	out->single_input = !list.n;
	out->inputs = rl_table_make(p, out->single_input ? 1 : rl_table_count(list), sizeof *out->inputs);
	if (!out->inputs)
		return;
	if (out->single_input) {
		if (!rl_gemini_member(body, "content").n)
			rl_table_fail(p, &content, "is missing");
		read_input(p, NULL, body, out);
		return;
	}
	if (rl_json_type_of(list) != RL_JSON_ARRAY)
		rl_table_fail(p, &at, "must be an array");
	rl_json_iter_array(&iter, list);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {&at, NULL, i};

		read_input(p, &here, element, out);
	}
}

enum rl_err rl_gemini_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				    struct rl_chat_request *out, struct rl_fault *fault)
{
	struct rl_reader p = {.arena = arena, .fault = fault};
	struct rl_json_error error;

	assert(op == RL_OP_CHAT || op == RL_OP_COUNT_TOKENS || op == RL_OP_EMBEDDING);
	rl_chat_request_init(out);
	out->dialect = RL_STR(RL_GEMINI_NAME);
	out->include_usage = true; /* it comes with every piece, asked or not */
	enum rl_err err = rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return RL_ERR_SYNTAX;
	}
	if (op == RL_OP_EMBEDDING)
		read_embedding(&p, body, out);
	else
		read_chat(&p, op, body, out);
	return p.err == RL_ERR_NOMEM ? rl_border_nomem(fault) : p.err;
}
