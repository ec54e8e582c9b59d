/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI messages to ours: content parts, tool calls, the several roles. Used for
 * requests and for answers, which have the same messages.
 */
#include "dialect/openai_priv.h"
#include "dialect/table.h"

/* What a vendor made something else than text of (`reasoning`: an object with options) is not ours. */
static void read_if_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, at, value, field);
}

/* --- parts of a message --- */

/* "data:image/png;base64,..." (RFC 2397) to its halves; any other address stays one. */
static void split_data_url(struct rl_media *media)
{
	static const rl_str mark = RL_STR_INIT(";base64,");
	rl_str url = media->data;
	size_t semicolon;

	media->source = RL_MEDIA_URL;
	if (!rl_str_starts(url, RL_STR("data:")))
		return;
	for (size_t at = 5; (semicolon = rl_str_find(rl_str_sub(url, at, SIZE_MAX), ';')) != SIZE_MAX; at++) {
		at += semicolon;
		if (!rl_str_starts(rl_str_sub(url, at, SIZE_MAX), mark))
			continue;
		media->source = RL_MEDIA_BASE64;
		media->mime = rl_str_sub(url, 5, at - 5);
		media->data = rl_str_sub(url, at + mark.n, SIZE_MAX);
		return;
	}
}

static void read_image(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_media, data, "url", rl_read_text),
		RL_FIELD(struct rl_media, detail, "detail", rl_read_text),
	};
	struct rl_part *part = field;

	part->kind = RL_PART_IMAGE;
	/* Mistral also takes the bare address. */
	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, at, value, &part->media.data);
	else
		rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &part->media, &part->media.extras);
	split_data_url(&part->media);
}

static void read_audio(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_media, data, "data", rl_read_text),
		RL_FIELD(struct rl_media, mime, "format", rl_read_text),
	};
	struct rl_part *part = field;

	part->kind = RL_PART_AUDIO;
	part->media.source = RL_MEDIA_BASE64;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &part->media, &part->media.extras);
	/* The API says "wav", the rest of the world "audio/wav". */
	if (part->media.mime.n)
		part->media.mime = rl_arena_printf(p->arena, "audio/%.*s", RL_STR_ARG(part->media.mime));
	if (part->media.mime.n && !part->media.mime.p)
		rl_table_nomem(p);
}

struct file {
	rl_str data, id;
	struct rl_media media;
};

static void read_file(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct file, data, "file_data", rl_read_text),
		RL_FIELD(struct file, id, "file_id", rl_read_text),
		RL_FIELD(struct file, media.name, "filename", rl_read_text),
	};
	struct rl_part *part = field;
	struct file file = {.data = {NULL, 0}};

	part->kind = RL_PART_DOCUMENT;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &file, &file.media.extras);
	if (file.data.p && file.id.p)
		rl_table_fail(p, at, "gives both 'file_data' and 'file_id'");
	file.media.data = file.data.p ? file.data : file.id;
	if (file.data.p)
		split_data_url(&file.media);
	else
		file.media.source = RL_MEDIA_FILE;
	part->media = file.media;
}

static void read_part_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_part *part = field;

	part->kind = RL_PART_TEXT;
	rl_read_text(p, at, value, &part->text);
}

static void read_part_refusal(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_part *part = field;

	part->kind = RL_PART_REFUSAL;
	rl_read_text(p, at, value, &part->text);
}

/* Mistral's {"type":"thinking","thinking":[{"type":"text","text":"..."}]}. */
static void read_thinking(struct rl_reader *p, rl_str value, struct rl_part *part)
{
	static const rl_str keys[] = {RL_STR_INIT("thinking"), RL_STR_INIT("text")};
	struct rl_json_span span;
	struct rl_json_iter iter;
	rl_str element, text;
	struct rl_buf all;

	rl_buf_init(&all, value.n + 1);
	rl_json_find(value, &keys[0], 1, &span);
	rl_json_iter_array(&iter, rl_json_span_text(value, &span));
	while (rl_json_iter_next(&iter, &element)) {
		rl_json_find(element, &keys[1], 1, &span);
		if (span.type == RL_JSON_STRING &&
		    !rl_json_unescape(rl_json_span_text(element, &span), p->arena, &text))
			rl_buf_add(&all, text);
	}
	part->kind = RL_PART_REASONING;
	part->reasoning = (struct rl_reasoning){.text = rl_arena_dup(p->arena, rl_buf_str(&all)),
						.spelling = RL_STR("thinking"),
						.json = value};
	if ((!part->reasoning.text.p && all.n) || !rl_buf_ok(&all))
		rl_table_nomem(p);
	rl_buf_fini(&all);
}

struct mark {
	rl_str type, mode; /* raw */
	rl_str ttl;
};

/*
 * {"mode":"explicit","ttl":"30m"} of this API, or {"type":"ephemeral","ttl":"1h"} as OpenRouter and LiteLLM take it from
 * clients of theirs; false, and an extra as before: something else.
 */
static bool read_mark(struct rl_reader *p, rl_str value, bool ephemeral, struct rl_cache_mark *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct mark, type, "type", rl_read_raw),
		RL_FIELD(struct mark, mode, "mode", rl_read_raw),
		RL_FIELD(struct mark, ttl, "ttl", read_if_text),
	};
	struct mark mark = {.ttl = {NULL, 0}};

	if (rl_json_type_of(value) != RL_JSON_OBJECT)
		return false;
	rl_table_read(p, NULL, value, fields, RL_N_FIELDS(fields), &mark, NULL);
	if (p->err || (ephemeral ? !rl_json_string_is(mark.type, RL_STR("ephemeral"))
				 : mark.type.p || !rl_json_string_is(mark.mode, RL_STR("explicit"))))
		return false;
	*out = (struct rl_cache_mark){.set = true, .ttl = mark.ttl, .json = value};
	return true;
}

void rl_openai_take_mark(struct rl_reader *p, struct rl_extras *extras, struct rl_cache_mark *out)
{
	static const rl_str keys[] = {RL_STR_INIT("\"prompt_cache_breakpoint\""), RL_STR_INIT("\"cache_control\"")};

	for (size_t k = 0; k < RL_N_FIELDS(keys) && !out->set; k++)
		if (read_mark(p, rl_table_find(*extras, keys[k]), k == 1, out))
			rl_table_take(extras, keys[k]);
}

/* One element of a `content` list. A type that is not in the table stays RAW. */
static void read_part(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct {
		rl_str type;
		struct rl_field fields[2];
	} types[] = {
		{RL_STR_INIT("text"), {RL_WHOLE("text", read_part_text), RL_WHOLE("type", rl_read_nothing)}},
		{RL_STR_INIT("image_url"), {RL_WHOLE("image_url", read_image), RL_WHOLE("type", rl_read_nothing)}},
		{RL_STR_INIT("input_audio"), {RL_WHOLE("input_audio", read_audio), RL_WHOLE("type", rl_read_nothing)}},
		{RL_STR_INIT("file"), {RL_WHOLE("file", read_file), RL_WHOLE("type", rl_read_nothing)}},
		{RL_STR_INIT("refusal"), {RL_WHOLE("refusal", read_part_refusal), RL_WHOLE("type", rl_read_nothing)}},
	};
	rl_str type;

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	type = rl_table_type(value);
	for (size_t i = 0; i < RL_N_FIELDS(types); i++) {
		if (!rl_json_string_is(type, types[i].type))
			continue;
		rl_table_read(p, at, value, types[i].fields, 2, part, &part->extras);
		if (!part->kind)
			rl_table_fail(p, at, "lacks the member that its type names");
		if (part->extras.n)
			rl_openai_take_mark(p, &part->extras, &part->cache);
		return;
	}
	if (rl_json_string_is(type, RL_STR("thinking"))) {
		read_thinking(p, value, part);
		return;
	}
	part->kind = RL_PART_RAW;
	part->json = value;
}

/* Text, or a list of parts, appended to parts[*n]; there is room for rl_table_count(content) or one. */
static void read_content(struct rl_reader *p, const struct rl_place *at, rl_str content, struct rl_part *parts,
			 size_t *n)
{
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(content) == RL_JSON_STRING) {
		read_part_text(p, at, content, &parts[(*n)++]);
		return;
	}
	if (rl_json_type_of(content) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be a string or an array");
		return;
	}
	rl_json_iter_array(&iter, content);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {at, NULL, i};
		read_part(p, &here, element, &parts[(*n)++]);
	}
}

/* --- tool calls --- */

/* Arguments are JSON in a string; Mistral also sends the object itself. */
static void read_arguments(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		*(rl_str *)field = value;
	else
		rl_read_text(p, at, value, field);
}

static void read_function_call(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_tool_call, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool_call, arguments, "arguments", read_arguments),
	};
	struct rl_tool_call *call = field;

	call->kind = RL_TOOL_KIND_FUNCTION;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), call, &call->extras);
}

static void read_custom_call(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_tool_call, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool_call, arguments, "input", rl_read_text),
	};
	struct rl_tool_call *call = field;

	call->kind = RL_TOOL_KIND_CUSTOM;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), call, &call->extras);
}

static void read_tool_call(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field fields[] = {
		RL_WHOLE("type", rl_read_nothing),
		RL_WHOLE("index", rl_read_nothing), /* vendors repeat the stream's number in whole answers */
		RL_FIELD(struct rl_tool_call, id, "id", rl_read_text),
		RL_WHOLE("function", read_function_call),
		RL_WHOLE("custom", read_custom_call),
	};

	part->kind = RL_PART_TOOL_CALL;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &part->call, &part->extras);
	if (!part->call.kind) {
		part->call.kind = RL_TOOL_KIND_HOSTED;
		part->call.arguments = value;
	}
}

/* --- messages --- */

/* A message's members before its role says what they mean. */
struct members {
	rl_str role, content, tool_calls, function_call; /* raw */
	rl_str name, refusal, tool_call_id;              /* text */
	struct rl_openai_thoughts thoughts;
	struct rl_extras extras;
};

static const struct rl_field message_fields[] = {
	RL_FIELD(struct members, role, "role", rl_read_raw),
	RL_FIELD(struct members, content, "content", rl_read_raw),
	RL_FIELD(struct members, tool_calls, "tool_calls", rl_read_raw),
	RL_FIELD(struct members, function_call, "function_call", rl_read_raw),
	RL_FIELD(struct members, name, "name", rl_read_text),
	RL_FIELD(struct members, refusal, "refusal", rl_read_text),
	RL_FIELD(struct members, tool_call_id, "tool_call_id", rl_read_text),
	RL_FIELD(struct members, thoughts.reasoning_content, "reasoning_content", read_if_text),
	RL_FIELD(struct members, thoughts.reasoning, "reasoning", read_if_text),
	RL_FIELD(struct members, thoughts.signature, "reasoning_signature", read_if_text),
};

static enum rl_role role_of(rl_str raw, bool *legacy)
{
	static const char *const words[] = {"system", "developer", "user", "assistant", "tool"};

	*legacy = rl_json_string_is(raw, RL_STR("function"));
	return *legacy ? RL_ROLE_TOOL : (enum rl_role)rl_table_word(raw, words, RL_N_FIELDS(words));
}

/* A tool's answer: one part that holds the content. */
static void read_result(struct rl_reader *p, const struct rl_place *at, const struct members *m, bool legacy,
			struct rl_message *out)
{
	struct rl_part *part = rl_table_make(p, 1, sizeof *part);
	struct rl_part *inner = rl_table_make(p, 1 + rl_table_count(m->content), sizeof *inner);
	struct rl_place content = {at, "content", 0};
	size_t n = 0;

	if (!part || !inner)
		return;
	if (m->content.p)
		read_content(p, &content, m->content, inner, &n);
	part->kind = RL_PART_TOOL_RESULT;
	part->result = (struct rl_tool_result){
		.call_id = m->tool_call_id,
		.name = m->name,
		.parts = inner,
		.n_parts = n,
		.kind = legacy ? RL_TOOL_KIND_LEGACY : RL_TOOL_KIND_FUNCTION,
	};
	out->name = rl_str_make(NULL, 0);
	out->parts = part;
	out->n_parts = 1;
}

static void read_calls(struct rl_reader *p, const struct rl_place *at, const struct members *m, struct rl_message *out)
{
	struct rl_place calls = {at, "tool_calls", 0}, legacy = {at, "function_call", 0};
	struct rl_json_iter iter;
	rl_str element;

	if (m->tool_calls.p && rl_json_type_of(m->tool_calls) != RL_JSON_ARRAY)
		rl_table_fail(p, &calls, "must be an array");
	rl_json_iter_array(&iter, m->tool_calls);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {&calls, NULL, i};
		struct rl_part *call = &out->parts[out->n_parts++];

		read_tool_call(p, &here, element, call);
		if (call->extras.n && call->call.kind != RL_TOOL_KIND_HOSTED)
			rl_openai_put_call_seal(p, call, out);
	}
	if (!m->function_call.p || p->err)
		return;
	struct rl_part *part = &out->parts[out->n_parts++];

	part->kind = RL_PART_TOOL_CALL;
	read_function_call(p, &legacy, m->function_call, &part->call);
	part->call.kind = RL_TOOL_KIND_LEGACY;
}

/* --- annotations --- */

struct url_citation {
	rl_str type, inner; /* raw */
	rl_str url, title;
	int64_t start, end;
};

static void read_position(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	uint64_t number;

	(void)p, (void)at;
	if (rl_json_u64(value, &number) && number <= INT32_MAX)
		*(int64_t *)field = (int64_t)number;
}

bool rl_openai_read_citation(struct rl_reader *p, rl_str value, struct rl_citation *out)
{
	static const struct rl_field outer[] = {RL_FIELD(struct url_citation, type, "type", rl_read_raw),
						RL_FIELD(struct url_citation, inner, "url_citation", rl_read_raw)};
	static const struct rl_field fields[] = {
		RL_FIELD(struct url_citation, url, "url", read_if_text),
		RL_FIELD(struct url_citation, title, "title", read_if_text),
		RL_FIELD(struct url_citation, start, "start_index", read_position),
		RL_FIELD(struct url_citation, end, "end_index", read_position),
	};
	struct url_citation said = {.start = RL_UNSET, .end = RL_UNSET};

	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		rl_table_read(p, NULL, value, outer, RL_N_FIELDS(outer), &said, NULL);
	if (!rl_json_string_is(said.type, RL_STR("url_citation")) || rl_json_type_of(said.inner) != RL_JSON_OBJECT)
		return false;
	rl_table_read(p, NULL, said.inner, fields, RL_N_FIELDS(fields), &said, NULL);
	*out = (struct rl_citation){.url = said.url,
				    .title = said.title,
				    .start = said.start,
				    .end = said.end,
				    .document = RL_UNSET,
				    .json = value};
	return !p->err;
}

/* `annotations` belong to the text; a list that is of something else, or has no text, stays an extra. */
static void take_annotations(struct rl_reader *p, struct rl_message *out, size_t first)
{
	static const rl_str key = RL_STR_INIT("\"annotations\"");
	struct rl_json_iter iter;
	rl_str list = rl_table_find(out->extras, key), element;
	size_t n = 0;
	size_t count = rl_table_count(list);

	if (!count || first == out->n_parts || out->parts[first].kind != RL_PART_TEXT)
		return;
	struct rl_citation *citations = rl_table_make(p, count, sizeof *citations);

	rl_json_iter_array(&iter, list);
	while (citations && rl_json_iter_next(&iter, &element) && rl_openai_read_citation(p, element, &citations[n]))
		n++;
	if (!citations || n < count)
		return;
	out->parts[first].citations = citations;
	out->parts[first].n_citations = n;
	rl_table_take(&out->extras, key);
}

/*
 * Order of the parts: thoughts, content, refusal, calls; as models produce them. A
 * role that is missing or unknown is `fallback`, or an error when that is NONE.
 */
void rl_openai_read_message(struct rl_reader *p, const struct rl_place *at, rl_str value, enum rl_role fallback,
			    struct rl_message *out)
{
	struct members m = {.role = {NULL, 0}};
	struct rl_place role = {at, "role", 0}, content = {at, "content", 0};
	bool legacy;

	rl_table_read(p, at, value, message_fields, RL_N_FIELDS(message_fields), &m, &m.extras);
	if (p->err)
		return;
	out->role = role_of(m.role, &legacy);
	if (!out->role)
		out->role = fallback;
	out->name = m.name;
	out->extras = m.extras;
	if (!out->role) {
		rl_table_fail(p, &role, "must be one of system, developer, user, assistant, tool, function");
		return;
	}
	if (out->role == RL_ROLE_TOOL) {
		read_result(p, at, &m, legacy, out);
		return;
	}
	size_t calls = rl_table_count(m.tool_calls), room = 5 + rl_table_count(m.content) + 2 * calls;

	if (out->extras.n)
		room += rl_openai_take_thoughts(&m.thoughts, &out->extras);
	/* Two thoughts, text, refusal, legacy call, and the lists, each call with its seal. */
	out->parts = rl_table_make(p, room, sizeof *out->parts);
	if (!out->parts)
		return;
	rl_openai_put_thoughts(p, &m.thoughts, out);
	size_t first = out->n_parts;

	if (m.content.p)
		read_content(p, &content, m.content, out->parts, &out->n_parts);
	if (out->extras.n)
		take_annotations(p, out, first);
	if (m.refusal.p)
		out->parts[out->n_parts++] = (struct rl_part){.kind = RL_PART_REFUSAL, .text = m.refusal};
	read_calls(p, at, &m, out);
	if (m.thoughts.details.p && calls)
		rl_openai_order_seals(out);
}
