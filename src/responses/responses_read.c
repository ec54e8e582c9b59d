/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of the Responses API to ours: items, tools and settings of a request, the items of an answer. */
#include "responses/responses_priv.h"

#include "dialect/border.h"

/* --- content parts --- */

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

struct annotation {
	rl_str url, title, quoted;
	int64_t start, end;
};

/* Numbers that mean something else than a place in a text are left alone. */
static void read_offset(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	uint64_t number;

	(void)p, (void)at;
	if (rl_json_u64(value, &number) && number <= INT64_MAX)
		*(int64_t *)field = (int64_t)number;
}

static void read_word(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_STRING)
		rl_read_text(p, at, value, field);
}

void rl_responses_read_citation(struct rl_reader *p, rl_str value, struct rl_citation *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct annotation, url, "url", read_word),
		RL_FIELD(struct annotation, title, "title", read_word),
		RL_FIELD(struct annotation, title, "filename", read_word),
		RL_FIELD(struct annotation, start, "start_index", read_offset),
		RL_FIELD(struct annotation, end, "end_index", read_offset),
	};
	struct annotation said = {.start = RL_UNSET, .end = RL_UNSET};

	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		rl_table_read(p, NULL, value, fields, RL_N_FIELDS(fields), &said, NULL);
	*out = (struct rl_citation){.url = said.url,
				    .title = said.title,
				    .start = said.start,
				    .end = said.end,
				    .document = RL_UNSET,
				    .json = value};
}

static void read_annotations(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_part *part = field;
	struct rl_json_iter iter;
	rl_str element;
	size_t n = rl_table_count(value);

	(void)at;
	if (!n)
		return;
	struct rl_citation *citations = rl_table_make(p, n, sizeof *citations);

	if (!citations)
		return;
	n = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element))
		rl_responses_read_citation(p, element, &citations[n++]);
	part->citations = citations;
	part->n_citations = n;
}

/* "data:image/png;base64,..." (RFC 2397) to its halves; any other address stays one. */
static void split_data_url(struct rl_media *media)
{
	static const rl_str mark = RL_STR_INIT(";base64");
	size_t comma = rl_str_find(media->data, ',');

	media->source = RL_MEDIA_URL;
	if (comma == SIZE_MAX || !rl_str_starts(media->data, RL_STR("data:")) ||
	    !rl_str_ends(rl_str_sub(media->data, 5, comma - 5), mark))
		return;
	media->source = RL_MEDIA_BASE64;
	media->mime = rl_str_sub(media->data, 5, comma - 5 - mark.n);
	media->data = rl_str_sub(media->data, comma + 1, SIZE_MAX);
}

/* What an input_image or an input_file may hold; one of the first four is there. */
struct file {
	rl_str image_url, file_data, file_url, file_id, name, detail;
	struct rl_extras extras;
};

static void read_media(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct file, image_url, "image_url", rl_read_text),
		RL_FIELD(struct file, file_data, "file_data", rl_read_text),
		RL_FIELD(struct file, file_url, "file_url", rl_read_text),
		RL_FIELD(struct file, file_id, "file_id", rl_read_text),
		RL_FIELD(struct file, name, "filename", rl_read_text),
		RL_FIELD(struct file, detail, "detail", rl_read_text),
		RL_WHOLE("type", rl_read_nothing),
	};
	struct file file = {.image_url = {NULL, 0}};
	struct rl_media *media = &part->media;

	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &file, &part->extras);
	*media = (struct rl_media){.source = RL_MEDIA_URL, .name = file.name, .detail = file.detail};
	if (file.image_url.p || file.file_data.p) {
		media->data = file.image_url.p ? file.image_url : file.file_data;
		split_data_url(media);
		if (!file.image_url.p)
			media->source = RL_MEDIA_BASE64; /* with or without a type in front */
	} else if (file.file_url.p) {
		media->data = file.file_url;
	} else if (file.file_id.p) {
		media->source = RL_MEDIA_FILE;
		media->data = file.file_id;
	} else {
		rl_table_fail(p, at, "names no image or file");
	}
}

static void read_audio_data(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_media, data, "data", rl_read_text),
		RL_FIELD(struct rl_media, mime, "format", rl_read_text),
	};
	struct rl_part *part = field;

	part->kind = RL_PART_AUDIO;
	part->media.source = RL_MEDIA_BASE64;
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), &part->media, &part->media.extras);
	if (part->media.mime.n)
		part->media.mime = rl_arena_printf(p->arena, "audio/%.*s", RL_STR_ARG(part->media.mime));
	if (part->media.mime.n && !part->media.mime.p)
		rl_table_nomem(p);
}

/* Empty lists and null say nothing, and clients send them back with every text. */
static void drop_empty(struct rl_extras *extras)
{
	struct rl_extra *v = (struct rl_extra *)(uintptr_t)extras->v;
	size_t n = 0;

	for (size_t i = 0; i < extras->n; i++)
		if (rl_json_type_of(v[i].json) != RL_JSON_NULL && !rl_str_eq(v[i].json, RL_STR("[]")))
			v[n++] = v[i];
	extras->n = n;
}

/* One element of a `content` or an `output`. A type that is not known stays RAW. */
static void read_part(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part)
{
	static const struct rl_field text[] = {RL_WHOLE("text", read_part_text),
					       RL_WHOLE("annotations", read_annotations),
					       RL_WHOLE("type", rl_read_nothing)};
	static const struct rl_field refusal[] = {RL_WHOLE("refusal", read_part_refusal),
						  RL_WHOLE("type", rl_read_nothing)};
	static const struct rl_field audio[] = {RL_WHOLE("input_audio", read_audio_data),
						RL_WHOLE("type", rl_read_nothing)};
	enum { INPUT_TEXT = 1, OUTPUT_TEXT, TEXT, REFUSAL, IMAGE, FILE_PART, AUDIO };
	static const char *const types[] = {"input_text",  "output_text", "text",       "refusal",
					    "input_image", "input_file",  "input_audio"};

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	switch (rl_table_word(rl_table_type(value), types, RL_N_FIELDS(types))) {
	case INPUT_TEXT:
	case OUTPUT_TEXT:
	case TEXT:
		rl_table_read(p, at, value, text, RL_N_FIELDS(text), part, &part->extras);
		drop_empty(&part->extras);
		break;
	case REFUSAL:
		rl_table_read(p, at, value, refusal, RL_N_FIELDS(refusal), part, &part->extras);
		break;
	case IMAGE:
		part->kind = RL_PART_IMAGE;
		read_media(p, at, value, part);
		break;
	case FILE_PART:
		part->kind = RL_PART_DOCUMENT;
		read_media(p, at, value, part);
		break;
	case AUDIO:
		rl_table_read(p, at, value, audio, RL_N_FIELDS(audio), part, &part->extras);
		break;
	default:
		part->kind = RL_PART_RAW;
		part->json = value;
	}
	if (!part->kind)
		rl_table_fail(p, at, "lacks the member that its type names");
}

/* --- items --- */

/* The parts of the message that is being put together. */
struct parts {
	struct rl_part *v;
	size_t n, cap;
};

/* Zeroed; NULL without memory. */
static struct rl_part *add_part(struct rl_reader *p, struct parts *parts)
{
	if (parts->n == parts->cap) {
		size_t cap = parts->cap ? parts->cap * 2 : 2;
		struct rl_part *v = rl_table_make(p, cap, sizeof *v);

		if (!v)
			return NULL;
		if (parts->n)
			memcpy(v, parts->v, parts->n * sizeof *v);
		parts->v = v;
		parts->cap = cap;
	}
	return &parts->v[parts->n++];
}

/* The list that marks the parts of one item: never without an address. */
static struct rl_extras mark_of(struct rl_reader *p, struct rl_extras rest)
{
	if (!rest.v)
		rest.v = rl_table_make(p, 1, sizeof *rest.v);
	return rest;
}

static void read_parts(struct rl_reader *p, const struct rl_place *at, rl_str list, struct rl_extras mark,
		       struct parts *parts)
{
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &element); i++) {
		struct rl_place here = {at, NULL, i};
		struct rl_part *part = add_part(p, parts);

		if (!part)
			return;
		part->item = mark;
		read_part(p, &here, element, part);
	}
}

/* Text, or a list of parts. A plain text of an item that says no more has no mark: it is written so again. */
static void read_content(struct rl_reader *p, const struct rl_place *at, const char *key, rl_str content,
			 struct rl_extras rest, struct parts *parts)
{
	struct rl_place here = {at, key, 0};

	if (rl_json_type_of(content) == RL_JSON_ARRAY) {
		read_parts(p, &here, content, mark_of(p, rest), parts);
		return;
	}
	if (rl_json_type_of(content) != RL_JSON_STRING) {
		rl_table_fail(p, &here, "must be a string or an array");
		return;
	}
	struct rl_part *part = add_part(p, parts);

	if (!part)
		return;
	part->item = rest;
	read_part_text(p, &here, content, part);
}

struct message_item {
	rl_str role, content; /* raw */
	struct rl_extras rest;
};

static const struct rl_field message_fields[] = {
	RL_FIELD(struct message_item, role, "role", rl_read_raw),
	RL_FIELD(struct message_item, content, "content", rl_read_raw),
};

static enum rl_role read_role(struct rl_reader *p, const struct rl_place *at, rl_str raw)
{
	static const char *const words[] = {"system", "developer", "user", "assistant"};
	struct rl_place here = {at, "role", 0};
	enum rl_role role = (enum rl_role)rl_table_word(raw, words, RL_N_FIELDS(words));

	if (!role)
		rl_table_fail(p, &here, "must be one of system, developer, user, assistant");
	return role;
}

/* Arguments are JSON in a string; some servers send the object itself. */
static void read_arguments(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	if (rl_json_type_of(value) == RL_JSON_OBJECT)
		rl_read_raw(p, at, value, field);
	else
		rl_read_text(p, at, value, field);
}

static void read_call(struct rl_reader *p, const struct rl_place *at, rl_str item, enum rl_tool_kind kind,
		      struct parts *parts)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_tool_call, id, "call_id", rl_read_text),
		RL_FIELD(struct rl_tool_call, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool_call, arguments, "arguments", read_arguments),
		RL_WHOLE("type", rl_read_nothing),
	};
	static const struct rl_field custom[] = {
		RL_FIELD(struct rl_tool_call, id, "call_id", rl_read_text),
		RL_FIELD(struct rl_tool_call, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool_call, arguments, "input", rl_read_text),
		RL_WHOLE("type", rl_read_nothing),
	};
	struct rl_part *part = add_part(p, parts);

	if (!part)
		return;
	part->kind = RL_PART_TOOL_CALL;
	part->call.kind = kind;
	rl_table_read(p, at, item, kind == RL_TOOL_KIND_CUSTOM ? custom : fields, RL_N_FIELDS(fields), &part->call,
		      &part->item);
}

struct output_item {
	rl_str call_id, output; /* the second raw */
	struct rl_extras rest;
};

static void read_result(struct rl_reader *p, const struct rl_place *at, rl_str item, enum rl_tool_kind kind,
			struct parts *parts)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct output_item, call_id, "call_id", rl_read_text),
		RL_FIELD(struct output_item, output, "output", rl_read_raw),
		RL_WHOLE("type", rl_read_nothing),
	};
	struct rl_part *part = add_part(p, parts);
	struct output_item said = {.call_id = {NULL, 0}};
	struct parts inner = {.v = NULL};

	if (!part)
		return;
	rl_table_read(p, at, item, fields, RL_N_FIELDS(fields), &said, &said.rest);
	if (!p->err && said.output.p)
		read_content(p, at, "output", said.output, (struct rl_extras){.v = NULL}, &inner);
	part->kind = RL_PART_TOOL_RESULT;
	part->item = said.rest;
	part->result =
		(struct rl_tool_result){.call_id = said.call_id, .parts = inner.v, .n_parts = inner.n, .kind = kind};
}

struct reasoning_item {
	rl_str id, encrypted, summary, content; /* the last two raw */
	struct rl_extras rest;
};

static struct rl_part *add_thought(struct rl_reader *p, struct parts *parts, rl_str id, struct rl_extras mark)
{
	struct rl_part *part = add_part(p, parts);

	if (!part)
		return NULL;
	part->kind = RL_PART_REASONING;
	part->reasoning.id = id;
	part->item = mark;
	return part;
}

static void read_thoughts(struct rl_reader *p, rl_str list, bool summary, rl_str id, struct rl_extras mark,
			  struct parts *parts)
{
	static const struct rl_field fields[] = {RL_FIELD(struct rl_reasoning, text, "text", rl_read_text)};
	struct rl_json_iter iter;
	rl_str element;

	rl_json_iter_array(&iter, list);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_part *part = add_thought(p, parts, id, mark);

		if (!part)
			return;
		part->reasoning.summary = summary;
		if (rl_json_type_of(element) == RL_JSON_OBJECT)
			rl_table_read(p, NULL, element, fields, 1, &part->reasoning, NULL);
	}
}

/* The seal is of the whole item: it stands in its last part. */
static void set_seal(struct rl_part *part, rl_str seal)
{
	struct rl_reasoning *thought = &part->reasoning;

	thought->family = rl_seal_open(&seal, RL_STR(RL_RESPONSES_FAMILY));
	if (!rl_str_eq(thought->family, RL_STR(RL_RESPONSES_FAMILY)) &&
	    rl_str_starts(seal, RL_STR(RL_RESPONSES_REDACTED)))
		thought->redacted = rl_str_sub(seal, sizeof RL_RESPONSES_REDACTED - 1, SIZE_MAX);
	else
		thought->signature = seal;
}

static void read_reasoning(struct rl_reader *p, const struct rl_place *at, rl_str item, struct parts *parts)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct reasoning_item, id, "id", rl_read_text),
		RL_FIELD(struct reasoning_item, encrypted, "encrypted_content", rl_read_text),
		RL_FIELD(struct reasoning_item, summary, "summary", rl_read_raw),
		RL_FIELD(struct reasoning_item, content, "content", rl_read_raw),
		RL_WHOLE("type", rl_read_nothing),
	};
	struct reasoning_item said = {.id = {NULL, 0}};
	size_t before = parts->n;

	rl_table_read(p, at, item, fields, RL_N_FIELDS(fields), &said, &said.rest);
	struct rl_extras mark = mark_of(p, said.rest);

	read_thoughts(p, said.summary, true, said.id, mark, parts);
	read_thoughts(p, said.content, false, said.id, mark, parts);
	if (!p->err && parts->n == before)
		add_thought(p, parts, said.id, mark);
	if (!p->err && said.encrypted.n)
		set_seal(&parts->v[parts->n - 1], said.encrypted);
}

enum item_kind {
	ITEM_OTHER,
	ITEM_MESSAGE,
	ITEM_FUNCTION_CALL,
	ITEM_CUSTOM_CALL,
	ITEM_FUNCTION_OUTPUT,
	ITEM_CUSTOM_OUTPUT,
	ITEM_REASONING,
	ITEM_REFERENCE,
};

static enum item_kind kind_of(rl_str item)
{
	static const char *const types[] = {
		"message",   "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output",
		"reasoning", "item_reference"};
	rl_str type = rl_table_type(item);

	/* The easy form of a message names no type. */
	if (rl_json_type_of(type) <= RL_JSON_NULL)
		return ITEM_MESSAGE;
	return (enum item_kind)rl_table_word(type, types, RL_N_FIELDS(types));
}

/* An item that belongs to an answer of the model. */
static void read_own_item(struct rl_reader *p, const struct rl_place *at, rl_str item, enum item_kind kind,
			  struct parts *parts)
{
	struct rl_part *part;

	switch (kind) {
	case ITEM_FUNCTION_CALL:
		read_call(p, at, item, RL_TOOL_KIND_FUNCTION, parts);
		break;
	case ITEM_CUSTOM_CALL:
		read_call(p, at, item, RL_TOOL_KIND_CUSTOM, parts);
		break;
	case ITEM_REASONING:
		read_reasoning(p, at, item, parts);
		break;
	default:
		part = add_part(p, parts);
		if (!part)
			return;
		part->kind = RL_PART_RAW;
		part->json = item;
	}
}

struct rl_part *rl_responses_read_item(struct rl_reader *p, rl_str item, size_t *n)
{
	struct message_item said = {.role = {NULL, 0}};
	struct parts parts = {.v = NULL};
	enum item_kind kind = kind_of(item);

	*n = 0;
	if (rl_json_type_of(item) != RL_JSON_OBJECT) {
		rl_table_fail(p, NULL, "must be an object");
		return NULL;
	}
	if (kind == ITEM_MESSAGE) {
		rl_table_read(p, NULL, item, message_fields, RL_N_FIELDS(message_fields), &said, &said.rest);
		if (!p->err && said.content.p)
			read_content(p, NULL, "content", said.content, said.rest, &parts);
	} else {
		read_own_item(p, NULL, item, kind, &parts);
	}
	*n = parts.n;
	return parts.v;
}

/* --- the conversation --- */

struct conversation {
	struct rl_message *messages;
	size_t n;
	struct parts turn; /* of the last message, while items of the model follow each other */
	bool open;
};

static struct rl_message *begin(struct conversation *c, enum rl_role role)
{
	struct rl_message *message = &c->messages[c->n++];

	message->role = role;
	c->turn = (struct parts){.v = NULL};
	c->open = role == RL_ROLE_ASSISTANT;
	return message;
}

static void end(struct conversation *c)
{
	c->messages[c->n - 1].parts = c->turn.v;
	c->messages[c->n - 1].n_parts = c->turn.n;
}

static void read_message_item(struct rl_reader *p, const struct rl_place *at, rl_str item, struct conversation *c)
{
	struct message_item said = {.role = {NULL, 0}};

	rl_table_read(p, at, item, message_fields, RL_N_FIELDS(message_fields), &said, &said.rest);
	if (p->err)
		return;
	enum rl_role role = read_role(p, at, said.role);

	if (role != RL_ROLE_ASSISTANT || !c->open)
		begin(c, role);
	else
		said.rest = mark_of(p, said.rest); /* so that it is told from what stands before it */
	read_content(p, at, "content", said.content, said.rest, &c->turn);
	end(c);
}

static void read_input_item(struct rl_reader *p, const struct rl_place *at, rl_str item, struct conversation *c)
{
	enum item_kind kind;

	if (rl_json_type_of(item) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	kind = kind_of(item);
	switch (kind) {
	case ITEM_MESSAGE:
		read_message_item(p, at, item, c);
		break;
	case ITEM_FUNCTION_OUTPUT:
	case ITEM_CUSTOM_OUTPUT:
		begin(c, RL_ROLE_TOOL);
		read_result(p, at, item, kind == ITEM_CUSTOM_OUTPUT ? RL_TOOL_KIND_CUSTOM : RL_TOOL_KIND_FUNCTION,
			    &c->turn);
		end(c);
		break;
	case ITEM_REFERENCE:
		rl_table_fail(p, at,
			      "refers to an item that a provider keeps, so this request can only go, untouched, to a "
			      "provider of the Responses API; send the item itself");
		break;
	default:
		if (!c->open)
			begin(c, RL_ROLE_ASSISTANT);
		read_own_item(p, at, item, kind, &c->turn);
		end(c);
	}
}

/* What a request says in other words than ours, raw, beside what the tables put where it belongs. */
struct said {
	struct rl_chat_request request;
	rl_str instructions, input, reasoning, text, include, store;
};

static void read_conversation(struct rl_reader *p, struct said *said)
{
	struct rl_place input = {NULL, "input", 0}, instructions = {NULL, "instructions", 0};
	struct rl_chat_request *request = &said->request;
	struct conversation c = {.n = 0};
	struct rl_json_iter iter;
	rl_str item;

	c.messages = rl_table_make(p, rl_table_count(said->input) + 2, sizeof *c.messages);
	if (!c.messages)
		return;
	if (said->instructions.p) {
		begin(&c, RL_ROLE_SYSTEM);
		read_content(p, NULL, "instructions", said->instructions, (struct rl_extras){.v = NULL}, &c.turn);
		end(&c);
		request->instructions = true;
		if (rl_json_type_of(said->instructions) != RL_JSON_STRING)
			rl_table_fail(p, &instructions, "must be a string");
	}
	if (rl_json_type_of(said->input) == RL_JSON_STRING) {
		begin(&c, RL_ROLE_USER);
		read_content(p, NULL, "input", said->input, (struct rl_extras){.v = NULL}, &c.turn);
		end(&c);
		request->single_input = true;
	} else if (said->input.p && rl_json_type_of(said->input) != RL_JSON_ARRAY) {
		rl_table_fail(p, &input, "must be a string or an array");
	}
	rl_json_iter_array(&iter, said->input);
	for (size_t i = 0; !p->err && rl_json_iter_next(&iter, &item); i++) {
		struct rl_place here = {&input, NULL, i};

		read_input_item(p, &here, item, &c);
	}
	request->messages = c.messages;
	request->n_messages = c.n;
}

/* --- tools --- */

/* {"type":"grammar","syntax","definition"} to the form of chat completions, which has these in an object `grammar`. */
static void read_tool_format(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_buf nested;
	struct rl_json_iter iter;
	rl_str key, member, *format = field;

	(void)at;
	*format = value;
	if (!rl_json_string_is(rl_table_type(value), RL_STR("grammar")) ||
	    rl_responses_member(value, RL_STR("grammar")).n)
		return;
	rl_buf_init(&nested, value.n + 64);
	RL_BUF_LIT(&nested, "{\"type\":\"grammar\",\"grammar\":{");
	rl_json_iter_object(&iter, value);
	while (rl_json_iter_member(&iter, &key, &member))
		if (!rl_json_string_is(key, RL_STR("type")))
			rl_build_extras(&nested, (struct rl_extras){&(struct rl_extra){key, member}, 1});
	RL_BUF_LIT(&nested, "}}");
	*format = rl_buf_ok(&nested) ? rl_arena_dup(p->arena, rl_buf_str(&nested)) : rl_str_make(NULL, 0);
	rl_buf_fini(&nested);
	if (!format->p)
		rl_table_nomem(p);
}

static void read_tool(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_tool *tool)
{
	static const struct rl_field function[] = {
		RL_FIELD(struct rl_tool, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool, description, "description", rl_read_text),
		RL_FIELD(struct rl_tool, schema, "parameters", rl_read_raw),
		RL_FIELD(struct rl_tool, strict, "strict", rl_read_choice3),
		RL_WHOLE("type", rl_read_nothing),
	};
	static const struct rl_field custom[] = {
		RL_FIELD(struct rl_tool, name, "name", rl_read_text),
		RL_FIELD(struct rl_tool, description, "description", rl_read_text),
		RL_FIELD(struct rl_tool, format, "format", read_tool_format),
		RL_WHOLE("type", rl_read_nothing),
	};
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
	if (tool->kind == RL_TOOL_KIND_FUNCTION)
		rl_table_read(p, at, value, function, RL_N_FIELDS(function), tool, &tool->extras);
	else
		rl_table_read(p, at, value, custom, RL_N_FIELDS(custom), tool, &tool->extras);
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

static enum rl_tool_choice_mode choice_mode(rl_str word)
{
	static const char *const words[] = {"none", "auto", "required"};

	return (enum rl_tool_choice_mode)rl_table_word(word, words, RL_N_FIELDS(words));
}

/* {"type":"function","name":"x"} or {"type":"custom",...}: the name; empty when it is something else. */
static rl_str named_tool(struct rl_reader *p, rl_str object, enum rl_tool_kind *kind)
{
	static const char *const kinds[] = {"function", "custom"};
	rl_str name = rl_responses_member(object, RL_STR("name")), text = {NULL, 0};

	*kind = (enum rl_tool_kind)rl_table_word(rl_table_type(object), kinds, 2);
	if (!*kind || rl_json_type_of(name) != RL_JSON_STRING || rl_json_unescape(name, p->arena, &text))
		return rl_str_make(NULL, 0);
	return text;
}

/* {"type":"allowed_tools","mode","tools":[...]}; RAW unless all of it is understood. */
static void read_allowed(struct rl_reader *p, rl_str object, struct rl_tool_choice *choice)
{
	rl_str tools = rl_responses_member(object, RL_STR("tools")), element;
	rl_str *names = rl_table_make(p, rl_table_count(tools), sizeof *names);
	struct rl_json_iter iter;
	size_t n = 0;

	choice->json = object;
	choice->mode = choice_mode(rl_responses_member(object, RL_STR("mode")));
	if (choice->mode != RL_TOOL_CHOICE_AUTO && choice->mode != RL_TOOL_CHOICE_REQUIRED)
		choice->mode = RL_TOOL_CHOICE_RAW;
	rl_json_iter_array(&iter, tools);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		enum rl_tool_kind kind;

		names[n] = named_tool(p, element, &kind);
		if (!names[n++].n)
			choice->mode = RL_TOOL_CHOICE_RAW;
	}
	choice->names = names;
	choice->n_names = n;
}

static void read_tool_choice(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_tool_choice *choice = field;

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
	choice->mode = RL_TOOL_CHOICE_RAW;
	choice->json = value;
	enum rl_tool_kind kind;
	rl_str name = named_tool(p, value, &kind), *names;

	if (!name.n)
		return;
	names = rl_table_make(p, 1, sizeof *names);
	if (!names)
		return;
	names[0] = name;
	*choice = (struct rl_tool_choice){.mode = RL_TOOL_CHOICE_NAMED, .kind = kind, .names = names, .n_names = 1};
}

/* --- settings --- */

static void read_format(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_format, name, "name", rl_read_text),
		RL_FIELD(struct rl_format, description, "description", rl_read_text),
		RL_FIELD(struct rl_format, schema, "schema", rl_read_raw),
		RL_FIELD(struct rl_format, strict, "strict", rl_read_choice3),
		RL_WHOLE("type", rl_read_nothing),
	};
	static const char *const kinds[] = {"text", "json_object", "json_schema"};
	struct rl_format *format = field;

	if (rl_json_type_of(value) != RL_JSON_OBJECT) {
		rl_table_fail(p, at, "must be an object");
		return;
	}
	format->kind = (enum rl_format_kind)rl_table_word(rl_table_type(value), kinds, RL_N_FIELDS(kinds));
	rl_table_read(p, at, value, fields, RL_N_FIELDS(fields), format, &format->extras);
	if (!format->kind || (format->kind == RL_FORMAT_SCHEMA && !format->schema.p))
		*format = (struct rl_format){.kind = RL_FORMAT_RAW, .json = value};
}

/* What an object has beside what is modelled, as members of the request: "reasoning.context". */
static void hoist(struct rl_reader *p, const char *prefix, struct rl_extras rest, struct rl_extras *into)
{
	struct rl_extra *v;

	if (!rest.n)
		return;
	v = rl_table_make(p, into->n + rest.n, sizeof *v);
	if (!v)
		return;
	if (into->n)
		memcpy(v, into->v, into->n * sizeof *v);
	for (size_t i = 0; i < rest.n; i++) {
		rl_str key =
			rl_arena_printf(p->arena, "\"%s.%.*s", prefix, (int)rest.v[i].key.n - 1, rest.v[i].key.p + 1);

		if (!key.p)
			rl_table_nomem(p);
		v[into->n + i] = (struct rl_extra){key, rest.v[i].json};
	}
	*into = (struct rl_extras){v, into->n + rest.n};
}

static void read_settings(struct rl_reader *p, struct said *said)
{
	static const struct rl_field reasoning_fields[] = {
		RL_FIELD(struct rl_chat_request, effort, "effort", rl_read_text),
		RL_FIELD(struct rl_chat_request, summary, "summary", rl_read_text),
	};
	static const struct rl_field text_fields[] = {
		RL_FIELD(struct rl_chat_request, format, "format", read_format),
	};
	struct rl_place reasoning = {NULL, "reasoning", 0}, text = {NULL, "text", 0};
	struct rl_chat_request *request = &said->request;
	struct rl_extras rest;

	if (said->reasoning.p && !p->err) {
		rl_table_read(p, &reasoning, said->reasoning, reasoning_fields, RL_N_FIELDS(reasoning_fields), request,
			      &rest);
		hoist(p, "reasoning", rest, &request->extras);
		if (request->summary.n)
			request->reasoning_shown = RL_YES;
	}
	if (said->text.p && !p->err) {
		rl_table_read(p, &text, said->text, text_fields, RL_N_FIELDS(text_fields), request, &rest);
		hoist(p, "text", rest, &request->extras);
	}
}

/* What is asked for beside the usual: two things that we know, and others, which stay as they are. */
static void read_include(struct rl_reader *p, struct said *said)
{
	struct rl_chat_request *request = &said->request;
	struct rl_place at = {NULL, "include", 0};
	struct rl_extra all = {RL_STR("\"include\""), said->include};
	struct rl_json_iter iter;
	bool others = false;
	rl_str word;

	if (!said->include.p || p->err)
		return;
	if (rl_json_type_of(said->include) != RL_JSON_ARRAY)
		rl_table_fail(p, &at, "must be an array");
	rl_json_iter_array(&iter, said->include);
	while (rl_json_iter_next(&iter, &word)) {
		if (rl_json_string_is(word, RL_STR("reasoning.encrypted_content")))
			request->reasoning_sealed = RL_YES;
		else if (rl_json_string_is(word, RL_STR("message.output_text.logprobs")))
			request->logprobs = RL_YES;
		else
			others = true;
	}
	if (!others)
		return;
	struct rl_extra *v = rl_table_make(p, request->extras.n + 1, sizeof *v);

	if (!v)
		return;
	if (request->extras.n)
		memcpy(v, request->extras.v, request->extras.n * sizeof *v);
	v[request->extras.n] = all;
	request->extras = (struct rl_extras){v, request->extras.n + 1};
}

/* Kept is what this API does unless told otherwise; who says so in words is told when nobody will. */
static void read_store(struct rl_reader *p, struct said *said)
{
	struct rl_chat_request *request = &said->request;
	struct rl_place at = {NULL, "store", 0};
	bool store = true;

	if (!said->store.p || p->err)
		return;
	rl_read_bool(p, &at, said->store, &store);
	request->no_store = !store;
	if (!store)
		return;
	struct rl_extra *v = rl_table_make(p, request->extras.n + 1, sizeof *v);

	if (!v)
		return;
	if (request->extras.n)
		memcpy(v, request->extras.v, request->extras.n * sizeof *v);
	v[request->extras.n] = (struct rl_extra){RL_STR("\"store\""), said->store};
	request->extras = (struct rl_extras){v, request->extras.n + 1};
}

static void refuse_state(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	(void)field;
	if (rl_json_type_of(value) != RL_JSON_FALSE)
		rl_table_fail(p, at,
			      "builds on what a provider keeps, so this request can only go, untouched, to a provider "
			      "of the Responses API; send the whole conversation in 'input'");
}

static void read_stream_options(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_request *request = field;

	rl_table_read(p, at, value, NULL, 0, request, &request->stream_extras);
}

#define REQUEST(member, name, read) RL_FIELD(struct said, request.member, name, read)
#define SAID(member, name) RL_FIELD(struct said, member, name, rl_read_raw)

static const struct rl_field request_fields[] = {
	SAID(instructions, "instructions"),
	SAID(input, "input"),
	SAID(reasoning, "reasoning"),
	SAID(text, "text"),
	SAID(include, "include"),
	SAID(store, "store"),
	RL_WHOLE("previous_response_id", refuse_state),
	RL_WHOLE("conversation", refuse_state),
	RL_WHOLE("prompt", refuse_state),
	RL_WHOLE("background", refuse_state),
	REQUEST(model, "model", rl_read_text),
	RL_FIELD(struct said, request, "tools", read_tools),
	REQUEST(tool_choice, "tool_choice", read_tool_choice),
	REQUEST(parallel_tool_calls, "parallel_tool_calls", rl_read_choice3),
	REQUEST(max_completion_tokens, "max_output_tokens", rl_read_int),
	REQUEST(temperature, "temperature", rl_read_number),
	REQUEST(top_p, "top_p", rl_read_number),
	REQUEST(top_logprobs, "top_logprobs", rl_read_int),
	REQUEST(stream, "stream", rl_read_bool),
	RL_FIELD(struct said, request, "stream_options", read_stream_options),
	REQUEST(user, "user", rl_read_text),
};

static void check_needed(struct rl_reader *p, const struct said *said)
{
	static const struct rl_place model = {NULL, "model", 0}, input = {NULL, "input", 0};

	if (!said->request.model.n)
		rl_table_fail(p, &model, "is missing");
	if (!said->input.p && !said->instructions.p)
		rl_table_fail(p, &input, "is missing");
}

enum rl_err rl_responses_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				       struct rl_chat_request *out, struct rl_fault *fault)
{
	struct rl_reader p = {.arena = arena, .fault = fault};
	struct rl_json_error error;
	struct said said = {.input = {NULL, 0}};

	(void)op; /* to be answered and to be counted is the same body */
	rl_chat_request_init(&said.request);
	said.request.dialect = RL_STR(RL_RESPONSES_NAME);
	said.request.include_usage = true; /* the last event always has it */
	*out = said.request;
	enum rl_err err = rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	rl_table_read(&p, NULL, body, request_fields, RL_N_FIELDS(request_fields), &said, &said.request.extras);
	if (!p.err)
		check_needed(&p, &said);
	if (!p.err)
		read_conversation(&p, &said);
	read_settings(&p, &said);
	read_include(&p, &said);
	read_store(&p, &said);
	*out = said.request;
	if (p.err == RL_ERR_NOMEM)
		rl_border_nomem(fault);
	return p.err;
}

/* --- answers --- */

/*
 * Members of a response that repeat the request, or that mean nothing outside of this API: what is not among them is
 * said aloud when another dialect cannot take it.
 */
bool rl_responses_is_echo(rl_str raw_key)
{
	static const char *const names[] = {
		"background",
		"completed_at",
		"error",
		"incomplete_details",
		"instructions",
		"max_output_tokens",
		"max_tool_calls",
		"metadata",
		"parallel_tool_calls",
		"previous_response_id",
		"prompt",
		"prompt_cache_key",
		"prompt_cache_options",
		"prompt_cache_retention",
		"reasoning",
		"safety_identifier",
		"store",
		"temperature",
		"text",
		"tool_choice",
		"tools",
		"top_logprobs",
		"top_p",
		"truncation",
		"user",
		"frequency_penalty",
		"presence_penalty",
		"billing",
		"conversation",
	};

	return rl_table_word(raw_key, names, RL_N_FIELDS(names)) > 0;
}

/* Sorts what no table named into what repeats the request and what does not; null says nothing. */
static void part_extras(struct rl_reader *p, struct rl_extras all, struct rl_chat_response *out)
{
	struct rl_extra *v = rl_table_make(p, 2 * all.n, sizeof *v);
	size_t front = 0, back = all.n;

	for (size_t i = 0; v && i < all.n; i++) {
		bool echo = rl_responses_is_echo(all.v[i].key) || rl_json_type_of(all.v[i].json) == RL_JSON_NULL;

		v[echo ? front++ : back++] = all.v[i];
	}
	out->echo = (struct rl_extras){v, front};
	out->extras = (struct rl_extras){v ? v + all.n : NULL, back - all.n};
}

static void read_output(struct rl_reader *p, rl_str output, struct rl_message *message)
{
	struct rl_part **lists = rl_table_make(p, rl_table_count(output), sizeof *lists);
	size_t *counts = rl_table_make(p, rl_table_count(output), sizeof *counts), n = 0, total = 0;
	struct rl_json_iter iter;
	rl_str item;

	rl_json_iter_array(&iter, output);
	while (!p->err && rl_json_iter_next(&iter, &item)) {
		lists[n] = rl_responses_read_item(p, item, &counts[n]);
		total += counts[n++];
	}
	message->parts = rl_table_make(p, total, sizeof *message->parts);
	for (size_t i = 0; !p->err && i < n; i++) {
		if (counts[i])
			memcpy(&message->parts[message->n_parts], lists[i], counts[i] * sizeof *lists[i]);
		message->n_parts += counts[i];
	}
}

static bool has_call(const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_TOOL_CALL)
			return true;
	return false;
}

struct answer {
	struct rl_chat_response response;
	rl_str output, status, details, usage; /* raw */
	struct rl_extras rest;
};

static enum rl_err parse_count(struct rl_reader *p, rl_str body, struct rl_chat_response *out)
{
	if (!rl_json_u64(rl_responses_member(body, RL_STR("input_tokens")), &out->usage.prompt_tokens))
		return RL_ERR_SYNTAX;
	out->usage.known = true;
	return p->err;
}

enum rl_err rl_responses_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
					struct rl_chat_response *out)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct answer, response.id, "id", read_word),
		RL_FIELD(struct answer, response.model, "model", read_word),
		RL_FIELD(struct answer, response.created, "created_at", rl_read_time),
		RL_FIELD(struct answer, output, "output", rl_read_raw),
		RL_FIELD(struct answer, status, "status", rl_read_raw),
		RL_FIELD(struct answer, details, "incomplete_details", rl_read_raw),
		RL_FIELD(struct answer, usage, "usage", rl_read_raw),
		RL_WHOLE("object", rl_read_nothing),
	};
	struct rl_reader p = {.arena = arena};
	struct answer said = {.response = {.dialect = RL_STR(RL_RESPONSES_NAME)}};
	struct rl_choice *choice = rl_table_make(&p, 1, sizeof *choice);

	*out = said.response;
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	if (op == RL_OP_COUNT_TOKENS)
		return parse_count(&p, body, out);
	rl_table_read(&p, NULL, body, fields, RL_N_FIELDS(fields), &said, &said.rest);
	if (!p.err && rl_json_type_of(said.output) != RL_JSON_ARRAY)
		p.err = RL_ERR_SYNTAX;
	if (p.err)
		return p.err;
	part_extras(&p, said.rest, &said.response);
	choice->message.role = RL_ROLE_ASSISTANT;
	read_output(&p, said.output, &choice->message);
	choice->finish = rl_responses_finish(said.status, said.details, &choice->finish_word);
	/* A call that stopped for no reason of its own stopped for the call. */
	if (choice->finish == RL_FINISH_STOP && has_call(&choice->message))
		choice->finish = RL_FINISH_TOOL_CALLS;
	said.response.choices = choice;
	said.response.n_choices = 1;
	if (rl_json_type_of(said.usage) == RL_JSON_OBJECT) {
		rl_responses_read_usage(said.usage, &said.response.usage);
		said.response.usage_json = said.usage;
	}
	*out = said.response;
	return p.err;
}
