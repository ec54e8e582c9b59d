/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded traffic of Anthropic, where a folder of it is at hand (RELAIS_FIXTURES, or
 * ../shared/fixtures beside the repository): every stream decodes, is the same after it
 * was written and read again, however it was cut, and says the same to a stranger; so
 * do answers and requests. Without the folder each test is skipped.
 */
#include "test_anthropic_help.h"

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

/* What a stream said, gathered: pieces joined, so that how it was cut plays no part. */
struct told {
	struct rl_buf text, thoughts, seals, calls, raw;
	enum rl_finish finish;
	struct rl_usage usage;
	bool done, error;
};

static void open_told(struct told *t)
{
	*t = (struct told){.done = false};
	rl_buf_init(&t->text, 4 << 20);
	rl_buf_init(&t->thoughts, 4 << 20);
	rl_buf_init(&t->seals, 4 << 20);
	rl_buf_init(&t->calls, 4 << 20);
	rl_buf_init(&t->raw, 4 << 20);
}

static void close_told(struct told *t)
{
	rl_buf_fini(&t->text);
	rl_buf_fini(&t->thoughts);
	rl_buf_fini(&t->seals);
	rl_buf_fini(&t->calls);
	rl_buf_fini(&t->raw);
}

static enum rl_err tell(void *user, const struct rl_event *e)
{
	struct told *t = user;

	switch (e->kind) {
	case RL_EVENT_TEXT:
		rl_buf_add(&t->text, e->text);
		break;
	case RL_EVENT_REASONING:
		rl_buf_add(&t->thoughts, e->text);
		rl_buf_add(&t->seals, e->signature);
		rl_buf_add(&t->seals, e->redacted);
		break;
	case RL_EVENT_CITATION:
		rl_buf_add(&t->raw, e->citation->json);
		break;
	case RL_EVENT_TOOL_CALL_START:
		rl_buf_printf(&t->calls, "\n%.*s %.*s ", RL_STR_ARG(e->id), RL_STR_ARG(e->name));
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		rl_buf_add(&t->calls, e->text);
		break;
	case RL_EVENT_EXTRA:
		for (size_t i = 0; i < e->extras.n; i++)
			rl_buf_add(&t->raw, e->extras.v[i].json);
		break;
	case RL_EVENT_FINISH:
		t->finish = e->finish;
		break;
	case RL_EVENT_USAGE:
		t->usage = e->usage;
		break;
	case RL_EVENT_DONE:
		t->done = true;
		break;
	case RL_EVENT_ERROR:
		t->error = true;
		break;
	default:
		break;
	}
	return RL_OK;
}

struct pass {
	const struct rl_dialect *to;
	struct rl_encoder codec;
	struct rl_buf out;
	struct told *told;
};

static enum rl_err tell_and_pass(void *user, const struct rl_event *event)
{
	struct pass *pass = user;

	pass->to->encode_event(&pass->codec, event, &pass->out);
	return tell(pass->told, event);
}

/* A stream, fed in pieces of `cut` bytes, to what it tells and to what `to` makes of it. */
static enum rl_err run(void **state, const struct rl_dialect *from, rl_str stream, size_t cut, struct pass *pass)
{
	struct rl_frames frames;
	struct rl_sse_event event;
	struct rl_decoder decoder;
	enum rl_err err = RL_OK;

	rl_decoder_init(&decoder);
	decoder.own = calloc(1, from->decoder_bytes + 1);
	rl_encoder_init(&pass->codec, RL_OP_CHAT, true);
	pass->codec.own = calloc(1, pass->to->encoder_bytes + 1);
	assert_non_null(decoder.own);
	assert_non_null(pass->codec.own);
	rl_buf_init(&pass->out, 16 << 20);
	rl_frames_init(&frames, RL_FRAMING_SSE, 4 << 20);
	for (size_t at = 0; at < stream.n; at += cut) {
		rl_frames_feed(&frames, rl_str_sub(stream, at, cut));
		while (!err && rl_frames_next(&frames, &event) == RL_OK)
			if (event.has_data)
				err = from->decode_event(RL_OP_CHAT, &decoder, event.name, event.data, *state,
							 tell_and_pass, pass);
	}
	rl_frames_fini(&frames);
	if (pass->to->encoder_fini)
		pass->to->encoder_fini(&pass->codec);
	rl_encoder_fini(&pass->codec);
	free(pass->codec.own);
	free(decoder.own);
	assert_true(rl_buf_ok(&pass->out));
	return err;
}

static void assert_same(const char *path, const char *what, const struct rl_buf *a, const struct rl_buf *b)
{
	if (!rl_str_eq(rl_buf_str(a), rl_buf_str(b)))
		fail_msg("%s: %s differs:\n%.*s\n%.*s", path, what, RL_STR_ARG(rl_buf_str(a)),
			 RL_STR_ARG(rl_buf_str(b)));
}

static void assert_told_same(const char *path, const struct told *a, const struct told *b, bool stranger)
{
	assert_same(path, "text", &a->text, &b->text);
	assert_same(path, "thoughts", &a->thoughts, &b->thoughts);
	assert_same(path, "calls", &a->calls, &b->calls);
	if (!stranger) {
		assert_same(path, "seals", &a->seals, &b->seals);
		assert_same(path, "raw", &a->raw, &b->raw);
	}
	assert_int_equal(a->finish, b->finish);
	assert_int_equal(a->done, b->done);
	assert_int_equal(a->usage.prompt_tokens, b->usage.prompt_tokens);
	assert_int_equal(a->usage.cached_tokens, b->usage.cached_tokens);
	assert_int_equal(a->usage.completion_tokens, b->usage.completion_tokens);
}

/* What comes out of `to`, read again by it, says the same; and so does the stream in pieces. */
static void check_round(void **state, const char *path, rl_str stream, const struct told *wanted,
			const struct rl_dialect *to)
{
	struct told first, again;
	struct pass one = {.to = to, .told = &first}, two = {.to = to, .told = &again};

	open_told(&first);
	open_told(&again);
	assert_int_equal(run(state, anthropic(), stream, 7, &one), RL_OK);
	assert_told_same(path, wanted, &first, false);
	assert_int_equal(run(state, to, rl_buf_str(&one.out), 4096, &two), RL_OK);
	assert_told_same(path, wanted, &again, to != anthropic());
	rl_buf_fini(&one.out);
	rl_buf_fini(&two.out);
	close_told(&first);
	close_told(&again);
}

/* Cut anywhere, a stream never ends well and never says anything that it does not say whole. */
static void check_cuts(void **state, rl_str stream, const struct told *whole)
{
	for (size_t n = 1; n < stream.n; n += 1 + stream.n / 200) {
		struct told part;
		struct pass pass = {.to = anthropic(), .told = &part};

		open_told(&part);
		assert_int_equal(run(state, anthropic(), rl_str_sub(stream, 0, n), n, &pass), RL_OK);
		assert_true(rl_str_starts(rl_buf_str(&whole->text), rl_buf_str(&part.text)));
		assert_true(rl_str_starts(rl_buf_str(&whole->seals), rl_buf_str(&part.seals)));
		rl_buf_fini(&pass.out);
		close_told(&part);
	}
}

static void check_stream(void **state, const char *path, rl_str stream)
{
	struct told whole, bytes;
	struct pass pass = {.to = anthropic(), .told = &whole}, single = {.to = anthropic(), .told = &bytes};

	open_told(&whole);
	open_told(&bytes);
	if (run(state, anthropic(), stream, stream.n, &pass))
		fail_msg("%s does not decode", path);
	if (!whole.done || !whole.finish || !whole.usage.known)
		fail_msg("%s: done %d, finish %d, usage %d", path, whole.done, whole.finish, whole.usage.known);
	assert_int_equal(run(state, anthropic(), stream, 1, &single), RL_OK);
	assert_told_same(path, &whole, &bytes, false);
	assert_true(rl_str_eq(rl_buf_str(&pass.out), rl_buf_str(&single.out)));
	check_round(state, path, stream, &whole, anthropic());
	check_round(state, path, stream, &whole, openai());
	check_cuts(state, stream, &whole);
	rl_buf_fini(&pass.out);
	rl_buf_fini(&single.out);
	close_told(&whole);
	close_told(&bytes);
	rl_arena_reset(*state);
}

/* Payloads as the events that they were. */
static void frame(struct rl_buf *out, rl_str payload)
{
	yyjson_doc *doc = yyjson_read(payload.p, payload.n, 0);
	const char *type = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "type"));
	size_t n;
	char *line = yyjson_write(doc, 0, &n);

	assert_non_null(line);
	rl_buf_printf(out, "event: %s\ndata: ", type ? type : "");
	rl_buf_add(out, rl_str_make(line, n));
	RL_BUF_LIT(out, "\n\n");
	free(line);
	yyjson_doc_free(doc);
}

/* Begun anew in the middle: no stream. Begun twice in one breath: a stream. */
static bool is_spliced(const char *path)
{
	return strstr(path, "spliced") != NULL;
}

static void chunk_lines(void **state, const char *path, rl_str text)
{
	struct rl_buf stream;
	rl_str rest = text;

	rl_buf_init(&stream, 16 << 20);
	while (rest.p) {
		rl_str line = rl_str_cut(&rest, '\n');

		if (line.n && line.p[0] == '{')
			frame(&stream, line);
	}
	if (is_spliced(path)) {
		struct told told;
		struct pass pass = {.to = anthropic(), .told = &told};

		open_told(&told);
		assert_int_equal(run(state, anthropic(), rl_buf_str(&stream), stream.n, &pass), RL_ERR_SYNTAX);
		rl_buf_fini(&pass.out);
		close_told(&told);
	} else {
		check_stream(state, path, rl_buf_str(&stream));
	}
	rl_buf_fini(&stream);
}

static void chunk_array(void **state, const char *path, rl_str text)
{
	struct rl_buf stream;
	struct rl_json_iter iter;
	rl_str element;

	assert_int_equal(rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL), RL_OK);
	rl_buf_init(&stream, 16 << 20);
	rl_json_iter_array(&iter, text);
	while (rl_json_iter_next(&iter, &element))
		frame(&stream, element);
	check_stream(state, path, rl_buf_str(&stream));
	rl_buf_fini(&stream);
}

static void streams(void **state)
{
	each(state, "vercel-ai/anthropic/*.chunks.txt", chunk_lines);
	each(state, "pydantic-ai/test_anthropic/*.response.sse", check_stream);
}

static void streams_of_lingua(void **state)
{
	each(state, "lingua/*/anthropic/{,followup-}response-streaming.json", chunk_array);
}

/* --- whole bodies --- */

static void answer(void **state, const char *path, rl_str text)
{
	struct rl_chat_response one, two;
	struct rl_translation t;
	static const struct rl_facts facts = {.provider = RL_STR_INIT("p")};
	struct rl_glance glance;
	struct rl_buf out;

	if (strstr(path, "error.json") && anthropic()->glance_answer(RL_OP_CHAT, text, &glance) == RL_OK &&
	    glance.error)
		return;
	if (anthropic()->glance_answer(RL_OP_CHAT, text, &glance) ||
	    anthropic()->parse_response(RL_OP_CHAT, text, *state, &one))
		fail_msg("%s does not parse", path);
	assert_true(glance.finish && glance.usage.known && one.usage.known);
	assert_int_equal(glance.usage.prompt_tokens, one.usage.prompt_tokens);
	rl_translation_init(&t, *state, &facts, false);
	rl_buf_init(&out, 4 << 20);
	anthropic()->write_response(RL_OP_CHAT, &one, &t, &out);
	if (!json_same(rl_buf_str(&out), text))
		fail_msg("%s", path);
	rl_buf_reset(&out);
	openai()->write_response(RL_OP_CHAT, &one, &t, &out);
	assert_true(rl_buf_ok(&out));
	assert_int_equal(openai()->parse_response(RL_OP_CHAT, rl_buf_str(&out), *state, &two), RL_OK);
	assert_int_equal(two.choices[0].finish, one.choices[0].finish);
	assert_int_equal(two.usage.prompt_tokens, one.usage.prompt_tokens);
	assert_int_equal(two.usage.cached_tokens, one.usage.cached_tokens);
	assert_int_equal(two.usage.completion_tokens, one.usage.completion_tokens);
	rl_buf_fini(&out);
	rl_arena_reset(*state);
}

static void answers(void **state)
{
	each(state, "vercel-ai/anthropic/*.json", answer);
	each(state, "lingua/*/anthropic/{,followup-}response.json", answer);
}

/* Read, written and read again, a request is the same; written for a stranger, nothing stands in the way. */
static void request(void **state, const char *path, rl_str text)
{
	struct rl_chat_request one, two;
	struct rl_fault fault = {.status = 0};
	struct rl_translation *t = plain_reader(*state);
	struct rl_buf first, second;

	if (anthropic()->parse_request(RL_OP_CHAT, text, *state, &one, &fault))
		fail_msg("%s: %.*s", path, RL_STR_ARG(fault.message));
	rl_buf_init(&first, 4 << 20);
	rl_buf_init(&second, 4 << 20);
	anthropic()->write_request(RL_OP_CHAT, &one, t, &first);
	assert_int_equal(t->err, RL_OK);
	assert_int_equal(anthropic()->parse_request(RL_OP_CHAT, rl_buf_str(&first), *state, &two, &fault), RL_OK);
	anthropic()->write_request(RL_OP_CHAT, &two, t, &second);
	assert_true(rl_str_eq(rl_buf_str(&first), rl_buf_str(&second)));
	assert_int_equal(t->n_dropped, 0);
	rl_buf_fini(&first);
	rl_buf_fini(&second);
	rl_arena_reset(*state);
}

static void requests(void **state)
{
	each(state, "lingua/*/anthropic/{,followup-}request.json", request);
}

/* The same conversation as OpenAI's clients wrote it comes through, or is refused for what nobody could say here. */
static void foreign_request(void **state, const char *path, rl_str text)
{
	struct rl_chat_request one, two;
	struct rl_fault fault = {.status = 0};
	struct rl_translation *t = plain_reader(*state);
	struct rl_buf out;

	if (openai()->parse_request(RL_OP_CHAT, text, *state, &one, &fault))
		fail_msg("%s: %.*s", path, RL_STR_ARG(fault.message));
	rl_buf_init(&out, 4 << 20);
	anthropic()->write_request(RL_OP_CHAT, &one, t, &out);
	if (one.n > 1)
		assert_int_equal(t->err, RL_ERR_UNSUPPORTED);
	else if (t->err)
		fail_msg("%s: %.*s", path, RL_STR_ARG(t->fault.message));
	else
		assert_int_equal(anthropic()->parse_request(RL_OP_CHAT, rl_buf_str(&out), *state, &two, &fault), RL_OK);
	rl_buf_fini(&out);
	rl_arena_reset(*state);
}

static void requests_of_strangers(void **state)
{
	each(state, "lingua/*/chat-completions/{,followup-}request.json", foreign_request);
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
		arena_test(streams),  arena_test(streams_of_lingua),     arena_test(answers),
		arena_test(requests), arena_test(requests_of_strangers),
	};

	find_folder();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
