/* SPDX-License-Identifier: Apache-2.0 */
/* The front of Ollama's dialect: paths, what passes through, errors and lists, and the vtable that names the rest. */
#include "dialects/ollama_priv.h"

#include "base/clock.h"
#include "dialect/border.h"

static rl_str path(enum rl_operation op)
{
	switch (op) {
	case RL_OP_CHAT:
		return RL_STR("/api/chat");
	case RL_OP_EMBEDDING:
		return RL_STR("/api/embed");
	case RL_OP_MODELS:
		return RL_STR("/api/tags");
	case RL_OP_PASS:
		return RL_STR("/");
	default:
		return rl_str_make(NULL, 0);
	}
}

/* --- the border --- */

static enum rl_err read_envelope(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				 struct rl_fault *fault)
{
	enum { MODEL, STREAM, MESSAGES, INPUT, TOOLS, OPTIONS, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("model"), RL_STR_INIT("stream"), RL_STR_INIT("messages"),
		RL_STR_INIT("input"), RL_STR_INIT("tools"),  RL_STR_INIT("options"),
	};
	struct rl_json_span spans[N_KEYS];
	struct rl_json_error error;

	*out = (struct rl_envelope){.usage_asked = true}; /* it always comes */
	enum rl_err err = rl_json_scan(body, keys, N_KEYS, RL_JSON_STRICT_KEYS, spans, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	if (rl_json_type_of(body) != RL_JSON_OBJECT)
		return rl_border_refuse(fault, rl_str_make(NULL, 0), "invalid_type",
					RL_STR("The request body must be a JSON object."));
	if (op == RL_OP_PASS)
		return RL_OK;
	err = rl_border_read_model(body, &spans[MODEL], true, arena, out, fault);
	if (err)
		return err;
	if (op == RL_OP_CHAT && spans[MESSAGES].type != RL_JSON_ARRAY)
		return spans[MESSAGES].type
			       ? rl_border_wrong_type(arena, fault, keys[MESSAGES], "an array", spans[MESSAGES].type)
			       : rl_border_missing(arena, fault, keys[MESSAGES]);
	if (op == RL_OP_EMBEDDING && spans[INPUT].type != RL_JSON_ARRAY && spans[INPUT].type != RL_JSON_STRING)
		return rl_border_wrong_type(arena, fault, keys[INPUT], "a string or an array", spans[INPUT].type);
	if (spans[STREAM].type > RL_JSON_TRUE)
		return rl_border_wrong_type(arena, fault, keys[STREAM], "true or false", spans[STREAM].type);
	out->stream = op == RL_OP_CHAT && spans[STREAM].type != RL_JSON_FALSE;
	return RL_OK;
}

static rl_str member(rl_str object, rl_str key)
{
	struct rl_json_span span;

	rl_json_find(object, &key, 1, &span);
	return rl_json_span_text(object, &span);
}

void rl_ollama_read_usage(rl_str answer, struct rl_usage *out)
{
	struct rl_usage usage = {.known = true};
	bool prompt = rl_json_u64(member(answer, RL_STR("prompt_eval_count")), &usage.prompt_tokens);
	bool completion = rl_json_u64(member(answer, RL_STR("eval_count")), &usage.completion_tokens);

	/* With the whole prompt in its cache the server leaves the first one out. */
	if (prompt || completion)
		*out = usage;
}

enum rl_finish rl_ollama_finish(rl_str done_reason, bool called)
{
	if (rl_json_string_is(done_reason, RL_STR("length")))
		return RL_FINISH_LENGTH;
	/* "stop", "load", "unload", or older servers' nothing: it ended by itself. */
	return called ? RL_FINISH_TOOL_CALLS : RL_FINISH_STOP;
}

static bool carries(rl_str value)
{
	enum rl_json_type type = rl_json_type_of(value);

	return (type == RL_JSON_STRING || type == RL_JSON_ARRAY) && value.n > 2;
}

static enum rl_err glance(rl_str text, rl_str needed, struct rl_glance *out)
{
	enum { MESSAGE, EMBEDDINGS, DONE, REASON, ERROR, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("message"),     RL_STR_INIT("embeddings"), RL_STR_INIT("done"),
		RL_STR_INIT("done_reason"), RL_STR_INIT("error"),
	};
	struct rl_json_span spans[N_KEYS];

	*out = (struct rl_glance){.content = false};
	if (rl_json_scan(text, keys, N_KEYS, RL_JSON_LAX, spans, NULL) || rl_json_type_of(text) != RL_JSON_OBJECT)
		return RL_ERR_SYNTAX;
	if (spans[ERROR].type > RL_JSON_NULL) {
		struct rl_fault fault;

		rl_ollama_read_error(text, NULL, &fault);
		out->error = true;
		out->fault_class = fault.cls;
		return RL_OK;
	}
	if (needed.n && rl_json_type_of(member(text, needed)) <= RL_JSON_NULL)
		return RL_ERR_SYNTAX;
	rl_str message = rl_json_span_text(text, &spans[MESSAGE]), calls = member(message, RL_STR("tool_calls"));

	out->content = spans[EMBEDDINGS].type == RL_JSON_ARRAY || carries(member(message, RL_STR("content"))) ||
		       carries(member(message, RL_STR("thinking"))) || carries(calls);
	out->finish = out->done = spans[DONE].type == RL_JSON_TRUE;
	if (out->done)
		out->finish_reason = rl_ollama_finish(rl_json_span_text(text, &spans[REASON]), carries(calls));
	rl_ollama_read_usage(text, &out->usage);
	return RL_OK;
}

static enum rl_err glance_event(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				struct rl_glance *out)
{
	(void)op, (void)event_name, (void)form;
	return glance(data, rl_str_make(NULL, 0), out);
}

static enum rl_err glance_answer(enum rl_operation op, rl_str body, struct rl_glance *out)
{
	bool chat = op == RL_OP_CHAT;
	enum rl_err err = glance(body, chat ? RL_STR("message") : RL_STR("embeddings"), out);

	if (err || out->error)
		return err;
	/* A whole answer is content whatever it says. */
	out->content = out->finish = true;
	return RL_OK;
}

/* --- errors: {"error":"text"}, and the object of the compatible endpoint --- */

static rl_str message_of(rl_str body)
{
	if (!body.n || rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return rl_str_make(NULL, 0);
	rl_str error = member(body, RL_STR("error"));

	return rl_json_type_of(error) == RL_JSON_OBJECT ? member(error, RL_STR("message")) : error;
}

static enum rl_fault_class classify(uint16_t status, rl_str body)
{
	enum rl_fault_class cls = RL_FAULT_NONE;

	if (status >= 200 && status < 300)
		status = 500; /* it began well and then failed */
	/* No codes: beside the status there is only the text, where the status leaves a choice. */
	if (status == 400 || status == 413 || status == 422 || status == 500)
		cls = rl_border_class_of_message(message_of(body));
	return cls ? cls : rl_border_class_of_status(status);
}

static rl_str error_text(rl_str body, struct rl_arena *arena)
{
	rl_str message = message_of(body), text = rl_str_make(NULL, 0);

	if (rl_json_type_of(message) == RL_JSON_STRING && rl_json_unescape(message, arena, &text))
		text = rl_str_make(NULL, 0);
	if (!message.n && body.n && body.p[0] == '<')
		text = rl_border_html_title(body);
	else if (!message.n && body.n && body.p[0] != '{' && body.p[0] != '[')
		text = body; /* "404 page not found" */
	return rl_border_tidy(text, arena);
}

/* Without an arena: the class only. */
void rl_ollama_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out)
{
	*out = (struct rl_fault){.cls = classify(200, body), .retry_after_s = -1};
	out->status = rl_border_status_of_class(out->cls);
	if (arena)
		out->message = error_text(body, arena);
	if (!out->message.n)
		out->message = RL_STR("The provider reported an error in the stream.");
}

void rl_ollama_write_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "error", fault->message);
	RL_BUF_LIT(out, "}");
}

static void write_stream_error(const struct rl_fault *fault, struct rl_buf *out)
{
	rl_ollama_write_error(fault, out);
	RL_BUF_LIT(out, "\n");
}

/* --- models --- */

static void write_model(const struct rl_model_line *model, struct rl_buf *out)
{
	char when[RL_CLOCK_RFC3339_LEN + 1];

	rl_clock_rfc3339((uint64_t)(model->created > 0 ? model->created : 0) * 1000000u, when);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "name", model->id);
	rl_build_text(out, "model", model->id);
	rl_build_text(out, "modified_at", rl_str_of(when));
	rl_build_int(out, "size", 0);
	rl_build_text(out, "digest", RL_STR(""));
	RL_BUF_LIT(out, ",\"details\":{");
	rl_build_text(out, "family", model->owned_by);
	RL_BUF_LIT(out, "}}");
}

static void write_models(const struct rl_model_line *models, size_t n, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"models\":[");
	for (size_t i = 0; i < n; i++) {
		rl_build_comma(out);
		write_model(&models[i], out);
	}
	RL_BUF_LIT(out, "]}");
}

static enum rl_err read_models(rl_str body, struct rl_arena *arena, rl_str **ids, size_t *n)
{
	*ids = NULL;
	*n = 0;
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	return rl_border_read_ids(member(body, RL_STR("models")), RL_STR("name"), arena, ids, n);
}

extern const struct rl_dialect rl_dialect_ollama;

const struct rl_dialect rl_dialect_ollama = {
	.name = RL_STR_INIT(RL_OLLAMA_NAME),
	.family = RL_STR_INIT(RL_OLLAMA_NAME),
	.framing = RL_FRAMING_NDJSON,
	.stream_type = RL_STR_INIT("application/x-ndjson"),
	.path = path,
	.read_envelope = read_envelope,
	.edit_body = rl_border_edit_body,
	.glance_event = glance_event,
	.glance_answer = glance_answer,
	.classify = classify,
	.error_text = error_text,
	.write_error = rl_ollama_write_error,
	.write_stream_error = write_stream_error,
	.write_models = write_models,
	.write_model = write_model,
	.read_models = read_models,
	.parse_request = rl_ollama_parse_request,
	.write_response = rl_ollama_write_response,
	.encode_event = rl_ollama_encode_event,
	.encoder_bytes = sizeof(struct rl_ollama_encoder),
	.encoder_fini = rl_ollama_encoder_fini,
	.write_request = rl_ollama_write_request,
	.parse_response = rl_ollama_parse_response,
	.decode_event = rl_ollama_decode_event,
};
