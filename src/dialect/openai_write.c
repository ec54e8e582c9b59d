/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to OpenAI bodies. What another dialect left as extras or RAW is not
 * ours to write; what this one left is written where it stood. Embeddings change
 * between numbers and base64 here, since the official clients ask for base64 and
 * not every server has it.
 */
#include "dialect/openai_priv.h"

#include <assert.h>
#include <stdlib.h>

/* Raw members and parts belong to the dialect that read them. */
struct writer {
	struct rl_buf *out;
	struct rl_translation *t;
	bool ours;
};

static void extras(const struct writer *w, struct rl_extras list)
{
	if (w->ours)
		rl_build_extras(w->out, list);
	else
		rl_drop_extras(w->t, "", list);
}

static void number(struct rl_buf *out, const char *key, rl_str raw)
{
	if (raw.n)
		rl_build_raw(out, key, raw);
}

static void integer(struct rl_buf *out, const char *key, int64_t value)
{
	if (value != RL_UNSET)
		rl_build_int(out, key, value);
}

static void choice3(struct rl_buf *out, const char *key, enum rl_choice3 value)
{
	if (value != RL_UNSAID)
		rl_build_raw(out, key, value == RL_YES ? RL_STR("true") : RL_STR("false"));
}

/* Text that was said, even if it is empty. */
static void said(struct rl_buf *out, const char *key, rl_str text)
{
	if (text.p)
		rl_build_text(out, key, text);
}

/* --- parts --- */

/* As inside a JSON string, which is open already. */
static void add_inside(struct rl_buf *out, rl_str text)
{
	size_t at = out->n;

	rl_buf_json(out, text);
	if (!rl_buf_ok(out))
		return;
	memmove(out->p + at, out->p + at + 1, out->n - at - 2);
	out->n -= 2;
}

static void media_url(struct rl_buf *out, const char *key, const struct rl_media *media)
{
	if (media->source != RL_MEDIA_BASE64) {
		rl_build_text(out, key, media->data);
		return;
	}
	rl_build_key(out, key);
	RL_BUF_LIT(out, "\"data:");
	add_inside(out, media->mime);
	RL_BUF_LIT(out, ";base64,");
	add_inside(out, media->data);
	RL_BUF_LIT(out, "\"");
}

static void write_media(const struct writer *w, const struct rl_part *part)
{
	const struct rl_media *media = &part->media;
	struct rl_buf *out = w->out;

	switch (part->kind) {
	case RL_PART_IMAGE:
		rl_build_text(out, "type", RL_STR("image_url"));
		RL_BUF_LIT(out, ",\"image_url\":{");
		media_url(out, "url", media);
		said(out, "detail", media->detail);
		break;
	case RL_PART_AUDIO: {
		bool named = rl_str_starts(media->mime, RL_STR("audio/"));

		rl_build_text(out, "type", RL_STR("input_audio"));
		RL_BUF_LIT(out, ",\"input_audio\":{");
		rl_build_text(out, "data", media->data);
		said(out, "format", named ? rl_str_sub(media->mime, 6, SIZE_MAX) : media->mime);
		break;
	}
	default:
		assert(part->kind == RL_PART_DOCUMENT);
		rl_build_text(out, "type", RL_STR("file"));
		RL_BUF_LIT(out, ",\"file\":{");
		if (media->source == RL_MEDIA_FILE)
			rl_build_text(out, "file_id", media->data);
		else
			media_url(out, "file_data", media);
		said(out, "filename", media->name);
	}
	extras(w, media->extras);
	RL_BUF_LIT(out, "}");
}

/* One element of a `content` list. */
static void write_part(const struct writer *w, const struct rl_part *part)
{
	struct rl_buf *out = w->out;

	if (part->kind == RL_PART_RAW) {
		if (w->ours) {
			rl_build_comma(out);
			rl_buf_add(out, part->json);
		}
		return;
	}
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	if (part->kind == RL_PART_TEXT || part->kind == RL_PART_REFUSAL) {
		const char *type = rl_part_kind_name(part->kind);

		rl_build_text(out, "type", rl_str_of(type));
		rl_build_text(out, type, part->text);
	} else {
		write_media(w, part);
	}
	extras(w, part->extras);
	RL_BUF_LIT(out, "}");
}

static bool in_content(const struct writer *w, const struct rl_part *part)
{
	switch (part->kind) {
	case RL_PART_TEXT:
	case RL_PART_IMAGE:
	case RL_PART_AUDIO:
	case RL_PART_DOCUMENT:
		return true;
	case RL_PART_RAW:
		return w->ours;
	default:
		return false;
	}
}

/* How many parts go into `content`; *only is the last of them. */
static size_t count_content(const struct writer *w, const struct rl_part *parts, size_t n, const struct rl_part **only)
{
	size_t count = 0;

	*only = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!in_content(w, &parts[i]))
			continue;
		*only = &parts[i];
		count++;
	}
	return count;
}

/*
 * A single text is a string, as every server understands it; anything else is a
 * list. Only an assistant may say nothing by null.
 */
static void write_content(const struct writer *w, const struct rl_part *parts, size_t n, bool nullable)
{
	const struct rl_part *only;
	size_t count = count_content(w, parts, n, &only);

	if (!count) {
		rl_build_raw(w->out, "content", nullable ? RL_STR("null") : RL_STR("\"\""));
		return;
	}
	if (count == 1 && only->kind == RL_PART_TEXT && !(w->ours && only->extras.n)) {
		rl_build_text(w->out, "content", only->text);
		return;
	}
	rl_build_key(w->out, "content");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < n; i++)
		if (in_content(w, &parts[i]))
			write_part(w, &parts[i]);
	RL_BUF_LIT(w->out, "]");
}

/* --- messages --- */

static void write_call(const struct writer *w, const struct rl_part *part)
{
	const struct rl_tool_call *call = &part->call;
	bool custom = call->kind == RL_TOOL_KIND_CUSTOM;
	struct rl_buf *out = w->out;

	if (call->kind == RL_TOOL_KIND_HOSTED) {
		if (!w->ours)
			return;
		rl_build_comma(out);
		rl_buf_add(out, call->arguments);
		return;
	}
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	said(out, "id", call->id);
	rl_build_text(out, "type", custom ? RL_STR("custom") : RL_STR("function"));
	rl_build_key(out, custom ? "custom" : "function");
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "name", call->name);
	rl_build_text(out, custom ? "input" : "arguments", call->arguments);
	extras(w, call->extras);
	RL_BUF_LIT(out, "}");
	extras(w, part->extras);
	RL_BUF_LIT(out, "}");
}

static bool is_modern_call(const struct rl_part *part)
{
	return part->kind == RL_PART_TOOL_CALL && part->call.kind != RL_TOOL_KIND_LEGACY;
}

static void write_calls(const struct writer *w, const struct rl_message *message)
{
	struct rl_buf *out = w->out;
	bool open = false;

	for (size_t i = 0; i < message->n_parts; i++) {
		if (!is_modern_call(&message->parts[i]))
			continue;
		if (!open) {
			rl_build_key(out, "tool_calls");
			RL_BUF_LIT(out, "[");
			open = true;
		}
		write_call(w, &message->parts[i]);
	}
	if (open)
		RL_BUF_LIT(out, "]");
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind != RL_PART_TOOL_CALL || part->call.kind != RL_TOOL_KIND_LEGACY)
			continue;
		rl_build_key(out, "function_call");
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "name", part->call.name);
		rl_build_text(out, "arguments", part->call.arguments);
		extras(w, part->call.extras);
		RL_BUF_LIT(out, "}");
	}
}

static void write_refusal_and_thoughts(const struct writer *w, const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++) {
		const struct rl_part *part = &message->parts[i];

		if (part->kind == RL_PART_REFUSAL) {
			rl_build_text(w->out, "refusal", part->text);
		} else if (part->kind == RL_PART_REASONING) {
			bool newer = rl_str_eq(part->reasoning.spelling, RL_STR("reasoning"));

			said(w->out, newer ? "reasoning" : "reasoning_content", part->reasoning.text);
			/* A seal is of use only to the one who made it. */
			if (w->ours)
				said(w->out, "reasoning_signature", part->reasoning.signature);
		}
	}
}

static bool has_part(const struct rl_message *message, enum rl_part_kind kind)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == kind)
			return true;
	return false;
}

/* The members of a message, without its braces; a tool's results are not among them. */
static void write_message_members(const struct writer *w, const struct rl_message *message)
{
	rl_build_text(w->out, "role", rl_str_of(rl_role_name(message->role)));
	if (message->name.n)
		rl_build_text(w->out, "name", message->name);
	write_content(w, message->parts, message->n_parts, message->role == RL_ROLE_ASSISTANT);
	write_refusal_and_thoughts(w, message);
	write_calls(w, message);
	extras(w, message->extras);
}

static void write_result(const struct writer *w, const struct rl_message *message, const struct rl_tool_result *result)
{
	bool legacy = result->kind == RL_TOOL_KIND_LEGACY;
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "role", legacy ? RL_STR("function") : RL_STR("tool"));
	if (!legacy)
		rl_build_text(out, "tool_call_id", result->call_id);
	said(out, "name", result->name);
	write_content(w, result->parts, result->n_parts, false);
	if (message->role == RL_ROLE_TOOL)
		extras(w, message->extras);
	RL_BUF_LIT(out, "}");
}

/* Results first, each in a message of its own: that is where this API wants them. */
static void write_message(const struct writer *w, const struct rl_message *message)
{
	size_t results = 0;

	for (size_t i = 0; i < message->n_parts; i++) {
		if (message->parts[i].kind != RL_PART_TOOL_RESULT)
			continue;
		write_result(w, message, &message->parts[i].result);
		results++;
	}
	if (message->role == RL_ROLE_TOOL || (results && results == message->n_parts))
		return;
	rl_build_comma(w->out);
	RL_BUF_LIT(w->out, "{");
	write_message_members(w, message);
	RL_BUF_LIT(w->out, "}");
}

/* --- tools --- */

static void write_function(const struct writer *w, const struct rl_tool *tool)
{
	struct rl_buf *out = w->out;

	RL_BUF_LIT(out, "{");
	rl_build_text(out, "name", tool->name);
	said(out, "description", tool->description);
	number(out, "parameters", tool->schema);
	choice3(out, "strict", tool->strict);
	extras(w, tool->inner);
	RL_BUF_LIT(out, "}");
}

static void write_tool(const struct writer *w, const struct rl_tool *tool)
{
	struct rl_buf *out = w->out;

	if (tool->kind == RL_TOOL_KIND_HOSTED && !w->ours)
		return;
	rl_build_comma(out);
	switch (tool->kind) {
	case RL_TOOL_KIND_HOSTED:
		rl_buf_add(out, tool->json);
		return;
	case RL_TOOL_KIND_LEGACY:
		write_function(w, tool);
		return;
	case RL_TOOL_KIND_CUSTOM:
		RL_BUF_LIT(out, "{\"type\":\"custom\",\"custom\":{");
		rl_build_text(out, "name", tool->name);
		said(out, "description", tool->description);
		number(out, "format", tool->format);
		extras(w, tool->inner);
		RL_BUF_LIT(out, "}");
		break;
	default:
		RL_BUF_LIT(out, "{\"type\":\"function\",\"function\":");
		write_function(w, tool);
	}
	extras(w, tool->extras);
	RL_BUF_LIT(out, "}");
}

static void write_tools(const struct writer *w, const struct rl_chat_request *request)
{
	size_t n = 0;

	for (size_t i = 0; i < request->n_tools; i++)
		n += request->tools[i].kind != RL_TOOL_KIND_HOSTED || w->ours;
	/* An empty list is an error to this API (DIALECTS 2.11, trap 22). */
	if (!n)
		return;
	rl_build_key(w->out, request->tools[0].kind == RL_TOOL_KIND_LEGACY ? "functions" : "tools");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < request->n_tools; i++)
		write_tool(w, &request->tools[i]);
	RL_BUF_LIT(w->out, "]");
}

static void write_named(struct rl_buf *out, const struct rl_tool_choice *choice)
{
	RL_BUF_LIT(out, "{");
	if (choice->kind == RL_TOOL_KIND_LEGACY) {
		rl_build_text(out, "name", choice->names[0]);
	} else {
		bool custom = choice->kind == RL_TOOL_KIND_CUSTOM;

		rl_build_text(out, "type", custom ? RL_STR("custom") : RL_STR("function"));
		rl_build_key(out, custom ? "custom" : "function");
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "name", choice->names[0]);
		RL_BUF_LIT(out, "}");
	}
	RL_BUF_LIT(out, "}");
}

static void write_allowed(struct rl_buf *out, const struct rl_tool_choice *choice, rl_str mode)
{
	RL_BUF_LIT(out, "{\"type\":\"allowed_tools\",\"allowed_tools\":{");
	rl_build_text(out, "mode", mode);
	RL_BUF_LIT(out, ",\"tools\":[");
	for (size_t i = 0; i < choice->n_names; i++) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"type\":\"function\",\"function\":{");
		rl_build_text(out, "name", choice->names[i]);
		RL_BUF_LIT(out, "}}");
	}
	RL_BUF_LIT(out, "]}}");
}

static void write_tool_choice(const struct writer *w, const struct rl_tool_choice *choice)
{
	static const rl_str modes[] = {
		[RL_TOOL_CHOICE_NONE] = RL_STR_INIT("none"),
		[RL_TOOL_CHOICE_AUTO] = RL_STR_INIT("auto"),
		[RL_TOOL_CHOICE_REQUIRED] = RL_STR_INIT("required"),
	};
	struct rl_buf *out = w->out;

	if (choice->mode == RL_TOOL_CHOICE_UNSAID || (choice->mode == RL_TOOL_CHOICE_RAW && !w->ours))
		return;
	rl_build_key(out, choice->kind == RL_TOOL_KIND_LEGACY ? "function_call" : "tool_choice");
	if (choice->mode == RL_TOOL_CHOICE_NAMED)
		write_named(out, choice);
	else if (choice->json.n && w->ours)
		rl_buf_add(out, choice->json);
	else if (choice->n_names)
		write_allowed(out, choice, modes[choice->mode]);
	else
		rl_buf_json(out, modes[choice->mode]);
}

/* --- requests --- */

static void write_format(const struct writer *w, const struct rl_format *format)
{
	struct rl_buf *out = w->out;

	if (format->kind == RL_FORMAT_UNSAID || (format->kind == RL_FORMAT_RAW && !w->ours))
		return;
	rl_build_key(out, "response_format");
	switch (format->kind) {
	case RL_FORMAT_RAW:
		rl_buf_add(out, format->json);
		return;
	case RL_FORMAT_SCHEMA:
		RL_BUF_LIT(out, "{\"type\":\"json_schema\",\"json_schema\":{");
		/* The API wants a name; dialects without one still have a schema. */
		rl_build_text(out, "name", format->name.n ? format->name : RL_STR("response"));
		said(out, "description", format->description);
		number(out, "schema", format->schema);
		choice3(out, "strict", format->strict);
		extras(w, format->extras);
		RL_BUF_LIT(out, "}}");
		return;
	default:
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "type", format->kind == RL_FORMAT_JSON ? RL_STR("json_object") : RL_STR("text"));
		RL_BUF_LIT(out, "}");
	}
}

static void write_stop(struct rl_buf *out, const struct rl_chat_request *request)
{
	if (!request->n_stop)
		return;
	rl_build_key(out, "stop");
	if (request->n_stop == 1) {
		rl_buf_json(out, request->stop[0]);
		return;
	}
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_stop; i++) {
		rl_build_comma(out);
		rl_buf_json(out, request->stop[i]);
	}
	RL_BUF_LIT(out, "]");
}

static void write_sampling(const struct writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;

	integer(out, "max_tokens", request->max_tokens);
	integer(out, "n", request->n);
	number(out, "temperature", request->temperature);
	number(out, "top_p", request->top_p);
	number(out, "top_k", request->top_k);
	number(out, "frequency_penalty", request->frequency_penalty);
	number(out, "presence_penalty", request->presence_penalty);
	number(out, "seed", request->seed);
	write_stop(out, request);
	if (!request->stream)
		return;
	rl_build_raw(out, "stream", RL_STR("true"));
	if (!request->include_usage && !(w->ours && request->stream_extras.n))
		return;
	rl_build_key(out, "stream_options");
	RL_BUF_LIT(out, "{");
	if (request->include_usage)
		rl_build_raw(out, "include_usage", RL_STR("true"));
	extras(w, request->stream_extras);
	RL_BUF_LIT(out, "}");
}

static void write_inputs(struct rl_buf *out, const char *key, const struct rl_chat_request *request)
{
	rl_build_key(out, key);
	if (!request->single_input)
		RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_inputs; i++) {
		const struct rl_input *input = &request->inputs[i];

		rl_build_comma(out);
		if (input->is_tokens)
			rl_buf_add(out, input->text);
		else
			rl_buf_json(out, input->text);
	}
	if (!request->single_input)
		RL_BUF_LIT(out, "]");
}

static void write_chat(const struct writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;

	rl_build_key(out, "messages");
	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < request->n_messages; i++)
		write_message(w, &request->messages[i]);
	RL_BUF_LIT(out, "]");
	write_tools(w, request);
	write_tool_choice(w, &request->tool_choice);
	choice3(out, "parallel_tool_calls", request->parallel_tool_calls);
	write_format(w, &request->format);
	said(out, "reasoning_effort", request->effort);
	integer(out, "max_completion_tokens", request->max_completion_tokens);
	choice3(out, "logprobs", request->logprobs);
	integer(out, "top_logprobs", request->top_logprobs);
}

void rl_openai_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out)
{
	struct writer w = {out, t, rl_str_eq(request->dialect, RL_STR(RL_OPENAI_NAME))};

	RL_BUF_LIT(out, "{");
	rl_build_text(out, "model", request->model);
	switch (op) {
	case RL_OP_CHAT:
		write_chat(&w, request);
		write_sampling(&w, request);
		break;
	case RL_OP_COMPLETION:
		if (request->inputs)
			write_inputs(out, "prompt", request);
		write_sampling(&w, request);
		integer(out, "logprobs", request->top_logprobs);
		break;
	case RL_OP_EMBEDDING:
		write_inputs(out, "input", request);
		integer(out, "dimensions", request->dimensions);
		if (request->encoding)
			rl_build_text(out, "encoding_format",
				      request->encoding == RL_ENCODING_BASE64 ? RL_STR("base64") : RL_STR("float"));
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
	said(out, "user", request->user);
	extras(&w, request->extras);
	RL_BUF_LIT(out, "}");
}

/* --- answers --- */

void rl_openai_write_usage(const struct rl_usage *usage, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	rl_build_key(out, "prompt_tokens");
	rl_buf_u64(out, usage->prompt_tokens);
	rl_build_key(out, "completion_tokens");
	rl_buf_u64(out, usage->completion_tokens);
	rl_build_key(out, "total_tokens");
	rl_buf_u64(out, usage->prompt_tokens + usage->completion_tokens);
	rl_build_key(out, "prompt_tokens_details");
	RL_BUF_LIT(out, "{");
	rl_build_key(out, "cached_tokens");
	rl_buf_u64(out, usage->cached_tokens);
	if (usage->cache_write_tokens) {
		rl_build_key(out, "cache_write_tokens");
		rl_buf_u64(out, usage->cache_write_tokens);
	}
	RL_BUF_LIT(out, "},\"completion_tokens_details\":{");
	rl_build_key(out, "reasoning_tokens");
	rl_buf_u64(out, usage->reasoning_tokens);
	RL_BUF_LIT(out, "}}");
}

static void write_finish(struct rl_buf *out, enum rl_finish finish, rl_str word)
{
	if (finish == RL_FINISH_NONE)
		rl_build_raw(out, "finish_reason", RL_STR("null"));
	else
		rl_build_text(out, "finish_reason",
			      finish == RL_FINISH_OTHER ? word : rl_str_of(rl_finish_name(finish)));
}

static void write_choice(const struct writer *w, enum rl_operation op, const struct rl_choice *choice)
{
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_int(out, "index", choice->index);
	if (op == RL_OP_CHAT) {
		rl_build_key(out, "message");
		RL_BUF_LIT(out, "{");
		write_message_members(w, &choice->message);
		if (!has_part(&choice->message, RL_PART_REFUSAL))
			rl_build_raw(out, "refusal", RL_STR("null"));
		RL_BUF_LIT(out, "}");
	} else {
		const struct rl_message *message = &choice->message;
		bool text = message->n_parts && message->parts[0].kind == RL_PART_TEXT;

		rl_build_text(out, "text", text ? message->parts[0].text : RL_STR(""));
	}
	rl_build_raw(out, "logprobs", choice->logprobs.n && w->ours ? choice->logprobs : RL_STR("null"));
	write_finish(out, choice->finish, choice->finish_word);
	extras(w, choice->extras);
	RL_BUF_LIT(out, "}");
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Little-endian float32 in base64 (RFC 4648 §4) as an array of numbers; stops at what is not base64. */
static void base64_to_floats(rl_str text, struct rl_buf *out)
{
	uint32_t bits = 0, word = 0;
	unsigned held = 0, bytes = 0;

	RL_BUF_LIT(out, "[");
	for (size_t i = 0; i < text.n; i++) {
		int value = base64_value(text.p[i]);
		float number_value;

		if (value < 0)
			break;
		bits = bits << 6 | (uint32_t)value;
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		word |= (bits >> held & 0xFF) << (8 * bytes);
		if (++bytes < 4)
			continue;
		memcpy(&number_value, &word, sizeof number_value);
		rl_build_comma(out);
		/* JSON has no infinities; nine digits bring every float32 back exactly. */
		if (number_value - number_value == 0)
			rl_buf_printf(out, "%.9g", (double)number_value);
		else
			RL_BUF_LIT(out, "null");
		word = bytes = 0;
	}
	RL_BUF_LIT(out, "]");
}

/* An array of numbers as base64 of little-endian float32. */
static void floats_to_base64(rl_str array, struct rl_buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct rl_json_iter iter;
	rl_str element;
	uint32_t bits = 0;
	unsigned held = 0, padding;

	RL_BUF_LIT(out, "\"");
	rl_json_iter_array(&iter, array);
	while (rl_json_iter_next(&iter, &element)) {
		/* The element ends in a comma, a space or a bracket: strtof stops there, within the array. */
		float value = rl_json_type_of(element) == RL_JSON_NUMBER ? strtof(element.p, NULL) : 0;
		uint32_t word;

		memcpy(&word, &value, sizeof word);
		for (unsigned i = 0; i < 4; i++) {
			bits = bits << 8 | (word >> (8 * i) & 0xFF);
			for (held += 8; held >= 6; held -= 6)
				rl_buf_byte(out, digits[bits >> (held - 6) & 63]);
		}
	}
	padding = held == 2 ? 2 : held == 4 ? 1 : 0;
	if (held)
		rl_buf_byte(out, digits[bits << (6 - held) & 63]);
	while (padding--)
		rl_buf_byte(out, '=');
	RL_BUF_LIT(out, "\"");
}

static void write_embedding(const struct writer *w, const struct rl_embedding *embedding, enum rl_encoding wanted)
{
	struct rl_buf *out = w->out;

	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "object", RL_STR("embedding"));
	rl_build_int(out, "index", embedding->index);
	rl_build_key(out, "embedding");
	if (wanted == RL_ENCODING_FLOAT && embedding->encoding == RL_ENCODING_BASE64)
		base64_to_floats(embedding->data, out);
	else if (wanted == RL_ENCODING_BASE64 && embedding->encoding == RL_ENCODING_FLOAT)
		floats_to_base64(embedding->data, out);
	else if (embedding->encoding == RL_ENCODING_BASE64)
		rl_buf_json(out, embedding->data);
	else
		rl_buf_add(out, embedding->data);
	extras(w, embedding->extras);
	RL_BUF_LIT(out, "}");
}

static void write_answer_usage(const struct writer *w, const struct rl_chat_response *response)
{
	if (!response->usage.known)
		return;
	rl_build_key(w->out, "usage");
	if (response->usage_json.n && w->ours)
		rl_buf_add(w->out, response->usage_json);
	else
		rl_openai_write_usage(&response->usage, w->out);
}

static void write_embeddings(const struct writer *w, const struct rl_chat_response *response)
{
	struct rl_buf *out = w->out;

	RL_BUF_LIT(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < response->n_embeddings; i++)
		write_embedding(w, &response->embeddings[i], response->encoding);
	RL_BUF_LIT(out, "]");
	rl_build_text(out, "model", response->model);
}

void rl_openai_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out)
{
	struct writer w = {out, t, rl_str_eq(response->dialect, RL_STR(RL_OPENAI_NAME))};
	bool chat = op == RL_OP_CHAT;

	if (op == RL_OP_EMBEDDING) {
		write_embeddings(&w, response);
	} else {
		assert(chat || op == RL_OP_COMPLETION);
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "id", response->id);
		rl_build_text(out, "object", chat ? RL_STR("chat.completion") : RL_STR("text_completion"));
		rl_build_int(out, "created", response->created);
		rl_build_text(out, "model", response->model);
		RL_BUF_LIT(out, ",\"choices\":[");
		for (size_t i = 0; i < response->n_choices; i++)
			write_choice(&w, op, &response->choices[i]);
		RL_BUF_LIT(out, "]");
	}
	write_answer_usage(&w, response);
	extras(&w, response->extras);
	RL_BUF_LIT(out, "}");
}
