/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Anthropic dialect on anything: requests, answers, streams, errors, and OpenAI's requests and streams
 * written in it. The first byte picks the function; the rest is the input. Checked beside memory: what is
 * written is JSON (a stream: events of this dialect), and what was parsed and written parses to the same again.
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

static const struct rl_dialect *dialect, *stranger;
static struct rl_arena arena;
static struct rl_translation translation;

/* One without peculiarities, or with those that change most. */
static struct rl_translation *reader(bool odd)
{
	static const struct rl_facts plain = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	static const struct rl_facts older = {.quirks = 1u << RL_QUIRK_NO_ADAPTIVE_THINKING | 1u << RL_QUIRK_NO_SCHEMA,
					      .version = RL_STR_INIT("2026-10-21"),
					      .max_output_tokens = 8192};

	rl_translation_init(&translation, &arena, odd ? &older : &plain, false);
	return &translation;
}

static bool is_json(rl_str text)
{
	return rl_json_scan(text, NULL, 0, RL_JSON_LAX, NULL, NULL) == RL_OK;
}

/* A request of `from` in this dialect; what this dialect made of it, it reads as the same. */
static void fuzz_request(const struct rl_dialect *from, enum rl_operation op, rl_str body)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.status = 0};
	struct rl_envelope env;
	struct rl_buf first, second;

	if (from == dialect)
		(void)dialect->read_envelope(op, body, &arena, &env, &fault);
	if (from->parse_request(from == dialect ? op : RL_OP_CHAT, body, &arena, &request, &fault)) {
		CHECK(fault.status >= 400 && fault.message.n);
		return;
	}
	rl_buf_init(&first, 1 << 24);
	rl_buf_init(&second, 1 << 24);
	dialect->write_request(op, &request, reader(body.n % 2), &first);
	CHECK(rl_buf_ok(&first));
	if (!translation.err) {
		CHECK(is_json(rl_buf_str(&first)));
		CHECK(dialect->parse_request(op, rl_buf_str(&first), &arena, &request, &fault) == RL_OK);
		dialect->write_request(op, &request, reader(false), &second);
		CHECK(translation.err == RL_OK && is_json(rl_buf_str(&second)));
		/* A stranger's single text is a list at first. */
		CHECK(from != dialect || body.n % 2 || rl_str_eq(rl_buf_str(&first), rl_buf_str(&second)));
	}
	rl_buf_fini(&first);
	rl_buf_fini(&second);
}

static void fuzz_answer(const struct rl_dialect *from, rl_str body)
{
	struct rl_chat_response response;
	struct rl_glance glance;
	struct rl_buf first, second;

	if (from == dialect)
		(void)dialect->glance_answer(RL_OP_CHAT, body, &glance);
	if (from->parse_response(RL_OP_CHAT, body, &arena, &response))
		return;
	rl_buf_init(&first, 1 << 24);
	rl_buf_init(&second, 1 << 24);
	dialect->write_response(RL_OP_CHAT, &response, reader(false), &first);
	CHECK(rl_buf_ok(&first) && is_json(rl_buf_str(&first)));
	CHECK(dialect->parse_response(RL_OP_CHAT, rl_buf_str(&first), &arena, &response) == RL_OK);
	dialect->write_response(RL_OP_CHAT, &response, reader(false), &second);
	CHECK(is_json(rl_buf_str(&second)));
	rl_buf_fini(&first);
	rl_buf_fini(&second);
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

/* Every line is an event's data. False: it is not of this dialect. */
static bool stream_lines(const struct rl_dialect *from, struct pass *pass, rl_str text)
{
	struct rl_decoder decoder;
	struct rl_json_form form = {.n_strings = 0};
	struct rl_glance glance;
	rl_str rest = text;
	enum rl_err err = RL_OK;

	rl_decoder_init(&decoder);
	decoder.own = rl_arena_zalloc(&arena, 1, from->decoder_bytes + 1);
	CHECK(decoder.own);
	while (!err && rest.p) {
		rl_str data = rl_str_cut(&rest, '\n');

		if (!data.n || rl_str_starts(data, RL_STR("event: ")))
			continue;
		if (rl_str_starts(data, RL_STR("data: ")))
			data = rl_str_sub(data, 6, SIZE_MAX);
		(void)from->glance_event(RL_OP_CHAT, RL_STR(""), data, &form, &glance);
		err = from->decode_event(RL_OP_CHAT, &decoder, RL_STR(""), data, &arena, pass_on, pass);
	}
	return err == RL_OK;
}

static void open_pass(struct pass *pass, const struct rl_dialect *to)
{
	*pass = (struct pass){.to = to};
	rl_encoder_init(&pass->codec, RL_OP_CHAT, true);
	pass->codec.own = rl_arena_zalloc(&arena, 1, to->encoder_bytes + 1);
	CHECK(pass->codec.own);
	rl_buf_init(&pass->out, 1 << 24);
}

static void close_pass(struct pass *pass)
{
	if (pass->to->encoder_fini)
		pass->to->encoder_fini(&pass->codec);
	rl_encoder_fini(&pass->codec);
	rl_buf_fini(&pass->out);
}

/* What the encoder makes of anything is a stream that the decoder takes. */
static void fuzz_stream(const struct rl_dialect *from, rl_str text)
{
	struct pass first, second, other;

	open_pass(&first, dialect);
	open_pass(&second, dialect);
	open_pass(&other, stranger);
	(void)stream_lines(from, &first, text);
	CHECK(rl_buf_ok(&first.out));
	CHECK(stream_lines(dialect, &second, rl_buf_str(&first.out)));
	if (from == dialect)
		(void)stream_lines(from, &other, text);
	close_pass(&first);
	close_pass(&second);
	close_pass(&other);
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
	CHECK(is_json(rl_buf_str(&out)));
	rl_buf_fini(&out);
	(void)dialect->read_models(body, &arena, &ids, &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t statuses[] = {200, 400, 429, 503};

	if (!dialect) {
		dialect = rl_dialect_find(RL_STR("anthropic"));
		stranger = rl_dialect_find(RL_STR("openai"));
	}
	if (!size)
		return 0;
	rl_str text = rl_str_make(data + 1, size - 1);

	rl_arena_init(&arena, (size_t)64 << 20);
	switch (data[0] % 8) {
	case 0:
		fuzz_request(dialect, RL_OP_CHAT, text);
		break;
	case 1:
		fuzz_request(dialect, RL_OP_COUNT_TOKENS, text);
		break;
	case 2:
		fuzz_request(stranger, RL_OP_CHAT, text);
		break;
	case 3:
		fuzz_answer(dialect, text);
		break;
	case 4:
		fuzz_answer(stranger, text);
		break;
	case 5:
		fuzz_stream(dialect, text);
		break;
	case 6:
		fuzz_stream(stranger, text);
		break;
	default:
		fuzz_error(statuses[data[0] / 8 % 4], text);
	}
	rl_arena_fini(&arena);
	return 0;
}
