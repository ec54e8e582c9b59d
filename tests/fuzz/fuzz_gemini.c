/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gemini dialect on anything: requests, answers, streams, errors. The first byte
 * picks the function and the operation; the rest is the input. Checked beside memory:
 * what is written is JSON, what was parsed and written parses to the same again, what
 * OpenAI's dialect makes of it is JSON too, and streams in either form are whole.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "dialect/dialect.h"

#define CHECK(condition)                                                   \
	do {                                                               \
		if (!(condition)) {                                        \
			fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
			abort();                                           \
		}                                                          \
	} while (0)

static const struct rl_dialect *gemini, *openai;
static struct rl_arena arena;

static bool is_json(rl_str text)
{
	return rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK;
}

static rl_str in_arena(const struct rl_buf *buf)
{
	rl_str copy = rl_arena_dup(&arena, rl_buf_str(buf));

	CHECK(copy.p && rl_buf_ok(buf));
	return copy;
}

static struct rl_translation *reader(uint64_t quirks)
{
	static struct rl_facts facts = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("gemini-3-pro")};
	static struct rl_translation t;

	facts.quirks = quirks;
	rl_translation_init(&t, &arena, &facts, false);
	return &t;
}

/* A request as `to` writes it; empty when it was refused. */
static rl_str written(const struct rl_dialect *to, enum rl_operation op, const struct rl_chat_request *request,
		      uint64_t quirks)
{
	struct rl_translation *t = reader(quirks);
	rl_str text = {NULL, 0};
	struct rl_buf out;

	rl_buf_init(&out, 1 << 23);
	to->write_request(op, request, t, &out);
	if (!t->err) {
		text = in_arena(&out);
		CHECK(is_json(text));
	} else {
		CHECK(t->err != RL_ERR_UNSUPPORTED || t->fault.message.n);
	}
	rl_buf_fini(&out);
	return text;
}

static void fuzz_request(enum rl_operation op, rl_str body)
{
	struct rl_edit edit = {.model = RL_STR("the \"target\"")};
	rl_str parts[RL_BODY_PARTS_MAX], first, second;
	struct rl_chat_request request;
	struct rl_envelope env;
	struct rl_fault fault;
	struct rl_buf whole;
	size_t n = 0;

	if (gemini->read_envelope(op, body, &arena, &env, &fault) == RL_OK) {
		env.model = RL_STR("another");
		enum rl_err err = gemini->edit_body(body, &env, &edit, &arena, parts, &n);

		CHECK(!err || err == RL_ERR_NOMEM);
		rl_buf_init(&whole, 1 << 22);
		for (size_t i = 0; !err && i < n; i++)
			rl_buf_add(&whole, parts[i]);
		CHECK(err || is_json(rl_buf_str(&whole)));
		rl_buf_fini(&whole);
	} else {
		CHECK(fault.status == 400 && fault.message.n);
	}
	if (gemini->parse_request(op, body, &arena, &request, &fault)) {
		CHECK(fault.status == 400 && fault.message.n);
		return;
	}
	first = written(gemini, op, &request, 0);
	if (op != RL_OP_COUNT_TOKENS) {
		request.model = RL_STR("m");
		(void)written(openai, op, &request, 0);
	}
	if (!first.p)
		return;
	CHECK(gemini->parse_request(op, first, &arena, &request, &fault) == RL_OK);
	second = written(gemini, op, &request, 0);
	CHECK(rl_str_eq(first, second));
}

static void fuzz_from_openai(enum rl_operation op, rl_str body)
{
	struct rl_chat_request request;
	struct rl_fault fault;

	if (op == RL_OP_COUNT_TOKENS || openai->parse_request(op, body, &arena, &request, &fault))
		return;
	rl_str text = written(gemini, op, &request, body.n % 2 ? UINT64_C(1) << RL_QUIRK_SCHEMA_SUBSET : 0);

	if (text.p)
		CHECK(gemini->parse_request(op, text, &arena, &request, &fault) == RL_OK);
}

static void fuzz_answer(enum rl_operation op, rl_str body)
{
	struct rl_chat_response response;
	struct rl_glance glance;
	struct rl_buf out;

	(void)gemini->glance_answer(op, body, &glance);
	if (gemini->parse_response(op, body, &arena, &response))
		return;
	rl_buf_init(&out, 1 << 23);
	if (op != RL_OP_COUNT_TOKENS) {
		openai->write_response(op, &response, reader(0), &out);
		CHECK(is_json(in_arena(&out)));
		rl_buf_reset(&out);
	}
	gemini->write_response(op, &response, reader(0), &out);
	rl_str first = in_arena(&out);

	CHECK(is_json(first));
	CHECK(gemini->parse_response(op, first, &arena, &response) == RL_OK);
	rl_buf_reset(&out);
	gemini->write_response(op, &response, reader(0), &out);
	CHECK(rl_str_eq(first, rl_buf_str(&out)));
	rl_buf_fini(&out);
}

struct pass {
	const struct rl_dialect *to;
	struct rl_encoder codec;
	struct rl_buf out;
};

static enum rl_err pass_on(void *user, const struct rl_event *event)
{
	struct pass *pass = user;

	pass->to->encode_event(&pass->codec, event, &pass->out);
	return RL_OK;
}

/* Every line is an event's data; an array must be one JSON text, events one each. */
static void fuzz_stream(const struct rl_dialect *from, const struct rl_dialect *to, rl_str text)
{
	static const struct rl_event end = {.kind = RL_EVENT_DONE};
	struct rl_decoder codec;
	struct pass pass = {.to = to};
	struct rl_json_form form = {.n_strings = 0};
	struct rl_glance glance;
	rl_str rest = text;

	rl_decoder_init(&codec);
	codec.own = rl_arena_zalloc(&arena, 1, from->decoder_bytes + 1);
	rl_encoder_init(&pass.codec, RL_OP_CHAT, true);
	pass.codec.own = rl_arena_zalloc(&arena, 1, to->encoder_bytes + 1);
	pass.codec.array = text.n % 2;
	CHECK(codec.own && pass.codec.own);
	rl_buf_init(&pass.out, 1 << 23);
	while (rest.p) {
		rl_str data = rl_str_cut(&rest, '\n');

		(void)from->glance_event(RL_OP_CHAT, RL_STR(""), data, &form, &glance);
		if (from->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, &arena, pass_on, &pass))
			break;
	}
	pass_on(&pass, &end);
	if (to == gemini && rl_buf_ok(&pass.out)) {
		rest = rl_buf_str(&pass.out);
		CHECK(!pass.codec.array || is_json(rest));
		while (!pass.codec.array && rest.p && rest.n) {
			rl_str line = rl_str_cut(&rest, '\n'), blank = rl_str_cut(&rest, '\n');

			CHECK(rl_str_starts(line, RL_STR("data: ")) && rl_str_ends(line, RL_STR("\r")) && blank.n == 1);
			CHECK(gemini->glance_event(RL_OP_CHAT, RL_STR(""), rl_str_sub(line, 6, line.n - 7), &form,
						   &glance) == RL_OK);
		}
	}
	if (to->encoder_fini)
		to->encoder_fini(&pass.codec);
	rl_encoder_fini(&pass.codec);
	rl_buf_fini(&pass.out);
}

static void fuzz_error(uint16_t status, rl_str body)
{
	struct rl_fault fault = {.cls = gemini->classify(status, body), .status = status, .retry_after_s = 1};
	struct rl_buf out;
	rl_str *ids;
	size_t n;

	CHECK(fault.cls != RL_FAULT_NONE);
	fault.message = gemini->error_text(body, &arena);
	CHECK(fault.message.n <= 300);
	rl_buf_init(&out, 1 << 16);
	gemini->write_error(&fault, &out);
	CHECK(is_json(rl_buf_str(&out)));
	rl_buf_fini(&out);
	(void)gemini->read_models(body, &arena, &ids, &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum rl_operation ops[] = {RL_OP_CHAT, RL_OP_COUNT_TOKENS, RL_OP_EMBEDDING, RL_OP_CHAT};
	static const uint16_t statuses[] = {200, 400, 429, 503};

	gemini = rl_dialect_find(RL_STR("gemini"));
	openai = rl_dialect_find(RL_STR("openai"));
	if (!size)
		return 0;
	rl_str text = rl_str_make(data + 1, size - 1);
	unsigned which = data[0] / 4 % 7, op = data[0] % 4;

	rl_arena_init(&arena, (size_t)64 << 20);
	switch (which) {
	case 0:
		fuzz_request(ops[op], text);
		break;
	case 1:
		fuzz_from_openai(ops[op], text);
		break;
	case 2:
		fuzz_answer(ops[op], text);
		break;
	case 3:
		fuzz_stream(gemini, gemini, text);
		break;
	case 4:
		fuzz_stream(gemini, openai, text);
		break;
	case 5:
		fuzz_stream(openai, gemini, text);
		break;
	default:
		fuzz_error(statuses[op], text);
	}
	rl_arena_fini(&arena);
	return 0;
}
