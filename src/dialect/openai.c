/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of the OpenAI dialect: paths, errors and model lists, and the vtable
 * that names the rest.
 */
#include "dialect/openai_priv.h"

static rl_str path(enum rl_operation op)
{
	switch (op) {
	case RL_OP_CHAT:
		return RL_STR("/chat/completions");
	case RL_OP_COMPLETION:
		return RL_STR("/completions");
	case RL_OP_EMBEDDING:
		return RL_STR("/embeddings");
	case RL_OP_MODELS:
		return RL_STR("/models");
	case RL_OP_MODERATION:
		return RL_STR("/moderations");
	case RL_OP_IMAGE:
		return RL_STR("/images/generations");
	case RL_OP_SPEECH:
		return RL_STR("/audio/speech");
	case RL_OP_RESPONSE:
		return RL_STR("/responses");
	case RL_OP_IMAGE_EDIT:
		return RL_STR("/images/edits");
	case RL_OP_IMAGE_VARIATION:
		return RL_STR("/images/variations");
	case RL_OP_TRANSCRIPTION:
		return RL_STR("/audio/transcriptions");
	case RL_OP_TRANSLATION:
		return RL_STR("/audio/translations");
	case RL_OP_PASS:
		return RL_STR("/");
	case RL_OP_COUNT_TOKENS:
	case RL_OP_NONE:
	case RL_OP_COUNT:
		break;
	}
	return rl_str_make(NULL, 0);
}

/* What OpenAI itself says with these statuses. */
static rl_str default_type(uint16_t status)
{
	if (status == 429)
		return RL_STR("requests");
	if (status == 503)
		return RL_STR("service_unavailable_error");
	return status >= 500 ? RL_STR("server_error") : RL_STR("invalid_request_error");
}

static rl_str default_code(uint16_t status)
{
	switch (status) {
	case 401:
		return RL_STR("invalid_api_key");
	case 429:
		return RL_STR("rate_limit_exceeded");
	default:
		return rl_str_make(NULL, 0);
	}
}

void rl_openai_write_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"error\":{");
	rl_build_text(out, "message", fault->message);
	rl_build_text(out, "type", fault->type.n ? fault->type : default_type(fault->status));
	rl_build_text_or_null(out, "param", fault->param);
	rl_build_text_or_null(out, "code", fault->code.n ? fault->code : default_code(fault->status));
	RL_BUF_LIT(out, "}}");
}

void rl_openai_write_stream_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "data: ");
	rl_openai_write_error(fault, out);
	RL_BUF_LIT(out, "\n\n");
}

static void write_model(const struct rl_model_line *model, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "id", model->id);
	rl_build_text(out, "object", RL_STR("model"));
	rl_build_int(out, "created", model->created);
	rl_build_text(out, "owned_by", model->owned_by);
	RL_BUF_LIT(out, "}");
}

static void write_models(const struct rl_model_line *models, size_t n, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < n; i++) {
		rl_build_comma(out);
		write_model(&models[i], out);
	}
	RL_BUF_LIT(out, "]}");
}

/* The list itself: under `data`, or bare (Together). */
static rl_str model_list(rl_str body)
{
	static const rl_str key = RL_STR_INIT("data");
	struct rl_json_span span;

	if (rl_json_type_of(body) == RL_JSON_ARRAY)
		return body;
	rl_json_find(body, &key, 1, &span);
	return rl_json_span_text(body, &span);
}

static enum rl_err read_models(rl_str body, struct rl_arena *arena, rl_str **ids, size_t *n)
{
	*ids = NULL;
	*n = 0;
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	return rl_border_read_ids(model_list(body), RL_STR("id"), arena, ids, n);
}

extern const struct rl_dialect rl_dialect_openai;

const struct rl_dialect rl_dialect_openai = {
	.name = RL_STR_INIT(RL_OPENAI_NAME),
	.family = RL_STR_INIT(RL_OPENAI_NAME),
	.framing = RL_FRAMING_SSE,
	.path = path,
	.read_envelope = rl_openai_read_envelope,
	.edit_body = rl_openai_edit_body,
	.glance_event = rl_openai_glance_event,
	.glance_answer = rl_openai_glance_answer,
	.classify = rl_openai_classify,
	.error_text = rl_openai_error_text,
	.write_error = rl_openai_write_error,
	.write_stream_error = rl_openai_write_stream_error,
	.write_models = write_models,
	.write_model = write_model,
	.read_models = read_models,
	.parse_request = rl_openai_parse_request,
	.write_response = rl_openai_write_response,
	.encode_event = rl_openai_encode_event,
	.write_request = rl_openai_write_request,
	.parse_response = rl_openai_parse_response,
	.decode_event = rl_openai_decode_event,
};
