/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of the Responses dialect: paths, what passes through untouched, and the
 * vtable that names the rest. Errors and lists of models are those of OpenAI's other
 * dialect, since they are of the same server.
 *
 * Its events carry their kind twice, as SSE event and as `type`; there is no [DONE]:
 * response.completed, .incomplete or .failed is the last event.
 */
#include "responses/responses_priv.h"

#include "dialect/border.h"

#include <assert.h>

#define WORD_MAX_BYTES 64u

extern const struct rl_dialect rl_dialect_openai;

static rl_str path(enum rl_operation op)
{
	switch (op) {
	case RL_OP_CHAT:
		return RL_STR("/responses");
	case RL_OP_COUNT_TOKENS:
		return RL_STR("/responses/input_tokens");
	case RL_OP_MODELS:
		return RL_STR("/models");
	case RL_OP_PASS:
		return RL_STR("/");
	default:
		return rl_str_make(NULL, 0);
	}
}

/* --- requests that pass --- */

/* May be there once and in one spelling only, so that what was checked is what the provider reads. */
enum key {
	K_MODEL,
	K_STREAM,
	K_INPUT,
	K_INSTRUCTIONS,
	K_TOOLS,
	K_USER,
	K_PREVIOUS,
	K_CONVERSATION,
	K_BACKGROUND,
	K_PROMPT,
	K_MAX_TOKENS,
	K_STORE,
	K_COUNT
};

static const rl_str keys[K_COUNT] = {
	[K_MODEL] = RL_STR_INIT("model"),
	[K_STREAM] = RL_STR_INIT("stream"),
	[K_INPUT] = RL_STR_INIT("input"),
	[K_INSTRUCTIONS] = RL_STR_INIT("instructions"),
	[K_TOOLS] = RL_STR_INIT("tools"),
	[K_USER] = RL_STR_INIT("user"),
	[K_PREVIOUS] = RL_STR_INIT("previous_response_id"),
	[K_CONVERSATION] = RL_STR_INIT("conversation"),
	[K_BACKGROUND] = RL_STR_INIT("background"),
	[K_PROMPT] = RL_STR_INIT("prompt"),
	[K_MAX_TOKENS] = RL_STR_INIT("max_output_tokens"),
	[K_STORE] = RL_STR_INIT("store"),
};

/* Items that are known to a provider by their id alone. */
static bool refers_to_items(rl_str input)
{
	static const rl_str word = RL_STR_INIT("item_reference");
	struct rl_json_iter iter;
	rl_str item;

	/* Nearly no body has the word, and few that have it mean it. */
	if (!input.n || !memmem(input.p, input.n, word.p, word.n))
		return false;
	rl_json_iter_array(&iter, input);
	while (rl_json_iter_next(&iter, &item))
		if (rl_json_type_of(item) == RL_JSON_OBJECT && rl_json_string_is(rl_table_type(item), word))
			return true;
	return false;
}

static bool is_stateful(rl_str body, const struct rl_json_span *spans)
{
	return spans[K_PREVIOUS].type == RL_JSON_STRING || spans[K_CONVERSATION].type > RL_JSON_NULL ||
	       spans[K_PROMPT].type > RL_JSON_NULL || spans[K_BACKGROUND].type == RL_JSON_TRUE ||
	       refers_to_items(rl_json_span_text(body, &spans[K_INPUT]));
}

static enum rl_err check_input(const struct rl_json_span *input, struct rl_arena *arena, struct rl_fault *fault)
{
	if (input->type <= RL_JSON_NULL || input->type == RL_JSON_STRING || input->type == RL_JSON_ARRAY)
		return RL_OK; /* none at all: a stored prompt may be all there is */
	return rl_border_wrong_type(arena, fault, keys[K_INPUT], "a string or an array", input->type);
}

static enum rl_err read_envelope(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				 struct rl_fault *fault)
{
	struct rl_json_span spans[K_COUNT];
	struct rl_json_error error;

	assert(op != RL_OP_NONE && op != RL_OP_MODELS);
	*out = (struct rl_envelope){.usage_asked = true}; /* usage is always in the last event */
	enum rl_err err = rl_json_scan(body, keys, K_COUNT, RL_JSON_STRICT_KEYS, spans, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	if (rl_json_type_of(body) != RL_JSON_OBJECT)
		return rl_border_refuse(fault, rl_str_make(NULL, 0), "invalid_type",
					RL_STR("The request body must be a JSON object."));
	out->stream = spans[K_STREAM].type == RL_JSON_TRUE;
	if (spans[K_STREAM].type > RL_JSON_TRUE)
		return rl_border_wrong_type(arena, fault, keys[K_STREAM], "true or false", spans[K_STREAM].type);
	if (op == RL_OP_PASS)
		return RL_OK;
	err = rl_border_read_model(body, &spans[K_MODEL], false, arena, out, fault);
	if (!err)
		err = check_input(&spans[K_INPUT], arena, fault);
	out->stateful = is_stateful(body, spans);
	out->sealed = memmem(body.p, body.n, RL_SEAL_MARK, sizeof RL_SEAL_MARK - 1) != NULL;
	return err;
}

/* --- answers that pass --- */

static uint64_t number_in(rl_str object, rl_str key)
{
	uint64_t n = 0;

	return rl_json_u64(rl_responses_member(object, key), &n) ? n : 0;
}

void rl_responses_read_usage(rl_str object, struct rl_usage *out)
{
	enum { INPUT, OUTPUT, INPUT_DETAILS, OUTPUT_DETAILS, N_KEYS };
	static const rl_str names[N_KEYS] = {
		RL_STR_INIT("input_tokens"),
		RL_STR_INIT("output_tokens"),
		RL_STR_INIT("input_tokens_details"),
		RL_STR_INIT("output_tokens_details"),
	};
	struct rl_json_span spans[N_KEYS];
	struct rl_usage usage = {.known = true};

	rl_json_find(object, names, N_KEYS, spans);
	bool input = rl_json_u64(rl_json_span_text(object, &spans[INPUT]), &usage.prompt_tokens);
	bool output = rl_json_u64(rl_json_span_text(object, &spans[OUTPUT]), &usage.completion_tokens);

	if (!input && !output)
		return;
	if (spans[INPUT_DETAILS].type == RL_JSON_OBJECT) {
		rl_str details = rl_json_span_text(object, &spans[INPUT_DETAILS]);

		usage.cached_tokens = number_in(details, RL_STR("cached_tokens"));
		usage.cache_write_tokens = number_in(details, RL_STR("cache_write_tokens"));
	}
	if (spans[OUTPUT_DETAILS].type == RL_JSON_OBJECT)
		usage.reasoning_tokens =
			number_in(rl_json_span_text(object, &spans[OUTPUT_DETAILS]), RL_STR("reasoning_tokens"));
	*out = usage;
}

enum rl_finish rl_responses_finish(rl_str status, rl_str details, rl_str *word)
{
	static const struct {
		rl_str word;
		enum rl_finish finish;
	} reasons[] = {
		{RL_STR_INIT("max_output_tokens"), RL_FINISH_LENGTH},
		{RL_STR_INIT("content_filter"), RL_FINISH_CONTENT_FILTER},
	};

	*word = rl_str_make(NULL, 0);
	if (rl_json_type_of(status) != RL_JSON_STRING || rl_json_string_is(status, RL_STR("completed")))
		return RL_FINISH_STOP;
	if (rl_json_string_is(status, RL_STR("failed")))
		return RL_FINISH_ERROR;
	if (!rl_json_string_is(status, RL_STR("incomplete"))) { /* cancelled, queued, in_progress */
		*word = rl_str_sub(status, 1, status.n - 2);
		return RL_FINISH_OTHER;
	}
	rl_str reason = rl_responses_member(details, RL_STR("reason"));

	for (size_t i = 0; i < RL_N_FIELDS(reasons); i++)
		if (rl_json_string_is(reason, reasons[i].word))
			return reasons[i].finish;
	if (rl_json_type_of(reason) != RL_JSON_STRING || reason.n <= 2)
		return RL_FINISH_LENGTH;
	*word = rl_str_sub(reason, 1, reason.n - 2);
	return RL_FINISH_OTHER;
}

/* What JavaScript takes for true: how the official clients tell an error from its absence. */
static bool is_error(rl_str value)
{
	enum rl_json_type type = rl_json_type_of(value);

	return type == RL_JSON_OBJECT || type == RL_JSON_ARRAY || type == RL_JSON_TRUE ||
	       (type == RL_JSON_STRING && value.n > 2);
}

/* Status, reason and usage of a whole response. */
static void glance_response(rl_str response, struct rl_glance *out)
{
	enum { STATUS, DETAILS, USAGE, N_KEYS };
	static const rl_str names[N_KEYS] = {RL_STR_INIT("status"), RL_STR_INIT("incomplete_details"),
					     RL_STR_INIT("usage")};
	struct rl_json_span spans[N_KEYS];
	rl_str word;

	rl_json_find(response, names, N_KEYS, spans);
	if (spans[USAGE].type == RL_JSON_OBJECT)
		rl_responses_read_usage(rl_json_span_text(response, &spans[USAGE]), &out->usage);
	out->finish = true;
	out->finish_reason = rl_responses_finish(rl_json_span_text(response, &spans[STATUS]),
						 rl_json_span_text(response, &spans[DETAILS]), &word);
}

static void set_error(rl_str object, struct rl_glance *out)
{
	out->error = true;
	out->fault_class = rl_dialect_openai.classify(200, object);
}

static bool ends_in(rl_str type, rl_str suffix)
{
	return type.n > suffix.n && rl_str_ends(type, suffix);
}

static enum rl_err glance_event(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				struct rl_glance *out)
{
	enum { TYPE, RESPONSE, N_KEYS };
	static const rl_str names[N_KEYS] = {RL_STR_INIT("type"), RL_STR_INIT("response")};
	struct rl_json_span spans[N_KEYS];

	(void)op, (void)form; /* every event has a number of its own: no two are of one form */
	*out = (struct rl_glance){.content = false};
	if (rl_str_eq(data, RL_STR("[DONE]"))) { /* some compatible servers send it all the same */
		out->done = true;
		return RL_OK;
	}
	if (rl_json_scan(data, names, N_KEYS, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	rl_str type = rl_json_span_text(data, &spans[TYPE]), response = rl_json_span_text(data, &spans[RESPONSE]);

	type = type.n > 2 && spans[TYPE].type == RL_JSON_STRING ? rl_str_sub(type, 1, type.n - 2) : event_name;
	if (rl_str_eq(type, RL_STR("response.completed")) || rl_str_eq(type, RL_STR("response.incomplete"))) {
		glance_response(response, out);
		out->done = true;
	} else if (rl_str_eq(type, RL_STR("response.failed"))) {
		set_error(response.n ? response : data, out);
	} else if (rl_str_eq(type, RL_STR("error"))) {
		set_error(data, out);
	} else {
		/* A delta, or a part that came whole; what announces one carries nothing yet. */
		out->content = ends_in(type, RL_STR(".delta")) || ends_in(type, RL_STR(".done"));
	}
	return RL_OK;
}

static enum rl_err glance_answer(enum rl_operation op, rl_str body, struct rl_glance *out)
{
	enum { ERROR, OUTPUT, INPUT_TOKENS, N_KEYS };
	static const rl_str names[N_KEYS] = {RL_STR_INIT("error"), RL_STR_INIT("output"), RL_STR_INIT("input_tokens")};
	struct rl_json_span spans[N_KEYS];

	*out = (struct rl_glance){.content = false};
	if (rl_json_scan(body, names, N_KEYS, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	if (is_error(rl_json_span_text(body, &spans[ERROR]))) {
		set_error(body, out);
		return RL_OK;
	}
	if (op == RL_OP_COUNT_TOKENS) {
		if (spans[INPUT_TOKENS].type != RL_JSON_NUMBER)
			return RL_ERR_SYNTAX;
		out->content = out->finish = true;
		return RL_OK;
	}
	if (spans[OUTPUT].type != RL_JSON_ARRAY)
		return RL_ERR_SYNTAX;
	out->content = true;
	glance_response(body, out);
	return RL_OK;
}

/* --- errors --- */

static enum rl_fault_class classify(uint16_t status, rl_str body)
{
	return rl_dialect_openai.classify(status, body);
}

static rl_str error_text(rl_str body, struct rl_arena *arena)
{
	return rl_dialect_openai.error_text(body, arena);
}

static rl_str word_in(rl_str object, rl_str key, struct rl_arena *arena)
{
	rl_str value = rl_responses_member(object, key), text = {NULL, 0};

	if (rl_json_type_of(value) != RL_JSON_STRING || value.n > WORD_MAX_BYTES ||
	    rl_json_unescape(value, arena, &text))
		text = rl_str_make(NULL, 0);
	return text;
}

/* {"type":"error","code",...}, {"type":"error","error":{...}} or a response with its `error`: all are seen. */
void rl_responses_read_error(rl_str object, struct rl_arena *arena, struct rl_fault *out)
{
	rl_str error = rl_responses_member(object, RL_STR("error"));

	*out = (struct rl_fault){.cls = rl_dialect_openai.classify(200, object), .retry_after_s = -1};
	out->status = rl_border_status_of_class(out->cls);
	out->message = rl_dialect_openai.error_text(object, arena);
	if (!out->message.n)
		out->message = RL_STR("The provider reported an error in the stream.");
	if (rl_json_type_of(error) == RL_JSON_OBJECT) {
		out->code = word_in(error, RL_STR("code"), arena);
		out->type = word_in(error, RL_STR("type"), arena);
	} else {
		out->code = word_in(object, RL_STR("code"), arena);
	}
}

static void write_error(const struct rl_fault *fault, struct rl_buf *out)
{
	rl_dialect_openai.write_error(fault, out);
}

/*
 * The members of the event as the SDKs type them, and beside them the object that the wire has: some clients look for
 * the one and some for the other. Its number in the stream is not known here.
 */
static void write_stream_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0");
	rl_build_text(out, "code", rl_responses_error_code(fault));
	rl_build_text(out, "message", fault->message);
	rl_build_text_or_null(out, "param", fault->param);
	RL_BUF_LIT(out, ",\"error\":{");
	rl_build_text(out, "type", fault->type.n ? fault->type : rl_responses_error_code(fault));
	rl_build_text(out, "code", rl_responses_error_code(fault));
	rl_build_text(out, "message", fault->message);
	rl_build_text_or_null(out, "param", fault->param);
	RL_BUF_LIT(out, "}}\n\n");
}

/* --- lists of models --- */

static void write_models(const struct rl_model_line *models, size_t n, struct rl_buf *out)
{
	rl_dialect_openai.write_models(models, n, out);
}

static void write_model(const struct rl_model_line *model, struct rl_buf *out)
{
	rl_dialect_openai.write_model(model, out);
}

static enum rl_err read_models(rl_str body, struct rl_arena *arena, rl_str **ids, size_t *n)
{
	return rl_dialect_openai.read_models(body, arena, ids, n);
}

extern const struct rl_dialect rl_dialect_responses;

const struct rl_dialect rl_dialect_responses = {
	.name = RL_STR_INIT(RL_RESPONSES_NAME),
	.family = RL_STR_INIT(RL_RESPONSES_FAMILY),
	.framing = RL_FRAMING_SSE,
	.path = path,
	.read_envelope = read_envelope,
	.edit_body = rl_border_edit_body,
	.glance_event = glance_event,
	.glance_answer = glance_answer,
	.classify = classify,
	.error_text = error_text,
	.write_error = write_error,
	.write_stream_error = write_stream_error,
	.write_models = write_models,
	.write_model = write_model,
	.read_models = read_models,
	.parse_request = rl_responses_parse_request,
	.write_response = rl_responses_write_response,
	.encode_event = rl_responses_encode_event,
	.encoder_bytes = RL_RESPONSES_ENCODER_BYTES,
	.encoder_fini = rl_responses_encoder_fini,
	.write_request = rl_responses_write_request,
	.parse_response = rl_responses_parse_response,
	.decoder_bytes = RL_RESPONSES_DECODER_BYTES,
	.decode_event = rl_responses_decode_event,
};
