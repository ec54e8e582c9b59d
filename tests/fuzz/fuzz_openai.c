/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAI dialect on anything: requests, answers, streams, errors. The first
 * byte picks the function and the operation; the rest is the input. Checked beside
 * memory: an edited body is the old one but for its edits, what is written is
 * JSON, what was parsed and written parses to the same again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <yyjson.h>

#include "dialect/dialect.h"

#define CHECK(condition)                                                   \
	do {                                                               \
		if (!(condition)) {                                        \
			fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
			abort();                                           \
		}                                                          \
	} while (0)

static const struct rl_dialect *dialect;
static struct rl_arena arena;

static rl_str in_arena(const struct rl_buf *buf)
{
	rl_str copy = rl_arena_dup(&arena, rl_buf_str(buf));

	CHECK(copy.p);
	return copy;
}

/* The value of the old body with the edits made by yyjson. */
static yyjson_mut_doc *expected(rl_str body, const struct rl_edit *edit, const struct rl_envelope *env)
{
	yyjson_doc *doc = yyjson_read(body.p, body.n, YYJSON_READ_NUMBER_AS_RAW);
	yyjson_mut_doc *mut = doc ? yyjson_doc_mut_copy(doc, NULL) : NULL;

	yyjson_doc_free(doc);
	if (!mut)
		return NULL;
	yyjson_mut_val *root = yyjson_mut_doc_get_root(mut);

	yyjson_mut_obj_put(root, yyjson_mut_str(mut, "model"), yyjson_mut_strn(mut, edit->model.p, edit->model.n));
	if (edit->n_remove)
		yyjson_mut_obj_remove_key(root, "logit_bias");
	if (edit->n_set)
		yyjson_mut_obj_put(root, yyjson_mut_str(mut, "temperature"), yyjson_mut_raw(mut, "1"));
	if (edit->want_usage && env->stream && !env->usage_asked) {
		yyjson_mut_val *options = yyjson_mut_obj_get(root, "stream_options");

		if (!yyjson_mut_is_obj(options)) {
			options = yyjson_mut_obj(mut);
			yyjson_mut_obj_put(root, yyjson_mut_str(mut, "stream_options"), options);
		}
		yyjson_mut_obj_put(options, yyjson_mut_str(mut, "include_usage"), yyjson_mut_true(mut));
	}
	return mut;
}

/* Whether an object names a member twice: then value equality says little. */
static bool repeats(yyjson_mut_val *value)
{
	yyjson_mut_obj_iter one;
	yyjson_mut_val *key, *other;
	size_t at = 0;

	yyjson_mut_obj_iter_init(value, &one);
	while ((key = yyjson_mut_obj_iter_next(&one))) {
		yyjson_mut_obj_iter two;
		size_t k = 0;

		yyjson_mut_obj_iter_init(value, &two);
		while ((other = yyjson_mut_obj_iter_next(&two)) && k++ < at)
			if (yyjson_mut_equals(key, other))
				return true;
		at++;
	}
	return false;
}

static void fuzz_request(enum rl_operation op, rl_str body)
{
	static const struct rl_body_member set[] = {{RL_STR_INIT("temperature"), RL_STR_INIT("1")}};
	static const rl_str remove[] = {RL_STR_INIT("logit_bias")};
	struct rl_edit edit = {.model = RL_STR("the \"target\""), .want_usage = true};
	rl_str parts[RL_BODY_PARTS_MAX];
	struct rl_envelope env;
	struct rl_fault fault;
	struct rl_buf whole;
	size_t n = 0;

	if (dialect->read_envelope(op, body, &arena, &env, &fault)) {
		CHECK(fault.status == 400 && fault.message.n);
		return;
	}
	CHECK(env.model.n >= 1 && env.model.n <= 256);
	if (body.n % 2) {
		edit.set = set;
		edit.n_set = 1;
		edit.remove = remove;
		edit.n_remove = 1;
	}
	enum rl_err err = dialect->edit_body(body, &env, &edit, &arena, parts, &n);

	if (err) {
		CHECK(err == RL_ERR_DUPLICATE);
		return;
	}
	CHECK(n >= 1 && n <= RL_BODY_PARTS_MAX);
	rl_buf_init(&whole, 1 << 22);
	for (size_t i = 0; i < n; i++)
		rl_buf_add(&whole, parts[i]);
	yyjson_mut_doc *wanted = expected(body, &edit, &env);

	/* yyjson refuses what it cannot hold (half surrogates): then only our own check remains. */
	CHECK(dialect->read_envelope(op, rl_buf_str(&whole), &arena, &env, &fault) == RL_OK);
	CHECK(rl_str_eq(env.model, edit.model));
	CHECK(!env.stream || env.usage_asked);
	if (wanted) {
		yyjson_doc *is = yyjson_read(whole.p, whole.n, YYJSON_READ_NUMBER_AS_RAW);
		yyjson_mut_doc *copy = yyjson_doc_mut_copy(is, NULL);
		yyjson_mut_val *a = yyjson_mut_doc_get_root(copy), *b = yyjson_mut_doc_get_root(wanted);
		yyjson_mut_val *options = yyjson_mut_obj_get(b, "stream_options");

		CHECK(is);
		if (!repeats(a) && !repeats(b) && !(options && repeats(options)))
			CHECK(yyjson_mut_equals(a, b));
		yyjson_mut_doc_free(copy);
		yyjson_doc_free(is);
	}
	yyjson_mut_doc_free(wanted);
	rl_buf_fini(&whole);
}

/* The reader of what is written: one without peculiarities. */
static struct rl_translation *reader(void)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	static struct rl_translation t;

	rl_translation_init(&t, &arena, &facts, false);
	return &t;
}

static void fuzz_message(enum rl_operation op, rl_str body)
{
	struct rl_chat_request request;
	struct rl_fault fault;
	struct rl_buf out;

	rl_buf_init(&out, 1 << 22);
	if (dialect->parse_request(op, body, &arena, &request, &fault) == RL_OK) {
		dialect->write_request(op, &request, reader(), &out);
		CHECK(rl_buf_ok(&out));
		rl_str first = in_arena(&out);

		CHECK(rl_json_scan(first, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK);
		CHECK(dialect->parse_request(op, first, &arena, &request, &fault) == RL_OK);
		rl_buf_reset(&out);
		dialect->write_request(op, &request, reader(), &out);
		CHECK(rl_str_eq(first, rl_buf_str(&out)));
	} else {
		CHECK(fault.status == 400 && fault.message.n);
	}
	rl_buf_fini(&out);
}

static void fuzz_answer(enum rl_operation op, rl_str body)
{
	struct rl_chat_response response;
	struct rl_glance glance;
	struct rl_buf out;

	(void)dialect->glance_answer(op, body, &glance);
	if (dialect->parse_response(op, body, &arena, &response))
		return;
	rl_buf_init(&out, 1 << 22);
	response.encoding = (enum rl_encoding)(body.n % 3);
	dialect->write_response(op, &response, reader(), &out);
	CHECK(rl_buf_ok(&out));
	rl_str first = in_arena(&out);

	CHECK(rl_json_scan(first, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK);
	CHECK(dialect->parse_response(op, first, &arena, &response) == RL_OK);
	response.encoding = RL_ENCODING_UNSAID;
	rl_buf_reset(&out);
	dialect->write_response(op, &response, reader(), &out);
	CHECK(rl_str_eq(first, rl_buf_str(&out)));
	rl_buf_fini(&out);
}

struct pass {
	struct rl_encoder codec;
	struct rl_buf out;
};

static enum rl_err pass_on(void *user, const struct rl_event *event)
{
	struct pass *pass = user;

	dialect->encode_event(&pass->codec, event, &pass->out);
	return RL_OK;
}

/* What the events before were like must not change what this one is. */
static void check_glance(enum rl_operation op, rl_str data, struct rl_json_form *form)
{
	struct rl_json_form none = {.n_strings = 0};
	struct rl_glance alone, after;

	memset(&alone, 0, sizeof alone);
	memset(&after, 0, sizeof after);
	enum rl_err err = dialect->glance_event(op, RL_STR(""), data, &none, &alone);
	CHECK(dialect->glance_event(op, RL_STR(""), data, form, &after) == err);
	CHECK(err || (alone.content == after.content && alone.finish == after.finish && alone.done == after.done &&
		      alone.error == after.error && alone.usage_only == after.usage_only &&
		      alone.usage.known == after.usage.known && alone.finish_reason == after.finish_reason));
}

/* Every line is an event's data; what the encoder makes of it must be events of this dialect. */
static void fuzz_stream(enum rl_operation op, rl_str text)
{
	struct rl_decoder codec;
	struct rl_glance glance;
	struct rl_json_form form = {.n_strings = 0};
	struct pass pass;
	rl_str rest = text;

	rl_decoder_init(&codec);
	rl_encoder_init(&pass.codec, op, text.n % 2);
	rl_buf_init(&pass.out, 1 << 22);
	while (rest.p) {
		rl_str data = rl_str_cut(&rest, '\n');

		check_glance(op, data, &form);
		if (dialect->decode_event(op, &codec, RL_STR(""), data, &arena, pass_on, &pass))
			break;
	}
	rest = rl_buf_str(&pass.out);
	while (rl_buf_ok(&pass.out) && rest.p && rest.n) {
		rl_str line = rl_str_cut(&rest, '\n'), blank = rl_str_cut(&rest, '\n');

		CHECK(blank.n == 0 && rl_str_starts(line, RL_STR("data: ")));
		line = rl_str_sub(line, 6, SIZE_MAX);
		CHECK(dialect->glance_event(op, RL_STR(""), line, &form, &glance) == RL_OK);
	}
	rl_encoder_fini(&pass.codec);
	rl_buf_fini(&pass.out);
}

static void fuzz_error(uint16_t status, rl_str body)
{
	struct rl_fault fault = {.cls = dialect->classify(status, body), .status = status};
	struct rl_buf out;
	rl_str *ids;
	size_t n;

	CHECK(fault.cls != RL_FAULT_NONE);
	fault.message = dialect->error_text(body, &arena);
	CHECK(fault.message.n <= 300);
	rl_buf_init(&out, 1 << 16);
	dialect->write_error(&fault, &out);
	CHECK(rl_json_scan(rl_buf_str(&out), NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK);
	rl_buf_fini(&out);
	(void)dialect->read_models(body, &arena, &ids, &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum rl_operation ops[] = {RL_OP_CHAT, RL_OP_COMPLETION, RL_OP_EMBEDDING, RL_OP_CHAT};
	static const uint16_t statuses[] = {200, 400, 429, 503};

	if (!dialect)
		dialect = rl_dialect_find(RL_STR("openai"));
	if (!size)
		return 0;
	rl_str text = rl_str_make(data + 1, size - 1);
	unsigned which = data[0] / 4 % 5, op = data[0] % 4;

	rl_arena_init(&arena, (size_t)64 << 20);
	switch (which) {
	case 0:
		fuzz_request(ops[op], text);
		break;
	case 1:
		fuzz_message(ops[op], text);
		break;
	case 2:
		fuzz_answer(ops[op], text);
		break;
	case 3:
		fuzz_stream(op == 1 ? RL_OP_COMPLETION : RL_OP_CHAT, text);
		break;
	default:
		fuzz_error(statuses[op], text);
	}
	rl_arena_fini(&arena);
	return 0;
}
