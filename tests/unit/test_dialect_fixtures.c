/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded traffic of OpenAI and of servers like it, where a folder of it is at
 * hand (RELAIS_FIXTURES, or ../shared/fixtures beside the repository): everything
 * glances without a fault, usage is what was recorded, and what is decoded and
 * encoded again decodes to the same. Without the folder each test is skipped.
 */
#include "test_dialect_help.h"

#include <glob.h>
#include <unistd.h>

static char folder[1024];

/* Whole file; free() it. */
static rl_str load(const char *path)
{
	FILE *file = fopen(path, "rb");
	size_t cap = 1 << 20, n = 0;
	char *text = malloc(cap);

	assert_non_null(file);
	assert_non_null(text);
	for (size_t got; (got = fread(text + n, 1, cap - n, file)) > 0;) {
		n += got;
		if (n == cap)
			text = realloc(text, cap *= 2);
		assert_non_null(text);
	}
	fclose(file);
	return rl_str_make(text, n);
}

/* Calls `check` with every file that matches; at least one does. */
static void each(void **state, const char *pattern, void (*check)(void **state, const char *path, rl_str text))
{
	char full[2048];
	glob_t found;

	if (!folder[0]) {
		print_message("no recorded traffic here (set RELAIS_FIXTURES)\n");
		skip();
	}
	snprintf(full, sizeof full, "%s/%s", folder, pattern);
	assert_int_equal(glob(full, GLOB_BRACE, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		rl_str text = load(found.gl_pathv[i]);

		check(state, found.gl_pathv[i], text);
		free((void *)(uintptr_t)text.p);
	}
	globfree(&found);
}

/* --- streams --- */

#define EVENTS_MAX 4000

struct recorded {
	struct rl_arena *arena;
	struct rl_event events[EVENTS_MAX];
	size_t n;
};

static rl_str keep(struct recorded *to, rl_str s)
{
	return s.p ? rl_arena_dup(to->arena, s) : s;
}

static enum rl_err record(void *user, const struct rl_event *event)
{
	struct recorded *to = user;
	struct rl_event copy = *event;

	assert_true(to->n < EVENTS_MAX);
	copy.text = keep(to, event->text);
	copy.signature = keep(to, event->signature);
	copy.spelling = keep(to, event->spelling);
	copy.logprobs = keep(to, event->logprobs);
	copy.id = keep(to, event->id);
	copy.name = keep(to, event->name);
	copy.finish_word = keep(to, event->finish_word);
	copy.usage_json = keep(to, event->usage_json);
	struct rl_extra *extras = RL_NEW_ARRAY(to->arena, struct rl_extra, event->extras.n + 1);

	for (size_t i = 0; i < event->extras.n; i++)
		extras[i] = (struct rl_extra){keep(to, event->extras.v[i].key), keep(to, event->extras.v[i].json)};
	copy.extras.v = extras;
	if (event->fault) {
		struct rl_fault *fault = RL_NEW(to->arena, struct rl_fault);
		*fault = *event->fault;
		copy.fault = fault;
	}
	to->events[to->n++] = copy;
	return RL_OK;
}

/* One data payload after the other, of a chunks file (lines) or of SSE text; false at the end. */
static bool next_payload(rl_str *rest, rl_str *data)
{
	while (rest->p) {
		rl_str line = rl_str_cut(rest, '\n');

		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (rl_str_starts(line, RL_STR("data: ")))
			line = rl_str_sub(line, 6, SIZE_MAX);
		else if (!line.n || line.p[0] != '{')
			continue;
		*data = line;
		return true;
	}
	return false;
}

static void decode_all(const char *path, rl_str text, struct recorded *to)
{
	struct rl_decoder codec;
	rl_str rest = text, data;

	rl_decoder_init(&codec);
	while (next_payload(&rest, &data))
		if (openai()->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, to->arena, record, to))
			fail_msg("%s: %.*s", path, RL_STR_ARG(data));
}

static bool same_extras(struct rl_extras a, struct rl_extras b)
{
	bool same = a.n == b.n;

	for (size_t i = 0; same && i < a.n; i++)
		same = rl_str_eq(a.v[i].key, b.v[i].key) && rl_str_eq(a.v[i].json, b.v[i].json);
	return same;
}

static bool same_event(const struct rl_event *a, const struct rl_event *b)
{
	return a->kind == b->kind && a->choice == b->choice && a->tool == b->tool && rl_str_eq(a->text, b->text) &&
	       rl_str_eq(a->signature, b->signature) && rl_str_eq(a->spelling, b->spelling) &&
	       rl_str_eq(a->logprobs, b->logprobs) && rl_str_eq(a->id, b->id) && rl_str_eq(a->name, b->name) &&
	       a->created == b->created && a->tool_kind == b->tool_kind && a->finish == b->finish &&
	       rl_str_eq(a->finish_word, b->finish_word) && rl_str_eq(a->usage_json, b->usage_json) &&
	       a->usage.prompt_tokens == b->usage.prompt_tokens &&
	       a->usage.completion_tokens == b->usage.completion_tokens && same_extras(a->extras, b->extras);
}

/* USAGE moves behind what follows it, since it is written last; all else keeps its place. */
static void usage_last(struct recorded *r)
{
	struct rl_event usage = {.kind = RL_EVENT_NONE};
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (r->events[i].kind == RL_EVENT_USAGE)
			usage = r->events[i];
		else if (r->events[i].kind != RL_EVENT_DONE)
			r->events[n++] = r->events[i];
	}
	if (usage.kind)
		r->events[n++] = usage;
	r->events[n++] = (struct rl_event){.kind = RL_EVENT_DONE};
	r->n = n;
}

static void check_round(void **state, const char *path, rl_str text, enum rl_operation op)
{
	struct recorded *first = RL_NEW(*state, struct recorded), *second = RL_NEW(*state, struct recorded);
	struct rl_encoder codec;
	struct rl_buf out;

	assert_non_null(first);
	assert_non_null(second);
	first->arena = second->arena = *state;
	decode_all(path, text, first);
	assert_true(first->n >= 2);
	usage_last(first);
	rl_buf_init(&out, 16 << 20);
	rl_encoder_init(&codec, op, true);
	for (size_t i = 0; i < first->n; i++)
		openai()->encode_event(&codec, &first->events[i], &out);
	assert_true(rl_buf_ok(&out));
	decode_all(path, rl_buf_str(&out), second);
	if (first->n != second->n)
		fail_msg("%s: %zu events, then %zu", path, first->n, second->n);
	for (size_t i = 0; i + 1 < first->n; i++)
		if (!same_event(&first->events[i], &second->events[i]))
			fail_msg("%s: event %zu (%s, %s) differs", path, i, rl_event_kind_name(first->events[i].kind),
				 rl_event_kind_name(second->events[i].kind));
	rl_encoder_fini(&codec);
	rl_buf_fini(&out);
}

/* The recorded usage, read by another library; false if the payload has none. */
static bool recorded_usage(rl_str data, uint64_t *prompt, uint64_t *completion)
{
	yyjson_doc *doc = yyjson_read(data.p, data.n, 0);
	yyjson_val *usage = yyjson_obj_get(yyjson_doc_get_root(doc), "usage");
	bool found = yyjson_is_obj(usage);

	if (found) {
		*prompt = yyjson_get_uint(yyjson_obj_get(usage, "prompt_tokens"));
		*completion = yyjson_get_uint(yyjson_obj_get(usage, "completion_tokens"));
		uint64_t total = yyjson_get_uint(yyjson_obj_get(usage, "total_tokens"));
		/* xAI leaves reasoning out of the completion, but not out of the total. */
		if (total > *prompt + *completion)
			*completion = total - *prompt;
	}
	yyjson_doc_free(doc);
	return found;
}

static void check_stream(void **state, const char *path, rl_str text, enum rl_operation op)
{
	bool content = false, finish = false, cut = false;
	rl_str rest = text, data;
	struct rl_json_form form = {.n_strings = 0};

	while (next_payload(&rest, &data)) {
		uint64_t prompt, completion;
		struct rl_glance glance;

		if (openai()->glance_event(op, RL_STR(""), data, &form, &glance) != RL_OK || glance.error)
			fail_msg("%s: %.*s", path, RL_STR_ARG(data));
		content |= glance.content;
		finish |= glance.finish || glance.done; /* OpenRouter forgets the reason now and then */
		cut |= glance.finish_reason == RL_FINISH_LENGTH;
		if (glance.done)
			continue;
		assert_int_equal(recorded_usage(data, &prompt, &completion), glance.usage.known);
		if (!glance.usage.known)
			continue;
		assert_int_equal(glance.usage.prompt_tokens, prompt);
		assert_int_equal(glance.usage.completion_tokens, completion);
	}
	/* Thinking may use up all that an answer was allowed. */
	if (!(content || cut) || !finish)
		fail_msg("%s: content %d, finish %d", path, content, finish);
	check_round(state, path, text, op);
}

static void chat_stream(void **state, const char *path, rl_str text)
{
	check_stream(state, path, text, RL_OP_CHAT);
}

static void completion_stream(void **state, const char *path, rl_str text)
{
	check_stream(state, path, text, RL_OP_COMPLETION);
}

static void streams(void **state)
{
	each(state, "vercel-ai/{openai,deepseek}/chat/*.chunks.txt", chat_stream);
	each(state, "vercel-ai/{groq,xai,mistral,moonshotai}/*.chunks.txt", chat_stream);
	each(state, "vercel-ai/openai-compatible/chat/*.sse", chat_stream);
	each(state, "llm/test_tools_streaming/*.sse", chat_stream);
	each(state, "vercel-ai/openai/completion/*.chunks.txt", completion_stream);
}

/* A JSON array of decoded chunks. */
static void chunk_array(void **state, const char *path, rl_str text)
{
	struct rl_json_iter iter;
	struct rl_buf lines;
	rl_str element;

	assert_int_equal(rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL), RL_OK);
	rl_buf_init(&lines, 16 << 20);
	rl_json_iter_array(&iter, text);
	while (rl_json_iter_next(&iter, &element)) {
		yyjson_doc *doc = yyjson_read(element.p, element.n, 0);
		size_t n;
		char *line = yyjson_write(doc, 0, &n);

		RL_BUF_LIT(&lines, "data: ");
		rl_buf_add(&lines, rl_str_make(line, n));
		RL_BUF_LIT(&lines, "\n\n");
		free(line);
		yyjson_doc_free(doc);
	}
	check_stream(state, path, rl_buf_str(&lines), RL_OP_CHAT);
	rl_buf_fini(&lines);
}

static void streams_of_lingua(void **state)
{
	each(state, "lingua/*/chat-completions/{,followup-}response-streaming.json", chunk_array);
}

/* --- whole bodies --- */

static void check_answer(void **state, const char *path, rl_str text, enum rl_operation op)
{
	uint64_t prompt, completion;
	struct rl_chat_response one, two;
	struct rl_glance glance;
	struct rl_buf first, second;

	if (openai()->glance_answer(op, text, &glance) != RL_OK || glance.error ||
	    !(glance.content || glance.finish_reason == RL_FINISH_LENGTH))
		fail_msg("%s", path);
	assert_int_equal(recorded_usage(text, &prompt, &completion), glance.usage.known);
	if (glance.usage.known) {
		assert_int_equal(glance.usage.prompt_tokens, prompt);
		if (op != RL_OP_EMBEDDING)
			assert_int_equal(glance.usage.completion_tokens, completion);
	}
	rl_buf_init(&first, 16 << 20);
	rl_buf_init(&second, 16 << 20);
	assert_int_equal(openai()->parse_response(op, text, *state, &one), RL_OK);
	openai()->write_response(op, &one, plain_reader(*state), &first);
	assert_int_equal(openai()->parse_response(op, rl_buf_str(&first), *state, &two), RL_OK);
	openai()->write_response(op, &two, plain_reader(*state), &second);
	if (!rl_str_eq(rl_buf_str(&first), rl_buf_str(&second)))
		fail_msg("%s: not stable", path);
	assert_int_equal(one.usage.prompt_tokens, glance.usage.prompt_tokens);
	rl_buf_fini(&first);
	rl_buf_fini(&second);
}

static void chat_answer(void **state, const char *path, rl_str text)
{
	check_answer(state, path, text, RL_OP_CHAT);
}

static void completion_answer(void **state, const char *path, rl_str text)
{
	check_answer(state, path, text, RL_OP_COMPLETION);
}

static void embedding_answer(void **state, const char *path, rl_str text)
{
	check_answer(state, path, text, RL_OP_EMBEDDING);
}

static void answers(void **state)
{
	each(state, "vercel-ai/{openai/chat/openai-text,groq/groq-reasoning,deepseek/chat/deepseek-reasoning}.json",
	     chat_answer);
	each(state, "lingua/*/chat-completions/{,followup-}response.json", chat_answer);
	each(state, "pydantic-ai/test_openai/test_compatible_api_with_tool_calls_without_id.*.response.json",
	     chat_answer);
	each(state, "vercel-ai/openai/completion/*.json", completion_answer);
	each(state, "vercel-ai/openai/embedding/*.json", embedding_answer);
}

static void request(void **state, const char *path, rl_str text)
{
	struct rl_chat_request parsed;
	struct rl_envelope env;
	struct rl_fault fault = {.status = 0};
	struct rl_buf out;

	if (openai()->read_envelope(RL_OP_CHAT, text, *state, &env, &fault) ||
	    openai()->parse_request(RL_OP_CHAT, text, *state, &parsed, &fault))
		fail_msg("%s: %.*s", path, RL_STR_ARG(fault.message));
	rl_buf_init(&out, 16 << 20);
	openai()->write_request(RL_OP_CHAT, &parsed, plain_reader(*state), &out);
	struct rl_chat_request again;
	struct rl_buf second;

	rl_buf_init(&second, 16 << 20);
	assert_int_equal(openai()->parse_request(RL_OP_CHAT, rl_buf_str(&out), *state, &again, &fault), RL_OK);
	openai()->write_request(RL_OP_CHAT, &again, plain_reader(*state), &second);
	if (!rl_str_eq(rl_buf_str(&out), rl_buf_str(&second)))
		fail_msg("%s: not stable", path);
	assert_text(env.model, again.model.p ? rl_arena_dup(*state, again.model).p : "");
	rl_buf_fini(&out);
	rl_buf_fini(&second);
}

static void requests(void **state)
{
	each(state, "lingua/*/chat-completions/{,followup-}request.json", request);
	each(state, "llm/test_tools{,_streaming}/*.request.json", request);
}

static void error_classes(void **state)
{
	static const struct {
		const char *file;
		uint16_t status;
		enum rl_fault_class cls;
	} files[] = {
		{"vercel-ai/openai/chat/reasoning-model-legacy-parameter-error.json", 400, RL_FAULT_BAD_REQUEST},
		{"vercel-ai/openai/responses/openai-error.1.json", 429, RL_FAULT_QUOTA},
		{"pydantic-ai/test_groq/test_tool_use_failed_error.0.response.json", 400, RL_FAULT_INVALID_RESPONSE},
		{"pydantic-ai/test_openrouter/test_openrouter_errors_raised.0.response.json", 429, RL_FAULT_RATE_LIMIT},
	};

	if (!folder[0]) {
		print_message("no recorded traffic here (set RELAIS_FIXTURES)\n");
		skip();
	}
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		char path[2048];

		snprintf(path, sizeof path, "%s/%s", folder, files[i].file);
		rl_str text = load(path);

		if (openai()->classify(files[i].status, text) != files[i].cls)
			fail_msg("%s: %s", path, rl_fault_class_name(openai()->classify(files[i].status, text)));
		assert_true(openai()->error_text(text, *state).n > 10);
		free((void *)(uintptr_t)text.p);
	}
}

static void find_folder(void)
{
	const char *named = getenv("RELAIS_FIXTURES");
	/* From the repository, from a build folder in it, and from the tests' folder. */
	static const char *const near[] = {"../shared/fixtures", "../../shared/fixtures", "../../../shared/fixtures"};

	if (named) {
		snprintf(folder, sizeof folder, "%s", named);
		return;
	}
	for (size_t i = 0; i < sizeof near / sizeof near[0] && !folder[0]; i++)
		if (access(near[i], R_OK) == 0)
			snprintf(folder, sizeof folder, "%s", near[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		arena_test(streams),  arena_test(streams_of_lingua), arena_test(answers),
		arena_test(requests), arena_test(error_classes),
	};

	find_folder();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
