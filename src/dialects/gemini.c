/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of the Gemini dialect: paths, what passes through, errors and lists of
 * models, and the vtable that names the rest. The path of a request names its model
 * and whether it streams, so the envelope leaves both to whoever read the path. With
 * a project the paths are those of Vertex AI.
 */
#include "dialects/gemini_priv.h"

#include <assert.h>

/* Longer bodies of errors are judged by their status alone. */
#define ERROR_MAX_BYTES (256u * 1024)
/* A text that begins as a wrapped seal does, once it is base64. */
#define SEALED "\"cmVsYWlz"

rl_str rl_gemini_member(rl_str object, const char *key)
{
	rl_str wanted = rl_str_of(key);
	struct rl_json_span span;

	rl_json_find(object, &wanted, 1, &span);
	return rl_json_span_text(object, &span);
}

/* --- paths --- */

static rl_str path(enum rl_operation op)
{
	switch (op) {
	case RL_OP_CHAT:
		return RL_STR("/models/{model}:generateContent");
	case RL_OP_EMBEDDING:
		return RL_STR("/models/{model}:batchEmbedContents");
	case RL_OP_COUNT_TOKENS:
		return RL_STR("/models/{model}:countTokens");
	case RL_OP_MODELS:
		return RL_STR("/models");
	case RL_OP_PASS:
		return RL_STR("/");
	default:
		return rl_str_make(NULL, 0);
	}
}

/* A piece of a path; slashes stay, so that "tunedModels/x" is one. */
static void add_path(struct rl_buf *out, rl_str text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("-._~/@", c)))
			rl_buf_byte(out, c);
		else
			rl_buf_printf(out, "%%%02X", (unsigned char)c);
	}
}

static void write_path(enum rl_operation op, const struct rl_facts *facts, bool stream, struct rl_buf *out)
{
	bool vertex = facts->project.n > 0, full = rl_str_find(facts->model, '/') != SIZE_MAX;

	if (op == RL_OP_MODELS) {
		rl_buf_add(out, vertex ? RL_STR("/publishers/google/models") : RL_STR("/models"));
		return;
	}
	if (op == RL_OP_PASS) {
		RL_BUF_LIT(out, "/");
		return;
	}
	if (vertex) {
		RL_BUF_LIT(out, "/projects/");
		add_path(out, facts->project);
		RL_BUF_LIT(out, "/locations/");
		add_path(out, facts->region.n ? facts->region : RL_STR("global"));
	}
	/* Names with a slash are resources of their own: tunedModels/x, endpoints/1, publishers/meta/models/x. */
	rl_buf_add(out, full ? RL_STR("/") : vertex ? RL_STR("/publishers/google/models/") : RL_STR("/models/"));
	add_path(out, facts->model);
	switch (op) {
	case RL_OP_EMBEDDING:
		rl_buf_add(out, vertex ? RL_STR(":predict") : RL_STR(":batchEmbedContents"));
		break;
	case RL_OP_COUNT_TOKENS:
		RL_BUF_LIT(out, ":countTokens");
		break;
	default:
		rl_buf_add(out, stream ? RL_STR(":streamGenerateContent?alt=sse") : RL_STR(":generateContent"));
	}
}

/* --- requests that pass --- */

/* Members that the gateway decides by; twice, or in both of their names, they are refused. */
enum policy_key {
	K_CONTENTS,
	K_SYSTEM,
	K_SYSTEM_SNAKE,
	K_CONFIG,
	K_CONFIG_SNAKE,
	K_CACHED,
	K_CACHED_SNAKE,
	K_CONTINUATION,
	K_CONTINUATION_SNAKE,
	K_TOOLS,
	K_CONTENT,
	K_REQUESTS,
	K_GENERATE,
	K_GENERATE_SNAKE,
	K_INSTANCES,
	K_COUNT
};

static const rl_str policy_keys[K_COUNT] = {
	[K_CONTENTS] = RL_STR_INIT("contents"),
	[K_SYSTEM] = RL_STR_INIT("systemInstruction"),
	[K_SYSTEM_SNAKE] = RL_STR_INIT("system_instruction"),
	[K_CONFIG] = RL_STR_INIT("generationConfig"),
	[K_CONFIG_SNAKE] = RL_STR_INIT("generation_config"),
	[K_CACHED] = RL_STR_INIT("cachedContent"),
	[K_CACHED_SNAKE] = RL_STR_INIT("cached_content"),
	[K_CONTINUATION] = RL_STR_INIT("continuationToken"),
	[K_CONTINUATION_SNAKE] = RL_STR_INIT("continuation_token"),
	[K_TOOLS] = RL_STR_INIT("tools"),
	[K_CONTENT] = RL_STR_INIT("content"),
	[K_REQUESTS] = RL_STR_INIT("requests"),
	[K_GENERATE] = RL_STR_INIT("generateContentRequest"),
	[K_GENERATE_SNAKE] = RL_STR_INIT("generate_content_request"),
	[K_INSTANCES] = RL_STR_INIT("instances"),
};

static bool said(const struct rl_json_span *span)
{
	return span->type > RL_JSON_NULL;
}

/* A member that must be there, as an array or an object. */
static enum rl_err check_about(const struct rl_json_span *span, enum policy_key key, enum rl_json_type type,
			       struct rl_arena *arena, struct rl_fault *fault)
{
	if (!said(span))
		return rl_border_missing(arena, fault, policy_keys[key]);
	if (span->type != type)
		return rl_border_wrong_type(arena, fault, policy_keys[key],
					    type == RL_JSON_ARRAY ? "an array" : "an object", span->type);
	return RL_OK;
}

static enum rl_err check_content(enum rl_operation op, const struct rl_json_span spans[K_COUNT], struct rl_arena *arena,
				 struct rl_fault *fault)
{
	switch (op) {
	case RL_OP_CHAT:
		return check_about(&spans[K_CONTENTS], K_CONTENTS, RL_JSON_ARRAY, arena, fault);
	case RL_OP_COUNT_TOKENS:
		if (said(&spans[K_GENERATE]) || said(&spans[K_GENERATE_SNAKE]))
			return RL_OK;
		return check_about(&spans[K_CONTENTS], K_CONTENTS, RL_JSON_ARRAY, arena, fault);
	case RL_OP_EMBEDDING:
		if (said(&spans[K_REQUESTS]))
			return check_about(&spans[K_REQUESTS], K_REQUESTS, RL_JSON_ARRAY, arena, fault);
		if (said(&spans[K_INSTANCES]))
			return check_about(&spans[K_INSTANCES], K_INSTANCES, RL_JSON_ARRAY, arena, fault);
		return check_about(&spans[K_CONTENT], K_CONTENT, RL_JSON_OBJECT, arena, fault);
	default:
		return RL_OK;
	}
}

static enum rl_err read_envelope(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				 struct rl_fault *fault)
{
	static const enum policy_key pairs[][2] = {{K_SYSTEM, K_SYSTEM_SNAKE},
						   {K_CONFIG, K_CONFIG_SNAKE},
						   {K_CACHED, K_CACHED_SNAKE},
						   {K_CONTINUATION, K_CONTINUATION_SNAKE},
						   {K_GENERATE, K_GENERATE_SNAKE}};
	struct rl_json_span spans[K_COUNT];
	struct rl_json_error error;

	*out = (struct rl_envelope){.stream = false};
	enum rl_err err = rl_json_scan(body, policy_keys, K_COUNT, RL_JSON_STRICT_KEYS, spans, &error);

	if (err) {
		rl_border_json_fault(&error, err, arena, fault);
		return RL_ERR_SYNTAX;
	}
	if (rl_json_type_of(body) != RL_JSON_OBJECT)
		return rl_border_refuse(fault, rl_str_make(NULL, 0), "invalid_type",
					RL_STR("The request body must be a JSON object."));
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		if (spans[pairs[i][0]].type && spans[pairs[i][1]].type)
			return rl_border_refuse(fault, policy_keys[pairs[i][0]], "duplicate_parameter",
						RL_STR("A member of the request body is given under both of its names. "
						       "Send it once."));
	out->sealed = memmem(body.p, body.n, SEALED, sizeof SEALED - 1) != NULL;
	/* A cache or a continuation lies at one provider, with one account. */
	out->stateful = said(&spans[K_CACHED]) || said(&spans[K_CACHED_SNAKE]) || said(&spans[K_CONTINUATION]) ||
			said(&spans[K_CONTINUATION_SNAKE]);
	return check_content(op, spans, arena, fault);
}

/* The member "model" of an object to `name`, in quotes, if it is there; the object again where nothing changes. */
static enum rl_err rename_one(rl_str object, rl_str name, struct rl_arena *arena, rl_str *out)
{
	static const rl_str key = RL_STR_INIT("model");
	struct rl_json_splice splice;
	struct rl_json_span span;

	*out = object;
	rl_json_find(object, &key, 1, &span);
	if (!span.type)
		return RL_OK;
	rl_json_splice_init(&splice, object, arena);
	rl_json_splice_set(&splice, &span, key, name);
	return rl_json_splice_join(&splice, out);
}

static enum rl_err rename_each(rl_str list, rl_str name, struct rl_arena *arena, rl_str *out)
{
	struct rl_json_iter iter;
	struct rl_buf joined;
	enum rl_err err = RL_OK;
	rl_str element;

	rl_buf_init(&joined, list.n + (name.n + 1) * (rl_table_count(list) + 1) + 2);
	RL_BUF_LIT(&joined, "[");
	rl_json_iter_array(&iter, list);
	while (!err && rl_json_iter_next(&iter, &element)) {
		rl_str renamed;

		err = rename_one(element, name, arena, &renamed);
		rl_build_comma(&joined);
		rl_buf_add(&joined, renamed);
	}
	RL_BUF_LIT(&joined, "]");
	*out = rl_arena_dup(arena, rl_buf_str(&joined));
	if (!err && (!rl_buf_ok(&joined) || !out->p))
		err = RL_ERR_NOMEM;
	rl_buf_fini(&joined);
	return err;
}

/* Bodies that name the model once more than the path does: embeddings, and counts of whole requests. */
static enum rl_err rename_inside(rl_str body, rl_str model, struct rl_arena *arena, struct rl_json_splice *splice)
{
	static const rl_str keys[] = {RL_STR_INIT("model"), RL_STR_INIT("requests"),
				      RL_STR_INIT("generateContentRequest"), RL_STR_INIT("generate_content_request")};
	struct rl_json_span spans[4];
	struct rl_buf name;
	enum rl_err err = RL_OK;

	rl_json_find(body, keys, 4, spans);
	if (!spans[0].type && !spans[1].type && !spans[2].type && !spans[3].type)
		return RL_OK;
	rl_buf_init(&name, 6 * model.n + 64);
	rl_str text = rl_arena_printf(arena, "%s%.*s", rl_str_find(model, '/') == SIZE_MAX ? "models/" : "",
				      RL_STR_ARG(model));
	rl_buf_json(&name, text);
	rl_str quoted = rl_arena_dup(arena, rl_buf_str(&name));

	if (!text.p || !quoted.p || !rl_buf_ok(&name))
		err = RL_ERR_NOMEM;
	rl_buf_fini(&name);
	if (!err && spans[0].type)
		rl_json_splice_set(splice, &spans[0], keys[0], quoted);
	for (size_t i = 1; !err && i < 4; i++) {
		rl_str value = rl_json_span_text(body, &spans[i]), renamed;

		if (!spans[i].type)
			continue;
		err = i == 1 ? rename_each(value, quoted, arena, &renamed) : rename_one(value, quoted, arena, &renamed);
		if (!err)
			rl_json_splice_set(splice, &spans[i], keys[i], renamed);
	}
	return err;
}

static enum rl_err edit_body(rl_str body, const struct rl_envelope *env, const struct rl_edit *edit,
			     struct rl_arena *arena, rl_str parts[RL_BODY_PARTS_MAX], size_t *n)
{
	struct rl_json_splice splice;
	enum rl_err err = RL_OK;

	rl_json_splice_init(&splice, body, arena);
	if (env->model.n && !rl_str_eq(env->model, edit->model))
		err = rename_inside(body, edit->model, arena, &splice);
	if (!err && (edit->n_set || edit->n_remove))
		err = rl_border_edit_configured(body, edit, &splice);
	if (err || splice.n_edits)
		return err ? err : rl_json_splice_parts(&splice, parts, n, NULL);
	parts[0] = body;
	*n = 1;
	return RL_OK;
}

/* --- finish and usage --- */

static const struct {
	rl_str word;
	enum rl_finish finish;
} finishes[] = {
	{RL_STR_INIT("STOP"), RL_FINISH_STOP},
	{RL_STR_INIT("MAX_TOKENS"), RL_FINISH_LENGTH},
	{RL_STR_INIT("SAFETY"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("RECITATION"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("LANGUAGE"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("BLOCKLIST"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("PROHIBITED_CONTENT"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("SPII"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("MODEL_ARMOR"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("IMAGE_SAFETY"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("IMAGE_PROHIBITED_CONTENT"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("IMAGE_RECITATION"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("IMAGE_OTHER"), RL_FINISH_CONTENT_FILTER},
	{RL_STR_INIT("OTHER"), RL_FINISH_ERROR},
	{RL_STR_INIT("NO_IMAGE"), RL_FINISH_ERROR},
	{RL_STR_INIT("MALFORMED_FUNCTION_CALL"), RL_FINISH_ERROR},
	{RL_STR_INIT("UNEXPECTED_TOOL_CALL"), RL_FINISH_ERROR},
	{RL_STR_INIT("TOO_MANY_TOOL_CALLS"), RL_FINISH_ERROR},
	{RL_STR_INIT("MALFORMED_RESPONSE"), RL_FINISH_ERROR},
	{RL_STR_INIT("CONTINUATION"), RL_FINISH_OTHER},
};

enum rl_finish rl_gemini_finish(rl_str word)
{
	if (!word.n || rl_str_eq(word, RL_STR("FINISH_REASON_UNSPECIFIED")))
		return RL_FINISH_NONE;
	for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
		if (rl_str_eq(word, finishes[i].word))
			return finishes[i].finish;
	return RL_FINISH_OTHER;
}

rl_str rl_gemini_known_word(rl_str word)
{
	for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
		if (rl_str_eq(word, finishes[i].word))
			return finishes[i].word;
	return rl_str_make(NULL, 0);
}

rl_str rl_gemini_finish_word(enum rl_finish finish, rl_str own)
{
	if (own.n)
		return own;
	switch (finish) {
	case RL_FINISH_LENGTH:
		return RL_STR("MAX_TOKENS");
	case RL_FINISH_CONTENT_FILTER:
		return RL_STR("SAFETY");
	case RL_FINISH_ERROR:
	case RL_FINISH_OTHER:
		return RL_STR("OTHER");
	default:
		return RL_STR("STOP");
	}
}

void rl_gemini_read_usage(rl_str object, struct rl_usage *out)
{
	enum { PROMPT, CANDIDATES, TOTAL, THOUGHTS, CACHED, TOOL, P2, C2, T2, H2, D2, O2, N_KEYS };
	static const rl_str keys[N_KEYS] = {
		[PROMPT] = RL_STR_INIT("promptTokenCount"),        [CANDIDATES] = RL_STR_INIT("candidatesTokenCount"),
		[TOTAL] = RL_STR_INIT("totalTokenCount"),          [THOUGHTS] = RL_STR_INIT("thoughtsTokenCount"),
		[CACHED] = RL_STR_INIT("cachedContentTokenCount"), [TOOL] = RL_STR_INIT("toolUsePromptTokenCount"),
		[P2] = RL_STR_INIT("prompt_token_count"),          [C2] = RL_STR_INIT("candidates_token_count"),
		[T2] = RL_STR_INIT("total_token_count"),           [H2] = RL_STR_INIT("thoughts_token_count"),
		[D2] = RL_STR_INIT("cached_content_token_count"),  [O2] = RL_STR_INIT("tool_use_prompt_token_count"),
	};
	struct rl_json_span spans[N_KEYS];
	struct rl_usage usage = {.known = true};
	uint64_t counts[P2] = {0};
	bool any = false;

	rl_json_find(object, keys, N_KEYS, spans);
	for (size_t i = 0; i < P2; i++)
		any |= rl_json_u64(rl_json_span_text(object, &spans[spans[i].type ? i : i + P2]), &counts[i]);
	/* Vertex sends {"trafficType":...} alone with every piece but the last. */
	if (!any)
		return;
	usage.prompt_tokens = counts[PROMPT] + counts[TOOL];
	usage.completion_tokens = counts[CANDIDATES] + counts[THOUGHTS];
	usage.reasoning_tokens = counts[THOUGHTS];
	usage.cached_tokens = counts[CACHED];
	/* Embeddings on some versions report the total alone. */
	if (!usage.prompt_tokens && !usage.completion_tokens)
		usage.prompt_tokens = counts[TOTAL];
	*out = usage;
}

/* --- answers that pass --- */

enum top_key {
	T_CANDIDATES,
	T_USAGE,
	T_ERROR,
	T_FEEDBACK,
	T_OWN,
	T_SECOND,
	T_THIRD,
	T_USAGE_SNAKE,
	T_FEEDBACK_SNAKE,
	T_COUNT
};

/* Whether a part says something; a piece that holds a signature and no text is nothing to show. */
static bool part_carries(rl_str part)
{
	struct rl_json_iter iter;
	rl_str key, value;

	rl_json_iter_object(&iter, part);
	while (rl_json_iter_member(&iter, &key, &value)) {
		if (value.n <= 2 || value.p[0] == 'n' || rl_json_string_is(key, RL_STR("thoughtSignature")) ||
		    rl_json_string_is(key, RL_STR("thought_signature")) || rl_json_string_is(key, RL_STR("thought")))
			continue;
		return true;
	}
	return false;
}

static bool content_carries(rl_str content)
{
	struct rl_json_iter iter;
	rl_str part;

	rl_json_iter_array(&iter, rl_gemini_member(content, "parts"));
	while (rl_json_iter_next(&iter, &part))
		if (part_carries(part))
			return true;
	return false;
}

static bool has_call(rl_str content)
{
	struct rl_json_iter iter;
	rl_str part;

	rl_json_iter_array(&iter, rl_gemini_member(content, "parts"));
	while (rl_json_iter_next(&iter, &part))
		if (rl_gemini_member(part, "functionCall").n || rl_gemini_member(part, "function_call").n)
			return true;
	return false;
}

static void glance_finish(rl_str word, rl_str content, struct rl_glance *out)
{
	if (rl_json_type_of(word) != RL_JSON_STRING || word.n <= 2)
		return;
	enum rl_finish finish = rl_gemini_finish(rl_str_sub(word, 1, word.n - 2));

	if (!finish)
		return;
	out->finish = true;
	out->finish_reason = finish == RL_FINISH_STOP && has_call(content) ? RL_FINISH_TOOL_CALLS : finish;
}

static enum rl_err glance_candidates(rl_str list, struct rl_glance *out)
{
	static const rl_str keys[] = {RL_STR_INIT("content"), RL_STR_INIT("finishReason"),
				      RL_STR_INIT("finish_reason")};
	struct rl_json_span spans[3];
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(list) != RL_JSON_ARRAY)
		return RL_ERR_SYNTAX;
	rl_json_iter_array(&iter, list);
	while (rl_json_iter_next(&iter, &element)) {
		if (rl_json_type_of(element) != RL_JSON_OBJECT)
			return RL_ERR_SYNTAX;
		rl_json_find(element, keys, 3, spans);
		rl_str content = rl_json_span_text(element, &spans[0]);

		out->content |= content_carries(content);
		glance_finish(rl_json_span_text(element, &spans[spans[1].type ? 1 : 2]), content, out);
	}
	return RL_OK;
}

static enum rl_fault_class classify(uint16_t status, rl_str body);

/* Common to events and answers; *some: there were candidates, or a reason why there are none. */
static enum rl_err glance_body(rl_str body, const struct rl_json_span spans[T_COUNT], struct rl_glance *out, bool *some)
{
	rl_str usage = rl_json_span_text(body, &spans[spans[T_USAGE].type ? T_USAGE : T_USAGE_SNAKE]);
	rl_str feedback = rl_json_span_text(body, &spans[spans[T_FEEDBACK].type ? T_FEEDBACK : T_FEEDBACK_SNAKE]);

	*some = false;
	if (spans[T_ERROR].type == RL_JSON_OBJECT) {
		out->error = true;
		out->fault_class = classify(200, body);
		return RL_OK;
	}
	if (spans[T_CANDIDATES].type > RL_JSON_NULL) {
		if (glance_candidates(rl_json_span_text(body, &spans[T_CANDIDATES]), out))
			return RL_ERR_SYNTAX;
		*some = rl_table_count(rl_json_span_text(body, &spans[T_CANDIDATES])) > 0;
	}
	if (!*some && (rl_gemini_member(feedback, "blockReason").n || rl_gemini_member(feedback, "block_reason").n)) {
		out->finish = true;
		out->finish_reason = RL_FINISH_CONTENT_FILTER;
		*some = true;
	}
	if (rl_json_type_of(usage) == RL_JSON_OBJECT)
		rl_gemini_read_usage(usage, &out->usage);
	return RL_OK;
}

#define TOP_KEYS                                                                              \
	[T_CANDIDATES] = RL_STR_INIT("candidates"), [T_USAGE] = RL_STR_INIT("usageMetadata"), \
	[T_ERROR] = RL_STR_INIT("error"), [T_FEEDBACK] = RL_STR_INIT("promptFeedback"),       \
	[T_USAGE_SNAKE] = RL_STR_INIT("usage_metadata"), [T_FEEDBACK_SNAKE] = RL_STR_INIT("prompt_feedback")

static enum rl_err glance_event(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				struct rl_glance *out)
{
	static const rl_str keys[T_COUNT] = {
		TOP_KEYS, [T_OWN] = RL_STR_INIT("responseId"), [T_SECOND] = RL_STR_INIT("modelVersion"),
		[T_THIRD] = RL_STR_INIT("createTime")};
	struct rl_json_span spans[T_COUNT];
	bool some;

	(void)op, (void)event_name, (void)form;
	*out = (struct rl_glance){.content = false};
	if (rl_json_scan(data, keys, T_COUNT, RL_JSON_LAX, spans, NULL) || rl_json_type_of(data) != RL_JSON_OBJECT)
		return RL_ERR_SYNTAX;
	return glance_body(data, spans, out, &some);
}

static enum rl_err glance_answer(enum rl_operation op, rl_str body, struct rl_glance *out)
{
	static const rl_str own[][3] = {
		{RL_STR_INIT("embeddings"), RL_STR_INIT("embedding"), RL_STR_INIT("predictions")},
		{RL_STR_INIT("totalTokens"), RL_STR_INIT("total_tokens"), RL_STR_INIT("totalBillableCharacters")},
		{RL_STR_INIT("models"), RL_STR_INIT("publisherModels"), RL_STR_INIT("name")},
	};
	size_t which = op == RL_OP_EMBEDDING ? 0 : op == RL_OP_COUNT_TOKENS ? 1 : 2;
	rl_str keys[T_COUNT] = {
		TOP_KEYS, [T_OWN] = own[which][0], [T_SECOND] = own[which][1], [T_THIRD] = own[which][2]};
	struct rl_json_span spans[T_COUNT];
	bool some;

	*out = (struct rl_glance){.content = false};
	if (rl_json_scan(body, keys, T_COUNT, RL_JSON_LAX, spans, NULL) || glance_body(body, spans, out, &some))
		return RL_ERR_SYNTAX;
	if (out->error)
		return RL_OK;
	if (op == RL_OP_CHAT)
		return some ? RL_OK : RL_ERR_SYNTAX;
	if (!spans[T_OWN].type && !spans[T_SECOND].type && !spans[T_THIRD].type)
		return RL_ERR_SYNTAX;
	out->content = out->finish = true;
	if (op == RL_OP_COUNT_TOKENS)
		out->usage.known = false;
	return RL_OK;
}

/* --- errors of Google's --- */

/* What an error body says, raw; absent members are empty. */
struct told {
	rl_str code, status, message, reason, quota, delay;
};

static void read_details(rl_str details, struct told *out)
{
	struct rl_json_iter iter, inner;
	rl_str element, violation;

	rl_json_iter_array(&iter, details);
	while (rl_json_iter_next(&iter, &element)) {
		rl_str reason = rl_gemini_member(element, "reason"), delay = rl_gemini_member(element, "retryDelay");

		if (reason.n && !out->reason.n)
			out->reason = reason;
		if (delay.n)
			out->delay = delay;
		rl_json_iter_array(&inner, rl_gemini_member(element, "violations"));
		while (rl_json_iter_next(&inner, &violation)) {
			rl_str quota = rl_gemini_member(violation, "quotaId");

			/* A day's limit outweighs a minute's: waiting a minute would not help. */
			if (!out->quota.n || rl_border_text_has(quota, RL_STR("perday")))
				out->quota = quota;
		}
	}
}

/* {"error":{...}}, or the same in an array, as a stream without SSE and the compatible endpoint have it. */
static bool read_told(rl_str body, struct told *out)
{
	struct rl_json_iter iter;
	rl_str first;

	*out = (struct told){.code = {NULL, 0}};
	if (!body.n || body.n > ERROR_MAX_BYTES || rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return false;
	rl_json_iter_array(&iter, body);
	if (rl_json_iter_next(&iter, &first))
		body = first;
	rl_str error = rl_gemini_member(body, "error");

	if (rl_json_type_of(error) == RL_JSON_STRING)
		out->message = error;
	if (rl_json_type_of(error) != RL_JSON_OBJECT)
		return true;
	out->code = rl_gemini_member(error, "code");
	out->status = rl_gemini_member(error, "status");
	out->message = rl_gemini_member(error, "message");
	read_details(rl_gemini_member(error, "details"), out);
	return true;
}

/* Nothing is left for long, or nothing was ever given, as opposed to: for a minute. */
static bool exhausted(uint16_t status, const struct told *told)
{
	return status == 402 || rl_border_text_has(told->quota, RL_STR("perday")) ||
	       rl_border_text_has(rl_str_sub(told->message, 0, RL_BORDER_SEARCH_BYTES), RL_STR("limit: 0"));
}

static enum rl_fault_class class_of_words(uint16_t status, const struct told *told)
{
	static const struct {
		rl_str word;
		enum rl_fault_class cls;
	} words[] = {
		{RL_STR_INIT("UNAVAILABLE"), RL_FAULT_OVERLOADED},    {RL_STR_INIT("INTERNAL"), RL_FAULT_SERVER_ERROR},
		{RL_STR_INIT("DEADLINE_EXCEEDED"), RL_FAULT_TIMEOUT}, {RL_STR_INIT("UNAUTHENTICATED"), RL_FAULT_AUTH},
		{RL_STR_INIT("PERMISSION_DENIED"), RL_FAULT_AUTH},    {RL_STR_INIT("NOT_FOUND"), RL_FAULT_NOT_FOUND},
		{RL_STR_INIT("ABORTED"), RL_FAULT_SERVER_ERROR},      {RL_STR_INIT("UNKNOWN"), RL_FAULT_SERVER_ERROR},
	};
	rl_str message = rl_str_sub(told->message, 0, RL_BORDER_SEARCH_BYTES);

	if (rl_json_string_is(told->reason, RL_STR("API_KEY_INVALID")) ||
	    rl_json_string_is(told->reason, RL_STR("API_KEY_EXPIRED")))
		return RL_FAULT_AUTH;
	if (rl_json_string_is(told->status, RL_STR("RESOURCE_EXHAUSTED")))
		return exhausted(status, told) ? RL_FAULT_QUOTA : RL_FAULT_RATE_LIMIT;
	/* Where the account stands, not what was asked: another target may do. */
	if (rl_json_string_is(told->status, RL_STR("FAILED_PRECONDITION")) &&
	    rl_border_text_has(message, RL_STR("billing")))
		return RL_FAULT_QUOTA;
	if (rl_json_string_is(told->status, RL_STR("FAILED_PRECONDITION")) &&
	    rl_border_text_has(message, RL_STR("location is not supported")))
		return RL_FAULT_AUTH;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (rl_json_string_is(told->status, words[i].word))
			return words[i].cls;
	return RL_FAULT_NONE;
}

static enum rl_fault_class classify(uint16_t status, rl_str body)
{
	struct told told;
	uint64_t code;

	if (!read_told(body, &told))
		return rl_border_class_of_status(status);
	/* An error that came inside a success says its status itself. */
	if (status >= 200 && status < 300)
		status = rl_json_u64(told.code, &code) && code >= 400 && code < 600 ? (uint16_t)code : 500;
	enum rl_fault_class cls = class_of_words(status, &told);

	if ((!cls || cls == RL_FAULT_SERVER_ERROR) && (status == 400 || status == 413 || status == 500)) {
		enum rl_fault_class by_text = rl_border_class_of_message(told.message);

		cls = by_text ? by_text : cls;
	}
	return cls ? cls : rl_border_class_of_status(status);
}

static rl_str error_text(rl_str body, struct rl_arena *arena)
{
	struct told told;
	rl_str text = {NULL, 0};

	if (!read_told(body, &told))
		text = rl_border_html_title(rl_str_sub(body, 0, 4096));
	else if (rl_json_unescape(told.message.n ? told.message : told.status, arena, &text))
		text = rl_str_make(NULL, 0);
	return rl_border_tidy(text, arena);
}

/* "34.4s" in whole seconds, rounded up; -1 for anything else. */
static int64_t delay_seconds(rl_str delay)
{
	int64_t seconds = 0;
	size_t i = 1;

	if (rl_json_type_of(delay) != RL_JSON_STRING || delay.n < 4 || delay.p[delay.n - 2] != 's')
		return -1;
	for (; i + 2 < delay.n && delay.p[i] >= '0' && delay.p[i] <= '9' && seconds < 1000000; i++)
		seconds = seconds * 10 + (delay.p[i] - '0');
	for (bool more = false; i + 2 < delay.n; i++) {
		if (delay.p[i] != '.' && (delay.p[i] < '0' || delay.p[i] > '9'))
			return -1;
		if (!more && delay.p[i] != '.' && delay.p[i] != '0') {
			seconds++;
			more = true;
		}
	}
	return seconds;
}

void rl_gemini_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out)
{
	struct told told;

	*out = (struct rl_fault){.cls = classify(200, body), .retry_after_s = -1};
	out->status = rl_border_status_of_class(out->cls);
	out->message = error_text(body, arena);
	if (!out->message.n)
		out->message = RL_STR("The provider reported an error in the stream.");
	if (!read_told(body, &told))
		return;
	if (rl_json_unescape(told.status, arena, &out->code))
		out->code = rl_str_make(NULL, 0);
	out->retry_after_s = delay_seconds(told.delay);
}

/* --- errors of ours --- */

static rl_str status_word(uint16_t status)
{
	switch (status) {
	case 401:
		return RL_STR("UNAUTHENTICATED");
	case 402:
	case 429:
		return RL_STR("RESOURCE_EXHAUSTED");
	case 403:
		return RL_STR("PERMISSION_DENIED");
	case 404:
		return RL_STR("NOT_FOUND");
	case 409:
		return RL_STR("ABORTED");
	case 499:
		return RL_STR("CANCELLED");
	case 501:
		return RL_STR("UNIMPLEMENTED");
	case 502:
	case 503:
		return RL_STR("UNAVAILABLE");
	case 408:
	case 504:
		return RL_STR("DEADLINE_EXCEEDED");
	default:
		return status >= 500 ? RL_STR("INTERNAL") : RL_STR("INVALID_ARGUMENT");
	}
}

#define TYPE_URL "type.googleapis.com/google.rpc."

void rl_gemini_write_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"error\":{");
	rl_build_int(out, "code", fault->status);
	rl_build_text(out, "message", fault->message);
	rl_build_text(out, "status", status_word(fault->status));
	rl_build_key(out, "details");
	RL_BUF_LIT(out, "[");
	if (fault->code.n) {
		RL_BUF_LIT(out, "{\"@type\":\"" TYPE_URL "ErrorInfo\"");
		rl_build_text(out, "reason", fault->code);
		RL_BUF_LIT(out, ",\"domain\":\"relais\"}");
	}
	if (fault->param.n) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"@type\":\"" TYPE_URL "BadRequest\",\"fieldViolations\":[{");
		rl_build_text(out, "field", fault->param);
		RL_BUF_LIT(out, "}]}");
	}
	if (fault->retry_after_s >= 0) {
		rl_build_comma(out);
		RL_BUF_LIT(out, "{\"@type\":\"" TYPE_URL "RetryInfo\",\"retryDelay\":\"");
		rl_buf_i64(out, fault->retry_after_s);
		RL_BUF_LIT(out, "s\"}");
	}
	RL_BUF_LIT(out, "]}}");
}

static void write_stream_error(const struct rl_fault *fault, struct rl_buf *out)
{
	RL_BUF_LIT(out, "data: ");
	rl_gemini_write_error(fault, out);
	RL_BUF_LIT(out, "\r\n\r\n");
}

/* --- lists of models --- */

static void write_model(const struct rl_model_line *model, struct rl_buf *out)
{
	rl_str name = model->id;

	RL_BUF_LIT(out, "{\"name\":\"models/");
	/* As inside a string: its quotes go. */
	size_t at = out->n;

	rl_buf_json(out, name);
	if (rl_buf_ok(out)) {
		memmove(out->p + at, out->p + at + 1, out->n - at - 1);
		out->n--;
	}
	rl_build_text(out, "displayName", name);
	RL_BUF_LIT(out, ",\"supportedGenerationMethods\":[\"generateContent\",\"streamGenerateContent\","
			"\"countTokens\",\"embedContent\",\"batchEmbedContents\"]}");
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

/* Names are "models/x" here and "publishers/google/models/x" on Vertex: what follows the last slash is the model's. */
static enum rl_err read_models(rl_str body, struct rl_arena *arena, rl_str **ids, size_t *n)
{
	*ids = NULL;
	*n = 0;
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	rl_str list = rl_gemini_member(body, "models");

	if (!list.n)
		list = rl_gemini_member(body, "publisherModels");
	enum rl_err err = rl_border_read_ids(list, RL_STR("name"), arena, ids, n);

	for (size_t i = 0; !err && i < *n; i++) {
		const char *slash = memrchr((*ids)[i].p, '/', (*ids)[i].n);

		if (slash && slash + 1 < (*ids)[i].p + (*ids)[i].n)
			(*ids)[i] = rl_str_sub((*ids)[i], (size_t)(slash + 1 - (*ids)[i].p), SIZE_MAX);
	}
	return err;
}

extern const struct rl_dialect rl_dialect_gemini;

const struct rl_dialect rl_dialect_gemini = {
	.name = RL_STR_INIT(RL_GEMINI_NAME),
	.family = RL_STR_INIT(RL_GEMINI_NAME),
	.framing = RL_FRAMING_SSE,
	.key_header = RL_STR_INIT("x-goog-api-key"),
	.path = path,
	.write_path = write_path,
	.read_envelope = read_envelope,
	.edit_body = edit_body,
	.glance_event = glance_event,
	.glance_answer = glance_answer,
	.classify = classify,
	.error_text = error_text,
	.write_error = rl_gemini_write_error,
	.write_stream_error = write_stream_error,
	.write_models = write_models,
	.write_model = write_model,
	.read_models = read_models,
	.parse_request = rl_gemini_parse_request,
	.write_response = rl_gemini_write_response,
	.encode_event = rl_gemini_encode_event,
	.encoder_bytes = RL_GEMINI_ENCODER_BYTES,
	.encoder_fini = rl_gemini_encoder_fini,
	.write_request = rl_gemini_write_request,
	.parse_response = rl_gemini_parse_response,
	.decoder_bytes = RL_GEMINI_DECODER_BYTES,
	.decode_event = rl_gemini_decode_event,
};
