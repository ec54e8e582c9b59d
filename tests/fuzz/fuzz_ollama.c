/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's dialect on anything: requests, answers, streams, errors. The first byte picks the function and the
 * operation; the rest is the input. Checked beside memory: what is written is JSON, what was parsed and written parses
 * to the same again, and another dialect can write it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                   \
	do {                                                               \
		if (!(condition)) {                                        \
			fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
			abort();                                           \
		}                                                          \
	} while (0)

static const struct rl_dialect *dialect, *stranger;
static struct rl_arena arena;

static struct rl_translation *reader(void)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	static struct rl_translation t;

	rl_translation_init(&t, &arena, &facts, false);
	return &t;
}

/* What was written, which must be JSON unless it was refused. */
static rl_str written(struct rl_buf *out, const struct rl_translation *t)
{
	rl_str copy = rl_arena_dup(&arena, rl_buf_str(out));

	CHECK(rl_buf_ok(out) && copy.p);
	CHECK(t->err == RL_ERR_UNSUPPORTED || rl_json_scan(copy, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK);
	rl_buf_reset(out);
	return copy;
}

static void fuzz_request(enum rl_operation op, rl_str body)
{
	struct rl_chat_request request;
	struct rl_translation *t;
	struct rl_envelope env;
	struct rl_fault fault;
	struct rl_buf out;

	if (dialect->read_envelope(op, body, &arena, &env, &fault))
		CHECK(fault.status == 400 && fault.message.n);
	if (stranger->parse_request(op, body, &arena, &request, &fault) == RL_OK) {
		rl_buf_init(&out, 1 << 22);
		dialect->write_request(op, &request, t = reader(), &out);
		written(&out, t);
		rl_buf_fini(&out);
	}
	if (dialect->parse_request(op, body, &arena, &request, &fault)) {
		CHECK(fault.status == 400 && fault.message.n);
		return;
	}
	rl_buf_init(&out, 1 << 22);
	stranger->write_request(op, &request, t = reader(), &out);
	written(&out, t);
	dialect->write_request(op, &request, t = reader(), &out);
	rl_str first = written(&out, t);

	if (!t->err) {
		CHECK(dialect->parse_request(op, first, &arena, &request, &fault) == RL_OK);
		dialect->write_request(op, &request, t = reader(), &out);
		CHECK(rl_str_eq(first, written(&out, t)));
	}
	rl_buf_fini(&out);
}

static void fuzz_answer(enum rl_operation op, rl_str body)
{
	struct rl_chat_response response;
	struct rl_translation *t;
	struct rl_glance glance;
	struct rl_buf out;

	(void)dialect->glance_answer(op, body, &glance);
	rl_buf_init(&out, 1 << 22);
	if (stranger->parse_response(op, body, &arena, &response) == RL_OK) {
		dialect->write_response(op, &response, t = reader(), &out);
		written(&out, t);
	}
	if (dialect->parse_response(op, body, &arena, &response) == RL_OK) {
		stranger->write_response(op, &response, t = reader(), &out);
		written(&out, t);
		dialect->write_response(op, &response, t = reader(), &out);
		rl_str first = written(&out, t);

		CHECK(dialect->parse_response(op, first, &arena, &response) == RL_OK);
		dialect->write_response(op, &response, t = reader(), &out);
		CHECK(rl_str_eq(first, written(&out, t)));
	}
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

/* Events of one dialect to a stream of another, whose events must be what that dialect says. */
static void fuzz_stream(const struct rl_dialect *from, const struct rl_dialect *to, rl_str text)
{
	struct rl_decoder codec;
	struct rl_frames frames;
	struct rl_sse_event event;
	struct rl_glance glance;
	struct rl_json_form form = {.n_strings = 0};
	struct pass pass = {.to = to};

	rl_decoder_init(&codec);
	rl_encoder_init(&pass.codec, RL_OP_CHAT, text.n % 2);
	pass.codec.own = to->encoder_bytes ? rl_arena_zalloc(&arena, 1, to->encoder_bytes) : NULL;
	rl_buf_init(&pass.out, 1 << 22);
	for (rl_str rest = text; rest.p;) {
		rl_str data = rl_str_cut(&rest, '\n');

		(void)from->glance_event(RL_OP_CHAT, RL_STR(""), data, &form, &glance);
		if (from->decode_event(RL_OP_CHAT, &codec, RL_STR(""), data, &arena, pass_on, &pass))
			break;
	}
	form.n_strings = 0;
	rl_frames_init(&frames, to->framing, 1 << 22);
	rl_frames_feed(&frames, rl_buf_str(&pass.out));
	while (rl_buf_ok(&pass.out) && rl_frames_next(&frames, &event) == RL_OK)
		CHECK(to->glance_event(RL_OP_CHAT, event.name, event.data, &form, &glance) == RL_OK);
	rl_frames_fini(&frames);
	if (to->encoder_fini)
		to->encoder_fini(&pass.codec);
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
	static const uint16_t statuses[] = {200, 400, 429, 503};

	dialect = rl_dialect_find(RL_STR("ollama"));
	stranger = rl_dialect_find(RL_STR("openai"));
	if (!size)
		return 0;
	rl_str text = rl_str_make(data + 1, size - 1);
	enum rl_operation op = data[0] % 2 ? RL_OP_CHAT : RL_OP_EMBEDDING;

	rl_arena_init(&arena, (size_t)64 << 20);
	switch (data[0] / 4 % 5) {
	case 0:
		fuzz_request(op, text);
		break;
	case 1:
		fuzz_answer(op, text);
		break;
	case 2:
		fuzz_stream(dialect, data[0] % 2 ? stranger : dialect, text);
		break;
	case 3:
		fuzz_stream(stranger, dialect, text);
		break;
	default:
		fuzz_error(statuses[data[0] % 4], text);
	}
	rl_arena_fini(&arena);
	return 0;
}
