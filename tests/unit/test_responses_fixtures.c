/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded traffic of the Responses API, where a folder of it is at hand
 * (RELAIS_FIXTURES, or ../shared/fixtures beside the repository): whole answers go
 * round as values, streams decode to what their last event repeats, however their
 * bytes are cut, and go round as events; all of it becomes chat completions with the
 * same text, calls, finish and usage. Without the folder each test is skipped.
 */
#include "test_dialect_help.h"

#include <glob.h>
#include <unistd.h>

static char folder[1024];

static const struct rl_dialect *responses(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("responses"));

	assert_non_null(d);
	return d;
}

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

/* What an answer says, whatever the events or parts that said it. */
struct told {
	struct rl_buf text, thoughts, calls, seals;
	enum rl_finish finish;
	struct rl_usage usage;
	bool failed, done;
	size_t n_events;
};

static struct told *told_new(void **state)
{
	struct told *told = RL_NEW(*state, struct told);

	assert_non_null(told);
	rl_buf_init(&told->text, 16 << 20);
	rl_buf_init(&told->thoughts, 16 << 20);
	rl_buf_init(&told->calls, 16 << 20);
	rl_buf_init(&told->seals, 16 << 20);
	return told;
}

static void told_free(struct told *told)
{
	rl_buf_fini(&told->text);
	rl_buf_fini(&told->thoughts);
	rl_buf_fini(&told->calls);
	rl_buf_fini(&told->seals);
}

static void assert_same(const char *path, const struct told *a, const struct told *b, bool thoughts, bool seals)
{
	if (!rl_str_eq(rl_buf_str(&a->text), rl_buf_str(&b->text)))
		fail_msg("%s: text '%.*s', '%.*s'", path, RL_STR_ARG(rl_buf_str(&a->text)),
			 RL_STR_ARG(rl_buf_str(&b->text)));
	if (!rl_str_eq(rl_buf_str(&a->calls), rl_buf_str(&b->calls)))
		fail_msg("%s: calls '%.*s', '%.*s'", path, RL_STR_ARG(rl_buf_str(&a->calls)),
			 RL_STR_ARG(rl_buf_str(&b->calls)));
	if (thoughts && !rl_str_eq(rl_buf_str(&a->thoughts), rl_buf_str(&b->thoughts)))
		fail_msg("%s: thoughts '%.*s', '%.*s'", path, RL_STR_ARG(rl_buf_str(&a->thoughts)),
			 RL_STR_ARG(rl_buf_str(&b->thoughts)));
	if (seals && !rl_str_eq(rl_buf_str(&a->seals), rl_buf_str(&b->seals)))
		fail_msg("%s: seals", path);
	if (a->finish != b->finish || a->failed != b->failed || a->usage.prompt_tokens != b->usage.prompt_tokens ||
	    a->usage.completion_tokens != b->usage.completion_tokens ||
	    a->usage.reasoning_tokens != b->usage.reasoning_tokens)
		fail_msg("%s: finish %s, %s; usage %llu, %llu", path, rl_finish_name(a->finish),
			 rl_finish_name(b->finish), (unsigned long long)a->usage.prompt_tokens,
			 (unsigned long long)b->usage.prompt_tokens);
}

static enum rl_err tell(void *user, const struct rl_event *e)
{
	struct told *told = user;

	told->n_events++;
	switch (e->kind) {
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
		rl_buf_add(&told->text, e->text);
		break;
	case RL_EVENT_REASONING:
		rl_buf_add(&told->thoughts, e->text);
		rl_buf_add(&told->seals, e->signature);
		break;
	case RL_EVENT_TOOL_CALL_START:
		rl_buf_printf(&told->calls, "\n%.*s %.*s ", RL_STR_ARG(e->id), RL_STR_ARG(e->name));
		break;
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		rl_buf_add(&told->calls, e->text);
		break;
	case RL_EVENT_FINISH:
		told->finish = e->finish;
		break;
	case RL_EVENT_USAGE:
		told->usage = e->usage;
		break;
	case RL_EVENT_ERROR:
		told->failed = true;
		break;
	case RL_EVENT_DONE:
		told->done = true;
		break;
	default:
		break;
	}
	return RL_OK;
}

static void tell_answer(const struct rl_chat_response *response, struct told *told)
{
	const struct rl_choice *choice = &response->choices[0];

	for (size_t i = 0; i < choice->message.n_parts; i++) {
		const struct rl_part *part = &choice->message.parts[i];

		if (part->kind == RL_PART_TEXT || part->kind == RL_PART_REFUSAL) {
			rl_buf_add(&told->text, part->text);
		} else if (part->kind == RL_PART_REASONING) {
			rl_buf_add(&told->thoughts, part->reasoning.text);
			rl_buf_add(&told->seals, part->reasoning.signature);
		} else if (part->kind == RL_PART_TOOL_CALL) {
			rl_buf_printf(&told->calls, "\n%.*s %.*s ", RL_STR_ARG(part->call.id),
				      RL_STR_ARG(part->call.name));
			rl_buf_add(&told->calls, part->call.arguments);
		}
	}
	told->finish = choice->finish;
	told->usage = response->usage;
}

/* --- streams --- */

struct pass {
	const struct rl_dialect *to;
	struct rl_encoder codec;
	struct rl_buf out;
	struct told *told;
};

static enum rl_err pass_on(void *user, const struct rl_event *event)
{
	struct pass *pass = user;

	if (pass->to)
		pass->to->encode_event(&pass->codec, event, &pass->out);
	return tell(pass->told, event);
}

/* Decodes a stream's bytes, `cut` of them at a time; encodes its events for `to`, if that is not NULL. */
static void run(void **state, const char *path, const struct rl_dialect *from, const struct rl_dialect *to,
		rl_str bytes, size_t cut, struct pass *pass)
{
	struct rl_frames frames;
	struct rl_decoder codec;
	struct rl_sse_event event;
	enum rl_err err = RL_OK;

	*pass = (struct pass){.to = to, .told = told_new(state)};
	rl_encoder_init(&pass->codec, RL_OP_CHAT, true);
	pass->codec.own = calloc(1, (to ? to->encoder_bytes : 0) + 1);
	rl_buf_init(&pass->out, 32 << 20);
	rl_decoder_init(&codec);
	codec.own = calloc(1, from->decoder_bytes + 1);
	rl_frames_init(&frames, from->framing, 16 << 20);
	for (size_t at = 0; at < bytes.n && !err; at += cut) {
		rl_frames_feed(&frames, rl_str_sub(bytes, at, cut));
		while (!err && rl_frames_next(&frames, &event) == RL_OK)
			err = from->decode_event(RL_OP_CHAT, &codec, event.name, event.data, *state, pass_on, pass);
	}
	if (err)
		fail_msg("%s: %.*s, %zu bytes at a time: error %d in %.*s", path, RL_STR_ARG(from->name), cut, (int)err,
			 RL_STR_ARG(event.data));
	rl_frames_fini(&frames);
	free(codec.own);
}

static void end_run(struct pass *pass)
{
	if (pass->to && pass->to->encoder_fini)
		pass->to->encoder_fini(&pass->codec);
	rl_encoder_fini(&pass->codec);
	free(pass->codec.own);
	rl_buf_fini(&pass->out);
	told_free(pass->told);
}

/* The response that the last event repeats, read as a whole answer: what the events said as well. */
static void check_against_last(void **state, const char *path, rl_str bytes, const struct told *told)
{
	static const rl_str key = RL_STR_INIT("response");
	struct rl_chat_response response;
	struct rl_json_span span;
	rl_str last = {NULL, 0}, rest = bytes;

	/* Some recordings hold several answers: it is the first that is told. */
	while (rest.p && !text_has(last, "\"response.completed\"") && !text_has(last, "\"response.incomplete\"")) {
		rl_str line = rl_str_cut(&rest, '\n');

		if (rl_str_starts(line, RL_STR("data: {")))
			last = rl_str_sub(line, 6, SIZE_MAX);
	}
	rl_json_find(last, &key, 1, &span);
	if (span.type != RL_JSON_OBJECT || told->failed)
		return;
	assert_int_equal(responses()->parse_response(RL_OP_CHAT, rl_json_span_text(last, &span), *state, &response),
			 RL_OK);
	if (!response.choices[0].message.n_parts)
		return; /* some servers leave the list empty at the end */
	struct told *whole = told_new(state);

	tell_answer(&response, whole);
	assert_same(path, told, whole, true, false); /* what is sealed twice has two seals */
	told_free(whole);
}

static void check_stream(void **state, const char *path, rl_str bytes)
{
	struct pass first, again, round, chat, back;

	run(state, path, responses(), responses(), bytes, bytes.n, &first);
	if (!first.told->done && !first.told->failed) {
		end_run(&first); /* cut when it was recorded */
		return;
	}
	/* Of this one most deltas were taken out. */
	if (!strstr(path, "openai-phase"))
		check_against_last(state, path, bytes, first.told);
	/* One byte at a time it says the same in as many events. */
	run(state, path, responses(), NULL, bytes, 1, &again);
	assert_same(path, first.told, again.told, true, true);
	assert_int_equal(first.told->n_events, again.told->n_events);
	/* What we made of it says the same. */
	assert_true(rl_buf_ok(&first.out));
	run(state, path, responses(), NULL, rl_buf_str(&first.out), first.out.n, &round);
	assert_same(path, first.told, round.told, true, true);
	check_against_last(state, path, rl_buf_str(&first.out), first.told);
	/* And so does what a client of the other dialect gets, and what of that comes back. */
	run(state, path, responses(), openai(), bytes, bytes.n, &chat);
	run(state, path, openai(), responses(), rl_buf_str(&chat.out), chat.out.n, &back);
	assert_same(path, first.told, back.told, false, false);
	end_run(&first);
	end_run(&again);
	end_run(&round);
	end_run(&chat);
	end_run(&back);
}

/* Lines of data, without the rest of the framing. */
static void line_stream(void **state, const char *path, rl_str text)
{
	struct rl_buf bytes;
	rl_str rest = text;

	rl_buf_init(&bytes, 32 << 20);
	while (rest.p) {
		rl_str line = rl_str_cut(&rest, '\n');

		if (line.n)
			rl_buf_printf(&bytes, "data: %.*s\n\n", RL_STR_ARG(line));
	}
	check_stream(state, path, rl_buf_str(&bytes));
	rl_buf_fini(&bytes);
}

/* A JSON array of events. */
static void array_stream(void **state, const char *path, rl_str text)
{
	struct rl_json_iter iter;
	struct rl_buf bytes;
	rl_str element;

	rl_buf_init(&bytes, 32 << 20);
	rl_json_iter_array(&iter, text);
	while (rl_json_iter_next(&iter, &element)) {
		yyjson_doc *doc = yyjson_read(element.p, element.n, 0);
		size_t n;
		char *line = yyjson_write(doc, 0, &n);

		RL_BUF_LIT(&bytes, "data: ");
		rl_buf_add(&bytes, rl_str_make(line, n));
		RL_BUF_LIT(&bytes, "\n\n");
		free(line);
		yyjson_doc_free(doc);
	}
	check_stream(state, path, rl_buf_str(&bytes));
	rl_buf_fini(&bytes);
}

static void streams(void **state)
{
	/* The one beside these is not JSON. */
	each(state, "vercel-ai/openai/responses/{github,openai}*.chunks.txt", line_stream);
	each(state, "vercel-ai/open-responses/responses/*.chunks.txt", line_stream);
	each(state, "lingua/*/responses/{,followup-}response-streaming.json", array_stream);
	each(state, "pydantic-ai/test_openai_responses/*.response.sse", check_stream);
}

/* --- whole answers --- */

static bool is_response(rl_str text)
{
	yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
	yyjson_val *object = yyjson_obj_get(yyjson_doc_get_root(doc), "object");
	bool is = yyjson_equals_str(object, "response");

	yyjson_doc_free(doc);
	return is;
}

static void check_answer(void **state, const char *path, rl_str text)
{
	struct rl_chat_response one, two;
	struct rl_glance glance;
	struct rl_buf out;
	struct told *told = told_new(state), *again = told_new(state);

	if (!is_response(text))
		return;
	assert_int_equal(responses()->glance_answer(RL_OP_CHAT, text, &glance), RL_OK);
	if (responses()->parse_response(RL_OP_CHAT, text, *state, &one) != RL_OK)
		fail_msg("%s", path);
	rl_buf_init(&out, 16 << 20);
	responses()->write_response(RL_OP_CHAT, &one, plain_reader(*state), &out);
	if (!json_same(rl_buf_str(&out), text))
		fail_msg("%s", path);
	assert_int_equal(one.usage.prompt_tokens, glance.usage.prompt_tokens);
	rl_buf_reset(&out);
	openai()->write_response(RL_OP_CHAT, &one, plain_reader(*state), &out);
	assert_int_equal(openai()->parse_response(RL_OP_CHAT, rl_buf_str(&out), *state, &two), RL_OK);
	tell_answer(&one, told);
	tell_answer(&two, again);
	assert_same(path, told, again, false, false);
	told_free(told);
	told_free(again);
	rl_buf_fini(&out);
}

static void answers(void **state)
{
	each(state, "vercel-ai/openai/responses/openai-reasoning*.json", check_answer);
	each(state, "vercel-ai/open-responses/responses/*.json", check_answer);
	each(state, "lingua/*/responses/{,followup-}response.json", check_answer);
	each(state, "llm/test_openai_responses/*.response.json", check_answer);
	each(state, "pydantic-ai/test_openai_responses/*.response.json", check_answer);
}

/* --- requests --- */

static void check_request(void **state, const char *path, rl_str text)
{
	struct rl_chat_request one, two;
	struct rl_envelope env;
	struct rl_fault fault = {.status = 0};
	struct rl_buf first, second;
	struct rl_translation *t = plain_reader(*state);

	if (responses()->read_envelope(RL_OP_CHAT, text, *state, &env, &fault))
		fail_msg("%s: %.*s", path, RL_STR_ARG(fault.message));
	enum rl_err err = responses()->parse_request(RL_OP_CHAT, text, *state, &one, &fault);

	if (env.stateful) {
		assert_int_equal(err, RL_ERR_SYNTAX);
		return;
	}
	if (err) /* the recorded ones that are not for this route have no model */
		fail_msg("%s: %.*s", path, RL_STR_ARG(fault.message));
	rl_buf_init(&first, 16 << 20);
	rl_buf_init(&second, 16 << 20);
	responses()->write_request(RL_OP_CHAT, &one, t, &first);
	assert_int_equal(t->n_dropped, 0);
	assert_int_equal(responses()->parse_request(RL_OP_CHAT, rl_buf_str(&first), *state, &two, &fault), RL_OK);
	responses()->write_request(RL_OP_CHAT, &two, plain_reader(*state), &second);
	if (!rl_str_eq(rl_buf_str(&first), rl_buf_str(&second)))
		fail_msg("%s: not stable", path);
	rl_buf_fini(&first);
	rl_buf_fini(&second);
}

static void requests(void **state)
{
	each(state, "lingua/*/responses/{,followup-}request.json", check_request);
	each(state, "llm/test_openai_responses/*.request.json", check_request);
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
	const struct CMUnitTest tests[] = {arena_test(streams), arena_test(answers), arena_test(requests)};

	find_folder();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
