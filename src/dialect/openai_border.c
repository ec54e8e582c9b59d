/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAI dialect where bodies pass through: one validating scan finds the few
 * members that the gateway reads or sets, and nothing is built or copied. This is
 * the hot path of every request and of every event of a stream.
 */
#include "dialect/openai_priv.h"

#include <assert.h>

#define WANT_USAGE "{\"include_usage\":true}"

/*
 * Members that the gateway decides by, now or in a policy. They may be there once
 * and in one spelling only, so that what was checked is what the provider reads.
 */
enum policy_key {
	K_MODEL,
	K_STREAM,
	K_STREAM_OPTIONS,
	K_MESSAGES,
	K_PROMPT,
	K_INPUT,
	K_MAX_TOKENS,
	K_MAX_COMPLETION_TOKENS,
	K_N,
	K_USER,
	K_TOOLS,
	K_FUNCTIONS,
	K_COUNT
};

static const rl_str policy_keys[K_COUNT] = {
	[K_MODEL] = RL_STR_INIT("model"),
	[K_STREAM] = RL_STR_INIT("stream"),
	[K_STREAM_OPTIONS] = RL_STR_INIT("stream_options"),
	[K_MESSAGES] = RL_STR_INIT("messages"),
	[K_PROMPT] = RL_STR_INIT("prompt"),
	[K_INPUT] = RL_STR_INIT("input"),
	[K_MAX_TOKENS] = RL_STR_INIT("max_tokens"),
	[K_MAX_COMPLETION_TOKENS] = RL_STR_INIT("max_completion_tokens"),
	[K_N] = RL_STR_INIT("n"),
	[K_USER] = RL_STR_INIT("user"),
	[K_TOOLS] = RL_STR_INIT("tools"),
	[K_FUNCTIONS] = RL_STR_INIT("functions"),
};

/* What a request of each operation must be about, and whether it may leave the choice of the model to the provider. */
#define IS(type) (1u << RL_JSON_##type)
static const struct {
	enum policy_key about; /* K_COUNT: nothing is asked for */
	unsigned types;        /* that it may have */
	const char *wanted;
	bool needs_model;
} rules[RL_OP_COUNT] = {
	[RL_OP_NONE] = {K_COUNT, 0, "", false},
	[RL_OP_CHAT] = {K_MESSAGES, IS(ARRAY), "an array", true},
	[RL_OP_COMPLETION] = {K_PROMPT, IS(ARRAY) | IS(STRING) | IS(NULL), "a string or an array", true},
	[RL_OP_EMBEDDING] = {K_INPUT, IS(ARRAY) | IS(STRING), "a string or an array", true},
	[RL_OP_MODELS] = {K_COUNT, 0, "", false},
	[RL_OP_MODERATION] = {K_INPUT, IS(ARRAY) | IS(STRING), "a string or an array", false},
	[RL_OP_IMAGE] = {K_PROMPT, IS(STRING), "a string", false},
	[RL_OP_SPEECH] = {K_INPUT, IS(STRING), "a string", true},
	[RL_OP_RESPONSE] = {K_INPUT, IS(ARRAY) | IS(STRING) | IS(NULL) | IS(NONE), "a string or an array", false},
	[RL_OP_PASS] = {K_COUNT, 0, "", false},
};

static const rl_str include_usage_key = RL_STR_INIT("include_usage");

/* The member that the operation is about: there, and of a type that it can have. */
static enum rl_err check_content(enum rl_operation op, const struct rl_json_span *spans, struct rl_arena *arena,
				 struct rl_fault *fault)
{
	enum policy_key key = rules[op].about;

	if (key == K_COUNT)
		return RL_OK;
	enum rl_json_type is = spans[key].type;

	if (rules[op].types & (1u << is))
		return RL_OK;
	if (is == RL_JSON_NONE)
		return rl_border_missing(arena, fault, policy_keys[key]);
	return rl_border_wrong_type(arena, fault, policy_keys[key], rules[op].wanted, is);
}

static enum rl_err read_stream(rl_str body, const struct rl_json_span *spans, struct rl_arena *arena,
			       struct rl_envelope *out, struct rl_fault *fault)
{
	const struct rl_json_span *stream = &spans[K_STREAM], *options = &spans[K_STREAM_OPTIONS];

	out->stream = stream->type == RL_JSON_TRUE;
	if (stream->type > RL_JSON_TRUE)
		return rl_border_wrong_type(arena, fault, policy_keys[K_STREAM], "true or false", stream->type);
	out->stream_options_span = *options;
	if (options->type == RL_JSON_NONE || options->type == RL_JSON_NULL)
		return RL_OK;
	if (options->type != RL_JSON_OBJECT)
		return rl_border_wrong_type(arena, fault, policy_keys[K_STREAM_OPTIONS], "an object", options->type);
	struct rl_json_span asked;

	rl_json_find(rl_json_span_text(body, options), &include_usage_key, 1, &asked);
	out->usage_asked = asked.type == RL_JSON_TRUE;
	return RL_OK;
}

enum rl_err rl_openai_read_envelope(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				    struct rl_fault *fault)
{
	struct rl_json_span spans[K_COUNT];
	struct rl_json_error error;

	assert(op != RL_OP_NONE && op != RL_OP_MODELS);
	*out = (struct rl_envelope){.stream = false};
	enum rl_err err = rl_json_scan(body, policy_keys, K_COUNT, RL_JSON_STRICT_KEYS, spans, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return err;
	}
	if (rl_json_type_of(body) != RL_JSON_OBJECT)
		return rl_border_refuse(fault, rl_str_make(NULL, 0), "invalid_type",
					RL_STR("The request body must be a JSON object."));
	if (op != RL_OP_PASS) /* there it is one word of many, and nothing is decided by it */
		err = rl_border_read_model(body, &spans[K_MODEL], rules[op].needs_model, arena, out, fault);
	if (!err)
		err = check_content(op, spans, arena, fault);
	if (!err)
		err = read_stream(body, spans, arena, out, fault);
	if (op == RL_OP_RESPONSE)
		out->stateful = rl_openai_response_is_stateful(body);
	return err;
}

/* Asks for usage at the end of the stream, in the client's stream_options if there are any. */
static enum rl_err ask_for_usage(rl_str body, const struct rl_envelope *env, struct rl_arena *arena,
				 struct rl_json_splice *splice)
{
	const struct rl_json_span *span = &env->stream_options_span;
	rl_str value = RL_STR(WANT_USAGE);

	if (span->type == RL_JSON_OBJECT) {
		rl_str options = rl_json_span_text(body, span);
		struct rl_json_splice inner;
		struct rl_json_span asked;

		rl_json_find(options, &include_usage_key, 1, &asked);
		rl_json_splice_init(&inner, options, arena);
		rl_json_splice_set(&inner, &asked, include_usage_key, RL_STR("true"));
		enum rl_err err = rl_json_splice_join(&inner, &value);

		if (err)
			return err;
	}
	rl_json_splice_set(splice, span, policy_keys[K_STREAM_OPTIONS], value);
	return RL_OK;
}

enum rl_err rl_openai_edit_body(rl_str body, const struct rl_envelope *env, const struct rl_edit *edit,
				struct rl_arena *arena, rl_str parts[RL_BODY_PARTS_MAX], size_t *n)
{
	bool rename = env->model.n && !rl_str_eq(env->model, edit->model);
	bool usage = edit->want_usage && env->stream && !env->usage_asked &&
		     !rl_border_configured(edit, policy_keys[K_STREAM_OPTIONS]);
	struct rl_json_splice splice;
	enum rl_err err = RL_OK;

	assert(!env->model.n || env->model_span.type == RL_JSON_STRING);
	if (!rename && !usage && !edit->n_set && !edit->n_remove) {
		parts[0] = body;
		*n = 1;
		return RL_OK;
	}
	rl_json_splice_init(&splice, body, arena);
	if (rename)
		err = rl_border_rename(env, edit, arena, &splice);
	if (!err && usage)
		err = ask_for_usage(body, env, arena, &splice);
	if (!err && (edit->n_set || edit->n_remove))
		err = rl_border_edit_configured(body, edit, &splice);
	return err ? err : rl_json_splice_parts(&splice, parts, n, NULL);
}

bool rl_openai_truthy(rl_str value)
{
	switch (rl_json_type_of(value)) {
	case RL_JSON_TRUE:
	case RL_JSON_OBJECT:
	case RL_JSON_ARRAY:
		return true;
	case RL_JSON_STRING:
		return value.n > 2;
	case RL_JSON_NUMBER:
		return !(value.n == 1 && value.p[0] == '0');
	default:
		return false;
	}
}

/* Whether a member of a delta or message carries something: text that is not empty, a list or object with something in it. */
static bool carries(rl_str value)
{
	switch (rl_json_type_of(value)) {
	case RL_JSON_STRING:
		return value.n > 2;
	case RL_JSON_ARRAY: {
		struct rl_json_iter iter;
		rl_str element;

		rl_json_iter_array(&iter, value);
		return rl_json_iter_next(&iter, &element);
	}
	case RL_JSON_OBJECT: {
		struct rl_json_iter iter;
		rl_str key, member;

		rl_json_iter_object(&iter, value);
		return rl_json_iter_member(&iter, &key, &member);
	}
	default:
		return false;
	}
}

/*
 * Members of a delta (and of a message) that a client would show or act on.
 * reasoning_content: DeepSeek, xAI, Moonshot, llama.cpp; reasoning: vLLM, Groq,
 * OpenRouter; reasoning_details, images: OpenRouter.
 */
static const rl_str content_keys[] = {
	RL_STR_INIT("content"),   RL_STR_INIT("tool_calls"),    RL_STR_INIT("refusal"),
	RL_STR_INIT("audio"),     RL_STR_INIT("function_call"), RL_STR_INIT("reasoning_content"),
	RL_STR_INIT("reasoning"), RL_STR_INIT("images"),        RL_STR_INIT("reasoning_details"),
};
#define N_CONTENT_KEYS (sizeof content_keys / sizeof content_keys[0])

/* Keys without escapes, which is all that are seen, cost a comparison; an escape makes a key longer than its name. */
static inline bool key_is(rl_str key, rl_str name)
{
	if (key.n == name.n + 2)
		return memcmp(key.p + 1, name.p, name.n) == 0;
	return key.n > name.n + 2 && memchr(key.p, '\\', key.n) && rl_json_string_is(key, name);
}

/* The first member that is content; empty: none. */
static rl_str content_of(rl_str message)
{
	struct rl_json_iter iter;
	rl_str key, value;

	rl_json_iter_object(&iter, message);
	while (rl_json_iter_member(&iter, &key, &value)) {
		/* Nothing and the empty string are most of what is not content: no need to look at the key. */
		if (value.n <= 2 || value.p[0] == 'n' || !carries(value))
			continue;
		for (size_t i = 0; i < N_CONTENT_KEYS; i++)
			if (key_is(key, content_keys[i]))
				return value;
	}
	return RL_STR("");
}

static void sum_details(rl_str details, rl_str key, uint64_t *out)
{
	struct rl_json_span span;

	rl_json_find(details, &key, 1, &span);
	rl_json_u64(rl_json_span_text(details, &span), out);
}

void rl_openai_read_usage(rl_str object, struct rl_usage *out)
{
	enum { PROMPT, COMPLETION, TOTAL, PROMPT_DETAILS, COMPLETION_DETAILS, CACHE_HIT, CACHED, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		RL_STR_INIT("prompt_tokens"),
		RL_STR_INIT("completion_tokens"),
		RL_STR_INIT("total_tokens"),
		RL_STR_INIT("prompt_tokens_details"),
		RL_STR_INIT("completion_tokens_details"),
		RL_STR_INIT("prompt_cache_hit_tokens"), /* DeepSeek */
		RL_STR_INIT("cached_tokens"),           /* Moonshot */
	};
	struct rl_json_span spans[N_KEYS];
	struct rl_usage usage = {.known = false};
	uint64_t total = 0;

	rl_json_find(object, keys, N_KEYS, spans);
	if (!spans[PROMPT].type && !spans[COMPLETION].type) {
		rl_openai_read_input_usage(object, out);
		return;
	}
	bool prompt = rl_json_u64(rl_json_span_text(object, &spans[PROMPT]), &usage.prompt_tokens);
	bool completion = rl_json_u64(rl_json_span_text(object, &spans[COMPLETION]), &usage.completion_tokens);

	if (!prompt && !completion)
		return;
	usage.known = true;
	if (spans[PROMPT_DETAILS].type == RL_JSON_OBJECT) {
		rl_str details = rl_json_span_text(object, &spans[PROMPT_DETAILS]);

		sum_details(details, RL_STR("cached_tokens"), &usage.cached_tokens);
		sum_details(details, RL_STR("cache_write_tokens"), &usage.cache_write_tokens);
	}
	if (spans[COMPLETION_DETAILS].type == RL_JSON_OBJECT)
		sum_details(rl_json_span_text(object, &spans[COMPLETION_DETAILS]), RL_STR("reasoning_tokens"),
			    &usage.reasoning_tokens);
	if (!usage.cached_tokens && !rl_json_u64(rl_json_span_text(object, &spans[CACHE_HIT]), &usage.cached_tokens))
		rl_json_u64(rl_json_span_text(object, &spans[CACHED]), &usage.cached_tokens);
	/* xAI and Gemini's compatible endpoint count thoughts beside the completion, not in it: the total tells. */
	if (prompt && completion && rl_json_u64(rl_json_span_text(object, &spans[TOTAL]), &total) &&
	    total > usage.prompt_tokens && total - usage.prompt_tokens > usage.completion_tokens) {
		uint64_t beside = total - usage.prompt_tokens - usage.completion_tokens;

		usage.completion_tokens += beside;
		if (usage.reasoning_tokens < beside)
			usage.reasoning_tokens = beside;
	}
	*out = usage;
}

static void glance_finish(rl_str word, struct rl_glance *out)
{
	if (rl_json_type_of(word) != RL_JSON_STRING || word.n <= 2)
		return;
	out->finish = true;
	/* Finish words have no escapes; one that has is none of ours. */
	out->finish_reason = rl_finish_parse(rl_str_sub(word, 1, word.n - 2));
}

/*
 * One element of `choices`, of a stream (delta) or of a whole answer (message). Its
 * members are few and walked once; most are null, and told apart by their length.
 */
static void glance_choice(struct rl_json_iter *members, struct rl_glance *out, rl_str *content)
{
	rl_str key, value, found = RL_STR("");

	while (rl_json_iter_member(members, &key, &value)) {
		if (value.n <= 2 || value.p[0] == 'n')
			continue;
		if (key_is(key, RL_STR("delta")))
			found = content_of(value);
		else if (key_is(key, RL_STR("message"))) /* of a whole answer, which is content whatever it says */
			out->content = true;
		else if (key_is(key, RL_STR("finish_reason")))
			glance_finish(value, out);
		else if (key_is(key, RL_STR("text")))
			found = value.p[0] == '"' ? value : found;
		else if (key_is(key, RL_STR("usage")) && value.p[0] == '{') /* Moonshot */
			rl_openai_read_usage(value, &out->usage);
	}
	if (found.n)
		*content = found;
}

/* All of `choices`; their number and where content stands in one of them, or RL_ERR_SYNTAX when one of them is no object. */
static enum rl_err glance_choices(rl_str choices, struct rl_glance *out, size_t *n, rl_str *content)
{
	struct rl_json_iter iter, members;

	*n = 0;
	*content = RL_STR("");
	rl_json_iter_array(&iter, choices);
	while (rl_json_iter_enter(&iter, &members)) {
		glance_choice(&members, out, content);
		rl_json_iter_leave(&iter, &members);
		++*n;
	}
	out->content |= content->n > 0;
	return rl_json_iter_at_end(&iter) ? RL_OK : RL_ERR_SYNTAX;
}

/* What an event and an answer have at their top. T_OWN: of an answer the list that it is, by whatever name. */
enum top_key { T_CHOICES, T_USAGE, T_ERROR, T_OWN, T_COUNT };

#define BOTH_KEYS \
	[T_CHOICES] = RL_STR_INIT("choices"), [T_USAGE] = RL_STR_INIT("usage"), [T_ERROR] = RL_STR_INIT("error")

/* OpenAI pads events to like lengths, against those who watch the wire. */
static const rl_str event_keys[T_COUNT] = {BOTH_KEYS, [T_OWN] = RL_STR_INIT("obfuscation")};
static const rl_str answer_keys[T_COUNT] = {BOTH_KEYS, [T_OWN] = RL_STR_INIT("data")};

static void set_error(rl_str body, struct rl_glance *out)
{
	out->error = true;
	out->fault_class = rl_openai_classify(200, body);
}

/* An event that says nothing but some content: the next ones will have its form. */
static void keep_form(struct rl_json_form *form, rl_str data, rl_str content, rl_str padding)
{
	rl_str open[] = {content, padding};

	form->n_strings = 0;
	if (content.n <= 2 || content.p[0] != '"' || (padding.n && (padding.n <= 2 || padding.p < content.p)))
		return;
	rl_json_form_keep(form, data, open, padding.n ? 2 : 1);
}

enum rl_err rl_openai_glance_event(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				   struct rl_glance *out)
{
	struct rl_json_span spans[T_COUNT];
	rl_str content = RL_STR("");
	size_t n = 0;

	*out = (struct rl_glance){.content = false};
	if (op == RL_OP_RESPONSE)
		return rl_openai_glance_response_event(event_name, data, out);
	/* Chat and completion chunks differ in members that do not meet. */
	if (!event_name.n && rl_json_form_fits(form, data)) {
		out->content = true;
		return RL_OK;
	}
	if (rl_str_eq(data, RL_STR("[DONE]"))) {
		out->done = true;
		return RL_OK;
	}
	if (rl_json_scan(data, event_keys, T_COUNT, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	if (rl_openai_truthy(rl_json_span_text(data, &spans[T_ERROR])) || rl_str_eq(event_name, RL_STR("error"))) {
		set_error(data, out);
		return RL_OK;
	}
	if (spans[T_CHOICES].type == RL_JSON_ARRAY) {
		if (glance_choices(rl_json_span_text(data, &spans[T_CHOICES]), out, &n, &content))
			return RL_ERR_SYNTAX;
	} else if (spans[T_CHOICES].type > RL_JSON_NULL) {
		return RL_ERR_SYNTAX;
	}
	if (spans[T_USAGE].type == RL_JSON_OBJECT) {
		out->usage_only = n == 0;
		rl_openai_read_usage(rl_json_span_text(data, &spans[T_USAGE]), &out->usage);
	}
	if (!out->finish && !out->usage.known)
		keep_form(form, data, content,
			  spans[T_OWN].type == RL_JSON_STRING ? rl_json_span_text(data, &spans[T_OWN]) : RL_STR(""));
	return RL_OK;
}

enum rl_err rl_openai_glance_answer(enum rl_operation op, rl_str body, struct rl_glance *out)
{
	rl_str keys[T_COUNT];
	struct rl_json_span spans[T_COUNT];
	rl_str content;
	size_t n = 0;

	memcpy(keys, answer_keys, sizeof keys);
	if (op == RL_OP_MODERATION)
		keys[T_OWN] = RL_STR("results");
	else if (op == RL_OP_RESPONSE)
		keys[T_OWN] = RL_STR("output");
	*out = (struct rl_glance){.content = false};
	if (rl_json_scan(body, keys, T_COUNT, RL_JSON_LAX, spans, NULL))
		return RL_ERR_SYNTAX;
	if (rl_openai_truthy(rl_json_span_text(body, &spans[T_ERROR]))) {
		set_error(body, out);
		return RL_OK;
	}
	if (op == RL_OP_CHAT || op == RL_OP_COMPLETION) {
		if (glance_choices(rl_json_span_text(body, &spans[T_CHOICES]), out, &n, &content) || !n)
			return RL_ERR_SYNTAX;
	} else {
		if (spans[T_OWN].type != RL_JSON_ARRAY)
			return RL_ERR_SYNTAX;
		out->content = true;
		out->finish = true;
	}
	if (spans[T_USAGE].type == RL_JSON_OBJECT)
		rl_openai_read_usage(rl_json_span_text(body, &spans[T_USAGE]), &out->usage);
	return RL_OK;
}
