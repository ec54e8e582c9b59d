/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Responses dialect on anything: requests, answers, streams, errors. The first
 * byte picks the function; the rest is the input. Checked beside memory: what is
 * written is JSON, what was parsed and written parses to the same again, streams
 * that were encoded decode.
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

static const struct rl_dialect *dialect, *other;
static struct rl_arena arena;

static rl_str in_arena(const struct rl_buf *buf)
{
	rl_str copy = rl_arena_dup(&arena, rl_buf_str(buf));

	CHECK(copy.p);
	return copy;
}

/* The reader of what is written: one without peculiarities. */
static struct rl_translation *reader(void)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	static struct rl_translation t;

	rl_translation_init(&t, &arena, &facts, false);
	return &t;
}

static void check_json(rl_str text)
{
	CHECK(rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK);
}

static void fuzz_request(rl_str body)
{
	static const rl_str model = RL_STR_INIT("the \"target\"");
	struct rl_edit edit = {.model = model, .want_usage = true};
	struct rl_chat_request request;
	struct rl_envelope env;
	struct rl_fault fault;
	struct rl_buf out;
	rl_str parts[RL_BODY_PARTS_MAX];
	size_t n = 0;

	if (dialect->read_envelope(RL_OP_CHAT, body, &arena, &env, &fault) == RL_OK)
		CHECK(dialect->edit_body(body, &env, &edit, &arena, parts, &n) == RL_OK && n >= 1);
	else
		CHECK(fault.status == 400 && fault.message.n);
	if (dialect->parse_request(RL_OP_CHAT, body, &arena, &request, &fault)) {
		CHECK(fault.status == 400 && fault.message.n);
		return;
	}
	rl_buf_init(&out, 1 << 22);
	dialect->write_request(RL_OP_CHAT, &request, reader(), &out);
	CHECK(rl_buf_ok(&out));
	rl_str first = in_arena(&out);

	check_json(first);
	CHECK(dialect->parse_request(RL_OP_CHAT, first, &arena, &request, &fault) == RL_OK);
	rl_buf_reset(&out);
	dialect->write_request(RL_OP_CHAT, &request, reader(), &out);
	CHECK(rl_str_eq(first, rl_buf_str(&out)));
	rl_buf_fini(&out);
}

/* A request of a stranger. */
static void fuzz_stranger(rl_str body)
{
	struct rl_chat_request request;
	struct rl_fault fault;
	struct rl_buf out;
	struct rl_translation *t = reader();

	if (other->parse_request(RL_OP_CHAT, body, &arena, &request, &fault))
		return;
	rl_buf_init(&out, 1 << 22);
	dialect->write_request(RL_OP_CHAT, &request, t, &out);
	CHECK(rl_buf_ok(&out));
	if (!t->err)
		check_json(rl_buf_str(&out));
	rl_buf_fini(&out);
}

static void fuzz_answer(rl_str body)
{
	struct rl_chat_response response;
	struct rl_glance glance;
	struct rl_buf out;

	(void)dialect->glance_answer(RL_OP_CHAT, body, &glance);
	if (dialect->parse_response(RL_OP_CHAT, body, &arena, &response))
		return;
	rl_buf_init(&out, 1 << 22);
	dialect->write_response(RL_OP_CHAT, &response, reader(), &out);
	CHECK(rl_buf_ok(&out));
	rl_str first = in_arena(&out);

	check_json(first);
	CHECK(dialect->parse_response(RL_OP_CHAT, first, &arena, &response) == RL_OK);
	rl_buf_reset(&out);
	dialect->write_response(RL_OP_CHAT, &response, reader(), &out);
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

static enum rl_err ignore(void *user, const struct rl_event *event)
{
	(void)user, (void)event;
	return RL_OK;
}

/* What was encoded has the framing of this dialect, and is understood by it. */
static void check_stream(rl_str text)
{
	static char own[8192];
	struct rl_json_form form = {.n_strings = 0};
	struct rl_decoder codec;
	struct rl_glance glance;

	CHECK(dialect->decoder_bytes <= sizeof own);
	memset(own, 0, sizeof own);
	rl_decoder_init(&codec);
	codec.own = own;
	while (text.p && text.n) {
		rl_str name = rl_str_cut(&text, '\n'), data = rl_str_cut(&text, '\n'), blank = rl_str_cut(&text, '\n');

		CHECK(blank.n == 0 && rl_str_starts(name, RL_STR("event: ")));
		CHECK(rl_str_starts(data, RL_STR("data: ")));
		data = rl_str_sub(data, 6, SIZE_MAX);
		CHECK(dialect->glance_event(RL_OP_CHAT, RL_STR(""), data, &form, &glance) == RL_OK);
		enum rl_err err = dialect->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, &arena, ignore, NULL);

		CHECK(err == RL_OK || err == RL_ERR_LIMIT);
		if (err)
			return;
	}
}

/* Every line is an event's data. */
static void fuzz_stream(const struct rl_dialect *from, rl_str text)
{
	static char own[8192], encoder[8192];
	struct rl_json_form form = {.n_strings = 0};
	struct rl_decoder codec;
	struct rl_glance glance;
	struct pass pass;
	rl_str rest = text;

	CHECK(from->decoder_bytes <= sizeof own && dialect->encoder_bytes <= sizeof encoder);
	memset(own, 0, sizeof own);
	memset(encoder, 0, sizeof encoder);
	rl_decoder_init(&codec);
	codec.own = own;
	rl_encoder_init(&pass.codec, RL_OP_CHAT, true);
	pass.codec.own = encoder;
	rl_buf_init(&pass.out, 1 << 24);
	while (rest.p) {
		rl_str data = rl_str_cut(&rest, '\n');

		(void)dialect->glance_event(RL_OP_CHAT, RL_STR(""), data, &form, &glance);
		if (from->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, &arena, pass_on, &pass))
			break;
	}
	if (rl_buf_ok(&pass.out))
		check_stream(rl_buf_str(&pass.out));
	dialect->encoder_fini(&pass.codec);
	rl_encoder_fini(&pass.codec);
	rl_buf_fini(&pass.out);
}

static void fuzz_error(rl_str body)
{
	struct rl_fault fault = {.cls = dialect->classify(400, body), .status = 400};
	struct rl_buf out;

	fault.message = dialect->error_text(body, &arena);
	rl_buf_init(&out, 1 << 16);
	dialect->write_error(&fault, &out);
	check_json(rl_buf_str(&out));
	rl_buf_reset(&out);
	dialect->write_stream_error(&fault, &out);
	CHECK(rl_buf_ok(&out));
	check_stream(rl_buf_str(&out));
	rl_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!dialect) {
		dialect = rl_dialect_find(RL_STR("responses"));
		other = rl_dialect_find(RL_STR("openai"));
	}
	if (!size)
		return 0;
	rl_str text = rl_str_make(data + 1, size - 1);

	rl_arena_init(&arena, (size_t)64 << 20);
	switch (data[0] % 6) {
	case 0:
		fuzz_request(text);
		break;
	case 1:
		fuzz_stranger(text);
		break;
	case 2:
		fuzz_answer(text);
		break;
	case 3:
		fuzz_stream(dialect, text);
		break;
	case 4:
		fuzz_stream(other, text);
		break;
	default:
		fuzz_error(text);
	}
	rl_arena_fini(&arena);
	return 0;
}
