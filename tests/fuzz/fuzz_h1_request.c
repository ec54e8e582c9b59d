/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server on any bytes, in any cuts, with a client that reads in any portions. The loop and the transport are
 * played here, so that a run is exact and fast. What the server says must not depend on the cuts; everything that was
 * begun must end; what our own readers of heads and chunked bodies take, llhttp (strict) must take too, and as the
 * same fields and the same body.
 *
 * First byte: seed. The rest: what the client sends (when its lowest bit is set, also a chunked body).
 */
#include <llhttp.h>

#include "http/h1_chunked.h"
#include "http/h1_parse.h"
#include "server_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- chunked bodies: llhttp as the judge ---- */

static int judge_body(llhttp_t *parser, const char *at, size_t n)
{
	rl_buf_add(parser->data, rl_str_make(at, n));
	return 0;
}

static int judge_done(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

static void judge_chunks(rl_str s)
{
	static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
	llhttp_settings_t settings = {.on_body = judge_body, .on_message_complete = judge_done};
	struct rl_chunked chunked;
	struct rl_buf ours, theirs;
	rl_str in = s, piece;
	enum rl_err err;
	llhttp_t parser;

	rl_buf_init(&ours, 1 << 24);
	rl_buf_init(&theirs, 1 << 24);
	rl_chunked_init(&chunked);
	while ((err = rl_chunked_next(&chunked, &in, &piece)) == RL_OK)
		rl_buf_add(&ours, piece);
	if (err == RL_ERR_EOF && !chunked.extension_bytes) {
		llhttp_init(&parser, HTTP_REQUEST, &settings);
		parser.data = &theirs;
		must(llhttp_execute(&parser, head, sizeof head - 1) == HPE_OK);
		must(llhttp_execute(&parser, s.p, s.n) == HPE_PAUSED);
		must(llhttp_get_error_pos(&parser) == in.p || llhttp_get_error_pos(&parser) == in.p - 1);
		must(rl_str_eq(rl_buf_str(&ours), rl_buf_str(&theirs)));
	}
	rl_buf_fini(&ours);
	rl_buf_fini(&theirs);
}

/* ---- heads: llhttp as the judge ---- */

/* What llhttp reads: "name:value" and a zero byte for each field. */
struct heard {
	struct rl_buf text;
	bool complete;
};

static int heard_bytes(llhttp_t *parser, const char *at, size_t n)
{
	rl_buf_add(&((struct heard *)parser->data)->text, rl_str_make(at, n));
	return 0;
}

static int heard_name(llhttp_t *parser)
{
	rl_buf_byte(&((struct heard *)parser->data)->text, ':');
	return 0;
}

/* llhttp leaves the blanks behind a value in it. */
static int heard_value(llhttp_t *parser)
{
	struct rl_buf *text = &((struct heard *)parser->data)->text;

	while (text->n && (text->p[text->n - 1] == ' ' || text->p[text->n - 1] == '\t'))
		text->n--;
	rl_buf_byte(text, '\0');
	return 0;
}

static int heard_all(llhttp_t *parser)
{
	((struct heard *)parser->data)->complete = true;
	return 1; /* no body */
}

/* A head whose lines are as the server's scan lets them through; their number behind the first, or -1. */
static int64_t count_lines(rl_str head)
{
	int64_t lines = -1;

	while (head.n > 2) {
		rl_str line = rl_str_cut(&head, '\n');

		if (!line.n || line.p[line.n - 1] != '\r' || line.p[0] == ' ' || line.p[0] == '\t' || line.n == 1)
			return -1;
		lines++;
	}
	return lines;
}

static void judge_head(rl_str input)
{
	static const llhttp_settings_t settings = {
		.on_header_field = heard_bytes,
		.on_header_field_complete = heard_name,
		.on_header_value = heard_bytes,
		.on_header_value_complete = heard_value,
		.on_headers_complete = heard_all,
	};
	const char *end = input.n ? memmem(input.p, input.n, "\r\n\r\n", 4) : NULL;
	rl_str raw = rl_str_make(input.p, end ? (size_t)(end - input.p) + 4 : 0);
	int64_t lines = end ? count_lines(raw) : -1;
	struct heard heard = {.complete = false};
	struct rl_request_head head = {.method = RL_METHOD_OTHER};
	struct rl_h1_request request;
	struct rl_h1_refusal refusal;
	struct rl_arena arena;
	struct rl_buf ours;
	llhttp_t parser;

	if (lines < 0 || !rl_h1_version_ok(rl_str_sub(raw, 0, rl_str_find(raw, '\n') - 1), &refusal))
		return;
	rl_arena_init(&arena, 1u << 20);
	rl_buf_init(&ours, 1u << 20);
	rl_buf_init(&heard.text, 1u << 20);
	if (rl_h1_parse(raw, (uint32_t)lines, &arena, &head, &request, &refusal)) {
		for (uint32_t i = 0; i < head.headers.n; i++) {
			rl_buf_add(&ours, head.headers.v[i].name);
			rl_buf_byte(&ours, ':');
			rl_buf_add(&ours, head.headers.v[i].value);
			rl_buf_byte(&ours, '\0');
		}
		llhttp_init(&parser, HTTP_REQUEST, &settings);
		parser.data = &heard;
		llhttp_errno_t err = llhttp_execute(&parser, raw.p, raw.n);

		/* It takes no tab behind the number, though blanks are either (RFC 9110 §5.6.3). */
		bool blind = err == HPE_INVALID_CONTENT_LENGTH && memchr(raw.p, '\t', raw.n);

		must(blind || err == HPE_OK || err == HPE_PAUSED_UPGRADE);
		must(blind || heard.complete);
		must(blind || rl_str_eq(rl_buf_str(&ours), rl_buf_str(&heard.text)));
	}
	rl_buf_fini(&ours);
	rl_buf_fini(&heard.text);
	rl_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rl_buf whole, cut;
	struct rl_rng rng;

	if (size < 1 || size > 60000)
		return 0;
	rl_str input = rl_str_make(data + 1, size - 1);

	rl_rng_seed(&rng, data[0]);
	run(input, NULL, false, &whole);
	run(input, &rng, false, &cut);
	must(rl_str_eq(rl_buf_str(&whole), rl_buf_str(&cut)));
	rl_buf_fini(&whole);
	rl_buf_fini(&cut);
	judge_head(input);
	if (data[0] & 1)
		judge_chunks(input);
	return 0;
}
