/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to bodies of the Responses API: a request with its tools and settings, and
 * the object around an answer, which repeats the settings of its request.
 */
#include "responses/responses_write_priv.h"

#include <assert.h>

/* The API refuses less. */
#define MIN_OUTPUT_TOKENS 16

/* --- conversations --- */

static void write_input(struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	const struct rl_message *messages = request->messages;
	size_t first = request->instructions && request->n_messages ? 1 : 0;
	struct rl_buf *out = w->out;
	char where[48];

	if (first && messages[0].n_parts && messages[0].parts[0].kind == RL_PART_TEXT)
		rl_build_text(out, "instructions", messages[0].parts[0].text);
	rl_build_key(out, "input");
	if (request->single_input && request->n_messages == first + 1 && messages[first].n_parts == 1 &&
	    rl_responses_is_plain(w, messages[first].parts, 1)) {
		rl_buf_json(out, messages[first].parts[0].text);
		return;
	}
	RL_BUF_LIT(out, "[");
	for (size_t i = first; i < request->n_messages; i++) {
		snprintf(where, sizeof where, "messages[%zu]", i);
		rl_responses_write_items(w, &messages[i], where);
	}
	RL_BUF_LIT(out, "]");
}

/* --- tools --- */

/* The grammar of a custom tool, which chat completions have one level deeper. */
static void write_tool_format(struct rl_buf *out, rl_str format)
{
	rl_str grammar = rl_responses_member(format, RL_STR("grammar")), key, value;
	struct rl_json_iter iter;

	if (rl_json_type_of(grammar) != RL_JSON_OBJECT) {
		rl_build_raw(out, "format", format);
		return;
	}
	rl_build_key(out, "format");
	RL_BUF_LIT(out, "{\"type\":\"grammar\"");
	rl_json_iter_object(&iter, grammar);
	while (rl_json_iter_member(&iter, &key, &value))
		rl_build_extras(out, (struct rl_extras){&(struct rl_extra){key, value}, 1});
	RL_BUF_LIT(out, "}");
}

static void write_tool(const struct rl_responses_writer *w, const struct rl_tool *tool, const char *where)
{
	struct rl_buf *out = w->out;
	bool custom = tool->kind == RL_TOOL_KIND_CUSTOM;

	if (tool->kind == RL_TOOL_KIND_HOSTED) {
		if (!w->ours) {
			rl_responses_refuse(w, where, "a tool that another provider runs");
			return;
		}
		rl_build_comma(out);
		rl_buf_add(out, tool->json);
		return;
	}
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "type", custom ? RL_STR("custom") : RL_STR("function"));
	rl_build_text(out, "name", tool->name);
	said(out, "description", tool->description);
	if (custom && tool->format.n)
		write_tool_format(out, tool->format);
	if (!custom && (tool->schema.n || !w->ours))
		rl_build_raw(out, "parameters",
			     tool->schema.n ? tool->schema : RL_STR("{\"type\":\"object\",\"properties\":{}}"));
	/* Strict is what this API is unless told otherwise, and no other one: it would change the schema. */
	if (!custom && (tool->strict || !w->ours))
		boolean(out, "strict", tool->strict == RL_YES);
	extras(w, where, tool->extras);
	extras(w, where, tool->inner);
	if (tool->cache.set)
		DROP(w, "%s.cache", where);
	RL_BUF_LIT(out, "}");
}

static void write_tool_list(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	char where[32];

	rl_build_key(w->out, "tools");
	RL_BUF_LIT(w->out, "[");
	for (size_t i = 0; i < request->n_tools; i++) {
		snprintf(where, sizeof where, "tools[%zu]", i);
		write_tool(w, &request->tools[i], where);
	}
	RL_BUF_LIT(w->out, "]");
}

static void write_named(struct rl_buf *out, rl_str name, enum rl_tool_kind kind)
{
	rl_build_comma(out);
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "type", kind == RL_TOOL_KIND_CUSTOM ? RL_STR("custom") : RL_STR("function"));
	rl_build_text(out, "name", name);
	RL_BUF_LIT(out, "}");
}

static enum rl_tool_kind kind_named(const struct rl_chat_request *request, rl_str name)
{
	for (size_t i = 0; i < request->n_tools; i++)
		if (rl_str_eq(request->tools[i].name, name))
			return request->tools[i].kind;
	return RL_TOOL_KIND_FUNCTION;
}

static void write_tool_choice(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	static const rl_str modes[] = {
		[RL_TOOL_CHOICE_NONE] = RL_STR_INIT("none"),
		[RL_TOOL_CHOICE_AUTO] = RL_STR_INIT("auto"),
		[RL_TOOL_CHOICE_REQUIRED] = RL_STR_INIT("required"),
	};
	const struct rl_tool_choice *choice = &request->tool_choice;
	struct rl_buf *out = w->out;

	if (choice->mode == RL_TOOL_CHOICE_UNSAID)
		return;
	if (choice->mode == RL_TOOL_CHOICE_RAW && !w->ours) {
		rl_responses_refuse(w, "tool_choice", "this choice of a tool");
		return;
	}
	bool forced = choice->mode == RL_TOOL_CHOICE_NAMED || choice->mode == RL_TOOL_CHOICE_REQUIRED;

	if (forced && quirk(w, RL_QUIRK_NO_TOOL_CHOICE))
		rl_responses_refuse(w, "tool_choice", "being told to use a tool");
	rl_build_key(out, "tool_choice");
	if (choice->mode == RL_TOOL_CHOICE_NAMED) {
		write_named(out, choice->names[0], choice->kind);
	} else if (choice->json.n && w->ours) {
		rl_buf_add(out, choice->json);
	} else if (choice->n_names) {
		RL_BUF_LIT(out, "{\"type\":\"allowed_tools\"");
		rl_build_text(out, "mode", modes[choice->mode]);
		RL_BUF_LIT(out, ",\"tools\":[");
		for (size_t i = 0; i < choice->n_names; i++)
			write_named(out, choice->names[i], kind_named(request, choice->names[i]));
		RL_BUF_LIT(out, "]}");
	} else {
		rl_buf_json(out, modes[choice->mode]);
	}
}

/* --- settings --- */

/*
 * The extras below a prefix ("reasoning.", "text.") as members of the object that is open. Chat completions have
 * `verbosity` at the top.
 */
static void write_hoisted(const struct rl_responses_writer *w, const struct rl_chat_request *request,
			  const char *prefix)
{
	rl_str start = rl_str_of(prefix);

	for (size_t i = 0; w->ours && i < request->extras.n; i++) {
		rl_str key = request->extras.v[i].key;

		if (!rl_str_starts(rl_str_sub(key, 1, SIZE_MAX), start))
			continue;
		rl_build_comma(w->out);
		RL_BUF_LIT(w->out, "\"");
		rl_buf_add(w->out, rl_str_sub(key, 1 + start.n, SIZE_MAX));
		RL_BUF_LIT(w->out, ":");
		rl_buf_add(w->out, request->extras.v[i].json);
	}
}

static rl_str extra_of(const struct rl_chat_request *request, const char *name)
{
	for (size_t i = 0; i < request->extras.n; i++)
		if (rl_json_string_is(request->extras.v[i].key, rl_str_of(name)))
			return request->extras.v[i].json;
	return rl_str_make(NULL, 0);
}

static void write_format(const struct rl_responses_writer *w, const struct rl_format *format)
{
	struct rl_buf *out = w->out;

	if (format->kind == RL_FORMAT_RAW && !w->ours) {
		rl_responses_refuse(w, "response_format", "this form of an answer");
		return;
	}
	rl_build_key(out, "format");
	switch (format->kind) {
	case RL_FORMAT_RAW:
		rl_buf_add(out, format->json);
		return;
	case RL_FORMAT_SCHEMA:
		if (quirk(w, RL_QUIRK_NO_SCHEMA))
			rl_responses_refuse(w, "response_format", "a schema for the answer");
		RL_BUF_LIT(out, "{\"type\":\"json_schema\"");
		/* The API wants a name; dialects without one still have a schema. */
		rl_build_text(out, "name", format->name.n ? format->name : RL_STR("response"));
		said(out, "description", format->description);
		raw_if(out, "schema", format->schema);
		if (format->strict)
			boolean(out, "strict", format->strict == RL_YES);
		break;
	default:
		RL_BUF_LIT(out, "{");
		rl_build_text(out, "type", format->kind == RL_FORMAT_JSON ? RL_STR("json_object") : RL_STR("text"));
	}
	extras(w, "response_format", format->extras);
	RL_BUF_LIT(out, "}");
}

static void write_text_settings(const struct rl_responses_writer *w, const struct rl_chat_request *request, bool always)
{
	struct rl_buf *out = w->out;
	rl_str verbosity = w->related ? extra_of(request, "verbosity") : rl_str_make(NULL, 0);
	bool hoisted = false;

	for (size_t i = 0; w->ours && i < request->extras.n; i++)
		hoisted |= rl_str_starts(request->extras.v[i].key, RL_STR("\"text."));
	if (!request->format.kind && !verbosity.n && !hoisted && !always)
		return;
	rl_build_key(out, "text");
	RL_BUF_LIT(out, "{");
	if (request->format.kind || always)
		write_format(w, &request->format);
	raw_if(out, "verbosity", verbosity);
	write_hoisted(w, request, "text.");
	RL_BUF_LIT(out, "}");
}

/* How much thought a budget of tokens is: by convention (DIALECTS 2.6), since no provider says it. */
static rl_str effort_of(const struct rl_chat_request *request)
{
	if (request->effort.n)
		return request->effort;
	if (request->reasoning == RL_NO || request->reasoning_budget == 0)
		return RL_STR("none");
	if (request->reasoning_budget > 0)
		return request->reasoning_budget <= 2048   ? RL_STR("low")
		       : request->reasoning_budget <= 8192 ? RL_STR("medium")
							   : RL_STR("high");
	return rl_str_make(NULL, 0);
}

static bool any_hoisted(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	for (size_t i = 0; w->ours && i < request->extras.n; i++)
		if (rl_str_starts(request->extras.v[i].key, RL_STR("\"reasoning.")))
			return true;
	return false;
}

static void write_reasoning_settings(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	rl_str effort = effort_of(request), summary = request->summary;
	struct rl_buf *out = w->out;

	if (!summary.n && request->reasoning_shown == RL_YES)
		summary = RL_STR("auto");
	if (!effort.n && !summary.n && !any_hoisted(w, request))
		return;
	rl_build_key(out, "reasoning");
	RL_BUF_LIT(out, "{");
	if (effort.n)
		rl_build_text(out, "effort", effort);
	if (summary.n)
		rl_build_text(out, "summary", summary);
	write_hoisted(w, request, "reasoning.");
	RL_BUF_LIT(out, "}");
}

/* Settings that OpenAI's other dialect has by the same names and with the same meaning. */
static bool is_shared(rl_str key)
{
	static const char *const names[] = {
		"metadata",
		"store",
		"service_tier",
		"prompt_cache_key",
		"prompt_cache_options",
		"prompt_cache_retention",
		"safety_identifier",
		"moderation",
		"verbosity",
	};

	return rl_table_word(key, names, RL_N_FIELDS(names)) > 0;
}

static bool is_hoisted(rl_str key)
{
	return rl_str_starts(key, RL_STR("\"text.")) || rl_str_starts(key, RL_STR("\"reasoning."));
}

static void write_extras(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	for (size_t i = 0; i < request->extras.n; i++) {
		struct rl_extras one = {&request->extras.v[i], 1};

		if (w->ours ? is_hoisted(one.v->key) || rl_json_string_is(one.v->key, RL_STR("include"))
			    : w->related && rl_json_string_is(one.v->key, RL_STR("verbosity")))
			continue;
		if (w->ours || (w->related && is_shared(one.v->key)))
			rl_build_extras(w->out, one);
		else if (rl_json_type_of(one.v->json) != RL_JSON_NULL)
			extras(w, "", one);
	}
}

static void write_limit(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	int64_t limit = request->max_completion_tokens;

	if (limit == RL_UNSET || (request->max_tokens != RL_UNSET && request->max_tokens < limit))
		limit = request->max_tokens;
	if (limit == RL_UNSET)
		return;
	if (limit < MIN_OUTPUT_TOKENS && !w->ours) {
		limit = MIN_OUTPUT_TOKENS;
		DROP(w, request->max_tokens != RL_UNSET ? "max_tokens" : "max_completion_tokens");
	}
	rl_build_int(w->out, "max_output_tokens", limit);
}

/* What this API has no word for. */
static void drop_sampling(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	if (request->n > 1)
		rl_responses_refuse(w, "n", "more than one answer");
	if (request->n_stop)
		DROP(w, "stop");
	if (request->seed.n)
		DROP(w, "seed");
	if (request->top_k.n)
		DROP(w, "top_k");
	if (request->frequency_penalty.n)
		DROP(w, "frequency_penalty");
	if (request->presence_penalty.n)
		DROP(w, "presence_penalty");
	if (request->cache.set)
		DROP(w, "cache");
}

static void write_sampling(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	struct rl_buf *out = w->out;

	write_limit(w, request);
	if (quirk(w, RL_QUIRK_NO_SAMPLING)) {
		if (request->temperature.n)
			DROP(w, "temperature");
		if (request->top_p.n)
			DROP(w, "top_p");
	} else {
		raw_if(out, "temperature", request->temperature);
		raw_if(out, "top_p", request->top_p);
	}
	if (quirk(w, RL_QUIRK_NO_LOGPROBS)) {
		if (request->top_logprobs != RL_UNSET)
			DROP(w, "top_logprobs");
	} else if (request->top_logprobs != RL_UNSET) {
		rl_build_int(out, "top_logprobs", request->top_logprobs);
	}
	drop_sampling(w, request);
}

/* Thoughts that came sealed are going to be wanted sealed again. */
static bool wants_seals(const struct rl_chat_request *request)
{
	rl_str effort = effort_of(request);

	if (request->reasoning_sealed || rl_responses_ours(request->dialect))
		return request->reasoning_sealed == RL_YES;
	return (effort.n && !rl_str_eq(effort, RL_STR("none"))) || request->reasoning == RL_YES ||
	       request->reasoning_shown == RL_YES;
}

static void write_include(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	rl_str own = w->ours ? extra_of(request, "include") : rl_str_make(NULL, 0);
	bool seals = wants_seals(request);
	bool logprobs = request->logprobs == RL_YES && !quirk(w, RL_QUIRK_NO_LOGPROBS);
	struct rl_buf *out = w->out;

	if (own.n) {
		rl_build_raw(out, "include", own);
		return;
	}
	if (request->logprobs == RL_YES && !logprobs)
		DROP(w, "logprobs");
	if (!seals && !logprobs)
		return;
	rl_build_key(out, "include");
	RL_BUF_LIT(out, "[");
	if (seals)
		RL_BUF_LIT(out, "\"reasoning.encrypted_content\"");
	if (logprobs) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "\"message.output_text.logprobs\"");
	}
	RL_BUF_LIT(out, "]");
}

static void write_stream(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	if (!request->stream)
		return;
	boolean(w->out, "stream", true);
	if (!request->stream_extras.n)
		return;
	if (!w->ours && !w->related) {
		extras(w, "stream_options", request->stream_extras);
		return;
	}
	rl_build_key(w->out, "stream_options");
	RL_BUF_LIT(w->out, "{");
	rl_build_extras(w->out, request->stream_extras);
	RL_BUF_LIT(w->out, "}");
}

/* The gateway keeps nothing, and lets no provider keep what its client did not ask to have kept. */
static void write_store(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	if (request->no_store || (!w->ours && !(w->related && extra_of(request, "store").n)))
		boolean(w->out, "store", false);
}

static struct rl_responses_writer writer_for(const struct rl_chat_request *request, struct rl_translation *t,
					     struct rl_buf *out)
{
	return (struct rl_responses_writer){.out = out,
					    .t = t,
					    .ours = rl_responses_ours(request->dialect),
					    .related = rl_str_eq(request->dialect, RL_STR(RL_RESPONSES_FAMILY))};
}

void rl_responses_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
				struct rl_buf *out)
{
	struct rl_responses_writer w = writer_for(request, t, out);

	RL_BUF_LIT(out, "{");
	rl_build_text(out, "model", request->model);
	write_input(&w, request);
	/* An empty list is an error to some servers. */
	if (request->n_tools)
		write_tool_list(&w, request);
	write_tool_choice(&w, request);
	if (request->parallel_tool_calls)
		boolean(out, "parallel_tool_calls", request->parallel_tool_calls == RL_YES);
	write_text_settings(&w, request, false);
	write_reasoning_settings(&w, request);
	if (op != RL_OP_COUNT_TOKENS) { /* what is only counted has no answer */
		write_sampling(&w, request);
		write_include(&w, request);
		write_store(&w, request);
		write_stream(&w, request);
		said(out, "user", request->user);
		write_extras(&w, request);
	}
	RL_BUF_LIT(out, "}");
}

/* --- answers --- */

void rl_responses_write_usage(const struct rl_usage *usage, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	rl_build_key(out, "input_tokens");
	rl_buf_u64(out, usage->prompt_tokens);
	RL_BUF_LIT(out, ",\"input_tokens_details\":{");
	rl_build_key(out, "cached_tokens");
	rl_buf_u64(out, usage->cached_tokens);
	rl_build_key(out, "cache_write_tokens");
	rl_buf_u64(out, usage->cache_write_tokens);
	RL_BUF_LIT(out, "}");
	rl_build_key(out, "output_tokens");
	rl_buf_u64(out, usage->completion_tokens);
	RL_BUF_LIT(out, ",\"output_tokens_details\":{");
	rl_build_key(out, "reasoning_tokens");
	rl_buf_u64(out, usage->reasoning_tokens);
	RL_BUF_LIT(out, "}");
	rl_build_key(out, "total_tokens");
	rl_buf_u64(out, usage->prompt_tokens + usage->completion_tokens);
	RL_BUF_LIT(out, "}");
}

const char *rl_responses_status(enum rl_finish finish, rl_str *reason)
{
	*reason = rl_str_make(NULL, 0);
	switch (finish) {
	case RL_FINISH_LENGTH:
		*reason = RL_STR("max_output_tokens");
		return "incomplete";
	case RL_FINISH_CONTENT_FILTER:
		*reason = RL_STR("content_filter");
		return "incomplete";
	case RL_FINISH_ERROR:
		return "failed";
	default:
		return "completed";
	}
}

rl_str rl_responses_error_code(const struct rl_fault *fault)
{
	if (fault->code.n)
		return fault->code;
	switch (fault->cls) {
	case RL_FAULT_RATE_LIMIT:
		return RL_STR("rate_limit_exceeded");
	case RL_FAULT_QUOTA:
		return RL_STR("insufficient_quota");
	case RL_FAULT_CONTEXT_LENGTH:
		return RL_STR("context_length_exceeded");
	case RL_FAULT_CONTENT_FILTER:
	case RL_FAULT_BAD_REQUEST:
		return RL_STR("invalid_prompt");
	default:
		return RL_STR("server_error");
	}
}

/* A setting of the request that no field holds: as it was sent, if the words are the same; else what is usual. */
static void echo_extra(const struct rl_responses_writer *w, const struct rl_chat_request *request, const char *key,
		       const char *usual)
{
	rl_str value = w->ours || w->related ? extra_of(request, key) : rl_str_make(NULL, 0);

	rl_build_raw(w->out, key, value.n ? value : rl_str_of(usual));
}

static void echo_int(struct rl_buf *out, const char *key, int64_t value)
{
	if (value == RL_UNSET)
		rl_build_raw(out, key, RL_STR("null"));
	else
		rl_build_int(out, key, value);
}

static void echo_instructions(const struct rl_chat_request *request, struct rl_buf *out)
{
	if (request->instructions && request->n_messages && request->messages[0].n_parts &&
	    request->messages[0].parts[0].kind == RL_PART_TEXT)
		rl_build_text(out, "instructions", request->messages[0].parts[0].text);
	else
		rl_build_raw(out, "instructions", RL_STR("null"));
}

static void echo_reasoning(const struct rl_responses_writer *w, const struct rl_chat_request *request)
{
	RL_BUF_LIT(w->out, ",\"reasoning\":{");
	rl_build_text_or_null(w->out, "effort", request->effort);
	rl_build_text_or_null(w->out, "summary", request->summary);
	write_hoisted(w, request, "reasoning.");
	RL_BUF_LIT(w->out, "}");
}

void rl_responses_write_echo(const struct rl_chat_request *request, struct rl_buf *out)
{
	static const struct rl_chat_request nothing = {.max_completion_tokens = RL_UNSET, .top_logprobs = RL_UNSET};
	struct rl_responses_writer w;

	if (!request)
		request = &nothing;
	w = writer_for(request, NULL, out);
	rl_build_raw(out, "background", RL_STR("false"));
	echo_instructions(request, out);
	echo_int(out, "max_output_tokens", request->max_completion_tokens);
	echo_extra(&w, request, "max_tool_calls", "null");
	boolean(out, "parallel_tool_calls", request->parallel_tool_calls != RL_NO);
	rl_build_raw(out, "previous_response_id", RL_STR("null"));
	echo_extra(&w, request, "prompt_cache_key", "null");
	echo_reasoning(&w, request);
	echo_extra(&w, request, "safety_identifier", "null");
	echo_extra(&w, request, "service_tier", "\"default\"");
	rl_build_raw(out, "store", RL_STR("false")); /* whatever was asked: nobody keeps it here */
	raw_or_null(out, "temperature", request->temperature);
	write_text_settings(&w, request, true);
	if (request->tool_choice.mode)
		write_tool_choice(&w, request);
	else
		rl_build_raw(out, "tool_choice", RL_STR("\"auto\""));
	write_tool_list(&w, request);
	rl_build_int(out, "top_logprobs", request->top_logprobs == RL_UNSET ? 0 : request->top_logprobs);
	raw_or_null(out, "top_p", request->top_p);
	echo_extra(&w, request, "truncation", "\"disabled\"");
	rl_build_text_or_null(out, "user", request->user);
	echo_extra(&w, request, "metadata", "{}");
}

void rl_responses_write_shell(const struct rl_responses_shell *shell, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{");
	rl_build_text(out, "id", shell->id);
	rl_build_text(out, "object", RL_STR("response"));
	rl_build_int(out, "created_at", shell->created);
	rl_build_text(out, "status", rl_str_of(shell->status));
	rl_build_text(out, "model", shell->model);
	if (shell->fault) {
		RL_BUF_LIT(out, ",\"error\":{");
		rl_build_text(out, "code", rl_responses_error_code(shell->fault));
		rl_build_text(out, "message", shell->fault->message);
		RL_BUF_LIT(out, "}");
	} else {
		rl_build_raw(out, "error", RL_STR("null"));
	}
	if (shell->reason.n) {
		RL_BUF_LIT(out, ",\"incomplete_details\":{");
		rl_build_text(out, "reason", shell->reason);
		RL_BUF_LIT(out, "}");
	} else {
		rl_build_raw(out, "incomplete_details", RL_STR("null"));
	}
	RL_BUF_LIT(out, ",\"output\":[");
	rl_buf_add(out, shell->output);
	RL_BUF_LIT(out, "]");
	raw_or_null(out, "usage", shell->usage);
	if (shell->echo.n) {
		rl_build_comma(out);
		rl_buf_add(out, shell->echo);
	} else {
		rl_responses_write_echo(shell->request, out);
	}
	RL_BUF_LIT(out, "}");
}

/* --- whole answers --- */

rl_str rl_responses_logprobs(rl_str logprobs, rl_str dialect)
{
	if (rl_json_type_of(logprobs) == RL_JSON_OBJECT && rl_str_eq(dialect, RL_STR(RL_RESPONSES_FAMILY)))
		logprobs = rl_responses_member(logprobs, RL_STR("content"));
	else if (!rl_responses_ours(dialect))
		logprobs = rl_str_make(NULL, 0);
	return rl_json_type_of(logprobs) == RL_JSON_ARRAY ? logprobs : rl_str_make(NULL, 0);
}

/* Members that the shell writes itself. */
static bool is_of_shell(rl_str key)
{
	return rl_json_string_is(key, RL_STR("error")) || rl_json_string_is(key, RL_STR("incomplete_details"));
}

static void own_members(struct rl_extras list, struct rl_buf *out)
{
	for (size_t i = 0; i < list.n; i++)
		if (!is_of_shell(list.v[i].key))
			rl_build_extras(out, (struct rl_extras){&list.v[i], 1});
}

static void write_output(struct rl_responses_writer *w, const struct rl_chat_response *response,
			 const struct rl_choice *choice)
{
	if (!choice)
		return;
	w->logprobs = rl_responses_logprobs(choice->logprobs, response->dialect);
	if (choice->logprobs.n && !w->logprobs.n)
		DROP(w, "logprobs");
	rl_responses_write_items(w, &choice->message, "answer");
	if (response->n_choices > 1)
		DROP(w, "choices");
	extras(w, "answer", choice->extras);
}

/* A state in which no answer of the gateway's own is; else the word is why the answer is incomplete. */
static void set_own_status(struct rl_responses_shell *shell, rl_str word)
{
	static const char *const states[] = {"cancelled", "queued", "in_progress"};

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		if (rl_str_eq(word, rl_str_of(states[i]))) {
			shell->status = states[i];
			return;
		}
	}
	shell->status = "incomplete";
	shell->reason = word;
}

static void write_count(const struct rl_chat_response *response, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"object\":\"response.input_tokens\"");
	rl_build_key(out, "input_tokens");
	rl_buf_u64(out, response->usage.prompt_tokens);
	RL_BUF_LIT(out, "}");
}

void rl_responses_write_response(enum rl_operation op, const struct rl_chat_response *response,
				 struct rl_translation *t, struct rl_buf *out)
{
	const struct rl_choice *choice = response->n_choices ? response->choices : NULL;
	enum rl_finish finish = choice ? choice->finish : RL_FINISH_STOP;
	struct rl_buf output, usage, echo;
	struct rl_responses_writer w = {.out = &output,
					.t = t,
					.ours = rl_responses_ours(response->dialect),
					.answer = true,
					.answer_id = response->id};
	struct rl_fault failed = {.message = RL_STR("The model failed to answer.")};

	if (op == RL_OP_COUNT_TOKENS) {
		write_count(response, out);
		return;
	}
	/* They are put together inside of the answer, which has the bound. */
	rl_buf_init(&output, out->max_bytes);
	rl_buf_init(&usage, out->max_bytes);
	rl_buf_init(&echo, out->max_bytes);
	write_output(&w, response, choice);
	if (w.ours && response->usage_json.n)
		rl_buf_add(&usage, response->usage_json);
	else if (response->usage.known)
		rl_responses_write_usage(&response->usage, &usage);
	if (w.ours) {
		own_members(response->echo, &echo);
		own_members(response->extras, &echo);
	} else {
		rl_drop_extras(t, "", response->extras);
	}
	struct rl_responses_shell shell = {.id = response->id,
					   .model = response->model,
					   .created = response->created,
					   .output = rl_buf_str(&output),
					   .usage = rl_buf_str(&usage),
					   .echo = rl_buf_str(&echo),
					   .fault = finish == RL_FINISH_ERROR ? &failed : NULL,
					   .request = response->request};

	shell.status = rl_responses_status(finish, &shell.reason);
	if (w.ours && choice && finish == RL_FINISH_OTHER)
		set_own_status(&shell, choice->finish_word);
	rl_responses_write_shell(&shell, out);
	if (!rl_buf_ok(&output) || !rl_buf_ok(&usage) || !rl_buf_ok(&echo))
		out->failed = true;
	rl_buf_fini(&output);
	rl_buf_fini(&usage);
	rl_buf_fini(&echo);
}
