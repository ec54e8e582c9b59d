/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging an error of a provider that speaks the OpenAI dialect, or claims to: what
 * class it is, and what of its text a person should see. The body may be anything
 * (JSON of a dozen shapes, HTML of a proxy, nothing); machine codes decide first,
 * then the status. Messages are only searched for the two classes that many servers
 * tell in no other way, since a message may echo the prompt (DIALECTS 2.11,
 * trap 15).
 */
#include "dialect/openai_priv.h"

#include <assert.h>

/* Longer bodies are judged by their status alone. */
#define BODY_MAX_BYTES (256u * 1024)
#define WORD_MAX_BYTES 64

/* What an error body says, raw JSON values; absent ones are empty. */
struct said {
	rl_str code, type, message, inner;
};

static rl_str member(rl_str object, rl_str key)
{
	struct rl_json_span span;

	rl_json_find(object, &key, 1, &span);
	return rl_json_span_text(object, &span);
}

static void read_object(rl_str object, struct said *out)
{
	enum { CODE, TYPE, MESSAGE, INNER, STATUS_CODE, DETAIL, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("code"),       RL_STR_INIT("type"),       RL_STR_INIT("message"),
		RL_STR_INIT("innererror"), RL_STR_INIT("statusCode"), RL_STR_INIT("detail"),
	};
	struct rl_json_span spans[N_KEYS];

	rl_json_find(object, keys, N_KEYS, spans);
	out->code = rl_json_span_text(object, &spans[spans[CODE].type > RL_JSON_NULL ? CODE : STATUS_CODE]);
	out->type = rl_json_span_text(object, &spans[TYPE]);
	out->message = rl_json_span_text(object, &spans[spans[MESSAGE].type > RL_JSON_NULL ? MESSAGE : DETAIL]);
	out->inner = member(rl_json_span_text(object, &spans[INNER]), RL_STR("code"));
}

/*
 * The shapes seen: {"error":{...}} (OpenAI), the same in an array (Gemini's
 * compatible endpoint), {"error":"text"} (Ollama, proxies), and the members at the
 * top (older vLLM, API management, FastAPI's `detail`). False: not JSON.
 */
static bool read_body(rl_str body, struct said *out)
{
	struct rl_json_iter iter;
	rl_str first;

	*out = (struct said){.code = {NULL, 0}};
	if (!body.n || body.n > BODY_MAX_BYTES || rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return false;
	rl_json_iter_array(&iter, body);
	if (rl_json_iter_next(&iter, &first))
		body = first;
	rl_str error = member(body, RL_STR("error"));

	switch (rl_json_type_of(error)) {
	case RL_JSON_OBJECT:
		read_object(error, out);
		break;
	case RL_JSON_STRING:
		read_object(body, out);
		out->message = error;
		break;
	default:
		if (rl_json_type_of(body) == RL_JSON_STRING)
			out->message = body;
		else
			read_object(body, out);
	}
	return true;
}

/*
 * Words of `code` and `type`, most telling first where both are known. A class of
 * NONE means: read on, the status or the message knows better.
 */
static const struct {
	rl_str word;
	enum rl_fault_class cls;
} words[] = {
	{RL_STR_INIT("insufficient_quota"), RL_FAULT_QUOTA},
	{RL_STR_INIT("credit_balance_exhausted"), RL_FAULT_QUOTA},
	{RL_STR_INIT("organization_spend_limit_exceeded"), RL_FAULT_QUOTA},
	{RL_STR_INIT("project_spend_limit_exceeded"), RL_FAULT_QUOTA},
	{RL_STR_INIT("organization_usage_limit_exceeded"), RL_FAULT_QUOTA},
	{RL_STR_INIT("billing_hard_limit_reached"), RL_FAULT_QUOTA},
	{RL_STR_INIT("billing_not_active"), RL_FAULT_QUOTA},
	{RL_STR_INIT("exceeded_current_quota_error"), RL_FAULT_QUOTA},
	{RL_STR_INIT("rate_limit_exceeded"), RL_FAULT_RATE_LIMIT},
	{RL_STR_INIT("rate_limit_error"), RL_FAULT_RATE_LIMIT},
	{RL_STR_INIT("rate_limit_reached_error"), RL_FAULT_RATE_LIMIT},
	{RL_STR_INIT("server_is_overloaded"), RL_FAULT_OVERLOADED},
	{RL_STR_INIT("service_unavailable_error"), RL_FAULT_OVERLOADED},
	{RL_STR_INIT("overloaded_error"), RL_FAULT_OVERLOADED},
	{RL_STR_INIT("engine_overloaded_error"), RL_FAULT_OVERLOADED},
	{RL_STR_INIT("timeout_error"), RL_FAULT_TIMEOUT},
	{RL_STR_INIT("context_length_exceeded"), RL_FAULT_CONTEXT_LENGTH},
	{RL_STR_INIT("exceed_context_size_error"), RL_FAULT_CONTEXT_LENGTH},
	{RL_STR_INIT("content_policy_violation"), RL_FAULT_CONTENT_FILTER},
	{RL_STR_INIT("content_filter"), RL_FAULT_CONTENT_FILTER},
	{RL_STR_INIT("ResponsibleAIPolicyViolation"), RL_FAULT_CONTENT_FILTER},
	{RL_STR_INIT("image_content_policy_violation"), RL_FAULT_CONTENT_FILTER},
	{RL_STR_INIT("bio_policy"), RL_FAULT_CONTENT_FILTER},
	{RL_STR_INIT("misalignment_policy_violation"), RL_FAULT_CONTENT_FILTER},
	{RL_STR_INIT("invalid_api_key"), RL_FAULT_AUTH},
	{RL_STR_INIT("authentication_error"), RL_FAULT_AUTH},
	{RL_STR_INIT("invalid_authentication_error"), RL_FAULT_AUTH},
	{RL_STR_INIT("permission_error"), RL_FAULT_AUTH},
	{RL_STR_INIT("model_not_found"), RL_FAULT_NOT_FOUND},
	{RL_STR_INIT("not_found_error"), RL_FAULT_NOT_FOUND},
	{RL_STR_INIT("DeploymentNotFound"), RL_FAULT_NOT_FOUND},
	{RL_STR_INIT("resource_not_found_error"), RL_FAULT_NOT_FOUND},
	/* The model failed, not the request: it wrote a tool call that nobody can read (Groq). */
	{RL_STR_INIT("tool_use_failed"), RL_FAULT_INVALID_RESPONSE},
	/* About one field; its text speaks of a maximum length, but not of the context. */
	{RL_STR_INIT("string_above_max_length"), RL_FAULT_BAD_REQUEST},
};

static enum rl_fault_class class_of_word(rl_str value)
{
	if (rl_json_type_of(value) != RL_JSON_STRING || value.n > WORD_MAX_BYTES)
		return RL_FAULT_NONE;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (rl_json_string_is(value, words[i].word))
			return words[i].cls;
	return RL_FAULT_NONE;
}

/* The status that an error inside a 200 claims for itself (OpenRouter, vLLM: a number, or one as text). */
static uint16_t status_of_code(rl_str code)
{
	uint64_t number;

	if (rl_json_type_of(code) == RL_JSON_STRING && code.n > 2)
		code = rl_str_sub(code, 1, code.n - 2);
	if (rl_json_type_of(code) == RL_JSON_NUMBER && rl_json_u64(code, &number) && number >= 400 && number < 600)
		return (uint16_t)number;
	return 0;
}

/* Codes whose meaning hangs on something else. */
static enum rl_fault_class class_of_special(uint16_t status, const struct said *said)
{
	if (rl_json_string_is(said->code, RL_STR("slow_down")))
		return status == 429 ? RL_FAULT_RATE_LIMIT : RL_FAULT_OVERLOADED;
	if (rl_json_string_is(said->code, RL_STR("invalid_prompt")))
		return rl_border_text_has(rl_str_sub(said->message, 0, RL_BORDER_SEARCH_BYTES), RL_STR("usage polic"))
			       ? RL_FAULT_CONTENT_FILTER
			       : RL_FAULT_BAD_REQUEST;
	return RL_FAULT_NONE;
}

enum rl_fault_class rl_openai_classify(uint16_t status, rl_str body)
{
	struct said said;
	enum rl_fault_class cls;
	bool json = read_body(body, &said);

	/* An error that came inside a success: its own words are all there is. */
	if (json && status >= 200 && status < 300) {
		status = status_of_code(said.code);
		if (!status)
			status = rl_json_string_is(said.type, RL_STR("invalid_request_error")) ? 400 : 500;
	}
	if (!json)
		return rl_border_class_of_status(status);
	cls = class_of_special(status, &said);
	if (!cls)
		cls = class_of_word(said.code);
	if (!cls)
		cls = class_of_word(said.inner);
	if (!cls)
		cls = class_of_word(said.type);
	/* Statuses with a meaning of their own are not overruled by prose. */
	if (!cls && status != 401 && status != 402 && status != 404 && status != 408 && status != 429 && status < 502)
		cls = rl_border_class_of_message(said.message);
	return cls ? cls : rl_border_class_of_status(status);
}

rl_str rl_openai_error_text(rl_str body, struct rl_arena *arena)
{
	struct said said;
	rl_str text = body;

	if (read_body(body, &said)) {
		text = rl_json_type_of(said.message) == RL_JSON_STRING ? said.message : said.code;
		if (rl_json_type_of(text) == RL_JSON_STRING && rl_json_unescape(text, arena, &text))
			text = rl_str_make(NULL, 0);
	} else {
		text = rl_str_trim(rl_str_sub(text, 0, 4096));
		if (text.n && text.p[0] == '<')
			text = rl_border_html_title(text);
		/* JSON that was cut or broken says nothing that is worth showing. */
		else if (text.n && (text.p[0] == '{' || text.p[0] == '['))
			text = rl_str_make(NULL, 0);
	}
	return rl_border_tidy(text, arena);
}

/* A word of the error as text; what is neither text nor a number is empty. */
static rl_str word_text(rl_str value, struct rl_arena *arena)
{
	rl_str text = {NULL, 0};

	if (rl_json_type_of(value) == RL_JSON_NUMBER)
		return value;
	if (rl_json_type_of(value) == RL_JSON_STRING && value.n <= WORD_MAX_BYTES &&
	    rl_json_unescape(value, arena, &text))
		text = rl_str_make(NULL, 0);
	return text;
}

void rl_openai_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out)
{
	struct said said;

	*out = (struct rl_fault){.cls = rl_openai_classify(200, body), .retry_after_s = -1};
	out->status = rl_border_status_of_class(out->cls);
	out->message = rl_openai_error_text(body, arena);
	if (!out->message.n)
		out->message = RL_STR("The provider reported an error in the stream.");
	if (!read_body(body, &said))
		return;
	out->code = word_text(said.code, arena);
	out->type = word_text(said.type, arena);
}
