/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded traffic of Gemini's and Vertex' APIs, where a folder of it is at hand
 * (RELAIS_FIXTURES, or ../shared/fixtures beside the repository): requests and answers
 * go round as the same values, answers and streams say the same in OpenAI's words, and
 * streams in SSE or an array, encoded again, decode to the same. Without the folder
 * each test is skipped.
 */
#include "test_dialect_help.h"

#include <glob.h>
#include <unistd.h>

static char folder[1024];

static const struct rl_dialect *gemini(void)
{
	return rl_dialect_find(RL_STR("gemini"));
}

static rl_str load(struct rl_arena *arena, const char *path)
{
	FILE *file = fopen(path, "rb");
	struct rl_buf text;
	char piece[4096];

	assert_non_null(file);
	rl_buf_init(&text, 16 << 20);
	for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;)
		rl_buf_add(&text, rl_str_make(piece, got));
	fclose(file);
	assert_true(rl_buf_ok(&text));
	rl_str copy = rl_arena_dup(arena, rl_buf_str(&text));

	rl_buf_fini(&text);
	return copy;
}

/* Calls `check` with every file that matches; at least one does. */
static void each(void **state, const char *pattern,
		 void (*check)(struct rl_arena *arena, const char *path, rl_str text))
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
		rl_str text = load(*state, found.gl_pathv[i]);

		check(*state, found.gl_pathv[i], text);
		rl_arena_reset(*state);
	}
	globfree(&found);
}

static struct rl_translation *google(struct rl_arena *arena)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("google"), .model = RL_STR_INIT("gemini-3-pro")};
	static struct rl_translation t;

	rl_translation_init(&t, arena, &facts, false);
	return &t;
}

/* --- whole bodies --- */

/* The value without what means the same when it is not there: a user's role, a candidate's index 0, the
 * id of a result whose call is found by its order. */
static void plain(yyjson_mut_val *root)
{
	yyjson_mut_val *list = yyjson_mut_obj_get(root, "candidates"), *contents = yyjson_mut_obj_get(root, "contents");
	yyjson_mut_val *one;
	size_t i, n;

	yyjson_mut_obj_remove_key(root, "model");
	yyjson_mut_obj_remove_key(root, "createTime"); /* to the second only */
	yyjson_mut_arr_foreach(contents, i, n, one)
	{
		yyjson_mut_val *part;
		size_t k, m;

		yyjson_mut_obj_remove_key(one, "role");
		yyjson_mut_arr_foreach(yyjson_mut_obj_get(one, "parts"), k, m, part)
			yyjson_mut_obj_remove_key(yyjson_mut_obj_get(part, "functionResponse"), "id");
	}
	yyjson_mut_arr_foreach(list, i, n, one)
	{
		yyjson_mut_obj_remove_key(one, "index");
		yyjson_mut_obj_remove_key(yyjson_mut_obj_get(one, "content"), "role");
	}
	yyjson_mut_val *config = yyjson_mut_obj_get(root, "generationConfig");

	if (config && !yyjson_mut_obj_size(config))
		yyjson_mut_obj_remove_key(root, "generationConfig");
}

static void assert_same(const char *path, rl_str is, rl_str was)
{
	yyjson_doc *a = yyjson_read(is.p, is.n, 0), *b = yyjson_read(was.p, was.n, 0);
	yyjson_mut_doc *x = yyjson_doc_mut_copy(a, NULL), *y = yyjson_doc_mut_copy(b, NULL);

	assert_true(x && y);
	plain(yyjson_mut_doc_get_root(x));
	plain(yyjson_mut_doc_get_root(y));
	if (!yyjson_mut_equals(yyjson_mut_doc_get_root(x), yyjson_mut_doc_get_root(y)))
		fail_msg("%s:\n%.*s", path, RL_STR_ARG(is));
	yyjson_mut_doc_free(x);
	yyjson_mut_doc_free(y);
	yyjson_doc_free(a);
	yyjson_doc_free(b);
}

static void request(struct rl_arena *arena, const char *path, rl_str text)
{
	struct rl_translation *t = google(arena);
	struct rl_chat_request parsed;
	struct rl_envelope env;
	struct rl_fault fault = {.status = 0};
	struct rl_buf out;

	if (gemini()->read_envelope(RL_OP_CHAT, text, arena, &env, &fault) ||
	    gemini()->parse_request(RL_OP_CHAT, text, arena, &parsed, &fault))
		fail_msg("%s: %.*s", path, RL_STR_ARG(fault.message));
	rl_buf_init(&out, 16 << 20);
	gemini()->write_request(RL_OP_CHAT, &parsed, t, &out);
	assert_true(rl_buf_ok(&out) && !t->err && !t->n_dropped);
	assert_same(path, rl_buf_str(&out), text);
	/* And as a chat that is valid there. */
	parsed.model = RL_STR("m");
	rl_buf_reset(&out);
	openai()->write_request(RL_OP_CHAT, &parsed, t, &out);
	if (t->err || openai()->parse_request(RL_OP_CHAT, rl_buf_str(&out), arena, &parsed, &fault))
		fail_msg("%s: %.*s", path, RL_STR_ARG(t->err ? t->fault.message : fault.message));
	rl_buf_fini(&out);
}

static void requests(void **state)
{
	each(state, "lingua/*/google/{,followup-}request.json", request);
	each(state,
	     "pydantic-ai/test_google/*{settings,empty_response,native_output,structure,signature,stream}*.request.json",
	     request);
}

/* What an answer says, read by another library. */
struct recorded {
	char text[65536], finish[64];
	size_t calls;
	uint64_t prompt, completion;
};

static void take_recorded(yyjson_val *root, struct recorded *to)
{
	yyjson_val *candidate = yyjson_arr_get_first(yyjson_obj_get(root, "candidates")), *part;
	yyjson_val *usage = yyjson_obj_get(root, "usageMetadata");
	size_t i, n;

	yyjson_arr_foreach(yyjson_obj_get(yyjson_obj_get(candidate, "content"), "parts"), i, n, part)
	{
		const char *text = yyjson_get_str(yyjson_obj_get(part, "text"));

		if (text && !yyjson_get_bool(yyjson_obj_get(part, "thought")))
			snprintf(to->text + strlen(to->text), sizeof to->text - strlen(to->text), "%s", text);
		to->calls += yyjson_obj_get(yyjson_obj_get(part, "functionCall"), "name") != NULL;
	}
	if (yyjson_obj_get(candidate, "finishReason"))
		snprintf(to->finish, sizeof to->finish, "%s",
			 yyjson_get_str(yyjson_obj_get(candidate, "finishReason")));
	if (!yyjson_obj_get(usage, "promptTokenCount"))
		return;
	to->prompt = yyjson_get_uint(yyjson_obj_get(usage, "promptTokenCount"));
	to->completion = yyjson_get_uint(yyjson_obj_get(usage, "candidatesTokenCount")) +
			 yyjson_get_uint(yyjson_obj_get(usage, "thoughtsTokenCount"));
}

static enum rl_finish expected_finish(const struct recorded *was)
{
	if (strcmp(was->finish, "MAX_TOKENS") == 0)
		return RL_FINISH_LENGTH;
	if (strcmp(was->finish, "STOP") == 0)
		return was->calls ? RL_FINISH_TOOL_CALLS : RL_FINISH_STOP;
	return RL_FINISH_CONTENT_FILTER;
}

static void answer(struct rl_arena *arena, const char *path, rl_str text)
{
	struct rl_chat_response response;
	struct recorded *was = RL_NEW(arena, struct recorded);
	struct rl_glance glance;
	struct rl_buf out;
	yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
	size_t calls = 0, texts = 0;

	take_recorded(yyjson_doc_get_root(doc), was);
	yyjson_doc_free(doc);
	if (gemini()->glance_answer(RL_OP_CHAT, text, &glance) || glance.error ||
	    gemini()->parse_response(RL_OP_CHAT, text, arena, &response))
		fail_msg("%s", path);
	assert_int_equal(glance.usage.prompt_tokens, was->prompt);
	assert_int_equal(glance.usage.completion_tokens, was->completion);
	rl_buf_init(&out, 16 << 20);
	gemini()->write_response(RL_OP_CHAT, &response, google(arena), &out);
	assert_same(path, rl_buf_str(&out), text);
	rl_buf_reset(&out);
	openai()->write_response(RL_OP_CHAT, &response, plain_reader(arena), &out);
	assert_int_equal(openai()->parse_response(RL_OP_CHAT, rl_buf_str(&out), arena, &response), RL_OK);
	for (size_t i = 0; i < response.choices[0].message.n_parts; i++) {
		const struct rl_part *part = &response.choices[0].message.parts[i];

		calls += part->kind == RL_PART_TOOL_CALL;
		if (part->kind == RL_PART_TEXT)
			texts += part->text.n;
	}
	assert_int_equal(calls, was->calls);
	assert_int_equal(texts, strlen(was->text));
	assert_int_equal(response.choices[0].finish, expected_finish(was));
	assert_int_equal(response.usage.prompt_tokens, was->prompt);
	rl_buf_fini(&out);
}

static void answers(void **state)
{
	each(state, "lingua/*/google/{,followup-}response.json", answer);
	each(state,
	     "pydantic-ai/test_google/*{settings,empty_response,native_output,structure,blocked.1}*.response.json",
	     answer);
}

/* --- streams --- */

struct told {
	struct rl_buf text, arguments;
	size_t calls, seals;
	enum rl_finish finish;
	uint64_t prompt, completion;
	struct rl_encoder *encoder;
	struct rl_buf *out;
};

static enum rl_err hear(void *user, const struct rl_event *event)
{
	struct told *told = user;

	switch (event->kind) {
	case RL_EVENT_TEXT:
		rl_buf_add(&told->text, event->text);
		break;
	case RL_EVENT_TOOL_CALL_START:
		told->calls++;
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		rl_buf_add(&told->arguments, event->text);
		break;
	case RL_EVENT_REASONING:
		told->seals += event->signature.n;
		break;
	case RL_EVENT_FINISH:
		told->finish = event->finish;
		break;
	case RL_EVENT_USAGE:
		told->prompt = event->usage.prompt_tokens;
		told->completion = event->usage.completion_tokens;
		break;
	default:
		assert_int_not_equal(event->kind, RL_EVENT_ERROR);
	}
	if (told->encoder)
		gemini()->encode_event(told->encoder, event, told->out);
	return RL_OK;
}

static void told_init(struct told *told)
{
	*told = (struct told){.calls = 0};
	rl_buf_init(&told->text, 16 << 20);
	rl_buf_init(&told->arguments, 16 << 20);
}

static void told_fini(struct told *told)
{
	rl_buf_fini(&told->text);
	rl_buf_fini(&told->arguments);
}

/* Bytes in pieces of `step`, through the framing, to what is told. */
static void decode(struct rl_arena *arena, const char *path, enum rl_framing framing, rl_str bytes, size_t step,
		   struct told *told)
{
	struct rl_decoder codec;
	struct rl_frames frames;
	struct rl_sse_event event;

	rl_decoder_init(&codec);
	codec.own = rl_arena_zalloc(arena, 1, gemini()->decoder_bytes);
	rl_frames_init(&frames, framing, 1 << 22);
	for (size_t at = 0; at < bytes.n; at += step) {
		enum rl_err err;

		rl_frames_feed(&frames, rl_str_sub(bytes, at, step));
		while (!(err = rl_frames_next(&frames, &event)))
			if (event.has_data &&
			    gemini()->decode_event(RL_OP_CHAT, &codec, event.name, event.data, arena, hear, told))
				fail_msg("%s: %.*s", path, RL_STR_ARG(event.data));
		assert_int_equal(err, RL_ERR_AGAIN);
	}
	if (rl_frames_last(&frames, &event) == RL_OK && event.has_data)
		assert_int_equal(gemini()->decode_event(RL_OP_CHAT, &codec, event.name, event.data, arena, hear, told),
				 RL_OK);
	rl_frames_fini(&frames);
}

static void assert_told(const char *path, const struct told *a, const struct told *b)
{
	if (!rl_str_eq(rl_buf_str(&a->text), rl_buf_str(&b->text)) ||
	    !rl_str_eq(rl_buf_str(&a->arguments), rl_buf_str(&b->arguments)) || a->calls != b->calls ||
	    a->seals != b->seals || a->finish != b->finish || a->prompt != b->prompt || a->completion != b->completion)
		fail_msg("%s: not told the same", path);
}

/* Through the encoder in either form, and in any cuts. */
static void check_stream(struct rl_arena *arena, const char *path, rl_str sse)
{
	static const struct rl_event end = {.kind = RL_EVENT_DONE};

	for (int array = 0; array < 2; array++) {
		struct rl_encoder encoder;
		struct told first, again, cut;
		struct rl_buf out;
		enum rl_framing framing = array ? RL_FRAMING_ARRAY : RL_FRAMING_SSE;

		told_init(&first);
		told_init(&again);
		told_init(&cut);
		rl_buf_init(&out, 16 << 20);
		rl_encoder_init(&encoder, RL_OP_CHAT, true);
		encoder.array = array;
		encoder.own = rl_arena_zalloc(arena, 1, gemini()->encoder_bytes);
		first.encoder = &encoder;
		first.out = &out;
		decode(arena, path, RL_FRAMING_SSE, sse, sse.n, &first);
		gemini()->encode_event(&encoder, &end, &out);
		assert_true(rl_buf_ok(&out) && first.finish);
		decode(arena, path, framing, rl_buf_str(&out), out.n, &again);
		decode(arena, path, framing, rl_buf_str(&out), 1, &cut);
		assert_told(path, &first, &again);
		assert_told(path, &first, &cut);
		gemini()->encoder_fini(&encoder);
		rl_encoder_fini(&encoder);
		rl_buf_fini(&out);
		told_fini(&first);
		told_fini(&again);
		told_fini(&cut);
	}
}

static void sse_file(struct rl_arena *arena, const char *path, rl_str text)
{
	check_stream(arena, path, text);
}

/* A payload a line. */
static void lines_file(struct rl_arena *arena, const char *path, rl_str text)
{
	struct rl_buf sse;

	rl_buf_init(&sse, 16 << 20);
	while (text.p) {
		rl_str line = rl_str_cut(&text, '\n');

		if (!line.n)
			continue;
		RL_BUF_LIT(&sse, "data: ");
		rl_buf_add(&sse, line);
		RL_BUF_LIT(&sse, "\r\n\r\n");
	}
	check_stream(arena, path, rl_buf_str(&sse));
	rl_buf_fini(&sse);
}

/* An array, as the API sends it without alt=sse; what is told is what another library reads. */
static void array_file(struct rl_arena *arena, const char *path, rl_str text)
{
	struct recorded *was = RL_NEW(arena, struct recorded);
	yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
	struct told told;
	yyjson_val *piece;
	size_t i, n;

	yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, piece) take_recorded(piece, was);
	yyjson_doc_free(doc);
	told_init(&told);
	decode(arena, path, RL_FRAMING_ARRAY, text, 7, &told);
	assert_text(rl_buf_str(&told.text), was->text);
	assert_int_equal(told.calls, was->calls);
	assert_int_equal(told.finish, expected_finish(was));
	assert_int_equal(told.prompt, was->prompt);
	assert_int_equal(told.completion, was->completion);
	told_fini(&told);
}

static void streams(void **state)
{
	each(state, "lingua/*/google/{,followup-}response-streaming.json", array_file);
	each(state, "vercel-ai/google/*.chunks.txt", lines_file);
	each(state, "pydantic-ai/test_google/*.sse", sse_file);
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
	const struct CMUnitTest tests[] = {arena_test(requests), arena_test(answers), arena_test(streams)};

	find_folder();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
