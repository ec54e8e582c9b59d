/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Responses API where its bodies pass through: which requests hang on state that
 * a provider keeps, what an event of its streams says, and the usage object that it
 * shares with images, audio and moderations.
 *
 * Its events carry their kind twice, as SSE event and as `type`; there is no [DONE]:
 * response.completed, .incomplete or .failed is the last event.
 */
#include "dialect/openai_priv.h"

bool rl_openai_response_is_stateful(rl_str body)
{
	enum { PREVIOUS, CONVERSATION, BACKGROUND, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("previous_response_id"),
		RL_STR_INIT("conversation"),
		RL_STR_INIT("background"),
	};
	struct rl_json_span spans[N_KEYS];

	rl_json_find(body, keys, N_KEYS, spans);
	return spans[PREVIOUS].type == RL_JSON_STRING || spans[CONVERSATION].type > RL_JSON_NULL ||
	       spans[BACKGROUND].type == RL_JSON_TRUE;
}

static uint64_t number_in(rl_str object, rl_str key)
{
	struct rl_json_span span;
	uint64_t n = 0;

	rl_json_find(object, &key, 1, &span);
	return rl_json_u64(rl_json_span_text(object, &span), &n) ? n : 0;
}

void rl_openai_read_input_usage(rl_str object, struct rl_usage *out)
{
	enum { INPUT, OUTPUT, INPUT_DETAILS, OUTPUT_DETAILS, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("input_tokens"),
		RL_STR_INIT("output_tokens"),
		RL_STR_INIT("input_tokens_details"),
		RL_STR_INIT("output_tokens_details"),
	};
	struct rl_json_span spans[N_KEYS];
	struct rl_usage usage = {.known = true};

	rl_json_find(object, keys, N_KEYS, spans);
	bool input = rl_json_u64(rl_json_span_text(object, &spans[INPUT]), &usage.prompt_tokens);
	bool output = rl_json_u64(rl_json_span_text(object, &spans[OUTPUT]), &usage.completion_tokens);

	if (!input && !output)
		return;
	if (spans[INPUT_DETAILS].type == RL_JSON_OBJECT)
		usage.cached_tokens =
			number_in(rl_json_span_text(object, &spans[INPUT_DETAILS]), RL_STR("cached_tokens"));
	if (spans[OUTPUT_DETAILS].type == RL_JSON_OBJECT)
		usage.reasoning_tokens =
			number_in(rl_json_span_text(object, &spans[OUTPUT_DETAILS]), RL_STR("reasoning_tokens"));
	*out = usage;
}

/* The last event, which repeats the whole response. */
static void glance_ending(rl_str response, enum rl_finish reason, struct rl_glance *out)
{
	static const rl_str key = RL_STR_INIT("usage");
	struct rl_json_span usage;

	rl_json_find(response, &key, 1, &usage);
	if (usage.type == RL_JSON_OBJECT)
		rl_openai_read_usage(rl_json_span_text(response, &usage), &out->usage);
	out->finish = out->done = true;
	out->finish_reason = reason;
}

static bool ends_in(rl_str type, rl_str suffix)
{
	return type.n > suffix.n && rl_str_ends(type, suffix);
}

enum rl_err rl_openai_glance_response_event(rl_str event_name, rl_str data, struct rl_glance *out)
{
	enum { TYPE, RESPONSE, N_KEYS };
	static const rl_str keys[N_KEYS] = {RL_STR_INIT("type"), RL_STR_INIT("response")};
	struct rl_json_span spans[N_KEYS];

	*out = (struct rl_glance){.content = false};
	if (rl_str_eq(data, RL_STR("[DONE]"))) { /* some compatible servers send it all the same */
		out->done = true;
		return RL_OK;
	}
	if (rl_json_scan(data, keys, N_KEYS, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	rl_str type = rl_json_span_text(data, &spans[TYPE]), response = rl_json_span_text(data, &spans[RESPONSE]);

	type = type.n > 2 && spans[TYPE].type == RL_JSON_STRING ? rl_str_sub(type, 1, type.n - 2) : event_name;
	if (rl_str_eq(type, RL_STR("response.completed"))) {
		glance_ending(response, RL_FINISH_STOP, out);
	} else if (rl_str_eq(type, RL_STR("response.incomplete"))) {
		glance_ending(response, RL_FINISH_LENGTH, out);
	} else if (rl_str_eq(type, RL_STR("response.failed")) || rl_str_eq(type, RL_STR("error"))) {
		out->error = true;
		out->fault_class = rl_openai_classify(200, response.n ? response : data);
	} else {
		/* A delta, or a part that came whole; what announces one carries nothing yet. */
		out->content = ends_in(type, RL_STR(".delta")) || ends_in(type, RL_STR(".done"));
	}
	return RL_OK;
}
