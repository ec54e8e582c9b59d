/* SPDX-License-Identifier: Apache-2.0 */
/* Names of fields and methods, the list of headers, the request parser (h1_parse) and the chunked coding by themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/h1_chunked.h"
#include "http/h1_parse.h"

static void every_field_is_found(void **state)
{
	(void)state;
	for (int f = 1; f < RL_H_COUNT; f++) {
		rl_str name = rl_field_name((enum rl_field)f);
		char upper[32];
		assert_true(name.n < sizeof upper);
		for (size_t i = 0; i < name.n; i++)
			upper[i] = name.p[i] >= 'a' && name.p[i] <= 'z' ? (char)(name.p[i] - 32) : name.p[i];
		assert_int_equal(rl_field_find(name), f);
		assert_int_equal(rl_field_find(rl_str_make(upper, name.n)), f);
		assert_int_equal(rl_field_find(rl_str_sub(name, 1, SIZE_MAX)), RL_H_OTHER);
	}
	assert_int_equal(rl_field_find(RL_STR("")), RL_H_OTHER);
	assert_int_equal(rl_field_find(RL_STR("x")), RL_H_OTHER);
	assert_int_equal(rl_field_find(RL_STR("x-something-much-longer-than-all")), RL_H_OTHER);
}

static void headers_grow_and_are_found(void **state)
{
	struct rl_headers headers = {0};
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 1 << 20);
	for (int i = 0; i < 100; i++)
		assert_int_equal(rl_headers_add(&headers, &arena, RL_H_OTHER, RL_STR("X-One"), RL_STR("1")), RL_OK);
	assert_int_equal(rl_headers_add(&headers, &arena, RL_H_HOST, RL_STR("ignored"), RL_STR("h")), RL_OK);
	assert_int_equal(headers.n, 101);
	assert_true(rl_str_eq(rl_headers_value(&headers, RL_H_HOST), RL_STR("h")));
	assert_true(rl_str_eq(rl_headers_get(&headers, RL_H_HOST)->name, RL_STR("host")));
	assert_ptr_equal(rl_headers_find(&headers, RL_STR("x-one")), &headers.v[0]);
	assert_null(rl_headers_find(&headers, RL_STR("x-two")));
	assert_null(rl_headers_get(&headers, RL_H_VIA));
	assert_int_equal(rl_headers_value(&headers, RL_H_VIA).n, 0);
	rl_arena_fini(&arena);

	struct rl_arena tight;
	struct rl_headers none = {0};

	rl_arena_init(&tight, 64);
	assert_int_equal(rl_headers_add(&none, &tight, RL_H_HOST, RL_STR(""), RL_STR("")), RL_ERR_NOMEM);
	rl_arena_fini(&tight);
}

static void names_and_values_are_judged(void **state)
{
	(void)state;
	assert_true(rl_header_name_ok(RL_STR("x-a_b!#$%&'*+.^`|~09")));
	assert_false(rl_header_name_ok(RL_STR("")));
	for (int c = 0; c < 256; c++) {
		char one = (char)c;
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool token = alnum || (c && c < 0x80 && strchr("!#$%&'*+-.^_`|~", c));
		assert_int_equal(rl_header_name_ok(rl_str_make(&one, 1)), token);
		assert_int_equal(rl_header_value_ok(rl_str_make(&one, 1)), c == '\t' || (c >= 0x20 && c != 0x7F));
	}
	for (int c = 0; c < 256; c++) { /* at every place of a long value */
		char text[20];
		for (size_t at = 0; at < sizeof text; at++) {
			memset(text, at % 2 ? 'x' : 0xE4, sizeof text);
			text[at] = (char)c;
			assert_int_equal(rl_header_value_ok(rl_str_make(text, sizeof text)),
					 c == '\t' || (c >= 0x20 && c != 0x7F));
		}
	}
	assert_string_equal(rl_status_text(200), "OK");
	assert_string_equal(rl_status_text(431), "Request Header Fields Too Large");
	assert_string_equal(rl_status_text(599), "Unknown");
	assert_true(rl_str_eq(rl_method_name(RL_METHOD_DELETE), RL_STR("DELETE")));
}

/* ---- the request parser ---- */

struct outcome {
	struct rl_arena arena;
	struct rl_request_head head;
	struct rl_h1_request request;
	struct rl_h1_refusal refusal;
	bool ok;
};

static void parse(struct outcome *o, const char *text)
{
	rl_str raw = rl_str_of(text);
	uint32_t lines = 0;

	for (size_t i = 0; i < raw.n; i++)
		lines += raw.p[i] == '\n';
	*o = (struct outcome){.ok = false};
	rl_arena_init(&o->arena, 1 << 20);
	raw = rl_arena_dup(&o->arena, raw);
	o->ok = rl_h1_parse(raw, lines - 2, &o->arena, &o->head, &o->request, &o->refusal);
}

static void a_head_is_taken_apart(void **state)
{
	struct outcome o;

	(void)state;
	parse(&o, "POST /v1/chat?a=b?c HTTP/1.1\r\nHost: Example.com:8080\r\nContent-Length:  12 \r\nX-Empty:\r\n"
		  "Connection: x, Keep-Alive\r\nExpect: 100-Continue\r\n\r\n");
	assert_true(o.ok);
	assert_int_equal(o.head.method, RL_METHOD_POST);
	assert_true(rl_str_eq(o.head.path, RL_STR("/v1/chat")));
	assert_true(rl_str_eq(o.head.query, RL_STR("a=b?c")));
	assert_true(rl_str_eq(o.head.authority, RL_STR("Example.com:8080")));
	assert_int_equal(o.head.content_length, 12);
	assert_int_equal(o.head.headers.n, 5);
	assert_true(rl_str_eq(o.head.headers.v[2].name, RL_STR("X-Empty")));
	assert_int_equal(o.head.headers.v[2].value.n, 0);
	assert_true(o.head.expects_continue && o.request.keep_alive && !o.request.http10 && !o.request.chunked);
	rl_arena_fini(&o.arena);

	/* The target's authority is the one value (FAULTS 9). */
	parse(&o, "GET HTTP://a.example?q HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n");
	assert_true(o.ok && !o.request.keep_alive);
	assert_true(rl_str_eq(o.head.authority, RL_STR("a.example")));
	assert_true(rl_str_eq(o.head.path, RL_STR("/")));
	assert_true(rl_str_eq(o.head.query, RL_STR("q")));
	assert_int_equal(o.head.content_length, 0);
	rl_arena_fini(&o.arena);

	parse(&o, "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_true(o.ok && o.request.http10 && o.request.keep_alive);
	assert_true(rl_str_eq(o.head.path, RL_STR("*")));
	rl_arena_fini(&o.arena);

	parse(&o, "GET / HTTP/1.0\r\n\r\n");
	assert_true(o.ok && !o.request.keep_alive && !o.head.headers.n);
	rl_arena_fini(&o.arena);

	parse(&o, "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(!o.ok && o.refusal.status == 501);
	rl_arena_fini(&o.arena);

	parse(&o, "DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nUpgrade: h2c\r\n"
		  "Connection: upgrade\r\n\r\n");
	assert_true(o.ok && o.request.chunked && o.head.method == RL_METHOD_DELETE);
	assert_int_equal(o.head.content_length, -1);
	rl_arena_fini(&o.arena);
}

static void authorities_are_judged(void **state)
{
	static const char *const good[] = {"a", "a.b-c_d:1", "127.0.0.1:65535", "[::1]", "[2001:db8::1.2.3.4]:80"};
	static const char *const bad[] = {"",     ":80",     "a:",   "a:65536",  "a:123456", "a:b",    "a,b",
					  "a b",  "u@a",     "[::1", "[]",       "[:g]",     "[::1]x", "a/b",
					  "a%20", "a:80:80", "a;b",  "\xC3\xA4", "a\tb",     "[::1]:"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(rl_h1_authority_ok(rl_str_of(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(rl_h1_authority_ok(rl_str_of(bad[i])));
}

/* ---- the chunked coding ---- */

/* Decodes text in pieces of `cut` bytes; the bytes behind the body are counted in *rest. */
static enum rl_err unchunk(rl_str text, size_t cut, struct rl_buf *body, size_t *rest)
{
	struct rl_chunked chunked;
	enum rl_err err = RL_ERR_AGAIN;

	rl_buf_reset(body);
	rl_chunked_init(&chunked);
	for (size_t at = 0; at < text.n && err == RL_ERR_AGAIN; at += cut) {
		rl_str in = rl_str_sub(text, at, cut), piece;
		while ((err = rl_chunked_next(&chunked, &in, &piece)) == RL_OK)
			rl_buf_add(body, piece);
		*rest = in.n + (at + cut < text.n ? text.n - at - cut : 0);
	}
	return err;
}

static void good_chunks(void **state)
{
	static const struct {
		const char *text, *body;
		size_t rest;
	} good[] = {
		{"0\r\n\r\n", "", 0},
		{"5\r\nhello\r\n0\r\n\r\nGET", "hello", 3},
		{"A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", "0123456789x", 0},
		{"2;a=b;c=\"\\\" q\"\r\nhi\r\n0;last\r\n\r\n", "hi", 0},
		{"1\r\nx\r\n0\r\nX-Sum: 5\r\nX-b:\r\n\r\n", "x", 0},
	};
	struct rl_buf body;

	(void)state;
	rl_buf_init(&body, 1 << 20);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		rl_str text = rl_str_of(good[i].text);
		for (size_t cut = 1; cut <= text.n; cut++) {
			size_t rest = 0;
			assert_int_equal(unchunk(text, cut, &body, &rest), RL_ERR_EOF);
			assert_true(rl_str_eq(rl_buf_str(&body), rl_str_of(good[i].body)));
			assert_int_equal(rest, good[i].rest);
		}
	}
	rl_buf_fini(&body);
}

static void bad_chunks(void **state)
{
	/* FAULTS 4, 5, 6. */
	static const char *const bad[] = {
		"0x5\r\nhello\r\n0\r\n\r\n",
		"+5\r\nhello\r\n",
		"-5\r\nhello\r\n",
		" 5\r\nhello\r\n",
		"5 \r\nhello\r\n",
		"\r\nhello\r\n",
		"10000000000000000\r\n",
		"8000000000000000\r\n",
		"00000000000000005\r\nhello\r\n",
		"5\r\nhelloXX0\r\n\r\n",
		"5\r\nhello\n0\r\n\r\n",
		"5\nhello\r\n0\r\n\r\n",
		"5\rhello\r\n",
		"g\r\n",
		"5;a\nb\r\nhello\r\n",
		"5;a\rb\r\nhello\r\n",
		"5;a=\"\r\nhello\r\n",
		"5;a=\"\\\r\n\"\r\n",
		"5;a b\r\nhello\r\n",
		"5 ;a\r\nhello\r\n",
		";a\r\n",
		"5\t\r\nhello\r\n",
		"0\r\nContent-Length: 5\r\n\r\n",
		"0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"0\r\nHost: b\r\n\r\n",
		"0\r\nAUTHORIZATION: b\r\n\r\n",
		"0\r\nbad\r\n\r\n",
		"0\r\n: x\r\n\r\n",
		"0\r\nx : y\r\n\r\n",
		"0\r\nx: a\nb\r\n\r\n",
		"0\r\nx: a\r b\r\n\r\n",
		"0\r\n x: folded\r\n\r\n",
		"0\r\n\n",
		"0\r\n\rx",
	};
	struct rl_buf body;

	(void)state;
	rl_buf_init(&body, 1 << 20);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		rl_str text = rl_str_of(bad[i]);
		for (size_t cut = 1; cut <= text.n; cut++) {
			size_t rest = 0;
			assert_int_equal(unchunk(text, cut, &body, &rest), RL_ERR_PROTOCOL);
		}
	}
	rl_buf_fini(&body);
}

static void extensions_and_trailers_are_bounded(void **state)
{
	struct rl_buf body, text;
	size_t rest;

	(void)state;
	rl_buf_init(&body, 1 << 20);
	rl_buf_init(&text, 1 << 20);
	for (int i = 0; i < 1000; i++)
		rl_buf_add(&text, RL_STR("1;abcde\r\nx\r\n"));
	assert_int_equal(unchunk(rl_buf_str(&text), 100, &body, &rest), RL_ERR_LIMIT);
	assert_true(body.n < 1000);
	rl_buf_reset(&text);
	RL_BUF_LIT(&text, "0\r\n");
	for (int i = 0; i < 1000; i++)
		rl_buf_add(&text, RL_STR("x-trailer: y\r\n"));
	assert_int_equal(unchunk(rl_buf_str(&text), 100, &body, &rest), RL_ERR_LIMIT);
	rl_buf_fini(&text);
	rl_buf_fini(&body);
}

/* Whatever the width of the steps in which they look: each byte at each place of texts of each length. */
static void every_byte_at_every_place(void **state)
{
	static const char tokens[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	char text[64];

	(void)state;
	for (size_t n = 1; n <= 40; n++)
		for (size_t at = 0; at < n; at++)
			for (int c = 0; c < 256; c++) {
				bool value = (c >= 0x20 && c != 0x7F) || c == '\t', name = c && strchr(tokens, c);

				memset(text, 'a', sizeof text);
				text[at] = (char)c;
				if (rl_header_value_ok(rl_str_make(text, n)) != value ||
				    rl_header_name_ok(rl_str_make(text, n)) != name)
					fail_msg("byte 0x%02x at %zu of %zu", (unsigned)c, at, n);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_found),
		cmocka_unit_test(headers_grow_and_are_found),
		cmocka_unit_test(names_and_values_are_judged),
		cmocka_unit_test(a_head_is_taken_apart),
		cmocka_unit_test(authorities_are_judged),
		cmocka_unit_test(good_chunks),
		cmocka_unit_test(bad_chunks),
		cmocka_unit_test(extensions_and_trailers_are_bounded),
		cmocka_unit_test(every_byte_at_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
