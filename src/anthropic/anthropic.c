/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of the Anthropic Messages dialect: what passes through is read here without
 * building anything, errors are judged and written, models listed; the vtable names the rest.
 */
#include "anthropic/anthropic_priv.h"

#include "base/clock.h"

#include <assert.h>

/* Longer bodies are judged by their status alone. */
#define ERROR_MAX_BYTES (256u * 1024)

static rl_str path(enum rl_operation op)
{
	switch (op) {
	case RL_OP_CHAT:
		return RL_STR("/messages");
	case RL_OP_COUNT_TOKENS:
		return RL_STR("/messages/count_tokens");
	case RL_OP_MODELS:
		return RL_STR("/models");
	case RL_OP_PASS:
		return RL_STR("/");
	default:
		return rl_str_make(NULL, 0);
	}
}

static rl_str member(rl_str object, rl_str key)
{
	struct rl_json_span span;

	rl_json_find(object, &key, 1, &span);
	return rl_json_span_text(object, &span);
}

/* --- requests that pass through --- */

/* Members that the gateway decides by, now or in a policy: once, and in one spelling. */
enum request_key { K_MODEL, K_STREAM, K_MESSAGES, K_MAX_TOKENS, K_SYSTEM, K_TOOLS, K_METADATA, K_CONTAINER, K_COUNT };

static enum rl_err read_envelope(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				 struct rl_fault *fault)
{
	static const rl_str keys[K_COUNT] = {
		[K_MODEL] = RL_STR_INIT("model"),       [K_STREAM] = RL_STR_INIT("stream"),
		[K_MESSAGES] = RL_STR_INIT("messages"), [K_MAX_TOKENS] = RL_STR_INIT("max_tokens"),
		[K_SYSTEM] = RL_STR_INIT("system"),     [K_TOOLS] = RL_STR_INIT("tools"),
		[K_METADATA] = RL_STR_INIT("metadata"), [K_CONTAINER] = RL_STR_INIT("container"),
	};
	struct rl_json_span spans[K_COUNT];
	struct rl_json_error error;

	*out = (struct rl_envelope){.usage_asked = true};
	enum rl_err err = rl_json_scan(body, keys, K_COUNT, RL_JSON_STRICT_KEYS, spans, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	if (rl_json_type_of(body) != RL_JSON_OBJECT)
		return rl_border_refuse(fault, rl_str_make(NULL, 0), "invalid_type",
					RL_STR("The request body must be a JSON object."));
	if (op == RL_OP_PASS)
		return RL_OK;
	err = rl_border_read_model(body, &spans[K_MODEL], true, arena, out, fault);
	if (err)
		return err;
	if (spans[K_MESSAGES].type == RL_JSON_NONE)
		return rl_border_missing(arena, fault, keys[K_MESSAGES]);
	if (spans[K_MESSAGES].type != RL_JSON_ARRAY)
		return rl_border_wrong_type(arena, fault, keys[K_MESSAGES], "an array", spans[K_MESSAGES].type);
	if (spans[K_STREAM].type > RL_JSON_TRUE)
		return rl_border_wrong_type(arena, fault, keys[K_STREAM], "true or false", spans[K_STREAM].type);
	out->stream = op == RL_OP_CHAT && spans[K_STREAM].type == RL_JSON_TRUE;
	/* A container by its id lives at one provider; an object describes a new one. */
	out->stateful = spans[K_CONTAINER].type == RL_JSON_STRING;
	return RL_OK;
}

/* --- usage --- */

bool rl_anthropic_count(rl_str object, struct rl_anthropic_usage *counts)
{
	enum { INPUT, READ, WRITE, CREATION, OUTPUT, DETAILS, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("input_tokens"),
		RL_STR_INIT("cache_read_input_tokens"),
		RL_STR_INIT("cache_creation_input_tokens"),
		RL_STR_INIT("cache_creation"),
		RL_STR_INIT("output_tokens"),
		RL_STR_INIT("output_tokens_details"),
	};
	struct rl_json_span spans[N_KEYS];

	rl_json_find(object, keys, N_KEYS, spans);
	bool some = rl_json_u64(rl_json_span_text(object, &spans[INPUT]), &counts->input);

	some |= rl_json_u64(rl_json_span_text(object, &spans[OUTPUT]), &counts->output);
	rl_json_u64(rl_json_span_text(object, &spans[READ]), &counts->cache_read);
	rl_json_u64(rl_json_span_text(object, &spans[WRITE]), &counts->cache_write);
	rl_json_u64(member(rl_json_span_text(object, &spans[CREATION]), RL_STR("ephemeral_1h_input_tokens")),
		    &counts->cache_write_1h);
	rl_json_u64(member(rl_json_span_text(object, &spans[DETAILS]), RL_STR("thinking_tokens")), &counts->thinking);
	return some;
}

/* Saturating: what a provider claims may be anything. */
static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t c;

	return __builtin_add_overflow(a, b, &c) ? UINT64_MAX : c;
}

struct rl_usage rl_anthropic_usage(const struct rl_anthropic_usage *counts)
{
	return (struct rl_usage){
		.known = true,
		.prompt_tokens = sum(counts->input, sum(counts->cache_read, counts->cache_write)),
		.completion_tokens = counts->output,
		.cached_tokens = counts->cache_read,
		.cache_write_tokens = counts->cache_write,
		.cache_write_1h_tokens = counts->cache_write_1h,
		.reasoning_tokens = counts->thinking,
	};
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void count(struct rl_buf *out, const char *key, uint64_t n)
{
	rl_build_key(out, key);
	rl_buf_u64(out, n);
}

void rl_anthropic_write_usage(const struct rl_usage *usage, struct rl_buf *out)
{
	uint64_t write = usage->cache_write_tokens, hour = usage->cache_write_1h_tokens;

	RL_BUF_LIT(out, "{");
	count(out, "input_tokens", minus(minus(usage->prompt_tokens, usage->cached_tokens), write));
	count(out, "cache_creation_input_tokens", write);
	count(out, "cache_read_input_tokens", usage->cached_tokens);
	if (write) {
		rl_build_key(out, "cache_creation");
		RL_BUF_LIT(out, "{");
		count(out, "ephemeral_5m_input_tokens", minus(write, hour));
		count(out, "ephemeral_1h_input_tokens", hour);
		RL_BUF_LIT(out, "}");
	}
	count(out, "output_tokens", usage->completion_tokens);
	if (usage->reasoning_tokens) {
		RL_BUF_LIT(out, ",\"output_tokens_details\":{");
		count(out, "thinking_tokens", usage->reasoning_tokens);
		RL_BUF_LIT(out, "}");
	}
	RL_BUF_LIT(out, "}");
}

/* --- answers that pass through --- */

static void glance_usage(rl_str object, struct rl_glance *out)
{
	struct rl_anthropic_usage counts = {0};

	if (rl_anthropic_count(object, &counts))
		out->usage = rl_anthropic_usage(&counts);
}

static void glance_stop(rl_str reason, struct rl_glance *out)
{
	rl_str word;

	if (rl_json_type_of(reason) != RL_JSON_STRING || reason.n <= 2)
		return;
	out->finish = true;
	/* Reasons have no escapes; one that has is none of ours. */
	out->finish_reason = rl_anthropic_finish(rl_str_sub(reason, 1, reason.n - 2), false, &word);
}

static enum rl_fault_class classify(uint16_t status, rl_str body);

static void glance_error(rl_str data, struct rl_glance *out)
{
	out->error = true;
	out->fault_class = classify(200, data);
}

/* The piece that a delta carries; a seal is none, it only ends a thought. */
static rl_str piece_of(rl_str delta)
{
	enum { TEXT, JSON, THINKING, CITATION, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("text"),
		RL_STR_INIT("partial_json"),
		RL_STR_INIT("thinking"),
		RL_STR_INIT("citation"),
	};
	struct rl_json_span spans[N_KEYS];

	rl_json_find(delta, keys, N_KEYS, spans);
	for (size_t i = 0; i < N_KEYS; i++)
		if (spans[i].n > 2)
			return rl_json_span_text(delta, &spans[i]);
	return RL_STR("");
}

/* Whether a block is something before its first delta: all but empty text and thoughts are. */
static bool block_says_something(rl_str block)
{
	rl_str type = member(block, RL_STR("type"));

	if (rl_json_string_is(type, RL_STR("text")))
		return member(block, RL_STR("text")).n > 2;
	if (rl_json_string_is(type, RL_STR("thinking")))
		return member(block, RL_STR("thinking")).n > 2;
	return type.n > 2;
}

enum event_key { E_TYPE, E_DELTA, E_USAGE, E_MESSAGE, E_BLOCK, E_COUNT };

static enum rl_err glance_event(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				struct rl_glance *out)
{
	enum { START = 1, BLOCK, DELTA, END, STOP, ERROR };
	static const rl_str keys[E_COUNT] = {
		[E_TYPE] = RL_STR_INIT("type"),           [E_DELTA] = RL_STR_INIT("delta"),
		[E_USAGE] = RL_STR_INIT("usage"),         [E_MESSAGE] = RL_STR_INIT("message"),
		[E_BLOCK] = RL_STR_INIT("content_block"),
	};
	static const rl_str types[] = {
		RL_STR_INIT("message_start"), RL_STR_INIT("content_block_start"), RL_STR_INIT("content_block_delta"),
		RL_STR_INIT("message_delta"), RL_STR_INIT("message_stop"),        RL_STR_INIT("error"),
	};
	struct rl_json_span spans[E_COUNT];
	unsigned which = 0;

	(void)op;
	*out = (struct rl_glance){.content = false};
	if (rl_json_form_fits(form, data)) {
		out->content = true;
		return RL_OK;
	}
	if (rl_json_scan(data, keys, E_COUNT, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	rl_str type = rl_json_span_text(data, &spans[E_TYPE]), delta = rl_json_span_text(data, &spans[E_DELTA]);

	type = type.n > 2 ? rl_str_sub(type, 1, type.n - 2) : event_name;
	while (which < sizeof types / sizeof types[0] && !rl_str_eq(type, types[which]))
		which++;
	switch (which + 1) {
	case START:
		glance_usage(member(rl_json_span_text(data, &spans[E_MESSAGE]), RL_STR("usage")), out);
		break;
	case BLOCK:
		out->content = block_says_something(rl_json_span_text(data, &spans[E_BLOCK]));
		break;
	case DELTA: {
		rl_str piece = piece_of(delta);

		out->content = piece.n > 0;
		form->n_strings = 0;
		if (piece.n && piece.p[0] == '"')
			rl_json_form_keep(form, data, &piece, 1);
		break;
	}
	case END:
		glance_stop(member(delta, RL_STR("stop_reason")), out);
		glance_usage(rl_json_span_text(data, &spans[E_USAGE]), out);
		break;
	case STOP:
		out->done = true;
		break;
	case ERROR:
		glance_error(data, out);
		break;
	default:
		break;
	}
	return RL_OK;
}

static enum rl_err glance_answer(enum rl_operation op, rl_str body, struct rl_glance *out)
{
	enum { TYPE, CONTENT, STOP, USAGE, TOKENS, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("type"),  RL_STR_INIT("content"),      RL_STR_INIT("stop_reason"),
		RL_STR_INIT("usage"), RL_STR_INIT("input_tokens"),
	};
	struct rl_json_span spans[N_KEYS];

	*out = (struct rl_glance){.content = false};
	if (rl_json_scan(body, keys, N_KEYS, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	if (rl_json_string_is(rl_json_span_text(body, &spans[TYPE]), RL_STR("error"))) {
		glance_error(body, out);
		return RL_OK;
	}
	if (op == RL_OP_COUNT_TOKENS) {
		if (spans[TOKENS].type != RL_JSON_NUMBER)
			return RL_ERR_SYNTAX;
		out->content = out->finish = true;
		return RL_OK;
	}
	if (spans[CONTENT].type != RL_JSON_ARRAY)
		return RL_ERR_SYNTAX;
	out->content = spans[CONTENT].n > 2;
	glance_stop(rl_json_span_text(body, &spans[STOP]), out);
	glance_usage(rl_json_span_text(body, &spans[USAGE]), out);
	return RL_OK;
}

/* --- errors of providers --- */

/* What an error body says, raw; absent members are empty. */
struct said {
	rl_str code, type, message;
};

/* {"type":"error","error":{"type","message","details":{"error_code"}}}. False: not JSON. */
static bool read_said(rl_str body, struct said *out)
{
	enum { TYPE, MESSAGE, DETAILS, N_KEYS };
	static const rl_str keys[N_KEYS] = {RL_STR_INIT("type"), RL_STR_INIT("message"), RL_STR_INIT("details")};
	struct rl_json_span spans[N_KEYS];

	*out = (struct said){.code = {NULL, 0}};
	if (!body.n || body.n > ERROR_MAX_BYTES || rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return false;
	rl_str error = member(body, RL_STR("error"));

	if (rl_json_type_of(error) == RL_JSON_STRING) {
		out->message = error;
		return true;
	}
	if (rl_json_type_of(error) != RL_JSON_OBJECT)
		error = body; /* a proxy's {"message":...} */
	rl_json_find(error, keys, N_KEYS, spans);
	out->type = rl_json_span_text(error, &spans[TYPE]);
	out->message = rl_json_span_text(error, &spans[MESSAGE]);
	out->code = member(rl_json_span_text(error, &spans[DETAILS]), RL_STR("error_code"));
	return true;
}

/* NONE: the message knows better, then the status. */
static enum rl_fault_class class_of_word(rl_str value)
{
	static const struct {
		rl_str word;
		enum rl_fault_class cls;
	} words[] = {
		/* details.error_code: spending is over, whatever the status (mostly 429, without retry-after). */
		{RL_STR_INIT("enforced_spend_limit_reached"), RL_FAULT_QUOTA},
		{RL_STR_INIT("contract_spend_limit_reached"), RL_FAULT_QUOTA},
		{RL_STR_INIT("linked_organization_spend_limit_reached"), RL_FAULT_QUOTA},
		{RL_STR_INIT("linked_organization_billing_unavailable"), RL_FAULT_QUOTA},
		{RL_STR_INIT("ramp_limit_exceeded"), RL_FAULT_RATE_LIMIT},
		{RL_STR_INIT("organization_on_hold"), RL_FAULT_AUTH},
		{RL_STR_INIT("image_dimensions_too_large"), RL_FAULT_BAD_REQUEST},
		{RL_STR_INIT("tool_name_conflict"), RL_FAULT_BAD_REQUEST},
		{RL_STR_INIT("available_tools_limit_exceeded"), RL_FAULT_BAD_REQUEST},
		{RL_STR_INIT("request_body_too_large_after_decoding"), RL_FAULT_CONTEXT_LENGTH},
		{RL_STR_INIT("compaction_unavailable"), RL_FAULT_OVERLOADED},
		/* error.type */
		{RL_STR_INIT("rate_limit_error"), RL_FAULT_RATE_LIMIT},
		{RL_STR_INIT("overloaded_error"), RL_FAULT_OVERLOADED},
		{RL_STR_INIT("api_error"), RL_FAULT_SERVER_ERROR},
		{RL_STR_INIT("timeout_error"), RL_FAULT_TIMEOUT},
		{RL_STR_INIT("authentication_error"), RL_FAULT_AUTH},
		{RL_STR_INIT("permission_error"), RL_FAULT_AUTH},
		{RL_STR_INIT("billing_error"), RL_FAULT_QUOTA},
		{RL_STR_INIT("not_found_error"), RL_FAULT_NOT_FOUND},
		{RL_STR_INIT("request_too_large"), RL_FAULT_CONTEXT_LENGTH},
	};

	if (rl_json_type_of(value) != RL_JSON_STRING)
		return RL_FAULT_NONE;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (rl_json_string_is(value, words[i].word))
			return words[i].cls;
	return RL_FAULT_NONE;
}

/* invalid_request_error and what has no type: the few things that are only told in prose. */
static enum rl_fault_class class_of_prose(uint16_t status, const struct said *said)
{
	rl_str message = rl_str_sub(said->message, 0, RL_BORDER_SEARCH_BYTES);

	if (status != 400 && !rl_json_string_is(said->type, RL_STR("invalid_request_error")))
		return RL_FAULT_NONE;
	if (rl_border_text_has(message, RL_STR("credit balance is too low")))
		return RL_FAULT_QUOTA;
	return rl_border_class_of_message(said->message);
}

static enum rl_fault_class classify(uint16_t status, rl_str body)
{
	struct said said;
	enum rl_fault_class cls = RL_FAULT_NONE;

	if (read_said(body, &said)) {
		cls = class_of_word(said.code);
		if (!cls)
			cls = class_of_word(said.type);
		if (!cls)
			cls = class_of_prose(status, &said);
		/* In a stream, or inside a success, the type is all there is. */
		if (!cls && status < 300)
			return rl_json_string_is(said.type, RL_STR("invalid_request_error")) ? RL_FAULT_BAD_REQUEST
											     : RL_FAULT_SERVER_ERROR;
	}
	if (!cls && status == 413)
		cls = RL_FAULT_CONTEXT_LENGTH;
	return cls ? cls : rl_border_class_of_status(status);
}

static rl_str error_text(rl_str body, struct rl_arena *arena)
{
	struct said said;
	rl_str text = body;

	if (read_said(body, &said)) {
		text = rl_json_type_of(said.message) == RL_JSON_STRING ? said.message : said.type;
		if (rl_json_type_of(text) != RL_JSON_STRING || rl_json_unescape(text, arena, &text))
			text = rl_str_make(NULL, 0);
	} else {
		text = rl_str_trim(rl_str_sub(text, 0, 4096));
		if (text.n && text.p[0] == '<')
			text = rl_border_html_title(text);
		else if (text.n && (text.p[0] == '{' || text.p[0] == '['))
			text = rl_str_make(NULL, 0);
	}
	return rl_border_tidy(text, arena);
}

void rl_anthropic_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out)
{
	struct said said;

	*out = (struct rl_fault){.cls = classify(200, body), .retry_after_s = -1};
	out->status = rl_border_status_of_class(out->cls);
	out->message = error_text(body, arena);
	if (!out->message.n)
		out->message = RL_STR("The provider reported an error in the stream.");
	if (!read_said(body, &said))
		return;
	if (rl_json_type_of(said.code) == RL_JSON_STRING && rl_json_unescape(said.code, arena, &out->code))
		out->code = rl_str_make(NULL, 0);
	if (rl_json_type_of(said.type) == RL_JSON_STRING && rl_json_unescape(said.type, arena, &out->type))
		out->type = rl_str_make(NULL, 0);
}

/* --- errors to clients --- */

static rl_str type_of(const struct rl_fault *fault)
{
	static const struct {
		uint16_t status;
		rl_str type;
	} types[] = {
		{401, RL_STR_INIT("authentication_error")}, {402, RL_STR_INIT("billing_error")},
		{403, RL_STR_INIT("permission_error")},     {404, RL_STR_INIT("not_found_error")},
		{409, RL_STR_INIT("conflict_error")},       {413, RL_STR_INIT("request_too_large")},
		{429, RL_STR_INIT("rate_limit_error")},     {503, RL_STR_INIT("overloaded_error")},
		{504, RL_STR_INIT("timeout_error")},        {529, RL_STR_INIT("overloaded_error")},
	};

	if (fault->cls == RL_FAULT_OVERLOADED)
		return RL_STR("overloaded_error");
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (types[i].status == fault->status)
			return types[i].type;
	return fault->status >= 500 ? RL_STR("api_error") : RL_STR("invalid_request_error");
}

void rl_anthropic_write_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"type\":\"error\",\"error\":{");
	/* Types are a closed list of this API's: what another dialect calls it is in the code. */
	rl_build_text(out, "type", type_of(fault));
	rl_build_text(out, "message", fault->message);
	if (fault->code.n || fault->param.n) {
		RL_BUF_LIT(out, ",\"details\":{");
		if (fault->code.n)
			rl_build_text(out, "error_code", fault->code);
		if (fault->param.n)
			rl_build_text(out, "param", fault->param);
		RL_BUF_LIT(out, "}");
	}
	RL_BUF_LIT(out, "},\"request_id\":null}");
}

/* --- models --- */

static void write_model(const struct rl_model_line *model, struct rl_buf *out)
{
	char when[RL_CLOCK_RFC3339_LEN + 1];

	rl_clock_rfc3339(model->created > 0 ? (uint64_t)model->created * 1000000u : 0, when);
	RL_BUF_LIT(out, "{\"type\":\"model\"");
	rl_build_text(out, "id", model->id);
	rl_build_text(out, "display_name", model->id);
	rl_build_text(out, "created_at", rl_str_of(when));
	RL_BUF_LIT(out, "}");
}

static void write_models(const struct rl_model_line *models, size_t n, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"data\":[");
	for (size_t i = 0; i < n; i++) {
		rl_build_comma(out);
		write_model(&models[i], out);
	}
	RL_BUF_LIT(out, "],\"has_more\":false");
	rl_build_text_or_null(out, "first_id", n ? models[0].id : rl_str_make(NULL, 0));
	rl_build_text_or_null(out, "last_id", n ? models[n - 1].id : rl_str_make(NULL, 0));
	RL_BUF_LIT(out, "}");
}

static enum rl_err read_models(rl_str body, struct rl_arena *arena, rl_str **ids, size_t *n)
{
	*ids = NULL;
	*n = 0;
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	return rl_border_read_ids(member(body, RL_STR("data")), RL_STR("id"), arena, ids, n);
}

static const struct rl_name_value headers[] = {
	{RL_STR_INIT("anthropic-version"), RL_STR_INIT("2023-06-01")},
	{{NULL, 0}, {NULL, 0}},
};

/* What a client says of the API's version goes with its words. */
static const rl_str forwarded[] = {RL_STR_INIT("anthropic-version"), RL_STR_INIT("anthropic-beta"), {NULL, 0}};

extern const struct rl_dialect rl_dialect_anthropic;

const struct rl_dialect rl_dialect_anthropic = {
	.name = RL_STR_INIT(RL_ANTHROPIC_NAME),
	.family = RL_STR_INIT(RL_ANTHROPIC_FAMILY),
	.framing = RL_FRAMING_SSE,
	.headers = headers,
	.forwarded = forwarded,
	.key_header = RL_STR_INIT("x-api-key"),
	.id_header = RL_STR_INIT("request-id"),
	.path = path,
	.read_envelope = read_envelope,
	.edit_body = rl_border_edit_body,
	.glance_event = glance_event,
	.glance_answer = glance_answer,
	.classify = classify,
	.error_text = error_text,
	.write_error = rl_anthropic_write_error,
	.write_stream_error = rl_anthropic_write_stream_error,
	.write_models = write_models,
	.write_model = write_model,
	.read_models = read_models,
	.parse_request = rl_anthropic_parse_request,
	.write_response = rl_anthropic_write_response,
	.encode_event = rl_anthropic_encode_event,
	.encoder_bytes = sizeof(struct rl_anthropic_encoder),
	.encoder_fini = rl_anthropic_encoder_fini,
	.write_request = rl_anthropic_write_request,
	.parse_response = rl_anthropic_parse_response,
	.decoder_bytes = sizeof(struct rl_anthropic_decoder),
	.decode_event = rl_anthropic_decode_event,
};
