/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of HTTP/2 that need no connection: the guard in front of nghttp2, and heads in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/h2_rules.h"

/* ---- the guard ---- */

enum {
	DATA,
	HEADERS,
	PRIORITY,
	RST_STREAM,
	SETTINGS,
	PUSH_PROMISE,
	PING,
	GOAWAY,
	WINDOW_UPDATE,
	CONTINUATION,
	UNKNOWN
};
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

static const struct rl_h2_guard_limits limits = {
	.max_block_bytes = 1000,
	.max_control_frames = 10,
	.max_resets = 5,
};

static void frame(struct rl_buf *out, unsigned kind, unsigned flags, size_t n)
{
	const char head[9] = {(char)(n >> 16), (char)(n >> 8), (char)n, (char)kind, (char)flags, 0, 0, 0, 1};

	rl_buf_add(out, rl_str_make(head, sizeof head));
	for (size_t i = 0; i < n; i++)
		rl_buf_byte(out, '\x01');
}

static void greet(struct rl_h2_guard *guard)
{
	size_t n = 0;

	rl_h2_guard_init(guard);
	assert_true(rl_h2_guard_pass(guard, &limits, 1, rl_str_of(RL_H2_PREFACE), &n));
	assert_int_equal(n, RL_H2_PREFACE_BYTES);
}

/* How many such frames pass before one does not; `most` if all do. */
static unsigned passing(struct rl_h2_guard *guard, unsigned kind, unsigned flags, size_t size, unsigned most)
{
	struct rl_buf one;
	unsigned i = 0;
	size_t n;

	rl_buf_init(&one, 1 << 20);
	frame(&one, kind, flags, size);
	while (i < most && rl_h2_guard_pass(guard, &limits, 1, rl_buf_str(&one), &n)) {
		assert_int_equal(n, one.n);
		i++;
	}
	rl_buf_fini(&one);
	return i;
}

static void what_carries_nothing_is_counted(void **state)
{
	static const struct {
		unsigned kind, flags;
		size_t size;
		unsigned pass;
	} cases[] = {
		{PING, 0, 8, 10},          {SETTINGS, 0, 0, 10},
		{PRIORITY, 0, 5, 10},      {WINDOW_UPDATE, 0, 4, 10},
		{UNKNOWN, 0, 100, 10},     {GOAWAY, 0, 8, 10},
		{DATA, 0, 0, 10},          {DATA, PADDED, 256, 10},
		{RST_STREAM, 0, 4, 10},    {CONTINUATION, 0, 0, 10},
		{DATA, 0, 1, 1000},        {DATA, END_STREAM, 0, 1000},
		{DATA, PADDED, 257, 1000}, {HEADERS, END_HEADERS, 9, 1000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_h2_guard guard;

		greet(&guard);
		assert_int_equal(passing(&guard, cases[i].kind, cases[i].flags, cases[i].size, 1000), cases[i].pass);
	}
}

static void credit_and_time_give_more(void **state)
{
	struct rl_h2_guard guard;
	struct rl_buf ping;
	size_t n;

	(void)state;
	greet(&guard);
	rl_h2_guard_sent(&guard, 100);
	rl_h2_guard_sent(&guard, 16384);
	struct rl_h2_guard fresh = guard;

	assert_int_equal(passing(&fresh, WINDOW_UPDATE, 0, 4, 1000), 10 + 2 + 2 + 16);
	assert_int_equal(passing(&guard, WINDOW_UPDATE, 0, 4, 30), 30);
	fresh = guard;
	rl_buf_init(&ping, 1000);
	frame(&ping, PING, 0, 8);
	assert_false(rl_h2_guard_pass(&fresh, &limits, 10000, rl_buf_str(&ping), &n));
	assert_true(rl_h2_guard_pass(&guard, &limits, 10002, rl_buf_str(&ping), &n));
	rl_buf_fini(&ping);
	for (unsigned i = 0; i < 2000; i++)
		rl_h2_guard_sent(&guard, 1 << 20);
	assert_true(guard.credit <= 1000000);
}

static void heads_have_a_size(void **state)
{
	struct rl_h2_guard guard;

	(void)state;
	greet(&guard);
	assert_int_equal(passing(&guard, HEADERS, END_HEADERS, 1000, 50), 50);
	assert_int_equal(passing(&guard, HEADERS, END_HEADERS, 1001, 50), 0);
	greet(&guard);
	assert_int_equal(passing(&guard, HEADERS, 0, 400, 1), 1);
	assert_true(guard.in_block);
	assert_int_equal(passing(&guard, CONTINUATION, 0, 300, 50), 2);
	greet(&guard);
	assert_int_equal(passing(&guard, HEADERS, 0, 400, 1), 1);
	assert_int_equal(passing(&guard, CONTINUATION, END_HEADERS, 0, 1), 1);
	assert_false(guard.in_block);
}

/* The same verdict at the same place, however the bytes are cut. */
static void cuts_change_nothing(void **state)
{
	struct rl_h2_guard guard;
	struct rl_buf all;
	size_t whole = 0, n;

	(void)state;
	rl_buf_init(&all, 1 << 20);
	RL_BUF_LIT(&all, RL_H2_PREFACE);
	frame(&all, HEADERS, 0, 30);
	frame(&all, CONTINUATION, END_HEADERS, 3);
	frame(&all, DATA, 0, 70);
	for (unsigned i = 0; i < 12; i++)
		frame(&all, PING, 0, 8);
	rl_h2_guard_init(&guard);
	assert_false(rl_h2_guard_pass(&guard, &limits, 1, rl_buf_str(&all), &whole));
	assert_true(whole < all.n);
	for (size_t at = 0; at <= all.n; at++) {
		size_t first = 0;

		rl_h2_guard_init(&guard);
		bool ok = rl_h2_guard_pass(&guard, &limits, 1, rl_str_sub(rl_buf_str(&all), 0, at), &first);
		assert_int_equal(ok, at < whole);
		assert_int_equal(first, at < whole ? at : whole);
		if (!ok)
			continue;
		assert_false(rl_h2_guard_pass(&guard, &limits, 1, rl_str_sub(rl_buf_str(&all), at, SIZE_MAX), &n));
		assert_int_equal(at + n, whole);
	}
	rl_buf_fini(&all);
}

static void resets_have_a_measure(void **state)
{
	struct rl_h2_guard guard;

	(void)state;
	greet(&guard);
	for (unsigned i = 0; i < 5; i++)
		assert_true(rl_h2_guard_reset(&guard, &limits, 1));
	assert_false(rl_h2_guard_reset(&guard, &limits, 1));
	assert_true(rl_h2_guard_reset(&guard, &limits, 10002));
	/* Less than half of all is no attack. */
	greet(&guard);
	assert_int_equal(passing(&guard, HEADERS, END_HEADERS | END_STREAM, 9, 100), 100);
	for (unsigned i = 0; i < 50; i++)
		assert_true(rl_h2_guard_reset(&guard, &limits, 1));
	assert_false(rl_h2_guard_reset(&guard, &limits, 1));
}

/* ---- requests ---- */

struct given {
	const char *name;
	const char *fields; /* "name=value" and '|' between them; %N in a value: N bytes 'x' */
	bool has_body;
	int verdict; /* RL_H2_GOOD, RL_H2_MALFORMED, or the status of a refusal */
};

#define GET ":method=GET|:scheme=http|:path=/v1/models|:authority=a.example"
#define POST ":method=POST|:scheme=https|:path=/v1/x?q=1|:authority=a.example:80"

static const struct given requests[] = {
	{"plain", GET, false, RL_H2_GOOD},
	{"with fields", POST "|content-type=application/json|x-a=b|te=trailers", true, RL_H2_GOOD},
	{"host alone", ":method=GET|:scheme=http|:path=/|host=a.example", false, RL_H2_GOOD},
	{"host and authority agree", GET "|host=A.example", false, RL_H2_GOOD},
	{"host and authority differ", GET "|host=b.example", false, RL_H2_MALFORMED},
	{"two hosts", GET "|host=a.example|host=a.example", false, RL_H2_MALFORMED},
	{"nobody named", ":method=GET|:scheme=http|:path=/", false, RL_H2_MALFORMED},
	{"userinfo", ":method=GET|:scheme=http|:path=/|:authority=u@a.example", false, RL_H2_MALFORMED},
	{"an empty authority", ":method=GET|:scheme=http|:path=/|:authority=", false, RL_H2_MALFORMED},
	{"no path", ":method=GET|:scheme=http|:authority=a", false, RL_H2_MALFORMED},
	{"an empty path", ":method=GET|:scheme=http|:path=|:authority=a", false, RL_H2_MALFORMED},
	{"an absolute path", ":method=GET|:scheme=http|:path=http://b/|:authority=a", false, RL_H2_MALFORMED},
	{"a blank in the path", ":method=GET|:scheme=http|:path=/a b|:authority=a", false, RL_H2_MALFORMED},
	{"a line end in the path", ":method=GET|:scheme=http|:path=/a\r\nx: y|:authority=a", false, RL_H2_MALFORMED},
	{"a fragment", ":method=GET|:scheme=http|:path=/a#b|:authority=a", false, RL_H2_MALFORMED},
	{"a star", ":method=OPTIONS|:scheme=http|:path=*|:authority=a", false, RL_H2_GOOD},
	{"a star for GET", ":method=GET|:scheme=http|:path=*|:authority=a", false, RL_H2_MALFORMED},
	{"CONNECT", ":method=CONNECT|:authority=a:1", false, RL_H2_MALFORMED},
	{"TRACE", ":method=TRACE|:scheme=http|:path=/|:authority=a", false, 405},
	{"unknown", ":method=BREW|:scheme=http|:path=/|:authority=a", false, 501},
	{"lower case", ":method=get|:scheme=http|:path=/|:authority=a", false, RL_H2_MALFORMED},
	{"connection", GET "|connection=close", false, RL_H2_MALFORMED},
	{"keep-alive", GET "|keep-alive=1", false, RL_H2_MALFORMED},
	{"transfer-encoding", POST "|transfer-encoding=chunked", true, RL_H2_MALFORMED},
	{"upgrade", GET "|upgrade=h2c", false, RL_H2_MALFORMED},
	{"proxy-connection", GET "|proxy-connection=x", false, RL_H2_MALFORMED},
	{"te", GET "|te=gzip", false, RL_H2_MALFORMED},
	{"a line end in a value", GET "|x-a=b\nc", false, RL_H2_MALFORMED},
	{"a blank in a name", GET "|x a=b", false, RL_H2_MALFORMED},
	{"two lengths", POST "|content-length=1|content-length=1", true, RL_H2_MALFORMED},
	{"no length", POST "|content-length=+1", true, RL_H2_MALFORMED},
	{"a length and no body", POST "|content-length=1", false, RL_H2_MALFORMED},
	{"a length", POST "|content-length=1", true, RL_H2_GOOD},
	{"two callers", GET "|authorization=a|authorization=b", false, 400},
	{"an expectation", POST "|expect=100-continue", true, RL_H2_GOOD},
	{"another", POST "|expect=200-ok", true, 417},
	{"too long", GET "|x=%900", false, 431},
	{"too many", GET "|a=|b=|c=|d=|e=|f=|g=|h=|i=", false, 431},
};

static void read_given(const struct given *g, struct rl_h2_head *h, struct rl_request_head *head,
		       struct rl_arena *arena)
{
	static const struct rl_h2_head_limits most = {.max_bytes = 1000, .max_fields = 8};
	rl_str rest = rl_str_of(g->fields);

	while (rest.p) {
		rl_str value = rl_str_cut(&rest, '|'), name = rl_str_cut(&value, '=');
		char *wide = NULL;

		if (value.n && value.p[0] == '%') {
			value.n = (size_t)strtoul(value.p + 1, NULL, 10);
			value.p = wide = malloc(value.n);
			memset(wide, 'x', value.n);
		}
		rl_h2_head_add(h, head, arena, &most, name, value);
		free(wide);
	}
}

static void requests_are_judged_as_in_http1(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		struct rl_h2_head h = {.bytes = 0};
		struct rl_request_head head = {.method = RL_METHOD_OTHER};
		struct rl_h1_refusal refusal = {.status = 0};
		struct rl_arena arena;

		rl_arena_init(&arena, 1u << 20);
		read_given(&requests[i], &h, &head, &arena);
		int got = (int)rl_h2_head_judge(&h, &head, requests[i].has_body, &refusal);
		if ((got == RL_H2_REFUSED ? refusal.status : got) != requests[i].verdict)
			fail_msg("%s: %d (%u %s)", requests[i].name, got, refusal.status, refusal.text);
		rl_arena_fini(&arena);
	}
}

static void a_request_becomes_the_same_head(void **state)
{
	static const struct given g = {"",
				       POST "|content-type=application/json|x-a=|expect=100-continue|content-length=7",
				       true, RL_H2_GOOD};
	struct rl_h2_head h = {.bytes = 0};
	struct rl_request_head head = {.method = RL_METHOD_OTHER};
	struct rl_h1_refusal refusal;
	struct rl_arena arena;

	(void)state;
	rl_arena_init(&arena, 1u << 20);
	read_given(&g, &h, &head, &arena);
	assert_int_equal(rl_h2_head_judge(&h, &head, true, &refusal), RL_H2_GOOD);
	assert_int_equal(head.method, RL_METHOD_POST);
	assert_true(rl_str_eq(head.path, RL_STR("/v1/x")) && rl_str_eq(head.query, RL_STR("q=1")));
	assert_true(rl_str_eq(head.authority, RL_STR("a.example:80")));
	assert_int_equal(head.content_length, 7);
	assert_true(head.expects_continue);
	assert_int_equal(head.headers.n, 4);
	assert_int_equal(head.headers.v[0].field, RL_H_CONTENT_TYPE);
	assert_true(rl_str_eq(head.headers.v[1].name, RL_STR("x-a")) && !head.headers.v[1].value.n);
	rl_arena_fini(&arena);
}

/* ---- answers ---- */

static void answers_hold_only_what_may_go_out(void **state)
{
	struct rl_response_head head = {.status = 200};
	struct rl_arena arena;
	static const struct rl_header given[] = {
		{RL_H_CONTENT_TYPE, {NULL, 0}, RL_STR_INIT("text/plain")},
		{RL_H_OTHER, RL_STR_INIT("X-Upper"), RL_STR_INIT("A")},
		{RL_H_CONNECTION, {NULL, 0}, RL_STR_INIT("close")},
		{RL_H_TRANSFER_ENCODING, {NULL, 0}, RL_STR_INIT("chunked")},
		{RL_H_CONTENT_LENGTH, {NULL, 0}, RL_STR_INIT("9")},
		{RL_H_DATE, {NULL, 0}, RL_STR_INIT("never")},
		{RL_H_OTHER, RL_STR_INIT("x-evil"), RL_STR_INIT("a\r\nb: c")},
		{RL_H_OTHER, RL_STR_INIT(":status"), RL_STR_INIT("500")},
	};
	static const struct rl_header always = {RL_H_OTHER, RL_STR_INIT("X-Always"), RL_STR_INIT("yes")};
	struct rl_h2_own_fields own = {.length = 0, .date = RL_STR("now"), .always = &always, .n_always = 1};
	static const char *const want[] = {":status=200", "date=now",        "x-always=yes", "content-type=text/plain",
					   "x-upper=A",   "content-length=0"};

	(void)state;
	rl_arena_init(&arena, 1u << 20);
	for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
		assert_int_equal(rl_headers_add(&head.headers, &arena, given[i].field, given[i].name, given[i].value),
				 RL_OK);
	rl_str out = rl_h2_answer_head(&head, &own, &arena);
	const nghttp2_nv *v = (const nghttp2_nv *)(const void *)out.p;

	assert_int_equal(out.n / sizeof *v, sizeof want / sizeof want[0]);
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		char text[100];
		snprintf(text, sizeof text, "%.*s=%.*s", (int)v[i].namelen, (const char *)v[i].name, (int)v[i].valuelen,
			 (const char *)v[i].value);
		assert_string_equal(text, want[i]);
	}
	own.length = -1;
	out = rl_h2_answer_head(&head, &own, &arena);
	assert_int_equal(out.n / sizeof *v, 5);
	rl_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_carries_nothing_is_counted),
		cmocka_unit_test(credit_and_time_give_more),
		cmocka_unit_test(heads_have_a_size),
		cmocka_unit_test(cuts_change_nothing),
		cmocka_unit_test(resets_have_a_measure),
		cmocka_unit_test(requests_are_judged_as_in_http1),
		cmocka_unit_test(a_request_becomes_the_same_head),
		cmocka_unit_test(answers_hold_only_what_may_go_out),
	};
	int failed = cmocka_run_group_tests_name("h2", tests, NULL, NULL);

	rl_arena_thread_fini();
	return failed;
}
