/* SPDX-License-Identifier: Apache-2.0 */
/* The client: what is written, what answers mean, which are refused, when a connection serves again. */
#include "http_client_kit.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "http/client_priv.h"

/* ---- good answers ---- */

static void request_is_written(void **state)
{
	static const struct step script[] = {{READ, NULL, 0}, {SAY, OK_2, 0}, {CLOSE, NULL, 0}, {STEP_END, NULL, 0}};
	static const struct rl_header headers[] = {
		{RL_H_CONTENT_TYPE, RL_STR_INIT(""), RL_STR_INIT("application/json")},
		{RL_H_OTHER, RL_STR_INIT("x-thing"), RL_STR_INIT("a b")},
	};
	const struct step *scripts[] = {script};
	struct provider *p = provider_open(1, scripts);
	struct bench b;
	struct caller c;
	char want[512];

	(void)state;
	caller_init(&c);
	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	spec.headers = headers;
	spec.n_headers = 2;
	start(&c, &b, &spec);
	run(&b);
	snprintf(want, sizeof want,
		 "POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:%u\r\ncontent-length: 7\r\n"
		 "content-type: application/json\r\nx-thing: a b\r\n\r\n{\"a\":1}",
		 (unsigned)p->port);
	assert_string_equal(p->seen, want);
	assert_int_equal(c.end, END_OK);
	assert_int_equal(c.status, 200);
	assert_int_equal(c.content_length, 2);
	assert_true(c.sent && c.begun && !c.reused);
	assert_int_equal(c.read_ends, 1);
	assert_body(&c, "ok");
	caller_fini(&c);
	bench_close(&b);
	provider_close(p);
}

static const rl_str pieces[] = {RL_STR_INIT("abc"), RL_STR_INIT("defghijklmno"), RL_STR_INIT("")};

static void streamed(struct rl_call_spec *spec)
{
	spec->replayable = false;
	spec->streamed = true;
	spec->n_body = 0;
	spec->content_length = 15;
}

static void of_no_length(struct rl_call_spec *spec)
{
	streamed(spec);
	spec->content_length = -1;
}

/* A body that comes while it is sent: with its length, and in chunks. */
static void body_is_streamed(void **state)
{
	static const char *const ends[] = {
		"content-length: 15\r\n\r\nabcdefghijklmno",
		"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nc\r\ndefghijklmno\r\n0\r\n\r\n"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct step script[] = {{READ_HEAD, NULL, 0},
					      {SKIP, NULL, strlen(strstr(ends[i], "\r\n\r\n")) - 4},
					      {SAY, OK_2, 0},
					      {STEP_END, NULL, 0}};
		const struct step all[] = {{READ, NULL, 0}, {SAY, OK_2, 0}, {STEP_END, NULL, 0}};
		const struct step *scripts[] = {i ? script : all};
		struct provider *p = provider_open(1, scripts);
		struct bench b;
		struct caller c;

		caller_init(&c);
		c.give = pieces;
		c.n_give = 3;
		bench_open(&b, origin_for(p->port, 0, 32));
		struct rl_call_spec spec = post(&b);

		(i ? of_no_length : streamed)(&spec);
		start(&c, &b, &spec);
		run(&b);
		assert_int_equal(c.end, END_OK);
		assert_int_equal(c.given, 3);
		assert_true(c.sent);
		if (!i)
			assert_non_null(strstr(p->seen, ends[0]));
		else
			assert_non_null(strstr(p->seen, "transfer-encoding: chunked\r\n\r\n"));
		caller_fini(&c);
		bench_close(&b);
		provider_close(p);
	}
}

/* Who answers early does not want the rest: it is thrown away, and the answer counts. */
static void early_answer_to_a_streamed_body(void **state)
{
	static const struct step script[] = {{READ_HEAD, NULL, 0},
					     {SAY, OK_2, 0},
					     {AWAIT_EOF, NULL, 0},
					     {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	c.give = (const rl_str[]){RL_STR_INIT("abc"), RL_STR_INIT("")};
	c.n_give = 2;
	once(&c, script, of_no_length);
	assert_int_equal(c.end, END_OK);
	assert_int_equal(c.status, 200);
	caller_fini(&c);
}

/* The owner's pause is his own: the provider's time-outs rest; what cannot be written is. */
static void streamed_body_that_is_not_taken(void **state)
{
	static const struct step script[] = {{READ_HEAD, NULL, 0}, {WAIT_MS, NULL, 3000}, {STEP_END, NULL, 0}};
	static char block[1 << 20];
	static rl_str many[64];
	struct caller c;

	(void)state;
	for (size_t i = 0; i < 64; i++)
		many[i] = rl_str_make(block, sizeof block);
	caller_init(&c);
	c.give = many;
	c.n_give = 64;
	once(&c, script, of_no_length);
	assert_int_equal(c.end, END_FAIL);
	assert_true(c.given < 64);
	caller_fini(&c);
}

struct answer {
	const char *wire;
	uint16_t status;
	const char *body;
	bool closes; /* the end of the connection is the end of the answer, or follows it */
};

static const struct answer good[] = {
	{OK_2, 200, "ok", false},
	{"HTTP/1.1 200 OK\r\nX-Marker:   a  \r\nContent-Length: 0\r\n\r\n", 200, "", false},
	{"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nx", 200, "x", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 200, "hello!",
	 false},
	{"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0\r\nx-t: v\r\n\r\n", 200,
	 "hello", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", false},
	{CHUNKED "1\r\na\r\n0003\r\nbcd\r\nB\r\n0123456789e\r\n0000000a\r\nfghijklmno\r\n1;x=\"y\"\r\np\r\n2\r\nqr"
		 "\r\n00\r\nx-t: v\r\n\r\n",
	 200, "abcd0123456789efghijklmnopqr", false},
	{"HTTP/1.1 204 No Content\r\nx-marker: a\r\n\r\n", 204, "", false},
	{"HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n", 304, "", false},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" OK_2, 200, "ok", false},
	{"HTTP/1.1 599 What\r\ncontent-length: 2\r\n\r\nno", 599, "no", false},
	{"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 200, "ok", false},
	{"HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end", true},
	{"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\nto the end", 200, "to the end", true},
	{"HTTP/1.1 200 OK\r\nconnection: x, close\r\ncontent-length: 2\r\n\r\nok", 200, "ok", true},
	{"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok", true},
	{"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok",
	 true},
};

static void check_good(const struct answer *answer, const struct caller *c)
{
	assert_int_equal(c->end, END_OK);
	assert_int_equal(c->status, answer->status);
	assert_body(c, answer->body);
}

/* Cut in two at every byte; those that leave the connection open, one after the other on one. */
static void answers_at_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		const struct answer *answer = &good[i];
		size_t n = strlen(answer->wire);
		struct step(*scripts)[8] = calloc(n, sizeof *scripts);
		struct step *one = calloc(4 * n + 2, sizeof *one);
		const struct step *list[CONNS_MAX] = {one};
		struct provider *p;
		struct bench b;

		assert_true(n < CONNS_MAX);
		for (size_t k = 1; k < n; k++) {
			const struct step steps[] = {{READ, NULL, 0},
						     {SAY, answer->wire, k},
						     {WAIT_MS, NULL, 1},
						     {SAY, answer->wire + k, n - k},
						     {CLOSE, NULL, 0}};

			memcpy(scripts[k - 1], steps, sizeof steps);
			memcpy(one + 4 * (k - 1), steps, 4 * sizeof *one);
			if (answer->closes)
				list[k - 1] = scripts[k - 1];
		}
		one[4 * (n - 1)].kind = AWAIT_EOF;
		p = provider_open(answer->closes ? (int)n - 1 : 1, list);
		bench_open(&b, origin_for(p->port, 0, 32));
		struct rl_call_spec spec = post(&b);

		for (size_t k = 1; k < n; k++) {
			struct caller c;

			caller_init(&c);
			start(&c, &b, &spec);
			run(&b);
			check_good(answer, &c);
			assert_int_equal(c.reused, !answer->closes && k > 1);
			caller_fini(&c);
		}
		assert_int_equal(atomic_load(&p->accepted), answer->closes ? (int)n - 1 : 1);
		bench_close(&b);
		provider_close(p);
		free(scripts);
		free(one);
	}
}

static void answers_byte_by_byte_and_paused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		const struct step script[] = {{READ, NULL, 0}, {SAY_EACH, good[i].wire, 0}, {CLOSE, NULL, 0}};
		const struct step at_once[] = {{READ, NULL, 0}, {SAY, good[i].wire, 0}, {CLOSE, NULL, 0}};

		for (int pause = WHEN_NEVER; pause <= WHEN_BODY; pause++) {
			struct caller c;

			caller_init(&c);
			c.pause = (enum when)pause;
			c.pause_each = true;
			once(&c, pause == WHEN_NEVER ? script : at_once, NULL);
			check_good(&good[i], &c);
			caller_fini(&c);
		}
	}
}

static void make_head(struct rl_call_spec *spec)
{
	spec->method = RL_METHOD_HEAD;
	spec->body = NULL;
	spec->n_body = 0;
}

static void head_has_no_body(void **state)
{
	static const struct step script[] = {{READ, NULL, 0},
					     {SAY, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 0},
					     {AWAIT_EOF, NULL, 0},
					     {STEP_END, NULL, 0}};
	struct caller c;

	(void)state;
	caller_init(&c);
	once(&c, script, make_head);
	assert_int_equal(c.end, END_OK);
	assert_body(&c, "");
	caller_fini(&c);
}

/* ---- bad answers (FAULTS 16, 58) ---- */

static const struct {
	const char *wire;
	enum rl_err reason;
} bad[] = {
	{H "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", RL_ERR_PROTOCOL},
	{H "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", RL_ERR_PROTOCOL},
	{H "content-length: 5\r\ncontent-length: 5\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: 5, 5\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: +5\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: -5\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: 0x5\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: 5 5\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length:\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: 18446744073709551618\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "content-length: 9223372036854775808\r\n\r\nhello", RL_ERR_PROTOCOL},
	{H "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{H "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{H "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{H "transfer-encoding: identity\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{H "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{H "transfer-encoding:\x0b"
	   "chunked\r\n\r\n0\r\n\r\n",
	 RL_ERR_PROTOCOL},
	{H "transfer-encoding : chunked\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a: b\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "content-length: 2\r\n\nok", RL_ERR_PROTOCOL},
	{H "content-length: 2\n\nok", RL_ERR_PROTOCOL},
	{H "a: b\rc: d\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 200 O\rK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a: b\r\n c\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a: b\r\n\tc\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a:\r\n c\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H " a: b\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a\x01: b\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a: b\x01\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a: b\x7f\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "\xc3\xa4: b\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H ": b\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{H "a b\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1x 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{" HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 +20 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 999 OK\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
	{"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", RL_ERR_PROTOCOL},
	{"SSH-2.0-OpenSSH_9.2\r\n", RL_ERR_PROTOCOL},
	{"<html>", RL_ERR_PROTOCOL},
	{CHUNKED "5 \r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED " 5\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "+5\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "-5\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "5\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "5\r\nhello0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "5\r\nhello\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "5\r\nhelloxx0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "0\r\nbad trailer\r\n\r\n", RL_ERR_PROTOCOL},
	{CHUNKED "0\r\na: b\nc: d\r\n\r\n", RL_ERR_PROTOCOL},
	{H "content-length: 5\r\n\r\nhell", RL_ERR_EOF},
	{CHUNKED "5\r\nhello\r\n", RL_ERR_EOF},
	{CHUNKED "5\r\nhello\r\n0\r\n", RL_ERR_EOF},
	{CHUNKED "5\r\nhel", RL_ERR_EOF},
	{CHUNKED, RL_ERR_EOF},
	{"HTTP/1.1 200 OK\r\ncontent-le", RL_ERR_EOF},
	{"HTTP/1.1 100 Continue\r\n\r\n", RL_ERR_EOF},
	{"", RL_ERR_EOF},
	{H "content-encoding: br\r\ncontent-length: 2\r\n\r\nok", RL_ERR_UNSUPPORTED},
	{H "content-encoding: gzip, gzip\r\ncontent-length: 2\r\n\r\nok", RL_ERR_UNSUPPORTED},
	{H "content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok", RL_ERR_PROTOCOL},
};

/* The same, but for a good chunk before what is wrong with chunks. */
static const char *behind_a_chunk(const char *wire, char *into, size_t room)
{
	size_t n = strlen(CHUNKED);

	if (strncmp(wire, CHUNKED, n) != 0)
		return wire;
	snprintf(into, room, CHUNKED "3\r\nabc\r\n%s", wire + n);
	return into;
}

static void bad_answers_fail(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		for (int way = 0; way < 4; way++) {
			char text[400];
			const char *wire = way & 2 ? behind_a_chunk(bad[i].wire, text, sizeof text) : bad[i].wire;
			const struct step script[] = {{READ, NULL, 0},
						      {wire[0] ? (way & 1 ? SAY_EACH : SAY) : WAIT_MS, wire, 0},
						      {CLOSE, NULL, 0}};
			struct caller c;

			caller_init(&c);
			once(&c, script, NULL);
			if (c.end != END_FAIL || c.reason != bad[i].reason)
				print_error("case %zu (%s): end %d, %s, %s\n", i, bad[i].wire, c.end,
					    rl_err_name(c.reason), c.detail);
			assert_int_equal(c.end, END_FAIL);
			assert_int_equal(c.reason, bad[i].reason);
			assert_true(c.detail[0] != '\0');
			caller_fini(&c);
		}
	}
}

static void expect_fail(const struct step *script, enum rl_err reason, const char *detail)
{
	struct caller c;

	caller_init(&c);
	once(&c, script, NULL);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, reason);
	if (detail)
		assert_string_equal(c.detail, detail);
	caller_fini(&c);
}

/* What has no end of its own must meet a bound: each would go on for longer than the test. */
static void endless_answers_are_bounded(void **state)
{
	static const char nul[] = H "a: b\0c\r\ncontent-length: 2\r\n\r\nok";
	const struct step interims[] = {{READ, NULL, 0},
					{REPEAT, "HTTP/1.1 103 Early\r\n\r\n", 10000},
					{CLOSE, NULL, 0}};
	const struct step status[] = {{READ, NULL, 0},
				      {SAY, "HTTP/1.1 200 ", 0},
				      {REPEAT, "xxxxxxxxxx", 100000},
				      {CLOSE, NULL, 0}};
	const struct step headers[] = {
		{READ, NULL, 0}, {SAY, H, 0}, {REPEAT, "a: b\r\n", 2000}, {SAY, "\r\n", 0}, {CLOSE, NULL, 0}};
	const struct step large[] = {{READ, NULL, 0},
				     {SAY, H, 0},
				     {REPEAT, "aaaaaaaaaaa: bbbbbbbbbbbbbbbbbbbbbbbb\r\n", 20000},
				     {CLOSE, NULL, 0}};
	const struct step extensions[] = {{READ, NULL, 0},
					  {SAY, CHUNKED, 0},
					  {REPEAT, "1;aaaaaaaaaaaaaaaaaaaa=b\r\nx\r\n", 10000},
					  {CLOSE, NULL, 0}};
	const struct step trailers[] = {{READ, NULL, 0},
					{SAY, CHUNKED "0\r\n", 0},
					{REPEAT, "aaaaaaaa: bbbbbbbbbbbb\r\n", 10000},
					{CLOSE, NULL, 0}};
	const struct step zeros[] = {{READ, NULL, 0},
				     {SAY, CHUNKED, 0},
				     {REPEAT, "00000000", 100000},
				     {CLOSE, NULL, 0}};
	const struct step with_nul[] = {{READ, NULL, 0}, {SAY, nul, sizeof nul - 1}, {CLOSE, NULL, 0}};

	(void)state;
	expect_fail(interims, RL_ERR_PROTOCOL, "too many interim answers");
	expect_fail(status, RL_ERR_PROTOCOL, "the head is too long");
	expect_fail(headers, RL_ERR_PROTOCOL, "too many headers");
	expect_fail(large, RL_ERR_PROTOCOL, "the head is too long");
	expect_fail(extensions, RL_ERR_PROTOCOL, "chunk extensions");
	expect_fail(trailers, RL_ERR_PROTOCOL, NULL);
	expect_fail(zeros, RL_ERR_PROTOCOL, NULL);
	expect_fail(with_nul, RL_ERR_PROTOCOL, NULL);
}

static void resets_are_told(void **state)
{
	const struct step before[] = {{READ, NULL, 0}, {RESET, NULL, 0}};
	const struct step within[] = {{READ, NULL, 0},
				      {SAY, H "content-length: 5\r\n\r\nhe", 0},
				      {WAIT_MS, NULL, 30},
				      {RESET, NULL, 0}};
	const struct step to_close[] = {{READ, NULL, 0}, {SAY, H "\r\nhe", 0}, {WAIT_MS, NULL, 30}, {RESET, NULL, 0}};
	const struct step at_accept[] = {{RESET, NULL, 0}};

	(void)state;
	expect_fail(before, RL_ERR_RESET, NULL);
	expect_fail(within, RL_ERR_RESET, NULL);
	expect_fail(to_close, RL_ERR_RESET, NULL);
	expect_fail(at_accept, RL_ERR_RESET, NULL);
}

static void nobody_listens(void **state)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sa;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct bench b;
	struct caller c;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0); /* bound, not listening: refused for sure */
	getsockname(fd, (struct sockaddr *)&sa, &len);
	caller_init(&c);
	bench_open(&b, origin_for(ntohs(sa.sin_port), 0, 32));
	struct rl_call_spec spec = post(&b);

	start(&c, &b, &spec);
	run(&b);
	assert_int_equal(c.end, END_FAIL);
	assert_int_equal(c.reason, RL_ERR_REFUSED);
	assert_false(c.begun || c.sent);
	caller_fini(&c);
	bench_close(&b);
	close(fd);
}

/* ---- reuse ---- */

/* Two calls, one after the other, `wait_ms` apart. */
static struct provider *two_calls(struct caller c[2], int n, const struct step *const *scripts, bool replayable,
				  uint64_t wait_ms)
{
	struct provider *p = provider_open(n, scripts);
	struct bench b;

	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	spec.replayable = replayable;
	for (int i = 0; i < 2; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &spec);
		run(&b);
		if (i == 0 && wait_ms)
			linger(&b, wait_ms);
	}
	bench_close(&b);
	return p;
}

#define TWO(c) (caller_fini(&(c)[0]), caller_fini(&(c)[1]))

static const struct step serve_many[] = {{READ, NULL, 0}, {SAY, OK_2, 0}, {READ, NULL, 0},      {SAY, OK_2, 0},
					 {READ, NULL, 0}, {SAY, OK_2, 0}, {READ, NULL, 0},      {SAY, OK_2, 0},
					 {READ, NULL, 0}, {SAY, OK_2, 0}, {AWAIT_EOF, NULL, 0}, {STEP_END, NULL, 0}};

static void a_connection_serves_again(void **state)
{
	const struct step *scripts[] = {serve_many};
	struct caller c[2];
	struct provider *p = two_calls(c, 1, scripts, false, 0);

	(void)state;
	assert_int_equal(c[1].end, END_OK);
	assert_false(c[0].reused);
	assert_true(c[1].reused);
	assert_int_equal(atomic_load(&p->accepted), 1);
	TWO(c);
	provider_close(p);
}

/* The end of the first answer was held back while its owner had paused: nothing of it is left to the second. */
static void a_paused_answer_leaves_nothing_behind(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		const struct step twice[] = {{READ, NULL, 0},        {SAY, good[i].wire, 0}, {READ, NULL, 0},
					     {SAY, good[i].wire, 0}, {AWAIT_EOF, NULL, 0},   {STEP_END, NULL, 0}};
		const struct step *scripts[] = {twice};

		for (int pause = WHEN_HEAD; pause <= WHEN_BODY && !good[i].closes; pause++) {
			struct provider *p = provider_open(1, scripts);
			struct caller c[2];
			struct bench b;

			bench_open(&b, origin_for(p->port, 0, 32));
			struct rl_call_spec spec = post(&b);

			for (int k = 0; k < 2; k++) {
				caller_init(&c[k]);
				c[k].pause = (enum when)pause;
				c[k].pause_each = true;
				start(&c[k], &b, &spec);
				run(&b);
				check_good(&good[i], &c[k]);
				assert_int_equal(c[k].reused, k);
			}
			bench_close(&b);
			TWO(c);
			provider_close(p);
		}
	}
}

/* The provider reads the second request and goes away without a word. */
static void a_stale_connection_is_replaced_once(void **state)
{
	static const struct step stale[] = {{READ, NULL, 0}, {SAY, OK_2, 0}, {READ, NULL, 0}, {CLOSE, NULL, 0}};
	static const struct step stale_reset[] = {{READ, NULL, 0},
						  {SAY, OK_2, 0},
						  {READ_HEAD, NULL, 0},
						  {RESET, NULL, 0}};
	const struct step *twice[] = {stale, serve_many}, *always[] = {stale, stale_reset, serve_many};
	const struct step *reset[] = {stale_reset, serve_many}, *never[] = {stale};
	static const struct step mute[] = {{READ, NULL, 0}, {CLOSE, NULL, 0}};
	const struct step *dead[] = {stale, mute};
	struct caller c[2];
	struct provider *p = two_calls(c, 2, twice, true, 0);

	(void)state;
	assert_int_equal(c[1].end, END_OK);
	assert_false(c[1].reused);
	assert_int_equal(atomic_load(&p->accepted), 2);
	assert_int_equal(atomic_load(&p->requests), 3);
	TWO(c);
	provider_close(p);

	p = two_calls(c, 2, reset, true, 0);
	assert_int_equal(c[1].end, END_OK);
	TWO(c);
	provider_close(p);

	/* Not allowed, since the request was written. */
	p = two_calls(c, 3, always, false, 0);
	assert_int_equal(c[1].end, END_FAIL);
	assert_int_equal(c[1].reason, RL_ERR_EOF);
	assert_int_equal(atomic_load(&p->accepted), 1);
	TWO(c);
	provider_close(p);

	/* Once only: a fresh connection that fails is a failure. */
	p = two_calls(c, 2, dead, true, 0);
	assert_int_equal(c[1].end, END_FAIL);
	assert_int_equal(c[1].reason, RL_ERR_EOF);
	assert_int_equal(atomic_load(&p->accepted), 2);
	TWO(c);
	provider_close(p);
	(void)never;
}

static void an_idle_connection_that_moves_is_closed(void **state)
{
	static const struct step closes[] = {{READ, NULL, 0}, {SAY, OK_2, 0}, {CLOSE, NULL, 0}};
	static const struct step resets[] = {{READ, NULL, 0}, {SAY, OK_2, 0}, {WAIT_MS, NULL, 10}, {RESET, NULL, 0}};
	static const struct step babbles[] = {{READ, NULL, 0},
					      {SAY, OK_2, 0},
					      {WAIT_MS, NULL, 20},
					      {SAY, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad", 0},
					      {AWAIT_EOF, NULL, 0},
					      {STEP_END, NULL, 0}};
	const struct step *first[] = {closes, resets, babbles};

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct step *scripts[] = {first[i], serve_many};
		struct caller c[2];
		struct provider *p = two_calls(c, 2, scripts, false, 80);

		assert_int_equal(c[1].end, END_OK);
		assert_false(c[1].reused);
		assert_body(&c[1], "ok");
		assert_int_equal(atomic_load(&p->accepted), 2);
		TWO(c);
		provider_close(p);
	}
}

/* A byte after the answer: it is delivered, but what follows it never reaches another call. */
static void bytes_after_an_answer_end_the_connection(void **state)
{
	static const char *const wires[] = {
		OK_2 "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
		OK_2 "\r\n",
		"HTTP/1.1 204 No Content\r\n\r\nx",
		"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
		CHUNKED "2\r\nok\r\n0\r\n\r\nx",
	};

	(void)state;
	for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++) {
		const struct step more[] = {{READ, NULL, 0},
					    {SAY, wires[i], 0},
					    {AWAIT_EOF, NULL, 0},
					    {STEP_END, NULL, 0}};
		const struct step *scripts[] = {more, serve_many};
		struct caller c[2];
		struct provider *p = two_calls(c, 2, scripts, true, 0);

		assert_int_equal(c[0].end, END_OK);
		assert_int_equal(c[1].end, END_OK);
		assert_body(&c[1], "ok");
		assert_false(c[1].reused);
		assert_int_equal(atomic_load(&p->accepted), 2);
		TWO(c);
		provider_close(p);
	}
}

static void a_call_from_on_end_takes_the_same_connection(void **state)
{
	const struct step *scripts[] = {serve_many};
	struct provider *p = provider_open(1, scripts);
	struct bench b;
	struct caller c[3];

	(void)state;
	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	for (int i = 2; i >= 0; i--) {
		caller_init(&c[i]);
		c[i].then = i < 2 ? &c[i + 1] : NULL;
		c[i].then_spec = &spec;
	}
	start(&c[0], &b, &spec);
	run(&b);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(c[i].end, END_OK);
		assert_int_equal(c[i].reused, i > 0);
		caller_fini(&c[i]);
	}
	assert_int_equal(atomic_load(&p->accepted), 1);
	bench_close(&b);
	provider_close(p);
}

static void idle_connections_are_bounded_and_age(void **state)
{
	const struct step *scripts[] = {serve_many};
	struct provider *p = provider_open(1, scripts);
	struct rl_origin_spec spec = {.host = RL_STR("127.0.0.1"), .port = p->port, .max_idle = 2, .idle_ms = 100};
	struct rl_origin *origin;
	const char *why;
	struct bench b;
	struct caller c[4];

	(void)state;
	assert_int_equal(rl_origin_new(&spec, &origin, &why), RL_OK);
	bench_open(&b, origin);
	struct rl_call_spec call = post(&b);

	for (int i = 0; i < 4; i++) {
		caller_init(&c[i]);
		start(&c[i], &b, &call);
	}
	run(&b);
	assert_int_equal(atomic_load(&p->accepted), 4);
	linger(&b, 20);
	assert_int_equal(rl_origin_connections(origin), 2);
	linger(&b, 150);
	assert_int_equal(rl_origin_connections(origin), 0);
	for (int i = 0; i < 4; i++)
		caller_fini(&c[i]);
	bench_close(&b);
	provider_close(p);
}

/* ---- a peer that vanishes (FAULTS 66) ---- */

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/*
 * Dropping packets takes privileges that tests have not; what can be seen is that the kernel has been told to find
 * out, and how soon.
 */
static void a_peer_that_vanishes_is_noticed(void **state)
{
	const struct step *scripts[] = {serve_many};
	struct provider *p = provider_open(1, scripts);
	struct rl_conn *conn = NULL;
	struct bench b;
	struct caller c;

	(void)state;
	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	spec.times.send_ms = 12345;
	caller_init(&c);
	start(&c, &b, &spec);
	run(&b);
	for (size_t i = 0; i < RL_POOL_BUCKETS && !conn; i++)
		conn = b.pool->places[i] ? b.pool->places[i]->idle : NULL;
	assert_non_null(conn);
	int fd = rl_transport_fd(conn->transport);

	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 22345);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	caller_fini(&c);
	bench_close(&b);
	provider_close(p);
}

/* ---- bytes that nobody asked for (FAULTS 66) ---- */

#define STRAY H "x-marker: stray\r\ncontent-length: 5\r\n\r\nstray"
#define RIGHT H "x-marker: right\r\ncontent-length: 2\r\n\r\nok"

/*
 * A provider within the test's own thread, so that the order of things is certain: `trigger` becomes readable first
 * and starts the second call, whose connection already has something to say by then, further down the same poll.
 */
struct stray {
	struct bench b;
	struct caller c[2];
	struct rl_call_spec spec;
	struct rl_poll *accepting, *trigger;
	int listener, conns[4], n_conns, pipe[2];
};

static void stray_accept(void *owner, unsigned events)
{
	struct stray *s = owner;

	(void)events;
	int fd = accept(s->listener, NULL, NULL);

	assert_true(fd >= 0 && s->n_conns < 4);
	s->conns[s->n_conns++] = fd;
	say(fd, RIGHT, strlen(RIGHT)); /* as if it had read the request */
}

static void stray_trigger(void *owner, unsigned events)
{
	struct stray *s = owner;
	char c;

	(void)events;
	assert_int_equal(read(s->pipe[0], &c, 1), 1);
	start(&s->c[1], &s->b, &s->spec);
}

/* Until the client's kernel has all that was said, the FIN included. */
static void stray_arrives(int fd)
{
	struct tcp_info info = {0};
	int unread = 1;

	for (int i = 0; i < 5000; i++) {
		socklen_t len = sizeof info;

		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
		if (ioctl(fd, SIOCOUTQ, &unread) == 0 && unread == 0 && info.tcpi_state != TCP_FIN_WAIT1)
			return;
		sleep_ms(1);
	}
	fail();
}

static void stray_open(struct stray *s, bool replayable)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sa;

	memset(s, 0, sizeof *s);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(s->listener, 8), 0);
	getsockname(s->listener, (struct sockaddr *)&sa, &len);
	assert_int_equal(pipe(s->pipe), 0);
	bench_open(&s->b, origin_for(ntohs(sa.sin_port), 0, 32));
	assert_int_equal(rl_poll_new(s->b.loop, s->listener, stray_accept, s, &s->accepting), RL_OK);
	assert_int_equal(rl_poll_new(s->b.loop, s->pipe[0], stray_trigger, s, &s->trigger), RL_OK);
	rl_poll_want(s->accepting, RL_POLL_READ);
	rl_poll_want(s->trigger, RL_POLL_READ);
	s->spec = post(&s->b);
	s->spec.replayable = replayable;
	caller_init(&s->c[0]);
	caller_init(&s->c[1]);
}

/* The second call has had an answer of its own, over a connection of its own. */
static void stray_close(struct stray *s)
{
	assert_string_equal(s->c[0].marker, "right");
	assert_int_equal(s->c[1].end, END_OK);
	assert_string_equal(s->c[1].marker, "right");
	assert_false(s->c[1].reused);
	assert_int_equal(s->n_conns, 2);
	rl_poll_free(s->accepting);
	rl_poll_free(s->trigger);
	caller_fini(&s->c[0]);
	caller_fini(&s->c[1]);
	bench_close(&s->b);
	for (int i = 0; i < s->n_conns; i++)
		close(s->conns[i]);
	close(s->listener);
	close(s->pipe[0]);
	close(s->pipe[1]);
}

/* `what` (NULL: the end) comes on the idle connection in the very turn in which a call wants it. */
static void stray_play(const char *what, bool replayable)
{
	struct stray s;

	stray_open(&s, replayable);
	start(&s.c[0], &s.b, &s.spec);
	run(&s.b);
	linger(&s.b, 20);
	assert_int_equal(write(s.pipe[1], "x", 1), 1);
	if (what)
		say(s.conns[0], what, strlen(what));
	else
		shutdown(s.conns[0], SHUT_WR);
	stray_arrives(s.conns[0]);
	run(&s.b);
	stray_close(&s);
}

static void stray_bytes_are_no_answer(void **state)
{
	(void)state;
	stray_play(STRAY, true);
	stray_play(STRAY, false);
	stray_play("H", true);
}

static void an_end_at_the_moment_of_reuse(void **state)
{
	(void)state;
	stray_play(NULL, true);
	stray_play(NULL, false);
}

/* The next call begins in the turn in which the answer came: no poll can have told of what came behind it. */
static void stray_behind_an_answer(struct caller *c)
{
	struct stray *s = (struct stray *)((char *)c->bench - offsetof(struct stray, b));

	say(s->conns[0], STRAY, strlen(STRAY));
	stray_arrives(s->conns[0]);
}

static void stray_bytes_right_behind_an_answer(void **state)
{
	struct stray s;

	(void)state;
	stray_open(&s, true);
	s.c[0].at_end = stray_behind_an_answer;
	s.c[0].then = &s.c[1];
	s.c[0].then_spec = &s.spec;
	start(&s.c[0], &s.b, &s.spec);
	run(&s.b);
	stray_close(&s);
}

static void trim_closes_what_nobody_knows(void **state)
{
	const struct step *scripts[] = {serve_many};
	struct provider *p = provider_open(1, scripts);
	struct rl_origin *orphan;
	struct bench b;
	struct caller c;

	(void)state;
	bench_open(&b, origin_for(p->port, 0, 32));
	struct rl_call_spec spec = post(&b);

	caller_init(&c);
	start(&c, &b, &spec);
	run(&b);
	rl_pool_trim(b.pool, false);
	assert_int_equal(rl_origin_connections(b.origin), 1);
	rl_pool_trim(b.pool, true);
	assert_int_equal(rl_origin_connections(b.origin), 0);
	caller_fini(&c);

	orphan = origin_for(p->port, 0, 32);
	spec.origin = orphan;
	caller_init(&c);
	start(&c, &b, &spec);
	rl_origin_unref(orphan); /* the call keeps it alive, and nothing is left of it afterwards */
	run(&b);
	assert_int_equal(c.end, END_OK);
	rl_pool_trim(b.pool, false);
	caller_fini(&c);
	bench_close(&b);
	provider_close(p);
}

static void keep_alive_timeout_is_heeded(void **state)
{
	static const struct step brief[] = {
		{READ, NULL, 0},
		{SAY, "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1, max=5\r\ncontent-length: 2\r\n\r\nok", 0},
		{AWAIT_EOF, NULL, 0},
		{STEP_END, NULL, 0}};
	const struct step *scripts[] = {brief, serve_many};
	struct caller c[2];
	struct provider *p = two_calls(c, 2, scripts, true, 650);

	(void)state;
	assert_false(c[1].reused);
	assert_int_equal(c[1].end, END_OK);
	TWO(c);
	provider_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_written),
		cmocka_unit_test(body_is_streamed),
		cmocka_unit_test(early_answer_to_a_streamed_body),
		cmocka_unit_test(streamed_body_that_is_not_taken),
		cmocka_unit_test(answers_at_every_cut),
		cmocka_unit_test(answers_byte_by_byte_and_paused),
		cmocka_unit_test(head_has_no_body),
		cmocka_unit_test(bad_answers_fail),
		cmocka_unit_test(endless_answers_are_bounded),
		cmocka_unit_test(resets_are_told),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(a_connection_serves_again),
		cmocka_unit_test(a_paused_answer_leaves_nothing_behind),
		cmocka_unit_test(a_stale_connection_is_replaced_once),
		cmocka_unit_test(an_idle_connection_that_moves_is_closed),
		cmocka_unit_test(bytes_after_an_answer_end_the_connection),
		cmocka_unit_test(a_call_from_on_end_takes_the_same_connection),
		cmocka_unit_test(idle_connections_are_bounded_and_age),
		cmocka_unit_test(a_peer_that_vanishes_is_noticed),
		cmocka_unit_test(stray_bytes_are_no_answer),
		cmocka_unit_test(an_end_at_the_moment_of_reuse),
		cmocka_unit_test(stray_bytes_right_behind_an_answer),
		cmocka_unit_test(trim_closes_what_nobody_knows),
		cmocka_unit_test(keep_alive_timeout_is_heeded),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rl_arena_thread_fini();
	return failed;
}
